//! W4: all threads at rest, and what `interrupt` asks for.

use std::io::Read;
use std::process::Stdio;
use std::time::{Duration, Instant};

use trapline::{Error, Event, EventFlags, Next, Resume, Signal, StopReason, Stopped, Tracer};

use crate::common::*;
use crate::fixtures::fixture;

crate::tests![
    w4_interrupt_of_a_process_whose_first_thread_is_ending,
    w4_halt_brings_every_thread_to_rest,
    w4_one_thread_steps_and_the_others_stay,
    w4_events_during_a_halt_are_kept,
    w4_a_parent_in_vfork_is_listed_as_blocked,
    w4_halt_of_a_dead_process_is_gone,
    w4_interrupt_of_a_process_that_sleeps_in_the_kernel,
    w4_detach_of_a_halted_process,
];

/// A process with this many threads, all of which run, and a stop of one of them.
fn spinning(threads: usize) -> (Tracer, Stopped) {
    let mut tracer = tracer(EventFlags::PROCESS);
    let mut command = fixture("spin", &[&threads.to_string()]);
    command.stdout(Stdio::piped());
    let mut child = tracer.spawn(command).unwrap();
    let mut out = child.stdout.take().unwrap();
    let waker = tracer.waker().unwrap();
    let reader = std::thread::spawn(move || {
        out.read_exact(&mut [0; 6]).unwrap();
        waker.wake();
    });
    loop {
        match tracer.wait().unwrap().unwrap() {
            Event::Woken => break,
            event => tracer.resume(event, Resume::Continue).unwrap(),
        }
    }
    reader.join().unwrap();
    tracer.interrupt(child.pid).unwrap();
    let stop = next_stop(&mut tracer);
    assert_eq!((stop.pid(), stop.reason()), (child.pid, StopReason::Interrupted));
    (tracer, stop)
}

fn finish(mut tracer: Tracer, pid: trapline::Pid) {
    tracer.kill(pid).unwrap();
    let log = run(&mut tracer);
    assert_eq!(log.lines.last().unwrap().1, "killed SIGKILL of us");
}

// On Linux it takes the interrupt, and does not answer it.
fn w4_interrupt_of_a_process_whose_first_thread_is_ending() {
    for _ in 0..20 {
        let mut tracer = tracer(EventFlags::PROCESS);
        let mut command = fixture("leader-first", &["wait"]);
        command.stdin(Stdio::piped());
        let spawned = tracer.spawn(command).unwrap(); // with the pipe that it reads
        let pid = spawned.pid;
        let stop = next_stop(&mut tracer);
        tracer.resume(stop, Resume::Continue).unwrap();
        for _ in 0..100 {
            tracer.interrupt(pid).unwrap();
            let stop = next_stop(&mut tracer);
            assert_eq!((stop.pid(), stop.reason()), (pid, StopReason::Interrupted));
            tracer.resume(stop, Resume::Continue).unwrap();
        }
        finish(tracer, pid);
    }
}

fn w4_halt_brings_every_thread_to_rest() {
    let (mut tracer, stop) = spinning(16);
    let pid = stop.pid();
    let mut stop = stop;
    for round in 0..20 {
        let halted = tracer.halt(stop).unwrap();
        assert_eq!((halted.threads.len(), halted.blocked.len()), (16, 0), "round {round}");
        let before: Vec<_> = halted.threads.iter().map(|t| tracer.registers(t).unwrap()).collect();
        std::thread::sleep(Duration::from_millis(2));
        let after: Vec<_> = halted.threads.iter().map(|t| tracer.registers(t).unwrap()).collect();
        assert_eq!(before, after, "they are at rest");
        for other in &halted.threads[1..] {
            assert_eq!(other.reason(), StopReason::Halted);
        }
        tracer.resume_halted(halted, |_| Next::Continue).unwrap();
        tracer.interrupt(pid).unwrap();
        stop = next_stop(&mut tracer);
    }
    tracer.resume(stop, Resume::Continue).unwrap();
    finish(tracer, pid);
}

fn w4_one_thread_steps_and_the_others_stay() {
    let (mut tracer, stop) = spinning(4);
    let pid = stop.pid();
    let mut stop = stop;
    for _ in 0..20 {
        let halted = tracer.halt(stop).unwrap();
        assert_eq!(halted.threads.len(), 4);
        let tid = halted.threads[0].tid();
        let others: Vec<_> =
            halted.threads[1..].iter().map(|t| (t.tid(), tracer.registers(t).unwrap())).collect();
        tracer
            .resume_halted(halted, |t| if t.tid() == tid { Next::Step } else { Next::Stay })
            .unwrap();
        stop = next_stop(&mut tracer);
        assert_eq!(stop.tid(), tid);
        assert!(matches!(stop.reason(), StopReason::Trap(c) if c.single_step), "{stop:?}");
        let halted = tracer.halt(stop).unwrap();
        assert_eq!(halted.threads.len(), 4);
        for (tid, registers) in others {
            let same = halted.threads.iter().find(|t| t.tid() == tid).unwrap();
            // FreeBSD's kernel may finish a system call for a thread that stays.
            let now = tracer.registers(same).unwrap();
            assert_eq!((now.pc(), now.sp()), (registers.pc(), registers.sp()), "it has stayed");
        }
        let mut threads = halted.threads;
        stop = threads.remove(0);
        drop(threads); // given again
        let mut again = 0;
        while again < 3 {
            let stop = next_stop(&mut tracer);
            assert_eq!(stop.reason(), StopReason::Halted);
            again += 1;
            tracer.resume(stop, Resume::Continue).unwrap();
        }
    }
    tracer.resume(stop, Resume::Continue).unwrap();
    finish(tracer, pid);
}

