//! W1, W2: waits that share a process with others.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use trapline::{Error, Event, EventFlags, ExitStatus, Resume};

use crate::common::*;
use crate::fixtures::fixture;

crate::tests![
    w1_try_wait_does_not_block,
    w1_a_waker_ends_a_wait_from_another_thread,
    w1_wakes_and_stops_at_the_same_time_lose_nothing,
    w1_no_wake_up_is_lost,
    w2_the_hosts_own_children_are_left_to_it,
    w2_a_zombie_of_the_host_blinds_no_wait,
    w2_a_detached_child_is_an_ordinary_one,
    w2_tracers_on_several_threads_do_not_disturb_each_other,
    w1_a_wait_that_nothing_can_end_is_an_error,
    wait_ends_when_nothing_is_traced,
];

fn w1_try_wait_does_not_block() {
    let mut tracer = tracer(EventFlags::PROCESS);
    assert!(matches!(tracer.try_wait().unwrap(), Poll::Ready(None)), "nobody is traced");
    let stop = spawned(&mut tracer, sh("sleep 0.3"));
    tracer.resume(stop, Resume::Continue).unwrap();
    let start = Instant::now();
    let mut empty = 0;
    let mut exits = 0;
    loop {
        match tracer.try_wait().unwrap() {
            Poll::Ready(Some(event)) => {
                exits += usize::from(matches!(event, Event::Exited { .. }));
                tracer.resume(event, Resume::Continue).unwrap();
            }
            Poll::Ready(None) => break,
            Poll::Pending => {
                empty += 1;
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        assert!(start.elapsed() < Duration::from_secs(60));
    }
    assert!(tracer.is_empty() && exits >= 1 && empty > 10, "{exits} {empty}");
}

fn w1_a_waker_ends_a_wait_from_another_thread() {
    let mut tracer = tracer(EventFlags::PROCESS);
    let stop = spawned(&mut tracer, fixture("sleep", &[]));
    let pid = stop.pid();
    tracer.resume(stop, Resume::Continue).unwrap();
    let waker = tracer.waker().unwrap();
    // Before the wait,
    waker.wake();
    assert!(matches!(tracer.wait().unwrap(), Some(Event::Woken)));
    // and during it, many times.
    for _ in 0..200 {
        let waker = waker.clone();
        let thread = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_micros(300));
            waker.wake();
        });
        assert!(matches!(tracer.wait().unwrap(), Some(Event::Woken)));
        thread.join().unwrap();
    }
    tracer.kill(pid).unwrap();
    assert_eq!(next_exit(&mut tracer).1, killed_by(trapline::Signal::KILL));
    drop(tracer);
    waker.wake(); // harmless
}

fn w1_wakes_and_stops_at_the_same_time_lose_nothing() {
    let mut tracer = tracer(EventFlags::PROCESS);
    tracer.spawn(fixture("fork", &["200"])).unwrap();
    let waker = tracer.waker().unwrap();
    let done = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let thread = std::thread::spawn({
        let done = done.clone();
        move || {
            while !done.load(std::sync::atomic::Ordering::SeqCst) {
                waker.wake();
                std::thread::sleep(Duration::from_micros(50));
            }
        }
    });
    let log = run(&mut tracer);
    done.store(true, std::sync::atomic::Ordering::SeqCst);
    thread.join().unwrap();
    assert_eq!(log.count("fork"), 200);
    assert_eq!(log.count("exit"), 201);
    assert!(log.count("woken") > 0);
}

fn w1_no_wake_up_is_lost() {
    let runs: u64 = std::env::var("TRAPLINE_RUNS").ok().and_then(|n| n.parse().ok()).unwrap_or(10);
    let run = Arc::new(AtomicU64::new(0));
    let watched = run.clone();
    // Each run has its own time limit.
    std::thread::spawn(move || {
        let mut last = (0, Instant::now());
        loop {
            std::thread::sleep(Duration::from_millis(50));
            let now = watched.load(Ordering::SeqCst);
            if now != last.0 {
                last = (now, Instant::now());
            }
            if last.1.elapsed() > seconds(20) {
                eprintln!("run {now} hangs");
                std::process::abort();
            }
        }
    });
    for n in 1..=runs {
        run.store(n, Ordering::SeqCst);
        let flags = EventFlags::PROCESS | EventFlags::THREAD;
        let log = trace(flags, fixture("thread-storm", &["16"]));
        assert_eq!(log.count("exit"), 17);
        assert_eq!(log.count("thread exit"), 32);
    }
}

