//! The threads of a process, one by one.

use crate::error::unless_gone;
use crate::{Backend, Result};

use super::thread::State;
use super::{Engine, ProcessHandle};

impl<B: Backend> Engine<B> {
    /// The threads of a process that are not stopped. One in a group-stop is.
    pub(super) fn running(&self, process: ProcessHandle) -> Vec<u32> {
        let threads = self.table.process(process).threads.iter().copied();
        threads.filter(|&i| !self.table.slot(i).is_stopped()).collect()
    }

    /// Has the threads stop that were being made when their process was attached to; says whether
    /// there are any.
    pub(super) fn add_late_threads(&mut self, process: ProcessHandle) -> Result<bool> {
        let pid = self.table.process(process).pid;
        let late = unless_gone(self.backend.get_mut().late_threads(pid))?.unwrap_or_default();
        for &tid in &late {
            let index = self.table.add_thread(process, tid, State::Running);
            self.table.slot_mut(index).was_born();
        }
        if !late.is_empty() {
            self.interrupt_running(process)?;
        }
        Ok(!late.is_empty())
    }
}
