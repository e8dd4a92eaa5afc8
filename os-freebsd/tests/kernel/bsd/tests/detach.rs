//! Letting go: nothing of ours stays, nothing of the program's is lost.

use std::time::Duration;

use trapline_core::backend::{
    NewTask, Patience, RawKind, RawReason, RawStop, Run, Thread, TrapOrigin, Waited,
};
use trapline_core::{Arch, Backend, EventFlags, Pid, Signal};
use trapline_os_freebsd::FreeBsd;

use super::registers::stepped_into_sleep;
use crate::bsd::driver::*;

type Cpu = <FreeBsd as Backend>::Arch;

/// Waits until a process has nothing pending; the count of handled signals is then final.
fn settle() {
    std::thread::sleep(Duration::from_millis(200));
}

/// Signals before, during and after: as many handled as sent.
pub(super) fn signals_counted() {
    let mut b = FreeBsd::open().unwrap();
    for round in 0..25 {
        let (talk, _) = Talk::new(&["count"]);
        let pid = talk.pid.as_raw();
        let mut sent = 0;
        let mut send = |signal| sent += u32::from(kill(pid, signal));
        send(libc::SIGUSR1);
        b.attach(talk.pid, setup(EventFlags::PROCESS)).unwrap();
        send(libc::SIGUSR2);
        let mut stop = next(&mut b);
        // Let go at its first stop, or at one for a signal, with others pending.
        for _ in 0..round % 5 {
            send(libc::SIGUSR1);
            send(libc::SIGUSR2);
            go(&mut b, &stop);
            stop = next(&mut b);
            assert!(signal(&stop).is_some());
        }
        b.detach(thread(&stop), signal(&stop)).unwrap();
        send(libc::SIGUSR1);
        settle();
        let (handled, code) = talk.finish();
        assert_eq!((handled, code), (sent.to_string(), Some(0)), "round {round}");
    }
}

/// Several threads have hit an int3 when the process is detached: the others run on where it was.
pub(super) fn breakpoints_of_threads() {
    let mut b = FreeBsd::open().unwrap();
    let mut crowds = 0;
    for _ in 0..10 {
        let (talk, line) = Talk::new(&["spot", "6"]);
        let spot: u64 = line.parse().unwrap();
        b.attach(talk.pid, setup(EventFlags::PROCESS)).unwrap();
        let stop = next(&mut b);
        let mut code = [0];
        b.read_memory(thread(&stop), spot, &mut code).unwrap();
        b.write_memory(thread(&stop), spot, Cpu::BREAKPOINT).unwrap();
        go(&mut b, &stop);
        std::thread::sleep(Duration::from_millis(20));
        let trap = RawReason::Signal { signal: Signal::TRAP, trap: Some(TrapOrigin::Breakpoint) };
        let mut stop = next(&mut b);
        // Until another one waits for its turn to report.
        for _ in 0..100 {
            assert_eq!(reason(&stop), trap);
            let mut regs = b.registers(thread(&stop)).unwrap();
            assert_eq!(regs.rip, spot + 1);
            Cpu::set_pc(&mut regs, spot);
            b.set_registers(thread(&stop), &regs).unwrap();
            let others =
                b.threads(talk.pid).unwrap().into_iter().filter(|&tid| Some(tid) != stop.tid);
            let mut infos = others.map(|tid| b.lwp_info(Thread { pid: talk.pid, tid }).unwrap());
            if infos.any(|info| info.reports || info.pending.contains(Signal::TRAP)) {
                crowds += 1;
                break;
            }
            drop(infos);
            b.resume(thread(&stop), Run::Continue, None).unwrap();
            stop = next(&mut b);
        }
        b.write_memory(thread(&stop), spot, &code).unwrap();
        let mut regs = b.registers(thread(&stop)).unwrap();
        Cpu::set_pc(&mut regs, spot);
        b.set_registers(thread(&stop), &regs).unwrap();
        b.detach(thread(&stop), None).unwrap();
        settle();
        let (handled, code) = talk.finish();
        assert_eq!((handled.as_str(), code), ("0", Some(0)));
    }
    println!("{crowds} times with traps that were not reported");
    assert!(crowds > 0);
}

/// Threads that were to step are detached at the stop of one of them; others have trapped too, or
/// are yet to.
pub(super) fn step_outstanding() {
    let mut b = FreeBsd::open().unwrap();
    for _ in 0..20 {
        let (talk, _) = Talk::new(&["spot", "4"]);
        b.attach(talk.pid, setup(EventFlags::PROCESS)).unwrap();
        let stop = next(&mut b);
        let threads = b.threads(talk.pid).unwrap();
        assert_eq!(threads.len(), 5);
        for tid in threads {
            b.set_step(Thread { pid: talk.pid, tid }, true).unwrap();
        }
        b.resume(thread(&stop), Run::Step, None).unwrap();
        let stop = next(&mut b);
        let trap = RawReason::Signal { signal: Signal::TRAP, trap: Some(TrapOrigin::Step) };
        assert_eq!(reason(&stop), trap);
        b.detach(thread(&stop), None).unwrap();
        settle();
        let (handled, code) = talk.finish();
        assert_eq!((handled.as_str(), code), ("0", Some(0)));
    }
}

/// A step that has entered a system call traps when it leaves it, if nobody prevents that.
pub(super) fn step_into_a_call() {
    let mut b = FreeBsd::open().unwrap();
    let (sleeper, stop) = stepped_into_sleep(&mut b);
    let pid = sleeper.pid.as_raw();
    b.detach(thread(&stop), signal(&stop)).unwrap();
    for _ in 0..5 {
        assert!(kill_thread(sleeper.pid, sleeper.tid, libc::SIGUSR1));
        std::thread::sleep(Duration::from_millis(20));
    }
    settle();
    kill(pid, libc::SIGKILL);
    let mut status = 0;
    // SAFETY: the status is valid for a write.
    assert_eq!(unsafe { libc::waitpid(pid, &mut status, 0) }, pid);
    assert_eq!(libc::WTERMSIG(status), libc::SIGKILL, "it has lived until then");
}

