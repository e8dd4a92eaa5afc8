//! `process_vm_readv(2)` and `process_vm_writev(2)`.

use std::io;

use trapline_core::Tid;

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
}
