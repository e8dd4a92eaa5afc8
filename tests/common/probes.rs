//! Programs with known instructions, and what stops at them.

use std::process::Command;

use trapline::{
    Arch, BreakpointId, Cpu, Event, EventFlags, Pid, Resume, Signal, SoftwareBreakpoint,
    StopReason, Stopped, Tracer,
};

use super::{next_stop, spawned, tracer};

/// A probe fixture at the stop where it has told an address (or another number).
pub fn announced(tracer: &mut Tracer, stop: Stopped) -> (Stopped, u64) {
    tracer.resume(stop, Resume::Continue).unwrap();
    let mut stop = next_stop(tracer);
    assert_eq!(stop.reason(), StopReason::Signal(Signal::TRAP));
    stop.set_signal(None).unwrap();
    let value = tracer.registers(&stop).unwrap().argument(0).unwrap();
    pass_own_breakpoint(tracer, &stop);
    (stop, value)
}

/// How many bytes a breakpoint instruction has.
pub const OWN: u64 = Cpu::BREAKPOINT.len() as u64;

/// At a trap of the program's own breakpoint instruction: sees to it that the thread goes on behind
/// it, where the CPU has not gone there by itself.
pub fn pass_own_breakpoint(tracer: &mut Tracer, stop: &Stopped) {
    let rest = OWN - Cpu::BREAKPOINT_ADVANCE;
    if rest > 0 {
        let mut registers = tracer.registers(stop).unwrap();
        registers.set_pc(registers.pc() + rest);
        tracer.set_registers(stop, &registers).unwrap();
    }
}

/// A tracer, and the fixture where it has told its first address, with a breakpoint there.
pub fn probed(command: Command) -> (Tracer, Stopped, u64, BreakpointId) {
    let mut tracer = tracer(EventFlags::PROCESS);
    let (stop, addr) = probe_of(&mut tracer, command);
    let id = insert(&mut tracer, stop.pid(), addr);
    (tracer, stop, addr, id)
}

pub fn probe_of(tracer: &mut Tracer, command: Command) -> (Stopped, u64) {
    let stop = spawned(tracer, command);
    announced(tracer, stop)
}

pub fn insert(tracer: &mut Tracer, pid: Pid, addr: u64) -> BreakpointId {
    tracer.insert_breakpoint(pid, SoftwareBreakpoint { addr }).expect("insert")
}

/// Whether a stop is for a breakpoint, and at it.
pub fn is_hit(tracer: &mut Tracer, stop: &Stopped, id: BreakpointId, addr: u64) -> bool {
    let StopReason::Trap(causes) = stop.reason() else { return false };
    assert_eq!((causes.software, causes.single_step), (Some(id), false));
    assert_eq!(tracer.registers(stop).unwrap().pc(), addr);
    true
}

/// Resumes a stop, then everything to the end; `each` sees the stops that are for the breakpoint,
/// of which there must be `hits`, and nothing else than those may come, but for ends.
pub fn expect_hits(tracer: &mut Tracer, stop: Stopped, id: BreakpointId, addr: u64, hits: usize) {
    tracer.resume(stop, Resume::Continue).unwrap();
    let mut seen = 0;
    loop {
        match tracer.wait().unwrap() {
            Some(Event::Stopped(stop)) => {
                assert!(is_hit(tracer, &stop, id, addr), "{stop:?}");
                seen += 1;
                tracer.resume(stop, Resume::Continue).unwrap();
            }
            Some(Event::Exited { status, .. }) => {
                assert_eq!(status, trapline::ExitStatus::Code(0));
                break;
            }
            other => panic!("unexpected: {other:?}"),
        }
    }
    assert_eq!(seen, hits);
}
