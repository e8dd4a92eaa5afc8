//! Attaching to running processes: all threads, one stop, clean refusals.

#![cfg(target_os = "linux")]

mod common;

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use common::*;
use trapline_core::backend::{
    Backend, Patience, RawKind, RawReason, RawStop, Setup, Thread, Waited,
};
use trapline_core::{Error, EventFlags, ExitStatus, Pid, Signal, Tid};
use trapline_os_linux::Linux;

/// So many threads are many.
const CROWD: usize = 100;

/// Starts a role that is not traced, and waits until it says that it is ready.
fn running(role: &str) -> Guard {
    let mut child = playing(role).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("ready")));
    // Whoever writes more must not be killed for it.
    thread::spawn(move || lines.for_each(drop));
    Guard(child)
}

/// Stops each thread and detaches it. Returns what was seen.
fn detach_all(linux: &mut Linux, pid: Pid, meanwhile: Vec<RawStop>) -> Vec<RawKind> {
    let mut seen = Vec::new();
    for tid in linux.threads(pid).unwrap() {
        gone_is_fine(linux.interrupt(Thread { pid, tid }));
    }
    let mut queue = meanwhile;
    loop {
        let stop = match queue.pop() {
            Some(stop) => stop,
            None => match linux.wait(Patience::Block).unwrap() {
                Waited::Stop(stop) => stop,
                Waited::NoTracees => return seen,
                other => panic!("{other:?}"),
            },
        };
        seen.push(stop.kind);
        let signal = match stop.kind {
            RawKind::Stop(RawReason::Signal { signal, .. }) => Some(signal),
            RawKind::Stop(_) => None,
            RawKind::Ended(_) => continue,
        };
        gone_is_fine(linux.detach(Thread { pid, tid: stop.tid.unwrap() }, signal));
    }
}

#[test]
fn a_process_of_many_threads() {
    within(60, || {
        let mut host = running("threads");
        for round in 0..20 {
            let mut linux = Linux::open().unwrap();
            let attached = linux.attach(host.pid(), DETACH).unwrap();
            assert_eq!(attached.real_parent, Some(pid(std::process::id())));
            let mut threads = attached.threads.clone();
            threads.sort();
            assert_eq!(threads, linux.threads(host.pid()).unwrap());
            assert!(threads.len() >= 9, "{threads:?}");
            // One stop comes, and only one.
            let kinds: Vec<_> = attached.meanwhile.iter().map(|stop| stop.kind).collect();
            assert_eq!(kinds, [RawKind::Stop(RawReason::Paused)], "{round}");
            assert_eq!(linux.wait(Patience::Brief).unwrap(), Waited::Nothing);
            let running = threads.iter().filter(|tid| Some(**tid) != attached.meanwhile[0].tid);
            for tid in running {
                until(|| state(tid.as_raw()) == Some(b'S'));
            }
            detach_all(&mut linux, host.pid(), attached.meanwhile);
        }
        assert_eq!(host.0.try_wait().unwrap(), None);
    });
}

/// One of many threads is stopped, and the others are not disturbed.
#[test]
fn many_threads_take_one_stop() {
    within(60, || {
        let mut host = running("crowd");
        for round in 0..5 {
            let mut linux = Linux::open().unwrap();
            let attached = linux.attach(host.pid(), DETACH).unwrap();
            let threads = attached.threads.len();
            assert!(threads > CROWD);
            // Each is seized; what else there is does not grow with them.
            let requests = linux.requests();
            assert!(requests <= threads as u64 + 50, "{requests} for {threads}");
            let kinds: Vec<_> = attached.meanwhile.iter().map(|stop| stop.kind).collect();
            assert_eq!(kinds, [RawKind::Stop(RawReason::Paused)], "{round}");
            all_are_traced(&mut linux, host.pid());
            let seen = detach_all(&mut linux, host.pid(), attached.meanwhile);
            assert_eq!(seen, vec![RawKind::Stop(RawReason::Paused); threads]);
            // Not before all of them sleep again.
            for tid in attached.threads {
                until(|| state(tid.as_raw()) == Some(b'S'));
            }
        }
        assert_eq!(host.0.try_wait().unwrap(), None);
    });
}

/// Each thread of a process is traced by this one, or is gone.
fn relay() {
    drop(thread::spawn(relay));
}

