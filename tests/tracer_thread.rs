//! W5: a tracer on a thread of its own, for hosts whose threads have other things to do.

use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, channel};

use trapline::{
    Builder, EventFlags, Notice, Pid, Result, Resume, Session, Signal, StopReason, TracerThread,
};

use crate::common::*;
use crate::fixtures::fixture;

crate::tests![
    w5_a_closure_ends_a_blocked_wait,
    w5_every_event_comes_out_once,
    w5_a_busy_program_does_not_keep_closures_waiting,
    w5_what_was_spawned_is_killed_with_the_thread,
    w5_what_was_attached_to_lives_on,
    w5_several_threads_may_ask,
];

type Notices = Receiver<Result<Notice>>;

/// A host that keeps all stops, and gets all notices.
fn host(flags: EventFlags) -> (TracerThread, Notices) {
    let (sender, notices) = channel();
    let thread = TracerThread::start(Builder::new().events(flags), move |_, notice| {
        let _ = sender.send(notice);
    });
    (thread.expect("a thread"), notices)
}

/// One whose handler lets everything run on, and counts the events.
fn busy_host(flags: EventFlags) -> (TracerThread, Arc<AtomicU32>, Notices) {
    let (sender, ends) = channel();
    let events = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&events);
    let thread = TracerThread::start(Builder::new().events(flags), move |session, notice| {
        count.fetch_add(1, Ordering::SeqCst);
        let notice = notice.expect("an event");
        session.resume_all(notice.threads(), Resume::Continue).expect("it runs");
        if let Notice::Exited { .. } = notice {
            let _ = sender.send(Ok(notice));
        }
    });
    (thread.expect("a thread"), events, ends)
}

fn next(notices: &Notices) -> Notice {
    notices.recv_timeout(seconds(20)).expect("a notice").expect("no error")
}

fn spawn(host: &TracerThread, command: Command) -> Pid {
    host.call(|session| Ok(session.tracer_mut().spawn(command)?.pid)).expect("spawn")
}

/// Runs a program from its first stop.
fn run_on(host: &TracerThread, notices: &Notices) {
    let threads = next(notices).threads();
    assert_eq!(threads.len(), 1);
    host.call(move |session| session.resume_all(threads, Resume::Continue)).expect("it runs");
}

fn w5_a_closure_ends_a_blocked_wait() {
    let (host, notices) = host(EventFlags::PROCESS);
    let pid = spawn(&host, fixture("sleep", &[]));
    run_on(&host, &notices);
    // Nothing happens by itself: without a wake each of these would last for ever.
    for _ in 0..200 {
        let traced = host.call(|session| Ok(session.tracer().processes().collect::<Vec<_>>()));
        assert_eq!(traced.expect("an answer"), [pid]);
    }
    host.post(move |session| session.tracer_mut().interrupt(pid).expect("it is traced")).unwrap();
    let interrupted = next(&notices);
    let [tid] = interrupted.threads()[..] else { panic!("{interrupted:?}") };
    assert_eq!(interrupted, Notice::Stopped { pid, tid, reason: StopReason::Interrupted });
    let pc = host.call(move |session| Ok(session.at(tid)?.registers()?.pc())).expect("registers");
    assert_ne!(pc, 0);
    host.call(move |session| session.kill(pid)).expect("killed");
    match next(&notices) {
        Notice::Exited { status, .. } => assert_eq!(status, killed_by(Signal::KILL)),
        other => panic!("{other:?}"),
    }
    // Without a tracee the thread sleeps elsewhere.
    assert!(host.call(|session| Ok(session.tracer().is_empty())).expect("an answer"));
    host.finish().expect("no panic");
}

