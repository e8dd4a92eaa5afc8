//! The waits.

use std::task::Poll;
use std::time::Duration;

use crate::error::About;
use crate::{Backend, Event, Pid, Result, Tid};

use super::Tracer;

/// Whose events [`Tracer::wait_for`] gives.
///
/// ```
/// use trapline::{Only, Stopped};
///
/// fn only_this(stop: &Stopped) -> Only {
///     Only::Thread(stop.pid(), stop.tid())
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Only {
    /// Those of one thread: its stops, its end, and that of its process.
    Thread(Pid, Tid),
    /// Those of a process: its stops and ends, the forks that it makes, and its own making.
    Process(Pid),
}

impl<B: Backend> Tracer<B> {
    /// The next event; `None` once no process is traced.
    ///
    /// ```no_run
    /// use std::process::Command;
    /// use trapline::{Event, Resume, Tracer};
    ///
    /// let mut tracer = Tracer::builder().build()?;
    /// tracer.spawn(Command::new("make"))?;
    /// while let Some(event) = tracer.wait()? {
    ///     if let Event::Exited { pid, status, .. } = &event {
    ///         println!("{pid}: {status}");
    ///     }
    ///     tracer.resume(event, Resume::Continue)?;
    /// }
    /// # Ok::<(), trapline::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::NotRunning`](crate::Error::NotRunning) if nothing would end this wait: the caller
    /// has the tokens of all threads that could stop, and there is no [`Waker`](crate::Waker).
    /// [`Error::Taken`](crate::Error::Taken) if the host has waited for a tracee itself.
    /// [`Error::Tracee`](crate::Error::Tracee) if something fails that the tracer does by itself.
    /// [`Error::Os`](crate::Error::Os) for an unexpected answer of the kernel. No error loses a
    /// stop.
    ///
    /// # Platform notes
    ///
    /// Only tracees of this tracer are waited for, never another child of this process. The host
    /// must not wait for a tracee itself, nor for any child: `waitpid(-1)` there may take stops
    /// and ends of tracees (on Linux, of those that this process has spawned).
    pub fn wait(&mut self) -> Result<Option<Event>> {
        self.engine.wait()
    }

    /// The next event, without waiting for one: [`Poll::Pending`] if there is none now,
    /// `Ready(None)` once no process is traced.
    ///
    /// ```
    /// use std::task::Poll;
    /// use trapline::fake::{FreeBsdRules, Kernel};
    /// use trapline::{Event, Resume, TracerOn};
    ///
    /// let kernel = Kernel::<FreeBsdRules>::new();
    /// let pid = kernel.start();
    /// let mut tracer = TracerOn::builder().build_on(kernel.backend());
    /// tracer.attach(pid)?;
    /// let Poll::Ready(Some(event)) = tracer.try_wait()? else { panic!("no stop") };
    /// tracer.resume(event, Resume::Continue)?;
    /// assert!(tracer.try_wait()?.is_pending());
    /// kernel.exit(kernel.leader(pid), 0);
    /// assert!(matches!(tracer.try_wait()?, Poll::Ready(Some(Event::Exited { .. }))));
    /// assert!(matches!(tracer.try_wait()?, Poll::Ready(None)));
    /// # Ok::<(), trapline::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`wait`](Tracer::wait), but for [`Error::NotRunning`](crate::Error::NotRunning).
    pub fn try_wait(&mut self) -> Result<Poll<Option<Event>>> {
        self.engine.try_wait()
    }

    /// The next event, if one comes within this time. `None` means that the time is over, or that
    /// no process is traced any more; [`is_empty`](Tracer::is_empty) tells which. It sleeps as
    /// [`wait`](Tracer::wait) does, and answers a stop as fast.
    ///
    /// ```no_run
    /// use std::process::Command;
    /// use std::time::Duration;
    /// use trapline::{Resume, Tracer};
    ///
    /// let mut tracer = Tracer::builder().build()?;
    /// let make = tracer.spawn(Command::new("make"))?.pid;
    /// loop {
    ///     match tracer.wait_timeout(Duration::from_secs(60))? {
    ///         Some(event) => tracer.resume(event, Resume::Continue)?,
    ///         None if tracer.is_empty() => break,
    ///         None => tracer.kill(make)?, // nothing has happened for a minute
    ///     }
    /// }
    /// # Ok::<(), trapline::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The errors of [`wait`](Tracer::wait), without
    /// [`Error::NotRunning`](crate::Error::NotRunning), and those of [`waker`](Tracer::waker).
    ///
    /// # Platform notes
    ///
    /// On Linux the first call that has to sleep makes the hidden helper that a
    /// [waker](Tracer::waker) needs, with a `timerfd`.
    pub fn wait_timeout(&mut self, timeout: Duration) -> Result<Option<Event>> {
        self.engine.wait_timeout(timeout)
    }

    /// The next event of one thread or process; `None` if it is not traced, or is no more. Events of
    /// others stay in the queue, in their order, for later waits, and their threads stay stopped
    /// until then.
    ///
    /// ```no_run
    /// use trapline::{Backend, Event, Only, Result, Resume, Stopped, TracerOn};
    ///
    /// /// Makes a step, whatever other threads do meanwhile.
    /// fn step<B: Backend>(tracer: &mut TracerOn<B>, stop: Stopped) -> Result<Option<Event>> {
    ///     let only = Only::Thread(stop.pid(), stop.tid());
    ///     tracer.resume(stop, Resume::Step)?;
    ///     tracer.wait_for(only)
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`wait`](Tracer::wait). [`Error::NotRunning`](crate::Error::NotRunning) if nothing of it
    /// runs, so that no wait would end: its tokens are with the caller.
    ///
    /// # Platform notes
    ///
    /// FreeBSD stops a process as a whole: while the stop of another thread waits in the queue, no
    /// thread of the process runs.
    pub fn wait_for(&mut self, only: Only) -> Result<Option<Event>> {
        self.engine.wait_for(only).about(only.pid())
    }
}
