//! W4: all threads of a process at rest, for who asks for it; what they report meanwhile is kept.

use trapline_core::{
    Error, Event, EventFlags, ForkKind, Halted, Next, Pid, Signal, StopReason, Stopped, Tid,
};
use trapline_fake::{LinuxRules, Rules};

use crate::common::*;

both![
    one_token_for_each_thread,
    other_processes_run_on,
    what_happens_meanwhile_is_given_later,
    a_fork_meanwhile,
    one_steps_and_the_others_stay,
    who_stays_does_not_run_with_the_others,
    who_was_to_run_stays_after_all,
    who_stays_when_all_did_does_not_run_with_one,
    a_signal_is_not_lost_by_staying,
    a_signal_stays_with_its_thread_while_others_run,
    a_signal_that_stays_is_delivered_by_a_detach,
    an_injected_signal_is_delivered_without_a_stop,
    an_injected_signal_in_a_halted_process,
    a_dropped_halt_is_given_again,
    killed_meanwhile,
    killed_before,
    w4_a_thread_that_ends_and_leaves_nothing_running_is_told,
    w4_a_thread_that_ends_beside_a_running_one_is_not,
    w4_threads_that_end_before_a_halt_leave_no_standstill,
    interrupt_of_what_runs,
    interrupt_of_what_rests,
    a_stop_that_is_not_shown_answers_no_interrupt,
    another_event_answers_an_interrupt,
];

const USR1: StopReason = StopReason::Signal(Signal::USR1);

/// A process of three threads, and a signal stop of the first.
fn three<R: Rules>() -> (World<R>, Pid, [Tid; 3], Stopped) {
    let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
    let (two, three) = (world.new_thread(pid), world.new_thread(pid));
    let main = world.main(pid);
    world.kernel.signal_thread(main, Signal::USR1);
    let stop = world.stop_for(USR1);
    (world, pid, [main, two, three], stop)
}

fn tids(halted: &Halted) -> Vec<Tid> {
    let mut tids: Vec<Tid> = halted.threads.iter().map(Stopped::tid).collect();
    tids.sort();
    tids
}

/// All threads run their program.
fn all_act<R: Rules>(world: &World<R>, tids: [Tid; 3]) -> bool {
    tids.iter().all(|&tid| world.kernel.acts(tid))
}

/// What is done with many threads takes a few requests for each, and never a look at all of them
/// for each.
#[test]
fn many_threads_take_few_requests_each() {
    const THREADS: u64 = 200;
    let (mut world, pid) = World::<LinuxRules>::with_process(EventFlags::PROCESS);
    for _ in 1..THREADS {
        world.new_thread(pid);
    }
    let main = world.main(pid);
    let mut counted = 0;
    let mut count = |world: &mut World<LinuxRules>| {
        let before = std::mem::replace(&mut counted, world.tracer().requests());
        counted - before
    };
    for goes in [false, true] {
        world.kernel.signal_thread(main, Signal::USR1);
        let stop = world.stop_for(USR1);
        count(&mut world);
        let halted = world.tracer().halt(stop).unwrap();
        let (halt, threads) = (count(&mut world), halted.threads.len() as u64);
        assert!(threads == THREADS && halt <= 2 * THREADS, "interrupt and wait: {halt}");
        if goes {
            world.tracer().detach_halted(halted).unwrap();
        } else {
            world.tracer().resume_halted(halted, |_| Next::Continue).unwrap();
        }
        let done = count(&mut world);
        assert!(done <= THREADS, "to run or to detach: {done}");
    }
    assert!(world.kernel.left_traced().is_empty() && world.tracer().is_empty());
}

fn one_token_for_each_thread<R: Rules>() {
    let (mut world, pid, all, stop) = three::<R>();
    let halted = world.tracer().halt(stop).unwrap();
    assert_eq!((halted.pid, tids(&halted)), (pid, all.to_vec()));
    assert!(halted.blocked.is_empty());
    assert_eq!((halted.threads[0].tid(), halted.threads[0].reason()), (all[0], USR1));
    for stop in &halted.threads[1..] {
        assert_eq!(stop.reason(), StopReason::Halted);
        assert!(world.tracer().registers(stop).is_ok());
    }
    assert!(!all.iter().any(|&tid| world.kernel.acts(tid)));
    world.tracer().resume_halted(halted, |_| Next::Continue).unwrap();
    assert!(all_act(&world, all));
    assert_eq!(world.kernel.delivered(pid, Signal::USR1), 1);
    world.idle();
}

