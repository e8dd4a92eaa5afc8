//! M1: breakpoints in memory, in one thread.

use trapline::{
    Arch, Cpu, Error, Event, EventFlags, ExitStatus, Resume, Signal, SoftwareBreakpoint, StopReason,
};

use crate::common::*;
use crate::fixtures::{cpu, fixture};

crate::tests![
    m1_a_hit_is_reported_once_at_its_address,
    m1_a_loop_of_a_thousand_is_a_thousand_stops,
    m1_what_is_removed_is_not_hit,
    m1_inserted_where_a_thread_stands,
    m1_steps_from_and_onto_a_breakpoint,
    m1_the_program_counter_can_be_moved_away,
    m1_memory_is_shown_without_them,
    m1_a_bad_address_is_refused,
    m1_the_programs_own_is_its_signal,
    m1_on_the_programs_own_breakpoint_instruction,
    m1_flags_are_pushed_as_they_would_be,
    m1_a_string_instruction_is_one_hit,
    m1_a_fault_at_a_breakpoint_is_the_programs,
    m1_a_fault_names_the_programs_instruction,
    m1_code_that_is_written_anew_behind_a_breakpoint_is_what_runs,
    m1_of_many_threads_each_condition_is_asked,
    m1_in_place_as_out_of_line,
    m1_a_signal_at_a_breakpoint_is_handled_once_and_hides_no_hit,
    m1_a_killed_process_at_a_breakpoint_is_gone,
];

/// How far the two instructions of the pair are apart.
const NEXT: u64 = cpu::NOP.len() as u64;

/// A step was done, and nothing else.
fn is_step(reason: StopReason) -> bool {
    matches!(reason, StopReason::Trap(c) if c.single_step && c.software.is_none())
}

fn m1_a_hit_is_reported_once_at_its_address() {
    let (mut tracer, stop, addr, id) = probed(fixture("probe-loop", &["1"]));
    let listed: Vec<_> = tracer.breakpoints(stop.pid()).unwrap().collect();
    assert_eq!(listed, [(id, SoftwareBreakpoint { addr }.into())]);
    expect_hits(&mut tracer, stop, id, addr, 1);
}

fn m1_a_loop_of_a_thousand_is_a_thousand_stops() {
    let (mut tracer, stop, addr, id) = probed(fixture("probe-loop", &["1000"]));
    expect_hits(&mut tracer, stop, id, addr, 1000);
}

fn m1_what_is_removed_is_not_hit() {
    let (mut tracer, stop, addr, id) = probed(fixture("probe-loop", &["3"]));
    let pid = stop.pid();
    assert_eq!(insert(&mut tracer, pid, addr), id, "the same one");
    tracer.resume(stop, Resume::Continue).unwrap();
    let stop = next_stop(&mut tracer);
    assert!(is_hit(&mut tracer, &stop, id, addr));
    assert!(tracer.remove_breakpoint(pid, id).unwrap());
    tracer.resume(stop, Resume::Continue).unwrap();
    let stop = next_stop(&mut tracer);
    assert!(is_hit(&mut tracer, &stop, id, addr), "inserted twice, removed once");
    assert!(tracer.remove_breakpoint(pid, id).unwrap());
    assert!(!tracer.remove_breakpoint(pid, id).unwrap());
    assert_eq!(tracer.breakpoints(pid).unwrap().count(), 0);
    tracer.resume(stop, Resume::Continue).unwrap();
    assert_eq!(next_exit(&mut tracer), (pid, ExitStatus::Code(0)));
    assert!(matches!(tracer.remove_breakpoint(pid, id), Err(Error::Gone { .. })));
}

fn m1_inserted_where_a_thread_stands() {
    let (mut tracer, stop, addr, id) = probed(fixture("probe-pair", &[]));
    let pid = stop.pid();
    tracer.resume(stop, Resume::Continue).unwrap();
    let stop = next_stop(&mut tracer);
    assert!(is_hit(&mut tracer, &stop, id, addr));
    // Removed and inserted again, it is another one, that was not reported yet.
    assert!(tracer.remove_breakpoint(pid, id).unwrap());
    tracer.resume(stop, Resume::Step).unwrap();
    let stop = next_stop(&mut tracer);
    assert!(is_step(stop.reason()), "{stop:?}");
    let next = insert(&mut tracer, pid, addr + NEXT);
    assert_ne!(next, id);
    tracer.resume(stop, Resume::Continue).unwrap();
    let stop = next_stop(&mut tracer);
    assert!(is_hit(&mut tracer, &stop, next, addr + NEXT));
    tracer.resume(stop, Resume::Continue).unwrap();
    assert_eq!(next_exit(&mut tracer).1, ExitStatus::Code(0));
}

