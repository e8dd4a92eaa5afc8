//! Many threads at once: E2, E4, E8, and F3 in the middle of it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use trapline::{Event, EventFlags, ForkSide, Pid, Resume, Signal, StopReason, Tid};

use crate::attach::ready;
use crate::common::*;
use crate::fixtures::fixture;

crate::tests![
    e2_forks_of_several_threads_are_paired_right,
    e4_threads_born_and_ended_around_an_attach,
    f3_let_go_in_the_middle_of_events,
    f3_let_go_in_the_middle_of_forks,
    e8_signals_that_are_taken_back_while_others_stop,
    e8_signals_of_several_threads_at_once,
];

/// What was born and what has ended since an attach, told to the thread.
struct Living(BTreeSet<Tid>);

impl Living {
    fn hear(&mut self, event: &Event) {
        match event {
            Event::Stopped(stop) if stop.reason() == StopReason::ThreadStarted => {
                assert!(self.0.insert(stop.tid()), "{} is born twice", stop.tid());
            }
            Event::ThreadExited { tid, .. } => {
                assert!(self.0.remove(tid), "{tid} ended and was never there");
            }
            Event::Stopped(stop) => {
                assert!(self.0.contains(&stop.tid()), "{stop:?} by a stranger");
            }
            other => panic!("{other:?}"),
        }
    }
}

// Each child has the stack pointer that the very thread had that made it.
fn e2_forks_of_several_threads_are_paired_right() {
    let mut tracer = tracer(EventFlags::PROCESS);
    tracer.spawn(fixture("forks-at-once", &["8", "10"])).unwrap();
    let mut makers: BTreeMap<Tid, usize> = BTreeMap::new();
    let log = run_with(&mut tracer, |tracer, event| {
        if let Event::Forked(fork) = &event {
            let (ForkSide::Stopped(parent), ForkSide::Stopped(child)) = (&fork.parent, &fork.child)
            else {
                panic!("{fork:?}");
            };
            assert_eq!(fork.parent_tid, Some(parent.tid()));
            let stacks = [parent, child].map(|half| tracer.registers(half).unwrap().sp());
            assert_eq!(stacks[0], stacks[1]);
            *makers.entry(parent.tid()).or_default() += 1;
        }
        Some(event)
    });
    assert_eq!(makers.into_values().collect::<Vec<_>>(), [10; 8]);
    assert_eq!(log.count("exit 0"), 81);
}

// Whatever an attach meets: each thread is there from the start or is born, and ends once.
fn e4_threads_born_and_ended_around_an_attach() {
    let (mut child, pid) = ready("thread-churn", &["4"]);
    for round in 0..20 {
        let mut tracer = tracer(EventFlags::PROCESS | EventFlags::THREAD);
        tracer.attach(pid).unwrap();
        let stop = next_stop(&mut tracer);
        assert_eq!(stop.reason(), StopReason::Started);
        let mut living = Living(tracer.process_info(pid).unwrap().threads.into_iter().collect());
        assert!(living.0.contains(&stop.tid()), "round {round}");
        tracer.resume(stop, Resume::Continue).unwrap();
        for _ in 0..40 {
            let event = tracer.wait().unwrap().unwrap();
            living.hear(&event);
            tracer.resume(event, Resume::Continue).unwrap();
        }
        tracer.detach_process(pid).unwrap();
        // One that the kernel held is detached now; there are no events of it.
        assert!(tracer.wait().unwrap().is_none());
    }
    assert!(child.try_wait().unwrap().is_none());
    child.kill().unwrap();
    child.wait().unwrap();
}

// With events of all kinds unreported in several threads.
fn f3_let_go_in_the_middle_of_events() {
    let (mut child, pid) = ready("thread-churn", &["4"]);
    let threads = EventFlags::THREAD | EventFlags::EXIT;
    for round in 0..40 {
        let flags = match round % 3 {
            0 => threads,
            1 => EventFlags::SYSCALL,
            _ => threads | EventFlags::SYSCALL,
        };
        let mut tracer = tracer(flags);
        tracer.attach(pid).unwrap();
        for _ in 0..round {
            let event = tracer.wait().unwrap().unwrap();
            tracer.resume(event, Resume::Continue).unwrap();
        }
        if round % 2 == 0 {
            tracer.detach_process(pid).unwrap();
        } else {
            let event = tracer.wait().unwrap().unwrap();
            tracer.detach(event).unwrap();
            tracer.detach_process(pid).unwrap(); // if that event had no token
        }
        // One that the kernel held is detached now; there are no events of it.
        assert!(tracer.wait().unwrap().is_none(), "round {round}");
        drop(tracer);
        assert!(stays(|| child.try_wait().unwrap().is_none()), "round {round}");
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

// With forks of other threads unreported, whose children then are free as well.
fn f3_let_go_in_the_middle_of_forks() {
    let (mut child, pid) = ready("fork-churn", &[]);
    for round in 0..14 {
        let flags = if round % 2 == 0 { EventFlags::PROCESS } else { EventFlags::empty() };
        let mut tracer = tracer(flags);
        tracer.attach(pid).unwrap();
        for _ in 0..round % 7 {
            let event = tracer.wait().unwrap().unwrap();
            tracer.resume(event, Resume::Continue).unwrap();
        }
        for pid in tracer.processes().collect::<Vec<_>>() {
            tracer.detach_process(pid).unwrap();
        }
        run(&mut tracer); // one that the kernel held is detached now
        drop(tracer);
        // Each thread that forks has got its child back, and goes on.
        let mut dots = [0; 16];
        child.stdout.as_mut().unwrap().read_exact(&mut dots).unwrap();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    // Children that it has just made end by themselves; nobody is left stopped.
    // SAFETY: no arguments.
    until(|| living_in(unsafe { libc::getpgrp() }).len() == 1);
}

// One that a thread meets on its way to a sleep is not to keep it from stopping with others.
fn e8_signals_that_are_taken_back_while_others_stop() {
    let mut tracer = tracer(EventFlags::PROCESS | EventFlags::THREAD);
    tracer.spawn(fixture("drowsy", &["300"])).unwrap();
    let mut signals = 0;
    let log = run_with(&mut tracer, |_, mut event| {
        if let Event::Stopped(stop) = &mut event {
            if stop.reason() == StopReason::Signal(Signal::USR1) {
                stop.set_signal(None).unwrap();
                signals += 1;
            }
        }
        Some(event)
    });
    assert!(signals > 0);
    assert_eq!(log.lines.last().unwrap().1, "exit 0 of us");
}

// Each is reported once, by the thread that it was sent to, which gets it.
fn e8_signals_of_several_threads_at_once() {
    let mut tracer = tracer(EventFlags::PROCESS);
    tracer.spawn(fixture("raise-at-once", &["8", "10"])).unwrap();
    let mut stops: BTreeMap<Tid, usize> = BTreeMap::new();
    let log = run_with(&mut tracer, |tracer, event| {
        if let Event::Stopped(stop) = &event {
            if stop.reason() == StopReason::Signal(Signal::USR1) {
                *stops.entry(stop.tid()).or_default() += 1;
                let sender = tracer.signal_info(stop).unwrap().sender;
                assert_eq!(sender, Some(Pid::from_raw(stop.pid().as_raw())));
            }
        }
        Some(event)
    });
    assert_eq!(stops.into_values().collect::<Vec<_>>(), [10; 8]);
    assert_eq!(log.lines.last().unwrap().1, "exit 0 of us");
}
