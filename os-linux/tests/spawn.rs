//! E9: a program is started as `std::process::Command` starts it, and traced from before its first
//! instruction.

#![cfg(target_os = "linux")]

mod common;

use std::fs;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use common::*;
use trapline_core::backend::{Backend, Patience, RawKind, RawReason, Run, Waited};
use trapline_core::{Error, EventFlags, ExitStatus, Signal};
use trapline_os_linux::Linux;

#[test]
fn e9_the_first_stop_is_the_exec() {
    within(10, || {
        let mut linux = Linux::open().unwrap();
        let spawned = start(&mut linux, Command::new("true"), KILL);
        assert_eq!(spawned.child.unwrap().id() as i32, spawned.pid.as_raw());
        assert!(spawned.meanwhile.is_empty());
        let thread = thread_of(spawned.pid);
        assert_eq!(linux.former_tid(thread, KILL).unwrap(), thread.tid);
        // Nothing but the exec has happened, and nothing else does before the end.
        go(&mut linux, thread);
        assert_eq!(next(&mut linux).kind, RawKind::Ended(ExitStatus::Code(0)));
        assert_eq!(linux.wait(Patience::Block).unwrap(), Waited::NoTracees);
    });
}

/// The error of std, and that of the back end.
#[track_caller]
fn same_error(make: impl Fn() -> Command) {
    let expected = make().spawn().expect_err("an error of std");
    let mut linux = Linux::open().unwrap();
    match linux.spawn(make(), KILL) {
        Err(Error::Spawn(e)) => {
            assert_eq!(e.kind(), expected.kind());
            assert_eq!(e.raw_os_error(), expected.raw_os_error());
        }
        other => panic!("{other:?} instead of {expected}"),
    }
    assert_eq!(linux.wait(Patience::Block).unwrap(), Waited::NoTracees);
}

#[test]
fn e9_a_failed_exec_has_the_error_of_std() {
    within(20, || {
        same_error(|| Command::new("/does/not/exist"));
        same_error(|| Command::new("no-such-program-in-the-path"));
        same_error(|| Command::new("/dev/null"));
        same_error(|| Command::new("/"));
        same_error(|| Command::new("a\0b"));
        same_error(|| {
            let mut command = Command::new("true");
            command.current_dir("/does/not/exist");
            command
        });
        same_error(|| {
            let mut command = Command::new("true");
            command.arg("x".repeat(1 << 20));
            command
        });
        same_error(|| {
            let mut command = Command::new("true");
            // SAFETY: makes an error, which allocates nothing.
            unsafe { command.pre_exec(|| Err(std::io::Error::from_raw_os_error(libc::EDOM))) };
            command
        });
        // Exit stops are not asked for before the exec, where std would wait for them.
        let mut linux = Linux::open().unwrap();
        let mut setup = KILL;
        setup.flags |= EventFlags::EXIT;
        let error = linux.spawn(Command::new("/does/not/exist"), setup).unwrap_err();
        assert!(matches!(error, Error::Spawn(_)), "{error}");
    });
}

#[test]
fn e9_environment_directory_and_stdio_are_those_of_the_command() {
    within(20, || {
        let mut linux = Linux::open().unwrap();
        let mut command = sh("read line; echo $line $WORD $PWD; echo error >&2");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.env("WORD", "green").current_dir("/usr");
        let mut spawned = start(&mut linux, command, KILL);
        let child = spawned.child.as_mut().unwrap();
        child.stdin.take().unwrap().write_all(b"blue\n").unwrap();
        go(&mut linux, thread_of(spawned.pid));
        assert_eq!(run_to_end(&mut linux), [(thread_of(spawned.pid).tid, ExitStatus::Code(0))]);
        let (mut out, mut err) = (String::new(), String::new());
        child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
        child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        assert_eq!((&*out, &*err), ("blue green /usr\n", "error\n"));
    });
}