fn w4_events_during_a_halt_are_kept() {
    let (mut tracer, stop) = spinning(8);
    let pid = stop.pid();
    // A signal for the process, which some thread takes while it is being halted.
    kill(pid, libc::SIGUSR1);
    let halted = tracer.halt(stop).unwrap();
    assert_eq!(halted.threads.len(), 8);
    tracer.resume_halted(halted, |_| Next::Continue).unwrap();
    let mut stop = next_stop(&mut tracer);
    assert_eq!(stop.reason(), StopReason::Signal(Signal::USR1));
    stop.set_signal(None).unwrap();
    tracer.resume(stop, Resume::Continue).unwrap();
    finish(tracer, pid);
}

fn w4_a_parent_in_vfork_is_listed_as_blocked() {
    let mut tracer = tracer(EventFlags::PROCESS);
    tracer.spawn(sh("sleep 0; exit 3")).unwrap();
    let start = Instant::now();
    let mut blocked = 0;
    let log = run_with(&mut tracer, |tracer, event| match event {
        Event::Forked(fork) if fork.kind == trapline::ForkKind::Vfork => {
            // The parent runs on, into the kernel's wait for its child.
            let parent = fork.parent.into_stopped().unwrap();
            let child = fork.child.into_stopped().unwrap();
            tracer.resume(parent, Resume::Continue).unwrap();
            let halted = tracer.halt(child).unwrap();
            assert_eq!(halted.threads.len(), 1);
            blocked += 1;
            tracer.resume_halted(halted, |_| Next::Continue).unwrap();
            None
        }
        other => Some(other),
    });
    assert!(start.elapsed() < Duration::from_secs(60));
    assert_eq!(log.count("exit 3 of us"), 1);
    if blocked == 0 {
        skip("this sh does not vfork");
    }
}

fn w4_halt_of_a_dead_process_is_gone() {
    let (mut tracer, stop) = spinning(3);
    let pid = stop.pid();
    kill(pid, libc::SIGKILL);
    if cfg!(target_os = "linux") {
        until(|| crate::exits::is_zombie(pid)); // FreeBSD keeps it stopped
    }
    match tracer.halt(stop) {
        Err(Error::Gone { .. }) => {}
        Ok(halted) => tracer.resume_halted(halted, |_| Next::Continue).unwrap(),
        Err(error) => panic!("{error}"),
    }
    let log = run(&mut tracer);
    assert_eq!(log.lines.last().unwrap().1, "killed SIGKILL of us");
}

fn w4_interrupt_of_a_process_that_sleeps_in_the_kernel() {
    let mut tracer = tracer(EventFlags::PROCESS);
    let mut command = sh("cat; exit 5");
    command.stdin(Stdio::piped());
    let mut child = tracer.spawn(command).unwrap();
    let pid = child.pid;
    // Until the shell waits for its child, and that one for its input.
    let mut execs = 0;
    loop {
        match tracer.wait_timeout(Duration::from_millis(100)).unwrap() {
            Some(event) => {
                let stop = matches!(&event, Event::Stopped(stop)
                    if matches!(stop.reason(), StopReason::Execed { .. }));
                execs += usize::from(stop);
                tracer.resume(event, Resume::Continue).unwrap();
            }
            None if execs == 2 => break,
            None => {}
        }
    }
    for _ in 0..3 {
        tracer.interrupt(pid).unwrap();
        let stop = next_stop(&mut tracer);
        assert_eq!((stop.pid(), stop.reason()), (pid, StopReason::Interrupted));
        tracer.resume(stop, Resume::Continue).unwrap();
    }
    drop(child.stdin.take());
    let log = run(&mut tracer);
    // The wait went on where it was, and the status is the program's.
    assert_eq!(log.count("interrupted"), 0);
    assert_eq!((log.count("exit 0"), log.count("exit 5 of us")), (1, 1));
    assert!(matches!(tracer.interrupt(pid), Err(Error::Gone { .. })));
}

fn w4_detach_of_a_halted_process() {
    let (mut tracer, stop) = spinning(6);
    let pid = stop.pid();
    let halted = tracer.halt(stop).unwrap();
    tracer.detach_halted(halted).unwrap();
    assert!(tracer.is_empty());
    let mut child = tracer.take_child(pid).unwrap();
    assert!(child.try_wait().unwrap().is_none(), "it lives");
    child.kill().unwrap();
    child.wait().unwrap();
}
