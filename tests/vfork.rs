//! F2: vforks, whose parent waits in the kernel, and whose child holds back stop signals there.

use std::time::{Duration, Instant};

use trapline::{Event, EventFlags, ExitStatus, Half, Resume, Signal, StopReason, Stopped, Tracer};

use crate::common::*;
use crate::fixtures::fixture;

/// A program whose vfork child sleeps so long, and its two halves, stopped.
fn vforking(args: &[&str]) -> (Tracer, Stopped, Stopped) {
    let mut tracer = tracer(EventFlags::PROCESS | EventFlags::VFORK_DONE);
    let stop = spawned(&mut tracer, fixture("slow-vfork", args));
    tracer.resume(stop, Resume::Continue).unwrap();
    match tracer.wait().unwrap() {
        Some(Event::Forked(fork)) => {
            assert_eq!(fork.kind, trapline::ForkKind::Vfork);
            let (Half::Stopped(parent), Half::Stopped(child)) = (fork.parent, fork.child) else {
                panic!("both halves");
            };
            (tracer, parent, child)
        }
        other => panic!("{other:?}"),
    }
}

/// What a process did, but for signals.
fn of<'a>(log: &'a Log, process: &str) -> Vec<&'a str> {
    log.by_process()[process].iter().filter(|e| !e.starts_with("signal")).copied().collect()
}

crate::tests! {
    fn f2_the_end_of_the_sharing_is_told() {
        for (args, child) in [
            (&["100"][..], &["exec", "exit 7 of P1"][..]),
            (&["100", "exit"], &["exit 8 of P1"]),
        ] {
            let flags = EventFlags::PROCESS | EventFlags::VFORK_DONE;
            let log = trace(flags, fixture("slow-vfork", args));
            let exit = if args.len() == 1 { "exit 7 of us" } else { "exit 8 of us" };
            assert_eq!(of(&log, "P1"), ["exec", "vfork P2", "vfork done", exit]);
            assert_eq!(of(&log, "P2"), child);
        }
    }

    // Of a parent that is killed while it waits it is not told, unless the kernel (FreeBSD's) has it
    // wait all the same; the child goes on alone.
    fn f2_a_parent_that_is_killed_in_the_wait() {
        let (mut tracer, parent, child) = vforking(&["700"]);
        let (pid, child_pid) = (parent.pid(), child.pid());
        tracer.resume(child, Resume::Continue).unwrap();
        tracer.resume(parent, Resume::Continue).unwrap();
        std::thread::sleep(Duration::from_millis(100));
        tracer.kill(pid).unwrap();
        let mut ended = Vec::new();
        let log = run_with(&mut tracer, |_, event| {
            if let Event::Exited { pid, .. } = &event {
                ended.push(*pid);
            }
            Some(event)
        });
        ended.sort();
        assert_eq!(ended, [pid, child_pid]);
        assert!(log.count("vfork done") <= usize::from(cfg!(target_os = "freebsd")));
        assert_eq!((log.count("killed SIGKILL of us"), log.count("exit 7")), (1, 1));
    }

    // To interrupt the child takes as long as the kernel makes it, and harms nothing.
    fn f2_a_child_that_is_interrupted() {
        let (mut tracer, parent, child) = vforking(&["400"]);
        let pid = child.pid();
        tracer.resume(child, Resume::Continue).unwrap();
        tracer.resume(parent, Resume::Continue).unwrap();
        std::thread::sleep(Duration::from_millis(50));
        tracer.interrupt(pid).unwrap();
        let log = run(&mut tracer);
        // The exec may answer it, or take it along.
        assert!(log.count("interrupted") <= 1);
        assert_eq!((log.count("vfork done"), log.count("exit 7")), (1, 2));
    }

    // To let the child go does not wait for its exec, and leaves no stop behind.
    fn f3_a_child_that_is_let_go() {
        for exits in [false, true] {
            let args = if exits { &["700", "exit"][..] } else { &["700"] };
            let (mut tracer, parent, child) = vforking(args);
            let (parent_pid, pid) = (parent.pid(), child.pid());
            tracer.resume(child, Resume::Continue).unwrap();
            tracer.resume(parent, Resume::Continue).unwrap();
            std::thread::sleep(Duration::from_millis(50));
            let begin = Instant::now();
            tracer.detach_process(pid).unwrap();
            let took = begin.elapsed();
            assert!(took < Duration::from_millis(500), "{took:?}");
            let mut end = None;
            run_with(&mut tracer, |_, event| {
                if let Event::Exited { pid: ended, status, .. } = &event {
                    if *ended == parent_pid {
                        end = Some(*status);
                    }
                }
                Some(event)
            });
            // Its parent saw its end.
            assert_eq!(end, Some(ExitStatus::Code(if exits { 8 } else { 7 })));
        }
    }

    // Let go at a signal stop, with the stop of an interrupt still to come.
    fn f3_a_child_that_is_let_go_with_an_interrupt_pending() {
        let (mut tracer, parent, child) = vforking(&["3000"]);
        let pid = child.pid();
        tracer.resume(child, Resume::Continue).unwrap();
        tracer.resume(parent, Resume::Continue).unwrap();
        std::thread::sleep(Duration::from_millis(50));
        tracer.interrupt(pid).unwrap();
        // SAFETY: sends a signal to the tracee.
        assert_eq!(unsafe { libc::kill(pid.as_raw(), libc::SIGTERM) }, 0);
        let mut stop = next_stop(&mut tracer);
        assert_eq!(stop.pid(), pid);
        if stop.reason() == StopReason::Interrupted {
            tracer.resume(stop, Resume::Continue).unwrap();
            stop = next_stop(&mut tracer);
        }
        assert_eq!(stop.reason(), StopReason::Signal(Signal::TERM));
        let begin = Instant::now();
        tracer.detach(stop).unwrap(); // which delivers it
        let log = run(&mut tracer);
        assert!(begin.elapsed() < Duration::from_millis(2500), "it died of the signal");
        assert_eq!(log.count("vfork done"), 1);
    }
}
