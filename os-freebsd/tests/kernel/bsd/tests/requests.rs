//! What a request says that the kernel refuses: EBUSY, EPERM and ESRCH, translated.

use std::time::Duration;

use trapline_core::backend::{RawKind, RawReason, Run, Thread};
use trapline_core::{Backend, Error, EventFlags, Pid, Result, Tid};
use trapline_os_freebsd::FreeBsd;

use crate::bsd::driver::*;

/// The answers to requests of all kinds; those that change something come last.
fn answers(b: &mut FreeBsd, thread: Thread) -> Vec<Result<()>> {
    vec![
        b.registers(thread).map(drop),
        b.fp_registers(thread).map(drop),
        b.read_memory(thread, 0x1000, &mut [0; 8]).map(drop),
        b.lwp_info(thread).map(drop),
        b.lwps(thread).map(drop),
        b.event_mask(thread).map(drop),
        b.vm_entries(thread).map(drop),
        b.syscall(thread).map(drop),
        b.suspend(thread, false),
    ]
}

fn all_not_stopped(b: &mut FreeBsd, thread: Thread) {
    for (i, answer) in answers(b, thread).into_iter().enumerate() {
        assert!(matches!(answer, Err(Error::NotStopped { .. })), "{i}: {answer:?}");
    }
}

fn all_gone(b: &mut FreeBsd, thread: Thread) {
    for (i, answer) in answers(b, thread).into_iter().enumerate() {
        assert!(matches!(answer, Err(Error::Gone { .. })), "{i}: {answer:?}");
    }
}

/// It runs; or it has stopped, and was not waited for yet; or it stops for somebody else.
pub(super) fn not_stopped() {
    let mut b = FreeBsd::open().unwrap();
    let first = start(&mut b, &["busy"], EventFlags::PROCESS);
    let t = thread(&first);
    go(&mut b, &first);
    all_not_stopped(&mut b, t);
    assert!(matches!(b.set_up(t, setup(EventFlags::SYSCALL)), Err(Error::NotStopped { .. })));
    assert!(matches!(b.resume(t, Run::Continue, None), Err(Error::NotStopped { .. })));
    assert!(matches!(b.detach(t, None), Err(Error::NotStopped { .. })));
    kill(t.pid.as_raw(), libc::SIGUSR1);
    std::thread::sleep(Duration::from_millis(100));
    all_not_stopped(&mut b, t);
    let stop = next(&mut b);
    assert!(matches!(reason(&stop), RawReason::Signal { .. }));
    b.registers(t).unwrap();
    b.kill(t.pid, stop.tid).unwrap();
    next(&mut b);
    // Another's.
    let (talk, _) = Talk::new(&["sleep"]);
    let (other, _) = Talk::new(&["tracer", &talk.pid.to_string()]);
    let tid = b.threads(talk.pid).unwrap()[0];
    all_not_stopped(&mut b, Thread { pid: talk.pid, tid });
    kill(other.pid.as_raw(), libc::SIGKILL); // and with it what it traces
}

/// The process has ended, or the thread alone, or there never was one.
pub(super) fn gone() {
    let mut b = FreeBsd::open().unwrap();
    let first = start(&mut b, &["busy"], EventFlags::PROCESS);
    let t = thread(&first);
    go(&mut b, &first);
    kill(t.pid.as_raw(), libc::SIGKILL);
    assert!(matches!(next(&mut b).kind, RawKind::Ended(_)));
    all_gone(&mut b, t);
    // A thread of a process that lives on.
    let mut stop = start(&mut b, &["threads", "1"], EventFlags::PROCESS | EventFlags::THREAD);
    let mut ended = None;
    while let RawKind::Stop(why) = stop.kind {
        if let Some(ended) = ended {
            all_gone(&mut b, ended);
        }
        if why == RawReason::ThreadExiting {
            ended = Some(thread(&stop));
            // The main thread waits for it, so there is no stop but what we ask for.
            b.registers(thread(&stop)).unwrap();
            go(&mut b, &stop);
            std::thread::sleep(Duration::from_millis(50));
            let _ = b.interrupt(thread(&stop));
        } else {
            go(&mut b, &stop);
        }
        stop = next(&mut b);
    }
    assert!(ended.is_some());
    // There never was one.
    let (pid, tid) = (Pid::from_raw(99_990), Tid::from_raw(t.tid.as_raw() + 50_000));
    all_gone(&mut b, Thread { pid, tid });
}

/// One that nobody traces is neither.
pub(super) fn not_traced() {
    let mut b = FreeBsd::open().unwrap();
    let (talk, _) = Talk::new(&["sleep"]);
    let tid = b.threads(talk.pid).unwrap()[0];
    for (i, answer) in answers(&mut b, Thread { pid: talk.pid, tid }).into_iter().enumerate() {
        match answer {
            Err(Error::Os { source, .. }) => assert_eq!(source.raw_os_error(), Some(libc::EPERM)),
            other => panic!("{i}: {other:?}"),
        }
    }
    talk.finish();
}
