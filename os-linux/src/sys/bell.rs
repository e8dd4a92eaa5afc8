//! `clone(2)` of the doorbell, and its timer.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use trapline_core::{Result, Tid};

use super::{Kernel, last_error};

/// What the doorbell shares: the memory, so that nothing is copied, and the file table for as
/// long as it takes to leave it. It has no exit signal, so that to the host it is no child, and its
/// own working directory (`/`), so that the host's can be unmounted and the host can change
/// namespaces.
const FLAGS: usize = (libc::CLONE_VM | libc::CLONE_FILES) as usize;

const DIRECTORY: &std::ffi::CStr = c"/";
const NAME: &std::ffi::CStr = c"trapline-bell";

/// Where doorbells read to; nobody looks at it.
static TICKS: AtomicU64 = AtomicU64::new(0);

/// A timer that has the doorbell trap when it expires.
#[derive(Debug)]
pub(crate) struct Timer(OwnedFd);

impl Timer {
    /// `timerfd_create(2)`.
    pub(crate) fn new(kernel: &Kernel) -> Result<Self> {
        kernel.count();
        // SAFETY: takes numbers.
        let raw = unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_CLOEXEC) };
        if raw == -1 {
            return Err(last_error("timerfd_create", -1));
        }
        // SAFETY: the kernel has just made this descriptor for us.
        let timer = unsafe { OwnedFd::from_raw_fd(raw) };
        if raw > 2 {
            return Ok(Self(timer));
        }
        // A host without standard streams. The doorbell wants a number with others below it.
        match timer.try_clone() {
            Ok(timer) => Ok(Self(timer)), // above 2, as std has it
            Err(e) => Err(super::error("fcntl", raw, e)),
        }
    }

    /// Has it expire once, so long from now (`timerfd_settime(2)`).
    pub(crate) fn set(&self, kernel: &Kernel, from_now: Duration) -> Result<()> {
        kernel.count();
        let never = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        let value = libc::timespec {
            tv_sec: from_now.as_secs().try_into().unwrap_or(i64::MAX),
            // Zero would stop it.
            tv_nsec: i64::from(from_now.subsec_nanos().max(1)),
        };
        let times = libc::itimerspec { it_interval: never, it_value: value };
        // SAFETY: reads one structure, which lives; the old times are not asked for.
        let set =
            unsafe { libc::timerfd_settime(self.0.as_raw_fd(), 0, &times, std::ptr::null_mut()) };
        if set == 0 { Ok(()) } else { Err(last_error("timerfd_settime", -1)) }
    }
}

/// Makes a process that sleeps until it is killed, with all signals blocked, and traps whenever
/// the timer expires.
///
/// It runs a few instructions that were written for it, uses no stack and no thread-local
/// storage, and can take no signal handler, so that it may share the memory of its maker.
pub(crate) fn clone_bell(timer: &Timer) -> io::Result<Tid> {
    let mask = block_all();
    let timer = i64::from(timer.0.as_raw_fd());
    let (directory, name, ticks) = (DIRECTORY.as_ptr(), NAME.as_ptr(), TICKS.as_ptr());
    // SAFETY: in this process it is a system call that touches no memory. The new one never gets
    // further than the instructions of the macro; it reads the two constants and has the kernel
    // write 8 bytes to `TICKS`, which is never read.
    let pid = unsafe { crate::regs::clone_sleeper!(FLAGS, directory, name, timer, ticks) };
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
