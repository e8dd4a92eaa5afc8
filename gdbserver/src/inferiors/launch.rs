//! How processes come here, and how they go.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use trapline::{Error, Event, OnExit, Pid, Result, Resume, SpawnOptions, StopReason, Stopped};

use super::events::unless_gone;
use super::{Inferiors, Origin, Process, Program, Stop};
use crate::regs::{Layout, Vectors};

/// How programs are started.
#[derive(Debug, Default)]
pub(crate) struct Launch {
    /// The program that was run last, for a `run` without a name.
    pub(crate) program: Vec<OsString>,
    /// Variables that are set, or taken out.
    pub(crate) environment: BTreeMap<OsString, Option<OsString>>,
    pub(crate) directory: Option<PathBuf>,
    /// At addresses that are different each time.
    pub(crate) random: bool,
    /// By a shell.
    pub(crate) shell: bool,
    /// By this command.
    pub(crate) wrapper: Vec<OsString>,
    /// Standard input and output are the client's.
    pub(crate) has_no_stdio: bool,
}

/// A word as a shell takes it for itself.
fn quoted(word: &OsStr) -> Vec<u8> {
    let mut quoted = vec![b'\''];
    for &byte in word.as_bytes() {
        match byte {
            b'\'' => quoted.extend(b"'\\''"),
            _ => quoted.push(byte),
        }
    }
    quoted.push(b'\'');
    quoted
}

impl Launch {
    /// The command, and how many execs it makes until the program runs.
    fn command(&self, program: &[OsString]) -> Option<(Command, u32)> {
        let mut words: Vec<OsString> = self.wrapper.clone();
        words.extend(program.iter().cloned());
        let mut execs = if self.wrapper.is_empty() { 1 } else { 2 };
        if self.shell {
            let mut line = b"exec".to_vec();
            for word in &words {
                line.push(b' ');
                line.extend(quoted(word));
            }
            let shell = std::env::var_os("SHELL").unwrap_or_else(|| "/bin/sh".into());
            words = vec![shell, "-c".into(), OsString::from_vec(line)];
            execs += 1;
        }
        let (name, arguments) = words.split_first()?;
        let mut command = Command::new(name);
        command.args(arguments).process_group(0);
        for (key, value) in &self.environment {
            match value {
                Some(value) => command.env(key, value),
                None => command.env_remove(key),
            };
        }
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        if self.has_no_stdio {
            command.stdin(Stdio::null()).stdout(io::stderr());
        }
        Some((command, execs))
    }
}

impl Inferiors {
    /// Starts a program, and has it stand at its first instruction.
    pub(crate) fn start(&mut self, mut program: Vec<OsString>) -> Result<Pid> {
        // A name alone is that of a file that is here, before it is looked up in PATH.
        if let Some(name) = program.first_mut().filter(|name| !name.as_bytes().contains(&b'/')) {
            if let Some(here) = std::env::current_dir().ok().filter(|dir| dir.join(&name).is_file())
            {
                *name = here.join(&name).into_os_string();
            }
        }
        let nothing = || Error::Spawn(io::ErrorKind::NotFound.into());
        let (command, execs) = self.launch.command(&program).ok_or_else(nothing)?;
        let options = SpawnOptions::new(command).randomize_addresses(self.launch.random);
        let pid = self.tracer.spawn(options)?.pid;
        crate::server::give_terminal(pid);
        self.launch.program = program;
        self.meet(pid, Origin::Started, execs)?;
        Ok(pid)
    }

    /// Attaches to a process, and has it stand still.
    pub(crate) fn attach(&mut self, pid: Pid) -> Result<()> {
        self.tracer.attach(pid)?;
        self.meet(pid, Origin::Attached, 0)
    }

    /// Waits for the stop at which the client meets a process.
    fn meet(&mut self, pid: Pid, origin: Origin, mut execs: u32) -> Result<()> {
        loop {
            let Some(event) = self.tracer.wait()? else {
                return Err(Error::Gone { pid: Some(pid) });
            };
            match event {
                Event::Stopped(stop) if stop.pid() == pid => {
                    if matches!(stop.reason(), StopReason::Execed { .. }) {
                        execs = execs.saturating_sub(1);
                        if execs == 0 {
                            return self.met(stop, origin);
                        }
                    } else if execs == 0 {
                        return self.met(stop, origin);
                    }
                    self.tracer.resume(stop, Resume::Continue)?;
                }
                // A shell or a wrapper that makes others: those are not debugged.
                Event::Forked(forked) if forked.parent_pid == Some(pid) => {
                    if let Some(child) = forked.child.into_stopped() {
                        self.tracer.detach(child)?;
                    }
                    if let Some(parent) = forked.parent.into_stopped() {
                        self.tracer.resume(parent, Resume::Continue)?;
                    }
                }
                Event::Exited { pid: ended, .. } if ended == pid => {
                    return Err(Error::Gone { pid: Some(pid) });
                }
                Event::Woken => {}
                other if other.pid() == Some(pid) => {
                    self.tracer.resume(other, Resume::Continue)?;
                }
                other => self.absorb(other)?,
            }
        }
    }

