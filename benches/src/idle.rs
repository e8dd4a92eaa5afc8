//! Tracers with tracees that do nothing, and with many.

use std::time::{Duration, Instant};

use trapline::{Event, EventFlags, Resume, Tracer};

use super::tracee::{command, command_with};
use super::{Kind, traced};

/// A tracer with one tracee that stops all the time among idle ones, or with several.
pub struct Busy {
    tracer: Tracer,
    event: Option<Event>,
}

impl Busy {
    /// Int3 stops.
    pub fn among(idle: u64, cpu: Option<u32>) -> Self {
        let mut tracer = processes(idle, cpu);
        let stop = traced::spawn(&mut tracer, command(Kind::Int3.program()));
        Busy { tracer, event: Some(stop.into()) }
    }

    /// Signals.
    pub fn many(n: u64, cpu: Option<u32>) -> Self {
        let mut tracer = traced::tracer(EventFlags::PROCESS, cpu);
        for _ in 0..n {
            tracer.spawn(command(Kind::Signal.program())).expect("spawn");
        }
        let event = tracer.wait().expect("wait");
        let mut busy = Busy { tracer, event };
        busy.run(4 * n);
        busy
    }

    pub fn run(&mut self, n: u64) -> Duration {
        let mut event = self.event.take().expect("the last stop");
        let start = Instant::now();
        for _ in 0..n {
            if let Event::Stopped(stop) = &mut event {
                let _ = stop.set_signal(None);
            }
            self.tracer.resume(event, Resume::Continue).expect("resume");
            event = self.tracer.wait().expect("wait").expect("a tracee");
        }
        let taken = start.elapsed();
        self.event = Some(event);
        taken
    }
}

/// A tracer with so many idle tracees, each a process of its own, and none that does anything.
pub fn processes(n: u64, cpu: Option<u32>) -> Tracer {
    let mut tracer = traced::tracer(EventFlags::PROCESS, cpu);
    if n > 0 {
        add_processes(&mut tracer, n);
    }
    tracer
}

/// Adds them.
pub fn add_processes(tracer: &mut Tracer, n: u64) {
    let stop = traced::spawn(tracer, command_with("idle-processes", n));
    let first = stop.pid();
    tracer.resume(stop, Resume::Continue).expect("resume");
    let mut forks = 0;
    loop {
        let event = tracer.wait().expect("wait").expect("tracees");
        forks += u64::from(matches!(event, Event::Forked(_)));
        let told = match event {
            Event::Stopped(mut stop) => {
                let told = stop.pid() == first && stop.set_signal(None).is_ok();
                tracer.resume(stop, Resume::Continue).expect("resume");
                told
            }
            event => {
                tracer.resume(event, Resume::Continue).expect("resume");
                false
            }
        };
        if told {
            break;
        }
    }
    assert_eq!(forks, n - 1);
}
