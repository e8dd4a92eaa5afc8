//! New processes, however they are made.

use std::time::{Duration, Instant};

use trapline_core::{Event, EventFlags, ForkKind, ForkSide, Next, StopReason, Stopped, Tracer};
use trapline_os_freebsd::FreeBsd;

use crate::bsd::driver::*;

const VFORK: u64 = 66;
const THR_EXIT: u64 = 431;

/// The child's first stop is a pause; its end may come before its parent goes on.
pub(super) fn fork_pair() {
    let lists = traced(&["fork"], EventFlags::PROCESS);
    let parent = ["exec", "fork", "SIGCHLD", "exit status 3"];
    assert_eq!(without_sigchld(&lists[0]), without_sigchld(&parent));
    assert_eq!(lists[1], ["Paused", "exit status 3"]);
    assert_eq!(lists.len(), 2);
}

pub(super) fn vfork_pair() {
    let lists = traced(&["vfork"], EventFlags::PROCESS);
    assert_eq!(without_sigchld(&lists[0]), ["exec", "vfork", "VforkDone", "exit status 4"]);
    assert_eq!(lists[1], ["Paused", "exit status 4"]);
}

/// The kernel sends the child's signal to the tracer, and a SIGCHLD to its real parent.
pub(super) fn rfork_told_otherwise() {
    // SAFETY: no handler.
    unsafe { libc::signal(libc::SIGUSR1, libc::SIG_IGN) };
    let lists = traced(&["rfork"], EventFlags::PROCESS);
    assert_eq!(without_sigchld(&lists[0]), ["exec", "fork", "exit status 5"]);
    assert_eq!(lists[1], ["Paused", "exit status 5"]);
}

pub(super) fn pdfork_pair() {
    let lists = traced(&["pdfork"], EventFlags::PROCESS);
    assert_eq!(without_sigchld(&lists[0]), ["exec", "fork", "exit status 6"]);
    assert_eq!(lists[1], ["Paused", "exit status 6"]);
}

pub(super) fn posix_spawn_pair() {
    let lists = traced(&["spawn"], EventFlags::PROCESS);
    assert_eq!(without_sigchld(&lists[0]), ["exec", "vfork", "VforkDone", "exit status 0"]);
    assert_eq!(lists[1], ["Paused", "exec", "exit status 0"]);
}

/// When a process ends while a thread of it forks, the fork is not always reported; the child is
/// traced all the same, and nothing of it may be lost.
pub(super) fn lost_report() {
    let (mut reported, mut lost, mut none) = (0, 0, 0);
    for round in 0..60 {
        let spins = (round * 500).to_string();
        let lists = traced(&["fork-exit", &spins], EventFlags::PROCESS);
        assert_eq!(lists[0].last().unwrap(), "exit status 7");
        match (&lists[..], lists[0].contains(&"fork".into())) {
            ([_, child], told) => {
                assert_eq!(*child, ["Paused", "exit status 0"]);
                *(if told { &mut reported } else { &mut lost }) += 1;
            }
            ([_], false) => none += 1,
            _ => panic!("{lists:?}"),
        }
    }
    println!("{reported} forks reported, {lost} children without, {none} not forked");
}

