//! The engine between a back end and the user.
//!
//! Data flows one way: the back end's raw stops come in at [`drive`], change the [`table`], and
//! leave as events through one queue; requests of the user go out through [`run`], [`halt`] and
//! [`detach`].

mod all_stop;
mod answers;
mod ask;
mod births;
mod breakpoints;
mod builder;
mod calls;
mod causes;
mod detach;
mod detach_children;
mod detach_threads;
mod drive;
mod dropped;
mod each;
mod ends;
mod failures;
mod fast_path;
mod fork;
mod forks;
mod functions;
mod halt;
mod hardware;
mod last_known;
mod limits;
mod next;
mod placement;
mod places;
mod process;
mod processes;
mod reader;
mod readiness;
mod run;
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
mod wait;
mod zombie_leader;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::backend::logged::{Logged, bare};
use crate::backend::{RawStop, Setup, Thread, Wake};
use crate::stopped::{Place, Returned};
use crate::{Arch, Backend, EventFlags, ForkKind, InheritDebug, Pid, Result, Stopped, Tid};

pub use builder::Builder;
pub use functions::{CallOutcome, FunctionCall};
pub use halt::{Halted, Next};
pub use next::Only;
pub use placement::Placement;
pub use processes::ProcessInfo;
pub use reader::{Reader, Value};
pub use readiness::Readiness;
pub use run::Resume;
pub use start::{AttachOptions, SpawnOptions, Spawned};
pub use stepping::Reached;

use answers::Unanswered;
use failures::Failures;
use fast_path::FastPath;
use forks::ForkTracker;
use last_known::LastKnown;
use placement::Placing;
use software::Software;
use table::Table;

/// Which side of a fork stays traced; the other one is detached.
///
/// ```no_run
/// use trapline::{Builder, FollowFork};
///
/// let tracer = Builder::new().follow_fork(FollowFork::Child).build()?;
/// # Ok::<(), trapline::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum FollowFork {
    /// The parent. While a detached `vfork` child uses the memory of its parent, there are no
    /// breakpoints in that memory. If the parent has any, its other threads wait until the child
    /// has exec'ed or ended, so that they miss none.
    Parent,
    /// The child.
    Child,
    /// Both. A caller that decides fork by fork also uses this, and detaches one of the tokens.
    #[default]
    Both,
}

/// Whether a process stays traced over an exec.
///
/// A caller that decides program by program leaves it at [`Follow`](FollowExec::Follow), and detaches
/// the token of the [`StopReason::Execed`](crate::StopReason::Execed) of a program that is not wanted.
///
/// ```no_run
/// use trapline::{Builder, FollowExec};
///
/// let tracer = Builder::new().follow_exec(FollowExec::Detach).build()?;
/// # Ok::<(), trapline::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum FollowExec {
    /// It stays traced.
    #[default]
    Follow,
    /// It is detached at its next exec, before the new program's first instruction, which
    /// [`Event::Detached`](crate::Event::Detached) reports. The exec that starts a spawned program
    /// does not count.
    Detach,
}

/// How a thread steps over a breakpoint in memory that it has arrived at.
///
/// ```no_run
/// use trapline::{Builder, StepOver};
///
/// // For a program whose memory is not to have any mapping of the tracer's.
/// let tracer = Builder::new().step_over(StepOver::InPlace).build()?;
/// # Ok::<(), trapline::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum StepOver {
    /// It executes a copy of the instruction, in memory that the process was made to map for this,
    /// and no other thread is stopped. Where that is not possible it is done in place: no memory can
    /// be had, a seccomp filter may forbid the mapping, or an instruction depends on its place in a
    /// way that cannot be adapted.
    #[default]
    OutOfLine,
    /// It executes the instruction at its place, where the breakpoint is removed for that moment,
    /// while all other threads that share the memory are stopped. Nothing is mapped, and the cost
    /// grows with the number of threads.
    InPlace,
}

