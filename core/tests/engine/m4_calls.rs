//! M4: what a thread does for its tracer, and that it is where it was afterwards.

use trapline_core::{
    Arch, Backend, CallOutcome, Error, Event, EventFlags, ForkKind, Signal, SoftwareBreakpoint,
    StopReason, Stopped,
};
use trapline_fake::{ENTRY_POINT, Fake, FakeRegisters, Rules};

use crate::common::*;

both![
    a_system_call_changes_nothing,
    no_call_where_a_thread_can_execute_nothing,
    a_function_returns_to_where_it_was_called,
    rules_of_a_breakpoint_where_it_returns_to,
    a_call_at_a_signal_keeps_it,
    a_call_at_a_breakpoint_is_no_new_arrival,
    what_comes_inside_a_function_is_told,
    a_call_is_given_up,
    others_keep_their_events,
    a_thread_that_dies_inside,
    a_call_is_changed_and_skipped,
];

const PLACE: u64 = 0x1000;
pub(crate) const FUNCTION: u64 = 0x2000;
const NOP: u8 = 0x90;
const HALT: u8 = 0xf4;
const JUMP: u8 = 0xe9;

/// A function that does nothing and goes to where functions return to.
fn function() -> Vec<u8> {
    let mut code = vec![NOP, NOP, JUMP];
    code.extend(ENTRY_POINT.to_le_bytes());
    code
}

pub(crate) fn world<R: Rules>(flags: EventFlags) -> (World<R>, trapline_core::Pid) {
    let (world, pid) = World::<R>::with_process(flags);
    world.kernel.map(pid, PLACE, &[NOP, NOP, NOP, HALT]);
    world.kernel.map(pid, FUNCTION, &function());
    world.kernel.map(pid, ENTRY_POINT, &[NOP, HALT]);
    (world, pid)
}

fn registers<R: Rules>(world: &mut World<R>, stop: &Stopped) -> FakeRegisters {
    world.tracer().registers(stop).unwrap()
}

fn returned<R: Rules>(outcome: CallOutcome<Fake<R>>) -> (Stopped, u64)
where
    Fake<R>: Backend,
{
    match outcome {
        CallOutcome::Returned { stop, value } => (stop, value),
        other => panic!("{other:?}"),
    }
}

fn a_system_call_changes_nothing<R: Rules>() {
    let (mut world, pid) = world::<R>(EventFlags::PROCESS);
    world.kernel.signal(pid, Signal::USR1);
    let mut stop = world.stop();
    let before = registers(&mut world, &stop);
    assert_eq!(world.tracer().call_syscall(&mut stop, 7, [1, 2]).unwrap(), 10);
    assert_eq!(world.tracer().call_syscall(&mut stop, 0, []).unwrap(), -38, "an error number");
    assert_eq!(registers(&mut world, &stop), before);
    world.go(stop);
    assert_eq!(world.kernel.delivered(pid, Signal::USR1), 1);
    world.idle();
}

fn no_call_where_a_thread_can_execute_nothing<R: Rules>() {
    let (mut world, pid) = world::<R>(EventFlags::PROCESS);
    world.kernel.fork(world.main(pid), ForkKind::Vfork);
    let fork = world.forked();
    let mut parent = fork.parent.into_stopped().unwrap();
    let mut child = fork.child.into_stopped().unwrap();
    let called = world.tracer().call_syscall(&mut parent, 7, []);
    assert!(matches!(called, Err(Error::NotStopped { .. })), "{called:?}");
    assert_eq!(world.tracer().call_syscall(&mut child, 7, []).unwrap(), 7);
    let called = world.tracer().call_function(parent, FUNCTION, []);
    assert!(matches!(called, Err(Error::NotStopped { .. })), "{called:?}");
    // Its token was given back.
    let parent = world.stop();
    assert_eq!(parent.reason(), StopReason::Forked);
    world.go(child);
    world.go(parent);
    world.idle();
}

fn a_function_returns_to_where_it_was_called<R: Rules>() {
    let (mut world, pid) = world::<R>(EventFlags::PROCESS);
    let main = world.main(pid);
    world.kernel.jump(main, PLACE);
    world.kernel.signal(pid, Signal::USR1);
    let stop = world.stop();
    let before = registers(&mut world, &stop);
    let outcome = world.tracer().call_function(stop, FUNCTION, [42]).unwrap();
    let (stop, value) = returned(outcome);
    assert_eq!(value, 42);
    assert_eq!(registers(&mut world, &stop), before);
    assert_eq!(world.tracer().breakpoints(pid).unwrap().count(), 0);
    assert_eq!(world.kernel.memory(pid, ENTRY_POINT, 1), [NOP]);
    assert_eq!(world.kernel.executed(pid, FUNCTION), 1);
    let many = world.tracer().call_function(stop, FUNCTION, [1, 2]);
    assert!(matches!(many, Err(Error::Unsupported { .. })), "{many:?}");
    let stop = world.stop();
    world.go(stop);
    world.idle();
}

