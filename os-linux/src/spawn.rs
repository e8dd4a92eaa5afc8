//! Starting a program.
//!
//! `std` knows how to start one, and has the `Child`, the pipes and the errors of it. What it does
//! not know is tracing, so it runs on a *spawner* thread, and the two sides meet in the child: just
//! before the exec, the last `pre_exec` closure tells the tracer that it is there, and waits until
//! it is seized. No `SIGSTOP` is sent, and no stop is there that the program would not have had.
//!
//! The spawner is the parent of all that is started, and lives as long as the back end: a
//! program's `PR_SET_PDEATHSIG` fires when the *thread* that made it ends. It starts programs with
//! the signal mask that the tracer has at that time, and with what else a thread inherits (its
//! scheduling, its namespaces) as the tracer had it at its first spawn. While it has nothing to do
//! all signals are blocked on it, so that the host's handlers do not run there.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, OnceLock};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use trapline_core::backend::{RawKind, RawReason, RawSpawn, RawStop, Run, Setup};
use trapline_core::{Error, EventFlags, Pid, Result, Signal, Tid};

use crate::Linux;
use crate::attach::refusal;
use crate::decode::{self, Change};
use crate::proc;
use crate::sys::{
    Handle, Kernel, Line, Mask, Peek, READY, RETURNED, Target, error, fix_addresses, own_tid,
    report_before_exec,
};

/// How often to look whether the child was stopped before it could say that it is there. Rarely is
/// there a second time.
const LOOK: Duration = Duration::from_millis(20);

/// The thread that starts programs.
#[derive(Debug)]
pub(crate) struct Spawner {
    jobs: Sender<Job>,
    thread: JoinHandle<()>,
    tid: i32,
}

/// A program to start.
struct Job {
    command: Command,
    mask: Mask,
    /// The child's end of the line, to say that std has returned.
    line: Arc<Line>,
    /// The child, once the tracer has seized it.
    seized: Arc<OnceLock<Handle>>,
    answer: Sender<io::Result<Child>>,
}

/// How far the child has come when std returns.
enum Reached {
    /// It was never seized: std could not make it, or it was killed before.
    Nothing,
    /// It has ended, or is about to, without an exec.
    End(Tid),
    /// It has stopped at its exec.
    Exec(Tid),
}

impl Spawner {
    fn start() -> Result<Self> {
        let (jobs, todo) = channel::<Job>();
        let (announce, tid) = channel();
        let serve = move || {
            Mask::all().set();
            let _ = announce.send(own_tid());
            todo.iter().for_each(Job::run);
        };
        let failed = |e| error("pthread_create", -1, e);
        let thread = Builder::new().name("trapline-spawn".into()).spawn(serve).map_err(failed)?;
        let tid = tid.recv().map_err(|_| failed(io::ErrorKind::Other.into()))?;
        Ok(Self { jobs, thread, tid })
    }

    /// Ends the thread, which is waiting for a job.
    pub(crate) fn end(self) {
        drop(self.jobs);
        // It does not panic.
        let _ = self.thread.join();
    }
}

impl Job {
    fn run(mut self) {
        self.mask.set();
        // std panics if it cannot wait for a child whose exec has failed, because somebody else
        // has: a host that ignores SIGCHLD, or that waits for everybody.
        let spawned = catch_unwind(AssertUnwindSafe(|| self.command.spawn()))
            .unwrap_or_else(|_| Err(io::Error::other("another wait has taken the child's end")));
        Mask::all().set();
        if let (Err(_), Some(child)) = (&spawned, self.seized.get()) {
            // std waits for a child whose exec has failed, and may have got a stop of it instead
            // of its end. The tracer would then wait for something else to happen.
            child.kill(&Kernel::default());
        }
        self.line.send(&[RETURNED]);
        let _ = self.answer.send(spawned);
    }
}

