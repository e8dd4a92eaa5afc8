//! What the engine knows of a process, and the states that it goes through.
//!
//! ```text
//! start:   Spawning | Attaching -> Shown        its first stop was shown
//! detach:  No <-> Cleaning                      its breakpoints are being taken out
//!          No -> Begun, Cleaning -> Clean       whatever stops is detached
//!          Begun -> Clean -> Partly             thread by thread
//! end:     Lives -> Killed -> Ended -> Reported
//! ```

use std::process::Child;
use std::rc::{Rc, Weak};

use crate::address_space::Shared;
use crate::backend::Setup;
use crate::debug::ProcessDebug;
use crate::{EventFlags, ExitStatus, InheritDebug, Pid, Tid};

use super::software::inherit::Heritage;

/// A process in the table.
pub(super) struct Process {
    pub(super) pid: Pid,
    /// Indices of its threads.
    pub(super) threads: Vec<u32>,
    /// The thread whose birth and death are the process's.
    pub(super) first: First,
    pub(super) real_parent: Option<Pid>,
    /// How many traced processes have it as their real parent.
    pub(super) children: u32,
    /// Tasks that may have made a child in its name, other than its threads of now: other children,
    /// which may have made a sibling, and threads that have ended. It never goes down.
    pub(super) other_candidates: u32,
    pub(super) setup: Setup,
    pub(super) start: Start,
    pub(super) detach: Detach,
    pub(super) end: End,
    /// A halt is under way or a `Halted` is out: what pauses rests.
    pub(super) halted: Option<Weak<()>>,
    /// How many requests want it stopped for a moment, and see to it that it runs again.
    pub(super) all_stops: u32,
    /// For a spawned one, what std knows of it.
    pub(super) child: Option<Child>,
    /// Its hardware breakpoints, if it ever had any.
    pub(super) debug: Option<Box<ProcessDebug>>,
    /// What inherits those.
    pub(super) inherit: InheritDebug,
    /// The breakpoints in its memory; `None` if there never were any.
    pub(super) space: Option<Shared>,
    /// Whose memory it may have, as long as that could not be found out.
    pub(super) heritage: Option<Box<Heritage>>,
    pub(super) origin: Origin,
    /// Others that are not traced may have its memory: it was attached to, or one of its family was
    /// detached.
    pub(super) may_share: bool,
    pub(super) births: Births,
}

/// The thread whose birth and death are the process's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum First {
    /// The next one.
    ToCome,
    This(Tid),
    /// It has ended before the others.
    Gone,
}

/// Whether the first stop of a process was shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// Spawned, and its exec was not.
    Spawning,
    /// Attached to, and its first stop was not.
    Attaching,
    Shown,
}

/// How far a process is on its way to being detached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Detach {
    /// It stays.
    No,
    /// It stays, and its breakpoints are being taken out.
    Cleaning,
    /// Whatever stops is detached, once its breakpoints are out.
    Begun,
    /// The same, and they are out.
    Clean,
    /// At least one of its threads has been.
    Partly,
}

/// Whether a process has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Lives,
    /// Killed by the user, where a killed process does not stop any more.
    Killed,
    /// The kernel has told its end.
    Ended(ExitStatus),
    /// Its `Exited` is in the queue or was given.
    Reported(ExitStatus),
}

/// Whether the maker of a process is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    Known,
    /// It is not: until it execs, it may have the memory of any other process.
    Unknown,
}

/// Whether the kernel tells of the births of a process's threads, where one stop stops the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Births {
    /// It was not told yet what to report.
    Unasked,
    Untold,
    Reported,
}

impl Process {
    pub(super) fn new(pid: Pid, real_parent: Option<Pid>, setup: Setup) -> Self {
        Process {
            pid,
            threads: Vec::new(),
            first: First::ToCome,
            real_parent,
            children: 0,
            other_candidates: 0,
            setup,
            start: Start::Shown,
            detach: Detach::No,
            end: End::Lives,
            halted: None,
            all_stops: 0,
            child: None,
            debug: None,
            inherit: InheritDebug::default(),
            space: None,
            heritage: None,
            origin: Origin::Known,
            may_share: false,
            births: Births::Unasked,
        }
    }

