//! Waiting.

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use trapline_core::backend::{Patience, RawKind, RawReason, Waited, Wake};
use trapline_core::{Backend, Event, EventFlags, ExitStatus, Pid};
use trapline_os_freebsd::FreeBsd;

use crate::bsd::driver::*;

/// How long a wait sleeps at most, which must not be what finds something.
const NET: Duration = Duration::from_millis(100);

/// W2: neither the exit of a child that ended before, nor of one that ends meanwhile, is taken.
pub(super) fn leaves_host_children() {
    let mut early = Command::new("/usr/bin/false").spawn().unwrap();
    std::thread::sleep(Duration::from_millis(100));
    let host = std::thread::spawn(|| {
        for _ in 0..40 {
            assert!(Command::new("/usr/bin/true").status().unwrap().success());
        }
    });
    let mut b = FreeBsd::open().unwrap();
    for _ in 0..10 {
        let first = start(&mut b, &["raise", "20"], EventFlags::PROCESS);
        go(&mut b, &first);
        assert_eq!(run_out(&mut b), ExitStatus::Code(20));
    }
    let mut late = Command::new("/bin/sleep").arg("1000").spawn().unwrap();
    assert_eq!(b.wait(Patience::Block).unwrap(), Waited::NoTracees);
    host.join().unwrap();
    assert_eq!(early.wait().unwrap().code(), Some(1));
    late.kill().unwrap();
    assert!(!late.wait().unwrap().success());
}

pub(super) fn no_tracees() {
    let mut b = FreeBsd::open().unwrap();
    for patience in [Patience::Poll, Patience::Brief, Patience::Block] {
        assert_eq!(b.wait(patience).unwrap(), Waited::NoTracees);
    }
}

static WAKER: OnceLock<Arc<dyn Wake>> = OnceLock::new();

unsafe extern "C" {
    fn ualarm(microseconds: libc::useconds_t, interval: libc::useconds_t) -> libc::useconds_t;
}

extern "C" fn wake(_: libc::c_int) {
    if let Some(waker) = WAKER.get() {
        waker.wake();
    }
}

pub(super) fn waker_from_thread_and_handler() {
    let mut b = FreeBsd::open().unwrap();
    let first = start(&mut b, &["busy"], EventFlags::PROCESS);
    go(&mut b, &first);
    let waker = b.waker().unwrap();
    // Before the wait; twice is once.
    waker.wake();
    waker.wake();
    assert_eq!(b.wait(Patience::Block).unwrap(), Waited::Woken);
    assert_eq!(b.wait(Patience::Poll).unwrap(), Waited::Nothing);
    // During it, by another thread; none is lost.
    let (tell, told) = std::sync::mpsc::channel();
    let other = b.waker().unwrap();
    let thread = std::thread::spawn(move || {
        while told.recv().is_ok() {
            other.wake();
        }
    });
    let mut times: Vec<Duration> = (0..1000)
        .map(|_| {
            let begin = Instant::now();
            tell.send(()).unwrap();
            assert_eq!(b.wait(Patience::Block).unwrap(), Waited::Woken);
            begin.elapsed()
        })
        .collect();
    times.sort();
    drop(tell);
    thread.join().unwrap();
    // By a signal handler of the host, which also interrupts the sleep.
    assert!(WAKER.set(waker).is_ok());
    // SAFETY: the handler makes one system call, and leaves errno alone.
    unsafe { libc::signal(libc::SIGALRM, wake as *const () as usize) };
    for _ in 0..5 {
        // SAFETY: plain values.
        unsafe { ualarm(20_000, 0) };
        assert_eq!(b.wait(Patience::Block).unwrap(), Waited::Woken);
    }
    println!("{:?} for a wake, in most cases", times[500]);
    assert!(times[500] < NET, "the net is no wake-up");
    let pid = first.pid.unwrap();
    b.kill(pid, None).unwrap();
    assert!(matches!(next(&mut b).kind, RawKind::Ended(_)));
    // A waker that is left over is harmless.
    drop(b);
    wake(0);
}

/// The kernel gives the zombies of such a host away.
pub(super) fn sigchld_ignored() {
    // SAFETY: no handler.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
    let mut b = FreeBsd::open().unwrap();
    let times = (0..10).map(|_| {
        let first = start(&mut b, &["raise", "5"], EventFlags::PROCESS);
        go(&mut b, &first);
        let begin = Instant::now();
        assert_eq!(run_out(&mut b), ExitStatus::Code(5));
        begin.elapsed()
    });
    assert!(times.min().unwrap() < 5 * NET, "by notice, not by the net");
}

