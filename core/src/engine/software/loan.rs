//! Threads that wait while a process that is not traced shares their memory.
//!
//! A `vfork` child that was detached must not meet a breakpoint, so its parent's are taken out until
//! it has exec'ed or ended. The thread that has made it waits for that anyway. The parent's other
//! threads would run past their breakpoints meanwhile; so they are kept stopped, as long as there is
//! a breakpoint to be missed.

use crate::address_space::{At, Shared};
use crate::backend::Run;
use crate::error::unless_gone;
use crate::{Backend, Pid, Result, Signal};

use super::super::thread::Hold;
use super::super::{Engine, ProcessHandle};
use super::Vfork;

impl<B: Backend> Engine<B> {
    /// Whether a thread would miss breakpoints if it ran now.
    pub(in crate::engine) fn would_miss(&self, index: u32) -> bool {
        let process = self.table.process_of(index);
        let missed = process.space.as_ref().is_some_and(|space| space.borrow().is_missed());
        let soft = &self.table.slot(index).soft;
        missed && !soft.vfork.waits() && soft.at != At::Exiting && !process.is_detaching()
    }

    /// A thread is about to be run: if it would miss breakpoints it is kept until it would not, and
    /// then run so.
    pub(in crate::engine) fn is_kept_back(
        &mut self,
        index: u32,
        run: Run,
        signal: Option<Signal>,
    ) -> bool {
        if !self.would_miss(index) {
            return false;
        }
        let slot = self.table.rest(index);
        slot.hold = Hold::Free;
        slot.soft.queued = Some(run);
        if let Some(signal) = signal {
            self.keep(index, signal, false);
        }
        true
    }

    /// A thread of a process that is kept back, and stopped.
    pub(in crate::engine) fn kept_back_in(&self, process: ProcessHandle) -> Option<u32> {
        let mut threads = self.table.process(process).threads.iter().copied();
        threads.find(|&index| {
            let slot = self.table.slot(index);
            slot.rests() && !slot.stays() && self.would_miss(index)
        })
    }

    /// The same where a process is run as a whole: its threads that would miss breakpoints are kept
    /// from running, and those that were and would not any more are free again. Which thread is run
    /// then, how, and with which signal; `None` if all are kept.
    pub(in crate::engine) fn keep_back(
        &mut self,
        threads: &[u32],
        index: u32,
        run: Run,
        signal: Option<Signal>,
    ) -> Result<Option<(u32, Run, Option<Signal>)>> {
        let process = self.table.slot(index).process;
        if self.table.process(process).space.is_none() {
            return Ok(Some((index, run, signal)));
        }
        self.free_kept(process);
        let mut asked = Some((index, run, signal));
        for &i in threads {
            if self.table.slot(i).is_dead() || !self.would_miss(i) {
                continue;
            }
            let slot = self.table.slot(i);
            let (thread, stays) = (slot.thread, slot.stays());
            let order = match i == index {
                true => Some((run, signal)),
                false => slot.deferred,
            };
            if order.is_none() && stays {
                continue; // kept already, or by the user
            }
            unless_gone(self.backend.get_mut().suspend(thread, true))?;
            let slot = self.table.slot_mut(i);
            (slot.hold, slot.deferred) = (Hold::KeptBack, None);
            slot.soft.queued = Some(order.map_or(slot.run, |(run, _)| run));
            if let Some(signal) = order.and_then(|(_, signal)| signal) {
                self.keep(i, signal, true); // the kernel takes one for the thread that is run
            }
            if i == index {
                asked = None;
            }
        }
        let runs = |&&i: &&u32| !self.table.slot(i).stays() && !self.table.slot(i).is_dead();
        let other = threads.iter().find(runs).map(|&i| (i, Run::Continue, None));
        if asked.is_none() {
            self.table.rest(index);
        }
        Ok(asked.or(other))
    }

    /// Threads of a process that were kept back and need not be any more are run with it, as they
    /// were to be.
    pub(in crate::engine) fn free_kept(&mut self, process: ProcessHandle) {
        for at in 0..self.table.process(process).threads.len() {
            let index = self.table.process(process).threads[at];
            if self.table.slot(index).hold != Hold::KeptBack || self.would_miss(index) {
                continue;
            }
            let slot = self.table.slot_mut(index);
            slot.hold = Hold::Suspended; // which the next resumption ends
            slot.deferred = slot.soft.queued.take().map(|run| (run, None));
        }
    }

    /// Before a process that has the memory of others is detached: if one of their threads waits for
    /// it, and they have breakpoints, their other threads are brought to rest. Says whether it is so.
    pub(super) fn rest_before_loan(
        &mut self,
        process: ProcessHandle,
        pid: Pid,
        space: &Shared,
    ) -> Result<bool> {
        let mut sharers = self.sharers(process);
        sharers.retain(|&other| other != process);
        let waits = |&i: &u32| self.table.slot(i).soft.vfork == Vfork::For(pid);
        let waits = |other: &ProcessHandle| self.table.process(*other).threads.iter().any(waits);
        if !sharers.iter().any(waits) || !space.borrow().is_wanted_by_others(Some(pid)) {
            return Ok(false);
        }
        self.rest_each(&sharers)?;
        Ok(true)
    }

    /// A breakpoint is wanted that cannot be in memory now: the threads that would miss it are
    /// brought to rest.
    pub(super) fn rest_for_loan(&mut self, process: ProcessHandle, space: &Shared) -> Result<()> {
        if space.borrow().is_missed() {
            let sharers = self.sharers(process);
            self.rest_each(&sharers)?;
        }
        Ok(())
    }

    /// Brings processes to rest, whose threads are run again when the queue of passes is looked
    /// through, unless they would miss breakpoints.
    fn rest_each(&mut self, processes: &[ProcessHandle]) -> Result<()> {
        for &process in processes {
            let pid = self.table.process(process).pid;
            if !self.table.is_there(process) {
                continue; // ended while others were brought to rest
            }
            self.table.begin_all_stop(process);
            let rested = self.stop_all(process);
            self.table.end_all_stop(process);
            if rested.is_err() || self.table.is_there(process) && self.is_stopped_whole(process) {
                // Where a process runs as a whole the one that waits in `vfork` has to run.
                self.queue_step_over(pid);
            }
            rested?;
        }
        Ok(())
    }

    /// No breakpoint is missed any more: threads that were kept back run.
    pub(super) fn end_loan(&mut self, space: &Shared) {
        if space.borrow().is_missed() {
            return;
        }
        let kept = |&i: &u32| {
            let slot = self.table.slot(i);
            slot.soft.is_queued() || slot.rests()
        };
        let sharers = self.table.processes().filter(|(_, process)| process.has(space));
        let kept = sharers.filter(|(_, process)| process.threads.iter().any(kept));
        let pids: Vec<Pid> = kept.map(|(_, process)| process.pid).collect();
        pids.into_iter().for_each(|pid| self.queue_step_over(pid));
    }
}
