//! E4: every process ends once; threads begin and end under THREAD.

use std::process::Stdio;

use trapline::{Event, EventFlags, ExitStatus, Next, Pid, Resume, StopReason, Stopped};

use crate::common::*;
use crate::fixtures::fixture;

crate::tests![
    e4_an_end_that_leaves_nothing_running_is_told,
    e4_killed_before_its_first_stop,
    e4_exit_codes_and_killing_signals,
    e4_the_first_thread_ends_first,
    e4_a_process_whose_first_thread_has_ended_is_halted_and_let_go,
    e4_threads_are_born_and_end_once,
    e4_threads_are_silent_without_the_flag,
    e4_many_threads_that_fork_and_exec,
    e4_an_exiting_thread_can_still_be_asked,
    f4_the_real_parent_is_not_the_tracer,
    f4_orphans,
    f4_a_child_of_its_parents_parent,
];

/// Whether the first thread of a Linux process has ended.
pub fn is_zombie(pid: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit_once(')').is_some_and(|(_, state)| state.starts_with(" Z"))
}

/// Has the first thread of a process end while the other one stays at rest; false if it had ended
/// before that.
fn first_thread_ends_alone() -> bool {
    let mut tracer = tracer(EventFlags::PROCESS | EventFlags::THREAD);
    let mut command = fixture("leader-first", &["wait"]);
    command.stdin(Stdio::piped());
    let spawned = tracer.spawn(command).unwrap();
    let (pid, input) = (spawned.pid, spawned.stdin);
    let stop = next_stop(&mut tracer);
    let first = stop.tid();
    tracer.resume(stop, Resume::Continue).unwrap();
    let stop = next_stop(&mut tracer);
    assert_eq!(stop.reason(), StopReason::ThreadStarted);
    let other = stop.tid();
    tracer.set_events(pid, EventFlags::PROCESS).unwrap();
    let halted = tracer.halt(stop).unwrap();
    if halted.threads.len() < 2 {
        tracer.kill(pid).unwrap();
        drop(halted);
        run(&mut tracer);
        return false;
    }
    let next = |stop: &Stopped| if stop.tid() == other { Next::Stay } else { Next::Continue };
    tracer.resume_halted(halted, next).unwrap();
    let event = tracer.wait().unwrap().unwrap();
    let told = matches!(event, Event::ThreadExited { tid, .. } if tid == first);
    assert!(told, "{event:?}");
    // The process can go on.
    tracer.interrupt(pid).unwrap();
    let stop = next_stop(&mut tracer);
    assert_eq!((stop.tid(), stop.reason()), (other, StopReason::Interrupted));
    drop(input);
    tracer.resume(stop, Resume::Continue).unwrap();
    assert_eq!(next_exit(&mut tracer), (pid, ExitStatus::Code(21)));
    true
}

fn e4_an_end_that_leaves_nothing_running_is_told() {
    // It may have ended before the other one has stopped for the first time.
    assert!((0..100).any(|_| first_thread_ends_alone()));
}

fn e4_killed_before_its_first_stop() {
    for _ in 0..20 {
        let flags = EventFlags::PROCESS | EventFlags::THREAD | EventFlags::EXIT;
        let mut tracer = tracer(flags);
        let pid = tracer.spawn(fixture("born-dying", &[])).unwrap().pid;
        let (mut first, mut told) = (None, Vec::new());
        run_with(&mut tracer, |_, event| {
            match &event {
                Event::Stopped(stop) => {
                    first = first.or(Some(stop.tid()));
                    if first != Some(stop.tid()) {
                        told.push(format!("{:?}", stop.reason()));
                    }
                }
                Event::ThreadExited { .. } => told.push("ThreadExited".to_string()),
                Event::Exited { pid: of, .. } => assert_eq!(*of, pid),
                _ => {}
            }
            Some(event)
        });
        // The kill that is part of an exit can swallow the stop at the end of a thread.
        let all = ["ThreadStarted", "ThreadExiting", "ThreadExited"];
        let some = [all[0], all[2]];
        assert!(told.is_empty() || told == all || told == some, "{told:?}");
    }
}

