//! W5: a tracer on a thread of its own. Closures go in, in order; notices come out; a stop lasts until it
//! is resumed; and the thread ends with all done that was posted.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use trapline_core::{
    Error, ForkKind, Next, Notice, Pid, Resume, Session, Signal, StopReason, Tid, Tracer,
    TracerThread,
};
use trapline_fake::{Fake, Kernel, Rules};

use crate::common::*;

both![
    w5_closures_go_in_and_notices_come_out,
    w5_a_stop_lasts_until_it_is_resumed,
    w5_tokens_of_threads_that_are_gone_are_forgotten,
    w5_a_halted_process_stays_with_the_state,
    w5_what_was_posted_is_done_before_the_end,
    w5_what_comes_meanwhile_is_not_lost,
    w5_the_thread_does_not_wait_for_itself,
    w5_it_may_be_dropped_by_its_own_closure,
    w5_a_panic_ends_the_thread,
    w5_a_tracer_that_cannot_be_made,
    w5_errors_of_waits_come_out,
];

type Host<R> = TracerThread<Fake<R>, Kernel<R>>;
type Notices = Receiver<Result<Notice, Error>>;

/// How long a test may take.
const LIMIT: Duration = Duration::from_secs(60);

fn limited(test: impl FnOnce() + Send + 'static) {
    let (done, is_done) = channel();
    let thread = std::thread::spawn(move || {
        test();
        let _ = done.send(());
    });
    if is_done.recv_timeout(LIMIT) == Err(RecvTimeoutError::Timeout) {
        panic!("not done after {LIMIT:?}");
    }
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

fn tracer<R: Rules>() -> (Tracer<Fake<R>>, Kernel<R>) {
    let kernel = Kernel::<R>::new();
    let builder = Tracer::builder().events(THREADS).half_patience(Duration::ZERO);
    (builder.build_on(kernel.backend()), kernel)
}

/// A host that keeps all stops, and gets all notices.
fn host<R: Rules>() -> (Host<R>, Notices) {
    let (sender, notices) = channel();
    let thread = TracerThread::start_with(
        || Ok(tracer()),
        move |_: &mut Session<_, _>, notice| {
            let _ = sender.send(notice);
        },
    );
    (thread.unwrap(), notices)
}

fn next(notices: &Notices) -> Notice {
    notices.recv_timeout(LIMIT).expect("a notice").expect("no error")
}

/// Attaches to a new process; its first thread is at its first stop.
fn attach<R: Rules>(host: &Host<R>, notices: &Notices) -> (Pid, Tid) {
    let attached = host.call(|session| {
        let pid = session.state.start();
        session.tracer_mut().attach(pid)?;
        Ok((pid, session.state.leader(pid)))
    });
    let (pid, tid) = attached.unwrap();
    assert_eq!(next(notices), Notice::Stopped { pid, tid, reason: StopReason::Started });
    (pid, tid)
}

fn resume<R: Rules>(host: &Host<R>, tid: Tid) {
    host.call(move |session| session.resume(tid, Resume::Continue)).unwrap();
}

/// Nothing is amiss, and nothing is left to do.
fn check<R: Rules>(host: Host<R>) {
    let wrong = host.call(|session| Ok(session.state.check_idle(&[]))).unwrap();
    assert!(wrong.is_empty(), "{wrong:#?}");
    host.finish().expect("no panic");
}

fn w5_closures_go_in_and_notices_come_out<R: Rules>() {
    limited(|| {
        let (host, notices) = host::<R>();
        let (pid, tid) = attach(&host, &notices);
        resume(&host, tid);
        let child = host.call(move |session| Ok(session.state.fork(tid, ForkKind::Fork))).unwrap();
        let first = host.call(move |session| Ok(session.state.leader(child))).unwrap();
        let fork = next(&notices);
        let expected = Notice::Forked {
            kind: ForkKind::Fork,
            parent_pid: Some(pid),
            child_pid: child,
            parent: Some(tid),
            child: Some(first),
        };
        assert_eq!((&fork, fork.pid()), (&expected, Some(pid)));
        // By posts, in order.
        host.post(move |session| {
            session.resume_all(fork.threads(), Resume::Continue).unwrap();
        })
        .unwrap();
        host.post(move |session| session.state.exit(first, 3)).unwrap();
        match next(&notices) {
            Notice::Exited { pid, status, .. } => {
                assert_eq!((pid, status), (child, trapline_core::ExitStatus::Code(3)));
            }
            other => panic!("{other:?}"),
        }
        check(host);
    });
}

fn w5_a_stop_lasts_until_it_is_resumed<R: Rules>() {
    limited(|| {
        let (host, notices) = host::<R>();
        let (pid, tid) = attach(&host, &notices);
        // It is there to be asked about, from closure to closure.
        for _ in 0..3 {
            let seen = host.call(move |session| {
                let thread = session.at(tid)?;
                thread.registers()?;
                Ok((thread.pid(), session.stops().iter().count()))
            });
            assert_eq!(seen.unwrap(), (pid, 1));
        }
        assert!(notices.try_recv().is_err(), "a stop is given once");
        resume(&host, tid);
        let again = host.call(move |session| session.resume(tid, Resume::Continue));
        assert!(matches!(again, Err(Error::NotStopped { .. })), "{again:?}");
        let asked = host.call(move |session| Ok(session.at(tid).is_err()));
        assert!(asked.unwrap());
        // A signal can be chosen on the token that is here.
        host.call(move |session| {
            session.state.signal(pid, Signal::USR1);
            Ok(())
        })
        .unwrap();
        let reason = StopReason::Signal(Signal::USR1);
        assert_eq!(next(&notices), Notice::Stopped { pid, tid, reason });
        let delivered = host.call(move |session| {
            let (tracer, stops, kernel) = session.parts();
            stops.get_mut(tid).ok_or(Error::NotStopped { pid: None })?.set_signal(None)?;
            let stop = stops.take(tid)?;
            tracer.resume(stop, Resume::Continue)?;
            Ok(kernel.deliveries().len())
        });
        assert_eq!(delivered.unwrap(), 0);
        // One that is taken out and dropped comes again.
        host.call(move |session| {
            session.state.signal(pid, Signal::USR2);
            Ok(())
        })
        .unwrap();
        let reason = StopReason::Signal(Signal::USR2);
        assert_eq!(next(&notices), Notice::Stopped { pid, tid, reason });
        host.call(move |session| session.stops_mut().take(tid).map(drop)).unwrap();
        assert_eq!(next(&notices), Notice::Stopped { pid, tid, reason });
        resume(&host, tid);
        check(host);
    });
}

fn w5_tokens_of_threads_that_are_gone_are_forgotten<R: Rules>() {
    limited(|| {
        let (host, notices) = host::<R>();
        let (pid, tid) = attach(&host, &notices);
        resume(&host, tid);
        let other = host.call(move |session| Ok(session.state.thread(tid))).unwrap();
        let reason = StopReason::ThreadStarted;
        assert_eq!(next(&notices), Notice::Stopped { pid, tid: other, reason });
        // It stays stopped, and is killed with its process.
        host.call(move |session| session.kill(pid)).unwrap();
        let ended = loop {
            match next(&notices) {
                Notice::Exited { pid, status, .. } => break (pid, status),
                Notice::ThreadExited { .. } => {}
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(ended, (pid, KILLED));
        assert_eq!(host.call(|session| Ok(session.stops().iter().count())).unwrap(), 0);
        // A process is detached with the stops that are here.
        let (pid, _) = attach(&host, &notices);
        host.call(move |session| session.detach(pid)).unwrap();
        let left =
            host.call(|session| Ok((session.stops().iter().count(), session.tracer().is_empty())));
        assert_eq!(left.unwrap(), (0, true));
        let (pid, tid) = attach(&host, &notices);
        resume(&host, tid);
        host.call(move |session| session.detach(pid)).unwrap();
        assert!(host.call(|session| Ok(session.tracer().is_empty())).unwrap());
        check(host);
    });
}

fn w5_a_halted_process_stays_with_the_state<R: Rules>() {
    limited(|| {
        let (sender, notices) = channel();
        let thread = TracerThread::start_with(
            || {
                let (tracer, kernel) = tracer::<R>();
                Ok((tracer, (kernel, None)))
            },
            move |_: &mut Session<_, _>, notice| {
                let _ = sender.send(notice);
            },
        );
        let host = thread.unwrap();
        host.call(|session| {
            let pid = session.state.0.start();
            session.tracer_mut().attach(pid)
        })
        .unwrap();
        let [tid] = next(&notices).threads()[..] else { panic!() };
        host.call(move |session| {
            let (tracer, stops, (_, halted)) = session.parts();
            *halted = Some(tracer.halt(stops.take(tid)?)?);
            Ok(())
        })
        .unwrap();
        let threads = host.call(|session| {
            let (tracer, _, (_, halted)) = session.parts();
            let halted = halted.take().ok_or(Error::NotStopped { pid: None })?;
            let threads = halted.iter().count();
            tracer.resume_halted(halted, |_| Next::Continue)?;
            Ok(threads)
        });
        assert_eq!(threads.unwrap(), 1);
        let wrong = host.call(|session| Ok(session.state.0.check_idle(&[]))).unwrap();
        assert!(wrong.is_empty(), "{wrong:#?}");
        host.finish().expect("no panic");
    });
}

fn w5_what_was_posted_is_done_before_the_end<R: Rules>() {
    limited(|| {
        for finishes in [true, false] {
            let (host, _notices) = host::<R>();
            let done = Arc::new(AtomicUsize::new(0));
            for number in 0..1000 {
                let done = Arc::clone(&done);
                host.post(move |_| {
                    let before = done.fetch_add(1, Ordering::SeqCst);
                    assert_eq!(before, number, "in order");
                })
                .unwrap();
            }
            if finishes {
                host.finish().expect("no panic")
            } else {
                drop(host)
            }
            assert_eq!(done.load(Ordering::SeqCst), 1000);
        }
    });
}

fn w5_what_comes_meanwhile_is_not_lost<R: Rules>() {
    limited(|| {
        // A host that never stops asking hears of everything all the same.
        let (host, notices) = host::<R>();
        let (pid, tid) = attach(&host, &notices);
        resume(&host, tid);
        for _ in 0..100 {
            host.post(move |session| session.state.signal(pid, Signal::USR1)).unwrap();
            for _ in 0..20 {
                host.post(|session| assert!(!session.tracer().is_empty())).unwrap();
            }
            let reason = StopReason::Signal(Signal::USR1);
            assert_eq!(next(&notices), Notice::Stopped { pid, tid, reason });
            host.post(move |session| session.resume(tid, Resume::Continue).unwrap()).unwrap();
        }
        check(host);
    });
}

fn w5_the_thread_does_not_wait_for_itself<R: Rules>() {
    limited(|| {
        let (host, notices) = host::<R>();
        let host = Arc::new(host);
        let inner = Arc::clone(&host);
        let answer = host.call(move |_| {
            let answer = inner.call(|_| Ok(()));
            drop(inner);
            Ok(matches!(answer, Err(Error::Unsupported { .. })))
        });
        assert!(answer.unwrap());
        // To post is no problem.
        let (sender, posted) = channel();
        let inner = Arc::downgrade(&host);
        host.call(move |_| {
            let host = inner.upgrade().expect("it is there");
            host.post(move |_| sender.send(7).expect("it is awaited"))
        })
        .unwrap();
        assert_eq!(posted.recv_timeout(LIMIT), Ok(7));
        drop(notices);
    });
}

fn w5_it_may_be_dropped_by_its_own_closure<R: Rules>() {
    limited(|| {
        let (host, notices) = host::<R>();
        let own = Arc::new(Mutex::new(Some(host)));
        let inner = Arc::clone(&own);
        let job = move |_: &mut Session<_, _>| drop(inner.lock().unwrap().take());
        own.lock().unwrap().as_ref().expect("it is there").post(job).unwrap();
        // The handler, and with it the sender, is gone with the thread.
        assert_eq!(notices.recv_timeout(LIMIT).err(), Some(RecvTimeoutError::Disconnected));
        assert!(own.lock().unwrap().is_none());
    });
}

fn w5_a_panic_ends_the_thread<R: Rules>() {
    limited(|| {
        let (host, notices) = host::<R>();
        let (_, tid) = attach(&host, &notices);
        let answer = host.call(|_| -> Result<(), Error> { std::panic::panic_any(42) });
        assert!(matches!(answer, Err(Error::Ended)), "{answer:?}");
        // The handler, and with it the sender, is gone with the thread.
        assert_eq!(notices.recv_timeout(LIMIT).err(), Some(RecvTimeoutError::Disconnected));
        while !host.is_finished() {
            std::thread::yield_now();
        }
        let late = host.call(move |session| session.resume(tid, Resume::Continue));
        assert!(matches!(late, Err(Error::Ended)), "{late:?}");
        assert!(matches!(host.post(|_| {}), Err(Error::Ended)));
        let panic = host.finish().expect_err("the panic");
        assert_eq!(panic.downcast_ref(), Some(&42));
    });
}

fn w5_a_tracer_that_cannot_be_made<R: Rules>() {
    limited(|| {
        let none =
            || -> trapline_core::Result<(Tracer<Fake<R>>, ())> { Err(Error::Gone { pid: None }) };
        let made = TracerThread::start_with(none, |_, _| {});
        assert!(matches!(made, Err(Error::Gone { .. })));
    });
}

fn w5_errors_of_waits_come_out<R: Rules>() {
    limited(|| {
        let (host, notices) = host::<R>();
        let (pid, tid) = attach(&host, &notices);
        resume(&host, tid);
        host.call(move |session| {
            let mut failed = false;
            session.state.fail_requests(move |_, call| {
                call.name == "wait" && !std::mem::replace(&mut failed, true)
            });
            session.state.signal(pid, Signal::USR1);
            Ok(())
        })
        .unwrap();
        let error = notices.recv_timeout(LIMIT).expect("a notice").expect_err("the error");
        assert!(matches!(error, Error::Os { .. }), "{error:?}");
        // And nothing is lost by it.
        let reason = StopReason::Signal(Signal::USR1);
        assert_eq!(next(&notices), Notice::Stopped { pid, tid, reason });
        resume(&host, tid);
        check(host);
    });
}
