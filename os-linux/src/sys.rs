//! Every request that this crate makes of the kernel without the help of `std`: the only place
//! with unsafe code. A wrapper is one call, safe for any argument that its types allow.

mod bell;
mod cpus;
mod event;
mod memory;
pub(crate) mod ptrace;
mod signal;
mod spawn;
mod wait;

use std::cell::Cell;
use std::io;

use trapline_core::Error;

pub(crate) use bell::{Timer, clone_bell};
pub(crate) use event::EventFd;
pub(crate) use signal::{Mask, PidFd};
pub(crate) use spawn::{Line, READY, RETURNED, fix_addresses, report_before_exec};
pub(crate) use wait::{Peek, Target};

/// The kernel, as one tracer sees it: its requests, and how many were made.
#[derive(Debug, Default)]
pub(crate) struct Kernel {
    requests: Cell<u64>,
    filter_stops: Cell<bool>,
}

impl Kernel {
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
        Some(libc::ESRCH) => Error::Gone,
        _ => Error::Os { request, id, source },
    }
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
