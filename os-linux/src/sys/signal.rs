//! Signals, signal masks and process descriptors.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use trapline_core::backend::Thread;
use trapline_core::{Pid, Result, Signal, Tid};

use super::{Kernel, check, last_error};

impl Kernel {
    /// `kill(2)`: a signal for a process.
    pub(crate) fn kill(&self, pid: Pid, signal: Signal) -> Result<()> {
        self.count();
        // SAFETY: takes numbers.
        if unsafe { libc::kill(pid.as_raw(), signal.as_raw()) } == 0 {
            Ok(())
        } else {
            Err(last_error("kill", pid.as_raw()))
        }
    }

    /// `tgkill(2)`
    pub(crate) fn kill_thread(&self, thread: Thread, signal: Signal) -> Result<()> {
        self.count();
        let (pid, tid) = (thread.pid.as_raw(), thread.tid.as_raw());
        // SAFETY: takes numbers.
        match unsafe { libc::syscall(libc::SYS_tgkill, pid, tid, signal.as_raw()) } {
            0 => Ok(()),
            _ => Err(last_error("tgkill", tid)),
        }
    }

    /// Whether a thread is one of this process (`tgkill(2)` with the signal 0, which sends
    /// nothing).
    pub(crate) fn is_thread_of(&self, pid: Pid, tid: Tid) -> bool {
        self.count();
        // SAFETY: takes numbers.
        let sent = unsafe { libc::syscall(libc::SYS_tgkill, pid.as_raw(), tid.as_raw(), 0) };
        // A thread of another process is ESRCH; one that is, but that may not be sent signals
        // (its process has other credentials now), is EPERM.
        sent == 0 || io::Error::last_os_error().raw_os_error() == Some(libc::EPERM)
    }
}

/// A process, by a descriptor: what was asked of it is never done to a later process of its id.
#[derive(Debug)]
pub(crate) struct PidFd(OwnedFd);

impl PidFd {
    /// `pidfd_open(2)` (Linux 5.3).
    pub(crate) fn open(kernel: &Kernel, pid: i32) -> Result<Self> {
        kernel.count();
        // SAFETY: takes numbers.
        match check(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) }) {
            // SAFETY: the kernel has just made this descriptor for us, close-on-exec.
            Ok(fd) => Ok(Self(unsafe { OwnedFd::from_raw_fd(fd as i32) })),
            Err(_) => Err(last_error("pidfd_open", pid)),
        }
    }

    /// Has this descriptor name the process that `other` names, at once for all threads that use
    /// it (`dup3(2)`).
    pub(crate) fn replace_by(&self, other: Self) -> Result<()> {
        // SAFETY: takes numbers; the target is our own descriptor and stays one.
        let done = unsafe { libc::dup3(other.raw(), self.raw(), libc::O_CLOEXEC) };
        if done == -1 {
            return Err(last_error("dup3", self.raw()));
        }
        Ok(())
    }

    /// `pidfd_send_signal(2)`. Does nothing if the process is gone; says whether it was there and
    /// the signal allowed. Leaves `errno` as it was, and is async-signal-safe.
    pub(crate) fn send(&self, signal: i32) -> bool {
        // SAFETY: the calling thread's own errno, valid as long as the thread.
        let errno = unsafe { libc::__errno_location() };
        // SAFETY: as above.
        let before = unsafe { *errno };
        let no_info = std::ptr::null::<libc::siginfo_t>();
        // SAFETY: takes numbers, and a null pointer where it may.
        let sent =
            unsafe { libc::syscall(libc::SYS_pidfd_send_signal, self.raw(), signal, no_info, 0) };
        // SAFETY: as above.
        unsafe { *errno = before };
        sent == 0
    }

    pub(crate) fn raw(&self) -> i32 {
        self.0.as_raw_fd()
    }
}

/// A thread's signal mask.
#[derive(Clone, Copy)]
pub(crate) struct Mask(libc::sigset_t);

impl Mask {
    /// The calling thread's (`pthread_sigmask(3)`).
    pub(crate) fn current() -> Self {
        let mut set = empty();
        // SAFETY: without a new set it only writes the old one, which outlives the call. It
        // cannot fail so.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, std::ptr::null(), &mut set) };
        Self(set)
    }

    /// All signals but those that the C library keeps for itself.
    pub(crate) fn all() -> Self {
        let mut set = empty();
        // SAFETY: writes the set.
        unsafe { libc::sigfillset(&mut set) };
        Self(set)
    }

    /// Makes it the calling thread's.
    pub(crate) fn set(&self) {
        // SAFETY: only reads the set. It cannot fail, for the set is one that the C library made.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &self.0, std::ptr::null_mut()) };
    }
}

fn empty() -> libc::sigset_t {
    // SAFETY: all zeros are a value of this array of integers, the empty set.
    unsafe { std::mem::zeroed() }
}
