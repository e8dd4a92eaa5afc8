//! Lists of events, to compare: pids and tids are named by the order in which they appear, P1, P2
//! and T1, T2; what happened in different processes is compared process by process, since nothing
//! orders it.

use std::collections::BTreeMap;
use std::process::Command;
use std::task::Poll;
use std::time::Duration;

use trapline::{
    Event, EventFlags, ExitStatus, ForkSide, Forked, Pid, Resume, Signal, SpawnOptions, StopReason,
    Stopped, Tid, Tracer,
};

/// Gives ids their names.
#[derive(Default)]
pub struct Names {
    pids: Vec<Pid>,
    tids: Vec<Tid>,
}

impl Names {
    pub fn pid(&mut self, pid: Pid) -> String {
        format!("P{}", place(&mut self.pids, pid) + 1)
    }

    pub fn tid(&mut self, tid: Tid) -> String {
        format!("T{}", place(&mut self.tids, tid) + 1)
    }
}

fn place<T: PartialEq>(list: &mut Vec<T>, item: T) -> usize {
    list.iter().position(|known| *known == item).unwrap_or_else(|| {
        list.push(item);
        list.len() - 1
    })
}

/// What happened, in order: the process, and the event in words.
#[derive(Default)]
pub struct Log {
    names: Names,
    pub lines: Vec<(String, String)>,
}

impl Log {
    pub fn add(&mut self, event: &Event) {
        let us = Pid::this();
        let line = match event {
            Event::Stopped(stop) => (self.names.pid(stop.pid()), self.stop(stop)),
            Event::Forked(fork) => {
                let parent = fork.parent_pid.map_or("?".into(), |pid| self.names.pid(pid));
                let child = self.names.pid(fork.child_pid);
                (parent, format!("{} {child}{}", fork.kind, halves(fork)))
            }
            Event::ThreadExited { pid, tid } => {
                (self.names.pid(*pid), format!("thread exit {}", self.names.tid(*tid)))
            }
            Event::Exited { pid, status, real_parent } => {
                let name = self.names.pid(*pid);
                let parent = match real_parent {
                    Some(parent) if *parent == us => "us".into(),
                    Some(parent) => self.names.pid(*parent),
                    None => "?".into(),
                };
                let how = match status {
                    ExitStatus::Code(code) => format!("exit {code}"),
                    ExitStatus::Killed { signal, .. } => format!("killed {signal}"),
                };
                (name, format!("{how} of {parent}"))
            }
            Event::Reparented { pid, from, to } => {
                let name = self.names.pid(*pid);
                let from = self.names.pid(*from);
                let to = match to {
                    Some(to) if *to == us => "us".into(),
                    Some(to) => self.names.pid(*to),
                    None => "nobody".into(),
                };
                (name, format!("reparented {from} to {to}"))
            }
            Event::Detached { pid } => (self.names.pid(*pid), "detached".into()),
            Event::Woken => (String::new(), "woken".into()),
            _ => (String::new(), "?".into()),
        };
        self.lines.push(line);
    }

    fn stop(&mut self, stop: &Stopped) -> String {
        match stop.reason() {
            StopReason::Signal(signal) => format!("signal {signal}"),
            StopReason::GroupStop(signal) => format!("group stop {signal}"),
            StopReason::Trap(causes) => format!("trap {causes:?}"),
            StopReason::Interrupted => "interrupted".into(),
            StopReason::Halted => "at rest".into(),
            StopReason::Started => "started".into(),
            StopReason::Forked => "forked".into(),
            StopReason::Execed { former_tid: None } => "exec".into(),
            StopReason::Execed { former_tid: Some(tid) } => {
                format!("exec by {}", self.names.tid(tid))
            }
            StopReason::VforkDone => "vfork done".into(),
            StopReason::ThreadStarted => format!("thread {}", self.names.tid(stop.tid())),
            StopReason::ThreadExiting => "thread exiting".into(),
            StopReason::SyscallEntry => "entry".into(),
            StopReason::SyscallExit => "exit".into(),
            other => format!("{other:?}"),
        }
    }

