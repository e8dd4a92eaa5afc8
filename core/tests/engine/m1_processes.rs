//! M1, F2 and F3: breakpoints in memory, and processes that come, go and are detached.

use trapline_core::backend::StopScope;
use trapline_core::{
    Error, EventFlags, FollowFork, ForkKind, ForkSide, Pid, Resume, Signal, SoftwareBreakpoint,
    StopReason,
};
use trapline_fake::Rules;

use crate::common::*;
use crate::m1_software::{CODE, software, with_code};

both![
    a_forks_child_has_them_under_the_same_ids,
    a_copy_from_before_an_insertion_or_a_removal,
    a_child_let_go_has_none,
    a_parent_let_go_has_none,
    a_vfork_child_passes_its_parents_in_silence,
    a_vfork_child_let_go_meets_none_and_the_parent_has_them_again,
    what_a_vfork_child_inserts_goes_with_it,
    what_a_vfork_child_inserts_after_its_exec_stays,
    an_exec_forgets_them,
    let_go_with_hits_on_their_way,
    let_go_at_a_breakpoint,
    the_child_of_a_fork_that_nobody_was_told_of,
    a_vfork_child_killed_as_it_passes,
    dropped_in_the_middle,
    a_step_that_an_interrupt_comes_before,
];

/// The same, with one side of forks detached.
fn following<R: Rules>(follow: FollowFork) -> (World<R>, Pid) {
    let (mut world, pid) = with_code::<R>(EventFlags::PROCESS);
    world.tracer().set_follow_fork(follow);
    (world, pid)
}

fn byte<R: Rules>(world: &World<R>, pid: Pid) -> u8 {
    world.kernel.memory(pid, CODE, 1)[0]
}

fn a_forks_child_has_them_under_the_same_ids<R: Rules>() {
    let (mut world, pid) = with_code::<R>(EventFlags::PROCESS);
    let id = world.put(pid, CODE);
    let child = world.kernel.fork(world.main(pid), ForkKind::Fork);
    let fork = world.forked();
    let listed: Vec<_> = world.tracer().breakpoints(child).unwrap().collect();
    assert_eq!(listed.len(), 1);
    assert!(world.tracer().remove_breakpoint(pid, id).unwrap());
    assert_eq!((byte(&world, pid), byte(&world, child)), (0x90, 0xcc));
    world.go(fork);
    world.kernel.jump(world.main(child), CODE);
    let stop = world.hits(id, CODE);
    assert_eq!(stop.pid(), child);
    world.go(stop);
    world.idle();
    assert_eq!(world.kernel.executed(child, CODE), 1);
}

fn a_copy_from_before_an_insertion_or_a_removal<R: Rules>() {
    let (mut world, pid) = with_code::<R>(EventFlags::PROCESS);
    let main = world.main(pid);
    let gone = world.put(pid, CODE);
    // The fork is under way, and not reported, while one is removed and another one inserted.
    let child = world.kernel.fork(main, ForkKind::Fork);
    world.kernel.hold(main);
    world.kernel.hold(world.main(child));
    let other = world.kernel.threads(pid);
    assert_eq!(other, [main]);
    world.kernel.release(main);
    world.kernel.release(world.main(child));
    let fork = world.forked();
    world.tracer().remove_breakpoint(pid, gone).unwrap();
    let new = world.put(pid, CODE + 1);
    assert_eq!(world.kernel.memory(child, CODE, 2), [0xcc, 0x90]);
    assert!(!world.tracer().remove_breakpoint(child, new).unwrap());
    world.go(fork);
    world.idle();
}

fn a_child_let_go_has_none<R: Rules>() {
    let (mut world, pid) = following::<R>(FollowFork::Parent);
    world.put(pid, CODE);
    let child = world.kernel.fork(world.main(pid), ForkKind::Fork);
    let fork = world.forked();
    assert!(matches!(fork.child, ForkSide::Detached));
    assert_eq!((byte(&world, pid), byte(&world, child)), (0xcc, 0x90));
    world.go(fork);
    world.kernel.jump(world.main(child), CODE);
    assert_eq!(world.kernel.fate(child), None);
    assert_eq!(world.kernel.executed(child, CODE), 1);
    world.idle();
}

fn a_parent_let_go_has_none<R: Rules>() {
    let (mut world, pid) = following::<R>(FollowFork::Child);
    let id = world.put(pid, CODE);
    let child = world.kernel.fork(world.main(pid), ForkKind::Fork);
    let fork = world.forked();
    assert_eq!((byte(&world, pid), byte(&world, child)), (0x90, 0xcc));
    world.go(fork);
    world.kernel.jump(world.main(pid), CODE);
    world.kernel.jump(world.main(child), CODE);
    let stop = world.hits(id, CODE);
    assert_eq!(stop.pid(), child);
    world.go(stop);
    world.idle();
}

