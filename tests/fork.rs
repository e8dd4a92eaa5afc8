//! E1, E2, F1: every new process once, with both halves.

use trapline::{
    Error, Event, EventFlags, ExitStatus, FollowFork, ForkKind, ForkSide, Resume, Signal,
    StopReason,
};

use crate::common::*;
use crate::fixtures::fixture;

crate::tests![
    e1_failed_forks_and_execs_are_no_events,
    e2_each_fork_is_one_event_with_both_halves,
    e2_a_tree_of_forks,
    e2_vfork_is_a_vfork_on_both_systems,
    e2_a_shell_loop_misses_nothing,
    e2_both_halves_dropped_are_one_event_again,
    f1_follow_the_parent_alone,
    f1_follow_the_child_alone,
    f1_the_caller_decides_with_both_tokens,
    f1_children_are_followed_though_nobody_hears_of_forks,
    e2_a_number_that_is_used_again,
    e2_killed_children_still_come_once,
];

fn e1_failed_forks_and_execs_are_no_events() {
    let log = trace(EventFlags::PROCESS, fixture("failing", &[]));
    let map = log.by_process();
    if map["P1"].last() == Some(&"exit 3 of us") {
        skip("RLIMIT_NPROC limits nothing here");
    }
    assert_eq!(map["P1"], ["exec", "exit 0 of us"]);
}

fn e2_each_fork_is_one_event_with_both_halves() {
    let mut tracer = tracer(EventFlags::PROCESS);
    tracer.spawn(fixture("fork", &["20"])).unwrap();
    let log = run_with(&mut tracer, |tracer, event| {
        if let Event::Forked(fork) = &event {
            assert_eq!(fork.kind, ForkKind::Fork);
            let (ForkSide::Stopped(parent), ForkSide::Stopped(child)) = (&fork.parent, &fork.child)
            else {
                panic!("{fork:?}");
            };
            assert_eq!(Some(parent.pid()), fork.parent_pid);
            assert_eq!(Some(parent.tid()), fork.parent_tid);
            assert_eq!(child.pid(), fork.child_pid);
            assert_eq!(child.reason(), StopReason::Started);
            // Both answer questions.
            let (p, c) = (tracer.registers(parent).unwrap(), tracer.registers(child).unwrap());
            assert_eq!(p.sp(), c.sp());
            assert_eq!(tracer.process_info(child.pid()).unwrap().real_parent, Some(parent.pid()));
            assert_eq!(tracer.process_info(parent.pid()).unwrap().children, [child.pid()]);
        }
        Some(event)
    });
    let map = log.by_process();
    assert_eq!(map.len(), 21);
    let mut expected = vec!["exec".to_string()];
    expected.extend((2..22).map(|i| format!("fork P{i}")));
    expected.push("exit 0 of us".into());
    // SIGCHLD, where it is reported, is left out.
    let ours: Vec<_> = map["P1"].iter().filter(|e| !e.starts_with("signal")).collect();
    assert_eq!(ours, expected.iter().collect::<Vec<_>>());
    for i in 0..20 {
        assert_eq!(map[&*format!("P{}", i + 2)], [format!("exit {i} of P1")]);
    }
}

fn e2_a_tree_of_forks() {
    let log = trace(EventFlags::PROCESS, fixture("fork-tree", &["6"]));
    assert_eq!(log.count("fork P"), 126);
    assert_eq!(log.count("exit 0"), 127);
    assert_eq!(log.by_process().len(), 127);
}

fn e2_vfork_is_a_vfork_on_both_systems() {
    let flags = EventFlags::PROCESS | EventFlags::VFORK_DONE;
    let log = trace(flags, fixture("vfork", &[]));
    let map = log.by_process();
    let ours: Vec<_> = map["P1"].iter().filter(|e| !e.starts_with("signal")).collect();
    assert_eq!(ours, [&"exec", &"vfork P2", &"vfork done", &"exit 0 of us"]);
    assert_eq!(map["P2"], ["exec", "exit 7 of P1"]);
}

fn e2_a_shell_loop_misses_nothing() {
    let log = trace(
        EventFlags::PROCESS,
        sh("for i in 1 2 3 4 5 6 7 8 9 10; do /bin/echo $i; done | cat >/dev/null; exit 3"),
    );
    assert_eq!(log.count("fork P") + log.count("vfork P"), 12);
    assert_eq!(log.count("exec"), 12);
    assert_eq!(log.count("exit"), 13);
}

fn e2_both_halves_dropped_are_one_event_again() {
    let mut tracer = tracer(EventFlags::PROCESS);
    tracer.spawn(fixture("fork", &["1"])).unwrap();
    let mut forks = 0;
    run_with(&mut tracer, |_, event| {
        if matches!(event, Event::Forked(_)) {
            forks += 1;
            if forks < 3 {
                return None; // dropped
            }
        }
        Some(event)
    });
    assert_eq!(forks, 3);
}

