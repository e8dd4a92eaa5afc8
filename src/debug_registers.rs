//! Whether the debug registers of this machine can be relied upon.
//!
//! Some hypervisors lose hits, most often when several guests or programs with debug registers
//! share a CPU; some CPUs in confidential virtual machines never trap. A breakpoint that does not
//! fire says nothing about it, so this finds out beforehand, in a fraction of a second:
//!
//! ```no_run
//! let report = trapline::debug_registers::self_test()?;
//! println!("{report}");
//! if !report.verdict().is_reliable() {
//!     println!("better use software breakpoints");
//! }
//! # Ok::<(), trapline::Error>(())
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::process::{Command, Stdio};

use crate::cpu::debug::{Probe, SLOTS};

use crate::{
    BreakpointId, Error, Event, HardwareBreakpoint, HardwareKind, Pid, Placement, Result, Resume,
    Signal, StopReason, Stopped, Tracer,
};

/// How the self-test is done.
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

/// How many hits there should have been, and were.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub struct Hits {
    /// How often the program came there.
    pub expected: u64,
    /// How often that was reported.
    pub seen: u64,
}

/// What a self-test has found.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Report {
    /// Of breakpoints at an instruction.
    pub execute: Hits,
    /// Of watched writes.
    pub write: Hits,
    /// How many of the CPU's registers can be had: performance counters and hypervisors may hold
    /// some.
    pub free_slots: usize,
}

/// What a [`Report`] comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Verdict {
    /// Each hit was reported, and once.
    Reliable,
    /// Some were not.
    LosesHits,
    /// None was.
    NeverHits,
    /// More were than there should have been.
    InventsHits,
    /// No register can be had at all.
    NoneFree,
}

impl Verdict {
    /// Whether breakpoints can be relied upon.
    pub fn is_reliable(self) -> bool {
        self == Verdict::Reliable
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Verdict::Reliable => "hardware breakpoints are reliable here",
            Verdict::LosesHits => "hits of hardware breakpoints get lost here",
            Verdict::NeverHits => "hardware breakpoints never hit here",
            Verdict::InventsHits => "hardware breakpoints hit without reason here",
            Verdict::NoneFree => "all debug registers are in use",
        })
    }
}

impl Report {
    /// What it comes to.
    pub fn verdict(&self) -> Verdict {
        let both = [self.execute, self.write];
        if both.iter().any(|hits| hits.seen > hits.expected) {
            Verdict::InventsHits
        } else if both.iter().all(|hits| hits.seen == hits.expected && hits.expected > 0) {
            Verdict::Reliable
        } else if both.iter().any(|hits| hits.seen > 0) {
            Verdict::LosesHits
        } else if self.free_slots == 0 {
            Verdict::NoneFree
        } else {
            Verdict::NeverHits
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { execute, write, free_slots } = self;
        write!(
            f,
            "{}: {} of {} executions and {} of {} writes reported, {free_slots} of {SLOTS} \
             registers free",
            self.verdict(),
            execute.seen,
            execute.expected,
            write.seen,
            write.expected,
        )
    }
}

/// Finds out whether hardware breakpoints work here, with the settings of
/// [`SelfTest::default`].
///
/// # Errors
///
/// As [`SelfTest::run`].
pub fn self_test() -> Result<Report> {
    SelfTest::default().run()
}

impl SelfTest {
    /// Finds out whether hardware breakpoints work here.
    ///
    /// It starts short-lived programs (`/bin/sh`, of which no instruction is run) with a tracer of
    /// its own, and kills them.
    ///
    /// # Errors
    ///
    /// What spawning and tracing can fail with; [`Error::Gone`] if somebody kills the programs.
    ///
    /// # Platform notes
    ///
    /// Linux: it runs on a thread of its own, so that the caller may have a tracer. FreeBSD allows
    /// one tracer in a process: do it before the tracer is made, or it is
    /// [`Error::Unsupported`].
    pub fn run(self) -> Result<Report> {
        let test = std::thread::spawn(move || self.run_here());
        // Nothing in it panics.
        test.join().unwrap_or(Err(Error::Gone))
    }