fn a_vfork_child_passes_its_parents_in_silence<R: Rules>() {
    let (mut world, pid) = with_code::<R>(EventFlags::PROCESS | EventFlags::VFORK_DONE);
    let id = world.put(pid, CODE);
    let child = world.kernel.fork(world.main(pid), ForkKind::Vfork);
    let fork = world.forked();
    assert_eq!(world.tracer().breakpoints(child).unwrap().count(), 0);
    world.go(fork);
    world.kernel.jump(world.main(child), CODE);
    world.idle();
    assert_eq!(world.kernel.executed(child, CODE), 1);
    assert_eq!(byte(&world, pid), 0xcc);
    world.kernel.exit(world.main(child), 0);
    assert_eq!(world.run_all().len(), 2);
    world.kernel.jump(world.main(pid), CODE);
    let stop = world.hits(id, CODE);
    world.go(stop);
    world.idle();
}

fn a_vfork_child_let_go_meets_none_and_the_parent_has_them_again<R: Rules>() {
    let (mut world, pid) = following::<R>(FollowFork::Parent);
    let other = world.new_thread(pid);
    let id = world.put(pid, CODE);
    let child = world.kernel.fork(world.main(pid), ForkKind::Vfork);
    let fork = world.forked();
    assert!(matches!(fork.child, ForkSide::Detached));
    world.go(fork);
    assert_eq!(byte(&world, pid), 0x90);
    world.kernel.jump(world.main(child), CODE);
    assert_eq!(world.kernel.fate(child), None);
    // One that is inserted meanwhile waits as well, where the process can be stopped for it.
    let late = world.tracer().insert_breakpoint(pid, SoftwareBreakpoint { addr: CODE + 1 });
    assert_eq!(world.kernel.memory(pid, CODE, 2), [0x90, 0x90]);
    world.kernel.exec(world.main(child), "other");
    world.run_all();
    let late = match late {
        Err(Error::NotStopped { .. }) if R::RULES.scope == StopScope::Process => {
            world.put(pid, CODE + 1)
        }
        late => late.unwrap(),
    };
    assert_eq!(world.kernel.memory(pid, CODE, 2), [0xcc, 0xcc]);
    world.kernel.jump(other, CODE);
    let stop = world.hits(id, CODE);
    world.go(stop);
    let stop = world.hits(late, CODE + 1);
    world.go(stop);
    world.idle();
}

fn what_a_vfork_child_inserts_goes_with_it<R: Rules>() {
    for exits in [false, true] {
        let (mut world, pid) = with_code::<R>(EventFlags::PROCESS);
        let child = world.kernel.fork(world.main(pid), ForkKind::Vfork);
        let fork = world.forked();
        let id = world.put(child, CODE);
        world.go(fork);
        assert_eq!(byte(&world, pid), 0xcc, "they share it");
        world.kernel.jump(world.main(child), CODE);
        let stop = world.hits(id, CODE);
        assert_eq!(stop.pid(), child);
        world.go(stop);
        world.idle();
        world.kernel.finish_call(world.main(child));
        if exits {
            world.kernel.exit(world.main(child), 0);
        } else {
            world.kernel.exec(world.main(child), "other");
        }
        world.run_all();
        assert_eq!(byte(&world, pid), 0x90);
        world.kernel.jump(world.main(pid), CODE);
        world.idle();
        assert_eq!(world.kernel.executed(pid, CODE), 1);
    }
}

fn what_a_vfork_child_inserts_after_its_exec_stays<R: Rules>() {
    let (mut world, pid) = with_code::<R>(EventFlags::PROCESS);
    world.put(pid, CODE);
    let main = world.main(pid);
    let child = world.kernel.fork(main, ForkKind::Vfork);
    let fork = world.forked();
    world.go(fork);
    // The exec is reported before the end of the parent's wait.
    world.kernel.hold(main);
    world.kernel.exec(world.main(child), "other");
    world.kernel.map(child, CODE, &[0x90]);
    let stop = world.stop_for(StopReason::Execed { former_tid: None });
    let id = world.put(child, CODE);
    world.kernel.release(main);
    world.go(stop);
    world.run_all();
    assert_eq!(world.tracer().breakpoints(child).unwrap().count(), 1);
    world.kernel.jump(world.main(child), CODE);
    let stop = world.hits(id, CODE);
    assert_eq!(stop.pid(), child);
    world.go(stop);
    world.idle();
}

