//! What only FreeBSD has, asked of a tracer: `TracerExt`.

use std::collections::BTreeSet;

use trapline_core::{Error, Event, EventFlags, ExitStatus, Pid, Signal, StopReason, Tid};
use trapline_os_freebsd::{EventMask, LwpFlags, Protection, SyscallReturn, TraceStatus, TracerExt};

use crate::bsd::driver::*;

const CLOSE: u32 = 6;
const PIPE: u32 = 42;
const EXECVE: u32 = 59;
const VFORK: u32 = 66;
const SENDFILE: u32 = 393;

/// The state of a thread: what stopped it, and its signals.
pub(super) fn lwp_info() {
    let mut tracer = tracer(EventFlags::PROCESS);
    let stop = spawned(&mut tracer, fixture(&["blocked"]));
    let info = tracer.lwp_info(&stop).unwrap();
    assert_eq!(info.tid, stop.tid());
    assert!(info.reports);
    assert!(info.flags.contains(LwpFlags::EXEC | LwpFlags::SCX), "{info:?}");
    assert_eq!((info.siginfo, info.child, info.syscall), (None, None, EXECVE));
    assert!(!info.blocked.contains(Signal::USR2) && !info.pending.contains(Signal::USR2));
    resume(&mut tracer, stop);
    // It has blocked SIGUSR2, which is pending now, and stops for SIGUSR1.
    let stop = next_stop(&mut tracer);
    assert_eq!(stop.reason(), StopReason::Signal(Signal::USR1));
    let info = tracer.lwp_info(&stop).unwrap();
    assert!(info.flags.contains(LwpFlags::SI) && !info.flags.contains(LwpFlags::EXEC));
    let siginfo = info.siginfo.unwrap();
    assert_eq!((siginfo.signo, siginfo.pid), (Signal::USR1.as_raw(), stop.pid().as_raw()));
    assert!(info.blocked.contains(Signal::USR2) && !info.blocked.contains(Signal::USR1));
    assert!(info.pending.contains(Signal::USR2) && !info.pending.contains(Signal::USR1));
    resume(&mut tracer, stop);
    assert_eq!(finish(&mut tracer), ExitStatus::Code(1), "one signal was handled");
}

/// All threads, those too whose birth nobody asked for.
pub(super) fn lwps() {
    let mut tracer = tracer(EventFlags::PROCESS);
    let (talk, _) = Talk::new(&["spot", "3"]);
    tracer.attach(talk.pid).unwrap();
    let stop = next_stop(&mut tracer);
    let lwps: BTreeSet<Tid> = tracer.lwps(&stop).unwrap().into_iter().collect();
    assert_eq!(lwps.len(), 4);
    assert!(lwps.contains(&stop.tid()));
    let known = tracer.process_info(talk.pid).unwrap().threads.into_iter().collect();
    assert_eq!(lwps, known);
    // One that ended is not there any more.
    tracer.detach(stop).unwrap();
    talk.finish();
    let stop = spawned(&mut tracer, fixture(&["threads", "2"]));
    assert_eq!(tracer.lwps(&stop).unwrap(), [stop.tid()]);
    tracer.set_events(stop.pid(), EventFlags::THREAD).unwrap();
    resume(&mut tracer, stop);
    let mut most = 0;
    while let Some(event) = tracer.wait().unwrap() {
        if let Event::Stopped(stop) = &event {
            assert_eq!(stop.reason(), StopReason::ThreadStarted);
            most = most.max(tracer.lwps(stop).unwrap().len());
        }
        resume(&mut tracer, event);
    }
    assert!((2..=3).contains(&most), "{most}");
}

/// What the kernel was told, which is more than the flags where it can change only at a stop.
pub(super) fn event_mask() {
    let mut tracer = tracer(EventFlags::empty());
    let stop = spawned(&mut tracer, fixture(&["pids"]));
    let pid = stop.pid();
    let always = EventMask::EXEC | EventMask::FORK | EventMask::VFORK;
    assert_eq!(tracer.event_mask(&stop).unwrap(), always);
    tracer.set_events(pid, EventFlags::SYSCALL).unwrap();
    resume(&mut tracer, stop);
    let stop = next_stop(&mut tracer);
    assert_eq!(stop.reason(), StopReason::SyscallExit);
    let calls = always | EventMask::SYSCALL | EventMask::LWP;
    assert_eq!(tracer.event_mask(&stop).unwrap(), calls);
    tracer.set_events(pid, EventFlags::THREAD).unwrap();
    resume(&mut tracer, stop);
    // No bit sticks.
    tracer.interrupt(pid).unwrap();
    match tracer.wait().unwrap() {
        Some(Event::Stopped(stop)) => {
            assert_eq!(stop.reason(), StopReason::Interrupted);
            let mask = tracer.event_mask(&stop).unwrap();
            assert_eq!(mask, always | EventMask::LWP);
            resume(&mut tracer, stop);
            assert_eq!(finish(&mut tracer), ExitStatus::Code(0));
        }
        Some(Event::Exited { .. }) => {} // it was faster
        other => panic!("{other:?}"),
    }
}

