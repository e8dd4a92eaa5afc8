//! E5: a tracee can be killed at any instant, in a stop too.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use trapline::{Error, Event, EventFlags, ExitStatus, Pid, Resume, Signal, StopReason};

use crate::common::*;
use crate::fixtures::fixture;

crate::tests![
    e5_a_token_of_a_tracer_that_is_gone,
    e5_killed_at_the_end_of_a_thread,
    e5_killed_in_a_stop,
    e5_exited_waits_for_the_token,
    e5_kill_of_a_running_process,
    e5_killed_at_random_moments,
];

fn is_of_this_test(pid: Pid) -> bool {
    // SAFETY: take and give numbers.
    unsafe { libc::getpgid(pid.as_raw()) == libc::getpgrp() }
}

fn e5_a_token_of_a_tracer_that_is_gone() {
    let mut first = tracer(EventFlags::PROCESS);
    first.spawn(fixture("sleep", &[])).unwrap();
    let stale = next_stop(&mut first);
    drop(first);
    let mut tracer = tracer(EventFlags::PROCESS);
    tracer.spawn(fixture("exit", &["3"])).unwrap();
    let stop = next_stop(&mut tracer);
    assert!(matches!(tracer.registers(&stale), Err(Error::Gone { .. })));
    assert!(matches!(tracer.resume(stale, Resume::Continue), Err(Error::Gone { .. })));
    assert!(tracer.registers(&stop).is_ok());
    tracer.resume(stop, Resume::Continue).unwrap();
    assert_eq!(run(&mut tracer).lines.last().unwrap().1, "exit 3 of us");
}

// Where the signal is given to a thread that ends, it must not be lost with it.
fn e5_killed_at_the_end_of_a_thread() {
    let mut tracer = tracer(EventFlags::PROCESS | EventFlags::EXIT);
    for round in 0..count("TRAPLINE_ROUNDS", 40) {
        let pid = tracer.spawn(fixture("outlive", &["100"])).unwrap().pid;
        let log = run_with(&mut tracer, |tracer, event| {
            if let Event::Stopped(stop) = &event {
                if stop.reason() == StopReason::ThreadExiting {
                    tracer.kill(pid).unwrap();
                }
            }
            Some(event)
        });
        assert_eq!(log.lines.last().unwrap().1, "killed SIGKILL of us", "round {round}");
    }
}

fn e5_killed_in_a_stop() {
    for how in ["resume", "detach", "drop", "kill"] {
        let mut tracer = tracer(EventFlags::PROCESS | EventFlags::EXIT);
        let stop = spawned(&mut tracer, fixture("sleep", &[]));
        let pid = stop.pid();
        kill(pid, libc::SIGKILL);
        std::thread::sleep(Duration::from_millis(30));
        match tracer.registers(&stop) {
            Ok(_) | Err(Error::Gone { .. }) => {}
            Err(error) => panic!("{how}: {error}"),
        }
        match tracer.read_memory(&stop, 0x1000, &mut [0; 8]) {
            Ok(_) | Err(Error::Gone { .. } | Error::BadAddress { .. }) => {}
            Err(error) => panic!("{how}: {error}"),
        }
        match how {
            "resume" => tracer.resume(stop, Resume::Continue).unwrap(),
            "detach" => tracer.detach(stop).unwrap(),
            "kill" => {
                tracer.kill(pid).unwrap();
                tracer.resume(stop, Resume::Continue).unwrap();
            }
            _ => drop(stop),
        }
        if how == "detach" && tracer.is_empty() {
            // It was detached on its way out: an ordinary child.
            let mut child = tracer.take_child(pid).unwrap();
            assert!(!child.wait().unwrap().success());
            continue;
        }
        let log = run(&mut tracer);
        let last = &log.lines.last().unwrap().1;
        assert_eq!(last, "killed SIGKILL of us", "{how}");
        assert_eq!(log.count("killed"), 1, "{how}");
        assert!(matches!(tracer.process_info(pid), Err(Error::Gone { .. })));
        tracer.kill(pid).unwrap();
    }
}

fn e5_exited_waits_for_the_token() {
    let mut tracer = tracer(EventFlags::PROCESS);
    let stop = spawned(&mut tracer, fixture("sleep", &[]));
    kill(stop.pid(), libc::SIGKILL);
    assert!(hears_nothing(&mut tracer));
    assert!(hears_nothing(&mut tracer));
    if cfg!(target_os = "linux") {
        assert!(tracer.registers(&stop).unwrap_err().is_gone());
    }
    tracer.resume(stop, Resume::Continue).unwrap();
    assert_eq!(next_exit(&mut tracer).1, killed_by(Signal::KILL));
}

