//! Memory as the program has it, without the breakpoint instructions.

use crate::address_space::Shared;
use crate::backend::Thread;
use crate::{Arch, Backend, Error, Result};

use super::super::Engine;

impl<B: Backend> Engine<B> {
    /// Reads what is mapped there, as the kernel has it.
    pub(super) fn read_mapped(&self, thread: Thread, addr: u64, buf: &mut [u8]) -> Result<usize> {
        match self.backend.borrow_mut().read_memory(thread, addr, buf) {
            Err(Error::BadAddress { .. }) => Ok(0),
            read => read,
        }
    }

    /// The same, as many bytes of so many as there are.
    pub(in crate::engine) fn bytes_at(
        &self,
        thread: Thread,
        addr: u64,
        len: usize,
    ) -> Result<Vec<u8>> {
        let mut bytes = vec![0; len];
        let read = self.read_mapped(thread, addr, &mut bytes)?;
        bytes.truncate(read);
        Ok(bytes)
    }

    pub(in crate::engine) fn read_as_program(
        &self,
        thread: Thread,
        addr: u64,
        buf: &mut [u8],
    ) -> Result<usize> {
        let read = self.backend.borrow_mut().read_memory(thread, addr, buf)?;
        if let Some(space) = self.space_behind(thread) {
            let read = buf.get_mut(..read).unwrap_or_default();
            self.hide_all(&space, thread, addr, read);
        }
        Ok(read)
    }

    /// The same for several places.
    pub(in crate::engine) fn read_each_as_program(
        &self,
        thread: Thread,
        places: &mut [(u64, &mut [u8])],
    ) -> Vec<Result<usize>> {
        let results = self.backend.borrow_mut().read_memory_each(thread, places);
        if let Some(space) = self.space_behind(thread) {
            for ((addr, buf), result) in places.iter_mut().zip(&results) {
                let read = result.as_ref().map_or(0, |&read| read);
                let read = buf.get_mut(..read).unwrap_or_default();
                self.hide_all(&space, thread, *addr, read);
            }
        }
        results
    }

    fn hide_all(&self, space: &Shared, thread: Thread, addr: u64, read: &mut [u8]) {
        self.find_copies(space, thread, addr, read);
        space.borrow_mut().hide(addr, read, Self::INT);
    }

    /// Writes; where there is a breakpoint, that stays, and what it hides is changed.
    pub(in crate::engine) fn write_as_program(
        &mut self,
        thread: Thread,
        addr: u64,
        data: &[u8],
    ) -> Result<usize> {
        self.forget_code(thread.pid);
        let Some(space) = self.space_behind(thread) else {
            return self.backend.get_mut().write_memory(thread, addr, data);
        };
        let breakpoint = <B::Arch as Arch>::BREAKPOINT;
        if space.borrow().has_within(addr, data.len(), breakpoint.len()) {
            // The program may have put something else there.
            let mut now = vec![0; data.len()];
            if let Ok(read) = self.backend.get_mut().read_memory(thread, addr, &mut now) {
                now.truncate(read);
                space.borrow_mut().hide(addr, &mut now, breakpoint);
            }
        }
        let mut bytes = data.to_vec();
        space.borrow().keep(addr, &mut bytes, breakpoint);
        let written = self.backend.get_mut().write_memory(thread, addr, &bytes)?;
        space.borrow_mut().wrote(addr, data.get(..written).unwrap_or(data));
        // Another instruction may begin there now.
        let longest = <B::Arch as Arch>::LONGEST_INSTRUCTION;
        let touched = space.borrow().reaching_into(addr, written, longest);
        if !touched.is_empty() {
            let _ = self.locate(&space, thread, &touched); // what is not mapped is not run
        }
        Ok(written)
    }

    /// The address space of a thread, if it has breakpoints.
    fn space_behind(&self, thread: Thread) -> Option<Shared> {
        let process = self.table.find_process(thread.pid)?;
        let space = self.table.process(process).space.as_ref()?;
        (!space.borrow().is_empty()).then(|| space.clone())
    }
}
