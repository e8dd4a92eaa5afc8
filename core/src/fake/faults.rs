//! Seeded bugs, to see that a check finds them.

use crate::backend::{NewTask, RawKind, RawReason, RawStop, Run, Thread};
use crate::{ExitStatus, Pid, Result, Signal};

use super::kernel::Report;
use super::model::Model;

/// A bug of a back end. A check of an engine that misses it is worth nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// Loses the first stop of a new process.
    LosesChildren,
    /// Loses what a parent says of its forks, and runs it on.
    LosesForks,
    /// Loses execs, and runs the thread on.
    LosesExecs,
    /// Reports every end with the same status.
    LiesAboutEnds,
    /// Does not deliver signals.
    DropsSignals,
    /// Delivers each signal twice.
    DoublesSignals,
    /// Says that a thread was resumed from a stop for a signal, and leaves it there.
    LeavesStopped,
    /// Names the wrong child of a fork.
    MixesUpChildren,
}

impl Model {
    /// A wait takes a report; `None` if that gets lost.
    pub(super) fn report_or_lose(&mut self, report: Report) -> Option<RawStop> {
        let fresh = self.tasks.get(&report.tid).is_some_and(|task| task.fresh);
        let thread = Thread { pid: report.pid, tid: report.tid };
        let mut raw = self.report(report);
        match (self.fault, &mut raw.kind) {
            (Some(Fault::LosesChildren), RawKind::Stop(RawReason::Paused)) if fresh => None,
            (Some(Fault::LosesForks), RawKind::Stop(RawReason::Forked { .. }))
            | (Some(Fault::LosesExecs), RawKind::Stop(RawReason::Execed { .. })) => {
                let _ = self.resume(thread, Run::Continue, None);
                None
            }
            (Some(Fault::LiesAboutEnds), RawKind::Ended(status)) => {
                *status = ExitStatus::Code(99);
                Some(raw)
            }
            (_, RawKind::Stop(RawReason::Forked { task: Some(task), .. })) => {
                *task = self.mix_up(*task);
                Some(raw)
            }
            _ => Some(raw),
        }
    }

    /// What the back end says that a thread has made.
    pub(super) fn mix_up(&self, task: NewTask) -> NewTask {
        match (self.fault, task) {
            (Some(Fault::MixesUpChildren), NewTask::Process { pid, sibling }) => {
                NewTask::Process { pid: Pid::from_raw(pid.as_raw() + 1), sibling }
            }
            _ => task,
        }
    }

    pub(super) fn faulty_resume(
        &mut self,
        thread: Thread,
        run: Run,
        signal: Option<Signal>,
    ) -> Result<()> {
        match (self.fault, signal) {
            (Some(Fault::LeavesStopped), Some(_)) => Ok(()),
            (Some(Fault::DropsSignals), _) => self.resume(thread, run, None),
            (Some(Fault::DoublesSignals), Some(twice)) => {
                self.resume(thread, run, signal)?;
                self.deliver(thread.tid, twice);
                Ok(())
            }
            _ => self.resume(thread, run, signal),
        }
    }
}
