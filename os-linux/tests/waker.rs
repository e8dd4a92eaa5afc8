//! W1: a waker ends a blocked wait, from any thread and any signal handler, and no wake is lost.

#![cfg(target_os = "linux")]

mod common;
#[path = "waker/roles.rs"]
mod roles;

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::*;
use trapline_core::backend::{Backend, Patience, Waited, Wake};
use trapline_core::{Pid, Signal};
use trapline_os_linux::Linux;

/// The wake helpers of this process, found by their name.
fn helpers_of(parent: u32) -> Vec<Pid> {
    let mut helpers = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(id) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
        if status.starts_with("Name:\ttrapline-wake\n")
            && status.contains(&format!("\nPPid:\t{parent}\n"))
            && status.contains(&format!("\nTracerPid:\t{}\n", own_tid()))
        {
            helpers.push(Pid::from_raw(id));
        }
    }
    helpers
}

fn own_tid() -> i32 {
    // SAFETY: takes nothing.
    unsafe { libc::syscall(libc::SYS_gettid) as i32 }
}

fn helper() -> Pid {
    // It gives itself its name.
    until(|| helpers_of(std::process::id()).len() == 1);
    helpers_of(std::process::id())[0]
}

#[test]
fn w1_a_wake_before_during_or_after_a_wait() {
    within(20, || {
        let mut linux = Linux::open().unwrap();
        let waker = linux.waker().unwrap();
        // Before; several are one.
        waker.wake();
        waker.wake();
        assert_eq!(linux.wait(Patience::Block).unwrap(), Waited::Woken);
        assert_eq!(linux.wait(Patience::Poll).unwrap(), Waited::Nothing);
        assert_eq!(linux.wait(Patience::Brief).unwrap(), Waited::Nothing);
        // During.
        let from_thread = thread::spawn({
            let waker = waker.clone();
            move || {
                thread::sleep(Duration::from_millis(50));
                waker.wake();
            }
        });
        assert_eq!(linux.wait(Patience::Block).unwrap(), Waited::Woken);
        from_thread.join().unwrap();
        // And there is one wake helper, however many wakers.
        let second = linux.waker().unwrap();
        let helper = helper();
        second.wake();
        assert_eq!(linux.wait(Patience::Block).unwrap(), Waited::Woken);
        drop(linux);
        assert_eq!(state(helper.as_raw()), None);
        // After its end there is nobody to wake.
        waker.wake();
        second.wake();
    });
}

/// Each wake is answered before the next: one that was lost would block for ever.
#[test]
fn w1_twenty_thousand_wakes_while_a_tracee_stops() {
    const WAKES: u32 = 20_000;
    within(120, || {
        let mut linux = Linux::open().unwrap();
        let busy = start(&mut linux, sh("while :; do kill -USR1 $$; done"), KILL);
        go(&mut linux, thread_of(busy.pid));
        let waker = linux.waker().unwrap();
        let answered = Arc::new(AtomicU32::new(0));
        let ringer = thread::spawn({
            let answered = answered.clone();
            move || {
                for wake in 0..WAKES {
                    waker.wake();
                    while answered.load(Ordering::Acquire) <= wake {
                        std::hint::spin_loop();
                        thread::yield_now();
                    }
                }
            }
        });
        let (mut woken, mut stops) = (0, 0);
        let begin = Instant::now();
        while woken < WAKES {
            match linux.wait(Patience::Block).unwrap() {
                Waited::Woken => {
                    woken += 1;
                    answered.store(woken, Ordering::Release);
                }
                Waited::Stop(stop) => {
                    // Without the signal, which would kill it.
                    assert_eq!(stop.tid, Some(thread_of(busy.pid).tid));
                    go(&mut linux, thread_of(busy.pid));
                    stops += 1;
                }
                other => panic!("{other:?}"),
            }
        }
        ringer.join().unwrap();
        println!("{stops} stops between {woken} wakes, {:?} each", begin.elapsed() / woken);
        assert!(stops > 0);
    });
}

/// Wakes that do not wait for each other: after the last one there is a `Woken`.
#[test]
fn w1_storms_of_wakes_coalesce_and_none_is_lost() {
    within(60, || {
        let mut linux = Linux::open().unwrap();
        let waker = linux.waker().unwrap();
        for round in 0..200 {
            let stop = Arc::new(AtomicBool::new(false));
            let ringers: Vec<_> = (0..3)
                .map(|_| {
                    let (waker, stop) = (waker.clone(), stop.clone());
                    thread::spawn(move || {
                        for _ in 0..100 {
                            waker.wake();
                        }
                        stop.store(true, Ordering::SeqCst);
                        waker.wake();
                    })
                })
                .collect();
            while !stop.load(Ordering::SeqCst) {
                assert_eq!(linux.wait(Patience::Block).unwrap(), Waited::Woken, "{round}");
            }
            ringers.into_iter().for_each(|ringer| ringer.join().unwrap());
            // What is left is one wake at most, and this one is the same.
            waker.wake();
            assert_eq!(linux.wait(Patience::Block).unwrap(), Waited::Woken);
            assert_eq!(linux.wait(Patience::Brief).unwrap(), Waited::Nothing);
        }
    });
}

