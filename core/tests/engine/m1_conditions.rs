//! M1: breakpoints that are not for every arrival, and many at once.

use std::cell::Cell;
use std::rc::Rc;

use trapline_core::{
    BreakpointHit, Error, EventFlags, ForkKind, HardwareBreakpoint, HardwareKind,
    SoftwareBreakpoint,
};
use trapline_fake::{FakeRegisters, Rules};

use crate::common::*;
use crate::m1_software::{CODE, with_code};

both![
    a_breakpoint_of_one_thread_is_passed_by_the_others,
    arrivals_are_passed_over_and_counted,
    one_for_one_arrival_is_removed_as_it_is_given,
    a_condition_sees_registers_and_memory,
    the_child_of_a_fork_has_it_too,
    a_conditional_one_is_the_only_one_there,
    many_are_inserted_and_removed_at_once,
    the_hit_of_a_removed_one_is_not_given,
    the_hit_of_one_that_is_there_again_is_its,
];

fn a_breakpoint_of_one_thread_is_passed_by_the_others<R: Rules>() {
    let (mut world, pid) = with_code::<R>(EventFlags::PROCESS);
    let (main, other) = (world.main(pid), world.new_thread(pid));
    let breakpoint = SoftwareBreakpoint::at(CODE).thread(other);
    let id = world.tracer().insert_breakpoint(pid, breakpoint).unwrap();
    world.kernel.jump(main, CODE);
    assert_eq!(world.run_all(), [] as [&str; 0]);
    assert_eq!(world.kernel.executed(pid, CODE), 1);
    world.kernel.jump(other, CODE);
    let hit = world.hits(id, CODE);
    assert_eq!(hit.tid(), other);
    world.go(hit);
}

fn arrivals_are_passed_over_and_counted<R: Rules>() {
    let (mut world, pid) = with_code::<R>(EventFlags::PROCESS);
    let main = world.main(pid);
    let id = world.tracer().insert_breakpoint(pid, SoftwareBreakpoint::at(CODE).ignore(2)).unwrap();
    for _ in 0..2 {
        world.kernel.jump(main, CODE);
        assert_eq!(world.run_all(), [] as [&str; 0]);
    }
    for _ in 0..2 {
        world.kernel.jump(main, CODE);
        let hit = world.hits(id, CODE);
        world.go(hit);
    }
    assert_eq!(world.kernel.executed(pid, CODE), 4);
}

fn one_for_one_arrival_is_removed_as_it_is_given<R: Rules>() {
    let (mut world, pid) = with_code::<R>(EventFlags::PROCESS);
    let (main, other) = (world.main(pid), world.new_thread(pid));
    let id = world.tracer().insert_breakpoint(pid, SoftwareBreakpoint::at(CODE).once()).unwrap();
    world.kernel.jump(main, CODE);
    world.kernel.run_into(other, CODE);
    let hit = world.hits(id, CODE);
    assert_eq!(world.kernel.memory(pid, CODE, 1), [0x90]);
    assert_eq!(world.tracer().breakpoints(pid).unwrap().count(), 0);
    world.go(hit);
    assert_eq!(world.run_all(), [] as [&str; 0], "the other one came as well");
    assert_eq!(world.kernel.executed(pid, CODE), 2);
    world.kernel.jump(main, CODE);
    assert_eq!(world.run_all(), [] as [&str; 0]);
}

fn a_condition_sees_registers_and_memory<R: Rules>() {
    let (mut world, pid) = with_code::<R>(EventFlags::PROCESS);
    let main = world.main(pid);
    let asked = Rc::new(Cell::new(0));
    let count = Rc::clone(&asked);
    let breakpoint =
        SoftwareBreakpoint::at(CODE).when(move |at: &BreakpointHit<'_, FakeRegisters>| {
            count.set(count.get() + 1);
            let mut code = [0; 2];
            assert_eq!(at.read_memory(CODE, &mut code).unwrap(), 2);
            assert_eq!((code, at.pid(), at.tid()), ([0x90, 0x90], pid, main));
            at.registers().pc == CODE && count.get() > 1
        });
    let id = world.tracer().insert_breakpoint(pid, breakpoint).unwrap();
    world.kernel.jump(main, CODE);
    assert_eq!(world.run_all(), [] as [&str; 0]);
    let before = world.tracer().requests();
    world.kernel.jump(main, CODE);
    let hit = world.hits(id, CODE);
    world.go(hit);
    assert_eq!(asked.get(), 2);
    // Nothing but what was asked for.
    let asked = u64::from(!R::RULES.tells_ids);
    assert_eq!(world.tracer().requests() - before, 5 + asked);
}

fn the_child_of_a_fork_has_it_too<R: Rules>() {
    let (mut world, pid) = with_code::<R>(EventFlags::PROCESS);
    let main = world.main(pid);
    let id = world.tracer().insert_breakpoint(pid, SoftwareBreakpoint::at(CODE).once()).unwrap();
    let child = world.forks(main, ForkKind::Fork);
    world.kernel.jump(main, CODE);
    let hit = world.hits(id, CODE);
    world.go(hit);
    let first = world.main(child);
    world.kernel.jump(first, CODE);
    let hit = world.hits(id, CODE);
    assert_eq!(hit.pid(), child);
    world.go(hit);
    world.kernel.jump(first, CODE);
    assert_eq!(world.run_all(), [] as [&str; 0]);
}

