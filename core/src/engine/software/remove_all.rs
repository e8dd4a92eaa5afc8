//! Before a detach: no breakpoint instruction stays in memory, and no trap of one stays to be reported.

use std::rc::Rc;

use crate::address_space::{At, Before, Shared};
use crate::backend::{Run, Thread};
use crate::error::unless_gone;
use crate::limits::{HELD_FOR, Limit};
use crate::{Arch, Backend, Error, Pid, Result};

use super::super::{Engine, ProcessHandle};
use super::Vfork;

impl<B: Backend> Engine<B> {
    /// Whether a process has breakpoints to leave behind, or shares its memory with one that may
    /// get some.
    pub(in crate::engine) fn has_space(&mut self, process: ProcessHandle) -> Result<bool> {
        if self.table.process(process).heritage.is_some() {
            self.with_all_stopped(process, |tracer| tracer.inherit_again(process))?;
        }
        if self.table.process(process).space.is_none() && self.vfork_relatives(process).is_empty() {
            return Ok(false);
        }
        self.space_of(process)?;
        Ok(true)
    }

    /// Whether what is in a process's memory of ours can be taken out, asked by putting one breakpoint
    /// instruction where it stands already.
    fn can_be_removed(&mut self, process: ProcessHandle) -> Result<()> {
        let Some(space) = self.table.process(process).space.clone() else { return Ok(()) };
        let addresses = space.borrow().addresses();
        let Some(addr) = addresses.into_iter().find(|&addr| space.borrow().is_inserted(addr))
        else {
            return Ok(());
        };
        let Some(thread) = self.stopped_thread(process)? else { return Ok(()) };
        if unless_gone(self.has_breakpoint(thread, addr))? != Some(true) {
            return Ok(());
        }
        match self.backend.get_mut().write_text(thread, addr, <B::Arch as Arch>::BREAKPOINT) {
            Err(Error::Gone { .. } | Error::BadAddress { .. }) => Ok(()),
            result => result,
        }
    }

    /// Before a process is detached: takes its breakpoints out of its memory, with its threads at
    /// rest, and out of the way what its threads have run into. Threads that the kernel holds have
    /// run into nothing.
    pub(in crate::engine) fn remove_all_breakpoints(
        &mut self,
        process: ProcessHandle,
    ) -> Result<()> {
        let entry = self.table.process(process);
        let (pid, Some(space)) = (entry.pid, entry.space.clone()) else { return Ok(()) };
        if !self.table.process_mut(process).begin_cleaning() {
            return Ok(());
        }
        if space.borrow().is_empty() {
            self.leave_shared(process, pid, &space);
            return Ok(());
        }
        self.table.begin_all_stop(process);
        let removed_all = self.remove_all_at_rest(process, pid, &space);
        self.table.end_all_stop(process);
        if removed_all.is_err() && self.table.is_there(process) {
            self.table.process_mut(process).give_up_cleaning();
        }
        removed_all
    }

    fn remove_all_at_rest(
        &mut self,
        process: ProcessHandle,
        pid: Pid,
        space: &Shared,
    ) -> Result<()> {
        self.stop_all(process)?;
        if !self.table.is_there(process) || !self.table.process(process).has(space) {
            return Ok(()); // ended or exec'ed meanwhile
        }
        self.can_be_removed(process)?;
        let lends = self.rest_before_loan(process, pid, space)?;
        if !self.table.is_there(process) {
            return Ok(());
        }
        let before = Before::new(&space.borrow(), pid);
        let places = self.standing_places(process);
        self.leave_shared(process, pid, space);
        let result = self.clean_at_rest(process, pid, space);
        if result.is_err() && lends {
            self.queue_step_over(pid); // what was brought to rest for it runs on
        }
        if result.is_err() && self.table.is_there(process) {
            // It stays for now, as it was.
            before.restore(&mut space.borrow_mut(), pid);
            self.stand_again(&places, space);
            if self.settle_sharers(space, process).is_err() {
                self.queue_step_over(pid); // which does it again
            }
        }
        result
    }

