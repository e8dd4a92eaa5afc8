//! What a stop costs, in requests to the kernel.

use trapline_core::{EventFlags, ForkKind, Signal, StopReason};
use trapline_fake::Rules;

use crate::common::*;

both![
    a_signal,
    a_trap_of_the_programs_own,
    a_step,
    an_exec,
    a_fork,
    a_system_call,
    a_new_thread_that_nobody_wants_to_hear_of,
    an_exit,
    nothing_for_what_was_fetched_by_nobody,
];

impl<R: Rules> World<R> {
    /// The requests that the next event costs, from its wait to its resumption.
    fn price(&mut self) -> u64 {
        let before = self.tracer().requests();
        let event = self.next();
        self.go(event);
        self.tracer().requests() - before
    }
}

fn a_signal<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
    world.kernel.signal(pid, Signal::USR1);
    assert_eq!(world.price(), 2);
}

fn a_trap_of_the_programs_own<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
    world.kernel.signal(pid, Signal::TRAP);
    assert_eq!(world.price(), 2, "its cause is not asked for");
}

fn a_step<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
    world.kernel.signal(pid, Signal::USR1);
    let stop = world.stop();
    world.step(stop);
    let asked = u64::from(!R::RULES.tells_ids);
    assert_eq!(world.price(), 2 + asked);
}

fn an_exec<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
    world.kernel.exec(world.main(pid), "program");
    let asked = u64::from(!R::RULES.tells_ids);
    assert_eq!(world.price(), 2 + asked);
}

fn a_fork<R: Rules>() {
    for child_first in [false, true] {
        let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
        let main = world.main(pid);
        world.kernel.fork(main, ForkKind::Fork);
        if child_first {
            world.kernel.choose(|reports| Some(reports.len() - 1));
        }
        // Two waits, two resumptions, the message; and a setup where it is not inherited.
        assert_eq!(world.price(), 5);
    }
}

fn a_system_call<R: Rules>() {
    let flags = EventFlags::PROCESS | EventFlags::SYSCALL;
    let (mut world, pid) = World::<R>::with_process(flags);
    let main = world.main(pid);
    world.kernel.syscall_entry(main);
    assert_eq!(world.price(), 2);
    world.kernel.syscall_exit(main);
    assert_eq!(world.price(), 2);
}

fn a_new_thread_that_nobody_wants_to_hear_of<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
    let before = world.tracer().requests();
    world.kernel.thread(world.main(pid));
    assert!(world.poll().is_none());
    let price = world.tracer().requests() - before;
    // Two waits, two resumptions, the message; and the wait that finds nothing.
    assert_eq!(price, if R::RULES.tells_ids { 1 } else { 6 });
}

fn an_exit<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
    world.kernel.exit(world.main(pid), 0);
    // The wait, and who the parent was.
    assert_eq!(world.price(), 2);
    assert_eq!(world.tracer().wait().unwrap().map(|event| told(&event)), None);
}

fn nothing_for_what_was_fetched_by_nobody<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
    world.kernel.signal(pid, Signal::USR1);
    let stop = world.stop_for(StopReason::Signal(Signal::USR1));
    let before = world.tracer().requests();
    assert_eq!((stop.pid(), stop.signal()), (pid, Some(Signal::USR1)));
    assert_eq!(world.tracer().real_parent(pid).unwrap().map(|parent| parent.as_raw()), Some(1));
    assert_eq!(world.tracer().requests(), before);
    world.go(stop);
    world.idle();
}
