//! F4: a parent sees of its children what it sees without a tracer: each program runs untraced and
//! traced, and says the same.

use std::process::Stdio;

use trapline::{Builder, Event, EventFlags, FollowFork, ForkSide, Resume};

use crate::common::skip;
use crate::fixtures::fixture;

crate::tests![
    f4_statuses_by_wait,
    f4_statuses_by_waitid_and_a_look_before,
    f4_sigchld_handlers_and_siginfo,
    f4_no_zombies_wanted,
    f4_descriptors_of_processes,
    f4_siblings_by_clone_parent,
    f4_reapers_get_the_orphans,
    f4_daemons,
    f4_a_parent_that_dies_first,
    f4_many_at_once_each_once,
];

/// How a program is traced.
#[derive(Debug, Clone, Copy)]
enum How {
    /// With all its children, and all events.
    Whole,
    /// With all its children, and no event but the ends.
    Quietly,
    /// Its children are detached at their forks.
    Alone,
    /// It is detached at its first fork, and its child is traced: the tracer is no ancestor's tracer.
    Children,
    /// As [`Whole`](How::Whole), and each parent runs before its child.
    ParentsFirst,
}

/// What a program says that nobody traces.
fn untraced(name: &str) -> String {
    let output = fixture("family", &[name]).stderr(Stdio::inherit()).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{name}: {} after {said}", output.status);
    said
}

/// What it says under a tracer.
fn traced(name: &str, how: How) -> String {
    let flags = match how {
        How::Quietly => EventFlags::empty(),
        _ => EventFlags::all().difference(EventFlags::SYSCALL),
    };
    let follow = match how {
        How::Alone => FollowFork::Parent,
        How::Children => FollowFork::Child,
        _ => FollowFork::Both,
    };
    let mut tracer = Builder::new().events(flags).follow_fork(follow).build().unwrap();
    let mut command = fixture("family", &[name]);
    command.stdout(Stdio::piped());
    let mut spawned = tracer.spawn(command).unwrap();
    let mut stdout = spawned.stdout.take().unwrap();
    let reader = std::thread::spawn(move || {
        let mut said = String::new();
        std::io::Read::read_to_string(&mut stdout, &mut said).unwrap();
        said
    });
    let mut ended = None;
    while let Some(event) = tracer.wait().unwrap() {
        match event {
            Event::Exited { pid, status, .. } if pid == spawned.pid => ended = Some(status),
            Event::Forked(fork) if matches!(how, How::ParentsFirst) => {
                for half in [fork.parent, fork.child] {
                    if let ForkSide::Stopped(stop) = half {
                        tracer.resume(stop, Resume::Continue).unwrap();
                    }
                }
            }
            other => tracer.resume(other, Resume::Continue).unwrap(),
        }
    }
    let said = reader.join().unwrap();
    match ended {
        Some(status) => assert_eq!(status, trapline::ExitStatus::Code(0), "{name}: {said}"),
        None => {
            let mut child = tracer.take_child(spawned.pid).expect("detached");
            assert!(child.wait().unwrap().success(), "{name}: {said}");
        }
    }
    said
}

/// How a program is traced whose children are not.
const CHILDLESS: [How; 1] = [How::Alone];

/// A program says the same however it is traced.
fn same(name: &str) {
    same_if(name, &[How::Whole, How::Quietly, How::Alone, How::Children, How::ParentsFirst]);
}

/// A program says the same if it is traced in one of these ways.
fn same_if(name: &str, ways: &[How]) {
    let expected = untraced(name);
    assert!(expected.lines().count() > 1, "{name} says too little: {expected}");
    for &how in ways {
        let said = traced(name, how);
        assert_eq!(said, expected, "{name}, {how:?}");
    }
}

fn f4_statuses_by_wait() {
    same("wait");
}

fn f4_statuses_by_waitid_and_a_look_before() {
    same("waitid");
}

fn f4_sigchld_handlers_and_siginfo() {
    same("sigchld");
}

fn f4_no_zombies_wanted() {
    if cfg!(target_os = "freebsd") {
        // The kernel hands the zombie of a traced child over to its real parent without asking
        // whether that wants any (`proc_reap` in `sys/kern/kern_exit.c`).
        same_if("nocldwait", &CHILDLESS);
        same_if("ignored", &CHILDLESS);
        return;
    }
    same("nocldwait");
    same("ignored");
}

fn f4_descriptors_of_processes() {
    same("descriptor");
}

fn f4_siblings_by_clone_parent() {
    if cfg!(target_os = "freebsd") {
        skip("only Linux has CLONE_PARENT");
    }
    same("clone-parent");
}

fn f4_reapers_get_the_orphans() {
    same("reaper");
}

fn f4_daemons() {
    same("daemon");
}

fn f4_a_parent_that_dies_first() {
    same("dies-first");
}

fn f4_many_at_once_each_once() {
    same("many");
}
