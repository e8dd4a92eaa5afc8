//! Whose a breakpoint instruction is that a thread has run into.

use crate::backend::Thread;
use crate::error::unless_gone;
use crate::{Arch, Backend, Result, Tid, TrapCauses};

use super::super::Tracer;
use super::super::trap::Trap;

/// How many handlers may be on the way at once; of more the breakpoint is reported again.
const RETURNS_MOST: usize = 256;

impl<B: Backend> Tracer<B> {
    /// Whether a trap of this thread can be one of a breakpoint in memory.
    pub(in crate::tracer) fn may_hit(&self, index: u32) -> bool {
        let image = self.table.process_of(index).image.as_ref();
        image.is_some_and(|image| !image.borrow().is_empty())
    }

    /// A breakpoint instruction has trapped.
    pub(in crate::tracer) fn explain_hit(&mut self, index: u32) -> Result<Trap> {
        let slot = self.table.slot(index);
        let (thread, passing) = (slot.thread, slot.soft.passing.is_some());
        let process = self.table.process_of(index);
        let (pid, Some(image)) = (process.pid, process.image.clone()) else {
            return Ok(Trap::Programs);
        };
        let Some(mut registers) = unless_gone(self.backend.registers(thread))? else {
            return Ok(Trap::Gone);
        };
        let pc = <B::Arch as Arch>::pc(&registers);
        let addr = pc.wrapping_sub(<B::Arch as Arch>::BREAKPOINT_ADVANCE);
        let (known, inserted, owner) = {
            let image = image.borrow();
            (image.get(addr).is_some(), image.is_inserted(addr), image.owned(addr, pid))
        };
        if !known {
            return Ok(Trap::Programs);
        }
        if !inserted {
            // Taken out since; or the program's own one, of which a thread that is led past ours
            // has run into just now.
            if passing && self.table.slot(index).soft.at == Some(addr) {
                return Ok(Trap::Programs);
            }
            if owner.is_none() && self.has_breakpoint(thread, addr).unwrap_or(false) {
                return Ok(Trap::Programs);
            }
        }
        <B::Arch as Arch>::set_pc(&mut registers, addr);
        unless_gone(self.backend.set_registers(thread, &registers))?;
        let soft = &mut self.table.slot_mut(index).soft;
        (soft.at, soft.lifted, soft.entered) = (Some(addr), false, None);
        soft.mode = B::code_mode(&registers);
        let returned = self.take_return(thread.tid, &registers);
        Ok(match owner {
            Some(id) if !returned => {
                Trap::Ours(TrapCauses { software: Some(id), ..Default::default() })
            }
            _ => Trap::Unseen,
        })
    }

    /// A thread at a breakpoint is given a signal: if a handler runs, the thread is back
    /// afterwards, with the same registers, and that is no new arrival.
    pub(super) fn note_return(&mut self, tid: Tid, mut registers: <B::Arch as Arch>::Registers) {
        let pc = <B::Arch as Arch>::pc(&registers);
        <B::Arch as Arch>::set_pc(&mut registers, pc); // without what a trap leaves behind
        let returns = &mut self.software.returns;
        if returns.len() >= RETURNS_MOST {
            returns.remove(0);
        }
        returns.push((tid, registers));
    }

    /// A thread goes on from where it is: if it was given a signal there, no handler has run, or that
    /// is over.
    pub(super) fn returns_no_more(&mut self, thread: Thread) -> Result<()> {
        if self.software.returns.iter().any(|(tid, _)| *tid == thread.tid) {
            if let Some(registers) = unless_gone(self.backend.registers(thread))? {
                let mut registers = B::restarted(&registers).unwrap_or(registers);
                let pc = <B::Arch as Arch>::pc(&registers);
                <B::Arch as Arch>::set_pc(&mut registers, pc);
                self.take_return(thread.tid, &registers);
            }
        }
        Ok(())
    }

    /// Whether a thread is back from a handler, with these registers.
    fn take_return(&mut self, tid: Tid, registers: &<B::Arch as Arch>::Registers) -> bool {
        let returns = &mut self.software.returns;
        match returns.iter().rposition(|(thread, regs)| *thread == tid && regs == registers) {
            Some(at) => {
                returns.remove(at);
                true
            }
            None => false,
        }
    }

    /// A thread has these registers now: it may be elsewhere, or read the same code in another way.
    pub(in crate::tracer) fn moved(
        &mut self,
        index: u32,
        registers: &<B::Arch as Arch>::Registers,
    ) {
        let pc = <B::Arch as Arch>::pc(registers);
        let slot = self.table.slot_mut(index);
        slot.soft.mode = B::code_mode(registers);
        if slot.soft.at.is_some_and(|at| at != pc) {
            slot.soft.at = None;
        }
    }
}
