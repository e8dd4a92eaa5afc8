//! Whose a `SIGTRAP` is, and why it came.

use crate::backend::{Run, TrapOrigin};
use crate::error::unless_gone;
use crate::{Backend, Result, TrapCauses};

use super::Tracer;
use super::hardware::Looked;

/// What a `SIGTRAP` turns out to be.
pub(super) enum Trap {
    /// Something that the tracer asked for.
    Ours(TrapCauses),
    /// Ours, but nobody wants to hear of it any more.
    Unseen,
    /// The program's own: its signal, its breakpoint instruction, its trap flag.
    Programs,
}

impl<B: Backend> Tracer<B> {
    /// Why a thread has trapped. The kernel is asked only if it can be for us; every other
    /// `SIGTRAP` belongs to the program.
    pub(super) fn explain_trap(&mut self, index: u32, origin: Option<TrapOrigin>) -> Result<Trap> {
        match self.look_at_debug_registers(index)? {
            Looked::Nothing => {}
            Looked::Ours(causes) => return Ok(Trap::Ours(causes)),
            Looked::Unseen => return Ok(Trap::Unseen),
            Looked::Programs => return Ok(Trap::Programs),
        }
        let slot = self.table.slot(index);
        if slot.run != Run::Step {
            return Ok(Trap::Programs);
        }
        let thread = slot.thread;
        let origin = match origin {
            Some(origin) => Some(origin),
            None => unless_gone(self.backend.trap_origin(thread))?,
        };
        let causes =
            TrapCauses { single_step: origin == Some(TrapOrigin::Step), ..Default::default() };
        Ok(if causes.is_empty() { Trap::Programs } else { Trap::Ours(causes) })
    }
}
