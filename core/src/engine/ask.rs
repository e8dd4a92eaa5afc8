//! Questions about stopped threads.

use crate::backend::Thread;
use crate::backend::logged::Logged;
use crate::error::About;
use crate::stopped::Place;
use crate::{Arch, Backend, Error, Pid, Result, SignalInfo, StopReason, Stopped, Syscall, Tid};

use super::Engine;
use super::thread::State;

impl<B: Backend> Engine<B> {
    /// The thread behind a token, if questions about it can be answered.
    pub(crate) fn asked(&self, stop: &Stopped) -> Result<Thread> {
        let slot = self.table.at(stop.place).ok_or(Error::GONE)?;
        match slot.state {
            State::DeadQueued(_) | State::DeadGiven(_) | State::Free => Err(Error::GONE),
            State::Given(_) | State::Queued(_) | State::Forking | State::Retrying(_) => {
                Ok(slot.thread)
            }
            State::Resting | State::Announced | State::Running | State::Listening => {
                Err(Error::NOT_STOPPED)
            }
        }
    }

    /// Asks the back end something about a stopped thread.
    pub(crate) fn question<T>(
        &self,
        stop: &Stopped,
        question: impl FnOnce(&mut Logged<B>, Thread) -> Result<T>,
    ) -> Result<T> {
        let thread = self.asked(stop)?;
        question(&mut self.backend.borrow_mut(), thread)
    }

    /// The same about a process, running or stopped.
    pub(crate) fn ask_of<T>(
        &self,
        pid: Pid,
        question: impl FnOnce(&mut Logged<B>) -> Result<T>,
    ) -> Result<T> {
        self.shown(pid)?;
        question(&mut self.backend.borrow_mut())
    }

    /// The place of a thread of a process that is stopped, whatever for.
    pub(crate) fn any_stop(&self, pid: Pid) -> Result<(Place, Tid)> {
        let threads = &self.table.process(self.shown(pid)?).threads;
        let held = |&&index: &&u32| {
            let slot = self.table.slot(index);
            slot.is_held() && !slot.is_dead()
        };
        let index = *threads.iter().find(held).ok_or(Error::NOT_STOPPED)?;
        Ok((self.table.place(index), self.table.slot(index).thread.tid))
    }

    /// The general registers.
    pub(crate) fn registers(&self, stop: &Stopped) -> Result<<B::Arch as Arch>::Registers> {
        let answer = self.asked(stop).and_then(|_| self.shown_registers(stop.place.index));
        match self.table.at(stop.place) {
            Some(_) => self.last_known.borrow_mut().general(stop.place, answer),
            None => answer,
        }
    }

    /// Sets the general registers.
    pub(crate) fn set_registers(
        &mut self,
        stop: &Stopped,
        registers: &<B::Arch as Arch>::Registers,
    ) -> Result<()> {
        self.asked(stop)?;
        self.set_shown_registers(stop.place.index, registers)?;
        self.last_known.get_mut().set_general(stop.place, *registers);
        if stop.reason == StopReason::SyscallEntry {
            self.table.slot(stop.place.index).call.take(); // it may be another one now
        }
        Ok(())
    }

    /// The floating-point registers.
    pub(crate) fn fp_registers(&self, stop: &Stopped) -> Result<<B::Arch as Arch>::FpRegisters> {
        let answer = self.asked(stop);
        let answer = answer.and_then(|thread| self.backend.borrow_mut().fp_registers(thread));
        match self.table.at(stop.place) {
            Some(_) => self.last_known.borrow_mut().fp(stop.place, answer),
            None => answer,
        }
    }

    /// Sets the floating-point registers.
    pub(crate) fn set_fp_registers(
        &mut self,
        stop: &Stopped,
        registers: &<B::Arch as Arch>::FpRegisters,
    ) -> Result<()> {
        let thread = self.asked(stop)?;
        self.backend.get_mut().set_fp_registers(thread, registers)?;
        self.last_known.get_mut().set_fp(stop.place, registers);
        Ok(())
    }

