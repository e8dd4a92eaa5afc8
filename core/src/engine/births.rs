//! Threads that were killed before their first stop.
//!
//! An exit of their process, or an exec, swallows the stop at their birth, but not the one at their
//! end. Where a stop stops one thread, their maker has announced them. Where it stops the process,
//! the kernel reports births only if it was asked to. An unknown thread therefore either is older than
//! that request, or its birth was swallowed. So the older ones are looked up when births begin to be
//! reported.

use crate::backend::Setup;
use crate::{Backend, EventFlags, Result};

use super::Engine;
use super::process::Births;
use super::thread::Reported;

impl Births {
    /// What follows of this.
    pub(super) fn under(setup: Setup) -> Self {
        if are_told(setup) { Births::Reported } else { Births::Untold }
    }
}

/// Whether the kernel is asked to tell of births, where one stop stops the process.
fn are_told(setup: Setup) -> bool {
    setup.flags.intersects(EventFlags::THREAD | EventFlags::EXIT | EventFlags::SYSCALL)
}

impl<B: Backend> Engine<B> {
    /// A process that has stopped is about to report this. If its births were not told before, its
    /// threads are looked up: the user may know of them, and their ends are events.
    pub(super) fn note_older_threads(&mut self, index: u32, setup: Setup) -> Result<()> {
        let process = self.table.slot(index).process;
        let begins = self.table.process(process).births == Births::Untold && are_told(setup);
        if Self::makers_announce_threads() || !begins {
            return Ok(());
        }
        self.look_up_threads(process)?;
        self.table.for_threads_of(process, |_, slot| slot.was_born());
        self.table.process_mut(process).births = Births::Reported;
        Ok(())
    }

    /// Whether a thread, which is on its way out, was killed before its first stop: its birth would
    /// have been told.
    pub(super) fn is_unborn(&self, index: u32) -> bool {
        let slot = self.table.slot(index);
        let told = self.table.process(slot.process).births == Births::Reported;
        !Self::makers_announce_threads()
            && told
            && slot.reported == Reported::Nothing
            && !self.table.is_first(index)
    }
}
