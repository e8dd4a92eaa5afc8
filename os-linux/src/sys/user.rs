//! Which user a thread of ours is to the file system, and whether this process may be dumped.

use super::check;

/// Has the calling thread be another user to the file system, for good; says whether it is.
///
/// By the system calls, which are about one thread: the C library changes all of them.
pub(crate) fn become_user(user: u32, group: u32) -> bool {
    const NOBODY: u32 = u32::MAX;
    // Each returns what it was before, whether it has changed it or not.
    let set = |call, id: u32| {
        // SAFETY: takes a number.
        unsafe { libc::syscall(call, id) };
        // SAFETY: as above; this is no user and no group, so nothing changes.
        check(unsafe { libc::syscall(call, NOBODY) }).is_ok_and(|now| now as u32 == id)
    };
    set(libc::SYS_setfsgid, group) && set(libc::SYS_setfsuid, user)
}

/// Whether this process may be dumped, and by that looked into by its user.
pub(crate) fn is_dumpable() -> bool {
    // SAFETY: takes numbers.
    unsafe { libc::prctl(libc::PR_GET_DUMPABLE, 0, 0, 0, 0) == 1 }
}

/// Has it be so.
pub(crate) fn set_dumpable() {
    // SAFETY: takes numbers.
    unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 1, 0, 0, 0) };
}
