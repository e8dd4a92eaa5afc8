//! `TracerExt`: programs that stop at the system calls that a seccomp filter picks out.

#![cfg(target_os = "linux")]

mod common;

use std::collections::{HashMap, HashSet};
use std::process::Command;

use common::*;
use trapline_core::{
    Error, Event, EventFlags, ExitStatus, Pid, Resume, Signal, StopReason, Stopped, Tracer,
};
use trapline_os_linux::{BpfInstruction, Linux, SignalQueue, TracerExt};

/// Stops at calls with this number (`linux/filter.h`, `linux/seccomp.h`).
fn stop_at(number: libc::c_long) -> [BpfInstruction; 4] {
    const LOAD: u16 = 0x20;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    let instruction = |code, jf, k| BpfInstruction { code, jt: 0, jf, k };
    [
        instruction(LOAD, 0, 0),
        instruction(JUMP_IF_EQUAL, 1, number as u32),
        instruction(RETURN, 0, 0x7ff0_0000),
        instruction(RETURN, 0, 0x7fff_0000),
    ]
}

fn tracer(flags: EventFlags) -> Tracer<Linux> {
    Tracer::builder().events(flags).build().unwrap()
}

/// Traces to the end: what `at` makes of each stop, and how it has ended.
fn run(
    tracer: &mut Tracer<Linux>,
    program: Pid,
    mut at: impl FnMut(&mut Tracer<Linux>, Stopped),
) -> ExitStatus {
    let mut ended = None;
    while let Some(event) = tracer.wait().unwrap() {
        match event {
            Event::Exited { pid, status, .. } if pid == program => ended = Some(status),
            event => event.into_stops().for_each(|stop| at(tracer, stop)),
        }
    }
    ended.unwrap()
}

fn number(tracer: &mut Tracer<Linux>, stop: &Stopped) -> libc::c_long {
    tracer.syscall(stop).unwrap().number as libc::c_long
}

#[test]
fn a_program_stops_where_its_filter_says_and_nowhere_else() {
    within(60, || {
        let mut tracer = tracer(EventFlags::empty());
        // Its children have the filter too.
        let command = sh("umask 22; umask 11; (umask 12; exec sh -c 'umask 13'); umask 14; exit 5");
        let pid = tracer.spawn_filtered(command, &stop_at(libc::SYS_umask)).unwrap().pid;
        let mut seen = Vec::new();
        let status = run(&mut tracer, pid, |tracer, stop| {
            if stop.reason() == StopReason::SyscallEntry {
                let call = tracer.syscall(&stop).unwrap();
                assert_eq!((call.number, call.result), (libc::SYS_umask as u64, None));
                seen.push(call.args[0]);
            }
            tracer.resume(stop, Resume::Continue).unwrap();
        });
        assert_eq!(status, ExitStatus::Code(5));
        // A shell asks for the mask before it sets it: it sets 0, and the old one again.
        let mut new = HashSet::from([0, 0o22]);
        seen.retain(|&mask| new.insert(mask));
        assert_eq!(seen, [0o11, 0o12, 0o13, 0o14]);
    });
}

#[test]
fn the_exit_of_a_call_is_shown_if_it_is_asked_for() {
    for call in [libc::SYS_getppid, libc::SYS_execve, libc::SYS_clone, libc::SYS_wait4] {
        within(60, move || {
            // What happens within a call is not shown, and does not end the way to its exit.
            let mut tracer = tracer(EventFlags::empty());
            let command = sh("(exit 1); (exit 2); sh -c 'exit 3'; exit 4");
            let pid = tracer.spawn_filtered(command, &stop_at(call)).unwrap().pid;
            let (mut inside, mut calls) = (HashMap::new(), 0);
            let status = run(&mut tracer, pid, |tracer, stop| match stop.reason() {
                StopReason::SyscallEntry => {
                    assert_eq!(number(tracer, &stop), call);
                    assert!(!inside.insert(stop.tid(), true).unwrap_or(false));
                    tracer.resume_to_syscall_exit(stop).unwrap();
                }
                StopReason::SyscallExit => {
                    assert!(inside.insert(stop.tid(), false).unwrap());
                    assert!(tracer.syscall(&stop).unwrap().result.is_some());
                    calls += 1;
                    tracer.resume(stop, Resume::Continue).unwrap();
                }
                _ => tracer.resume(stop, Resume::Continue).unwrap(),
            });
            assert_eq!(status, ExitStatus::Code(4));
            assert!(calls > 0, "{call}");
            assert!(inside.values().all(|inside| !inside), "{call}: {inside:?}");
        });
    }
}

