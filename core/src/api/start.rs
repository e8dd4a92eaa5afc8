//! How tracing begins: spawning and attaching.

use std::process::{ChildStderr, ChildStdin, ChildStdout, Command};

use crate::error::About;
use crate::{Backend, EventFlags, OnExit, Pid, Result};

use super::Tracer;

/// A program to spawn, and how: what [`Tracer::spawn`] takes.
///
/// A [`Command`] alone is one with the default of each setting.
///
/// ```no_run
/// use std::process::Command;
/// use trapline::{EventFlags, OnExit, SpawnOptions, Tracer};
///
/// let mut tracer = Tracer::builder().build()?;
/// let server = SpawnOptions::new(Command::new("httpd"))
///     .on_exit(OnExit::Detach)
///     .events(EventFlags::PROCESS | EventFlags::THREAD)
///     .randomize_addresses(false);
/// let spawned = tracer.spawn(server)?;
/// println!("{} is traced", spawned.pid);
/// # Ok::<(), trapline::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "nothing is spawned until a tracer is given the options"]
pub struct SpawnOptions {
    pub(crate) command: Command,
    pub(crate) on_exit: OnExit,
    pub(crate) events: Option<EventFlags>,
    pub(crate) randomize_addresses: bool,
}

impl From<Command> for SpawnOptions {
    fn from(command: Command) -> Self {
        SpawnOptions::new(command)
    }
}

impl SpawnOptions {
    /// Spawns this command, with the default of each setting.
    ///
    /// ```
    /// use std::process::Command;
    /// use trapline::SpawnOptions;
    ///
    /// let options = SpawnOptions::new(Command::new("true"));
    /// # drop(options);
    /// ```
    pub fn new(command: Command) -> Self {
        SpawnOptions { command, on_exit: OnExit::Kill, events: None, randomize_addresses: true }
    }

    /// Sets what becomes of the program, and of what it starts, when the tracer ends; default
    /// [`OnExit::Kill`].
    ///
    /// ```
    /// use std::process::Command;
    /// use trapline::{OnExit, SpawnOptions};
    ///
    /// let options = SpawnOptions::new(Command::new("httpd")).on_exit(OnExit::Detach);
    /// # drop(options);
    /// ```
    pub fn on_exit(mut self, on_exit: OnExit) -> Self {
        self.on_exit = on_exit;
        self
    }

    /// Sets which events the program reports; default those of the tracer's builder.
    ///
    /// ```
    /// use std::process::Command;
    /// use trapline::{EventFlags, SpawnOptions};
    ///
    /// let options = SpawnOptions::new(Command::new("true")).events(EventFlags::SYSCALL);
    /// # drop(options);
    /// ```
    pub fn events(mut self, flags: EventFlags) -> Self {
        self.events = Some(flags);
        self
    }

    /// Sets whether the addresses of the program's code, stack and libraries are random, as far as
    /// the system makes them so; default yes. Without randomization, a debugger finds everything
    /// where it was the last time.
    ///
    /// ```
    /// use std::process::Command;
    /// use trapline::SpawnOptions;
    ///
    /// let options = SpawnOptions::new(Command::new("true")).randomize_addresses(false);
    /// # drop(options);
    /// ```
    ///
    /// # Platform notes
    ///
    /// What the program starts inherits it. The spawn fails if the system refuses.
    ///
    /// # References
    ///
    /// `ADDR_NO_RANDOMIZE` in `personality(2)` (Linux); `PROC_ASLR_CTL` in `procctl(2)` (FreeBSD).
    pub fn randomize_addresses(mut self, random: bool) -> Self {
        self.randomize_addresses = random;
        self
    }
}

/// A process to attach to, and how: what [`Tracer::attach`] and [`Tracer::attach_tree`] take.
///
/// A [`Pid`] alone is one with the default of each setting.
///
/// ```no_run
/// use trapline::{AttachOptions, EventFlags, Pid, Tracer};
///
/// let mut tracer = Tracer::builder().build()?;
/// let pid = Pid::new(1234).expect("a positive number");
/// tracer.attach(AttachOptions::new(pid).events(EventFlags::PROCESS | EventFlags::SYSCALL))?;
/// # Ok::<(), trapline::Error>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "nothing is attached to until a tracer is given the options"]
pub struct AttachOptions {
    pub(crate) pid: Pid,
    pub(crate) on_exit: OnExit,
    pub(crate) events: Option<EventFlags>,
}

