//! M1: breakpoints are stepped over out of line, and nobody sees it.

use trapline_core::{EventFlags, ForkKind, Resume, Signal, StepOver, StopReason};
use trapline_fake::{FakeRegisters, Rules};

use crate::common::*;
use crate::m1_software::{CODE, TEXT, with_code};

both![
    the_breakpoint_stays_in_memory_and_the_others_run,
    a_step_ends_behind_the_instruction,
    an_instruction_that_is_carried_out_takes_no_slot,
    what_cannot_be_moved_is_stepped_over_in_place,
    without_memory_for_slots_it_is_done_in_place,
    in_place_maps_nothing,
    a_call_in_a_slot_is_shown_where_the_program_has_it,
    m1_a_call_that_is_stepped_over_and_made_again_is_no_new_arrival,
    who_is_let_go_has_no_slots,
    a_child_that_is_let_go_has_none_and_its_maker_still_has,
    a_handler_that_returns_is_no_new_arrival,
    a_signal_just_before_an_arrival_takes_nothing_away,
    a_handler_that_does_not_return_leaves_nothing_behind,
    code_that_is_another_by_now_is_shown_and_gets_a_breakpoint_when_asked,
    a_fork_asks_for_no_more_with_breakpoints_than_without,
];

const CALL: u64 = CODE + 3;
/// Two instructions: one that is carried out, with a byte that it skips, and one that cannot be
/// moved; then the end of a handler.
const SPECIAL: u64 = 0x2000;
const SPECIAL_TEXT: [u8; 6] = [0xeb, 0xf4, 0x0f, 0x90, 0x90, 0xcf];
const HANDLER: u64 = SPECIAL + 4;

fn pc<R: Rules>(world: &mut World<R>, stop: &trapline_core::Stopped) -> u64 {
    world.tracer().registers(stop).unwrap().pc
}

fn the_breakpoint_stays_in_memory_and_the_others_run<R: Rules>() {
    let (mut world, pid) = with_code::<R>(EventFlags::PROCESS);
    let main = world.main(pid);
    world.new_thread(pid);
    let id = world.put(pid, CODE);
    world.kernel.before_requests(move |kernel, call| {
        // Until the process ends.
        assert!([vec![0xcc], vec![]].contains(&kernel.memory(pid, CODE, 1)));
        assert!(!["interrupt", "suspend"].contains(&call.name), "{call:?}");
    });
    // The first time it gets its slot.
    for most in [5, 2, 2] {
        world.kernel.jump(main, CODE);
        let hit = world.hits(id, CODE);
        let before = world.tracer().requests();
        world.go(hit);
        assert!(world.tracer().requests() - before <= most);
    }
    assert_eq!(world.kernel.executed(pid, CODE), 3);
    world.kernel.before_requests(|_, _| {});
}

fn a_step_ends_behind_the_instruction<R: Rules>() {
    let (mut world, pid) = with_code::<R>(EventFlags::PROCESS);
    let id = world.put(pid, CODE);
    world.kernel.jump(world.main(pid), CODE);
    let mut stop = world.hits(id, CODE);
    for at in [CODE + 1, CODE + 2] {
        world.tracer().resume(stop, Resume::Step).unwrap();
        stop = world.stop();
        assert!(matches!(stop.reason(), StopReason::Trap(c) if c.single_step), "{stop:?}");
        assert_eq!(pc(&mut world, &stop), at);
    }
    world.go(stop);
    assert_eq!(world.kernel.executed(pid, CODE), 1);
}

fn an_instruction_that_is_carried_out_takes_no_slot<R: Rules>() {
    let (mut world, pid) = with_code::<R>(EventFlags::PROCESS);
    world.kernel.map(pid, SPECIAL, &SPECIAL_TEXT);
    world.kernel.refuse_code(pid);
    let id = world.put(pid, SPECIAL);
    let main = world.main(pid);
    for how in [Resume::Continue, Resume::Step] {
        world.kernel.jump(main, SPECIAL);
        let hit = world.hits(id, SPECIAL);
        let before = world.tracer().requests();
        world.tracer().resume(hit, how).unwrap();
        if how == Resume::Step {
            let stop = world.stop();
            assert!(matches!(stop.reason(), StopReason::Trap(c) if c.single_step));
            assert_eq!(pc(&mut world, &stop), SPECIAL + 2);
            world.go(stop);
        }
        assert!(world.tracer().requests() - before <= 6);
    }
}

