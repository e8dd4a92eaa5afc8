//! Section 5 of the contract: a stop costs the kernel's two requests and one for each thing asked.

use std::time::Instant;

use trapline::{Event, EventFlags, Resume, StopReason, Tracer};

use crate::common::*;
use crate::fixtures::fixture;

crate::tests![
    a_hit_of_a_breakpoint_in_memory,
    a_signal_stop_is_a_wait_and_a_resume,
    a_system_call_stop_is_a_wait_and_a_resume,
    a_fork_is_two_stops_and_two_questions,
    an_exec_asks_for_the_former_thread,
    a_step_asks_for_its_cause,
    a_stop_allocates_nothing,
];

/// How many requests each event took, from the wait that gave it to its resumption.
fn costs(flags: EventFlags, command: std::process::Command) -> Vec<(String, u64)> {
    let mut tracer = tracer(flags);
    tracer.spawn(command).unwrap();
    let mut costs = Vec::new();
    loop {
        let (before, start) = (tracer.requests(), Instant::now());
        if cfg!(target_os = "freebsd") {
            // So that the wait finds it at once.
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        let Some(event) = tracer.wait().unwrap() else { return costs };
        let what = match &event {
            Event::Stopped(stop) => match stop.reason() {
                StopReason::Execed { .. } => "exec".into(),
                StopReason::Signal(signal) => format!("{signal}"),
                StopReason::SyscallEntry | StopReason::SyscallExit => "syscall".into(),
                other => format!("{other:?}"),
            },
            Event::Forked(fork) => format!("{}", fork.kind),
            Event::Exited { .. } => "exit".into(),
            other => format!("{other:?}"),
        };
        tracer.resume(event, Resume::Continue).unwrap();
        // On FreeBSD a wait looks ten times a second, however slow the machine is.
        let looks = start.elapsed().as_millis() as u64 / 100 * 3;
        let cost = tracer.requests() - before;
        costs.push((what, cost.min(20).max(cost.saturating_sub(looks))));
    }
}

fn of(costs: &[(String, u64)], what: &str) -> Vec<u64> {
    costs.iter().filter(|(w, _)| w == what).map(|(_, cost)| *cost).collect()
}

/// Each event takes as many requests as it should. On FreeBSD each wait that finds nothing yet
/// costs a sleep and another look, and how many do depends on the machine's load.
fn assert_each(costs: &[u64], expected: u64) {
    let most = expected + if cfg!(target_os = "linux") { 0 } else { 20 };
    assert!(!costs.is_empty());
    assert!(costs.iter().all(|&cost| (expected..=most).contains(&cost)), "{costs:?}");
}

/// Linux: wait and resume; FreeBSD: wait, PT_LWPINFO and resume.
const STOP: u64 = if cfg!(target_os = "linux") { 2 } else { 3 };

fn a_hit_of_a_breakpoint_in_memory() {
    let (mut tracer, stop, _, id) = probed(fixture("probe-loop", &["50"]));
    tracer.resume(stop, Resume::Continue).unwrap();
    let mut costs = Vec::new();
    loop {
        let before = tracer.requests();
        let Some(Event::Stopped(stop)) = tracer.wait().unwrap() else { break };
        let StopReason::Trap(causes) = stop.reason() else { panic!("{stop:?}") };
        assert_eq!(causes.software, Some(id));
        tracer.resume(stop, Resume::Continue).unwrap();
        costs.push(tracer.requests() - before);
    }
    assert_eq!(costs.len(), 50);
    // Linux: wait, registers read and set, resume. FreeBSD: PT_LWPINFO as well, and the
    // registers take three requests to read. The first time memory is mapped.
    let (_, later) = costs.split_first().unwrap();
    assert_each(later, if cfg!(target_os = "linux") { 4 } else { 7 });
}

fn a_signal_stop_is_a_wait_and_a_resume() {
    let costs = costs(EventFlags::PROCESS, fixture("counted", &[]));
    assert_each(&of(&costs, "SIGUSR1"), STOP);
    assert_each(&of(&costs, "SIGTERM"), STOP);
}

fn a_system_call_stop_is_a_wait_and_a_resume() {
    let costs = costs(EventFlags::SYSCALL, fixture("exit", &["0"]));
    let stops = of(&costs, "syscall");
    assert!(stops.len() > 50);
    if cfg!(target_os = "linux") {
        assert_each(&stops[1..], STOP);
    }
    // Where the wait finds the stop at once; how often depends on the machine's load.
    assert!(stops.contains(&STOP), "{stops:?}");
}

fn a_fork_is_two_stops_and_two_questions() {
    let costs = costs(EventFlags::PROCESS, fixture("fork", &["20"]));
    let forks = of(&costs, "fork");
    assert_eq!(forks.len(), 20);
    // Linux asks for the child's id, and whether it is a thread; FreeBSD sets the child's
    // event mask, and has the kernel tell of its end. An empty wait may come between.
    let least = 2 * STOP + 2;
    if cfg!(target_os = "linux") {
        assert_eq!(*forks.iter().min().unwrap(), least, "{forks:?}");
        assert!(forks.iter().all(|&cost| cost <= least + 6), "{forks:?}");
    }
    // On a busy machine another event's wait may have found the two stops before.
    assert!(forks.contains(&least), "{forks:?}");
}

fn an_exec_asks_for_the_former_thread() {
    let costs = costs(EventFlags::PROCESS, sh("exec sh -c 'exec sh -c :'"));
    let execs = of(&costs, "exec");
    assert_each(&execs[1..], 3);
}

fn a_step_asks_for_its_cause() {
    let mut tracer: Tracer = tracer(EventFlags::PROCESS);
    let stop = spawned(&mut tracer, fixture("exit", &["0"]));
    // The first one starts at the end of a system call, which counts for itself.
    tracer.resume(stop, Resume::Step).unwrap();
    let mut stop = next_stop(&mut tracer);
    let start = tracer.requests();
    for _ in 0..10 {
        tracer.resume(stop, Resume::Step).unwrap();
        stop = next_stop(&mut tracer);
    }
    let requests = tracer.requests() - start;
    // FreeBSD says the cause with the stop. The code is read once for many steps.
    assert!(
        (30..40).contains(&requests) || (cfg!(target_os = "freebsd") && requests <= 60),
        "{requests}"
    );
    tracer.resume(stop, Resume::Continue).unwrap();
    run(&mut tracer);
}

fn a_stop_allocates_nothing() {
    for (flags, how, program) in [
        (EventFlags::PROCESS, Resume::Continue, "ticks"),
        (EventFlags::SYSCALL, Resume::Continue, "ticks"),
        (EventFlags::PROCESS, Resume::Step, "ticks"),
    ] {
        let mut tracer = tracer(flags);
        let mut stop = spawned(&mut tracer, fixture(program, &["1000000000", "10"]));
        let pid = stop.pid();
        let mut before = 0;
        // What is kept for later is there after the first ones.
        for n in 0..1100 {
            if n == 100 {
                before = allocations();
            }
            if stop.signal().is_some() {
                stop.set_signal(None).unwrap();
            }
            tracer.resume(stop, how).unwrap();
            stop = next_stop(&mut tracer);
        }
        // A sleep of FreeBSD's that finds nothing for long asks what became of a tracee.
        let most = if cfg!(target_os = "linux") { 0 } else { 20 };
        let made = allocations() - before;
        assert!(made <= most, "{made} in 1000 stops of {flags:?}, {how:?}");
        drop(stop);
        tracer.kill(pid).unwrap();
        run(&mut tracer);
    }
}
