//! One error type, few variants, by meaning.

use std::borrow::Cow;
use std::{fmt, io};

use crate::Pid;

/// The result of what can fail in this library.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, the same on every system.
///
/// The kernels report one condition by different error numbers: Linux reports a tracee that is gone
/// as `ESRCH`, FreeBSD as `EBUSY`, `EPERM` or `ESRCH`. The back ends translate.
///
/// `Display` gives the whole message, with that of the kernel, so that
/// [`source`](std::error::Error::source) is `None` and a chain of errors names nothing twice. Two
/// errors are equal if they have the same variant, the same fields and the same error number.
///
/// ```
/// use trapline::{Error, Pid};
///
/// fn explain(error: &Error) -> String {
///     match error {
///         Error::Gone => "it has ended meanwhile".into(),
///         Error::NotPermitted { advice, .. } => format!("what you can do: {advice}"),
///         other => other.to_string(),
///     }
/// }
///
/// let pid = Pid::new(7).unwrap();
/// let error = Error::NotPermitted { pid, advice: "run the tracer as root".into() };
/// assert_eq!(error.to_string(), "not permitted to trace process 7: run the tracer as root");
/// assert_eq!(explain(&error), "what you can do: run the tracer as root");
/// assert_eq!(error.pid(), Some(pid));
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The tracee, or the process that was named, no longer exists.
    Gone,

    /// The request needs a stopped thread, and this one runs.
    NotStopped,

    /// A wait would never end: no thread runs that it could report, because the caller has the
    /// tokens of all of them.
    NotRunning {
        /// The process; one of them, if the wait is for all.
        pid: Pid,
    },

    /// A signal can be chosen only at a stop for a signal.
    NotSignalStop,

    /// The kernel does not permit it; `advice` says what can be done about that.
    NotPermitted {
        /// The process that was to be traced.
        pid: Pid,
        /// Why, and what to do.
        advice: Cow<'static, str>,
    },

    /// Another part of this program has waited for a tracee itself, or for any child, and has taken
    /// the end of this process. No tracee is left, and the [`Exited`](crate::Event::Exited) of this
    /// one does not come.
    ///
    /// # Platform notes
    ///
    /// Linux only, and not while there is a waker. FreeBSD's kernel reports the end all the same. On
    /// Linux the cause can also be a thread that the process had made with `CLONE_UNTRACED`: if that
    /// thread execs, nobody traces the process any more.
    Taken {
        /// The process; one of them, if there are several.
        pid: Pid,
    },

    /// This system cannot do it.
    Unsupported {
        /// What was asked for.
        what: &'static str,
        /// The system.
        on: &'static str,
    },

    /// The CPU has too few free debug registers.
    NoFreeSlot {
        /// How many registers the request needs.
        needed: usize,
        /// How many are free.
        free: usize,
    },

    /// Nothing is mapped at this address, or it cannot be used for this purpose.
    BadAddress {
        /// The first byte that could not be used.
        addr: u64,
    },

    /// No process can have such a breakpoint.
    BadBreakpoint {
        /// What is wrong with it.
        why: &'static str,
    },

    /// The program could not be started: what `std::process::Command::spawn` would have returned.
    Spawn(io::Error),

    /// Any other answer of the kernel.
    Os {
        /// The request, by its name in the manual.
        request: &'static str,
        /// The thread or process it was for; -1 for all.
        id: i32,
        /// What the kernel answered.
        source: io::Error,
    },

    /// The thread of a [`TracerThread`](crate::TracerThread) has ended, by a panic.
    Ended,

    /// Something failed that the tracer does for a process by itself, not for a call: resuming it
    /// from a stop that is not shown, or finding out what a stop is for. The waits that follow try
    /// it again.
    Tracee {
        /// The process.
        pid: Pid,
        /// What failed.
        error: Box<Error>,
    },
}

impl Error {
    /// Whether this says that the tracee no longer exists.
    ///
    /// ```
    /// use trapline::{Error, Result};
    ///
    /// /// For what need not be done any more if the process has ended.
    /// fn unless_gone(result: Result<()>) -> Result<()> {
    ///     match result {
    ///         Err(error) if error.is_gone() => Ok(()),
    ///         other => other,
    ///     }
    /// }
    ///
    /// assert!(unless_gone(Err(Error::Gone)).is_ok());
    /// assert!(unless_gone(Err(Error::NotStopped)).is_err());
    /// ```
    pub fn is_gone(&self) -> bool {
        matches!(self, Error::Gone)
    }

