//! M1, F2 and F3: breakpoints in memory, and new processes.

use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;

use trapline::{
    Error, Event, EventFlags, ExitStatus, FollowFork, ForkSide, Pid, Resume, Signal,
    SoftwareBreakpoint, StopReason, Tracer,
};

use crate::common::*;
use crate::fixtures::fixture;

crate::tests![
    m1_the_child_of_a_fork_has_its_parents_breakpoints,
    f3_a_child_let_go_has_none,
    f2_a_vfork_child_passes_its_parents_breakpoints,
    f2_a_vfork_child_let_go_meets_none_and_its_parent_has_them_again,
    f2_a_child_with_the_same_memory_is_let_go_and_its_parent_misses_none,
    f2_a_child_with_the_same_memory_is_let_go_with_its_parent,
    f2_nobody_dies_of_a_breakpoint_in_memory_that_was_shared_before_there_was_one,
    f2_threads_that_all_have_vfork_children_detached_go_on,
    f2_other_threads_miss_none_while_a_vfork_child_let_go_has_the_memory,
    f2_nobody_dies_of_a_breakpoint_in_memory_that_was_shared_before_the_attach,
    f2_programs_that_are_spawned_live,
    f2_a_vfork_childs_own_breakpoint_is_its_own,
    m1_an_exec_forgets_them,
    f3_a_process_let_go_forks_clean_children,
];

/// Runs a probe fixture that makes processes to its end, with a breakpoint at the probe; returns
/// the hits of the first process and those of others. Every process must exit with 0.
fn follow(name: &str, args: &[&str], follow: FollowFork, also: usize) -> (usize, usize) {
    let mut tracer =
        Tracer::builder().events(EventFlags::PROCESS).follow_fork(follow).build().unwrap();
    let (mut stop, addr) = probe_of(&mut tracer, fixture(name, args));
    let pid = stop.pid();
    insert(&mut tracer, pid, addr);
    for _ in 0..also {
        let (next, other) = announced(&mut tracer, stop);
        insert(&mut tracer, pid, other);
        stop = next;
    }
    tracer.resume(stop, Resume::Continue).unwrap();
    let (mut own, mut others) = (0, 0);
    while let Some(event) = tracer.wait().unwrap() {
        match &event {
            Event::Stopped(stop) => match stop.reason() {
                StopReason::Trap(causes) => {
                    assert!(causes.software.is_some(), "{stop:?}");
                    let pc = tracer.registers(stop).unwrap().pc();
                    own += usize::from(stop.pid() == pid && pc == addr);
                    others += usize::from(stop.pid() != pid);
                }
                StopReason::Signal(Signal::CHLD) | StopReason::VforkDone => {}
                StopReason::Execed { .. } => {
                    assert_eq!(tracer.breakpoints(stop.pid()).unwrap().count(), 0);
                }
                _ => panic!("{stop:?}"),
            },
            Event::Exited { pid: exited, status, .. } if *exited == pid => {
                assert_eq!(*status, ExitStatus::Code(0));
            }
            Event::Exited { status, .. } => {
                assert!(matches!(status, ExitStatus::Code(0 | 3)), "{status}")
            }
            Event::Forked(_) => {}
            other => panic!("{other:?}"),
        }
        tracer.resume(event, Resume::Continue).unwrap();
    }
    (own, others)
}

fn m1_the_child_of_a_fork_has_its_parents_breakpoints() {
    assert_eq!(follow("probe-fork", &[], FollowFork::Both, 0), (1, 1));
}

fn f3_a_child_let_go_has_none() {
    assert_eq!(follow("probe-fork", &[], FollowFork::Parent, 0), (1, 0));
}

fn f2_a_vfork_child_passes_its_parents_breakpoints() {
    assert_eq!(follow("probe-vfork", &[], FollowFork::Both, 0), (1, 0));
}

fn f2_a_vfork_child_let_go_meets_none_and_its_parent_has_them_again() {
    assert_eq!(follow("probe-vfork", &[], FollowFork::Parent, 0), (1, 0));
}

fn f2_a_child_with_the_same_memory_is_let_go_and_its_parent_misses_none() {
    assert_eq!(follow("probe-sharers", &[], FollowFork::Parent, 0), (9, 0));
    assert_eq!(follow("probe-sharers", &[], FollowFork::Both, 0), (9, 0));
}