fn all_are_traced(linux: &mut Linux, pid: Pid) {
    let own = fs_tid();
    for tid in linux.threads(pid).unwrap() {
        let path = format!("/proc/{pid}/task/{tid}/status");
        let Ok(status) = std::fs::read_to_string(path) else { continue };
        let is_ours = status.contains(&format!("TracerPid:\t{own}\n"));
        assert!(is_ours || status.contains("State:\tX"), "{status}");
    }
}

/// Threads that come and go while they are attached to, few and many.
#[test]
fn a_process_whose_threads_come_and_go() {
    within(120, || {
        for role in ["busy", "busy crowd"] {
            let mut host = running(role);
            for _ in 0..30 {
                let mut linux = Linux::open().unwrap();
                let attached = linux.attach(host.pid(), DETACH).unwrap();
                if role == "busy" {
                    // Every thread that is there now is traced, by us.
                    all_are_traced(&mut linux, host.pid());
                }
                let mut queue = attached.meanwhile;
                let mut nothing = 0;
                for round in 0..200 {
                    // Where many were attached to, those that were being made are looked for
                    // when there is nothing else.
                    let patience = [Patience::Brief, Patience::Poll][round % 2];
                    match queue.pop().map_or_else(|| linux.wait(patience), |s| Ok(Waited::Stop(s)))
                    {
                        Ok(Waited::Stop(stop)) => pass(&mut linux, stop),
                        other => {
                            assert_eq!(other.unwrap(), Waited::Nothing);
                            nothing += 1;
                        }
                    }
                }
                if nothing > 20 {
                    all_are_traced(&mut linux, host.pid());
                }
                detach_all(&mut linux, host.pid(), queue);
            }
            assert_eq!(host.0.try_wait().unwrap(), None);
        }
    });
}

/// Threads that each make the next one and end. One that is not traced may have ended by the time it is
/// looked at, and so may those that come after it.
#[test]
fn a_process_of_threads_that_make_the_next_one_and_end() {
    within(120, || {
        let mut host = running("relay");
        for _ in 0..100 {
            let mut linux = Linux::open().unwrap();
            let attached = linux.attach(host.pid(), DETACH).unwrap();
            all_are_traced(&mut linux, host.pid());
            detach_all(&mut linux, host.pid(), attached.meanwhile);
        }
        assert_eq!(host.0.try_wait().unwrap(), None);
    });
}

fn fs_tid() -> i32 {
    // SAFETY: takes nothing.
    unsafe { libc::syscall(libc::SYS_gettid) as i32 }
}

/// A process with threads that execs all the time: the kernel makes an attach wait for the exec,
/// and the exec for the attach.
#[test]
fn attaching_to_a_process_that_execs_does_not_hang() {
    within(120, || {
        let mut met = 0;
        for flags in [EventFlags::PROCESS, EventFlags::PROCESS | EventFlags::EXIT] {
            let setup = Setup { flags, ..DETACH };
            let mut host = running("execs");
            for round in 0..150 {
                thread::sleep(Duration::from_micros(137 * (round % 40)));
                let mut linux = Linux::open().unwrap();
                let attached = linux.attach(host.pid(), setup).unwrap();
                met += usize::from(
                    attached.meanwhile.iter().any(|stop| matches!(stop.kind, RawKind::Ended(_))),
                );
                detach_all(&mut linux, host.pid(), attached.meanwhile);
                assert_eq!(host.0.try_wait().unwrap(), None);
            }
        }
        println!("ends taken by the watching thread in {met} of 300");
    });
}

#[test]
fn e7_exit_stops_of_all_threads() {
    within(60, || {
        let mut linux = Linux::open().unwrap();
        let host = running("threads");
        let setup = Setup { flags: EventFlags::PROCESS | EventFlags::EXIT, ..DETACH };
        let attached = linux.attach(host.pid(), setup).unwrap();
        let stops: Vec<_> = attached.meanwhile.iter().map(|stop| stop.kind).collect();
        assert_eq!(stops, [RawKind::Stop(RawReason::Paused)]);
        let mut running: Vec<Tid> = attached.threads;
        kill(host.pid(), Signal::TERM);
        attached.meanwhile.into_iter().for_each(|stop| pass(&mut linux, stop));
        let mut exits = Vec::new();
        while let Waited::Stop(stop) = linux.wait(Patience::Block).unwrap() {
            if stop.kind == RawKind::Stop(RawReason::ThreadExiting) {
                exits.push(stop.tid.unwrap());
            }
            pass(&mut linux, stop);
        }
        exits.sort();
        running.sort();
        assert_eq!(exits, running);
    });
}

