//! E3: one `Execed` per exec, whichever thread calls it, after the ends of all others.

use trapline_core::{Error, Event, EventFlags, ExitStatus, Signal, StopReason, Stopped, Tid};
use trapline_fake::{LinuxRules, Rules};

use crate::common::*;

both![
    by_the_only_thread,
    a_step_from_an_exec_is_one_of_the_new_programs,
    by_a_thread_that_is_not_the_first,
    others_vanish_without_a_word,
    a_first_thread_that_had_ended,
    exit_stops_of_the_others_are_not_the_end,
    filtered_but_carried_out,
];

/// Resumes what comes until an exec; returns the threads that ended before it, and its stop.
fn until_exec<R: Rules>(world: &mut World<R>) -> (Vec<Tid>, Stopped) {
    let mut ended = Vec::new();
    loop {
        match world.next() {
            Event::ThreadExited { tid, .. } => ended.push(tid),
            Event::Stopped(stop) if stop.reason() == StopReason::ThreadExiting => world.go(stop),
            Event::Stopped(stop) => {
                ended.sort();
                return (ended, stop);
            }
            other => panic!("{other:?}"),
        }
    }
}

fn by_the_only_thread<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(THREADS);
    let main = world.main(pid);
    world.kernel.exec(main, "new");
    let stop = world.stop_for(StopReason::Execed { former_tid: None });
    assert_eq!((stop.pid(), stop.tid()), (pid, main));
    world.go(stop);
    world.idle();
}

fn a_step_from_an_exec_is_one_of_the_new_programs<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
    world.kernel.exec(world.main(pid), "new");
    let stop = world.stop_for(StopReason::Execed { former_tid: None });
    let before = world.kernel.log().len();
    world.step(stop);
    let stop = world.stop();
    assert!(matches!(stop.reason(), StopReason::Trap(causes) if causes.single_step));
    // Linux would take the way out of the call for the step, so that is gone first.
    let log = world.kernel.log().split_off(before);
    let ran: Vec<&String> = log.iter().filter(|line| line.starts_with("resume")).collect();
    let by_thread = R::RULES.scope == trapline_core::backend::StopScope::Thread;
    assert_eq!(ran.len(), if by_thread { 2 } else { 1 }, "{log:#?}");
    world.go(stop);
    world.idle();
}

fn by_a_thread_that_is_not_the_first<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(THREADS);
    let (caller, other) = (world.new_thread(pid), world.new_thread(pid));
    world.kernel.exec(caller, "new");
    let (ended, stop) = until_exec(&mut world);
    assert_eq!(ended, [caller, other], "the new thread is the first, not one of these");
    assert_eq!(stop.reason(), StopReason::Execed { former_tid: Some(caller) });
    assert_eq!((stop.pid(), stop.tid()), (pid, world.main(pid)));
    assert_eq!(world.tracer().process_info(pid).unwrap().threads, [stop.tid()]);
    world.go(stop);
    world.idle();
}

fn others_vanish_without_a_word<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(EventFlags::EXEC);
    let (_, caller) = (world.new_thread(pid), world.new_thread(pid));
    world.kernel.exec(caller, "new");
    let stop = world.stop_for(StopReason::Execed { former_tid: Some(caller) });
    assert_eq!(world.tracer().process_info(pid).unwrap().threads, [stop.tid()]);
    world.go(stop);
    world.idle();
}

fn a_first_thread_that_had_ended<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(THREADS);
    let (main, caller) = (world.main(pid), world.new_thread(pid));
    world.kernel.exit_thread(main, 0);
    world.run_all();
    world.kernel.exec(caller, "new");
    let (ended, stop) = until_exec(&mut world);
    assert_eq!(ended, [caller]);
    assert_eq!(stop.reason(), StopReason::Execed { former_tid: Some(caller) });
    world.go(stop);
    world.idle();
}

fn exit_stops_of_the_others_are_not_the_end<R: Rules>() {
    for first_calls in [true, false] {
        let (mut world, pid) = World::<R>::with_process(THREADS | EventFlags::EXIT);
        let other = world.new_thread(pid);
        let caller = if first_calls { world.main(pid) } else { other };
        world.kernel.exec(caller, "new");
        let (ended, stop) = until_exec(&mut world);
        assert_eq!(ended, [other]);
        let former_tid = (!first_calls).then_some(other);
        assert_eq!(stop.reason(), StopReason::Execed { former_tid });
        world.go(stop);
        world.kernel.exit(world.main(pid), 4);
        let seen = world.run_all();
        assert_eq!(seen.last(), Some(&format!("{pid} {}", ExitStatus::Code(4))));
        world.over();
    }
}

fn filtered_but_carried_out<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(EventFlags::empty());
    let main = world.main(pid);
    world.kernel.exec(main, "new");
    world.idle();
    assert!(world.kernel.acts(main));
    assert_eq!(world.tracer().process_info(pid).unwrap().executable.unwrap().to_str(), Some("new"));
}

/// Only where threads stop one by one can another one exec meanwhile.
#[test]
fn tokens_of_what_vanished_are_stale() {
    for first_calls in [true, false] {
        let (mut world, pid) = World::<LinuxRules>::with_process(THREADS);
        let (main, other) = (world.main(pid), world.new_thread(pid));
        let (caller, victim) = if first_calls { (main, other) } else { (other, main) };
        world.kernel.signal_thread(victim, Signal::USR1);
        let stale = world.stop_for(StopReason::Signal(Signal::USR1));
        assert_eq!(stale.tid(), victim);
        world.kernel.exec(caller, "new");
        let (ended, stop) = until_exec(&mut world);
        assert_eq!((ended, stop.tid()), (vec![other], main));
        assert!(matches!(world.tracer().registers(&stale), Err(Error::Gone { .. })));
        world.go(stale);
        assert!(!world.kernel.acts(main), "another token of the same number has no power over it");
        assert!(world.tracer().registers(&stop).is_ok());
        world.go(stop);
        assert_eq!(world.kernel.delivered(pid, Signal::USR1), 0);
        world.idle();
    }
}

#[test]
fn killed_before_it_was_asked_for_its_former_id() {
    let (mut world, pid) = World::<LinuxRules>::with_process(THREADS | EventFlags::EXIT);
    let caller = world.new_thread(pid);
    world.kernel.before_requests(move |kernel, call| {
        if call.name == "former_tid" {
            kernel.kill(pid);
        }
    });
    world.kernel.exec(caller, "new");
    let seen = world.run_all();
    let ends = seen.iter().filter(|event| **event == format!("{pid} {KILLED}")).count();
    assert_eq!((ends, seen.last()), (1, Some(&format!("{pid} {KILLED}"))), "{seen:?}");
    world.over();
}

/// The number of a first thread that nobody has heard of is the caller's now.
#[test]
fn after_an_attach_without_a_first_thread() {
    let mut world = World::<LinuxRules>::new(THREADS);
    let pid = world.kernel.start();
    let main = world.main(pid);
    let other = world.kernel.thread(main);
    world.kernel.exit_thread(main, 0);
    world.tracer().attach(pid).unwrap();
    let stop = world.stop_for(StopReason::Started);
    assert_eq!(stop.tid(), other);
    world.go(stop);
    world.kernel.exec(other, "new");
    let (ended, stop) = until_exec(&mut world);
    assert_eq!((ended, stop.pid(), stop.tid()), (vec![other], pid, main));
    world.go(stop);
    world.idle();
}