#[test]
fn with_all_calls_traced_none_stops_twice_at_its_entry() {
    within(60, || {
        let mut tracer = tracer(EventFlags::SYSCALL);
        let pid =
            tracer.spawn_filtered(sh("umask; exit 6"), &stop_at(libc::SYS_umask)).unwrap().pid;
        let (mut inside, mut calls, mut filtered) = (true, 0, 0);
        let status = run(&mut tracer, pid, |tracer, stop| {
            match stop.reason() {
                StopReason::SyscallEntry => {
                    assert!(!std::mem::replace(&mut inside, true));
                    filtered += u32::from(number(tracer, &stop) == libc::SYS_umask);
                    calls += 1;
                }
                StopReason::SyscallExit => assert!(std::mem::replace(&mut inside, false)),
                _ => {}
            }
            tracer.resume(stop, Resume::Continue).unwrap();
        });
        assert_eq!(status, ExitStatus::Code(6));
        assert!(calls > 10 && filtered > 0, "{calls}, {filtered}");
    });
}

#[test]
fn it_goes_on_when_the_events_change() {
    within(60, || {
        let mut tracer = tracer(EventFlags::PROCESS);
        let command = sh("umask 11; umask 12; umask 13");
        let pid = tracer.spawn_filtered(command, &stop_at(libc::SYS_umask)).unwrap().pid;
        let mut seen = 0;
        let status = run(&mut tracer, pid, |tracer, stop| {
            if stop.reason() == StopReason::SyscallEntry {
                seen += 1;
                tracer.set_events(pid, EventFlags::PROCESS ^ EventFlags::EXIT).unwrap();
            }
            tracer.resume(stop, Resume::Continue).unwrap();
        });
        assert_eq!(status, ExitStatus::Code(0));
        assert!(seen >= 3, "{seen}");
    });
}

#[test]
fn a_filter_that_is_none_is_an_error_of_the_spawn() {
    within(60, || {
        let mut tracer = tracer(EventFlags::PROCESS);
        for bad in [&[][..], &[BpfInstruction::default(); 3], &vec![stop_at(0)[3]; 70_000]] {
            match tracer.spawn_filtered(Command::new("true"), bad) {
                Err(Error::Spawn(e)) => assert_eq!(e.raw_os_error(), Some(libc::EINVAL)),
                other => panic!("{other:?}"),
            }
        }
        // Nothing is left of it for the next program.
        let pid = tracer.spawn(Command::new("true")).unwrap().pid;
        let status = run(&mut tracer, pid, |tracer, stop| {
            assert_ne!(stop.reason(), StopReason::SyscallEntry);
            tracer.resume(stop, Resume::Continue).unwrap();
        });
        assert_eq!(status, ExitStatus::Code(0));
    });
}

#[test]
fn a_program_that_is_not_there_is_the_same_error_as_ever() {
    within(60, || {
        let mut tracer = tracer(EventFlags::PROCESS);
        // The filter stops the very exec that fails.
        let command = Command::new("there-is-no-such-program");
        match tracer.spawn_filtered(command, &stop_at(libc::SYS_execve)) {
            Err(Error::Spawn(e)) => assert_eq!(e.kind(), std::io::ErrorKind::NotFound),
            other => panic!("{other:?}"),
        }
        assert!(tracer.wait().unwrap().is_none());
    });
}

#[test]
fn what_a_filter_says_is_told_at_its_stops_alone() {
    within(60, || {
        let mut tracer = tracer(EventFlags::PROCESS);
        let mut filter = stop_at(libc::SYS_umask);
        filter[2].k |= 4711;
        let pid = tracer.spawn_filtered(sh("umask 22; exit 4"), &filter).unwrap().pid;
        let mut told = 0;
        let status = run(&mut tracer, pid, |tracer, stop| {
            let is_entry = stop.reason() == StopReason::SyscallEntry;
            assert_eq!(tracer.seccomp_data(&stop).unwrap(), is_entry.then_some(4711));
            told += usize::from(is_entry);
            match is_entry {
                true => tracer.resume_to_syscall_exit(stop).unwrap(),
                false => tracer.resume(stop, Resume::Continue).unwrap(),
            }
        });
        assert_eq!(status, ExitStatus::Code(4));
        assert!(told > 0);
    });
}

