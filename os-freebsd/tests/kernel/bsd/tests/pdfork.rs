//! Processes that their parent holds by a descriptor: E4 and F4 for pdfork(2). A wait for everybody
//! finds them only while they are traced, their end goes to the descriptor, and to close that kills
//! them.

use std::collections::BTreeMap;

use trapline_core::{Event, EventFlags, ExitStatus, Pid, Signal};

use crate::bsd::driver::*;

const KILLED: ExitStatus = ExitStatus::Killed { signal: Signal::KILL, core_dumped: false };

/// Traces it; gives the pid and end of the program and of its child, and the parents at their ends.
fn ends(mode: &str, before: EventFlags) -> [(Pid, ExitStatus, Option<Pid>); 2] {
    let mut tracer = tracer(EventFlags::PROCESS | before);
    let pid = tracer.spawn(fixture(&[mode])).unwrap().pid;
    let mut child = None;
    let mut ends = BTreeMap::new();
    while let Some(event) = tracer.wait().unwrap() {
        match &event {
            Event::Forked(fork) => {
                assert_eq!((fork.parent_pid, child), (Some(pid), None));
                assert!(fork.parent.stopped().is_some() && fork.child.stopped().is_some());
                child = Some(fork.child_pid);
            }
            Event::Exited { pid, status, real_parent } => {
                assert!(ends.insert(*pid, (*pid, *status, *real_parent)).is_none(), "ended twice");
            }
            _ => {}
        }
        resume(&mut tracer, event);
    }
    assert_eq!(ends.len(), 2);
    [ends[&pid], ends[&child.unwrap()]]
}

pub(super) fn told_by_the_descriptor() {
    let [(pid, status, _), (_, end, parent)] = ends("pdfork-watched", EventFlags::empty());
    assert_eq!((status, end, parent), (ExitStatus::Code(6), ExitStatus::Code(6), Some(pid)));
}

/// The real parent is not its parent any more then, by the kernel's word.
pub(super) fn killed_by_a_close() {
    become_reaper();
    let us = Pid::this();
    for flags in [EventFlags::empty(), EventFlags::SYSCALL] {
        let [(_, status, _), (_, end, parent)] = ends("pdfork-closed", flags);
        assert_eq!((status, end, parent), (ExitStatus::Code(7), KILLED, Some(us)));
    }
}

pub(super) fn killed_by_its_parents_end() {
    become_reaper();
    let us = Pid::this();
    let [(_, status, _), (_, end, parent)] = ends("pdfork-left", EventFlags::empty());
    assert_eq!((status, end, parent), (ExitStatus::Code(7), KILLED, Some(us)));
}

pub(super) fn daemons_live_on() {
    become_reaper();
    let us = Pid::this();
    let [(_, status, _), (_, end, parent)] = ends("pdfork-daemon", EventFlags::empty());
    assert_eq!((status, end, parent), (ExitStatus::Code(7), ExitStatus::Code(4), Some(us)));
}

/// One of the host's own, which is both its tracer and its real parent.
pub(super) fn of_the_host() {
    let mut tracer = tracer(EventFlags::PROCESS);
    let mut fd = -1;
    // SAFETY: the descriptor is valid for a write; the child sleeps and exits.
    let pid = match unsafe { libc::pdfork(&mut fd, 0) } {
        0 => {
            // SAFETY: plain values.
            unsafe {
                libc::usleep(300_000);
                libc::_exit(5)
            }
        }
        pid => Pid::from_raw(pid),
    };
    tracer.attach(pid).unwrap();
    let stop = next_stop(&mut tracer);
    resume(&mut tracer, stop);
    match tracer.wait().unwrap() {
        Some(Event::Exited { pid: ended, status, .. }) => {
            assert_eq!((ended, status), (pid, ExitStatus::Code(5)));
        }
        other => panic!("{other:?}"),
    }
    let mut poll = libc::pollfd { fd, events: 0, revents: 0 };
    // SAFETY: one entry, which lives across the call; the descriptor is this function's.
    unsafe {
        assert_eq!(libc::poll(&mut poll, 1, 1000), 1);
        assert_eq!(libc::close(fd), 0);
    }
}
