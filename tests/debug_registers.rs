//! Clauses D4 and D5: why a thread has trapped, and execute breakpoints.

use trapline::HardwareKind::{self, ReadWrite, Write};
use trapline::{
    Error, Event, EventFlags, HardwareBreakpoint, Resume, Signal, StopReason, TrapCauses,
};

use crate::common::*;
use crate::fixtures::cpu;

crate::tests![
    d5_an_execute_breakpoint_stops_once_per_arrival,
    d5_once_per_arrival_on_a_system_call,
    d5_once_per_arrival_with_a_signal_between,
    d5_in_the_handler_that_runs_between,
    d5_a_step_ends_on_a_breakpoint_and_then_it_is_hit,
    d5_a_step_passes_a_breakpoint,
    d5_moving_the_program_counter_does_not_miss_the_next,
    d5_the_first_instruction_of_a_thread,
    d4_the_programs_own_traps_reach_it,
    d4_the_programs_own_steps_reach_it,
    d4_a_trap_of_both_is_shown_and_reaches_the_program,
    d4_stale_bits_never_show,
    d4_a_step_before_the_first_insertion_does_not_show,
    d6_a_range_moves_and_what_was_there_is_no_hit,
    d4_a_thread_killed_at_a_hit_is_gone,
];

/// The register with the result of a function, of either CPU.
const RESULT: [&str; 2] = ["rax", "x0"];

/// A trap for nothing but these.
fn only(causes: TrapCauses, ids: &[trapline::BreakpointId]) -> bool {
    !causes.single_step
        && causes.software.is_none()
        && causes.hardware.iter().collect::<Vec<_>>() == ids
}

/// Ends the test where no program can have itself trapped after each instruction.
fn steps_itself() {
    if !cpu::STEPS_ITSELF {
        skip("programs of this CPU cannot step themselves");
    }
}

fn d5_an_execute_breakpoint_stops_once_per_arrival() {
    let (mut program, stop) = Watched::new("repeat:50 call }");
    let (first, second) = (program.execute(program.marked), program.execute(program.second));
    let (at_first, at_second) = (program.marked, program.second);
    program.go(stop);
    let mut at = Vec::new();
    let hits = program.hits_with(|tracer, stop| {
        if matches!(stop.reason(), StopReason::Trap(_)) {
            at.push(tracer.registers(stop).unwrap().pc());
        }
    });
    assert_eq!(at, [at_first, at_second].repeat(50));
    let expected: Vec<_> = hits.iter().enumerate().map(|(i, _)| [first, second][i % 2]).collect();
    for ((_, causes), id) in hits.iter().zip(expected) {
        assert!(only(*causes, &[id]), "{causes:?}");
    }
}

fn d5_once_per_arrival_on_a_system_call() {
    let (mut program, stop) = Watched::new("repeat:20 syscall }");
    let id = program.execute(program.syscall);
    program.go(stop);
    let hits = program.hits();
    assert_eq!((Watched::count(&hits, id), hits.len()), (20, 20));
}

fn d5_once_per_arrival_with_a_signal_between() {
    // The signal comes while the thread stands at the breakpoint.
    let words = format!("handle:{} repeat:5 call }} syscall", libc::SIGUSR2);
    let (mut program, stop) = Watched::new(&words);
    let id = program.execute(program.marked);
    let pid = program.pid;
    program.go(stop);
    let mut handled = 0;
    let mut hits = 0;
    while let Some(event) = program.tracer.wait().unwrap() {
        if let Event::Stopped(stop) = &event {
            match stop.reason() {
                StopReason::Trap(causes) => {
                    assert!(only(causes, &[id]));
                    hits += 1;
                    kill(pid, libc::SIGUSR2);
                }
                StopReason::Signal(signal) if signal.as_raw() == libc::SIGUSR2 => handled += 1,
                other => panic!("{other:?}"),
            }
        }
        program.go(event);
    }
    assert_eq!((hits, handled), (5, 5));
}

fn d5_in_the_handler_that_runs_between() {
    // The handler has a breakpoint at its first instruction.
    let words = format!("handle:{} repeat:5 call }}", libc::SIGUSR2);
    let (mut program, stop) = Watched::new(&words);
    let (id, in_handler) = (program.execute(program.marked), program.execute(program.handler));
    let pid = program.pid;
    program.go(stop);
    let mut order = Vec::new();
    while let Some(event) = program.tracer.wait().unwrap() {
        if let Event::Stopped(stop) = &event {
            if let StopReason::Trap(causes) = stop.reason() {
                order.push(causes.hardware.contains(id));
                if causes.hardware.contains(id) {
                    kill(pid, libc::SIGUSR2);
                } else {
                    assert!(causes.hardware.contains(in_handler));
                }
            }
        }
        program.go(event);
    }
    assert_eq!(order, [true, false].repeat(5));
}

