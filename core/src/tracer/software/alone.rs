//! Having one thread run alone, to lead it past a breakpoint.

use crate::backend::StopScope;
use crate::error::unless_gone;
use crate::{Backend, Result, Signal};

use super::super::Tracer;
use super::super::table::State;

impl<B: Backend> Tracer<B> {
    /// Where a process is run as a whole: has one thread run alone. Returns the signal that is
    /// then to be delivered, to the thread that has reported it.
    pub(super) fn suspend_others(&mut self, process: u32, index: u32) -> Result<Option<Signal>> {
        if B::STOP_SCOPE == StopScope::Thread {
            return Ok(None);
        }
        let mut signal = None;
        for i in self.table.process(process).threads.clone() {
            let slot = self.table.slot_mut(i);
            if let Some((_, kept)) = &mut slot.deferred {
                signal = signal.or(kept.take());
            }
            let thread = slot.thread;
            if i == index && std::mem::take(&mut slot.stays) {
                unless_gone(self.backend.suspend(thread, false))?;
            } else if i != index && !slot.stays && !slot.dead {
                unless_gone(self.backend.suspend(thread, true))?;
            }
        }
        Ok(signal)
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
            if i != index && !slot.stays && !slot.dead {
                unless_gone(self.backend.suspend(slot.thread, false))?;
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
                if slot.state == State::Resting {
                    slot.state = State::Running;
                }
            }
        }
    }
}
