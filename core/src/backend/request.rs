//! What a back end is asked with.

use std::time::{Duration, Instant};

use crate::{EventFlags, Pid, Tid};

/// What one stop stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopScope {
    /// One thread; the others run on (Linux).
    Thread,
    /// All threads of the process (FreeBSD).
    Process,
}

/// A thread and its process, as requests name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Thread {
    /// The process.
    pub pid: Pid,
    /// The thread.
    pub tid: Tid,
}

/// What is set in the kernel for a tracee.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Setup {
    /// What to report. A back end may report more, where the kernel can change it only at a stop.
    pub flags: EventFlags,
    /// What becomes of it when the tracer ends.
    pub on_exit: OnExit,
}

/// What becomes of a tracee when its tracer is dropped, or ends in any other way.
///
/// ```
/// use std::process::Command;
/// use trapline::{OnExit, SpawnOptions};
///
/// let server = SpawnOptions::new(Command::new("httpd")).on_exit(OnExit::Detach);
/// # drop(server);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OnExit {
    /// It is killed. This is the default for what was spawned.
    Kill,
    /// It is detached and lives on. This is the default for what was attached to.
    ///
    /// # Platform notes
    ///
    /// When the tracer is *killed*, FreeBSD decides for all tracees by the sysctl
    /// `kern.kill_on_debugger_exit`.
    Detach,
}

/// How long a wait may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// Not at all.
    Poll,
    /// About a millisecond: the engine expects something, and must look after something else if
    /// it does not come.
    Brief,
    /// Until something happens, or this moment has come.
    Until(Instant),
    /// Until something happens.
    Block,
}

impl Patience {
    /// How long [`Brief`](Patience::Brief) is, about.
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    /// use trapline::backend::Patience;
    ///
    /// /// When a wait is over.
    /// fn deadline(patience: Patience) -> Option<Instant> {
    ///     match patience {
    ///         Patience::Poll => Some(Instant::now()),
    ///         Patience::Brief => Some(Instant::now() + Patience::BRIEF),
    ///         Patience::Until(deadline) => Some(deadline),
    ///         Patience::Block => None,
    ///     }
    /// }
    /// ```
    pub const BRIEF: Duration = Duration::from_millis(1);
}

/// What a signal does to a process when it is delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Disposition {
    /// A handler of the program runs.
    Caught,
    /// Nothing that the program sees: it is ignored, or stops the process or has it go on.
    Ignored,
    /// It ends the process.
    Ends,
}

/// What runs when a thread is resumed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Run {
    /// Until the next event.
    Continue,
    /// One instruction.
    Step,
    /// Until the next event or the next entry or exit of a system call.
    Syscall,
}

/// Ends a blocked wait.
pub trait Wake: Send + Sync {
    /// May be called from any thread and any signal handler: it does nothing that is not
    /// async-signal-safe.
    fn wake(&self);
}