fn other_processes_run_on<R: Rules>() {
    let (mut world, _, all, stop) = three::<R>();
    let other = world.attach();
    let halted = world.tracer().halt(stop).unwrap();
    assert!(world.kernel.acts(world.main(other)));
    world.kernel.signal(other, Signal::USR2);
    let event = world.stop_for(StopReason::Signal(Signal::USR2));
    assert_eq!(event.pid(), other);
    world.go(event);
    world.tracer().resume_halted(halted, |_| Next::Continue).unwrap();
    assert!(all_act(&world, all));
    world.idle();
}

fn what_happens_meanwhile_is_given_later<R: Rules>() {
    let (mut world, pid, all, stop) = three::<R>();
    world.kernel.signal_thread(all[1], Signal::USR2);
    let halted = world.tracer().halt(stop).unwrap();
    assert_eq!(tids(&halted), all);
    world.tracer().resume_halted(halted, |_| Next::Continue).unwrap();
    assert_eq!(world.kernel.delivered(pid, Signal::USR2), 0);
    assert!(!world.kernel.acts(all[1]), "not before its event was given");
    let stop = world.stop_for(StopReason::Signal(Signal::USR2));
    assert_eq!(stop.tid(), all[1]);
    world.go(stop);
    assert_eq!(world.kernel.delivered(pid, Signal::USR2), 1);
    world.idle(); // on Linux the interrupt that came too late shows up, and is no event
    assert!(all_act(&world, all));
}

fn a_fork_meanwhile<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
    let (main, other) = (world.main(pid), world.new_thread(pid));
    world.kernel.signal_thread(main, Signal::USR1);
    let child = world.kernel.fork(other, ForkKind::Fork);
    let stop = world.stop_for(USR1);
    let halted = world.tracer().halt(stop).unwrap();
    assert_eq!(tids(&halted), [main, other]);
    world.tracer().resume_halted(halted, |_| Next::Continue).unwrap();
    assert!(!world.kernel.acts(other), "not before its event was given");
    let fork = world.forked();
    assert_eq!((fork.parent_pid, fork.child_pid), (Some(pid), child));
    world.go(fork);
    world.idle();
    assert!(world.kernel.acts(main) && world.kernel.acts(other));
}

fn one_steps_and_the_others_stay<R: Rules>() {
    let (mut world, _, all, stop) = three::<R>();
    let halted = world.tracer().halt(stop).unwrap();
    let step_first = |stop: &Stopped| match stop.tid() == all[0] {
        true => Next::Step,
        false => Next::Stay,
    };
    world.tracer().resume_halted(halted, step_first).unwrap();
    let stop = world.stop();
    assert!(matches!(stop.reason(), StopReason::Trap(causes) if causes.single_step));
    assert_eq!(stop.tid(), all[0]);
    let halted = world.tracer().halt(stop).unwrap();
    assert_eq!(tids(&halted), all);
    world.tracer().resume_halted(halted, |_| Next::Continue).unwrap();
    assert!(all_act(&world, all));
    world.idle();
}

fn who_stays_does_not_run_with_the_others<R: Rules>() {
    let (mut world, pid, all, stop) = three::<R>();
    let halted = world.tracer().halt(stop).unwrap();
    let keep_last = |stop: &Stopped| match stop.tid() == all[2] {
        true => Next::Stay,
        false => Next::Continue,
    };
    world.tracer().resume_halted(halted, keep_last).unwrap();
    assert!(world.poll().is_none());
    let acting = all.map(|tid| world.kernel.acts(tid));
    assert_eq!(acting, [true, true, false]);
    world.kernel.signal_thread(all[1], Signal::USR1);
    let stop = world.stop_for(USR1);
    let halted = world.tracer().halt(stop).unwrap();
    assert_eq!(tids(&halted), all, "{pid}");
    world.tracer().resume_halted(halted, |_| Next::Continue).unwrap();
    assert!(all_act(&world, all));
    world.idle();
}

