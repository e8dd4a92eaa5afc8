//! A hash over what is written.

use std::fmt;
use std::hash::{DefaultHasher, Hasher};

pub(super) struct Digest(DefaultHasher);

impl Digest {
    pub(super) fn new(seed: u64) -> Self {
        let mut hasher = DefaultHasher::new();
        hasher.write_u64(seed);
        Digest(hasher)
    }

    pub(super) fn finish(&self) -> u64 {
        self.0.finish()
    }
}

impl fmt::Write for Digest {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        self.0.write(s.as_bytes());
        Ok(())
    }
}
