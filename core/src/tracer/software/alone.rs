//! Having one thread run alone, to lead it past a breakpoint.

use crate::backend::StopScope;
use crate::error::unless_gone;
use crate::{Backend, Result, Signal};

use super::super::Tracer;
use super::super::thread::{Hold, State};

impl<B: Backend> Tracer<B> {
    /// Where a process is run as a whole: has one thread run alone. Returns the signal that is
    /// then to be delivered, to the thread that has reported it.
    pub(super) fn suspend_others(&mut self, process: u32, index: u32) -> Result<Option<Signal>> {
        if B::STOP_SCOPE == StopScope::Thread {
            return Ok(None);
        }
        let threads = self.table.process(process).threads.clone();
        for &i in &threads {
            let slot = self.table.slot(i);
            let thread = slot.thread;
            if i == index && slot.hold != Hold::Free {
                unless_gone(self.backend.get_mut().suspend(thread, false))?;
                self.table.slot_mut(i).hold = Hold::Free;
            } else if i != index && !slot.stays() && !slot.is_dead() {
                unless_gone(self.backend.get_mut().suspend(thread, true))?;
                self.table.slot_mut(i).hold = Hold::Suspended;
            }
        }
        let mut signal = None;
        for i in threads {
            if let Some((_, kept)) = &mut self.table.slot_mut(i).deferred {
                signal = signal.or(kept.take());
            }
        }
        Ok(signal)
    }

    /// It could not be run: it is at the breakpoint as before, and so are the others.
    pub(super) fn keep_at_rest(&mut self, process: u32, index: u32, signal: Option<Signal>) {
        let slot = self.table.slot_mut(index);
        slot.run = slot.soft.passing.take().unwrap_or(slot.run);
        slot.state = State::Resting;
        let mut signal = signal;
        for i in self.table.process(process).threads.clone() {
            let slot = self.table.slot_mut(i);
            if B::STOP_SCOPE == StopScope::Process && slot.state == State::Running {
                slot.state = State::Resting;
            }
            if let Some((_, kept @ None)) = &mut slot.deferred {
                *kept = signal.take();
            }
        }
        if let Err(error) = self.free_others(process, index) {
            let pid = self.table.process(process).pid;
            self.failures.note(pid, error);
        }
    }

    /// Where a process is run as a whole: the thread has ended without a word, or was killed.
    pub(super) fn give_up_pass(
        &mut self,
        process: u32,
        index: u32,
        signal: Option<Signal>,
    ) -> Result<()> {
        let slot = self.table.slot_mut(index);
        slot.run = slot.soft.passing.take().unwrap_or(slot.run);
        slot.soft.at = None;
        slot.state = State::Resting;
        for i in self.table.process(process).threads.clone() {
            let slot = self.table.slot_mut(i);
            if slot.state == State::Running {
                slot.state = State::Resting;
            }
            if let Some((_, kept)) = slot.deferred.as_mut().filter(|_| signal.is_some()) {
                *kept = signal;
                break;
            }
        }
        Ok(())
    }

    /// The others may run again, but for those that were told to stay.
    pub(super) fn free_others(&mut self, process: u32, index: u32) -> Result<()> {
        if B::STOP_SCOPE == StopScope::Thread {
            return Ok(());
        }
        for i in self.table.process(process).threads.clone() {
            let slot = self.table.slot(i);
            if i != index && !slot.stays() && !slot.is_dead() {
                unless_gone(self.backend.get_mut().suspend(slot.thread, false))?;
                self.table.slot_mut(i).hold = Hold::Free;
            }
        }
        Ok(())
    }

    /// One thread is about to run. Where one stop stops the process, others that are still inside
    /// the kernel may have something to say as well.
    pub(super) fn alone(&mut self, index: u32) {
        self.table.slot_mut(index).state = State::Running;
        if B::STOP_SCOPE == StopScope::Process {
            let process = self.table.slot(index).process;
            for other in self.table.process(process).threads.clone() {
                let slot = self.table.slot_mut(other);
                if slot.rests() {
                    slot.state = State::Running;
                }
            }
        }
    }
}
