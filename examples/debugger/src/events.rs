//! What happens to the program: events until one is worth a prompt, at which the whole process is stopped.

use std::collections::BTreeMap;
use std::fmt::Arguments;
use std::io::Write;

use trapline::{
    BreakpointId, Builder, Event, EventFlags, Halted, Next, Pid, Resume, Signal, StopReason,
    Stopped, Tid, Tracer, TrapCauses,
};

use crate::breakpoints::Point;
use crate::modules::{Files, Modules, last};
use crate::scope::Scope;
use crate::unwind::{Frame, frames};
use crate::{Outcome, Target};

/// Signals that programs get all the time, and that are passed on without a word.
pub(crate) const QUIET: [Signal; 4] = [Signal::CHLD, Signal::WINCH, Signal::URG, Signal::ALRM];

pub(crate) struct Debugger<W> {
    pub(crate) tracer: Tracer,
    out: W,
    files: Files,
    /// What each process consists of.
    pub(crate) processes: BTreeMap<Pid, Modules>,
    pub(crate) points: Vec<Point>,
    pub(crate) focus: Option<Focus>,
    /// A breakpoint of our own, for one arrival behind a call.
    pub(crate) own: Option<(Pid, BreakpointId)>,
    /// What is reached has been reached.
    pub(crate) reached: bool,
}

/// What the commands are about: a process with all its threads stopped, one of these, a frame of it.
pub(crate) struct Focus {
    pub(crate) halted: Halted,
    pub(crate) tid: Tid,
    pub(crate) frame: usize,
}

impl<W: Write> Debugger<W> {
    pub(crate) fn start(target: Target, out: W) -> Outcome<Self> {
        let mut tracer =
            Builder::new().events(EventFlags::PROCESS | EventFlags::MODULES).build()?;
        match target {
            Target::Program(command) => tracer.spawn(command).map(drop)?,
            Target::Process(pid) => tracer.attach(pid)?,
        }
        let mut debugger = Debugger {
            tracer,
            out,
            files: Files::default(),
            processes: BTreeMap::new(),
            points: Vec::new(),
            focus: None,
            own: None,
            reached: false,
        };
        debugger.wait()?;
        Ok(debugger)
    }

    pub(crate) fn say(&mut self, words: Arguments<'_>) -> Outcome<()> {
        Ok(writeln!(self.out, "{words}")?)
    }

    pub(crate) fn prompt(&mut self) -> Outcome<()> {
        write!(self.out, "> ")?;
        Ok(self.out.flush()?)
    }

    /// Runs all threads of the process.
    pub(crate) fn go_on(&mut self) -> Outcome<()> {
        match self.focus.take() {
            Some(focus) => self.tracer.resume_halted(focus.halted, |_| Next::Continue)?,
            None if self.processes.is_empty() => return Err("nothing is stopped".into()),
            None => {} // another one may run
        }
        self.wait()
    }

    /// Waits until something is worth a prompt.
    pub(crate) fn wait(&mut self) -> Outcome<()> {
        while let Some(event) = self.tracer.wait()? {
            if self.take(event)? {
                return Ok(());
            }
        }
        self.say(format_args!("nothing is traced any more"))
    }

    /// Takes in an event; whether it is worth a prompt.
    pub(crate) fn take(&mut self, event: Event) -> Outcome<bool> {
        match event {
            Event::Stopped(stop) => match self.stopped(&stop) {
                Ok(true) => self.focus_on(stop),
                Ok(false) => {
                    self.tracer.resume(stop, Resume::Continue)?;
                    Ok(false)
                }
                // It was killed at this stop, which is told next.
                Err(error) if error.downcast_ref().is_some_and(trapline::Error::is_gone) => {
                    Ok(false)
                }
                Err(error) => Err(error),
            },
            Event::Forked(fork) => {
                let parent = fork.parent_pid.and_then(|pid| self.processes.get(&pid)).cloned();
                self.say(format_args!("[{} made process {}]", fork.kind, fork.child_pid))?;
                if fork.child.stopped().is_some() {
                    self.processes.insert(fork.child_pid, parent.unwrap_or_default());
                    self.inherit(fork.parent_pid, fork.child_pid);
                }
                if let (None, Some(parent)) = (fork.parent.stopped(), fork.parent_pid) {
                    self.forget(parent); // by `follow child` it is detached
                }
                self.tracer.resume(fork, Resume::Continue)?;
                Ok(false)
            }
            Event::Exited { pid, status, .. } => {
                self.forget(pid);
                self.say(format_args!("[process {pid}: {status}]"))?;
                Ok(self.processes.is_empty())
            }
            _ => Ok(false),
        }
    }