/// Threads fork all the time, and one raises signals; a process is detached at a stop of one, until
/// another had a fork to report twice. Nothing stays stopped, and the child of that fork does not
/// stay traced.
pub(super) fn pending_fork() {
    let mut b = FreeBsd::open().unwrap();
    let mut unreported = 0;
    while unreported < 2 {
        let mut stop = start(&mut b, &["raising-forks", "6", "1000"], EventFlags::PROCESS);
        let (pid, parent) = (stop.pid.unwrap(), thread(&stop));
        let mut children: Vec<Pid> = Vec::new();
        for round in 0.. {
            children.extend(child_of(&stop).or(stop.pid).filter(|&child| child != pid));
            if stop.pid == Some(pid) {
                let forks = forks_unreported(&mut b, &stop, &children);
                unreported += forks;
                if forks > 0 || round > 100 {
                    break;
                }
            }
            if matches!(stop.kind, RawKind::Stop(_)) {
                go(&mut b, &stop);
            }
            // The parent's first, so that its children's stops stay unseen; but they have to go on.
            let looks = if round % 2 == 0 { 50 } else { 0 };
            let mut looks = (0..looks).map(|_| {
                std::thread::sleep(Duration::from_millis(1));
                b.look(parent).unwrap()
            });
            let found = looks.find_map(|stop| stop);
            stop = found.unwrap_or_else(|| next(&mut b));
        }
        b.detach(thread(&stop), signal(&stop)).unwrap();
        kill(pid.as_raw(), libc::SIGUSR1); // enough
        // What it was told of is still traced, and is run to its end; then nothing is.
        loop {
            match b.wait(Patience::Block).unwrap() {
                Waited::Stop(stop) => {
                    assert!(
                        children.contains(&stop.pid.unwrap()),
                        "{stop:?} of one to be detached"
                    );
                    if matches!(stop.kind, RawKind::Stop(_)) {
                        go(&mut b, &stop);
                    }
                }
                Waited::NoTracees => break,
                other => panic!("{other:?}"),
            }
        }
        let mut status = 0;
        // SAFETY: the status is valid for a write.
        assert_eq!(unsafe { libc::waitpid(pid.as_raw(), &mut status, 0) }, pid.as_raw());
        assert_eq!(status, 0, "all its children ended well");
    }
}

/// The child that a stop tells of.
fn child_of(stop: &RawStop) -> Option<Pid> {
    match stop.kind {
        RawKind::Stop(RawReason::Forked { task: Some(NewTask::Process { pid, .. }), .. }) => {
            Some(pid)
        }
        _ => None,
    }
}

/// How many threads but the one that reported have made children that were not heard of.
fn forks_unreported(b: &mut FreeBsd, stop: &RawStop, children: &[Pid]) -> usize {
    let pid = stop.pid.unwrap();
    let others = b.threads(pid).unwrap().into_iter().filter(|&tid| Some(tid) != stop.tid);
    let infos = others.filter_map(|tid| b.lwp_info(Thread { pid, tid }).ok());
    let unheard = |child: Pid| !children.contains(&child);
    infos.filter(|info| info.reports && info.child.is_some_and(unheard)).count()
}

/// The SIGSTOP of an interrupt that another stop overtook is not left behind.
pub(super) fn after_overtaken_interrupt() {
    let mut b = FreeBsd::open().unwrap();
    for round in 0..25 {
        let (talk, _) = Talk::new(&["count"]);
        let pid = talk.pid.as_raw();
        b.attach(talk.pid, setup(EventFlags::PROCESS)).unwrap();
        let stop = next(&mut b);
        let mut sent = 0;
        // Both pending at once: the one with the lower number, the SIGSTOP, is first; so it is
        // sent after the other has stopped it.
        go(&mut b, &stop);
        sent += u32::from(kill(pid, libc::SIGUSR1));
        std::thread::sleep(Duration::from_millis(5));
        b.interrupt(thread(&stop)).unwrap();
        let mut stop = next(&mut b);
        if signal(&stop).is_none() {
            go(&mut b, &stop); // it came first after all
            stop = next(&mut b);
        }
        assert_eq!(signal(&stop), Some(Signal::USR1));
        if round % 2 == 0 {
            sent += u32::from(kill(pid, libc::SIGUSR2));
        }
        b.detach(thread(&stop), signal(&stop)).unwrap();
        settle();
        assert_eq!(talk.finish(), (sent.to_string(), Some(0)), "round {round}");
    }
    // At an event, which no signal stop follows by itself.
    for _ in 0..5 {
        let first = start(&mut b, &["raise", "3"], EventFlags::PROCESS);
        b.interrupt(thread(&first)).unwrap();
        // It was stopped, so the next stop is the interrupt's; take another one's instead.
        b.resume(thread(&first), Run::Syscall, None).unwrap();
        let stop = next(&mut b);
        assert_eq!(reason(&stop), RawReason::SyscallExit);
        let pid = stop.pid.unwrap().as_raw();
        b.detach(thread(&stop), None).unwrap();
        let mut status = 0;
        // SAFETY: the status is valid for a write.
        assert_eq!(unsafe { libc::waitpid(pid, &mut status, 0) }, pid);
        assert_eq!(libc::WEXITSTATUS(status), 3);
    }
}
