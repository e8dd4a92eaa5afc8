//! A thread has run into a breakpoint instruction: ours or the program's, and which breakpoint it is.

use crate::address_space::InMemory;
use crate::error::unless_gone;
use crate::{Arch, Backend, BreakpointId, Result, TrapCauses};

use super::super::Engine;
use super::super::trap::Trap;
use super::position::Owed;

impl<B: Backend> Engine<B> {
    /// Whether a trap of this thread can be one of a breakpoint in memory.
    pub(in crate::engine) fn may_hit(&self, index: u32) -> bool {
        let space = self.table.process_of(index).space.as_ref();
        space.is_some_and(|space| !space.borrow().is_empty())
    }

    /// The breakpoint that a thread has arrived at, if its process still has it, or has another one
    /// there.
    pub(in crate::engine) fn current_breakpoint(
        &self,
        index: u32,
        id: BreakpointId,
    ) -> Option<BreakpointId> {
        let process = self.table.process_of(index);
        let space = process.space.as_ref()?.borrow();
        let at = self.table.slot(index).soft.at.place();
        let there = at.and_then(|at| space.owned(at, process.pid));
        there.or_else(|| space.has(id).then_some(id))
    }

    /// A thread has a `SIGTRAP`, and nobody has told why: whether a breakpoint instruction must have
    /// trapped, by where the thread is.
    pub(in crate::engine) fn must_be_hit(&mut self, index: u32) -> Result<bool> {
        let thread = self.table.slot(index).thread;
        self.software.looked = None;
        let Some(space) = self.table.process_of(index).space.clone() else { return Ok(false) };
        let Some(mut registers) = unless_gone(self.backend.get_mut().registers(thread))? else {
            return Ok(false);
        };
        let pc = <B::Arch as Arch>::pc(&registers);
        let addr = pc.wrapping_sub(<B::Arch as Arch>::BREAKPOINT_ADVANCE);
        let mode = B::code_mode(&registers);
        let hit = space.borrow().get(addr).is_some_and(|location| {
            location.passing.covers_trap(mode) && location.memory == InMemory::Yes
        });
        if hit {
            <B::Arch as Arch>::set_pc(&mut registers, addr);
            self.keep_trapped(index, registers);
        } else {
            self.software.looked = Some((index, registers));
        }
        Ok(hit)
    }

    /// A breakpoint instruction has trapped.
    pub(in crate::engine) fn explain_hit(&mut self, index: u32) -> Result<Trap> {
        let slot = self.table.slot_mut(index);
        let (thread, passing) = (slot.thread, slot.soft.stepping_over.is_some());
        let owed = std::mem::take(&mut slot.soft.owed);
        let process = self.table.process_of(index);
        let (pid, Some(space)) = (process.pid, process.space.clone()) else {
            return Ok(Trap::Programs);
        };
        if owed == Owed::Nonsense {
            self.table.slot_mut(index).soft.at.leave();
            return Ok(Trap::Unseen);
        }
        if !self.table.slot(index).soft.at.has_trapped() {
            let looked = self.software.looked.take().filter(|&(of, _)| of == index);
            let mut registers = match looked {
                Some((_, registers)) => registers,
                None => match unless_gone(self.backend.get_mut().registers(thread))? {
                    Some(registers) => registers,
                    None => return Ok(Trap::Gone),
                },
            };
            let pc = <B::Arch as Arch>::pc(&registers);
            let addr = pc.wrapping_sub(<B::Arch as Arch>::BREAKPOINT_ADVANCE);
            if space.borrow().get(addr).is_none() && !self.take_out_copy(&space, thread, addr)? {
                return Ok(Trap::Programs);
            }
            let (inserted, owned) = {
                let space = space.borrow();
                (space.is_inserted(addr), space.owned(addr, pid).is_some())
            };
            if !inserted {
                // Taken out since; or the program's own one, of which a thread that steps over ours
                // has run into just now, or which the program has put there.
                if passing && self.table.slot(index).soft.at.place() == Some(addr) {
                    return Ok(Trap::Programs);
                }
                let lost = space.borrow().get(addr).map(|l| l.memory) == Some(InMemory::Lost);
                let sure = !space.borrow().is_doubted();
                if (lost || !owned && sure)
                    && self.has_breakpoint(thread, addr).unwrap_or(false)
                    && !self.take_out_copy(&space, thread, addr)?
                {
                    return Ok(Trap::Programs);
                }
            }
            <B::Arch as Arch>::set_pc(&mut registers, addr);
            self.keep_trapped(index, registers);
        }
        let Some(registers) = self.kept_registers(index) else { return Ok(Trap::Programs) };
        let addr = <B::Arch as Arch>::pc(&registers);
        let soft = &mut self.table.slot_mut(index).soft;
        soft.left_call();
        soft.mode = B::code_mode(&registers);
        self.drop_left_handlers(index, <B::Arch as Arch>::sp(&registers));
        let owner = space.borrow().owned(addr, pid);
        let again = self.table.slot(index).soft.again == Some(addr);
        let watched = !again && space.borrow().is_watched(addr, pid);
        let modules_changed = watched && self.modules_have_changed(thread, &space, addr)?;
        self.table.slot_mut(index).soft.again = None;
        let expected = self.table.slot(index).soft.expects.contains(&addr);
        let software =
            owner.filter(|&id| !again && (expected || self.admits(index, id, &registers)));
        let causes = TrapCauses { software, modules_changed, ..Default::default() };
        Ok(if causes.is_empty() { Trap::Unseen } else { Trap::Ours(causes) })
    }
}
