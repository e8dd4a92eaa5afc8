//! Detaching and killing.

use crate::error::About;
use crate::{Backend, Event, Pid, Result};

use super::Tracer;

impl<B: Backend> Tracer<B> {
    /// Detaches the processes of an event (or a token), as if they had never been traced. A signal
    /// that a thread is stopped for is delivered. A child whose fork was not reported yet is
    /// detached as well. Nothing of the tracer's stays behind.
    ///
    /// A spawned program becomes an ordinary child again; [`take_child`](Tracer::take_child) gives
    /// it. There are no further events of these processes, unless one is killed before it can be
    /// detached: then its [`Event::Exited`] follows. Detaching what is gone is `Ok`.
    ///
    /// ```
    /// # use trapline::fake::{Kernel, LinuxRules};
    /// # use trapline::{Event, TracerOn};
    /// # let kernel = Kernel::<LinuxRules>::new();
    /// # let pid = kernel.start();
    /// # let mut tracer = TracerOn::builder().build_on(kernel.backend());
    /// # tracer.attach(pid)?;
    /// let Some(Event::Stopped(stop)) = tracer.wait()? else { panic!("no stop") };
    /// tracer.detach(stop)?;
    /// assert!(tracer.is_empty());
    /// # assert!(!kernel.is_traced(pid));
    /// # Ok::<(), trapline::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::NotPermitted`](crate::Error::NotPermitted) if a breakpoint cannot be taken out of
    /// the memory of a process. The process stays traced, because it would die of the breakpoint.
    /// [`Error::Os`](crate::Error::Os) for an unexpected answer of the kernel. If nothing was
    /// detached yet, the next wait gives the stop again; a detach that has begun is completed by
    /// the following waits. [`Error::Gone`](crate::Error::Gone) for the token of another tracer.
    ///
    /// # Platform notes
    ///
    /// On Linux every thread has to be stopped to be detached, so a sleeping system call may return
    /// `EINTR` where the kernel does not restart it. If the kernel holds a thread, say in `vfork`,
    /// a later wait detaches it. If the first thread of a process has ended before the others, the
    /// kernel reports the end of the process to the tracer first, and to the parent only after
    /// that. A later wait takes that report, and gives the [`Event::Exited`] if the program was
    /// spawned.
    ///
    /// On FreeBSD a signal that a thread is stopped for, or has yet to report, is sent again. Its
    /// handler then sees the tracer as the sender. A value that was queued with the signal is kept.
    ///
    /// # References
    ///
    /// `PTRACE_DETACH` (Linux) and `PT_DETACH` (FreeBSD) in `ptrace(2)`.
    pub fn detach(&mut self, event: impl Into<Event>) -> Result<()> {
        self.engine.detach(event.into())
    }

    /// Detaches a process, running or stopped, as [`detach`](Tracer::detach) does. Tokens of its
    /// threads become stale, wherever they are. To detach what is gone is `Ok`.
    ///
    /// ```
    /// use trapline::{Backend, Pid, Result, TracerOn};
    ///
    /// /// Detaches all that is traced.
    /// fn detach_all<B: Backend>(tracer: &mut TracerOn<B>) -> Result<()> {
    ///     let all: Vec<Pid> = tracer.processes().collect();
    ///     all.into_iter().try_for_each(|pid| tracer.detach_process(pid))
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`detach`](Tracer::detach).
    pub fn detach_process(&mut self, pid: Pid) -> Result<()> {
        self.engine.detach_process(pid).about(pid)
    }

    /// Detaches a halted process, as [`detach`](Tracer::detach) does.
    ///
    /// ```
    /// use trapline::{Backend, Result, Stopped, TracerOn};
    ///
    /// /// Looks at all threads of a process once, and detaches it.
    /// fn look<B: Backend>(tracer: &mut TracerOn<B>, stop: Stopped) -> Result<()> {
    ///     let halted = tracer.halt(stop)?;
    ///     for stop in &halted {
    ///         println!("{}: {:?}", stop.tid(), tracer.registers(stop)?);
    ///     }
    ///     tracer.detach_halted(halted)
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`detach`](Tracer::detach).
    pub fn detach_halted(&mut self, halted: super::Halted) -> Result<()> {
        let pid = halted.pid;
        self.engine.detach_halted(halted).about(pid)
    }

    /// Kills a process. Its [`Event::Exited`] comes once every token of it is resumed, detached or
    /// dropped. To kill what is gone is `Ok`.
    ///
    /// ```
    /// # use trapline::fake::{Kernel, LinuxRules};
    /// # use trapline::{Event, Resume, TracerOn};
    /// # let kernel = Kernel::<LinuxRules>::new();
    /// # let pid = kernel.start();
    /// # let mut tracer = TracerOn::builder().build_on(kernel.backend());
    /// # tracer.attach(pid)?;
    /// let Some(Event::Stopped(stop)) = tracer.wait()? else { panic!("no stop") };
    /// tracer.kill(stop.pid())?;
    /// tracer.resume(stop, Resume::Continue)?;
    /// let Some(Event::Exited { status, .. }) = tracer.wait()? else { panic!("no end") };
    /// assert_eq!(status.to_string(), "killed by SIGKILL");
    /// # Ok::<(), trapline::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Os`](crate::Error::Os) for an unexpected answer of the kernel, for example that
    /// this user may not.
    pub fn kill(&mut self, pid: Pid) -> Result<()> {
        self.engine.kill(pid).about(pid)
    }
}
