//! Threads that the kernel forgets to stop.
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

use trapline_core::Tid;

use crate::backend::{FreeBsd, Tracee};
use crate::decode::{LwpInfo, SI_LWP};

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
    /// Wakes the thread of a process that has been about to stop for long, if it is such a one.
    pub(crate) fn wake_the_forgotten(&mut self, pid: i32) {
        let Some(tracee) = self.tracees.get_mut(&pid) else { return };
        // It reported last, from inside of a system call.
        let Some(tid) = tracee.reported_inside() else { return };
        let Ok(threads) = self.kernel.threads(pid) else { return };
        let asleep = |t: &&crate::sys::Process| t.tid == tid.as_raw() && t.on_sleep_queue;
        let Some(thread) = threads.iter().find(asleep) else { return };
        let handled = |&&signal: &&i32| thread.caught.has(signal) && !thread.blocked.has(signal);
        let Some(&signal) = HARMLESS.iter().find(handled) else { return };
        if self.kernel.kill_thread(pid, tid.as_raw(), signal).is_ok() {
            tracee.wakeups.push(Wakeup { tid, signal });
        }
    }
}