    /// The process that the error names, if it names one. That helps where the call did not name
    /// the process, as a wait, or named another one.
    ///
    /// ```
    /// use trapline::{Error, Pid};
    ///
    /// let pid = Pid::new(7).unwrap();
    /// assert_eq!(Error::Taken { pid }.pid(), Some(pid));
    /// let error = Error::Tracee { pid, error: Box::new(Error::NotStopped) };
    /// assert_eq!(error.pid(), Some(pid));
    /// ```
    pub fn pid(&self) -> Option<Pid> {
        match self {
            Error::Tracee { pid, .. }
            | Error::NotPermitted { pid, .. }
            | Error::Taken { pid }
            | Error::NotRunning { pid } => Some(*pid),
            _ => None,
        }
    }

    /// The error number of the kernel, as in `errno(3)`, if it was the kernel that refused.
    ///
    /// ```
    /// use trapline::Error;
    ///
    /// let source = std::io::Error::from_raw_os_error(1);
    /// let error = Error::Os { request: "PTRACE_CONT", id: 7, source };
    /// assert_eq!(error.errno(), Some(1));
    /// assert_eq!(Error::Gone.errno(), None);
    /// ```
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

impl Error {
    /// The same, of a call that is about several processes.
    pub(crate) fn of_one(self, pid: Pid) -> Self {
        match self {
            error @ (Error::Gone | Error::NotPermitted { .. }) => error,
            error => error.of(pid),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Gone => f.write_str("the process or thread is gone"),
            Error::NotStopped => f.write_str("the thread is not stopped; halt the process first"),
            Error::NotRunning { pid } => {
                write!(
                    f,
                    "no thread of process {pid} runs that a wait could report; resume it first"
                )
            }
            Error::NotSignalStop => {
                f.write_str("this stop is not for a signal, so none can be passed on at it")
            }
            Error::NotPermitted { pid, advice } => {
                write!(f, "not permitted to trace process {pid}: {advice}")
            }
            Error::Taken { pid } => {
                write!(f, "process {pid} was waited for by another part of this program")
            }
            Error::Unsupported { what, on } => write!(f, "{what} is not supported on {on}"),
            Error::NoFreeSlot { needed, free } => {
                write!(f, "needs {needed} debug registers, and {free} are free")
            }
            Error::BadAddress { addr } => write!(f, "bad address {addr:#x}"),
            Error::BadBreakpoint { why } => write!(f, "no process can have this breakpoint: {why}"),
            Error::Spawn(source) => source.fmt(f),
            Error::Os { request, id, source } => write!(f, "{request} for {id}: {source}"),
            Error::Ended => f.write_str("the tracer's thread has ended"),
            Error::Tracee { pid, error } => write!(f, "process {pid}: {error}"),
        }
    }
}

impl std::error::Error for Error {}

impl PartialEq for Error {
    fn eq(&self, other: &Self) -> bool {
        use Error::*;
        match (self, other) {
            (Gone, Gone)
            | (NotStopped, NotStopped)
            | (NotSignalStop, NotSignalStop)
            | (Ended, Ended) => true,
            (NotRunning { pid }, NotRunning { pid: other })
            | (Taken { pid }, Taken { pid: other }) => pid == other,
            (NotPermitted { pid, advice }, NotPermitted { pid: other, advice: others }) => {
                (pid, advice) == (other, others)
            }
            (Unsupported { what, on }, Unsupported { what: other, on: others }) => {
                (what, on) == (other, others)
            }
            (NoFreeSlot { needed, free }, NoFreeSlot { needed: other, free: others }) => {
                (needed, free) == (other, others)
            }
            (BadAddress { addr }, BadAddress { addr: other }) => addr == other,
            (BadBreakpoint { why }, BadBreakpoint { why: other }) => why == other,
            (Spawn(source), Spawn(other)) => is_same(source, other),
            (Os { request, id, source }, Os { request: other, id: others, source: theirs }) => {
                (request, id) == (other, others) && is_same(source, theirs)
            }
            (Tracee { pid, error }, Tracee { pid: other, error: others }) => {
                (pid, error) == (other, others)
            }
            _ => false,
        }
    }
}

impl Eq for Error {}

/// Whether two errors of `std` are the same to a user: it does not compare them itself.
fn is_same(one: &io::Error, other: &io::Error) -> bool {
    match (one.raw_os_error(), other.raw_os_error()) {
        (None, None) => one.kind() == other.kind() && one.to_string() == other.to_string(),
        (errno, other) => errno == other,
    }
}

impl Clone for Error {
    fn clone(&self) -> Self {
        let again = |source: &io::Error| match source.raw_os_error() {
            Some(errno) => io::Error::from_raw_os_error(errno),
            None => io::Error::new(source.kind(), source.to_string()),
        };
        match self {
            Error::Gone => Error::Gone,
            Error::NotStopped => Error::NotStopped,
            Error::NotRunning { pid } => Error::NotRunning { pid: *pid },
            Error::NotSignalStop => Error::NotSignalStop,
            Error::NotPermitted { pid, advice } => {
                Error::NotPermitted { pid: *pid, advice: advice.clone() }
            }
            Error::Taken { pid } => Error::Taken { pid: *pid },
            Error::Unsupported { what, on } => Error::Unsupported { what, on },
            Error::NoFreeSlot { needed, free } => {
                Error::NoFreeSlot { needed: *needed, free: *free }
            }
            Error::BadAddress { addr } => Error::BadAddress { addr: *addr },
            Error::BadBreakpoint { why } => Error::BadBreakpoint { why },
            Error::Spawn(source) => Error::Spawn(again(source)),
            Error::Os { request, id, source } => {
                Error::Os { request, id: *id, source: again(source) }
            }
            Error::Ended => Error::Ended,
            Error::Tracee { pid, error } => Error::Tracee { pid: *pid, error: error.clone() },
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

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Spawn(source) => source,
            Error::Os { source, .. } => source,
            Error::Tracee { error, .. } => (*error).into(),
            other => io::Error::other(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn each() -> Vec<Error> {
        let pid = Pid::from_raw(7);
        let denied = || io::Error::from_raw_os_error(1);
        vec![
            Error::Gone,
            Error::NotStopped,
            Error::NotRunning { pid },
            Error::NotSignalStop,
            Error::NotPermitted { pid, advice: "ask".into() },
            Error::Taken { pid },
            Error::Unsupported { what: "it", on: "Linux" },
            Error::NoFreeSlot { needed: 2, free: 1 },
            Error::BadAddress { addr: 1 },
            Error::BadAddress { addr: 2 },
            Error::BadBreakpoint { why: "too long" },
            Error::Spawn(denied()),
            Error::Spawn(io::Error::other("no pipe")),
            Error::Os { request: "PTRACE_CONT", id: 7, source: denied() },
            Error::Os { request: "PTRACE_CONT", id: 8, source: denied() },
            Error::Os { request: "PTRACE_CONT", id: 7, source: io::Error::from_raw_os_error(2) },
            Error::Ended,
            Error::Tracee { pid, error: Box::new(Error::NotStopped) },
        ]
    }

    #[test]
    fn an_error_equals_its_copy_and_no_other() {
        for (at, error) in each().iter().enumerate() {
            for (other_at, other) in each().iter().enumerate() {
                assert_eq!(*error == other.clone(), at == other_at, "{error:?} {other:?}");
            }
        }
    }

    #[test]
    fn a_chain_of_errors_names_nothing_twice() {
        for error in each() {
            let (mut said, mut next): (Vec<String>, Option<&dyn std::error::Error>) =
                (Vec::new(), Some(&error));
            while let Some(error) = next {
                let message = error.to_string();
                assert!(!said.iter().any(|outer| outer.contains(&message)), "{said:?} {message}");
                said.push(message);
                next = error.source();
            }
        }
        let errors = each();
        let os = errors.iter().find(|error| matches!(error, Error::Os { .. })).unwrap();
        assert!(os.to_string().starts_with("PTRACE_CONT for 7: "), "{os}");
        assert!(os.to_string().len() > "PTRACE_CONT for 7: ".len(), "the kernel's words are in it");
    }
}
