//! Stepping over breakpoints in place.
//!
//! A thread that is to run from a breakpoint needs the program's own instruction for a moment, in
//! which no other thread may come by. So all threads that share the memory are stopped; the instruction
//! is put in, the one thread steps, and the breakpoint is put back. Every other thread that is at a
//! breakpoint by then steps over it in the same moment: a system call that was interrupted for this is
//! made again from its first instruction, and if that has a breakpoint too, two such threads would
//! interrupt each other for ever.

use crate::address_space::{InMemory, Shared};
use crate::backend::{RawReason, Run, Thread};
use crate::error::unless_gone;
use crate::limits::Limit;
use crate::{Arch, Backend, Error, Passing, Pid, Result, Signal, TrapCauses};

use super::super::drive::Turn;
use super::super::thread::{CallSide, Delivery, Slot, State};
use super::super::{Engine, ProcessHandle};

impl<B: Backend> Engine<B> {
    /// Leads those past their breakpoints that are to run, and runs them.
    #[inline]
    pub(in crate::engine) fn step_over_queued(&mut self) -> Result<()> {
        match self.software.queue.is_empty() {
            true => Ok(()),
            false => self.step_over_all_queued(),
        }
    }

    fn step_over_all_queued(&mut self) -> Result<()> {
        while let Some(pid) = self.software.queue.pop_front() {
            let Some(process) = self.table.find_process(pid) else { continue };
            if self.table.process(process).is_detaching() {
                continue;
            }
            let family = self.sharers(process);
            for &process in &family {
                self.table.begin_all_stop(process);
            }
            let mut result = self.step_over_all(&family);
            for &process in &family {
                if !self.table.is_there(process) {
                    continue;
                }
                self.table.end_all_stop(process);
                if result.is_ok() {
                    result = self.go_on(process);
                }
            }
            if result.is_err() {
                // The next wait tries again, with those that are left.
                for process in family {
                    if self.table.is_there(process) {
                        self.queue_step_over(self.table.process(process).pid);
                    }
                }
                return result.map_err(|error| error.of(pid));
            }
        }
        Ok(())
    }

    /// Before a thread of a process is run: what has failed to lead others of it past a breakpoint is
    /// done again, which may be out of memory still.
    pub(in crate::engine) fn finish_step_overs(&mut self, pid: Pid) -> Result<()> {
        match self.step_over_queued() {
            Err(error) if error.pid() != Some(pid) => self.failures.step_over_failed(error),
            passed => passed?,
        }
        Ok(())
    }

    /// Leads all threads of a family past, with the others stopped, and puts in what could not be
    /// before.
    fn step_over_all(&mut self, family: &[ProcessHandle]) -> Result<()> {
        for &process in family {
            if self.table.is_there(process) {
                self.stop_all(process)?;
            }
            if self.table.is_there(process) {
                match self.inherit_again(process) {
                    Err(Error::NotStopped { .. }) => {} // the kernel holds it
                    inherited => inherited?,
                }
            }
        }
        if let Some(&process) = family.iter().find(|&&process| self.table.is_there(process)) {
            if let Some(space) = self.table.process(process).space.clone() {
                self.settle_sharers(&space, process)?;
            }
        }
        loop {
            let mut next = None;
            for &process in family {
                if next.is_none() && self.table.is_there(process) {
                    next = self.next_to_step_over(process)?;
                }
            }
            match next {
                Some(index) => self.pass(index)?,
                None => return Ok(()),
            }
        }
    }

    /// A thread of a process that is to run, and is at a breakpoint.
    fn next_to_step_over(&mut self, process: ProcessHandle) -> Result<Option<u32>> {
        for index in self.about_to_run(process) {
            if self.table.slot(index).rests() && self.stands(index)? {
                return Ok(Some(index));
            }
        }
        Ok(None)
    }

    /// Leads one thread past its breakpoint.
    fn pass(&mut self, index: u32) -> Result<()> {
        let slot = self.table.slot(index);
        let (thread, process, at) = (slot.thread, slot.process, slot.soft.at.place());
        let space = self.table.process(process).space.clone();
        let (Some(addr), Some(space)) = (at, space) else { return Ok(()) };
        let Some(location) =
            space.borrow().get(addr).filter(|l| l.memory == InMemory::Yes).cloned()
        else {
            self.table.slot_mut(index).soft.at.lose();
            return Ok(());
        };
        let own = location.code.bytes().get(..Self::INT.len()).unwrap_or_default();
        self.write_back(index)?;
        let written = self.backend.get_mut().write_text(thread, addr, own);
        if unless_gone(written)?.is_none() {
            self.table.slot_mut(index).soft.at.leave(); // killed: its end comes
            return Ok(());
        }
        space.borrow_mut().open(addr);
        let mode = self.table.slot(index).soft.mode;
        let passed = self.step_past(index, thread, location.passing.in_mode(mode));
        space.borrow_mut().close(addr);
        self.reinsert(&space, process, thread)?;
        passed
    }