fn who_was_to_run_stays_after_all<R: Rules>() {
    let (mut world, _, all, stop) = three::<R>();
    let mut threads = world.tracer().halt(stop).unwrap().threads;
    let first = threads.remove(0);
    drop(threads);
    // Where the process runs as a whole, they wait for the first.
    for _ in 0..2 {
        let stop = world.stop_for(StopReason::Halted);
        world.go(stop);
    }
    let halted = world.tracer().halt(first).unwrap();
    assert_eq!(tids(&halted), all);
    let first_alone = |stop: &Stopped| match stop.tid() == all[0] {
        true => Next::Continue,
        false => Next::Stay,
    };
    world.tracer().resume_halted(halted, first_alone).unwrap();
    assert!(world.poll().is_none());
    assert_eq!(all.map(|tid| world.kernel.acts(tid)), [true, false, false]);
    world.kernel.signal_thread(all[0], Signal::USR1);
    let stop = world.stop_for(USR1);
    let halted = world.tracer().halt(stop).unwrap();
    world.tracer().resume_halted(halted, |_| Next::Continue).unwrap();
    assert!(all_act(&world, all));
    world.idle();
}

fn who_stays_when_all_did_does_not_run_with_one<R: Rules>() {
    let (mut world, pid, all, stop) = three::<R>();
    let halted = world.tracer().halt(stop).unwrap();
    world.tracer().resume_halted(halted, |_| Next::Stay).unwrap();
    world.tracer().interrupt(pid).unwrap();
    let stop = world.stop_for(StopReason::Interrupted);
    let runs = stop.tid();
    world.go(stop);
    assert!(world.poll().is_none());
    assert_eq!(all.map(|tid| world.kernel.acts(tid)), all.map(|tid| tid == runs));
    world.kernel.signal_thread(runs, Signal::USR1);
    let stop = world.stop_for(USR1);
    let halted = world.tracer().halt(stop).unwrap();
    world.tracer().resume_halted(halted, |_| Next::Continue).unwrap();
    assert!(all_act(&world, all));
    world.idle();
}

fn a_signal_is_not_lost_by_staying<R: Rules>() {
    let (mut world, pid, all, stop) = three::<R>();
    let halted = world.tracer().halt(stop).unwrap();
    world.tracer().resume_halted(halted, |_| Next::Stay).unwrap();
    assert!(world.poll().is_none(), "it was given once");
    assert_eq!(world.kernel.delivered(pid, Signal::USR1), 0);
    world.tracer().interrupt(pid).unwrap();
    let stop = world.stop_for(StopReason::Interrupted);
    let halted = world.tracer().halt(stop).unwrap();
    assert_eq!(tids(&halted), all);
    world.tracer().resume_halted(halted, |_| Next::Continue).unwrap();
    assert_eq!(world.kernel.delivered(pid, Signal::USR1), 1);
    assert!(all_act(&world, all));
    world.idle();
}

fn a_signal_stays_with_its_thread_while_others_run<R: Rules>() {
    for wanted in [true, false] {
        let (mut world, pid, all, stop) = three::<R>();
        let halted = world.tracer().halt(stop).unwrap();
        let step_two = |stop: &Stopped| match stop.tid() == all[1] {
            true => Next::Step,
            false => Next::Stay,
        };
        world.tracer().resume_halted(halted, step_two).unwrap();
        let stop = world.stop();
        assert_eq!(stop.tid(), all[1]);
        assert_eq!(world.kernel.delivered(pid, Signal::USR1), 0);
        let mut halted = world.tracer().halt(stop).unwrap();
        let first = halted.threads.iter_mut().find(|stop| stop.tid() == all[0]).unwrap();
        assert_eq!((first.reason(), first.signal()), (USR1, Some(Signal::USR1)));
        if !wanted {
            first.set_signal(None).unwrap();
        }
        world.tracer().resume_halted(halted, |_| Next::Continue).unwrap();
        world.idle();
        assert_eq!(world.kernel.delivered(pid, Signal::USR1), usize::from(wanted));
        assert!(all_act(&world, all));
    }
}

