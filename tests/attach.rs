//! Attaching to running processes, and detaching from them.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use trapline::{Error, EventFlags, Pid, Resume, Signal, StopReason};

use crate::common::*;
use crate::fixtures::{fixture, realtime};

crate::tests![
    attach_reports_one_start_and_then_what_happens,
    f3_a_process_let_go_lives_on,
    f3_threads_are_let_go_with_their_process,
    f3_a_running_process_is_let_go,
    f3_a_signal_is_not_lost_with_its_token,
    f3_no_signal_is_lost_or_doubled_by_attaching,
    f5_a_dropped_tracer_lets_go_of_what_it_attached_to,
    errors_of_attach_say_what_to_do,
    f5_a_killed_tracer_takes_its_own_along_and_lets_the_others_live,
    attach_to_a_stopped_process_leaves_it_stopped,
    f3_a_group_stop_outlives_the_tracer,
];

/// Starts a fixture that says when it is ready, untraced.
pub fn ready(name: &str, args: &[&str]) -> (Child, Pid) {
    let mut child = fixture(name, args).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    let pid = Pid::from(&child);
    (child, pid)
}

/// Waits until a program has handled a signal.
fn confirmed(child: &mut Child) {
    child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
}

fn attach_reports_one_start_and_then_what_happens() {
    let (mut child, pid) = ready("forward", &["3"]);
    let mut tracer = tracer(EventFlags::PROCESS);
    tracer.attach(pid).unwrap();
    assert!(matches!(tracer.attach(pid), Err(Error::NotPermitted { .. })));
    let stop = next_stop(&mut tracer);
    assert_eq!((stop.pid(), stop.reason()), (pid, StopReason::Started));
    let us = Pid::this();
    assert_eq!(tracer.process_info(pid).unwrap().real_parent, Some(us));
    tracer.resume(stop, Resume::Continue).unwrap();
    for _ in 0..3 {
        assert!(kill(pid, libc::SIGUSR1));
        let stop = next_stop(&mut tracer);
        assert_eq!(stop.reason(), StopReason::Signal(Signal::USR1));
        tracer.resume(stop, Resume::Continue).unwrap();
    }
    assert!(kill(pid, libc::SIGTERM));
    let log = run(&mut tracer);
    assert_eq!(log.lines.last().unwrap().1, "exit 0 of us");
    // The tracer has taken the status: this test is both the tracer and the real parent.
    let _ = child.wait();
}

fn f3_a_process_let_go_lives_on() {
    let (mut child, pid) = ready("confirm", &["8"]);
    for round in 0..4 {
        let mut tracer = tracer(EventFlags::PROCESS);
        tracer.attach(pid).unwrap();
        let stop = next_stop(&mut tracer);
        tracer.resume(stop, Resume::Continue).unwrap();
        assert!(kill(pid, libc::SIGUSR1));
        let stop = next_stop(&mut tracer);
        assert_eq!(stop.reason(), StopReason::Signal(Signal::USR1), "round {round}");
        tracer.detach(stop).unwrap(); // which delivers it
        assert!(tracer.is_empty());
        drop(tracer);
        confirmed(&mut child);
        assert!(kill(pid, libc::SIGUSR1));
        confirmed(&mut child);
    }
    assert!(kill(pid, libc::SIGTERM));
    assert_eq!(child.wait().unwrap().code(), Some(0), "each signal came once");
}

fn f3_threads_are_let_go_with_their_process() {
    let (mut child, pid) = ready("spin", &["12"]);
    for _ in 0..10 {
        let mut tracer = tracer(EventFlags::PROCESS | EventFlags::THREAD);
        tracer.attach(pid).unwrap();
        let stop = next_stop(&mut tracer);
        assert_eq!(stop.reason(), StopReason::Started);
        assert_eq!(tracer.process_info(pid).unwrap().threads.len(), 12);
        tracer.detach(stop).unwrap();
        assert!(tracer.is_empty());
        assert!(tracer.wait().unwrap().is_none());
    }
    assert!(child.try_wait().unwrap().is_none());
    child.kill().unwrap();
    child.wait().unwrap();
}

