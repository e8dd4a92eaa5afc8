//! E3: each successful exec once, the threads that it takes away before it.

use trapline::{Event, EventFlags, StopReason, Stopped};

use crate::common::*;
use crate::fixtures::fixture;

crate::tests![
    e3_a_chain_of_execs,
    e3_exec_from_another_thread,
    e3_exec_from_another_thread_without_thread_events,
    e3_tokens_of_threads_that_an_exec_takes_away_are_stale,
];

fn e3_a_chain_of_execs() {
    let log = trace(EventFlags::PROCESS, sh("exec sh -c 'exec sh -c \"exit 5\"'"));
    let map = log.by_process();
    assert_eq!(map["P1"], ["exec", "exec", "exec", "exit 5 of us"]);
}

fn e3_exec_from_another_thread() {
    let mut tracer = tracer(EventFlags::PROCESS | EventFlags::THREAD);
    tracer.spawn(fixture("exec-from-thread", &["3", "awaited"])).unwrap();
    let mut born = Vec::new();
    let mut dead = Vec::new();
    let mut execs = 0;
    run_with(&mut tracer, |tracer, event| {
        match &event {
            Event::Stopped(stop) => match stop.reason() {
                StopReason::ThreadStarted => born.push(stop.tid()),
                StopReason::Execed { former_tid: None } => assert!(born.is_empty()),
                StopReason::Execed { former_tid: Some(tid) } => {
                    execs += 1;
                    assert!(born.contains(&tid));
                    // Each of them, made up where the kernel is silent, before the exec.
                    let mut ends = dead.clone();
                    ends.sort();
                    born.sort();
                    assert_eq!(ends, born);
                    let info = tracer.process_info(stop.pid()).unwrap();
                    assert_eq!(info.threads, [stop.tid()]);
                }
                _ => {}
            },
            Event::ThreadExited { tid, .. } => dead.push(*tid),
            Event::Exited { status, .. } => {
                assert_eq!(*status, trapline::ExitStatus::Code(11));
            }
            _ => {}
        }
        Some(event)
    });
    assert_eq!((execs, born.len(), dead.len()), (1, 4, 4));
}

fn e3_exec_from_another_thread_without_thread_events() {
    for flags in [EventFlags::PROCESS, EventFlags::PROCESS | EventFlags::EXIT] {
        let log = trace(flags, fixture("exec-from-thread", &["2"]));
        let events: Vec<_> =
            log.lines.iter().map(|(_, e)| &**e).filter(|e| *e != "thread exiting").collect();
        assert_eq!(events, ["exec", "exec by T1", "exit 11 of us"]);
    }
}

fn e3_tokens_of_threads_that_an_exec_takes_away_are_stale() {
    let mut tracer = tracer(EventFlags::PROCESS | EventFlags::THREAD);
    tracer.spawn(fixture("exec-from-thread", &["1"])).unwrap();
    let mut kept: Option<Stopped> = None;
    let mut born = 0;
    let mut execs = 0;
    while let Some(event) = tracer.wait().unwrap() {
        match event {
            Event::Stopped(stop) if stop.reason() == StopReason::ThreadStarted => {
                // The sleeper, which was made first, stays stopped, where one stop stops one
                // thread.
                born += 1;
                match kept.take() {
                    _ if cfg!(target_os = "freebsd") => {
                        tracer.resume(stop, Default::default()).unwrap();
                    }
                    None => kept = Some(stop),
                    Some(other) => {
                        let first = other.tid() < stop.tid();
                        let (keep, run) = if first { (other, stop) } else { (stop, other) };
                        kept = Some(keep);
                        tracer.resume(run, Default::default()).unwrap();
                    }
                }
            }
            Event::Stopped(stop) => {
                execs += 1;
                if execs == 2 {
                    if let Some(kept) = kept.take() {
                        assert!(tracer.registers(&kept).unwrap_err().is_gone());
                        tracer.resume(kept, Default::default()).unwrap();
                    }
                }
                tracer.resume(stop, Default::default()).unwrap();
            }
            other => tracer.resume(other, Default::default()).unwrap(),
        }
    }
    assert_eq!((born, execs), (2, 2));
}
