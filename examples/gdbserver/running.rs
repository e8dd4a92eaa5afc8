//! Running the process, and waiting for its next stop.

use std::collections::BTreeMap;
use std::ops::Range;

use gdbstub::stub::MultiThreadStopReason;
use gdbstub::target::ext::base::multithread::{
    MultiThreadRangeStepping, MultiThreadRangeSteppingOps, MultiThreadResume,
    MultiThreadSchedulerLocking, MultiThreadSchedulerLockingOps, MultiThreadSingleStep,
    MultiThreadSingleStepOps,
};
use trapline::{
    Arch, Error, Event, ExitStatus, Next, Pid, Result, Resume, Signal, StopReason, Stopped, Tid,
    TrapCauses,
};

use super::debuggee::{Debuggee, Inferior};
use super::signals;

/// What gdb is told, for [`Debuggee::wait`].
pub(crate) type Report = MultiThreadStopReason<u64>;

/// What gdb wants each thread to do next.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    actions: BTreeMap<Tid, Action>,
    /// Threads that gdb does not name stay.
    locked: bool,
}

#[derive(Debug, Clone)]
struct Action {
    next: Next,
    signal: Option<Signal>,
    /// Steps on as long as it is in these instructions.
    range: Option<Range<u64>>,
}

impl Plan {
    fn next(&self, tid: Tid) -> Next {
        match self.actions.get(&tid) {
            Some(action) => action.next,
            None if self.locked => Next::Stay,
            None => Next::Continue,
        }
    }
}

/// What [`Debuggee::wait`] has found.
pub(crate) enum Waited {
    /// The process stands still, and gdb is to be told why.
    Stopped(Report),
    /// The process ended.
    Ended(Pid, ExitStatus),
    /// A waker woke.
    Woken,
}

impl Debuggee {
    /// Whether a process is here and runs.
    pub(crate) fn runs(&self) -> bool {
        self.inferior.as_ref().is_some_and(|inferior| inferior.halted.is_none())
    }

    /// Asks a running process to stop.
    pub(crate) fn interrupt(&mut self) -> Result<()> {
        let Some(inferior) = self.inferior.as_mut().filter(|i| i.halted.is_none()) else {
            return Ok(()); // it has just stopped by itself
        };
        inferior.interrupting = true;
        match self.tracer.interrupt(inferior.pid) {
            Err(Error::Gone) => Ok(()), // its end follows
            result => result,
        }
    }

    /// The first stop that gdb has yet to be told of, of a thread that it wants to run.
    fn due(&mut self) -> Option<(Tid, StopReason)> {
        let Inferior { untold, plan, .. } = self.inferior.as_mut()?;
        let at = untold.iter().position(|&(tid, _)| plan.next(tid) != Next::Stay)?;
        untold.remove(at)
    }

    fn is_due(&self) -> bool {
        let runs = |inferior: &Inferior, tid| inferior.plan.next(tid) != Next::Stay;
        self.inferior.as_ref().is_some_and(|i| i.untold.iter().any(|&(tid, _)| runs(i, tid)))
    }

    /// Runs the threads as gdb wants it.
    fn run(&mut self) -> Result<()> {
        let Some(inferior) = &mut self.inferior else { return Ok(()) };
        let Some(mut halted) = inferior.halted.take() else { return Ok(()) };
        let Inferior { plan, untold, .. } = inferior;
        for stop in &mut halted.threads {
            let tid = stop.tid();
            let is_told = !untold.iter().any(|&(other, _)| other == tid);
            let action = plan.actions.get_mut(&tid);
            let signal = action.and_then(|action| action.signal.take());
            if plan.next(tid) == Next::Stay || !is_told {
                continue; // with its signal, if it has one
            }
            match (stop.reason(), signal) {
                (StopReason::Signal(_), signal) => stop.set_signal(signal)?,
                (_, Some(signal)) => self.tracer.inject(stop, signal)?,
                (_, None) => {}
            }
        }
        self.tracer.resume_halted(halted, |stop| plan.next(stop.tid()))
    }

    /// Waits until gdb is to be told something, or a waker wakes.
    pub(crate) fn wait(&mut self) -> Result<Waited> {
        loop {
            if !self.runs() {
                if let Some((tid, reason)) = self.due() {
                    return Ok(Waited::Stopped(self.report(tid, reason)));
                }
                self.run()?;
            }
            let event = self.tracer.wait()?;
            let pid = self.inferior.as_ref().map(|inferior| inferior.pid);
            match event {
                Some(Event::Woken) => return Ok(Waited::Woken),
                Some(Event::Exited { pid: ended, status, .. }) if Some(ended) == pid => {
                    self.inferior = None;
                    return Ok(Waited::Ended(ended, status));
                }
                Some(Event::Stopped(stop)) if Some(stop.pid()) == pid => {
                    if let Some(report) = self.stopped(stop)? {
                        return Ok(Waited::Stopped(report));
                    }
                }
                Some(other) => self.tracer.resume(other, Resume::Continue)?,
                None => return Err(Error::Gone),
            }
        }
    }

    /// gdb has gone away: the next one finds the process at rest, if it lives.
    pub(crate) fn stand_still(&mut self) -> Result<()> {
        self.interrupt()?;
        while self.runs() {
            if let Waited::Stopped(_) = self.wait()? {
                break;
            }
        }
        if let Some(inferior) = &mut self.inferior {
            inferior.interrupting = false;
        }
        Ok(())
    }

