//! Which breakpoints a trap is for.

use std::rc::Rc;

use crate::backend::{DebugHits, Run, Thread};
use crate::debug::{Carried, Hit, ThreadDebug, any, serves};
use crate::error::unless_gone;
use crate::{
    Arch, Backend, BreakpointId, BreakpointSet, Change, HardwareBreakpoint, HardwareKind, Result,
    TrapCauses,
};

use super::super::trap::Trap;
use super::super::{Engine, ProcessHandle};

/// The breakpoints that were hit. Nearly always it is one, for which nothing is allocated.
#[derive(Default)]
pub(super) struct AllFound {
    first: Option<Found>,
    others: Vec<Found>,
    /// One of them is for execution.
    executes: bool,
}

impl AllFound {
    fn add(&mut self, found: Found) {
        match &self.first {
            None => self.first = Some(found),
            Some(_) => self.others.push(found),
        }
    }
}

/// A breakpoint that was hit.
struct Found {
    id: BreakpointId,
    /// What it sees, if it watches for changes.
    bytes: Option<Vec<u8>>,
    /// It was removed after that, and inserted again.
    before: bool,
}

impl<B: Backend> Engine<B> {
    /// Why a thread has trapped, if it is for a debug register.
    pub(in super::super) fn look_at_debug_registers(&mut self, index: u32) -> Result<Option<Trap>> {
        match <B::Arch as Arch>::DEBUG_HITS {
            DebugHits::Status => self.look_at_status(index),
            DebugHits::Address => self.look_at_address(index),
        }
    }

    /// Asks the CPU.
    ///
    /// The bits of the status are the truth, not the signal's code: a step that ends with a write
    /// to a watched place is one trap of both, and FreeBSD has one code for all. Bits of registers
    /// that are not enabled do not count.
    fn look_at_status(&mut self, index: u32) -> Result<Option<Trap>> {
        let slot = self.table.slot(index);
        let (thread, process, run) = (slot.thread, slot.process, slot.run);
        let slots = self.table.process(process).debug.as_ref().map(|debug| Rc::clone(&debug.slots));
        let may_trap = match &slot.debug {
            Some(debug) if debug.armed.is_some() => debug.may_trap(),
            // A thread that nobody has announced: what a kernel copies it has copied.
            _ => slots.as_deref().is_some_and(any),
        };
        if !may_trap {
            return Ok(None);
        }
        let Some(status) = unless_gone(self.backend.get_mut().take_debug_status(thread))? else {
            return Ok(Some(Trap::Gone));
        };
        let debug = self.table.slot_mut(index).debug.get_or_insert_with(ThreadDebug::boxed);
        debug.changes.clear();
        debug.owed = false;
        let mut hits = debug.take_hits(status, slots.as_deref());
        let carried = std::mem::take(&mut debug.carried);
        let bit = status.single_step || carried.single_step;
        if hits.is_empty() && !carried.gone && !(bit && run == Run::Step) {
            return Ok(None);
        }
        let looked = self.explain_status(index, &hits, bit);
        if let Some(debug) = &mut self.table.slot_mut(index).debug {
            match looked {
                // The CPU does not say it again.
                Err(_) => debug.carried = Carried { hits, single_step: bit, ..carried },
                // The list is used again.
                Ok(_) => {
                    hits.clear();
                    debug.carried.hits = hits;
                }
            }
        }
        looked
    }

    /// What it means that these registers were hit, and that a step is done.
    fn explain_status(&mut self, index: u32, hits: &[Hit], bit: bool) -> Result<Option<Trap>> {
        let slot = self.table.slot(index);
        let (thread, run) = (slot.thread, slot.run);
        let single_step = bit && run == Run::Step;
        // First all that can fail.
        let found = self.find_hit(index, hits)?;
        let own = bit && !single_step && self.steps_itself(thread)?;
        if found.executes && !B::PASSES_BREAKPOINTS {
            self.pass_breakpoint(thread)?;
        }
        let hardware = self.take_hit(index, found);
        if hardware.is_empty() && !single_step {
            return Ok(Some(if own { Trap::Programs } else { Trap::Unseen }));
        }
        if let Some(debug) = &mut self.table.slot_mut(index).debug {
            debug.owed = own;
        }
        Ok(Some(Trap::Ours(TrapCauses { single_step, hardware, ..TrapCauses::default() })))
    }

