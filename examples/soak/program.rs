//! The programs that are traced: this one again, in a mode that the environment chooses.
//!
//! What a process has done it tells by its exit status: how many processes it has made, and how
//! often it has exec'ed. What it sees that cannot be it tells by a status of its own.

use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use trapline::Pid;

use crate::random::Random;

/// "steps seed forks execs"
const WORK: &str = "TRAPLINE_SOAK";

/// The exit status is `FORKS * execs + forks`.
pub(crate) const FORKS: i32 = 32;
const MOST_EXECS: i32 = 2;
/// A child ended as none does.
pub(crate) const WRONG_CHILD: i32 = 120;
/// A signal got lost.
pub(crate) const WRONG_SIGNAL: i32 = 121;
/// A system call failed.
pub(crate) const FAILED: i32 = 122;

/// The command that starts a program, in a process group.
pub(crate) fn command(seed: u64, group: i32) -> Command {
    let mut command = working(Work { steps: 12, seed, forks: 0, execs: 0 });
    command.process_group(group);
    command
}

fn working(work: Work) -> Command {
    let mut command = crate::again();
    let Work { steps, seed, forks, execs } = work;
    command.env(WORK, format!("{steps} {seed} {forks} {execs}"));
    command
}

#[derive(Clone, Copy)]
struct Work {
    steps: u32,
    seed: u64,
    forks: i32,
    execs: i32,
}

/// Becomes a program if the environment says so.
pub(crate) fn run_if_asked() {
    let Ok(work) = std::env::var(WORK) else { return };
    let mut numbers = work.split(' ').map(|number| number.parse::<u64>().unwrap_or_default());
    let mut next = || numbers.next().unwrap_or_default();
    let steps = next() as u32;
    let work = Work { steps, seed: next(), forks: next() as i32, execs: next() as i32 };
    handle_signal();
    std::process::exit(go(work, 2));
}

static HANDLED: AtomicU32 = AtomicU32::new(0);

extern "C" fn on_signal(_: i32) {
    HANDLED.fetch_add(1, Ordering::SeqCst);
}

fn handle_signal() {
    let handler = on_signal as *const () as usize;
    // SAFETY: the handler does nothing but add to an atomic.
    unsafe { libc::signal(libc::SIGUSR1, handler) };
}

/// Does so many random things; returns the exit status.
fn go(mut work: Work, depth: u32) -> i32 {
    let mut random = Random::new(work.seed);
    while work.steps > 0 {
        work.steps -= 1;
        let may_fork = work.forks < FORKS - 1;
        let status = match random.below(10) {
            0..=2 if may_fork && depth > 0 => {
                work.forks += 1;
                let steps = random.below(4) as u32;
                let child = Work { steps, seed: random.next(), forks: 0, execs: 0 };
                reaped(forked(|| go(child, depth - 1)))
            }
            3 | 4 if may_fork => {
                work.forks += 1;
                spawned(Work { steps: 1, seed: random.next(), forks: 0, execs: 0 })
            }
            5 if may_fork && depth > 0 => {
                work.forks += 1;
                reaped(forked(|| {
                    forked(|| {
                        std::thread::sleep(Duration::from_millis(2));
                        0
                    });
                    1 // it has made one
                }))
            }
            6 | 7 => threads(1 + random.below(3)),
            8 => signalled(),
            9 if work.execs < MOST_EXECS && random.below(2) == 0 => {
                work.execs += 1;
                work.seed = random.next();
                exec_from_thread(work)
            }
            _ => 0,
        };
        if status != 0 {
            return status;
        }
    }
    FORKS * work.execs + work.forks
}

/// Forks; the child runs `body`, and ends with its result.
fn forked(body: impl FnOnce() -> i32) -> i32 {
    // SAFETY: the process has one thread at this point, so that the child may do anything; it ends
    // without running what the parent has registered for its end.
    unsafe {
        match libc::fork() {
            0 => libc::_exit(body()),
            pid => pid,
        }
    }
}

/// Waits for a child, which must have ended in a way that it can.
fn reaped(pid: i32) -> i32 {
    if pid < 0 {
        return FAILED;
    }
    let mut status = 0;
    loop {
        // SAFETY: `status` lives across the call.
        if unsafe { libc::waitpid(pid, &mut status, 0) } == pid {
            break;
        }
        if std::io::Error::last_os_error().kind() != std::io::ErrorKind::Interrupted {
            return FAILED;
        }
    }
    right(std::process::ExitStatus::from_raw(status))
}

/// Whether a process can end so: 0 if it can. Somebody may have killed it.
pub(crate) fn right(status: std::process::ExitStatus) -> i32 {
    match (status.code(), status.signal()) {
        (Some(code), _) if code < WRONG_CHILD => 0,
        (Some(code), _) => code,
        (None, Some(libc::SIGKILL)) => 0,
        (None, _) => WRONG_CHILD,
    }
}

/// By `posix_spawn`, which is a vfork.
fn spawned(work: Work) -> i32 {
    match working(work).status() {
        Ok(status) => right(status),
        Err(_) => FAILED,
    }
}

fn threads(n: usize) -> i32 {
    let threads: Vec<_> = (0..n).map(|_| std::thread::spawn(std::thread::yield_now)).collect();
    let joined = threads.into_iter().map(|thread| thread.join().is_ok()).filter(|&ok| ok).count();
    if joined == n { 0 } else { FAILED }
}

fn signalled() -> i32 {
    let before = HANDLED.load(Ordering::SeqCst);
    // SAFETY: sends a signal to this thread, which has handled it when the call returns.
    unsafe { libc::raise(libc::SIGUSR1) };
    if HANDLED.load(Ordering::SeqCst) == before + 1 { 0 } else { WRONG_SIGNAL }
}

/// A thread that is not the first execs, while another one sleeps.
fn exec_from_thread(work: Work) -> i32 {
    let sleeper = || std::thread::sleep(Duration::from_secs(1000));
    let _ = std::thread::Builder::new().spawn(sleeper);
    let caller = std::thread::spawn(move || drop(working(work).exec()));
    let _ = caller.join(); // if it comes back
    FAILED
}

/// Sends `SIGKILL`.
pub(crate) fn kill(pid: Pid) {
    // SAFETY: sends a signal to a tracee, or to a process of this one's group.
    unsafe { libc::kill(pid.as_raw(), libc::SIGKILL) };
}