fn f2_a_child_with_the_same_memory_is_let_go_with_its_parent() {
    let mut tracer = Tracer::builder()
        .events(EventFlags::PROCESS)
        .follow_fork(FollowFork::Parent)
        .build()
        .unwrap();
    let (stop, addr) = probe_of(&mut tracer, fixture("probe-sharers", &[]));
    let pid = stop.pid();
    insert(&mut tracer, pid, addr);
    tracer.resume(stop, Resume::Continue).unwrap();
    let mut forked = false;
    loop {
        match tracer.wait().unwrap().expect("an event") {
            Event::Forked(fork) => {
                assert!(matches!(fork.child, ForkSide::Detached), "{fork:?}");
                assert_eq!(tracer.processes().collect::<Vec<_>>(), [pid]);
                forked = true;
                tracer.resume(Event::Forked(fork), Resume::Continue).unwrap();
            }
            Event::Stopped(stop) if forked => {
                tracer.detach(stop).unwrap();
                break;
            }
            event => tracer.resume(event, Resume::Continue).unwrap(),
        }
    }
    assert!(tracer.is_empty());
    let mut child = tracer.take_child(pid).expect("spawned");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

fn f2_nobody_dies_of_a_breakpoint_in_memory_that_was_shared_before_there_was_one() {
    let mut tracer =
        Tracer::builder().events(EventFlags::EXEC).follow_fork(FollowFork::Parent).build().unwrap();
    // Its child was detached when there was no breakpoint yet, and waits.
    let (stop, addr) = probe_of(&mut tracer, fixture("probe-early-sharer", &[]));
    let pid = stop.pid();
    let refused = tracer.insert_breakpoint(pid, SoftwareBreakpoint { addr });
    assert!(matches!(refused, Err(Error::Unsupported { .. })), "{refused:?}");
    // It has executed the probe, and has ended, of which a signal may tell.
    tracer.resume(stop, Resume::Continue).unwrap();
    let mut stop = next_stop(&mut tracer);
    while stop.reason() == StopReason::Signal(Signal::CHLD) {
        tracer.resume(stop, Resume::Continue).unwrap();
        stop = next_stop(&mut tracer);
    }
    assert_eq!(stop.reason(), StopReason::Signal(Signal::TRAP));
    stop.set_signal(None).unwrap();
    pass_own_breakpoint(&mut tracer, &stop);
    let id = insert(&mut tracer, pid, addr);
    expect_hits(&mut tracer, stop, id, addr, 1);
}

fn f2_threads_that_all_have_vfork_children_detached_go_on() {
    assert_eq!(follow("probe-vforks", &["6"], FollowFork::Parent, 0), (36, 0));
}

fn f2_other_threads_miss_none_while_a_vfork_child_let_go_has_the_memory() {
    let mut tracer = Tracer::builder()
        .events(EventFlags::PROCESS)
        .follow_fork(FollowFork::Parent)
        .build()
        .unwrap();
    let (stop, addr) = probe_of(&mut tracer, fixture("probe-vfork-beside", &["8"]));
    let id = insert(&mut tracer, stop.pid(), addr);
    tracer.resume(stop, Resume::Continue).unwrap();
    let (mut hits, mut executed) = (0, None);
    while let Some(mut event) = tracer.wait().unwrap() {
        match &mut event {
            Event::Stopped(stop) => match stop.reason() {
                StopReason::Trap(_) => {
                    assert!(is_hit(&mut tracer, stop, id, addr));
                    hits += 1;
                }
                StopReason::Signal(Signal::TRAP) => {
                    stop.set_signal(None).unwrap();
                    executed = tracer.registers(stop).unwrap().argument(0);
                    pass_own_breakpoint(&mut tracer, stop);
                }
                StopReason::Signal(Signal::CHLD) | StopReason::VforkDone => {}
                _ => panic!("{stop:?}"),
            },
            Event::Exited { status, .. } => assert_eq!(*status, ExitStatus::Code(0)),
            Event::Forked(_) => {}
            other => panic!("{other:?}"),
        }
        tracer.resume(event, Resume::Continue).unwrap();
    }
    assert_eq!(executed, Some(hits), "as many as there were arrivals");
}

fn f2_nobody_dies_of_a_breakpoint_in_memory_that_was_shared_before_the_attach() {
    for attach_to_child in [false, true] {
        let mut program = fixture("probe-in-vfork", &[]);
        let program = program.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut program = program.spawn().unwrap();
        let mut output = BufReader::new(program.stdout.take().unwrap());
        let (mut line, mut child) = (String::new(), [0; 4]);
        output.read_line(&mut line).unwrap();
        output.read_exact(&mut child).unwrap();
        let addr = line.trim().parse().unwrap();
        let parent = Pid::from_raw(program.id() as i32);
        let child = Pid::from_raw(i32::from_ne_bytes(child));
        let mut tracer = tracer(EventFlags::PROCESS);
        tracer.attach(if attach_to_child { child } else { parent }).unwrap();
        drop(program.stdin.take()); // so that the vfork is over some time
        let (mut inserted, mut hits) = (None, 0);
        while let Some(event) = tracer.wait().unwrap() {
            match &event {
                Event::Stopped(stop) if stop.reason() == StopReason::Started => {
                    let at = SoftwareBreakpoint { addr };
                    inserted = Some(tracer.insert_breakpoint(stop.pid(), at));
                }
                Event::Stopped(stop) => {
                    hits += usize::from(matches!(stop.reason(), StopReason::Trap(_)));
                }
                Event::Exited { status, .. } => assert_eq!(*status, ExitStatus::Code(0)),
                other => panic!("{other:?}"),
            }
            tracer.resume(event, Resume::Continue).unwrap();
        }
        match attach_to_child {
            // Its maker's other thread would run into it.
            true => assert!(matches!(inserted, Some(Err(Error::Unsupported { .. })))),
            false => assert!(inserted.unwrap().is_ok() && hits >= 50, "{hits}"),
        }
        // Of the one that it has traced the tracer has taken the end.
        let ended = program.wait();
        assert_eq!(ended.is_ok_and(|status| status.success()), attach_to_child);
    }
}

fn f2_programs_that_are_spawned_live() {
    assert_eq!(follow("probe-spawn", &["10"], FollowFork::Both, 1), (1, 0));
    assert_eq!(follow("probe-spawn", &["10"], FollowFork::Parent, 1), (1, 0));
}

fn f2_a_vfork_childs_own_breakpoint_is_its_own() {
    let mut tracer = tracer(EventFlags::PROCESS);
    let (stop, addr) = probe_of(&mut tracer, fixture("probe-vfork", &[]));
    tracer.resume(stop, Resume::Continue).unwrap();
    let Some(Event::Forked(fork)) = tracer.wait().unwrap() else { panic!("no fork") };
    let (ForkSide::Stopped(child), ForkSide::Stopped(parent)) = (fork.child, fork.parent) else {
        panic!("a half is gone");
    };
    let pid = child.pid();
    insert(&mut tracer, pid, addr);
    tracer.resume(parent, Resume::Continue).unwrap();
    tracer.resume(child, Resume::Continue).unwrap();
    let mut hits = 0;
    while let Some(event) = tracer.wait().unwrap() {
        match &event {
            Event::Stopped(stop) if stop.reason() == StopReason::VforkDone => {}
            Event::Stopped(stop) if stop.reason() == StopReason::Signal(Signal::CHLD) => {}
            Event::Stopped(stop) => {
                assert_eq!(stop.pid(), pid, "{stop:?}");
                hits += 1;
            }
            Event::Exited { status, .. } => assert_eq!(*status, ExitStatus::Code(0)),
            other => panic!("{other:?}"),
        }
        tracer.resume(event, Resume::Continue).unwrap();
    }
    assert_eq!(hits, 2);
}

fn m1_an_exec_forgets_them() {
    let (mut tracer, stop, addr, id) = probed(fixture("probe-exec", &[]));
    let pid = stop.pid();
    tracer.resume(stop, Resume::Continue).unwrap();
    let stop = next_stop(&mut tracer);
    assert!(is_hit(&mut tracer, &stop, id, addr));
    tracer.resume(stop, Resume::Continue).unwrap();
    let stop = next_stop(&mut tracer);
    assert_eq!(stop.reason(), StopReason::Execed { former_tid: None });
    assert!(!tracer.remove_breakpoint(pid, id).unwrap());
    let (stop, _) = announced(&mut tracer, stop);
    tracer.resume(stop, Resume::Continue).unwrap();
    assert_eq!(next_exit(&mut tracer).1, ExitStatus::Code(0));
}

fn f3_a_process_let_go_forks_clean_children() {
    for name in ["probe-fork", "probe-vfork"] {
        let (mut tracer, stop, addr, id) = probed(fixture(name, &[]));
        let pid = stop.pid();
        let other = insert(&mut tracer, pid, addr);
        assert_eq!(id, other);
        tracer.detach(stop).unwrap();
        let mut child = tracer.take_child(pid).expect("spawned");
        assert!(child.wait().unwrap().success(), "{name}");
    }
}
