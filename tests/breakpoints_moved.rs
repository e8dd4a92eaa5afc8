//! M1 and F3: breakpoints in memory that the program moves, has at two addresses, or copies.

use trapline::{Event, EventFlags, ExitStatus, FollowFork, Resume, StopReason, Stopped, Tracer};

use crate::common::*;
use crate::fixtures::{cpu, fixture, pages_can_stay};

crate::tests![
    m1_nobody_dies_of_a_breakpoint_that_was_moved,
    m1_a_breakpoint_that_was_moved_is_not_shown,
    f3_a_breakpoint_that_was_moved_is_taken_out,
    m1_one_is_inserted_where_another_was_moved_to,
];

/// The ways in which code comes to be elsewhere. FreeBSD moves no memory.
fn ways() -> &'static [&'static str] {
    match (cfg!(target_os = "linux"), pages_can_stay()) {
        (true, true) => &["moved", "left", "twice", "copied"],
        (true, false) => &["moved", "twice", "copied"],
        (false, _) => &["twice", "copied"],
    }
}

/// The fixture with a breakpoint in its function, at the stop where it has told where that is now.
fn moved(way: &str, first: &str, follow: FollowFork) -> (Tracer, Stopped, u64, u64) {
    let mut tracer =
        Tracer::builder().events(EventFlags::PROCESS).follow_fork(follow).build().unwrap();
    let (stop, old) = probe_of(&mut tracer, fixture("moved", &[way, first]));
    let id = insert(&mut tracer, stop.pid(), old);
    tracer.resume(stop, Resume::Continue).unwrap();
    let stop = next_stop(&mut tracer);
    assert!(is_hit(&mut tracer, &stop, id, old), "{stop:?}");
    let (stop, new) = announced(&mut tracer, stop);
    assert_ne!(new, old);
    (tracer, stop, old, new)
}

/// Runs all to its end, which must be good; returns how often the breakpoint was hit.
fn ends_well(mut tracer: Tracer, stop: Stopped) -> usize {
    let pid = stop.pid();
    tracer.resume(stop, Resume::Continue).unwrap();
    let mut hits = 0;
    while let Some(event) = tracer.wait().unwrap() {
        match &event {
            Event::Stopped(stop) if matches!(stop.reason(), StopReason::Trap(_)) => {
                assert_eq!(stop.pid(), pid);
                hits += 1;
            }
            Event::Exited { status, .. } => assert_eq!(*status, ExitStatus::Code(0)),
            _ => {}
        }
        tracer.resume(event, Resume::Continue).unwrap();
    }
    hits
}

fn m1_nobody_dies_of_a_breakpoint_that_was_moved() {
    for &way in ways() {
        // Where the old place still has the code, it is executed once more.
        let hits = usize::from(way == "twice" || way == "copied");
        for first in ["", "first"] {
            let (tracer, stop, ..) = moved(way, first, FollowFork::Both);
            assert_eq!(ends_well(tracer, stop), hits, "{way} {first}");
        }
        // A child with the same pages is let go, and takes the breakpoint out of them for all.
        if way != "twice" {
            // A copy that nobody has run into is not known of.
            let first = if way == "copied" { "first" } else { "" };
            let (tracer, stop, ..) = moved(way, first, FollowFork::Parent);
            assert_eq!(ends_well(tracer, stop), hits, "{way}, child detached");
        }
    }
}

fn m1_a_breakpoint_that_was_moved_is_not_shown() {
    let code = [cpu::NOP, cpu::NOP, cpu::NOP, cpu::RETURN].concat();
    for &way in ways() {
        let (mut tracer, stop, _, new) = moved(way, "", FollowFork::Both);
        let mut read = vec![0; code.len()];
        // One that was put behind it is not taken for lost by what hides both.
        let behind = insert(&mut tracer, stop.pid(), new + 2 * cpu::NOP.len() as u64);
        assert_eq!(tracer.read_memory(&stop, new, &mut read).unwrap(), code.len());
        assert_eq!(read, code, "{way}");
        assert!(tracer.remove_breakpoint(stop.pid(), behind).unwrap());
        for len in 1..=code.len() {
            assert_eq!(tracer.read_memory(&stop, new, &mut read[..len]).unwrap(), len);
            assert_eq!(read[..len], code[..len], "{way}");
        }
        let hits = usize::from(way == "twice" || way == "copied");
        assert_eq!(ends_well(tracer, stop), hits, "{way}");
    }
}

fn f3_a_breakpoint_that_was_moved_is_taken_out() {
    for &way in ways().iter().filter(|&&way| way != "copied") {
        let (mut tracer, stop, ..) = moved(way, "", FollowFork::Both);
        let pid = stop.pid();
        tracer.detach(stop).unwrap();
        let mut child = tracer.take_child(pid).expect("spawned");
        assert_eq!(child.wait().unwrap().code(), Some(0), "{way}");
    }
}

fn m1_one_is_inserted_where_another_was_moved_to() {
    for &way in ways() {
        let (mut tracer, stop, _, new) = moved(way, "first", FollowFork::Parent);
        let pid = stop.pid();
        let id = insert(&mut tracer, pid, new);
        let (old_id, _) = tracer.breakpoints(pid).unwrap().next().expect("the first one");
        assert!(tracer.remove_breakpoint(pid, old_id).unwrap());
        tracer.resume(stop, Resume::Continue).unwrap();
        let stop = next_stop(&mut tracer);
        assert!(is_hit(&mut tracer, &stop, id, new), "{way}: {stop:?}");
        assert!(tracer.remove_breakpoint(pid, id).unwrap());
        assert_eq!(ends_well(tracer, stop), 0, "{way}");
    }
}