/// One that job control has stopped stays stopped.
#[test]
fn e8_a_stopped_process() {
    within(30, || {
        for flags in [EventFlags::PROCESS, EventFlags::PROCESS | EventFlags::EXIT] {
            let mut linux = Linux::open().unwrap();
            let host = Guard(Command::new("sleep").arg("60").spawn().unwrap());
            kill(host.pid(), Signal::STOP);
            until(|| state(host.pid().as_raw()) == Some(b'T'));
            let attached = linux.attach(host.pid(), Setup { flags, ..DETACH }).unwrap();
            let [stop] = attached.meanwhile[..] else { panic!("{attached:?}") };
            assert_eq!(stop.kind, RawKind::Stop(RawReason::GroupStop(Signal::STOP)));
            let thread = thread_of(host.pid());
            linux.listen(thread).unwrap();
            assert_eq!(linux.wait(Patience::Brief).unwrap(), Waited::Nothing);
            kill(host.pid(), Signal::CONT);
            assert_eq!(next(&mut linux).kind, RawKind::Stop(RawReason::Paused));
            detach_all(
                &mut linux,
                host.pid(),
                vec![RawStop {
                    pid: None,
                    tid: Some(thread.tid),
                    kind: RawKind::Stop(RawReason::Paused),
                }],
            );
            until(|| state(host.pid().as_raw()) == Some(b'S'));
        }
    });
}

/// The first thread has ended: another one stops.
#[test]
fn e4_a_process_whose_first_thread_has_ended() {
    within(30, || {
        let host = running("leader ends first");
        until(|| state(host.pid().as_raw()) == Some(b'Z'));
        let mut linux = Linux::open().unwrap();
        let attached = linux.attach(host.pid(), DETACH).unwrap();
        assert!(!attached.threads.contains(&thread_of(host.pid()).tid));
        let [stop] = attached.meanwhile[..] else { panic!("{attached:?}") };
        assert_eq!(stop.kind, RawKind::Stop(RawReason::Paused));
        assert!(attached.threads.contains(&stop.tid.unwrap()));
        kill(host.pid(), Signal::KILL);
        let ends = run_to_end(&mut linux);
        assert!(ends.iter().all(|(_, status)| *status == killed(Signal::KILL)));
    });
}

#[track_caller]
fn refused(linux: &mut Linux, pid: Pid, part: &str) {
    let before = linux.wait(Patience::Poll).unwrap();
    assert_eq!(before, Waited::NoTracees);
    match linux.attach(pid, DETACH) {
        Err(error @ Error::NotPermitted { .. }) => {
            let message = error.to_string();
            assert!(message.contains(part), "{message}");
        }
        other => panic!("{other:?}"),
    }
    // Nothing stays traced.
    assert_eq!(linux.wait(Patience::Block).unwrap(), Waited::NoTracees);
}

