//! Where a thread is, as its program and its debugger see it.
//!
//! The kernel's program counter differs from the one that is shown in three cases: the breakpoint
//! instruction has trapped, which leaves it behind that; the thread executes a copy of an instruction in
//! a slot; the trap of a breakpoint instruction waits behind the stop that is shown. Every register set that
//! goes out or comes in passes through here, so that nobody sees any of it.

use crate::error::unless_gone;
use crate::{Arch, Backend, Passing, Result, Signal};

use super::super::Engine;

/// What a breakpoint instruction still has to report that a thread has executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Owed {
    #[default]
    Nothing,
    /// The trap is on its way; until then the thread is shown at this address.
    Trap(u64),
    /// The thread was moved meanwhile, so that the trap is about nothing.
    Nonsense,
}

/// Where the program is, other than its program counter says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Position {
    /// Nowhere else.
    Same,
    /// At the instruction whose copy it executes, in the slot at this address.
    Slot(u64),
    /// At a breakpoint whose trap is still to come.
    Trapped(u64),
}

impl<B: Backend> Engine<B> {
    /// The general registers of a stopped thread as the program has them.
    pub(in crate::engine) fn shown_registers(
        &self,
        index: u32,
    ) -> Result<<B::Arch as Arch>::Registers> {
        if let Some(registers) = self.kept_registers(index) {
            return Ok(registers);
        }
        let mut registers = self.backend.borrow_mut().registers(self.table.slot(index).thread)?;
        self.position(index, &mut registers)?;
        Ok(registers)
    }

    /// The same, noting what they say of where the thread is.
    pub(in crate::engine) fn noted_registers(
        &mut self,
        index: u32,
    ) -> Result<<B::Arch as Arch>::Registers> {
        if let Some(registers) = self.kept_registers(index) {
            return Ok(registers);
        }
        let thread = self.table.slot(index).thread;
        let mut registers = self.backend.get_mut().registers(thread)?;
        self.show_position(index, &mut registers)?;
        Ok(registers)
    }

    /// The registers at a breakpoint whose instruction has trapped: they were read then.
    pub(super) fn kept_registers(&self, index: u32) -> Option<<B::Arch as Arch>::Registers> {
        let trapped = self.table.slot(index).soft.at.has_trapped();
        trapped.then(|| self.software.registers.get(index as usize).copied().flatten()).flatten()
    }

    /// Keeps the registers of a thread whose breakpoint instruction has trapped. The program counter
    /// in them is at the breakpoint; the kernel learns that when it has to.
    pub(super) fn keep_trapped(&mut self, index: u32, registers: <B::Arch as Arch>::Registers) {
        let kept = &mut self.software.registers;
        let at = index as usize;
        if kept.len() <= at {
            kept.resize(at + 1, None);
        }
        if let Some(place) = kept.get_mut(at) {
            *place = Some(registers);
            self.table.slot_mut(index).soft.at.trapped(<B::Arch as Arch>::pc(&registers));
        }
    }

    /// Has registers that the kernel gave show where the program is, and says why that is elsewhere.
    fn position(
        &self,
        index: u32,
        registers: &mut <B::Arch as Arch>::Registers,
    ) -> Result<Position> {
        let slot = self.table.slot(index);
        let (thread, soft) = (slot.thread, &slot.soft);
        if !soft.at.is_in_slot() && !slot.was_interrupted() && soft.owed == Owed::Nothing {
            return Ok(Position::Same);
        }
        let Some(space) = self.table.process_of(index).space.as_ref().map(|i| i.borrow()) else {
            return Ok(Position::Same);
        };
        if let Some((_, slot)) = self.leave_slot(index, registers) {
            return Ok(Position::Slot(slot));
        }
        let addr =
            <B::Arch as Arch>::pc(registers).wrapping_sub(<B::Arch as Arch>::BREAKPOINT_ADVANCE);
        let asks = (slot.was_interrupted() || slot.rests()) && soft.owed == Owed::Nothing;
        let owed = soft.owed == Owed::Trap(addr)
            || asks
                && space.get(addr).is_some()
                && unless_gone(self.backend.borrow_mut().has_pending_trap(thread))? == Some(true);
        if owed {
            <B::Arch as Arch>::set_pc(registers, addr);
            return Ok(Position::Trapped(addr));
        }
        Ok(Position::Same)
    }

