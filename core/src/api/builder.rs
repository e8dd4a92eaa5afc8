//! What a tracer is made with.

use std::marker::PhantomData;
use std::time::Duration;

use crate::engine::Engine;
use crate::{Backend, EventFlags, InheritDebug, Result};

use super::settings::Settings;
use super::{FollowExec, FollowFork, Placement, StepOver, Tracer};

/// Makes a [`Tracer`].
///
/// ```no_run
/// use trapline::{Builder, EventFlags, FollowFork};
///
/// let tracer = Builder::new()
///     .events(EventFlags::PROCESS | EventFlags::THREAD)
///     .follow_fork(FollowFork::Parent)
///     .build()?;
/// # Ok::<(), trapline::Error>(())
/// ```
#[must_use]
pub struct Builder<B> {
    settings: Settings,
    backend: PhantomData<fn() -> B>,
}

impl<B: Backend> Default for Builder<B> {
    fn default() -> Self {
        Builder { settings: Settings::default(), backend: PhantomData }
    }
}

impl<B: Backend> Builder<B> {
    /// The default of each setting.
    ///
    /// ```
    /// use trapline::Builder;
    ///
    /// let builder = Builder::new();
    /// # drop(builder);
    /// ```
    pub fn new() -> Self {
        Builder::default()
    }

    /// Sets which events processes report that will be spawned or attached to; default
    /// [`EventFlags::PROCESS`].
    ///
    /// ```
    /// use trapline::{Builder, EventFlags};
    ///
    /// let builder = Builder::new().events(EventFlags::PROCESS | EventFlags::EXIT);
    /// # drop(builder);
    /// ```
    pub fn events(mut self, flags: EventFlags) -> Self {
        self.settings.flags = flags;
        self
    }

    /// Sets which side of a fork stays traced; default both.
    ///
    /// ```
    /// use trapline::{Builder, FollowFork};
    ///
    /// let builder = Builder::new().follow_fork(FollowFork::Child);
    /// # drop(builder);
    /// ```
    pub fn follow_fork(mut self, follow: FollowFork) -> Self {
        self.settings.follow = follow;
        self
    }

    /// Sets where the tracer's thread and its tracees run; default [`Placement::LeaveAlone`].
    ///
    /// The placement holds from the first spawn or attach on, for all tracees and everything that
    /// they make. A process that is detached goes back to the CPUs that it would have had without
    /// the placement. So does the tracer's thread when the tracer ends, but not if the tracer is
    /// killed. A tracee that changes its own CPUs keeps its choice. A process that was attached to
    /// keeps its CPUs if the kernel does not let the tracer move it (Linux: another user's process,
    /// without `CAP_SYS_NICE`, or one whose cpuset lacks the CPU).
    ///
    /// Threads and children that the host makes from the tracer's thread meanwhile inherit its
    /// CPU.
    ///
    /// ```
    /// use trapline::{Builder, Placement};
    ///
    /// let builder = Builder::new().placement(Placement::ShareCpuOf(1));
    /// # drop(builder);
    /// ```
    pub fn placement(mut self, placement: Placement) -> Self {
        self.settings.placement = placement;
        self
    }

    /// Sets whether a process stays traced over an exec; default yes.
    ///
    /// ```
    /// use trapline::{Builder, FollowExec};
    ///
    /// let builder = Builder::new().follow_exec(FollowExec::Detach);
    /// # drop(builder);
    /// ```
    pub fn follow_exec(mut self, follow: FollowExec) -> Self {
        self.settings.follow_exec = follow;
        self
    }

    /// Sets what inherits the hardware breakpoints of a process. Its threads always share them; by
    /// default children and new programs start without.
    ///
    /// ```
    /// use trapline::{Builder, Inherit, InheritDebug};
    ///
    /// let builder = Builder::new()
    ///     .inherit_debug(InheritDebug { fork: Inherit::Copy, ..InheritDebug::default() });
    /// # drop(builder);
    /// ```
    pub fn inherit_debug(mut self, inherit: InheritDebug) -> Self {
        self.settings.inherit = inherit;
        self
    }

    /// Sets how threads step over breakpoints in memory; default [`StepOver::OutOfLine`].
    ///
    /// ```
    /// use trapline::{Builder, StepOver};
    ///
    /// let builder = Builder::new().step_over(StepOver::InPlace);
    /// # drop(builder);
    /// ```
    pub fn step_over(mut self, how: StepOver) -> Self {
        self.settings.step_over = how;
        self
    }

    /// How long a new process waits for its parent's half of the fork, once nothing else happens,
    /// before it is reported without. Only a parent that was killed does not report its half.
    #[doc(hidden)]
    pub fn half_patience(mut self, patience: Duration) -> Self {
        self.settings.half_patience = patience;
        self
    }

    /// Makes the tracer, for the thread that calls this.
    ///
    /// ```no_run
    /// use trapline::Builder;
    ///
    /// let tracer = Builder::new().build()?;
    /// assert!(tracer.is_empty());
    /// # Ok::<(), trapline::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`](crate::Error::Unsupported) on FreeBSD if this process has another
    /// tracer, on Linux if this thread has.
    pub fn build(self) -> Result<Tracer<B>> {
        Ok(self.build_on(B::open()?))
    }

    /// Makes the tracer over a back end that is open already, such as that of the model kernel.
    ///
    /// ```
    /// use trapline::TracerOn;
    /// use trapline::fake::{FreeBsdRules, Kernel};
    ///
    /// let kernel = Kernel::<FreeBsdRules>::new();
    /// let tracer = TracerOn::builder().build_on(kernel.backend());
    /// assert!(tracer.is_empty());
    /// ```
    pub fn build_on(self, backend: B) -> Tracer<B> {
        Tracer { engine: Engine::new(backend, self.settings) }
    }
}
