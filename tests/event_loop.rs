//! W1: a tracer in an event loop of its host's.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use polling::{Events, PollMode, Poller};
use trapline::{Event, EventFlags, Readiness, Resume, Signal, Tracer};

use crate::common::*;
use crate::fixtures::fixture;

crate::tests![
    w1_no_event_is_lost_in_a_loop,
    w1_a_loop_sleeps_as_long_as_nothing_happens,
    w1_a_waker_ends_the_sleep_of_a_loop,
    w1_what_a_tracer_of_another_thread_has_not_taken_hides_nothing,
    w1_a_descriptor_may_outlive_its_tracer,
];

/// A loop that watches nothing but the tracer.
struct Loop {
    poller: Poller,
    readiness: Readiness,
    mode: PollMode,
    wakes: u32,
}

impl Loop {
    fn new(tracer: &mut Tracer, mode: PollMode) -> Self {
        let (poller, readiness) = (Poller::new().unwrap(), tracer.readiness().unwrap());
        // SAFETY: the descriptor lives as long as the poller.
        unsafe {
            poller.add_with_mode(&readiness, polling::Event::readable(1), mode).unwrap();
        }
        Loop { poller, readiness, mode, wakes: 0 }
    }

    /// Sleeps until the descriptor is readable.
    fn readable(&mut self, limit: Duration) -> bool {
        let mut events = Events::new();
        self.poller.wait(&mut events, Some(limit)).unwrap();
        if self.mode == PollMode::Oneshot {
            self.poller.modify(&self.readiness, polling::Event::readable(1)).unwrap();
        }
        self.wakes += 1;
        !events.is_empty()
    }

    fn next(&mut self, tracer: &mut Tracer) -> Event {
        loop {
            if let Some(event) = poll(tracer) {
                return event;
            }
            assert!(self.readable(seconds(20)), "nothing came");
        }
    }
}

/// Traces a program to its end, sleeping nowhere but in the loop.
fn trace_in_a_loop(mode: PollMode, command: std::process::Command) -> (Log, u32) {
    let mut tracer = tracer(EventFlags::PROCESS);
    let mut events = Loop::new(&mut tracer, mode);
    tracer.spawn(command).unwrap();
    let mut log = Log::default();
    while !tracer.is_empty() {
        let event = events.next(&mut tracer);
        log.add(&event);
        tracer.resume(event, Resume::Continue).unwrap();
        if log.count("exit") > 0 {
            while let Some(event) = poll(&mut tracer) {
                log.add(&event);
                tracer.resume(event, Resume::Continue).unwrap();
            }
        }
    }
    (log, events.wakes)
}

fn w1_no_event_is_lost_in_a_loop() {
    // An edge cannot be lost where it is told once for each.
    let edge = if cfg!(target_os = "linux") { PollMode::Edge } else { PollMode::Level };
    for mode in [PollMode::Level, PollMode::Oneshot, edge] {
        let (log, wakes) = trace_in_a_loop(mode, fixture("fork", &["100"]));
        assert_eq!(log.count("fork"), 100);
        assert_eq!(log.count("exit"), 101);
        assert!(wakes > 0);
        println!("{mode:?}: {wakes} wakes for {} events", log.lines.len());
    }
}

fn w1_a_loop_sleeps_as_long_as_nothing_happens() {
    let mut tracer = tracer(EventFlags::PROCESS);
    let mut events = Loop::new(&mut tracer, PollMode::Level);
    let stop = spawned(&mut tracer, fixture("sleep", &[]));
    let pid = stop.pid();
    tracer.resume(stop, Resume::Continue).unwrap();
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(1000) {
        assert!(poll(&mut tracer).is_none());
        events.readable(Duration::from_millis(1000).saturating_sub(start.elapsed()));
    }
    // On FreeBSD it ticks.
    assert!(events.wakes <= 20, "{}", events.wakes);
    tracer.kill(pid).unwrap();
    match events.next(&mut tracer) {
        Event::Exited { status, .. } => assert_eq!(status, killed_by(Signal::KILL)),
        other => panic!("{other:?}"),
    }
}

fn w1_a_waker_ends_the_sleep_of_a_loop() {
    let mut tracer = tracer(EventFlags::PROCESS);
    let waker = tracer.waker().unwrap();
    let mut events = Loop::new(&mut tracer, PollMode::Level);
    for round in 0..200 {
        let waker = waker.clone();
        let thread = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_micros(round * 5));
            waker.wake();
        });
        // Without any tracee, too.
        assert!(matches!(events.next(&mut tracer), Event::Woken));
        thread.join().unwrap();
    }
    assert!(poll(&mut tracer).is_none());
}

fn w1_what_a_tracer_of_another_thread_has_not_taken_hides_nothing() {
    if cfg!(target_os = "freebsd") {
        skip("FreeBSD has one tracer per process");
    }
    let (ready, is_ready) = std::sync::mpsc::channel();
    let (done, is_done) = std::sync::mpsc::channel::<()>();
    let other = std::thread::spawn(move || {
        let mut tracer = tracer(EventFlags::PROCESS);
        let stop = spawned(&mut tracer, fixture("exit", &["4"]));
        tracer.resume(stop, Resume::Continue).unwrap();
        ready.send(()).unwrap();
        // Its end stays where it is.
        let _ = is_done.recv();
        assert_eq!(next_exit(&mut tracer).1, trapline::ExitStatus::Code(4));
    });
    is_ready.recv().unwrap();
    let (log, _) = trace_in_a_loop(PollMode::Level, fixture("fork", &["20"]));
    assert_eq!(log.count("exit"), 21);
    done.send(()).unwrap();
    other.join().unwrap();
}

fn w1_a_descriptor_may_outlive_its_tracer() {
    let mut tracer = tracer(EventFlags::PROCESS);
    let readiness = tracer.readiness().unwrap();
    assert!(poll(&mut tracer).is_none());
    drop(tracer);
    assert!(readiness.as_fd().try_clone_to_owned().is_ok());
}