#[test]
fn e9_exit_stops_are_on_from_the_exec() {
    within(10, || {
        let mut linux = Linux::open().unwrap();
        let mut setup = KILL;
        setup.flags |= EventFlags::EXIT;
        let spawned = start(&mut linux, Command::new("true"), setup);
        go(&mut linux, thread_of(spawned.pid));
        assert_eq!(next(&mut linux).kind, RawKind::Stop(RawReason::ThreadExiting));
        go(&mut linux, thread_of(spawned.pid));
        assert_eq!(next(&mut linux).kind, RawKind::Ended(ExitStatus::Code(0)));
    });
}

/// A command with a closure that sends its own process a signal.
fn raising(signal: i32, program: &str) -> Command {
    let mut command = Command::new(program);
    // SAFETY: raise is async-signal-safe.
    unsafe {
        command.pre_exec(move || {
            libc::raise(signal);
            Ok(())
        })
    };
    command
}

#[test]
fn e9_a_child_killed_before_its_exec_has_an_end_and_no_stop() {
    within(10, || {
        let mut linux = Linux::open().unwrap();
        for signal in [Signal::KILL, Signal::TERM, Signal::ABRT] {
            let spawned = linux.spawn(raising(signal.as_raw(), "true"), KILL).unwrap();
            assert_eq!(spawned.stop, None);
            let ends: Vec<_> = spawned.meanwhile.iter().map(|end| (end.tid, end.kind)).collect();
            let [(tid, RawKind::Ended(ExitStatus::Killed { signal: by, .. }))] = ends[..] else {
                panic!("{ends:?}");
            };
            assert_eq!((tid, by), (Some(thread_of(spawned.pid).tid), signal));
            assert_eq!(linux.wait(Patience::Block).unwrap(), Waited::NoTracees);
        }
    });
}

#[test]
fn e9_a_child_stopped_before_its_exec_stops_after_it() {
    within(10, || {
        let mut linux = Linux::open().unwrap();
        // Not SIGTSTP, which stops nothing where this test runs in an orphaned process group.
        let signal = Signal::STOP;
        let spawned = start(&mut linux, raising(signal.as_raw(), "true"), KILL);
        let thread = thread_of(spawned.pid);
        go(&mut linux, thread);
        let stopping = RawReason::Signal { signal, trap: None };
        assert_eq!(next(&mut linux).kind, RawKind::Stop(stopping));
        linux.resume(thread, Run::Continue, Some(signal)).unwrap();
        assert_eq!(next(&mut linux).kind, RawKind::Stop(RawReason::GroupStop(signal)));
        linux.listen(thread).unwrap();
        kill(spawned.pid, Signal::CONT);
        assert_eq!(next(&mut linux).kind, RawKind::Stop(RawReason::Paused));
        kill(spawned.pid, Signal::KILL);
        run_to_end(&mut linux);
    });
}