/// A filter by which `umask` fails with this error.
fn refuse_umask(errno: u32) -> [BpfInstruction; 4] {
    let mut filter = stop_at(libc::SYS_umask);
    filter[2].k = 0x0005_0000 | errno;
    filter
}

#[test]
fn a_filter_that_is_suspended_is_not_asked() {
    within(60, || {
        let mut tracer = tracer(EventFlags::PROCESS);
        let refused = -i64::from(libc::EUCLEAN);
        let filter = refuse_umask(libc::EUCLEAN as u32);
        tracer.spawn_filtered(sh("exit 0"), &filter).unwrap();
        let Some(Event::Stopped(mut stop)) = tracer.wait().unwrap() else { panic!("no stop") };
        let umask = libc::SYS_umask as u64;
        match tracer.suspend_seccomp(&stop, true) {
            Ok(()) => {
                let old = tracer.call_syscall(&mut stop, umask, [0o22]).unwrap();
                assert!((0..=0o777).contains(&old), "{old}");
                tracer.suspend_seccomp(&stop, false).unwrap();
                let again = tracer.call_syscall(&mut stop, umask, [0o22]);
                // It is refused, or not tried at all.
                let is_refused = matches!(again, Ok(result) if result == refused);
                assert!(is_refused || again.is_err(), "{again:?}");
            }
            // Without the right to it, or a kernel that has it.
            Err(Error::Os { source, .. }) => {
                let why = source.raw_os_error();
                assert!([Some(libc::EPERM), Some(libc::EINVAL)].contains(&why), "{source}");
                println!("SKIPPED: filters cannot be suspended here");
            }
            Err(error) => panic!("{error}"),
        }
        tracer.resume(stop, Resume::Continue).unwrap();
        while let Some(event) = tracer.wait().unwrap() {
            tracer.resume(event, Resume::Continue).unwrap();
        }
    });
}

#[test]
fn signals_that_wait_come_with_all_that_is_known_of_them() {
    within(60, || {
        let mut tracer = tracer(EventFlags::PROCESS);
        tracer.spawn(sh("exit 0")).unwrap();
        let Some(Event::Stopped(stop)) = tracer.wait().unwrap() else { panic!("no stop") };
        let realtime = Signal::from_raw(libc::SIGRTMIN() + 1).unwrap();
        let mask = [realtime].into_iter().collect();
        tracer.set_signal_mask(&stop, mask).unwrap();
        for _ in 0..20 {
            tracer.send_signal(&stop, realtime).unwrap();
        }
        let own = tracer.queued_signals(&stop, SignalQueue::Thread).unwrap();
        assert_eq!(own.len(), 20, "each of them waits");
        let us = std::process::id().to_ne_bytes();
        for info in &own {
            assert_eq!(info[0], realtime.as_raw() as u8);
            assert_eq!(info[16..20], us, "the sender");
        }
        assert!(tracer.queued_signals(&stop, SignalQueue::Process).unwrap().is_empty());
        tracer.kill(stop.pid()).unwrap();
        drop(stop);
        while let Some(event) = tracer.wait().unwrap() {
            tracer.resume(event, Resume::Continue).unwrap();
        }
    });
}

#[test]
fn sets_of_registers_are_read_and_written_by_their_numbers() {
    within(60, || {
        const NT_PRSTATUS: u32 = 1;
        const NT_FPREGSET: u32 = 2;
        let mut tracer = tracer(EventFlags::PROCESS);
        let pid = tracer.spawn(sh("exit 6")).unwrap().pid;
        let Some(Event::Stopped(stop)) = tracer.wait().unwrap() else { panic!("no stop") };
        let general = tracer.register_set(&stop, NT_PRSTATUS);
        assert!(matches!(general, Err(Error::Unsupported { .. })), "{general:?}");
        let missing = tracer.register_set(&stop, 0xdead);
        assert!(matches!(missing, Err(Error::Os { .. })), "{missing:?}");
        let mut set = tracer.register_set(&stop, NT_FPREGSET).unwrap();
        assert!(set.len() >= 512, "{}", set.len());
        // A byte of a vector register.
        set[200] = 0x5a;
        tracer.set_register_set(&stop, NT_FPREGSET, &set).unwrap();
        assert_eq!(tracer.register_set(&stop, NT_FPREGSET).unwrap(), set);
        tracer.resume(stop, Resume::Continue).unwrap();
        let status = run(&mut tracer, pid, |tracer, stop| {
            tracer.resume(stop, Resume::Continue).unwrap();
        });
        assert_eq!(status, ExitStatus::Code(6));
    });
}
