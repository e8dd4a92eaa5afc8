//! `wait4(2)` and `waitid(2)`.

use std::io;

use trapline_core::{Result, Tid};

use super::{Handle, Kernel, error};
use crate::decode::{self, Change};
use crate::ffi::Siginfo;

/// Tracees of the calling thread, and never an ordinary child.
///
/// The kernel takes a tracee whatever its exit signal is, and with `__WCLONE` no child whose exit
/// signal is SIGCHLD (`eligible_child` and `wait_consider_task` in `kernel/exit.c`).
/// `__WNOTHREAD` leaves the tracees of other threads to them.
const TRACEES: i32 = libc::__WCLONE | libc::__WNOTHREAD;

/// What a [`Kernel::peek`] looks at.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Target<'a> {
    /// The tracee of this id.
    Tid(Tid),
    /// Any child or tracee of this process, by its descriptor if it has one.
    Handle(&'a Handle),
}

/// What there is to see of a child, still there for a wait to take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peek {
    /// Nothing has happened (only without blocking).
    Nothing,
    /// It has changed.
    Changed(Change),
    /// There is no such child.
    NoChild,
}

impl Kernel {
    /// `wait4` for any tracee of the calling thread; `None` without blocking if nothing happened.
    /// `ECHILD` if there are no tracees. A signal that the host handles does not end it.
    pub(crate) fn wait_any(&self, block: bool) -> io::Result<Option<(Tid, i32)>> {
        self.wait4(-1, TRACEES | no_hang(block))
    }

