//! The engine between a back end and the user.
//!
//! Data flows one way. The back end's raw stops come in at [`drive`], change the [`table`], and leave as
//! events through one queue. Requests of the user go out through [`run`], [`halt`] and [`detach`]. A thread
//! is named by its index in the table, or, where it may be gone meanwhile, by the place of its token, which
//! is good for one stop. A process is named by a handle, which never names another one ([`crate::arena`]).

mod all_stop;
mod ask;
mod births;
mod breakpoints;
mod calls;
mod causes;
mod detach;
mod detach_children;
mod detach_threads;
mod dispatch;
mod drive;
mod dropped;
mod ends;
mod failures;
mod fork;
mod functions;
mod halt;
mod hardware;
mod interrupts;
mod modules;
mod placement;
mod process;
mod processes;
mod run;
mod running;
mod scheduler;
mod signals;
mod software;
mod standstill;
mod start;
mod stepping;
mod table;
mod thread;
mod trap;
mod tree;
mod unannounced;
mod unseen;
mod waits;
mod zombie_leader;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use crate::api::Settings;
use crate::arena::ProcessHandle;
use crate::backend::logged::{Logged, bare, logged};
use crate::backend::{Patience, RawStop, Setup, Wake};
use crate::event_queue::EventQueue;
use crate::stopped::Returned;
use crate::{Arch, Backend, Pid, Result};

pub(crate) use functions::Inside;

use crate::fast_path::FastPath;
use crate::forks::ForkTracker;
use crate::last_known::LastKnown;
use failures::Failures;
use interrupts::Unanswered;
use placement::Placing;
use software::Software;
use table::Table;

/// What a [`Tracer`](crate::Tracer) does, without its documentation: states, and the back end that it
/// makes requests of.
pub(crate) struct Engine<B: Backend> {
    /// Behind a cell, since questions change nothing that a user can see.
    backend: RefCell<Logged<B>>,
    table: Table,
    ready: EventQueue,
    /// Tokens that were dropped.
    returned: Returned,
    /// Raw stops that came while something else was waited for.
    backlog: VecDeque<RawStop>,
    failures: Failures,
    /// Empty; its memory is used again.
    list: Vec<u32>,
    /// For the event loop of the host, if it has asked for that.
    readiness: Option<Arc<OwnedFd>>,
    /// The threads that the next wait looks at first.
    fast_path: FastPath,
    /// Forks of which a half is missing.
    forks: ForkTracker,
    /// Interrupts that may have met a thread that was about to end.
    unanswered: Vec<Unanswered>,
    /// Processes that were halted.
    halts: Vec<Pid>,
    /// Processes that have ended, whose `Exited` has to wait for tokens or events of theirs.
    held_exits: Vec<ProcessHandle>,
    /// Processes that the user has detached and that stay for a while.
    unseen: Vec<Pid>,
    /// A process whose `Exited` was given; it can be asked about until the next wait.
    departed: Option<ProcessHandle>,
    /// A waker woke while something else was waited for.
    woken: bool,
    /// Somebody may wake a wait that nothing else would end.
    has_waker: bool,
    /// Spawned and then detached.
    detached: Vec<std::process::Child>,
    /// Spawned and then detached, but for a first thread that had ended.
    zombie_leaders: Vec<(Pid, Setup)>,
    settings: Settings,
    placing: Placing,
    /// The number of the breakpoint that was inserted last.
    last_breakpoint: u32,
    /// The user has asked about a system call once.
    asks_calls: Cell<bool>,
    /// Real parents that were asked for, and that the table is to be told before a process ends.
    seen_parents: RefCell<Vec<(Pid, Option<Pid>)>>,
    /// There was a hardware breakpoint once.
    watches: bool,
    /// Registers that were asked for.
    last_known: RefCell<LastKnown<B::Arch>>,
    software: Software<<B::Arch as Arch>::Registers>,
}

impl<B: Backend> Engine<B> {
    pub(crate) fn new(backend: B, settings: Settings) -> Self {
        Engine {
            backend: RefCell::new(logged(backend)),
            table: Table::default(),
            ready: EventQueue::default(),
            returned: Returned::default(),
            backlog: VecDeque::with_capacity(64),
            failures: Failures::default(),
            list: Vec::new(),
            readiness: None,
            fast_path: FastPath::default(),
            forks: ForkTracker::default(),
            unanswered: Vec::new(),
            halts: Vec::new(),
            held_exits: Vec::new(),
            unseen: Vec::new(),
            departed: None,
            woken: false,
            has_waker: false,
            detached: Vec::new(),
            zombie_leaders: Vec::new(),
            placing: Placing::new(settings.placement),
            last_breakpoint: 0,
            asks_calls: Cell::new(false),
            seen_parents: RefCell::default(),
            watches: false,
            last_known: RefCell::default(),
            software: Software::new(settings.step_over),
            settings,
        }
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(crate) fn settings_mut(&mut self) -> &mut Settings {
        &mut self.settings
    }

    /// What ends a wait from elsewhere.
    pub(crate) fn waker(&mut self) -> Result<Arc<dyn Wake>> {
        let waker = self.backend.get_mut().waker()?;
        self.has_waker = true;
        Ok(waker)
    }

    /// A descriptor for an event loop.
    pub(crate) fn readiness(&mut self) -> Result<Arc<OwnedFd>> {
        if let Some(readiness) = &self.readiness {
            return Ok(Arc::clone(readiness));
        }
        let fd = self.backend.get_mut().readiness()?;
        Ok(Arc::clone(self.readiness.insert(Arc::new(fd))))
    }

    /// A wait ends without an event: has the descriptor, if there is one, tell of the next.
    fn set_readiness(&mut self) -> Result<()> {
        if self.readiness.is_none() {
            return Ok(());
        }
        let soon = self.expects_something();
        self.backend.get_mut().watch(soon.then_some(Patience::BRIEF))
    }

    /// Whether no process is traced, and neither an event nor an error is left to report.
    pub(crate) fn is_empty(&self) -> bool {
        let given = |process| Some(process) == self.departed;
        // The stop of a thread that was detached since is none.
        self.table.processes().all(|(process, p)| given(process) || self.is_unseen(p.pid))
            && self.ready.is_empty_but(|place| self.table.at(place).is_none())
            && self.failures.is_silent()
    }

    /// How many requests were made of the kernel so far.
    pub(crate) fn requests(&self) -> u64 {
        self.backend.borrow().requests()
    }

    /// Makes a request of the back end.
    pub(crate) fn on_backend<T>(&self, request: impl FnOnce(&mut B) -> T) -> T {
        request(bare(&mut self.backend.borrow_mut()))
    }

    /// The `Child` of a program that was spawned and then detached, to wait for it as for any other
    /// child.
    pub(crate) fn take_child(&mut self, pid: Pid) -> Option<std::process::Child> {
        let at = self.detached.iter().position(|child| child.id() as i32 == pid.as_raw())?;
        Some(self.detached.swap_remove(at))
    }
}