fn a_signal_that_stays_is_delivered_by_a_detach<R: Rules>() {
    let (mut world, pid, all, stop) = three::<R>();
    let halted = world.tracer().halt(stop).unwrap();
    let step_two = |stop: &Stopped| match stop.tid() == all[1] {
        true => Next::Step,
        false => Next::Stay,
    };
    world.tracer().resume_halted(halted, step_two).unwrap();
    let stop = world.stop();
    let halted = world.tracer().halt(stop).unwrap();
    world.tracer().detach_halted(halted).unwrap();
    assert_eq!(world.kernel.delivered(pid, Signal::USR1), 1);
    world.over();
}

fn an_injected_signal_is_delivered_without_a_stop<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
    world.tracer().interrupt(pid).unwrap();
    let stop = world.stop_for(StopReason::Interrupted);
    world.tracer().send_signal(&stop, Signal::USR2).unwrap();
    world.go(stop);
    world.idle();
    assert_eq!(world.kernel.delivered(pid, Signal::USR2), 1);
    // One that somebody else sends is reported as ever.
    world.kernel.signal(pid, Signal::USR2);
    let stop = world.stop_for(StopReason::Signal(Signal::USR2));
    world.go(stop);
    assert_eq!(world.kernel.delivered(pid, Signal::USR2), 2);
    world.idle();
}

fn an_injected_signal_in_a_halted_process<R: Rules>() {
    let (mut world, pid, all, mut stop) = three::<R>();
    stop.set_signal(None).unwrap();
    let halted = world.tracer().halt(stop).unwrap();
    let second = halted.threads.iter().find(|stop| stop.tid() == all[1]).unwrap();
    world.tracer().send_signal(second, Signal::USR2).unwrap();
    world.tracer().resume_halted(halted, |_| Next::Continue).unwrap();
    world.idle();
    assert_eq!(world.kernel.delivered(pid, Signal::USR2), 1);
    assert!(all_act(&world, all));
}

fn a_dropped_halt_is_given_again<R: Rules>() {
    let (mut world, pid, all, stop) = three::<R>();
    let halted = world.tracer().halt(stop).unwrap();
    drop(halted);
    assert!(!all.iter().any(|&tid| world.kernel.acts(tid)), "nothing runs by it");
    let mut again: Vec<Tid> = Vec::new();
    for at in 0..3 {
        let stop = world.stop();
        assert_eq!(stop.reason(), if at == 0 { USR1 } else { StopReason::Halted });
        again.push(stop.tid());
        world.go(stop);
    }
    again.sort();
    assert_eq!(again, all);
    assert_eq!(world.kernel.delivered(pid, Signal::USR1), 1);
    assert!(all_act(&world, all));
    world.idle();
}

fn killed_meanwhile<R: Rules>() {
    let (mut world, pid, _, stop) = three::<R>();
    let halted = world.tracer().halt(stop).unwrap();
    world.kernel.kill(pid);
    world.tracer().resume_halted(halted, |_| Next::Continue).unwrap();
    assert_eq!(world.exited(), (pid, KILLED));
    world.over();
}

fn killed_before<R: Rules>() {
    let (mut world, pid, _, stop) = three::<R>();
    world.tracer().kill(pid).unwrap();
    // On Linux the thread is seen to be at its stop until its own end has come.
    match world.tracer().halt(stop) {
        Ok(halted) => world.tracer().resume_halted(halted, |_| Next::Continue).unwrap(),
        Err(error) => assert!(matches!(error, Error::Gone { .. }), "{error}"),
    }
    assert_eq!(world.exited(), (pid, KILLED));
    world.over();
}

