//! Starting programs, and tracing those that run.

use std::io::ErrorKind;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use trapline_core::backend::{OnExit, Patience, RawKind, RawReason, Setup, Thread, Waited};
use trapline_core::{Backend, Error, EventFlags, ExitStatus, Pid, Signal};
use trapline_os_freebsd::FreeBsd;

use crate::bsd::driver::*;

pub(super) fn exec_stop_first() {
    let lists = traced(&["exit", "7"], EventFlags::PROCESS);
    assert_eq!(lists, [["exec", "exit status 7"]]);
}

pub(super) fn errors_of_command() {
    let mut b = FreeBsd::open().unwrap();
    let plain = std::env::temp_dir().join("trapline-plain-file");
    std::fs::write(&plain, "no program").unwrap();
    for (name, kind) in [
        ("/nowhere/to/be/found", ErrorKind::NotFound),
        (plain.to_str().unwrap(), ErrorKind::PermissionDenied),
        ("/tmp", ErrorKind::PermissionDenied),
    ] {
        let plain = Command::new(name).spawn().unwrap_err();
        match b.spawn(Command::new(name), setup(EventFlags::PROCESS)) {
            Err(Error::Spawn(error)) => {
                assert_eq!(error.kind(), plain.kind(), "{name}");
                assert_eq!(error.kind(), kind, "{name}");
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(b.wait(Patience::Block).unwrap(), Waited::NoTracees);
    // And it works after that.
    let first = start(&mut b, &["exit", "1"], EventFlags::PROCESS);
    go(&mut b, &first);
    assert_eq!(run_out(&mut b), ExitStatus::Code(1));
}

pub(super) fn killed_before_exec() {
    let mut b = FreeBsd::open().unwrap();
    let mut command = fixture(&["exit", "0"]);
    // SAFETY: one system call.
    unsafe {
        command.pre_exec(|| {
            libc::kill(libc::getpid(), libc::SIGKILL);
            Ok(())
        })
    };
    let spawned = b.spawn(command, setup(EventFlags::PROCESS)).unwrap();
    assert_eq!(spawned.stop, None);
    let end = next(&mut b);
    assert_eq!(end.pid, Some(spawned.pid));
    assert_eq!(end.tid, None);
    let killed = ExitStatus::Killed { signal: Signal::KILL, core_dumped: false };
    assert_eq!(end.kind, RawKind::Ended(killed));
    assert_eq!(b.wait(Patience::Block).unwrap(), Waited::NoTracees);
}

/// The child gets signals, stop signals among them, all the way to its exec and beyond.
pub(super) fn signals_before_exec() {
    let mut b = FreeBsd::open().unwrap();
    let mut kept = 0;
    for round in 0..30_u32 {
        let mut command = fixture(&["exit", "0"]);
        // SAFETY: system calls alone.
        unsafe {
            command.pre_exec(move || {
                let target = libc::getpid();
                if libc::fork() == 0 {
                    // Untraced it stops, and goes on.
                    for _ in 0..20 + round * 10 {
                        libc::kill(target, libc::SIGSTOP);
                        libc::usleep(50 + round * 20);
                        libc::kill(target, libc::SIGCONT);
                        libc::kill(target, libc::SIGURG);
                    }
                    libc::_exit(0);
                }
                Ok(())
            })
        };
        let spawned = b.spawn(command, setup(EventFlags::PROCESS)).unwrap();
        assert!(spawned.meanwhile.is_empty());
        let mut stop = spawned.stop.expect("an exec stop");
        loop {
            match stop.kind {
                RawKind::Ended(status) => {
                    assert_eq!(status, ExitStatus::Code(0));
                    break;
                }
                RawKind::Stop(RawReason::Signal { signal: Signal::STOP, .. }) => kept += 1,
                RawKind::Stop(_) => {}
            }
            go(&mut b, &stop);
            stop = next(&mut b);
        }
    }
    println!("{kept} SIGSTOPs seen");
}

pub(super) fn second_back_end() {
    let first = FreeBsd::open().unwrap();
    match FreeBsd::open() {
        Err(Error::Unsupported { on: "FreeBSD", .. }) => {}
        other => panic!("{other:?}"),
    }
    drop(first);
    FreeBsd::open().unwrap();
}

/// A busy process stops, is not disturbed, and its parent gets its end.
pub(super) fn attach_and_detach() {
    let mut b = FreeBsd::open().unwrap();
    let (mut talk, _) = Talk::new(&["busy"]);
    for _ in 0..20 {
        let attached = b.attach(talk.pid, setup(EventFlags::PROCESS)).unwrap();
        assert_eq!(attached.threads.len(), 1);
        assert_eq!(attached.real_parent, Some(Pid::this()));
        let stop = next(&mut b);
        assert_eq!(stop.pid, Some(talk.pid));
        assert_eq!(reason(&stop), RawReason::Paused);
        let mask = b.event_mask(thread(&stop)).unwrap();
        assert!(mask.contains(trapline_os_freebsd::EventMask::FORK), "set at the first stop");
        b.registers(thread(&stop)).unwrap();
        b.detach(thread(&stop), None).unwrap();
        assert_eq!(b.wait(Patience::Block).unwrap(), Waited::NoTracees);
        assert!(talk.child.try_wait().unwrap().is_none(), "an ordinary child again");
    }
    talk.child.kill().unwrap();
    assert!(!talk.child.wait().unwrap().success());
}

/// One that sleeps in a system call goes on sleeping. Its end goes to the tracer, then its parent.
pub(super) fn attach_sleeping() {
    let mut b = FreeBsd::open().unwrap();
    let (talk, _) = Talk::new(&["sleep"]);
    b.attach(talk.pid, setup(EventFlags::PROCESS)).unwrap();
    let stop = next(&mut b);
    assert_eq!(reason(&stop), RawReason::Paused);
    b.detach(thread(&stop), None).unwrap();

    b.attach(talk.pid, setup(EventFlags::SYSCALL)).unwrap();
    let stop = next(&mut b);
    assert_eq!(reason(&stop), RawReason::Paused);
    b.set_up(thread(&stop), setup(EventFlags::PROCESS)).unwrap();
    go(&mut b, &stop);
    // It is this process's child as well as its tracee, and ends once.
    drop(talk.input);
    let end = next(&mut b);
    assert_eq!(end.kind, RawKind::Ended(ExitStatus::Code(8)));
    assert_eq!(b.wait(Patience::Block).unwrap(), Waited::NoTracees);
}

pub(super) fn attach_refused() {
    let mut b = FreeBsd::open().unwrap();
    let attach = |b: &mut FreeBsd, pid: i32| {
        let setup = Setup { flags: EventFlags::PROCESS, on_exit: OnExit::Detach };
        b.attach(Pid::from_raw(pid), setup).unwrap_err()
    };
    for nobody in [99_990, 0, -1, 123_456] {
        assert!(attach(&mut b, nobody).is_gone(), "{nobody}");
    }
    let us = std::process::id() as i32;
    for refused in [us, 2] {
        let error = attach(&mut b, refused);
        assert!(matches!(error, Error::NotPermitted { .. }), "{error:?}");
    }
    let (mut talk, _) = Talk::new(&["sleep"]);
    b.attach(talk.pid, setup(EventFlags::PROCESS)).unwrap();
    match attach(&mut b, talk.pid.as_raw()) {
        Error::NotPermitted { advice, .. } => assert!(advice.contains("traces it"), "{advice}"),
        other => panic!("{other:?}"),
    }
    let stop = next(&mut b);
    b.detach(thread(&stop), None).unwrap();
    talk.child.kill().unwrap();
    // A zombie.
    while b.threads(talk.pid).is_ok() {}
    assert!(attach(&mut b, talk.pid.as_raw()).is_gone());
    talk.child.wait().unwrap();
}

/// A process that a signal had stopped before is run by the attach, as the kernel has it. (The
/// signal finds it asleep. One that met it on its way there may have stopped with the signal still
/// pending, and then stops for it again once it is detached.)
pub(super) fn attach_stopped() {
    let mut b = FreeBsd::open().unwrap();
    for round in 0..4 {
        let (talk, _) = Talk::new(&["sleep"]);
        let pid = talk.pid.as_raw();
        let tid = b.threads(talk.pid).unwrap()[0];
        while !b.is_asleep(Thread { pid: talk.pid, tid }).unwrap() {
            std::thread::sleep(Duration::from_millis(1));
        }
        kill(pid, libc::SIGSTOP);
        let mut status = 0;
        // SAFETY: the status is valid for a write.
        assert_eq!(unsafe { libc::waitpid(pid, &mut status, libc::WUNTRACED) }, pid);
        assert!(libc::WIFSTOPPED(status));
        b.attach(talk.pid, setup(EventFlags::PROCESS)).unwrap();
        let stop = next(&mut b);
        assert_eq!(reason(&stop), RawReason::Paused, "round {round}");
        if round % 2 == 0 {
            go(&mut b, &stop);
            assert_eq!(b.wait(Patience::Brief).unwrap(), Waited::Nothing, "no stop is left");
            b.interrupt(thread(&stop)).unwrap();
            let stop = next(&mut b);
            assert_eq!(reason(&stop), RawReason::Paused);
            b.detach(thread(&stop), None).unwrap();
        } else {
            b.detach(thread(&stop), None).unwrap();
        }
        assert_eq!(talk.finish().1, Some(8));
    }
}

/// std waits for a child whose exec has failed; a signal stops that, as it is traced, and std takes
/// the stop for its end.
pub(super) fn failed_exec_under_signals() {
    become_reaper();
    let mut b = FreeBsd::open().unwrap();
    for round in 0..25_u32 {
        let mut command = Command::new("/nowhere/to/be/found");
        // SAFETY: system calls alone.
        unsafe {
            command.pre_exec(move || {
                let target = libc::getpid();
                if libc::fork() == 0 {
                    // The program ends, or is given to another parent.
                    for _ in 0..400 {
                        libc::kill(target, libc::SIGCONT);
                        libc::usleep(20 + round * 5);
                    }
                    libc::_exit(0);
                }
                Ok(())
            })
        };
        match b.spawn(command, setup(EventFlags::PROCESS)) {
            Err(Error::Spawn(error)) => assert_eq!(error.kind(), ErrorKind::NotFound),
            other => panic!("{other:?}"),
        }
        assert_eq!(b.wait(Patience::Poll).unwrap(), Waited::NoTracees);
    }
    // Nobody is left but those that have sent the signals.
    let mut status = 0;
    // SAFETY: the status is valid for a write.
    while unsafe { libc::waitpid(-1, &mut status, 0) } > 0 {
        assert_eq!(status, 0);
    }
}