/// A tracer: the processes that it traces, and their events.
///
/// A tracer belongs to the thread that made it, because on Linux its tracees do.
///
/// ```no_run
/// use std::process::Command;
/// use trapline::{Event, Resume, Tracer};
///
/// let mut tracer = Tracer::builder().build()?;
/// tracer.spawn(Command::new("make"))?;
/// let mut processes = 1;
/// while let Some(event) = tracer.wait()? {
///     processes += usize::from(matches!(event, Event::Forked(_)));
///     tracer.resume(event, Resume::Continue)?;
/// }
/// println!("{processes} processes");
/// # Ok::<(), trapline::Error>(())
/// ```
///
/// # Platform notes
///
/// On Linux there can be one tracer on each thread of a program. They neither disturb nor wake each
/// other. A program with more busy tracees than one thread can serve makes several, and gives each
/// one whole trees of processes: what a tracee makes belongs to its tracer, and nothing moves between
/// tracers. On FreeBSD there is one tracer per process.
///
/// Real parents wait for their children as without a tracer. But on FreeBSD a parent that ignores
/// `SIGCHLD`, or has set `SA_NOCLDWAIT`, gets zombies of its traced children (`proc_reap` in
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
    fast_path: FastPath,
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
    /// Somebody may wake a wait that nothing else would end.
    has_waker: bool,
    /// Spawned and then detached.
    detached: Vec<std::process::Child>,
    /// Spawned and then detached, but for a first thread that had ended.
    zombie_leaders: Vec<(Pid, Setup)>,
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
    /// Registers that were asked for.
    last_known: RefCell<LastKnown<B::Arch>>,
    software: Software<<B::Arch as Arch>::Registers>,
}

/// An event in the making.
enum Ready {
    Stop(Place),
    Fork(ForkPair),
    ThreadExited { pid: Pid, tid: Tid },
    Exited { process: u32 },
    Reparented { pid: Pid, from: Pid, to: Option<Pid> },
    Detached { pid: Pid },
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
    Detached,
    Gone,
}

/// Ends a blocked [`Tracer::wait`], from any thread and any signal handler. It is cheap to clone.
///
/// A wake before, during or after a wait ends this or the next one, with
/// [`Event::Woken`](crate::Event::Woken). Several wakes may end only one. A waker whose tracer is
/// gone does nothing.
///
/// ```no_run
/// use std::process::Command;
/// use std::time::Duration;
/// use trapline::{Event, Resume, Tracer};
///
/// let mut tracer = Tracer::builder().build()?;
/// let make = tracer.spawn(Command::new("make"))?.pid;
/// let waker = tracer.waker()?;
/// std::thread::spawn(move || {
///     std::thread::sleep(Duration::from_secs(60));
///     waker.wake();
/// });
/// while let Some(event) = tracer.wait()? {
///     match event {
///         Event::Woken => tracer.kill(make)?,
///         event => tracer.resume(event, Resume::Continue)?,
///     }
/// }
/// # Ok::<(), trapline::Error>(())
/// ```
#[derive(Clone)]
pub struct Waker(Arc<dyn Wake>);

impl Waker {
    /// Ends the wait. It is async-signal-safe.
    ///
    /// ```
    /// fn stop_waiting(waker: &trapline::Waker) {
    ///     waker.wake();
    /// }
    /// ```
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
    /// The settings of a new tracer.
    ///
    /// ```no_run
    /// use trapline::{EventFlags, Tracer};
    ///
    /// let tracer = Tracer::builder().events(EventFlags::PROCESS).build()?;
    /// # Ok::<(), trapline::Error>(())
    /// ```
    pub fn builder() -> Builder<B> {
        Builder::default()
    }

    /// A way to end a blocked [`wait`](Tracer::wait) from elsewhere; see [`Waker`].
    ///
    /// ```no_run
    /// use trapline::{Event, Tracer};
    ///
    /// let mut tracer = Tracer::builder().build()?;
    /// let waker = tracer.waker()?;
    /// let thread = std::thread::spawn(move || waker.wake());
    /// # thread.join().unwrap();
    /// # Ok::<(), trapline::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Os`](crate::Error::Os) if the kernel is out of processes or descriptors.
    ///
    /// # Platform notes
    ///
    /// The first waker needs a hidden helper. On Linux it is a tiny process, which is a child of this
    /// one that no ordinary wait finds; on FreeBSD it is a pipe.
    pub fn waker(&mut self) -> Result<Waker> {
        let waker = self.backend.get_mut().waker()?;
        self.fast_path.expects_wakes();
        self.has_waker = true;
        Ok(Waker(waker))
    }

    /// Which side of a fork stays traced.
    ///
    /// ```no_run
    /// use trapline::{FollowFork, Tracer};
    ///
    /// let tracer = Tracer::builder().build()?;
    /// assert_eq!(tracer.follow_fork(), FollowFork::Both);
    /// # Ok::<(), trapline::Error>(())
    /// ```
    pub fn follow_fork(&self) -> FollowFork {
        self.follow
    }

