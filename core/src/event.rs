//! What a wait returns.

use std::fmt;

use crate::{BreakpointId, BreakpointSet, Pid, Signal, Stopped, Tid};

/// Something happened to a tracee.
///
/// An event owns the tokens of the stopped threads that it is about. Give it to
/// [`Tracer::resume`](crate::Tracer::resume) to run them all, or take it apart.
///
/// ```no_run
/// use std::process::Command;
/// use trapline::{Event, Resume, StopReason, Tracer};
///
/// let mut tracer = Tracer::builder().build()?;
/// tracer.spawn(Command::new("make"))?;
/// while let Some(event) = tracer.wait()? {
///     match &event {
///         Event::Forked(fork) => println!("{} is new", fork.child_pid),
///         Event::Stopped(stop) => match stop.reason() {
///             StopReason::Execed { .. } => println!("{} runs a new program", stop.pid()),
///             reason => println!("{}: {reason:?}", stop.tid()),
///         },
///         Event::Exited { pid, status, .. } => println!("{pid}: {status}"),
///         other => println!("{other:?}"),
///     }
///     tracer.resume(event, Resume::Continue)?;
/// }
/// # Ok::<(), trapline::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "the threads of an event stay stopped until it is resumed or detached"]
#[non_exhaustive]
pub enum Event {
    /// A thread stopped.
    Stopped(Stopped),
    /// A process made another one; both are stopped.
    Forked(Forked),
    /// A thread ended that was not the first of its process. The event comes under
    /// [`EventFlags::THREAD`](crate::EventFlags::THREAD), once for each thread that was reported as
    /// [`StopReason::ThreadStarted`]. It comes before the [`StopReason::Execed`] or the
    /// [`Event::Exited`] that ended the thread.
    ///
    /// There is one exception. If the end of a thread leaves no thread of its process running,
    /// because the others are halted or the caller has their tokens, the event comes whatever the
    /// flags are, and for a first thread too.
    ThreadExited {
        /// Its process.
        pid: Pid,
        /// The thread.
        tid: Tid,
    },
    /// A process ended. This comes once for each process, and is the last event of its pid.
    Exited {
        /// The process.
        pid: Pid,
        /// How it ended.
        status: ExitStatus,
        /// The real parent that it had when it ended; a process is not a parent because it traces.
        /// `None` if the kernel did not report it. If the parent has also ended, but its own
        /// `Exited` is still to come, this can still be that parent instead of the one that took
        /// over.
        real_parent: Option<Pid>,
    },
    /// A process got another real parent (under
    /// [`EventFlags::REPARENT`](crate::EventFlags::REPARENT)), mostly because its parent has ended.
    ///
    /// # Platform notes
    ///
    /// On FreeBSD it comes too when the parent has closed its descriptor of the process
    /// (`pdfork(2)`).
    Reparented {
        /// The process.
        pid: Pid,
        /// Its parent until now.
        from: Pid,
        /// Its parent from now on: a subreaper, a reaper or init. `None` if the tracer cannot name
        /// it, because it is in another pid namespace, or because the kernel does not report it.
        to: Option<Pid>,
    },
    /// A process has exec'ed and is not traced any more, by
    /// [`FollowExec::Detach`](crate::FollowExec::Detach) (under
    /// [`EventFlags::EXEC`](crate::EventFlags::EXEC)). It is the last event of the process, unless
    /// the process was killed before it could be detached.
    Detached {
        /// The process.
        pid: Pid,
    },
    /// A [`Waker`](crate::Waker) ended the wait.
    Woken,
}

/// A new process, and the thread that made it.
///
/// ```
/// use trapline::{Backend, Forked, Resume, Result, TracerOn};
///
/// /// Keeps the parent traced, and detaches the child.
/// fn follow_parent<B: Backend>(tracer: &mut TracerOn<B>, fork: Forked) -> Result<()> {
///     if let Some(child) = fork.child.into_stopped() {
///         tracer.detach(child)?;
///     }
///     if let Some(parent) = fork.parent.into_stopped() {
///         tracer.resume(parent, Resume::Continue)?;
///     }
///     Ok(())
/// }
/// ```
#[derive(Debug)]
#[must_use = "both sides stay stopped until they are resumed or detached"]
#[non_exhaustive]
pub struct Forked {
    /// How the process was made.
    pub kind: ForkKind,
    /// The process that forked. `None` if it was killed before the kernel could report the fork,
    /// unless only one living process can be the parent.
    pub parent_pid: Option<Pid>,
    /// The thread that forked; `None` if the kernel did not report it.
    pub parent_tid: Option<Tid>,
    /// The new process.
    pub child_pid: Pid,
    /// The thread that forked.
    pub parent: ForkSide,
    /// The first thread of the new process, before its first instruction.
    pub child: ForkSide,
}

