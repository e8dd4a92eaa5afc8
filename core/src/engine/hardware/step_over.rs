//! Breakpoints that are hit before their instruction is executed, on a CPU that has no flag to get
//! past them ([`DebugHits::Address`](crate::backend::DebugHits)).
//!
//! Such a thread is stepped once without the registers that are in the way; they are armed again
//! before it runs on. A watched access is not reported when it is about to be made, but when that
//! step is done: then memory has changed, and the program counter is behind it, as on other CPUs. A
//! breakpoint for execution is reported at once, and the step is taken when the thread is run.

use std::rc::Rc;

use crate::backend::{DebugHits, DebugKind, DebugSlot, Run};
use crate::debug::standing::{nearest, now, touched};
use crate::error::unless_gone;
use crate::limits::REMEMBERED;
use crate::{Arch, Backend, Passing, Result, Signal, TrapCauses};

use super::super::Engine;
use super::super::trap::Trap;

impl<B: Backend> Engine<B> {
    /// Whether a thread is still where it was reported to stand.
    pub(in super::super) fn look_where_it_stands(&mut self, index: u32) -> Result<()> {
        let slot = self.table.slot(index);
        let standing = slot.debug.as_ref().map(|debug| &debug.standing);
        if !standing.is_some_and(|s| s.place().is_some() && s.doubtful) {
            return Ok(());
        }
        let thread = slot.thread;
        let Some(registers) = unless_gone(self.backend.get_mut().registers(thread))? else {
            return Ok(());
        };
        if let Some(debug) = &mut self.table.slot_mut(index).debug {
            debug.standing.is_found_at(<B::Arch as Arch>::pc(&registers));
        }
        Ok(())
    }

    /// The program counter of a thread was set to this, after a look at where it was.
    pub(in super::super) fn moved_from_hardware(&mut self, index: u32, pc: u64) {
        if let Some(debug) = &mut self.table.slot_mut(index).debug {
            debug.standing.is_moved_to(pc);
        }
    }

    /// A thread is about to run, with what it is to watch: says how, which is a step where it stands
    /// at a breakpoint.
    pub(in super::super) fn pass_hardware(
        &mut self,
        index: u32,
        run: Run,
        signal: Option<Signal>,
    ) -> Result<Run> {
        let slot = self.table.slot(index);
        let thread = slot.thread;
        let place = slot.debug.as_ref().and_then(|debug| debug.standing.place());
        let Some(pc) = place else { return Ok(run) };
        if signal.is_some() {
            let Some(registers) = unless_gone(self.backend.get_mut().registers(thread))? else {
                return Ok(run);
            };
            let sp = <B::Arch as Arch>::sp(&registers);
            // A handler runs first, with everything armed. Then the access is made again.
            if let Some(debug) = &mut self.table.slot_mut(index).debug {
                let standing = &mut debug.standing;
                standing.access = None;
                if standing.at.take().is_some() {
                    if standing.returns.len() >= REMEMBERED {
                        standing.returns.remove(0);
                    }
                    standing.returns.push((pc, sp));
                }
            }
            self.keep_watch(index)?;
            return Ok(run);
        }
        // Only to the entry, where it is past the breakpoint.
        let enters = run == Run::Syscall && self.makes_call(index, pc)?;
        if let Some(debug) = &mut self.table.slot_mut(index).debug {
            debug.standing.doubtful = true;
            debug.standing.wanted = (!enters).then_some(run);
        }
        Ok(if enters { run } else { Run::Step })
    }

    fn makes_call(&mut self, index: u32, pc: u64) -> Result<bool> {
        let code = self.code_at(index, pc)?;
        let thread = self.table.slot(index).thread;
        let Some(registers) = unless_gone(self.backend.get_mut().registers(thread))? else {
            return Ok(false);
        };
        let mode = B::code_mode(&registers);
        Ok(<B::Arch as Arch>::passing(&code, mode) == Passing::SystemCall)
    }

    fn code_at(&mut self, index: u32, pc: u64) -> Result<Vec<u8>> {
        let thread = self.table.slot(index).thread;
        self.bytes(thread, pc, <B::Arch as Arch>::LONGEST_INSTRUCTION as u64)
    }

    /// A thread that was stepped past a breakpoint has stopped, for whatever reason: it runs as it
    /// was to from now on.
    pub(in super::super) fn stepped_past_hardware(&mut self, index: u32) {
        let slot = self.table.slot_mut(index);
        if let Some(wanted) = slot.debug.as_mut().and_then(|debug| debug.standing.wanted.take()) {
            slot.run = wanted;
        }
    }

