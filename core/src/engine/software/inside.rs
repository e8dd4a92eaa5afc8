//! A thread that is inside a function which the tracer has it call.

use crate::address_space::At;
use crate::backend::Run;
use crate::error::unless_gone;
use crate::{Arch, Backend, Error, Result, Signal};

use super::super::Engine;
use super::position::Owed;
use super::{Onward, Soft};

impl Soft {
    /// Whether the kernel has a thread elsewhere than its program does.
    pub(in crate::engine) fn is_hidden(&self) -> bool {
        self.at.has_trapped() || self.at.is_in_slot() || self.owed != Owed::Nothing
    }

    /// What is left of it once a thread is where its program has it: at a breakpoint that it has
    /// arrived at, or, if that was still to be told, about to arrive there.
    pub(in crate::engine) fn shown(mut self, at: Option<u64>) -> Soft {
        if self.at.is_in_slot() {
            self.at = at.map_or(At::Nowhere, At::Here);
        }
        self.at.written_back();
        if self.owed != Owed::Nothing {
            self.at.leave();
        }
        (self.stray_step, self.owed) = (false, Owed::Nothing);
        self
    }
}

impl<B: Backend> Engine<B> {
    /// The place whose instruction a thread in a slot has yet to execute.
    pub(in crate::engine) fn place_in_slot(&mut self, index: u32) -> Result<Option<u64>> {
        let slot = self.table.slot(index);
        let (thread, in_slot) = (slot.thread, slot.soft.at.is_in_slot());
        let space = self.table.process_of(index).space.clone();
        let Some(space) = space.filter(|_| in_slot) else { return Ok(None) };
        let registers = self.backend.get_mut().registers(thread)?;
        let pc = <B::Arch as Arch>::pc(&registers);
        let space = space.borrow();
        Ok(space.slot_at(pc).and_then(|(code, from, to)| {
            (pc.wrapping_sub(to) < u64::from(code.done())).then_some(from)
        }))
    }

    /// Where a process is run as a whole: runs one thread of it, whatever the others have to say.
    pub(in crate::engine) fn run_alone(
        &mut self,
        index: u32,
        run: Run,
        signal: Option<Signal>,
    ) -> Result<()> {
        let process = self.table.slot(index).process;
        let theirs = self.suspend_others(process, index)?;
        self.apply_setup(index)?;
        self.keep_watch(index)?;
        match self.go_on_from(index, run, signal)? {
            Onward::Runs => {}
            Onward::Stepped => return Ok(()),
            Onward::Waits => {
                let what = "to step over a breakpoint in place while another thread has an event";
                return Err(Error::unsupported(what, B::SYSTEM));
            }
        }
        self.table.revoke(index);
        self.table.slot_mut(index).run = run;
        self.runs_alone(index);
        let thread = self.table.slot(index).thread;
        unless_gone(self.backend.get_mut().resume(thread, run, signal.or(theirs)))?;
        self.took_signals(index);
        self.fast_path.resumed(thread);
        Ok(())
    }

    /// The others of its process may run again.
    pub(in crate::engine) fn end_alone(&mut self, index: u32) -> Result<()> {
        let process = self.table.slot(index).process;
        self.free_others(process, index)
    }
}