    /// What the kernel knows about the signal of a signal stop.
    pub(crate) fn signal_info(&self, stop: &Stopped) -> Result<SignalInfo> {
        let thread = self.asked(stop)?;
        if !matches!(stop.reason(), StopReason::Signal(_) | StopReason::Trap(_)) {
            return Err(Error::NOT_SIGNAL_STOP);
        }
        let mut info = self.backend.borrow_mut().signal_info(thread)?;
        if let Some(addr) = &mut info.addr {
            *addr = self.shown_address(stop.place.index, *addr);
        }
        Ok(info)
    }

    /// The system call that a thread is in, at a `SyscallEntry` or `SyscallExit`.
    pub(crate) fn syscall(&self, stop: &Stopped) -> Result<Syscall> {
        let thread = self.asked(stop)?;
        self.asks_calls.set(true);
        let index = stop.place.index;
        let known = self.table.slot(index).call.borrow().as_deref().copied();
        match (stop.reason, known) {
            (StopReason::SyscallEntry, Some(call)) => Ok(call),
            (StopReason::SyscallEntry, None) => self.note_call(index),
            (StopReason::SyscallExit, known) => {
                let left = self.backend.borrow_mut().syscall(thread)?;
                // Of one that was killed in this stop there is no result any more.
                let result = Some(left.result.ok_or(Error::GONE)?);
                Ok(Syscall { result, ..known.unwrap_or(left) })
            }
            _ => self.backend.borrow_mut().syscall(thread),
        }
    }

    /// Keeps the call that a thread is at the entry of for its exit, where the registers do not say it any
    /// more, if the user has asked about calls at all.
    pub(super) fn keep_entered_call(&self, index: u32) -> Result<()> {
        let known = self.table.slot(index).call.borrow().is_some();
        if self.asks_calls.get() && !known {
            self.note_call(index)?;
        }
        Ok(())
    }

    /// Asks for the call that a thread is about to make.
    fn note_call(&self, index: u32) -> Result<Syscall> {
        let slot = self.table.slot(index);
        let call = self.backend.borrow_mut().syscall(slot.thread)?;
        slot.call.replace(Some(Box::new(call)));
        Ok(call)
    }

    /// A thread is about to make a call of which the user may ask when it is over.
    pub(super) fn keep_call(&mut self, index: u32) {
        let slot = self.table.slot(index);
        let at_entry = slot.state == State::Given(StopReason::SyscallEntry);
        let pid = slot.thread.pid;
        if at_entry {
            if let Err(error) = self.keep_entered_call(index) {
                self.failures.note(pid, error);
            }
        }
    }

    /// Reads memory of the process.
    pub(crate) fn read_memory(&self, stop: &Stopped, addr: u64, buf: &mut [u8]) -> Result<usize> {
        let thread = self.asked(stop)?;
        if buf.is_empty() {
            return Ok(0);
        }
        self.read_as_program(thread, addr, buf)
    }

    /// Reads several places at once; an answer for each.
    pub(crate) fn read_each(
        &self,
        stop: &Stopped,
        places: &mut [(u64, &mut [u8])],
    ) -> Vec<Result<usize>> {
        let answers: Vec<_> = match self.asked(stop) {
            Ok(thread) => self.read_each_as_program(thread, places),
            Err(error) => places.iter().map(|_| Err(error.clone())).collect(),
        };
        answers.into_iter().map(|answer| answer.about(stop.pid)).collect()
    }

    /// Writes memory of the process.
    pub(crate) fn write_memory(&mut self, stop: &Stopped, addr: u64, data: &[u8]) -> Result<usize> {
        let thread = self.asked(stop)?;
        if data.is_empty() {
            return Ok(0);
        }
        self.write_as_program(thread, addr, data)
    }
}
