//! E2, E3, E4: what a fork event has made, and what a thread was before its exec.

#![cfg(target_os = "linux")]

mod common;

use std::collections::VecDeque;
use std::process::Command;
use std::thread;

use common::*;
use trapline_core::backend::{
    Backend, NewTask, Patience, RawKind, RawReason, RawStop, Run, Thread, Waited,
};
use trapline_core::{EventFlags, ExitStatus, ForkKind, Signal, Tid};
use trapline_os_linux::Linux;

/// Runs a role, and gives for each fork event of its process the kind, whether it made a thread or
/// a process, whether that is a sibling, and how many requests it took to find out.
fn made_by(role: &str) -> Vec<(ForkKind, &'static str, u64)> {
    let mut linux = Linux::open().unwrap();
    let spawned = start(&mut linux, playing(role), KILL);
    go(&mut linux, thread_of(spawned.pid));
    let mut made = Vec::new();
    // New tasks whose creator has not reported them yet, and those that have not stopped yet.
    let (mut early, mut announced) = (Vec::new(), vec![spawned.pid.as_raw()]);
    let mut queue = VecDeque::new();
    loop {
        let stop = match queue.pop_front() {
            Some(stop) => stop,
            None => match linux.wait(Patience::Block).unwrap() {
                Waited::Stop(stop) => stop,
                _ => return made,
            },
        };
        let tid = stop.tid.unwrap();
        match stop.kind {
            RawKind::Stop(RawReason::Forked { kind, task: None }) => {
                let parent = Thread { pid: spawned.pid, tid };
                let before = linux.requests();
                let task = linux.new_task(parent, KILL).unwrap();
                let took = linux.requests() - before;
                // The answer does not depend on what is remembered of the last wait.
                if let Waited::Stop(stop) = linux.wait(Patience::Brief).unwrap() {
                    queue.push_back(stop);
                }
                assert_eq!(linux.new_task(parent, KILL).unwrap(), task);
                let (new, what) = match task {
                    NewTask::Thread(tid) => (tid.as_raw(), "thread"),
                    NewTask::Process { pid, sibling: false } => (pid.as_raw(), "child"),
                    NewTask::Process { pid, sibling: true } => (pid.as_raw(), "sibling"),
                };
                let (process, parent) = linux.process_of(Tid::from_raw(new)).unwrap();
                assert_eq!(process == spawned.pid, what == "thread");
                assert_eq!(parent == Some(spawned.pid), what == "child");
                made.push((kind, what, took));
                announced.push(new);
            }
            RawKind::Stop(RawReason::Paused) if !announced.contains(&tid.as_raw()) => {
                early.push(stop);
                continue;
            }
            RawKind::Ended(status) => assert_eq!(status, ExitStatus::Code(0), "{tid}"),
            RawKind::Stop(_) => {}
        }
        pass(&mut linux, stop);
        let is_announced = |stop: &RawStop| announced.contains(&stop.tid.unwrap().as_raw());
        let (known, unknown) = early.into_iter().partition::<Vec<_>, _>(is_announced);
        early = unknown;
        known.into_iter().for_each(|stop| pass(&mut linux, stop));
    }
}

#[test]
fn e2_every_way_to_make_a_task() {
    within(30, || {
        assert_eq!(
            made_by("tasks"),
            [
                // libtest runs the role on a thread.
                (ForkKind::Clone, "thread", 2),
                (ForkKind::Fork, "child", 2),
                (ForkKind::Vfork, "child", 2),
                (ForkKind::Fork, "child", 2),
                (ForkKind::Clone, "child", 3),
                (ForkKind::Clone, "sibling", 3),
                (ForkKind::Clone, "thread", 2),
                (ForkKind::Fork, "child", 2),
                (ForkKind::Vfork, "child", 4),
                (ForkKind::Clone, "sibling", 4),
                (ForkKind::Clone, "child", 4),
                (ForkKind::Clone, "child", 4),
            ]
        );
    });
}

