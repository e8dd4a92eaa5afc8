//! One error type, few variants, by meaning.

use std::borrow::Cow;
use std::io;

use crate::Pid;

/// The result of what can fail in this library.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, the same on every system.
///
/// Linux says `ESRCH` and FreeBSD `EBUSY`, `EPERM` or `ESRCH` for these; the back ends translate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The tracee, or the process that was named, no longer exists.
    #[error("the process or thread is gone")]
    Gone,

    /// The request needs a stopped thread, and this one runs.
    #[error("the thread is not stopped; halt the process first")]
    NotStopped,

    /// A wait for this process, or for a thread of it, would not end: nothing of it runs, and the caller
    /// has the tokens.
    #[error("nothing of process {pid} runs that is waited for; resume it first")]
    AtRest {
        /// The process.
        pid: i32,
    },

    /// A signal can be chosen only at a stop for a signal.
    #[error("this stop is not for a signal, so none can be passed on at it")]
    NotSignalStop,

    /// The kernel does not let us; `advice` says what can be done about it.
    #[error("not permitted to trace process {pid}: {advice}")]
    NotPermitted {
        /// The process that was to be traced.
        pid: i32,
        /// Why, and what to do.
        advice: Cow<'static, str>,
    },

    /// No tracee is left, and the end of this one was not seen: another part of this program has
    /// waited for it, or for any child, and so has taken it. Its [`Exited`](crate::Event::Exited)
    /// does not come.
    ///
    /// # Platform notes
    ///
    /// Linux; not while there is a waker. On FreeBSD the end is seen all the same. Linux also: a
    /// thread that the process had made with `CLONE_UNTRACED` has exec'ed, and so nobody traces it
    /// any more.
    #[error("process {pid} was waited for by another part of this program")]
    Taken {
        /// The process; one of them, if there are several.
        pid: i32,
    },

    /// This system cannot do it.
    #[error("{what} is not supported on {on}")]
    Unsupported {
        /// What was asked for.
        what: &'static str,
        /// The system.
        on: &'static str,
    },

    /// The CPU has too few free debug registers.
    #[error("needs {needed} debug registers, and {free} are free")]
    NoFreeSlot {
        /// How many registers the request needs.
        needed: usize,
        /// How many are free.
        free: usize,
    },

    /// Nothing is mapped there, or the address is not one that can be used so.
    #[error("bad address {addr:#x}")]
    BadAddress {
        /// The first byte that could not be used.
        addr: u64,
    },

    /// No process can have such a breakpoint.
    #[error("there is no such breakpoint: {why}")]
    BadBreakpoint {
        /// What is wrong with it.
        why: &'static str,
    },

    /// The program could not be started: what `std::process::Command::spawn` would have said.
    #[error("{0}")]
    Spawn(#[source] io::Error),

    /// Any other answer of the kernel.
    #[error("{request} for {id}: {source}")]
    Os {
        /// The request, by its name in the manual.
        request: &'static str,
        /// The thread or process it was for; -1 for all.
        id: i32,
        /// What the kernel said.
        source: io::Error,
    },

    /// The thread of a [`TracerThread`](crate::TracerThread) has ended, by a panic.
    #[error("the tracer's thread has ended")]
    Ended,

    /// Something has failed that the tracer does by itself for a process, which no call has asked
    /// for: to run it on from a stop that is not shown, to find out what a stop is for. The waits
    /// that follow do it again.
    #[error("process {pid}: {error}")]
    Tracee {
        /// The process.
        pid: Pid,
        /// What has failed.
        error: Box<Error>,
    },
}

impl Error {
    /// Whether this says that the tracee no longer exists.
    pub fn is_gone(&self) -> bool {
        matches!(self, Error::Gone)
    }

    /// The process that this is about, where it is said.
    pub fn pid(&self) -> Option<Pid> {
        match self {
            Error::Tracee { pid, .. } => Some(*pid),
            Error::NotPermitted { pid, .. } | Error::Taken { pid } | Error::AtRest { pid } => {
                Some(Pid::from_raw(*pid))
            }
            _ => None,
        }
    }

    /// What the kernel said, as in `errno(3)`, where it is that.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Error::Os { source, .. } | Error::Spawn(source) => source.raw_os_error(),
            Error::Tracee { error, .. } => error.errno(),
            _ => None,
        }
    }

    /// The same, said to be about a process.
    pub(crate) fn of(self, pid: Pid) -> Self {
        match self {
            error @ Error::Tracee { .. } => error,
            error => Error::Tracee { pid, error: Box::new(error) },
        }
    }
}

/// For requests that have succeeded if what they are about is gone: to run it, to let it go, to
/// kill it.
pub(crate) fn unless_gone<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(Error::Gone) => Ok(None),
        Err(error) => Err(error),
    }
}

impl From<Error> for std::io::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Spawn(source) => source,
            Error::Os { source, .. } => source,
            Error::Tracee { error, .. } => (*error).into(),
            other => std::io::Error::other(other),
        }
    }
}