/// Every argument, the seventh too, and both values that a call can leave.
pub(super) fn arguments_and_results() {
    let mut tracer = tracer(EventFlags::PROCESS | EventFlags::SYSCALL);
    let mut seen = Vec::new();
    let mut child = None;
    tracer.spawn(fixture(&["calls"])).unwrap();
    let mut main = None;
    while let Some(event) = tracer.wait().unwrap() {
        match &event {
            Event::Stopped(stop) if *main.get_or_insert(stop.pid()) == stop.pid() => {
                let info = tracer.lwp_info(stop).unwrap();
                let call = info.syscall;
                match stop.reason() {
                    StopReason::SyscallEntry if call == SENDFILE => {
                        assert_eq!(info.syscall_args, 7);
                        let args = tracer.syscall_args(stop).unwrap();
                        // Of an int the upper half is undefined.
                        let int = |at: usize| args[at] as i32;
                        assert_eq!([int(0), int(1), int(6)], [-1, -1, 7]);
                        assert_eq!(args[2..6], [3, 4, 0, 0]);
                        assert_eq!(args[7], 0);
                        // It has not returned yet.
                        let early = tracer.syscall_return(stop);
                        assert!(matches!(early, Err(Error::Os { .. })), "{early:?}");
                    }
                    StopReason::SyscallExit => {
                        let left = tracer.syscall_return(stop).unwrap();
                        let args = tracer.syscall_args(stop).unwrap();
                        if call == CLOSE && args[0] != 12345 {
                            // One of the runtime's.
                        } else if [CLOSE, PIPE, EXECVE, VFORK, SENDFILE].contains(&call) {
                            seen.push((call, left));
                        }
                    }
                    _ => {}
                }
            }
            Event::Forked(forked) => child = Some(forked.child_pid.as_raw() as u64),
            Event::Exited { pid, status, .. } if Some(*pid) == main => {
                assert_eq!(*status, ExitStatus::Code(4), "of its vfork child");
            }
            _ => {}
        }
        resume(&mut tracer, event);
    }
    let left = |error, values| SyscallReturn { error, values };
    let ends = match seen[..] {
        [_, _, (PIPE, SyscallReturn { error: 0, values }), _, _] => values,
        _ => panic!("{seen:?}"),
    };
    assert_eq!(ends[1], ends[0] + 1, "two descriptors");
    let want = [
        (EXECVE, left(-2, [0; 2])),
        (SENDFILE, left(libc::EBADF, [0; 2])),
        (PIPE, left(0, ends)),
        (CLOSE, left(libc::EBADF, [0; 2])),
        (VFORK, left(0, [child.unwrap(), 0])),
    ];
    assert_eq!(seen, want);
}

/// The ranges, in order, with protections and files.
pub(super) fn vm_entries() {
    let mut tracer = tracer(EventFlags::PROCESS);
    let (talk, line) = Talk::new(&["memory"]);
    let start: u64 = line.parse().unwrap();
    tracer.attach(talk.pid).unwrap();
    let stop = next_stop(&mut tracer);
    let map = tracer.vm_entries(&stop).unwrap();
    assert!(map.windows(2).all(|pair| pair[0].end < pair[1].start));
    let at = |addr| map.iter().find(|entry| (entry.start..=entry.end).contains(&addr));
    let (first, second) = (at(start).unwrap(), at(start + 4096).unwrap());
    assert_eq!((first.start, first.end), (start, start + 4095));
    assert_eq!((first.protection, &first.path), (Protection::READ, &None));
    assert_eq!(second.protection, Protection::READ | Protection::WRITE);
    assert_eq!(at(start + 2 * 4096), None, "unmapped");
    let this = std::env::current_exe().unwrap();
    let text = |entry: &&trapline_os_freebsd::MapEntry| {
        entry.path.as_ref() == Some(&this) && entry.protection.contains(Protection::EXECUTE)
    };
    let text = map.iter().find(text).expect("the program's own text");
    // What is mapped there is what the file has at that offset.
    let mut bytes = [0; 64];
    tracer.read_memory(&stop, text.start, &mut bytes).unwrap();
    let file = std::fs::read(&this).unwrap();
    assert_eq!(file[text.offset as usize..][..64], bytes);
    tracer.detach(stop).unwrap();
    talk.finish();
}

