//! `process_vm_readv(2)`, `process_vm_writev(2)` and `kcmp(2)`.

use std::io;

use trapline_core::{Error, Result, Tid};

use super::{Kernel, check};

impl Kernel {
    /// Copies from a thread's memory; returns how much, page by page, up to the first that cannot
    /// be read.
    pub(crate) fn read_memory(&self, tid: Tid, addr: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.count();
        let local = libc::iovec { iov_base: buf.as_mut_ptr().cast(), iov_len: buf.len() };
        let remote = libc::iovec { iov_base: addr as *mut _, iov_len: buf.len() };
        // SAFETY: writes into `buf` alone, no more than its length; `remote` is looked at in the
        // other process. Both structures outlive the call.
        let copied = unsafe { libc::process_vm_readv(tid.as_raw(), &local, 1, &remote, 1, 0) };
        Ok(check(copied as libc::c_long)? as usize)
    }

    /// Copies into a thread's memory, as far as the program itself could write.
    pub(crate) fn write_memory(&self, tid: Tid, addr: u64, data: &[u8]) -> io::Result<usize> {
        self.count();
        let local = libc::iovec { iov_base: data.as_ptr().cast_mut().cast(), iov_len: data.len() };
        let remote = libc::iovec { iov_base: addr as *mut _, iov_len: data.len() };
        // SAFETY: only reads `data`, no more than its length; `remote` is looked at in the other
        // process. Both structures outlive the call.
        let copied = unsafe { libc::process_vm_writev(tid.as_raw(), &local, 1, &remote, 1, 0) };
        Ok(check(copied as libc::c_long)? as usize)
    }

    /// Whether a thread has memory at all, as one that has ended has not.
    pub(crate) fn has_memory(&self, tid: Tid) -> bool {
        // Nothing is at this address, so nothing is read; it is no error of the thread's.
        let read = self.read_memory(tid, 0, &mut [0]);
        read.is_ok() || read.is_err_and(|e| e.raw_os_error() != Some(libc::ESRCH))
    }

    /// Whether two threads have the same memory; `None` from a kernel that was built without
    /// `kcmp`, or that does not let us ask.
    pub(crate) fn shares_memory(&self, one: Tid, other: Tid) -> Result<Option<bool>> {
        const KCMP_VM: i32 = 1; // `linux/kcmp.h`
        self.count();
        let (one, other) = (one.as_raw(), other.as_raw());
        // SAFETY: five numbers; no memory is touched.
        let order = unsafe { libc::syscall(libc::SYS_kcmp, one, other, KCMP_VM, 0_usize, 0_usize) };
        match check(order) {
            Ok(order) => Ok(Some(order == 0)),
            Err(e) if e.raw_os_error() == Some(libc::ESRCH) => Err(Error::Gone),
            // Whatever a filter or a security module says.
            Err(_) => Ok(None),
        }
    }
}

/// How many descriptors this process may have open (`RLIMIT_NOFILE` of `getrlimit(2)`).
pub(crate) fn most_descriptors() -> usize {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: writes one structure, which lives.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) };
    usize::try_from(limit.rlim_cur).unwrap_or(usize::MAX)
}
