//! Signals that the kernel reports twice.
//!
//! A signal that reaches a thread which is just about to sleep is reported from there. If it is
//! delivered, the kernel puts it back into the thread's queue, which ends the sleep, and reports it
//! once more on the way out of the system call (`sleepq_check_ast_sc_locked` in
//! `kern/subr_sleepqueue.c`, `ptracestop` and `ast_sig` in `kern/kern_sig.c`). Anywhere else it is
//! delivered right after the report. What tells them apart is that the stopped thread is on a
//! sleep queue, inside a system call. It is to be reported once.
//!
//! A stop says whether it is inside of a call (PL_FLAG_SCE), but not of one that it entered before
//! the attach (`syscallenter` in `kern/subr_syscall.c`).

use trapline_core::backend::Thread;
use trapline_core::{Signal, Tid};

use crate::decode::{LwpFlags, LwpInfo, SigInfo};
use crate::system::FreeBsd;
use crate::tracee::Tracee;

/// A signal that a thread has stopped for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reported {
    pub(crate) tid: Tid,
    info: SigInfo,
    /// It may be inside a system call.
    inside: bool,
}

/// What is remembered of the signals of a tracee.
#[derive(Debug, Default)]
pub(crate) struct Signals {
    /// The signal of the last stop.
    pub(crate) last: Option<Reported>,
    /// Those that are delivered, and will be reported once more.
    duplicates: Vec<Reported>,
    /// The LWPs that may be in a system call since before the attach.
    pub(crate) were_inside: Vec<Tid>,
}

impl Tracee {
    /// A thread has stopped, perhaps for a signal; says whether that was reported already.
    pub(crate) fn is_duplicate(&mut self, stop: &LwpInfo) -> bool {
        let signals = &mut self.signals;
        let known = stop.flags.contains(LwpFlags::SCE);
        if known {
            signals.were_inside.retain(|&tid| tid != stop.tid);
        }
        let inside = known || signals.were_inside.contains(&stop.tid);
        signals.last = stop.siginfo.map(|info| Reported { tid: stop.tid, info, inside });
        let Some(reported) = signals.last else { return false };
        let same = |other: &Reported| (other.tid, other.info) == (reported.tid, reported.info);
        let at = signals.duplicates.iter().position(same);
        at.map(|at| signals.duplicates.swap_remove(at)).is_some()
    }
}

impl FreeBsd {
    /// A signal is about to be delivered to a thread that may have stopped for it.
    pub(crate) fn delivers(&mut self, thread: Thread, signal: Signal) {
        let (pid, tid) = (thread.pid.as_raw(), thread.tid);
        let Some(reported) = self.tracees.get(&pid).and_then(|tracee| tracee.signals.last) else {
            return;
        };
        let same = reported.tid == tid && reported.info.signo == signal.as_raw();
        if !same || !reported.inside {
            return;
        }
        // The list has no entry for a thread alone.
        let threads = self.kernel.threads(pid).unwrap_or_default();
        let sleeps = threads.iter().any(|other| other.tid == tid.as_raw() && other.on_sleep_queue);
        let Some(tracee) = self.tracees.get_mut(&pid) else { return };
        if sleeps {
            tracee.signals.duplicates.push(reported);
        } else {
            tracee.signals.were_inside.retain(|&other| other != tid); // it is on its way out
        }
    }
}
