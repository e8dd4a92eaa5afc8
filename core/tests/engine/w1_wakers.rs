//! W1, the engine's part: no wake is lost, and none is taken for an event.

use trapline_core::{Event, EventFlags, Signal};
use trapline_fake::Rules;

use crate::common::*;

both![before_a_wait, during_a_wait, while_something_else_is_waited_for, is_about_no_process,];

fn before_a_wait<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
    let waker = world.tracer().waker().unwrap();
    waker.wake();
    assert!(matches!(world.tracer().wait().unwrap(), Some(Event::Woken)));
    world.kernel.signal(pid, Signal::USR1);
    let stop = world.stop();
    world.go(stop);
    world.idle();
}

fn during_a_wait<R: Rules>() {
    let (mut world, _) = World::<R>::with_process(EventFlags::PROCESS);
    let waker = world.tracer().waker().unwrap();
    world.kernel.when_idle(move |_| waker.clone().wake());
    assert!(matches!(world.tracer().wait().unwrap(), Some(Event::Woken)));
    assert_eq!(world.kernel.blocked_waits(), 0);
    world.idle();
}

fn while_something_else_is_waited_for<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
    let other = world.new_thread(pid);
    world.kernel.signal_thread(other, Signal::USR1);
    let stop = world.stop();
    let waker = world.tracer().waker().unwrap();
    waker.wake();
    let halted = world.tracer().halt(stop).unwrap();
    world.tracer().resume_halted(halted, |_| trapline_core::Next::Continue).unwrap();
    assert!(matches!(world.tracer().wait().unwrap(), Some(Event::Woken)));
    world.idle();
}

fn is_about_no_process<R: Rules>() {
    let (mut world, _) = World::<R>::with_process(EventFlags::PROCESS);
    let waker = world.tracer().waker().unwrap();
    waker.wake();
    let woken = world.tracer().wait().unwrap().unwrap();
    assert_eq!(woken.pid(), None);
    world.go(woken);
    world.idle();
}
