//! What a debugger needs besides: signals that wait for their thread, signals of its own, and what
//! it shows of a program.

use trapline::{
    Event, EventFlags, ExitStatus, Next, Resume, Signal, SpawnOptions, StopReason, Stopped, Tracer,
};

use crate::common::*;
use crate::fixtures::fixture;

crate::tests![
    w4_a_signal_stays_with_its_thread_and_is_delivered,
    w4_a_signal_stays_with_its_thread_and_is_dropped,
    e8_a_signal_is_injected_at_a_stop_that_is_not_for_one,
    w4_threads_that_are_born_meanwhile_rest_too,
    w4_a_halt_while_a_thread_execs,
    f4_the_auxiliary_vector_of_a_program,
    f4_names_of_threads,
    e9_a_program_at_the_same_addresses_each_time,
];

/// A process of some threads that all sleep and count, at rest, none of which has a signal.
fn spinning(threads: usize) -> (Tracer, trapline::Pid, Stopped) {
    let mut tracer = tracer(EventFlags::PROCESS);
    let mut command = fixture("spin", &[&threads.to_string()]);
    command.stdout(std::process::Stdio::piped());
    let mut spawned = tracer.spawn(command).unwrap();
    let stop = next_stop(&mut tracer);
    let mut out = spawned.stdout.take().unwrap();
    let waker = tracer.waker().unwrap();
    let reader = std::thread::spawn(move || {
        std::io::Read::read_exact(&mut out, &mut [0; 6]).unwrap();
        waker.wake();
    });
    tracer.resume(stop, Resume::Continue).unwrap();
    loop {
        match tracer.wait().unwrap().unwrap() {
            Event::Woken => break,
            event => tracer.resume(event, Resume::Continue).unwrap(),
        }
    }
    reader.join().unwrap();
    tracer.interrupt(spawned.pid).unwrap();
    let stop = next_stop(&mut tracer);
    assert_eq!(stop.reason(), StopReason::Interrupted);
    (tracer, spawned.pid, stop)
}

/// A stop for SIGUSR1, which would kill, and a step of another thread while that one stays.
fn stays_with_a_signal() -> (Tracer, trapline::Pid, Stopped) {
    let (mut tracer, pid, stop) = spinning(3);
    tracer.resume(stop, Resume::Continue).unwrap();
    kill(pid, libc::SIGUSR1);
    let stop = next_stop(&mut tracer);
    assert_eq!(stop.reason(), StopReason::Signal(Signal::USR1));
    let signalled = stop.tid();
    let halted = tracer.halt(stop).unwrap();
    let other = halted.threads.iter().find(|t| t.tid() != signalled).unwrap().tid();
    let one_steps = |t: &Stopped| if t.tid() == other { Next::Step } else { Next::Stay };
    tracer.resume_halted(halted, one_steps).unwrap();
    let stop = next_stop(&mut tracer);
    assert_eq!(stop.tid(), other);
    assert!(matches!(stop.reason(), StopReason::Trap(causes) if causes.single_step), "{stop:?}");
    (tracer, pid, stop)
}

fn killed_by_usr1(tracer: &mut Tracer) {
    match tracer.wait().unwrap().unwrap() {
        Event::Exited { status: ExitStatus::Killed { signal, .. }, .. } => {
            assert_eq!(signal, Signal::USR1);
        }
        other => panic!("{other:?}"),
    }
}

/// The type and value of each entry of an auxiliary vector of 64 bits.
fn entries(auxv: &[u8]) -> Vec<(u64, u64)> {
    let words: Vec<u64> =
        auxv.chunks_exact(8).map(|w| u64::from_ne_bytes(w.try_into().unwrap())).collect();
    words.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect()
}

fn w4_a_signal_stays_with_its_thread_and_is_delivered() {
    let (mut tracer, _, stop) = stays_with_a_signal();
    let halted = tracer.halt(stop).unwrap();
    let kept: Vec<_> = halted.threads.iter().filter_map(Stopped::signal).collect();
    assert_eq!(kept, [Signal::USR1]);
    tracer.resume_halted(halted, |_| Next::Continue).unwrap();
    killed_by_usr1(&mut tracer);
}

