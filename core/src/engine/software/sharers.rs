//! The processes that share an address space, and what its memory is to hold.

use std::rc::Rc;

use crate::address_space::Shared;
use crate::backend::Thread;
use crate::error::unless_gone;
use crate::{Backend, Pid, Result};

use super::super::process::{Origin, Process};
use super::super::thread::Slot;
use super::super::{Engine, ProcessHandle};
use super::Vfork;

impl<B: Backend> Engine<B> {
    /// A process and all that share its image.
    pub(super) fn sharers(&self, process: ProcessHandle) -> Vec<ProcessHandle> {
        let Some(space) = &self.table.process(process).space else { return vec![process] };
        let member = |(index, p): &(ProcessHandle, &Process)| {
            *index == process || (!p.has_ended() && !p.is_detaching() && p.has(space))
        };
        self.table.processes().filter(member).map(|(index, _)| index).collect()
    }

    /// A thread of a process that requests can be made of.
    pub(super) fn stopped_thread(&mut self, process: ProcessHandle) -> Result<Option<Thread>> {
        let find = |tracer: &Self, rests: bool| {
            let threads = &tracer.table.process(process).threads;
            let mut slots = threads.iter().map(|&i| tracer.table.slot(i));
            let stopped = |slot: &Slot| slot.can_be_asked();
            let fits = |slot: &Slot| stopped(slot) && (rests || !slot.rests());
            slots.find(|slot| fits(slot)).map(|slot| slot.thread)
        };
        if let Some(thread) = find(self, false) {
            return Ok(Some(thread));
        }
        if self.is_stopped_whole(process) {
            self.look_up_threads(process)?; // one that only rests may be gone without a word
        }
        Ok(find(self, true))
    }

    /// The same, of any process that shares its memory.
    pub(super) fn stopped_sharer(&mut self, process: ProcessHandle) -> Result<Option<Thread>> {
        for other in self.sharers(process) {
            if let Some(thread) = self.stopped_thread(other)? {
                return Ok(Some(thread));
            }
        }
        Ok(None)
    }

    /// Processes that may share a process's memory, by a `vfork` that is not over.
    pub(super) fn vfork_relatives(&self, process: ProcessHandle) -> Vec<ProcessHandle> {
        let Process { pid, origin, .. } = *self.table.process(process);
        let unknown = origin == Origin::Unknown;
        let child_of = |p: &Process| {
            p.threads.iter().filter_map(|&i| self.table.slot(i).soft.vfork.child()).collect()
        };
        let children: Vec<Pid> = child_of(self.table.process(process));
        let vforked = |p: &Process| children.contains(&p.pid) || child_of(p).contains(&pid);
        let related = self.table.living().filter(|&(other, p)| {
            other != process && (unknown || p.origin == Origin::Unknown || vforked(p))
        });
        related.map(|(index, _)| index).collect()
    }

    /// Whether two processes that a `vfork` relates have the same memory.
    pub(super) fn share(&mut self, one: ProcessHandle, other: ProcessHandle) -> Result<bool> {
        let any = |process| {
            let threads = &self.table.process(process).threads;
            threads.first().map(|&i| self.table.slot(i).thread)
        };
        let (Some(one), Some(other)) = (any(one), any(other)) else { return Ok(false) };
        let told = unless_gone(self.backend.get_mut().shares_memory(one, other))?;
        Ok(told.is_some_and(|shared| shared.unwrap_or(true)))
    }

    /// Another process with breakpoints that has the memory of a thread.
    pub(super) fn sharer_of(&mut self, thread: Thread) -> Result<Option<ProcessHandle>> {
        let has_any = |p: &Process| p.space.as_ref().is_some_and(|i| !i.borrow().is_blank());
        let others = self
            .table
            .living()
            .filter(|(_, p)| p.pid != thread.pid && !p.is_detaching() && has_any(p));
        let others: Vec<(ProcessHandle, u32)> =
            others.filter_map(|(index, p)| Some((index, *p.threads.first()?))).collect();
        for (process, first) in others {
            let other = self.table.slot(first).thread;
            if unless_gone(self.backend.get_mut().shares_memory(other, thread))? == Some(Some(true))
            {
                return Ok(Some(process));
            }
        }
        Ok(None)
    }

