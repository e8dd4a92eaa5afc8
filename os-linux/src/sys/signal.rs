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

    /// Whether there is a process or a thread of this id, ended or not (`kill(2)` with the signal 0,
    /// which sends nothing).
    pub(crate) fn exists(&self, id: i32) -> bool {
        if id <= 0 {
            return false; // names groups
        }
        self.count();
        // SAFETY: takes numbers.
        let sent = unsafe { libc::kill(id, 0) };
        sent == 0 || io::Error::last_os_error().raw_os_error() != Some(libc::ESRCH)
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

/// A child of this process that a tracer of it traces: by a descriptor, so that what is done to it is
/// never done to a later process of its id, or where there are none, by its id as long as it is a
/// child or a tracee.
#[derive(Debug)]
pub(crate) struct Handle {
    tid: Tid,
    fd: Option<OwnedFd>,
}

impl Handle {
    /// `pidfd_open(2)` (Linux 5.3; some filters of system calls refuse it).
    pub(crate) fn open(kernel: &Kernel, tid: Tid) -> Self {
        kernel.count();
        // SAFETY: takes numbers.
        let fd = check(unsafe { libc::syscall(libc::SYS_pidfd_open, tid.as_raw(), 0) });
        // SAFETY: the kernel has just made this descriptor for us, close-on-exec.
        let fd = fd.ok().map(|fd| unsafe { OwnedFd::from_raw_fd(fd as i32) });
        Self { tid, fd }
    }

    pub(crate) fn tid(&self) -> Tid {
        self.tid
    }

    /// The descriptor's number, if there is one.
    pub(crate) fn raw(&self) -> Option<i32> {
        self.fd.as_ref().map(AsRawFd::as_raw_fd)
    }

    /// Kills it (`pidfd_send_signal(2)` or `kill(2)`), if it is still there.
    pub(crate) fn kill(&self, kernel: &Kernel) {
        let sent = match self.raw() {
            Some(fd) => {
                kernel.count();
                let no_info = std::ptr::null::<libc::siginfo_t>();
                let (call, signal) = (libc::SYS_pidfd_send_signal, libc::SIGKILL);
                // SAFETY: takes numbers, and a null pointer where it may.
                check(unsafe { libc::syscall(call, fd, signal, no_info, 0) })
            }
            None => Err(io::ErrorKind::Unsupported.into()),
        };
        let is_gone = sent.as_ref().is_err_and(|e| e.raw_os_error() == Some(libc::ESRCH));
        if sent.is_err() && !is_gone && kernel.is_own(self.tid) {
            let _ = kernel.kill(Pid::from_raw(self.tid.as_raw()), Signal::KILL);
        }
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
