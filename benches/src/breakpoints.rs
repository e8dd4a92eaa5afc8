//! Breakpoints with trapline.

use std::time::{Duration, Instant};

use trapline::{
    Event, EventFlags, HardwareBreakpoint, HardwareKind, Pid, Resume, SoftwareBreakpoint,
    StopReason, Tracer,
};

use super::hot::{Others, places};
use super::regs::endless;
use super::traced::{next_stop, spawn, tracer};
use super::tracee::{CODE, command, command_with};

/// What breakpoints a program has.
#[derive(Debug, Clone, Copy)]
pub enum Breakpoints {
    /// One of the CPU's, at the hot place.
    Hardware,
    /// So many in memory, one at the hot place.
    Software(u64),
}

/// A program that is stopped at the hot place.
pub struct Hot {
    tracer: Tracer,
    pid: Pid,
    event: Option<Event>,
}

/// Starts a program; it is stopped where it has told that it is ready.
fn started(tracer: &mut Tracer, command: std::process::Command) -> Event {
    let mut event = Event::from(spawn(tracer, command));
    loop {
        tracer.resume(event, Resume::Continue).expect("resume");
        let mut stop = next_stop(tracer);
        if matches!(stop.reason(), StopReason::Signal(_)) {
            stop.set_signal(None).expect("a signal stop");
            return stop.into();
        }
        event = stop.into();
    }
}

/// Inserts breakpoints in memory.
pub fn insert_all(tracer: &mut Tracer, pid: Pid, places: impl Iterator<Item = u64>) {
    let breakpoints = places.map(SoftwareBreakpoint::at);
    for inserted in tracer.insert_breakpoints(pid, breakpoints).expect("insert") {
        inserted.expect("insert");
    }
}

impl Hot {
    /// `None` without debug registers, if it takes one.
    pub fn new(others: Others, breakpoints: Breakpoints, cpu: Option<u32>) -> Option<Self> {
        let mut hot = Self::without(others, cpu);
        match breakpoints {
            Breakpoints::Software(n) => insert_all(&mut hot.tracer, hot.pid, places(n)),
            Breakpoints::Hardware => {
                let hardware =
                    HardwareBreakpoint { addr: CODE, len: 1, kind: HardwareKind::Execute };
                hot.tracer.insert_breakpoint(hot.pid, hardware).ok()?;
            }
        }
        hot.run(1);
        Some(hot)
    }

    /// Without a breakpoint, before it gets to the hot place.
    pub fn without(others: Others, cpu: Option<u32>) -> Self {
        let mut tracer = tracer(EventFlags::PROCESS, cpu);
        let event = started(&mut tracer, command_with("hot", others.amount()));
        let pid = event.pid().expect("a stop");
        Hot { tracer, pid, event: Some(event) }
    }

    /// So many times on to the next hit.
    pub fn run(&mut self, n: u64) -> Duration {
        let mut event = self.event.take().expect("the last stop");
        let start = Instant::now();
        for _ in 0..n {
            loop {
                self.tracer.resume(event, Resume::Continue).expect("resume");
                event = self.tracer.wait().expect("wait").expect("a tracee");
                match &mut event {
                    Event::Stopped(stop) => match stop.reason() {
                        StopReason::Trap(causes) if !causes.is_empty() => break,
                        // A trap that a virtual machine has lost the cause of.
                        StopReason::Signal(_) => stop.set_signal(None).expect("a signal stop"),
                        _ => {}
                    },
                    other => panic!("{other:?}"),
                }
            }
        }
        let taken = start.elapsed();
        self.event = Some(event);
        taken
    }

    /// How many requests a hit takes, with going on to the next.
    pub fn requests(&mut self, n: u64) -> f64 {
        let before = self.tracer.requests();
        self.run(n);
        (self.tracer.requests() - before) as f64 / n as f64
    }

    /// The time that it takes to insert so many, and how many requests.
    pub fn insert(&mut self, n: u64) -> (Duration, u64) {
        let (before, start) = (self.tracer.requests(), Instant::now());
        insert_all(&mut self.tracer, self.pid, places(n));
        (start.elapsed(), self.tracer.requests() - before)
    }

    /// Reads 8 bytes so many times, from where breakpoints are.
    pub fn read(&mut self, n: u64) -> Duration {
        let Some(Event::Stopped(stop)) = &self.event else { panic!("a stop") };
        let mut bytes = [0; 8];
        let start = Instant::now();
        for _ in 0..n {
            self.tracer.read_memory(stop, CODE, &mut bytes).expect("read");
        }
        assert_eq!(bytes, endless()[..8], "the program's own");
        start.elapsed()
    }

    /// The time that it takes to let it go.
    pub fn detach(mut self) -> Duration {
        let event = self.event.take().expect("the last stop");
        let start = Instant::now();
        self.tracer.detach(event).expect("detach");
        let taken = start.elapsed();
        let mut child = self.tracer.take_child(self.pid).expect("it was spawned");
        let _ = child.kill();
        let _ = child.wait();
        taken
    }
}

/// A program that forks for ever, with breakpoints that it never meets.
pub struct Forks {
    tracer: Tracer,
    event: Option<Event>,
}

impl Forks {
    pub fn new(breakpoints: u64, cpu: Option<u32>) -> Self {
        let mut tracer = tracer(EventFlags::PROCESS, cpu);
        let event = started(&mut tracer, command("hot-forks"));
        let pid = event.pid().expect("a stop");
        insert_all(&mut tracer, pid, places(breakpoints + 1).skip(1));
        let mut forks = Forks { tracer, event: Some(event) };
        forks.run(1);
        forks
    }

    /// So many forks, with their children's ends.
    pub fn run(&mut self, n: u64) -> Duration {
        let mut event = self.event.take().expect("the last event");
        let start = Instant::now();
        for _ in 0..n {
            loop {
                self.tracer.resume(event, Resume::Continue).expect("resume");
                event = self.tracer.wait().expect("wait").expect("a tracee");
                if matches!(event, Event::Forked(_)) {
                    break;
                }
            }
        }
        let taken = start.elapsed();
        self.event = Some(event);
        taken
    }
}
