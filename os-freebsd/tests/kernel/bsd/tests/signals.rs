//! Signals, interrupts and kills.

use std::time::{Duration, Instant};

use trapline_core::backend::{Patience, RawKind, RawReason, Run, TrapOrigin, Waited};
use trapline_core::{Backend, Error, EventFlags, ExitStatus, Pid, Signal};
use trapline_os_freebsd::FreeBsd;

use crate::bsd::driver::*;

const KILLED: RawKind =
    RawKind::Ended(ExitStatus::Killed { signal: Signal::KILL, core_dumped: false });

pub(super) fn delivered() {
    let lists = traced(&["raise", "3"], EventFlags::PROCESS);
    assert_eq!(lists, [["exec", "SIGUSR1", "SIGUSR1", "SIGUSR1", "exit status 3"]]);
}

pub(super) fn suppressed() {
    let mut b = FreeBsd::open().unwrap();
    let mut stop = start(&mut b, &["raise", "3"], EventFlags::PROCESS);
    let mut count = 0;
    while let RawKind::Stop(_) = stop.kind {
        let pass = signal(&stop).filter(|_| {
            count += 1;
            count != 2
        });
        b.resume(thread(&stop), Run::Continue, pass).unwrap();
        stop = next(&mut b);
    }
    assert_eq!(stop.kind, RawKind::Ended(ExitStatus::Code(2)));
}

pub(super) fn changed() {
    let mut b = FreeBsd::open().unwrap();
    let first = start(&mut b, &["raise", "3"], EventFlags::PROCESS);
    go(&mut b, &first);
    let stop = next(&mut b);
    b.resume(thread(&stop), Run::Continue, Some(Signal::TERM)).unwrap();
    let end = next(&mut b);
    let status = ExitStatus::Killed { signal: Signal::TERM, core_dumped: false };
    assert_eq!(end.kind, RawKind::Ended(status));
}

pub(super) fn siginfo() {
    let mut b = FreeBsd::open().unwrap();
    let first = start(&mut b, &["exit", "0"], EventFlags::PROCESS);
    assert!(b.signal_info(thread(&first)).is_err(), "there is no signal");
    go(&mut b, &first);
    run_out(&mut b);
    let (talk, _) = Talk::new(&["count"]);
    b.attach(talk.pid, setup(EventFlags::PROCESS)).unwrap();
    let stop = next(&mut b);
    go(&mut b, &stop);
    kill(talk.pid.as_raw(), libc::SIGUSR1);
    let stop = next(&mut b);
    let info = b.signal_info(thread(&stop)).unwrap();
    assert_eq!(info.signal, Signal::USR1);
    assert_eq!(info.sender, Some(Pid::this()));
    assert_eq!(info.addr, None);
    // A SIGTRAP that somebody sent is none of ours.
    go(&mut b, &stop);
    kill(talk.pid.as_raw(), libc::SIGTRAP);
    let stop = next(&mut b);
    let sent = RawReason::Signal { signal: Signal::TRAP, trap: Some(TrapOrigin::Sent) };
    assert_eq!(reason(&stop), sent);
    assert_eq!(b.trap_origin(thread(&stop)).unwrap(), TrapOrigin::Sent);
    b.resume(thread(&stop), Run::Continue, None).unwrap();
    drop(talk.input);
    assert_eq!(run_out(&mut b), ExitStatus::Code(0));
}

pub(super) fn kill_is_no_stop() {
    let mut b = FreeBsd::open().unwrap();
    // While it runs.
    let (talk, _) = Talk::new(&["busy"]);
    b.attach(talk.pid, setup(EventFlags::PROCESS)).unwrap();
    let stop = next(&mut b);
    go(&mut b, &stop);
    kill(talk.pid.as_raw(), libc::SIGKILL);
    assert_eq!(next(&mut b).kind, KILLED);
    // While it is stopped: nothing happens before it is resumed.
    let first = start(&mut b, &["busy"], EventFlags::PROCESS);
    kill(first.pid.unwrap().as_raw(), libc::SIGKILL);
    b.registers(thread(&first)).unwrap();
    assert_eq!(b.wait(Patience::Brief).unwrap(), Waited::Nothing);
    go(&mut b, &first);
    assert_eq!(next(&mut b).kind, KILLED);
    // What is about it now is gone.
    assert!(b.resume(thread(&first), Run::Continue, None).unwrap_err().is_gone());
    assert!(b.registers(thread(&first)).unwrap_err().is_gone());
    assert!(b.threads(first.pid.unwrap()).unwrap_err().is_gone());
    assert!(b.real_parent(first.pid.unwrap()).unwrap_err().is_gone());
}