/// Such a host, unless it is their reaper, takes the zombies of its tracees' children away from
/// their real parents; the tracer sees it all.
pub(super) fn sigchld_ignored_and_real_parents() {
    // SAFETY: no handler.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
    let mut tracer = tracer(EventFlags::PROCESS);
    let pid = tracer.spawn(fixture(&["fork-no-status"])).unwrap().pid;
    let mut ends = Vec::new();
    while let Some(event) = tracer.wait().unwrap() {
        if let Event::Exited { pid: ended, status, real_parent } = &event {
            let us = Pid::this();
            let parent = if *ended == pid { us } else { pid };
            assert_eq!(*real_parent, Some(parent));
            ends.push(*status);
        }
        resume(&mut tracer, event);
    }
    assert_eq!(ends, [ExitStatus::Code(3), ExitStatus::Code(9)]);
}

/// With SA_NOCLDSTOP there is no SIGCHLD for stops, before or after the back end was made.
pub(super) fn stops_untold() {
    fn tell(flags: i32) {
        // SAFETY: a default action with these flags.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = libc::SIG_DFL;
            action.sa_flags = flags;
            assert_eq!(libc::sigaction(libc::SIGCHLD, &action, std::ptr::null_mut()), 0);
        }
    }
    for early in [true, false] {
        tell(if early { libc::SA_NOCLDSTOP } else { 0 });
        let mut b = FreeBsd::open().unwrap();
        tell(libc::SA_NOCLDSTOP);
        let first = start(&mut b, &["raise", "100"], EventFlags::PROCESS);
        go(&mut b, &first);
        let begin = Instant::now();
        assert_eq!(run_out(&mut b), ExitStatus::Code(100));
        let took = begin.elapsed();
        println!("100 stops in {took:?}");
        assert!(took < 100 * NET, "by notice, not by the net");
    }
}

/// Two that stop all the time get the same share, and a third is seen to end.
pub(super) fn nobody_starves() {
    let mut b = FreeBsd::open().unwrap();
    let flags = EventFlags::PROCESS | EventFlags::SYSCALL;
    let many = 20;
    let mut counts = std::collections::BTreeMap::new();
    for _ in 0..many {
        let spawned = b.spawn(fixture(&["raise", "250"]), setup(flags)).unwrap();
        counts.insert(spawned.pid, 0_u32);
        spawned.stop.iter().chain(&spawned.meanwhile).for_each(|stop| go(&mut b, stop));
    }
    let mut ended = 0;
    for _ in 0..4000 {
        let stop = next(&mut b);
        *counts.get_mut(&stop.pid.unwrap()).unwrap() += 1;
        if let RawKind::Ended(_) = stop.kind {
            ended += 1;
            continue;
        }
        go(&mut b, &stop);
    }
    let least = counts.values().min().unwrap();
    println!("{:?}", counts.values().collect::<Vec<_>>());
    assert!(*least > 15, "one of {many} starved: {least}");
    for pid in counts.keys() {
        let _ = b.kill(*pid, None);
    }
    while ended < many {
        let stop = next(&mut b);
        match stop.kind {
            RawKind::Ended(_) => ended += 1,
            RawKind::Stop(_) => go(&mut b, &stop),
        }
    }
}

pub(super) fn poll_and_brief() {
    let mut b = FreeBsd::open().unwrap();
    let first = start(&mut b, &["busy"], EventFlags::PROCESS);
    go(&mut b, &first);
    assert_eq!(b.wait(Patience::Poll).unwrap(), Waited::Nothing);
    assert_eq!(b.wait(Patience::Brief).unwrap(), Waited::Nothing);
    // SIGCHLD of other children does not make it forget the time, nor hide a stop.
    let busy = Arc::new(AtomicBool::new(true));
    let host = Arc::clone(&busy);
    let host = std::thread::spawn(move || {
        while host.load(Ordering::Relaxed) {
            Command::new("/usr/bin/true").status().unwrap();
        }
    });
    for _ in 0..50 {
        assert_eq!(b.wait(Patience::Brief).unwrap(), Waited::Nothing);
    }
    b.interrupt(thread(&first)).unwrap();
    let stop = next(&mut b);
    assert_eq!(reason(&stop), RawReason::Paused);
    busy.store(false, Ordering::Relaxed);
    host.join().unwrap();
    b.kill(stop.pid.unwrap(), stop.tid).unwrap();
    next(&mut b);
}
