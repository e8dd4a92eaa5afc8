//! F2 and M1: breakpoints in memory that processes share, by a vfork. The explorer has found these.

use trapline_core::{
    Error, EventFlags, FollowFork, ForkKind, ForkSide, Forked, Pid, Signal, SoftwareBreakpoint,
    StopReason, Stopped, Tid,
};
use trapline_fake::{FreeBsdRules, LinuxRules, Rules};

use crate::common::*;
use crate::m1_software::{CODE, with_code};

both![
    a_child_that_is_reported_half_has_what_is_inserted_then,
    two_children_of_one_process_share_its_memory,
    none_is_inserted_into_memory_of_a_parent_that_was_let_go,
    one_that_is_inserted_while_a_child_that_was_let_go_has_the_memory_waits,
];

impl<R: Rules> World<R> {
    /// The instruction at [`CODE`] as it is in a process's memory.
    fn code(&self, pid: Pid) -> u8 {
        self.kernel.memory(pid, CODE, 1)[0]
    }

    /// Has a thread stop for a signal.
    fn stopped(&mut self, tid: Tid) -> Stopped {
        self.kernel.signal_thread(tid, Signal::USR1);
        self.stop_for(StopReason::Signal(Signal::USR1))
    }
}

/// Both halves of a fork, stopped.
fn halves(fork: Forked) -> (Stopped, Stopped) {
    match (fork.parent, fork.child) {
        (ForkSide::Stopped(parent), ForkSide::Stopped(child)) => (parent, child),
        other => panic!("not both: {other:?}"),
    }
}

fn a_child_that_is_reported_half_has_what_is_inserted_then<R: Rules>() {
    let (mut world, pid) = with_code::<R>(EventFlags::PROCESS);
    let other = world.new_thread(pid);
    let child = world.kernel.fork(world.main(pid), ForkKind::Vfork);
    let first = world.main(child);
    world.kernel.hold(first);
    assert!(world.poll().is_none());
    if R::RULES.scope == trapline_core::backend::StopScope::Thread {
        let stop = world.stopped(other);
        world.put(pid, CODE);
        world.go(stop);
    } else {
        world.put(pid, CODE);
    }
    world.kernel.release(first);
    let fork = world.forked();
    world.go(fork);
    world.kernel.jump(first, CODE);
    assert_eq!(world.run_all(), [] as [&str; 0], "it is not the child's");
    assert_eq!(world.kernel.executed(child, CODE), 1);
    world.kernel.kill(child);
    world.run_all();
}

fn two_children_of_one_process_share_its_memory<R: Rules>() {
    let (mut world, pid) = with_code::<R>(EventFlags::PROCESS);
    let (main, other) = (world.main(pid), world.new_thread(pid));
    let first = world.forks(main, ForkKind::Vfork);
    let second = world.forks(other, ForkKind::Vfork);
    let first_main = world.main(first);
    let stop = world.stopped(first_main);
    world.put(first, CODE);
    world.go(stop);
    world.kernel.jump(world.main(second), CODE);
    assert_eq!(world.run_all(), [] as [&str; 0], "it is not this one's");
    assert_eq!(world.kernel.executed(second, CODE), 1);
    for child in [first, second] {
        world.kernel.kill(child);
    }
    world.run_all();
    assert_eq!(world.code(pid), 0x90);
}

fn none_is_inserted_into_memory_of_a_parent_that_was_let_go<R: Rules>() {
    let (mut world, pid) = with_code::<R>(EventFlags::PROCESS);
    world.tracer().set_follow_fork(FollowFork::Child);
    world.kernel.fork(world.main(pid), ForkKind::Vfork);
    let fork = world.forked();
    let child = fork.child_pid;
    let refused = world.tracer().insert_breakpoint(child, SoftwareBreakpoint { addr: CODE });
    assert!(matches!(refused, Err(Error::Unsupported { .. })), "{refused:?}");
    assert_eq!(world.code(pid), 0x90);
    world.go(fork);
    // It has its own from then on.
    world.kernel.map_programs(CODE, &[0x90, 0xf4]);
    world.kernel.exec(world.main(child), "program");
    let stop = world.stop();
    world.put(child, CODE);
    assert_eq!((world.code(pid), world.code(child)), (0x90, 0xcc));
    world.go(stop);
    world.run_all();
}