    /// The same, and notes it.
    fn show_position(
        &mut self,
        index: u32,
        registers: &mut <B::Arch as Arch>::Registers,
    ) -> Result<()> {
        let position = self.position(index, registers)?;
        let soft = &mut self.table.slot_mut(index).soft;
        match position {
            Position::Slot(slot) => soft.at.enter_slot(slot),
            Position::Same | Position::Trapped(_) => soft.at.leave_slot(),
        }
        if let Position::Trapped(addr) = position {
            soft.owed = Owed::Trap(addr);
        }
        Ok(())
    }

    /// Has registers that the kernel gave show the instruction whose copy in a slot is executed. Where
    /// that instruction is, and the slot, if it was one.
    fn leave_slot(
        &self,
        index: u32,
        registers: &mut <B::Arch as Arch>::Registers,
    ) -> Option<(u64, u64)> {
        let in_slot = self.table.slot(index).soft.at.is_in_slot();
        let space = self.table.process_of(index).space.as_ref().filter(|_| in_slot)?.borrow();
        let (code, from, to) = space.slot_at(<B::Arch as Arch>::pc(registers))?;
        <B::Arch as Arch>::leave_slot(code, from, to, registers);
        Some((from, to))
    }

    /// How the instruction at a breakpoint is passed, as the thread reads it.
    pub(super) fn passing_at(&self, index: u32, addr: u64) -> Option<Passing> {
        let space = self.table.process_of(index).space.as_ref()?.borrow();
        Some(space.get(addr)?.passing.in_mode(self.table.slot(index).soft.mode))
    }

    /// Sets the general registers of a stopped thread to what the program shall have.
    ///
    /// A program counter that is the one that was shown leaves the thread where it is: in its slot,
    /// or with a trap to come. Any other one is a place of the program.
    pub(in crate::engine) fn set_shown_registers(
        &mut self,
        index: u32,
        registers: &<B::Arch as Arch>::Registers,
    ) -> Result<()> {
        self.look_where_it_stands(index)?;
        let slot = self.table.slot(index);
        let (thread, trapped) = (slot.thread, slot.soft.at.has_trapped());
        let hidden =
            slot.soft.at.is_in_slot() || slot.was_interrupted() || slot.soft.owed != Owed::Nothing;
        let pc = <B::Arch as Arch>::pc(registers);
        let mut real = *registers;
        if hidden && !trapped && self.table.process_of(index).space.is_some() {
            let now = self.backend.get_mut().registers(thread)?;
            let mut shown = now;
            self.show_position(index, &mut shown)?;
            let (from, to) = (<B::Arch as Arch>::pc(&shown), <B::Arch as Arch>::pc(&now));
            if from == pc && from != to {
                <B::Arch as Arch>::enter_slot(to, &mut real);
                self.backend.get_mut().set_registers(thread, &real)?;
                self.moved_from_hardware(index, pc);
                return Ok(());
            }
        }
        self.backend.get_mut().set_registers(thread, &real)?;
        self.moved_from_hardware(index, pc);
        let soft = &mut self.table.slot_mut(index).soft;
        soft.at.written_back();
        if let Owed::Trap(_) = soft.owed {
            soft.owed = Owed::Nonsense;
        }
        self.moved(index, registers);
        Ok(())
    }

