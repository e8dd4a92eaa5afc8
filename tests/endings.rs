//! F5: what becomes of tracees when the tracer is dropped.

use std::process::Stdio;
use std::time::Duration;

use trapline::{EventFlags, OnExit, Resume, SpawnOptions};

use crate::common::*;
use crate::fixtures::fixture;

crate::tests![
    f5_a_dropped_tracer_kills_what_it_spawned,
    f5_children_share_the_ending_of_their_parent,
    f5_unless_said_otherwise,
    f5_a_tracer_killed_at_random_moments,
    f3_detach_in_the_middle_of_forks_leaves_nobody_stopped,
];

fn own_group() -> i32 {
    // SAFETY: no arguments.
    unsafe { libc::getpgrp() }
}

fn f5_a_dropped_tracer_kills_what_it_spawned() {
    for step in 0..5 {
        let mut tracer = tracer(EventFlags::PROCESS);
        let pid = tracer.spawn(fixture("spin", &["3"])).unwrap().pid;
        if step >= 1 {
            let stop = next_stop(&mut tracer);
            match step {
                1 => drop(stop),
                2 => std::mem::forget(stop),
                _ => tracer.resume(stop, Resume::Continue).unwrap(),
            }
        }
        if step == 4 {
            assert!(hears_nothing(&mut tracer), "it spins");
        }
        drop(tracer);
        // Killed and reaped: the harness would find a zombie.
        assert!(!kill(pid, 0), "step {step}");
    }
}

fn f5_children_share_the_ending_of_their_parent() {
    let mut tracer = tracer(EventFlags::PROCESS);
    tracer.spawn(fixture("churn", &["5"])).unwrap();
    for _ in 0..100 {
        let event = tracer.wait().unwrap().unwrap();
        tracer.resume(event, Resume::Continue).unwrap();
    }
    drop(tracer);
}

fn f5_unless_said_otherwise() {
    let mut tracer = tracer(EventFlags::PROCESS);
    let pid = tracer
        .spawn(SpawnOptions::new(fixture("exit", &["0"])).on_exit(OnExit::Detach))
        .unwrap()
        .pid;
    drop(tracer);
    let mut status = 0;
    // SAFETY: `status` lives; nobody else waits for this child.
    assert_eq!(unsafe { libc::waitpid(pid.as_raw(), &mut status, 0) }, pid.as_raw());
    assert_eq!(status, 0);
}

fn f5_a_tracer_killed_at_random_moments() {
    // FreeBSD: kern.kill_on_debugger_exit decides for all of them.
    let attached_live = cfg!(target_os = "linux");
    let mut lived = 0;
    for round in 0..24_u64 {
        let (mut attached, pid) = crate::attach::ready("forward", &["0"]);
        let mut tracer = fixture("tracer-of-many", &[&pid.to_string()]);
        let mut tracer = tracer.stdin(Stdio::null()).spawn().unwrap();
        // From before its first spawn to the middle of the work.
        std::thread::sleep(Duration::from_micros(700 * round * (round % 5)));
        tracer.kill().unwrap();
        tracer.wait().unwrap();
        if !attached_live {
            let _ = attached.kill();
            attached.wait().unwrap();
        }
        // Nobody but the attached one is left, which is neither stopped nor traced.
        until(|| {
            let mut left = living_in(own_group());
            left.remove(&(std::process::id() as i32));
            left.retain(|&one| one != pid.as_raw() || !attached_live);
            left.is_empty()
        });
        if attached_live {
            assert!(attached.try_wait().unwrap().is_none(), "round {round}");
            assert!(kill(pid, libc::SIGTERM));
            assert_eq!(attached.wait().unwrap().code(), Some(0), "round {round}");
            lived += 1;
        }
    }
    assert_eq!(lived, if attached_live { 24 } else { 0 });
}

fn f3_detach_in_the_middle_of_forks_leaves_nobody_stopped() {
    for events in 1..25 {
        let mut tracer = tracer(EventFlags::PROCESS);
        let pid = tracer.spawn(fixture("fork-tree", &["4"])).unwrap().pid;
        for _ in 0..events {
            let event = tracer.wait().unwrap().unwrap();
            tracer.resume(event, Resume::Continue).unwrap();
        }
        // Whatever is there, stopped or running, reported or not.
        let all: Vec<_> = tracer.processes().collect();
        for one in all {
            if tracer.interrupt(one).is_err() {
                continue;
            }
            while tracer.processes().any(|p| p == one) {
                let event = tracer.wait().unwrap().unwrap();
                match event {
                    trapline::Event::Stopped(stop) if stop.pid() == one => {
                        tracer.detach(stop).unwrap();
                    }
                    trapline::Event::Forked(fork) if fork.parent_pid == Some(one) => {
                        tracer.detach(fork).unwrap();
                    }
                    other => tracer.resume(other, Resume::Continue).unwrap(),
                }
            }
        }
        run(&mut tracer);
        let mut child = tracer.take_child(pid);
        if let Some(child) = &mut child {
            assert_eq!(child.wait().unwrap().code(), Some(0), "after {events}");
        }
    }
}
