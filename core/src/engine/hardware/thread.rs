//! The debug registers of a thread: what they were set to last, and keeping them up to date.

use std::rc::Rc;

use crate::backend::{DebugSlots, NO_SLOTS};
use crate::debug::{Carried, ThreadDebug, changed, used};
use crate::error::unless_gone;
use crate::{Backend, Result, Signal};

use super::super::{Engine, ProcessHandle};

impl<B: Backend> Engine<B> {
    /// Has a stopped thread watch this.
    pub(super) fn watch(&mut self, index: u32, to: &Rc<DebugSlots>) -> Result<()> {
        let slot = self.table.slot(index);
        let thread = slot.thread;
        let debug = slot.debug.as_deref();
        let from = debug.and_then(|debug| debug.armed.as_ref());
        if from.is_some_and(|from| Rc::ptr_eq(from, to) || from == to) {
            return Ok(());
        }
        // A hit of what a register watched before must not be taken for one of what it will.
        let stale = debug.and_then(|debug| debug.stale.as_deref()).map_or(0, used);
        let from = from.cloned();
        let old = from.as_deref().map_or(0, |from| changed(from, to) & (used(from) | stale));
        // A stop that is for an address says all by itself, and a hit that is not told happens again.
        let reads = old & used(to) != 0 && !Self::passes_by_step();
        if reads {
            let status = unless_gone(self.backend.get_mut().take_debug_status(thread))?;
            if let Some(debug) = &mut self.table.slot_mut(index).debug {
                debug.carry(status.unwrap_or_default());
            }
        }
        unless_gone(self.backend.get_mut().set_watched(thread, from.as_deref(), to))?;
        let debug = self.table.slot_mut(index).debug.get_or_insert_with(ThreadDebug::boxed);
        match from {
            Some(_) => debug.change(to, reads),
            None => (debug.stale, debug.carried) = (None, Carried::default()),
        }
        debug.armed = Some(Rc::clone(to));
        Ok(())
    }

    /// What a thread watches is not known any more.
    pub(super) fn doubt(&mut self, index: u32) {
        if let Some(debug) = &mut self.table.slot_mut(index).debug {
            debug.armed = None;
        }
    }

    /// A thread is about to run: has it watch what its process does, if it does not yet.
    pub(in super::super) fn keep_watch(&mut self, index: u32) -> Result<()> {
        let slot = self.table.slot(index);
        let process = slot.process;
        let known = slot.debug.is_some();
        if !known && self.table.process(process).debug.is_none() || slot.is_dead() {
            return Ok(());
        }
        let debug = self.table.process(process).debug.as_deref();
        let unsure = debug.is_some_and(|debug| debug.unsure);
        let mut slots = debug.map(|debug| Rc::clone(&debug.slots)).unwrap_or_default();
        if !known && *slots == NO_SLOTS && !unsure {
            return Ok(());
        }
        if Self::passes_by_step() {
            self.look_where_it_stands(index)?;
            if let Some(debug) = &self.table.slot(index).debug {
                slots = Rc::new(debug.standing.without_its_own(&slots));
            }
        }
        self.watch(index, &slots)?;
        if let Some(debug) = &mut self.table.process_mut(process).debug {
            debug.unsure = false;
        }
        Ok(())
    }

    /// The signal that a thread is resumed or detached with: the trap of the program's own that came
    /// together with one of ours is delivered after it was shown.
    pub(in super::super) fn with_owed(&self, index: u32, signal: Option<Signal>) -> Option<Signal> {
        let debug = self.table.slot(index).debug.as_ref();
        let owed = debug.is_some_and(|debug| debug.owed);
        signal.or(owed.then_some(Signal::TRAP))
    }

    /// It was resumed with that.
    pub(in super::super) fn paid(&mut self, index: u32) {
        if let Some(debug) = &mut self.table.slot_mut(index).debug {
            debug.owed = false;
        }
    }

    /// A stopped thread is to be detached: its registers are cleared. Says whether a trap of ours is
    /// still on its way, which has to be waited for first.
    pub(in super::super) fn disarm(&mut self, index: u32) -> Result<bool> {
        let slot = self.table.slot(index);
        let thread = slot.thread;
        let unsure = self.table.process_of(index).debug.as_ref().is_some_and(|d| d.unsure);
        if slot.debug.is_none() && !unsure {
            return Ok(false);
        }
        let may_trap = slot.debug.as_ref().is_some_and(|debug| debug.may_trap());
        let mut pending = false;
        if may_trap && Self::takes_out_traps() {
            pending = unless_gone(self.backend.get_mut().has_pending_trap(thread))? == Some(true);
        }
        if may_trap && Self::takes_out_traps() && !Self::passes_by_step() {
            // This clears it, too.
            let status =
                unless_gone(self.backend.get_mut().take_debug_status(thread))?.unwrap_or_default();
            if let Some(debug) = &mut self.table.slot_mut(index).debug {
                debug.carry(status);
                pending &= !debug.carried.hits.is_empty() || debug.carried.gone;
                debug.carried = Carried { gone: pending, ..Carried::default() };
            }
        }
        self.watch(index, &Rc::default())?;
        if let Some(debug) = &mut self.table.slot_mut(index).debug {
            if Self::takes_out_traps() {
                debug.stale = None;
            }
            debug.carried.gone = pending;
        }
        Ok(pending)
    }

    /// The same for a process that stops as a whole, where the back end waits for what is on its
    /// way.
    pub(in super::super) fn disarm_whole(&mut self, process: ProcessHandle) -> Result<()> {
        let debugged = |&i: &u32| self.table.slot(i).debug.is_some();
        let threads = &self.table.process(process).threads;
        if self.table.process(process).debug.is_none() && !threads.iter().any(debugged) {
            return Ok(());
        }
        self.look_up_threads(process)?;
        let nothing = Rc::default();
        for index in self.table.process(process).threads.clone() {
            if !self.table.slot(index).is_dead() {
                self.watch(index, &nothing)?;
            }
        }
        Ok(())
    }
}
