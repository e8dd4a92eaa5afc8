//! What a new process has of the breakpoints of those that have made it.
//!
//! Whether it has their memory or a copy is asked of the kernel. As long as that has no answer nothing
//! of its memory is touched, which may be somebody else's, and each wait asks again.

use std::cell::RefCell;
use std::rc::Rc;

use crate::address_space::{AddressSpace, Shared};
use crate::backend::Thread;
use crate::error::unless_gone;
use crate::event_queue::Side;
use crate::{Backend, Error, ForkKind, Pid, Result};

use super::super::process::Origin;
use super::super::{Engine, ProcessHandle};

/// Whose memory a new process may have, or a copy of it.
#[derive(Clone)]
pub(in crate::engine) enum Heritage {
    /// That of its maker.
    Announced { kind: ForkKind, from: Pid, space: Shared, maker: Thread },
    /// Its maker is dead, and was one of these. It may share the memory of one that lives, as that one
    /// or the maker was made by `vfork`, or of one that is not traced any more.
    Unannounced { makers: Vec<(Pid, Shared)>, lent_to: Option<Pid> },
}

impl<B: Backend> Engine<B> {
    /// A new process has come: it shares its maker's memory, or has a copy with the breakpoints
    /// in it that there were at that moment.
    pub(in crate::engine) fn inherit(
        &mut self,
        process: ProcessHandle,
        child: &Side,
        heritage: Heritage,
    ) {
        let Side::Stopped(place) = *child else { return };
        let thread = self.table.slot(place.index).thread;
        // The child is where its maker is.
        let in_slot = match &heritage {
            Heritage::Announced { space, .. } => space.borrow().has_slots(),
            Heritage::Unannounced { makers, .. } => {
                self.table.process_mut(process).origin = Origin::Unknown;
                makers.iter().any(|(_, space)| space.borrow().has_slots())
            }
        };
        if in_slot {
            self.table.slot_mut(place.index).soft.at.enter_any_slot();
        }
        if let Heritage::Announced { maker, .. } = &heritage {
            let maker = self.table.find_thread_of(maker.pid, maker.tid);
            self.begins_where(place.index, maker);
        }
        let inherited = unless_gone(self.take_heritage(process, thread, &heritage, true));
        if let Err(error) = inherited {
            self.table.process_mut(process).heritage = Some(Box::new(heritage));
            self.failures.note(thread.pid, error);
            self.queue_step_over(thread.pid); // which does it again
        }
    }

    /// A thread or a process has just been made: it is where its maker is, so in no slot if that is in
    /// none. Otherwise it is looked at before it runs, for it may sleep ever after.
    pub(in crate::engine) fn begins_where(&mut self, index: u32, maker: Option<u32>) {
        if maker.is_some_and(|maker| !self.table.slot(maker).soft.at.is_in_slot()) {
            self.table.slot_mut(index).soft.at.leave_slot();
        }
    }

    /// What could not be found out when a process came is asked again.
    pub(super) fn inherit_again(&mut self, process: ProcessHandle) -> Result<()> {
        let Some(heritage) = self.table.process_mut(process).heritage.take() else { return Ok(()) };
        let inherited = match self.stopped_thread(process) {
            Ok(Some(thread)) => {
                unless_gone(self.take_heritage(process, thread, &heritage, false)).map(drop)
            }
            Ok(None) => Err(Error::NOT_STOPPED),
            Err(error) => Err(error),
        };
        match inherited {
            Ok(()) => return Ok(()),
            Err(_) => self.table.process_mut(process).heritage = Some(heritage),
        }
        inherited
    }

    /// `first` says that it has not run since it was made.
    fn take_heritage(
        &mut self,
        process: ProcessHandle,
        thread: Thread,
        heritage: &Heritage,
        first: bool,
    ) -> Result<()> {
        match heritage {
            Heritage::Announced { kind, from, space, maker } => {
                if space.borrow().is_blank() {
                    return Ok(());
                }
                let mut exact = false;
                if let Some(at) = self.table.find_thread_of(maker.pid, maker.tid) {
                    let seen = self.table.slot(at).soft.seen;
                    exact = first && seen == space.borrow().version();
                    let told = match self.backend.get_mut().shares_memory(*maker, thread) {
                        Err(Error::Gone { .. }) => None,
                        told => Some(told?),
                    };
                    if told.is_some_and(|shared| shared.unwrap_or(*kind == ForkKind::Vfork)) {
                        self.table.process_mut(process).space = Some(Rc::clone(space));
                        return Ok(());
                    }
                }
                let copy = space.borrow().copy(*from, thread.pid);
                // If the memory has not changed since the maker was last run, the copy is like it.
                self.give_space(process, copy, thread, exact);
            }
            Heritage::Unannounced { makers, lent_to } => {
                if let Some(sharer) = self.sharer_of(thread)? {
                    let space = self.table.process(sharer).space.clone();
                    self.table.process_mut(process).space = space;
                    if let Some(at) = self.table.find_thread_of(thread.pid, thread.tid) {
                        self.table.slot_mut(at).soft.at.enter_any_slot();
                    }
                    return Ok(());
                }
                // Nobody knows whose memory it is, or what that had at the moment: only what is
                // there counts.
                let mut found = AddressSpace::default();
                for (maker, space) in makers {
                    let mut copy = space.borrow().copy(*maker, thread.pid);
                    for addr in copy.addresses() {
                        if !self.has_breakpoint(thread, addr)? {
                            copy.give_up_one(addr);
                        }
                    }
                    found.add(copy);
                }
                if let Some(pid) = *lent_to {
                    found.lend(pid, false);
                }
                if !found.is_empty() || lent_to.is_some() {
                    self.give_space(process, found, thread, false);
                }
            }
        }
        Ok(())
    }

    /// A new process has this in its memory, as far as is known, or exactly.
    fn give_space(
        &mut self,
        process: ProcessHandle,
        space: AddressSpace,
        thread: Thread,
        exact: bool,
    ) {
        let space = Rc::new(RefCell::new(space));
        self.table.process_mut(process).space = Some(Rc::clone(&space));
        let settled = match exact {
            true => self.settle(&space, thread),
            false => self.settle_copy(&space, thread),
        };
        match settled {
            // The code is not there any more; what is there comes to light when it is run.
            Ok(()) | Err(Error::Gone { .. } | Error::BadAddress { .. }) => {}
            Err(error) => {
                self.failures.note(thread.pid, error);
                self.queue_step_over(thread.pid); // which does it again
            }
        }
    }
}
