//! E7: event flags belong to the process, work under plain continue, and can change at any stop.

use std::collections::BTreeSet;

use trapline::{Error, Event, EventFlags, Next, Pid, Resume, StopReason, Stopped};

use crate::common::*;
use crate::fixtures::fixture;

crate::tests![
    e7_a_call_is_known_at_its_exit_as_at_its_entry,
    e7_flags_change_at_a_stop_and_hold_at_once,
    e7_children_inherit_the_flags,
    e7_system_calls_are_a_flag_that_comes_and_goes,
    e7_a_process_that_is_not_traced_has_none,
    e7_flags_of_a_running_process_hold_from_its_next_resume,
    e7_a_halt_makes_flags_hold_for_threads_that_run,
    e7_flags_that_change_all_the_time_lose_nothing,
    e7_a_signal_in_a_system_call_is_neither_its_entry_nor_its_exit,
];

fn e7_a_call_is_known_at_its_exit_as_at_its_entry() {
    let mut tracer = tracer(EventFlags::SYSCALL);
    tracer.spawn(sh("trap : USR1; kill -USR1 $$; kill -USR1 $$; exec true")).unwrap();
    let (mut entries, mut exits) = (std::collections::BTreeMap::new(), 0);
    run_with(&mut tracer, |tracer, event| {
        if let Event::Stopped(stop) = &event {
            match stop.reason() {
                StopReason::SyscallEntry => {
                    let call = tracer.syscall(stop).unwrap();
                    entries.insert(stop.tid(), (call.number, call.args));
                }
                StopReason::SyscallExit => {
                    let call = tracer.syscall(stop).unwrap();
                    assert!(call.result.is_some());
                    // The first exit is that of the exec that has started the program.
                    if let Some(entry) = entries.remove(&stop.tid()) {
                        assert_eq!((call.number, call.args), entry);
                        exits += 1;
                    }
                }
                _ => {}
            }
        }
        Some(event)
    });
    assert!(exits > 10, "{exits}");
}

fn e7_flags_change_at_a_stop_and_hold_at_once() {
    let mut tracer = tracer(EventFlags::PROCESS);
    let pid = tracer.spawn(fixture("fork", &["6"])).unwrap().pid;
    let mut forks = 0;
    let mut exits = 0;
    run_with(&mut tracer, |tracer, event| {
        match &event {
            Event::Forked(_) => {
                forks += 1;
                if forks == 3 {
                    let flags = tracer.events(pid).unwrap();
                    tracer.set_events(pid, flags - EventFlags::FORK).unwrap();
                }
            }
            Event::Exited { .. } => exits += 1,
            _ => {}
        }
        Some(event)
    });
    // Its children are still followed; nobody hears of their making.
    assert_eq!((forks, exits), (3, 7));
}

fn e7_children_inherit_the_flags() {
    let mut tracer = tracer(EventFlags::PROCESS);
    let stop = spawned(&mut tracer, sh("(sh -c ':'; :); :"));
    tracer.set_events(stop.pid(), EventFlags::FORK | EventFlags::VFORK).unwrap();
    tracer.resume(stop, Resume::Continue).unwrap();
    let log = run_with(&mut tracer, |tracer, event| {
        if let Event::Forked(fork) = &event {
            assert_eq!(
                tracer.events(fork.child_pid).unwrap(),
                EventFlags::FORK | EventFlags::VFORK
            );
        }
        Some(event)
    });
    assert_eq!(log.count("exec"), 0);
    assert_eq!(log.count("fork") + log.count("vfork"), 2);
}

