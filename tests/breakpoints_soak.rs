//! M1: a thousand breakpoints under everything at once.
//!
//! `TRAPLINE_SOAK=300` lasts so many seconds, and a fifth of that after the detach.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::Stdio;
use std::time::{Duration, Instant};

use trapline::{Event, EventFlags, Resume, Signal, SoftwareBreakpoint, SpawnOptions, StopReason};

use crate::common::*;
use crate::fixtures::{cpu, fixture};

crate::tests![m1_as_many_hits_as_the_program_counts_itself];

/// How many hits are enough, if no time is asked for.
const HITS: u64 = 3_000;
/// How many threads, half of which come and go.
const THREADS: &str = "64";

/// How long.
fn seconds() -> Option<u64> {
    std::env::var("TRAPLINE_SOAK").ok()?.parse().ok()
}

/// Of threads that come and go, of children of `fork` and `vfork`, with a signal every millisecond, each
/// arrival is one hit; and once it is detached the program runs on.
fn m1_as_many_hits_as_the_program_counts_itself() {
    if cfg!(target_os = "freebsd") && seconds().is_none() {
        skip("each of its signals stops all threads, and an emulated machine gets to nothing else");
    }
    let mut tracer = tracer(EventFlags::PROCESS);
    let mut command = fixture("probe-soak", &[THREADS]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let options = SpawnOptions::new(command).on_exit(trapline::OnExit::Kill);
    let mut spawned = tracer.spawn(options).unwrap();
    let (mut input, output) = (spawned.stdin.take().unwrap(), spawned.stdout.take().unwrap());
    let stop = next_stop(&mut tracer);
    let (stop, field) = announced(&mut tracer, stop);
    let places = (0..cpu::FIELD_PLACES).map(|at| field + at * cpu::FIELD_STRIDE);
    let inserted = tracer.insert_breakpoints(spawned.pid, places.map(SoftwareBreakpoint::at));
    assert!(inserted.unwrap().iter().all(Result::is_ok));
    tracer.resume(stop, Resume::Continue).unwrap();

    let (mut hits, mut forks, mut signals, start) = (0, 0, 0, Instant::now());
    let mut asked = false;
    let (stop, executed) = loop {
        let is_enough = match seconds() {
            Some(seconds) => start.elapsed() >= Duration::from_secs(seconds),
            None => hits >= HITS && forks >= 2 && signals > 0,
        };
        if is_enough && !asked {
            input.write_all(b"\n").unwrap();
            asked = true;
        }
        let event = tracer.wait().unwrap().expect("it runs");
        match &event {
            Event::Stopped(stop) => match stop.reason() {
                StopReason::Trap(causes) => hits += u64::from(causes.software.is_some()),
                StopReason::Signal(Signal::ALRM) => signals += 1,
                // Now it is quiet, and says how often its places were executed.
                StopReason::Signal(Signal::TRAP) => {
                    let executed = tracer.registers(stop).unwrap().argument(0).unwrap();
                    let Event::Stopped(mut stop) = event else { unreachable!() };
                    stop.set_signal(None).unwrap();
                    pass_own_breakpoint(&mut tracer, &stop);
                    break (stop, executed);
                }
                StopReason::Signal(Signal::CHLD) => {}
                other => panic!("{other:?}"),
            },
            Event::Forked(_) => forks += 1,
            Event::Exited { pid, status, .. } => {
                assert_eq!(
                    (*pid != spawned.pid, *status),
                    (true, trapline::ExitStatus::Code(0)),
                    "{pid}"
                );
            }
            other => panic!("{other:?}"),
        }
        tracer.resume(event, Resume::Continue).unwrap();
    };
    let taken = start.elapsed();
    assert_eq!(hits, executed, "of {forks} forks and {signals} signals in {taken:?}");
    println!("{hits} hits, {forks} forks, {signals} signals in {taken:?}");

    tracer.detach(stop).unwrap();
    let mut output = BufReader::new(output);
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    assert_eq!(line, "it runs on\n");
    if let Some(seconds) = seconds() {
        std::thread::sleep(Duration::from_secs(seconds / 5));
    }
    drop(input);
    output.read_to_string(&mut line).unwrap();
    let mut child = tracer.take_child(spawned.pid).expect("detached");
    assert!(child.wait().unwrap().success());
}
