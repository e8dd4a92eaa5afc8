//! W1: waits for one thread or process; the events of others keep their order.

use std::task::Poll;

use trapline_core::backend::StopScope;
use trapline_core::{Error, Event, EventFlags, ForkKind, Only, Resume, Signal, StopReason};
use trapline_fake::Rules;

use crate::common::*;

both![
    the_events_of_others_stay_in_their_order,
    a_fork_is_its_parents_and_its_childs,
    the_end_of_it_is_the_last,
    what_would_not_end_is_an_error,
    a_thread_beside_a_queued_stop_does_not_run,
    a_wait_for_all_that_nothing_would_end_is_an_error,
];

fn the_events_of_others_stay_in_their_order<R: Rules>() {
    let mut world = World::<R>::new(EventFlags::PROCESS);
    let pids = [(); 3].map(|()| world.attach());
    for pid in pids {
        world.kernel.signal(pid, Signal::USR1);
    }
    let event = world.tracer().wait_for(Only::Process(pids[2])).unwrap();
    let Some(Event::Stopped(stop)) = event else { panic!("{event:?}") };
    assert_eq!((stop.pid(), stop.reason()), (pids[2], StopReason::Signal(Signal::USR1)));
    let others = [(); 2].map(|()| world.stop());
    let mut told = others.each_ref().map(|stop| stop.pid());
    told.sort();
    assert_eq!(told, [pids[0], pids[1]]);
    others.into_iter().chain([stop]).for_each(|stop| world.go(stop));
    world.idle();
}

fn a_fork_is_its_parents_and_its_childs<R: Rules>() {
    for by_child in [false, true] {
        let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
        let child = world.kernel.fork(world.main(pid), ForkKind::Fork);
        // A child that nobody knows of is none to wait for.
        assert!(matches!(world.tracer().wait_for(Only::Process(child)), Ok(None)));
        let only = if by_child { None } else { Some(Only::Process(pid)) };
        let event = match only {
            Some(only) => world.tracer().wait_for(only).unwrap(),
            None => world.tracer().wait().unwrap(),
        };
        let Some(Event::Forked(fork)) = event else { panic!("{event:?}") };
        assert_eq!((fork.parent_pid, fork.child_pid), (Some(pid), child));
        world.go(fork);
        world.idle();
    }
}

fn the_end_of_it_is_the_last<R: Rules>() {
    let mut world = World::<R>::new(EventFlags::PROCESS);
    let (pid, other) = (world.attach(), world.attach());
    world.kernel.exit(world.main(other), 1);
    world.kernel.exit(world.main(pid), 2);
    let only = Only::Thread(pid, world.main(pid));
    let end = world.tracer().wait_for(only).unwrap();
    assert!(matches!(end, Some(Event::Exited { pid: ended, .. }) if ended == pid), "{end:?}");
    for _ in 0..2 {
        assert!(matches!(world.tracer().wait_for(only), Ok(None)));
    }
    assert_eq!(world.exited().0, other);
    world.over();
}

fn what_would_not_end_is_an_error<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
    let (main, other) = (world.main(pid), world.new_thread(pid));
    world.kernel.signal_thread(main, Signal::USR1);
    let stop = world.stop();
    let waited = world.tracer().wait_for(Only::Thread(pid, main));
    assert!(matches!(waited, Err(Error::NotRunning { pid: at }) if at == pid), "{waited:?}");
    // The token is as it was, and a thread that runs is one to wait for.
    world.tracer().resume(stop, Resume::Step).unwrap();
    let step = world.tracer().wait_for(Only::Thread(pid, main)).unwrap();
    let Some(Event::Stopped(stop)) = step else { panic!("{step:?}") };
    assert!(matches!(stop.reason(), StopReason::Trap(causes) if causes.single_step));
    let halted = world.tracer().halt(stop).unwrap();
    let waited = world.tracer().wait_for(Only::Process(pid));
    assert!(matches!(waited, Err(Error::NotRunning { .. })), "{waited:?}");
    assert_eq!(halted.get(other).map(|stop| stop.tid()), Some(other));
    assert_eq!(halted.iter().count(), halted.threads.len());
    drop(halted);
}

/// Where one stop stops the process, a thread does not run while that of another one is to be given.
fn a_thread_beside_a_queued_stop_does_not_run<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
    let (main, other) = (world.main(pid), world.new_thread(pid));
    world.kernel.signal_thread(other, Signal::USR1);
    if R::RULES.scope == StopScope::Thread {
        world.kernel.signal_thread(main, Signal::USR2);
    }
    let waited = world.tracer().wait_for(Only::Thread(pid, main));
    match R::RULES.scope {
        StopScope::Thread => assert!(matches!(waited, Ok(Some(Event::Stopped(_)))), "{waited:?}"),
        StopScope::Process => {
            assert!(matches!(waited, Err(Error::NotRunning { .. })), "{waited:?}");
            assert_eq!(world.kernel.blocked_waits(), 0);
        }
    }
    drop(waited);
    let stops = [(); 2].map(|()| world.poll());
    assert!(stops.iter().flatten().any(|event| event.pid() == Some(pid)), "{stops:?}");
}

fn a_wait_for_all_that_nothing_would_end_is_an_error<R: Rules>() {
    let mut world = World::<R>::new(EventFlags::PROCESS);
    let pids = [(); 2].map(|()| world.attach());
    for pid in pids {
        world.kernel.signal(pid, Signal::USR1);
    }
    let stop = world.stop();
    let other = world.stop();
    let waited = world.tracer().wait();
    assert!(matches!(waited, Err(Error::NotRunning { pid }) if pids.contains(&pid)), "{waited:?}");
    assert!(matches!(world.tracer().try_wait(), Ok(Poll::Pending)));
    assert_eq!(world.kernel.blocked_waits(), 0);
    // One that is killed meanwhile ends when its token is back, and no sooner.
    world.kernel.kill(other.pid());
    let waited = world.tracer().wait();
    assert!(matches!(waited, Err(Error::NotRunning { .. })), "{waited:?}");
    let killed = other.pid();
    world.go(other);
    assert_eq!(world.exited().0, killed);
    // Somebody else may end a wait, now that there is a way to.
    let waker = world.tracer().waker().unwrap();
    waker.wake();
    assert!(matches!(world.tracer().wait(), Ok(Some(Event::Woken))));
    world.go(stop);
    world.idle();
}