    /// The same through any process that has the memory, since the others may have been killed.
    pub(super) fn settle_sharers(&mut self, space: &Shared, process: ProcessHandle) -> Result<()> {
        if space.borrow().is_settled() {
            return Ok(());
        }
        let way = |&(other, p): &(ProcessHandle, &Process)| {
            p.has(space) && !p.has_ended() && (other == process || !p.is_detaching())
        };
        let mut ways: Vec<ProcessHandle> =
            self.table.processes().filter(way).map(|(i, _)| i).collect();
        ways.sort_by_key(|&other| other != process);
        for way in ways {
            let Some(thread) = self.stopped_thread(way)? else { continue };
            if unless_gone(self.settle_again(space, thread))?.is_some() {
                break;
            }
        }
        Ok(())
    }

    /// A thread is run from its own stop, so that it has nothing else to report: a child that it makes
    /// has the memory as it is now, unless that is changed.
    pub(in crate::engine) fn note_memory(&mut self, index: u32) {
        if let Some(space) = &self.table.process_of(index).space {
            let version = space.borrow().version();
            self.table.slot_mut(index).soft.seen = version;
        }
    }

    /// A process has made another one, which it waits for.
    pub(in crate::engine) fn vfork_begins(&mut self, index: u32, child: Option<Pid>) {
        let soft = &mut self.table.slot_mut(index).soft;
        soft.vfork = child.map_or(Vfork::ForAnother, Vfork::For);
    }

    /// A process has ended. Its number is free, though the end of its vfork may be still to come.
    pub(in crate::engine) fn ends_vfork(&mut self, process: ProcessHandle) {
        let Process { pid, real_parent, .. } = *self.table.process(process);
        let Some(maker) = real_parent.and_then(|parent| self.table.find_process(parent)) else {
            return;
        };
        self.table.for_threads_of(maker, |_, slot| {
            if slot.soft.vfork == Vfork::For(pid) {
                slot.soft.vfork = Vfork::ForAnother;
            }
        });
    }

    /// The child has its own memory by now, or is dead: what it had in its maker's is taken out,
    /// and what was taken out for its sake put back.
    pub(in crate::engine) fn vfork_is_over(&mut self, index: u32) -> Result<()> {
        let slot = self.table.slot_mut(index);
        let (thread, process) = (slot.thread, slot.process);
        let child = std::mem::take(&mut slot.soft.vfork).child();
        let Some(space) = self.table.process(process).space.clone() else { return Ok(()) };
        if let Some(child) = child {
            space.borrow_mut().give_back(child);
        }
        let child = child.and_then(|child| self.table.find_process(child));
        if let Some(child) = child.filter(|&child| self.table.process(child).has(&space)) {
            // Its exec or its end is reported only after this.
            let child = self.table.process_mut(child);
            child.space = None;
            space.borrow_mut().leave(child.pid);
        }
        unless_gone(self.settle_again(&space, thread))?;
        self.end_loan(&space);
        Ok(())
    }

    /// A thread is on its way out, which may wait in `vfork`: nobody will tell when the child has the
    /// memory no more. So threads that are kept back for it wait no longer.
    pub(in crate::engine) fn vfork_is_abandoned(&mut self, index: u32) {
        let slot = self.table.slot(index);
        let (process, child) = (slot.process, slot.soft.vfork.child());
        let Some(child) = child else { return };
        let Some(space) = self.table.process(process).space.clone() else { return };
        space.borrow_mut().lend_for_good(child);
        self.free_kept(process);
        self.end_loan(&space);
    }

    /// A process has exec'ed or ended: it has nothing to do with its old memory any more. Others
    /// that have it lose what it has left there, and get back what could not be for its sake.
    pub(in crate::engine) fn leave_space(&mut self, process: ProcessHandle) {
        let process = self.table.process_mut(process);
        process.origin = Origin::Known;
        process.may_share = false;
        process.heritage = None;
        let pid = process.pid;
        // Of one that really was detached there may be children that have it, too.
        let released = process.is_partly_detached();
        let Some(space) = process.space.take() else { return };
        if Rc::strong_count(&space) == 1 {
            return; // nobody else has it
        }
        space.borrow_mut().leave(pid);
        if !released {
            space.borrow_mut().give_back(pid);
        }
        if space.borrow().is_settled() {
            return;
        }
        let sharer = self.table.processes().find(|(_, p)| p.has(&space)).map(|(_, p)| p.pid);
        if let Some(sharer) = sharer {
            self.queue_step_over(sharer);
        }
    }
}
