//! E4: the birth and the death of threads, under THREAD.

use trapline_core::{Event, EventFlags, Next, StopReason};
use trapline_fake::Rules;

use crate::common::*;

both![
    each_once_and_in_pairs,
    listed_as_told,
    nothing_of_them_unless_asked,
    one_that_is_still_stopped_at_its_start,
    their_exit_stops,
    e4_killed_before_its_first_stop,
    e4_an_exit_that_comes_before_its_first_stop,
    e4_the_end_of_one_that_is_older_than_the_flag,
    by_the_hundred,
];

fn each_once_and_in_pairs<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(THREADS);
    let tid = world.kernel.thread(world.main(pid));
    let stop = world.stop_for(StopReason::ThreadStarted);
    assert_eq!((stop.pid(), stop.tid()), (pid, tid));
    world.go(stop);
    world.idle();
    world.kernel.exit_thread(tid, 0);
    assert_eq!(world.run_all(), [format!("{tid} ended")]);
    assert_eq!(world.tracer().process_info(pid).unwrap().threads, [world.main(pid)]);
    world.idle();
}

// A list that is asked for between two events is that of the events so far, though a halt
// takes in all that the kernel has to say of the process.
fn listed_as_told<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(THREADS);
    let main = world.main(pid);
    let [old, other] = [(); 2].map(|()| world.new_thread(pid));
    let new = [main, other].map(|maker| world.kernel.thread(maker));
    world.kernel.exit_thread(old, 0);
    let mut told = vec![main, old, other];
    let listed = |world: &mut World<R>| {
        let mut listed = world.tracer().process_info(pid).unwrap().threads;
        listed.sort();
        listed
    };
    assert_eq!(listed(&mut world), told);
    for _ in 0..3 {
        match world.next() {
            Event::ThreadExited { tid, .. } => told.retain(|&known| known != tid),
            Event::Stopped(stop) => {
                assert_eq!(stop.reason(), StopReason::ThreadStarted);
                told.push(stop.tid());
                told.sort();
                let halted = world.tracer().halt(stop).unwrap();
                assert_eq!(listed(&mut world), told);
                world.tracer().resume_halted(halted, |_| Next::Continue).unwrap();
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(listed(&mut world), told);
    }
    told.sort();
    assert_eq!(told, [main, other, new[0], new[1]]);
}

fn nothing_of_them_unless_asked<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
    let tid = world.kernel.thread(world.main(pid));
    let more = world.run_all();
    assert!(more.is_empty(), "{more:?}");
    assert!(world.kernel.acts(tid));
    world.kernel.exit_thread(tid, 0);
    assert!(world.run_all().is_empty());
    world.idle();
}

fn one_that_is_still_stopped_at_its_start<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(THREADS);
    let tid = world.kernel.thread(world.main(pid));
    let stop = world.stop_for(StopReason::ThreadStarted);
    // Its process goes on without it, and ends.
    world.kernel.kill(pid);
    world.go(stop);
    assert_eq!(world.run_all(), [format!("{tid} ended"), format!("{pid} killed by SIGKILL")]);
    world.over();
}

fn their_exit_stops<R: Rules>() {
    let flags = THREADS | EventFlags::EXIT;
    let (mut world, pid) = World::<R>::with_process(flags);
    let tid = world.new_thread(pid);
    world.kernel.exit_thread(tid, 0);
    let stop = world.stop_for(StopReason::ThreadExiting);
    assert_eq!(stop.tid(), tid);
    world.tracer().registers(&stop).unwrap();
    world.go(stop);
    assert_eq!(world.run_all(), [format!("{tid} ended")]);
    world.idle();
}

fn e4_killed_before_its_first_stop<R: Rules>() {
    let flags = THREADS | EventFlags::EXIT;
    for born in [false, true] {
        let (mut world, pid) = World::<R>::with_process(flags);
        let main = world.main(pid);
        let tid = world.kernel.thread(main);
        world.kernel.hold(tid);
        if born {
            world.run_all(); // its creator has told of it
        }
        world.kernel.kill(pid);
        world.kernel.release(tid);
        let seen = world.run_all();
        let of = |what: &str| seen.iter().filter(|s| **s == format!("{tid} {what}")).count();
        let times = [of("ThreadStarted"), of("ThreadExiting"), of("ended")];
        assert!([[0; 3], [1; 3], [1, 0, 1]].contains(&times), "{seen:?}");
        assert_eq!(seen.last(), Some(&format!("{pid} killed by SIGKILL")));
        world.over();
    }
}

fn by_the_hundred<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(THREADS);
    let mut tids: Vec<_> = (0..100)
        .map(|_| {
            let tid = world.kernel.thread(world.main(pid));
            world.run_all();
            tid
        })
        .collect();
    world.kernel.exit(world.main(pid), 0);
    let told = world.run_all();
    let mut ended: Vec<_> = told.iter().filter(|told| told.ends_with("ended")).cloned().collect();
    let mut expected: Vec<_> = tids.drain(..).map(|tid| format!("{tid} ended")).collect();
    ended.sort();
    expected.sort();
    assert_eq!(ended, expected);
    assert_eq!(told.last(), Some(&format!("{pid} exit status 0")));
    world.over();
}

// The exit of its process swallows the stop at its birth, and not the one at its end.
fn e4_an_exit_that_comes_before_its_first_stop<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(THREADS | EventFlags::EXIT);
    let main = world.main(pid);
    let tid = world.kernel.thread(main);
    world.kernel.hold(tid);
    world.run_all();
    world.kernel.exit(main, 3);
    world.kernel.release(tid);
    let seen = world.run_all();
    let of = |what: &str| seen.iter().filter(|s| **s == format!("{tid} {what}")).count();
    let times = [of("ThreadStarted"), of("ThreadExiting"), of("ended")];
    assert!([[0; 3], [1; 3], [1, 0, 1]].contains(&times), "{seen:?}");
    assert_eq!(seen.last(), Some(&format!("{pid} exit status 3")));
    world.over();
}

// Nobody has told of its birth, since nobody had asked for that.
fn e4_the_end_of_one_that_is_older_than_the_flag<R: Rules>() {
    for flags in [THREADS, THREADS | EventFlags::EXIT] {
        let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
        let main = world.main(pid);
        let tid = world.new_thread(pid);
        world.tracer().set_events(pid, flags).unwrap();
        world.tracer().interrupt(pid).unwrap();
        let stop = world.stop_for(StopReason::Interrupted);
        let halted = world.tracer().halt(stop).unwrap();
        world.tracer().resume_halted(halted, |_| Next::Continue).unwrap();
        world.kernel.exit_thread(tid, 0);
        let seen = world.run_all();
        let exiting = format!("{tid} ThreadExiting");
        assert_eq!(seen.contains(&exiting), flags.contains(EventFlags::EXIT), "{seen:?}");
        assert_eq!(seen.last(), Some(&format!("{tid} ended")));
        world.kernel.exit(main, 0);
        world.run_all();
        world.over();
    }
}