fn d5_a_step_ends_on_a_breakpoint_and_then_it_is_hit() {
    let (mut program, stop) = Watched::new("call");
    let first = program.execute(program.marked);
    program.go(stop);
    let (stop, causes) = program.trap();
    assert!(only(causes, &[first]));
    let second = program.execute(program.second);
    program.step(stop);
    let (stop, causes) = program.trap();
    assert!(causes.single_step);
    assert_eq!(program.tracer.registers(&stop).unwrap().pc(), program.second);
    // An emulator may say both at once; the CPU says the breakpoint after the step.
    if causes.hardware.is_empty() {
        program.go(stop);
        let (stop, causes) = program.trap();
        assert!(only(causes, &[second]), "{causes:?}");
        program.go(stop);
    } else {
        program.go(stop);
    }
    assert_eq!(program.hits(), []);
}

fn d5_a_step_passes_a_breakpoint() {
    let (mut program, stop) = Watched::new("call call");
    let id = program.execute(program.marked);
    program.go(stop);
    for _ in 0..2 {
        let (stop, causes) = program.trap();
        assert!(only(causes, &[id]));
        program.step(stop);
        let (stop, causes) = program.trap();
        assert!(causes.single_step && causes.hardware.is_empty(), "{causes:?}");
        assert_eq!(program.tracer.registers(&stop).unwrap().pc(), program.second);
        program.go(stop);
    }
    assert_eq!(program.hits(), []);
}

fn d5_moving_the_program_counter_does_not_miss_the_next() {
    let (mut program, stop) = Watched::new("call");
    let (first, second) = (program.execute(program.marked), program.execute(program.second));
    program.go(stop);
    let (stop, causes) = program.trap();
    assert!(only(causes, &[first]));
    let mut registers = program.tracer.registers(&stop).unwrap();
    // What the instruction would have done.
    assert!(RESULT.iter().any(|name| registers.set(name, 5)));
    registers.set_pc(program.second);
    program.tracer.set_registers(&stop, &registers).unwrap();
    program.go(stop);
    let (stop, causes) = program.trap();
    assert!(only(causes, &[second]), "{causes:?}");
    // And back to the first one: it arrives there again.
    let mut registers = program.tracer.registers(&stop).unwrap();
    registers.set_pc(program.marked);
    program.tracer.set_registers(&stop, &registers).unwrap();
    program.go(stop);
    let (stop, causes) = program.trap();
    assert!(only(causes, &[first]), "{causes:?}");
    program.go(stop);
    assert_eq!(program.hits().len(), 1);
}

fn d5_the_first_instruction_of_a_thread() {
    let (mut program, stop) = Watched::built("repeat:4 thread write:8@0 } }", |builder| {
        builder.events(EventFlags::PROCESS | EventFlags::THREAD)
    });
    let (pid, data) = (program.pid, program.watch(0, 8, Write));
    program.go(stop);
    let mut first = None;
    let mut order = Vec::new();
    while let Some(event) = program.tracer.wait().unwrap() {
        if let Event::Stopped(stop) = &event {
            match stop.reason() {
                StopReason::ThreadStarted => {
                    let pc = program.tracer.registers(stop).unwrap().pc();
                    let (kind, len) = (HardwareKind::Execute, 1);
                    let here = HardwareBreakpoint { addr: pc, len, kind };
                    first.get_or_insert_with(|| {
                        program.tracer.insert_breakpoint(pid, here).unwrap()
                    });
                    order.push("started");
                }
                StopReason::Trap(causes) if causes.hardware.contains(data) => {
                    order.push("wrote");
                }
                StopReason::Trap(causes) => {
                    assert!(only(causes, &[first.unwrap()]), "{causes:?}");
                    order.push("first");
                }
                _ => {}
            }
        }
        program.go(event);
    }
    // The creator comes to the same place out of the same call.
    let threads = order.join(" ").replace("first first", "first");
    let threads: Vec<_> = threads.split(' ').map(String::from).collect();
    let writes = order.iter().filter(|what| **what == "wrote").count();
    assert_eq!(writes, 4, "{order:?}");
    for thread in threads.split(|what| what == "wrote").take(4) {
        assert!(thread.iter().any(|what| what == "first"), "{order:?}");
    }
}