    /// Sets which side of later forks stays traced. It can change at any time.
    ///
    /// ```
    /// use trapline::{Backend, FollowFork, TracerOn};
    ///
    /// /// gdb's `set follow-fork-mode child`.
    /// fn follow_child<B: Backend>(tracer: &mut TracerOn<B>) {
    ///     tracer.set_follow_fork(FollowFork::Child);
    /// }
    /// ```
    pub fn set_follow_fork(&mut self, follow: FollowFork) {
        self.follow = follow;
    }

    /// Whether processes stay traced over an exec.
    ///
    /// ```no_run
    /// use trapline::{FollowExec, Tracer};
    ///
    /// let tracer = Tracer::builder().build()?;
    /// assert_eq!(tracer.follow_exec(), FollowExec::Follow);
    /// # Ok::<(), trapline::Error>(())
    /// ```
    pub fn follow_exec(&self) -> FollowExec {
        self.follow_exec
    }

    /// Sets whether processes stay traced over later execs. It can change at any time.
    ///
    /// ```
    /// use trapline::{Backend, FollowExec, TracerOn};
    ///
    /// fn leave_new_programs_alone<B: Backend>(tracer: &mut TracerOn<B>) {
    ///     tracer.set_follow_exec(FollowExec::Detach);
    /// }
    /// ```
    pub fn set_follow_exec(&mut self, follow: FollowExec) {
        self.follow_exec = follow;
    }

    /// Sets which events processes report that are spawned or attached to from now on;
    /// [`set_events`](Tracer::set_events) is for those that are traced already.
    ///
    /// ```
    /// use trapline::{Backend, EventFlags, TracerOn};
    ///
    /// fn report_threads<B: Backend>(tracer: &mut TracerOn<B>) {
    ///     tracer.set_default_events(EventFlags::PROCESS | EventFlags::THREAD);
    /// }
    /// ```
    pub fn set_default_events(&mut self, flags: EventFlags) {
        self.flags = flags;
    }

    /// Whether no process is traced, and neither an event nor an error is left to report.
    ///
    /// ```
    /// use trapline::TracerOn;
    /// use trapline::fake::{Kernel, LinuxRules};
    ///
    /// let kernel = Kernel::<LinuxRules>::new();
    /// let mut tracer = TracerOn::builder().build_on(kernel.backend());
    /// assert!(tracer.is_empty());
    /// tracer.attach(kernel.start())?;
    /// assert!(!tracer.is_empty());
    /// # Ok::<(), trapline::Error>(())
    /// ```
    pub fn is_empty(&self) -> bool {
        let given = |process| Some(process) == self.departed;
        // The stop of a thread that was detached since is none.
        let stale = |ready: &Ready| match ready {
            Ready::Stop(place) => self.table.at(*place).is_none(),
            _ => false,
        };
        self.table.processes().all(|(process, _)| given(process))
            && self.ready.iter().all(stale)
            && self.failures.is_silent()
    }

    /// How many requests were made of the kernel so far: for tests and benches.
    ///
    /// ```
    /// use trapline::{Backend, Result, Stopped, TracerOn};
    ///
    /// fn cost_of_registers<B: Backend>(tracer: &TracerOn<B>, stop: &Stopped) -> Result<u64> {
    ///     let before = tracer.requests();
    ///     tracer.registers(stop)?;
    ///     Ok(tracer.requests() - before)
    /// }
    /// ```
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

    /// The [`Child`](std::process::Child) of a program that was spawned and then detached, to wait
    /// for it as for any other child.
    ///
    /// ```no_run
    /// use std::process::Command;
    /// use trapline::Tracer;
    ///
    /// let mut tracer = Tracer::builder().build()?;
    /// let pid = tracer.spawn(Command::new("make"))?.pid;
    /// tracer.detach_process(pid)?;
    /// let mut make = tracer.take_child(pid).expect("it was spawned, and is detached");
    /// println!("{}", make.wait().expect("a child"));
    /// # Ok::<(), trapline::Error>(())
    /// ```
    pub fn take_child(&mut self, pid: Pid) -> Option<std::process::Child> {
        let at = self.detached.iter().position(|child| child.id() as i32 == pid.as_raw())?;
        Some(self.detached.swap_remove(at))
    }
}
