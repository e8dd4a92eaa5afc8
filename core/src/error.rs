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
/// An error of a call about a process, or about a thread of one, names the process: see
/// [`Error::pid`].
///
/// `Display` gives the whole message, with the process and that of the kernel, so that
/// [`source`](std::error::Error::source) is `None` and a chain of errors names nothing twice. Two
/// errors are equal if they have the same variant, the same fields and the same error number.
///
/// ```
/// use trapline::{Error, Pid};
///
/// fn explain(error: &Error) -> String {
///     match error {
///         Error::Gone { .. } => "it has ended meanwhile".into(),
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
    Gone {
        /// The process; `None` if that is not known.
        pid: Option<Pid>,
    },

    /// The request needs a stopped thread, and this one runs.
    NotStopped {
        /// The process, if the error is of a call about one.
        pid: Option<Pid>,
    },

    /// A wait would never end: no thread runs that it could report, because the caller has the
    /// tokens of all of them.
    NotRunning {
        /// The process; one of them, if the wait is for all.
        pid: Pid,
    },

    /// A signal can be chosen only at a stop for a signal.
    NotSignalStop {
        /// The process, if the error is of a call about one.
        pid: Option<Pid>,
    },

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
    /// **Available:** Linux, and not while there is a waker. FreeBSD's kernel reports the end all the same. On
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
        /// The process, if the error is of a call about one.
        pid: Option<Pid>,
    },

    /// The CPU has too few free debug registers.
    NoFreeSlot {
        /// How many registers the request needs.
        needed: usize,
        /// How many are free.
        free: usize,
        /// The process, if the error is of a call about one.
        pid: Option<Pid>,
    },

    /// Nothing is mapped at this address, or it cannot be used for this purpose.
    BadAddress {
        /// The first byte that could not be used.
        addr: u64,
        /// The process, if the error is of a call about one.
        pid: Option<Pid>,
    },

    /// No process can have such a breakpoint.
    BadBreakpoint {
        /// What is wrong with it.
        why: &'static str,
        /// The process, if the error is of a call about one.
        pid: Option<Pid>,
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
        /// The process, if the error is of a call about one.
        pid: Option<Pid>,
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
    /// assert!(unless_gone(Err(Error::Gone { pid: None })).is_ok());
    /// assert!(unless_gone(Err(Error::NotStopped { pid: None })).is_err());
    /// ```
    pub fn is_gone(&self) -> bool {
        matches!(self, Error::Gone { .. })
    }

    /// The process that the error is about. Each error of a call about a process or a thread has
    /// it, and so has each error of a wait that is about one. It is `None` where no process is
    /// concerned, or none yet: for [`Spawn`](Error::Spawn), [`Ended`](Error::Ended), and a request
    /// such as a wait for all.
    ///
    /// ```
    /// use trapline::fake::{Kernel, LinuxRules};
    /// use trapline::{Error, TracerOn};
    ///
    /// let kernel = Kernel::<LinuxRules>::new();
    /// let pid = kernel.start();
    /// let mut tracer = TracerOn::builder().build_on(kernel.backend());
    /// let error = tracer.interrupt(pid).unwrap_err(); // it is not traced yet
    /// assert_eq!(error, Error::Gone { pid: Some(pid) });
    /// assert_eq!(error.pid(), Some(pid));
    /// ```
    pub fn pid(&self) -> Option<Pid> {
        match self {
            Error::Tracee { pid, .. }
            | Error::NotPermitted { pid, .. }
            | Error::Taken { pid }
            | Error::NotRunning { pid } => Some(*pid),
            Error::Gone { pid }
            | Error::NotStopped { pid }
            | Error::NotSignalStop { pid }
            | Error::Unsupported { pid, .. }
            | Error::NoFreeSlot { pid, .. }
            | Error::BadAddress { pid, .. }
            | Error::BadBreakpoint { pid, .. }
            | Error::Os { pid, .. } => *pid,
            Error::Spawn(_) | Error::Ended => None,
        }
    }

    /// The error number of the kernel, as in `errno(3)`, if it was the kernel that refused.
    ///
    /// ```
    /// use trapline::Error;
    ///
    /// let source = std::io::Error::from_raw_os_error(1);
    /// let error = Error::Os { request: "PTRACE_CONT", id: 7, source, pid: None };
    /// assert_eq!(error.errno(), Some(1));
    /// assert_eq!(Error::Gone { pid: None }.errno(), None);
    /// ```
    pub fn errno(&self) -> Option<i32> {
        match self {
            Error::Os { source, .. } | Error::Spawn(source) => source.raw_os_error(),
            Error::Tracee { error, .. } => error.errno(),
            _ => None,
        }
    }

    /// The same, said to be about a process, unless it names one already.
    #[doc(hidden)]
    pub fn about(mut self, process: Pid) -> Self {
        match &mut self {
            Error::Gone { pid }
            | Error::NotStopped { pid }
            | Error::NotSignalStop { pid }
            | Error::Unsupported { pid, .. }
            | Error::NoFreeSlot { pid, .. }
            | Error::BadAddress { pid, .. }
            | Error::BadBreakpoint { pid, .. }
            | Error::Os { pid, .. } => *pid = pid.or(Some(process)),
            Error::Tracee { .. }
            | Error::NotPermitted { .. }
            | Error::Taken { .. }
            | Error::NotRunning { .. }
            | Error::Spawn(_)
            | Error::Ended => {}
        }
        self
    }

    /// The same, of what the tracer does by itself.
    pub(crate) fn of(self, pid: Pid) -> Self {
        match self {
            error @ Error::Tracee { .. } => error,
            error => Error::Tracee { pid, error: Box::new(error.about(pid)) },
        }
    }
}

