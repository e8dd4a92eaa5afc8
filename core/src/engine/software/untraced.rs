//! The processes that share the memory of one that was attached to.
//!
//! Of what a tracee makes it is known whether it has its maker's memory, as long as it is traced. Of
//! what there was before the attach it is not: the process may wait for a `vfork` child, or be such a
//! child, or one that was made by `clone` with `CLONE_VM`. A breakpoint instruction kills those of them
//! that are not traced. So they are looked for before the first one is put in.

use crate::address_space::Shared;
use crate::backend::Thread;
use crate::error::unless_gone;
use crate::{Backend, Error, Pid, Result, Tid};

use super::super::process::{Origin, Process};
use super::super::{Engine, ProcessHandle};
use super::Vfork;

/// A process that is not traced, and has the memory of one that is.
struct Stranger {
    pid: Pid,
    /// A thread that is traced waits for it.
    returns: bool,
}

impl<B: Backend> Engine<B> {
    /// A process is not traced any more. It may have its parent's memory for good, or its children its
    /// own, of which nobody has asked as long as no breakpoint was in it.
    pub(in crate::engine) fn may_keep_memory(&mut self, process: ProcessHandle) {
        let Process { pid, real_parent: parent, .. } = *self.table.process(process);
        let related = |p: &Process| Some(p.pid) == parent || p.real_parent == Some(pid);
        let processes = self.table.living().filter(|(_, p)| related(p));
        let related: Vec<ProcessHandle> = processes.map(|(index, _)| index).collect();
        for process in related {
            self.table.process_mut(process).may_share = true;
        }
    }

    /// Looks for those that have the memory of a process that was attached to, through a stopped thread
    /// of it: relates those that are traced to it, and gives those that are not. `None` if there is
    /// no need to look, or if nobody tells.
    fn look_for_sharers(
        &mut self,
        process: ProcessHandle,
        thread: Thread,
    ) -> Result<Option<Vec<Stranger>>> {
        let entry = self.table.process(process);
        let lent = entry.space.as_ref().is_some_and(|space| space.borrow().is_lent_for_good());
        if !entry.may_share && !lent {
            return Ok(None);
        }
        // What is traced from now on makes nothing untold.
        self.backend.get_mut().trace_late_threads(thread)?;
        let listed = match self.backend.get_mut().processes() {
            Err(Error::Unsupported { .. }) => Vec::new(), // nobody tells
            listed => listed?,
        };
        let pid = self.table.process(process).pid;
        let own = listed.iter().find(|other| other.pid == pid);
        let Some(own) = own.copied() else { return Ok(None) };
        let mut sharers = vec![own];
        for other in listed.into_iter().filter(|other| other.pid != pid && other.image == own.image)
        {
            let shares = self.backend.get_mut().shares_memory(thread, Self::any_of(other.pid));
            if unless_gone(shares)?.flatten() == Some(true) {
                sharers.push(other);
            }
        }
        let mut strangers = Vec::new();
        for sharer in &sharers {
            let children = sharers.iter().filter(|other| other.parent == sharer.parent).count();
            let maker = sharers.iter().find(|maker| maker.pid == sharer.parent);
            let waits = maker.filter(|_| children == 1).map(|maker| maker.pid);
            let returns = match waits.and_then(|maker| self.table.find_process(maker)) {
                Some(maker) => self.waits_for(maker, sharer.pid)?,
                None => false,
            };
            match self.table.find_process(sharer.pid) {
                Some(traced) if !returns && traced != process => {
                    self.table.process_mut(traced).origin = Origin::Unknown;
                }
                Some(_) => {}
                // What was heard of half is traced as well.
                None if unless_gone(self.backend.get_mut().is_traced(sharer.pid))?
                    == Some(false) =>
                {
                    strangers.push(Stranger { pid: sharer.pid, returns });
                }
                None => {}
            }
        }
        self.table.process_mut(process).may_share = false;
        Ok(Some(strangers))
    }

    /// Whether just one thread of a process is held by the kernel, as one is that waits in `vfork`; it is
    /// noted that it waits for this child.
    fn waits_for(&mut self, maker: ProcessHandle, child: Pid) -> Result<bool> {
        let waits = |&i: &u32| self.table.slot(i).soft.vfork == Vfork::For(child);
        if self.table.process(maker).threads.iter().any(waits) {
            return Ok(true);
        }
        let mut waiter = None;
        for index in self.running(maker) {
            let slot = self.table.slot(index);
            let (thread, vfork) = (slot.thread, slot.soft.vfork);
            let held = unless_gone(self.backend.get_mut().is_uninterruptible(thread))?;
            if vfork == Vfork::No && held == Some(true) {
                if waiter.is_some() {
                    return Ok(false);
                }
                waiter = Some(index);
            }
        }
        if let Some(index) = waiter {
            self.table.slot_mut(index).soft.vfork = Vfork::For(child);
        }
        Ok(waiter.is_some())
    }

    /// What the memory of a process is to hold, with all that have that memory known, in which a
    /// breakpoint is about to be inserted. An error if one would kill somebody for good.
    pub(super) fn known_space_of(
        &mut self,
        process: ProcessHandle,
        thread: Thread,
    ) -> Result<Shared> {
        let strangers = self.look_for_sharers(process, thread)?;
        let space = self.space_of(process)?;
        if let Some(strangers) = strangers {
            let mut space = space.borrow_mut();
            // Those to whom it was lent for good may have it no more.
            space.lent_for_good().into_iter().for_each(|pid| space.give_back(pid));
            for Stranger { pid, returns } in strangers {
                space.lend(pid, returns);
            }
        }
        if space.borrow().is_lent_for_good() {
            let what = "a breakpoint in memory that a process shares which is not traced";
            return Err(Error::unsupported(what, B::SYSTEM));
        }
        Ok(space)
    }

    /// Some thread of a process that is not traced.
    fn any_of(pid: Pid) -> Thread {
        let tid = B::first_thread(pid).unwrap_or(Tid::from_raw(pid.as_raw()));
        Thread { pid, tid }
    }
}