    /// A thread has stopped; whether that is worth a prompt.
    fn stopped(&mut self, stop: &Stopped) -> Outcome<bool> {
        let pid = stop.pid();
        match stop.reason() {
            StopReason::Execed { .. } => {
                self.forget(pid);
                self.load(stop)?; // its libraries are loaded later
                self.say(format_args!("process {pid} runs a new program"))?;
                Ok(true)
            }
            StopReason::Started => self.load(stop).map(|()| true),
            StopReason::Trap(causes) => self.trapped(stop, causes),
            StopReason::Signal(signal) if QUIET.contains(&signal) => Ok(false),
            StopReason::Signal(signal) => {
                self.say(format_args!("thread {} gets {signal}", stop.tid()))?;
                Ok(true)
            }
            StopReason::Interrupted => Ok(true),
            _ => Ok(false),
        }
    }

    fn trapped(&mut self, stop: &Stopped, causes: TrapCauses) -> Outcome<bool> {
        if causes.modules_changed {
            self.load(stop)?;
        }
        if self.own.is_some_and(|(_, id)| causes.software == Some(id)) {
            self.reached = true;
            return Ok(true);
        }
        let hit = self.hit(stop, causes)?;
        Ok(hit || causes.single_step)
    }

    /// Reads what a process consists of, and puts the breakpoints in.
    pub(crate) fn load(&mut self, stop: &Stopped) -> Outcome<()> {
        let modules = Modules::read(&self.tracer, stop.pid(), &mut self.files)?;
        self.processes.insert(stop.pid(), modules);
        self.insert_all(stop.pid())
    }

    /// Stops the whole process at a stop of one of its threads.
    fn focus_on(&mut self, stop: Stopped) -> Outcome<bool> {
        let tid = stop.tid();
        match self.tracer.halt(stop) {
            Ok(halted) => self.focus = Some(Focus { halted, tid, frame: 0 }),
            Err(trapline::Error::Gone { .. }) => return Ok(false), // its end is told next
            Err(error) => return Err(error.into()),
        }
        if !self.reached {
            self.show_place()?;
        }
        Ok(true)
    }

    /// The thread and the files that commands are about.
    pub(crate) fn stop(&self) -> Outcome<(&Stopped, &Modules)> {
        let focus = self.focus.as_ref().ok_or("nothing is stopped")?;
        let stop = focus.halted.get(focus.tid).ok_or("there is no such thread")?;
        let modules = self.processes.get(&stop.pid()).ok_or("nothing is known of the process")?;
        Ok((stop, modules))
    }

    /// The frames of that thread.
    pub(crate) fn frames(&self, most: usize) -> Outcome<Vec<Frame>> {
        let (stop, modules) = self.stop()?;
        Ok(frames(self.tracer.at(stop), modules, most)?)
    }

    /// Does something with the frame that was chosen.
    pub(crate) fn in_frame<T>(&self, ask: impl FnOnce(Scope<'_>) -> Outcome<T>) -> Outcome<T> {
        let (stop, modules) = self.stop()?;
        let chosen = self.focus.as_ref().map_or(0, |focus| focus.frame);
        let frames = frames(self.tracer.at(stop), modules, chosen + 2)?;
        let frame = frames.get(chosen).ok_or("there is no such frame")?;
        ask(Scope { thread: self.tracer.at(stop), modules, frame })
    }

    /// Shows where the chosen frame is, with the line of the source.
    pub(crate) fn show_place(&mut self) -> Outcome<()> {
        let chosen = self.focus.as_ref().map_or(0, |focus| focus.frame);
        let (place, source) = self.in_frame(|scope| {
            let at = scope.frame.lookup;
            let line = scope.modules.line(at);
            let source = line.and_then(|(path, line)| Some((line, source_line(path, line)?)));
            let place = scope.modules.describe(scope.frame.pc);
            Ok((format!("{} {place}", scope.thread.tid()), source))
        })?;
        self.say(format_args!("#{chosen} thread {place}"))?;
        match source {
            Some((line, text)) => self.say(format_args!("{line}\t{text}")),
            None => Ok(()),
        }
    }

    /// A process has ended, or has become another program.
    fn forget(&mut self, pid: Pid) {
        self.processes.remove(&pid);
        self.own = self.own.filter(|&(of, _)| of != pid);
        self.points.iter_mut().for_each(|point| point.ids.retain(|&(of, _)| of != pid));
    }
}

/// A line of a source file, if that is there.
pub(crate) fn source_line(path: &str, line: u32) -> Option<String> {
    let text =
        std::fs::read_to_string(path).or_else(|_| std::fs::read_to_string(last(path))).ok()?;
    text.lines().nth(line.checked_sub(1)? as usize).map(str::to_string)
}
