//! E5 at every kind of stop: a program that does one of everything is run again and again, and
//! killed at a later stop each time.

use std::collections::BTreeSet;
use std::time::Duration;

use trapline::{Error, Event, EventFlags, ExitStatus, Resume, StopReason, Stopped, Tracer};

use crate::common::*;
use crate::fixtures::fixture;

crate::tests![e5_killed_at_every_kind_of_stop, e5_killed_at_every_system_call,];

/// What becomes of the event at whose stop the process was killed.
#[derive(Debug, Clone, Copy)]
enum Then {
    Resume,
    Step,
    Drop,
    Detach,
    Kill,
    Halt,
}

const THEN: [Then; 6] =
    [Then::Resume, Then::Drop, Then::Kill, Then::Detach, Then::Step, Then::Halt];

/// Questions are answered, or the process is gone.
fn ask(tracer: &mut Tracer, stop: &Stopped) {
    let answers = [
        tracer.registers(stop).map(drop),
        tracer.read_memory(stop, 0x1000, &mut [0; 8]).map(drop),
        tracer.process_info(stop.pid()).map(drop),
    ];
    for answer in answers {
        match answer {
            Ok(()) | Err(Error::Gone { .. } | Error::BadAddress { .. }) => {}
            Err(error) => panic!("{stop:?}: {error}"),
        }
    }
}

fn stops(event: &Event) -> Vec<&Stopped> {
    match event {
        Event::Stopped(stop) => vec![stop],
        Event::Forked(fork) => {
            fork.parent.stopped().into_iter().chain(fork.child.stopped()).collect()
        }
        _ => Vec::new(),
    }
}

/// Runs the program up to its stop of this number, kills what has stopped there, and goes on to
/// the end of all. Says what kind of stop it was; `None` if there were not so many.
fn kill_at(number: usize, then: Then, flags: EventFlags, program: &str) -> Option<String> {
    let mut tracer = tracer(flags);
    tracer.spawn(fixture(program, &["1"])).unwrap();
    let mut seen = 0;
    let mut living = BTreeSet::new();
    let mut killed = BTreeSet::new();
    let mut kind = None;
    let mut detached = false;
    let mut on_its_way_out = false;
    while let Some(event) = tracer.wait().unwrap() {
        for stop in stops(&event) {
            if !killed.contains(&stop.pid()) {
                living.insert(stop.pid());
            }
        }
        if let Event::Exited { pid, status, .. } = &event {
            if killed.remove(pid) {
                // A signal that it was stopped for may be quicker.
                let by_us = on_its_way_out || matches!(status, ExitStatus::Killed { .. });
                assert!(by_us, "{kind:?}, {then:?}: {status}");
            } else {
                assert!(living.remove(pid), "{kind:?}, {then:?}: {pid} ended and was not there");
            }
        }
        let here = stops(&event);
        if here.is_empty() || kind.is_some() {
            tracer.resume(event, Resume::Continue).unwrap();
            continue;
        }
        seen += 1;
        if seen <= number {
            tracer.resume(event, Resume::Continue).unwrap();
            continue;
        }
        // The call may be the one that ends it.
        let last = [StopReason::ThreadExiting, StopReason::SyscallEntry];
        on_its_way_out = here.iter().any(|stop| last.contains(&stop.reason()));
        kind = Some(here.iter().map(|stop| format!("{:?} ", stop.reason())).collect::<String>());
        for stop in here {
            living.remove(&stop.pid());
            killed.insert(stop.pid());
            kill(stop.pid(), libc::SIGKILL);
        }
        if number % 2 == 0 {
            std::thread::sleep(Duration::from_millis(10));
        }
        stops(&event).into_iter().for_each(|stop| ask(&mut tracer, stop));
        match then {
            Then::Resume => tracer.resume(event, Resume::Continue).unwrap(),
            Then::Step => tracer.resume(event, Resume::Step).unwrap(),
            Then::Drop => drop(event),
            Then::Detach => {
                tracer.detach(event).unwrap();
                detached = true;
            }
            Then::Kill => {
                killed.iter().for_each(|&pid| tracer.kill(pid).unwrap());
                tracer.resume(event, Resume::Continue).unwrap();
            }
            Then::Halt => {
                for stop in event.into_stops() {
                    match tracer.halt(stop) {
                        Ok(halted) => {
                            tracer.resume_halted(halted, |_| trapline::Next::Continue).unwrap();
                        }
                        Err(Error::Gone { .. }) => {}
                        Err(error) => panic!("{kind:?}: {error}"),
                    }
                }
            }
        }
    }
    assert!(tracer.is_empty(), "{kind:?}");
    assert!(living.is_empty(), "{kind:?}, {then:?}: {living:?} never ended");
    if detached {
        // Let go on its way out: an ordinary child, of this process or given to it.
        for pid in killed {
            let child = tracer.take_child(pid);
            let mut status = 0;
            // SAFETY: `status` lives; nobody else waits for this process.
            unsafe { libc::waitpid(pid.as_raw(), &mut status, 0) };
            drop(child);
        }
    } else {
        assert!(killed.is_empty(), "{kind:?}, {then:?}: {killed:?} never ended");
    }
    kind
}

/// An emulated machine needs its time.
const SLOW: bool = cfg!(target_os = "freebsd");

/// Kills at each stop there is, or each so many, with one way to go on after the other.
fn kill_everywhere(flags: EventFlags, program: &str, each: usize) {
    let mut kinds = BTreeSet::new();
    for first in 0..2 {
        for number in (first % each..).step_by(each) {
            let then = THEN[(number + 3 * first) % THEN.len()];
            match kill_at(number, then, flags, program) {
                Some(kind) => kinds.insert(kind),
                None => break,
            };
        }
    }
    println!("{kinds:#?}");
    assert!(kinds.len() > 1);
}

fn e5_killed_at_every_kind_of_stop() {
    let flags = EventFlags::all() - EventFlags::SYSCALL - EventFlags::REPARENT;
    kill_everywhere(flags, "golden", if SLOW { 2 } else { 1 });
}

fn e5_killed_at_every_system_call() {
    kill_everywhere(EventFlags::SYSCALL, "exit", if SLOW { 7 } else { 1 });
}