/// One side of a fork.
///
/// ```
/// use trapline::ForkSide;
///
/// fn describe(side: &ForkSide) -> &'static str {
///     match side {
///         ForkSide::Stopped(_) => "stopped",
///         ForkSide::Detached => "not traced",
///         ForkSide::Gone => "killed already",
///     }
/// }
/// ```
#[derive(Debug)]
pub enum ForkSide {
    /// It is stopped, and this is its token.
    Stopped(Stopped),
    /// This side runs, and has no token. It is not traced: the follow policy detached it, or the
    /// caller did before this event was given. The exception is a living parent whose half of the
    /// fork was not reported: it is shown as `Detached`, but it is still traced.
    ///
    /// # Platform notes
    ///
    /// Linux does not report children that are made with both `CLONE_PTRACE` and `CLONE_UNTRACED`.
    /// Such a child is found by its own first stop, and shown as soon as its parent sleeps, or after
    /// 10 s.
    Detached,
    /// It was killed before it could be reported; [`Event::Exited`] follows.
    Gone,
}

impl ForkSide {
    /// The token, if this side is stopped.
    ///
    /// ```
    /// use trapline::ForkSide;
    ///
    /// assert!(ForkSide::Gone.into_stopped().is_none());
    /// ```
    pub fn into_stopped(self) -> Option<Stopped> {
        match self {
            ForkSide::Stopped(stop) => Some(stop),
            ForkSide::Detached | ForkSide::Gone => None,
        }
    }

    /// The token, if this side is stopped; it stays where it is.
    ///
    /// ```
    /// use trapline::{Forked, Tid};
    ///
    /// fn first_thread(fork: &Forked) -> Option<Tid> {
    ///     Some(fork.child.stopped()?.tid())
    /// }
    /// ```
    pub fn stopped(&self) -> Option<&Stopped> {
        match self {
            ForkSide::Stopped(stop) => Some(stop),
            ForkSide::Detached | ForkSide::Gone => None,
        }
    }
}

/// How a process was made.
///
/// ```
/// assert_eq!(trapline::ForkKind::Vfork.to_string(), "vfork");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ForkKind {
    /// `fork`, and what FreeBSD makes with `rfork` or `pdfork`.
    Fork,
    /// `vfork`: the parent waits until the child execs or ends, and shares its memory until then.
    Vfork,
    /// `clone` with an exit signal other than `SIGCHLD`.
    ///
    /// **Available:** Linux.
    Clone,
}

impl fmt::Display for ForkKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ForkKind::Fork => "fork",
            ForkKind::Vfork => "vfork",
            ForkKind::Clone => "clone",
        })
    }
}

/// How a process ended.
///
/// ```
/// use trapline::{ExitStatus, Signal};
///
/// assert_eq!(ExitStatus::Code(3).to_string(), "exit status 3");
/// let killed = ExitStatus::Killed { signal: Signal::SEGV, core_dumped: true };
/// assert_eq!(killed.to_string(), "killed by SIGSEGV (core dumped)");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ExitStatus {
    /// It exited with this code, 0 to 255.
    Code(i32),
    /// A signal killed it.
    Killed {
        /// The signal.
        signal: Signal,
        /// Whether it left a core file.
        core_dumped: bool,
    },
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExitStatus::Code(code) => write!(f, "exit status {code}"),
            ExitStatus::Killed { signal, core_dumped } => {
                write!(f, "killed by {signal}")?;
                if *core_dumped {
                    f.write_str(" (core dumped)")?;
                }
                Ok(())
            }
        }
    }
}

