//! The tracer of a pair.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use trapline::{
    Builder, Event, EventFlags, HardwareBreakpoint, HardwareKind, Resume, Signal, StopReason,
    Stopped, Tracer,
};

use super::Failure;

/// What was counted.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) hits: u64,
    pub(crate) losses: u64,
}

/// Traces for so long.
pub(crate) fn run(pair: usize, seconds: u64) -> Result<Counts, Failure> {
    let mut tracer = Builder::new().events(EventFlags::PROCESS).build()?;
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("--tracee").arg(pair.to_string()).stdout(Stdio::piped());
    let spawned = tracer.spawn(command)?;
    let exec = stop(&mut tracer)?;
    tracer.resume(exec, Resume::Continue)?;
    let mut ready = stop(&mut tracer)?;
    ready.set_signal(None)?;
    let mut line = String::new();
    BufReader::new(spawned.stdout.ok_or("no pipe")?).read_line(&mut line)?;
    let addr = line.trim().parse()?;
    let breakpoint = HardwareBreakpoint { addr, len: 1, kind: HardwareKind::Execute };
    let id = tracer.insert_breakpoint(spawned.pid, breakpoint)?;
    tracer.resume(ready, Resume::Continue)?;
    let until = Instant::now() + Duration::from_secs(seconds);
    let mut counts = Counts::default();
    loop {
        let mut stop = stop(&mut tracer)?;
        match stop.reason() {
            StopReason::Trap(causes) if causes.hardware.contains(id) => {
                counts.hits += 1;
                let mut registers = tracer.registers(&stop)?;
                if !registers.set_argument(0, 1) {
                    return Err("no register has the argument".into());
                }
                tracer.set_registers(&stop, &registers)?;
            }
            StopReason::Signal(Signal::USR1) => {
                counts.losses += 1;
                stop.set_signal(None)?;
            }
            other => return Err(format!("the tracee stopped: {other:?}").into()),
        }
        if Instant::now() > until {
            tracer.kill(spawned.pid)?;
            tracer.resume(stop, Resume::Continue)?;
            return Ok(counts);
        }
        tracer.resume(stop, Resume::Continue)?;
    }
}

fn stop(tracer: &mut Tracer) -> Result<Stopped, Failure> {
    match tracer.wait()? {
        Some(Event::Stopped(stop)) => Ok(stop),
        other => Err(format!("expected a stop, not {other:?}").into()),
    }
}
