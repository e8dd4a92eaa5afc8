//! What the engine knows of a thread, and the states that it goes through.
//!
//! ```text
//! Announced -> Running <-> Listening          a group-stop that job control ends
//!     |           |
//!     |           +-> Forking ----------+     its child's first stop is awaited
//!     |           +-> Retrying ---------+     a question about the stop has failed
//!     |           v                     v
//!     +-------> Queued -> Given -> Running    the event; the token; it is resumed
//!                 |  \       \---> Resting    halted, and told to stay
//!                 v   \
//!         DeadQueued -> DeadGiven -> Free     killed in its stop, which is shown before its end
//! ```

use std::cell::RefCell;
use std::rc::Rc;

use crate::arena::ProcessHandle;
use crate::backend::{RawReason, Run, Setup, Thread};
use crate::debug::ThreadDebug;
use crate::{CpuSet, ForkKind, Pid, Signal, SignalSet, StopReason, Syscall};

use super::software::Soft;

/// A thread in the table.
pub(super) struct Slot {
    pub(super) generation: u32,
    pub(super) thread: Thread,
    /// Index of its process.
    pub(super) process: ProcessHandle,
    pub(super) state: State,
    /// What its last stop was, as far as its resumption depends on that.
    pub(super) stop: StopKind,
    /// The process that it has made at its last fork, and how: of a stop for that, what brings the two
    /// sides together again if both are dropped.
    pub(super) made: Option<(ForkKind, Pid)>,
    /// A stop that the kernel has reported behind the one that is being shown.
    pub(super) next: Option<RawReason>,
    /// What it was doing when it came to a stop that is taken in again.
    pub(super) before: Option<Box<State>>,
    /// An interrupt is on its way to it.
    pub(super) interrupt: Interrupt,
    /// What keeps it from running with its process.
    pub(super) hold: Hold,
    /// A signal that it is to get when it next runs: it had to stay with it.
    pub(super) kept: Option<Signal>,
    /// What delivers the signal of its stop.
    pub(super) delivery: Delivery,
    /// Signals that the tracer has sent it, for which no stop is reported.
    pub(super) injected: SignalSet,
    /// How it was last resumed.
    pub(super) run: Run,
    /// What it was resumed for, beyond that.
    pub(super) intent: Intent,
    /// Resumed by the user while another token of its process is out, where the kernel runs a
    /// process as a whole: what the last of them has to do for this one.
    pub(super) deferred: Option<(Run, Option<Signal>)>,
    /// What the kernel was last told of it.
    pub(super) applied: Option<Setup>,
    /// Whether the next system-call stop is an entry or an exit.
    pub(super) call_side: CallSide,
    /// The system call that it has entered last, if it was asked for.
    pub(super) call: RefCell<Option<Box<Syscall>>>,
    /// What the user knows of it.
    pub(super) reported: Reported,
    /// Where it would run without us, if that is not where the tracer would.
    pub(super) home: Option<Rc<CpuSet>>,
    /// Its debug registers, if they were ever used.
    pub(super) debug: Option<Box<ThreadDebug>>,
    /// What it has to do with breakpoints in memory.
    pub(super) soft: Soft,
}

/// Where a thread is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum State {
    /// Traced, and its first stop has not come.
    Announced,
    Running,
    /// In a group-stop that job control will end.
    Listening,
    /// Stopped at a fork, and its child's first stop has not come.
    Forking,
    /// Stopped; its event is in the queue.
    Queued(StopReason),
    /// Stopped; the user has the token.
    Given(StopReason),
    /// Stopped; a question about that has failed, and is asked again.
    Retrying(RawReason),
    /// Stopped without a token: halted, and told to stay.
    Resting,
    /// Killed in a stop whose event is in the queue; the kernel has told its end.
    DeadQueued(StopReason),
    /// Killed in a stop of which the user has the token; the kernel has told its end.
    DeadGiven(StopReason),
    /// There is no thread here.
    Free,
}

/// What a stop was, as far as the resumption depends on that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StopKind {
    /// Nothing depends on it.
    Other,
    /// It came from outside: a system call may have been interrupted for it, or a trap may wait behind
    /// it.
    Interruption,
    /// The same by a group-stop, which a resumption must not end.
    GroupStop,
    /// Near the end of a system call that has done its work: a fork, an exec. The kernel takes the
    /// way out of it for a step.
    EndOfCall,
    /// On its way out: not even SIGKILL takes it out of this stop, and its resumption is its end.
    WayOut,
}