    /// Puts a breakpoint back, if anybody still wants it and there is somebody to do it through.
    fn reinsert(&mut self, space: &Shared, process: ProcessHandle, thread: Thread) -> Result<()> {
        let has_it =
            |slot: &Slot| self.table.process(slot.process).has(space) && slot.can_be_asked();
        let known = self.table.find_thread_of(thread.pid, thread.tid);
        if known.is_some_and(|index| has_it(self.table.slot(index))) {
            unless_gone(self.settle_again(space, thread))?;
        }
        self.settle_sharers(space, process)
    }

    /// Has one thread execute the instruction that it stands at, while nobody else runs.
    fn step_past(&mut self, index: u32, thread: Thread, passing: Passing) -> Result<()> {
        let run = if passing == Passing::SystemCall { Run::Syscall } else { Run::Step };
        let process = self.table.slot(index).process;
        loop {
            let slot = self.table.slot(index);
            let deferred = slot.deferred.map(|(run, _)| run);
            let wanted = slot.soft.queued.or(deferred).unwrap_or(slot.run);
            let signal = match self.suspend_others(process, index) {
                Ok(signal) => signal,
                Err(error) => {
                    self.keep_at_rest(process, index, None);
                    return Err(error);
                }
            };
            let slot = self.table.slot_mut(index);
            slot.soft.stepping_over = Some(wanted);
            if slot.kept.is_some() {
                slot.delivery = Delivery::Resend; // the kernel lets go of it
            }
            slot.run = run;
            self.table.revoke(index);
            self.runs_alone(index);
            let ran = match unless_gone(self.backend.get_mut().resume(thread, run, signal)) {
                Ok(ran) => ran,
                Err(error) => {
                    self.keep_at_rest(process, index, signal);
                    return Err(error);
                }
            };
            if ran.is_none() && self.could_not_run_alone(process, index, signal) {
                return self.free_others(process, index);
            }
            self.fast_path.resumed(thread);
            self.await_step_over(index, thread, run)?;
            let slot = self.table.slot(index);
            let runs = slot.thread == thread && !slot.is_stopped();
            if !self.table.is_there(process) || runs {
                return Ok(());
            }
            self.free_others(process, index)?;
            let slot = self.table.slot(index);
            let there = slot.thread == thread && slot.soft.at.place().is_some();
            let rests = slot.rests();
            if !there || !rests || self.runs_with_what_is_shown(process) {
                return Ok(());
            }
        }
    }

    /// It could not be run: it is at the breakpoint as before, and so are the others.
    fn keep_at_rest(&mut self, process: ProcessHandle, index: u32, signal: Option<Signal>) {
        let slot = self.table.slot_mut(index);
        slot.run = slot.soft.stepping_over.take().unwrap_or(slot.run);
        slot.state = State::Resting;
        self.rest_again(process);
        let mut signal = signal;
        for i in self.table.process(process).threads.clone() {
            let slot = self.table.slot_mut(i);
            if let Some((_, kept @ None)) = &mut slot.deferred {
                *kept = signal.take();
            }
        }
        if let Err(error) = self.free_others(process, index) {
            let pid = self.table.process(process).pid;
            self.failures.note(pid, error);
        }
    }

    /// Waits for the one thread that runs, taking in what others report.
    fn await_step_over(&mut self, index: u32, thread: Thread, run: Run) -> Result<()> {
        self.drive_until(Limit::Unlimited, |tracer, turn| {
            let slot = tracer.table.slot(index);
            if slot.thread != thread || slot.soft.stepping_over.is_none() {
                return Ok(Some(()));
            }
            if matches!(slot.state, State::Retrying(_)) {
                tracer.look_again(index)?;
                let slot = tracer.table.slot(index);
                // If that has failed again, a later wait finds out.
                if matches!(slot.state, State::Retrying(_)) || slot.soft.stepping_over.is_none() {
                    return Ok(Some(()));
                }
            }
            if tracer.table.slot(index).rests() {
                return tracer.step_over_again(index, thread, run);
            }
            if turn == Turn::Nothing && tracer.is_silenced(thread)? {
                tracer.table.slot_mut(index).soft.stepping_over = None;
                return Ok(Some(()));
            }
            Ok(None)
        })?;
        Ok(())
    }

