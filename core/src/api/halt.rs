//! All threads of a process stopped, for a debugger that stops them together.

use std::rc::Rc;

use crate::error::About;
use crate::{Backend, Pid, Result, Stopped, Tid};

use super::Tracer;

/// A process all of whose threads are stopped, but for those that cannot be: all-stop, as
/// [`Tracer::halt`] brings it about.
///
/// It owns the tokens of the threads. To drop it runs nothing: the next waits give its stops again.
///
/// ```
/// use trapline::{Backend, Halted, Next, Result, Tid, TracerOn};
///
/// /// Steps one thread while the others stay.
/// fn step<B: Backend>(tracer: &mut TracerOn<B>, halted: Halted, tid: Tid) -> Result<()> {
///     tracer.resume_halted(halted, |stop| match stop.tid() == tid {
///         true => Next::Step,
///         false => Next::Stay,
///     })
/// }
/// ```
#[derive(Debug)]
#[must_use = "the threads stay stopped until they are resumed or detached"]
pub struct Halted {
    /// The process.
    pub pid: Pid,
    /// A token for each stopped thread. The one that the process was halted at is the first; the
    /// others have the reason [`StopReason::Halted`](crate::StopReason::Halted).
    pub threads: Vec<Stopped>,
    /// Threads that the kernel holds: a parent in `vfork`, a caller of `execve` that waits for the
    /// other threads, an uninterruptible sleep. They run nothing of the program. One that the
    /// kernel lets go during the halt stays at rest too.
    pub blocked: Vec<Tid>,
    /// As long as it lives, whatever stops without something to say rests. It does not outlive
    /// this: whoever drops the `Halted`, or takes it apart, ends the halt.
    pub(crate) lease: Rc<()>,
}

impl Halted {
    /// The token of a thread, if it is stopped.
    ///
    /// ```
    /// use trapline::{Halted, StopReason, Tid};
    ///
    /// fn reason(halted: &Halted, tid: Tid) -> Option<StopReason> {
    ///     Some(halted.get(tid)?.reason())
    /// }
    /// ```
    pub fn get(&self, tid: Tid) -> Option<&Stopped> {
        self.threads.iter().find(|stop| stop.tid() == tid)
    }

    /// The same, to change what it is resumed with.
    ///
    /// ```
    /// use trapline::{Halted, Result, Tid};
    ///
    /// /// Keeps a signal from the thread that is stopped for it.
    /// fn suppress_signal(halted: &mut Halted, tid: Tid) -> Result<()> {
    ///     halted.get_mut(tid).map_or(Ok(()), |stop| stop.set_signal(None))
    /// }
    /// ```
    pub fn get_mut(&mut self, tid: Tid) -> Option<&mut Stopped> {
        self.threads.iter_mut().find(|stop| stop.tid() == tid)
    }

    /// The tokens, that of the thread that the process was halted at first.
    ///
    /// ```
    /// use trapline::{Halted, Tid};
    ///
    /// fn threads(halted: &Halted) -> Vec<Tid> {
    ///     halted.iter().map(|stop| stop.tid()).collect()
    /// }
    /// ```
    pub fn iter(&self) -> std::slice::Iter<'_, Stopped> {
        self.threads.iter()
    }
}

impl<'a> IntoIterator for &'a Halted {
    type Item = &'a Stopped;
    type IntoIter = std::slice::Iter<'a, Stopped>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// What a thread of a halted process does next.
///
/// ```
/// use trapline::{Backend, Halted, Next, Result, TracerOn};
///
/// fn run_all<B: Backend>(tracer: &mut TracerOn<B>, halted: Halted) -> Result<()> {
///     tracer.resume_halted(halted, |_| Next::Continue)
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Next {
    /// Runs until its next event.
    Continue,
    /// Runs one instruction.
    Step,
    /// Stays stopped, until a later halt gives its token again. If it is stopped for a signal now,
    /// that token is for the same signal; otherwise it says
    /// [`StopReason::Halted`](crate::StopReason::Halted).
    Stay,
}

impl<B: Backend> Tracer<B> {
    /// Stops all threads of a process at the stop of one (all-stop).
    ///
    /// What they report meanwhile is kept and given by later waits. A thread with such an event
    /// does not run until the event has been given, whatever
    /// [`resume_halted`](Tracer::resume_halted) is told.
    ///
    /// ```
    /// use trapline::fake::{FreeBsdRules, Kernel};
    /// use trapline::{Event, TracerOn};
    ///
    /// let kernel = Kernel::<FreeBsdRules>::new();
    /// let pid = kernel.start();
    /// let other = kernel.thread(kernel.leader(pid));
    /// let mut tracer = TracerOn::builder().build_on(kernel.backend());
    /// tracer.attach(pid)?;
    /// let Some(Event::Stopped(stop)) = tracer.wait()? else { panic!("no stop") };
    /// let halted = tracer.halt(stop)?;
    /// assert!(halted.get(other).is_some());
    /// # tracer.detach_halted(halted)?;
    /// # Ok::<(), trapline::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Gone`](crate::Error::Gone) if the process was killed;
    /// [`Error::Os`](crate::Error::Os) for an unexpected answer of the kernel, after which the next
    /// waits give the stops again.
    ///
    /// # Platform notes
    ///
    /// FreeBSD stops a process as a whole, so this only looks up its threads; on Linux it
    /// interrupts each thread that runs and waits for it. It never waits for a thread that the
    /// kernel holds.
    pub fn halt(&mut self, stop: Stopped) -> Result<Halted> {
        let pid = stop.pid();
        self.engine.halt(stop).about(pid)
    }

    /// Runs the threads of a halted process as `next` says, all at once.
    ///
    /// ```
    /// use trapline::fake::{FreeBsdRules, Kernel};
    /// use trapline::{Event, Next, TracerOn};
    ///
    /// let kernel = Kernel::<FreeBsdRules>::new();
    /// let pid = kernel.start();
    /// let other = kernel.thread(kernel.leader(pid));
    /// let mut tracer = TracerOn::builder().build_on(kernel.backend());
    /// tracer.attach(pid)?;
    /// let Some(Event::Stopped(stop)) = tracer.wait()? else { panic!("no stop") };
    /// let halted = tracer.halt(stop)?;
    /// tracer.resume_halted(halted, |stop| match stop.tid() == other {
    ///     true => Next::Continue,
    ///     false => Next::Stay,
    /// })?;
    /// assert!(kernel.acts(other) && !kernel.acts(kernel.leader(pid)));
    /// # tracer.detach_process(pid)?;
    /// # Ok::<(), trapline::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Os`](crate::Error::Os) for an unexpected answer of the kernel; the threads that
    /// were not yet resumed are given again by the next waits.
    /// [`Error::Unsupported`](crate::Error::Unsupported) on FreeBSD for several threads to be
    /// stepped at once.
    pub fn resume_halted(
        &mut self,
        halted: Halted,
        next: impl FnMut(&Stopped) -> Next,
    ) -> Result<()> {
        let pid = halted.pid;
        self.engine.resume_halted(halted, next).about(pid)
    }
}