fn f3_a_running_process_is_let_go() {
    let (mut child, pid) = ready("spin", &["7"]);
    for round in 0..6 {
        let mut tracer = tracer(EventFlags::PROCESS);
        tracer.attach(pid).unwrap();
        let stop = next_stop(&mut tracer);
        match round % 3 {
            0 => tracer.resume(stop, Resume::Continue).unwrap(),
            1 => drop(stop),
            _ => {
                tracer.detach_process(pid).unwrap();
                assert!(tracer.registers(&stop).unwrap_err().is_gone());
                tracer.resume(stop, Resume::Continue).unwrap();
            }
        }
        tracer.detach_process(pid).unwrap();
        assert!(tracer.is_empty());
        assert!(tracer.wait().unwrap().is_none());
        assert!(child.try_wait().unwrap().is_none());
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

fn f3_a_signal_is_not_lost_with_its_token() {
    let (mut child, pid) = ready("confirm", &["2"]);
    for drops_the_tracer in [false, true] {
        let mut tracer = tracer(EventFlags::PROCESS);
        tracer.attach(pid).unwrap();
        let stop = next_stop(&mut tracer);
        tracer.resume(stop, Resume::Continue).unwrap();
        assert!(kill(pid, libc::SIGUSR1));
        let stop = next_stop(&mut tracer);
        assert_eq!(stop.reason(), StopReason::Signal(Signal::USR1));
        if drops_the_tracer {
            drop(tracer);
        } else {
            tracer.detach_process(pid).unwrap();
        }
        drop(stop);
        confirmed(&mut child);
    }
    assert!(kill(pid, libc::SIGTERM));
    assert_eq!(child.wait().unwrap().code(), Some(0), "each signal came once");
}

fn f3_no_signal_is_lost_or_doubled_by_attaching() {
    for threads in ["1", "5"] {
        let (mut child, pid) = ready("echo", &[threads]);
        let mut answers = child.stdout.take().unwrap();
        let done = Arc::new(AtomicBool::new(false));
        // Few at a time: what a full queue does is the kernel's affair.
        let sender = std::thread::spawn({
            let done = done.clone();
            move || {
                let (mut sent, mut handled) = (0, 0);
                while !done.load(Ordering::SeqCst) || handled < sent {
                    while sent < handled + 8 && !done.load(Ordering::SeqCst) {
                        let value = libc::sigval { sival_ptr: std::ptr::null_mut() };
                        // SAFETY: queues a signal to a process of this test.
                        let result = unsafe { libc::sigqueue(pid.as_raw(), realtime(), value) };
                        assert_eq!(result, 0);
                        sent += 1;
                    }
                    handled += answers.read(&mut [0; 64]).unwrap();
                }
                (sent, handled, answers)
            }
        });
        for round in 0..60 {
            let mut tracer = tracer(EventFlags::PROCESS);
            tracer.attach(pid).unwrap();
            for _ in 0..round % 7 {
                let event = tracer.wait().unwrap().unwrap();
                tracer.resume(event, Resume::Continue).unwrap();
            }
            match round % 3 {
                0 => tracer.detach_process(pid).unwrap(),
                1 => drop(tracer),
                _ => {
                    let event = tracer.wait().unwrap().unwrap();
                    tracer.detach(event).unwrap();
                }
            }
        }
        done.store(true, Ordering::SeqCst);
        let (sent, handled, mut answers) = sender.join().unwrap();
        assert_eq!(sent, handled, "{threads} threads");
        assert!(kill(pid, libc::SIGTERM));
        assert_eq!(child.wait().unwrap().code(), Some(0));
        assert_eq!(answers.read(&mut [0; 64]).unwrap(), 0, "and no more");
    }
}

fn f5_a_dropped_tracer_lets_go_of_what_it_attached_to() {
    let (mut child, pid) = ready("spin", &["5"]);
    for step in 0..6 {
        let mut tracer = tracer(EventFlags::PROCESS);
        tracer.attach(pid).unwrap();
        if step >= 2 {
            let stop = next_stop(&mut tracer);
            match step {
                2 => drop(stop),
                3 => std::mem::forget(stop),
                _ => tracer.resume(stop, Resume::Continue).unwrap(),
            }
        }
        drop(tracer);
        assert!(stays(|| child.try_wait().unwrap().is_none()), "step {step}");
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

fn errors_of_attach_say_what_to_do() {
    let mut tracer = tracer(EventFlags::PROCESS);
    assert!(tracer.attach(Pid::from_raw(i32::MAX)).unwrap_err().is_gone());
    for pid in [std::process::id() as i32, 1] {
        match tracer.attach(Pid::from_raw(pid)) {
            Err(Error::NotPermitted { .. }) => {}
            // Root may trace even init.
            Ok(()) if pid == 1 => {}
            other => panic!("{pid}: {other:?}"),
        }
    }
    // One that somebody else traces.
    let (mut child, pid) = ready("sleep", &[]);
    let mut other = fixture("tracer", &[&pid.to_string()]);
    let mut other = other.stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(other.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    match tracer.attach(pid) {
        Err(Error::NotPermitted { advice, .. }) => {
            assert!(advice.contains(&other.id().to_string()), "{advice}");
        }
        result => panic!("{result:?}"),
    }
    other.kill().unwrap();
    other.wait().unwrap();
    // What that one had spawned dies with it, and is this reaper's to bury.
    reap_orphan(line.trim().parse().unwrap());
    child.kill().unwrap();
    child.wait().unwrap();
}

fn f5_a_killed_tracer_takes_its_own_along_and_lets_the_others_live() {
    let (mut child, pid) = ready("sleep", &[]);
    let mut tracer = fixture("tracer", &[&pid.to_string()]);
    let mut tracer = tracer.stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(tracer.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let spawned: i32 = line.trim().parse().unwrap();
    tracer.kill().unwrap();
    tracer.wait().unwrap();
    assert!(libc::WIFSIGNALED(reap_orphan(spawned)));
    if cfg!(target_os = "freebsd") {
        // kern.kill_on_debugger_exit decides for all of them.
        let _ = child.kill();
        child.wait().unwrap();
        return;
    }
    assert!(stays(|| child.try_wait().unwrap().is_none()));
    child.kill().unwrap();
    child.wait().unwrap();
}

fn attach_to_a_stopped_process_leaves_it_stopped() {
    if cfg!(target_os = "freebsd") {
        skip("FreeBSD ignores the stop signals of a traced process");
    }
    let (mut child, pid) = ready("forward", &["0"]);
    assert!(kill(pid, libc::SIGSTOP));
    let mut status = 0;
    // SAFETY: `status` lives; waits until this child has stopped.
    unsafe { libc::waitpid(pid.as_raw(), &mut status, libc::WUNTRACED) };
    assert!(libc::WIFSTOPPED(status));
    let mut tracer = tracer(EventFlags::PROCESS);
    tracer.attach(pid).unwrap();
    let stop = next_stop(&mut tracer);
    assert_eq!(stop.reason(), StopReason::Started);
    tracer.resume(stop, Resume::Continue).unwrap();
    let stop = next_stop(&mut tracer);
    assert_eq!(stop.reason(), StopReason::GroupStop(Signal::STOP));
    tracer.resume(stop, Resume::Continue).unwrap();
    assert!(hears_nothing(&mut tracer), "it stays stopped");
    assert!(kill(pid, libc::SIGCONT));
    let stop = next_stop(&mut tracer);
    assert_eq!(stop.reason(), StopReason::Signal(Signal::CONT));
    tracer.detach(stop).unwrap();
    assert!(kill(pid, libc::SIGTERM));
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

fn f3_a_group_stop_outlives_the_tracer() {
    if cfg!(target_os = "freebsd") {
        skip("FreeBSD ignores the stop signals of a traced process");
    }
    let (mut child, pid) = ready("forward", &["0"]);
    let mut tracer = tracer(EventFlags::PROCESS);
    tracer.attach(pid).unwrap();
    let stop = next_stop(&mut tracer);
    tracer.resume(stop, Resume::Continue).unwrap();
    assert!(kill(pid, libc::SIGSTOP));
    let stop = next_stop(&mut tracer);
    assert_eq!(stop.reason(), StopReason::Signal(Signal::STOP));
    tracer.resume(stop, Resume::Continue).unwrap();
    let stop = next_stop(&mut tracer);
    assert_eq!(stop.reason(), StopReason::GroupStop(Signal::STOP));
    tracer.resume(stop, Resume::Continue).unwrap();
    drop(tracer); // out of LISTEN
    assert!(kill(pid, libc::SIGTERM));
    assert!(stays(|| child.try_wait().unwrap().is_none()), "still stopped");
    assert!(kill(pid, libc::SIGCONT));
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

fn reap_orphan(pid: i32) -> i32 {
    let mut status = 0;
    // SAFETY: `status` lives; the process was given to this one as its reaper.
    assert_eq!(unsafe { libc::waitpid(pid, &mut status, 0) }, pid);
    status
}
