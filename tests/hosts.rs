//! W1, W2, F4: whatever the program that traces does with SIGCHLD.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use trapline::{Event, EventFlags, Pid, Resume, Signal, StopReason, Tracer};

use crate::common::*;
use crate::fixtures::fixture;

crate::tests![
    w2_whatever_the_host_does_with_sigchld,
    w2_a_host_that_changes_its_mind,
    w1_a_host_that_blocks_every_signal,
    f4_real_parents_of_the_tracees_of_any_host,
    f4_a_real_parent_that_ignores_sigchld,
];

/// What this process does with SIGCHLD, and whether that takes the exit statuses of its own
/// children away.
const WAYS: [(libc::sighandler_t, i32, bool); 4] = [
    (libc::SIG_DFL, 0, false),
    (libc::SIG_DFL, libc::SA_NOCLDSTOP, false),
    (libc::SIG_DFL, libc::SA_NOCLDWAIT, true),
    (libc::SIG_IGN, 0, true),
];

fn child_signal(handler: libc::sighandler_t, flags: i32) {
    // SAFETY: there is no handler but the two that are constants.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler;
        action.sa_flags = flags;
        assert_eq!(libc::sigaction(libc::SIGCHLD, &action, std::ptr::null_mut()), 0);
    }
}

/// A program that does not inherit it.
fn plain(mut command: Command) -> Command {
    // SAFETY: one system call.
    unsafe {
        command.pre_exec(|| {
            child_signal(libc::SIG_DFL, 0);
            Ok(())
        });
    }
    command
}

/// Whatever there is: forks, execs, threads, ends, each reported as ever.
fn works(tracer: &mut Tracer) {
    tracer.spawn(plain(fixture("fork", &["10"]))).unwrap();
    tracer.spawn(plain(fixture("threads", &["5"]))).unwrap();
    tracer.spawn(plain(sh("/bin/echo >/dev/null; (exit 4); kill -9 $$"))).unwrap();
    let log = run(tracer);
    assert_eq!(log.count("exec"), 4);
    for i in 0..10 {
        let found = log.count(&format!("exit {i} of P"));
        assert_eq!(found, if i == 4 { 2 } else { 1 } + usize::from(i == 0), "exit {i}");
    }
    assert_eq!((log.count("exit 0 of us"), log.count("killed SIGKILL of us")), (2, 1));
}

fn w2_whatever_the_host_does_with_sigchld() {
    for (handler, flags, lost) in WAYS {
        child_signal(handler, flags);
        let mut tracer = tracer(EventFlags::PROCESS);
        works(&mut tracer);
        // A child of its own is as it was without a tracer; what FreeBSD's kernel gives away it
        // gives to the reaper, and this process is its own.
        let status = plain(fixture("exit", &["3"])).status();
        assert_eq!(status.is_err(), lost && cfg!(target_os = "linux"), "{status:?}");
    }
}

fn w2_a_host_that_changes_its_mind() {
    let mut tracer = tracer(EventFlags::PROCESS);
    for (handler, flags, _) in WAYS.into_iter().chain(WAYS).rev() {
        child_signal(handler, flags);
        works(&mut tracer);
    }
}

fn w1_a_host_that_blocks_every_signal() {
    // SAFETY: the set is initialised before it is used.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&mut set);
        assert_eq!(libc::pthread_sigmask(libc::SIG_BLOCK, &set, std::ptr::null_mut()), 0);
    }
    works(&mut tracer(EventFlags::PROCESS));
}

// Its tracees' ends come to it first all the same, and then go to their real parents.
fn f4_real_parents_of_the_tracees_of_any_host() {
    for (handler, flags, _) in WAYS {
        child_signal(handler, flags);
        let mut parent = plain(sh("sleep 1000 & echo $!; wait $! 2>/dev/null; echo $?"));
        let mut parent = parent.stdout(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(parent.stdout.take().unwrap()).lines();
        let pid = Pid::from_raw(said.next().unwrap().unwrap().parse().unwrap());
        let parent_pid = Pid::from_raw(parent.id() as i32);
        let mut tracer = tracer(EventFlags::PROCESS);
        tracer.attach(pid).unwrap();
        let stop = next_stop(&mut tracer);
        assert_eq!(tracer.process_info(pid).unwrap().real_parent, Some(parent_pid));
        tracer.resume(stop, Resume::Continue).unwrap();
        assert!(kill(pid, libc::SIGTERM));
        // It may have been attached to before its exec.
        let mut reason = StopReason::Started;
        while reason != StopReason::Signal(Signal::TERM) {
            let stop = next_stop(&mut tracer);
            reason = stop.reason();
            tracer.resume(stop, Resume::Continue).unwrap();
        }
        match tracer.wait().unwrap() {
            Some(Event::Exited { pid: ended, status, real_parent }) => {
                assert_eq!((ended, status), (pid, killed_by(Signal::TERM)));
                assert_eq!(real_parent, Some(parent_pid));
            }
            other => panic!("{other:?}"),
        }
        assert!(tracer.wait().unwrap().is_none());
        assert_eq!(said.next().unwrap().unwrap(), "143", "what the shell's wait said");
        let _ = parent.wait(); // its own end is lost to some of these hosts
    }
}

// A real parent that ignores SIGCHLD gets no zombie; not from the tracer either, but for
// FreeBSD's kernel, which hands it over all the same.
fn f4_a_real_parent_that_ignores_sigchld() {
    let log = trace(EventFlags::PROCESS, fixture("careless", &["20"]));
    assert_eq!(log.count("exit 5 of P1"), 20);
    assert_eq!(log.count("exit 0 of us"), 1);
}
