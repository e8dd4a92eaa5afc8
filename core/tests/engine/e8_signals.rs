//! E8: signals reach the program once, unless the caller says otherwise.

use trapline_core::{Error, EventFlags, ExitStatus, Signal, StopReason};
use trapline_fake::{FreeBsdRules, LinuxRules, Rules};

use crate::common::*;

both![
    once,
    several_to_one_thread,
    suppressed,
    changed,
    stepped_into,
    a_trap_that_somebody_sent_is_the_programs,
    a_dropped_token_comes_again,
    only_at_signal_stops,
];

const USR1: StopReason = StopReason::Signal(Signal::USR1);

fn once<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
    let realtime = Signal::from_raw(65).unwrap();
    for signal in [Signal::USR1, Signal::CHLD, realtime] {
        world.kernel.signal(pid, signal);
        let stop = world.stop_for(StopReason::Signal(signal));
        assert_eq!(stop.signal(), Some(signal));
        assert_eq!(world.tracer().signal_info(&stop).unwrap().signal, signal);
        assert_eq!(world.kernel.delivered(pid, signal), 0);
        world.go(stop);
        assert_eq!(world.kernel.delivered(pid, signal), 1);
    }
    world.idle();
}

fn several_to_one_thread<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
    for _ in 0..3 {
        world.kernel.signal(pid, Signal::USR1);
    }
    assert_eq!(world.run_all().len(), 3);
    assert_eq!(world.kernel.delivered(pid, Signal::USR1), 3);
    world.idle();
}

fn suppressed<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
    world.kernel.signal(pid, Signal::USR1);
    let mut stop = world.stop_for(USR1);
    stop.set_signal(None).unwrap();
    world.go(stop);
    world.idle();
    assert!(world.kernel.deliveries().is_empty());
}

fn changed<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
    world.kernel.set_fatal(pid, Signal::TERM);
    world.kernel.signal(pid, Signal::USR1);
    let mut stop = world.stop_for(USR1);
    stop.set_signal(Some(Signal::TERM)).unwrap();
    world.go(stop);
    let status = ExitStatus::Killed { signal: Signal::TERM, core_dumped: false };
    assert_eq!(world.exited(), (pid, status));
    assert_eq!(world.kernel.delivered(pid, Signal::USR1), 0);
    world.over();
}

fn stepped_into<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
    world.kernel.signal(pid, Signal::USR1);
    let stop = world.stop_for(USR1);
    world.step(stop);
    assert_eq!(world.kernel.delivered(pid, Signal::USR1), 1);
    let stop = world.stop();
    assert!(matches!(stop.reason(), StopReason::Trap(causes) if causes.single_step));
    assert_eq!(stop.signal(), None, "the trap is the tracer's");
    world.go(stop);
    world.idle();
    assert_eq!(world.kernel.delivered(pid, Signal::TRAP), 0);
}

fn a_trap_that_somebody_sent_is_the_programs<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
    world.kernel.signal(pid, Signal::TRAP);
    let stop = world.stop_for(StopReason::Signal(Signal::TRAP));
    world.go(stop);
    assert_eq!(world.kernel.delivered(pid, Signal::TRAP), 1);
    world.idle();
}

fn a_dropped_token_comes_again<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
    world.kernel.signal(pid, Signal::USR1);
    let mut stop = world.stop_for(USR1);
    stop.set_signal(None).unwrap();
    drop(stop);
    assert!(world.kernel.deliveries().is_empty(), "nothing runs by it");
    let stop = world.stop_for(USR1);
    assert_eq!(stop.signal(), Some(Signal::USR1), "as it was");
    world.go(stop);
    assert_eq!(world.kernel.delivered(pid, Signal::USR1), 1);
    world.idle();
}

fn only_at_signal_stops<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
    world.kernel.exec(world.main(pid), "new");
    let mut stop = world.stop_for(StopReason::Execed { former_tid: None });
    assert!(matches!(stop.set_signal(Some(Signal::USR1)), Err(Error::NotSignalStop { .. })));
    assert!(matches!(stop.set_signal(None), Err(Error::NotSignalStop { .. })));
    assert!(matches!(world.tracer().signal_info(&stop), Err(Error::NotSignalStop { .. })));
    world.go(stop);
    world.idle();
}

#[test]
fn a_group_stop_stays_one() {
    let (mut world, pid) = World::<LinuxRules>::with_process(EventFlags::PROCESS);
    let (main, other) = (world.main(pid), world.new_thread(pid));
    world.kernel.signal_thread(main, Signal::TSTP);
    let stop = world.stop_for(StopReason::Signal(Signal::TSTP));
    world.go(stop);
    let mut stopped = Vec::new();
    for _ in 0..2 {
        let stop = world.stop_for(StopReason::GroupStop(Signal::TSTP));
        stopped.push(stop.tid());
        world.go(stop);
    }
    stopped.sort();
    assert_eq!(stopped, [main, other]);
    world.idle();
    assert!(!world.kernel.acts(main) && !world.kernel.acts(other), "resumed, but not continued");
    world.kernel.signal(pid, Signal::CONT);
    assert_eq!(world.run_all().len(), 1, "its end is no event, but SIGCONT is one");
    assert!(world.kernel.acts(main) && world.kernel.acts(other));
    assert_eq!(world.kernel.delivered(pid, Signal::CONT), 1);
    world.idle();
}

#[test]
fn freebsd_ignores_stop_signals_of_the_traced() {
    let (mut world, pid) = World::<FreeBsdRules>::with_process(EventFlags::PROCESS);
    world.kernel.signal(pid, Signal::TSTP);
    let stop = world.stop_for(StopReason::Signal(Signal::TSTP));
    world.go(stop);
    world.idle();
    assert!(world.kernel.acts(world.main(pid)));
}
