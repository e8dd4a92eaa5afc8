//! Several tracers in one program, each on a thread of its own with tracees of its own (Linux).

use std::collections::BTreeSet;
use std::sync::mpsc::channel;
use std::sync::{Barrier, Mutex};
use std::thread;

use trapline::{Error, Event, EventFlags, Resume, StopReason};

use crate::common::*;
use crate::fixtures::fixture;

crate::tests![
    shards_see_their_own_tracees_and_no_others,
    shards_hold_and_run_their_stops_apart,
    a_shard_that_ends_takes_only_its_own_with_it,
    the_stops_of_one_shard_do_not_wake_another,
];

const SHARDS: usize = 4;

/// Only where a process can have several.
fn sharded() {
    if cfg!(target_os = "freebsd") {
        skip("FreeBSD has one tracer per process");
    }
}

/// How often the calling thread has slept so far.
fn sleeps() -> u64 {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
    let line = status.lines().find_map(|l| l.strip_prefix("voluntary_ctxt_switches:"));
    line.unwrap().trim().parse().unwrap()
}

fn shards_see_their_own_tracees_and_no_others() {
    sharded();
    let all = Mutex::new(BTreeSet::new());
    thread::scope(|scope| {
        for _ in 0..SHARDS {
            scope.spawn(|| {
                let mut tracer = tracer(EventFlags::PROCESS);
                let root = tracer.spawn(fixture("fork-tree", &["4"])).unwrap().pid;
                let mut known = BTreeSet::from([root]);
                let log = run_with(&mut tracer, |_, event| {
                    if let Event::Forked(fork) = &event {
                        known.insert(fork.child_pid);
                    }
                    assert!(event.pid().is_none_or(|pid| known.contains(&pid)), "{event:?}");
                    Some(event)
                });
                assert_eq!(log.count("exit 0"), known.len());
                all.lock().unwrap().extend(known);
            });
        }
    });
    assert_eq!(all.into_inner().unwrap().len(), 31 * SHARDS);
}

fn shards_hold_and_run_their_stops_apart() {
    sharded();
    let held = Barrier::new(SHARDS);
    thread::scope(|scope| {
        for shard in 0..SHARDS {
            let held = &held;
            scope.spawn(move || {
                let mut tracer = tracer(EventFlags::PROCESS);
                let mut stop = Some(spawned(&mut tracer, fixture("exit", &["7"])));
                // In each round one runs its tracee to the end while the others hold theirs.
                for round in 0..SHARDS {
                    held.wait();
                    assert!(poll(&mut tracer).is_none());
                    if round == shard {
                        tracer.resume(stop.take().unwrap(), Resume::Continue).unwrap();
                        assert_eq!(run(&mut tracer).count("exit 7"), 1);
                    } else if let Some(stop) = &stop {
                        assert!(tracer.registers(stop).is_ok());
                    }
                    held.wait();
                }
            });
        }
    });
}

fn a_shard_that_ends_takes_only_its_own_with_it() {
    sharded();
    let mut tracer = tracer(EventFlags::PROCESS);
    let stop = spawned(&mut tracer, fixture("sleep", &[]));
    let pid = stop.pid();
    let (tell, told) = channel();
    thread::spawn(move || {
        let mut other = crate::common::tracer(EventFlags::PROCESS);
        // What one traces, another cannot.
        assert!(matches!(other.attach(pid), Err(Error::NotPermitted { .. })));
        let stop = spawned(&mut other, fixture("sleep", &[]));
        other.resume(stop, Resume::Continue).unwrap();
        tell.send(()).unwrap();
        drop(other);
    })
    .join()
    .unwrap();
    told.recv().unwrap();
    assert_eq!(stop.reason(), StopReason::Execed { former_tid: None });
    assert!(tracer.registers(&stop).is_ok(), "it is still ours, and stopped");
    tracer.resume(stop, Resume::Continue).unwrap();
    tracer.kill(pid).unwrap();
    assert_eq!(run(&mut tracer).count("killed"), 1);
}

fn the_stops_of_one_shard_do_not_wake_another() {
    sharded();
    let (tell, told) = channel();
    let idle = thread::spawn(move || {
        let mut tracer = tracer(EventFlags::PROCESS);
        let stop = spawned(&mut tracer, fixture("sleep", &[]));
        let pid = stop.pid();
        tracer.resume(stop, Resume::Continue).unwrap();
        let waker = tracer.waker().unwrap();
        // What the tracee does on its way to its sleep.
        while poll(&mut tracer).is_some() {}
        tell.send(waker).unwrap();
        let before = sleeps();
        assert!(matches!(tracer.wait().unwrap(), Some(Event::Woken)));
        let slept = sleeps() - before;
        tracer.kill(pid).unwrap();
        run(&mut tracer);
        slept
    });
    let waker = told.recv().unwrap();
    let log = trace(EventFlags::PROCESS | EventFlags::SYSCALL, fixture("fork", &["50"]));
    assert!(log.count("entry") > 250);
    waker.wake();
    let slept = idle.join().unwrap();
    assert!(slept < 20, "woken {slept} times for {} stops of another", log.lines.len());
}