fn m1_steps_from_and_onto_a_breakpoint() {
    let (mut tracer, stop, addr, id) = probed(fixture("probe-pair", &[]));
    let next = insert(&mut tracer, stop.pid(), addr + NEXT);
    tracer.resume(stop, Resume::Continue).unwrap();
    let stop = next_stop(&mut tracer);
    assert!(is_hit(&mut tracer, &stop, id, addr));
    tracer.resume(stop, Resume::Step).unwrap();
    let stop = next_stop(&mut tracer);
    assert!(is_step(stop.reason()), "{stop:?}");
    assert_eq!(tracer.registers(&stop).unwrap().pc(), addr + NEXT);
    tracer.resume(stop, Resume::Step).unwrap();
    let stop = next_stop(&mut tracer);
    assert!(is_hit(&mut tracer, &stop, next, addr + NEXT), "{stop:?}");
    tracer.resume(stop, Resume::Step).unwrap();
    let stop = next_stop(&mut tracer);
    assert!(is_step(stop.reason()), "{stop:?}");
    assert_eq!(tracer.registers(&stop).unwrap().pc(), addr + 2 * NEXT);
    tracer.resume(stop, Resume::Continue).unwrap();
    assert_eq!(next_exit(&mut tracer).1, ExitStatus::Code(0));
}

fn m1_the_program_counter_can_be_moved_away() {
    let (mut tracer, stop, addr, id) = probed(fixture("probe-pair", &[]));
    tracer.resume(stop, Resume::Continue).unwrap();
    let stop = next_stop(&mut tracer);
    let mut registers = tracer.registers(&stop).unwrap();
    registers.set_pc(addr + NEXT);
    tracer.set_registers(&stop, &registers).unwrap();
    registers.set_pc(addr);
    tracer.set_registers(&stop, &registers).unwrap();
    tracer.resume(stop, Resume::Continue).unwrap();
    let stop = next_stop(&mut tracer);
    assert!(is_hit(&mut tracer, &stop, id, addr), "it has arrived again");
    tracer.resume(stop, Resume::Continue).unwrap();
    assert_eq!(next_exit(&mut tracer).1, ExitStatus::Code(0));
}

fn m1_memory_is_shown_without_them() {
    let mut tracer = tracer(EventFlags::PROCESS);
    let (stop, addr) = probe_of(&mut tracer, fixture("probe-pair", &[]));
    let mut text = [cpu::NOP, cpu::NOP, cpu::RETURN].concat();
    let bytes = text.len();
    let expected = text.clone();
    tracer.read_memory(&stop, addr, &mut text).unwrap();
    assert_eq!(text, expected);
    let id = insert(&mut tracer, stop.pid(), addr);
    let mut read = vec![0; bytes + 2];
    tracer.read_memory(&stop, addr - 1, &mut read).unwrap();
    assert_eq!(read[1..=bytes], text);
    // What is written over one is what is executed: the return.
    let written = [cpu::RETURN, &[0xf4]].concat();
    assert_eq!(tracer.write_memory(&stop, addr, &written).unwrap(), written.len());
    tracer.read_memory(&stop, addr, &mut text).unwrap();
    assert_eq!(text[..written.len()], written);
    assert_eq!(text[written.len()..], expected[written.len()..]);
    expect_hits(&mut tracer, stop, id, addr, 1);
}

fn m1_a_bad_address_is_refused() {
    let mut tracer = tracer(EventFlags::PROCESS);
    let stop = spawned(&mut tracer, fixture("exit", &["0"]));
    for addr in [0, 8, u64::MAX - 15, 0xffff_8000_0000_0000] {
        let refused = tracer.insert_breakpoint(stop.pid(), SoftwareBreakpoint { addr });
        assert!(matches!(refused, Err(Error::BadAddress { .. })), "{refused:?}");
    }
    assert_eq!(tracer.breakpoints(stop.pid()).unwrap().count(), 0);
    tracer.resume(stop, Resume::Continue).unwrap();
    assert_eq!(next_exit(&mut tracer).1, ExitStatus::Code(0));
}

