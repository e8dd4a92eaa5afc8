//! What users see: [`Tracer`], its methods, and the types that they take and give.
//!
//! There is no state and no decision here. A method is documented, and passes its request on to the
//! [`Engine`], whose fields this module cannot see.

mod breakpoints;
mod builder;
mod calls;
mod detach;
mod functions;
mod halt;
mod modules;
mod processes;
mod questions;
mod reader;
mod readiness;
mod resume;
mod settings;
mod signals;
mod start;
mod stepping;
mod waits;
mod waker;

use crate::backend::Thread;
use crate::engine::Engine;
use crate::error::About;
use crate::{Backend, Pid, Result, Stopped};

pub use builder::Builder;
pub use functions::{CallOutcome, FunctionCall};
pub use halt::{Halted, Next};
pub use processes::ProcessInfo;
pub use reader::{Reader, Value};
pub use readiness::Readiness;
pub use resume::Resume;
pub(crate) use settings::Settings;
pub use settings::{FollowExec, FollowFork, Placement, StepOver};
pub use start::{AttachOptions, SpawnOptions, Spawned};
pub use stepping::Reached;
pub use waits::Only;
pub use waker::Waker;

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
    engine: Engine<B>,
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
        self.engine.is_empty()
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
        self.engine.requests()
    }

    /// Makes a request of the back end: for what only one system has, in its extension trait.
    #[doc(hidden)]
    pub fn on_backend<T>(&self, request: impl FnOnce(&mut B) -> T) -> T {
        self.engine.on_backend(request)
    }

    /// The same about a stopped thread.
    #[doc(hidden)]
    #[inline]
    pub fn ask<T>(
        &self,
        stop: &Stopped,
        request: impl FnOnce(&mut B, Thread) -> Result<T>,
    ) -> Result<T> {
        let thread = self.thread(stop)?;
        self.on_backend(|backend| request(backend, thread)).about(stop.pid())
    }

    /// A stopped thread as requests of the back end name it.
    ///
    /// # Errors
    ///
    /// [`Error::Gone`](crate::Error::Gone) if it was killed,
    /// [`Error::NotStopped`](crate::Error::NotStopped) if it runs again.
    #[doc(hidden)]
    pub fn thread(&self, stop: &Stopped) -> Result<Thread> {
        self.engine.asked(stop).about(stop.pid())
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
        self.engine.take_child(pid)
    }
}
