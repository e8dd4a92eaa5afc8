//! `process_vm_readv(2)`, `process_vm_writev(2)` and `kcmp(2)`.

use std::io;

use trapline_core::{Error, Result, Tid};

use super::{Kernel, check};

/// How many places one call takes: `UIO_MAXIOV` of `linux/uio.h`.
pub(crate) const MOST_AT_ONCE: usize = 1024;

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

    /// Copies from several places of a thread's memory, no more than [`MOST_AT_ONCE`]; returns how
    /// much, in their order, up to the first page that cannot be read.
    pub(crate) fn read_memory_each(
        &self,
        tid: Tid,
        places: &mut [(u64, &mut [u8])],
    ) -> io::Result<usize> {
        self.count();
        let mut vectors = Vec::with_capacity(2 * places.len().min(MOST_AT_ONCE));
        vectors.extend(
            places.iter_mut().take(MOST_AT_ONCE).map(|(_, buf)| libc::iovec {
                iov_base: buf.as_mut_ptr().cast(),
                iov_len: buf.len(),
            }),
        );
        let count = vectors.len();
        vectors.extend(
            places
                .iter()
                .take(count)
                .map(|(addr, buf)| libc::iovec { iov_base: *addr as *mut _, iov_len: buf.len() }),
        );
        let (local, remote) = vectors.split_at(count);
        // SAFETY: writes into the buffers alone, which live and which nobody else has, no more than
        // their lengths; `remote` is looked at in the other process. Both lists have `count`
        // elements and outlive the call.
        let copied = unsafe {
            let count = count as libc::c_ulong;
            libc::process_vm_readv(tid.as_raw(), local.as_ptr(), count, remote.as_ptr(), count, 0)
        };
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
            Err(e) if e.raw_os_error() == Some(libc::ESRCH) => Err(Error::GONE),
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
