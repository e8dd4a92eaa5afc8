//! The loop.

use std::collections::HashMap;

use trapline::{
    BreakpointId, Builder, Error, Event, EventFlags, FollowFork, HardwareBreakpoint, HardwareKind,
    Inherit, InheritDebug, Pid, Resume, StopReason, Stopped, Tracer, TrapCauses,
};

use crate::modules::Modules;
use crate::options::{Options, What};
use crate::program::{self, Failure, failed, not_started, wrong};

/// What is known of a process.
#[derive(Default)]
struct Process {
    modules: std::rc::Rc<Modules>,
    /// The breakpoint at its entry point, until it is there.
    entry: Option<BreakpointId>,
    /// The variable: its breakpoint, place, and value as it was seen last.
    watched: Option<(BreakpointId, HardwareBreakpoint, Vec<u8>)>,
}

struct Session<'a> {
    options: &'a Options,
    processes: HashMap<Pid, Process>,
    /// Whether the variable was found in any program.
    found: bool,
}

pub(crate) fn run(options: &Options) -> Result<i32, Failure> {
    let follow = if options.follow { FollowFork::Both } else { FollowFork::Parent };
    // A child has the variable at the same address; what an exec starts is looked at anew.
    let inherit = InheritDebug { fork: Inherit::Copy, vfork: Inherit::Copy, exec: Inherit::Clear };
    let mut tracer = Builder::new()
        .events(EventFlags::PROCESS)
        .follow_fork(follow)
        .inherit_debug(inherit)
        .build()
        .map_err(failed)?;
    let command = program::command(&options.program);
    let spawned = tracer.spawn(command).map_err(|error| not_started(&options.program, error))?;
    program::leave_ctrl_c_to_the_program()?;
    let mut session = Session { options, processes: HashMap::new(), found: false };
    let mut status = 0;
    while let Some(event) = tracer.wait().map_err(failed)? {
        match &event {
            Event::Stopped(stop) => match session.stopped(&mut tracer, stop) {
                Ok(()) | Err(Trouble::Tracing(Error::Gone { .. })) => {}
                Err(Trouble::Tracing(error)) => return Err(failed(error)),
                Err(Trouble::Request(line)) if stop.pid() == spawned.pid && !session.found => {
                    return Err(wrong(line)); // the program is killed with its tracer
                }
                Err(Trouble::Request(_)) => {} // another program, which has no such variable
            },
            Event::Forked(fork) => {
                if let Some(parent) = fork.parent_pid.and_then(|pid| session.processes.get(&pid)) {
                    let child = Process {
                        modules: parent.modules.clone(),
                        entry: parent.entry,
                        watched: parent.watched.clone(),
                    };
                    session.processes.insert(fork.child_pid, child);
                }
            }
            Event::Exited { pid, status: ended, .. } => {
                session.processes.remove(pid);
                if *pid == spawned.pid {
                    status = program::as_shell(*ended);
                }
            }
            _ => {}
        }
        tracer.resume(event, Resume::Continue).map_err(failed)?;
    }
    Ok(status)
}

/// Why something was not done.
enum Trouble {
    Tracing(Error),
    /// What was asked for cannot be done in this program.
    Request(String),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        match error {
            Error::BadAddress { .. }
            | Error::BadBreakpoint { .. }
            | Error::NoFreeSlot { .. }
            | Error::Unsupported { .. } => Trouble::Request(error.to_string()),
            error => Trouble::Tracing(error),
        }
    }
}