fn w4_a_thread_that_ends_and_leaves_nothing_running_is_told<R: Rules>() {
    for first in [false, true] {
        let (mut world, pid, tids, stop) = three::<R>();
        let last = tids[usize::from(!first)];
        let halted = world.tracer().halt(stop).unwrap();
        let next = |stop: &Stopped| match stop.tid() == last {
            true => Next::Continue,
            false => Next::Stay,
        };
        world.tracer().resume_halted(halted, next).unwrap();
        assert!(world.poll().is_none());
        world.kernel.exit_thread(last, 0);
        let event = world.next();
        assert!(matches!(event, Event::ThreadExited { tid, .. } if tid == last), "{event:?}");
        assert!(world.poll().is_none(), "told once");
        // The others are there.
        world.tracer().interrupt(pid).unwrap();
        let stop = world.stop_for(StopReason::Interrupted);
        assert_ne!(stop.tid(), last);
        let halted = world.tracer().halt(stop).unwrap();
        assert_eq!(halted.threads.len(), 2);
        world.tracer().resume_halted(halted, |_| Next::Continue).unwrap();
        assert!(world.run_all().is_empty());
        let left: Vec<_> = tids.into_iter().filter(|&tid| tid != last).collect();
        assert!(left.iter().all(|&tid| world.kernel.acts(tid)), "{first}");
    }
}

fn w4_a_thread_that_ends_beside_a_running_one_is_not<R: Rules>() {
    let (mut world, _, tids, stop) = three::<R>();
    let halted = world.tracer().halt(stop).unwrap();
    let next = |stop: &Stopped| match stop.tid() == tids[2] {
        true => Next::Stay,
        false => Next::Continue,
    };
    world.tracer().resume_halted(halted, next).unwrap();
    world.kernel.exit_thread(tids[1], 0);
    assert!(world.run_all().is_empty());
}

fn w4_threads_that_end_before_a_halt_leave_no_standstill<R: Rules>() {
    let (mut world, pid, tids, stop) = three::<R>();
    world.go(stop);
    for round in 0..3 {
        let new = world.new_thread(pid);
        if round > 0 {
            world.kernel.exit_thread(new, 0);
        }
        if let Some(&old) = tids.get(round + 1) {
            world.kernel.exit_thread(old, 0);
        }
        world.tracer().interrupt(pid).unwrap();
        let stop = world.stop_for(StopReason::Interrupted);
        let halted = world.tracer().halt(stop).unwrap();
        world.tracer().resume_halted(halted, |_| Next::Continue).unwrap();
        let told = world.run_all();
        assert!(told.is_empty(), "round {round}: {told:?}");
    }
}

fn interrupt_of_what_runs<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
    world.new_thread(pid);
    world.tracer().interrupt(pid).unwrap();
    let stop = world.stop_for(StopReason::Interrupted);
    assert_eq!((stop.pid(), stop.tid()), (pid, world.main(pid)));
    world.go(stop);
    world.idle();
}

fn interrupt_of_what_rests<R: Rules>() {
    let (mut world, pid, all, stop) = three::<R>();
    let mut halted = world.tracer().halt(stop).unwrap();
    halted.threads[0].set_signal(None).unwrap();
    world.tracer().resume_halted(halted, |_| Next::Stay).unwrap();
    assert!(world.poll().is_none());
    world.tracer().interrupt(pid).unwrap();
    let stop = world.stop_for(StopReason::Interrupted);
    let halted = world.tracer().halt(stop).unwrap();
    assert_eq!(tids(&halted), all);
    world.tracer().resume_halted(halted, |_| Next::Continue).unwrap();
    assert!(all_act(&world, all));
    world.idle();
}

fn a_stop_that_is_not_shown_answers_no_interrupt<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
    let main = world.main(pid);
    let child = world.kernel.fork(main, ForkKind::Vfork);
    world.run_all();
    // It can stop only when the vfork is over, and that stop takes the interrupt's place.
    world.tracer().interrupt(pid).unwrap();
    world.kernel.exit(world.main(child), 0);
    let mut interrupted = 0;
    for _ in 0..2 {
        match world.next() {
            Event::Stopped(stop) => {
                assert_eq!((stop.pid(), stop.reason()), (pid, StopReason::Interrupted));
                interrupted += 1;
                world.go(stop);
            }
            Event::Exited { pid: ended, .. } => assert_eq!(ended, child),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(interrupted, 1);
    world.idle();
    assert!(world.kernel.acts(main));
}

fn another_event_answers_an_interrupt<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
    world.kernel.signal(pid, Signal::USR1);
    world.tracer().interrupt(pid).unwrap();
    let stop = world.stop_for(USR1);
    world.go(stop);
    // On Linux the interrupt itself follows, and is no event.
    world.idle();
    assert!(world.kernel.acts(world.main(pid)));
}