fn w5_every_event_comes_out_once() {
    let (host, notices) = host(EventFlags::PROCESS);
    spawn(&host, fixture("fork", &["100"]));
    let (mut forks, mut ends) = (0, 0);
    while ends < 101 {
        let notice = next(&notices);
        forks += u32::from(matches!(notice, Notice::Forked { .. }));
        ends += u32::from(matches!(notice, Notice::Exited { .. }));
        let threads = notice.threads();
        host.post(move |session| session.resume_all(threads, Resume::Continue).expect("it runs"))
            .unwrap();
    }
    assert_eq!(forks, 100);
    host.finish().expect("no panic");
    assert!(notices.recv().is_err(), "nothing more");
}

fn w5_a_busy_program_does_not_keep_closures_waiting() {
    let (host, events, ends) = busy_host(EventFlags::PROCESS | EventFlags::SYSCALL);
    let pid = spawn(&host, fixture("fork-churn", &[]));
    until(|| events.load(Ordering::SeqCst) > 100);
    let answers = 100;
    for _ in 0..answers {
        host.call(|_| Ok(())).expect("an answer");
    }
    host.call(move |session| session.kill(pid)).expect("killed");
    while !matches!(next(&ends), Notice::Exited { pid: ended, .. } if ended == pid) {}
    let left = host.call(|session| {
        let left: Vec<Pid> = session.tracer().processes().collect();
        left.iter().try_for_each(|&pid| session.kill(pid))
    });
    left.expect("all are killed");
    host.finish().expect("no panic");
}

fn w5_what_was_spawned_is_killed_with_the_thread() {
    for finishes in [true, false] {
        let (host, notices) = host(EventFlags::PROCESS);
        let runs = spawn(&host, fixture("sleep", &[]));
        run_on(&host, &notices);
        let stopped = spawn(&host, fixture("sleep", &[]));
        assert_eq!(next(&notices).pid(), Some(stopped));
        assert!(kill(runs, 0) && kill(stopped, 0));
        if finishes {
            host.finish().expect("no panic")
        } else {
            drop(host)
        }
        assert!(!kill(runs, 0) && !kill(stopped, 0), "they are gone, and waited for");
    }
}

fn w5_what_was_attached_to_lives_on() {
    let mut children: Vec<_> = (0..2)
        .map(|_| {
            let mut command = fixture("sleep", &[]);
            command.process_group(0).stdin(Stdio::null());
            command.spawn().expect("a child")
        })
        .collect();
    let pids = [0, 1].map(|i: usize| Pid::from(&children[i]));
    let (host, notices) = host(EventFlags::PROCESS);
    for pid in pids {
        host.call(move |session| session.tracer_mut().attach(pid)).expect("attached");
        assert_eq!(next(&notices).pid(), Some(pid));
    }
    // One runs, the other one is stopped, at the end of the thread.
    host.call(move |session| {
        let first = session.stops().iter().filter(|stop| stop.pid() == pids[0]);
        let tids: Vec<_> = first.map(|stop| stop.tid()).collect();
        session.resume_all(tids, Resume::Continue)
    })
    .expect("it runs");
    drop(host);
    for child in &mut children {
        assert!(stays(|| child.try_wait().expect("it is ours").is_none()), "it lives on");
        child.kill().expect("killed");
        let status = child.wait().expect("its end is ours");
        assert_eq!(status.signal(), Some(libc::SIGKILL));
    }
}

fn w5_several_threads_may_ask() {
    let (host, events, ends) = busy_host(EventFlags::PROCESS);
    let host = Arc::new(host);
    let pid = spawn(&host, fixture("fork", &["200"]));
    let askers: Vec<_> = (0..4)
        .map(|_| {
            let host = Arc::clone(&host);
            std::thread::spawn(move || {
                let asks = |session: &mut Session| Ok(session.tracer().is_empty());
                (0..100).filter(|_| host.call(asks).is_ok()).count()
            })
        })
        .collect();
    for asker in askers {
        assert_eq!(asker.join().expect("no panic"), 100);
    }
    while !matches!(next(&ends), Notice::Exited { pid: ended, .. } if ended == pid) {}
    // The exec, 200 forks, and the ends of all but those that come later.
    assert!(events.load(Ordering::SeqCst) >= 202);
    drop(host);
}
