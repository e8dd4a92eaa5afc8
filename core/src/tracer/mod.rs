//! The engine between a back end and the user.
//!
//! Data flows one way: the back end's raw stops come in at [`drive`], change the [`table`], and
//! leave as events through one queue; requests of the user go out through [`run`], [`halt`] and
//! [`let_go`].

mod answers;
mod ask;
mod births;
mod breakpoints;
mod builder;
mod causes;
mod drive;
mod dropped;
mod each;
mod eager;
mod ends;
mod failures;
mod fork;
mod forks;
mod halt;
mod hardware;
mod let_go;
mod let_go_children;
mod limits;
mod next;
mod placement;
mod process;
mod quiet;
mod reader;
mod readiness;
mod run;
mod scheduler;
mod shell;
mod signals;
mod software;
mod standstill;
mod table;
mod thread;
mod trap;
mod tree;
mod unannounced;
mod wait;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::process::{ChildStderr, ChildStdin, ChildStdout, Command};
use std::sync::Arc;
use std::time::Duration;

use crate::backend::logged::{Logged, bare};
use crate::backend::{RawStop, Setup, Thread, Wake};
use crate::stopped::{Place, Returned};
use crate::{
    Arch, Backend, Ending, Error, EventFlags, ForkKind, InheritDebug, Pid, Result, Stopped, Tid,
};

pub use ask::ProcessInfo;
pub use builder::Builder;
pub use halt::{Halted, Next};
pub use next::Only;
pub use placement::Placement;
pub use reader::{Reader, Value};
pub use readiness::Readiness;
pub use run::Resume;

use answers::Unanswered;
use eager::Eager;
use failures::Failures;
use forks::ForkTracker;
use placement::Placing;
use process::{Births, First, Process, Start};
use software::Software;
use table::Table;
use thread::State;

/// Which side of a fork stays traced; the other is let go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum FollowFork {
    /// The parent.
    Parent,
    /// The child.
    Child,
    /// Both, which also is how a caller takes both tokens and decides itself.
    #[default]
    Both,
}

/// Whether a process stays traced over an exec.
///
/// Who decides program by program leaves it at [`Stay`](FollowExec::Stay), and detaches the token
/// of the [`StopReason::Execed`](crate::StopReason::Execed) of a program that is not wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum FollowExec {
    /// It does: the tracer stays with the process.
    #[default]
    Stay,
    /// It is let go at its next exec, before the new program's first instruction, and
    /// [`Event::LetGo`](crate::Event::LetGo) says so. The exec that starts a spawned program does
    /// not count.
    LetGo,
}

/// How a thread gets past a breakpoint in memory that it has arrived at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum StepOver {
    /// It executes a copy of the instruction, in memory that the process was made to map for this,
    /// and nobody else is stopped for it. Where that cannot be (no memory is to be had, a seccomp
    /// filter may forbid the mapping, an instruction depends on its place in a way that cannot be
    /// adapted), it is done in place.
    #[default]
    OutOfLine,
    /// It executes the instruction at its place, from which the breakpoint is taken away for that
    /// moment, with all other threads that share the memory at rest. Nothing is mapped, and the cost
    /// grows with the number of threads.
    InPlace,
}