    /// Takes out of a process what nobody wants there any more.
    fn clean_at_rest(&mut self, process: ProcessHandle, pid: Pid, space: &Shared) -> Result<()> {
        self.settle_sharers(space, process)?;
        self.note_shared_loss(process, space)?;
        if !Self::takes_out_traps() {
            self.backend.get_mut().clean_children(pid, space.borrow().code(Self::INT.len()));
        }
        for index in self.table.process(process).threads.clone() {
            if self.table.slot(index).can_be_asked() {
                self.write_back(index)?;
            }
            // One that the kernel holds may be in a slot.
            let at = &mut self.table.slot_mut(index).soft.at;
            if !at.is_in_slot() {
                at.leave();
            }
            if Self::takes_out_traps() {
                self.take_out_trap(process, index)?;
            }
            if !self.table.is_there(process) {
                return Ok(());
            }
        }
        if let Some(thread) = self.stopped_thread(process)? {
            if !space.borrow().is_lent() {
                self.unmap_slots(space, thread);
            }
        }
        Ok(())
    }

    /// Where the threads of a process are with regard to breakpoints.
    fn standing_places(&self, process: ProcessHandle) -> Vec<(Thread, At)> {
        let at = |&index: &u32| {
            let slot = self.table.slot(index);
            (slot.thread, slot.soft.at)
        };
        self.table.process(process).threads.iter().map(at).collect()
    }

    /// They are there again. What was in a slot is where the instruction is whose copy that has.
    fn stand_again(&mut self, places: &[(Thread, At)], space: &Shared) {
        for &(thread, before) in places {
            let Some(index) = self.table.find_thread_of(thread.pid, thread.tid) else { continue };
            let slot = self.table.slot(index);
            if !slot.is_stopped() || slot.soft.at.is_in_slot() {
                continue; // it has a trap to report, or is still there
            }
            let place = before.place().or_else(|| {
                let registers =
                    before.is_in_slot().then(|| self.backend.get_mut().registers(thread));
                let pc = registers?.ok().map(|registers| <B::Arch as Arch>::pc(&registers));
                pc.filter(|&pc| space.borrow().get(pc).is_some())
            });
            let at = &mut self.table.slot_mut(index).soft.at;
            match place {
                Some(addr) => at.arrive(addr),
                None => at.lose(),
            }
        }
    }

    /// A child has no breakpoints any more. Where it shares code with its parent (`MAP_SHARED`) that
    /// has none there either, which its user is told.
    fn note_shared_loss(&mut self, process: ProcessHandle, space: &Shared) -> Result<()> {
        let parent = self.table.process(process).real_parent;
        let Some(parent) = parent.and_then(|parent| self.table.find_process(parent)) else {
            return Ok(());
        };
        let entry = self.table.process(parent);
        let (pid, Some(theirs)) = (entry.pid, entry.space.clone()) else { return Ok(()) };
        if entry.has(space) {
            return Ok(());
        }
        let Some(thread) = self.stopped_thread(parent)? else { return Ok(()) };
        // The parent may have been killed in its stop.
        let lost = unless_gone(self.find_lost(&theirs, thread))?.unwrap_or_default();
        if lost.is_empty() {
            return Ok(());
        }
        let map = match self.backend.get_mut().memory_map(pid) {
            Err(Error::Unsupported { .. }) => None,
            map => unless_gone(map)?,
        };
        // Others have gone with memory that the program has moved or unmapped.
        let is_shared = |addr: u64| {
            let map = map.as_ref();
            map.is_none_or(|map| map.iter().any(|region| region.contains(addr) && region.shared))
        };
        if lost.into_iter().any(is_shared) {
            let what = "a breakpoint in code that a process shares which is not traced";
            self.failures.note(pid, Error::unsupported(what, B::SYSTEM));
        }
        Ok(())
    }

    /// A process that leaves and lives on has no part in its memory's breakpoints. If others that
    /// stay have that memory too, there can be none as long as that is so.
    fn leave_shared(&mut self, process: ProcessHandle, pid: Pid, space: &Shared) {
        space.borrow_mut().leave(pid);
        let sharers = self.sharers(process).into_iter().filter(|&other| other != process);
        let threads = sharers.flat_map(|other| self.table.process(other).threads.clone());
        let threads: Vec<u32> = threads.collect();
        if threads.is_empty() {
            space.borrow_mut().give_up();
            return;
        }
        let waits = |&i: &u32| self.table.slot(i).soft.vfork == Vfork::For(pid);
        let returns = threads.iter().any(waits);
        space.borrow_mut().lend(pid, returns);
    }

