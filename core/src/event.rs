//! What a wait returns.

use std::fmt;

use crate::{BreakpointId, BreakpointSet, Pid, Signal, Stopped, Tid};

/// Something happened to a tracee.
///
/// Events that own stopped threads carry their tokens; give the event to
/// [`Tracer::resume`](crate::Tracer::resume) to run them all, or take it apart.
#[derive(Debug)]
#[must_use = "the threads of an event stay stopped until it is resumed or detached"]
#[non_exhaustive]
pub enum Event {
    /// A thread stopped.
    Stopped(Stopped),
    /// A process made another one; both are stopped.
    Forked(Forked),
    /// A thread other than its process's first ended (under
    /// [`EventFlags::THREAD`](crate::EventFlags::THREAD)). One for each that was reported as
    /// [`StopReason::ThreadStarted`], and before the [`StopReason::Execed`] or
    /// [`Event::Exited`] that took it along. Whatever the flags, and also of a first thread: an end
    /// that leaves nothing of the process running, since all its other threads stay at rest or their
    /// tokens are with the caller.
    ThreadExited {
        /// Its process.
        pid: Pid,
        /// The thread.
        tid: Tid,
    },
    /// A process ended: once for each, and the last event of its pid.
    Exited {
        /// The process.
        pid: Pid,
        /// How it ended.
        status: ExitStatus,
        /// The parent it had at its end, which is not the tracer for its tracing; `None` where
        /// the kernel never said. If the parent has ended as well, and its own `Exited` is still
        /// to come, this can be the one that it had until then.
        real_parent: Option<Pid>,
    },
    /// A process was given to another real parent (under
    /// [`EventFlags::REPARENT`](crate::EventFlags::REPARENT)): mostly because the one until now has
    /// ended, but on FreeBSD also because that has closed its descriptor of it (`pdfork(2)`).
    Reparented {
        /// The process.
        pid: Pid,
        /// Its parent until now.
        from: Pid,
        /// Its parent from now on: a subreaper, a reaper or init. `None` if the tracer cannot name
        /// it, for it is in another pid namespace, or nobody tells.
        to: Option<Pid>,
    },
    /// A process has exec'ed, and is traced no more, by
    /// [`FollowExec::LetGo`](crate::FollowExec::LetGo) (under
    /// [`EventFlags::EXEC`](crate::EventFlags::EXEC)). It is the last event of the process, unless
    /// that was killed before it could be detached.
    LetGo {
        /// The process.
        pid: Pid,
    },
    /// A [`Waker`](crate::Waker) ended the wait.
    Woken,
}

/// A new process, and the thread that made it.
#[derive(Debug)]
#[must_use = "both halves stay stopped until they are resumed or detached"]
pub struct Forked {
    /// How it was made.
    pub kind: ForkKind,
    /// The process that forked. `None` where it was killed before the kernel could say so, unless only
    /// one living process can have been it.
    pub parent_pid: Option<Pid>,
    /// The thread that forked; `None` where the kernel did not say so.
    pub parent_tid: Option<Tid>,
    /// The new process.
    pub child_pid: Pid,
    /// The thread that forked.
    pub parent: Half,
    /// The first thread of the new process, before its first instruction.
    pub child: Half,
}

/// One side of a fork.
#[derive(Debug)]
pub enum Half {
    /// It is stopped, and this is its token.
    Stopped(Stopped),
    /// It has no token, and runs. It is not traced, by the follow policy or because it was detached
    /// before this event was given; but a parent still is if all that was ever heard of the fork is
    /// the child.
    ///
    /// # Platform notes
    ///
    /// Linux does not tell of children that are made with both `CLONE_PTRACE` and `CLONE_UNTRACED`:
    /// each is heard of by its own first stop, and shown as soon as its parent sleeps, or after 10 s.
    LetGo,
    /// It was killed before it could be reported; [`Event::Exited`] follows.
    Gone,
}

impl Half {
    /// The token, if this half is stopped.
    pub fn into_stopped(self) -> Option<Stopped> {
        match self {
            Half::Stopped(stop) => Some(stop),
            Half::LetGo | Half::Gone => None,
        }
    }

    /// The token, if this half is stopped.
    pub fn stopped(&self) -> Option<&Stopped> {
        match self {
            Half::Stopped(stop) => Some(stop),
            Half::LetGo | Half::Gone => None,
        }
    }
}

/// How a process was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ForkKind {
    /// `fork`, and what FreeBSD makes with `rfork` or `pdfork`.
    Fork,
    /// `vfork`: the parent waits until the child execs or ends, and shares its memory until then.
    Vfork,
    /// Linux `clone` with an exit signal other than `SIGCHLD`.
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum StopReason {
    /// A signal is about to be delivered, and will be unless
    /// [`Stopped::set_signal`] says otherwise.
    Signal(Signal),
    /// Job control has stopped the process. To resume it leaves it stopped, as it would be
    /// without a tracer, until a `SIGCONT` comes.
    ///
    /// # Platform notes
    ///
    /// Linux only; FreeBSD ignores the stop signals of a traced process.
    GroupStop(Signal),
    /// A trap that the tracer asked for.
    Trap(TrapCauses),
    /// [`Tracer::interrupt`](crate::Tracer::interrupt) asked for it.
    Interrupted,
    /// It has nothing to say: it was halted for another thread of its process.
    AtRest,
    /// Tracing starts here: the child of a fork before its first instruction, or a process that
    /// was attached to.
    Started,
    /// It forked; the thread's half of an [`Event::Forked`].
    Forked {
        /// How.
        kind: ForkKind,
        /// The new process.
        child: Pid,
    },
    /// A successful exec; the process has this one thread now. The first stop of a spawned program
    /// is this one too.
    Execed {
        /// The id that the thread had when it called `execve`, if it was not the process's first
        /// thread; on Linux the thread has changed its id.
        former_tid: Option<Tid>,
    },
    /// Its vfork child has exec'ed or ended.
    VforkDone,
    /// A new thread, before its first instruction.
    ThreadStarted,
    /// The thread is about to end; its registers can still be read.
    ThreadExiting,
    /// At the entry of a system call, before it is carried out: under
    /// [`EventFlags::SYSCALL`](crate::EventFlags::SYSCALL), or (Linux) because a filter has picked
    /// it out.
    SyscallEntry,
    /// At the exit of a system call.
    SyscallExit,
    /// The kernel says something that this library does not know.
    Unknown {
        /// The kernel's own words: a wait status (Linux) or `pl_flags` (FreeBSD).
        raw: u32,
    },
}

/// Why a thread trapped: a set, for one trap can have several causes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct TrapCauses {
    /// The single step that was asked for is done.
    pub single_step: bool,
    /// This breakpoint in memory was reached; the program counter is at it.
    pub software: Option<BreakpointId>,
    /// These were hit by the debug registers.
    pub hardware: BreakpointSet,
}

impl TrapCauses {
    /// Whether no cause of ours is known, so that the trap is the program's own.
    #[inline]
    pub fn is_empty(self) -> bool {
        self == TrapCauses::default()
    }
}
