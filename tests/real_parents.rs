//! F4: real parents, those too that nobody traces, and what they see.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::time::Duration;

use trapline::{Event, EventFlags, ExitStatus, Pid, Resume, Signal, StopReason, Tracer};

use crate::common::*;
use crate::fixtures::fixture;

crate::tests![
    f4_the_real_parent_waits_as_ever,
    f4_the_real_parent_of_one_let_go,
    f4_orphans_go_to_their_reaper,
    f4_an_untraced_parent_dies,
];

/// Starts a fixture, untraced, that says some pids.
fn family(name: &str, args: &[&str]) -> (Child, Vec<Pid>) {
    let mut child = fixture(name, args).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let pids = line.split_whitespace().map(|pid| pid.parse().unwrap());
    let pids = pids.collect();
    (child, pids)
}

fn of(child: &Child) -> Pid {
    child.into()
}

/// Attaches, and runs the process on.
fn attached(pid: Pid) -> Tracer {
    let mut tracer = tracer(EventFlags::PROCESS);
    tracer.attach(pid).unwrap();
    let stop = next_stop(&mut tracer);
    assert_eq!(stop.reason(), StopReason::Started);
    tracer.resume(stop, Resume::Continue).unwrap();
    tracer
}

// The real parent sees no stops of the tracer's; it gets the end after the tracer, and a
// SIGCHLD.
fn f4_the_real_parent_waits_as_ever() {
    let (mut guardian, pids) = family("guardian", &[]);
    let child = pids[0];
    let mut tracer = attached(child);
    assert_eq!(tracer.process_info(child).unwrap().real_parent, Some(of(&guardian)));
    for _ in 0..5 {
        tracer.interrupt(child).unwrap();
        let stop = next_stop(&mut tracer);
        assert_eq!(stop.reason(), StopReason::Interrupted);
        std::thread::sleep(Duration::from_millis(5));
        tracer.resume(stop, Resume::Continue).unwrap();
    }
    assert!(kill(child, libc::SIGTERM));
    let stop = next_stop(&mut tracer);
    assert_eq!(stop.reason(), StopReason::Signal(Signal::TERM));
    tracer.resume(stop, Resume::Continue).unwrap();
    let waits = stays(|| guardian.try_wait().unwrap().is_none());
    assert!(waits, "the tracer has not waited yet");
    match tracer.wait().unwrap() {
        Some(Event::Exited { pid, status, real_parent }) => {
            assert_eq!((pid, status), (child, ExitStatus::Code(9)));
            assert_eq!(real_parent, Some(of(&guardian)));
        }
        other => panic!("{other:?}"),
    }
    assert!(tracer.wait().unwrap().is_none());
    assert_eq!(guardian.wait().unwrap().code(), Some(9));
}

// One that is detached, stopped or running, is its parent's as before.
fn f4_the_real_parent_of_one_let_go() {
    for stopped in [true, false] {
        let (mut guardian, pids) = family("guardian", &[]);
        let mut tracer = attached(pids[0]);
        if stopped {
            tracer.interrupt(pids[0]).unwrap();
            let stop = next_stop(&mut tracer);
            tracer.detach(stop).unwrap();
        } else {
            tracer.detach_process(pids[0]).unwrap();
        }
        assert!(kill(pids[0], libc::SIGTERM));
        let code = guardian.wait().unwrap().code();
        // Once nobody traces it, its parent may be told that it goes on.
        let told = cfg!(target_os = "freebsd") && code == Some(109);
        assert!(code == Some(9) || told, "{code:?}");
    }
}

fn f4_orphans_go_to_their_reaper() {
    let log = trace(EventFlags::PROCESS | EventFlags::REPARENT, fixture("reaper", &[]));
    let map = log.by_process();
    let of = |p: &str| -> Vec<String> {
        map[p].iter().filter(|e| !e.starts_with("signal")).map(|e| e.to_string()).collect()
    };
    assert_eq!(of("P1"), ["exec", "fork P2", "exit 0 of us"]);
    assert_eq!(of("P2"), ["fork P3", "exit 4 of P1"]);
    assert_eq!(of("P3"), ["reparented P2 to P1", "exit 6 of P1"]);
}

// Nobody tells the tracer of the death of a parent that is not traced; it asks.
fn f4_an_untraced_parent_dies() {
    let (mut reaper, pids) = family("reaper", &["held"]);
    let (parent, child) = (pids[0], pids[1]);
    let mut tracer = attached(child);
    assert_eq!(tracer.process_info(child).unwrap().real_parent, Some(parent));
    assert!(kill(parent, libc::SIGKILL));
    until(|| tracer.process_info(child).unwrap().real_parent == Some(of(&reaper)));
    assert!(kill(child, libc::SIGTERM));
    let mut ended = None;
    while let Some(event) = tracer.wait().unwrap() {
        if let Event::Exited { status, real_parent, .. } = &event {
            ended = Some((*status, *real_parent));
        }
        tracer.resume(event, Resume::Continue).unwrap();
    }
    assert_eq!(ended, Some((ExitStatus::Code(6), Some(of(&reaper)))));
    assert_eq!(reaper.wait().unwrap().code(), Some(0), "it has got the status, too");
}
