//! Steps over instructions that store the flags.
//!
//! A CPU that is stepped by a flag (x86: TF) stores that with the others, where the program would
//! find it, or have it set again by what restores them. So it is taken out of what was stored.

use crate::backend::{Run, Thread};
use crate::code_cache::Piece;
use crate::error::unless_gone;
use crate::{Arch, Backend, CodeMode, Passing, Pid, Result};

use super::super::Engine;

impl<B: Backend> Engine<B> {
    /// A thread is about to run, perhaps to make a step.
    pub(in crate::engine) fn begin_step(&mut self, index: u32, run: Run) -> Result<()> {
        if !<B::Arch as Arch>::STORES_STEP_FLAG {
            return Ok(());
        }
        let slot = self.table.slot(index);
        let thread = slot.thread;
        if run != Run::Step {
            if self.software.stepping {
                self.forget_code(thread.pid);
            }
            return Ok(());
        }
        self.software.stepping = true;
        let known = match slot.soft.at.is_in_slot() {
            true => None,
            false => self.backend.get_mut().stepped_to(thread),
        };
        let pc = match known {
            Some(pc) => pc,
            None => match unless_gone(self.shown_registers(index))? {
                Some(registers) => <B::Arch as Arch>::pc(&registers),
                None => return Ok(()),
            },
        };
        // One that runs into a breakpoint executes nothing of the program.
        let slot = self.table.slot(index);
        let space = self.table.process_of(index).space.as_ref();
        let traps = space.is_some_and(|space| space.borrow().is_inserted(pc))
            && !slot.soft.at.is_in_slot()
            && slot.soft.at.place() != Some(pc);
        let stores = !traps && self.stores_flags(index, thread, pc)?;
        self.table.slot_mut(index).soft.stores_flags_at = stores.then_some(pc);
        Ok(())
    }

    fn stores_flags(&mut self, index: u32, thread: Thread, pc: u64) -> Result<bool> {
        if self.software.code.find(thread.pid, pc).is_none() {
            let piece = Piece::around(thread.pid, pc, |start, buf| {
                match self.read_as_program(thread, start, buf) {
                    Err(crate::Error::Gone { .. } | crate::Error::BadAddress { .. }) => Ok(0),
                    read => read,
                }
            })?;
            self.software.code.put(piece);
        }
        let stores =
            |mode, code: &[u8]| <B::Arch as Arch>::passing(code, mode) == Passing::PushesFlags;
        let code = self.software.code.find(thread.pid, pc).unwrap_or_default();
        if !stores(CodeMode::Bits64, code) {
            return Ok(false);
        }
        // The same bytes can be another instruction.
        let Some(registers) = unless_gone(self.shown_registers(index))? else { return Ok(false) };
        let code = self.software.code.find(thread.pid, pc).unwrap_or_default();
        Ok(stores(B::code_mode(&registers), code))
    }

    /// What is known of the code of a process may not be so any more.
    pub(in crate::engine) fn forget_code(&mut self, pid: Pid) {
        self.software.code.forget(pid);
        self.software.stepping = false;
    }

    /// A thread has stopped that was to step over an instruction which stores the flags: takes the
    /// one by which it was stepped out, unless it is the program's own.
    pub(in crate::engine) fn end_step(&mut self, index: u32) -> Result<()> {
        let slot = self.table.slot_mut(index);
        let thread = slot.thread;
        let Some(at) = slot.soft.stores_flags_at.take() else { return Ok(()) };
        let Some(registers) = unless_gone(self.shown_registers(index))? else { return Ok(()) };
        if <B::Arch as Arch>::pc(&registers) == at {
            return Ok(()); // something else came before
        }
        self.hide_step(thread, &registers)
    }

    /// Takes the flag by which a thread was stepped out of those that it has just stored.
    pub(super) fn hide_step(
        &mut self,
        thread: Thread,
        registers: &<B::Arch as Arch>::Registers,
    ) -> Result<()> {
        if <B::Arch as Arch>::steps_itself(registers) {
            return Ok(());
        }
        let (addr, bit) = <B::Arch as Arch>::pushed_step(registers);
        let mut byte = [0];
        if unless_gone(self.backend.get_mut().read_memory(thread, addr, &mut byte))? == Some(1) {
            unless_gone(self.backend.get_mut().write_memory(thread, addr, &[byte[0] & !bit]))?;
        }
        Ok(())
    }
}
