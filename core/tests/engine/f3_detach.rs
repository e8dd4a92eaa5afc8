//! F3: a detached process runs on as if it had never been traced.

use trapline_core::{Event, EventFlags, ForkKind, ForkSide, Pid, Signal, StopReason};
use trapline_fake::{LinuxRules, Rules};

use crate::common::*;

both![
    with_the_signal_it_was_stopped_for,
    with_several_threads,
    with_signals_that_were_not_reported,
    with_signals_in_the_queue,
    while_it_runs,
    though_it_does_not_stop,
    with_a_token_out,
    at_any_stop,
    with_the_child_of_a_fork_that_was_not_reported,
    the_child_lives_on_without_its_parent,
    nothing_is_told_of_it_any_more,
    a_child_whose_fork_is_in_the_queue,
];

/// Nothing of ours is left in a process, and all its threads run.
fn is_free<R: Rules>(world: &World<R>, pid: Pid) {
    assert!(!world.kernel.is_traced(pid));
    for tid in world.kernel.threads(pid) {
        assert!(world.kernel.acts(tid), "{}", world.kernel.state(tid));
    }
}

fn with_the_signal_it_was_stopped_for<R: Rules>() {
    for pass_on in [true, false] {
        let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
        world.kernel.signal(pid, Signal::USR1);
        let mut stop = world.stop();
        if !pass_on {
            stop.set_signal(None).unwrap();
        }
        world.tracer().detach(stop).unwrap();
        is_free(&world, pid);
        assert_eq!(world.kernel.delivered(pid, Signal::USR1), usize::from(pass_on));
        world.over();
    }
}

fn with_several_threads<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
    let (two, _) = (world.new_thread(pid), world.new_thread(pid));
    world.kernel.signal_thread(two, Signal::USR1);
    let stop = world.stop();
    world.tracer().detach(stop).unwrap();
    is_free(&world, pid);
    assert_eq!(world.kernel.delivered(pid, Signal::USR1), 1);
    world.over();
}

fn with_signals_that_were_not_reported<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
    let (two, three) = (world.new_thread(pid), world.new_thread(pid));
    world.kernel.signal_thread(two, Signal::USR1);
    world.kernel.signal_thread(three, Signal::USR2);
    world.kernel.signal_thread(world.main(pid), Signal::TERM);
    let stop = world.stop();
    world.tracer().detach(stop).unwrap();
    is_free(&world, pid);
    for signal in [Signal::USR1, Signal::USR2, Signal::TERM] {
        assert_eq!(world.kernel.delivered(pid, signal), 1, "{signal}");
    }
    world.over();
}

fn with_signals_in_the_queue<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
    let two = world.new_thread(pid);
    world.kernel.signal_thread(world.main(pid), Signal::USR1);
    world.kernel.signal_thread(two, Signal::USR2);
    let stop = world.stop();
    let halted = world.tracer().halt(stop).unwrap();
    world.tracer().detach_halted(halted).unwrap();
    is_free(&world, pid);
    for signal in [Signal::USR1, Signal::USR2] {
        assert_eq!(world.kernel.delivered(pid, signal), 1, "{signal}");
    }
    world.over();
}

fn while_it_runs<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
    world.new_thread(pid);
    world.tracer().detach_process(pid).unwrap();
    is_free(&world, pid);
    assert!(world.kernel.deliveries().is_empty());
    world.over();
    world.tracer().detach_process(pid).unwrap();
}

// As one that the kernel has forgotten, though it says nothing of the kind.
fn though_it_does_not_stop<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
    let main = world.main(pid);
    world.kernel.hold(main);
    world.tracer().detach_process(pid).unwrap();
    assert!(world.kernel.is_traced(pid));
    world.kernel.release(main);
    world.over();
    is_free(&world, pid);
}