/// Where a call returns to the user can have a breakpoint that reports other arrivals.
fn rules_of_a_breakpoint_where_it_returns_to<R: Rules>() {
    for once in [false, true] {
        let (mut world, pid) = world::<R>(EventFlags::PROCESS);
        let main = world.main(pid);
        let entry = SoftwareBreakpoint::at(ENTRY_POINT);
        let ruled = if once { entry.once() } else { entry.ignore(1) };
        let id = world.tracer().insert_breakpoint(pid, ruled).unwrap();
        world.kernel.jump(main, PLACE);
        world.kernel.signal(pid, Signal::USR1);
        let mut stop = world.stop();
        stop.set_signal(None).unwrap();
        let outcome = world.tracer().call_function(stop, FUNCTION, [42]).unwrap();
        let (stop, value) = returned(outcome);
        assert_eq!(value, 42);
        // The arrivals of the program itself count as before.
        world.go(stop);
        assert_eq!(world.tracer().breakpoints(pid).unwrap().count(), 1);
        if !once {
            world.kernel.jump(main, ENTRY_POINT);
            world.idle();
        }
        world.kernel.jump(main, ENTRY_POINT);
        let stop = world.stop();
        let StopReason::Trap(causes) = stop.reason() else { panic!("{stop:?}") };
        assert_eq!(causes.software, Some(id));
        world.go(stop);
        assert_eq!(world.tracer().breakpoints(pid).unwrap().count(), usize::from(!once));
        world.idle();
    }
}

fn a_call_at_a_signal_keeps_it<R: Rules>() {
    for passed in [false, true] {
        let (mut world, pid) = world::<R>(EventFlags::PROCESS);
        world.kernel.signal(pid, Signal::USR1);
        let mut stop = world.stop_for(StopReason::Signal(Signal::USR1));
        if !passed {
            stop.set_signal(None).unwrap();
        }
        let outcome = world.tracer().call_function(stop, FUNCTION, []).unwrap();
        let (stop, _) = returned(outcome);
        assert_eq!(stop.reason(), StopReason::Signal(Signal::USR1));
        assert_eq!(stop.signal(), passed.then_some(Signal::USR1));
        world.go(stop);
        assert_eq!(world.kernel.delivered(pid, Signal::USR1), usize::from(passed));
        world.idle();
    }
}

fn a_call_at_a_breakpoint_is_no_new_arrival<R: Rules>() {
    let (mut world, pid) = world::<R>(EventFlags::PROCESS);
    let main = world.main(pid);
    let id = world.tracer().insert_breakpoint(pid, SoftwareBreakpoint { addr: PLACE }).unwrap();
    world.kernel.jump(main, PLACE);
    for _ in 0..2 {
        let stop = world.stop();
        assert!(matches!(stop.reason(), StopReason::Trap(causes) if causes.software == Some(id)));
        let (stop, _) = returned(world.tracer().call_function(stop, FUNCTION, []).unwrap());
        assert!(matches!(stop.reason(), StopReason::Trap(causes) if causes.software == Some(id)));
        assert_eq!(<R::Cpu as Arch>::pc(&registers(&mut world, &stop)), PLACE);
        world.go(stop);
        let none = world.tracer().try_wait().unwrap();
        assert!(none.is_pending(), "{none:?}");
        world.kernel.jump(main, PLACE);
    }
    let stop = world.stop();
    world.go(stop);
    assert_eq!(world.kernel.executed(pid, PLACE), 3, "each time once");
    assert!(world.tracer().remove_breakpoint(pid, id).unwrap());
    world.idle();
}

fn what_comes_inside_a_function_is_told<R: Rules>() {
    let (mut world, pid) = world::<R>(EventFlags::PROCESS);
    let id =
        world.tracer().insert_breakpoint(pid, SoftwareBreakpoint { addr: FUNCTION + 1 }).unwrap();
    world.kernel.signal(pid, Signal::USR1);
    let stop = world.stop();
    let before = registers(&mut world, &stop);
    let outcome = world.tracer().call_function(stop, FUNCTION, [9]).unwrap();
    let CallOutcome::Interrupted { event: Event::Stopped(stop), call } = outcome else {
        panic!("{outcome:?}");
    };
    assert_eq!((call.pid(), call.tid()), (pid, stop.tid()));
    assert!(matches!(stop.reason(), StopReason::Trap(causes) if causes.software == Some(id)));
    assert_eq!(registers(&mut world, &stop).pc, FUNCTION + 1);
    let (stop, value) = returned(world.tracer().continue_call(stop, call).unwrap());
    assert_eq!((value, stop.reason()), (9, StopReason::Signal(Signal::USR1)));
    assert_eq!(registers(&mut world, &stop), before);
    world.go(stop);
    assert_eq!(world.kernel.delivered(pid, Signal::USR1), 1);
    assert!(world.tracer().remove_breakpoint(pid, id).unwrap());
    world.idle();
}