fn e5_kill_of_a_running_process() {
    let mut tracer = tracer(EventFlags::PROCESS);
    let stop = spawned(&mut tracer, fixture("sleep", &[]));
    let pid = stop.pid();
    tracer.resume(stop, Resume::Continue).unwrap();
    tracer.kill(pid).unwrap();
    assert_eq!(next_exit(&mut tracer), (pid, killed_by(Signal::KILL)));
    tracer.kill(pid).unwrap();
}

fn e5_killed_at_random_moments() {
    // An emulated machine needs its time.
    let default = if cfg!(target_os = "freebsd") { 300 } else { 3_000 };
    let processes = count("TRAPLINE_KILLS", default);
    for flags in [EventFlags::PROCESS, EventFlags::PROCESS | EventFlags::THREAD | EventFlags::EXIT]
    {
        churn(flags, processes / 2);
    }
}

fn count(variable: &str, default: usize) -> usize {
    std::env::var(variable).ok().and_then(|n| n.parse().ok()).unwrap_or(default)
}

/// Traces processes that come and go, while another thread kills them, until this many have ended.
fn churn(flags: EventFlags, processes: usize) {
    let living = Arc::new(Mutex::new(Vec::<Pid>::new()));
    let done = Arc::new(AtomicBool::new(false));
    let killer = std::thread::spawn({
        let (living, done) = (living.clone(), done.clone());
        move || {
            let mut random = 88172645463325252u64;
            while !done.load(Ordering::SeqCst) {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                {
                    let living = living.lock().unwrap();
                    // An end that has been taken may be shown later than others, and the number
                    // be that of a process of another test by then.
                    let victim = living.get(random as usize % living.len().max(1));
                    if let Some(&pid) = victim.filter(|&&pid| is_of_this_test(pid)) {
                        kill(pid, libc::SIGKILL);
                    }
                }
                std::thread::sleep(Duration::from_micros(random >> 32 & 0x7ff));
            }
        }
    });
    let mut tracer = tracer(flags);
    let mut announced = std::collections::HashSet::new();
    let mut ended = 0;
    let mut roots = 0;
    while ended < processes {
        // The list must not name a process whose end the wait is about to take.
        while roots < 4 {
            roots += 1;
            let pid = tracer.spawn(fixture("churn", &["3"])).unwrap().pid;
            assert!(announced.insert(pid), "{pid} twice");
            living.lock().unwrap().push(pid);
        }
        let event = {
            let mut living = living.lock().unwrap();
            let event = poll(&mut tracer);
            match &event {
                Some(Event::Forked(fork)) => {
                    assert!(announced.insert(fork.child_pid), "{fork:?} twice");
                    living.push(fork.child_pid);
                }
                Some(Event::Exited { pid, .. }) => {
                    assert!(announced.remove(pid), "{pid} ended and was never there");
                    living.retain(|p| p != pid);
                    ended += 1;
                    if tracer.process_info(*pid).unwrap().real_parent == Some(Pid::this()) {
                        roots = announced.len().min(4);
                    }
                }
                _ => {}
            }
            event
        };
        match event {
            Some(Event::Stopped(stop)) => {
                match tracer.registers(&stop) {
                    Ok(_) | Err(Error::Gone { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
                tracer.resume(stop, Resume::Continue).unwrap();
            }
            Some(event) => tracer.resume(event, Resume::Continue).unwrap(),
            None => std::thread::sleep(Duration::from_micros(20)),
        }
    }
    done.store(true, Ordering::SeqCst);
    killer.join().unwrap();
    for pid in tracer.processes().collect::<Vec<_>>() {
        tracer.kill(pid).unwrap();
    }
    while let Some(event) = tracer.wait().unwrap() {
        if let Event::Exited { pid, status, .. } = &event {
            assert!(announced.remove(pid), "{pid} ended and was never there");
            assert!(matches!(status, ExitStatus::Killed { .. } | ExitStatus::Code(_)));
        }
        if let Event::Forked(fork) = &event {
            assert!(announced.insert(fork.child_pid));
            tracer.kill(fork.child_pid).unwrap();
        }
        tracer.resume(event, Resume::Continue).unwrap();
    }
    assert_eq!(announced.len(), 0, "announced and never ended: {announced:?}");
}
