//! Stepping over a breakpoint out of line: the instruction runs in a copy, and no other thread is
//! stopped for it.
//!
//! A thread that is to run from a breakpoint is sent into a *slot*, where the program's own
//! instruction is followed by a jump back; the breakpoint instruction stays in memory. What need not
//! run at all, because it only moves the program counter, is carried out on the registers. Slots
//! are in memory that the tracee was made to map near the places that they are for.

use crate::address_space::{At, Shared};
use crate::backend::{Run, Thread};
use crate::error::unless_gone;
use crate::{
    Arch, Backend, CodeMode, EmulatedMemory, Error, Relocation, Result, SlotCode, StopReason,
    TrapCauses,
};

use super::super::Engine;

/// How a thread at a breakpoint goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum Onward {
    /// The kernel is to run it.
    Runs,
    /// It has to wait until it can step over the breakpoint in place.
    Waits,
    /// It has made the step that it was to make.
    Stepped,
}

/// The memory of a thread for an instruction that is carried out.
struct Accesses<'a, B: Backend> {
    backend: &'a mut B,
    thread: Thread,
    /// What went wrong, if it is not that there is no such memory.
    error: Option<Error>,
}

impl<B: Backend> Accesses<'_, B> {
    fn is_whole(&mut self, result: Result<usize>, len: usize) -> bool {
        match result {
            Ok(done) => done == len,
            Err(Error::BadAddress { .. }) => false,
            Err(error) => {
                self.error = Some(error);
                false
            }
        }
    }
}

impl<B: Backend> EmulatedMemory for Accesses<'_, B> {
    fn read(&mut self, addr: u64, buf: &mut [u8]) -> bool {
        let result = self.backend.read_memory(self.thread, addr, buf);
        self.is_whole(result, buf.len())
    }

    fn write(&mut self, addr: u64, data: &[u8]) -> bool {
        let result = self.backend.write_data(self.thread, addr, data);
        self.is_whole(result, data.len())
    }
}

impl<B: Backend> Engine<B> {
    /// Takes a thread that stands at a breakpoint past it out of line. `None` if that cannot be: then
    /// it has to be done in place.
    pub(super) fn step_out_of_line(
        &mut self,
        index: u32,
        addr: u64,
        space: &Shared,
        run: Run,
    ) -> Result<Option<Onward>> {
        if !self.software.out_of_line {
            return Ok(None);
        }
        let soft = &self.table.slot(index);
        let (thread, mode) = (soft.thread, soft.soft.mode);
        match unless_gone(self.look_at_code_again(space, thread, addr))? {
            Some(true) => {}
            Some(false) => {
                self.write_back(index)?;
                self.table.slot_mut(index).soft.at.leave();
                return Ok(Some(Onward::Runs));
            }
            None => return Ok(Some(Onward::Runs)), // killed: its end comes
        }
        let slot = space.borrow().get(addr).and_then(|location| location.slot);
        let slot = slot.filter(|&(_, of)| of == mode).map(|(to, _)| to);
        // Of a system call that was interrupted there, they are still those behind it.
        let Some(registers) = unless_gone(self.shown_registers(index))? else {
            return Ok(Some(Onward::Runs)); // killed: its end comes
        };
        if <B::Arch as Arch>::steps_itself(&registers) {
            return Ok(None); // it would trap behind the jump back, or the copy
        }
        if let Some(to) = slot {
            return self.enter_slot(index, registers, addr, to);
        }
        let Some(code) = space.borrow().get(addr).map(|location| location.code) else {
            return Ok(None);
        };
        match <B::Arch as Arch>::relocate(code.bytes(), addr, mode) {
            Relocation::Refused => Ok(None),
            Relocation::Emulate(instruction) => {
                self.emulate(index, addr, registers, &instruction, run)
            }
            Relocation::Copy { .. } => {
                let place = |to| <B::Arch as Arch>::place(code.bytes(), addr, to, mode);
                match self.make_slot(space, thread, (addr, mode), place)? {
                    Some(to) => self.enter_slot(index, registers, addr, to),
                    None => Ok(None),
                }
            }
        }
    }

    fn enter_slot(
        &mut self,
        index: u32,
        mut registers: <B::Arch as Arch>::Registers,
        addr: u64,
        to: u64,
    ) -> Result<Option<Onward>> {
        let behind = <B::Arch as Arch>::pc(&registers).wrapping_sub(addr);
        // A system call that was interrupted, and is to be made again, is behind its instruction:
        // it is put behind the one in the slot.
        <B::Arch as Arch>::enter_slot(to.wrapping_add(behind), &mut registers);
        let thread = self.table.slot(index).thread;
        unless_gone(self.backend.get_mut().set_registers(thread, &registers))?;
        self.table.slot_mut(index).soft.at.enter_slot(to);
        Ok(Some(Onward::Runs))
    }

