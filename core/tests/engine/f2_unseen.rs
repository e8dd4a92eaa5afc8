//! F2 and F3: a process that shares its parent's memory for good is detached, and stays unseen as long
//! as its parent has breakpoints there.

use std::task::Poll;

use trapline_core::{Error, Event, EventFlags, FollowFork, ForkSide, Pid, Signal, StopReason};
use trapline_fake::Rules;

use crate::common::*;
use crate::m1_software::{CODE, software, with_code};

both![
    it_passes_its_parents_breakpoints_until_they_are_removed,
    it_is_let_go_at_its_exec,
    it_is_let_go_with_its_parent,
    its_end_is_not_told,
    its_signals_are_delivered,
    its_children_are_detached_too,
    no_wait_is_for_it,
    a_breakpoint_of_its_own_goes_with_it,
    it_outlives_the_tracer,
];

/// A process with a breakpoint, and a child that has its memory and was detached at its birth.
fn with_sharer<R: Rules>() -> (World<R>, Pid, Pid) {
    let (mut world, pid) = with_code::<R>(EventFlags::PROCESS);
    world.put(pid, CODE);
    world.tracer().set_follow_fork(FollowFork::Parent);
    let child = world.kernel.fork_sharing(world.main(pid));
    let fork = world.forked();
    assert!(matches!(fork.child, ForkSide::Detached), "{fork:?}");
    world.go(fork);
    world.idle();
    (world, pid, child)
}

fn code<R: Rules>(world: &World<R>, pid: Pid) -> u8 {
    world.kernel.memory(pid, CODE, 1)[0]
}

fn is_traced<R: Rules>(world: &World<R>, pid: Pid) -> bool {
    world.kernel.is_traced(pid)
}

fn it_passes_its_parents_breakpoints_until_they_are_removed<R: Rules>() {
    let (mut world, pid, child) = with_sharer::<R>();
    assert_eq!(world.tracer().processes().collect::<Vec<_>>(), [pid]);
    assert!(matches!(world.tracer().interrupt(child), Err(Error::Gone { .. })));
    assert_eq!(code(&world, pid), 0xcc);
    let first = world.main(child);
    world.kernel.jump(first, CODE);
    assert_eq!(world.run_all(), [] as [&str; 0]);
    assert_eq!(world.kernel.executed(child, CODE), 1);
    world.kernel.jump(world.main(pid), CODE);
    let stop = world.stop();
    let id = software(&stop).expect("a hit");
    assert_eq!(stop.pid(), pid);
    assert!(is_traced(&world, child));
    world.tracer().remove_breakpoint(pid, id).unwrap();
    world.go(stop);
    world.idle();
    assert!(!is_traced(&world, child));
    assert_eq!(code(&world, pid), 0x90);
    world.kernel.jump(first, CODE);
    world.idle();
    assert_eq!(world.kernel.executed(child, CODE), 2);
}

fn it_is_let_go_at_its_exec<R: Rules>() {
    let (mut world, pid, child) = with_sharer::<R>();
    world.kernel.exec(world.main(child), "program");
    assert_eq!(world.run_all(), [] as [&str; 0]);
    assert!(!is_traced(&world, child));
    assert_eq!(code(&world, pid), 0xcc);
    world.idle();
}

fn it_is_let_go_with_its_parent<R: Rules>() {
    let (mut world, pid, child) = with_sharer::<R>();
    world.tracer().detach_process(pid).unwrap();
    assert_eq!(world.run_all(), [] as [&str; 0]);
    assert!(world.tracer().is_empty());
    assert!(!is_traced(&world, child));
    assert_eq!(code(&world, pid), 0x90);
    world.idle();
}

fn its_end_is_not_told<R: Rules>() {
    let (mut world, pid, child) = with_sharer::<R>();
    world.kernel.exit(world.main(child), 3);
    assert_eq!(world.run_all(), [] as [&str; 0]);
    assert_eq!(code(&world, pid), 0xcc);
    world.kernel.exit(world.main(pid), 0);
    assert_eq!(world.exited().0, pid);
    world.over();
}

fn its_signals_are_delivered<R: Rules>() {
    let (mut world, _, child) = with_sharer::<R>();
    world.kernel.signal(child, Signal::USR1);
    assert_eq!(world.run_all(), [] as [&str; 0]);
    world.idle();
}

fn its_children_are_detached_too<R: Rules>() {
    let (mut world, pid, child) = with_sharer::<R>();
    world.tracer().set_follow_fork(FollowFork::Both);
    let first = world.main(child);
    let copy = world.kernel.fork(first, trapline_core::ForkKind::Fork);
    assert_eq!(world.run_all(), [] as [&str; 0]);
    assert!(!is_traced(&world, copy));
    assert_eq!(code(&world, copy), 0x90);
    let sharer = world.kernel.fork_sharing(first);
    assert_eq!(world.run_all(), [] as [&str; 0]);
    assert!(is_traced(&world, sharer), "it would die of a breakpoint");
    assert_eq!(world.tracer().processes().collect::<Vec<_>>(), [pid]);
    world.tracer().detach_process(pid).unwrap();
    world.idle();
    assert!(!is_traced(&world, child) && !is_traced(&world, sharer));
}

fn no_wait_is_for_it<R: Rules>() {
    let (mut world, pid, child) = with_sharer::<R>();
    world.kernel.jump(world.main(pid), CODE);
    let stop = world.stop();
    assert!(world.kernel.acts(world.main(child)));
    let waited = world.tracer().wait();
    assert!(matches!(waited, Err(Error::NotRunning { pid: of }) if of == pid), "{waited:?}");
    // The tokens of the parent are no obstacle to what the child does.
    world.kernel.jump(world.main(child), CODE);
    assert!(matches!(world.tracer().try_wait(), Ok(Poll::Pending)));
    assert_eq!(world.kernel.executed(child, CODE), 1);
    world.go(stop);
    world.idle();
}

fn a_breakpoint_of_its_own_goes_with_it<R: Rules>() {
    let (mut world, pid) = with_code::<R>(EventFlags::PROCESS);
    world.put(pid, CODE);
    let child = world.kernel.fork_sharing(world.main(pid));
    let fork = world.forked();
    world.put(child, CODE + 1);
    assert_eq!(world.kernel.memory(pid, CODE, 2), [0xcc, 0xcc]);
    world.go(fork);
    world.idle();
    world.kernel.jump(world.main(child), CODE + 1);
    let stop = world.stop();
    assert!(stop.pid() == child && software(&stop).is_some(), "{stop:?}");
    world.tracer().detach(Event::Stopped(stop)).unwrap();
    assert_eq!(world.run_all(), [] as [&str; 0]);
    assert_eq!(world.kernel.memory(pid, CODE, 2), [0xcc, 0x90]);
    assert_eq!(world.kernel.executed(child, CODE + 1), 1);
    assert!(is_traced(&world, child));
    world.idle();
}

fn it_outlives_the_tracer<R: Rules>() {
    let (mut world, pid, child) = with_sharer::<R>();
    world.kernel.jump(world.main(pid), CODE);
    let stop = world.stop();
    assert!(matches!(stop.reason(), StopReason::Trap(_)));
    drop(stop);
    world.drop_tracer();
    assert!(!is_traced(&world, child) && !is_traced(&world, pid));
    assert_eq!(code(&world, child), 0x90);
}
