//! Resuming, and asking for a stop.

use crate::error::About;
use crate::{Backend, Event, ForkSide, Pid, Result, Stopped};

use super::Tracer;

/// How to run a thread.
///
/// ```
/// use trapline::{Backend, Result, Resume, Stopped, TracerOn};
///
/// fn step<B: Backend>(tracer: &mut TracerOn<B>, stop: Stopped) -> Result<()> {
///     tracer.resume(stop, Resume::Step)
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Resume {
    /// Until its next event.
    #[default]
    Continue,
    /// For one instruction; then the thread stops with
    /// [`TrapCauses::single_step`](crate::TrapCauses::single_step).
    Step,
}

impl From<Stopped> for Event {
    fn from(stop: Stopped) -> Self {
        Event::Stopped(stop)
    }
}

impl From<crate::Forked> for Event {
    fn from(forked: crate::Forked) -> Self {
        Event::Forked(forked)
    }
}

impl Event {
    /// The tokens that the event owns: none, one, or the two of a fork.
    ///
    /// ```
    /// use trapline::{Event, Stopped};
    ///
    /// /// Keeps the threads of an event stopped for later.
    /// fn keep(event: Event, stops: &mut Vec<Stopped>) {
    ///     stops.extend(event.into_stops());
    /// }
    /// ```
    pub fn into_stops(self) -> impl Iterator<Item = Stopped> {
        let (one, other) = match self {
            Event::Stopped(stop) => (Some(stop), None),
            // The child first: a vfork's parent does not run before it anyway.
            Event::Forked(forked) => (forked.child.into_stopped(), forked.parent.into_stopped()),
            _ => (None, None),
        };
        one.into_iter().chain(other)
    }

    /// The process that the event is about; for a fork its parent, if that is known.
    ///
    /// ```
    /// assert_eq!(trapline::Event::Woken.pid(), None);
    /// ```
    pub fn pid(&self) -> Option<Pid> {
        match self {
            Event::Stopped(stop) => Some(stop.pid()),
            Event::Forked(forked) => forked.parent_pid,
            Event::ThreadExited { pid, .. }
            | Event::Exited { pid, .. }
            | Event::Reparented { pid, .. }
            | Event::Detached { pid } => Some(*pid),
            Event::Woken => None,
        }
    }
}

impl From<ForkSide> for Option<Stopped> {
    fn from(half: ForkSide) -> Self {
        half.into_stopped()
    }
}

impl<B: Backend> Tracer<B> {
    /// Runs every thread that an event (or a token) owns; does nothing for an event without one.
    ///
    /// At a signal stop this delivers the signal, or what [`Stopped::set_signal`] chose. At a
    /// [`StopReason::GroupStop`](crate::StopReason::GroupStop) the process stays stopped until a
    /// `SIGCONT` comes. Resuming what was killed meanwhile is `Ok`; its [`Event::Exited`] follows.
    ///
    /// ```
    /// use trapline::fake::{Kernel, LinuxRules};
    /// use trapline::{Event, Resume, TracerOn};
    ///
    /// let kernel = Kernel::<LinuxRules>::new();
    /// let pid = kernel.start();
    /// let mut tracer = TracerOn::builder().build_on(kernel.backend());
    /// tracer.attach(pid)?;
    /// let Some(Event::Stopped(stop)) = tracer.wait()? else { panic!("no stop") };
    /// tracer.resume(stop, Resume::Continue)?;
    /// assert!(kernel.acts(kernel.leader(pid)), "it runs");
    /// # Ok::<(), trapline::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Gone`](crate::Error::Gone) for the token of another tracer.
    /// [`Error::Os`](crate::Error::Os) for an unexpected answer of the kernel; then the next wait
    /// gives the stop again. At a fork it is [`Error::Tracee`](crate::Error::Tracee), which names the
    /// process.
    ///
    /// # Platform notes
    ///
    /// It runs what the stop has stopped: a thread on Linux, the whole process on FreeBSD. A caller
    /// that needs the other threads stopped uses [`halt`](Tracer::halt).
    pub fn resume(&mut self, event: impl Into<Event>, how: Resume) -> Result<()> {
        self.engine.resume(event.into(), how)
    }

    /// Runs a thread to the exit of the system call that it is in (or of its next one, if it is in
    /// none), or to an event that comes first. For extension traits of back ends where a stop
    /// stops one thread.
    ///
    /// # Errors
    ///
    /// As [`resume`](Tracer::resume).
    #[doc(hidden)]
    pub fn run_to_syscall_exit(&mut self, stop: Stopped) -> Result<()> {
        let pid = stop.pid();
        self.engine.run_to_syscall_exit(stop).about(pid)
    }

    /// Asks for an event of a process: [`StopReason::Interrupted`](crate::StopReason::Interrupted)
    /// of one of its threads, unless something else happens first.
    ///
    /// If all threads of the process are stopped, the event is there at once. If the caller holds
    /// the tokens of all of them, no event follows. On FreeBSD there is one delay: if the process
    /// has breakpoints, and a detached `vfork` child of it still uses its memory, the event comes
    /// when the child has exec'ed or ended.
    ///
    /// ```
    /// use trapline::fake::{Kernel, LinuxRules};
    /// use trapline::{Event, Resume, StopReason, TracerOn};
    ///
    /// let kernel = Kernel::<LinuxRules>::new();
    /// let pid = kernel.start();
    /// let mut tracer = TracerOn::builder().build_on(kernel.backend());
    /// tracer.attach(pid)?;
    /// let Some(started) = tracer.wait()? else { panic!("no stop") };
    /// tracer.resume(started, Resume::Continue)?;
    /// tracer.interrupt(pid)?;
    /// let Some(Event::Stopped(stop)) = tracer.wait()? else { panic!("no stop") };
    /// assert_eq!(stop.reason(), StopReason::Interrupted);
    /// # tracer.detach(stop)?;
    /// # Ok::<(), trapline::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Gone`](crate::Error::Gone) if this process is not traced.
    pub fn interrupt(&mut self, pid: Pid) -> Result<()> {
        self.engine.interrupt(pid).about(pid)
    }
}
