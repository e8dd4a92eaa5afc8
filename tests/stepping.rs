//! M5: steps that a debugger means.

use std::process::Stdio;

use trapline::{
    Event, EventFlags, ExitStatus, Only, Pid, Reached, Resume, StopReason, Stopped, Tid, Tracer,
};

use crate::common::*;
use crate::fixtures::fixture;

crate::tests![
    m5_a_thread_runs_to_a_function,
    m5_a_range_with_calls,
    m5_a_breakpoint_in_a_function_that_a_range_calls,
    m5_one_thread_is_interrupted,
];

/// The fixture where it has told where its function with two calls begins and ends, and what it calls.
fn twice(tracer: &mut Tracer, times: usize) -> (Stopped, [u64; 3]) {
    let stop = spawned(tracer, fixture("probe-twice", &[&times.to_string()]));
    let (stop, start) = announced(tracer, stop);
    let (stop, end) = announced(tracer, stop);
    let (stop, called) = announced(tracer, stop);
    (stop, [start, end, called])
}

fn there(reached: Reached) -> Stopped {
    match reached {
        Reached::There(stop) => stop,
        other => panic!("{other:?}"),
    }
}

fn pc(tracer: &Tracer, stop: &Stopped) -> u64 {
    tracer.registers(stop).unwrap().pc()
}

fn finish(tracer: &mut Tracer, stop: Stopped) {
    assert_eq!(tracer.breakpoints(stop.pid()).unwrap().count(), 0);
    tracer.resume(stop, Resume::Continue).unwrap();
    assert_eq!(next_exit(tracer).1, ExitStatus::Code(0));
}

fn m5_a_thread_runs_to_a_function() {
    let mut tracer = tracer(EventFlags::PROCESS);
    let (mut stop, [start, _, called]) = twice(&mut tracer, 3);
    for _ in 0..3 {
        stop = there(tracer.run_to(stop, [start]).unwrap());
        assert_eq!(pc(&tracer, &stop), start);
        stop = there(tracer.run_to(stop, [called, start]).unwrap());
        assert_eq!(pc(&tracer, &stop), called);
    }
    let reached = tracer.run_to(stop, [start]).unwrap();
    assert!(
        matches!(reached, Reached::Other(Event::Exited { status: ExitStatus::Code(0), .. })),
        "{reached:?}"
    );
}

fn m5_a_range_with_calls() {
    let mut tracer = tracer(EventFlags::PROCESS);
    let (mut stop, [start, end, _]) = twice(&mut tracer, 2);
    for _ in 0..2 {
        stop = there(tracer.run_to(stop, [start]).unwrap());
        stop = there(tracer.step_range(stop, start..end).unwrap());
        let now = pc(&tracer, &stop);
        assert!(!(start..end).contains(&now), "{now:#x} is in {start:#x} to {end:#x}");
    }
    finish(&mut tracer, stop);
}

fn m5_a_breakpoint_in_a_function_that_a_range_calls() {
    let mut tracer = tracer(EventFlags::PROCESS);
    let (stop, [start, end, called]) = twice(&mut tracer, 1);
    let pid = stop.pid();
    let mut stop = there(tracer.run_to(stop, [start]).unwrap());
    let id = insert(&mut tracer, pid, called);
    let (mut hits, mut steps) = (0, 0);
    // Where the function begins a step ends that does not hit it yet.
    while (start..end).contains(&pc(&tracer, &stop)) || pc(&tracer, &stop) == called {
        let reached = tracer.step_range(stop, start..end).unwrap();
        stop = match reached {
            Reached::There(stop) => stop,
            Reached::Other(Event::Stopped(stop)) => {
                assert!(is_hit(&mut tracer, &stop, id, called));
                hits += 1;
                there(tracer.step_range(stop, called..called + 1).unwrap())
            }
            other => panic!("{other:?}"),
        };
        steps += 1;
        assert!(steps < 20, "{stop:?}");
        if hits == 1 {
            break;
        }
    }
    assert_eq!(hits, 1);
    assert!(tracer.remove_breakpoint(pid, id).unwrap());
    finish(&mut tracer, stop);
}

fn m5_one_thread_is_interrupted() {
    let mut tracer = tracer(EventFlags::PROCESS);
    let mut command = fixture("spin", &["4"]);
    command.stdout(Stdio::null());
    let stop = spawned(&mut tracer, command);
    let pid = stop.pid();
    tracer.resume(stop, Resume::Continue).unwrap();
    until(|| {
        let told = tracer.try_wait().unwrap();
        assert!(told.is_pending(), "{told:?}");
        tracer.threads(pid).unwrap().len() == 4
    });
    let told = |tracer: &mut Tracer, pid: Pid, tid: Tid| {
        // FreeBSD stops all of them, and any may say so.
        let only =
            if cfg!(target_os = "linux") { Only::Thread(pid, tid) } else { Only::Process(pid) };
        match tracer.wait_for(only).unwrap() {
            Some(Event::Stopped(stop)) => stop,
            other => panic!("{other:?}"),
        }
    };
    for tid in tracer.threads(pid).unwrap() {
        // The tracer hears of a thread when that begins.
        while tracer.try_wait().unwrap().is_ready() {}
        tracer.interrupt_thread(tid).unwrap();
        let stop = told(&mut tracer, pid, tid);
        assert_eq!(stop.reason(), StopReason::Interrupted);
        assert!(stop.tid() == tid || cfg!(target_os = "freebsd"), "{stop:?} for {tid}");
        tracer.resume(stop, Resume::Continue).unwrap();
    }
    tracer.kill(pid).unwrap();
    next_exit(&mut tracer);
}
