//! F1 over an exec, F4 of a whole tree: what is followed from the start, and what from the middle.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::time::Duration;

use trapline::{Event, EventFlags, FollowExec, Pid, Resume, StopReason, Tracer};

use crate::common::*;
use crate::fixtures::fixture;

crate::tests![
    f1_a_process_is_let_go_at_its_exec,
    f1_an_exec_by_another_thread_lets_go_of_them_all,
    f1_whether_to_stay_can_change_at_each_stop,
    f1_program_by_program_the_caller_decides,
    f4_a_tree_is_attached_to_as_a_whole,
    f4_a_tree_that_grows_and_dies_meanwhile,
    f4_a_tree_with_a_member_that_cannot_be_traced_is_left_alone,
];

/// A family of processes, killed at the end. They are in the group of this test, so that the
/// harness finds them if it comes to that.
struct Family(Child);

impl Family {
    /// Starts a fixture, and waits until it says that it is there.
    fn start(name: &str, args: &[&str]) -> Family {
        let mut child = fixture(name, args).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        Family(child)
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.0.id() as i32)
    }

    fn kill(&self) {
        // Until there are no new ones; on FreeBSD who is stopped dies only when it is resumed.
        let mut killed = BTreeSet::new();
        loop {
            let mut living = family();
            living.retain(|pid| killed.insert(*pid));
            if living.is_empty() {
                break;
            }
            for pid in living {
                kill(Pid::from_raw(pid), libc::SIGKILL);
            }
        }
    }
}

impl Drop for Family {
    fn drop(&mut self) {
        self.kill();
        let _ = self.0.wait();
        // The others are on their way out.
        if !std::thread::panicking() {
            until(|| family().is_empty());
        }
    }
}

/// The living processes of this test, without this one.
fn family() -> BTreeSet<i32> {
    let us = std::process::id() as i32;
    // SAFETY: no arguments.
    let mut living = living_in(unsafe { libc::getpgrp() });
    living.remove(&us);
    living
}

/// Takes events, and runs nothing, until every other process of this test is traced.
fn rest(tracer: &mut Tracer) -> Vec<Event> {
    let mut events = Vec::new();
    until(|| {
        while let Some(event) = poll(tracer) {
            events.push(event);
        }
        let traced: BTreeSet<i32> = tracer.processes().map(Pid::as_raw).collect();
        let free: Vec<i32> = family().difference(&traced).copied().collect();
        free.is_empty()
    });
    events
}

fn f1_a_process_is_let_go_at_its_exec() {
    let mut tracer = Tracer::builder().follow_exec(FollowExec::Detach).build().unwrap();
    let pid = tracer.spawn(sh("/bin/echo one >/dev/null; exec sh -c 'exit 7'")).unwrap().pid;
    let log = run(&mut tracer);
    let map = log.by_process();
    assert_eq!(map["P1"].first(), Some(&"exec"));
    assert_eq!(map["P1"].last(), Some(&"detached"));
    assert_eq!(map["P2"], ["detached"]);
    assert_eq!(log.count("exit"), 0);
    let mut child = tracer.take_child(pid).expect("an ordinary child again");
    assert_eq!(child.wait().unwrap().code(), Some(7));
}

fn f1_an_exec_by_another_thread_lets_go_of_them_all() {
    let flags = EventFlags::PROCESS | EventFlags::THREAD;
    let mut tracer =
        Tracer::builder().events(flags).follow_exec(FollowExec::Detach).build().unwrap();
    let pid = tracer.spawn(fixture("exec-from-thread", &["3", "awaited"])).unwrap().pid;
    let log = run(&mut tracer);
    assert_eq!(log.count("thread T"), log.count("thread exit"));
    assert_eq!(log.lines.last().unwrap().1, "detached");
    let mut child = tracer.take_child(pid).expect("an ordinary child again");
    assert_eq!(child.wait().unwrap().code(), Some(11));
}

fn f1_whether_to_stay_can_change_at_each_stop() {
    let mut tracer = tracer(EventFlags::PROCESS);
    let pid = tracer.spawn(sh("exec sh -c 'exec sh -c \"exec sh -c :\"'")).unwrap().pid;
    let mut execs = 0;
    let log = run_with(&mut tracer, |tracer, event| {
        execs += 1;
        if execs == 3 {
            tracer.set_follow_exec(FollowExec::Detach);
        }
        Some(event)
    });
    assert_eq!(log.by_process()["P1"], ["exec", "exec", "exec", "detached"]);
    assert!(tracer.take_child(pid).expect("the child").wait().unwrap().success());
}

