//! Signals, and the pipe that a signal handler may write to.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::{Kernel, Result, check};
use crate::ffi;

impl Kernel {
    /// kill(2)
    pub(crate) fn kill(&mut self, pid: i32, signal: i32) -> Result<()> {
        self.requests += 1;
        // SAFETY: plain values.
        check(unsafe { libc::kill(pid, signal) }).map(|_| ())
    }

    /// thr_kill2(2)
    pub(crate) fn kill_thread(&mut self, pid: i32, tid: i32, signal: i32) -> Result<()> {
        self.requests += 1;
        // SAFETY: plain values.
        check(unsafe { libc::thr_kill2(pid, tid.into(), signal) }).map(|_| ())
    }

    /// sigqueue(2)
    pub(crate) fn queue_signal(&mut self, pid: i32, signal: i32, value: u64) -> Result<()> {
        self.requests += 1;
        let value = libc::sigval { sival_ptr: std::ptr::without_provenance_mut(value as usize) };
        // SAFETY: plain values; the pointer is only passed on.
        check(unsafe { ffi::sigqueue(pid, signal, value) }).map(|_| ())
    }
}

/// Whether this process has asked for no SIGCHLD when a child stops.
pub(crate) fn child_stops_are_silent() -> bool {
    // SAFETY: a `sigaction` is integers, and pointers that are not followed.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: nothing is set; `action` is valid for a write.
    let result = unsafe { libc::sigaction(libc::SIGCHLD, std::ptr::null(), &mut action) };
    result == 0 && action.sa_flags & libc::SA_NOCLDSTOP != 0
}

/// A signal mask.
#[derive(Clone, Copy)]
pub(crate) struct Mask(libc::sigset_t);

impl Mask {
    /// All signals.
    pub(crate) fn full() -> Mask {
        // SAFETY: a `sigset_t` is integers.
        let mut mask = Mask(unsafe { std::mem::zeroed() });
        // SAFETY: the set is valid for a write.
        unsafe { libc::sigfillset(&mut mask.0) };
        mask
    }

    /// The calling thread's.
    pub(crate) fn current() -> Mask {
        // SAFETY: a `sigset_t` is integers.
        let mut mask = Mask(unsafe { std::mem::zeroed() });
        // SAFETY: nothing is set; the set is valid for a write.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, std::ptr::null(), &mut mask.0) };
        mask
    }

    /// Gives it to the calling thread, which is one of ours.
    pub(crate) fn set(&self) {
        // SAFETY: the set is read.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &self.0, std::ptr::null_mut()) };
    }
}

/// A pipe whose ends never block.
#[derive(Debug)]
pub(crate) struct Pipe {
    pub(crate) read: OwnedFd,
    pub(crate) write: OwnedFd,
}

impl Pipe {
    pub(crate) fn new() -> io::Result<Pipe> {
        let mut fds = [-1; 2];
        // SAFETY: two descriptors are written.
        check(unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC | libc::O_NONBLOCK) })?;
        // SAFETY: both are new, so they are ours alone.
        let [read, write] = fds.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
        Ok(Pipe { read, write })
    }

    /// Reads all there is.
    pub(crate) fn drain(&self) {
        let mut bytes = [0_u8; 512];
        loop {
            // SAFETY: as many bytes are written as the array has, at most.
            let count = unsafe {
                libc::read(self.read.as_fd().as_raw_fd(), bytes.as_mut_ptr().cast(), bytes.len())
            };
            if !usize::try_from(count).is_ok_and(|count| count == bytes.len()) {
                return;
            }
        }
    }
}

/// Writes a byte to a pipe. Async-signal-safe: one system call, and `errno` is left as it was. A
/// full pipe has one already.
pub(crate) fn wake(pipe: BorrowedFd<'_>) {
    // SAFETY: `errno` is this thread's; one byte of a constant is read.
    unsafe {
        let errno = libc::__error();
        let before = *errno;
        libc::write(pipe.as_raw_fd(), [1_u8].as_ptr().cast(), 1);
        *errno = before;
    }
}
