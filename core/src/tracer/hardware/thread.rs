//! What the debug registers of a thread were told, and keeping them up to date.

use crate::backend::{DebugSlots, DebugStatus, NO_SLOTS, StopScope};
use crate::debug::{changed, used};
use crate::error::unless_gone;
use crate::{Backend, Change, Result, Signal};

use super::super::Tracer;
use super::pass::Standing;

/// The debug registers of a thread.
pub(in super::super) struct ThreadDebug {
    /// What they watch; `None` where the kernel or somebody else may have left something.
    pub(super) armed: Option<DebugSlots>,
    /// Registers that were disarmed, and whose hits may still show.
    pub(super) stale: u32,
    /// What was read of the status before it was time to report it.
    pub(super) carried: Carried,
    /// The trap that is being shown is the program's own as well.
    pub(super) owed: bool,
    /// What the watches for changes among the causes of the last trap have found.
    pub(super) changes: Vec<Change>,
    /// Where it stands, if that has to be passed by a step.
    pub(super) standing: Standing,
}

#[derive(Clone, Copy, Default, PartialEq)]
pub(super) struct Carried {
    /// Registers that were hit, and have not changed since.
    pub(super) hits: u32,
    /// One was hit that has.
    pub(super) gone: bool,
    pub(super) single_step: bool,
}

impl ThreadDebug {
    pub(in super::super) fn unknown() -> Self {
        ThreadDebug {
            armed: None,
            stale: 0,
            carried: Carried::default(),
            owed: false,
            changes: Vec::new(),
            standing: Standing::default(),
        }
    }

    fn armed(&self) -> u32 {
        self.armed.as_ref().map_or(0, used)
    }

    /// Whether a trap can be for us.
    pub(super) fn may_trap(&self) -> bool {
        let left = self.stale != 0 || self.carried != Carried::default();
        self.armed() != 0 || left || self.standing.may_trap()
    }

    /// Keeps what the status said, before registers get another meaning.
    fn carry(&mut self, status: DebugStatus) {
        self.carried.hits |= status.hits & self.armed() & !self.stale;
        self.carried.gone |= status.hits & self.stale != 0;
        self.carried.single_step |= status.single_step;
        self.stale = 0;
    }

    /// These registers watch something else from now on, or nothing.
    fn change(&mut self, changed: u32) {
        self.carried.gone |= self.carried.hits & changed != 0;
        self.carried.hits &= !changed;
    }
}

impl<B: Backend> Tracer<B> {
    /// Has a stopped thread watch this.
    pub(super) fn watch(&mut self, index: u32, to: &DebugSlots) -> Result<()> {
        let slot = self.table.slot(index);
        let thread = slot.thread;
        let (from, stale) = slot.debug.as_ref().map_or((None, 0), |d| (d.armed, d.stale));
        if from == Some(*to) {
            return Ok(());
        }
        let changes = from.map_or(0, |from| changed(&from, to));
        let mut leaves = from.map_or(0, |from| used(&from) & changes);
        // A hit of what a register watched before must not be taken for one of what it will.
        if Self::passes_by_step() {
            // A stop says all by itself, and a hit that is not told happens again.
        } else if changes & used(to) & (leaves | stale) != 0 {
            let status = unless_gone(self.backend.get_mut().take_debug_status(thread))?;
            if let Some(debug) = &mut self.table.slot_mut(index).debug {
                debug.carry(status.unwrap_or_default());
            }
            leaves = 0;
        }
        unless_gone(self.backend.get_mut().set_watched(thread, from.as_ref(), to))?;
        if let Some(debug) = &mut self.table.slot_mut(index).debug {
            debug.change(changes);
            debug.stale |= leaves;
        }
        let debug = self
            .table
            .slot_mut(index)
            .debug
            .get_or_insert_with(|| Box::new(ThreadDebug::unknown()));
        if from.is_none() {
            (debug.stale, debug.carried) = (0, Carried::default());
        }
        debug.armed = Some(*to);
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
        if !known && self.table.process(process).debug.is_none() || slot.dead {
            return Ok(());
        }
        let debug = self.table.process(process).debug.as_deref();
        let slots = debug.map_or(NO_SLOTS, |debug| debug.slots);
        let unsure = debug.is_some_and(|debug| debug.unsure);
        if !known && slots == NO_SLOTS && !unsure {
            return Ok(());
        }
        let slots = if Self::passes_by_step() {
            self.look_where_it_stands(index)?;
            let debug = self.table.slot(index).debug.as_ref();
            debug.map_or(slots, |debug| debug.standing.without_its_own(&slots))
        } else {
            slots
        };
        self.watch(index, &slots)?;
        if let Some(debug) = &mut self.table.process_mut(process).debug {
            debug.unsure = false;
        }
        Ok(())
    }

    /// The signal that a thread is resumed or let go with: the trap of the program's own that came
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

    /// A stopped thread is to be let go: its registers are cleared. Says whether a trap of ours is
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
        if may_trap && B::STOP_SCOPE == StopScope::Thread {
            pending = unless_gone(self.backend.get_mut().has_pending_trap(thread))? == Some(true);
        }
        if may_trap && B::STOP_SCOPE == StopScope::Thread && !Self::passes_by_step() {
            // This clears it, too.
            let status =
                unless_gone(self.backend.get_mut().take_debug_status(thread))?.unwrap_or_default();
            if let Some(debug) = &mut self.table.slot_mut(index).debug {
                debug.carry(status);
                pending &= debug.carried.hits != 0 || debug.carried.gone;
                debug.carried = Carried { gone: pending, ..Carried::default() };
            }
        }
        self.watch(index, &NO_SLOTS)?;
        if let Some(debug) = &mut self.table.slot_mut(index).debug {
            if B::STOP_SCOPE == StopScope::Thread {
                debug.stale = 0;
            }
            debug.carried.gone = pending;
        }
        Ok(pending)
    }

    /// The same for a process that stops as a whole, where the back end waits for what is on its
    /// way.
    pub(in super::super) fn disarm_whole(&mut self, process: u32) -> Result<()> {
        let debugged = |&i: &u32| self.table.slot(i).debug.is_some();
        let threads = &self.table.process(process).threads;
        if self.table.process(process).debug.is_none() && !threads.iter().any(debugged) {
            return Ok(());
        }
        self.look_up_threads(process)?;
        for index in self.table.process(process).threads.clone() {
            if !self.table.slot(index).dead {
                self.watch(index, &NO_SLOTS)?;
            }
        }
        Ok(())
    }
}
