//! Whether a `SIGTRAP` is ours or the program's, and its causes.

use crate::backend::{Run, TrapOrigin};
use crate::error::unless_gone;
use crate::{Backend, Result, TrapCauses};

use super::Engine;

/// What a `SIGTRAP` turns out to be.
pub(super) enum Trap {
    /// Something that the tracer asked for.
    Ours(TrapCauses),
    /// Ours, and not to be shown.
    Unseen,
    /// It is not known: the thread was killed meanwhile, or taken along by an exec. Its end comes.
    Gone,
    /// The program's own: its signal, its breakpoint instruction, its trap flag. Of ours there is
    /// nothing to tell.
    Programs,
}

impl<B: Backend> Engine<B> {
    /// Why a thread has trapped. The kernel is asked only if it can be for us; every other
    /// `SIGTRAP` belongs to the program.
    pub(super) fn explain_trap(&mut self, index: u32, origin: Option<TrapOrigin>) -> Result<Trap> {
        if let Some(trap) = self.look_at_debug_registers(index)? {
            return Ok(trap);
        }
        let slot = self.table.slot_mut(index);
        let stray = std::mem::take(&mut slot.soft.stray_step);
        let (thread, stepped) = (slot.thread, slot.run == Run::Step);
        let software = self.may_hit(index);
        if !stepped && !stray && !software {
            return Ok(Trap::Programs);
        }
        let origin = match origin {
            Some(origin) => Some(origin),
            None if software && !stepped && !stray && self.must_be_hit(index)? => {
                Some(TrapOrigin::Breakpoint)
            }
            None => unless_gone(self.backend.get_mut().trap_origin(thread))?,
        };
        if origin == Some(TrapOrigin::Step) {
            self.table.slot_mut(index).soft.left_call();
        }
        match origin {
            None => return Ok(Trap::Gone),
            Some(TrapOrigin::Breakpoint) if software => return self.explain_hit(index),
            Some(TrapOrigin::Step) if stray && !stepped => return Ok(Trap::Unseen),
            Some(_) => {}
        }
        let single_step = stepped && origin == Some(TrapOrigin::Step);
        let causes = TrapCauses { single_step, ..Default::default() };
        Ok(if causes.is_empty() { Trap::Programs } else { Trap::Ours(causes) })
    }
}
