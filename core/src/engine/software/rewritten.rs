//! Code that the program may write anew behind a breakpoint instruction, as a compiler at run time does
//! when it has a call go elsewhere.
//!
//! A breakpoint instruction can be shorter than what it takes the place of. What the program writes
//! over it stays, and the breakpoint is lost; but it may write only the bytes behind, and then the
//! copy in a slot is of an instruction that is none any more. So where code can change, it is looked at
//! before a thread that has trapped goes on, which is one request. Code that comes from a file, and that
//! the program cannot write, is not looked at.

use std::rc::Rc;

use crate::address_space::{KEPT, Shared, Ways};
use crate::backend::Thread;
use crate::{Backend, MemoryRegion, Result};

use super::super::Engine;

/// Whether a program has its code there as its file has it.
fn is_fixed(region: &MemoryRegion) -> bool {
    region.inode != 0 && !region.write && !region.shared
}

impl<B: Backend> Engine<B> {
    /// Learns what instruction there is by now at the breakpoint that a thread has run into. `false` if
    /// that is gone, since the program has written over it: then the thread runs what is there.
    pub(super) fn look_at_code_again(
        &mut self,
        space: &Shared,
        thread: Thread,
        addr: u64,
    ) -> Result<bool> {
        if !self.can_be_rewritten(space, thread, addr) {
            return Ok(true);
        }
        let mut code = [0; KEPT];
        let read = self.read_mapped(thread, addr, &mut code)?;
        let code = code.get_mut(..read).unwrap_or_default();
        let mut space = space.borrow_mut();
        space.hide(addr, code, Self::INT);
        if code.len() < Self::INT.len() || !space.is_inserted(addr) {
            return Ok(false);
        }
        if !space.has_code(addr, code) {
            space.locate(addr, code, Ways::of::<B::Arch>(code));
        }
        Ok(true)
    }

    fn can_be_rewritten(&mut self, space: &Shared, thread: Thread, addr: u64) -> bool {
        if let Some(known) = space.borrow().get(addr).and_then(|location| location.rewritable) {
            return known;
        }
        let known = space.borrow().fixed_code();
        let fixed = known.unwrap_or_else(|| {
            // Where the system does not tell, all of it may change.
            let map = self.backend.get_mut().memory_map(thread.pid).unwrap_or_default();
            let fixed = map.iter().filter(|region| is_fixed(region));
            let fixed = Rc::new(fixed.map(|region| region.start..region.end).collect());
            space.borrow_mut().set_fixed_code(Rc::clone(&fixed));
            fixed
        });
        let rewritable = !fixed.iter().any(|code| code.contains(&addr));
        space.borrow_mut().set_rewritable(addr, rewritable);
        rewritable
    }
}