fn m1_the_programs_own_is_its_signal() {
    let (mut tracer, stop, _, _) = probed(fixture("probe-handler", &["0"]));
    // A second announcement, with breakpoints in memory.
    let (stop, handled) = announced(&mut tracer, stop);
    assert_eq!(handled, 0);
    let pc = tracer.registers(&stop).unwrap().pc();
    let mut own = Cpu::BREAKPOINT.to_vec();
    own.fill(0);
    tracer.read_memory(&stop, pc - OWN, &mut own).unwrap();
    assert_eq!(own, Cpu::BREAKPOINT);
    tracer.resume(stop, Resume::Continue).unwrap();
    assert_eq!(next_exit(&mut tracer).1, ExitStatus::Code(0));
}

fn m1_on_the_programs_own_breakpoint_instruction() {
    let (mut tracer, stop, _, _) = probed(fixture("probe-handler", &["0"]));
    let own = tracer.registers(&stop).unwrap().pc() - OWN;
    let id = insert(&mut tracer, stop.pid(), own);
    tracer.resume(stop, Resume::Continue).unwrap();
    let stop = next_stop(&mut tracer);
    assert!(is_hit(&mut tracer, &stop, id, own));
    let (stop, _) = announced(&mut tracer, stop);
    assert_eq!(tracer.registers(&stop).unwrap().pc(), own + OWN);
    tracer.resume(stop, Resume::Continue).unwrap();
    assert_eq!(next_exit(&mut tracer).1, ExitStatus::Code(0));
}

// The step that leads past it sets a flag, which the program must not see.
fn m1_flags_are_pushed_as_they_would_be() {
    if !cpu::PUSHES_FLAGS {
        skip("this CPU has no instruction that stores the flag of a step");
    }
    for step in [false, true] {
        let (mut tracer, mut stop, addr, id) = probed(fixture("probe-flags", &["3"]));
        for _ in 0..3 {
            tracer.resume(stop, Resume::Continue).unwrap();
            stop = next_stop(&mut tracer);
            assert!(is_hit(&mut tracer, &stop, id, addr));
            if step {
                tracer.resume(stop, Resume::Step).unwrap();
                stop = next_stop(&mut tracer);
                assert!(is_step(stop.reason()));
            }
        }
        tracer.resume(stop, Resume::Continue).unwrap();
        assert_eq!(next_exit(&mut tracer).1, ExitStatus::Code(0));
    }
}

fn m1_a_string_instruction_is_one_hit() {
    let (mut tracer, stop, addr, id) = probed(fixture("probe-copy", &["300"]));
    expect_hits(&mut tracer, stop, id, addr, 2);
}

/// A compiler at run time has a call go elsewhere in that way, which leaves the breakpoint where it is.
fn m1_code_that_is_written_anew_behind_a_breakpoint_is_what_runs() {
    if cpu::RETURNING.is_none() {
        return; // nothing of an instruction is left behind a breakpoint instruction
    }
    for way in [trapline::StepOver::OutOfLine, trapline::StepOver::InPlace] {
        let mut tracer = trapline::Tracer::builder().step_over(way).build().unwrap();
        let (stop, addr) = probe_of(&mut tracer, fixture("probe-rewritten", &["50"]));
        let id = insert(&mut tracer, stop.pid(), addr);
        expect_hits(&mut tracer, stop, id, addr, 50);
    }
}

fn m1_a_fault_at_a_breakpoint_is_the_programs() {
    let (mut tracer, stop, addr, id) = probed(fixture("probe-fault", &[]));
    tracer.resume(stop, Resume::Continue).unwrap();
    let stop = next_stop(&mut tracer);
    assert!(is_hit(&mut tracer, &stop, id, addr));
    tracer.resume(stop, Resume::Continue).unwrap();
    let stop = next_stop(&mut tracer);
    let reason = stop.reason();
    let faults = [Signal::SEGV, Signal::BUS].map(StopReason::Signal);
    assert!(faults.contains(&reason), "{reason:?}");
    assert_eq!(tracer.registers(&stop).unwrap().pc(), addr);
    // Its handler sees to it that the instruction succeeds, which is no new arrival.
    tracer.resume(stop, Resume::Continue).unwrap();
    assert_eq!(next_exit(&mut tracer).1, ExitStatus::Code(0));
}

