//! E8: signals reach the program once, as they were sent, unless the caller changes them.

use trapline::{
    Error, Event, EventFlags, ExitStatus, Resume, Signal, SignalSet, StopReason, Tracer,
};

use crate::common::*;
use crate::fixtures::{fixture, random_pauses, spin_for};

crate::tests![
    e8_signals_are_passed_on_once,
    e8_the_caller_suppresses_and_changes_them,
    e8_a_dropped_signal_stop_keeps_its_signal,
    e8_siginfo_is_untouched_and_can_be_read,
    e8_a_signal_can_be_set_only_at_a_signal_stop,
    e8_job_control_works_and_the_real_parent_sees_it,
    e8_a_step_is_a_trap_and_a_trap_of_the_programs_own_is_its_own,
    e8_a_signal_at_the_edge_of_a_sleep_is_told_once,
    e8_masks_and_signals_that_wait,
];

/// Traces to the end; `change` sees each signal stop. Returns the exit status of the program.
fn with_signals(
    command: std::process::Command,
    mut change: impl FnMut(&mut Tracer, &mut trapline::Stopped, Signal),
) -> ExitStatus {
    let mut tracer = tracer(EventFlags::PROCESS);
    let pid = tracer.spawn(command).unwrap().pid;
    let mut end = None;
    while let Some(mut event) = tracer.wait().unwrap() {
        match &mut event {
            Event::Stopped(stop) => {
                if let StopReason::Signal(signal) = stop.reason() {
                    change(&mut tracer, stop, signal);
                }
            }
            Event::Exited { pid: who, status, .. } if *who == pid => end = Some(*status),
            _ => {}
        }
        tracer.resume(event, Resume::Continue).unwrap();
    }
    end.unwrap()
}

fn e8_signals_are_passed_on_once() {
    let mut seen = Vec::new();
    let end = with_signals(fixture("counted", &[]), |_, stop, signal| {
        assert_eq!(stop.signal(), Some(signal));
        seen.push(signal);
    });
    assert_eq!(seen, [Signal::USR1, Signal::USR1, Signal::TERM, Signal::USR1]);
    assert_eq!(end, ExitStatus::Code(4));
}

fn e8_the_caller_suppresses_and_changes_them() {
    let end = with_signals(fixture("counted", &[]), |_, stop, signal| {
        if signal == Signal::USR1 {
            stop.set_signal(None).unwrap();
        }
    });
    assert_eq!(end, ExitStatus::Code(1));
    let end = with_signals(fixture("counted", &[]), |_, stop, signal| {
        if signal == Signal::TERM {
            stop.set_signal(Some(Signal::KILL)).unwrap();
        }
    });
    assert_eq!(end, killed_by(Signal::KILL));
}

fn e8_a_dropped_signal_stop_keeps_its_signal() {
    let mut tracer = tracer(EventFlags::PROCESS);
    tracer.spawn(fixture("counted", &[])).unwrap();
    let mut stops = 0;
    let mut end = None;
    while let Some(event) = tracer.wait().unwrap() {
        if let Event::Stopped(stop) = &event {
            if matches!(stop.reason(), StopReason::Signal(_)) {
                stops += 1;
                if stops % 2 == 1 {
                    continue; // dropped
                }
            }
        }
        if let Event::Exited { status, .. } = &event {
            end = Some(*status);
        }
        tracer.resume(event, Resume::Continue).unwrap();
    }
    assert_eq!((stops, end), (8, Some(ExitStatus::Code(4))));
}

fn e8_siginfo_is_untouched_and_can_be_read() {
    let mut sum = 0;
    let end = with_signals(fixture("queued", &[]), |tracer, stop, signal| {
        let info = tracer.signal_info(stop).unwrap();
        assert_eq!(info.signal, signal);
        assert_eq!(info.sender, Some(stop.pid()));
        sum += info.value.unwrap();
    });
    assert_eq!((sum, end), (210, ExitStatus::Code(0)));
    with_signals(fixture("crash", &["segv"]), |tracer, stop, signal| {
        assert_eq!(signal, Signal::SEGV);
        assert_eq!(tracer.signal_info(stop).unwrap().addr, Some(8));
    });
}

fn e8_a_signal_can_be_set_only_at_a_signal_stop() {
    let mut tracer = tracer(EventFlags::PROCESS);
    let mut stop = spawned(&mut tracer, fixture("exit", &["0"]));
    assert!(matches!(stop.set_signal(Some(Signal::TERM)), Err(Error::NotSignalStop { .. })));
    assert!(matches!(tracer.signal_info(&stop), Err(Error::NotSignalStop { .. })));
    tracer.resume(stop, Resume::Continue).unwrap();
    assert_eq!(next_exit(&mut tracer).1, ExitStatus::Code(0));
}

fn e8_job_control_works_and_the_real_parent_sees_it() {
    if cfg!(target_os = "freebsd") {
        skip("FreeBSD ignores the stop signals of a traced process");
    }
    let log = trace(EventFlags::PROCESS, fixture("stopped", &[]));
    let map = log.by_process();
    let child = &map["P2"];
    assert_eq!(*child, ["signal SIGTSTP", "group stop SIGTSTP", "signal SIGCONT", "exit 13 of P1"]);
    assert_eq!(*map["P1"].last().unwrap(), "exit 0 of us");
}

