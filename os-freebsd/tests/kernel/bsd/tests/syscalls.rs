//! System calls.

use trapline_core::backend::{RawKind, RawReason, Run};
use trapline_core::{Backend, EventFlags, ExitStatus};
use trapline_os_freebsd::FreeBsd;

use crate::bsd::driver::*;

const GETPPID: u64 = 39;
const CLOSE: u64 = 6;
const EXECVE: u64 = 59;

/// Every entry has its exit, but the last; numbers, arguments and results are told.
pub(super) fn entry_and_exit() {
    let mut b = FreeBsd::open().unwrap();
    let flags = EventFlags::PROCESS | EventFlags::SYSCALL;
    let mut stop = start(&mut b, &["pids"], flags);
    let (mut inside, mut parents, mut failed) = (true, 0, false);
    let us = u64::from(std::process::id());
    loop {
        let t = match stop.kind {
            RawKind::Ended(status) => {
                assert_eq!(status, ExitStatus::Code(0));
                break;
            }
            RawKind::Stop(_) => thread(&stop),
        };
        match reason(&stop) {
            RawReason::SyscallEntry => {
                assert!(!inside);
                inside = true;
                assert_eq!(b.syscall(t).unwrap().result, None);
            }
            RawReason::SyscallExit => {
                assert!(inside);
                inside = false;
                let call = b.syscall(t).unwrap();
                match call.number {
                    GETPPID => {
                        assert_eq!(call.result, Some(Ok(us)));
                        parents += 1;
                    }
                    CLOSE if call.args[0] == 12345 => {
                        assert_eq!(call.result, Some(Err(libc::EBADF)));
                        assert_eq!(b.syscall_return(t).unwrap().error, libc::EBADF);
                        assert_eq!(b.syscall_args(t).unwrap()[0], 12345);
                        failed = true;
                    }
                    EXECVE => assert_eq!(call.result, Some(Ok(0))),
                    _ => assert!(call.result.is_some()),
                }
            }
            RawReason::Execed { .. } => {}
            other => panic!("{other:?}"),
        }
        b.resume(t, Run::Syscall, None).unwrap();
        stop = next(&mut b);
    }
    assert!(inside, "exit does not return");
    assert_eq!(parents, 3);
    assert!(failed);
}

/// The kernel merges them into the events' stops; here they come one by one, as on Linux.
pub(super) fn exits_of_fork_and_exec() {
    for mode in ["fork", "vfork", "spawn"] {
        let mut b = FreeBsd::open().unwrap();
        let flags = EventFlags::PROCESS | EventFlags::SYSCALL;
        let first = start(&mut b, &[mode], flags);
        let child = first.pid;
        let lists = trace(&mut b, first, flags, Run::Syscall);
        assert!(child.is_some());
        for list in &lists {
            let mut inside = list[0] == "exec";
            for text in list {
                match text.as_str() {
                    "SyscallEntry" => {
                        assert!(!inside, "{mode}: {list:?}");
                        inside = true;
                    }
                    "SyscallExit" => {
                        assert!(inside, "{mode}: {list:?}");
                        inside = false;
                    }
                    "fork" | "vfork" | "exec" | "VforkDone" => {
                        assert!(inside, "{mode}: {text} in {list:?}");
                    }
                    _ => {}
                }
            }
            assert!(inside, "{mode}: ends in exit: {list:?}");
        }
        // None is told twice, and the exit of a vfork comes when it is over.
        let parent = &lists[0];
        let at = |text: &str| parent.iter().position(|other| other == text);
        if let (Some(vfork), Some(done)) = (at("vfork"), at("VforkDone")) {
            assert!(!parent[vfork..done].contains(&"SyscallExit".into()), "{parent:?}");
            assert_eq!(parent[done + 1], "SyscallExit");
        }
    }
}

/// Asked for by the way it is resumed alone; and no longer when it is not.
pub(super) fn run_syscall_without_flag() {
    let mut b = FreeBsd::open().unwrap();
    let first = start(&mut b, &["pids"], EventFlags::PROCESS);
    b.resume(thread(&first), Run::Syscall, None).unwrap();
    let exit = next(&mut b);
    assert_eq!(reason(&exit), RawReason::SyscallExit, "of the exec");
    b.resume(thread(&exit), Run::Syscall, None).unwrap();
    let entry = next(&mut b);
    assert_eq!(reason(&entry), RawReason::SyscallEntry);
    b.resume(thread(&entry), Run::Continue, None).unwrap();
    assert_eq!(next(&mut b).kind, RawKind::Ended(ExitStatus::Code(0)));
}

/// From the entry and from the exit of a call.
pub(super) fn step_in_a_call() {
    use trapline_core::Signal;
    use trapline_core::backend::TrapOrigin;
    let mut b = FreeBsd::open().unwrap();
    for wanted in [RawReason::SyscallEntry, RawReason::SyscallExit] {
        let mut stop = start(&mut b, &["pids"], EventFlags::PROCESS);
        loop {
            let t = thread(&stop);
            if reason(&stop) == wanted && b.syscall(t).unwrap().number == GETPPID {
                break;
            }
            b.resume(t, Run::Syscall, None).unwrap();
            stop = next(&mut b);
        }
        let t = thread(&stop);
        b.resume(t, Run::Step, None).unwrap();
        let stop = next(&mut b);
        let trap = RawReason::Signal { signal: Signal::TRAP, trap: Some(TrapOrigin::Step) };
        assert_eq!(reason(&stop), trap, "{wanted:?}");
        b.resume(t, Run::Continue, None).unwrap();
        assert_eq!(run_out(&mut b), ExitStatus::Code(0));
    }
}