fn one_that_is_inserted_while_a_child_that_was_let_go_has_the_memory_waits<R: Rules>() {
    let (mut world, pid) = with_code::<R>(EventFlags::PROCESS);
    let other = world.new_thread(pid);
    world.tracer().set_follow_fork(FollowFork::Parent);
    let maker = world.main(pid);
    let child = world.forks(maker, ForkKind::Vfork);
    let stop = world.stopped(other);
    world.put(pid, CODE);
    assert_eq!(world.code(pid), 0x90, "the child would run into it");
    world.go(stop);
    world.kernel.exit(world.main(child), 0);
    world.run_all();
    assert_eq!(world.code(pid), 0xcc);
}

#[test]
fn what_a_dead_maker_has_left_is_taken_out() {
    let (mut world, pid) = with_code::<LinuxRules>(EventFlags::PROCESS);
    let main = world.main(pid);
    world.put(pid, CODE);
    let child = world.forks(main, ForkKind::Vfork);
    world.kernel.kill(pid);
    world.run_all();
    assert_eq!(world.code(child), 0x90);
    world.kernel.kill(child);
    world.run_all();
}

#[test]
fn what_an_exec_of_another_thread_has_left_is_taken_out() {
    let (mut world, pid) = with_code::<FreeBsdRules>(EventFlags::PROCESS);
    let (main, other) = (world.main(pid), world.new_thread(pid));
    world.put(pid, CODE);
    let child = world.kernel.fork(main, ForkKind::Vfork);
    world.kernel.exec(other, "program"); // before the maker begins to wait
    world.run_all();
    assert_eq!(world.code(child), 0x90);
}

#[test]
fn the_end_of_a_vfork_is_not_that_of_a_later_one() {
    let (mut world, pid) = with_code::<FreeBsdRules>(EventFlags::PROCESS);
    let (main, other) = (world.main(pid), world.new_thread(pid));
    let child = world.forks(main, ForkKind::Vfork);
    // The end of the child is heard of before its maker's word, and its number is free.
    world.kernel.hold(main);
    world.kernel.exit(world.main(child), 0);
    world.exited();
    assert!(world.kernel.reuse(child.as_raw()));
    let again = world.kernel.fork(other, ForkKind::Vfork);
    assert_eq!(again, child);
    let fork = world.forked();
    let id = world.put(child, CODE);
    world.go(fork);
    world.kernel.release(main);
    world.run_all();
    let has: Vec<_> = world.tracer().breakpoints(child).unwrap().map(|(id, _)| id).collect();
    assert_eq!(has, [id]);
    world.kernel.kill(child);
    world.run_all();
}

#[test]
fn a_hit_is_told_once_though_its_breakpoint_was_out_for_a_while() {
    let (mut world, pid) = with_code::<LinuxRules>(EventFlags::PROCESS);
    let (main, other) = (world.main(pid), world.new_thread(pid));
    let id = world.put(pid, CODE);
    world.kernel.jump(other, CODE);
    let hit = world.hits(id, CODE);
    world.tracer().set_follow_fork(FollowFork::Parent);
    let child = world.forks(main, ForkKind::Vfork);
    assert_eq!(world.code(pid), 0x90);
    // Resumed, and stopped again before it has executed anything.
    world.kernel.signal_thread(other, Signal::USR1);
    world.go(hit);
    assert!(world.poll().is_none());
    world.kernel.exit(world.main(child), 0);
    let mut stop = world.stop_for(StopReason::Signal(Signal::USR1));
    stop.set_signal(None).unwrap();
    assert_eq!(world.code(pid), 0xcc);
    world.go(stop);
    assert_eq!(world.run_all(), [] as [&str; 0]);
    assert_eq!(world.kernel.executed(pid, CODE), 1);
}

#[test]
fn a_child_keeps_its_own_though_its_maker_is_killed() {
    let (mut world, pid) = with_code::<LinuxRules>(EventFlags::PROCESS);
    let other = world.new_thread(pid);
    let main = world.main(pid);
    let child = world.forks(main, ForkKind::Vfork);
    let first = world.main(child);
    let stop = world.stopped(first);
    let id = world.put(child, CODE);
    world.go(stop);
    // A way to the memory, as far as the tracer knows.
    let way = world.stopped(other);
    world.kernel.jump(first, CODE);
    let hit = world.hits(id, CODE);
    world.kernel.set_slow_deaths(true);
    world.kernel.kill(pid);
    world.go(hit);
    assert_eq!(world.code(child), 0xcc);
    world.kernel.set_slow_deaths(false);
    world.go(way);
    world.kernel.kill(child);
    world.run_all();
}

#[test]
fn who_was_dead_when_it_was_let_go_is_in_nobodys_way() {
    let (mut world, pid) = with_code::<LinuxRules>(EventFlags::PROCESS);
    let child = world.kernel.fork(world.main(pid), ForkKind::Vfork);
    let (parent, started) = halves(world.forked());
    world.put(child, CODE);
    world.kernel.kill(pid);
    world.tracer().detach(parent).unwrap();
    assert_eq!(world.code(child), 0xcc);
    world.go(started);
    world.run_all();
    world.kernel.kill(child);
    world.run_all();
}

