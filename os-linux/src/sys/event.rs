//! `eventfd(2)`.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use trapline_core::Result;

use super::{Kernel, error, last_error};

/// A descriptor that is readable from [`set`](EventFd::set) to [`clear`](EventFd::clear).
#[derive(Debug)]
pub(crate) struct EventFd(OwnedFd);

impl EventFd {
    pub(crate) fn new(kernel: &Kernel) -> Result<Self> {
        kernel.count();
        // SAFETY: takes numbers.
        let raw = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if raw == -1 {
            return Err(last_error("eventfd", -1));
        }
        // SAFETY: the kernel has just made this descriptor for us.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(raw) }))
    }

    /// Another descriptor of the same.
    pub(crate) fn copy(&self) -> Result<OwnedFd> {
        self.0.try_clone().map_err(|e| error("fcntl", self.0.as_raw_fd(), e))
    }

    /// Makes it readable.
    pub(crate) fn set(&self) {
        let one = 1_u64;
        // SAFETY: reads 8 bytes, which live. It fails only if the counter is full: it is readable
        // then.
        unsafe { libc::write(self.0.as_raw_fd(), (&raw const one).cast(), 8) };
    }

    /// Makes it not readable.
    pub(crate) fn clear(&self) {
        let mut count = 0_u64;
        // SAFETY: writes 8 bytes, which live. It fails only if there is nothing to read.
        unsafe { libc::read(self.0.as_raw_fd(), (&raw mut count).cast(), 8) };
    }
}
