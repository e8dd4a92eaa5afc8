//! `follow`: one side of each fork, or both, as gdb's `follow-fork-mode` and `detach-on-fork`.
//!
//! `cargo run --example follow -- --help` says how.

#[path = "../child_signals/mod.rs"]
mod child_signals;
mod options;
/// What catches signals in the example `trace`.
#[path = "../trace/signals.rs"]
mod signals;

use std::collections::BTreeSet;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use clap::Parser;
use trapline::{
    Builder, Error, Event, EventFlags, ExitStatus, ForkSide, Forked, Pid, Resume, Signal,
    StopReason, Tracer,
};

use options::Options;
use signals::Caught;

/// Wrong use; and what `env`, `timeout` and shells say for what they could not run.
const WRONG_USE: i32 = 2;
const FAILED: i32 = 125;
const NOT_EXECUTABLE: i32 = 126;
const NOT_FOUND: i32 = 127;

fn main() {
    if let Err(error) = child_signals::survive() {
        eprintln!("follow: {error}");
    }
    let options = Options::parse();
    let status = follow(&options).unwrap_or_else(|error| {
        eprintln!("follow: {error}");
        match error {
            Error::Spawn(error) if error.kind() == io::ErrorKind::NotFound => NOT_FOUND,
            Error::Spawn(_) => NOT_EXECUTABLE,
            Error::Gone { .. } | Error::NotPermitted { .. } => WRONG_USE,
            _ => FAILED,
        }
    });
    std::process::exit(status);
}

fn follow(options: &Options) -> Result<i32, Error> {
    let mut tracer = Builder::new()
        .events(EventFlags::PROCESS | EventFlags::REPARENT)
        .follow_fork(options.follow_fork())
        .follow_exec(options.follow_exec())
        .build()?;
    let mut session = Session::default();
    if let Some(pid) = options.pid {
        for pid in tracer.attach_tree(pid)? {
            session.begins(pid, "attached to");
        }
    } else if let Some((program, args)) = options.program.split_first() {
        let mut command = Command::new(program);
        command.args(args);
        let pid = tracer.spawn(command)?.pid;
        session.program = Some(pid);
        session.begins(pid, "started");
    }
    let caught = Caught::start(tracer.waker()?).map_err(Error::Spawn)?;
    while let Some(event) = tracer.wait()? {
        for signal in caught.signals.try_iter() {
            match session.program {
                // The end of the tracer detaches them.
                None => return Ok(session.leave()),
                // The terminal has sent these to both.
                Some(_) if [Signal::INT, Signal::QUIT].contains(&signal) => {}
                Some(program) => tracer.kill(program)?,
            }
        }
        session.tell(&mut tracer, &event);
        tracer.resume(event, Resume::Continue)?;
    }
    drop(caught);
    session.status(&mut tracer)
}

/// What is traced, and how the program has ended.
#[derive(Default)]
struct Session {
    program: Option<Pid>,
    ended: Option<ExitStatus>,
    traced: BTreeSet<Pid>,
    let_go: BTreeSet<Pid>,
}

impl Session {
    fn begins(&mut self, pid: Pid, how: &str) {
        self.traced.insert(pid);
        eprintln!("follow: {pid} {how}");
    }

    fn leaves(&mut self, pid: Pid) {
        self.traced.remove(&pid);
        self.let_go.insert(pid);
    }

    fn tell(&mut self, tracer: &mut Tracer, event: &Event) {
        match event {
            Event::Forked(fork) => self.forked(fork),
            Event::Stopped(stop) => {
                if let StopReason::Execed { .. } = stop.reason() {
                    let info = tracer.process_info(stop.pid()).ok();
                    let program = info.and_then(|info| info.executable).unwrap_or_default();
                    eprintln!("follow: {} runs {}", stop.pid(), program.display());
                }
            }
            Event::Detached { pid } => {
                self.leaves(*pid);
                eprintln!("follow: {pid} runs another program; it is detached");
            }
            Event::Exited { pid, status, .. } => {
                self.traced.remove(pid);
                if self.program == Some(*pid) {
                    self.ended = Some(*status);
                }
                eprintln!("follow: {pid} ends: {status}");
            }
            Event::Reparented { pid, from, to } => {
                let to = to.map_or("somebody elsewhere".into(), |to| to.to_string());
                eprintln!("follow: {pid} has lost its parent {from}, and is a child of {to}");
            }
            _ => {}
        }
    }

    fn forked(&mut self, fork: &Forked) {
        let parent = fork.parent_pid.map_or("a process".to_string(), |pid| pid.to_string());
        let child = fork.child_pid;
        let fate = |side: &ForkSide| match side {
            ForkSide::Stopped(_) => "traced",
            ForkSide::Detached => "detached",
            ForkSide::Gone => "gone",
        };
        eprintln!(
            "follow: {parent} makes {child} by {}: the parent is {}, the child is {}",
            fork.kind,
            fate(&fork.parent),
            fate(&fork.child)
        );
        match fork.child {
            ForkSide::Detached => drop(self.let_go.insert(child)),
            _ => drop(self.traced.insert(child)),
        }
        if let (ForkSide::Detached, Some(parent)) = (&fork.parent, fork.parent_pid) {
            self.leaves(parent);
        }
    }

    fn leave(&self) -> i32 {
        say_all("the rest is detached", &self.traced);
        0
    }

    /// The exit status of the program, which may have been detached, and live on.
    fn status(&self, tracer: &mut Tracer) -> Result<i32, Error> {
        say_all("detached", &self.let_go);
        let Some(program) = self.program else { return Ok(0) };
        if let Some(status) = self.ended {
            return Ok(match status {
                ExitStatus::Code(code) => code,
                ExitStatus::Killed { signal, .. } => 128 + signal.as_raw(),
            });
        }
        let Some(mut child) = tracer.take_child(program) else { return Ok(FAILED) };
        let status = child.wait().map_err(Error::Spawn)?;
        Ok(status.code().or(status.signal().map(|signal| 128 + signal)).unwrap_or(FAILED))
    }
}

fn say_all(what: &str, pids: &BTreeSet<Pid>) {
    if !pids.is_empty() {
        let list: Vec<String> = pids.iter().map(Pid::to_string).collect();
        eprintln!("follow: {what}: {}", list.join(" "));
    }
}
