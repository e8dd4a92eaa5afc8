//! System calls that a tracee makes for its tracer.

use crate::backend::{Setup, Thread};
use crate::{Backend, Error, Result, StopReason, Stopped};

use super::Engine;

impl<B: Backend> Engine<B> {
    /// What the kernel was told that a stopped thread is to report.
    pub(crate) fn setup_of(&self, stop: &Stopped) -> Result<Setup> {
        self.asked(stop)?;
        let slot = self.table.slot(stop.place.index);
        Ok(slot.applied.unwrap_or(self.wanted_setup(slot.process)))
    }

    /// Has a stopped thread make a system call, and returns what that has returned.
    pub(crate) fn call_syscall(
        &mut self,
        stop: &mut Stopped,
        number: u64,
        args: &[u64],
    ) -> Result<i64> {
        let thread = self.asked(stop)?;
        let returned = self.backend.get_mut().call_syscall(thread, number, args)?;
        Ok(match returned {
            Ok(value) => value as i64,
            Err(errno) => -i64::from(errno),
        })
    }

    /// Has a thread at the entry of a system call make another one, or the same with other
    /// arguments.
    pub(crate) fn set_syscall(
        &mut self,
        stop: &Stopped,
        number: u64,
        args: [u64; 6],
    ) -> Result<()> {
        let thread = self.at_call(stop, StopReason::SyscallEntry)?;
        self.backend.get_mut().change_syscall(thread, number, args)?;
        self.table.slot(stop.place.index).call.take(); // it is another one now
        Ok(())
    }

    /// Has a thread at the entry of a system call not carry it out.
    pub(crate) fn skip_syscall(&mut self, stop: &Stopped) -> Result<()> {
        let thread = self.at_call(stop, StopReason::SyscallEntry)?;
        self.keep_entered_call(stop.place.index)?;
        self.backend.get_mut().skip_syscall(thread)
    }

    /// Sets what a system call returns, at its exit.
    pub(crate) fn set_syscall_result(
        &mut self,
        stop: &Stopped,
        result: std::result::Result<u64, i32>,
    ) -> Result<()> {
        let thread = self.at_call(stop, StopReason::SyscallExit)?;
        self.backend.get_mut().set_syscall_result(thread, result)
    }

    /// The thread of a stop at the entry or the exit of a system call.
    fn at_call(&self, stop: &Stopped, side: StopReason) -> Result<Thread> {
        let thread = self.asked(stop)?;
        if stop.reason == side { Ok(thread) } else { Err(Error::NOT_STOPPED) }
    }
}