fn w2_the_hosts_own_children_are_left_to_it() {
    let mut tracer = tracer(EventFlags::PROCESS);
    tracer.spawn(fixture("fork", &["100"])).unwrap();
    let threads: Vec<_> = (0..3)
        .map(|_| {
            std::thread::spawn(|| {
                for i in 0..50 {
                    let status = fixture("exit", &[&i.to_string()]).status().unwrap();
                    assert_eq!(status.code(), Some(i));
                }
            })
        })
        .collect();
    let mut own = 0;
    let log = run_with(&mut tracer, |_, event| {
        own += 1;
        if own % 10 == 0 {
            // On the tracer's own thread too; and one that is a zombie during waits.
            assert_eq!(Command::new("true").status().unwrap().code(), Some(0));
        }
        Some(event)
    });
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(log.count("exit"), 101);
}

fn w2_a_zombie_of_the_host_blinds_no_wait() {
    let mut zombie = Command::new("true").spawn().unwrap();
    until(|| harness::has_ended(zombie.id() as i32));
    let log = trace(EventFlags::PROCESS, fixture("fork", &["10"]));
    assert_eq!(log.count("exit"), 11);
    assert!(zombie.wait().unwrap().success());
}

fn w2_a_detached_child_is_an_ordinary_one() {
    let mut tracer = tracer(EventFlags::PROCESS);
    let stop = spawned(&mut tracer, fixture("exit", &["12"]));
    let pid = stop.pid();
    tracer.detach(stop).unwrap();
    assert!(tracer.is_empty());
    assert!(tracer.wait().unwrap().is_none());
    let mut child = tracer.take_child(pid).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(12));
}

fn w2_tracers_on_several_threads_do_not_disturb_each_other() {
    if cfg!(target_os = "freebsd") {
        skip("FreeBSD has one tracer per process");
    }
    let threads: Vec<_> = (0..4)
        .map(|_| {
            std::thread::spawn(|| {
                let log = trace(EventFlags::PROCESS, fixture("fork-tree", &["4"]));
                assert_eq!(log.count("exit 0"), 31);
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
}

fn wait_ends_when_nothing_is_traced() {
    let mut tracer = tracer(EventFlags::PROCESS);
    assert!(tracer.wait().unwrap().is_none());
    let stop = spawned(&mut tracer, fixture("exit", &["0"]));
    tracer.resume(stop, Resume::Continue).unwrap();
    assert_eq!(next_exit(&mut tracer).1, ExitStatus::Code(0));
    assert!(tracer.wait().unwrap().is_none());
    assert!(tracer.wait().unwrap().is_none());
}

fn w1_a_wait_that_nothing_can_end_is_an_error() {
    let mut tracer = tracer(EventFlags::PROCESS);
    let stop = spawned(&mut tracer, sh("exit 3"));
    let other = spawned(&mut tracer, sh("exit 4"));
    let pids = [stop.pid(), other.pid()];
    for _ in 0..3 {
        match tracer.wait() {
            Err(Error::NotRunning { pid }) => assert!(pids.contains(&pid), "{pid}"),
            waited => panic!("{waited:?}"),
        }
    }
    // Nothing is lost by that.
    tracer.resume(other, Resume::Continue).unwrap();
    assert_eq!(next_exit(&mut tracer), (pids[1], ExitStatus::Code(4)));
    assert!(matches!(tracer.wait(), Err(Error::NotRunning { .. })));
    tracer.resume(stop, Resume::Continue).unwrap();
    assert_eq!(next_exit(&mut tracer), (pids[0], ExitStatus::Code(3)));
    assert!(tracer.wait().unwrap().is_none());
}
