//! W1 and W3, the engine's part: whom a wait finds, and what it says to an event loop.

use std::collections::BTreeMap;
use std::time::Duration;

use trapline_core::{Event, EventFlags, Pid, Signal};
use trapline_fake::Rules;

use crate::common::*;

both![
    a_busy_tracee_starves_nobody,
    one_of_two_busy_tracees_does_not_starve_the_other,
    a_waker_is_heard_beside_a_busy_tracee,
    a_time_limit_ends_a_wait_for_nothing,
    an_event_loop_is_set_by_each_wait_that_finds_nothing,
];

/// Has a process stop again whenever it runs.
fn tick<R: Rules>(world: &World<R>, pid: Pid) {
    world.kernel.signal(pid, Signal::USR1);
}

/// The kernel finds the first process first, always; and it stops again at once.
fn a_busy_tracee_starves_nobody<R: Rules>() {
    let mut world = World::<R>::new(EventFlags::PROCESS);
    let pids: Vec<Pid> = (0..64).map(|_| world.attach()).collect();
    // The oldest process first, not the oldest stop.
    world.kernel.choose(|reports| {
        let first = reports.iter().enumerate().min_by_key(|(_, report)| report.pid);
        first.map(|(at, _)| at)
    });
    pids.iter().for_each(|&pid| tick(&world, pid));
    let mut last: BTreeMap<Pid, u32> = BTreeMap::new();
    let mut worst = 0;
    for stops in 0..64 * 40 {
        let stop = world.stop();
        let pid = stop.pid();
        worst = worst.max(stops - last.insert(pid, stops).unwrap_or(0));
        world.go(stop);
        tick(&world, pid);
    }
    assert_eq!(last.len(), 64);
    assert!(worst <= 128, "{worst}");
    world.run_to_the_end();
}

fn one_of_two_busy_tracees_does_not_starve_the_other<R: Rules>() {
    let mut world = World::<R>::new(EventFlags::PROCESS);
    let (busy, other) = (world.attach(), world.attach());
    world
        .kernel
        .choose(move |reports| reports.iter().position(|report| report.pid == busy).or(Some(0)));
    tick(&world, busy);
    tick(&world, other);
    let mut before = 0;
    loop {
        let stop = world.stop();
        if stop.pid() == other {
            world.go(stop);
            break;
        }
        world.go(stop);
        tick(&world, busy);
        before += 1;
        assert!(before <= 128);
    }
    world.run_to_the_end();
}

fn a_waker_is_heard_beside_a_busy_tracee<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
    let waker = world.tracer().waker().unwrap();
    tick(&world, pid);
    waker.wake();
    let mut before = 0;
    while let Event::Stopped(stop) = world.tracer().wait().unwrap().unwrap() {
        world.go(stop);
        tick(&world, pid);
        before += 1;
        assert!(before <= 128);
    }
    world.run_to_the_end();
}

fn a_time_limit_ends_a_wait_for_nothing<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
    assert!(world.tracer().wait_timeout(Duration::from_millis(2)).unwrap().is_none());
    assert_eq!(world.kernel.blocked_waits(), 0);
    world.kernel.when_idle(move |kernel| kernel.signal(pid, Signal::USR1));
    let event = world.tracer().wait_timeout(Duration::from_secs(3600)).unwrap();
    world.go(event.expect("a stop"));
    world.idle();
}

fn an_event_loop_is_set_by_each_wait_that_finds_nothing<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
    assert!(world.poll().is_none());
    assert_eq!(world.kernel.watches(), [], "nobody has asked for it");
    world.tracer().readiness().unwrap();
    assert!(world.poll().is_none());
    assert_eq!(world.kernel.watches(), [None]);
    tick(&world, pid);
    let stop = world.stop();
    world.go(stop);
    assert_eq!(world.kernel.watches(), [None], "not by one that finds something");
    // Its wakes are heard without tracees, too.
    world.kernel.exit(world.main(pid), 0);
    world.exited();
    let waker = world.tracer().waker().unwrap();
    waker.wake();
    assert!(matches!(world.poll(), Some(Event::Woken)));
    assert!(world.poll().is_none());
}

#[test]
fn an_event_loop_looks_again_soon_for_half_a_fork() {
    // The parent is killed before its half: nothing announces that the other one is due.
    let mut world = World::<trapline_fake::LinuxRules>::patient(EventFlags::PROCESS);
    let pid = world.attach();
    world.tracer().readiness().unwrap();
    let main = world.main(pid);
    let child = world.kernel.fork(main, trapline_core::ForkKind::Fork);
    world.kernel.hold(main);
    assert!(world.poll().is_none());
    assert!(matches!(world.kernel.watches().last(), Some(Some(_))), "{child} is parked");
    world.kernel.release(main);
    let fork = world.forked();
    world.go(fork);
}