#[test]
fn w1_signals_for_the_wake_helper_are_swallowed() {
    within(60, || {
        let mut linux = Linux::open().unwrap();
        let waker = linux.waker().unwrap();
        let helper = helper();
        for number in 1..=64 {
            let signal = Signal::from_raw(number).unwrap();
            if signal == Signal::KILL {
                continue;
            }
            kill(helper, signal);
            assert_eq!(linux.wait(Patience::Brief).unwrap(), Waited::Nothing, "{signal}");
            waker.wake();
            assert_eq!(linux.wait(Patience::Block).unwrap(), Waited::Woken, "{signal}");
        }
        // Job control at the same time, which takes stops and continues back.
        let stop = Arc::new(AtomicBool::new(false));
        let controller = thread::spawn({
            let stop = stop.clone();
            move || {
                while !stop.load(Ordering::Relaxed) {
                    for signal in [Signal::STOP, Signal::CONT, Signal::TSTP] {
                        kill(helper, signal);
                    }
                }
            }
        });
        for _ in 0..300 {
            waker.wake();
            assert_eq!(linux.wait(Patience::Block).unwrap(), Waited::Woken);
        }
        stop.store(true, Ordering::Relaxed);
        controller.join().unwrap();
    });
}

#[test]
fn w1_a_wake_helper_that_was_killed_is_replaced() {
    within(60, || {
        let mut linux = Linux::open().unwrap();
        let waker = linux.waker().unwrap();
        for round in 0..20 {
            let helper = helper();
            if round % 2 == 0 {
                waker.wake();
                kill(helper, Signal::KILL);
                assert_eq!(linux.wait(Patience::Block).unwrap(), Waited::Woken);
            } else {
                kill(helper, Signal::KILL);
                until(|| state(helper.as_raw()) == Some(b'Z'));
                waker.wake();
                assert_eq!(linux.wait(Patience::Block).unwrap(), Waited::Woken);
            }
            assert_eq!(state(helper.as_raw()), None);
            waker.wake();
            assert_eq!(linux.wait(Patience::Block).unwrap(), Waited::Woken);
        }
    });
}

