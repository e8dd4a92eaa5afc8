//! What the tests of the raw back end share.

#![allow(dead_code, unreachable_pub)]

use std::collections::HashSet;
use std::process::Command;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use trapline_core::backend::{
    Backend, OnExit, Patience, RawKind, RawReason, RawSpawn, RawStop, Run, Setup, Thread, Waited,
};
use trapline_core::{Error, EventFlags, ExitStatus, Pid, Signal, Tid};
use trapline_os_linux::Linux;

/// Runs a test on a thread of its own, for so many seconds at most. What it left running is killed
/// with the process (`OnExit::Kill`). With `TRAPLINE_LIMIT`, in seconds, it may take as much longer as
/// that is more than the two minutes that a test of the whole has.
pub fn within(seconds: u64, test: impl FnOnce() + Send + 'static) {
    let limit = std::env::var("TRAPLINE_LIMIT").ok().and_then(|limit| limit.parse().ok());
    let seconds = seconds * limit.unwrap_or(120).max(120) / 120;
    let (done, ended) = channel::<()>();
    let body = thread::Builder::new().name(thread::current().name().unwrap_or("test").into());
    let body = body.spawn(move || {
        let _done = done;
        test();
    });
    let body = body.unwrap();
    match ended.recv_timeout(Duration::from_secs(seconds)) {
        Err(RecvTimeoutError::Timeout) => {
            eprintln!("{}: still not done after {seconds} s", thread::current().name().unwrap());
            std::process::exit(101);
        }
        _ => {
            if let Err(panic) = body.join() {
                std::panic::resume_unwind(panic);
            }
        }
    }
}

pub const KILL: Setup = Setup { flags: EventFlags::PROCESS, on_exit: OnExit::Kill };
pub const DETACH: Setup = Setup { flags: EventFlags::PROCESS, on_exit: OnExit::Detach };

pub fn thread_of(pid: Pid) -> Thread {
    Thread { pid, tid: Tid::from_raw(pid.as_raw()) }
}

pub fn pid(raw: u32) -> Pid {
    Pid::from_raw(raw as i32)
}

/// A command of the shell.
pub fn sh(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command
}

/// This test binary, to play a role: its test `role` runs, with `TRAPLINE_ROLE` set.
pub fn playing(name: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--ignored", "--exact", "role", "--nocapture", "--test-threads=1", "-q"]);
    command.env("TRAPLINE_ROLE", name);
    command
}

/// Starts a program that is at its exec.
pub fn start(linux: &mut Linux, command: Command, setup: Setup) -> RawSpawn {
    let spawned = linux.spawn(command, setup).unwrap();
    let stop = spawned.stop.unwrap_or_else(|| panic!("{spawned:?}"));
    assert_eq!(stop.tid, Some(thread_of(spawned.pid).tid));
    assert!(matches!(stop.kind, RawKind::Stop(RawReason::Execed { .. })), "{stop:?}");
    spawned
}

pub fn go(linux: &mut Linux, thread: Thread) {
    gone_is_fine(linux.resume(thread, Run::Continue, None));
}

/// For a tracee that may be killed at any time.
pub fn gone_is_fine<T>(result: Result<T, Error>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(Error::Gone { .. }) => None,
        Err(error) => panic!("{error}"),
    }
}

/// The next stop or end.
#[track_caller]
pub fn next(linux: &mut Linux) -> RawStop {
    match linux.wait(Patience::Block).unwrap() {
        Waited::Stop(stop) => stop,
        other => panic!("{other:?}"),
    }
}

/// The next stop or end of one thread; others go on.
#[track_caller]
pub fn next_of(linux: &mut Linux, thread: Thread) -> RawKind {
    loop {
        let stop = next(linux);
        if stop.tid == Some(thread.tid) {
            return stop.kind;
        }
        pass(linux, stop);
    }
}

/// Lets a thread go on as it would without a tracer.
pub fn pass(linux: &mut Linux, stop: RawStop) {
    let tid = stop.tid.unwrap();
    let thread = Thread { pid: Pid::from_raw(tid.as_raw()), tid };
    let signal = match stop.kind {
        RawKind::Stop(RawReason::Signal { signal, .. }) => Some(signal),
        RawKind::Stop(RawReason::GroupStop(_)) => {
            gone_is_fine(linux.listen(thread));
            return;
        }
        RawKind::Stop(RawReason::Unknown { raw }) => panic!("{raw:#x}"),
        RawKind::Stop(_) => None,
        RawKind::Ended(_) => return,
    };
    gone_is_fine(linux.resume(thread, Run::Continue, signal));
}

/// Lets everything run to its end, and returns the ends in order, each thread's once.
#[track_caller]
pub fn run_to_end(linux: &mut Linux) -> Vec<(Tid, ExitStatus)> {
    let mut ends = Vec::new();
    let mut seen = HashSet::new();
    loop {
        match linux.wait(Patience::Block).unwrap() {
            Waited::Stop(stop) => {
                if let RawKind::Ended(status) = stop.kind {
                    let tid = stop.tid.unwrap();
                    assert!(seen.insert(tid), "{tid} has ended twice");
                    ends.push((tid, status));
                }
                pass(linux, stop);
            }
            Waited::NoTracees => return ends,
            other => panic!("{other:?}"),
        }
    }
}

pub fn killed(signal: Signal) -> ExitStatus {
    ExitStatus::Killed { signal, core_dumped: false }
}

/// `kill(2)`.
pub fn kill(pid: Pid, signal: Signal) {
    // SAFETY: takes numbers.
    assert_eq!(unsafe { libc::kill(pid.as_raw(), signal.as_raw()) }, 0);
}

/// A process that is killed and waited for at the end of the test.
pub struct Guard(pub std::process::Child);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        // Not for ever: a tracer that has panicked does not take its tracee's end.
        for _ in 0..200 {
            if !matches!(self.0.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Guard {
    pub fn pid(&self) -> Pid {
        pid(self.0.id())
    }
}

/// Waits, with a limit, until something holds.
#[track_caller]
pub fn until(what: impl Fn() -> bool) {
    for _ in 0..5000 {
        if what() {
            return;
        }
        thread::sleep(Duration::from_millis(1));
    }
    panic!("did not come about in 5 s");
}

/// A thread's state in `/proc`, `None` if it is gone.
pub fn state(tid: i32) -> Option<u8> {
    let stat = std::fs::read(format!("/proc/{tid}/stat")).ok()?;
    let end = stat.iter().rposition(|&byte| byte == b')')?;
    stat.get(end + 2).copied()
}
