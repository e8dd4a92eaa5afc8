//! E2, E3, E4, D2: tasks that a Linux program makes with `CLONE_UNTRACED`, of which the kernel tells
//! the tracer nothing, or, with `CLONE_PTRACE` besides, not who has made them.

use std::time::Duration;

use trapline::{Error, Event, EventFlags, ForkSide, HardwareKind, Resume, Tracer};

use crate::common::*;
use crate::fixtures::fixture;

crate::tests![
    e2_what_is_made_untraced_is_not_heard_of,
    d2_a_thread_that_is_made_untraced_is_not_armed,
    e2_a_child_that_is_traced_and_never_announced,
    e4_a_thread_that_is_traced_and_never_announced,
    e3_an_exec_by_a_thread_that_is_made_untraced_ends_the_tracing,
];

const ALL: EventFlags = EventFlags::PROCESS.union(EventFlags::THREAD).union(EventFlags::EXIT);

fn linux_only() {
    if !cfg!(target_os = "linux") {
        skip("only Linux has CLONE_UNTRACED");
    }
}

/// One that does not wait long for the half of a fork that nobody reports.
fn impatient() -> Tracer {
    let builder = Tracer::builder().events(EventFlags::PROCESS | EventFlags::THREAD);
    builder.half_patience(Duration::from_millis(3)).build().unwrap()
}

fn e2_what_is_made_untraced_is_not_heard_of() {
    linux_only();
    for what in ["process", "thread"] {
        let log = trace(ALL, fixture("untraced", &["hidden", what]));
        let events = log.lines.iter().map(|(_, event)| &**event);
        let events: Vec<_> = events.filter(|event| *event != "signal SIGCHLD").collect();
        assert_eq!(events, ["exec", "thread exiting", "exit 0 of us"], "{what}");
    }
}

// The thread writes what is watched, and so does the program's own.
fn d2_a_thread_that_is_made_untraced_is_not_armed() {
    linux_only();
    let (mut program, stop) = Watched::built("untraced write:8@0", |builder| builder.events(ALL));
    let id = program.watch(0, 8, HardwareKind::Write);
    let pid = program.pid;
    program.go(stop);
    let hits = program.hits_with(|tracer, stop| {
        assert_eq!(tracer.process_info(pid).unwrap().threads, [stop.tid()]);
    });
    assert_eq!((Watched::count(&hits, id), hits.len()), (1, 1));
}

// Its creator lives, and never stops for it.
fn e2_a_child_that_is_traced_and_never_announced() {
    linux_only();
    let mut tracer = impatient();
    tracer.spawn(fixture("untraced", &["claimed", "process"])).unwrap();
    let mut forks = 0;
    let log = run_with(&mut tracer, |_, event| {
        if let Event::Forked(fork) = &event {
            forks += 1;
            assert!(matches!(
                (&fork.parent, &fork.child),
                (ForkSide::Detached, ForkSide::Stopped(_))
            ));
        }
        Some(event)
    });
    assert_eq!(forks, 1);
    assert_eq!((log.count("exit 5 of P1"), log.count("exit 0 of us")), (1, 1));
}

fn e4_a_thread_that_is_traced_and_never_announced() {
    linux_only();
    let mut tracer = impatient();
    tracer.spawn(fixture("untraced", &["claimed", "thread"])).unwrap();
    let log = run(&mut tracer);
    let events: Vec<_> = log.lines.iter().map(|(_, event)| &**event).collect();
    assert_eq!(events, ["exec", "thread T1", "thread exit T1", "exit 0 of us"]);
}

// The process is then its only thread, and nobody traces it.
fn e3_an_exec_by_a_thread_that_is_made_untraced_ends_the_tracing() {
    linux_only();
    let mut tracer = tracer(EventFlags::PROCESS);
    let pid = tracer.spawn(fixture("untraced", &["hidden", "exec"])).unwrap().pid;
    let stop = next_stop(&mut tracer);
    tracer.resume(stop, Resume::Continue).unwrap();
    match tracer.wait() {
        Err(Error::Taken { pid: taken }) => assert_eq!(taken, pid),
        other => panic!("{other:?}"),
    }
    assert!(tracer.wait().unwrap().is_none());
    let mut status = 0;
    // SAFETY: `status` lives across the call.
    assert_eq!(unsafe { libc::waitpid(pid.as_raw(), &mut status, 0) }, pid.as_raw());
    assert_eq!(libc::WEXITSTATUS(status), 11, "it has lived on, {status:#x}");
}