// Whether it has lost breakpoints is not asked of a parent that is dead.
#[test]
fn a_child_is_let_go_whose_parent_was_killed_in_its_stop() {
    let (mut world, pid) = with_code::<LinuxRules>(EventFlags::PROCESS);
    world.put(pid, CODE);
    let child = world.kernel.fork(world.main(pid), ForkKind::Fork);
    let (parent, started) = halves(world.forked());
    world.kernel.kill(pid);
    world.tracer().detach(started).unwrap();
    assert_ne!(world.code(child), 0xcc);
    world.go(parent);
    world.run_all();
}

#[test]
fn of_several_dead_processes_the_one_with_breakpoints_may_be_the_maker() {
    let (mut world, pid) = with_code::<LinuxRules>(EventFlags::empty());
    let without = world.attach();
    let id = world.put(pid, CODE);
    world.kernel.kill(without);
    world.run_all();
    let child = world.kernel.fork(world.main(pid), ForkKind::Fork);
    world.kernel.kill(pid);
    world.run_all();
    assert!(world.kernel.is_traced(child));
    let has: Vec<_> = world.tracer().breakpoints(child).unwrap().map(|(id, _)| id).collect();
    assert_eq!(has, [id]);
    world.tracer().detach_process(child).unwrap();
    assert_eq!(world.code(child), 0x90);
}

#[test]
fn a_child_whose_maker_is_silent_may_share_any_memory() {
    let (mut world, pid) = with_code::<LinuxRules>(EventFlags::PROCESS | EventFlags::EXIT);
    let other = world.new_thread(pid);
    let child = world.kernel.fork(world.main(pid), ForkKind::Vfork);
    world.kernel.kill(pid);
    let (mut exiting, mut fork) = (Vec::new(), None);
    while let Some(event) = world.poll() {
        match event {
            trapline_core::Event::Stopped(stop) => exiting.push(stop),
            trapline_core::Event::Forked(forked) => fork = Some(forked),
            other => panic!("{other:?}"),
        }
    }
    assert!(exiting.iter().any(|stop| stop.tid() == other));
    let theirs = world.put(child, CODE);
    let ours = world.put(pid, CODE);
    assert!(world.tracer().remove_breakpoint(child, theirs).unwrap());
    assert_eq!(world.code(pid), 0xcc);
    assert!(world.tracer().remove_breakpoint(pid, ours).unwrap());
    assert_eq!((world.code(pid), world.code(child)), (0x90, 0x90));
    world.go(fork.unwrap());
    exiting.into_iter().for_each(|stop| world.go(stop));
    world.kernel.kill(child);
    world.run_all();
}

#[test]
fn a_child_of_somebody_who_was_let_go_and_died_has_its_memory_alone() {
    let (mut world, pid) = with_code::<FreeBsdRules>(EventFlags::PROCESS);
    let other = world.new_thread(pid);
    let stranger = world.attach();
    world.tracer().set_follow_fork(FollowFork::Child);
    // May have been the maker of whoever is heard of now.
    world.kernel.kill(stranger);
    world.run_all();
    world.kernel.fork(world.main(pid), ForkKind::Fork);
    let child = world.kernel.fork(other, ForkKind::Vfork);
    // Killed, so that it does not outlive its being let go, and who has made the child is not told.
    world.kernel.kill(pid);
    let first = world.main(child);
    world.kernel.choose(move |all| all.iter().position(|report| report.tid == first).or(Some(0)));
    let fork = world.forked();
    assert!(matches!(fork.parent, ForkSide::Detached), "{fork:?}");
    world.go(fork);
    let fork = loop {
        match world.next() {
            trapline_core::Event::Forked(fork) => break fork,
            event => world.go(event),
        }
    };
    assert_eq!(fork.child_pid, child);
    // As long as somebody else has it there can be none; nobody has by now.
    world.put(child, CODE);
    let copy = world.kernel.processes().into_iter().find(|&pid| pid != child).expect("there");
    assert_eq!((world.code(child), world.code(copy)), (0xcc, 0x90));
    world.go(fork);
}