/// Of any process, traced by this tracer or not.
pub(super) fn trace_status() {
    let mut tracer = tracer(EventFlags::PROCESS);
    let us = Pid::this();
    assert_eq!(tracer.trace_status(us).unwrap(), TraceStatus::NotTraced);
    let (talk, _) = Talk::new(&["sleep"]);
    assert_eq!(tracer.trace_status(talk.pid).unwrap(), TraceStatus::NotTraced);
    tracer.attach(talk.pid).unwrap();
    assert_eq!(tracer.trace_status(talk.pid).unwrap(), TraceStatus::TracedBy(us));
    let stop = next_stop(&mut tracer);
    tracer.detach(stop).unwrap();
    assert_eq!(tracer.trace_status(talk.pid).unwrap(), TraceStatus::NotTraced);
    let pid = talk.pid;
    talk.finish();
    assert!(tracer.trace_status(pid).unwrap_err().is_gone());
    let (talk, _) = Talk::new(&["untraceable"]);
    assert_eq!(tracer.trace_status(talk.pid).unwrap(), TraceStatus::Forbidden);
    talk.finish();
}

/// The nearest ancestor that had asked for it before; init, if there is none.
pub(super) fn reaper() {
    let tracer = tracer(EventFlags::PROCESS);
    let (early, _) = Talk::new(&["sleep"]);
    become_reaper();
    let us = Pid::this();
    assert_ne!(tracer.reaper(early.pid).unwrap(), us);
    early.finish();
    let (talk, _) = Talk::new(&["sleep"]);
    assert_eq!(tracer.reaper(talk.pid).unwrap(), us);
    let pid = talk.pid;
    talk.finish();
    assert!(tracer.reaper(pid).unwrap_err().is_gone());
}

/// Of a process that was killed nothing more can be asked.
pub(super) fn of_the_killed() {
    let mut tracer = tracer(EventFlags::PROCESS);
    let stop = spawned(&mut tracer, fixture(&["busy"]));
    tracer.kill(stop.pid()).unwrap();
    let gone = [
        tracer.lwp_info(&stop).map(drop),
        tracer.lwps(&stop).map(drop),
        tracer.event_mask(&stop).map(drop),
        tracer.syscall_args(&stop).map(drop),
        tracer.syscall_return(&stop).map(drop),
        tracer.vm_entries(&stop).map(drop),
    ];
    for answer in gone {
        assert!(answer.unwrap_err().is_gone());
    }
    resume(&mut tracer, stop);
    assert!(matches!(finish(&mut tracer), ExitStatus::Killed { .. }));
}

/// The kernel's own structures, whole.
pub(super) fn raw_sets() {
    const NT_PRSTATUS: u32 = 1;
    const NT_FPREGSET: u32 = 2;
    const NT_X86_SEGBASES: u32 = 0x200;
    let mut tracer = tracer(EventFlags::PROCESS);
    let stop = spawned(&mut tracer, fixture(&["blocked"]));
    assert_eq!(tracer.siginfo(&stop).unwrap(), None);
    resume(&mut tracer, stop);
    let stop = next_stop(&mut tracer);
    assert_eq!(stop.reason(), StopReason::Signal(Signal::USR1));
    let info = tracer.siginfo(&stop).unwrap().unwrap();
    assert_eq!(i32::from_ne_bytes(*info.first_chunk().unwrap()), Signal::USR1.as_raw());
    let general = tracer.register_set(&stop, NT_PRSTATUS);
    assert!(matches!(general, Err(Error::Unsupported { .. })), "{general:?}");
    let missing = tracer.register_set(&stop, 0xdead);
    assert!(matches!(missing, Err(Error::Os { .. })), "{missing:?}");
    let bases = tracer.register_set(&stop, NT_X86_SEGBASES).unwrap();
    let fs_base = u64::from_ne_bytes(*bases.first_chunk().unwrap());
    assert_eq!(fs_base, tracer.thread_pointer(&stop).unwrap());
    let mut set = tracer.register_set(&stop, NT_FPREGSET).unwrap();
    assert_eq!(set.len(), 512);
    // A byte of a vector register.
    set[200] = 0x5a;
    tracer.set_register_set(&stop, NT_FPREGSET, &set).unwrap();
    assert_eq!(tracer.register_set(&stop, NT_FPREGSET).unwrap()[200], 0x5a);
    resume(&mut tracer, stop);
    assert_eq!(finish(&mut tracer), ExitStatus::Code(1), "one signal was handled");
}
