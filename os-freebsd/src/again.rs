//! Signals that the kernel reports twice.
//!
//! A signal that reaches a thread which is just about to sleep is reported from there. If it is
//! delivered, the kernel puts it back into the thread's queue, which ends the sleep, and reports it
//! once more on the way out of the system call (`sleepq_check_ast_sc_locked` in
//! `kern/subr_sleepqueue.c`, `ptracestop` and `ast_sig` in `kern/kern_sig.c`). Anywhere else it is
//! delivered right after the report. What tells them apart is that the stopped thread is on a
//! sleep queue. The tracer is told once.

use trapline_core::backend::Thread;
use trapline_core::{Signal, Tid};

use crate::backend::{FreeBsd, Tracee};
use crate::decode::SigInfo;

/// A signal that a thread has stopped for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reported {
    tid: Tid,
    info: SigInfo,
}

impl Tracee {
    /// A thread has stopped, for a signal if there is one; says whether that is known already.
    pub(crate) fn knows(&mut self, tid: Tid, signal: Option<SigInfo>) -> bool {
        self.reported = signal.map(|info| Reported { tid, info });
        let again = self.again.iter().position(|&again| Some(again) == self.reported);
        again.map(|at| self.again.swap_remove(at)).is_some()
    }
}

impl FreeBsd {
    /// A signal is about to be delivered to a thread that may have stopped for it.
    pub(crate) fn delivers(&mut self, thread: Thread, signal: Signal) {
        let (pid, tid) = (thread.pid.as_raw(), thread.tid);
        let Some(reported) = self.tracees.get(&pid).and_then(|tracee| tracee.reported) else {
            return;
        };
        if reported.tid != tid || reported.info.signo != signal.as_raw() {
            return;
        }
        // The list has no entry for a thread alone.
        let threads = self.kernel.threads(pid).unwrap_or_default();
        let sleeps = threads.iter().any(|other| other.tid == tid.as_raw() && other.on_sleep_queue);
        if let Some(tracee) = self.tracees.get_mut(&pid).filter(|_| sleeps) {
            tracee.again.push(reported);
        }
    }
}