    /// The events of each process, in order.
    pub fn by_process(&self) -> BTreeMap<&str, Vec<&str>> {
        let mut map: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (process, what) in &self.lines {
            map.entry(process).or_default().push(what);
        }
        map
    }

    /// How many events are described by words that start so.
    pub fn count(&self, start: &str) -> usize {
        self.lines.iter().filter(|(_, what)| what.starts_with(start)).count()
    }
}

fn halves(fork: &Forked) -> &'static str {
    match (&fork.parent, &fork.child) {
        (ForkSide::Stopped(_), ForkSide::Stopped(_)) => "",
        (ForkSide::Stopped(_), ForkSide::Detached) => ", child detached",
        (ForkSide::Detached, ForkSide::Stopped(_)) => ", parent detached",
        (ForkSide::Stopped(_), ForkSide::Gone) => ", child gone",
        (ForkSide::Gone, ForkSide::Stopped(_)) => ", parent gone",
        _ => ", both gone",
    }
}

/// A tracer with these events.
pub fn tracer(flags: EventFlags) -> Tracer {
    Tracer::builder().events(flags).build().expect("a tracer")
}

/// Runs everything to its end, and lists what happened.
pub fn run(tracer: &mut Tracer) -> Log {
    run_with(tracer, |_, event| Some(event))
}

/// The same, with a say in each event: what `each` returns is resumed.
pub fn run_with(
    tracer: &mut Tracer,
    mut each: impl FnMut(&mut Tracer, Event) -> Option<Event>,
) -> Log {
    let mut log = Log::default();
    while let Some(event) = tracer.wait().expect("wait") {
        log.add(&event);
        if let Some(event) = each(tracer, event) {
            tracer.resume(event, Resume::Continue).expect("resume");
        }
    }
    assert!(tracer.is_empty());
    log
}

/// Traces a program to its end.
pub fn trace(flags: EventFlags, command: Command) -> Log {
    let mut tracer = tracer(flags);
    tracer.spawn(command).expect("spawn");
    run(&mut tracer)
}

/// `sh -c SCRIPT`
pub fn sh(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.arg("-c").arg(script);
    command
}

/// How long something within a test may take that takes so many seconds at most; longer on a
/// machine where tests may.
pub fn seconds(most: u64) -> Duration {
    Duration::from_secs(most)
        .max(super::harness::limit() * most as u32 / super::harness::LIMIT as u32)
}

/// The next event, which must be a stop of a thread.
pub fn next_stop(tracer: &mut Tracer) -> Stopped {
    match tracer.wait().expect("wait") {
        Some(Event::Stopped(stop)) => stop,
        other => panic!("expected a stop, not {other:?}"),
    }
}

/// What a wait finds without sleeping.
pub fn poll(tracer: &mut Tracer) -> Option<Event> {
    match tracer.try_wait().expect("wait") {
        Poll::Ready(event) => event,
        Poll::Pending => None,
    }
}

/// The next event, which must be the end of a process.
pub fn next_exit(tracer: &mut Tracer) -> (Pid, ExitStatus) {
    match tracer.wait().expect("wait") {
        Some(Event::Exited { pid, status, .. }) => (pid, status),
        other => panic!("expected an exit, not {other:?}"),
    }
}

/// Spawns a program and returns its first stop.
pub fn spawned(tracer: &mut Tracer, program: impl Into<SpawnOptions>) -> Stopped {
    let pid = tracer.spawn(program).expect("spawn").pid;
    let stop = next_stop(tracer);
    assert_eq!((stop.pid(), stop.reason()), (pid, StopReason::Execed { former_tid: None }));
    stop
}

pub fn killed_by(signal: Signal) -> ExitStatus {
    ExitStatus::Killed { signal, core_dumped: false }
}
