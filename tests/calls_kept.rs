//! M4: what a call finds at the stop that it is made at is there afterwards.

use trapline::{Error, Event, EventFlags, ExitStatus, Resume, Signal, StopReason};

use crate::calls::pid_of;
use crate::common::*;
use crate::fixtures::fixture;

crate::tests![
    m4_a_trap_that_waits_is_not_lost,
    m4_a_signal_with_a_negative_code,
    m4_the_result_of_an_exec_is_kept,
    m4_a_group_stop_stays_one,
    m4_an_exec_takes_a_thread_out_of_its_call,
];

/// A `SIGTRAP` that somebody else has sent waits while a thread is led to a call and back, which takes
/// stops of that number.
fn m4_a_trap_that_waits_is_not_lost() {
    let mut tracer = tracer(EventFlags::PROCESS);
    let mut stop = spawned(&mut tracer, fixture("exit", &["3"]));
    assert!(kill(stop.pid(), libc::SIGTRAP));
    assert!(pid_of(&mut tracer, &mut stop).is_some());
    tracer.resume(stop, Resume::Continue).unwrap();
    let mut stop = next_stop(&mut tracer);
    assert_eq!(stop.reason(), StopReason::Signal(Signal::TRAP));
    assert_eq!(tracer.signal_info(&stop).unwrap().sender, Some(trapline::Pid::this()));
    assert!(pid_of(&mut tracer, &mut stop).is_some());
    stop.set_signal(None).unwrap();
    tracer.resume(stop, Resume::Continue).unwrap();
    assert_eq!(next_exit(&mut tracer).1, ExitStatus::Code(3));
}

/// The code of a signal that a program has queued is negative on Linux, and no event of a stop.
fn m4_a_signal_with_a_negative_code() {
    let (mut sum, mut calls) = (0, 0);
    let mut tracer = tracer(EventFlags::PROCESS);
    tracer.spawn(fixture("queued", &[])).unwrap();
    let mut end = None;
    run_with(&mut tracer, |tracer, mut event| {
        match &mut event {
            Event::Stopped(stop) => {
                calls += usize::from(pid_of(tracer, stop).is_some());
                if let StopReason::Signal(signal) = stop.reason() {
                    let info = tracer.signal_info(stop).unwrap();
                    assert_eq!((info.signal, info.sender), (signal, Some(stop.pid())));
                    sum += info.value.unwrap();
                }
            }
            Event::Exited { status, .. } => end = Some(*status),
            _ => {}
        }
        Some(event)
    });
    assert_eq!((sum, end), (210, Some(ExitStatus::Code(0))));
    assert!(calls > 20, "{calls} calls");
}

/// An exec has done its work when it is reported, and its result is yet to come.
fn m4_the_result_of_an_exec_is_kept() {
    let mut tracer = tracer(EventFlags::PROCESS | EventFlags::SYSCALL);
    let mut stop = spawned(&mut tracer, fixture("exit", &["3"]));
    assert!(pid_of(&mut tracer, &mut stop).is_some());
    tracer.resume(stop, Resume::Continue).unwrap();
    let stop = next_stop(&mut tracer);
    assert_eq!(stop.reason(), StopReason::SyscallExit);
    let call = tracer.syscall(&stop).unwrap();
    assert_eq!(call.result, Some(Ok(0)), "{call:?}");
    tracer.set_events(stop.pid(), EventFlags::PROCESS).unwrap();
    tracer.resume(stop, Resume::Continue).unwrap();
    assert_eq!(next_exit(&mut tracer).1, ExitStatus::Code(3));
}

fn m4_a_group_stop_stays_one() {
    if cfg!(target_os = "freebsd") {
        skip("FreeBSD ignores the stop signals of a traced process");
    }
    let mut tracer = tracer(EventFlags::PROCESS);
    tracer.spawn(fixture("stopped", &[])).unwrap();
    let mut called = false;
    let log = run_with(&mut tracer, |tracer, mut event| {
        if let Event::Stopped(stop) = &mut event {
            let made = pid_of(tracer, stop).is_some();
            called |= made && matches!(stop.reason(), StopReason::GroupStop(_));
        }
        Some(event)
    });
    assert!(called, "no call in the group-stop");
    let map = log.by_process();
    let child = &map["P2"];
    assert_eq!(*child, ["signal SIGTSTP", "group stop SIGTSTP", "signal SIGCONT", "exit 13 of P1"]);
    assert_eq!(*map["P1"].last().unwrap(), "exit 0 of us");
}

/// A call that sleeps, and an exec of another thread meanwhile, which waits for a third one to be
/// waited for.
fn m4_an_exec_takes_a_thread_out_of_its_call() {
    #[cfg(target_os = "linux")]
    const SLEEP: u64 = libc::SYS_ppoll as u64;
    #[cfg(target_os = "freebsd")]
    const SLEEP: u64 = 0;
    if cfg!(target_os = "freebsd") {
        skip("FreeBSD runs no other thread while one makes a call");
    }
    let mut tracer = tracer(EventFlags::PROCESS | EventFlags::THREAD);
    let stop = spawned(&mut tracer, fixture("exec-from-thread", &["3", "awaited"]));
    let pid = stop.pid();
    tracer.resume(stop, Resume::Continue).unwrap();
    // All but the first one are kept, the one that execs among them.
    let kept: Vec<_> = (0..4).map(|_| next_stop(&mut tracer)).collect();
    assert!(kept.iter().all(|stop| stop.reason() == StopReason::ThreadStarted), "{kept:?}");
    tracer.interrupt(pid).unwrap();
    let mut first = next_stop(&mut tracer);
    assert_eq!(first.tid().as_raw(), pid.as_raw());
    for stop in kept {
        tracer.resume(stop, Resume::Continue).unwrap();
    }
    let called = tracer.call_syscall(&mut first, SLEEP, [0; 5]);
    assert!(matches!(called, Err(Error::Gone { .. })), "{called:?}");
    drop(first);
    let mut execs = 0;
    let mut end = None;
    run_with(&mut tracer, |_, event| {
        match &event {
            Event::Stopped(stop) => {
                execs += usize::from(matches!(stop.reason(), StopReason::Execed { .. }));
            }
            Event::Exited { status, .. } => end = Some(*status),
            _ => {}
        }
        Some(event)
    });
    assert_eq!((execs, end), (1, Some(ExitStatus::Code(11))));
}