    fn met(&mut self, stop: Stopped, origin: Origin) -> Result<()> {
        let (pid, tid) = (stop.pid(), stop.tid());
        let mut process = Process::new(pid, origin);
        let first = match (origin, stop.reason()) {
            (Origin::Attached, StopReason::Signal(signal)) => Stop::Signal(signal),
            (Origin::Attached, _) if self.wishes.non_stop => Stop::Quiet,
            _ => Stop::Trap,
        };
        process.add_thread(tid).tell(first);
        self.all.push(process);
        self.look(pid, Some(&stop));
        self.hold_new(stop)?;
        self.set_events(pid)?;
        match self.at(pid) {
            Some(_) => Ok(()),
            None => Err(Error::Gone { pid: Some(pid) }),
        }
    }

    /// Notes what there is to know of the program that a process runs now. What the system does not
    /// tell stays empty, and the client does without.
    pub(super) fn look(&mut self, pid: Pid, stop: Option<&Stopped>) {
        let executable = self.tracer.process_info(pid).ok().and_then(|process| process.executable);
        let auxv = self.tracer.auxiliary_vector(pid).unwrap_or_default();
        let entries = self.tracer.auxiliary_entries(pid).unwrap_or_default();
        let vectors = stop.and_then(|stop| Vectors::read(&mut self.tracer, stop).ok());
        let Ok(process) = self.get_mut(pid) else { return };
        let mut layout = Layout::of(&entries, vectors.as_ref());
        if stop.is_none() {
            layout.take_cpu_from(process.program.layout);
        }
        process.program =
            Program { executable: executable.unwrap_or_default(), auxv, entries, layout };
    }

    /// Lets a process go, and children of it that the client has not heard of.
    pub(crate) fn detach(&mut self, pid: Pid, stay_stopped: bool) -> Result<()> {
        for child in self.unheard_children(pid) {
            self.detach(child, false)?;
        }
        let Some(at) = self.at(pid) else { return Ok(()) };
        // Only of threads at rest is it known what they were to get.
        if self.all[at].halted.is_none() && self.all[at].can_stop() {
            self.borrow(pid)?;
        }
        let Some(at) = self.at(pid) else { return Ok(()) };
        self.remove_all(pid)?;
        let mut process = self.all.remove(at);
        let mut tokens = Vec::new();
        for thread in &mut process.threads {
            let Some(mut stop) = thread.stop.take() else { continue };
            if let Some(signal) = stop.signal() {
                if !self.passes_at_detach(signal) {
                    stop.set_signal(None)?;
                }
            }
            if stay_stopped {
                unless_gone(self.tracer.send_signal(&stop, trapline::Signal::STOP))?;
            }
            tokens.push(stop);
        }
        match process.halted.take() {
            Some(mut halted) => {
                halted.threads = tokens;
                self.tracer.detach_halted(halted)?;
            }
            None => drop(tokens),
        }
        // A thread that the kernel holds keeps the process ours until a later wait.
        unless_gone(self.tracer.detach_process(pid))?;
        self.left.extend(self.tracer.take_child(pid));
        Ok(())
    }

    /// Kills a process, and children of it that the client has not heard of, and waits for its end.
    pub(crate) fn kill(&mut self, pid: Pid) -> Result<()> {
        for child in self.unheard_children(pid) {
            self.kill(child)?;
        }
        let Some(at) = self.at(pid) else { return Ok(()) };
        self.tracer.kill(pid)?;
        drop(self.all.remove(at));
        while let Some(event) = self.tracer.wait()? {
            match event {
                Event::Exited { pid: ended, .. } if ended == pid => break,
                other if other.pid() == Some(pid) => {
                    self.tracer.resume(other, Resume::Continue)?;
                }
                other => self.absorb(other)?,
            }
        }
        Ok(())
    }

    /// The children of forks that a process has made and that the client has not been told of.
    fn unheard_children(&self, pid: Pid) -> Vec<Pid> {
        let Ok(process) = self.get(pid) else { return Vec::new() };
        let pending = process.threads.iter().filter_map(|thread| match thread.pending {
            Some(Stop::Forked { child, .. }) => Some(child),
            _ => None,
        });
        pending.filter(|&child| self.get(child).is_ok_and(|child| !child.is_known)).collect()
    }

    /// Kills what was started here, and lets go of the rest; or does one of the two with all.
    pub(crate) fn end_all(&mut self, how: Option<OnExit>) -> Result<()> {
        let all: Vec<(Pid, Origin)> =
            self.all.iter().map(|process| (process.pid, process.origin)).collect();
        for (pid, origin) in all {
            let kills = match how {
                Some(how) => how == OnExit::Kill,
                None => origin == Origin::Started,
            };
            match kills {
                true => self.kill(pid)?,
                false => self.detach(pid, false)?,
            }
        }
        Ok(())
    }
}