/// What an interrupt is for; what the user has asked for counts more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Interrupt {
    None,
    /// Ours, for a halt or a detach.
    Internal,
    /// The user asked; an event must follow.
    Asked,
}

/// What keeps a thread from running with its process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hold {
    /// Nothing.
    Free,
    /// The user has told it to stay.
    Stays,
    /// It would miss breakpoints that are out of memory for the sake of a `vfork` child, where the
    /// kernel runs a process as a whole.
    KeptBack,
    /// Another one runs alone, where the kernel runs a process as a whole.
    Suspended,
}

/// What delivers the signal that a thread is stopped for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Delivery {
    /// The kernel, with the resumption.
    Kernel,
    /// The tracer sends it again: the kernel does not have it any more.
    Resend,
}

/// What a thread was resumed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Intent {
    /// Its next event.
    Event,
    /// To leave a system call, and to make a step then.
    StepBehindCall,
    /// The exit of a system call, which is an event whatever its process reports.
    CallExit,
}

/// Where a thread is with regard to a system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CallSide {
    /// Its next system-call stop is an entry.
    Outside,
    /// Its last stop was inside, so that the next one is the exit.
    Inside,
}

/// What the user knows of a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reported {
    /// Nothing, and nothing is told of its end.
    Nothing,
    /// That there is one, so that its end is an event.
    Birth,
    /// That it has ended; it is kept on its way out.
    End,
}

impl Slot {
    /// Whether it is stopped, or was when it was killed.
    #[inline]
    pub(super) fn is_stopped(&self) -> bool {
        match self.state {
            State::Forking
            | State::Queued(_)
            | State::Given(_)
            | State::Retrying(_)
            | State::Resting
            | State::DeadQueued(_)
            | State::DeadGiven(_) => true,
            State::Announced | State::Running | State::Listening | State::Free => false,
        }
    }

    /// Whether the kernel answers requests about it.
    #[inline]
    pub(super) fn can_be_asked(&self) -> bool {
        self.is_stopped() && !self.is_dead()
    }

    /// Whether its end was reported.
    #[inline]
    pub(super) fn is_dead(&self) -> bool {
        matches!(self.state, State::DeadQueued(_) | State::DeadGiven(_) | State::Free)
    }

    /// Whether an event or a token still names it.
    #[inline]
    pub(super) fn is_held(&self) -> bool {
        matches!(
            self.state,
            State::Queued(_) | State::Given(_) | State::DeadQueued(_) | State::DeadGiven(_)
        )
    }

    /// Whether an event of it is out or to come, so that its stop must not be ended yet.
    #[inline]
    pub(super) fn is_shown(&self) -> bool {
        matches!(
            self.state,
            State::Queued(_) | State::Given(_) | State::Forking | State::Retrying(_)
        )
    }

    /// Whether the user has its token.
    #[inline]
    pub(super) fn is_given(&self) -> bool {
        matches!(self.state, State::Given(_))
    }

    /// Whether it is stopped without an event or a token.
    #[inline]
    pub(super) fn rests(&self) -> bool {
        matches!(self.state, State::Resting)
    }

    /// Whether it does not run with its process: the user has told it to stay, or it is kept back.
    #[inline]
    pub(super) fn stays(&self) -> bool {
        matches!(self.hold, Hold::Stays | Hold::KeptBack)
    }

    /// Whether it waits in `vfork`, or is kept back until that is over.
    pub(super) fn waits_for_vfork(&self) -> bool {
        self.soft.vfork.waits() || self.hold == Hold::KeptBack
    }

    /// Whether the kernel may have interrupted a system call for its last stop.
    #[inline]
    pub(super) fn was_interrupted(&self) -> bool {
        matches!(self.stop, StopKind::Interruption | StopKind::GroupStop)
    }

    /// Its end was reported while an event or a token still names it.
    pub(super) fn died(&mut self) {
        self.state = match self.state {
            State::Queued(reason) => State::DeadQueued(reason),
            State::Given(reason) => State::DeadGiven(reason),
            other => other,
        };
    }

    /// Its event is given.
    pub(super) fn was_given(&mut self, reason: StopReason) {
        self.state = match self.state {
            State::DeadQueued(_) | State::DeadGiven(_) => State::DeadGiven(reason),
            _ => State::Given(reason),
        };
    }

    /// The user may know of it from now on.
    pub(super) fn was_born(&mut self) {
        if self.reported == Reported::Nothing {
            self.reported = Reported::Birth;
        }
    }
}