/// Signals at every moment around the report, the seizing and the exec: a process that a closure
/// makes sends them after some microseconds.
#[test]
fn e9_signals_at_any_moment_before_the_exec() {
    within(120, || {
        let mut linux = Linux::open().unwrap();
        let signals = [Signal::KILL, Signal::STOP, Signal::TERM, Signal::TSTP, Signal::USR1];
        let mut seen = [0; 4];
        for round in 0..1500_u32 {
            let signal = signals[round as usize % signals.len()].as_raw();
            let program = if round % 3 == 0 { "/does/not/exist" } else { "true" };
            let wait = (round * 7919) % 1200;
            let mut command = Command::new(program);
            // SAFETY: fork, nanosleep, kill and _exit are async-signal-safe.
            unsafe {
                command.pre_exec(move || {
                    let target = libc::getpid();
                    if libc::fork() == 0 {
                        let time = libc::timespec { tv_sec: 0, tv_nsec: i64::from(wait) * 1000 };
                        libc::nanosleep(&time, std::ptr::null_mut());
                        libc::kill(target, signal);
                        libc::_exit(0);
                    }
                    Ok(())
                })
            };
            match linux.spawn(command, KILL) {
                Ok(spawned) if spawned.stop.is_some() => {
                    seen[0] += 1;
                    go(&mut linux, thread_of(spawned.pid));
                    // A program that is stopped would wait for ever.
                    loop {
                        let kind = next_of(&mut linux, thread_of(spawned.pid));
                        if let RawKind::Ended(_) = kind {
                            break;
                        }
                        let (tid, pid) = (Some(thread_of(spawned.pid).tid), None);
                        pass(&mut linux, trapline_core::backend::RawStop { pid, tid, kind });
                        if let RawKind::Stop(RawReason::GroupStop(_)) = kind {
                            kill(spawned.pid, Signal::CONT);
                        }
                    }
                }
                Ok(spawned) if spawned.meanwhile.is_empty() => {
                    seen[1] += 1;
                    let end = next(&mut linux);
                    assert!(matches!(end.kind, RawKind::Ended(ExitStatus::Killed { .. })));
                    assert_eq!(end.tid, Some(thread_of(spawned.pid).tid));
                }
                Ok(spawned) => {
                    seen[2] += 1;
                    let end = spawned.meanwhile[0].kind;
                    assert!(matches!(end, RawKind::Ended(ExitStatus::Killed { .. })));
                }
                Err(Error::Spawn(e)) => {
                    seen[3] += 1;
                    assert_eq!(e.kind(), std::io::ErrorKind::NotFound);
                }
                Err(error) => panic!("{error}"),
            }
            assert_eq!(linux.wait(Patience::Poll).unwrap(), Waited::NoTracees);
        }
        println!("exec, killed traced, killed untraced, not found: {seen:?}");
        assert!(seen[0] > 0 && seen[3] > 0);
    });
}

/// Stops without end: std, waiting for a child whose exec has failed, may get one of them.
#[test]
fn e9_a_storm_of_stops_before_a_failed_exec() {
    within(120, || {
        let mut linux = Linux::open().unwrap();
        for round in 0..300 {
            let mut command = Command::new("/does/not/exist");
            // SAFETY: fork, kill and _exit are async-signal-safe.
            unsafe {
                command.pre_exec(move || {
                    let target = libc::getpid();
                    if libc::fork() == 0 {
                        for _ in 0..500 {
                            libc::kill(
                                target,
                                if round % 2 == 0 { libc::SIGSTOP } else { libc::SIGURG },
                            );
                        }
                        libc::_exit(0);
                    }
                    Ok(())
                })
            };
            match linux.spawn(command, KILL) {
                Err(Error::Spawn(e)) => assert_eq!(e.kind(), std::io::ErrorKind::NotFound),
                other => panic!("{other:?}"),
            }
            assert_eq!(linux.wait(Patience::Poll).unwrap(), Waited::NoTracees);
        }
    });
}

/// A host that ignores SIGCHLD has no children to wait for; its tracees are there all the same.
#[test]
fn e9_a_host_that_ignores_sigchld() {
    within(20, || {
        let status = playing("no SIGCHLD").status().unwrap();
        assert_eq!(status.code(), Some(42));
    });
}

#[test]
fn e9_the_program_has_the_mask_of_the_tracer() {
    within(10, || {
        let mut linux = Linux::open().unwrap();
        for signal in [libc::SIGUSR1, libc::SIGUSR2] {
            // SAFETY: writes one set, and then reads it.
            unsafe {
                let mut set = std::mem::zeroed();
                libc::sigemptyset(&mut set);
                libc::sigaddset(&mut set, signal);
                libc::pthread_sigmask(libc::SIG_SETMASK, &set, std::ptr::null_mut());
            }
            let mut command = Command::new("grep");
            command.args(["SigBlk", "/proc/self/status"]);
            command.stdout(Stdio::piped());
            let mut spawned = start(&mut linux, command, KILL);
            go(&mut linux, thread_of(spawned.pid));
            run_to_end(&mut linux);
            let mut out = String::new();
            spawned
                .child
                .as_mut()
                .unwrap()
                .stdout
                .as_mut()
                .unwrap()
                .read_to_string(&mut out)
                .unwrap();
            let expected = format!("SigBlk:\t{:016x}\n", 1_u64 << (signal - 1));
            assert_eq!(out, expected);
            // And the tracer's own is what it was.
            let own = fs::read_to_string("/proc/thread-self/status").unwrap();
            assert!(own.contains(&expected), "{own}");
        }
    });
}