    /// Asks the kernel for which address a thread has trapped.
    pub(super) fn look_at_address(&mut self, index: u32) -> Result<Option<Trap>> {
        let slot = self.table.slot(index);
        let (thread, process) = (slot.thread, slot.process);
        if !slot.debug.as_ref().is_some_and(|debug| debug.may_trap()) {
            return Ok(None);
        }
        let Some(status) = unless_gone(self.backend.get_mut().take_debug_status(thread))? else {
            return Ok(Some(Trap::Gone));
        };
        let slots = self.table.process(process).debug.as_ref().map(|debug| Rc::clone(&debug.slots));
        let Some(debug) = &self.table.slot(index).debug else { return Ok(None) };
        let armed = debug.armed.clone().or(slots).unwrap_or_default();
        let Some(addr) = status.address else {
            return self.look_at_step(index, status.single_step);
        };
        // First all that can fail.
        let Some(registers) = unless_gone(self.backend.get_mut().registers(thread))? else {
            return Ok(Some(Trap::Gone));
        };
        let (pc, sp) = (<B::Arch as Arch>::pc(&registers), <B::Arch as Arch>::sp(&registers));
        let again = self
            .table
            .slot(index)
            .debug
            .as_ref()
            .is_some_and(|debug| debug.standing.unexplained == Some((pc, addr)));
        let executed = |slot: &&DebugSlot| slot.kind == DebugKind::Execute && slot.addr == pc;
        let executes: Vec<DebugSlot> = armed.iter().flatten().filter(executed).copied().collect();
        let (at, access) = if addr == pc && !executes.is_empty() {
            (Some(self.find_hit(index, &now(&executes))?), None)
        } else {
            let code = self.code_at(index, pc)?;
            let mut hit = touched(&armed, <B::Arch as Arch>::access(&code, &registers));
            // Of what was removed meanwhile nobody wants to hear: the access is made again. What is
            // armed still is hit again then, and what the instruction does is not known.
            if hit.is_empty() && again {
                hit = nearest(&armed, addr);
            }
            (None, (!hit.is_empty()).then_some((pc, hit)))
        };
        self.stepped_past_hardware(index);
        let Some(debug) = &mut self.table.slot_mut(index).debug else { return Ok(None) };
        debug.changes.clear();
        let standing = &mut debug.standing;
        let explained = again || at.is_some() || access.is_some();
        standing.unexplained = (!explained).then_some((pc, addr));
        (standing.access, standing.doubtful) = (access, false);
        let Some(found) = at else { return Ok(Some(Trap::Unseen)) };
        standing.at = Some(pc);
        if let Some(at) = standing.returns.iter().rposition(|place| *place == (pc, sp)) {
            standing.returns.truncate(at);
            return Ok(Some(Trap::Unseen));
        }
        let hardware = self.take_hit(index, found);
        if hardware.is_empty() {
            return Ok(Some(Trap::Unseen));
        }
        Ok(Some(Trap::Ours(TrapCauses { hardware, ..TrapCauses::default() })))
    }

    /// A trap that is for no address: a step, of ours or of the user, or something else.
    fn look_at_step(&mut self, index: u32, stepped: bool) -> Result<Option<Trap>> {
        let debug = self.table.slot(index).debug.as_ref();
        let standing = debug.map(|debug| &debug.standing).filter(|s| stepped && s.may_trap());
        let Some(standing) = standing else {
            self.stepped_past_hardware(index);
            return Ok(None);
        };
        let access = standing.access.as_ref().map(|(_, hit)| hit);
        let hit = standing.made.as_ref().or(access).cloned().unwrap_or_default();
        let overtaken = standing.made.is_some() && standing.wanted.is_none();
        let found = self.find_hit(index, &now(&hit))?;
        self.stepped_past_hardware(index);
        let slot = self.table.slot_mut(index);
        slot.soft.stray_step &= !overtaken;
        if let Some(debug) = &mut slot.debug {
            debug.changes.clear();
            let standing = &mut debug.standing;
            (standing.at, standing.access, standing.made) = (None, None, None);
            standing.unexplained = None;
        }
        let single_step = self.table.slot(index).run == Run::Step && !overtaken;
        let hardware = self.take_hit(index, found);
        if hardware.is_empty() && !single_step {
            return Ok(Some(Trap::Unseen));
        }
        Ok(Some(Trap::Ours(TrapCauses { single_step, hardware, ..TrapCauses::default() })))
    }

    /// Whether the debug registers of this CPU are passed by a step.
    pub(super) fn passes_by_step() -> bool {
        <B::Arch as Arch>::DEBUG_HITS == DebugHits::Address
    }
}
