//! kqueue(2): what a wait sleeps on.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

use super::{Errno, Kernel, Result, check};

/// The one `EVFILT_USER` event, for the helper threads.
const HELPER: usize = 1;
/// The timers.
const TICKS: usize = 1;
const ONCE: usize = 2;
/// What a watched line has with it.
const LINE: *mut libc::c_void = std::ptr::without_provenance_mut(1);

/// Something that a queue reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// A watched process ended, with this wait status.
    Ended(i32, i32),
    /// A SIGCHLD was sent to this process.
    Child,
    /// A helper thread has something.
    Helper,
    /// A watched pipe can be read.
    Readable,
    /// A watched line can be read.
    Line,
    /// A timer.
    Tick,
}

/// A kernel queue. Children do not inherit it (kqueue(2)).
#[derive(Debug)]
pub(crate) struct Queue(OwnedFd);

impl Queue {
    pub(crate) fn new() -> io::Result<Queue> {
        // SAFETY: no arguments.
        let fd = check(unsafe { libc::kqueue() })?;
        // SAFETY: the descriptor is new, so it is ours alone.
        let queue = Queue(unsafe { OwnedFd::from_raw_fd(fd) });
        // SAFETY: the descriptor is open.
        check(unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) })?;
        queue.change(libc::SIGCHLD as usize, libc::EVFILT_SIGNAL, libc::EV_ADD, 0)?;
        queue.change(HELPER, libc::EVFILT_USER, libc::EV_ADD | libc::EV_CLEAR, 0)?;
        Ok(queue)
    }

    /// Reports when this can be read, as long as it can.
    pub(crate) fn watch_pipe(&self, fd: BorrowedFd<'_>) -> Result<()> {
        let fd = usize::try_from(fd.as_raw_fd()).map_err(|_| Errno::INVAL)?;
        self.change(fd, libc::EVFILT_READ, libc::EV_ADD, 0)
    }

    /// Reports when this can be read, until it is closed.
    pub(crate) fn watch_line(&self, fd: BorrowedFd<'_>) -> Result<()> {
        let fd = usize::try_from(fd.as_raw_fd()).map_err(|_| Errno::INVAL)?;
        let mut change = event(fd, libc::EVFILT_READ, libc::EV_ADD | libc::EV_CLEAR, 0);
        change.udata = LINE;
        self.apply(&change)
    }

    /// From any thread: makes the queue report [`Event::Helper`].
    pub(crate) fn notify(&self) -> Result<()> {
        self.change(HELPER, libc::EVFILT_USER, 0, libc::NOTE_TRIGGER)
    }

    /// Another descriptor of the same queue.
    pub(crate) fn copy(&self) -> io::Result<OwnedFd> {
        self.0.try_clone()
    }

    /// Reports a [`Event::Tick`] each time that so much has passed, in milliseconds.
    pub(crate) fn tick(&self, every: Duration) -> Result<()> {
        self.set_timer(TICKS, every, libc::EV_ADD)
    }

    /// Reports one after so long.
    pub(crate) fn tick_once(&self, time: Duration) -> Result<()> {
        self.set_timer(ONCE, time, libc::EV_ADD | libc::EV_ONESHOT)
    }

    fn set_timer(&self, ident: usize, time: Duration, flags: u16) -> Result<()> {
        let mut change = event(ident, libc::EVFILT_TIMER, flags, 0);
        change.data = i64::try_from(time.as_millis()).unwrap_or(i64::MAX).max(1);
        self.apply(&change)
    }

    fn change(&self, ident: usize, filter: i16, flags: u16, fflags: u32) -> Result<()> {
        self.apply(&event(ident, filter, flags, fflags))
    }

    fn apply(&self, change: &libc::kevent) -> Result<()> {
        // SAFETY: one change is read; no events are asked for.
        check(unsafe {
            libc::kevent(self.0.as_raw_fd(), change, 1, std::ptr::null_mut(), 0, std::ptr::null())
        })?;
        Ok(())
    }
}

impl Kernel {
    /// Reports the end of this process, at once if it has ended already. ESRCH if it is reaped.
    pub(crate) fn watch_end(&mut self, queue: &Queue, pid: i32) -> Result<()> {
        self.requests += 1;
        let pid = usize::try_from(pid).map_err(|_| Errno::SRCH)?;
        queue.change(pid, libc::EVFILT_PROC, libc::EV_ADD, libc::NOTE_EXIT)
    }

    /// Reports it no longer.
    pub(crate) fn ignore_end(&mut self, queue: &Queue, pid: i32) -> Result<()> {
        self.requests += 1;
        let pid = usize::try_from(pid).map_err(|_| Errno::SRCH)?;
        queue.change(pid, libc::EVFILT_PROC, libc::EV_DELETE, 0)
    }

    /// Sleeps until something is reported, or the time is over.
    pub(crate) fn sleep(
        &mut self,
        queue: &Queue,
        timeout: Duration,
        found: &mut Vec<Event>,
    ) -> Result<()> {
        self.requests += 1;
        let timeout = libc::timespec {
            tv_sec: timeout.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: timeout.subsec_nanos().into(),
        };
        let mut events = [event(0, 0, 0, 0); 16];
        // SAFETY: no changes are read; as many events are written as the array has, at most.
        let count = check(unsafe {
            libc::kevent(
                queue.0.as_raw_fd(),
                std::ptr::null(),
                0,
                events.as_mut_ptr(),
                events.len() as i32,
                &timeout,
            )
        })?;
        let count = usize::try_from(count).unwrap_or(0);
        found.extend(events.iter().take(count).filter_map(|event| match event.filter {
            libc::EVFILT_PROC => {
                Some(Event::Ended(i32::try_from(event.ident).ok()?, event.data as i32))
            }
            libc::EVFILT_SIGNAL => Some(Event::Child),
            libc::EVFILT_USER => Some(Event::Helper),
            libc::EVFILT_READ if event.udata == LINE => Some(Event::Line),
            libc::EVFILT_READ => Some(Event::Readable),
            libc::EVFILT_TIMER => Some(Event::Tick),
            _ => None,
        }));
        Ok(())
    }
}

fn event(ident: usize, filter: i16, flags: u16, fflags: u32) -> libc::kevent {
    libc::kevent { ident, filter, flags, fflags, data: 0, udata: std::ptr::null_mut(), ext: [0; 4] }
}