fn what_cannot_be_moved_is_stepped_over_in_place<R: Rules>() {
    let (mut world, pid) = with_code::<R>(EventFlags::PROCESS);
    world.kernel.map(pid, SPECIAL, &SPECIAL_TEXT);
    let id = world.put(pid, SPECIAL + 2);
    let main = world.main(pid);
    for _ in 0..2 {
        world.kernel.jump(main, SPECIAL + 2);
        let hit = world.hits(id, SPECIAL + 2);
        world.go(hit);
        world.run_all();
    }
    assert_eq!(world.kernel.executed(pid, SPECIAL + 2), 2);
    assert_eq!(world.kernel.memory(pid, SPECIAL + 2, 1), [0xcc]);
}

fn without_memory_for_slots_it_is_done_in_place<R: Rules>() {
    let (mut world, pid) = with_code::<R>(EventFlags::PROCESS);
    world.kernel.refuse_code(pid);
    let id = world.put(pid, CODE);
    for _ in 0..2 {
        world.kernel.jump(world.main(pid), CODE);
        let hit = world.hits(id, CODE);
        world.go(hit);
        world.run_all();
    }
    assert_eq!(world.kernel.executed(pid, CODE), 2);
}

fn in_place_maps_nothing<R: Rules>() {
    let mut world = World::<R>::built(|b| b.step_over(StepOver::InPlace));
    let pid = world.attach();
    world.kernel.map(pid, CODE, &TEXT);
    let id = world.put(pid, CODE);
    world.kernel.jump(world.main(pid), CODE);
    let hit = world.hits(id, CODE);
    world.go(hit);
    world.run_all();
    assert_eq!(world.kernel.memory(pid, 0x4000_0000, 1), []);
}

fn a_call_in_a_slot_is_shown_where_the_program_has_it<R: Rules>() {
    let (mut world, pid) = with_code::<R>(EventFlags::PROCESS);
    let main = world.main(pid);
    let id = world.put(pid, CALL);
    world.kernel.jump(main, CALL);
    let hit = world.hits(id, CALL);
    world.go(hit);
    assert!(world.kernel.is_in_call(main));
    world.tracer().interrupt(pid).unwrap();
    let stop = world.stop_for(StopReason::Interrupted);
    let shown = world.tracer().registers(&stop).unwrap();
    assert_eq!(shown.pc, CALL + 1);
    // What was shown can be set.
    world.tracer().set_registers(&stop, &FakeRegisters { value: 5, ..shown }).unwrap();
    assert_eq!(world.tracer().registers(&stop).unwrap(), FakeRegisters { value: 5, ..shown });
    world.go(stop);
    assert_eq!(world.run_all(), [] as [&str; 0], "no new arrival");
    assert!(world.kernel.is_in_call(main), "it is made again");
    world.kernel.finish_call(main);
    assert_eq!(world.run_all(), [] as [&str; 0]);
}

/// Another thread stops its process during the step, and a signal interrupts the call after that.
fn m1_a_call_that_is_stepped_over_and_made_again_is_no_new_arrival<R: Rules>() {
    let (mut world, pid) = with_code::<R>(EventFlags::PROCESS);
    let (main, other) = (world.main(pid), world.new_thread(pid));
    let id = world.put(pid, CALL);
    world.kernel.jump(main, CALL);
    let hit = world.hits(id, CALL);
    world.tracer().resume(hit, Resume::Step).unwrap();
    assert!(world.kernel.is_in_call(main));
    world.kernel.signal_thread(other, Signal::USR1);
    let stop = world.stop_for(StopReason::Signal(Signal::USR1));
    let halted = world.tracer().halt(stop).unwrap();
    world
        .tracer()
        .resume_halted(halted, |stop| match stop.tid() == main {
            true => trapline_core::Next::Step,
            false => trapline_core::Next::Continue,
        })
        .unwrap();
    world.kernel.signal_thread(main, Signal::USR1);
    let stop = world.stop_for(StopReason::Signal(Signal::USR1));
    world.go(stop);
    assert_eq!(world.run_all(), [] as [&str; 0], "no new arrival");
    assert!(world.kernel.is_in_call(main), "it is made again");
}

fn who_is_let_go_has_no_slots<R: Rules>() {
    let (mut world, pid) = with_code::<R>(EventFlags::PROCESS);
    let main = world.main(pid);
    let id = world.put(pid, CALL);
    world.kernel.jump(main, CALL);
    let hit = world.hits(id, CALL);
    world.go(hit);
    assert_ne!(world.kernel.memory(pid, 0x4000_0000, 1), []);
    world.tracer().detach_process(pid).unwrap();
    assert_eq!(world.kernel.memory(pid, CALL, 1), [0x05]);
    assert_eq!(world.kernel.memory(pid, 0x4000_0000, 1), []);
}