pub(super) fn killed_by_abort() {
    let mut b = FreeBsd::open().unwrap();
    let first = start(&mut b, &["abort"], EventFlags::PROCESS);
    go(&mut b, &first);
    match run_out(&mut b) {
        ExitStatus::Killed { signal: Signal::ABRT, .. } => {}
        other => panic!("{other}"),
    }
}

/// Waited for, asked what it is, resumed.
pub(super) fn plain_stop_is_three_requests() {
    let mut b = FreeBsd::open().unwrap();
    let mut stop = start(&mut b, &["raise", "50"], EventFlags::PROCESS);
    let mut counts = Vec::new();
    loop {
        let resume = b.requests();
        go(&mut b, &stop);
        let resume = b.requests() - resume;
        std::thread::sleep(Duration::from_millis(20)); // it has stopped by now
        let wait = b.requests();
        stop = next(&mut b);
        counts.push(resume + b.requests() - wait);
        if let RawKind::Ended(status) = stop.kind {
            assert_eq!(status, ExitStatus::Code(50));
            break;
        }
    }
    counts.pop();
    // A wait that does not find it has to sleep, and that is more; but this is a slow machine.
    let plain = counts.iter().filter(|&&count| count == 3).count();
    assert_eq!(counts.iter().min(), Some(&3));
    assert!(plain > 40, "{counts:?}");
}

pub(super) fn interrupt_running() {
    let mut b = FreeBsd::open().unwrap();
    for mode in ["busy", "sleep"] {
        let (mut talk, _) = Talk::new(&[mode]);
        b.attach(talk.pid, setup(EventFlags::PROCESS)).unwrap();
        let mut stop = next(&mut b);
        for _ in 0..20 {
            go(&mut b, &stop);
            b.interrupt(thread(&stop)).unwrap();
            stop = next(&mut b);
            assert_eq!(reason(&stop), RawReason::Paused);
            assert_eq!(b.wait(Patience::Poll).unwrap(), Waited::Nothing);
        }
        b.detach(thread(&stop), None).unwrap();
        // It is not left stopped.
        if mode == "sleep" {
            assert_eq!(talk.finish().1, Some(8));
        } else {
            assert!(talk.child.try_wait().unwrap().is_none());
            talk.child.kill().unwrap();
            talk.child.wait().unwrap();
        }
    }
    let (talk, _) = Talk::new(&["busy"]);
    b.attach(talk.pid, setup(EventFlags::PROCESS)).unwrap();
    let stop = next(&mut b);
    b.kill(talk.pid, stop.tid).unwrap();
    next(&mut b);
    assert!(b.interrupt(thread(&stop)).unwrap_err().is_gone());
}

/// At the stop of an attach no thread reports, and threads may be asleep; then PT_KILL kills
/// nobody, and a SIGKILL that came meanwhile wakes nobody.
pub(super) fn kill_at_attach() {
    let mut b = FreeBsd::open().unwrap();
    for mode in ["busy", "sleep"] {
        for by_us in [true, false] {
            let (talk, _) = Talk::new(&[mode]);
            b.attach(talk.pid, setup(EventFlags::PROCESS)).unwrap();
            let stop = next(&mut b);
            if by_us {
                b.kill(talk.pid, stop.tid).unwrap();
            } else {
                kill(talk.pid.as_raw(), libc::SIGKILL);
                go(&mut b, &stop);
            }
            assert_eq!(next(&mut b).kind, KILLED, "{mode} {by_us}");
        }
    }
    // With several threads, of which the one that is to take the SIGKILL is asleep.
    let first = start(&mut b, &["raise-beside-sleepers"], EventFlags::PROCESS);
    go(&mut b, &first);
    let stop = next(&mut b);
    kill(first.pid.unwrap().as_raw(), libc::SIGKILL);
    let begin = Instant::now();
    go(&mut b, &stop);
    assert_eq!(next(&mut b).kind, KILLED);
    println!("{:?} from the resume to the end", begin.elapsed());
}