/// A tracer: the processes that it traces, and their events.
///
/// A tracer belongs to the thread that made it, for so do its tracees on Linux.
///
/// # Platform notes
///
/// Linux: one per thread; several on several threads do not disturb each other, nor wake each
/// other.
/// Who has more busy tracees than one thread can serve makes several, and gives each whole trees of
/// processes: what a tracee makes is its tracer's, and nothing moves between tracers. FreeBSD: one
/// per process.
///
/// Real parents wait for their children as ever. But on FreeBSD one that ignores SIGCHLD, or has set
/// `SA_NOCLDWAIT`, gets zombies of those that are traced all the same (`proc_reap` in
/// `sys/kern/kern_exit.c`).
pub struct Tracer<B: Backend> {
    /// Behind a cell, since questions change nothing that a user can see.
    backend: RefCell<Logged<B>>,
    table: Table,
    /// What is ready to be given, in order.
    ready: VecDeque<Ready>,
    /// Tokens that were dropped.
    returned: Returned,
    /// Raw stops that came while something else was waited for.
    backlog: VecDeque<RawStop>,
    failures: Failures,
    /// Empty; its memory is used again.
    list: Vec<u32>,
    /// For the event loop of the host, if it has asked for that.
    readiness: Option<Readiness>,
    /// Whom the next wait looks at first.
    eager: Eager,
    /// Forks of which a half is missing.
    forks: ForkTracker,
    /// Interrupts that may have met a thread that was about to end.
    unanswered: Vec<Unanswered>,
    /// Processes that were halted.
    halts: Vec<Pid>,
    /// Processes that have ended, whose `Exited` has to wait for tokens or events of theirs.
    held_exits: Vec<u32>,
    /// A process whose `Exited` was given; it can be asked about until the next wait.
    departed: Option<u32>,
    /// A waker woke while something else was waited for.
    woken: bool,
    /// Spawned and then detached.
    detached: Vec<std::process::Child>,
    /// Spawned and then detached, but for a first thread that had ended.
    shells: Vec<(Pid, Setup)>,
    follow: FollowFork,
    follow_exec: FollowExec,
    flags: EventFlags,
    placing: Placing,
    half_patience: Duration,
    /// The number of the breakpoint that was inserted last.
    last_breakpoint: u32,
    /// Who inherits hardware breakpoints of processes that will be spawned or attached to.
    inherit: InheritDebug,
    /// The user has asked about a system call once.
    asks_calls: Cell<bool>,
    /// Real parents that were asked for, and that the table is to be told before a process ends.
    seen_parents: RefCell<Vec<(Pid, Option<Pid>)>>,
    /// There was a hardware breakpoint once.
    watches: bool,
    software: Software<<B::Arch as Arch>::Registers>,
}

/// An event in the making.
enum Ready {
    Stop(Place),
    Fork(ForkPair),
    ThreadExited { pid: Pid, tid: Tid },
    Exited { process: u32 },
    Reparented { pid: Pid, from: Pid, to: Option<Pid> },
    LetGo { pid: Pid },
}

struct ForkPair {
    kind: ForkKind,
    parent_pid: Option<Pid>,
    parent_tid: Option<Tid>,
    child_pid: Pid,
    parent: Side,
    child: Side,
}

enum Side {
    Stopped(Place),
    LetGo,
    Gone,
}

/// A program that was spawned, and the pipes that its `Command` asked for.
///
/// The `std::process::Child` stays with the tracer while the program is traced, since its `wait`
/// would take stops for exits; [`Tracer::take_child`] gives it after a detach.
#[derive(Debug)]
pub struct Spawned {
    /// Its process.
    pub pid: Pid,
    /// Its standard input, if piped.
    pub stdin: Option<ChildStdin>,
    /// Its standard output, if piped.
    pub stdout: Option<ChildStdout>,
    /// Its standard error, if piped.
    pub stderr: Option<ChildStderr>,
}

/// Ends a blocked [`Tracer::wait`]: cheap to clone, for any thread and any signal handler.
///
/// A wake before, during or after a wait ends this or the next one; several wakes may end only
/// one. A waker whose tracer is gone does nothing.
#[derive(Clone)]
pub struct Waker(Arc<dyn Wake>);

impl Waker {
    /// Ends the wait. Async-signal-safe.
    pub fn wake(&self) {
        self.0.wake();
    }
}

impl std::fmt::Debug for Waker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Waker")
    }
}

impl<B: Backend> Tracer<B> {
    /// Settings for a new tracer.
    pub fn builder() -> Builder<B> {
        Builder::default()
    }