impl Linux {
    pub(crate) fn start(&mut self, mut command: Command, setup: Setup) -> Result<RawSpawn> {
        let spawner = match self.spawner.take() {
            Some(spawner) => spawner,
            None => Spawner::start()?,
        };
        let spawner = self.spawner.insert(spawner);
        let (tracer, child) = Line::pair(LOOK)?;
        let child = Arc::new(child);
        if self.fixed_addresses {
            fix_addresses(&mut command);
        }
        report_before_exec(&mut command, &tracer, child.clone(), self.filter.take());
        let (answer, spawned) = channel();
        let seized = Arc::new(OnceLock::new());
        let job = Job {
            command,
            mask: Mask::current(),
            line: child.clone(),
            seized: seized.clone(),
            answer,
        };
        spawner.jobs.send(job).map_err(|_| no_spawner())?;
        let mut birth = Birth {
            kernel: &self.kernel,
            setup,
            spawner: spawner.tid,
            answer: spawned,
            spawned: None,
            held: Vec::new(),
        };
        let reached = birth.attend(&tracer, &child, &seized);
        // A child that is still waiting for an answer gets none, and ends.
        drop(tracer);
        let spawned = birth.take_answer()?;
        match (reached, spawned) {
            (Ok(Reached::Exec(tid)), Ok(child)) => birth.succeed(tid, child),
            (Ok(Reached::End(tid)), Ok(child)) => Ok(RawSpawn {
                pid: Pid::from_raw(tid.as_raw()),
                child: Some(child),
                stop: None,
                meanwhile: Vec::new(),
            }),
            (Ok(Reached::Nothing), Ok(child)) => birth.killed_untraced(child),
            (Ok(Reached::Exec(tid) | Reached::End(tid)), Err(e)) => {
                birth.bury(tid, seized.get())?;
                Err(Error::Spawn(e))
            }
            (Ok(Reached::Nothing), Err(e)) => Err(Error::Spawn(e)),
            (Err(error), Ok(mut child)) => {
                // It was not told to go on, or something is badly wrong.
                let _ = child.kill();
                if let Some(seized) = seized.get() {
                    birth.bury(Tid::from_raw(child.id() as i32), Some(seized))?;
                } else {
                    let _ = child.wait();
                }
                Err(error)
            }
            (Err(error), Err(_)) => Err(error),
        }
    }
}

/// The spawner's thread has ended, which it does not.
fn no_spawner() -> Error {
    error("Command::spawn", -1, io::ErrorKind::BrokenPipe.into())
}

/// A child on its way to its exec.
struct Birth<'a> {
    kernel: &'a Kernel,
    setup: Setup,
    spawner: i32,
    /// What std says, and what it has said.
    answer: Receiver<io::Result<Child>>,
    spawned: Option<io::Result<Child>>,
    /// Stop signals that have come, to be sent again.
    held: Vec<Signal>,
}