/// Where a process stops as a whole, nothing waits for a held thread anyway.
#[test]
fn the_kernels_are_listed_as_blocked() {
    let (mut world, _, all, stop) = three::<LinuxRules>();
    world.kernel.sleep(all[1], true);
    let child = world.kernel.fork(all[2], ForkKind::Vfork);
    let fork = world.forked();
    world.go(fork);
    let mut halted = world.tracer().halt(stop).unwrap();
    halted.blocked.sort();
    assert_eq!((tids(&halted), halted.blocked.as_slice()), (vec![all[0]], &all[1..]));
    // What gets free meanwhile rests as well.
    world.kernel.sleep(all[1], false);
    world.kernel.exec(world.main(child), "new");
    let exec = world.stop_for(StopReason::Execed { former_tid: None });
    world.go(exec);
    assert!(world.poll().is_none());
    assert!(!all.iter().any(|&tid| world.kernel.acts(tid)));
    world.tracer().resume_halted(halted, |_| Next::Continue).unwrap();
    world.run_all();
    assert!(all_act(&world, all));
    world.idle();
}

/// The kernel does not say that it is held, and it does not stop either.
#[test]
fn who_does_not_answer_is_listed_as_blocked() {
    let (mut world, _, all, stop) = three::<LinuxRules>();
    world.kernel.hold(all[1]);
    let halted = world.tracer().halt(stop).unwrap();
    assert_eq!((tids(&halted).len(), halted.blocked.as_slice()), (2, &all[1..2]));
    world.kernel.release(all[1]);
    world.tracer().resume_halted(halted, |_| Next::Continue).unwrap();
    world.run_all();
    assert!(all_act(&world, all));
    world.idle();
}

/// What Linux keeps of it takes an interrupt, and never stops.
#[test]
fn a_first_thread_that_has_ended_answers_no_interrupt() {
    let (mut world, pid) = World::<LinuxRules>::with_process(EventFlags::PROCESS);
    let (main, other) = (world.main(pid), world.new_thread(pid));
    world.kernel.exit_thread(main, 0);
    world.idle();
    for next in [Next::Stay, Next::Continue] {
        // The other one runs at first, and then is at rest.
        world.tracer().interrupt(pid).unwrap();
        let stop = world.stop_for(StopReason::Interrupted);
        assert_eq!(stop.tid(), other);
        let halted = world.tracer().halt(stop).unwrap();
        assert_eq!((tids(&halted), halted.blocked.len()), (vec![other], 0));
        world.tracer().resume_halted(halted, |_| next).unwrap();
    }
    world.idle();
    world.tracer().detach_process(pid).unwrap();
    assert!(world.tracer().is_empty());
    assert!(world.kernel.acts(other));
}

/// On Linux a first thread that is about to end takes an interrupt and does not answer it; a moment
/// later it can be seen that it has ended.
#[test]
fn w4_an_interrupt_that_meets_a_first_thread_on_its_way_out() {
    let (mut world, pid, tids, stop) = three::<LinuxRules>();
    world.go(stop);
    world.kernel.before_requests(move |kernel, call| {
        if call.name == "interrupt" && kernel.acts(tids[0]) {
            kernel.exit_thread(tids[0], 0);
        }
    });
    world.tracer().interrupt(pid).unwrap();
    let stop = world.stop_for(StopReason::Interrupted);
    assert!(tids[1..].contains(&stop.tid()));
    world.go(stop);
    assert!(world.run_all().is_empty(), "one event for one interrupt");
}

/// The thread that is asked can be taken away by the exec of another one.
#[test]
fn w4_an_interrupt_that_meets_an_exec_of_another_thread() {
    let mut world = World::<LinuxRules>::new(EventFlags::empty());
    let pid = world.attach();
    let other = world.new_thread(pid);
    world.tracer().interrupt(pid).unwrap();
    world.kernel.exec(other, "other");
    let stop = world.stop_for(StopReason::Interrupted);
    world.go(stop);
    world.idle();
}