    fn run_here(self) -> Result<Report> {
        let mut builder = Tracer::builder();
        if self.one_cpu {
            builder = builder.placement(Placement::ShareCpu);
        }
        let mut tracer = builder.build()?;
        let mut report = Report { execute: Hits::default(), write: Hits::default(), free_slots: 0 };
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
            let Some(event) = tracer.wait()? else { return Err(Error::Gone) };
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
                    _ => return Err(Error::Gone),
                },
                Event::Exited { pid, .. } if probes.contains_key(&pid) => return Err(Error::Gone),
                other => tracer.resume(other, Resume::Continue)?,
            }
        }
        Ok(report)
    }

    /// Puts the probe into a program, and its breakpoints.
    fn prepare(self, tracer: &mut Tracer, stop: &Stopped) -> Result<Probed> {
        let mut registers = tracer.registers(stop)?;
        let probe = Probe::at(&registers);
        tracer.write_memory(stop, probe.at, Probe::code())?;
        probe.start(&mut registers, self.rounds);
        tracer.set_registers(stop, &registers)?;
        let mut insert = |addr, len, kind| match tracer
            .insert(stop.pid(), HardwareBreakpoint { addr, len, kind })
        {
            Ok(id) => Ok(Some(id)),
            Err(Error::NoFreeSlot { .. }) => Ok(None),
            Err(error) => Err(error),
        };
        Ok(Probed {
            execute: insert(probe.function(), 1, HardwareKind::Execute)?,
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
fn start(tracer: &mut Tracer) -> Result<Stopped> {
    let mut command = Command::new("/bin/sh");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let pid = tracer.spawn(command)?.pid;
    match tracer.wait()? {
        Some(Event::Stopped(stop)) if stop.pid() == pid => Ok(stop),
        _ => Err(Error::Gone),
    }
}

/// How many registers can be armed at once.
fn free_slots(tracer: &mut Tracer, stop: &Stopped) -> Result<usize> {
    let addr = tracer.registers(stop)?.sp() & !0xfff;
    let mut ids = Vec::new();
    let mut most = SLOTS;
    while ids.len() < most {
        let addr = addr + 8 * ids.len() as u64;
        let breakpoint = HardwareBreakpoint { addr, len: 8, kind: HardwareKind::Write };
        match tracer.insert(stop.pid(), breakpoint) {
            Ok(id) => ids.push(id),
            Err(Error::NoFreeSlot { .. }) => most = ids.len(),
            Err(error) => return Err(error),
        }
    }
    for id in ids {
        tracer.remove(stop.pid(), id)?;
    }
    Ok(most)
}

/// Ends a program, and waits for that.
fn end(tracer: &mut Tracer, stop: Stopped) -> Result<()> {
    let pid: Pid = stop.pid();
    tracer.kill(pid)?;
    tracer.resume(stop, Resume::Continue)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(execute: (u64, u64), write: (u64, u64), free_slots: usize) -> Report {
        let hits = |(seen, expected)| Hits { seen, expected };
        Report { execute: hits(execute), write: hits(write), free_slots }
    }

    #[test]
    fn a_verdict_for_each_report() {
        for (report, verdict) in [
            (report((8, 8), (8, 8), 4), Verdict::Reliable),
            (report((8, 8), (7, 8), 4), Verdict::LosesHits),
            (report((0, 8), (8, 8), 4), Verdict::LosesHits),
            (report((0, 8), (0, 8), 4), Verdict::NeverHits),
            (report((9, 8), (8, 8), 4), Verdict::InventsHits),
            (report((0, 8), (0, 8), 0), Verdict::NoneFree),
        ] {
            assert_eq!(report.verdict(), verdict, "{report}");
        }
    }
}
