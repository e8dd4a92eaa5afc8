//! Settings that can change while a tracer runs.

use std::time::Duration;

use crate::{Backend, EventFlags, InheritDebug};

use super::Tracer;

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

/// Where the tracer's thread and its tracees run; chosen by
/// [`Builder::placement`](crate::Builder::placement).
///
/// A stop is two switches between tracee and tracer. On one CPU each is a plain context switch.
/// Across CPUs it is an interrupt that wakes the other CPU, which may be asleep, so that a stop
/// costs several times as much, and how much is up to the scheduler.
///
/// | | [`LeaveAlone`](Placement::LeaveAlone) | [`ShareCpu`](Placement::ShareCpu) |
/// |---|---|---|
/// | one thread that stops often: stepping, system calls, breakpoints | as the scheduler likes, and varies | best: never across CPUs |
/// | many tracees that mostly run, such as a build | best: they have all CPUs | slower: all of them share one |
/// | a tracer that computes long at each stop while others could run | best | slower |
///
/// `benches/README.md` in the repository has the figures.
///
/// ```no_run
/// use trapline::{Builder, Placement};
///
/// // For a debugger that steps.
/// let tracer = Builder::new().placement(Placement::ShareCpu).build()?;
/// # Ok::<(), trapline::Error>(())
/// ```
///
/// # Platform notes
///
/// `sched_setaffinity(2)` on Linux, `cpuset_setaffinity(2)` with `CPU_WHICH_TID` on FreeBSD.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Placement {
    /// Wherever the scheduler likes.
    #[default]
    LeaveAlone,
    /// All on one CPU: that which the tracer's thread runs on at its first spawn or attach.
    ShareCpu,
    /// All on the CPU of this number; for several tracers in one program, each on another one.
    ShareCpuOf(u32),
}

/// All of them: what a tracer is made with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    pub(crate) flags: EventFlags,
    pub(crate) follow: FollowFork,
    pub(crate) follow_exec: FollowExec,
    pub(crate) placement: Placement,
    /// How long the missing half of a fork is waited for.
    pub(crate) half_patience: Duration,
    /// Who inherits hardware breakpoints of processes that will be spawned or attached to.
    pub(crate) inherit: InheritDebug,
    pub(crate) step_over: StepOver,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            flags: EventFlags::default(),
            follow: FollowFork::default(),
            follow_exec: FollowExec::default(),
            placement: Placement::default(),
            half_patience: Duration::from_millis(100),
            inherit: InheritDebug::default(),
            step_over: StepOver::default(),
        }
    }
}

impl<B: Backend> Tracer<B> {
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
        self.engine.settings().follow
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
        self.engine.settings_mut().follow = follow;
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
        self.engine.settings().follow_exec
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
        self.engine.settings_mut().follow_exec = follow;
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
        self.engine.settings_mut().flags = flags;
    }
}