fn f1_follow_the_parent_alone() {
    let mut tracer = trapline::Tracer::builder().follow_fork(FollowFork::Parent).build().unwrap();
    tracer.spawn(fixture("fork", &["5"])).unwrap();
    let log = run(&mut tracer);
    assert_eq!(log.by_process().len(), 1);
    for i in 2..7 {
        assert_eq!(log.count(&format!("fork P{i}, child detached")), 1);
    }
    assert_eq!(log.count("exit 0 of us"), 1);
}

fn f1_follow_the_child_alone() {
    let mut tracer = trapline::Tracer::builder().follow_fork(FollowFork::Child).build().unwrap();
    let pid = tracer.spawn(fixture("fork", &["1"])).unwrap().pid;
    let log = run(&mut tracer);
    let map = log.by_process();
    assert_eq!(map["P1"], ["exec", "fork P2, parent detached"]);
    assert_eq!(map["P2"], ["exit 0 of P1"]);
    // W2: the parent is an ordinary child again, and saw its own child's end.
    let mut child = tracer.take_child(pid).expect("the child");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

fn f1_the_caller_decides_with_both_tokens() {
    let mut tracer = tracer(EventFlags::PROCESS);
    tracer.spawn(fixture("fork", &["4"])).unwrap();
    let mut let_go = 0;
    let log = run_with(&mut tracer, |tracer, event| match event {
        Event::Forked(fork) => {
            let child = fork.child.into_stopped().unwrap();
            let_go += 1;
            if let_go % 2 == 0 {
                tracer.detach(child).unwrap();
            } else {
                tracer.resume(child, Resume::Continue).unwrap();
            }
            Some(fork.parent.into_stopped().unwrap().into())
        }
        other => Some(other),
    });
    assert_eq!(log.by_process().len(), 3);
    assert_eq!(log.count("exit 0 of us"), 1);
}

fn f1_children_are_followed_though_nobody_hears_of_forks() {
    let log = trace(EventFlags::EXEC, sh("/bin/echo a >/dev/null; /bin/echo b >/dev/null; :"));
    assert_eq!(log.count("exec"), 3);
    assert_eq!(log.count("fork"), 0);
    assert_eq!(log.count("exit"), 3);
}

// Every other child is killed at its first stop and its token kept, until the next one with
// its number is there: the old token has no power over that, and tells nothing of it.
fn e2_a_number_that_is_used_again() {
    if !cfg!(target_os = "linux") {
        skip("only Linux lets a program choose a number");
    }
    let mut tracer = tracer(EventFlags::PROCESS);
    let parent = tracer.spawn(fixture("same-number", &["12"])).unwrap().pid;
    let (mut number, mut forks, mut old) = (None, 0, None);
    let mut ends = Vec::new();
    while let Some(event) = tracer.wait().unwrap() {
        match event {
            Event::Forked(fork) => {
                let (ForkSide::Stopped(maker), ForkSide::Stopped(child)) =
                    (fork.parent, fork.child)
                else {
                    panic!("both halves")
                };
                assert_eq!(*number.get_or_insert(child.pid()), child.pid());
                if let Some((old, had)) = old.take() {
                    assert_eq!(tracer.registers(&old).unwrap(), had, "what it had last");
                    assert!(matches!(tracer.signal_info(&old), Err(Error::Gone { .. })));
                    tracer.resume(old, Resume::Continue).unwrap();
                }
                let registers = tracer.registers(&child).expect("it has not run");
                if forks % 2 == 0 && forks < 10 {
                    tracer.kill(child.pid()).unwrap();
                    old = Some((child, registers));
                } else {
                    tracer.resume(child, Resume::Continue).unwrap();
                }
                forks += 1;
                tracer.resume(maker, Resume::Continue).unwrap();
            }
            Event::Exited { pid, status: ExitStatus::Code(77), .. } if pid == parent => {
                skip("numbers of processes cannot be chosen here");
            }
            Event::Exited { pid, status, .. } => ends.push((pid, status)),
            event => tracer.resume(event, Resume::Continue).unwrap(),
        }
    }
    let number = number.unwrap();
    let mut expected: Vec<_> = (0..12)
        .map(|i| match i % 2 {
            0 if i < 10 => (number, killed_by(Signal::KILL)),
            _ => (number, ExitStatus::Code(20 + i)),
        })
        .collect();
    expected.push((parent, ExitStatus::Code(0)));
    assert_eq!(ends, expected);
}

fn e2_killed_children_still_come_once() {
    let mut tracer = tracer(EventFlags::PROCESS);
    tracer.spawn(fixture("fork-tree", &["5"])).unwrap();
    let mut forks = 0;
    let mut killed = 0;
    let mut exits = 0;
    run_with(&mut tracer, |tracer, event| {
        match &event {
            Event::Forked(fork) => {
                forks += 1;
                if forks % 4 == 0 {
                    killed += 1;
                    tracer.kill(fork.child_pid).unwrap();
                }
            }
            Event::Exited { status: ExitStatus::Killed { .. }, .. } => exits += 1,
            _ => {}
        }
        Some(event)
    });
    // The parents of the killed fail by their assertion, but do not go missing.
    assert!(killed > 0);
    assert_eq!(exits, killed);
}
