//! Signals that come while a thread is at a breakpoint.
//!
//! The handler of a signal that is delivered there comes back to the breakpoint, which is no new
//! arrival, unless it leaves by `longjmp`, which makes the next one new. Only the way back tells: so
//! while such a handler runs the system calls of its thread are traced, and the one that ends the
//! handler shows where the thread is then.

use crate::backend::{Disposition, RawReason};
use crate::error::unless_gone;
use crate::limits::REMEMBERED;
use crate::{Arch, Backend, Result, Signal};

use super::super::Engine;
use super::super::thread::CallSide;

/// How far a stack can be unwound at once; what is further away is another stack.
const STACK: u64 = 64 << 20;

/// A handler that runs, and comes back to a breakpoint if it returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Handler {
    at: u64,
    /// The stack pointer that the thread will have then.
    sp: u64,
}

impl<B: Backend> Engine<B> {
    /// A thread that stands at a breakpoint is given a signal. Says whether it goes on from there all
    /// the same, because the signal does nothing.
    pub(super) fn signal_at(
        &mut self,
        index: u32,
        signal: Signal,
        at: u64,
        sp: u64,
    ) -> Result<bool> {
        let thread = self.table.slot(index).thread;
        match unless_gone(self.backend.get_mut().disposition(thread, signal))? {
            Some(Disposition::Caught) => {
                let handlers = &mut self.table.slot_mut(index).soft.handlers;
                if handlers.len() >= REMEMBERED {
                    handlers.remove(0);
                }
                handlers.push(Handler { at, sp });
                Ok(false)
            }
            Some(Disposition::Ignored) => Ok(true),
            Some(Disposition::Ends) | None => Ok(false),
        }
    }

    /// Whether a thread runs the handler of a signal that came at a breakpoint, so that its system
    /// calls have to be seen.
    pub(in crate::engine) fn runs_handler(&self, index: u32) -> bool {
        !self.table.slot(index).soft.handlers.is_empty()
    }

    /// A thread has stopped. If it has returned from a handler to a breakpoint, it stands there.
    pub(in crate::engine) fn look_for_return(
        &mut self,
        index: u32,
        reason: RawReason,
    ) -> Result<()> {
        let exits = match reason {
            RawReason::Syscall => self.table.slot(index).call_side == CallSide::Outside,
            RawReason::SyscallExit => true,
            _ => false,
        };
        if !self.runs_handler(index) || !exits {
            return Ok(());
        }
        let thread = self.table.slot(index).thread;
        let Some(registers) = unless_gone(self.backend.get_mut().registers(thread))? else {
            return Ok(());
        };
        let (pc, sp) = (<B::Arch as Arch>::pc(&registers), <B::Arch as Arch>::sp(&registers));
        let returned =
            unless_gone(self.backend.get_mut().ends_handler(thread, &registers))?.unwrap_or(false);
        let soft = &mut self.table.slot_mut(index).soft;
        if returned {
            soft.mode = B::code_mode(&registers);
            if let Some(which) = soft.handlers.iter().rposition(|h| h.at == pc && h.sp == sp) {
                soft.handlers.truncate(which);
                soft.at.arrive(pc);
            }
        }
        self.drop_left_handlers(index, sp);
        Ok(())
    }

    /// A thread has this stack pointer: handlers whose frame is not on the stack any more have been
    /// left by a jump, and do not come back.
    pub(super) fn drop_left_handlers(&mut self, index: u32, sp: u64) {
        let handlers = &mut self.table.slot_mut(index).soft.handlers;
        handlers.retain(|h| sp.checked_sub(h.sp).is_none_or(|above| above > STACK));
    }
}
