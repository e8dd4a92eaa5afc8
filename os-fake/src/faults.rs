//! Seeded bugs, to see that a check finds them.

use trapline_core::backend::{NewTask, RawKind, RawReason, RawStop, Run, Thread, TrapOrigin};
use trapline_core::{Error, ExitStatus, Pid, Result, Signal, Tid};

use crate::model::{Model, State, Stop};
use crate::report::Report;

/// The same number on both systems.
const EIO: i32 = 5;

/// A bug of a back end. A check of an engine that misses it is worth nothing.
///
/// ```
/// use trapline::fake::{Fault, Kernel, LinuxRules};
///
/// let kernel = Kernel::<LinuxRules>::new();
/// kernel.seed(Fault::LosesForks);
/// // What a test of a tracer finds now, it must find.
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// Loses the first stop of a new process.
    LosesChildren,
    /// Forgets a new process that stops before its creator has reported it.
    ForgetsEarlyChildren,
    /// Loses what a parent says of its forks, and runs it on.
    LosesForks,
    /// Loses execs, and runs the thread on.
    LosesExecs,
    /// Loses the ends of those that were killed.
    LosesTheKilled,
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
    /// Says that memory was written, and does nothing.
    LosesWrites,
    /// Says that registers were set, and does nothing.
    LosesRegisters,
    /// Loses the traps of breakpoint instructions, and runs the thread on.
    LosesTraps,
    /// Reports such traps once more when the thread is resumed.
    DoublesTraps,
    /// Runs threads on that are to be stepped.
    LosesSteps,
    /// Does what it says has failed.
    DoesWhatFails,
    /// Says that the thread of a request that has failed is gone.
    FailsAsGone,
    /// Runs the thread of a request that has failed.
    RunsWhatFails,
}

impl Model {
    /// A request fails.
    pub(crate) fn fails<T>(
        &mut self,
        request: &'static str,
        id: i32,
        answer: impl FnOnce(&mut Model) -> Result<T>,
    ) -> Result<T> {
        match self.fault {
            Some(Fault::DoesWhatFails) => drop(answer(self)),
            Some(Fault::FailsAsGone) => return Err(Error::GONE),
            Some(Fault::RunsWhatFails) => {
                let tid = Tid::from_raw(id);
                if let Some(pid) = self.tasks.get(&tid).map(|task| task.pid) {
                    let _ = self.resume(Thread { pid, tid }, Run::Continue, None);
                }
            }
            _ => {}
        }
        let source = std::io::Error::from_raw_os_error(EIO);
        Err(Error::os(request, id, source))
    }

    /// A wait takes a report; `None` if that gets lost.
    pub(crate) fn report_or_lose(&mut self, report: Report) -> Option<RawStop> {
        let fresh = self.tasks.get(&report.tid).is_some_and(|task| task.fresh);
        let thread = Thread { pid: report.pid, tid: report.tid };
        let mut raw = self.report(report);
        match (self.fault, &mut raw.kind) {
            (Some(Fault::LosesChildren), RawKind::Stop(RawReason::Paused)) if fresh => None,
            (Some(Fault::ForgetsEarlyChildren), RawKind::Stop(RawReason::Paused))
                if fresh && self.is_untold(report.pid) =>
            {
                None
            }
            (Some(Fault::LosesTheKilled), RawKind::Ended(ExitStatus::Killed { .. })) => None,
            (Some(Fault::LosesForks), RawKind::Stop(RawReason::Forked { .. }))
            | (Some(Fault::LosesExecs), RawKind::Stop(RawReason::Execed { .. })) => {
                let _ = self.resume(thread, Run::Continue, None);
                None
            }
            (Some(Fault::LosesTraps), RawKind::Stop(RawReason::Signal { .. }))
                if self.is_at_breakpoint(report.tid) =>
            {
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
    pub(crate) fn mix_up(&self, task: NewTask) -> NewTask {
        match (self.fault, task) {
            (Some(Fault::MixesUpChildren), NewTask::Process { pid, sibling }) => {
                NewTask::Process { pid: Pid::from_raw(pid.as_raw() + 1), sibling }
            }
            _ => task,
        }
    }

    /// Whether the creator of a new process has still to report it.
    fn is_untold(&self, child: Pid) -> bool {
        let tells = |stop: &Stop| match stop.made {
            Some(NewTask::Process { pid, .. }) => pid == child && !stop.reported,
            _ => false,
        };
        self.tasks.values().any(|task| matches!(&task.state, State::Stopped(stop) if tells(stop)))
    }

    /// Whether a thread has stopped for a breakpoint instruction.
    fn is_at_breakpoint(&self, tid: Tid) -> bool {
        self.tasks.get(&tid).is_some_and(|task| match &task.state {
            State::Stopped(stop) => stop.origin == TrapOrigin::Breakpoint,
            _ => false,
        })
    }

    pub(crate) fn faulty_resume(
        &mut self,
        thread: Thread,
        run: Run,
        signal: Option<Signal>,
    ) -> Result<()> {
        let again = self.fault == Some(Fault::DoublesTraps) && self.is_at_breakpoint(thread.tid);
        let run = if self.fault == Some(Fault::LosesSteps) { Run::Continue } else { run };
        match (self.fault, signal) {
            _ if again => {
                self.resume(thread, Run::Continue, None)?;
                self.stop_for(thread.tid, Signal::TRAP, TrapOrigin::Breakpoint);
                Ok(())
            }
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
