//! D4 and D5: what a trap is for, on the model.

use trapline_core::{EventFlags, HardwareKind, Signal, StopReason};
use trapline_fake::Rules;

use crate::common::*;

both![
    d4_stale_bits_never_show,
    d4_what_was_there_before_does_not_show,
    d4_a_step_and_a_hit_are_one_trap,
    d4_registers_that_are_not_enabled_do_not_count,
    d4_traps_that_are_not_ours_reach_the_program,
    d4_the_programs_step_over_a_write_of_the_same_value_reaches_it,
    d4_a_hit_of_what_was_removed_meanwhile_is_not_shown,
    d5_an_execute_breakpoint_stops_once_per_arrival,
    d5_who_moves_the_program_counter_hits_the_next_one,
];

const AT: u64 = 0x1000;

fn d4_stale_bits_never_show<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
    let main = world.main(pid);
    let low = world.watch(pid, AT, 8);
    let high = world.watch(pid, AT + 8, 8);
    assert!(world.kernel.store(main, AT, 8));
    world.hit(main, low);
    assert!(world.kernel.store(main, AT + 8, 8));
    world.hit(main, high);
    assert!(world.kernel.store(main, AT + 4, 8));
    let (stop, causes) = world.trap(main);
    assert_eq!(causes.hardware.iter().collect::<Vec<_>>(), [low, high]);
    world.step(stop);
    let (stop, causes) = world.trap(main);
    assert!(causes.single_step && causes.hardware.is_empty());
    world.go(stop);
    assert!(world.kernel.store(main, AT, 8));
    world.hit(main, low);
}

/// BS of a step that was done before anything was armed.
fn d4_what_was_there_before_does_not_show<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
    let main = world.main(pid);
    world.kernel.signal_thread(main, Signal::USR1);
    let mut stop = world.stop();
    stop.set_signal(None).unwrap();
    world.step(stop);
    let stop = world.stop();
    let id = world.watch(pid, AT, 8);
    world.go(stop);
    assert!(world.kernel.store(main, AT, 8));
    world.hit(main, id);
}

fn d4_a_step_and_a_hit_are_one_trap<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
    let main = world.main(pid);
    let id = world.watch(pid, AT, 8);
    world.kernel.signal_thread(main, Signal::USR1);
    let mut stop = world.stop();
    stop.set_signal(None).unwrap();
    world.kernel.store_when_stepped(main, AT, 8);
    world.step(stop);
    let (stop, causes) = world.trap(main);
    assert!(causes.single_step && causes.hardware.contains(id));
    world.go(stop);
    world.idle();
}

fn d4_registers_that_are_not_enabled_do_not_count<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
    let main = world.main(pid);
    let gone = world.watch(pid, AT, 8);
    let id = world.watch(pid, AT + 8, 8);
    assert!(world.kernel.store(main, AT, 8));
    world.hit(main, gone);
    world.tracer().remove_breakpoint(pid, gone).unwrap();
    // The CPU says of the disabled one that it matches, too.
    assert!(world.kernel.store(main, AT + 4, 8));
    world.hit(main, id);
    assert!(world.kernel.store(main, AT + 4, 8));
    world.hit(main, id);
    world.idle();
}

fn d4_traps_that_are_not_ours_reach_the_program<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
    let main = world.main(pid);
    let id = world.watch(pid, AT, 8);
    assert!(world.kernel.store(main, AT, 8));
    world.hit(main, id);
    world.kernel.signal_thread(main, Signal::TRAP);
    let stop = world.stop_for(StopReason::Signal(Signal::TRAP));
    world.go(stop);
    world.kernel.own_breakpoint(main);
    let stop = world.stop_for(StopReason::Signal(Signal::TRAP));
    world.go(stop);
    if R::RULES.hits_before {
        // Its programs cannot step themselves.
        return;
    }
    world.kernel.step_itself(main, None);
    let stop = world.stop_for(StopReason::Signal(Signal::TRAP));
    world.go(stop);
    assert_eq!(world.kernel.delivered(pid, Signal::TRAP), 3);
    // A trap of both is shown, and then delivered.
    world.kernel.step_itself(main, Some((AT, 8)));
    world.hit(main, id);
    assert_eq!(world.kernel.delivered(pid, Signal::TRAP), 4);
    world.idle();
}