#[test]
fn w1_the_host_does_not_notice_the_wake_helper() {
    within(20, || {
        let mut linux = Linux::open().unwrap();
        let before = fs::read_to_string("/proc/thread-self/status").unwrap();
        let waker = linux.waker().unwrap();
        let masks = |status: &str| {
            // Of the queue the signals of all processes of the user are counted.
            let lines = status.lines().filter(|l| l.starts_with("Sig") && !l.starts_with("SigQ"));
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        let after = fs::read_to_string("/proc/thread-self/status").unwrap();
        assert_eq!(masks(&before), masks(&after));
        let helper = helper();
        // It keeps neither files nor the working directory of the host: its timer, and a line by
        // which it hears of the host's end.
        let files = fs::read_dir(format!("/proc/{helper}/fd")).unwrap().flatten();
        let mut files: Vec<_> = files.map(|file| fs::read_link(file.path()).unwrap()).collect();
        files.sort();
        assert_eq!(files.len(), 2, "{files:?}");
        assert_eq!(files[0].to_str(), Some("anon_inode:[timerfd]"));
        assert!(files[1].to_str().unwrap().starts_with("pipe:"), "{files:?}");
        assert_eq!(fs::read_link(format!("/proc/{helper}/cwd")).unwrap().to_str(), Some("/"));
        // SAFETY: waits for nobody in particular, on this thread alone.
        let found =
            unsafe { libc::waitpid(-1, std::ptr::null_mut(), libc::WNOHANG | libc::__WNOTHREAD) };
        // There is a tracee, and it has nothing to say.
        assert_eq!(found, 0);
        // errno is that of this thread alone, and the wake helper shares its memory.
        for _ in 0..1000 {
            waker.wake();
            assert_eq!(linux.wait(Patience::Block).unwrap(), Waited::Woken);
            assert_eq!(fs::File::open("/none").unwrap_err().raw_os_error(), Some(libc::ENOENT));
        }
    });
}

#[test]
fn w1_a_wake_leaves_errno_alone() {
    within(10, || {
        let mut linux = Linux::open().unwrap();
        let waker = linux.waker().unwrap();
        drop(linux);
        // SAFETY: the calling thread's own errno.
        unsafe { *libc::__errno_location() = libc::EDOM };
        waker.wake();
        assert_eq!(std::io::Error::last_os_error().raw_os_error(), Some(libc::EDOM));
    });
}

/// From a signal handler, with the tracer's thread in the middle of its wait.
#[test]
fn w1_a_signal_handler_may_wake() {
    static WAKER: std::sync::OnceLock<Arc<dyn Wake>> = std::sync::OnceLock::new();
    extern "C" fn handler(_: i32) {
        if let Some(waker) = WAKER.get() {
            waker.wake();
        }
    }
    within(60, || {
        let mut linux = Linux::open().unwrap();
        assert!(WAKER.set(linux.waker().unwrap()).is_ok());
        // SAFETY: the handler is async-signal-safe.
        unsafe {
            libc::signal(libc::SIGURG, handler as extern "C" fn(i32) as libc::sighandler_t);
        }
        let (process, tracer) = (std::process::id() as i32, own_tid());
        let answered = Arc::new(AtomicU32::new(0));
        let sender = thread::spawn({
            let answered = answered.clone();
            move || {
                for wake in 0..2000 {
                    // SAFETY: takes numbers.
                    unsafe {
                        libc::syscall(libc::SYS_tgkill, process, tracer, libc::SIGURG);
                    }
                    while answered.load(Ordering::Acquire) <= wake {
                        thread::yield_now();
                    }
                }
            }
        });
        for wake in 1..=2000 {
            assert_eq!(linux.wait(Patience::Block).unwrap(), Waited::Woken);
            answered.store(wake, Ordering::Release);
        }
        sender.join().unwrap();
    });
}

/// A host that makes a waker and then does one of the things that hosts do.
#[track_caller]
fn host(what: &str) -> (i32, Pid) {
    let output = playing(what).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let helper = text.lines().find_map(|line| line.strip_prefix("helper ")).expect(&text);
    (output.status.code().unwrap(), Pid::from_raw(helper.parse().unwrap()))
}

#[test]
fn w1_the_wake_helper_ends_with_its_host() {
    within(30, || {
        for what in ["exit", "exit of the thread", "exec", "panic", "fork"] {
            let (code, helper) = host(what);
            assert_eq!(code, 42, "{what}");
            until(|| matches!(state(helper.as_raw()), None | Some(b'Z')));
        }
    });
}

/// Time limits that are over before the wake helper is traced, and while it is made.
#[test]
fn w1_time_limits_beside_a_new_wake_helper() {
    within(60, || {
        for round in 0..300_u32 {
            let mut linux = Linux::open().unwrap();
            for step in 0..3 {
                let limit = Duration::from_nanos(u64::from(round * 100 + step * 7_000));
                let waited = linux.wait(Patience::Until(Instant::now() + limit)).unwrap();
                // There is nobody to wait for before the wake helper is there.
                assert!(matches!(waited, Waited::Nothing | Waited::NoTracees), "{waited:?}");
            }
            let waker = linux.waker().unwrap();
            waker.wake();
            assert_eq!(linux.wait(Patience::Block).unwrap(), Waited::Woken);
            // Its next wake helper begins with a timer that has expired.
            waker.wake();
            assert!(!linux.has_tracees().unwrap());
            assert_eq!(linux.wait(Patience::Block).unwrap(), Waited::Woken);
        }
    });
}

/// What others wait for is not held by the wake helper: a lock of a host that dies just when it has made
/// one, or that execs, is free at once.
#[test]
fn w1_a_lock_of_the_host_is_not_held_by_the_wake_helper() {
    let file = std::env::temp_dir().join(format!("trapline-lock-{}", std::process::id()));
    let path = file.clone();
    fs::write(&path, "").unwrap();
    within(100, move || {
        for what in ["locks", "locks without close_range", "locks and execs"] {
            for round in 0..20 {
                let mut host = playing(what);
                host.env("TRAPLINE_LOCK", &path).stdout(std::process::Stdio::piped());
                let mut host = host.spawn().unwrap();
                let mut out = std::io::BufReader::new(host.stdout.take().unwrap());
                let mut line = String::new();
                while !line.ends_with("ready\n") {
                    assert_ne!(std::io::BufRead::read_line(&mut out, &mut line).unwrap(), 0);
                }
                if what != "locks and execs" {
                    host.kill().unwrap();
                    host.wait().unwrap();
                }
                let lock = fs::File::open(&path).unwrap();
                // SAFETY: takes numbers.
                let locked = unsafe {
                    use std::os::fd::AsRawFd;
                    libc::flock(lock.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB)
                };
                let _ = host.kill();
                let _ = host.wait();
                assert_eq!(locked, 0, "{what}, {round}");
            }
        }
    });
    let _ = fs::remove_file(&file);
}

/// A wake helper ends when the tracer's own thread execs, though it is that one's tracee still.
#[test]
fn w1_an_exec_of_the_tracer_ends_the_wake_helper() {
    within(30, || {
        let (code, _) = host("exec of the tracer");
        assert_eq!(code, 42);
    });
}

#[test]
#[ignore = "played by other tests"]
fn role() {
    if let Ok(what) = std::env::var("TRAPLINE_ROLE") {
        roles::play(&what);
    }
}
