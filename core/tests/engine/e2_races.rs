//! E2, where several things happen at once: who made whom is found by the event message, or left
//! open; never guessed.

use std::time::Duration;

use trapline_core::{Event, EventFlags, ForkKind, ForkSide, Signal, StopReason};
use trapline_fake::{FreeBsdRules, LinuxRules, Rules};

use crate::common::*;

both![
    two_threads_fork_at_the_same_time,
    a_dead_parent_that_has_not_told_is_not_named,
    a_child_whose_parent_is_at_another_stop_waits_for_it,
    a_half_that_takes_its_time,
    a_number_that_is_used_again,
];

fn two_threads_fork_at_the_same_time<R: Rules>() {
    for (children_first, main_first) in [(false, false), (true, false), (true, true)] {
        let mut world = World::<R>::patient(EventFlags::PROCESS);
        let pid = world.attach();
        let (main, other) = (world.main(pid), world.new_thread(pid));
        let by_main = world.kernel.fork(main, ForkKind::Fork);
        let by_other = world.kernel.fork(other, ForkKind::Fork);
        if children_first {
            world.kernel.hold(main);
            world.kernel.hold(other);
            assert!(world.poll().is_none());
            // One parent after the other, in either order.
            world.kernel.release(if main_first { main } else { other });
        }
        let mut made = Vec::new();
        for _ in 0..2 {
            let fork = world.forked();
            made.push((fork.parent_tid.unwrap(), fork.child_pid));
            world.go(fork);
            world.kernel.release(if main_first { other } else { main });
        }
        made.sort();
        assert_eq!(made, [(main, by_main), (other, by_other)]);
        world.idle();
    }
}

fn a_dead_parent_that_has_not_told_is_not_named<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
    let child = world.kernel.fork(world.main(pid), ForkKind::Fork);
    world.kernel.hold(world.main(pid));
    world.kernel.kill(pid);
    world.kernel.release(world.main(pid));
    if !R::RULES.kills_stopped {
        return; // the stop is reported all the same
    }
    let fork = world.forked();
    assert_eq!((fork.parent_pid, fork.child_pid), (None, child));
    assert!(matches!(fork.parent, ForkSide::Gone));
    world.go(fork);
    assert_eq!(world.exited(), (pid, KILLED));
    assert_eq!(
        world.tracer().process_info(child).unwrap().real_parent,
        world.kernel.real_parent(child)
    );
    world.idle();
}

fn a_child_whose_parent_is_at_another_stop_waits_for_it<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
    let (main, other) = (world.main(pid), world.new_thread(pid));
    world.kernel.signal_thread(main, Signal::USR1);
    let child = world.kernel.fork(other, ForkKind::Fork);
    let stop = world.stop_for(StopReason::Signal(Signal::USR1));
    let whole = R::RULES.scope == trapline_core::backend::StopScope::Process;
    if whole {
        // However long the user looks at it: the fork is reported when the process runs on.
        assert!(world.poll().is_none());
        assert!(world.poll().is_none());
        world.go(stop);
    } else {
        world.go(stop);
    }
    let fork = world.forked();
    assert_eq!((fork.parent_tid, fork.child_pid), (Some(other), child));
    assert!(matches!(fork.parent, ForkSide::Stopped(_)));
    world.go(fork);
    world.idle();
}

fn a_half_that_takes_its_time<R: Rules>() {
    for child_ends in [false, true] {
        let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
        let main = world.main(pid);
        world.kernel.hold(main);
        let child = world.kernel.fork(main, ForkKind::Fork);
        // All patience is spent: the child is shown without its parent, which lives.
        let fork = world.forked();
        assert_eq!((fork.parent_pid, fork.child_pid), (Some(pid), child));
        assert!(matches!(fork.parent, ForkSide::Detached));
        world.go(fork);
        if child_ends {
            world.kernel.exit(world.main(child), 0);
            assert_eq!(world.exited().0, child);
        }
        // The parent's half says nothing new, and does not keep it stopped.
        world.kernel.release(main);
        world.idle();
        assert!(world.kernel.acts(main));
        world.kernel.fork(main, ForkKind::Fork);
        let next = world.forked();
        assert!(matches!(next.parent, ForkSide::Stopped(_)));
        world.go(next);
        world.idle();
    }
}

