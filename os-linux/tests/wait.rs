//! W2: a wait takes stops and ends of tracees, and never those of another child of the host. And
//! what a stop costs.

#![cfg(target_os = "linux")]

mod common;
mod regs;

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use common::*;
use trapline_core::backend::{Backend, Patience, RawKind, RawReason, Run, TrapOrigin, Waited};
use trapline_core::{Error, EventFlags, ExitStatus, Signal};
use trapline_os_linux::Linux;

#[test]
fn w2_ordinary_children_are_left_alone() {
    within(60, || {
        let mut linux = Linux::open().unwrap();
        // Of this thread, and of another one, ended and not.
        let ended = Command::new("true").spawn().unwrap();
        let running = Command::new("sleep").arg("60").spawn().unwrap();
        let of_another = thread::spawn(|| sh("exit 5").spawn().unwrap());
        let (mut ended, mut running) = (Guard(ended), Guard(running));
        let mut of_another = Guard(of_another.join().unwrap());
        until(|| state(ended.pid().as_raw()) == Some(b'Z'));
        assert_eq!(linux.wait(Patience::Block).unwrap(), Waited::NoTracees);
        for _ in 0..50 {
            let mut other = Guard(sh("exit 3").spawn().unwrap());
            let traced = start(&mut linux, sh("exit 4"), KILL);
            go(&mut linux, thread_of(traced.pid));
            let end = (thread_of(traced.pid).tid, ExitStatus::Code(4));
            assert_eq!(run_to_end(&mut linux), [end]);
            assert_eq!(other.0.wait().unwrap().code(), Some(3));
        }
        assert_eq!(ended.0.wait().unwrap().code(), Some(0));
        assert_eq!(of_another.0.wait().unwrap().code(), Some(5));
        assert_eq!(running.0.try_wait().unwrap(), None);
    });
}

/// A detached child is an ordinary one again.
#[test]
fn w2_a_detached_child_is_for_its_parent_to_wait_for() {
    within(20, || {
        let mut linux = Linux::open().unwrap();
        let mut spawned = start(&mut linux, sh("exit 6"), KILL);
        linux.detach(thread_of(spawned.pid), None).unwrap();
        assert_eq!(linux.wait(Patience::Block).unwrap(), Waited::NoTracees);
        assert_eq!(spawned.child.take().unwrap().wait().unwrap().code(), Some(6));
    });
}