fn e7_system_calls_are_a_flag_that_comes_and_goes() {
    let mut tracer = tracer(EventFlags::empty());
    let stop = spawned(&mut tracer, fixture("fork", &["3"]));
    let pid = stop.pid();
    tracer.set_events(pid, EventFlags::SYSCALL | EventFlags::FORK).unwrap();
    tracer.resume(stop, Resume::Continue).unwrap();
    let mut inside = std::collections::HashMap::new();
    // The first stop is at the exit of the exec.
    inside.insert(pid, true);
    let (mut pairs, mut forks, mut after) = (0, 0, 0);
    run_with(&mut tracer, |tracer, event| {
        match &event {
            Event::Stopped(stop) => match stop.reason() {
                StopReason::SyscallEntry => {
                    assert_eq!(inside.insert(stop.pid(), true), Some(false));
                    let call = tracer.syscall(stop).unwrap();
                    assert_eq!(call.result, None);
                    if forks == 3 {
                        after += 1;
                    }
                }
                StopReason::SyscallExit => {
                    assert_eq!(inside.insert(stop.pid(), false), Some(true));
                    assert!(tracer.syscall(stop).unwrap().result.is_some());
                    pairs += 1;
                }
                _ => {}
            },
            Event::Forked(fork) => {
                forks += 1;
                inside.insert(fork.child_pid, false);
                if forks == 3 {
                    // In the middle of a call: its exit does not come any more.
                    tracer.set_events(pid, EventFlags::FORK).unwrap();
                    inside.insert(pid, false);
                }
            }
            _ => {}
        }
        Some(event)
    });
    assert_eq!(forks, 3);
    assert!(pairs > 20, "{pairs}");
    // Only the third child still reports them: it had inherited the flag.
    assert!(after < 20, "{after}");
}

fn e7_a_process_that_is_not_traced_has_none() {
    let mut tracer = tracer(EventFlags::PROCESS);
    let nobody = Pid::from_raw(1);
    assert!(matches!(tracer.events(nobody), Err(Error::Gone { .. })));
    assert!(matches!(tracer.set_events(nobody, EventFlags::FORK), Err(Error::Gone { .. })));
}

fn e7_flags_of_a_running_process_hold_from_its_next_resume() {
    let (mut child, pid) = crate::attach::ready("forward", &["0"]);
    let mut tracer = tracer(EventFlags::PROCESS);
    tracer.attach(pid).unwrap();
    let stop = next_stop(&mut tracer);
    tracer.resume(stop, Resume::Continue).unwrap();
    tracer.set_events(pid, EventFlags::SYSCALL).unwrap();
    assert_eq!(tracer.events(pid).unwrap(), EventFlags::SYSCALL);
    assert!(hears_nothing(&mut tracer), "it sleeps, and says nothing");
    tracer.interrupt(pid).unwrap();
    let stop = next_stop(&mut tracer);
    assert_eq!(stop.reason(), StopReason::Interrupted);
    tracer.resume(stop, Resume::Continue).unwrap();
    for _ in 0..20 {
        let stop = next_stop(&mut tracer);
        let call = [StopReason::SyscallEntry, StopReason::SyscallExit];
        assert!(call.contains(&stop.reason()), "{stop:?}");
        tracer.resume(stop, Resume::Continue).unwrap();
    }
    // Not to be told is at once.
    tracer.set_events(pid, EventFlags::PROCESS).unwrap();
    assert!(hears_nothing(&mut tracer));
    tracer.detach_process(pid).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
}

// Only a stopped thread can be told: one stop of them all tells them all.
fn e7_a_halt_makes_flags_hold_for_threads_that_run() {
    let (mut child, pid) = crate::attach::ready("spin", &["4"]);
    let mut tracer = tracer(EventFlags::PROCESS);
    tracer.attach(pid).unwrap();
    let stop = next_stop(&mut tracer);
    tracer.resume(stop, Resume::Continue).unwrap();
    tracer.set_events(pid, EventFlags::SYSCALL).unwrap();
    tracer.interrupt(pid).unwrap();
    let mut stop = next_stop(&mut tracer);
    let halted = tracer.halt(stop).unwrap();
    let mut silent: BTreeSet<_> = halted.threads.iter().map(Stopped::tid).collect();
    assert_eq!(silent.len(), 4);
    tracer.resume_halted(halted, |_| Next::Continue).unwrap();
    let mut stops = 0;
    while !silent.is_empty() {
        stop = next_stop(&mut tracer);
        let call = [StopReason::SyscallEntry, StopReason::SyscallExit];
        assert!(call.contains(&stop.reason()), "{stop:?}");
        silent.remove(&stop.tid());
        stops += 1;
        assert!(stops < 20_000, "{silent:?} make calls in silence");
        tracer.resume(stop, Resume::Continue).unwrap();
    }
    tracer.detach_process(pid).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
}