fn e4_exit_codes_and_killing_signals() {
    for (args, end) in [
        (vec!["exit", "0"], "exit 0 of us"),
        (vec!["exit", "255"], "exit 255 of us"),
        (vec!["crash", "kill"], "killed SIGKILL of us"),
    ] {
        let log = trace(EventFlags::PROCESS, fixture(args[0], &args[1..]));
        let events: Vec<_> = log.lines.iter().map(|(_, e)| &**e).collect();
        assert_eq!(events, ["exec", end]);
    }
    // A signal that most libraries have no name for.
    let realtime = fixture("crash", &[&crate::fixtures::realtime().to_string()]);
    let log = trace(EventFlags::PROCESS, realtime);
    assert_eq!((log.count("signal SIGRT"), log.count("killed SIGRT")), (1, 1));
    assert_eq!(log.lines.len(), 3);
    for (how, signal) in [("segv", "SIGSEGV"), ("abort", "SIGABRT"), ("breakpoint", "SIGTRAP")] {
        let log = trace(EventFlags::PROCESS, fixture("crash", &[how]));
        let events: Vec<_> = log.lines.iter().map(|(_, e)| e.clone()).collect();
        let expected =
            ["exec".to_string(), format!("signal {signal}"), format!("killed {signal} of us")];
        assert_eq!(events, expected);
    }
}

fn e4_the_first_thread_ends_first() {
    for flags in [
        EventFlags::PROCESS,
        EventFlags::PROCESS | EventFlags::THREAD,
        EventFlags::PROCESS | EventFlags::THREAD | EventFlags::EXIT,
    ] {
        let log = trace(flags, fixture("leader-first", &[]));
        let events: Vec<_> =
            log.lines.iter().map(|(_, e)| &**e).filter(|e| *e != "thread exiting").collect();
        let expected: &[&str] = if flags.contains(EventFlags::THREAD) {
            &["exec", "thread T1", "thread exit T1", "exit 21 of us"]
        } else {
            &["exec", "exit 21 of us"]
        };
        assert_eq!(events, expected);
    }
}

// Linux's kernel tells the tracer of its end, and the parent only after that.
fn e4_a_process_whose_first_thread_has_ended_is_halted_and_let_go() {
    for tracer_waits in [true, false] {
        let mut tracer = tracer(EventFlags::PROCESS | EventFlags::THREAD);
        let mut command = fixture("leader-first", &["wait"]);
        command.stdin(Stdio::piped());
        let spawned = tracer.spawn(command).unwrap();
        let (pid, input) = (spawned.pid, spawned.stdin);
        let stop = next_stop(&mut tracer);
        tracer.resume(stop, Resume::Continue).unwrap();
        let stop = next_stop(&mut tracer);
        assert_eq!(stop.reason(), StopReason::ThreadStarted);
        let other = stop.tid();
        tracer.resume(stop, Resume::Continue).unwrap();
        // Until the first thread has ended, which nobody hears of. (On FreeBSD a halt says it.)
        if cfg!(target_os = "linux") {
            until(|| is_zombie(pid));
        }
        let halted = loop {
            tracer.interrupt(pid).unwrap();
            let stop = next_stop(&mut tracer);
            assert_eq!(stop.reason(), StopReason::Interrupted);
            let halted = tracer.halt(stop).unwrap();
            assert!(halted.blocked.is_empty());
            if halted.threads.iter().map(Stopped::tid).eq([other]) {
                break halted;
            }
            tracer.resume_halted(halted, |_| Next::Continue).unwrap();
        };
        tracer.resume_halted(halted, |_| Next::Continue).unwrap();
        tracer.detach_process(pid).unwrap();
        assert!(tracer.is_empty());
        drop(input);
        if tracer_waits && cfg!(target_os = "linux") {
            assert_eq!(next_exit(&mut tracer), (pid, ExitStatus::Code(21)));
            assert!(tracer.take_child(pid).is_none());
        } else {
            let status = tracer.take_child(pid).unwrap().wait().unwrap();
            assert_eq!(status.code(), Some(21));
        }
        assert!(tracer.wait().unwrap().is_none());
    }
}

