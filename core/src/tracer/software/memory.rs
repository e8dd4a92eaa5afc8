//! Memory as the program has it, without the breakpoint instructions.

use crate::backend::Thread;
use crate::{Arch, Backend, Result};

use super::super::Tracer;
use super::image::Shared;

impl<B: Backend> Tracer<B> {
    pub(in crate::tracer) fn read_as_program(
        &mut self,
        thread: Thread,
        addr: u64,
        buf: &mut [u8],
    ) -> Result<usize> {
        let read = self.backend.read_memory(thread, addr, buf)?;
        if let Some(image) = self.image_behind(thread) {
            image.borrow().hide(addr, buf.get_mut(..read).unwrap_or_default());
        }
        Ok(read)
    }

    /// Writes; where there is a breakpoint, that stays, and what it hides is changed.
    pub(in crate::tracer) fn write_as_program(
        &mut self,
        thread: Thread,
        addr: u64,
        data: &[u8],
    ) -> Result<usize> {
        let Some(image) = self.image_behind(thread) else {
            return self.backend.write_memory(thread, addr, data);
        };
        let mut bytes = data.to_vec();
        image.borrow().keep(addr, &mut bytes, <B::Arch as Arch>::BREAKPOINT);
        let written = self.backend.write_memory(thread, addr, &bytes)?;
        image.borrow_mut().wrote(addr, data.get(..written).unwrap_or(data));
        // Another instruction may begin there now.
        let longest = <B::Arch as Arch>::LONGEST_INSTRUCTION as u64;
        let from = addr.saturating_sub(longest);
        let touched = image.borrow().starting_in(from, addr.saturating_add(written as u64));
        for addr in touched {
            let _ = self.locate(&image, thread, addr); // what is not mapped is not run
        }
        Ok(written)
    }

    fn image_behind(&self, thread: Thread) -> Option<Shared> {
        let process = self.table.find_process(thread.pid)?;
        let image = self.table.process(process).image.as_ref()?;
        (!image.borrow().is_empty()).then(|| image.clone())
    }
}