impl Birth<'_> {
    /// Seizes the child and brings it to its exec.
    fn attend(&mut self, line: &Line, child: &Line, seized: &OnceLock<Handle>) -> Result<Reached> {
        let Some(pid) = self.hear(line, child)? else {
            return Ok(Reached::Nothing);
        };
        let tid = Tid::from_raw(pid);
        if let Err(e) = self.seize(tid, seized) {
            let number = match &e {
                Error::Os { source, .. } => source.raw_os_error().unwrap_or(libc::EIO),
                _ => libc::EPERM,
            };
            line.send(&number.to_ne_bytes());
            return match e {
                // It was killed.
                Error::Gone { .. } => Ok(Reached::Nothing),
                e => Err(e),
            };
        }
        line.send(&0_i32.to_ne_bytes());
        self.wait_for_exec(tid)
    }

    /// The child's id, once it is about to exec; `None` if it does not get so far.
    fn hear(&mut self, line: &Line, child: &Line) -> Result<Option<i32>> {
        loop {
            let message = line.receive().map_err(|e| error("recvmsg", -1, e))?;
            match message {
                Some(message) if message.what == READY && message.sender > 0 => {
                    return Ok(Some(message.sender));
                }
                Some(message) if message.what == RETURNED => {
                    let spawned = self.take_answer()?;
                    self.spawned = Some(spawned);
                }
                Some(_) => return Err(error("recvmsg", -1, io::ErrorKind::InvalidData.into())),
                None => self.look_for_stopped(child),
            }
            match &mut self.spawned {
                None => {}
                Some(Err(_)) => return Ok(None),
                // std takes the end of its own line to the child for an exec. It ends as well if
                // the child is killed, or if it was closed: by a closure, or by std itself, if the
                // host has closed its stdio.
                Some(Ok(child)) => {
                    self.kernel.count();
                    if !matches!(child.try_wait(), Ok(None)) {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// What std says, which it does sooner or later.
    fn take_answer(&mut self) -> Result<io::Result<Child>> {
        match self.spawned.take() {
            Some(spawned) => Ok(spawned),
            None => self.answer.recv().map_err(|_| no_spawner()),
        }
    }

    /// A closure of the command, or somebody else, may stop the child while it is not traced yet.
    /// It is continued, and the signal kept for later.
    fn look_for_stopped(&mut self, child: &Line) {
        // The child is the one that has our line open. (Without CONFIG_PROC_CHILDREN or a fitting
        // /proc it is not found, and waits for a SIGCONT as it would for std.)
        let file = format!("fd/{}", child.raw());
        let own = std::process::id() as i32;
        let Ok(Some(own)) = proc::link(self.kernel, own, &file) else { return };
        let children = format!("task/{}/children", self.spawner);
        let children = proc::read(self.kernel, std::process::id() as i32, &children);
        let children = children.ok().flatten().unwrap_or_default();
        for pid in String::from_utf8_lossy(&children).split_ascii_whitespace() {
            let Ok(pid) = pid.parse() else { continue };
            if proc::link(self.kernel, pid, &file).is_ok_and(|fd| fd.is_some_and(|fd| fd == own)) {
                if let Some(signal) = self.kernel.stopped_by(pid).and_then(Signal::from_raw) {
                    self.hold(signal);
                    // Nobody has waited for it, so the id is its own.
                    let _ = self.kernel.kill(Pid::from_raw(pid), Signal::CONT);
                }
            }
        }
    }

    fn seize(&self, tid: Tid, seized: &OnceLock<Handle>) -> Result<()> {
        let handle = Handle::open(self.kernel, tid);
        // Exit stops only from the exec on: at the exit of a child whose exec has failed std would
        // wait for ever.
        let options = decode::options(self.setup) & !libc::PTRACE_O_TRACEEXIT;
        self.kernel.seize(tid, options).map_err(|e| refusal(self.kernel, tid, e))?;
        let _ = seized.set(handle);
        Ok(())
    }

    /// Takes the child's stops until its exec or its end. The end itself is left: if the exec has
    /// failed it is std that takes it.
    fn wait_for_exec(&mut self, tid: Tid) -> Result<Reached> {
        loop {
            match self.kernel.peek(Target::Tid(tid), false)? {
                Peek::NoChild | Peek::Changed(Change::Ended) => return Ok(Reached::End(tid)),
                Peek::Nothing => continue,
                Peek::Changed(Change::Stopped(_)) => {}
            }
            let Some(status) = self.kernel.take_stop(tid)? else {
                // Killed since, or taken by std.
                continue;
            };
            let pass_on = match decode::stop(tid, status).kind {
                RawKind::Stop(RawReason::Execed { .. }) => return Ok(Reached::Exec(tid)),
                RawKind::Stop(RawReason::Signal { signal, .. }) if !signal.stops() => {
                    if signal == Signal::CONT {
                        self.held.clear();
                    }
                    Some(signal)
                }
                RawKind::Stop(RawReason::Signal { signal, .. } | RawReason::GroupStop(signal)) => {
                    self.hold(signal);
                    None
                }
                _ => None,
            };
            match self.kernel.resume(tid, Run::Continue, pass_on) {
                Ok(()) | Err(Error::Gone { .. }) => {}
                Err(e) => return Err(e),
            }
        }
    }

    fn hold(&mut self, signal: Signal) {
        if !self.held.contains(&signal) {
            self.held.push(signal);
        }
    }

    fn succeed(&self, tid: Tid, child: Child) -> Result<RawSpawn> {
        let pid = Pid::from_raw(tid.as_raw());
        if self.setup.flags.contains(EventFlags::EXIT) {
            match self.kernel.set_options(tid, decode::options(self.setup)) {
                // Killed at its exec: its end follows.
                Ok(()) | Err(Error::Gone { .. }) => {}
                Err(e) => return Err(e),
            }
        }
        for &signal in &self.held {
            // It is our tracee, so the id is its own.
            let _ = self.kernel.kill(pid, signal);
        }
        let stop = RawStop {
            pid: Some(pid),
            tid: Some(tid),
            kind: RawKind::Stop(RawReason::Execed { former_tid: Some(tid) }),
        };
        Ok(RawSpawn { pid, child: Some(child), stop: Some(stop), meanwhile: Vec::new() })
    }

    /// The child was killed before it could be seized: an ordinary child, whose end no wait for
    /// tracees finds.
    fn killed_untraced(&self, mut child: Child) -> Result<RawSpawn> {
        let pid = Pid::from(&child);
        self.kernel.count();
        let status = child.wait().map_err(|e| error("waitpid", pid.as_raw(), e))?;
        let end = decode::stop(Tid::from_raw(pid.as_raw()), status.into_raw());
        Ok(RawSpawn { pid, child: Some(child), stop: None, meanwhile: vec![end] })
    }

    /// Makes sure that a child whose exec has failed is gone, if std has waited for it or not.
    fn bury(&self, tid: Tid, child: Option<&Handle>) -> Result<()> {
        let Some(child) = child else { return Ok(()) };
        child.kill(self.kernel);
        match self.kernel.peek(Target::Handle(child), true)? {
            Peek::Changed(_) => self.kernel.reap(tid),
            Peek::Nothing | Peek::NoChild => {}
        }
        Ok(())
    }
}
