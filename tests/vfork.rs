//! F2: vforks, whose parent waits in the kernel, and whose child holds back stop signals there.

use std::process::{ChildStdin, Stdio};
use std::time::{Duration, Instant};

use trapline::{
    Event, EventFlags, ExitStatus, ForkSide, Pid, Resume, Signal, StopReason, Stopped, Tracer,
};

use crate::common::*;
use crate::fixtures::fixture;

crate::tests![
    f2_the_end_of_the_sharing_is_told,
    f2_a_parent_that_is_killed_in_the_wait,
    f2_a_child_that_is_interrupted,
    f3_a_child_that_is_let_go,
    f3_a_child_that_is_let_go_with_an_interrupt_pending,
];

/// A program in `vfork`, whose child goes on once its input is closed.
struct Vforking {
    tracer: Tracer,
    parent: Stopped,
    child: Stopped,
    input: ChildStdin,
}

/// The two halves, stopped.
fn vforking(args: &[&str]) -> Vforking {
    let mut tracer = tracer(EventFlags::PROCESS | EventFlags::VFORK_DONE);
    let mut command = fixture("slow-vfork", args);
    command.stdin(Stdio::piped());
    let input = tracer.spawn(command).unwrap().stdin.expect("piped");
    let stop = next_stop(&mut tracer);
    tracer.resume(stop, Resume::Continue).unwrap();
    match tracer.wait().unwrap() {
        Some(Event::Forked(fork)) => {
            assert_eq!(fork.kind, trapline::ForkKind::Vfork);
            let (ForkSide::Stopped(parent), ForkSide::Stopped(child)) = (fork.parent, fork.child)
            else {
                panic!("both halves");
            };
            Vforking { tracer, parent, child, input }
        }
        other => panic!("{other:?}"),
    }
}

/// The two pids, parent and child, once both are on their way to their waits.
fn both_waiting(args: &[&str]) -> (Tracer, Pid, Pid, ChildStdin) {
    let Vforking { mut tracer, parent, child, input } = vforking(args);
    let (parent_pid, pid) = (parent.pid(), child.pid());
    tracer.resume(child, Resume::Continue).unwrap();
    tracer.resume(parent, Resume::Continue).unwrap();
    assert!(tracer.wait_timeout(Duration::from_millis(100)).unwrap().is_none());
    (tracer, parent_pid, pid, input)
}

/// What a process did, but for signals.
fn of<'a>(log: &'a Log, process: &str) -> Vec<&'a str> {
    log.by_process()[process].iter().filter(|e| !e.starts_with("signal")).copied().collect()
}

fn f2_the_end_of_the_sharing_is_told() {
    for (args, child) in [(&[][..], &["exec", "exit 7 of P1"][..]), (&["exit"], &["exit 8 of P1"])]
    {
        let flags = EventFlags::PROCESS | EventFlags::VFORK_DONE;
        let mut command = fixture("slow-vfork", args);
        command.stdin(Stdio::null());
        let log = trace(flags, command);
        let exit = if args.is_empty() { "exit 7 of us" } else { "exit 8 of us" };
        assert_eq!(of(&log, "P1"), ["exec", "vfork P2", "vfork done", exit]);
        assert_eq!(of(&log, "P2"), child);
    }
}

// Of a parent that is killed while it waits it is not told, unless the kernel (FreeBSD's) has
// it wait all the same; the child goes on alone.
fn f2_a_parent_that_is_killed_in_the_wait() {
    let (mut tracer, pid, child_pid, input) = both_waiting(&[]);
    tracer.kill(pid).unwrap();
    drop(input);
    let mut ended = Vec::new();
    let log = run_with(&mut tracer, |_, event| {
        if let Event::Exited { pid, .. } = &event {
            ended.push(*pid);
        }
        Some(event)
    });
    ended.sort();
    assert_eq!(ended, [pid, child_pid]);
    assert!(log.count("vfork done") <= usize::from(cfg!(target_os = "freebsd")));
    assert_eq!((log.count("killed SIGKILL of us"), log.count("exit 7")), (1, 1));
}

// To interrupt the child takes as long as the kernel makes it, and harms nothing.
fn f2_a_child_that_is_interrupted() {
    let (mut tracer, _, pid, input) = both_waiting(&[]);
    tracer.interrupt(pid).unwrap();
    drop(input);
    let log = run(&mut tracer);
    // The exec may answer it, or take it along.
    assert!(log.count("interrupted") <= 1);
    assert_eq!((log.count("vfork done"), log.count("exit 7")), (1, 2));
}

// To let the child go does not wait for its exec, and leaves no stop behind.
fn f3_a_child_that_is_let_go() {
    for exits in [false, true] {
        let args = if exits { &["exit"][..] } else { &[] };
        let (mut tracer, parent_pid, pid, input) = both_waiting(args);
        let begin = Instant::now();
        tracer.detach_process(pid).unwrap();
        // Nor is it given up as one that does not answer, which takes ten seconds.
        assert!(begin.elapsed() < seconds(5), "{:?}", begin.elapsed());
        drop(input);
        let mut end = None;
        run_with(&mut tracer, |_, event| {
            if let Event::Exited { pid: ended, status, .. } = &event {
                if *ended == parent_pid {
                    end = Some(*status);
                }
            }
            Some(event)
        });
        // Its parent saw its end.
        assert_eq!(end, Some(ExitStatus::Code(if exits { 8 } else { 7 })));
    }
}

// Let go at a signal stop, with the stop of an interrupt still to come.
fn f3_a_child_that_is_let_go_with_an_interrupt_pending() {
    let (mut tracer, _, pid, _input) = both_waiting(&[]);
    tracer.interrupt(pid).unwrap();
    assert!(kill(pid, libc::SIGTERM));
    let mut stop = next_stop(&mut tracer);
    assert_eq!(stop.pid(), pid);
    if stop.reason() == StopReason::Interrupted {
        tracer.resume(stop, Resume::Continue).unwrap();
        stop = next_stop(&mut tracer);
    }
    assert_eq!(stop.reason(), StopReason::Signal(Signal::TERM));
    // Which delivers it: the child dies of it, for its input stays open.
    tracer.detach(stop).unwrap();
    let log = run(&mut tracer);
    assert_eq!(log.count("vfork done"), 1);
}
