//! Who stands at a breakpoint, and must not run into it.

use crate::backend::Run;
use crate::error::unless_gone;
use crate::{Arch, Backend, Pid, Result, Signal};

use super::super::Tracer;
use super::super::table::State;

impl<B: Backend> Tracer<B> {
    /// Whether a thread that is to be run has to be led past a breakpoint first. If so it is
    /// queued for [`pass_queued`](Tracer::pass_queued).
    pub(in crate::tracer) fn holds_back(
        &mut self,
        index: u32,
        run: Run,
        signal: Option<Signal>,
    ) -> Result<bool> {
        if !self.stands(index, signal)? {
            return Ok(false);
        }
        self.table.revoke(index);
        let slot = self.table.slot_mut(index);
        slot.state = State::Resting;
        slot.soft.queued = Some(run);
        let pid = slot.thread.pid;
        self.queue_pass(pid);
        Ok(true)
    }

    /// The same where a process is run as a whole, for any of its threads that would run.
    pub(in crate::tracer) fn holds_process_back(
        &mut self,
        index: u32,
        run: Run,
        signal: Option<Signal>,
    ) -> Result<bool> {
        let process = self.table.slot(index).process;
        if self.table.process(process).image.is_none() {
            return Ok(false);
        }
        let mut stands = false;
        for i in self.table.process(process).threads.clone() {
            let slot = self.table.slot(i);
            let deferred = slot.deferred;
            let runs = i == index || deferred.is_some() || !slot.stays;
            let signal = if i == index { signal } else { deferred.and_then(|(_, signal)| signal) };
            stands |= runs && !slot.dead && self.stands(i, signal)?;
        }
        if stands {
            self.table.revoke(index);
            let slot = self.table.slot_mut(index);
            slot.state = State::Resting;
            let kept = slot.deferred.and_then(|(_, signal)| signal);
            slot.deferred = Some((run, signal.or(kept)));
            let pid = slot.thread.pid;
            self.queue_pass(pid);
        }
        Ok(stands)
    }

    pub(in crate::tracer) fn queue_pass(&mut self, pid: Pid) {
        if !self.software.queue.contains(&pid) {
            self.software.queue.push_back(pid);
        }
    }

    /// Whether a thread stands at a breakpoint that it must not run into, or is about to go back
    /// to one. With a signal it may have to run a handler first, and be back after that.
    pub(super) fn stands(&mut self, index: u32, signal: Option<Signal>) -> Result<bool> {
        self.look_if_lifted(index)?;
        let slot = self.table.slot(index);
        if slot.soft.at.is_none() && !slot.soft.interrupted {
            return Ok(false);
        }
        let thread = slot.thread;
        let (at, interrupted) = (slot.soft.at, slot.soft.interrupted);
        let entered = slot.soft.entered;
        let Some(image) = self.table.process_of(index).image.clone() else {
            self.table.slot_mut(index).soft.at = None;
            return Ok(false);
        };
        let registers = match (at, signal) {
            (Some(_), None) => None,
            (None, _) if !interrupted || !image.borrow().has_calls() => return Ok(false),
            (None, _) => {
                let Some(registers) = unless_gone(self.backend.registers(thread))? else {
                    return Ok(false);
                };
                let back = entered == Some(<B::Arch as Arch>::pc(&registers));
                match B::restarted(&registers) {
                    Some(registers) => Some(registers),
                    None if back => Some(registers), // the kernel has gone back already
                    None => return Ok(false),
                }
            }
            (Some(_), Some(_)) => match unless_gone(self.backend.registers(thread))? {
                Some(registers) => Some(B::restarted(&registers).unwrap_or(registers)),
                None => return Ok(false),
            },
        };
        let mode = registers.as_ref().map(B::code_mode);
        let addr = at.or(registers.as_ref().map(<B::Arch as Arch>::pc));
        let inserted = addr.is_some_and(|addr| image.borrow().is_inserted(addr));
        let lifted = !inserted && at.is_some_and(|at| image.borrow().is_wanted(at));
        if let (Some(registers), Some(_), true) = (registers, signal, inserted || lifted) {
            self.note_return(thread.tid, registers);
        }
        let soft = &mut self.table.slot_mut(index).soft;
        soft.at = addr.filter(|_| (inserted || lifted) && signal.is_none());
        soft.lifted = lifted;
        soft.mode = mode.unwrap_or(soft.mode);
        Ok(inserted && soft.at.is_some())
    }

    /// A thread that was run from a breakpoint which others had to have taken out for a while may
    /// not have got away from there.
    fn look_if_lifted(&mut self, index: u32) -> Result<()> {
        let slot = self.table.slot_mut(index);
        if !std::mem::take(&mut slot.soft.lifted) {
            return Ok(());
        }
        let thread = slot.thread;
        if let Some(registers) = unless_gone(self.backend.registers(thread))? {
            self.moved(index, &registers);
        }
        Ok(())
    }
}
