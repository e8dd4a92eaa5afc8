//! A process stopped for a moment, for requests that need that.

use crate::{Backend, Result};

use super::{Engine, ProcessHandle};

impl<B: Backend> Engine<B> {
    /// Does something with a process while all its threads are stopped, but for those that the
    /// kernel holds, and then runs those on that ran before. What they report meanwhile is given
    /// by later waits. It may end meanwhile: `request` looks.
    pub(super) fn with_all_stopped<T>(
        &mut self,
        process: ProcessHandle,
        request: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<T> {
        if self.is_stopped_whole(process) {
            return request(self);
        }
        self.table.begin_all_stop(process);
        let result = match self.stop_all(process) {
            Ok(_) => request(self),
            Err(error) => Err(error),
        };
        let ran = self.run_again(process);
        let value = result?;
        ran.map(|()| value)
    }

    /// Ends a quiet moment.
    fn run_again(&mut self, process: ProcessHandle) -> Result<()> {
        self.table.end_all_stop(process);
        if !self.table.is_there(process)
            || self.table.process(process).is_halted()
            || self.runs_with_what_is_shown(process)
        {
            return Ok(());
        }
        self.run_late(process)
    }
}
