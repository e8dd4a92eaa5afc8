//! F2 and M1: while a vfork child that was let go has the memory, and breakpoints are out of it for its
//! sake, its parent's other threads wait.

use trapline_core::backend::StopScope;
use trapline_core::{EventFlags, FollowFork, ForkKind, Pid, Signal, StopReason, Tid};
use trapline_fake::{LinuxRules, Rules};

use crate::common::*;
use crate::m1_software::{CODE, software, with_code};

both![
    the_others_wait_and_miss_none,
    they_run_where_there_is_none_to_miss,
    they_run_once_there_is_none_to_miss,
    one_that_is_inserted_meanwhile_is_not_missed,
    a_signal_waits_with_them,
    the_parent_can_be_let_go_meanwhile,
    the_parent_can_be_killed_meanwhile,
    nobody_waits_for_a_thread_that_is_on_its_way_out,
];

/// A process with two threads, one of which has made a vfork child that is not traced.
fn with_loan<R: Rules>(breakpoint: bool) -> (World<R>, Pid, Tid, Pid) {
    let (mut world, pid) = with_code::<R>(EventFlags::PROCESS);
    let other = world.new_thread(pid);
    if breakpoint {
        world.put(pid, CODE);
    }
    world.tracer().set_follow_fork(FollowFork::Parent);
    let maker = world.main(pid);
    let child = world.forks(maker, ForkKind::Vfork);
    assert_eq!(world.run_all(), [] as [&str; 0]);
    assert_eq!(world.kernel.memory(child, CODE, 1), [0x90], "it would die of it");
    (world, pid, other, child)
}

fn the_others_wait_and_miss_none<R: Rules>() {
    for execs in [true, false] {
        let (mut world, pid, other, child) = with_loan::<R>(true);
        assert!(!world.kernel.acts(other), "it would miss the breakpoint");
        match execs {
            true => world.kernel.exec(world.main(child), "program"),
            false => world.kernel.exit(world.main(child), 0),
        }
        assert_eq!(world.run_all(), [] as [&str; 0]);
        assert_eq!(world.kernel.memory(pid, CODE, 1), [0xcc]);
        world.idle();
        world.kernel.jump(other, CODE);
        let stop = world.stop();
        assert!(stop.tid() == other && software(&stop).is_some(), "{stop:?}");
        world.go(stop);
        world.idle();
    }
}

fn they_run_where_there_is_none_to_miss<R: Rules>() {
    let (mut world, _, other, _) = with_loan::<R>(false);
    assert!(world.kernel.acts(other));
    world.idle();
}

fn they_run_once_there_is_none_to_miss<R: Rules>() {
    let (mut world, pid, other, child) = with_loan::<R>(true);
    let ids: Vec<_> = world.tracer().breakpoints(pid).unwrap().map(|(id, _)| id).collect();
    for id in ids {
        assert!(world.tracer().remove_breakpoint(pid, id).unwrap());
    }
    assert_eq!(world.run_all(), [] as [&str; 0]);
    // A process that runs as a whole does not stop before, and so none of its threads can be freed.
    assert_eq!(world.kernel.acts(other), R::RULES.scope == StopScope::Thread);
    world.kernel.exit(world.main(child), 0);
    world.run_all();
    assert!(world.kernel.acts(other));
    world.idle();
}

#[test]
fn one_that_the_user_runs_waits_and_makes_its_step_then() {
    let (mut world, pid, other, child) = with_loan::<LinuxRules>(true);
    world.tracer().interrupt(pid).unwrap();
    let stop = world.stop_for(StopReason::Interrupted);
    assert_eq!(stop.tid(), other);
    world.step(stop);
    assert_eq!(world.run_all(), [] as [&str; 0]);
    assert!(!world.kernel.acts(other));
    world.kernel.exit(world.main(child), 0);
    assert_eq!(world.run_all().len(), 1);
    assert!(world.kernel.acts(other));
    world.idle();
}

fn one_that_is_inserted_meanwhile_is_not_missed<R: Rules>() {
    let (mut world, pid, other, child) = with_loan::<R>(false);
    world.put(pid, CODE);
    assert_eq!(world.run_all(), [] as [&str; 0]);
    assert!(!world.kernel.acts(other), "it would miss the breakpoint");
    world.kernel.exit(world.main(child), 0);
    world.run_all();
    assert!(world.kernel.acts(other));
    world.kernel.jump(other, CODE);
    let stop = world.stop();
    assert!(software(&stop).is_some(), "{stop:?}");
    world.go(stop);
    world.idle();
}

fn a_signal_waits_with_them<R: Rules>() {
    let (mut world, pid, other, child) = with_loan::<R>(true);
    world.kernel.signal_thread(other, Signal::USR1);
    let told = world.run_all();
    assert!(told.len() <= 1, "{told:?}");
    world.kernel.exit(world.main(child), 0);
    let told = told.len() + world.run_all().len();
    assert_eq!(told, 1);
    assert_eq!(world.kernel.delivered(pid, Signal::USR1), 1);
    world.idle();
}

fn the_parent_can_be_let_go_meanwhile<R: Rules>() {
    let (mut world, pid, other, child) = with_loan::<R>(true);
    world.tracer().detach_process(pid).unwrap();
    world.kernel.exit(world.main(child), 0);
    assert_eq!(world.run_all(), [] as [&str; 0]);
    assert!(!world.kernel.is_traced(pid));
    assert!(world.kernel.acts(other));
    assert_eq!(world.kernel.memory(pid, CODE, 1), [0x90]);
}

fn the_parent_can_be_killed_meanwhile<R: Rules>() {
    let (mut world, pid, _, child) = with_loan::<R>(true);
    world.kernel.kill(pid);
    world.kernel.exit(world.main(child), 0);
    assert_eq!(world.exited(), (pid, KILLED));
    world.over();
}

// The thread that waits in vfork ends with its process, and never says that the child has the memory no
// more. So the one that ends the process must not wait for that.
fn nobody_waits_for_a_thread_that_is_on_its_way_out<R: Rules>() {
    let (mut world, pid) = with_code::<R>(EventFlags::PROCESS);
    let other = world.new_thread(pid);
    world.put(pid, CODE);
    world.tracer().set_follow_fork(FollowFork::Parent);
    let child = world.kernel.fork(world.main(pid), ForkKind::Vfork);
    world.kernel.exit(other, 3);
    world.run_all();
    assert!(!world.kernel.is_traced(child), "it was let go");
    assert!(world.kernel.threads(pid).is_empty(), "and the process has ended");
    world.kernel.exit(world.main(child), 0);
    world.over();
}
