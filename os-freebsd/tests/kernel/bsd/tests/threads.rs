//! LWPs.

use trapline_core::backend::{Patience, RawKind, RawReason, Run, Thread, Waited};
use trapline_core::{Backend, EventFlags, ExitStatus};
use trapline_os_freebsd::FreeBsd;

use crate::bsd::driver::*;

pub(super) fn born_and_gone() {
    let lists = traced(&["threads", "5"], EventFlags::PROCESS | EventFlags::THREAD);
    let count = |text: &str| lists[0].iter().filter(|other| *other == text).count();
    assert_eq!(count("ThreadStarted"), 5, "{lists:?}");
    assert_eq!(count("ThreadExiting"), 5);
    assert_eq!(lists[0].len(), 12);
}

/// The others are gone first; the LWP keeps its id.
pub(super) fn exec_from_a_thread() {
    let lists = traced(&["thread-exec"], EventFlags::PROCESS | EventFlags::THREAD);
    let started = ["ThreadStarted"; 3];
    let exiting = ["ThreadExiting"; 3];
    let want = [&["exec"], &started[..], &exiting[..], &["exec", "exit status 0"]].concat();
    assert_eq!(lists, [want]);
}

pub(super) fn exec_without_thread_events() {
    let lists = traced(&["thread-exec"], EventFlags::PROCESS);
    assert_eq!(lists, [["exec", "exec", "exit status 0"]]);
}

/// A suspended LWP does not run while the rest of its process does.
pub(super) fn suspend_one() {
    let mut b = FreeBsd::open().unwrap();
    let (talk, _) = Talk::new(&["spot", "1"]);
    b.attach(talk.pid, setup(EventFlags::PROCESS)).unwrap();
    let stop = next(&mut b);
    let threads = b.threads(talk.pid).unwrap();
    assert_eq!(threads.len(), 2);
    assert_eq!(b.lwps(thread(&stop)).unwrap().len(), 2);
    // The one that calls `spot`: not the first, which sleeps in read.
    let mut caller = thread(&stop);
    for tid in threads {
        let one = Thread { pid: talk.pid, tid };
        let reads = b.lwp_info(one).unwrap().syscall == 3;
        if !reads {
            caller = one;
        }
    }
    let mut seen = Vec::new();
    for suspended in [true, false] {
        b.suspend(caller, suspended).unwrap();
        let before = b.registers(caller).unwrap();
        let mut moved = false;
        for _ in 0..10 {
            b.resume(thread(&stop), Run::Continue, None).unwrap();
            std::thread::sleep(std::time::Duration::from_millis(20));
            b.interrupt(thread(&stop)).unwrap();
            assert_eq!(reason(&next(&mut b)), RawReason::Paused);
            moved |= b.registers(caller).unwrap() != before;
        }
        seen.push(moved);
    }
    assert_eq!(seen, [false, true]);
    b.kill(talk.pid, Some(stop.tid.unwrap())).unwrap();
    let end = next(&mut b);
    assert!(matches!(end.kind, RawKind::Ended(ExitStatus::Killed { .. })));
    assert_eq!(b.wait(Patience::Poll).unwrap(), Waited::NoTracees);
}

/// While one LWP steps, those that are suspended do not run an instruction.
pub(super) fn step_one_of_many() {
    for mode in ["spot", "naps"] {
        step_one(mode);
    }
}

fn step_one(mode: &str) {
    let mut b = FreeBsd::open().unwrap();
    let (talk, _) = Talk::new(&[mode, "4"]);
    b.attach(talk.pid, setup(EventFlags::PROCESS)).unwrap();
    let mut stop = next(&mut b);
    go(&mut b, &stop);
    for round in 0..100 {
        b.interrupt(thread(&stop)).unwrap();
        stop = next(&mut b);
        assert_eq!(reason(&stop), RawReason::Paused);
        let threads = b.threads(talk.pid).unwrap();
        let stepped = threads[1 + round % 4];
        let mut before = Vec::new();
        for &tid in &threads {
            let one = Thread { pid: talk.pid, tid };
            b.suspend(one, tid != stepped).unwrap();
            let regs = b.registers(one).unwrap();
            before.push((tid, regs.rip, regs.rsp, b.lwp_info(one).unwrap()));
        }
        for _ in 0..5 {
            // Sleeps of others are over meanwhile.
            std::thread::sleep(std::time::Duration::from_millis(if mode == "naps" {
                12
            } else {
                0
            }));
            b.resume(Thread { pid: talk.pid, tid: stepped }, Run::Step, None).unwrap();
            stop = next(&mut b);
            assert_eq!(stop.tid, Some(stepped), "{stop:?}");
            for (tid, rip, rsp, info) in &before {
                let one = Thread { pid: talk.pid, tid: *tid };
                let regs = b.registers(one).unwrap();
                if *tid != stepped {
                    let now = b.lwp_info(one).unwrap();
                    assert_eq!((regs.rip, regs.rsp), (*rip, *rsp), "{round} {info:?} {now:?}");
                }
            }
        }
        for &tid in &threads {
            b.suspend(Thread { pid: talk.pid, tid }, false).unwrap();
        }
        b.resume(thread(&stop), Run::Continue, None).unwrap();
    }
    b.kill(talk.pid, None).unwrap();
    next(&mut b);
}
