//! What an event says, apart from the threads that it owns.

use crate::{Event, ExitStatus, ForkKind, ForkSide, Pid, StopReason, Tid};

/// What an [`Event`] says, as plain data: it can be sent to another thread, kept and compared. The tokens
/// of the event are not in it.
///
/// ```
/// use trapline_core::{Event, Notice, Pid};
///
/// let notice = Notice::from(&Event::Woken);
/// assert_eq!(notice.pid(), None);
/// assert_eq!(notice.threads(), []);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// A thread stopped: [`Event::Stopped`].
    Stopped {
        /// Its process.
        pid: Pid,
        /// The thread.
        tid: Tid,
        /// Why.
        reason: StopReason,
    },
    /// A process made another one: [`Event::Forked`].
    Forked {
        /// How.
        kind: ForkKind,
        /// The process that forked, where it is known.
        parent_pid: Option<Pid>,
        /// The new process.
        child_pid: Pid,
        /// The thread that forked, if it is stopped.
        parent: Option<Tid>,
        /// The first thread of the new process, if it is stopped.
        child: Option<Tid>,
    },
    /// A thread ended: [`Event::ThreadExited`].
    ThreadExited {
        /// Its process.
        pid: Pid,
        /// The thread.
        tid: Tid,
    },
    /// A process ended: [`Event::Exited`].
    Exited {
        /// The process.
        pid: Pid,
        /// How it ended.
        status: ExitStatus,
        /// The parent it had at its end.
        real_parent: Option<Pid>,
    },
    /// A process was given to another real parent: [`Event::Reparented`].
    Reparented {
        /// The process.
        pid: Pid,
        /// Its parent until now.
        from: Pid,
        /// Its parent from now on.
        to: Option<Pid>,
    },
    /// A process has exec'ed and is traced no more: [`Event::Detached`].
    Detached {
        /// The process.
        pid: Pid,
    },
    /// A waker ended a wait: [`Event::Woken`]. The handler of a
    /// [`TracerThread`](crate::TracerThread) is not told of it.
    Woken,
}

impl Notice {
    /// The process that it is about; for a fork its parent, if that is known.
    ///
    /// ```
    /// use trapline::{Event, Notice};
    ///
    /// assert_eq!(Notice::from(&Event::Woken).pid(), None);
    /// ```
    pub fn pid(&self) -> Option<Pid> {
        match self {
            Notice::Forked { parent_pid, .. } => *parent_pid,
            Notice::Stopped { pid, .. }
            | Notice::ThreadExited { pid, .. }
            | Notice::Exited { pid, .. }
            | Notice::Reparented { pid, .. }
            | Notice::Detached { pid } => Some(*pid),
            Notice::Woken => None,
        }
    }

    /// The threads that stay stopped until somebody resumes them: none, one, or the two of a fork.
    ///
    /// ```
    /// use trapline::{Event, Notice};
    ///
    /// assert!(Notice::from(&Event::Woken).threads().is_empty());
    /// ```
    pub fn threads(&self) -> Vec<Tid> {
        match *self {
            Notice::Stopped { tid, .. } => vec![tid],
            Notice::Forked { parent, child, .. } => child.into_iter().chain(parent).collect(),
            _ => Vec::new(),
        }
    }
}

impl From<&Event> for Notice {
    fn from(event: &Event) -> Self {
        let stopped = |side: &ForkSide| side.stopped().map(|stop| stop.tid());
        match event {
            Event::Stopped(stop) => {
                Notice::Stopped { pid: stop.pid(), tid: stop.tid(), reason: stop.reason() }
            }
            Event::Forked(fork) => Notice::Forked {
                kind: fork.kind,
                parent_pid: fork.parent_pid,
                child_pid: fork.child_pid,
                parent: stopped(&fork.parent),
                child: stopped(&fork.child),
            },
            &Event::ThreadExited { pid, tid } => Notice::ThreadExited { pid, tid },
            &Event::Exited { pid, status, real_parent } => {
                Notice::Exited { pid, status, real_parent }
            }
            &Event::Reparented { pid, from, to } => Notice::Reparented { pid, from, to },
            &Event::Detached { pid } => Notice::Detached { pid },
            Event::Woken => Notice::Woken,
        }
    }
}
