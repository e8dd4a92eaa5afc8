//! The loops with trapline.

use std::process::Command;
use std::time::{Duration, Instant};

use trapline::{
    Event, EventFlags, HardwareBreakpoint, HardwareKind, Placement, Resume, StopReason, Stopped,
    Tracer,
};

use super::tracee::{CODE, WORD, command};
use super::{Kind, Loop};

/// A tracee that has just made what it makes; `None` between two measurements.
pub struct Traced {
    pub tracer: Tracer,
    event: Option<Event>,
    kind: Kind,
}

/// A tracer, on a CPU that its tracees share, or not.
pub fn tracer(flags: EventFlags, cpu: Option<u32>) -> Tracer {
    let placement = cpu.map_or(Placement::LeaveAlone, Placement::ShareCpuOf);
    Tracer::builder().events(flags).placement(placement).build().expect("a tracer")
}

/// Starts a program; its exec stop.
pub fn spawn(tracer: &mut Tracer, command: Command) -> Stopped {
    tracer.spawn(command).expect("spawn");
    next_stop(tracer)
}

pub fn next_stop(tracer: &mut Tracer) -> Stopped {
    match tracer.wait().expect("wait") {
        Some(Event::Stopped(stop)) => stop,
        other => panic!("expected a stop, not {other:?}"),
    }
}

impl Traced {
    /// `None` where this kind cannot be had: no debug registers.
    pub fn new(kind: Kind, cpu: Option<u32>) -> Option<Self> {
        let flags = match kind {
            Kind::Syscall => EventFlags::SYSCALL,
            Kind::Thread => EventFlags::THREAD,
            _ => EventFlags::PROCESS,
        };
        let mut tracer = tracer(flags, cpu);
        let stop = spawn(&mut tracer, command(kind.program()));
        let watch = match kind {
            Kind::Hardware => Some((CODE, 1, HardwareKind::Execute)),
            Kind::Watch => Some((WORD, 8, HardwareKind::Write)),
            _ => None,
        };
        if let Some((addr, len, kind)) = watch {
            tracer.insert_breakpoint(stop.pid(), HardwareBreakpoint { addr, len, kind }).ok()?;
        }
        let mut traced = Traced { tracer, event: Some(stop.into()), kind };
        traced.run(1);
        Some(traced)
    }

    /// Whether an event is what is counted.
    fn counts(kind: Kind, event: &Event) -> bool {
        match (kind, event) {
            (Kind::Fork | Kind::Vfork, Event::Forked(_)) => true,
            (_, Event::Stopped(stop)) => match (kind, stop.reason()) {
                (Kind::Int3 | Kind::Signal, StopReason::Signal(_)) => true,
                (Kind::Step, StopReason::Trap(causes)) => causes.single_step,
                (Kind::Syscall, StopReason::SyscallEntry | StopReason::SyscallExit) => true,
                (Kind::Hardware | Kind::Watch, StopReason::Trap(causes)) => {
                    !causes.hardware.is_empty()
                }
                (Kind::Exec, StopReason::Execed { .. }) => true,
                (Kind::Thread, StopReason::ThreadStarted) => true,
                _ => false,
            },
            _ => false,
        }
    }
}

impl Loop for Traced {
    fn run(&mut self, n: u64) -> Duration {
        let (kind, tracer) = (self.kind, &mut self.tracer);
        let how = if kind == Kind::Step { Resume::Step } else { Resume::Continue };
        // Some virtual machines now and then tell of a trap without saying in DR6 which: then it is
        // the program's own, and would kill it.
        let takes = matches!(kind, Kind::Int3 | Kind::Signal | Kind::Hardware | Kind::Watch);
        let mut event = self.event.take().expect("the last event");
        let start = Instant::now();
        for _ in 0..n {
            loop {
                if let Event::Stopped(stop) = &mut event {
                    if takes && stop.signal().is_some() {
                        stop.set_signal(None).expect("a signal stop");
                    }
                }
                tracer.resume(event, how).expect("resume");
                event = tracer.wait().expect("wait").expect("a tracee");
                if Self::counts(kind, &event) {
                    break;
                }
            }
        }
        let taken = start.elapsed();
        self.event = Some(event);
        taken
    }
}
