//! Whether the debug registers of this machine can be relied upon.
//!
//! Some hypervisors lose hits, most often when several guests or programs with debug registers
//! share a CPU; some CPUs in confidential virtual machines never trap. A breakpoint that does not
//! fire says nothing about it, so [`self_test`] finds out beforehand, in a fraction of a second.

mod report;

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use crate::backend::{DebugKind, DebugPool};
use crate::{
    Arch, Backend, BreakpointId, Error, Event, HardwareBreakpoint, HardwareKind, Placement, Result,
    Resume, Signal, StopReason, Stopped, Tracer,
};

pub use report::{Hits, Report, Verdict};

/// A few instructions that hit breakpoints, for one thread; see [`Arch::probe`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probe<R> {
    /// Where the instructions are to be put.
    pub at: u64,
    /// The instructions.
    pub code: &'static [u8],
    /// The function that they call in each round: one instruction that does nothing, and the
    /// return.
    pub function: u64,
    /// The word that they write in each round: 8 bytes, aligned.
    pub word: u64,
    /// With these registers the thread goes through all its rounds, and then traps.
    pub registers: R,
}

/// How the self-test is done.
///
/// ```
/// use trapline::debug_registers::SelfTest;
///
/// let mut how = SelfTest::default();
/// how.rounds = 10_000;
/// assert!(how.one_cpu);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct SelfTest {
    /// How often each program comes to its breakpoint and writes its word; default 100.
    pub rounds: u64,
    /// How many programs do so at the same time; default 4.
    pub programs: usize,
    /// Whether all of them, and the tracer, share one CPU, so that it has other debug registers
    /// all the time; default yes.
    pub one_cpu: bool,
}

impl Default for SelfTest {
    fn default() -> Self {
        SelfTest { rounds: 100, programs: 4, one_cpu: true }
    }
}

/// Finds out whether hardware breakpoints work here.
///
/// It starts short-lived programs (`/bin/sh`, of which no instruction is run) with a tracer of its
/// own, and kills them.
///
/// # Errors
///
/// What spawning and tracing can fail with; [`Error::Gone`] if somebody kills the programs.
///
/// # Platform notes
///
/// Linux: it runs on a thread of its own, so that the caller may have a tracer. FreeBSD allows one
/// tracer in a process: do it before the tracer is made, or it is [`Error::Unsupported`].
pub fn self_test<B: Backend + 'static>(how: SelfTest) -> Result<Report> {
    let test = std::thread::spawn(move || how.run::<B>());
    // Nothing in it panics.
    test.join().unwrap_or(Err(Error::GONE))
}

impl SelfTest {
    fn run<B: Backend>(self) -> Result<Report> {
        let mut builder = Tracer::<B>::builder();
        if self.one_cpu {
            builder = builder.placement(Placement::ShareCpu);
        }
        let mut tracer = builder.build()?;
        let mut report = Report::new(data_registers::<B::Arch>());
        let mut probes = BTreeMap::new();
        let mut stops = Vec::new();
        for _ in 0..self.programs.max(1) {
            let stop = start(&mut tracer)?;
            if probes.is_empty() {
                report.free_slots = free_slots(&mut tracer, &stop)?;
            }
            let probed = self.prepare(&mut tracer, &stop)?;
            report.execute.expected += self.rounds.max(1);
            report.write.expected += self.rounds.max(1);
            probes.insert(stop.pid(), probed);
            stops.push(stop);
        }
        for stop in stops {
            tracer.resume(stop, Resume::Continue)?;
        }
        while !probes.is_empty() {
            let Some(event) = tracer.wait()? else { return Err(Error::GONE) };
            match event {
                Event::Stopped(stop) => match (stop.reason(), probes.get(&stop.pid())) {
                    (StopReason::Trap(causes), Some(probed)) => {
                        let hit = |id: Option<BreakpointId>| {
                            u64::from(id.is_some_and(|id| causes.hardware.contains(id)))
                        };
                        report.execute.seen += hit(probed.execute);
                        report.write.seen += hit(probed.write);
                        tracer.resume(stop, Resume::Continue)?;
                    }
                    // The breakpoint instruction at its end.
                    (StopReason::Signal(Signal::TRAP), _) => {
                        probes.remove(&stop.pid());
                        end(&mut tracer, stop)?;
                    }
                    _ => return Err(Error::GONE),
                },
                Event::Exited { pid, .. } if probes.contains_key(&pid) => return Err(Error::GONE),
                other => tracer.resume(other, Resume::Continue)?,
            }
        }
        Ok(report)
    }

    /// Puts the probe into a program, and its breakpoints.
    fn prepare<B: Backend>(self, tracer: &mut Tracer<B>, stop: &Stopped) -> Result<Probed> {
        let registers = tracer.registers(stop)?;
        let what = "a self-test of the debug registers";
        let probe = B::Arch::probe(&registers, self.rounds.max(1))
            .ok_or(Error::unsupported(what, B::SYSTEM))?;
        tracer.write_memory(stop, probe.at, probe.code)?;
        tracer.set_registers(stop, &probe.registers)?;
        let mut insert = |addr, len, kind| match tracer
            .insert_breakpoint(stop.pid(), HardwareBreakpoint { addr, len, kind })
        {
            Ok(id) => Ok(Some(id)),
            Err(Error::NoFreeSlot { .. }) => Ok(None),
            Err(error) => Err(error),
        };
        Ok(Probed {
            execute: insert(probe.function, 1, HardwareKind::Execute)?,
            write: insert(probe.word, 8, HardwareKind::Write)?,
        })
    }
}

/// The breakpoints of a program, as far as there were registers for them.
struct Probed {
    execute: Option<BreakpointId>,
    write: Option<BreakpointId>,
}

/// Starts a program, and stops it before its first instruction.
fn start<B: Backend>(tracer: &mut Tracer<B>) -> Result<Stopped> {
    let mut command = Command::new("/bin/sh");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let pid = tracer.spawn(command)?.pid;
    match tracer.wait()? {
        Some(Event::Stopped(stop)) if stop.pid() == pid => Ok(stop),
        _ => Err(Error::GONE),
    }
}

/// How many registers the CPU has for watching data.
fn data_registers<A: Arch>() -> usize {
    let of_data = |pool: &&DebugPool| pool.kinds.contains(&DebugKind::Write);
    A::DEBUG_POOLS.iter().find(of_data).map_or(0, |pool| pool.slots.count_ones() as usize)
}

/// How many of them can be armed at once.
fn free_slots<B: Backend>(tracer: &mut Tracer<B>, stop: &Stopped) -> Result<usize> {
    let addr = B::Arch::sp(&tracer.registers(stop)?) & !0xfff;
    let mut ids = Vec::new();
    let mut most = data_registers::<B::Arch>();
    while ids.len() < most {
        let addr = addr + 8 * ids.len() as u64;
        let breakpoint = HardwareBreakpoint { addr, len: 8, kind: HardwareKind::Write };
        match tracer.insert_breakpoint(stop.pid(), breakpoint) {
            Ok(id) => ids.push(id),
            Err(Error::NoFreeSlot { .. }) => most = ids.len(),
            Err(error) => return Err(error),
        }
    }
    for id in ids {
        tracer.remove_breakpoint(stop.pid(), id)?;
    }
    Ok(most)
}

/// Ends a program, and waits for that.
fn end<B: Backend>(tracer: &mut Tracer<B>, stop: Stopped) -> Result<()> {
    tracer.kill(stop.pid())?;
    tracer.resume(stop, Resume::Continue)
}