impl From<Pid> for AttachOptions {
    fn from(pid: Pid) -> Self {
        AttachOptions::new(pid)
    }
}

impl AttachOptions {
    /// Attaches to this process, with the default of each setting.
    ///
    /// ```
    /// use trapline::{AttachOptions, Pid};
    ///
    /// let options = AttachOptions::new(Pid::new(1234).expect("a positive number"));
    /// # drop(options);
    /// ```
    pub fn new(pid: Pid) -> Self {
        AttachOptions { pid, on_exit: OnExit::Detach, events: None }
    }

    /// Sets what becomes of the process when the tracer ends; default [`OnExit::Detach`].
    ///
    /// ```
    /// use trapline::{AttachOptions, OnExit, Pid};
    ///
    /// let pid = Pid::new(1234).expect("a positive number");
    /// let options = AttachOptions::new(pid).on_exit(OnExit::Kill);
    /// # drop(options);
    /// ```
    pub fn on_exit(mut self, on_exit: OnExit) -> Self {
        self.on_exit = on_exit;
        self
    }

    /// Sets which events the process reports; default those of the tracer's builder.
    ///
    /// ```
    /// use trapline::{AttachOptions, EventFlags, Pid};
    ///
    /// let pid = Pid::new(1234).expect("a positive number");
    /// let options = AttachOptions::new(pid).events(EventFlags::THREAD);
    /// # drop(options);
    /// ```
    pub fn events(mut self, flags: EventFlags) -> Self {
        self.events = Some(flags);
        self
    }

    /// The same for another process.
    pub(crate) fn of(&self, pid: Pid) -> Self {
        AttachOptions { pid, ..self.clone() }
    }
}

/// A program that was spawned, and the pipes that its [`Command`] asked for.
///
/// The [`std::process::Child`] stays with the tracer while the program is traced, because its `wait`
/// would take stops for exits; [`Tracer::take_child`] gives it after a detach.
///
/// ```no_run
/// use std::io::Read;
/// use std::process::{Command, Stdio};
/// use trapline::{Resume, Tracer};
///
/// let mut tracer = Tracer::builder().build()?;
/// let mut command = Command::new("date");
/// command.stdout(Stdio::piped());
/// let spawned = tracer.spawn(command)?;
/// while let Some(event) = tracer.wait()? {
///     tracer.resume(event, Resume::Continue)?;
/// }
/// let mut output = String::new();
/// if let Some(mut stdout) = spawned.stdout {
///     stdout.read_to_string(&mut output).expect("text");
/// }
/// # Ok::<(), trapline::Error>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
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

impl<B: Backend> Tracer<B> {
    /// Starts a program that is traced from before its first instruction: a [`Command`], or
    /// [`SpawnOptions`] with one. By default the program is killed if the tracer ends first.
    ///
    /// Its first event is a stop with [`StopReason::Execed`](crate::StopReason::Execed), whatever
    /// the event flags. If it is killed before that, its only event is
    /// [`Event::Exited`](crate::Event::Exited).
    ///
    /// ```no_run
    /// use std::process::Command;
    /// use trapline::Tracer;
    ///
    /// let mut tracer = Tracer::builder().build()?;
    /// let spawned = tracer.spawn(Command::new("make"))?;
    /// println!("make is {}", spawned.pid);
    /// # Ok::<(), trapline::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Spawn`](crate::Error::Spawn) with what `Command::spawn` would have returned: there
    /// is no such program, it cannot be executed, and so on. Then there is no process.
    /// [`Error::Os`](crate::Error::Os) for a [`Placement`](crate::Placement) that is not possible.
    pub fn spawn(&mut self, options: impl Into<SpawnOptions>) -> Result<Spawned> {
        self.engine.spawn(options.into())
    }