    /// Sleeps until a tracee of any thread of this process has something to tell, leaves that, and
    /// names the tracee; `None` if there is none.
    pub(crate) fn sleep_until_change(&self) -> Option<Tid> {
        let mut info = Siginfo::default();
        let raw: *mut Siginfo = &mut info;
        let options = libc::__WCLONE | libc::WEXITED | libc::WSTOPPED | libc::WNOWAIT;
        loop {
            // SAFETY: as in `waitid`.
            if unsafe { libc::waitid(libc::P_ALL, 0, raw.cast(), options) } == 0 {
                return decode::changed(&info);
            }
            if io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
                return None;
            }
        }
    }

    /// Whether there are tracees of the calling thread.
    pub(crate) fn any_tracees(&self) -> Result<bool> {
        let options = TRACEES | libc::WEXITED | libc::WSTOPPED | libc::WNOHANG | libc::WNOWAIT;
        match self.waitid(libc::P_ALL, 0, options) {
            Ok(_) => Ok(true),
            Err(e) if e.raw_os_error() == Some(libc::ECHILD) => Ok(false),
            Err(e) => Err(error("waitid", -1, e)),
        }
    }

    /// What one tracee has to tell, without blocking; a request only if it is something.
    pub(crate) fn look(&self, tid: Tid) -> io::Result<Option<i32>> {
        let before = self.requests.get();
        let taken = self.try_wait(tid);
        if !matches!(taken, Ok(Some(_))) {
            self.requests.set(before);
        }
        taken
    }

    /// The same for one tracee, without blocking.
    pub(crate) fn try_wait(&self, tid: Tid) -> io::Result<Option<i32>> {
        let taken = self.wait4(tid.as_raw(), TRACEES | libc::WNOHANG)?;
        Ok(taken.map(|(_, status)| status))
    }

    /// Waits for the end of a tracee, and takes it.
    pub(crate) fn reap(&self, tid: Tid) {
        // Each stop before it is taken too, so this ends with the tracee. An error says that
        // there is nothing to reap.
        while let Ok(Some((_, status))) = self.wait4(tid.as_raw(), TRACEES) {
            if decode::ended(status).is_some() {
                break;
            }
        }
    }

    /// Takes a stop, and never an end, of a tracee that [`peek`](Self::peek) has seen stopped;
    /// `None` if it is not stopped any more.
    pub(crate) fn take_stop(&self, tid: Tid) -> Result<Option<i32>> {
        let options = TRACEES | libc::WSTOPPED | libc::WNOHANG;
        match self.waitid(libc::P_PID, tid.as_raw() as libc::id_t, options) {
            // What `waitid` calls the status of a stop are the upper bytes of `wait4`'s.
            Ok(Some(Change::Stopped(upper))) => Ok(Some(upper << 8 | 0x7f)),
            Ok(_) => Ok(None),
            Err(e) if e.raw_os_error() == Some(libc::ECHILD) => Ok(None),
            Err(e) => Err(error("waitid", tid.as_raw(), e)),
        }
    }

    /// Takes the end of a tracee of *any* thread of this process, if it has ended.
    pub(crate) fn take_end(&self, tid: Tid) -> io::Result<Option<i32>> {
        // wait4 has no way to ask for ends alone, and a stop must stay for its tracer; an end,
        // once seen, is followed by nothing else.
        match self.waitid(
            libc::P_PID,
            tid.as_raw() as libc::id_t,
            libc::WEXITED | libc::WNOHANG | libc::WNOWAIT | libc::__WCLONE,
        )? {
            Some(Change::Ended) => {
                let taken = self.wait4(tid.as_raw(), libc::__WCLONE | libc::WNOHANG)?;
                Ok(taken.map(|(_, status)| status))
            }
            _ => Ok(None),
        }
    }

    /// `waitid` with `WNOWAIT`: what the calling thread's tracee would report. Ends are looked at
    /// only.
    pub(crate) fn peek(&self, target: Target<'_>, ends_only: bool) -> Result<Peek> {
        let by_id = |tid: Tid| (libc::P_PID, tid.as_raw() as libc::id_t);
        let (kind, id) = match target {
            Target::Tid(tid) => by_id(tid),
            Target::Handle(handle) => match handle.raw() {
                Some(fd) => (libc::P_PIDFD, fd as libc::id_t),
                None => by_id(handle.tid()),
            },
        };
        let stops = if ends_only { 0 } else { libc::WSTOPPED };
        match self.waitid(kind, id, TRACEES | libc::WEXITED | stops | libc::WNOWAIT) {
            Ok(Some(change)) => Ok(Peek::Changed(change)),
            Ok(None) => Ok(Peek::Nothing),
            Err(e) if e.raw_os_error() == Some(libc::ECHILD) => Ok(Peek::NoChild),
            // Linux before 5.4 knows no such target.
            Err(e) if e.raw_os_error() == Some(libc::EINVAL) && kind == libc::P_PIDFD => {
                match target {
                    Target::Handle(handle) => self.peek(Target::Tid(handle.tid()), ends_only),
                    Target::Tid(_) => Ok(Peek::NoChild),
                }
            }
            Err(e) => Err(error("waitid", id as i32, e)),
        }
    }

    /// Whether a tracee of the calling thread has ended; `None` if it is none. Its end stays to be
    /// waited for.
    pub(crate) fn has_ended(&self, tid: Tid) -> Result<Option<bool>> {
        let options = TRACEES | libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
        match self.waitid(libc::P_PID, tid.as_raw() as libc::id_t, options) {
            // Stops of a tracee are reported even if not asked for.
            Ok(change) => Ok(Some(change == Some(Change::Ended))),
            Err(e) if e.raw_os_error() == Some(libc::ECHILD) => Ok(None),
            Err(e) => Err(error("waitid", tid.as_raw(), e)),
        }
    }

    /// Whether a process is a child of this process or a tracee of any thread of it, ended or not.
    pub(crate) fn is_own(&self, tid: Tid) -> bool {
        let options = libc::__WALL | libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
        self.waitid(libc::P_PID, tid.as_raw() as libc::id_t, options).is_ok()
    }

    /// The signal that stopped an ordinary, untraced child of this process, if one did.
    pub(crate) fn stopped_by(&self, pid: i32) -> Option<i32> {
        let options = libc::WSTOPPED | libc::WNOHANG | libc::WNOWAIT;
        match self.waitid(libc::P_PID, pid as libc::id_t, options) {
            Ok(Some(Change::Stopped(signal))) => Some(signal),
            _ => None,
        }
    }

    fn wait4(&self, id: i32, options: i32) -> io::Result<Option<(Tid, i32)>> {
        loop {
            self.count();
            let mut status = 0;
            let raw: *mut i32 = &mut status;
            let usage = std::ptr::null_mut::<libc::rusage>();
            // Not the C library's, at which a thread of the host can be cancelled in the middle of the
            // engine's work.
            // SAFETY: writes one int, which outlives the call; the usage pointer may be null.
            let found = unsafe { libc::syscall(libc::SYS_wait4, id, raw, options, usage) };
            match found as i32 {
                0 => return Ok(None),
                found @ 1.. => return Ok(Some((Tid::from_raw(found), status))),
                _ => {
                    let error = io::Error::last_os_error();
                    if error.kind() != io::ErrorKind::Interrupted {
                        return Err(error);
                    }
                }
            }
        }
    }

    fn waitid(
        &self,
        kind: libc::idtype_t,
        id: libc::id_t,
        options: i32,
    ) -> io::Result<Option<Change>> {
        loop {
            self.count();
            let mut info = Siginfo::default();
            let raw: *mut Siginfo = &mut info;
            // SAFETY: writes one `siginfo_t`, 128 bytes, into `info`, which has that length and
            // alignment and outlives the call.
            if unsafe { libc::waitid(kind, id, raw.cast(), options) } == 0 {
                return Ok(decode::change(&info));
            }
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
    }
}

fn no_hang(block: bool) -> i32 {
    if block { 0 } else { libc::WNOHANG }
}