fn a_number_that_is_used_again<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
    let main = world.main(pid);
    let first = world.kernel.fork(main, ForkKind::Fork);
    let fork = world.forked();
    let (ForkSide::Stopped(parent), ForkSide::Stopped(token)) = (fork.parent, fork.child) else {
        panic!("both halves are there");
    };
    world.go(parent);
    // The user still has the token of the first one when the kernel makes a second.
    world.kernel.kill(first);
    if !R::RULES.kills_stopped {
        world.go(token);
        assert_eq!(world.exited(), (first, KILLED));
        assert!(world.kernel.reuse(first.as_raw()));
        assert_eq!(world.kernel.fork(main, ForkKind::Fork), first);
        let fork = world.forked();
        assert_eq!(fork.child_pid, first);
        world.go(fork);
        world.idle();
        return;
    }
    assert!(world.poll().is_none(), "the end waits for the token");
    assert!(world.kernel.reuse(first.as_raw()));
    assert_eq!(world.kernel.fork(main, ForkKind::Fork), first);
    let fork = world.forked();
    assert_eq!(fork.child_pid, first);
    // The old token acts on nobody.
    assert!(world.tracer().registers(&token).unwrap_err().is_gone());
    world.go(token);
    assert_eq!(world.exited(), (first, KILLED));
    let ForkSide::Stopped(second) = &fork.child else { panic!("{fork:?}") };
    world.tracer().registers(second).unwrap();
    world.go(fork);
    world.idle();
    world.kernel.exit(world.main(first), 4);
    assert_eq!(world.exited().0, first);
}

#[test]
fn two_dead_parents_are_not_told_apart() {
    let mut world = World::<LinuxRules>::new(EventFlags::PROCESS);
    let (one, two) = (world.attach(), world.attach());
    let child = world.kernel.fork(world.main(one), ForkKind::Fork);
    world.kernel.hold(world.main(child));
    world.kernel.kill(one);
    world.kernel.kill(two);
    // The children of dead parents are init's, so nothing tells whose it was.
    assert_eq!(world.exited().1, KILLED);
    assert_eq!(world.exited().1, KILLED);
    world.kernel.release(world.main(child));
    let fork = world.forked();
    assert_eq!((fork.parent_pid, fork.parent_tid, fork.child_pid), (None, None, child));
    assert!(matches!(fork.parent, ForkSide::Gone));
    world.go(fork);
    world.idle();
}

#[test]
fn a_sibling_is_its_makers() {
    let (mut world, pid) = World::<LinuxRules>::with_process(EventFlags::PROCESS);
    let maker = world.main(pid);
    let child = world.forks(maker, ForkKind::Fork);
    for sibling_first in [false, true] {
        let maker = world.main(child);
        let sibling = world.kernel.fork_sibling(maker);
        if sibling_first {
            world.kernel.hold(maker);
            world.kernel.when_idle(move |kernel| kernel.release(maker));
        }
        let fork = world.forked();
        assert_eq!((fork.parent_pid, fork.child_pid), (Some(child), sibling));
        assert_eq!(fork.kind, ForkKind::Clone);
        world.go(fork);
        // F4: the one who made it is not its parent.
        assert_eq!(world.tracer().process_info(sibling).unwrap().real_parent, Some(pid));
        assert!(world.tracer().process_info(pid).unwrap().children.contains(&sibling));
    }
    world.idle();
}

#[test]
fn a_sibling_whose_maker_was_killed() {
    let mut world = World::<LinuxRules>::new(EventFlags::PROCESS);
    let pid = world.attach();
    let main = world.main(pid);
    let maker = world.forks(main, ForkKind::Fork);
    let sibling = world.kernel.fork_sibling(world.main(maker));
    world.kernel.kill(maker);
    // Its parent lives, and did not make it: PPid is no proof.
    let fork = world.forked();
    assert_eq!((fork.parent_pid, fork.child_pid), (None, sibling));
    world.go(fork);
    assert_eq!(world.exited(), (maker, KILLED));
    world.idle();
}

#[test]
fn others_that_never_rest_do_not_starve_a_child() {
    let mut world = World::<LinuxRules>::new(EventFlags::PROCESS);
    let (pid, busy) = (world.attach(), world.attach());
    let child = world.kernel.fork(world.main(pid), ForkKind::Fork);
    world.kernel.kill(pid);
    let noisy = world.main(busy);
    world.kernel.signal_thread(noisy, Signal::USR1);
    for turn in 0.. {
        assert!(turn < 5000, "the child is never shown");
        let event = world.next();
        let forked = matches!(&event, Event::Forked(fork) if fork.child_pid == child);
        world.go(event);
        if forked {
            break;
        }
        // There is always something to report.
        if world.kernel.acts(noisy) {
            world.kernel.signal_thread(noisy, Signal::USR1);
        }
    }
}