#[test]
fn e9_pdeathsig_means_the_tracer_and_not_a_passing_thread() {
    within(20, || {
        let mut linux = Linux::open().unwrap();
        let mut command = Command::new("sleep");
        command.arg("60");
        // SAFETY: prctl is a system call.
        unsafe {
            command.pre_exec(|| {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM);
                Ok(())
            })
        };
        let mut spawned = start(&mut linux, command, DETACH);
        let thread = thread_of(spawned.pid);
        linux.detach(thread, None).unwrap();
        thread::sleep(Duration::from_millis(100));
        let mut child = spawned.child.take().unwrap();
        assert_eq!(child.try_wait().unwrap(), None);
        drop(linux);
        use std::os::unix::process::ExitStatusExt;
        assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGTERM));
    });
}

#[test]
fn e9_two_hundred_at_once() {
    within(60, || {
        let mut linux = Linux::open().unwrap();
        let children: Vec<_> =
            (0..200).map(|_| start(&mut linux, Command::new("true"), KILL)).collect();
        for child in &children {
            go(&mut linux, thread_of(child.pid));
        }
        assert_eq!(run_to_end(&mut linux).len(), 200);
    });
}

/// A host that has closed its stdio: descriptors of ours must not become the program's.
#[test]
fn e9_a_host_without_stdio() {
    within(20, || {
        let status = playing("no stdio").status().unwrap();
        assert_eq!(status.code(), Some(42));
    });
}

#[test]
#[ignore = "played by other tests"]
fn role() {
    match std::env::var("TRAPLINE_ROLE").as_deref() {
        Ok("no stdio") => without_stdio(),
        Ok("no SIGCHLD") => without_sigchld(),
        _ => {}
    }
}

fn without_sigchld() {
    // SAFETY: sets no handler.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
    let mut linux = Linux::open().unwrap();
    for _ in 0..20 {
        let spawned = start(&mut linux, sh("exit 5"), KILL);
        go(&mut linux, thread_of(spawned.pid));
        assert_eq!(run_to_end(&mut linux), [(thread_of(spawned.pid).tid, ExitStatus::Code(5))]);
        match linux.spawn(Command::new("/does/not/exist"), KILL) {
            Err(Error::Spawn(e)) => assert_eq!(e.kind(), std::io::ErrorKind::NotFound),
            other => panic!("{other:?}"),
        }
    }
    std::process::exit(42);
}

fn without_stdio() {
    // The files have numbers above 2, so that std puts all three over what is free.
    let (mut out, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let others = [fs::File::open("/dev/null").unwrap(), fs::File::open("/dev/null").unwrap()];
    // SAFETY: nothing is printed or read from here on.
    (0..3).for_each(|fd| assert_eq!(unsafe { libc::close(fd) }, 0));
    let mut linux = Linux::open().unwrap();
    let [stdin, stderr] = others;
    let mut command = sh("echo answer");
    command.stdin(stdin).stdout(OwnedFd::from(theirs)).stderr(stderr);
    let spawned = start(&mut linux, command, KILL);
    go(&mut linux, thread_of(spawned.pid));
    let ends = run_to_end(&mut linux);
    let mut answer = String::new();
    out.read_to_string(&mut answer).unwrap();
    let good = answer == "answer\n" && ends == [(thread_of(spawned.pid).tid, ExitStatus::Code(0))];
    std::process::exit(if good { 42 } else { 1 });
}