fn d4_the_programs_step_over_a_write_of_the_same_value_reaches_it<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
    let main = world.main(pid);
    world.kernel.map(pid, AT, &[1; 8]);
    world.insert(pid, AT, 8, HardwareKind::Change);
    if R::RULES.hits_before {
        return;
    }
    world.kernel.step_itself(main, Some((AT, 8)));
    let stop = world.stop_for(StopReason::Signal(Signal::TRAP));
    world.go(stop);
    assert_eq!(world.kernel.delivered(pid, Signal::TRAP), 1);
}

fn d4_a_hit_of_what_was_removed_meanwhile_is_not_shown<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
    let (main, two) = (world.main(pid), world.new_thread(pid));
    for again in [false, true] {
        let id = world.watch(pid, AT, 8);
        let kept = world.watch(pid, AT + 64, 8);
        world.kernel.signal_thread(main, Signal::USR1);
        let mut stop = world.stop();
        stop.set_signal(None).unwrap();
        if R::RULES.scope == trapline_core::backend::StopScope::Thread {
            // Its trap is behind the interrupt that the removal takes.
            let kernel = world.kernel.clone();
            let mut done = false;
            world.kernel.before_requests(move |_, call| {
                if call.name == "interrupt" && !std::mem::replace(&mut done, true) {
                    kernel.store(two, AT, 8);
                    kernel.overtake(two);
                }
            });
            world.tracer().remove_breakpoint(pid, id).unwrap();
            world.kernel.before_requests(|_, _| {});
        } else {
            world.tracer().remove_breakpoint(pid, id).unwrap();
        }
        if again {
            // Its register means something else now.
            for i in 2..5 {
                world.watch(pid, AT + 8 * i, 8);
            }
        }
        world.go(stop);
        world.idle();
        assert!(world.kernel.acts(two) && world.kernel.acts(main));
        assert_eq!(world.kernel.delivered(pid, Signal::TRAP), 0);
        assert!(world.kernel.store(two, AT + 64, 8));
        world.hit(two, kept);
        let pid_ = pid;
        let ids: Vec<_> = world.tracer().breakpoints(pid_).unwrap().map(|(id, _)| id).collect();
        for id in ids {
            world.tracer().remove_breakpoint(pid, id).unwrap();
        }
    }
}

fn d5_an_execute_breakpoint_stops_once_per_arrival<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
    let main = world.main(pid);
    let id = world.insert(pid, AT, 1, HardwareKind::Execute);
    for _ in 0..3 {
        assert!(world.kernel.fetch(main, AT));
        world.hit(main, id);
        if R::RULES.hits_before {
            world.idle(); // until it is stepped over
        } else {
            assert!(!world.kernel.fetch(main, AT), "it is passed");
        }
    }
}

fn d5_who_moves_the_program_counter_hits_the_next_one<R: Rules>() {
    use trapline_core::Arch;
    let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
    let main = world.main(pid);
    let first = world.insert(pid, AT, 1, HardwareKind::Execute);
    let second = world.insert(pid, AT + 4, 1, HardwareKind::Execute);
    assert!(world.kernel.fetch(main, AT));
    let (stop, causes) = world.trap(main);
    assert!(causes.hardware.contains(first));
    let mut registers = world.tracer().registers(&stop).unwrap();
    assert_eq!(registers.resumes, !R::RULES.hits_before, "on both systems");
    R::Cpu::set_pc(&mut registers, AT + 4);
    world.tracer().set_registers(&stop, &registers).unwrap();
    world.go(stop);
    assert!(world.kernel.fetch(main, AT + 4));
    world.hit(main, second);
}
