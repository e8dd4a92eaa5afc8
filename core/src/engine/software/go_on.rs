//! A thread that is to run from a breakpoint must not run into it again: which way past it is taken.

use crate::address_space::At;
use crate::backend::Run;
use crate::error::unless_gone;
use crate::{Arch, Backend, Pid, Result, Signal};

use super::super::Engine;
use super::slots::Onward;

/// Where a thread is that is about to be run.
enum Stand {
    /// Where there is no breakpoint, or where it may run into it.
    Nowhere,
    /// At a breakpoint that it has arrived at before.
    At(u64),
    /// The same, but the breakpoint is not in memory for a while.
    Lifted(u64),
    /// In a slot, from which it can go on.
    Slot,
}

impl<B: Backend> Engine<B> {
    /// A thread is about to be run: takes it past the breakpoint that it stands at. If that needs the
    /// others stopped it is queued for [`step_over_queued`](Tracer::step_over_queued).
    pub(in crate::engine) fn go_on_from(
        &mut self,
        index: u32,
        run: Run,
        signal: Option<Signal>,
    ) -> Result<Onward> {
        let onward = self.leave_place(index, run, signal)?;
        if onward == Onward::Waits {
            let slot = self.table.rest(index);
            slot.soft.queued = Some(run);
            let pid = slot.thread.pid;
            self.queue_step_over(pid);
        }
        Ok(onward)
    }

    /// Has the kernel know from where a thread is to run, which is not a breakpoint.
    pub(in crate::engine) fn leave_place(
        &mut self,
        index: u32,
        run: Run,
        signal: Option<Signal>,
    ) -> Result<Onward> {
        let slot = self.table.slot(index);
        if !slot.soft.is_at_any() && !slot.was_interrupted() {
            return Ok(Onward::Runs);
        }
        if slot.soft.at == At::InAnySlot {
            // From now on it is known where it is, as long as it runs.
            unless_gone(self.noted_registers(index))?;
        }
        if let Some(signal) = signal {
            self.show_fault(index, signal)?;
        }
        match self.stand(index, signal)? {
            Stand::Slot => {
                if run == Run::Step {
                    self.leave_done_slot(index)?;
                }
                Ok(Onward::Runs)
            }
            Stand::Nowhere => {
                self.write_back(index)?;
                self.table.slot_mut(index).soft.at.leave();
                Ok(Onward::Runs)
            }
            Stand::Lifted(addr) => {
                self.write_back(index)?;
                self.table.slot_mut(index).soft.at.run_lifted(addr);
                Ok(Onward::Runs)
            }
            Stand::At(addr) => {
                let soft = &mut self.table.slot_mut(index).soft;
                soft.at.arrive(addr);
                soft.again = None; // it has not run into it
                if let Some(space) = self.table.process_of(index).space.clone() {
                    if let Some(onward) = self.step_out_of_line(index, addr, &space, run)? {
                        return Ok(onward);
                    }
                }
                self.write_back(index)?;
                if signal.is_none() {
                    return Ok(Onward::Waits);
                }
                // It gets the signal first, which does nothing, and comes by again.
                let soft = &mut self.table.slot_mut(index).soft;
                soft.at.leave();
                soft.again = Some(addr);
                Ok(Onward::Runs)
            }
        }
    }

    pub(in crate::engine) fn queue_step_over(&mut self, pid: Pid) {
        if !self.software.queue.contains(&pid) {
            self.software.queue.push_back(pid);
        }
    }

    /// Whether a thread stands at a breakpoint that it has to step over in place.
    pub(super) fn stands(&mut self, index: u32) -> Result<bool> {
        let stand = self.stand(index, None)?;
        let at = &mut self.table.slot_mut(index).soft.at;
        match stand {
            Stand::At(addr) => at.arrive(addr),
            Stand::Nowhere => at.lose(),
            Stand::Lifted(_) | Stand::Slot => {}
        }
        Ok(matches!(stand, Stand::At(_)))
    }

    /// Whether a thread stands at a breakpoint that it must not run into, or is about to go back
    /// to one. With a signal it may have to run a handler first, and be back after that.
    fn stand(&mut self, index: u32, signal: Option<Signal>) -> Result<Stand> {
        self.look_if_lifted(index)?;
        let slot = self.table.slot_mut(index);
        let interrupted = slot.was_interrupted();
        let soft = &mut slot.soft;
        let (at, in_slot) = (soft.at.place(), soft.at.is_in_slot());
        if in_slot && signal.is_none() {
            return Ok(Stand::Slot);
        }
        if at.is_none() && !in_slot && !interrupted {
            return Ok(Stand::Nowhere);
        }
        let entered = soft.entered;
        let Some(space) = self.table.process_of(index).space.clone() else {
            return Ok(Stand::Nowhere);
        };
        let (addr, sp) = match (at, signal) {
            (Some(at), None) => (at, 0),
            (None, _) if !in_slot && !space.borrow().has_calls() => return Ok(Stand::Nowhere),
            _ => {
                let Some(registers) = unless_gone(self.noted_registers(index))? else {
                    return Ok(Stand::Nowhere);
                };
                let pc = <B::Arch as Arch>::pc(&registers);
                // Only now: it may have left the slot since, and be about to arrive.
                let in_slot = self.table.slot(index).soft.at.is_in_slot();
                self.table.slot_mut(index).soft.mode = B::code_mode(&registers);
                let back = entered == Some(pc) || in_slot;
                let addr = match B::restarted(&registers) {
                    Some(registers) => <B::Arch as Arch>::pc(&registers),
                    None if at.is_some() || back => pc, // the kernel has gone back already
                    None => return Ok(Stand::Nowhere),
                };
                (addr, <B::Arch as Arch>::sp(&registers))
            }
        };
        let inserted = space.borrow().is_inserted(addr);
        let lifted = !inserted && at == Some(addr) && space.borrow().is_wanted(addr);
        let goes_on = match signal {
            None => true,
            Some(signal) => (inserted || lifted) && self.signal_at(index, signal, addr, sp)?,
        };
        Ok(match goes_on {
            true if self.table.slot(index).soft.at.is_in_slot() => Stand::Slot,
            true if inserted => Stand::At(addr),
            true if lifted => Stand::Lifted(addr),
            _ => Stand::Nowhere,
        })
    }

    /// A thread that was run from a breakpoint which others had to have taken out for a while may
    /// not have got away from there.
    fn look_if_lifted(&mut self, index: u32) -> Result<()> {
        let slot = self.table.slot_mut(index);
        if !slot.soft.at.take_lifted() {
            return Ok(());
        }
        if let Some(registers) = unless_gone(self.shown_registers(index))? {
            self.moved(index, &registers);
        }
        Ok(())
    }
}