    /// One that is being led past a breakpoint was stopped with its process by another thread that was
    /// still inside the kernel: it is run again, unless that has something to say. Says whether the
    /// pass is over by that.
    fn step_over_again(&mut self, index: u32, thread: Thread, run: Run) -> Result<Option<()>> {
        let process = self.table.slot(index).process;
        if self.runs_with_what_is_shown(process) {
            self.break_off(index)?;
            return Ok(Some(()));
        }
        self.runs_alone(index);
        match unless_gone(self.backend.get_mut().resume(thread, run, None)) {
            Ok(ran) => {
                Ok((ran.is_none() && self.could_not_run_alone(process, index, None)).then_some(()))
            }
            Err(error) => {
                self.keep_at_rest(process, index, None);
                Err(error)
            }
        }
    }

    /// Whether a thread that runs has ended or was killed, and is not heard of for as long as another
    /// one takes: one that waits in vfork, or has yet to leave its last stop.
    fn is_silenced(&mut self, thread: Thread) -> Result<bool> {
        if unless_gone(self.backend.get_mut().is_uninterruptible(thread))?.is_none() {
            return Ok(true);
        }
        self.is_silenced_by_vfork(thread.pid)
    }

    /// A trap of ours: if the thread is being led past a breakpoint, the step that did it is not
    /// shown, unless it was the user's as well.
    pub(in crate::engine) fn stepped_over(
        &mut self,
        index: u32,
        causes: TrapCauses,
    ) -> Result<Option<TrapCauses>> {
        let slot = self.table.slot_mut(index);
        let Some(wanted) = slot.soft.stepping_over.take() else { return Ok(Some(causes)) };
        slot.run = wanted;
        let thread = slot.thread;
        let at = slot.soft.at.place();
        let stays = match at {
            Some(addr) if self.passing_at(index, addr) == Some(Passing::Repeats) => {
                let registers = unless_gone(self.backend.get_mut().registers(thread))?;
                registers.is_some_and(|registers| <B::Arch as Arch>::pc(&registers) == addr)
            }
            _ => false,
        };
        if let Some(at) = at.filter(|_| !stays) {
            self.hide_step_over(index, at)?;
        }
        let slot = self.table.slot_mut(index);
        if !stays {
            slot.soft.at.leave();
        }
        let single_step = causes.single_step && wanted == Run::Step;
        let causes = TrapCauses { single_step, ..causes };
        if causes.is_empty() {
            slot.state = State::Resting;
            return Ok(None);
        }
        slot.deferred = None;
        Ok(Some(causes))
    }

    /// Another stop of a thread that is being led past a breakpoint. Says whether that was all.
    pub(in crate::engine) fn step_over_met(
        &mut self,
        index: u32,
        reason: RawReason,
    ) -> Result<bool> {
        let reports = self.reports_syscalls(index);
        let slot = self.table.slot_mut(index);
        let Some(wanted) = slot.soft.stepping_over.take() else { return Ok(false) };
        let stepped = std::mem::replace(&mut slot.run, wanted) == Run::Step;
        let entry = match reason {
            RawReason::Syscall => slot.call_side == CallSide::Inside,
            RawReason::SyscallEntry => true,
            _ => false,
        };
        if entry {
            slot.soft.entered = slot.soft.at.place();
            slot.soft.at.leave();
            if !reports {
                slot.state = State::Resting;
                return Ok(true);
            }
        } else {
            self.look_where(index, stepped)?;
        }
        self.table.slot_mut(index).deferred = None;
        Ok(false)
    }

    /// Another thread has something to say first.
    fn break_off(&mut self, index: u32) -> Result<()> {
        let slot = self.table.slot_mut(index);
        let Some(wanted) = slot.soft.stepping_over.take() else { return Ok(()) };
        let stepped = std::mem::replace(&mut slot.run, wanted) == Run::Step;
        self.look_where(index, stepped)
    }

    /// Whether a thread that has not told is past its breakpoint.
    fn look_where(&mut self, index: u32, stepped: bool) -> Result<()> {
        let thread = self.table.slot(index).thread;
        if let Some(registers) = unless_gone(self.backend.get_mut().registers(thread))? {
            let pc = <B::Arch as Arch>::pc(&registers);
            let soft = &mut self.table.slot_mut(index).soft;
            if let Some(at) = soft.at.place().filter(|&at| at != pc) {
                soft.at.leave();
                soft.stray_step = stepped; // done, and reported later
                soft.entered = (!stepped).then_some(at);
                if stepped {
                    self.hide_step_over(index, at)?;
                }
            }
        }
        Ok(())
    }

    /// A thread was stepped past an instruction: if that has pushed the flags, the one by which it
    /// was stepped is taken out of them.
    fn hide_step_over(&mut self, index: u32, at: u64) -> Result<()> {
        if self.passing_at(index, at) != Some(Passing::PushesFlags) {
            return Ok(());
        }
        let thread = self.table.slot(index).thread;
        match unless_gone(self.backend.get_mut().registers(thread))? {
            Some(registers) => self.hide_step(thread, &registers),
            None => Ok(()),
        }
    }
}
