//! What is known of a process and its threads.

use std::ops::Range;
use std::path::PathBuf;

use trapline::{ForkKind, Halted, Next, Pid, Signal, Stopped, Tid};

use super::Inserted;
use crate::packet::PointKind;
use crate::regs::{Known, Layout};

/// How a process came here, and so what becomes of it when the client goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    Started,
    Attached,
}

/// Why a thread has stopped, in the client's terms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stop {
    /// A signal, which it will get if the client says so.
    Signal(Signal),
    /// It has trapped by itself, or begins.
    Trap,
    /// A step is done.
    Stepped,
    SoftwareBreakpoint {
        addr: u64,
    },
    HardwareBreakpoint {
        addr: u64,
    },
    Watchpoint {
        kind: PointKind,
        addr: u64,
    },
    /// The client has asked for it.
    Interrupted,
    /// It was to stop, and nothing else has happened.
    Quiet,
    Forked {
        kind: ForkKind,
        child: Pid,
        child_tid: Tid,
    },
    VforkDone,
    Execed(PathBuf),
    ThreadStarted,
    SyscallEntry(u64),
    SyscallReturn(u64),
}

/// What the client wants a thread to do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Wants {
    #[default]
    Nothing,
    Continue,
    Step,
    /// Steps as long as it is among these instructions.
    StepWithin(Range<u64>),
}

/// A thread.
#[derive(Debug)]
pub(crate) struct Thread {
    pub(crate) tid: Tid,
    /// It is at rest, and this is its token.
    pub(crate) stop: Option<Stopped>,
    pub(crate) wants: Wants,
    /// Why it has stopped, which the client has not been told.
    pub(crate) pending: Option<Stop>,
    /// When that was.
    pub(crate) order: u64,
    /// What the client was told last.
    pub(crate) told: Option<Stop>,
    /// The token's signal was told to the client, which decides about it.
    pub(crate) decides: bool,
    /// The signals that the client wants it to get, which it has not got: it may be told to run more
    /// than once before it does.
    pub(crate) signals: Vec<Signal>,
    pub(crate) known: Known,
    /// It waits for this child of its vfork, and cannot stop before that is over.
    pub(crate) in_vfork: Option<Pid>,
}

impl Thread {
    pub(crate) fn new(tid: Tid) -> Self {
        Thread {
            tid,
            stop: None,
            wants: Wants::Nothing,
            pending: None,
            order: 0,
            told: None,
            decides: false,
            signals: Vec::new(),
            known: Known::default(),
            in_vfork: None,
        }
    }

    /// Whether the client is to be told of its stop.
    pub(crate) fn is_due(&self) -> bool {
        self.pending.is_some() && self.wants != Wants::Nothing
    }

    /// Whether a Ctrl-C can be answered by it: the client has it run, and nothing has stopped it.
    pub(crate) fn can_be_interrupted(&self) -> bool {
        self.next() != Next::Stay && self.in_vfork.is_none()
    }

    /// Whether it was to step.
    pub(crate) fn steps(&self) -> bool {
        matches!(self.wants, Wants::Step | Wants::StepWithin(_))
    }

    /// Whether it runs: not one that stays, of which the halt of its process may have the token.
    fn runs(&self) -> bool {
        self.stop.is_none() && (self.in_vfork.is_some() || self.next() != Next::Stay)
    }

    /// The client is told of a stop.
    pub(crate) fn tell(&mut self, stop: Stop) {
        self.decides = matches!(stop, Stop::Signal(_));
        self.told = Some(stop);
        self.wants = Wants::Nothing;
    }

    /// What it does when its process is run.
    pub(crate) fn next(&self) -> Next {
        match (&self.pending, &self.wants) {
            (Some(_), _) | (None, Wants::Nothing) => Next::Stay,
            (None, Wants::Continue) => Next::Continue,
            (None, Wants::Step | Wants::StepWithin(_)) => Next::Step,
        }
    }

    /// It is going to run, or to stay without a token.
    pub(crate) fn leave(&mut self) {
        if self.next() != Next::Stay {
            if self.in_vfork.is_none() {
                self.known = Known::default(); // else it stays where it is, without a token
            }
            self.told = None;
            self.decides = false;
        }
    }
}

/// What is asked about a program once.
#[derive(Debug, Clone, Default)]
pub(crate) struct Program {
    pub(crate) executable: PathBuf,
    pub(crate) auxv: Vec<u8>,
    pub(crate) entries: Vec<(u64, u64)>,
    pub(crate) layout: Layout,
}

/// A process.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) pid: Pid,
    pub(crate) origin: Origin,
    /// All its threads are at rest. The tokens are with the threads.
    pub(crate) halted: Option<Halted>,
    pub(crate) threads: Vec<Thread>,
    pub(crate) points: Vec<Inserted>,
    pub(crate) program: Program,
    /// The client has heard of it.
    pub(crate) is_known: bool,
    /// It was brought to rest for a question, and runs on when that is answered.
    pub(crate) borrowed: bool,
    /// Which system calls the client wants to see; no numbers for all.
    pub(crate) syscalls: Option<Vec<u64>>,
    /// A thread of it is in vfork, and the child was let go: the others stay until that is over.
    pub(crate) waits_for_vfork: Option<Tid>,
    /// Symbols that the client has looked up.
    pub(crate) symbols: std::collections::BTreeMap<Vec<u8>, Option<u64>>,
}

impl Process {
    pub(crate) fn new(pid: Pid, origin: Origin) -> Self {
        Process {
            pid,
            origin,
            halted: None,
            threads: Vec::new(),
            points: Vec::new(),
            program: Program::default(),
            is_known: true,
            borrowed: false,
            syscalls: None,
            waits_for_vfork: None,
            symbols: Default::default(),
        }
    }

    pub(crate) fn thread(&self, tid: Tid) -> Option<&Thread> {
        self.threads.iter().find(|thread| thread.tid == tid)
    }

    pub(crate) fn thread_mut(&mut self, tid: Tid) -> Option<&mut Thread> {
        self.threads.iter_mut().find(|thread| thread.tid == tid)
    }

    /// The same; it is there from now on.
    pub(crate) fn add_thread(&mut self, tid: Tid) -> &mut Thread {
        let at = match self.threads.iter().position(|thread| thread.tid == tid) {
            Some(at) => at,
            None => {
                // A new thread runs, until the client says otherwise.
                let thread = Thread { wants: Wants::Continue, ..Thread::new(tid) };
                self.threads.push(thread);
                self.threads.len() - 1
            }
        };
        &mut self.threads[at]
    }

    /// Whether a thread of it runs.
    pub(crate) fn runs(&self) -> bool {
        self.halted.is_none() && self.threads.iter().any(Thread::runs)
    }

    /// Whether it can be brought to rest: not while all its threads wait for vfork children.
    pub(crate) fn can_stop(&self) -> bool {
        self.threads.iter().any(|thread| thread.stop.is_none() && thread.in_vfork.is_none())
    }

    /// The client considers it stopped.
    pub(crate) fn wants_nothing(&mut self) {
        for thread in &mut self.threads {
            thread.wants = Wants::Nothing;
        }
    }

    /// A token of any thread, for what is the same for all.
    pub(crate) fn any_stop(&self) -> Option<&Stopped> {
        self.threads.iter().find_map(|thread| thread.stop.as_ref())
    }
}