/// Why a thread is stopped.
///
/// ```
/// use trapline::{Signal, StopReason, Stopped};
///
/// /// Whether a stop is one that a debugger shows its user.
/// fn is_shown(stop: &Stopped) -> bool {
///     match stop.reason() {
///         StopReason::Signal(signal) => signal != Signal::CHLD,
///         StopReason::Trap(causes) => causes.software.is_some() || !causes.hardware.is_empty(),
///         _ => false,
///     }
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum StopReason {
    /// A signal is about to be delivered. Resuming the thread delivers it, unless
    /// [`Stopped::set_signal`] has chosen otherwise.
    Signal(Signal),
    /// Job control has stopped the process. To resume the thread leaves it stopped, as it would be
    /// without a tracer, until a `SIGCONT` comes.
    ///
    /// # Platform notes
    ///
    /// **Available:** Linux. FreeBSD ignores the stop signals of a traced process.
    GroupStop(Signal),
    /// A trap that the tracer asked for.
    Trap(TrapCauses),
    /// [`Tracer::interrupt`](crate::Tracer::interrupt) asked for the stop.
    Interrupted,
    /// The thread has nothing to report: it was halted for another thread of its process.
    Halted,
    /// Tracing starts here: the child of a fork before its first instruction, or a process that
    /// was attached to.
    Started,
    /// The thread has just made a process. This is the reason of the parent's token in an
    /// [`Event::Forked`], which says how, and which process. The stop is an event of its own only if
    /// the caller separates the tokens of the two sides and drops this one: a later wait then gives
    /// it again.
    Forked,
    /// The process has exec'ed successfully, and has this one thread now. The first stop of a
    /// spawned program has this reason too.
    Execed {
        /// The id that the thread had when it called `execve`, if it was not the first thread of
        /// the process. On Linux the thread has got the id of the first one.
        former_tid: Option<Tid>,
    },
    /// The thread's vfork child has exec'ed or ended.
    VforkDone,
    /// The thread is new, and before its first instruction.
    ThreadStarted,
    /// The thread is about to end. Its registers can still be read.
    ThreadExiting,
    /// The thread is at the entry of a system call, before that is carried out: under
    /// [`EventFlags::SYSCALL`](crate::EventFlags::SYSCALL), or on Linux because a seccomp filter has
    /// picked the call out.
    SyscallEntry,
    /// The thread is at the exit of a system call.
    SyscallExit,
    /// The kernel reports something that this library does not know.
    Unknown {
        /// What the kernel reports: a wait status (Linux) or `pl_flags` (FreeBSD).
        raw: u32,
    },
}

/// Why a thread trapped. It is a set, because one trap can have several causes.
///
/// ```
/// use trapline::{StopReason, Stopped};
///
/// fn describe(stop: &Stopped) -> Option<String> {
///     let StopReason::Trap(causes) = stop.reason() else { return None };
///     if let Some(id) = causes.software {
///         return Some(format!("breakpoint {id}"));
///     }
///     let watchpoints: Vec<String> = causes.hardware.iter().map(|id| id.to_string()).collect();
///     Some(match causes.single_step {
///         true => "a step".into(),
///         false => format!("watchpoints {}", watchpoints.join(", ")),
///     })
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct TrapCauses {
    /// The single step that was asked for is done.
    pub single_step: bool,
    /// The thread has arrived at this breakpoint in memory; the program counter is at it.
    pub software: Option<BreakpointId>,
    /// These breakpoints of the debug registers were hit.
    pub hardware: BreakpointSet,
    /// The list of the program's [modules](crate::Tracer::modules) has changed, and is consistent
    /// again (under [`EventFlags::MODULES`](crate::EventFlags::MODULES)). It is shown once for each
    /// change: when the libraries of a program are loaded, before their first instruction, and after
    /// each `dlopen` and `dlclose` that has loaded or unloaded something.
    pub modules_changed: bool,
}

impl TrapCauses {
    /// Whether no cause is known that the tracer has asked for, so that the trap is the program's
    /// own.
    ///
    /// ```
    /// assert!(trapline::TrapCauses::default().is_empty());
    /// ```
    #[inline]
    pub fn is_empty(self) -> bool {
        self == TrapCauses::default()
    }
}
