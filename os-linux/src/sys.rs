//! Every request that this crate makes of the kernel without the help of `std`: the only place
//! with unsafe code. A wrapper is one call, safe for any argument that its types allow.

mod cpus;
mod directory;
mod event;
mod memory;
pub(crate) mod ptrace;
mod signal;
mod spawn;
mod user;
mod wait;
mod wake_helper;

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;

use trapline_core::{Error, Result, Tid};

pub(crate) use directory::Directory;
pub(crate) use event::EventFd;
pub(crate) use memory::{MOST_AT_ONCE, most_descriptors};
pub(crate) use signal::{Handle, Mask};
pub(crate) use spawn::{Line, READY, RETURNED, fix_addresses, report_before_exec};
pub(crate) use user::{become_user, is_dumpable, set_dumpable};
pub(crate) use wait::{Peek, Target};
pub(crate) use wake_helper::{Sleeper, Timer};

/// The kernel, as one tracer sees it: its requests, and how many were made.
#[derive(Debug, Default)]
pub(crate) struct Kernel {
    requests: Cell<u64>,
    filter_stops: Cell<bool>,
    /// Threads whose seccomp filters are suspended.
    without_seccomp: RefCell<Vec<Tid>>,
    proc: Option<Arc<Directory>>,
}

impl Kernel {
    /// With the `/proc` that there is. A default one does without.
    pub(crate) fn open() -> Self {
        Self { proc: crate::proc::find(), ..Self::default() }
    }

    /// The same for another thread.
    pub(crate) fn another(&self) -> Self {
        Self { proc: self.proc.clone(), ..Self::default() }
    }

    /// The `/proc` of this process's own pid namespace.
    pub(crate) fn proc(&self) -> Option<&Directory> {
        self.proc.as_deref()
    }

    /// How many requests were made so far.
    pub(crate) fn requests(&self) -> u64 {
        self.requests.get()
    }

    /// Whether the tracees whose options are set from now on stop where a seccomp filter says so.
    pub(crate) fn set_filter_stops(&self, on: bool) {
        self.filter_stops.set(on);
    }

    /// The options that all tracees have, whatever their setup.
    fn options_of_all(&self) -> i32 {
        if self.filter_stops.get() { libc::PTRACE_O_TRACESECCOMP } else { 0 }
    }

    /// The options that a thread has besides.
    fn own_options(&self, tid: Tid) -> i32 {
        if self.suspends_seccomp(tid) { libc::PTRACE_O_SUSPEND_SECCOMP } else { 0 }
    }

    /// Whether the seccomp filters of a thread are suspended.
    pub(crate) fn suspends_seccomp(&self, tid: Tid) -> bool {
        self.without_seccomp.borrow().contains(&tid)
    }

    /// Notes that they are to be, or no longer.
    pub(crate) fn set_suspends_seccomp(&self, tid: Tid, suspends: bool) {
        let mut without = self.without_seccomp.borrow_mut();
        without.retain(|&other| other != tid);
        if suspends {
            without.push(tid);
        }
    }

    /// Counts a request.
    pub(crate) fn count(&self) {
        self.requests.set(self.requests.get().wrapping_add(1));
    }
}

/// The error that a request has just left in `errno`.
#[cold]
fn last_error(request: &'static str, id: i32) -> Error {
    error(request, id, io::Error::last_os_error())
}

/// What an error of the kernel means. `ESRCH` is a thread that does not exist, or (for a thread
/// that was stopped) one that was killed.
#[cold]
pub(crate) fn error(request: &'static str, id: i32, source: io::Error) -> Error {
    match source.raw_os_error() {
        Some(libc::ESRCH) => Error::GONE,
        _ => Error::os(request, id, source),
    }
}

/// Moves a descriptor out of the way: std puts a child's stdio over 0, 1 and 2, which may be free in
/// the host, and so does the wake helper. (`try_clone` takes no number below 3.)
fn above_stdio(fd: OwnedFd) -> Result<OwnedFd> {
    if fd.as_raw_fd() > libc::STDERR_FILENO {
        return Ok(fd);
    }
    fd.try_clone().map_err(|e| error("F_DUPFD_CLOEXEC", fd.as_raw_fd(), e))
}

/// Turns what `syscall(2)` returns into a result.
pub(crate) fn check(returned: libc::c_long) -> io::Result<libc::c_long> {
    if returned == -1 { Err(io::Error::last_os_error()) } else { Ok(returned) }
}

/// The calling thread's id (`gettid(2)`).
pub(crate) fn own_tid() -> i32 {
    // SAFETY: takes nothing, touches no memory, cannot fail.
    let tid = unsafe { libc::syscall(libc::SYS_gettid) };
    tid as i32
}