fn a_conditional_one_is_the_only_one_there<R: Rules>() {
    let (mut world, pid) = with_code::<R>(EventFlags::PROCESS);
    let id = world.tracer().insert_breakpoint(pid, SoftwareBreakpoint::at(CODE).ignore(1)).unwrap();
    let refused = world.tracer().insert_breakpoint(pid, SoftwareBreakpoint::at(CODE));
    assert!(matches!(refused, Err(Error::BadBreakpoint { .. })), "{refused:?}");
    assert!(world.tracer().remove_breakpoint(pid, id).unwrap());
    world.put(pid, CODE);
    let refused = world.tracer().insert_breakpoint(pid, SoftwareBreakpoint::at(CODE).once());
    assert!(matches!(refused, Err(Error::BadBreakpoint { .. })), "{refused:?}");
}

fn many_are_inserted_and_removed_at_once<R: Rules>() {
    let (mut world, pid) = with_code::<R>(EventFlags::PROCESS);
    let main = world.main(pid);
    world.kernel.map(pid, 0x8000, &[0x90; 100]);
    let known = world.put(pid, 0x8005);
    // One is there already, one is asked for twice, one cannot be.
    let places: Vec<u64> = (0x8000..0x8032).chain([0x8001, 0x9000]).rev().collect();
    let before = world.tracer().requests();
    let breakpoints = places.iter().map(|&addr| SoftwareBreakpoint::at(addr));
    let inserted = world.tracer().insert_breakpoints(pid, breakpoints).unwrap();
    // Brought to rest, and run on; read, read again and written at once.
    assert!(world.tracer().requests() - before <= 12);
    assert_eq!(inserted.len(), places.len());
    assert!(matches!(inserted[0], Err(Error::BadAddress { addr: 0x9000, .. })), "{inserted:?}");
    assert_eq!(
        world.kernel.memory(pid, 0x8000, 0x33)[..],
        [[0xcc; 0x32].as_slice(), &[0x90]].concat()
    );
    let ids: Vec<_> = inserted.into_iter().flatten().collect();
    assert_eq!(ids[0], ids[49], "the same place");
    assert!(ids.contains(&known));
    world.kernel.jump(main, 0x8031);
    let hit = world.hits(ids[1], 0x8031);
    world.go(hit);
    let removed = world.tracer().remove_breakpoints(pid, ids).unwrap();
    assert!(removed.iter().all(|&removed| removed));
    // Two were asked for twice.
    let left: Vec<_> = world.tracer().breakpoints(pid).unwrap().map(|(id, _)| id).collect();
    assert_eq!(left, [known]);
    assert_eq!(world.kernel.memory(pid, 0x8000, 0x32).iter().filter(|&&b| b == 0xcc).count(), 1);
    assert_eq!(world.tracer().remove_breakpoints(pid, [known, known]).unwrap(), [true, false]);
}

fn the_hit_of_a_removed_one_is_not_given<R: Rules>() {
    let (mut world, pid) = with_code::<R>(EventFlags::PROCESS);
    let main = world.main(pid);
    let others = [world.new_thread(pid), world.new_thread(pid)];
    let id = world.put(pid, CODE);
    world.kernel.jump(main, CODE);
    for other in others {
        world.kernel.run_into(other, CODE);
    }
    let hit = world.hits(id, CODE);
    let halted = world.tracer().halt(hit).unwrap();
    assert!(world.tracer().remove_breakpoint(pid, id).unwrap());
    world.tracer().resume_halted(halted, |_| trapline_core::Next::Continue).unwrap();
    assert_eq!(world.run_all(), [] as [&str; 0]);
    assert_eq!(world.kernel.executed(pid, CODE), 3);
}

fn the_hit_of_one_that_is_there_again_is_its<R: Rules>() {
    let (mut world, pid) = with_code::<R>(EventFlags::PROCESS);
    let (main, other) = (world.main(pid), world.new_thread(pid));
    let id = world.put(pid, CODE);
    world.kernel.jump(main, CODE);
    world.kernel.run_into(other, CODE);
    let hit = world.hits(id, CODE);
    let halted = world.tracer().halt(hit).unwrap();
    assert!(world.tracer().remove_breakpoint(pid, id).unwrap());
    let again = world.put(pid, CODE);
    world.tracer().resume_halted(halted, |_| trapline_core::Next::Continue).unwrap();
    let hit = world.hits(again, CODE);
    assert_eq!(hit.tid(), other);
    world.go(hit);
    assert_eq!(world.run_all(), [] as [&str; 0]);
}

#[test]
fn hardware_breakpoints_are_inserted_as_before() {
    let (mut world, pid) = with_code::<trapline_fake::LinuxRules>(EventFlags::PROCESS);
    let watch = HardwareBreakpoint { addr: CODE, len: 1, kind: HardwareKind::Write };
    assert!(world.tracer().insert_breakpoint(pid, watch).is_ok());
}