fn with_a_token_out<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
    world.tracer().interrupt(pid).unwrap();
    let stale = world.stop_for(StopReason::Interrupted);
    world.tracer().detach_process(pid).unwrap();
    is_free(&world, pid);
    assert!(world.tracer().registers(&stale).is_err());
    world.go(stale);
    world.over();
}

fn at_any_stop<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(THREADS | EventFlags::SYSCALL);
    world.kernel.exec(world.main(pid), "new");
    let stop = world.stop_for(StopReason::Execed { former_tid: None });
    world.tracer().detach(stop).unwrap();
    is_free(&world, pid);
    world.tracer().attach(pid).unwrap();
    let stop = world.stop_for(StopReason::Started);
    world.tracer().detach(stop).unwrap();
    is_free(&world, pid);
    world.tracer().attach(pid).unwrap();
    let stop = world.stop_for(StopReason::Started);
    world.step(stop);
    let stop = world.stop();
    world.tracer().detach(stop).unwrap();
    is_free(&world, pid);
    assert!(world.kernel.deliveries().is_empty(), "the trap was the tracer's");
    world.over();
}

fn with_the_child_of_a_fork_that_was_not_reported<R: Rules>() {
    for kind in [ForkKind::Fork, ForkKind::Clone] {
        for child_seen in [true, false] {
            let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
            let (main, two) = (world.main(pid), world.new_thread(pid));
            let child = world.kernel.fork(two, kind);
            let first = world.main(child);
            world.kernel.hold(two);
            if !child_seen {
                world.kernel.hold(first);
            }
            world.kernel.signal_thread(main, Signal::USR1);
            let stop = world.stop_for(StopReason::Signal(Signal::USR1));
            world.kernel.release(two);
            world.kernel.release(first);
            world.tracer().detach(stop).unwrap();
            is_free(&world, pid);
            is_free(&world, child);
            world.over();
        }
    }
}

fn the_child_lives_on_without_its_parent<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
    let child = world.kernel.fork(world.main(pid), ForkKind::Fork);
    let fork = world.forked();
    world.go(fork);
    world.tracer().detach_process(pid).unwrap();
    is_free(&world, pid);
    world.kernel.exit(world.main(child), 3);
    assert_eq!(world.exited().0, child);
    world.over();
}

#[test]
fn out_of_a_group_stop() {
    let (mut world, pid) = World::<LinuxRules>::with_process(EventFlags::PROCESS);
    let (main, two) = (world.main(pid), world.new_thread(pid));
    world.kernel.signal_thread(main, Signal::STOP);
    let stop = world.stop();
    world.go(stop);
    let first = world.stop_for(StopReason::GroupStop(Signal::STOP));
    let second = world.stop_for(StopReason::GroupStop(Signal::STOP));
    world.go(first);
    world.tracer().detach(second).unwrap();
    assert!(!world.kernel.is_traced(pid));
    assert!(!world.kernel.acts(main) && !world.kernel.acts(two), "job control has it still");
    world.kernel.signal(pid, Signal::CONT);
    is_free(&world, pid);
    world.over();
}

fn nothing_is_told_of_it_any_more<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(THREADS);
    let (one, _) = (world.new_thread(pid), world.new_thread(pid));
    world.kernel.exec(one, "other");
    // The ends of the other threads are in the queue, and the exec behind them.
    let end = world.next();
    assert!(matches!(end, Event::ThreadExited { .. }), "{end:?}");
    world.tracer().detach_process(pid).unwrap();
    world.over();
    assert!(!world.kernel.is_traced(pid));
}

fn a_child_whose_fork_is_in_the_queue<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
    let child = world.kernel.fork(world.main(pid), ForkKind::Fork);
    // Both halves come while another process is attached to.
    world.kernel.meanwhile(2);
    let other = world.kernel.start();
    world.tracer().attach(other).unwrap();
    assert!(world.tracer().processes().any(|known| known == child));
    world.tracer().detach_process(child).unwrap();
    let fork = world.forked();
    assert!(matches!(fork.child, ForkSide::Detached), "{fork:?}");
    world.go(fork);
    world.run_all();
    assert!(!world.kernel.is_traced(child) && world.kernel.acts(world.main(child)));
    world.idle();
}