fn a_child_that_is_let_go_has_none_and_its_maker_still_has<R: Rules>() {
    let (mut world, pid) = with_code::<R>(EventFlags::PROCESS);
    let main = world.main(pid);
    let id = world.put(pid, CODE);
    world.kernel.jump(main, CODE);
    let hit = world.hits(id, CODE);
    world.go(hit);
    let child = world.kernel.fork(main, ForkKind::Fork);
    let fork = world.forked();
    world.tracer().detach(fork.child.into_stopped().unwrap()).unwrap();
    assert_eq!(world.kernel.memory(child, 0x4000_0000, 1), []);
    assert_eq!(world.kernel.memory(child, CODE, 1), [0x90]);
    assert_ne!(world.kernel.memory(pid, 0x4000_0000, 1), []);
    world.go(fork.parent.into_stopped().unwrap());
    world.kernel.jump(main, CODE);
    let hit = world.hits(id, CODE);
    world.go(hit);
}

fn a_handler_that_returns_is_no_new_arrival<R: Rules>() {
    let (mut world, pid) = with_code::<R>(EventFlags::PROCESS);
    world.kernel.map(pid, SPECIAL, &SPECIAL_TEXT);
    world.kernel.handle(pid, Signal::USR1, HANDLER);
    let main = world.main(pid);
    let id = world.put(pid, CODE);
    for _ in 0..2 {
        world.kernel.jump(main, CODE);
        let hit = world.hits(id, CODE);
        world.kernel.signal_thread(main, Signal::USR1);
        world.go(hit);
        let stop = world.stop_for(StopReason::Signal(Signal::USR1));
        assert_eq!(pc(&mut world, &stop), CODE);
        world.go(stop);
        assert_eq!(world.run_all(), [] as [&str; 0], "it comes back from the handler");
    }
    assert_eq!(world.kernel.executed(pid, HANDLER), 2);
    assert_eq!(world.kernel.executed(pid, CODE), 2);
}

/// A thread that has come by in a slot is about to execute the next breakpoint instruction, and gets a
/// signal there: it has not arrived yet, so it does when the handler is over.
fn a_signal_just_before_an_arrival_takes_nothing_away<R: Rules>() {
    /// Does something, and waits.
    const AT: u64 = 0x3000;
    let (mut world, pid) = with_code::<R>(EventFlags::PROCESS);
    world.kernel.map(pid, SPECIAL, &SPECIAL_TEXT);
    world.kernel.map(pid, AT, &[0x90, 0xf4, 0xf4]);
    world.kernel.handle(pid, Signal::USR1, HANDLER);
    let main = world.main(pid);
    let first = world.put(pid, AT);
    world.kernel.jump(main, AT);
    let hit = world.hits(first, AT);
    world.go(hit);
    world.tracer().interrupt(pid).unwrap();
    let stop = world.stop_for(StopReason::Interrupted);
    let second = world.put(pid, AT + 1);
    world.kernel.signal_thread(main, Signal::USR1);
    world.go(stop);
    let stop = world.stop_for(StopReason::Signal(Signal::USR1));
    assert_eq!(pc(&mut world, &stop), AT + 1);
    world.go(stop);
    let hit = world.hits(second, AT + 1);
    world.go(hit);
    assert_eq!(world.run_all(), [] as [&str; 0]);
    assert_eq!(world.kernel.executed(pid, HANDLER), 1);
}

fn a_handler_that_does_not_return_leaves_nothing_behind<R: Rules>() {
    let (mut world, pid) = with_code::<R>(EventFlags::PROCESS);
    world.kernel.map(pid, SPECIAL, &[0x90, 0xf4]);
    world.kernel.handle(pid, Signal::USR1, SPECIAL);
    let main = world.main(pid);
    let id = world.put(pid, CODE);
    for _ in 0..10 {
        world.kernel.jump(main, CODE);
        let hit = world.hits(id, CODE);
        world.kernel.signal_thread(main, Signal::USR1);
        world.go(hit);
        let stop = world.stop_for(StopReason::Signal(Signal::USR1));
        world.go(stop);
        // It goes elsewhere from there, and comes by again with the same registers.
        assert_eq!(world.run_all(), [] as [&str; 0]);
        world.kernel.unwind(main);
    }
    assert_eq!(world.kernel.executed(pid, SPECIAL), 10);
}

