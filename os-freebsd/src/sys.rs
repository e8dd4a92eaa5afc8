//! System calls, made safe: each takes and gives plain values, counts itself, and fails with the
//! plain error number. What an error number means is said in `process.rs`.

mod cpus;
mod line;
mod ptrace;
mod queue;
mod signal;
mod sysctl;
mod x86_64;

use std::io;

pub(crate) use line::Line;
pub(crate) use ptrace::{Go, Io, MapRequest, fix_addresses, trace_me_on_exec};
pub(crate) use queue::{Event, Queue};
pub(crate) use signal::{Mask, Pipe, child_stops_are_silent, wake};
pub(crate) use sysctl::Process;

/// An error number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Errno(pub(crate) i32);

pub(crate) type Result<T> = std::result::Result<T, Errno>;

impl Errno {
    pub(crate) const PERM: Errno = Errno(libc::EPERM);
    pub(crate) const SRCH: Errno = Errno(libc::ESRCH);
    pub(crate) const INTR: Errno = Errno(libc::EINTR);
    pub(crate) const CHILD: Errno = Errno(libc::ECHILD);
    pub(crate) const NOMEM: Errno = Errno(libc::ENOMEM);
    pub(crate) const FAULT: Errno = Errno(libc::EFAULT);
    pub(crate) const AGAIN: Errno = Errno(libc::EAGAIN);
    pub(crate) const BUSY: Errno = Errno(libc::EBUSY);
    pub(crate) const INVAL: Errno = Errno(libc::EINVAL);
    pub(crate) const NOENT: Errno = Errno(libc::ENOENT);
    pub(crate) const NOSYS: Errno = Errno(libc::ENOSYS);
    pub(crate) const NAMETOOLONG: Errno = Errno(libc::ENAMETOOLONG);
    pub(crate) const OPNOTSUPP: Errno = Errno(libc::EOPNOTSUPP);

    pub(crate) fn last() -> Errno {
        Errno(io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO))
    }
}

impl From<Errno> for io::Error {
    fn from(errno: Errno) -> io::Error {
        io::Error::from_raw_os_error(errno.0)
    }
}

/// -1 is an error.
fn check(result: i32) -> Result<i32> {
    if result == -1 { Err(Errno::last()) } else { Ok(result) }
}

/// The kernel, and how often it was asked.
#[derive(Debug, Default)]
pub(crate) struct Kernel {
    pub(crate) requests: u64,
    /// The length of an XSAVE area and XCR0, once asked.
    xstate: Option<(usize, u64)>,
}

/// Which children a wait is for, of those whose end is reported by SIGCHLD, or the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EndSignal {
    Sigchld,
    Other,
}

impl EndSignal {
    fn flag(self) -> i32 {
        match self {
            EndSignal::Sigchld => 0,
            EndSignal::Other => crate::ffi::WLINUXCLONE,
        }
    }
}

impl Kernel {
    /// A stop of any traced child, as its pid and wait status. Ends are not looked at.
    pub(crate) fn wait_stop(&mut self, signal: EndSignal) -> Result<Option<(i32, i32)>> {
        self.wait6(libc::P_ALL, 0, libc::WTRAPPED | libc::WNOHANG | signal.flag())
    }

    /// A stop of this traced child.
    pub(crate) fn wait_stop_of(&mut self, pid: i32, signal: EndSignal) -> Result<Option<i32>> {
        let options = libc::WTRAPPED | libc::WNOHANG | signal.flag();
        Ok(self.wait6(libc::P_PID, pid, options)?.map(|(_, status)| status))
    }

    /// The end of this child, which is then reaped, or given back to its real parent.
    pub(crate) fn wait_end_of(&mut self, pid: i32, signal: EndSignal) -> Result<Option<i32>> {
        let options = libc::WEXITED | libc::WNOHANG | signal.flag();
        Ok(self.wait6(libc::P_PID, pid, options)?.map(|(_, status)| status))
    }

    fn wait6(
        &mut self,
        which: libc::idtype_t,
        id: i32,
        options: i32,
    ) -> Result<Option<(i32, i32)>> {
        self.requests += 1;
        wait6(which, id, options)
    }
}

/// Sleeps until a traced child stops, and leaves the stop to be waited for.
pub(crate) fn sleep_until_stop() -> Result<()> {
    wait6(libc::P_ALL, 0, libc::WTRAPPED | libc::WNOWAIT).map(|_| ())
}

fn wait6(which: libc::idtype_t, id: i32, options: i32) -> Result<Option<(i32, i32)>> {
    let mut status = 0;
    // SAFETY: `status` is valid for a write during the call; the two other pointers may be null.
    let pid = check(unsafe {
        crate::ffi::wait6(
            which,
            id.into(),
            &mut status,
            options,
            std::ptr::null_mut(),
            std::ptr::null_mut(),
        )
    })?;
    Ok((pid != 0).then_some((pid, status)))
}