/// `clone` without a stack, as fork; the child ends at once. Returns when it has.
fn raw_clone(flags: i32) {
    // SAFETY: the child makes one system call.
    unsafe {
        let child = libc::syscall(libc::SYS_clone, flags as usize, 0_usize, 0_usize, 0_usize, 0);
        ended(child);
    }
}

/// `clone3`, likewise.
fn raw_clone3(flags: u64, exit_signal: u64) {
    let mut args = [0_u64; 11];
    (args[0], args[4]) = (flags, exit_signal);
    let page: *mut libc::c_void;
    // SAFETY: the kernel reads the arguments from a page of our own; the child makes one system
    // call.
    unsafe {
        page = libc::mmap(
            std::ptr::null_mut(),
            4096,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        );
        page.cast::<[u64; 11]>().write(args);
        let child = libc::syscall(libc::SYS_clone3, page, 88_usize);
        ended(child);
        libc::munmap(page, 4096);
    }
}

/// # Safety
///
/// As for `fork`: in the child it makes one system call.
unsafe fn ended(child: libc::c_long) {
    assert!(child >= 0);
    if child == 0 {
        // SAFETY: ends the child.
        unsafe { libc::_exit(0) };
    }
    // A sibling is not ours to wait for.
    // SAFETY: the status is not asked for.
    unsafe { libc::waitpid(child as i32, std::ptr::null_mut(), libc::__WALL) };
}

/// A thread that execs ends all others and becomes the first.
#[test]
fn e3_the_thread_that_execs_has_had_another_id() {
    within(30, || {
        let mut linux = Linux::open().unwrap();
        let mut setup = KILL;
        setup.flags |= EventFlags::THREAD | EventFlags::EXIT;
        let spawned = start(&mut linux, playing("exec from a thread"), setup);
        let main = thread_of(spawned.pid);
        go(&mut linux, main);
        let mut last_thread = None;
        loop {
            let stop = next(&mut linux);
            match stop.kind {
                // Its creator's stop may be lost to the exec; its own first one is not.
                RawKind::Stop(RawReason::Paused) => last_thread = stop.tid,
                RawKind::Stop(RawReason::Execed { former_tid: None }) => {
                    assert_eq!(stop.tid, Some(main.tid));
                    let before = linux.requests();
                    assert_eq!(linux.former_tid(main, setup).ok(), last_thread);
                    // An id that could be an exit code takes a look at the stop as well.
                    let id = last_thread.map_or(0, |tid| tid.as_raw());
                    let like_a_code = id < 0x100 || id < 0x1_0000 && id & 0xff == 0;
                    assert_eq!(linux.requests() - before, 1 + u64::from(like_a_code));
                    break;
                }
                _ => {}
            }
            pass(&mut linux, stop);
        }
        assert_eq!(linux.threads(main.pid).unwrap(), [main.tid]);
        assert_eq!(linux.executable(main.pid).unwrap().file_name().unwrap(), "true");
        assert_eq!(linux.arguments(main.pid).unwrap(), ["true", "", "x y"]);
        go(&mut linux, main);
        let ends = run_to_end(&mut linux);
        assert_eq!(ends.last(), Some(&(main.tid, ExitStatus::Code(0))));
    });
}

/// A tracee that is killed at its event goes on to its exit stop, where the message is 9.
#[test]
fn e5_an_exit_code_is_never_read_as_an_id() {
    within(30, || {
        let mut linux = Linux::open().unwrap();
        for flags in [EventFlags::PROCESS, EventFlags::PROCESS | EventFlags::EXIT] {
            let setup = trapline_core::backend::Setup { flags, ..KILL };
            for _ in 0..20 {
                // At the exec.
                let spawned = start(&mut linux, sh("true & wait"), setup);
                let main = thread_of(spawned.pid);
                kill(main.pid, Signal::KILL);
                wait_until_it_has_moved(main.tid, flags);
                let answer = linux.former_tid(main, setup);
                assert!(answer.is_err_and(|e| e.is_gone()));
                // At a fork.
                let spawned = start(&mut linux, sh("true & wait"), setup);
                let main = thread_of(spawned.pid);
                go(&mut linux, main);
                while !matches!(next_of(&mut linux, main), RawKind::Stop(RawReason::Forked { .. }))
                {
                    go(&mut linux, main);
                }
                kill(main.pid, Signal::KILL);
                wait_until_it_has_moved(main.tid, flags);
                let answer = linux.new_task(main, setup);
                assert!(answer.is_err_and(|e| e.is_gone()));
                run_to_end(&mut linux);
            }
        }
    });
}