    /// Has the kernel know where the program is: the thread is to run from there, or to be detached.
    /// `None` if it is gone.
    pub(in crate::engine) fn write_back(&mut self, index: u32) -> Result<Option<()>> {
        let slot = self.table.slot(index);
        let thread = slot.thread;
        if slot.is_dead() {
            return Ok(None);
        }
        let registers = if let Some(registers) = self.kept_registers(index) {
            registers
        } else if slot.soft.at.is_in_slot() {
            let Some(mut registers) = unless_gone(self.backend.get_mut().registers(thread))? else {
                return Ok(None);
            };
            // A trap that is still to come needs the program counter as it is.
            let Some((from, _)) = self.leave_slot(index, &mut registers) else {
                self.table.slot_mut(index).soft.at.leave_slot(); // it has gone on from there
                return Ok(Some(()));
            };
            // The kernel may go back to make the call again.
            let calls = self.passing_at(index, from) == Some(Passing::SystemCall);
            if calls && <B::Arch as Arch>::pc(&registers) != from {
                self.table.slot_mut(index).soft.entered = Some(from);
            }
            registers
        } else {
            return Ok(Some(()));
        };
        let written = unless_gone(self.backend.get_mut().set_registers(thread, &registers))?;
        let soft = &mut self.table.slot_mut(index).soft;
        soft.at.written_back();
        Ok(written)
    }

    /// An address that a fault is about: that of an instruction in a slot is shown as the program has
    /// it.
    pub(in crate::engine) fn shown_address(&self, index: u32, addr: u64) -> u64 {
        let slot = self.table.slot(index);
        let space =
            self.table.process_of(index).space.as_ref().filter(|_| slot.soft.at.is_in_slot());
        let from = |space: &crate::address_space::Shared| {
            space.borrow().slot_at(addr).map(|(_, from, _)| from)
        };
        space.and_then(from).unwrap_or(addr)
    }

    /// A signal that is about to be delivered to a thread in a slot names the instruction there, if a
    /// fault has made it.
    pub(super) fn show_fault(&mut self, index: u32, signal: Signal) -> Result<()> {
        let slot = self.table.slot(index);
        let thread = slot.thread;
        if !slot.soft.at.is_in_slot() || !signal.is_fault() {
            return Ok(());
        }
        let Some(info) = unless_gone(self.backend.get_mut().signal_info(thread))? else {
            return Ok(());
        };
        let Some(addr) = info.addr.filter(|_| info.signal == signal) else { return Ok(()) };
        let shown = self.shown_address(index, addr);
        if shown != addr {
            unless_gone(self.backend.get_mut().set_signal_addr(thread, shown))?;
        }
        Ok(())
    }

    /// A thread is to make a step, and the instruction in its slot may be done: the step is the next
    /// one's. A system call that the kernel will have made again is not done.
    pub(super) fn leave_done_slot(&mut self, index: u32) -> Result<()> {
        let thread = self.table.slot(index).thread;
        let Some(space) = self.table.process_of(index).space.clone() else { return Ok(()) };
        let Some(registers) = unless_gone(self.backend.get_mut().registers(thread))? else {
            return Ok(());
        };
        let pc = <B::Arch as Arch>::pc(&registers);
        let done = match space.borrow().slot_at(pc) {
            Some((code, _, to)) => pc.wrapping_sub(to) >= u64::from(code.done()),
            None => true,
        };
        if done && B::restarted(&registers).is_none() {
            self.write_back(index)?;
        }
        Ok(())
    }

    /// A thread has these registers now: it may be elsewhere, or read the same code in another way.
    pub(super) fn moved(&mut self, index: u32, registers: &<B::Arch as Arch>::Registers) {
        let pc = <B::Arch as Arch>::pc(registers);
        let slot = self.table.slot_mut(index);
        slot.soft.mode = B::code_mode(registers);
        // A thread that goes elsewhere arrives anew.
        slot.soft.at.moved(pc);
        slot.soft.again = slot.soft.again.filter(|&at| at == pc);
    }
}
