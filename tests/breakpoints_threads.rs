//! M1 and F3: breakpoints in memory, and many threads.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use trapline::{
    Arch, Cpu, Event, EventFlags, ExitStatus, ForkSide, Pid, Resume, StopReason, Stopped, Tracer,
};

use crate::common::*;
use crate::fixtures::fixture;

crate::tests![
    m1_sixteen_threads_each_have_their_own_stops,
    m1_two_threads_at_one_breakpoint_are_two_stops,
    m1_inserted_and_removed_while_threads_run,
    f3_let_go_with_hits_in_flight,
    m1_on_a_blocking_system_call_that_needs_the_other_thread,
    m1_hits_of_a_halted_process,
    m1_threads_that_are_born_during_an_attach_live,
];

/// A process whose threads execute the probe until its input is closed.
fn spinning(threads: &str) -> (Tracer, Pid, u64, std::process::ChildStdin) {
    let mut tracer = tracer(EventFlags::PROCESS);
    let mut command = fixture("probe-spin", &[threads]);
    command.stdin(Stdio::piped());
    let spawned = tracer.spawn(command).unwrap();
    let stop = next_stop(&mut tracer);
    let (stop, addr) = announced(&mut tracer, stop);
    tracer.resume(stop, Resume::Continue).unwrap();
    (tracer, spawned.pid, addr, spawned.stdin.expect("piped"))
}

/// Takes this many hits.
fn take_hits(tracer: &mut Tracer, hits: usize) {
    for _ in 0..hits {
        let stop = next_stop(tracer);
        assert!(matches!(stop.reason(), StopReason::Trap(c) if c.software.is_some()), "{stop:?}");
        tracer.resume(stop, Resume::Continue).unwrap();
    }
}

