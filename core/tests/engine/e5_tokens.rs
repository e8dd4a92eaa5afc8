//! E5: a token belongs to its tracer. To any other one it is gone.

use trapline_core::{Error, Event, Next, Resume, Signal, StopReason, Stopped, Tracer};
use trapline_fake::{Kernel, Rules};

use crate::common::*;

both![
    e5_a_token_of_another_tracer_is_gone,
    e5_a_token_of_a_tracer_that_is_gone,
    e5_a_token_dropped_after_a_kill_is_not_given_again,
];

const USR1: StopReason = StopReason::Signal(Signal::USR1);

/// A stop of a first thread.
fn stopped<R: Rules>(world: &mut World<R>) -> Stopped {
    let pid = world.attach();
    let main = world.main(pid);
    world.kernel.signal_thread(main, Signal::USR1);
    world.stop_for(USR1)
}

fn e5_a_token_of_another_tracer_is_gone<R: Rules>() {
    let (mut one, mut other) = (World::<R>::new(THREADS), World::<R>::new(THREADS));
    let (theirs, ours) = (stopped(&mut one), stopped(&mut other));
    assert!(matches!(other.tracer().registers(&theirs), Err(Error::Gone { .. })));
    assert!(matches!(other.tracer().send_signal(&theirs, Signal::USR2), Err(Error::Gone { .. })));
    let before = other.tracer().requests();
    assert!(matches!(other.tracer().resume(theirs, Resume::Continue), Err(Error::Gone { .. })));
    assert_eq!(other.tracer().requests(), before);
    // Its own tracer has it again.
    let theirs = one.stop_for(USR1);
    assert!(matches!(other.tracer().detach(theirs), Err(Error::Gone { .. })));
    let theirs = one.stop_for(USR1);
    assert!(matches!(other.tracer().halt(theirs), Err(Error::Gone { .. })));
    let theirs = one.stop_for(USR1);
    let halted = one.tracer().halt(theirs).unwrap();
    let resumed = other.tracer().resume_halted(halted, |_| Next::Continue);
    assert!(matches!(resumed, Err(Error::Gone { .. })));
    let theirs = one.stop_for(USR1);
    assert!(other.tracer().registers(&ours).is_ok());
    one.go(theirs);
    other.go(ours);
    one.idle();
    other.idle();
}

fn e5_a_token_of_a_tracer_that_is_gone<R: Rules>() {
    let kernel = Kernel::<R>::new();
    let mut first = Tracer::builder().build_on(kernel.backend());
    let pid = kernel.start();
    first.attach(pid).unwrap();
    let stale = first.wait().unwrap().unwrap().into_stops().next().unwrap();
    drop(first);
    let mut next = World::<R>::new(THREADS);
    let ours = stopped(&mut next);
    assert!(matches!(next.tracer().registers(&stale), Err(Error::Gone { .. })));
    assert!(matches!(next.tracer().resume(stale, Resume::Continue), Err(Error::Gone { .. })));
    assert!(next.tracer().registers(&ours).is_ok());
    next.go(ours);
    next.idle();
}

fn e5_a_token_dropped_after_a_kill_is_not_given_again<R: Rules>() {
    let mut world = World::<R>::new(THREADS);
    let stop = stopped(&mut world);
    let (pid, tid) = (stop.pid(), stop.tid());
    // Its end takes a while to be reported.
    world.kernel.hold(tid);
    world.tracer().kill(pid).unwrap();
    drop(stop);
    assert!(world.poll().is_none());
    world.kernel.release(tid);
    assert!(matches!(world.next(), Event::Exited { status: KILLED, .. }));
    world.idle();
}
