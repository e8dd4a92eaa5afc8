//! M1: slots of breakpoints that are gone are used again, by no thread's leave but its own.

use trapline_core::{EventFlags, ForkKind, Pid, StopReason};
use trapline_fake::{LinuxRules, Rules};

use crate::common::*;
use crate::m1_software::{CODE, with_code};

both![
    the_slots_of_removed_breakpoints_are_used_again,
    slots_of_code_that_has_changed_are_used_again,
    a_slot_that_a_thread_is_in_is_kept,
    a_new_thread_that_sleeps_keeps_no_slot,
];

/// Instructions, each of which needs a slot: many times as many as there is room for at once.
const FIELD: u64 = 0x8000;
const LENGTH: u64 = 400;
/// How many slots the model's kernel maps at a time.
const AREA: u64 = 16;
const CALL: u64 = CODE + 3;

fn with_field<R: Rules>() -> (World<R>, Pid) {
    let (world, pid) = with_code::<R>(EventFlags::PROCESS | EventFlags::THREAD);
    world.kernel.map(pid, FIELD, &[0x90; LENGTH as usize]);
    (world, pid)
}

/// Has the first thread step over a breakpoint that is gone afterwards.
fn passes<R: Rules>(world: &mut World<R>, pid: Pid, addr: u64) {
    let id = world.put(pid, addr);
    let main = world.main(pid);
    world.kernel.jump(main, addr);
    let hit = world.hits(id, addr);
    world.step(hit);
    let stop = world.stop();
    assert_eq!(world.tracer().registers(&stop).unwrap().pc, addr + 1);
    assert!(world.tracer().remove_breakpoint(pid, id).unwrap());
    world.go(stop);
    world.run_all();
}

/// How many times memory for slots was mapped.
fn areas<R: Rules>(world: &World<R>, pid: Pid) -> usize {
    let mapped =
        |number: &u64| !world.kernel.memory(pid, 0x4000_0000 + number * 0x1000, 1).is_empty();
    (0..LENGTH).filter(mapped).count()
}

fn the_slots_of_removed_breakpoints_are_used_again<R: Rules>() {
    let (mut world, pid) = with_field::<R>();
    (0..LENGTH).for_each(|at| passes(&mut world, pid, FIELD + at));
    assert_eq!(areas(&world, pid), 1);
    assert!((0..LENGTH).all(|at| world.kernel.executed(pid, FIELD + at) > 0));
}

/// As of a compiler at run time that writes its code anew again and again.
fn slots_of_code_that_has_changed_are_used_again<R: Rules>() {
    let (mut world, pid) = with_code::<R>(EventFlags::PROCESS);
    let main = world.main(pid);
    for round in 0..LENGTH as u8 / 2 {
        world.kernel.remap(pid, CODE, &[0x90, round, 0x90, 0xf4]);
        let id = world.put(pid, CODE);
        world.kernel.jump(main, CODE);
        let hit = world.hits(id, CODE);
        world.go(hit);
        world.run_all();
    }
    assert_eq!(areas(&world, pid), 1);
}

fn a_slot_that_a_thread_is_in_is_kept<R: Rules>() {
    let (mut world, pid) = with_field::<R>();
    let other = world.new_thread(pid);
    let id = world.put(pid, CALL);
    world.kernel.jump(other, CALL);
    let hit = world.hits(id, CALL);
    world.go(hit);
    assert!(world.kernel.is_in_call(other));
    assert!(world.tracer().remove_breakpoint(pid, id).unwrap());
    (0..3 * AREA).for_each(|at| passes(&mut world, pid, FIELD + at));
    assert_eq!(areas(&world, pid), 1);
    assert!(world.kernel.is_in_call(other));
    world.kernel.finish_call(other);
    assert_eq!(world.run_all(), [] as [&str; 0]);
    // Once it has left it, it is used again.
    world.kernel.jump(other, FIELD);
    (0..3 * AREA).for_each(|at| passes(&mut world, pid, FIELD + at));
    assert_eq!(areas(&world, pid), 1);
}

/// Threads that are made and then sleep do not keep slots from being used again.
fn a_new_thread_that_sleeps_keeps_no_slot<R: Rules>() {
    let (mut world, pid) = with_field::<R>();
    passes(&mut world, pid, FIELD);
    for at in 0..3 * AREA {
        world.new_thread(pid);
        passes(&mut world, pid, FIELD + at);
    }
    assert_eq!(areas(&world, pid), 1);
}

/// The child's memory is a copy from before the slot was written, though it is told of later.
#[test]
fn a_child_that_was_made_before_a_slot_was_written_gets_its_own() {
    let (mut world, pid) = with_field::<LinuxRules>();
    let (main, other) = (world.main(pid), world.new_thread(pid));
    passes(&mut world, pid, FIELD); // so that there is memory for slots
    let id = world.put(pid, FIELD + 1);
    world.kernel.jump(main, FIELD + 1);
    let hit = world.hits(id, FIELD + 1);
    let child = world.kernel.fork(other, ForkKind::Fork);
    world.go(hit);
    let fork = world.forked();
    world.go(fork);
    world.kernel.jump(world.main(child), FIELD + 1);
    let hit = world.stop();
    assert!(matches!(hit.reason(), StopReason::Trap(_)), "{hit:?}");
    world.step(hit);
    let stop = world.stop();
    assert_eq!(world.tracer().registers(&stop).unwrap().pc, FIELD + 2);
    world.go(stop);
    assert_eq!(world.kernel.executed(child, FIELD + 1), 1);
}