fn code_that_is_another_by_now_is_shown_and_gets_a_breakpoint_when_asked<R: Rules>() {
    let (mut world, pid) = with_code::<R>(EventFlags::PROCESS);
    let main = world.main(pid);
    let id = world.put(pid, CODE);
    world.kernel.remap(pid, CODE, &[0xf3, 0x90, 0x90, 0xf4]);
    world.kernel.jump(main, CODE + 2);
    world.tracer().interrupt(pid).unwrap();
    let stop = world.stop_for(StopReason::Interrupted);
    let mut code = [0; 2];
    world.tracer().read_memory(&stop, CODE, &mut code).unwrap();
    assert_eq!(code, [0xf3, 0x90]);
    world.tracer().write_memory(&stop, CODE, &[0x91, 0x92]).unwrap();
    assert_eq!(world.kernel.memory(pid, CODE, 2), [0x91, 0x92]);
    assert_eq!(world.put(pid, CODE), id);
    assert_eq!(world.kernel.memory(pid, CODE, 2), [0xcc, 0x92]);
    world.go(stop);
    world.kernel.jump(main, CODE);
    let hit = world.hits(id, CODE);
    assert!(world.tracer().remove_breakpoint(pid, id).unwrap());
    world.go(hit);
    assert!(world.tracer().remove_breakpoint(pid, id).unwrap());
    assert_eq!(world.kernel.memory(pid, CODE, 2), [0x91, 0x92]);
}

fn a_fork_asks_for_no_more_with_breakpoints_than_without<R: Rules>() {
    let (mut world, pid) = with_code::<R>(EventFlags::PROCESS);
    let main = world.main(pid);
    world.kernel.map(pid, 0x8000, &[0x90; 0x1000]);
    let mut costs = Vec::new();
    for with in [false, true] {
        if with {
            let all = (0x8000..0x9000).map(trapline_core::SoftwareBreakpoint::at);
            world.tracer().insert_breakpoints(pid, all).unwrap();
            world.forks(main, ForkKind::Fork); // the creator was run since
        }
        let before = world.tracer().requests();
        world.forks(main, ForkKind::Fork);
        costs.push(world.tracer().requests() - before);
    }
    // Whether the memory is the same one.
    assert!(costs[1] <= costs[0] + 1, "{costs:?}");
}

/// A thread whose interrupt has come before its trap is shown at the breakpoint, and the arrival is
/// one stop.
#[test]
fn a_trap_that_waits_behind_a_halt_is_shown_where_it_is() {
    let (mut world, pid) = with_code::<trapline_fake::LinuxRules>(EventFlags::PROCESS);
    let (main, other) = (world.main(pid), world.new_thread(pid));
    let id = world.put(pid, CODE);
    world.kernel.signal_thread(main, Signal::USR1);
    let stop = world.stop_for(StopReason::Signal(Signal::USR1));
    world.kernel.run_into(other, CODE);
    let halted = world.tracer().halt(stop).unwrap();
    let thread = halted.threads.iter().find(|stop| stop.tid() == other).unwrap();
    let shown = world.tracer().registers(thread).unwrap();
    assert_eq!(shown.pc, CODE);
    // What was shown can be set, and the trap is still to come.
    world.tracer().set_registers(thread, &FakeRegisters { value: 1, ..shown }).unwrap();
    world.tracer().resume_halted(halted, |_| trapline_core::Next::Continue).unwrap();
    let hit = world.hits(id, CODE);
    assert_eq!((hit.tid(), world.tracer().registers(&hit).unwrap().value), (other, 1));
    world.go(hit);
    assert_eq!(world.run_all(), [] as [&str; 0]);
    assert_eq!(world.kernel.executed(pid, CODE), 1);
}

/// A thread that has come by in a slot has run into the next breakpoint, and an interrupt comes
/// before that trap: it is detached where the program has it.
#[test]
fn a_trap_behind_an_interrupt_is_waited_for_after_a_slot() {
    let (mut world, pid) = with_code::<trapline_fake::LinuxRules>(EventFlags::PROCESS);
    let other = world.new_thread(pid);
    let id = world.put(pid, CODE);
    world.kernel.jump(other, CODE);
    let hit = world.hits(id, CODE);
    world.go(hit);
    let kernel = world.kernel.clone();
    let mut done = false;
    world.kernel.before_requests(move |_, call| {
        if call.name == "interrupt" && !std::mem::replace(&mut done, true) {
            kernel.run_into(other, CODE);
        }
    });
    world.tracer().detach_process(pid).unwrap();
    world.kernel.before_requests(|_, _| {});
    assert_eq!(world.kernel.delivered(pid, Signal::TRAP), 0);
    assert_eq!(world.kernel.memory(pid, CODE, 1), [TEXT[0]]);
    world.over();
}