/// An exec by another thread takes away the one that is detached, and the stop that is detached is
/// that of the exec.
#[test]
fn of_whom_another_thread_of_it_has_execed() {
    let (mut world, pid) = World::<LinuxRules>::with_process(EventFlags::PROCESS);
    let caller = world.new_thread(pid);
    world.kernel.signal_thread(world.main(pid), Signal::USR1);
    let stop = world.stop();
    world.kernel.exec(caller, "other");
    world.kernel.die(stop.tid());
    world.tracer().detach(stop).unwrap();
    is_free(&world, pid);
    assert!(world.tracer().is_empty());
    assert!(world.tracer().wait().unwrap().is_none());
    world.over();
}

#[test]
fn a_sibling_of_one_that_was_killed_is_not_let_go_with_their_parent() {
    // The parent was detached, and has made nothing since. Its child makes a sibling, and is killed
    // before it says so: who made that is left open, and it stays traced.
    let mut world = World::<LinuxRules>::new(EventFlags::PROCESS);
    let pid = world.attach();
    let child = world.kernel.fork(world.main(pid), ForkKind::Fork);
    let fork = world.forked();
    let ForkSide::Stopped(parent) = fork.parent else { panic!("{:?}", fork.parent) };
    world.go(fork.child.into_stopped().unwrap());
    world.tracer().detach(parent).unwrap();
    let maker = world.main(child);
    world.kernel.hold(maker);
    let sibling = world.kernel.fork_sibling(maker);
    assert_eq!(world.kernel.real_parent(sibling), Some(pid));
    world.kernel.kill(child);
    world.kernel.release(maker);
    let mut told = false;
    while let Some(event) = world.poll() {
        told |= matches!(&event, Event::Forked(fork) if fork.child_pid == sibling);
        world.go(event);
    }
    assert!(told && world.kernel.is_traced(sibling));
    world.idle();
}

/// What a thread reports that runs alone is more than what its process does, and a fork of it is asked
/// about with that.
#[test]
fn f3_at_a_fork_of_a_thread_that_reports_its_end() {
    let (mut world, pid) = World::<LinuxRules>::with_process(EventFlags::PROCESS);
    let (main, other) = (world.main(pid), world.new_thread(pid));
    world.kernel.signal_thread(other, Signal::USR1);
    let stop = world.stop_for(StopReason::Signal(Signal::USR1));
    world.kernel.signal_thread(main, Signal::USR1);
    let first = world.stop_for(StopReason::Signal(Signal::USR1));
    world.go(first); // alone, so that its end would be told
    let child = world.kernel.fork(main, ForkKind::Fork);
    world.tracer().detach(stop).unwrap();
    is_free(&world, pid);
    is_free(&world, child);
    assert_eq!(world.kernel.violations(), [] as [&str; 0]);
    world.over();
}

/// The thread that has made it does not tell, so that it is to be shown without it.
#[test]
fn f3_with_a_child_that_its_parent_has_not_told_of() {
    let (mut world, pid) = World::<LinuxRules>::with_process(EventFlags::PROCESS);
    let (main, other) = (world.main(pid), world.new_thread(pid));
    world.kernel.signal_thread(other, Signal::USR1);
    let stop = world.stop_for(StopReason::Signal(Signal::USR1));
    world.kernel.hold(main);
    let child = world.kernel.fork(main, ForkKind::Fork);
    let halted = world.tracer().halt(stop).unwrap();
    assert_eq!(halted.blocked, [main]);
    world.tracer().detach_halted(halted).unwrap();
    assert!(!world.kernel.is_traced(child));
    world.kernel.release(main);
    assert_eq!(world.run_all(), [] as [&str; 0]);
    is_free(&world, pid);
    is_free(&world, child);
    world.over();
}
