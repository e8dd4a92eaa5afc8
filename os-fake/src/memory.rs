//! The memory of the model's processes: bytes by address.

use std::collections::{BTreeMap, BTreeSet};

use trapline_core::{Error, MemoryRegion, Result};

/// All address spaces, by number.
#[derive(Debug, Default, Hash)]
pub(crate) struct Memory {
    spaces: BTreeMap<u32, BTreeMap<u64, u8>>,
    /// What of them is no file's, and can be written.
    anonymous: BTreeMap<u32, BTreeSet<u64>>,
    last: u32,
}

impl Memory {
    /// A new space, empty.
    pub(crate) fn fresh(&mut self) -> u32 {
        self.last += 1;
        self.spaces.insert(self.last, BTreeMap::new());
        self.last
    }

    /// A copy of a space, as `fork` makes it.
    pub(crate) fn copy(&mut self, space: u32) -> u32 {
        let bytes = self.spaces.get(&space).cloned().unwrap_or_default();
        let anonymous = self.anonymous.get(&space).cloned().unwrap_or_default();
        self.last += 1;
        self.spaces.insert(self.last, bytes);
        self.anonymous.insert(self.last, anonymous);
        self.last
    }

    /// Maps addresses, with what is there.
    pub(crate) fn map(&mut self, space: u32, addr: u64, bytes: &[u8]) {
        let space = self.spaces.entry(space).or_default();
        space.extend((addr..).zip(bytes.iter().copied()));
    }

    /// The same, of no file.
    pub(crate) fn map_anonymous(&mut self, space: u32, addr: u64, bytes: &[u8]) {
        self.map(space, addr, bytes);
        let anonymous = self.anonymous.entry(space).or_default();
        anonymous.extend((addr..).take(bytes.len()));
    }

    /// What is mapped.
    pub(crate) fn regions(&self, space: u32) -> Vec<MemoryRegion> {
        let mut regions: Vec<MemoryRegion> = Vec::new();
        let anonymous = self.anonymous.get(&space);
        for &at in self.spaces.get(&space).into_iter().flat_map(BTreeMap::keys) {
            let write = anonymous.is_some_and(|anonymous| anonymous.contains(&at));
            match regions.last_mut().filter(|last| last.end == at && last.write == write) {
                Some(last) => last.end = at + 1,
                None => {
                    let mut region = MemoryRegion::default();
                    (region.start, region.end) = (at, at + 1);
                    (region.read, region.write, region.execute) = (true, write, true);
                    region.inode = u64::from(!write);
                    regions.push(region);
                }
            }
        }
        regions
    }

    /// Unmaps addresses.
    pub(crate) fn unmap(&mut self, space: u32, addr: u64, len: u64) {
        let space = self.spaces.entry(space).or_default();
        space.retain(|at, _| !(addr..addr.saturating_add(len)).contains(at));
    }

    /// Reads as far as there is something.
    pub(crate) fn read(&self, space: u32, addr: u64, buf: &mut [u8]) -> Result<usize> {
        let space = self.spaces.get(&space);
        let mut done = 0;
        for (at, to) in (addr..).zip(buf.iter_mut()) {
            let Some(&byte) = space.and_then(|space| space.get(&at)) else { break };
            *to = byte;
            done += 1;
        }
        Self::unless_nothing(done, addr)
    }

    /// Writes as far as there is something.
    pub(crate) fn write(&mut self, space: u32, addr: u64, data: &[u8]) -> Result<usize> {
        let mut space = self.spaces.get_mut(&space);
        let mut done = 0;
        for (at, &byte) in (addr..).zip(data) {
            let Some(to) = space.as_mut().and_then(|space| space.get_mut(&at)) else { break };
            *to = byte;
            done += 1;
        }
        Self::unless_nothing(done, addr)
    }

    fn unless_nothing(done: usize, addr: u64) -> Result<usize> {
        if done == 0 { Err(Error::bad_address(addr)) } else { Ok(done) }
    }
}