fn m1_a_fault_names_the_programs_instruction() {
    let (mut tracer, stop, addr, id) = probed(fixture("probe-undefined", &[]));
    tracer.resume(stop, Resume::Continue).unwrap();
    let stop = next_stop(&mut tracer);
    assert!(is_hit(&mut tracer, &stop, id, addr));
    tracer.resume(stop, Resume::Continue).unwrap();
    // The handler returns to it twice, which is no new arrival.
    for _ in 0..3 {
        let stop = next_stop(&mut tracer);
        assert_eq!(stop.reason(), StopReason::Signal(Signal::ILL));
        assert_eq!(tracer.registers(&stop).unwrap().pc(), addr);
        assert_eq!(tracer.signal_info(&stop).unwrap().addr, Some(addr));
        tracer.resume(stop, Resume::Continue).unwrap();
    }
    assert_eq!(next_exit(&mut tracer).1, ExitStatus::Code(0));
}

fn m1_of_many_threads_each_condition_is_asked() {
    let (mut tracer, stop, addr, id) = probed(fixture("probe-loop", &["1000"]));
    let pid = stop.pid();
    assert!(tracer.remove_breakpoint(pid, id).unwrap());
    let asked = std::rc::Rc::new(std::cell::Cell::new(0));
    let count = std::rc::Rc::clone(&asked);
    let breakpoint =
        SoftwareBreakpoint::at(addr).when(move |arrival: &trapline::BreakpointHit<'_>| {
            assert_eq!(arrival.registers().pc(), addr);
            let mut code = [0];
            assert_eq!(arrival.read_memory(addr, &mut code).unwrap(), 1);
            count.set(count.get() + 1);
            count.get() % 100 == 0
        });
    let id = tracer.insert_breakpoint(pid, breakpoint).unwrap();
    expect_hits(&mut tracer, stop, id, addr, 10);
    assert_eq!(asked.get(), 1000);
}

fn m1_in_place_as_out_of_line() {
    let builder = trapline::Tracer::builder().step_over(trapline::StepOver::InPlace);
    let mut tracer = builder.build().unwrap();
    let (stop, addr) = probe_of(&mut tracer, fixture("probe-loop", &["20"]));
    let id = insert(&mut tracer, stop.pid(), addr);
    expect_hits(&mut tracer, stop, id, addr, 20);
}

fn m1_a_signal_at_a_breakpoint_is_handled_once_and_hides_no_hit() {
    for recursive in [false, true] {
        let args: &[&str] = if recursive { &["20", "recursive"] } else { &["20"] };
        let (mut tracer, stop, addr, id) = probed(fixture("probe-handler", args));
        let pid = stop.pid();
        tracer.resume(stop, Resume::Continue).unwrap();
        let (mut hits, mut signals, mut sent) = (0, 0, 0);
        let handled = loop {
            let mut stop = match tracer.wait().unwrap() {
                Some(Event::Stopped(stop)) => stop,
                other => panic!("{other:?}"),
            };
            match stop.reason() {
                StopReason::Trap(_) => {
                    assert!(is_hit(&mut tracer, &stop, id, addr));
                    hits += 1;
                    if sent < 10 {
                        sent += 1;
                        assert!(kill(pid, libc::SIGUSR1));
                    }
                }
                StopReason::Signal(Signal::TRAP) => {
                    let handled = tracer.registers(&stop).unwrap().argument(0).unwrap();
                    stop.set_signal(None).unwrap();
                    pass_own_breakpoint(&mut tracer, &stop);
                    tracer.resume(stop, Resume::Continue).unwrap();
                    break handled;
                }
                reason => {
                    assert_eq!(reason, StopReason::Signal(Signal::USR1));
                    signals += 1;
                }
            }
            tracer.resume(stop, Resume::Continue).unwrap();
        };
        assert_eq!((signals, handled), (10, 10));
        assert_eq!(hits, if recursive { 30 } else { 20 });
        assert_eq!(next_exit(&mut tracer).1, ExitStatus::Code(0));
    }
}

fn m1_a_killed_process_at_a_breakpoint_is_gone() {
    let (mut tracer, stop, _, id) = probed(fixture("probe-loop", &["2"]));
    let pid = stop.pid();
    tracer.resume(stop, Resume::Continue).unwrap();
    let stop = next_stop(&mut tracer);
    assert!(kill(pid, libc::SIGKILL));
    tracer.resume(stop, Resume::Continue).unwrap();
    assert_eq!(next_exit(&mut tracer), (pid, killed_by(Signal::KILL)));
    assert!(tracer.remove_breakpoint(pid, id).is_err());
}