/// The kernel takes a moment to move a killed tracee on.
fn wait_until_it_has_moved(tid: Tid, flags: EventFlags) {
    if flags.contains(EventFlags::EXIT) {
        // There it is stopped again; the way there has no mark that could be waited for.
        thread::sleep(std::time::Duration::from_millis(5));
    } else {
        until(|| state(tid.as_raw()) == Some(b'Z'));
    }
}

/// A first thread that ends before the others: what is asked of the process is still answered.
#[test]
fn e4_a_process_whose_first_thread_has_ended() {
    within(30, || {
        let mut linux = Linux::open().unwrap();
        let spawned = start(&mut linux, playing("leader ends first"), KILL);
        let main = thread_of(spawned.pid);
        go(&mut linux, main);
        let other = loop {
            let stop = next(&mut linux);
            if let RawKind::Stop(RawReason::Signal { signal: Signal::USR1, .. }) = stop.kind {
                break Thread { pid: main.pid, tid: stop.tid.unwrap() };
            }
            pass(&mut linux, stop);
        };
        assert_ne!(other.tid, main.tid);
        assert_eq!(state(main.tid.as_raw()), Some(b'Z'));
        assert_eq!(linux.executable(main.pid).unwrap(), std::env::current_exe().unwrap());
        assert!(linux.arguments(main.pid).unwrap().len() > 3);
        let pc = linux.registers(other).unwrap().pc();
        let mut byte = [0];
        assert_eq!(linux.read_memory(other, pc, &mut byte).unwrap(), 1);
        assert_eq!(linux.write_memory(other, pc, &byte).unwrap(), 1);
        // Without the signal, which would kill it.
        linux.resume(other, Run::Continue, None).unwrap();
        let ends = run_to_end(&mut linux);
        assert_eq!(ends.last(), Some(&(main.tid, ExitStatus::Code(0))));
    });
}

#[test]
#[ignore = "played by other tests"]
fn role() {
    let Ok(what) = std::env::var("TRAPLINE_ROLE") else { return };
    match &*what {
        "tasks" => {
            raw_clone(libc::SIGCHLD);
            raw_clone(libc::SIGCHLD | libc::CLONE_VFORK);
            // SAFETY: the child makes one system call.
            unsafe { ended(libc::fork().into()) };
            raw_clone(libc::SIGURG);
            raw_clone(libc::CLONE_PARENT);
            thread::spawn(|| ()).join().unwrap();
            raw_clone3(0, libc::SIGCHLD as u64);
            raw_clone3(libc::CLONE_VFORK as u64, libc::SIGCHLD as u64);
            raw_clone3(libc::CLONE_PARENT as u64, 0);
            raw_clone3(0, 0);
            raw_clone3(0, libc::SIGURG as u64);
        }
        "exec from a thread" => {
            use std::os::unix::process::CommandExt;
            let exec = || Command::new("true").args(["", "x y"]).exec();
            let _ = thread::spawn(exec).join();
            std::process::exit(1);
        }
        "leader ends first" => {
            // SAFETY: ends the first thread alone, then this one; the others are not looked at.
            unsafe {
                let leader = libc::getpid();
                let by_signal = end_thread as extern "C" fn(i32) as libc::sighandler_t;
                libc::signal(libc::SIGUSR2, by_signal);
                libc::syscall(libc::SYS_tgkill, leader, leader, libc::SIGUSR2);
                while state(leader) != Some(b'Z') {
                    thread::yield_now();
                }
                libc::raise(libc::SIGUSR1);
            }
        }
        _ => return,
    }
    std::process::exit(0);
}

extern "C" fn end_thread(_: i32) {
    // SAFETY: ends the calling thread.
    unsafe { libc::syscall(libc::SYS_exit, 0) };
}