// A maker that sleeps, computes or has stopped since would have said so.
#[test]
fn the_living_who_are_silent_for_another_reason() {
    for reason in ["sleeps", "computes", "stops"] {
        let patience = Duration::from_millis(5);
        let mut world = World::<LinuxRules>::built(|builder| builder.half_patience(patience));
        // Both have the same parent, so the second may have made a sibling.
        let (pid, other) = (world.attach(), world.attach());
        let child = world.kernel.fork(world.main(pid), ForkKind::Fork);
        world.kernel.kill(pid);
        let main = world.main(other);
        let mut ends = Vec::new();
        match reason {
            "computes" => world.kernel.keep_busy(main),
            "stops" => {
                world.kernel.keep_busy(main);
                world.kernel.hold(main);
                assert_eq!(world.exited(), (pid, KILLED));
                ends.push((pid, KILLED));
                assert!(world.poll().is_none());
                world.kernel.signal_thread(main, Signal::USR1);
                world.kernel.release(main);
                let stop = world.stop_for(StopReason::Signal(Signal::USR1));
                world.go(stop);
            }
            _ => {}
        }
        // Nobody is named, so the end of the one that was its maker may come first.
        let mut forks = Vec::new();
        while forks.is_empty() || ends.is_empty() {
            match world.next() {
                Event::Exited { pid, status, .. } => ends.push((pid, status)),
                Event::Forked(fork) => {
                    forks.push((fork.parent_pid, fork.child_pid));
                    world.go(fork);
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!((ends, forks), (vec![(pid, KILLED)], vec![(None, child)]), "{reason}");
        world.idle();
    }
}

// An end waits for the children that may be its own, not for ever for those that others make.
#[test]
fn an_end_is_not_withheld_by_those_who_fork_later() {
    let mut world = World::<LinuxRules>::patient(EventFlags::PROCESS);
    let [pid, one, other] = [(); 3].map(|()| world.attach());
    let mut makers = [one, other].map(|maker| world.main(maker));
    let fork = |world: &mut World<LinuxRules>, maker| {
        world.kernel.fork(maker, ForkKind::Fork);
        world.kernel.hold(maker);
        world.poll()
    };
    assert!(fork(&mut world, makers[0]).is_none());
    world.kernel.kill(pid);
    // There is always one child whose maker is silent.
    for turn in 0.. {
        assert!(turn < 200, "it is withheld");
        makers.reverse();
        let mut event = fork(&mut world, makers[0]);
        world.kernel.release(makers[1]);
        let mut ended = false;
        while let Some(told) = event.take().or_else(|| world.poll()) {
            ended |= matches!(told, Event::Exited { pid: ended, .. } if ended == pid);
            world.go(told);
        }
        if ended {
            break;
        }
    }
    world.kernel.release(makers[0]);
    let fork = world.forked();
    world.go(fork);
    world.idle();
}

/// A signal can be seen before the first stop of a new process.
#[test]
fn an_early_signal_is_kept() {
    let mut world = World::<LinuxRules>::patient(EventFlags::PROCESS);
    let pid = world.attach();
    let child = world.kernel.fork(world.main(pid), ForkKind::Fork);
    world.kernel.signal_first(world.main(child), Signal::USR1);
    let fork = world.forked();
    let ForkSide::Stopped(new) = &fork.child else { panic!("{fork:?}") };
    assert_eq!((new.reason(), new.signal()), (StopReason::Started, None));
    world.go(fork);
    let stop = world.stop_for(StopReason::Signal(Signal::USR1));
    assert_eq!(stop.pid(), child);
    world.go(stop);
    assert_eq!(world.kernel.delivered(child, Signal::USR1), 1);
    world.idle();
}

#[test]
fn the_number_of_a_child_that_was_shown_early() {
    // It was shown without its maker, who was killed; so nothing is left to be taken for old news.
    let mut world = World::<LinuxRules>::new(EventFlags::PROCESS);
    let pid = world.attach();
    let maker = world.main(pid);
    let other = world.forks(maker, ForkKind::Fork);
    let main = world.main(pid);
    world.kernel.hold(main);
    let sibling = world.kernel.fork_sibling(main);
    let fork = world.forked();
    assert_eq!(fork.child_pid, sibling);
    world.go(fork);
    world.kernel.kill(pid);
    world.kernel.release(main);
    world.run_all();
    world.kernel.exit(world.main(sibling), 0);
    assert_eq!(world.exited().0, sibling);
    // Its number is another one's, whose maker has the same parent by now.
    assert!(world.kernel.reuse(sibling.as_raw()));
    let maker = world.main(other);
    let child = world.kernel.fork(maker, ForkKind::Fork);
    assert_eq!(child, sibling);
    let new = world.main(child);
    world.kernel.hold(new);
    assert!(world.poll().is_none());
    world.kernel.release(new);
    let fork = world.forked();
    assert_eq!((fork.parent_pid, fork.child_pid), (Some(other), child));
    assert!(matches!(fork.parent, ForkSide::Stopped(_)), "{fork:?}");
    world.go(fork);
    world.idle();
}

#[test]
fn who_has_said_something_else_did_not_make_an_early_child() {
    // Two processes may have made a sibling that was shown early; the one that did is killed, and
    // the other one's next child has the sibling's number.
    let mut world = World::<LinuxRules>::new(EventFlags::PROCESS);
    let (pid, other) = (world.attach(), world.attach());
    let main = world.main(pid);
    world.kernel.hold(main);
    let sibling = world.kernel.fork_sibling(main);
    let fork = world.forked();
    assert_eq!(fork.child_pid, sibling);
    world.go(fork);
    world.kernel.kill(pid);
    world.kernel.release(main);
    world.run_all();
    world.kernel.exit(world.main(sibling), 0);
    assert_eq!(world.exited().0, sibling);
    let maker = world.main(other);
    world.kernel.signal_thread(maker, Signal::USR1);
    world.run_all();
    assert!(world.kernel.reuse(sibling.as_raw()));
    let child = world.kernel.fork(maker, ForkKind::Fork);
    assert_eq!(child, sibling);
    let new = world.main(child);
    world.kernel.hold(new);
    assert!(world.poll().is_none());
    world.kernel.release(new);
    let fork = world.forked();
    assert_eq!((fork.parent_pid, fork.child_pid), (Some(other), child));
    assert!(matches!(fork.parent, ForkSide::Stopped(_)), "{fork:?}");
    world.go(fork);
    world.idle();
}

/// On a busy machine a child can have ended, and been waited for, long before its maker says that
/// it has made it.
#[test]
fn e2_the_news_of_a_child_that_has_ended_comes_late() {
    let (mut world, pid) = World::<LinuxRules>::with_process(EventFlags::PROCESS);
    let main = world.main(pid);
    let child = world.kernel.fork(main, ForkKind::Fork);
    world.kernel.hold(main);
    world.kernel.kill(child);
    // Nobody waits for its maker any more, and it is alive.
    for _ in 0..5 {
        assert!(world.poll().is_none());
    }
    world.kernel.release(main);
    let fork = world.forked();
    assert_eq!((fork.parent_pid, fork.child_pid), (Some(pid), child));
    assert!(matches!(fork.child, ForkSide::Gone), "{fork:?}");
    world.go(fork);
    assert_eq!(world.exited(), (child, KILLED));
    world.kernel.exit(main, 0);
    assert_eq!(world.exited(), (pid, trapline_core::ExitStatus::Code(0)));
    world.over();
}

/// A thread that nobody has heard of makes a child, which is shown and ends before that is told.
#[test]
fn e2_a_fork_of_a_thread_that_was_born_without_a_word() {
    let (mut world, pid) = World::<FreeBsdRules>::with_process(EventFlags::PROCESS);
    let (main, bystander) = (world.main(pid), world.attach());
    let unknown = world.kernel.thread(main);
    world.kernel.hold(unknown);
    let child = world.kernel.fork(unknown, ForkKind::Fork);
    for _ in 0..2 {
        world.kernel.signal_thread(main, Signal::USR1);
        let stop = world.stop_for(StopReason::Signal(Signal::USR1));
        assert!(world.poll().is_none(), "its parent is stopped, and may tell");
        world.go(stop);
    }
    world.kernel.exit(world.main(bystander), 0);
    let mut told = world.run_all();
    told.retain(|event| !event.starts_with(&bystander.to_string()));
    assert_eq!(told, [format!("{pid} fork {child}: detached, stopped")]);
    world.kernel.kill(child);
    assert_eq!(world.exited(), (child, KILLED));
    world.kernel.release(unknown);
    world.idle();
}