/// What those make who do not know the process: the methods of a tracer say which it is.
#[doc(hidden)]
impl Error {
    pub const GONE: Error = Error::Gone { pid: None };
    pub const NOT_STOPPED: Error = Error::NotStopped { pid: None };
    pub const NOT_SIGNAL_STOP: Error = Error::NotSignalStop { pid: None };

    pub const fn unsupported(what: &'static str, on: &'static str) -> Self {
        Error::Unsupported { what, on, pid: None }
    }

    pub const fn no_free_slot(needed: usize, free: usize) -> Self {
        Error::NoFreeSlot { needed, free, pid: None }
    }

    pub const fn bad_address(addr: u64) -> Self {
        Error::BadAddress { addr, pid: None }
    }

    pub const fn bad_breakpoint(why: &'static str) -> Self {
        Error::BadBreakpoint { why, pid: None }
    }

    pub const fn os(request: &'static str, id: i32, source: io::Error) -> Self {
        Error::Os { request, id, source, pid: None }
    }
}

/// What a call about a process or thread returns.
pub(crate) trait About {
    /// The same, with the process in an error.
    fn about(self, pid: Pid) -> Self;
}

impl<T> About for Result<T> {
    #[inline]
    fn about(self, pid: Pid) -> Self {
        self.map_err(|error| error.about(pid))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::NotRunning { .. } | Error::NotPermitted { .. } | Error::Taken { .. } => {}
            error => {
                if let Some(pid) = error.pid() {
                    write!(f, "process {pid}: ")?;
                }
            }
        }
        self.fmt_what(f)
    }
}

impl Error {
    /// The message without the process that it is about.
    fn fmt_what(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Gone { .. } => f.write_str("the process or thread is gone"),
            Error::NotStopped { .. } => {
                f.write_str("the thread is not stopped; halt the process first")
            }
            Error::NotRunning { pid } => {
                write!(
                    f,
                    "no thread of process {pid} runs that a wait could report; resume it first"
                )
            }
            Error::NotSignalStop { .. } => {
                f.write_str("this stop is not for a signal, so none can be passed on at it")
            }
            Error::NotPermitted { pid, advice } => {
                write!(f, "not permitted to trace process {pid}: {advice}")
            }
            Error::Taken { pid } => {
                write!(f, "process {pid} was waited for by another part of this program")
            }
            Error::Unsupported { what, on, .. } => write!(f, "{what} is not supported on {on}"),
            Error::NoFreeSlot { needed, free, .. } => {
                write!(f, "needs {needed} debug registers, and {free} are free")
            }
            Error::BadAddress { addr, .. } => write!(f, "bad address {addr:#x}"),
            Error::BadBreakpoint { why, .. } => {
                write!(f, "no process can have this breakpoint: {why}")
            }
            Error::Spawn(source) => write!(f, "{source}"),
            Error::Os { request, id, source, pid } => match pid {
                Some(pid) if pid.as_raw() == *id => write!(f, "{request}: {source}"),
                _ => write!(f, "{request} for {id}: {source}"),
            },
            Error::Ended => f.write_str("the tracer's thread has ended"),
            Error::Tracee { pid, error } => match error.pid() {
                Some(other) if other != *pid => write!(f, "{error}"),
                _ => error.fmt_what(f),
            },
        }
    }
}

impl std::error::Error for Error {}