    /// Starts a program, traced from before its first instruction; it is killed if the tracer
    /// ends first.
    ///
    /// Its first event is a stop with [`StopReason::Execed`](crate::StopReason::Execed), whatever
    /// the event flags; if it is killed on the way there, its only event is
    /// [`Event::Exited`](crate::Event::Exited).
    ///
    /// # Errors
    ///
    /// [`Error::Spawn`] with what `Command::spawn` would have said: there is no such program, it
    /// cannot be executed, and so on. Then there is no process. [`Error::Os`] for a
    /// [`Placement`] that is not possible.
    pub fn spawn(&mut self, command: Command) -> Result<Spawned> {
        self.spawn_with(command, Ending::Kill)
    }

    /// As [`spawn`](Tracer::spawn), choosing what becomes of the program when the tracer ends.
    ///
    /// # Errors
    ///
    /// As [`spawn`](Tracer::spawn).
    pub fn spawn_with(&mut self, command: Command, ending: Ending) -> Result<Spawned> {
        self.place_tracer()?;
        let setup = Setup { flags: self.flags, ending };
        let mut raw = self.backend.get_mut().spawn(command, setup)?;
        let us = Pid::from_raw(std::process::id() as i32);
        let mut process = Process::new(raw.pid, Some(us), setup);
        let spawned = Spawned {
            pid: raw.pid,
            stdin: raw.child.as_mut().and_then(|child| child.stdin.take()),
            stdout: raw.child.as_mut().and_then(|child| child.stdout.take()),
            stderr: raw.child.as_mut().and_then(|child| child.stderr.take()),
        };
        process.child = raw.child;
        process.start = Start::Spawning;
        process.births = Births::under(setup);
        process.inherit = self.inherit;
        let process = self.add_process(process);
        let tid = raw.stop.and_then(|stop| stop.tid).or_else(|| B::first_thread(raw.pid));
        if let Some(tid) = tid {
            let slot = self.table.add_thread(process, tid, State::Running);
            self.table.slot_mut(slot).applied = Some(setup);
        }
        self.take_all(raw.stop.into_iter().chain(raw.meanwhile));
        Ok(spawned)
    }

    /// Traces a running process, with all its threads; it is let go if the tracer ends first.
    ///
    /// Its first event is a stop of one thread with
    /// [`StopReason::Started`](crate::StopReason::Started); if it execs or ends before it can be
    /// stopped, its first event is that.
    ///
    /// # Errors
    ///
    /// [`Error::Gone`] if there is no such process, [`Error::NotPermitted`] with what to do about
    /// it if the kernel refuses, or if this tracer traces it already.
    ///
    /// # Platform notes
    ///
    /// A process that job control has stopped stays stopped on Linux: a
    /// [`StopReason::GroupStop`](crate::StopReason::GroupStop) follows. FreeBSD ends that stop, and
    /// the process runs once it is resumed or let go.
    ///
    /// On Linux the threads of a process are stopped for a moment each, so that a sleeping system
    /// call may return `EINTR` where the kernel does not restart it; of more than 32 threads only
    /// one is. A thread that another of so many is just making is traced before a wait sleeps, or
    /// when the process is halted, at the latest.
    ///
    /// # References
    ///
    /// `PTRACE_SEIZE` (Linux) and `PT_ATTACH` (FreeBSD) in `ptrace(2)`.
    pub fn attach(&mut self, pid: Pid) -> Result<()> {
        self.attach_with(pid, Ending::Detach)
    }

    /// As [`attach`](Tracer::attach), choosing what becomes of the process when the tracer ends.
    ///
    /// # Errors
    ///
    /// As [`attach`](Tracer::attach).
    pub fn attach_with(&mut self, pid: Pid, ending: Ending) -> Result<()> {
        // It may be the child of a fork that is not reported yet.
        if self.table.find_process(pid).is_some() || self.backend.get_mut().is_traced(pid)? {
            return Err(Error::NotPermitted {
                pid: pid.as_raw(),
                advice: "this tracer traces it already".into(),
            });
        }
        self.place_tracer()?;
        let setup = Setup { flags: self.flags, ending };
        let raw = self.backend.get_mut().attach(pid, setup)?;
        let mut process = Process::new(pid, raw.real_parent, setup);
        process.start = Start::Attaching;
        // What it is to report holds once it has stopped for the first time.
        process.births = Births::Untold;
        process.inherit = self.inherit;
        if let Some(first) = B::first_thread(pid) {
            process.first = First::This(first);
        }
        let process = self.add_process(process);
        for tid in raw.threads {
            let slot = self.table.add_thread(process, tid, State::Running);
            let slot = self.table.slot_mut(slot);
            slot.applied = Some(setup);
            slot.was_born();
        }
        self.place_attached(process);
        self.take_all(raw.meanwhile);
        Ok(())
    }

