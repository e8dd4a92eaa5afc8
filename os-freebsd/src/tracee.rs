//! What is remembered of a tracee: what was set in the kernel, and what that must not be asked twice. No
//! policy depends on it.

use std::collections::BTreeMap;

use trapline_core::backend::Setup;
use trapline_core::{SyscallAbi, Tid};

use crate::decode::{EventMask, Expected};
use crate::duplicates::Signals;
use crate::stuck::Wakeup;
use crate::sys::EndSignal;

/// How far the tracing of a process has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It was forked or spawned, and has not stopped yet.
    New,
    /// It was attached to, and has not stopped yet. This is set up at its first stop.
    Attached(Setup),
    /// It has stopped once.
    Seen,
}

/// Where a tracee comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// It is a child of this process.
    Spawned,
    /// It was attached to, or a tracee has made it.
    Elsewhere,
}

/// The debug registers of a tracee. Old kernels copy them to its children.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DebugRegisters {
    Untouched,
    /// They were set by the tracer.
    Set,
}

/// What is remembered of a tracee.
#[derive(Debug)]
pub(crate) struct Tracee {
    pub(crate) phase: Phase,
    pub(crate) origin: Origin,
    /// The signal that reports its end, and so which waits find it.
    pub(crate) end_signal: EndSignal,
    /// The event mask that the kernel has.
    pub(crate) mask: EventMask,
    /// The mask that [`Backend::set_up`](trapline_core::Backend::set_up) asked for.
    pub(crate) wanted: EventMask,
    /// The stops that we asked for ourselves.
    pub(crate) expected: Expected,
    pub(crate) steps: Steps,
    /// The LWP whose next report is the exit of a system call that the kernel hid.
    pub(crate) hidden_exit: Option<Tid>,
    pub(crate) signals: Signals,
    /// Signals of ours that are still to be reported.
    pub(crate) wakeups: Vec<Wakeup>,
    pub(crate) debug: DebugRegisters,
    /// The ABI of its program's system calls, once that was asked.
    pub(crate) abi: Option<SyscallAbi>,
    /// What its memory has where there are breakpoint instructions, for children that are detached.
    pub(crate) original_code: Vec<(u64, Vec<u8>)>,
}

impl Tracee {
    /// A process whose tracing has just begun.
    pub(crate) fn new() -> Tracee {
        Tracee {
            phase: Phase::New,
            origin: Origin::Elsewhere,
            end_signal: EndSignal::Sigchld,
            mask: EventMask::FIRST,
            wanted: EventMask::FIRST,
            expected: Expected::default(),
            steps: Steps::default(),
            hidden_exit: None,
            signals: Signals::default(),
            wakeups: Vec::new(),
            debug: DebugRegisters::Untouched,
            abi: None,
            original_code: Vec::new(),
        }
    }

    /// Whether it has stopped once.
    pub(crate) fn was_seen(&self) -> bool {
        self.phase == Phase::Seen
    }

    /// It has stopped. Returns what is to be set up now, if it was attached to.
    pub(crate) fn has_stopped(&mut self) -> Option<Setup> {
        match std::mem::replace(&mut self.phase, Phase::Seen) {
            Phase::Attached(setup) => Some(setup),
            Phase::New | Phase::Seen => None,
        }
    }
}

/// How far a step of an LWP has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// It was started and has not been reported.
    Started,
    /// It was taken back inside a system call, and so may trap at the end of that.
    TakenBack,
}

/// The steps of a tracee, by LWP.
#[derive(Debug, Default)]
pub(crate) struct Steps(BTreeMap<i32, Step>);

impl Steps {
    pub(crate) fn start(&mut self, tid: i32) {
        self.0.insert(tid, Step::Started);
    }

    pub(crate) fn is_started(&self, tid: i32) -> bool {
        self.0.get(&tid) == Some(&Step::Started)
    }

    /// An LWP is not to step any more.
    pub(crate) fn cancel(&mut self, tid: i32) {
        if self.is_started(tid) {
            self.0.remove(&tid);
        }
    }

    /// A step was taken back, and the LWP may trap for it nevertheless or not.
    pub(crate) fn take_back(&mut self, tid: i32, may_trap: bool) {
        self.0.remove(&tid);
        if may_trap {
            self.0.insert(tid, Step::TakenBack);
        }
    }

    /// An LWP has trapped: says whether that may be for a step that was taken back, which is
    /// forgotten then.
    pub(crate) fn take_trap(&mut self, tid: i32) -> bool {
        let taken_back = self.0.get(&tid) == Some(&Step::TakenBack);
        if taken_back {
            self.0.remove(&tid);
        }
        taken_back
    }

    /// The process has a new image, whose flags are new.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// The LWPs that may trap for a step of ours.
    pub(crate) fn lwps(&self) -> Vec<i32> {
        self.0.keys().copied().collect()
    }
}