#[test]
fn refusals_say_what_to_do() {
    within(30, || {
        let mut linux = Linux::open().unwrap();
        refused(&mut linux, pid(std::process::id()), "cannot trace itself");
        let host = running("threads");
        let thread = linux.threads(host.pid()).unwrap()[1];
        let advice = format!("attach to {}", host.pid());
        refused(&mut linux, Pid::from_raw(thread.as_raw()), &advice);
        // Traced by another thread, which has a name.
        let (traced, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let tracer = thread::Builder::new().name("another".into()).spawn({
            let (target, traced, done) = (host.pid(), traced.clone(), done.clone());
            move || {
                let mut linux = Linux::open().unwrap();
                linux.attach(target, DETACH).unwrap();
                traced.store(true, Ordering::Release);
                while !done.load(Ordering::Acquire) {
                    thread::sleep(Duration::from_millis(1));
                }
            }
        });
        until(|| traced.load(Ordering::Acquire));
        refused(&mut linux, host.pid(), "(another)");
        done.store(true, Ordering::Release);
        tracer.unwrap().join().unwrap();
        // A thread of the kernel, where there are any to see.
        if std::fs::read_link("/proc/2/exe").is_err() && state(2).is_some() {
            refused(&mut linux, Pid::from_raw(2), "kernel");
        }
    });
}

#[test]
fn what_is_not_there_is_gone() {
    within(30, || {
        let mut linux = Linux::open().unwrap();
        let host = Guard(Command::new("true").spawn().unwrap());
        until(|| state(host.pid().as_raw()) == Some(b'Z'));
        for raw in [i32::MAX, 0, -1, host.pid().as_raw()] {
            let error = linux.attach(Pid::from_raw(raw), DETACH).unwrap_err();
            assert!(error.is_gone(), "{raw}: {error}");
        }
    });
}

/// Without privileges: another user's process is refused, with advice, and so are the spawning and
/// the waker of a host that may not be traced itself.
#[test]
fn refusals_of_a_host_without_privileges() {
    // SAFETY: takes nothing.
    if unsafe { libc::geteuid() } != 0 {
        eprintln!("skipped: needs root, to become another user");
        return;
    }
    within(30, || {
        let other = Guard(Command::new("sleep").arg("60").spawn().unwrap());
        let mut role = playing("nobody");
        role.env("TRAPLINE_TARGET", other.pid().to_string());
        assert_eq!(role.status().unwrap().code(), Some(42));
    });
}

#[test]
#[ignore = "played by other tests"]
fn role() {
    let Ok(what) = std::env::var("TRAPLINE_ROLE") else { return };
    let sleep = || loop {
        thread::sleep(Duration::from_secs(3600));
    };
    match &*what {
        "threads" => {
            (0..7).for_each(|_| drop(thread::spawn(sleep)));
            println!("ready");
            sleep();
        }
        "crowd" => {
            (0..CROWD).for_each(|_| drop(thread::spawn(sleep)));
            println!("ready");
            sleep();
        }
        "busy" | "busy crowd" => {
            let idle = if what == "busy" { 0 } else { CROWD };
            (0..idle).for_each(|_| drop(thread::spawn(sleep)));
            let busy = || loop {
                let _ = thread::spawn(|| thread::spawn(|| ()).join()).join();
            };
            (0..3).for_each(|_| drop(thread::spawn(busy)));
            println!("ready");
            sleep();
        }
        "relay" => {
            (0..3).for_each(|_| relay());
            println!("ready");
            sleep();
        }
        "execs" => {
            use std::os::unix::process::CommandExt;
            (0..40).for_each(|_| drop(thread::spawn(sleep)));
            println!("ready");
            panic!("{}", playing("execs").exec());
        }
        "leader ends first" => {
            println!("ready");
            thread::spawn(sleep);
            // SAFETY: ends the first thread alone.
            unsafe {
                let leader = libc::getpid();
                let by_signal = end_thread as extern "C" fn(i32) as libc::sighandler_t;
                libc::signal(libc::SIGUSR2, by_signal);
                libc::syscall(libc::SYS_tgkill, leader, leader, libc::SIGUSR2);
            }
            sleep();
        }
        "nobody" => {
            let target = std::env::var("TRAPLINE_TARGET").unwrap().parse().unwrap();
            // SAFETY: takes a number. glibc sets it for all threads.
            assert_eq!(unsafe { libc::setuid(65534) }, 0);
            let mut linux = Linux::open().unwrap();
            refused(&mut linux, Pid::from_raw(target), "it belongs to user 0");
            // A process that has changed users may not be traced.
            let advice = "run the tracer as root or with CAP_SYS_PTRACE";
            for error in [linux.spawn(Command::new("true"), KILL).err(), linux.waker().err()] {
                let message = error.map(|e| e.to_string()).unwrap_or_default();
                assert!(message.contains(advice), "{message}");
            }
            assert_eq!(linux.wait(Patience::Block).unwrap(), Waited::NoTracees);
            // SAFETY: takes numbers.
            unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 1, 0, 0, 0) };
            let spawned = start(&mut linux, sh("exit 3"), KILL);
            go(&mut linux, thread_of(spawned.pid));
            let end = (thread_of(spawned.pid).tid, ExitStatus::Code(3));
            assert_eq!(run_to_end(&mut linux), [end]);
            linux.waker().unwrap().wake();
            assert_eq!(linux.wait(Patience::Block).unwrap(), Waited::Woken);
            std::process::exit(42);
        }
        _ => {}
    }
}

extern "C" fn end_thread(_: i32) {
    // SAFETY: ends the calling thread.
    unsafe { libc::syscall(libc::SYS_exit, 0) };
}