fn d4_the_programs_own_traps_reach_it() {
    let words =
        format!("count-traps breakpoint write:8@0 raise:{} traps:2 write:8@0", libc::SIGTRAP);
    let (mut program, stop) = Watched::new(&words);
    let id = program.watch(0, 8, Write);
    program.go(stop);
    let mut signals = 0;
    let hits = program.hits_with(|_, stop| {
        signals += usize::from(stop.reason() == StopReason::Signal(Signal::TRAP));
    });
    assert_eq!((Watched::count(&hits, id), hits.len()), (2, 2));
    assert_eq!(signals, 2);
}

fn d4_the_programs_own_steps_reach_it() {
    steps_itself();
    let (mut program, stop) =
        Watched::new("count-traps write:8@0 step-itself:64 traps:4 write:8@0");
    let id = program.watch(0, 8, Write);
    program.go(stop);
    let mut signals = 0;
    let hits = program.hits_with(|_, stop| {
        signals += usize::from(stop.reason() == StopReason::Signal(Signal::TRAP));
    });
    assert_eq!((Watched::count(&hits, id), hits.len()), (2, 2));
    assert_eq!(signals, 4);
}

fn d4_a_trap_of_both_is_shown_and_reaches_the_program() {
    steps_itself();
    // The store that the program steps over is watched.
    let (mut program, stop) = Watched::new("count-traps step-itself:0 traps:4");
    let id = program.watch(0, 8, Write);
    program.go(stop);
    let mut signals = 0;
    let hits = program.hits_with(|_, stop| {
        signals += usize::from(stop.reason() == StopReason::Signal(Signal::TRAP));
    });
    assert_eq!((Watched::count(&hits, id), hits.len()), (1, 1));
    assert_eq!(signals, 3);
}

fn d4_stale_bits_never_show() {
    let words = format!("write:8@0 write:8@8 raise:{} write:8@8 read:8@16", libc::SIGUSR1);
    let (mut program, stop) = Watched::new(&words);
    let low = program.watch(0, 8, Write);
    let high = program.watch(8, 8, Write);
    let third = program.watch(16, 8, ReadWrite);
    // A step before, whose bit would be there still.
    let mut stop = stop;
    for _ in 0..3 {
        program.step(stop);
        let (next, causes) = program.trap();
        assert!(causes.single_step && causes.hardware.is_empty());
        stop = next;
    }
    program.go(stop);
    let hits = program.hits();
    let expected = [[low], [high], [high], [third]];
    assert_eq!(hits.len(), 4);
    for ((_, causes), ids) in hits.iter().zip(&expected) {
        assert!(only(*causes, ids), "{causes:?}");
    }
}

// BS is still in DR6 when the registers are armed for the first time.
fn d4_a_step_before_the_first_insertion_does_not_show() {
    let (mut program, stop) = Watched::new("write:8@0");
    program.step(stop);
    let (stop, _) = program.trap();
    let id = program.watch(0, 8, Write);
    program.go(stop);
    let (stop, causes) = program.trap();
    assert!(only(causes, &[id]), "{causes:?}");
    program.go(stop);
    assert_eq!(program.hits(), []);
}

fn d6_a_range_moves_and_what_was_there_is_no_hit() {
    // Each time in the same register, with other lengths and places.
    let (mut program, stop) = Watched::new("repeat:8 raise:10 write:8@0 write:8@8 write:8@16 }");
    let pid = program.pid;
    program.go(stop);
    for (offset, len) in [(0, 8), (8, 4), (17, 1), (2, 2), (0, 8), (16, 8), (12, 4), (0, 1)] {
        let stop = watched::ready(next_stop(&mut program.tracer));
        let others: Vec<_> = (8..11).map(|i| program.watch(8 * i, 8, Write)).collect();
        let id = program.watch(offset, len, Write);
        program.go(stop);
        let (stop, causes) = program.trap();
        assert!(only(causes, &[id]), "{causes:?}");
        for id in others.into_iter().chain([id]) {
            assert!(program.tracer.remove_breakpoint(pid, id).unwrap());
        }
        program.go(stop);
    }
    assert_eq!(program.hits(), []);
}

fn d4_a_thread_killed_at_a_hit_is_gone() {
    let (mut program, stop) = Watched::new("write:8@0");
    let id = program.watch(0, 8, Write);
    program.go(stop);
    let (stop, causes) = program.trap();
    assert!(only(causes, &[id]));
    kill(program.pid, libc::SIGKILL);
    match program.tracer.remove_breakpoint(program.pid, id) {
        Ok(true) | Err(Error::Gone { .. }) => {}
        other => panic!("{other:?}"),
    }
    program.tracer.resume(stop, Resume::Continue).unwrap();
    assert_eq!(next_exit(&mut program.tracer).1, killed_by(Signal::KILL));
    assert!(program.tracer.wait().unwrap().is_none());
}
