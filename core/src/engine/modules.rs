//! The files that a program consists of.

use crate::backend::Thread;
use crate::modules::{Memory, Program};
use crate::{Backend, Error, Module, Pid, Result, auxiliary};

use super::Engine;

impl<B: Backend> Engine<B> {
    /// The modules of a process, asked through any stopped thread of it.
    pub(crate) fn modules(&self, pid: Pid) -> Result<Vec<Module>> {
        let stopped = self.table.stopped_in(self.shown(pid)?).ok_or(Error::NOT_STOPPED)?;
        self.of_program(self.table.slot(stopped).thread, |program, memory| program.modules(memory))
    }

    /// What the memory of a stopped thread's program says, with what the kernel says of it.
    pub(super) fn of_program<T>(
        &self,
        thread: Thread,
        ask: impl FnOnce(&Program<'_>, &mut Memory<'_>) -> Result<T>,
    ) -> Result<T> {
        let vector = self.backend.borrow_mut().auxiliary_vector(thread.pid)?;
        let map = self.backend.borrow_mut().memory_map(thread.pid)?;
        let auxv = &auxiliary::entries(&vector);
        let program = Program { auxv, map: &map, vdso: B::VDSO };
        let mut read = |addr, buf: &mut [u8]| self.read_as_program(thread, addr, buf);
        ask(&program, &mut Memory::new(&mut read, !auxiliary::is_narrow(auxv)))
    }
}