    /// Traces a running process, with all its threads: a [`Pid`], or [`AttachOptions`] with one. By
    /// default the process is detached if the tracer ends first.
    ///
    /// Its first event is a stop of one thread with
    /// [`StopReason::Started`](crate::StopReason::Started). If it execs or ends before it can be
    /// stopped, its first event is that.
    ///
    /// ```
    /// use trapline::fake::{Kernel, LinuxRules};
    /// use trapline::{Event, StopReason, TracerOn};
    ///
    /// let kernel = Kernel::<LinuxRules>::new();
    /// let pid = kernel.start();
    /// let mut tracer = TracerOn::builder().build_on(kernel.backend());
    /// tracer.attach(pid)?;
    /// let Some(Event::Stopped(stop)) = tracer.wait()? else { panic!("no stop") };
    /// assert_eq!(stop.reason(), StopReason::Started);
    /// # tracer.detach(stop)?;
    /// # Ok::<(), trapline::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Gone`](crate::Error::Gone) if there is no such process.
    /// [`Error::NotPermitted`](crate::Error::NotPermitted), which says what to do about it, if the
    /// kernel refuses, or if this tracer traces it already.
    ///
    /// # Platform notes
    ///
    /// A process that job control has stopped stays stopped on Linux: a
    /// [`StopReason::GroupStop`](crate::StopReason::GroupStop) follows. FreeBSD ends that stop, and
    /// the process runs once it is resumed or detached.
    ///
    /// On Linux each thread of the process is stopped for a moment, so that a sleeping system call
    /// may return `EINTR` where the kernel does not restart it. In a process with more than 32
    /// threads only one thread is stopped. A thread that is being made at that moment is traced a
    /// little later: before a wait sleeps, before the process is halted or before a breakpoint is
    /// inserted, whichever comes first. That can take as long as a running thread takes to stop.
    ///
    /// # References
    ///
    /// `PTRACE_SEIZE` (Linux) and `PT_ATTACH` (FreeBSD) in `ptrace(2)`.
    pub fn attach(&mut self, options: impl Into<AttachOptions>) -> Result<()> {
        let options = options.into();
        let pid = options.pid;
        self.engine.attach(options).about(pid)
    }

    /// Traces a running process and all its descendants, with all their threads. By default they are
    /// detached if the tracer ends first. Returns those that were attached to; those that this tracer
    /// traces already are no error, and stay as they are.
    ///
    /// Each of them has the first event that [`attach`](Tracer::attach) describes.
    ///
    /// ```
    /// use trapline::fake::{Kernel, LinuxRules};
    /// use trapline::{ForkKind, TracerOn};
    ///
    /// let kernel = Kernel::<LinuxRules>::new();
    /// let zombie_leader = kernel.start();
    /// let child = kernel.fork(kernel.leader(zombie_leader), ForkKind::Fork);
    /// let mut tracer = TracerOn::builder().build_on(kernel.backend());
    /// assert_eq!(tracer.attach_tree(zombie_leader)?, [zombie_leader, child]);
    /// # Ok::<(), trapline::Error>(())
    /// ```
    ///
    /// # What is guaranteed
    ///
    /// When this returns, every process is traced whose line of real parents leads to `root`, and so
    /// is whatever these make from then on. Programs may fork, exec and end meanwhile:
    ///
    /// - A process made by one that is traced already comes as
    ///   [`Event::Forked`](crate::Event::Forked), as ever, and is not among those returned.
    /// - One that ends before it could be attached to is left out; its children are not.
    /// - A daemon, whose parent has ended, is found if it was seen before that, or if it still has
    ///   the memory layout of a descendant: a fork copies the layout, and each exec draws a new one.
    ///   So a daemon that is missed was made by a descendant that was not traced yet and has ended
    ///   since, and one of the two has exec'ed, all within this call. Daemons from before the call
    ///   are not descendants any more.
    ///
    /// This process itself, if it is a descendant, is left out, with its own children.
    ///
    /// # Errors
    ///
    /// As [`attach`](Tracer::attach), for `root` and for any descendant that has not ended; then
    /// all that this call has attached to are detached again.
    ///
    /// # Platform notes
    ///
    /// The memory layout is known on Linux from `/proc/<pid>/stat` (`proc_pid_stat(5)`), on
    /// FreeBSD from the `kern.proc.ps_strings` sysctl. With address space layout randomisation off
    /// all layouts are the same, and daemons are found only if they were seen before.
    pub fn attach_tree(&mut self, root: impl Into<AttachOptions>) -> Result<Vec<Pid>> {
        let root = root.into();
        let pid = root.pid;
        self.engine.attach_tree(root).about(pid)
    }
}
