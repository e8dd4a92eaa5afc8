//! `clone(2)` of the doorbell.

use std::io;

use trapline_core::Tid;

/// What the doorbell shares: the memory, so that nothing is copied, and the file table for as
/// long as it takes to leave it. It has no exit signal, so that to the host it is no child, and its
/// own working directory (`/`), so that the host's can be unmounted and the host can change
/// namespaces.
const FLAGS: usize = (libc::CLONE_VM | libc::CLONE_FILES) as usize;

const DIRECTORY: &std::ffi::CStr = c"/";
const NAME: &std::ffi::CStr = c"trapline-bell";

/// Makes a process that sleeps until it is killed, with all signals blocked.
///
/// It runs a few instructions that were written for it, uses no stack and no thread-local
/// storage, and can take no signal handler, so that it may share the memory of its maker.
pub(crate) fn clone_bell() -> io::Result<Tid> {
    let mask = block_all();
    // SAFETY: in this process it is a system call that touches no memory. The new one never gets
    // further than the instructions of the macro; it reads the two constants.
    let pid = unsafe { crate::regs::clone_sleeper!(FLAGS, DIRECTORY.as_ptr(), NAME.as_ptr()) };
    restore(mask);
    match i32::try_from(pid) {
        Ok(pid) if pid > 0 => Ok(Tid::from_raw(pid)),
        Ok(error) => Err(io::Error::from_raw_os_error(-error)),
        Err(_) => Err(io::ErrorKind::Other.into()),
    }
}

/// The length of the kernel's signal sets (64 signals).
const SET_LENGTH: usize = 8;

/// Blocks every signal on the calling thread, those of the C library too, and returns the mask
/// that it had (`rt_sigprocmask(2)`).
fn block_all() -> u64 {
    let (all, mut before) = (!0_u64, 0_u64);
    let (new, old) = (&raw const all, &raw mut before);
    // SAFETY: reads one set and writes the other, both of 8 bytes. It cannot fail.
    unsafe { libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, new, old, SET_LENGTH) };
    before
}

fn restore(mask: u64) {
    let (new, old) = (&raw const mask, std::ptr::null_mut::<u64>());
    // SAFETY: reads one set of 8 bytes. It cannot fail.
    unsafe { libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, new, old, SET_LENGTH) };
}