fn w4_a_signal_stays_with_its_thread_and_is_dropped() {
    let (mut tracer, pid, stop) = stays_with_a_signal();
    let mut halted = tracer.halt(stop).unwrap();
    for thread in &mut halted.threads {
        if thread.reason() == StopReason::Signal(Signal::USR1) {
            thread.set_signal(None).unwrap();
        }
    }
    tracer.resume_halted(halted, |_| Next::Continue).unwrap();
    tracer.interrupt(pid).unwrap();
    let stop = next_stop(&mut tracer);
    assert_eq!(stop.reason(), StopReason::Interrupted, "it lives");
    tracer.kill(pid).unwrap();
    tracer.resume(stop, Resume::Continue).unwrap();
    run(&mut tracer);
}

fn e8_a_signal_is_injected_at_a_stop_that_is_not_for_one() {
    let (mut tracer, _, stop) = spinning(2);
    tracer.send_signal(&stop, Signal::USR1).unwrap();
    tracer.resume(stop, Resume::Continue).unwrap();
    killed_by_usr1(&mut tracer);
}

fn w4_threads_that_are_born_meanwhile_rest_too() {
    let mut tracer = tracer(EventFlags::PROCESS);
    let stop = spawned(&mut tracer, fixture("thread-churn", &["4"]));
    let pid = stop.pid();
    tracer.resume(stop, Resume::Continue).unwrap();
    for round in 0..40 {
        tracer.interrupt(pid).unwrap();
        let stop = next_stop(&mut tracer);
        let halted = tracer.halt(stop).unwrap();
        let at = |tracer: &mut Tracer| -> Vec<_> {
            halted.threads.iter().map(|t| tracer.registers(t).ok()).collect()
        };
        let before = at(&mut tracer);
        assert_eq!(before, at(&mut tracer), "round {round}: all are at rest");
        tracer.resume_halted(halted, |_| Next::Continue).unwrap();
    }
    tracer.kill(pid).unwrap();
    run(&mut tracer);
}

fn w4_a_halt_while_a_thread_execs() {
    // The exec waits for the other threads, which the halt has at rest.
    for _ in 0..20 {
        let mut tracer = tracer(EventFlags::PROCESS);
        let stop = spawned(&mut tracer, fixture("exec-from-thread", &["4"]));
        let pid = stop.pid();
        tracer.resume(stop, Resume::Continue).unwrap();
        let mut code = None;
        tracer.interrupt(pid).unwrap();
        while let Some(event) = tracer.wait().unwrap() {
            match event {
                Event::Exited { status, .. } => code = Some(status),
                Event::Stopped(stop) => match tracer.halt(stop) {
                    Ok(halted) => {
                        tracer.resume_halted(halted, |_| Next::Continue).unwrap();
                    }
                    Err(error) => assert!(error.is_gone(), "{error}"),
                },
                other => tracer.resume(other, Resume::Continue).unwrap(),
            }
        }
        assert_eq!(code, Some(ExitStatus::Code(11)));
    }
}

fn f4_the_auxiliary_vector_of_a_program() {
    let mut tracer = tracer(EventFlags::PROCESS);
    let stop = spawned(&mut tracer, fixture("exit", &["0"]));
    let entries = entries(&tracer.auxiliary_vector(stop.pid()).unwrap());
    const AT_PAGESZ: u64 = 6;
    assert!(entries.contains(&(AT_PAGESZ, 4096)), "{entries:?}");
    tracer.resume(stop, Resume::Continue).unwrap();
    run(&mut tracer);
    assert!(tracer.auxiliary_vector(trapline::Pid::from_raw(1)).is_err());
}

fn f4_names_of_threads() {
    let (mut tracer, pid, stop) = spinning(2);
    let halted = tracer.halt(stop).unwrap();
    let program = tracer.process_info(pid).unwrap().executable.unwrap();
    let program = program.file_name().unwrap().to_str().unwrap();
    for thread in &halted.threads {
        let name = tracer.thread_name(thread).unwrap();
        let name = name.to_str().unwrap();
        assert!(!name.is_empty() && program.starts_with(name), "{name}: {program}");
    }
    tracer.kill(pid).unwrap();
    drop(halted);
    run(&mut tracer);
}

fn e9_a_program_at_the_same_addresses_each_time() {
    let mut tracer = tracer(EventFlags::PROCESS);
    let mut places = Vec::new();
    for _ in 0..4 {
        let program = SpawnOptions::new(fixture("exit", &["0"])).randomize_addresses(false);
        let stop = spawned(&mut tracer, program);
        let registers = tracer.registers(&stop).unwrap();
        places.push((registers.pc(), registers.sp()));
        tracer.resume(stop, Resume::Continue).unwrap();
        run(&mut tracer);
    }
    assert!(places.iter().all(|place| *place == places[0]), "{places:x?}");
}