fn an_exec_forgets_them<R: Rules>() {
    let (mut world, pid) = with_code::<R>(EventFlags::PROCESS);
    let id = world.put(pid, CODE);
    world.kernel.exec(world.main(pid), "other");
    world.kernel.map(pid, CODE, &[0x90]);
    let stop = world.stop_for(StopReason::Execed { former_tid: None });
    assert_eq!(world.tracer().breakpoints(pid).unwrap().count(), 0);
    assert!(!world.tracer().remove_breakpoint(pid, id).unwrap());
    world.go(stop);
    world.kernel.jump(world.main(pid), CODE);
    world.idle();
}

fn let_go_with_hits_on_their_way<R: Rules>() {
    for stopped in [false, true] {
        let (mut world, pid) = with_code::<R>(EventFlags::PROCESS);
        let others = [world.new_thread(pid), world.new_thread(pid), world.new_thread(pid)];
        world.put(pid, CODE);
        for tid in others {
            world.kernel.run_into(tid, CODE);
        }
        if stopped {
            world.kernel.signal_thread(world.main(pid), Signal::USR1);
            let stop = world.stop();
            world.tracer().detach(stop).unwrap();
        } else {
            world.tracer().detach_process(pid).unwrap();
        }
        assert!(!world.kernel.is_traced(pid));
        assert_eq!(world.kernel.memory(pid, CODE, 3), [0x90; 3]);
        assert_eq!(world.kernel.fate(pid), None, "nobody was killed");
        assert_eq!(world.kernel.executed(pid, CODE), 3);
        let usr1 = usize::from(stopped && !world.kernel.deliveries().is_empty());
        assert_eq!(world.kernel.delivered(pid, Signal::TRAP), 0);
        assert_eq!(world.kernel.delivered(pid, Signal::USR1), usr1);
        world.over();
    }
}

fn let_go_at_a_breakpoint<R: Rules>() {
    let (mut world, pid) = with_code::<R>(EventFlags::PROCESS);
    let id = world.put(pid, CODE);
    world.kernel.jump(world.main(pid), CODE);
    let stop = world.hits(id, CODE);
    world.tracer().detach(stop).unwrap();
    assert_eq!(world.kernel.executed(pid, CODE), 1);
    assert_eq!(world.kernel.fate(pid), None);
    world.over();
}

fn the_child_of_a_fork_that_nobody_was_told_of<R: Rules>() {
    let (mut world, pid) = with_code::<R>(EventFlags::PROCESS);
    let other = world.new_thread(pid);
    world.put(pid, CODE);
    let child = world.kernel.fork(other, ForkKind::Fork);
    world.tracer().detach_process(pid).unwrap();
    assert!(!world.kernel.is_traced(pid) && !world.kernel.is_traced(child));
    assert_eq!((byte(&world, pid), byte(&world, child)), (0x90, 0x90));
    world.kernel.jump(world.main(child), CODE);
    assert_eq!(world.kernel.fate(child), None);
    world.over();
}

fn a_vfork_child_killed_as_it_passes<R: Rules>() {
    for at in 1..20 {
        let (mut world, pid) = with_code::<R>(EventFlags::PROCESS);
        let id = world.put(pid, CODE);
        let child = world.kernel.fork(world.main(pid), ForkKind::Vfork);
        let fork = world.forked();
        world.go(fork);
        world.kernel.run_into(world.main(child), CODE);
        let begun = world.tracer().requests();
        world.kernel.before_requests(move |kernel, call| {
            if call.number == begun + at {
                kernel.kill(child);
            }
        });
        world.run_all();
        if world.kernel.fate(child).is_none() && world.kernel.processes().contains(&child) {
            world.kernel.kill(child);
            world.run_all();
        }
        assert_eq!(byte(&world, pid), 0xcc, "request {at}");
        world.kernel.jump(world.main(pid), CODE);
        let stop = world.hits(id, CODE);
        world.go(stop);
        world.idle();
    }
}

fn dropped_in_the_middle<R: Rules>() {
    let (mut world, pid) = with_code::<R>(EventFlags::PROCESS);
    let other = world.new_thread(pid);
    let id = world.put(pid, CODE);
    world.kernel.run_into(other, CODE);
    world.kernel.jump(world.main(pid), CODE);
    let stop = world.stop();
    assert_eq!(software(&stop), Some(id));
    drop(stop);
    world.drop_tracer();
    assert_eq!(world.kernel.fate(pid), None);
    assert_eq!(byte(&world, pid), 0x90);
    assert_eq!(world.kernel.executed(pid, CODE), 2);
}

fn a_step_that_an_interrupt_comes_before<R: Rules>() {
    let (mut world, pid) = with_code::<R>(EventFlags::PROCESS);
    let other = world.new_thread(pid);
    let id = world.put(pid, CODE);
    world.kernel.jump(other, CODE);
    let stop = world.hits(id, CODE);
    world.tracer().resume(stop, Resume::Step).unwrap();
    let stop = world.stop();
    assert_eq!(software(&stop), None);
    world.go(stop);
    world.idle();
}
