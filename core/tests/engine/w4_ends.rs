//! W4 and E5: threads that end, or are killed, while others of their process are kept stopped.

use trapline_core::{Event, EventFlags, Next, Pid, Signal, StopReason, Stopped, Tid};
use trapline_fake::Rules;

use crate::common::*;

both![
    w4_a_first_thread_that_ends_during_a_halt_is_not_told,
    w4_a_first_thread_that_ends_while_the_others_stay_is_told,
    w4_a_first_thread_that_ends_before_the_others_are_run_is_not_told,
    e5_a_process_is_killed_whose_thread_stays_at_its_end,
    e5_a_process_is_killed_whose_threads_stay,
];

const USR1: StopReason = StopReason::Signal(Signal::USR1);

/// A process of two threads that tell of their ends.
fn two<R: Rules>(flags: EventFlags) -> (World<R>, Pid, [Tid; 2]) {
    let (mut world, pid) = World::<R>::with_process(flags | EventFlags::EXIT);
    let other = world.new_thread(pid);
    let main = world.main(pid);
    (world, pid, [main, other])
}

/// What is to be done with the threads: this one stays.
fn stays(tid: Tid) -> impl FnMut(&Stopped) -> Next {
    move |stop| if stop.tid() == tid { Next::Stay } else { Next::Continue }
}

/// The others rest for the halt alone, and run on after it.
fn w4_a_first_thread_that_ends_during_a_halt_is_not_told<R: Rules>() {
    let (mut world, _, [main, other]) = two::<R>(EventFlags::PROCESS);
    world.kernel.signal_thread(other, Signal::USR1);
    world.kernel.exit_thread(main, 0);
    world.kernel.choose(move |reports| reports.iter().position(|report| report.tid == other));
    let stop = world.stop_for(USR1);
    world.kernel.choose(|_| Some(0));
    let halted = world.tracer().halt(stop).unwrap();
    world.tracer().resume_halted(halted, |_| Next::Continue).unwrap();
    assert_eq!(world.run_all(), [format!("{main} ThreadExiting")]);
    assert!(world.kernel.acts(other));
}

/// It is told once it is run out of its exit stop.
fn w4_a_first_thread_that_ends_while_the_others_stay_is_told<R: Rules>() {
    let (mut world, pid, [main, other]) = two::<R>(EventFlags::PROCESS);
    world.kernel.exit_thread(main, 0);
    let stop = world.stop_for(StopReason::ThreadExiting);
    let halted = world.tracer().halt(stop).unwrap();
    world.tracer().resume_halted(halted, stays(other)).unwrap();
    assert_eq!(world.run_all(), [format!("{main} ended")]);
    world.tracer().interrupt(pid).unwrap();
    let stop = world.stop_for(StopReason::Interrupted);
    assert_eq!(stop.tid(), other);
    world.go(stop);
    assert_eq!(world.run_all(), [] as [&str; 0]);
}

/// The user has the tokens of the others, and runs them before the next wait.
fn w4_a_first_thread_that_ends_before_the_others_are_run_is_not_told<R: Rules>() {
    let (mut world, _, [main, other]) = two::<R>(EventFlags::PROCESS);
    world.kernel.exit_thread(main, 0);
    let exiting = world.stop_for(StopReason::ThreadExiting);
    let halted = world.tracer().halt(exiting).unwrap();
    assert_eq!(halted.threads[0].tid(), main);
    for stop in halted.threads {
        world.go(stop);
    }
    let told = world.run_all();
    assert!(!told.contains(&format!("{main} ended")), "{told:?}");
    assert!(world.kernel.acts(other));
}

/// SIGKILL does not take it out of that stop, and nobody has a token to run it.
fn e5_a_process_is_killed_whose_thread_stays_at_its_end<R: Rules>() {
    let (mut world, pid, [main, other]) = two::<R>(THREADS);
    world.kernel.exit_thread(other, 0);
    let stop = world.stop_for(StopReason::ThreadExiting);
    let halted = world.tracer().halt(stop).unwrap();
    world.tracer().resume_halted(halted, stays(other)).unwrap();
    assert!(world.poll().is_none() && world.kernel.acts(main));
    world.tracer().kill(pid).unwrap();
    ends(&mut world, pid);
}

/// They leave their stops for their exit stops, which are told.
fn e5_a_process_is_killed_whose_threads_stay<R: Rules>() {
    for by_the_tracer in [false, true] {
        let (mut world, pid, [main, _]) = two::<R>(THREADS);
        world.kernel.signal_thread(main, Signal::USR1);
        let mut stop = world.stop_for(USR1);
        stop.set_signal(None).unwrap();
        let halted = world.tracer().halt(stop).unwrap();
        world.tracer().resume_halted(halted, |_| Next::Stay).unwrap();
        assert!(world.poll().is_none());
        match by_the_tracer {
            true => world.tracer().kill(pid).unwrap(),
            false => world.kernel.kill(pid),
        }
        if !R::RULES.kills_stopped && !by_the_tracer {
            // It is killed once somebody runs it.
            world.tracer().interrupt(pid).unwrap();
        }
        ends(&mut world, pid);
    }
}

/// Resumes what comes until the process has ended.
fn ends<R: Rules>(world: &mut World<R>, pid: Pid) {
    loop {
        match world.next() {
            Event::Exited { pid: ended, status, .. } => {
                assert_eq!((ended, status), (pid, KILLED));
                return world.over();
            }
            event => world.go(event),
        }
    }
}
