//! E7: event flags belong to the process, work under plain continue, and can change at any stop.

use trapline::{Error, Event, EventFlags, Pid, Resume, StopReason};

use crate::common::*;
use crate::fixtures::fixture;

crate::tests! {
    fn e7_flags_change_at_a_stop_and_hold_at_once() {
        let mut tracer = tracer(EventFlags::PROCESS);
        let pid = tracer.spawn(fixture("fork", &["6"])).unwrap().pid;
        let mut forks = 0;
        let mut exits = 0;
        run_with(&mut tracer, |tracer, event| {
            match &event {
                Event::Forked(_) => {
                    forks += 1;
                    if forks == 3 {
                        let flags = tracer.events(pid).unwrap();
                        tracer.set_events(pid, flags - EventFlags::FORK).unwrap();
                    }
                }
                Event::Exited { .. } => exits += 1,
                _ => {}
            }
            Some(event)
        });
        // Its children are still followed; nobody hears of their making.
        assert_eq!((forks, exits), (3, 7));
    }

    fn e7_children_inherit_the_flags() {
        let mut tracer = tracer(EventFlags::PROCESS);
        let stop = spawned(&mut tracer, sh("(sh -c ':'; :); :"));
        tracer.set_events(stop.pid(), EventFlags::FORK | EventFlags::VFORK).unwrap();
        tracer.resume(stop, Resume::Continue).unwrap();
        let log = run_with(&mut tracer, |tracer, event| {
            if let Event::Forked(fork) = &event {
                assert_eq!(
                    tracer.events(fork.child_pid).unwrap(),
                    EventFlags::FORK | EventFlags::VFORK
                );
            }
            Some(event)
        });
        assert_eq!(log.count("exec"), 0);
        assert_eq!(log.count("fork") + log.count("vfork"), 2);
    }

    fn e7_system_calls_are_a_flag_that_comes_and_goes() {
        let mut tracer = tracer(EventFlags::empty());
        let stop = spawned(&mut tracer, fixture("fork", &["3"]));
        let pid = stop.pid();
        tracer.set_events(pid, EventFlags::SYSCALL | EventFlags::FORK).unwrap();
        tracer.resume(stop, Resume::Continue).unwrap();
        let mut inside = std::collections::HashMap::new();
        // The first stop is at the exit of the exec.
        inside.insert(pid, true);
        let (mut pairs, mut forks, mut after) = (0, 0, 0);
        run_with(&mut tracer, |tracer, event| {
            match &event {
                Event::Stopped(stop) => match stop.reason() {
                    StopReason::SyscallEntry => {
                        assert_eq!(inside.insert(stop.pid(), true), Some(false));
                        let call = tracer.syscall(stop).unwrap();
                        assert_eq!(call.result, None);
                        if forks == 3 {
                            after += 1;
                        }
                    }
                    StopReason::SyscallExit => {
                        assert_eq!(inside.insert(stop.pid(), false), Some(true));
                        assert!(tracer.syscall(stop).unwrap().result.is_some());
                        pairs += 1;
                    }
                    _ => {}
                },
                Event::Forked(fork) => {
                    forks += 1;
                    inside.insert(fork.child_pid, false);
                    if forks == 3 {
                        // In the middle of a call: its exit does not come any more.
                        tracer.set_events(pid, EventFlags::FORK).unwrap();
                        inside.insert(pid, false);
                    }
                }
                _ => {}
            }
            Some(event)
        });
        assert_eq!(forks, 3);
        assert!(pairs > 20, "{pairs}");
        // Only the third child still reports them: it had inherited the flag.
        assert!(after < 20, "{after}");
    }

    fn e7_a_process_that_is_not_traced_has_none() {
        let mut tracer = tracer(EventFlags::PROCESS);
        let nobody = Pid::from_raw(1);
        assert!(matches!(tracer.events(nobody), Err(Error::Gone)));
        assert!(matches!(tracer.set_events(nobody, EventFlags::FORK), Err(Error::Gone)));
    }
}