    /// The breakpoints of which one of these registers was hit, with their bytes if those count.
    pub(super) fn find_hit(&mut self, index: u32, hits: &[Hit]) -> Result<AllFound> {
        let slot = self.table.slot(index);
        let (thread, process) = (slot.thread, slot.process);
        let mut all = AllFound::default();
        for at in 0.. {
            let debug = self.table.process(process).debug.as_ref();
            let Some(known) = debug.and_then(|debug| debug.breakpoints.get(at)) else { break };
            let (id, breakpoint) = (known.id, known.breakpoint);
            let mut own = hits.iter().filter(|hit| serves(&hit.slot, &breakpoint));
            let Some(first) = own.next() else { continue };
            let before = first.before && own.all(|hit| hit.before);
            let bytes = match breakpoint.kind {
                HardwareKind::Change => {
                    Some(self.bytes(thread, breakpoint.addr, breakpoint.len)?)
                }
                _ => None,
            };
            all.add(Found { id, bytes, before });
            all.executes |= breakpoint.kind == HardwareKind::Execute;
        }
        Ok(all)
    }

    /// Those of them that are to be shown.
    pub(super) fn take_hit(&mut self, index: u32, all: AllFound) -> BreakpointSet {
        let process = self.table.slot(index).process;
        let found = all.first.into_iter().chain(all.others);
        let shown = found.filter_map(|Found { id, bytes, before }| {
            let shown = bytes.is_none_or(|new| self.has_changed(index, process, id, new, before));
            shown.then_some(id)
        });
        shown.collect()
    }

    /// A watch for changes was hit, and these are its bytes; says whether they have changed: if it
    /// was removed after the hit and inserted again, since the last one before that was.
    fn has_changed(
        &mut self,
        index: u32,
        process: ProcessHandle,
        id: BreakpointId,
        new: Vec<u8>,
        before: bool,
    ) -> bool {
        let debug = self.table.process_mut(process).debug.as_mut();
        let known =
            debug.and_then(|debug| debug.breakpoints.iter_mut().find(|known| known.id == id));
        let Some(known) = known else { return false };
        let earlier = if before { known.before.take() } else { None };
        let old = earlier.unwrap_or_else(|| known.value.clone());
        if old == new {
            return false;
        }
        known.value.clone_from(&new);
        if let Some(debug) = &mut self.table.slot_mut(index).debug {
            debug.changes.push(Change { id, old, new });
        }
        true
    }

    /// As much of these bytes as can be read.
    pub(super) fn bytes(&mut self, thread: Thread, addr: u64, len: u64) -> Result<Vec<u8>> {
        let bytes = self.bytes_at(thread, addr, usize::try_from(len).unwrap_or(0));
        Ok(unless_gone(bytes)?.unwrap_or_default())
    }

    /// What the watches for changes see is not what it was: there is a new image.
    pub(super) fn read_again(&mut self, process: ProcessHandle, thread: Thread) {
        for at in 0.. {
            let debug = self.table.process(process).debug.as_ref();
            let Some(known) = debug.and_then(|debug| debug.breakpoints.get(at)) else { break };
            if known.breakpoint.kind != HardwareKind::Change {
                continue;
            }
            let HardwareBreakpoint { addr, len, .. } = known.breakpoint;
            let value = match self.bytes(thread, addr, len) {
                Ok(value) => value,
                Err(error) => {
                    self.failures.note(thread.pid, error);
                    Vec::new() // so that the next write shows it
                }
            };
            let debug = self.table.process_mut(process).debug.as_mut();
            if let Some(known) = debug.and_then(|debug| debug.breakpoints.get_mut(at)) {
                known.value = value;
            }
        }
    }

    /// Whether the program itself asked for the step of a trap, which is its own then.
    fn steps_itself(&mut self, thread: Thread) -> Result<bool> {
        let registers = unless_gone(self.backend.get_mut().registers(thread))?;
        Ok(registers.is_some_and(|registers| B::Arch::steps_itself(&registers)))
    }

    /// Has a thread pass the execute breakpoint that it stands at, where the kernel does not. As
    /// elsewhere, to set the program counter undoes that.
    fn pass_breakpoint(&mut self, thread: Thread) -> Result<()> {
        if let Some(mut registers) = unless_gone(self.backend.get_mut().registers(thread))? {
            B::Arch::pass_breakpoint(&mut registers);
            unless_gone(self.backend.get_mut().set_registers(thread, &registers))?;
        }
        Ok(())
    }
}