fn m1_sixteen_threads_each_have_their_own_stops() {
    let (mut tracer, stop, addr, id) = probed(fixture("probe-threads", &["16", "25"]));
    tracer.resume(stop, Resume::Continue).unwrap();
    let mut hits = HashMap::new();
    loop {
        match tracer.wait().unwrap() {
            Some(Event::Stopped(stop)) => {
                assert!(is_hit(&mut tracer, &stop, id, addr), "{stop:?}");
                *hits.entry(stop.tid()).or_insert(0) += 1;
                tracer.resume(stop, Resume::Continue).unwrap();
            }
            Some(Event::Exited { status, .. }) => {
                assert_eq!(status, ExitStatus::Code(0), "each instruction was executed once");
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(hits.values().sum::<i32>(), 16 * 25);
    assert_eq!(hits.len(), 16);
    assert!(hits.values().all(|&hits| hits == 25), "{hits:?}");
}

fn m1_two_threads_at_one_breakpoint_are_two_stops() {
    let (mut tracer, stop, addr, id) = probed(fixture("probe-threads", &["2", "1"]));
    tracer.resume(stop, Resume::Continue).unwrap();
    let mut stops: Vec<Stopped> = Vec::new();
    for _ in 0..2 {
        let stop = next_stop(&mut tracer);
        assert!(is_hit(&mut tracer, &stop, id, addr), "{stop:?}");
        if cfg!(target_os = "freebsd") && stops.is_empty() {
            // The other one is reported when the process runs again.
            stops.push(stop);
            let stop = stops.remove(0);
            tracer.resume(stop, Resume::Continue).unwrap();
            continue;
        }
        stops.push(stop);
    }
    if let [one, other] = &stops[..] {
        assert_ne!(one.tid(), other.tid());
    }
    for stop in stops {
        tracer.resume(stop, Resume::Continue).unwrap();
    }
    assert_eq!(next_exit(&mut tracer).1, ExitStatus::Code(0));
}

fn m1_inserted_and_removed_while_threads_run() {
    let (mut tracer, pid, addr, stdin) = spinning("4");
    for round in 0..60 {
        let id = insert(&mut tracer, pid, addr);
        take_hits(&mut tracer, round % 4);
        assert!(tracer.remove_breakpoint(pid, id).unwrap());
        // What was on its way is still told if it was taken in before.
        while let Some(event) = poll(&mut tracer) {
            tracer.resume(event, Resume::Continue).unwrap();
        }
    }
    drop(stdin);
    loop {
        match tracer.wait().unwrap() {
            Some(Event::Exited { status, .. }) => {
                assert_eq!(status, ExitStatus::Code(0));
                break;
            }
            Some(event) => tracer.resume(event, Resume::Continue).unwrap(),
            None => panic!("no end"),
        }
    }
}

fn f3_let_go_with_hits_in_flight() {
    for round in 0..15 {
        let (mut tracer, pid, addr, stdin) = spinning("8");
        insert(&mut tracer, pid, addr);
        take_hits(&mut tracer, 1 + round);
        if round % 2 == 0 {
            let stop = next_stop(&mut tracer);
            tracer.detach(stop).unwrap();
        } else {
            tracer.detach_process(pid).unwrap();
        }
        assert!(tracer.wait().unwrap().is_none());
        let mut child = tracer.take_child(pid).expect("spawned");
        drop(stdin);
        let status = child.wait().unwrap();
        assert!(status.success(), "round {round}: {status}");
    }
}

fn m1_on_a_blocking_system_call_that_needs_the_other_thread() {
    let mut tracer = tracer(EventFlags::PROCESS);
    let (stop, reading) = probe_of(&mut tracer, fixture("probe-reader", &["20"]));
    let (stop, probe) = announced(&mut tracer, stop);
    let read = insert(&mut tracer, stop.pid(), reading);
    let probed = insert(&mut tracer, stop.pid(), probe);
    tracer.resume(stop, Resume::Continue).unwrap();
    let (mut reads, mut probes) = (0, 0);
    loop {
        match tracer.wait().unwrap() {
            Some(Event::Stopped(stop)) => {
                let StopReason::Trap(causes) = stop.reason() else { panic!("{stop:?}") };
                match causes.software {
                    Some(id) if id == read => reads += 1,
                    Some(id) if id == probed => probes += 1,
                    _ => panic!("{stop:?}"),
                }
                tracer.resume(stop, Resume::Continue).unwrap();
            }
            Some(Event::Exited { status, .. }) => {
                assert_eq!(status, ExitStatus::Code(0));
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((reads, probes), (20, 40));
}

fn m1_hits_of_a_halted_process() {
    let (mut tracer, pid, addr, stdin) = spinning("4");
    let id = insert(&mut tracer, pid, addr);
    for _ in 0..20 {
        let stop = next_stop(&mut tracer);
        let halted = tracer.halt(stop).unwrap();
        for stop in &halted.threads {
            let mut text = [0; Cpu::BREAKPOINT.len()];
            tracer.read_memory(stop, addr, &mut text).unwrap();
            assert_ne!(text, Cpu::BREAKPOINT);
        }
        tracer.resume_halted(halted, |_| trapline::Next::Continue).unwrap();
    }
    tracer.remove_breakpoint(pid, id).unwrap();
    drop(stdin);
    loop {
        match tracer.wait().unwrap() {
            Some(Event::Exited { status, .. }) => {
                assert_eq!(status, ExitStatus::Code(0));
                break;
            }
            Some(Event::Forked(fork)) => assert!(matches!(fork.child, ForkSide::Gone)),
            Some(event) => tracer.resume(event, Resume::Continue).unwrap(),
            None => panic!("no end"),
        }
    }
}

fn m1_threads_that_are_born_during_an_attach_live() {
    for idle in ["1", "64"] {
        let mut child =
            fixture("probe-births", &[idle]).stdout(Stdio::piped()).spawn().expect("the fixture");
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let addr = line.trim().parse().expect("an address");
        let pid = Pid::from_raw(child.id() as i32);
        for round in 0..20 {
            let mut tracer = tracer(EventFlags::PROCESS);
            tracer.attach(pid).unwrap();
            let stop = next_stop(&mut tracer);
            assert_eq!(stop.reason(), StopReason::Started);
            let id = insert(&mut tracer, pid, addr);
            tracer.resume(stop, Resume::Continue).unwrap();
            for _ in 0..3 {
                let stop = next_stop(&mut tracer);
                assert!(is_hit(&mut tracer, &stop, id, addr), "{stop:?}");
                tracer.resume(stop, Resume::Continue).unwrap();
            }
            tracer.detach_process(pid).unwrap();
            while tracer.wait().unwrap().is_some() {}
            assert!(child.try_wait().unwrap().is_none(), "round {round}");
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