/// Tracers on other threads have their own tracees.
#[test]
fn w2_tracers_on_several_threads() {
    within(60, || {
        let tracer = || {
            let mut linux = Linux::open().unwrap();
            assert!(matches!(Linux::open(), Err(Error::Unsupported { .. })));
            for code in 0..50 {
                let spawned = start(&mut linux, sh(&format!("exit {code}")), KILL);
                go(&mut linux, thread_of(spawned.pid));
                let end = (thread_of(spawned.pid).tid, ExitStatus::Code(code));
                assert_eq!(run_to_end(&mut linux), [end]);
            }
            drop(linux);
            Linux::open().unwrap();
        };
        let threads = [thread::spawn(tracer), thread::spawn(tracer), thread::spawn(tracer)];
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

#[test]
fn w1_a_wait_takes_as_long_as_it_may() {
    within(20, || {
        let mut linux = Linux::open().unwrap();
        let mut command = Command::new("sleep");
        command.arg("60");
        let spawned = start(&mut linux, command, KILL);
        go(&mut linux, thread_of(spawned.pid));
        assert_eq!(linux.wait(Patience::Poll).unwrap(), Waited::Nothing);
        let begin = Instant::now();
        assert_eq!(linux.wait(Patience::Brief).unwrap(), Waited::Nothing);
        let brief = begin.elapsed();
        // Longer where the machine is busy.
        assert!(brief >= Duration::from_micros(500), "{brief:?}");
    });
}

/// A plain stop is two requests: the wait and the resume.
#[test]
fn a_signal_stop_costs_two_requests() {
    within(20, || {
        let mut linux = Linux::open().unwrap();
        let mut command =
            sh("trap : USR1; i=0; while [ $i -lt 100 ]; do kill -USR1 $$; i=$((i+1)); done");
        command.env_clear();
        let spawned = start(&mut linux, command, KILL);
        let thread = thread_of(spawned.pid);
        let mut stops = 0;
        let before = linux.requests();
        linux.resume(thread, Run::Continue, None).unwrap();
        loop {
            match next(&mut linux).kind {
                RawKind::Stop(RawReason::Signal { signal, trap: None }) => {
                    linux.resume(thread, Run::Continue, Some(signal)).unwrap();
                    stops += 1;
                }
                RawKind::Ended(status) => {
                    assert_eq!(status, ExitStatus::Code(0));
                    break;
                }
                other => panic!("{other:?}"),
            }
        }
        // And one for the first resume, and one for the end.
        assert_eq!((stops, linux.requests() - before), (100, 2 * stops + 2));
    });
}

/// Entry and exit, with the numbers, arguments and results.
#[test]
fn system_calls_are_seen_with_their_results() {
    within(20, || {
        let mut linux = Linux::open().unwrap();
        let mut command = sh("cd /does/not/exist 2>/dev/null; exit 7");
        command.env_clear();
        let spawned = start(&mut linux, command, KILL);
        let thread = thread_of(spawned.pid);
        let mut calls = Vec::new();
        linux.resume(thread, Run::Syscall, None).unwrap();
        // The exit of execve.
        assert_eq!(next(&mut linux).kind, RawKind::Stop(RawReason::Syscall));
        let exec = linux.syscall(thread).unwrap();
        assert_eq!((exec.number, exec.result), (libc::SYS_execve as u64, Some(Ok(0))));
        loop {
            linux.resume(thread, Run::Syscall, None).unwrap();
            match next(&mut linux).kind {
                RawKind::Stop(RawReason::Syscall) => calls.push(linux.syscall(thread).unwrap()),
                RawKind::Ended(status) => {
                    assert_eq!(status, ExitStatus::Code(7));
                    break;
                }
                other => panic!("{other:?}"),
            }
        }
        let last = calls.pop().unwrap();
        assert_eq!((last.number, last.args[0]), (libc::SYS_exit_group as u64, 7));
        assert_eq!(last.result, None);
        let mut failed = false;
        for pair in calls.chunks(2) {
            let [entry, exit] = pair else { panic!("{pair:?}") };
            assert_eq!((entry.number, entry.args), (exit.number, exit.args));
            assert_eq!(entry.result, None);
            failed |=
                entry.number == libc::SYS_chdir as u64 && exit.result == Some(Err(libc::ENOENT));
        }
        assert!(failed, "{calls:?}");
    });
}

/// Where a SIGTRAP comes from, told by one more request.
#[test]
fn traps_have_their_origins() {
    within(30, || {
        let mut linux = Linux::open().unwrap();
        let spawned = start(&mut linux, sh("kill -TRAP $$; exit 8"), KILL);
        let thread = thread_of(spawned.pid);
        let trap = RawKind::Stop(RawReason::Signal { signal: Signal::TRAP, trap: None });
        let mut over_calls = 0;
        while over_calls < 3 {
            let before = linux.registers(thread).unwrap();
            let mut code = [0; regs::SYSTEM_CALL.len()];
            linux.read_memory(thread, before.pc(), &mut code).unwrap();
            over_calls += usize::from(code == regs::SYSTEM_CALL);
            linux.resume(thread, Run::Step, None).unwrap();
            assert_eq!(next(&mut linux).kind, trap);
            assert_eq!(linux.trap_origin(thread).unwrap(), TrapOrigin::Step);
        }
        // A breakpoint in front of it, in memory that is only executable.
        let registers = linux.registers(thread).unwrap();
        let mut was = regs::BREAKPOINT;
        assert_eq!(linux.read_memory(thread, registers.pc(), &mut was).unwrap(), was.len());
        assert_eq!(
            linux.write_memory(thread, registers.pc(), &regs::BREAKPOINT).unwrap(),
            was.len()
        );
        linux.resume(thread, Run::Continue, None).unwrap();
        assert_eq!(next(&mut linux).kind, trap);
        assert_eq!(linux.trap_origin(thread).unwrap(), TrapOrigin::Breakpoint);
        let behind = registers.pc() + regs::TRAPS_BEHIND;
        assert_eq!(linux.registers(thread).unwrap().pc(), behind);
        assert_eq!(linux.signal_info(thread).unwrap().code, regs::BREAKPOINT_CODE);
        assert_eq!(linux.write_memory(thread, registers.pc(), &was).unwrap(), was.len());
        linux.set_registers(thread, &registers).unwrap();
        assert_eq!(linux.registers(thread).unwrap(), registers);
        // One that is sent.
        linux.resume(thread, Run::Continue, None).unwrap();
        assert_eq!(next(&mut linux).kind, trap);
        assert_eq!(linux.trap_origin(thread).unwrap(), TrapOrigin::Sent);
        let info = linux.signal_info(thread).unwrap();
        assert_eq!((info.signal, info.sender), (Signal::TRAP, Some(spawned.pid)));
        assert_eq!((info.code, info.sender_uid), (0, Some(linux_user())));
        linux.resume(thread, Run::Continue, None).unwrap();
        assert_eq!(next(&mut linux).kind, RawKind::Ended(ExitStatus::Code(8)));
    });
}

fn linux_user() -> u32 {
    // SAFETY: takes nothing.
    unsafe { libc::getuid() }
}

#[test]
fn registers_of_all_kinds_are_read_and_written() {
    within(20, || {
        let mut linux = Linux::open().unwrap();
        let spawned = start(&mut linux, Command::new("true"), KILL);
        let thread = thread_of(spawned.pid);
        let mut registers = linux.registers(thread).unwrap();
        assert_ne!((registers.pc(), registers.sp()), (0, 0));
        regs::change(&mut registers);
        linux.set_registers(thread, &registers).unwrap();
        assert_eq!(linux.registers(thread).unwrap(), registers);
        let mut fp = linux.fp_registers(thread).unwrap();
        *regs::vector(&mut fp) = 0xfeed_face_cafe_beef_0123_4567_89ab_cdef;
        linux.set_fp_registers(thread, &fp).unwrap();
        let mut now = linux.fp_registers(thread).unwrap();
        assert_eq!(regs::vector(&mut now), regs::vector(&mut fp));
        regs::extended_state_is_read_and_written(&mut linux, thread);
        let abi = linux.abi(thread).unwrap();
        assert_eq!(abi.audit_arch, regs::AUDIT_ARCH);
        assert_eq!((abi.instruction_pointer, abi.stack_pointer), (registers.pc(), registers.sp()));
    });
}

/// E5: what is asked of a tracee that was killed at its stop is `Gone`.
#[test]
fn e5_everything_about_a_killed_tracee_is_gone() {
    within(20, || {
        let mut linux = Linux::open().unwrap();
        let spawned = start(&mut linux, Command::new("true"), KILL);
        let thread = thread_of(spawned.pid);
        let registers = linux.registers(thread).unwrap();
        linux.kill(spawned.pid, None).unwrap();
        until(|| state(thread.tid.as_raw()) == Some(b'Z'));
        let is_gone = |error: Option<Error>| assert!(error.is_some_and(|e| e.is_gone()));
        is_gone(linux.registers(thread).err());
        is_gone(linux.set_registers(thread, &registers).err());
        is_gone(linux.fp_registers(thread).err());
        is_gone(linux.extended_state(thread).err());
        is_gone(linux.signal_info(thread).err());
        is_gone(linux.trap_origin(thread).err());
        is_gone(linux.syscall(thread).err());
        is_gone(linux.new_task(thread, KILL).err());
        is_gone(linux.former_tid(thread, KILL).err());
        is_gone(linux.set_up(thread, KILL).err());
        is_gone(linux.read_memory(thread, registers.sp(), &mut [0]).err());
        is_gone(linux.write_memory(thread, registers.sp(), &[0]).err());
        is_gone(linux.executable(spawned.pid).err());
        is_gone(linux.arguments(spawned.pid).err());
        is_gone(linux.listen(thread).err());
        // To the kernel a zombie is one of the running.
        linux.interrupt(thread).unwrap();
        is_gone(linux.detach(thread, None).err());
        is_gone(linux.resume(thread, Run::Continue, None).err());
        // The zombie is still there, and is asked about.
        assert_eq!(linux.real_parent(spawned.pid).unwrap(), Some(pid(std::process::id())));
        is_gone(linux.is_uninterruptible(thread).err());
        assert_eq!(next(&mut linux).kind, RawKind::Ended(killed(Signal::KILL)));
        is_gone(linux.real_parent(spawned.pid).err());
        is_gone(linux.process_of(thread.tid).err());
        is_gone(linux.threads(spawned.pid).err());
        is_gone(linux.is_uninterruptible(thread).err());
        is_gone(linux.kill(spawned.pid, None).err());
    });
}

/// A parent in vfork cannot stop.
#[test]
fn w4_a_parent_in_vfork_is_uninterruptible() {
    within(20, || {
        let mut linux = Linux::open().unwrap();
        let spawned = start(&mut linux, playing("vfork"), KILL);
        go(&mut linux, thread_of(spawned.pid));
        let parent = loop {
            let stop = next(&mut linux);
            let vfork = RawReason::Forked { kind: trapline_core::ForkKind::Vfork, task: None };
            let is_vfork = stop.kind == RawKind::Stop(vfork);
            if linux.process_of(stop.tid.unwrap()).unwrap().0 != spawned.pid {
                continue;
            }
            pass(&mut linux, stop);
            if is_vfork {
                break trapline_core::backend::Thread { pid: spawned.pid, tid: stop.tid.unwrap() };
            }
        };
        // The child is at its first stop and is left there.
        until(|| state(parent.tid.as_raw()) == Some(b'D'));
        assert!(linux.is_uninterruptible(parent).unwrap());
        linux.interrupt(parent).unwrap();
        assert!(linux.is_uninterruptible(parent).unwrap());
        linux.kill(spawned.pid, None).unwrap();
    });
}

#[test]
#[ignore = "played by other tests"]
fn role() {
    if std::env::var("TRAPLINE_ROLE").as_deref() == Ok("vfork") {
        // SAFETY: the child makes one system call.
        unsafe {
            let flags = (libc::CLONE_VFORK | libc::SIGCHLD) as usize;
            if libc::syscall(libc::SYS_clone, flags, 0_usize, 0_usize, 0_usize, 0_usize) == 0 {
                libc::_exit(0);
            }
        }
    }
}

/// E7: exit stops come with the option, and no longer without it; a thread that runs has none set.
#[test]
fn e7_options_are_set_at_a_stop() {
    within(20, || {
        let mut linux = Linux::open().unwrap();
        let mut sleep = Command::new("sleep");
        sleep.arg("1000");
        let spawned = start(&mut linux, sleep, KILL);
        let thread = thread_of(spawned.pid);
        go(&mut linux, thread);
        let refused = linux.set_up(thread, KILL);
        assert!(matches!(refused, Err(Error::Gone { .. } | Error::Os { .. })), "{refused:?}");
        linux.kill(spawned.pid, None).unwrap();
        assert!(matches!(next(&mut linux).kind, RawKind::Ended(_)));
        let mut with_exit = KILL;
        with_exit.flags |= EventFlags::EXIT;
        for (first, then, stops) in [(KILL, with_exit, 1), (with_exit, KILL, 0)] {
            let spawned = start(&mut linux, Command::new("true"), first);
            linux.set_up(thread_of(spawned.pid), then).unwrap();
            go(&mut linux, thread_of(spawned.pid));
            let mut seen = 0;
            loop {
                let stop = next(&mut linux);
                seen += usize::from(stop.kind == RawKind::Stop(RawReason::ThreadExiting));
                if let RawKind::Ended(_) = stop.kind {
                    break;
                }
                pass(&mut linux, stop);
            }
            assert_eq!(seen, stops);
        }
    });
}