    /// A way to end a blocked [`wait`](Tracer::wait) from elsewhere.
    ///
    /// # Errors
    ///
    /// [`Error::Os`] if the kernel is out of processes or descriptors.
    ///
    /// # Platform notes
    ///
    /// The first waker costs a hidden helper: on Linux a tiny process, which is a child of this
    /// one that no ordinary wait finds; on FreeBSD a pipe.
    pub fn waker(&mut self) -> Result<Waker> {
        let waker = self.backend.get_mut().waker()?;
        self.eager.expects_wakes();
        Ok(Waker(waker))
    }

    /// Whether programs that are [spawned](Tracer::spawn) from now on have their code, stack and
    /// libraries at random addresses, as they do at first where the system has it so; if not, a
    /// debugger finds everything where it was the last time.
    ///
    /// # Platform notes
    ///
    /// What the program starts inherits it. A spawn fails if the system refuses.
    ///
    /// # References
    ///
    /// `ADDR_NO_RANDOMIZE` in `personality(2)` (Linux); `PROC_ASLR_CTL` in `procctl(2)` (FreeBSD).
    pub fn randomize_addresses(&mut self, random: bool) {
        self.backend.get_mut().randomize_addresses(random);
    }

    /// Which side of a fork stays traced.
    pub fn follow_fork(&self) -> FollowFork {
        self.follow
    }

    /// Which side of later forks stays traced; may change at any time.
    pub fn set_follow_fork(&mut self, follow: FollowFork) {
        self.follow = follow;
    }

    /// Whether processes stay traced over an exec.
    pub fn follow_exec(&self) -> FollowExec {
        self.follow_exec
    }

    /// Whether processes stay traced over later execs; may change at any time.
    pub fn set_follow_exec(&mut self, follow: FollowExec) {
        self.follow_exec = follow;
    }

    /// Which events the processes report that are spawned or attached to from now on; see
    /// [`set_events`](Tracer::set_events) for those that are traced already.
    pub fn set_default_events(&mut self, flags: EventFlags) {
        self.flags = flags;
    }

    /// Whether no process is traced and no event is left, nor an error to be told.
    pub fn is_empty(&self) -> bool {
        let given = |process| Some(process) == self.departed;
        // The stop of a thread that was let go since is none.
        let stale = |ready: &Ready| match ready {
            Ready::Stop(place) => self.table.at(*place).is_none(),
            _ => false,
        };
        self.table.processes().all(|(process, _)| given(process))
            && self.ready.iter().all(stale)
            && self.failures.is_silent()
    }

    /// How many requests were made of the kernel so far: for tests and benches.
    pub fn requests(&self) -> u64 {
        self.backend.borrow().requests()
    }

    /// Makes a request of the back end: for what only one system has, in its extension trait.
    #[doc(hidden)]
    pub fn on_backend<T>(&self, request: impl FnOnce(&mut B) -> T) -> T {
        request(bare(&mut self.backend.borrow_mut()))
    }

    /// A stopped thread as requests of the back end name it.
    ///
    /// # Errors
    ///
    /// [`Error::Gone`] if it was killed, [`Error::NotStopped`] if it runs again.
    #[doc(hidden)]
    pub fn thread(&self, stop: &Stopped) -> Result<Thread> {
        self.asked(stop)
    }

    /// What std knows of a program that was spawned and then detached, to wait for it as for any
    /// other child.
    pub fn take_child(&mut self, pid: Pid) -> Option<std::process::Child> {
        let at = self.detached.iter().position(|child| child.id() as i32 == pid.as_raw())?;
        Some(self.detached.swap_remove(at))
    }
}
