//! Breakpoint instructions of ours at places where the engine has not put them.
//!
//! A program moves its memory (`mremap`), has the same memory at two addresses, or copies code: a
//! breakpoint instruction goes along. A thread that runs into it there would die of it, and so would the
//! process once it is detached. Nothing tells of it, so it is known by the code that follows: what stands
//! behind the instruction is what stands behind the breakpoint. It then is a place like any other, which
//! nobody wants if the memory was moved, and which is wanted as long as the breakpoint is if both have
//! it: to take it out of the one may take it out of the other.

use crate::address_space::{KEPT, PAGE, Reach, Shared, overlaps, position};
use crate::backend::Thread;
use crate::error::unless_gone;
use crate::{Backend, Error, MemoryRegion, Result};

use super::super::Engine;

/// How much is read at once to look for copies.
const PIECE: usize = 256 << 10;

impl<B: Backend> Engine<B> {
    /// Whether the breakpoint instruction at an address has come from another place. It is known as
    /// a place of its own from then on.
    pub(super) fn is_copy(
        &self,
        space: &Shared,
        thread: Thread,
        addr: u64,
        reach: Reach,
    ) -> Result<bool> {
        let mut code = self.bytes_at(thread, addr, KEPT)?;
        if !code.starts_with(Self::INT) {
            return Ok(false);
        }
        space.borrow_mut().hide(addr, &mut code, Self::INT); // what others have behind it
        let of = space.borrow().original(addr, &code, Self::INT, reach);
        let Some(of) = of else { return Ok(false) };
        let is_there = self.bytes_at(thread, of, KEPT)?.starts_with(Self::INT);
        space.borrow_mut().note_copy(addr, of, is_there);
        Ok(true)
    }

    /// A thread has run into a breakpoint instruction where none was put. If it has come from
    /// elsewhere with the memory, it is taken out; says whether it had.
    pub(super) fn take_out_copy(
        &mut self,
        space: &Shared,
        thread: Thread,
        addr: u64,
    ) -> Result<bool> {
        match unless_gone(self.is_copy(space, thread, addr, Reach::Anywhere))? {
            Some(true) => {
                unless_gone(self.settle_again(space, thread))?;
                Ok(true)
            }
            Some(false) | None => Ok(false),
        }
    }

    /// Looks for copies of breakpoint instructions in what was read from memory. They are known as places
    /// from then on. What cannot be found out is shown as it is.
    pub(super) fn find_copies(&self, space: &Shared, thread: Thread, addr: u64, read: &[u8]) {
        for at in overlaps(read, Self::INT) {
            let copy = addr.wrapping_add_signed(at);
            if space.borrow().may_be_moved(copy) {
                let _ = self.is_copy(space, thread, copy, Reach::Pages);
            }
        }
    }

    /// Breakpoint instructions that are not where they were put may have gone elsewhere with the
    /// memory: looks for them in all code that there is.
    pub(super) fn look_for_lost(&mut self, space: &Shared, thread: Thread) -> Result<()> {
        let lost = space.borrow_mut().take_lost();
        if lost.is_empty() {
            return Ok(());
        }
        let offsets: Vec<u64> = lost.iter().map(|at| at % PAGE).collect();
        let map = match self.backend.get_mut().memory_map(thread.pid) {
            Ok(map) => map,
            Err(Error::Unsupported { .. } | Error::Gone { .. }) => return Ok(()), // nobody tells
            Err(error) => {
                space.borrow_mut().lose_again(lost);
                return Err(error);
            }
        };
        let mut memory = vec![0; PIECE];
        for MemoryRegion { start, end, .. } in map.into_iter().filter(|region| region.execute) {
            let mut at = start;
            while at < end {
                let len = usize::try_from(end - at).unwrap_or(PIECE).min(PIECE);
                let piece = memory.get_mut(..len).unwrap_or_default();
                // What cannot be read cannot be run.
                let Ok(read) = self.backend.get_mut().read_memory(thread, at, piece) else { break };
                let piece = piece.get(..read).unwrap_or_default();
                let mut from = 0;
                while let Some(offset) = position(piece, from, Self::INT) {
                    from = offset + Self::INT.len();
                    let addr = at + offset as u64;
                    if offsets.contains(&(addr % PAGE)) && !space.borrow().is_inserted(addr) {
                        self.is_copy(space, thread, addr, Reach::Pages)?;
                    }
                }
                at += read.max(1) as u64;
            }
        }
        Ok(())
    }
}