    /// Has a thread report that it has run into a breakpoint, if it still has to.
    fn take_out_trap(&mut self, process: ProcessHandle, index: u32) -> Result<()> {
        for _ in 0..HELD_FOR {
            let slot = self.table.slot(index);
            let (thread, stopped) = (slot.thread, slot.can_be_asked());
            if slot.process != process || !stopped || !slot.was_interrupted() {
                return Ok(());
            }
            if unless_gone(self.backend.get_mut().has_pending_trap(thread))? != Some(true) {
                return Ok(());
            }
            unless_gone(self.backend.get_mut().resume(thread, Run::Continue, None))?;
            self.table.run(index);
            self.await_stop(index, thread)?;
        }
        Ok(())
    }

    /// Takes a thread that is not in the table out of the slot that it may be in, and gives the
    /// memory for slots back.
    fn leave_slots_of(&mut self, space: &Shared, thread: Thread) -> Result<()> {
        if !space.borrow().has_slots() {
            return Ok(());
        }
        let mut registers = self.backend.get_mut().registers(thread)?;
        let pc = <B::Arch as Arch>::pc(&registers);
        if let Some((code, from, to)) = space.borrow().slot_at(pc) {
            <B::Arch as Arch>::leave_slot(code, from, to, &mut registers);
            self.backend.get_mut().set_registers(thread, &registers)?;
        }
        self.give_back_areas(space, thread);
        Ok(())
    }

    fn await_stop(&mut self, index: u32, thread: Thread) -> Result<()> {
        self.drive_until(Limit::Unlimited, |tracer, _| {
            let slot = tracer.table.slot(index);
            Ok((slot.thread != thread || slot.is_stopped() || slot.is_dead()).then_some(()))
        })?;
        Ok(())
    }

    /// Cleans the memory of a process that is detached without ever having been in the table, and
    /// whose maker may have had breakpoints.
    pub(in crate::engine) fn clean_child(&mut self, thread: Thread) -> Result<()> {
        let breakpoints =
            |space: &Option<Shared>| space.as_ref().is_some_and(|space| !space.borrow().is_empty());
        let lost = self.former_spaces();
        let living = self.table.processes().any(|(_, p)| breakpoints(&p.space));
        if !living && lost.is_empty() {
            return Ok(());
        }
        if let Some(sharer) = self.sharer_of(thread)? {
            // It has the memory of one that stays, by a vfork of which nothing more is heard.
            if let Some(space) = self.table.process(sharer).space.clone() {
                space.borrow_mut().lend(thread.pid, false);
                unless_gone(self.settle(&space, thread))?;
                self.end_loan(&space);
            }
            return Ok(());
        }
        let Some(maker) = unless_gone(self.backend.get_mut().process_of(thread.tid))? else {
            return Ok(());
        };
        let maker = maker.1;
        let known = maker.and_then(|maker| self.table.find_process(maker));
        // If its maker is dead, it is not known which process that was.
        let orphan = known.is_none() && !lost.iter().any(|(pid, _)| Some(*pid) == maker);
        let own = |(pid, _): &(Pid, Shared)| orphan || Some(*pid) == maker;
        let mut spaces: Vec<(Pid, Shared)> = lost.into_iter().filter(own).collect();
        let living = self.table.processes();
        let living = living.filter(|&(process, _)| orphan || Some(process) == known);
        spaces.extend(living.filter_map(|(_, p)| Some((p.pid, p.space.clone()?))));
        for (maker, space) in spaces {
            let copy = space.borrow().copy(maker, thread.pid);
            let copy = Rc::new(std::cell::RefCell::new(copy));
            copy.borrow_mut().give_up();
            unless_gone(self.settle_copy(&copy, thread))?;
            unless_gone(self.leave_slots_of(&copy, thread))?;
        }
        Ok(())
    }
}