impl Session<'_> {
    fn stopped(&mut self, tracer: &mut Tracer, stop: &Stopped) -> Result<(), Trouble> {
        match stop.reason() {
            StopReason::Execed { .. } => self.execed(tracer, stop.pid()),
            StopReason::Trap(causes) => self.trapped(tracer, stop, causes),
            _ => Ok(()),
        }
    }

    /// A new program: it is run to its entry point, where its libraries are there.
    fn execed(&mut self, tracer: &mut Tracer, pid: Pid) -> Result<(), Trouble> {
        let modules = std::rc::Rc::new(Modules::of(tracer, pid)?);
        self.processes.insert(pid, Process { modules, ..Process::default() });
        let entry = Modules::entry_point(tracer, pid)?;
        let Some(addr) = entry else {
            return Err(Trouble::Request("the program has no entry point".into()));
        };
        let breakpoint = HardwareBreakpoint { addr, len: 1, kind: HardwareKind::Execute };
        let id = tracer.insert_breakpoint(pid, breakpoint)?;
        if let Some(process) = self.processes.get_mut(&pid) {
            process.entry = Some(id);
        }
        Ok(())
    }

    fn trapped(
        &mut self,
        tracer: &mut Tracer,
        stop: &Stopped,
        causes: TrapCauses,
    ) -> Result<(), Trouble> {
        let pid = stop.pid();
        let Some(process) = self.processes.get_mut(&pid) else { return Ok(()) };
        if let Some(entry) = process.entry.filter(|&id| causes.hardware.contains(id)) {
            process.entry = None;
            tracer.remove_breakpoint(pid, entry)?;
            return self.begin(tracer, stop);
        }
        let Some((id, breakpoint, value)) = &mut process.watched else { return Ok(()) };
        if !causes.hardware.contains(*id) {
            return Ok(());
        }
        let old = match tracer.watch_changes(stop)?.first() {
            Some(change) => change.old.clone(),
            None => value.clone(),
        };
        *value = bytes(tracer, stop, *breakpoint);
        let place = process.modules.describe(tracer.registers(stop)?.pc());
        let name = match &self.options.what {
            What::Symbol(name) => name.clone(),
            What::Place { addr, .. } => format!("{addr:#x}"),
        };
        let (old, new) = (show(&old), show(value));
        eprintln!("{name}: pid {pid} tid {} at {place}: {old} -> {new}", stop.tid());
        Ok(())
    }

    /// The program is about to begin: finds the variable, and watches it.
    fn begin(&mut self, tracer: &mut Tracer, stop: &Stopped) -> Result<(), Trouble> {
        let pid = stop.pid();
        let modules = Modules::of(tracer, pid)?;
        let (addr, len) = match &self.options.what {
            What::Place { addr, len } => (*addr, *len),
            What::Symbol(name) => match modules.find(name) {
                Some((addr, size)) => (addr, size.max(1)),
                None => {
                    let line = format!("there is no variable {name} in the program");
                    return Err(Trouble::Request(line));
                }
            },
        };
        let breakpoint = HardwareBreakpoint { addr, len, kind: self.options.kind() };
        let id = tracer.insert_breakpoint(pid, breakpoint)?;
        let value = bytes(tracer, stop, breakpoint);
        let watched = Some((id, breakpoint, value));
        self.found = true;
        let process = Process { modules: std::rc::Rc::new(modules), entry: None, watched };
        self.processes.insert(pid, process);
        Ok(())
    }
}

/// The variable's bytes.
fn bytes(tracer: &mut Tracer, stop: &Stopped, breakpoint: HardwareBreakpoint) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(breakpoint.len).unwrap_or(0)];
    let read = tracer.read_memory(stop, breakpoint.addr, &mut bytes).unwrap_or(0);
    bytes.truncate(read);
    bytes
}

/// A value: a number if it has a number's size.
fn show(bytes: &[u8]) -> String {
    match *bytes {
        [a] => a.to_string(),
        [a, b] => u16::from_le_bytes([a, b]).to_string(),
        [a, b, c, d] => u32::from_le_bytes([a, b, c, d]).to_string(),
        [a, b, c, d, e, f, g, h] => u64::from_le_bytes([a, b, c, d, e, f, g, h]).to_string(),
        _ => bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" "),
    }
}
