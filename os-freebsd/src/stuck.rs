//! Stuck threads: those that the kernel forgets to stop.
//!
//! A thread that meets a signal on its way to a sleep is stopped for it right there. If the signal
//! is not delivered, it goes on to sleep, without another look at whether its process is to stop
//! (`sleepq_check_ast_sc_locked` in `kern/subr_sleepqueue.c`). If another thread has come to a stop
//! in that very moment, this one sleeps on and is not counted as stopped: the stop is never
//! complete, no wait finds it, and no request is heeded until the thread wakes by itself.
//!
//! Another signal wakes it, one that its program handles and that is not shown then. To be on the
//! safe side it is one that is ignored by default, so that it ends nobody, should the program stop
//! handling it meanwhile.
//!
//! Nothing tells that thread from those that were asleep when their process stopped, and for which
//! a signal may interrupt a call that another would not have. It is most likely the one that
//! reported last. If that does not help, the others follow, more of them each time.

use trapline_core::Tid;

use crate::decode::{LwpInfo, SI_LWP};
use crate::sys::Process;
use crate::system::FreeBsd;
use crate::tracee::Tracee;

/// What libthr interrupts threads with, which has a handler in each program with threads; its
/// handler ignores what it did not send.
const SIGTHR: i32 = 32;

const HARMLESS: [i32; 6] =
    [SIGTHR, libc::SIGURG, libc::SIGIO, libc::SIGWINCH, libc::SIGINFO, libc::SIGCHLD];

/// A signal of ours that woke a thread, and is not to be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wakeup {
    pub(crate) tid: Tid,
    pub(crate) signal: i32,
}

impl Tracee {
    /// Whether an LWP has stopped for a signal of ours, which is forgotten then.
    pub(crate) fn takes_wakeup(&mut self, stop: &LwpInfo) -> bool {
        let Some(info) = stop.siginfo else { return false };
        let ours = info.code == SI_LWP && u32::try_from(info.pid) == Ok(std::process::id());
        let same = |wakeup: &Wakeup| (wakeup.tid, wakeup.signal) == (stop.tid, info.signo);
        let at = self.wakeups.iter().position(|wakeup| ours && same(wakeup));
        at.map(|at| self.wakeups.swap_remove(at)).is_some()
    }
}

impl FreeBsd {
    /// Wakes threads of a process that has been about to stop for long, and sleep.
    pub(crate) fn wake_stuck(&mut self, pid: i32) {
        let Some(tracee) = self.tracees.get_mut(&pid) else { return };
        let Ok(mut threads) = self.kernel.threads(pid) else { return };
        let last = tracee.signals.last.map(|reported| reported.tid.as_raw());
        let woken = |tid| tracee.wakeups.iter().filter(|wakeup| wakeup.tid.as_raw() == tid).count();
        // One that was woken sleeps again if the signal came just before it slept.
        threads.retain(|thread| thread.can_be_woken);
        threads.sort_by_key(|thread| (woken(thread.tid), Some(thread.tid) != last));
        threads.truncate(tracee.wakeups.len().max(1));
        for thread in threads {
            let Some(signal) = harmless(&thread) else { continue };
            if self.kernel.kill_thread(pid, thread.tid, signal).is_ok() {
                tracee.wakeups.push(Wakeup { tid: Tid::from_raw(thread.tid), signal });
            }
        }
    }
}

/// A signal that does nothing to a thread but wake it.
fn harmless(thread: &Process) -> Option<i32> {
    HARMLESS.into_iter().find(|&signal| thread.caught.has(signal) && !thread.blocked.has(signal))
}
