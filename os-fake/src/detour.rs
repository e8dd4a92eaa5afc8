//! A thread that does something else for its tracer, and then goes on as if nothing had been.

use trapline_core::backend::{RawReason, Thread};
use trapline_core::{Error, Result, Signal};

use crate::arch::FakeRegisters;
use crate::model::{Model, State};

/// Where a thread was, and what it had there.
#[derive(Debug, Hash)]
pub struct Detour {
    registers: FakeRegisters,
    fp: Vec<u8>,
    in_call: bool,
}

impl Model {
    /// Whether a stopped thread can execute something: not in `vfork`, nor on its way out.
    pub(crate) fn check_free(&mut self, thread: Thread) -> Result<()> {
        let task = self.inspected(thread)?;
        let leaves = matches!(&task.state, State::Stopped(stop)
            if stop.reason == RawReason::ThreadExiting);
        let held = task.held.is_some() || task.vforked.is_some() || task.leaving.is_some();
        if held || leaves { Err(Error::NOT_STOPPED) } else { Ok(()) }
    }

    pub(crate) fn leave_place(&mut self, thread: Thread) -> Result<Detour> {
        self.check_free(thread)?;
        let task = self.inspected(thread)?;
        let in_call = std::mem::take(&mut task.in_call);
        let (registers, fp) = (task.registers, task.fp.clone());
        task.registers.interrupted = false;
        Ok(Detour { registers, fp, in_call })
    }

    pub(crate) fn return_to_place(
        &mut self,
        thread: Thread,
        detour: &Detour,
        kept: Option<Signal>,
    ) -> Result<()> {
        let task = self.inspected(thread)?;
        task.debug.is_moved(task.registers.pc != detour.registers.pc);
        task.registers = detour.registers;
        task.fp.clone_from(&detour.fp);
        task.in_call = detour.in_call;
        task.signals.extend(kept);
        Ok(())
    }
}