fn e8_a_step_is_a_trap_and_a_trap_of_the_programs_own_is_its_own() {
    let mut tracer = tracer(EventFlags::PROCESS);
    let mut stop = spawned(&mut tracer, fixture("exit", &["0"]));
    let mut last = 0;
    for _ in 0..50 {
        tracer.resume(stop, Resume::Step).unwrap();
        stop = next_stop(&mut tracer);
        let StopReason::Trap(causes) = stop.reason() else { panic!("{stop:?}") };
        assert!(causes.single_step);
        let pc = tracer.registers(&stop).unwrap().pc();
        assert_ne!(pc, 0);
        last = pc;
    }
    assert_ne!(last, 0);
    tracer.resume(stop, Resume::Continue).unwrap();
    assert_eq!(next_exit(&mut tracer).1, ExitStatus::Code(0));
    drop(tracer);
    // An int3 of the program kills it, traced or not.
    let end = with_signals(fixture("crash", &["breakpoint"]), |_, _, signal| {
        assert_eq!(signal, Signal::TRAP);
    });
    assert_eq!(end, killed_by(Signal::TRAP));
}

// FreeBSD reports one that comes while a thread is about to sleep a second time.
fn e8_a_signal_at_the_edge_of_a_sleep_is_told_once() {
    let (_child, pid) = crate::attach::ready("forward", &["400"]);
    let mut tracer = tracer(EventFlags::PROCESS);
    tracer.attach(pid).unwrap();
    let mut stop = next_stop(&mut tracer);
    let mut pauses = random_pauses(1, 1_500);
    let send = |signal: Signal| {
        assert!(kill(pid, signal.as_raw()));
    };
    for i in 0..400 {
        tracer.resume(stop, Resume::Continue).unwrap();
        if i % 2 == 0 {
            spin_for(pauses());
        }
        send(Signal::USR1);
        stop = next_stop(&mut tracer);
        assert_eq!(stop.reason(), StopReason::Signal(Signal::USR1), "{i}");
    }
    tracer.resume(stop, Resume::Continue).unwrap();
    send(Signal::TERM);
    let stop = next_stop(&mut tracer);
    assert_eq!(stop.reason(), StopReason::Signal(Signal::TERM));
    tracer.resume(stop, Resume::Continue).unwrap();
    assert_eq!(next_exit(&mut tracer).1, ExitStatus::Code(0));
}

fn e8_masks_and_signals_that_wait() {
    let mut tracer = tracer(EventFlags::PROCESS);
    let stop = spawned(&mut tracer, fixture("exit", &["3"]));
    let before = tracer.signal_mask(&stop).unwrap();
    let registers = tracer.registers(&stop).unwrap();
    let mut stack = vec![0; 8192];
    let below = registers.sp() - stack.len() as u64;
    let read = tracer.read_memory(&stop, below, &mut stack).unwrap_or(0);
    let blocked: SignalSet = [Signal::USR1, Signal::USR2, Signal::KILL].into_iter().collect();
    tracer.set_signal_mask(&stop, blocked).unwrap();
    let mask = tracer.signal_mask(&stop).unwrap();
    assert_eq!(mask.iter().collect::<SignalSet>(), mask);
    assert!(mask.contains(Signal::USR1) && mask.contains(Signal::USR2), "{mask:?}");
    assert!(!mask.contains(Signal::KILL) && !mask.contains(Signal::TERM), "{mask:?}");
    // Nothing else of it has changed.
    assert_eq!(tracer.registers(&stop).unwrap(), registers);
    let mut after = vec![0; stack.len()];
    assert_eq!(tracer.read_memory(&stop, below, &mut after).unwrap_or(0), read);
    assert_eq!(after, stack);

    assert_eq!(tracer.pending_signals(&stop).unwrap(), Default::default());
    tracer.send_signal(&stop, Signal::USR1).unwrap();
    kill(stop.pid(), libc::SIGUSR2);
    let pending = tracer.pending_signals(&stop).unwrap();
    assert_eq!(pending.thread.iter().collect::<Vec<_>>(), [Signal::USR1]);
    assert_eq!(pending.process.iter().collect::<Vec<_>>(), [Signal::USR2]);
    // What is let in comes, and what is not waits on.
    let mut rest = before;
    rest.insert(Signal::USR1);
    tracer.set_signal_mask(&stop, rest).unwrap();
    assert_eq!(tracer.signal_mask(&stop).unwrap(), rest);
    tracer.resume(stop, Resume::Continue).unwrap();
    let mut stop = next_stop(&mut tracer);
    assert_eq!(stop.reason(), StopReason::Signal(Signal::USR2));
    let pending = tracer.pending_signals(&stop).unwrap();
    assert_eq!(pending.thread.iter().collect::<Vec<_>>(), [Signal::USR1]);
    assert_eq!(pending.process, SignalSet::EMPTY);
    stop.set_signal(None).unwrap();
    tracer.resume(stop, Resume::Continue).unwrap();
    assert_eq!(next_exit(&mut tracer).1, ExitStatus::Code(3));
}
