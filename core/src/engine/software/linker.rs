//! The engine's own breakpoint in the function that a dynamic linker calls when its list of modules
//! has changed, under [`EventFlags::MODULES`].
//!
//! It is put in when a program begins, or is attached to. The child of a fork has it as it has the
//! others; an exec takes it away with all of them, and the new program gets its own. No user sees it:
//! a stop there has the cause [`TrapCauses::modules_changed`](crate::TrapCauses::modules_changed), and
//! only if the list is another one than before.

use crate::address_space::Shared;
use crate::backend::Thread;
use crate::error::unless_gone;
use crate::{Backend, Error, EventFlags, Result};

use super::super::process::Start;
use super::super::{Engine, ProcessHandle};

impl<B: Backend> Engine<B> {
    /// A program has begun, or has been attached to, and this thread of it is stopped.
    pub(in crate::engine) fn meet_linker(&mut self, index: u32) {
        let slot = self.table.slot(index);
        let (thread, process) = (slot.thread, slot.process);
        let entry = self.table.process(process);
        if !entry.setup.flags.contains(EventFlags::MODULES) || entry.is_detaching() {
            return;
        }
        if let Err(error) = unless_gone(self.watch_linker(process, thread)) {
            self.failures.note(thread.pid, error);
        }
    }

    /// The user wants to be told of modules from now on, or no longer.
    pub(in crate::engine) fn change_linker(
        &mut self,
        process: ProcessHandle,
        flags: EventFlags,
    ) -> Result<()> {
        let entry = self.table.process(process);
        let (pid, before) = (entry.pid, entry.setup.flags);
        if (before ^ flags).contains(EventFlags::MODULES) && entry.start == Start::Shown {
            if flags.contains(EventFlags::MODULES) {
                let watch = |engine: &mut Self, thread| engine.watch_linker(process, thread);
                return self.with_stopped(process, watch);
            }
            if let Some(space) = entry.space.clone() {
                space.borrow_mut().unwatch_each(pid);
                return self.settle_removed(process, &space);
            }
        }
        Ok(())
    }

    fn watch_linker(&mut self, process: ProcessHandle, thread: Thread) -> Result<()> {
        let asked = self.of_program(thread, |program, memory| {
            Ok((program.stop(memory)?, program.list(memory)?.digest()))
        });
        let (Some(addr), seen) = asked? else { return Ok(()) };
        if !self.traps_in_code_of(thread)? {
            return Ok(()); // nobody can be told there: see `EventFlags::MODULES`
        }
        let space = self.known_space_of(process, thread)?;
        self.watch_place(&space, thread, addr)?;
        space.borrow_mut().modules_seen = seen;
        self.rest_for_loan(process, &space)
    }

    /// Has the engine's breakpoint at this place, and at no other one.
    fn watch_place(&mut self, space: &Shared, thread: Thread, addr: u64) -> Result<()> {
        if space.borrow().is_watched(addr, thread.pid) {
            return Ok(());
        }
        if space.borrow().overlaps(addr, Self::INT.len()) {
            return Err(Error::bad_address(addr));
        }
        for located in self.locate(space, thread, &[addr])? {
            located?;
        }
        space.borrow_mut().unwatch_each(thread.pid);
        space.borrow_mut().watch(addr, thread.pid);
        let settled = self.settle(space, thread);
        if settled.is_err() {
            space.borrow_mut().unwatch_each(thread.pid);
        }
        settled
    }

    /// A thread has arrived at the engine's breakpoint: whether that is to be reported.
    pub(super) fn modules_have_changed(
        &mut self,
        thread: Thread,
        space: &Shared,
        addr: u64,
    ) -> Result<bool> {
        let list = match self.of_program(thread, |program, memory| program.list(memory)) {
            // The memory is not what it was; or the thread was killed, and its end comes.
            Err(Error::BadAddress { .. } | Error::Gone { .. }) => return Ok(false),
            list => list?,
        };
        if let Some(stop) = list.stop.filter(|&stop| stop != addr) {
            match self.watch_place(space, thread, stop) {
                Ok(()) | Err(Error::BadAddress { .. } | Error::Gone { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        let now = list.digest();
        if !list.is_consistent() || space.borrow().modules_seen == now {
            return Ok(false);
        }
        space.borrow_mut().modules_seen = now;
        Ok(true)
    }
}