impl PartialEq for Error {
    fn eq(&self, other: &Self) -> bool {
        use Error::*;
        self.pid() == other.pid()
            && match (self, other) {
                (Gone { .. }, Gone { .. })
                | (NotStopped { .. }, NotStopped { .. })
                | (NotSignalStop { .. }, NotSignalStop { .. })
                | (NotRunning { .. }, NotRunning { .. })
                | (Taken { .. }, Taken { .. })
                | (Ended, Ended) => true,
                (NotPermitted { advice, .. }, NotPermitted { advice: other, .. }) => {
                    advice == other
                }
                (Unsupported { what, on, .. }, Unsupported { what: other, on: others, .. }) => {
                    (what, on) == (other, others)
                }
                (NoFreeSlot { needed, free, .. }, NoFreeSlot { needed: n, free: f, .. }) => {
                    (needed, free) == (n, f)
                }
                (BadAddress { addr, .. }, BadAddress { addr: other, .. }) => addr == other,
                (BadBreakpoint { why, .. }, BadBreakpoint { why: other, .. }) => why == other,
                (Spawn(source), Spawn(other)) => is_same(source, other),
                (
                    Os { request, id, source, .. },
                    Os { request: other, id: others, source: theirs, .. },
                ) => (request, id) == (other, others) && is_same(source, theirs),
                (Tracee { error, .. }, Tracee { error: other, .. }) => error == other,
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
        match *self {
            Error::Gone { pid } => Error::Gone { pid },
            Error::NotStopped { pid } => Error::NotStopped { pid },
            Error::NotRunning { pid } => Error::NotRunning { pid },
            Error::NotSignalStop { pid } => Error::NotSignalStop { pid },
            Error::NotPermitted { pid, ref advice } => {
                Error::NotPermitted { pid, advice: advice.clone() }
            }
            Error::Taken { pid } => Error::Taken { pid },
            Error::Unsupported { what, on, pid } => Error::Unsupported { what, on, pid },
            Error::NoFreeSlot { needed, free, pid } => Error::NoFreeSlot { needed, free, pid },
            Error::BadAddress { addr, pid } => Error::BadAddress { addr, pid },
            Error::BadBreakpoint { why, pid } => Error::BadBreakpoint { why, pid },
            Error::Spawn(ref source) => Error::Spawn(again(source)),
            Error::Os { request, id, ref source, pid } => {
                Error::Os { request, id, source: again(source), pid }
            }
            Error::Ended => Error::Ended,
            Error::Tracee { pid, ref error } => Error::Tracee { pid, error: error.clone() },
        }
    }
}

/// For requests that have succeeded if what they are about is gone: to run it, to let it go, to
/// kill it.
pub(crate) fn unless_gone<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(Error::Gone { .. }) => Ok(None),
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
        let (gone, other) = (Error::GONE, Pid::from_raw(8));
        vec![
            gone.clone().about(pid),
            gone.clone().about(other),
            gone,
            Error::NOT_STOPPED,
            Error::NotRunning { pid },
            Error::NOT_SIGNAL_STOP,
            Error::NotPermitted { pid, advice: "ask".into() },
            Error::Taken { pid },
            Error::unsupported("it", "Linux"),
            Error::no_free_slot(2, 1),
            Error::bad_address(1),
            Error::bad_address(2),
            Error::bad_breakpoint("too long"),
            Error::Spawn(denied()),
            Error::Spawn(io::Error::other("no pipe")),
            Error::os("PTRACE_CONT", 7, denied()),
            Error::os("PTRACE_CONT", 8, denied()),
            Error::os("PTRACE_CONT", 7, io::Error::from_raw_os_error(2)),
            Error::Ended,
            Error::NOT_STOPPED.of(pid),
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

    #[test]
    fn a_message_names_its_process_once() {
        let pid = Pid::from_raw(4711);
        for error in each() {
            let has = error.pid();
            let error = error.about(pid);
            assert_eq!(error.clone().about(Pid::from_raw(1)), error, "the first one counts");
            let named = error.to_string().matches("4711").count();
            let is_ours = error.pid() == Some(pid) && has.is_none();
            assert_eq!(named, usize::from(is_ours), "{error}");
            let of = error.of(Pid::from_raw(4711));
            assert!(of.to_string().matches("4711").count() <= 1, "{of}");
        }
        let same = Error::os("PTRACE_CONT", 4711, io::Error::from_raw_os_error(1)).about(pid);
        assert!(same.to_string().starts_with("process 4711: PTRACE_CONT: "), "{same}");
    }
}