    /// Carries out the instruction that a thread stands at.
    fn emulate(
        &mut self,
        index: u32,
        addr: u64,
        mut registers: <B::Arch as Arch>::Registers,
        instruction: &<B::Arch as Arch>::Emulated,
        run: Run,
    ) -> Result<Option<Onward>> {
        let slot = self.table.slot(index);
        let thread = slot.thread;
        // The debug registers would not see it.
        let debug = self.table.process(slot.process).debug.as_ref();
        let watches = debug.is_some_and(|debug| debug.watches_data());
        let uses_stack = <B::Arch as Arch>::uses_return_stack(instruction);
        if watches
            || <B::Arch as Arch>::pc(&registers) != addr
            || uses_stack
                && unless_gone(self.backend.get_mut().has_shadow_stack(thread))? != Some(false)
        {
            return Ok(None);
        }
        let mut memory = Accesses { backend: self.backend.get_mut(), thread, error: None };
        let done = <B::Arch as Arch>::emulate(instruction, &mut registers, &mut memory);
        match memory.error {
            Some(Error::Gone { .. }) => return Ok(Some(Onward::Runs)),
            Some(error) => return Err(error),
            None if !done => return Ok(None),
            None => {}
        }
        unless_gone(self.backend.get_mut().set_registers(thread, &registers))?;
        self.table.slot_mut(index).soft.at.leave();
        if run != Run::Step {
            return Ok(Some(Onward::Runs));
        }
        let causes = TrapCauses { single_step: true, ..TrapCauses::default() };
        self.queue(index, StopReason::Trap(causes));
        Ok(Some(Onward::Stepped))
    }

    /// A slot with the code for a place; `None` if there can be none.
    fn make_slot(
        &mut self,
        space: &Shared,
        thread: Thread,
        (from, mode): (u64, CodeMode),
        place: impl Fn(u64) -> Option<SlotCode>,
    ) -> Result<Option<u64>> {
        let reach = <B::Arch as Arch>::SLOT_REACH;
        let find = || {
            let free = space.borrow().free_slots(from, reach);
            free.iter().find_map(|&to| Some((to, place(to)?)))
        };
        let mut found = find();
        if found.is_none() && self.take_back_slots(space, from, reach) {
            found = find();
        }
        if found.is_none() && !space.borrow().is_slotless() {
            match self.backend.get_mut().map_code(thread, from, B::CODE_AREA) {
                Ok(start) => {
                    let stride = <B::Arch as Arch>::SLOT_LENGTH as u64;
                    space.borrow_mut().add_area(start, B::CODE_AREA, stride);
                    found = place(start).map(|code| (start, code));
                }
                Err(Error::Gone { .. } | Error::NotStopped { .. }) => return Ok(None),
                Err(_) => space.borrow_mut().refuse_slots(),
            }
        }
        let Some((to, code)) = found else { return Ok(None) };
        match self.backend.get_mut().write_text(thread, to, code.bytes()) {
            Ok(()) => {}
            Err(Error::Gone { .. }) => return Ok(None),
            Err(_) => {
                space.borrow_mut().refuse_slots();
                return Ok(None);
            }
        }
        space.borrow_mut().fill_slot(from, to, code, mode);
        Ok(Some(to))
    }

    /// Takes the slots of breakpoints back that are gone, unless it is not known of every thread which
    /// slot it may be in. Says whether that was worth while.
    fn take_back_slots(&mut self, space: &Shared, near: u64, reach: u64) -> bool {
        // A process that is not known to share the memory may be in one, too.
        if self.forks.has_unannounced() || space.borrow().is_lent() {
            return false;
        }
        let mut entered = Vec::new();
        for (_, process) in self.table.processes() {
            if process.heritage.is_some() {
                return false;
            }
            if !process.has(space) {
                continue;
            }
            for &index in &process.threads {
                let thread = self.table.slot(index);
                match thread.soft.at {
                    _ if thread.is_dead() => {}
                    At::InSlot(slot) => entered.push(slot),
                    At::InAnySlot => return false,
                    _ => {}
                }
            }
        }
        entered.sort_unstable();
        space.borrow_mut().take_back_slots(near, reach, &entered)
    }

    /// Gives the memory for slots back, once no thread of those that have it is in a slot any more: of
    /// a process that is detached with this one, too. One that the kernel holds may be in one; then the
    /// memory stays.
    pub(super) fn unmap_slots(&mut self, space: &Shared, thread: Thread) {
        let sharers = self.table.processes().filter(|(_, p)| p.has(space));
        let mut threads = sharers.flat_map(|(_, p)| &p.threads).map(|&i| self.table.slot(i));
        let used = threads.any(|slot| slot.soft.at.is_in_slot() && !slot.is_dead());
        drop(threads);
        if !used {
            self.give_back_areas(space, thread);
        }
    }

    pub(super) fn give_back_areas(&mut self, space: &Shared, thread: Thread) {
        for (start, len) in space.borrow().areas() {
            if self.backend.get_mut().unmap_code(thread, start, len).is_err() {
                break; // what cannot be given back does no harm
            }
        }
        space.borrow_mut().forget_areas();
    }
}