    /// The events that the user is told: of one that is being detached its end alone.
    #[inline]
    pub(super) fn reports(&self) -> EventFlags {
        if self.is_detaching() { EventFlags::empty() } else { self.setup.flags }
    }

    /// How it ended, once the kernel told it.
    #[inline]
    pub(super) fn exit_status(&self) -> Option<ExitStatus> {
        match self.end {
            End::Ended(status) | End::Reported(status) => Some(status),
            End::Lives | End::Killed => None,
        }
    }

    #[inline]
    pub(super) fn has_ended(&self) -> bool {
        matches!(self.end, End::Ended(_) | End::Reported(_))
    }

    #[inline]
    pub(super) fn is_halted(&self) -> bool {
        self.all_stops > 0 || self.is_kept()
    }

    /// Whether this is its memory.
    pub(super) fn has(&self, space: &Shared) -> bool {
        self.space.as_ref().is_some_and(|own| Rc::ptr_eq(own, space))
    }

    /// Whether a `Halted` is out.
    #[inline]
    pub(super) fn is_kept(&self) -> bool {
        self.halted.as_ref().is_some_and(|lease| lease.strong_count() > 0)
    }

    /// Whether it is on its way out of the tracer's hands.
    #[inline]
    pub(super) fn is_detaching(&self) -> bool {
        matches!(self.detach, Detach::Begun | Detach::Clean | Detach::Partly)
    }

    /// Whether its breakpoints were taken out, or are being taken out right now.
    fn is_cleaned(&self) -> bool {
        matches!(self.detach, Detach::Cleaning | Detach::Clean | Detach::Partly)
    }

    /// Whether whatever stops is detached; not while what has to happen before is on the way.
    #[inline]
    pub(super) fn detaches_at_stops(&self) -> bool {
        self.is_detaching() && self.all_stops == 0 && (self.is_cleaned() || self.space.is_none())
    }

    /// Whether it will be detached, after what has to happen before.
    #[inline]
    pub(super) fn is_leaving(&self) -> bool {
        self.is_detaching() && self.all_stops > 0
    }

    /// Whether at least one of its threads was detached.
    pub(super) fn is_partly_detached(&self) -> bool {
        self.detach == Detach::Partly
    }

    /// It is to be detached.
    pub(super) fn begin_detach(&mut self) {
        self.detach = match self.detach {
            Detach::No => Detach::Begun,
            Detach::Cleaning => Detach::Clean,
            begun => begun,
        };
    }

    /// It cannot be detached now, and stays as it is; not if a thread of it was detached already.
    pub(super) fn give_up_detach(&mut self) {
        self.detach = match self.detach {
            Detach::Begun => Detach::No,
            Detach::Clean => Detach::Cleaning,
            other => other,
        };
    }

    /// Its breakpoints are to be taken out; says whether that was not so before.
    pub(super) fn begin_cleaning(&mut self) -> bool {
        let cleaned = self.is_cleaned();
        self.detach = match self.detach {
            Detach::No => Detach::Cleaning,
            Detach::Begun => Detach::Clean,
            cleaned => cleaned,
        };
        !cleaned
    }

    /// They could not be.
    pub(super) fn give_up_cleaning(&mut self) {
        self.detach = match self.detach {
            Detach::Cleaning => Detach::No,
            Detach::Clean => Detach::Begun,
            other => other,
        };
    }

    /// A thread of it was detached.
    pub(super) fn lost_a_thread_to_detach(&mut self) {
        self.detach = Detach::Partly;
    }

    /// Its first stop is shown, or an exec has taken the place of that. Returns what was awaited.
    pub(super) fn take_start(&mut self) -> Start {
        std::mem::replace(&mut self.start, Start::Shown)
    }

    /// Whether no other task than its threads of now can have made a child in its name.
    pub(super) fn is_sole_candidate(&self) -> bool {
        self.other_candidates == 0
    }
}