/// The same through the engine: each child comes once, with its parent or without.
pub(super) fn lost_report_told() {
    let (mut whole, mut alone) = (0, 0);
    for round in 0..400 {
        if whole > 5 && alone > 5 {
            break;
        }
        let mut tracer = tracer(EventFlags::PROCESS);
        let spins = (round % 60 * 500).to_string();
        let pid = tracer.spawn(fixture(&["fork-exit", &spins])).unwrap().pid;
        let (mut children, mut ended) = (Vec::new(), Vec::new());
        while let Some(event) = tracer.wait().unwrap() {
            match &event {
                Event::Forked(fork) => {
                    children.push(fork.child_pid);
                    // Of a parent that has ended without a word nothing is guessed (E2).
                    let named = fork.parent_pid;
                    match fork.parent {
                        ForkSide::Stopped(_) => {
                            assert_eq!(named, Some(pid), "it has reported");
                            whole += 1;
                        }
                        ForkSide::Gone => {
                            assert!(named.is_none_or(|named| named == pid), "{named:?}");
                            alone += 1;
                        }
                        ForkSide::Detached => panic!("{fork:?}"),
                    }
                }
                Event::Exited { pid, .. } => ended.push(*pid),
                _ => {}
            }
            resume(&mut tracer, event);
        }
        assert!(children.len() < 2, "{children:?}");
        children.push(pid);
        children.sort();
        ended.sort();
        assert_eq!(children, ended);
    }
    println!("{whole} with their parents, {alone} without");
    assert!(whole > 5 && alone > 5, "{whole}, {alone}");
}

/// A thread has made a vfork child, and waits for its turn to say so behind another one that ends.
/// Killed then, it says nothing, but waits for the child all the same; that is told at once.
pub(super) fn killed_vforker() {
    let told = (0..40).filter(|_| kills_vforker()).take(3).count();
    assert!(told > 0, "the end of the other thread never came first");
}

/// Says whether it was as described.
fn kills_vforker() -> bool {
    let mut tracer = tracer(EventFlags::PROCESS | EventFlags::SYSCALL | EventFlags::EXIT);
    let pid = tracer.spawn(fixture(&["vfork-end"])).unwrap().pid;
    // Both are brought to the entries of their calls, and then run at the same time.
    let stop = until_call(&mut tracer, VFORK);
    let forker = stop.tid();
    let halted = tracer.halt(stop).unwrap();
    let others = |stop: &Stopped| if stop.tid() == forker { Next::Stay } else { Next::Continue };
    tracer.resume_halted(halted, others).unwrap();
    let stop = until_call(&mut tracer, THR_EXIT);
    let halted = tracer.halt(stop).unwrap();
    tracer.resume_halted(halted, |_| Next::Continue).unwrap();
    let event = tracer.wait().unwrap().unwrap();
    let ends = |stop: &Stopped| stop.reason() == StopReason::ThreadExiting;
    let comes_first = matches!(&event, Event::Stopped(stop) if ends(stop));
    tracer.kill(pid).unwrap();
    resume(&mut tracer, event);
    let begin = Instant::now();
    let (mut told, mut ended) = (false, Vec::new());
    while let Some(event) = tracer.wait().unwrap() {
        match &event {
            Event::Forked(fork) if comes_first => {
                // Not after the ten seconds for which one that may live is waited for.
                assert!(begin.elapsed() < Duration::from_secs(8), "{:?}", begin.elapsed());
                assert_eq!((fork.kind, fork.parent_pid), (ForkKind::Vfork, Some(pid)));
                assert_eq!(fork.parent_tid, Some(forker));
                assert!(matches!(fork.parent, ForkSide::Gone), "{fork:?}");
                assert!(ended.is_empty(), "{ended:?}");
                told = true;
            }
            Event::Exited { pid, .. } => ended.push(*pid),
            _ => {}
        }
        resume(&mut tracer, event);
    }
    assert!(ended.contains(&pid));
    told
}

/// Runs to the entry of a system call.
fn until_call(tracer: &mut Tracer<FreeBsd>, number: u64) -> Stopped {
    loop {
        let stop = next_stop(tracer);
        let entry = stop.reason() == StopReason::SyscallEntry;
        if entry && tracer.syscall(&stop).unwrap().number == number {
            return stop;
        }
        resume(tracer, stop);
    }
}

/// A SIGCHLD that the program ignores may go unreported, or not.
fn without_sigchld(list: &[impl AsRef<str>]) -> Vec<&str> {
    list.iter().map(AsRef::as_ref).filter(|text| *text != "SIGCHLD").collect()
}