// The kernel refuses to be told of threads that run, and is told when they have stopped.
fn e7_flags_that_change_all_the_time_lose_nothing() {
    let extra = [EventFlags::THREAD, EventFlags::EXIT, EventFlags::SYSCALL];
    let (mut turn, mut seen) = (0_usize, [0; 3]);
    for round in 0.. {
        assert!(round < 20, "each flag has held for somebody: {seen:?}");
        let mut tracer = tracer(EventFlags::PROCESS);
        tracer.spawn(fixture("thread-storm", &["12"])).unwrap();
        let mut log = Log::default();
        while !tracer.is_empty() {
            turn += 1;
            let sets = (0..3).filter(|&bit| ((turn / 7) >> bit) & 1 != 0);
            let flags = sets.fold(EventFlags::PROCESS, |flags, bit| flags | extra[bit]);
            // Of all processes, whose threads run for the most part.
            for pid in tracer.processes().collect::<Vec<_>>() {
                tracer.set_events(pid, flags).unwrap();
                assert_eq!(tracer.events(pid).unwrap(), flags);
            }
            let Some(event) = tracer.wait().unwrap() else { break };
            if let Event::Stopped(stop) = &event {
                match stop.reason() {
                    StopReason::ThreadStarted => seen[0] += 1,
                    StopReason::ThreadExiting => seen[1] += 1,
                    StopReason::SyscallEntry | StopReason::SyscallExit => seen[2] += 1,
                    _ => {}
                }
            }
            log.add(&event);
            tracer.resume(event, Resume::Continue).unwrap();
        }
        assert_eq!(log.count("fork") + log.count("vfork P"), 12);
        assert_eq!((log.count("exec"), log.count("exit 0 of")), (13, 13));
        if seen.iter().all(|&times| times > 0) {
            break;
        }
    }
}

// Where the kernel reports it, inside of the call or behind it, is its own affair.
fn e7_a_signal_in_a_system_call_is_neither_its_entry_nor_its_exit() {
    let (mut child, pid) = crate::attach::ready("forward", &["10"]);
    let mut tracer = tracer(EventFlags::SYSCALL);
    tracer.attach(pid).unwrap();
    let (mut inside, mut entries, mut signals) = (None, 0, 0);
    let log = run_with(&mut tracer, |tracer, event| {
        let Event::Stopped(stop) = &event else { return Some(event) };
        match stop.reason() {
            StopReason::SyscallEntry => {
                assert_ne!(inside, Some(true));
                inside = Some(true);
                entries += 1;
                assert_eq!(tracer.syscall(stop).unwrap().result, None);
                // The sleep is to be interrupted before it has begun.
                let signal = if entries % 6 != 0 { return Some(event) } else { entries / 6 };
                let signal = if signal <= 10 { libc::SIGUSR1 } else { libc::SIGTERM };
                assert!(kill(pid, signal));
            }
            StopReason::SyscallExit => {
                assert_ne!(inside, Some(false));
                inside = Some(false);
                assert!(tracer.syscall(stop).unwrap().result.is_some());
            }
            StopReason::Signal(_) => signals += 1,
            _ => {}
        }
        Some(event)
    });
    assert!(signals >= 11, "{signals}");
    assert_eq!(log.lines.last().unwrap().1, "exit 0 of us", "all of them were handled");
    let _ = child.wait();
}