/// Another stop takes the interrupt's place, and what is left of it is not shown.
pub(super) fn overtaken_interrupt() {
    let mut b = FreeBsd::open().unwrap();
    let mut stop = start(&mut b, &["raise", "200"], EventFlags::PROCESS);
    let (mut paused, mut signals) = (0, 0);
    loop {
        if let RawKind::Ended(status) = stop.kind {
            assert_eq!(status, ExitStatus::Code(200));
            break;
        }
        match reason(&stop) {
            RawReason::Paused => paused += 1,
            RawReason::Signal { signal: Signal::USR1, .. } => signals += 1,
            RawReason::Execed { .. } => {}
            other => panic!("{other:?}"),
        }
        go(&mut b, &stop);
        if reason(&stop) != RawReason::Paused {
            let _ = b.interrupt(thread(&stop));
        }
        stop = next(&mut b);
    }
    assert_eq!(signals, 200);
    println!("{paused} interrupts came first");
}

pub(super) fn kill_stopped() {
    let mut b = FreeBsd::open().unwrap();
    let first = start(&mut b, &["busy"], EventFlags::PROCESS);
    b.kill(first.pid.unwrap(), first.tid).unwrap();
    assert_eq!(next(&mut b).kind, KILLED);
    // It may be wrong about being stopped.
    let first = start(&mut b, &["busy"], EventFlags::PROCESS);
    go(&mut b, &first);
    b.kill(first.pid.unwrap(), first.tid).unwrap();
    assert_eq!(next(&mut b).kind, KILLED);
    assert!(b.kill(first.pid.unwrap(), None).unwrap_err().is_gone());
}

pub(super) fn kill_running() {
    let mut b = FreeBsd::open().unwrap();
    let first = start(&mut b, &["spot", "3"], EventFlags::PROCESS | EventFlags::THREAD);
    go(&mut b, &first);
    for _ in 0..3 {
        let stop = next(&mut b);
        go(&mut b, &stop);
    }
    let start = Instant::now();
    b.kill(first.pid.unwrap(), None).unwrap();
    loop {
        let stop = next(&mut b);
        if stop.kind == KILLED {
            break;
        }
        go(&mut b, &stop); // LWPs on their way out
    }
    assert!(start.elapsed() < Duration::from_secs(5));
}

/// There is no job control of a traced process: a stop signal is told, passed on, and forgotten.
pub(super) fn stop_signals_do_nothing() {
    let mut b = FreeBsd::open().unwrap();
    let mut stop = start(&mut b, &["stop-itself"], EventFlags::PROCESS);
    assert!(matches!(b.listen(thread(&stop)), Err(Error::Unsupported { on: "FreeBSD", .. })));
    let mut seen = Vec::new();
    let begin = Instant::now();
    while let RawKind::Stop(_) = stop.kind {
        seen.extend(signal(&stop));
        go(&mut b, &stop);
        stop = next(&mut b);
    }
    assert_eq!(stop.kind, RawKind::Ended(ExitStatus::Code(5)));
    // Those of the terminal are dropped in an orphaned process group.
    assert!(seen.contains(&Signal::STOP), "{seen:?}");
    assert!(seen.iter().all(|signal| signal.stops()), "{seen:?}");
    assert!(begin.elapsed() < Duration::from_secs(20));
}

/// A signal that the program ignores may go unreported, and is not delivered either.
pub(super) fn ignored_signals() {
    let lists = traced(&["ignoring"], EventFlags::PROCESS);
    let list: Vec<_> = lists[0].iter().filter(|text| *text != "SIGUSR1").collect();
    assert_eq!(list, ["exec", "exit status 3"]);
}