    /// A thread has stopped; what gdb is told, if it is.
    fn stopped(&mut self, stop: Stopped) -> Result<Option<Report>> {
        let (tid, reason) = (stop.tid(), stop.reason());
        if !matches!(
            reason,
            StopReason::Signal(_)
                | StopReason::Trap(_)
                | StopReason::Interrupted
                | StopReason::Execed { .. }
        ) {
            // A group-stop goes on as job control wants it.
            self.tracer.resume(stop, Resume::Continue)?;
            return Ok(None);
        }
        let halted = match self.tracer.halt(stop) {
            Ok(halted) => halted,
            Err(Error::Gone) => return Ok(None), // its end follows
            Err(error) => return Err(error),
        };
        let Some(inferior) = &mut self.inferior else { return Ok(None) };
        inferior.halted = Some(halted);
        if matches!(reason, StopReason::Execed { .. }) {
            self.execed();
        } else if let StopReason::Trap(causes) = reason {
            if self.goes_on(tid, causes)? {
                return Ok(None);
            }
        }
        let Some(inferior) = &mut self.inferior else { return Ok(None) };
        if inferior.plan.next(tid) == Next::Stay && reason != StopReason::Interrupted {
            inferior.untold.push_back((tid, reason));
            return Ok(None);
        }
        Ok(Some(self.report(tid, reason)))
    }

    /// Whether gdb does not want to hear of a trap: a step within a range, or a read watchpoint
    /// whose value was changed.
    fn goes_on(&mut self, tid: Tid, causes: TrapCauses) -> Result<bool> {
        if causes.software.is_some() {
            return Ok(false);
        }
        let stepping = self.inferior.as_ref().is_some_and(|i| i.plan.next(tid) == Next::Step);
        if !causes.hardware.is_empty() {
            return Ok(!stepping && self.is_only_written(causes)?);
        }
        let action = self.inferior.as_ref().and_then(|inferior| inferior.plan.actions.get(&tid));
        let Some(range) = action.and_then(|action| action.range.clone()) else {
            return Ok(false);
        };
        let stop = Self::token(&self.inferior, tid)?;
        let registers = self.tracer.registers(stop)?;
        Ok(range.contains(&trapline::x86_64::X86_64::pc(&registers)))
    }

    /// The process runs another program now.
    fn execed(&mut self) {
        if let Some(inferior) = &mut self.inferior {
            let old = std::mem::take(&mut inferior.breakpoints);
            inferior.stale.extend(
                old.iter().map(|inserted| super::breakpoints::address(&inserted.breakpoint)),
            );
            inferior.untold.clear();
            inferior.plan = Plan::default();
        }
        self.look();
    }

    /// In gdb's words.
    fn report(&mut self, tid: Tid, reason: StopReason) -> Report {
        let gdb_tid = super::target::gdb_tid(tid);
        let signal =
            |signal| Report::SignalWithThread { tid: gdb_tid, signal: signals::to_gdb(signal) };
        match reason {
            StopReason::Signal(by) => signal(by),
            StopReason::Interrupted => {
                let asked = self.inferior.as_mut().map(|i| std::mem::take(&mut i.interrupting));
                signal(if asked == Some(true) { Signal::INT } else { Signal::TRAP })
            }
            StopReason::Trap(causes) => self.trap(gdb_tid, causes),
            // gdbstub has no word for an exec.
            _ => signal(Signal::TRAP),
        }
    }
}

impl MultiThreadResume for Debuggee {
    fn resume(&mut self) -> Result<()> {
        match self.is_due() {
            true => Ok(()), // `wait` tells of it
            false => self.run(),
        }
    }

    fn clear_resume_actions(&mut self) -> Result<()> {
        if let Some(inferior) = &mut self.inferior {
            inferior.plan = Plan::default();
        }
        Ok(())
    }

    fn set_resume_action_continue(
        &mut self,
        tid: gdbstub::common::Tid,
        signal: Option<gdbstub::common::Signal>,
    ) -> Result<()> {
        self.plan(tid, Next::Continue, signal, None);
        Ok(())
    }

    fn support_single_step(&mut self) -> Option<MultiThreadSingleStepOps<'_, Self>> {
        Some(self)
    }

    fn support_range_step(&mut self) -> Option<MultiThreadRangeSteppingOps<'_, Self>> {
        Some(self)
    }

    fn support_scheduler_locking(&mut self) -> Option<MultiThreadSchedulerLockingOps<'_, Self>> {
        Some(self)
    }
}

impl MultiThreadSingleStep for Debuggee {
    fn set_resume_action_step(
        &mut self,
        tid: gdbstub::common::Tid,
        signal: Option<gdbstub::common::Signal>,
    ) -> Result<()> {
        self.plan(tid, Next::Step, signal, None);
        Ok(())
    }
}

impl MultiThreadRangeStepping for Debuggee {
    fn set_resume_action_range_step(
        &mut self,
        tid: gdbstub::common::Tid,
        start: u64,
        end: u64,
    ) -> Result<()> {
        self.plan(tid, Next::Step, None, Some(start..end));
        Ok(())
    }
}

impl MultiThreadSchedulerLocking for Debuggee {
    fn set_resume_action_scheduler_lock(&mut self) -> Result<()> {
        if let Some(inferior) = &mut self.inferior {
            inferior.plan.locked = true;
        }
        Ok(())
    }
}

impl Debuggee {
    /// Notes an action. Of several for one thread the first counts.
    fn plan(
        &mut self,
        tid: gdbstub::common::Tid,
        next: Next,
        signal: Option<gdbstub::common::Signal>,
        range: Option<Range<u64>>,
    ) {
        let (Some(inferior), Some(tid)) = (&mut self.inferior, super::target::tid(tid)) else {
            return;
        };
        let signal = signal.and_then(signals::from_gdb);
        inferior.plan.actions.entry(tid).or_insert(Action { next, signal, range });
    }
}
