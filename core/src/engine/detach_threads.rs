//! Detaching thread by thread, or a process as a whole: the requests, and waiting for those that run.

use crate::backend::{NewTask, RawReason, Run};
use crate::error::unless_gone;
use crate::limits::{HELD_FOR, UNANSWERED};
use crate::{Backend, Result, Signal};

use super::drive::{Driven, Turn};
use super::thread::{Interrupt, State};
use super::trap::Trap;
use super::{Engine, ProcessHandle};

impl<B: Backend> Engine<B> {
    /// Detaches the stopped threads that are left of a process, and stops and detaches those that run.
    /// The last one first, which is quickly taken out of the list.
    pub(super) fn detach_each(&mut self, process: ProcessHandle) -> Result<()> {
        if !self.table.is_there(process) {
            return Ok(());
        }
        for other in self.table.process(process).threads.clone().into_iter().rev() {
            let slot = self.table.slot(other);
            if matches!(slot.state, State::Retrying(_)) {
                self.look_again(other)?;
            } else if slot.can_be_asked() {
                let signal = self.kept_signal(other);
                self.release(other, signal)?;
            }
            if !self.table.is_there(process) {
                return Ok(());
            }
        }
        self.interrupt_running(process)?;
        self.await_detached(process)
    }

    /// Waits until the threads that were interrupted have stopped and are detached, but not for
    /// those that the kernel holds or has forgotten: a later wait meets them.
    pub(super) fn await_detached(&mut self, process: ProcessHandle) -> Result<()> {
        let pid = self.table.process(process).pid;
        let (mut gone_for, mut begun) = (0, false);
        let driven = self.drive_until(UNANSWERED, |tracer, turn| {
            if std::mem::replace(&mut begun, true) && turn == Turn::Report {
                tracer.failures.error_of(pid)?;
            }
            while tracer.table.is_there(process) {
                let running = tracer.running(process);
                if tracer.take_in_each(process, &running)? == 0 {
                    break;
                }
                tracer.failures.error_of(pid)?;
            }
            if !tracer.table.is_there(process) {
                return Ok(Some(()));
            }
            if turn != Turn::Nothing {
                return Ok(None);
            }
            let (mut free, mut gone) = (false, true);
            for index in tracer.running(process) {
                let thread = tracer.table.slot(index).thread;
                let answer = unless_gone(tracer.backend.get_mut().is_uninterruptible(thread))?;
                gone &= answer.is_none();
                free |= answer == Some(false);
            }
            // What was killed has an end that a wait finds. What is left of a first thread that ended
            // before the others has none until they end.
            let zombie_leader = gone && tracer.table.process(process).is_partly_detached();
            gone_for = if zombie_leader { gone_for + 1 } else { 0 };
            if gone_for >= HELD_FOR {
                tracer.leave_zombie_leader(process);
                return Ok(Some(()));
            }
            Ok((!free && !zombie_leader).then_some(()))
        })?;
        // By an exec, the thread that was detached can have been the last one.
        let partly = |index| self.table.process(index).is_partly_detached();
        if matches!(driven, Driven::NoTracees) && self.table.is_there(process) && partly(process) {
            self.forget_process(process);
        }
        Ok(())
    }

    /// A thread of a process that is being detached has stopped.
    pub(super) fn detach_at_stop(&mut self, index: u32, reason: RawReason) -> Result<()> {
        let thread = self.table.slot(index).thread;
        let mut signal = None;
        match reason {
            RawReason::Signal { signal: Signal::TRAP, trap } => {
                if let Trap::Programs = self.explain_trap(index, trap)? {
                    signal = Some(Signal::TRAP);
                }
            }
            RawReason::Signal { signal: stopped_for, .. } => signal = Some(stopped_for),
            RawReason::Forked { task, .. } => match self.made_task(index, task)? {
                Some(NewTask::Process { pid, .. }) => self.detach_child(pid, thread.pid),
                Some(NewTask::Thread(tid)) => {
                    let process = self.table.slot(index).process;
                    self.announce_thread(process, tid, Some(index))?;
                }
                None => {}
            },
            _ => {}
        }
        if let Err(error) = self.detach_at(index, signal) {
            self.table.slot_mut(index).state = State::Resting;
            self.detach_later(index, signal);
            self.failures.note(thread.pid, error);
        }
        Ok(())
    }

    /// Detaches a process that stops as a whole.
    pub(super) fn detach_whole(&mut self, index: u32, signal: Option<Signal>) -> Result<()> {
        let slot = self.table.slot(index);
        let (thread, process) = (slot.thread, slot.process);
        let threads = self.table.process(process).threads.iter();
        let signal = signal.or(threads.copied().find_map(|i| self.kept_signal(i)));
        self.put_back(thread);
        for other in self.table.process(process).threads.clone() {
            self.write_back(other)?;
        }
        self.disarm_whole(process)?;
        let signal = self.with_owed(index, signal);
        if unless_gone(self.backend.get_mut().detach(thread, signal))?.is_some() {
            self.forget_process(process);
        }
        Ok(())
    }

    /// Detaches one stopped thread, and forgets its process with the last one.
    pub(super) fn release(&mut self, index: u32, signal: Option<Signal>) -> Result<()> {
        let slot = self.table.slot(index);
        let (thread, process) = (slot.thread, slot.process);
        let signal = signal.or(self.kept_signal(index));
        self.put_back(thread);
        self.write_back(index)?;
        let signal = self.with_owed(index, signal);
        if self.disarm(index)? {
            // A trap of ours would kill it: it comes to that first, before it runs anything.
            unless_gone(self.backend.get_mut().resume(thread, Run::Continue, signal))?;
            self.took_signals(index);
            self.table.run(index).interrupt = Interrupt::Internal;
            return Ok(());
        }
        if unless_gone(self.backend.get_mut().detach(thread, signal))?.is_none() {
            // Killed: its end comes, and is the process's.
            self.table.run(index);
            return Ok(());
        }
        self.forks.was_detached(thread.pid);
        self.table.remove_thread(index);
        self.table.process_mut(process).lost_a_thread_to_detach();
        if self.table.process(process).threads.is_empty() {
            self.forget_process(process);
        }
        Ok(())
    }
}