fn a_call_is_given_up<R: Rules>() {
    let (mut world, pid) = world::<R>(EventFlags::PROCESS);
    world.tracer().insert_breakpoint(pid, SoftwareBreakpoint { addr: FUNCTION }).unwrap();
    world.kernel.signal(pid, Signal::USR1);
    let stop = world.stop();
    let before = registers(&mut world, &stop);
    let outcome = world.tracer().call_function(stop, FUNCTION, []).unwrap();
    let CallOutcome::Interrupted { event: Event::Stopped(stop), call } = outcome else {
        panic!("{outcome:?}");
    };
    world.kernel.signal(pid, Signal::USR2);
    let outcome = world.tracer().continue_call(stop, call).unwrap();
    let CallOutcome::Interrupted { event: Event::Stopped(stop), call } = outcome else {
        panic!("{outcome:?}");
    };
    assert_eq!(stop.reason(), StopReason::Signal(Signal::USR2));
    let stop = world.tracer().abandon_call(stop, call).unwrap();
    assert_eq!(stop.reason(), StopReason::Signal(Signal::USR1));
    assert_eq!(registers(&mut world, &stop), before);
    assert_eq!(world.tracer().breakpoints(pid).unwrap().count(), 1, "its own");
    world.go(stop);
    let stop = world.stop_for(StopReason::Signal(Signal::USR2));
    world.go(stop);
    for signal in [Signal::USR1, Signal::USR2] {
        assert_eq!(world.kernel.delivered(pid, signal), 1);
    }
    world.idle();
}

/// The call of one thread needs nothing of another one that has stopped.
fn others_keep_their_events<R: Rules>() {
    let (mut world, pid) = world::<R>(EventFlags::PROCESS);
    let (main, other) = (world.main(pid), world.new_thread(pid));
    for at in [PLACE, PLACE + 1] {
        world.kernel.jump(main, PLACE);
        world.kernel.jump(other, at);
        let executed = world.kernel.executions(0).len();
        world.kernel.signal_thread(other, Signal::USR2);
        let theirs = world.stop_for(StopReason::Signal(Signal::USR2));
        let halted = world.tracer().halt(theirs).unwrap();
        let mut threads = halted.threads.into_iter();
        let theirs = threads.next().unwrap();
        let own = threads.next().unwrap();
        assert_eq!(own.tid(), main);
        let (own, value) = returned(world.tracer().call_function(own, FUNCTION, [3]).unwrap());
        assert_eq!((value, own.reason()), (3, StopReason::Halted));
        let theirs_alone = |run: &trapline_fake::Execution| run.tid == other;
        let others =
            world.kernel.executions(executed).iter().filter(|run| theirs_alone(run)).count();
        assert_eq!(others, 0, "the other one has not run");
        world.go(own);
        world.go(theirs);
        world.idle();
    }
    assert_eq!(world.kernel.delivered(pid, Signal::USR2), 2);
}

fn a_thread_that_dies_inside<R: Rules>() {
    let (mut world, pid) = world::<R>(EventFlags::PROCESS);
    world.kernel.map(pid, FUNCTION, &[HALT]);
    world.kernel.signal(pid, Signal::USR1);
    let stop = world.stop();
    world.kernel.when_idle(move |kernel| kernel.kill(pid));
    let outcome = world.tracer().call_function(stop, FUNCTION, []).unwrap();
    let CallOutcome::Interrupted { event, call } = outcome else { panic!("{outcome:?}") };
    assert!(matches!(event, Event::Exited { pid: ended, .. } if ended == pid), "{event:?}");
    drop(call);
    world.over();
}

fn a_call_is_changed_and_skipped<R: Rules>() {
    let (mut world, pid) = world::<R>(EventFlags::PROCESS | EventFlags::SYSCALL);
    let main = world.main(pid);
    for skip in [false, true] {
        world.kernel.syscall_entry(main);
        let stop = world.stop_for(StopReason::SyscallEntry);
        let known = world.tracer().syscall(&stop).unwrap();
        match skip {
            true => world.tracer().skip_syscall(&stop).unwrap(),
            false => world.tracer().set_syscall(&stop, 5, [6; 6]).unwrap(),
        }
        let wrong = world.tracer().set_syscall_result(&stop, Ok(1));
        assert!(matches!(wrong, Err(Error::NotStopped { .. })), "{wrong:?}");
        world.go(stop);
        world.kernel.syscall_exit(main);
        let stop = world.stop_for(StopReason::SyscallExit);
        let call = world.tracer().syscall(&stop).unwrap();
        let number = if skip { known.number } else { 5 };
        assert_eq!((call.number, call.result), (number, Some(if skip { Err(38) } else { Ok(0) })));
        world.tracer().set_syscall_result(&stop, Ok(9)).unwrap();
        assert_eq!(world.tracer().syscall(&stop).unwrap().result, Some(Ok(9)));
        let wrong = world.tracer().skip_syscall(&stop);
        assert!(matches!(wrong, Err(Error::NotStopped { .. })), "{wrong:?}");
        world.go(stop);
    }
    world.idle();
}