#[test]
fn a_child_is_heard_of_as_what_its_parent_has_left_is_taken_out() {
    let (mut world, pid) = with_code::<FreeBsdRules>(EventFlags::PROCESS);
    let other = world.new_thread(pid);
    world.put(pid, CODE);
    let first = world.kernel.fork(world.main(pid), ForkKind::Vfork);
    let second = world.kernel.fork(other, ForkKind::Vfork);
    let late = world.main(first);
    world.kernel.hold(late);
    world.kernel.hold(world.main(pid));
    let fork = world.forked();
    assert_eq!(fork.child_pid, second);
    world.kernel.kill(pid);
    world.go(fork);
    world.kernel.before_requests(move |kernel, call| {
        if call.name == "interrupt" {
            kernel.release(late);
        }
    });
    let told = world.run_all();
    let at = |what: &str| told.iter().position(|line| line.contains(what));
    let (fork, end) = (at(&format!("? vfork {first}")), at("killed by"));
    assert!(fork.is_some() && end.is_some(), "{told:?}");
}

#[test]
fn none_is_put_back_while_a_thread_is_led_past_it() {
    let (mut world, pid) = with_code::<LinuxRules>(EventFlags::PROCESS);
    let (main, other) = (world.main(pid), world.new_thread(pid));
    let id = world.put(pid, CODE);
    let child = world.forks(main, ForkKind::Vfork);
    // Interrupted, but it has come to the breakpoint before.
    world.kernel.jump(other, CODE);
    world.tracer().interrupt(pid).unwrap();
    let hit = world.hits(id, CODE);
    // As it is led past, the word that the vfork is over comes first, then the interrupt, and then
    // it is stepped once more.
    world.kernel.hold(main);
    world.kernel.exit(world.main(child), 0);
    world.kernel.before_requests(move |kernel, call| {
        if call.name == "resume" && call.id == other.as_raw() {
            kernel.release(main);
        }
    });
    world.kernel.choose(move |all| all.iter().position(|report| report.tid == main).or(Some(0)));
    world.go(hit);
    assert_eq!(world.run_all(), [format!("{child} exit status 0")]);
    assert_eq!((world.code(pid), world.kernel.executed(pid, CODE)), (0xcc, 1));
}

#[test]
fn a_child_that_comes_after_a_refused_insert_shares_the_memory() {
    let (mut world, pid) = with_code::<LinuxRules>(EventFlags::PROCESS);
    let other = world.new_thread(pid);
    let child = world.kernel.fork(world.main(pid), ForkKind::Vfork);
    let first = world.main(child);
    world.kernel.hold(first);
    let stop = world.stopped(other);
    let refused = world.tracer().insert_breakpoint(pid, SoftwareBreakpoint { addr: 0xdead_0000 });
    assert!(matches!(refused, Err(Error::BadAddress { .. })), "{refused:?}");
    world.kernel.release(first);
    let fork = world.forked();
    world.put(pid, CODE);
    world.go(stop);
    world.go(fork);
    world.kernel.jump(first, CODE);
    assert_eq!(world.run_all(), [] as [&str; 0], "it is not the child's");
    world.kernel.kill(child);
    world.run_all();
}

#[test]
fn what_was_let_go_may_have_left_others_that_share_the_memory() {
    let (mut world, pid) = with_code::<LinuxRules>(EventFlags::PROCESS);
    let other = world.new_thread(pid);
    let main = world.main(pid);
    let child = world.forks(main, ForkKind::Vfork);
    let stop = world.stopped(other);
    world.put(child, CODE);
    world.tracer().detach(stop).unwrap(); // its first thread waits
    let unseen = world.kernel.fork(other, ForkKind::Vfork);
    world.kernel.kill(pid);
    world.run_all();
    assert_eq!(world.code(unseen), 0x90);
    let refused = world.tracer().insert_breakpoint(child, SoftwareBreakpoint { addr: CODE + 1 });
    assert!(
        matches!(refused, Err(Error::Unsupported { .. } | Error::NotStopped { .. })),
        "{refused:?}"
    );
    assert_eq!(world.kernel.memory(unseen, CODE, 2), [0x90, 0x90]);
    for pid in [unseen, child] {
        world.kernel.kill(pid);
    }
    world.run_all();
}

#[test]
fn an_exec_as_a_thread_is_led_past_leaves_the_new_program_alone() {
    let (mut world, pid) = with_code::<FreeBsdRules>(EventFlags::PROCESS);
    world.kernel.map_programs(CODE, &[0x90, 0xf4]);
    let (other, third) = (world.new_thread(pid), world.new_thread(pid));
    let id = world.put(pid, CODE);
    world.kernel.jump(other, CODE);
    world.kernel.exec(third, "program"); // waits for the one that has trapped
    let hit = world.hits(id, CODE);
    world.go(hit);
    world.run_all();
    assert_eq!(world.code(pid), 0x90);
}