fn e4_threads_are_born_and_end_once() {
    let log = trace(EventFlags::PROCESS | EventFlags::THREAD, fixture("threads", &["20"]));
    let map = log.by_process();
    let events = &map["P1"];
    assert_eq!(events.len(), 42);
    for i in 1..=20 {
        let at = |what: String| {
            let found: Vec<_> = (0..42).filter(|&e| events[e] == what).collect();
            assert_eq!(found.len(), 1, "{what}");
            found[0]
        };
        assert!(at(format!("thread T{i}")) < at(format!("thread exit T{i}")));
    }
    assert_eq!(*events.last().unwrap(), "exit 0 of us");
}

fn e4_threads_are_silent_without_the_flag() {
    let log = trace(EventFlags::PROCESS, fixture("threads", &["20"]));
    let events: Vec<_> = log.lines.iter().map(|(_, e)| &**e).collect();
    assert_eq!(events, ["exec", "exit 0 of us"]);
}

fn e4_many_threads_that_fork_and_exec() {
    let log = trace(EventFlags::PROCESS | EventFlags::THREAD, fixture("thread-storm", &["16"]));
    assert_eq!(log.count("fork") + log.count("vfork"), 16);
    assert_eq!(log.count("exec"), 17);
    assert_eq!(log.count("exit"), 17);
    assert_eq!(log.count("thread T"), 32);
    assert_eq!(log.count("thread exit"), 32);
}

fn e4_an_exiting_thread_can_still_be_asked() {
    if cfg!(target_os = "freebsd") {
        skip("FreeBSD has no stop on the way out of a process's last thread");
    }
    let mut tracer = tracer(EventFlags::PROCESS | EventFlags::EXIT);
    tracer.spawn(fixture("exit", &["3"])).unwrap();
    let mut asked = 0;
    run_with(&mut tracer, |tracer, event| {
        if let Event::Stopped(stop) = &event {
            if stop.reason() == StopReason::ThreadExiting {
                assert_ne!(tracer.registers(stop).unwrap().sp(), 0);
                asked += 1;
            }
        }
        Some(event)
    });
    assert_eq!(asked, 1);
}

fn f4_the_real_parent_is_not_the_tracer() {
    let log = trace(EventFlags::PROCESS | EventFlags::REPARENT, fixture("daemon", &[]));
    let map = log.by_process();
    let of = |p: &str| -> Vec<String> {
        map[p].iter().filter(|e| !e.starts_with("signal")).map(|e| e.to_string()).collect()
    };
    assert_eq!(of("P1"), ["exec", "fork P2", "exit 3 of us"]);
    assert_eq!(of("P2"), ["fork P3", "exit 4 of P1"]);
    // This test is the reaper of its descendants.
    assert_eq!(of("P3"), ["reparented P2 to us", "exit 5 of us"]);
}

fn f4_orphans() {
    let mut tracer = tracer(EventFlags::PROCESS);
    tracer.spawn(fixture("orphan", &[])).unwrap();
    let log = run(&mut tracer);
    assert_eq!(log.count("exit 2 of us"), 1);
    assert_eq!(log.count("exit 6 of us"), 1);
}

fn f4_a_child_of_its_parents_parent() {
    if !cfg!(target_os = "linux") {
        skip("only Linux has CLONE_PARENT");
    }
    let log = trace(EventFlags::PROCESS, fixture("clone-parent", &[]));
    let map = log.by_process();
    assert_eq!(*map["P2"].last().unwrap(), "exit 9 of P1");
    assert_eq!(map["P3"], ["exit 8 of P1"]);
    assert!(map["P2"].contains(&"fork P3"));
}