fn f1_program_by_program_the_caller_decides() {
    let mut tracer = tracer(EventFlags::PROCESS);
    let script = "sh -c 'exit 1'; /bin/echo a >/dev/null; sh -c 'exit 2'; exit 3";
    let pid = tracer.spawn(sh(script)).unwrap().pid;
    let mut let_go = 0;
    let log = run_with(&mut tracer, |tracer, event| {
        if let Event::Stopped(stop) = &event {
            if matches!(stop.reason(), StopReason::Execed { .. }) && stop.pid() != pid {
                let program = tracer.process_info(stop.pid()).unwrap().arguments.unwrap();
                if program[0].to_string_lossy().ends_with("sh") {
                    let_go += 1;
                    tracer.detach(event).unwrap();
                    return None;
                }
            }
        }
        Some(event)
    });
    assert_eq!(let_go, 2);
    assert_eq!((log.count("exit 0 of P1"), log.count("exit 3 of us")), (1, 1));
    assert_eq!(log.count("exit"), 2);
}

fn f4_a_tree_is_attached_to_as_a_whole() {
    let mut root = Family::start("tree", &["3"]);
    let mut tracer = tracer(EventFlags::PROCESS);
    let attached: BTreeSet<i32> =
        tracer.attach_tree(root.pid()).unwrap().into_iter().map(Pid::as_raw).collect();
    assert_eq!(attached, family());
    assert_eq!(attached.len(), 15);
    for _ in 0..15 {
        let stop = next_stop(&mut tracer);
        assert_eq!(stop.reason(), StopReason::Started);
        tracer.resume(stop, Resume::Continue).unwrap();
    }
    assert_eq!(tracer.attach_tree(root.pid()).unwrap(), [], "there is nobody new");
    assert_eq!(tracer.process_info(root.pid()).unwrap().children.len(), 2);
    drop(tracer);
    assert_eq!(family(), attached, "they live on");
    assert!(root.0.try_wait().unwrap().is_none());
}

fn f4_a_tree_that_grows_and_dies_meanwhile() {
    for round in 0..8 {
        let root = Family::start("storm", &["4"]);
        std::thread::sleep(Duration::from_millis(3 * round));
        let mut tracer = tracer(EventFlags::PROCESS);
        let attached = tracer.attach_tree(root.pid()).unwrap();
        assert!(attached.contains(&root.pid()) && attached.len() >= 5, "{attached:?}");
        let events = rest(&mut tracer);
        // Each new one is told once: as the start of one that was attached to, or as a child.
        let mut new = BTreeSet::new();
        for event in events {
            let pid = match &event {
                Event::Stopped(stop) if stop.reason() == StopReason::Started => Some(stop.pid()),
                Event::Forked(fork) => Some(fork.child_pid),
                _ => None,
            };
            assert!(pid.is_none_or(|pid| new.insert(pid)), "{event:?} twice");
            tracer.resume(event, Resume::Continue).unwrap();
        }
        for _ in 0..200 {
            let event = tracer.wait().unwrap().unwrap();
            tracer.resume(event, Resume::Continue).unwrap();
        }
        root.kill();
        run(&mut tracer);
    }
}

fn f4_a_tree_with_a_member_that_cannot_be_traced_is_left_alone() {
    let root = Family::start("tree", &["2"]);
    let child = family().into_iter().max().unwrap();
    let mut other = fixture("tracer", &[&child.to_string()]);
    let mut other = other.stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(other.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let mut tracer = tracer(EventFlags::PROCESS);
    match tracer.attach_tree(root.pid()) {
        Err(trapline::Error::NotPermitted { pid, .. }) => assert_eq!(pid.as_raw(), child),
        result => panic!("{result:?}"),
    }
    assert!(tracer.is_empty(), "all or nothing");
    other.kill().unwrap();
    other.wait().unwrap();
    let spawned: i32 = line.trim().parse().unwrap();
    // SAFETY: a null status is allowed; the orphan was given to this process, its reaper.
    assert_eq!(unsafe { libc::waitpid(spawned, std::ptr::null_mut(), 0) }, spawned);
}
