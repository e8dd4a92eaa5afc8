//! Processes that the user has detached, and that stay traced for a while without a word.
//!
//! A child that was made by `clone` with `CLONE_VM`, or by `rfork` with `RFMEM`, has its parent's memory
//! with the parent's breakpoints, and nobody waits for it as in `vfork`. Detached it would die of a
//! breakpoint; without the breakpoints its parent would miss them. So it stays until it has memory of
//! its own, or nobody wants a breakpoint in this one. It reports nothing, and its stops end by
//! themselves.

use crate::backend::Setup;
use crate::event_queue::Side;
use crate::{Backend, EventFlags, OnExit, Pid, Result, Resume, Signal, StopReason};

use super::software::Vfork;
use super::thread::{Hold, Interrupt, State};
use super::{Engine, ProcessHandle};

impl<B: Backend> Engine<B> {
    /// Whether a process cannot be detached for now, because others have breakpoints in its memory. Where
    /// a thread waits for the end of a `vfork` it can: they are taken out until then.
    pub(super) fn has_to_stay(&self, process: ProcessHandle) -> bool {
        let entry = self.table.process(process);
        let Some(space) = &entry.space else { return false };
        let waits = |&i: &u32| self.table.slot(i).soft.vfork.waits();
        let waits_for_it = |&i: &u32| self.table.slot(i).soft.vfork == Vfork::For(entry.pid);
        space.borrow().is_wanted_by_others(Some(entry.pid))
            && !space.borrow().is_lent_for_good()
            && !entry.threads.iter().any(waits)
            && !self.table.living().any(|(_, other)| other.threads.iter().any(waits_for_it))
    }

    /// A process that was to be detached stays, and runs on. A thread at whose stop it was to be gets this
    /// signal.
    pub(super) fn stay_unseen(
        &mut self,
        process: ProcessHandle,
        at: Option<u32>,
        signal: Option<Signal>,
    ) -> Result<()> {
        let entry = self.table.process_mut(process);
        let pid = entry.pid;
        entry.give_up_detach();
        entry.halted = None;
        entry.setup = Setup { flags: EventFlags::empty(), on_exit: OnExit::Detach };
        self.detached.extend(entry.child.take());
        if let Some(space) = &entry.space {
            space.borrow_mut().leave(pid);
        }
        if !self.is_unseen(pid) {
            self.unseen.push(pid);
        }
        self.ready.silence(pid);
        // Children that were reported and not shown are detached as well.
        while let Some((_, pair)) = self.ready.take_fork_of(pid, &[]) {
            match pair.child {
                Side::Stopped(place) if self.table.at(place).is_some_and(|s| !s.is_dead()) => {
                    self.detach_silently(place.index, None);
                }
                _ => {}
            }
        }
        for index in self.table.process(process).threads.clone() {
            let slot = self.table.slot(index);
            let signal = match slot.state {
                _ if slot.process != process => continue,
                _ if at == Some(index) => signal,
                State::Given(_) | State::Queued(_) => self.kept_signal(index),
                State::Resting if slot.hold == Hold::Stays => self.kept_signal(index),
                _ => continue,
            };
            self.table.revoke(index);
            let slot = self.table.slot_mut(index);
            if slot.hold == Hold::Stays {
                slot.hold = Hold::Suspended; // which the next resumption ends
            }
            if let Err(error) = self.run(index, Resume::Continue, signal) {
                self.table.slot_mut(index).state = State::Resting;
                self.failures.note_and_retry(pid, error);
            }
        }
        self.queue_step_over(pid); // which settles what it had of its own
        Ok(())
    }

    /// Whether a process is the user's no more, though it is traced.
    #[inline]
    pub(super) fn is_unseen(&self, pid: Pid) -> bool {
        !self.unseen.is_empty() && self.unseen.contains(&pid)
    }

    /// Ends a stop of such a process.
    pub(super) fn end_unseen_stop(&mut self, index: u32, reason: StopReason) {
        let slot = self.table.slot_mut(index);
        let pid = slot.thread.pid;
        slot.interrupt = Interrupt::None;
        let ended = match reason {
            StopReason::Signal(signal) => self.deliver_silently(index, signal),
            _ => self.run_silently(index),
        };
        if let Err(error) = ended {
            self.failures.note_and_retry(pid, error);
        }
    }

    /// Detaches those that need not stay any longer.
    pub(super) fn detach_unseen(&mut self) {
        for at in (0..self.unseen.len()).rev() {
            let Some(&pid) = self.unseen.get(at) else { continue };
            match self.traced(pid) {
                Ok(process) if !self.has_to_stay(process) => {
                    self.table.process_mut(process).begin_detach();
                    if let Err(error) = self.detach_running(process) {
                        self.failures.note_and_retry(pid, error);
                    }
                }
                Ok(_) => {}
                Err(_) => self.is_seen_again(pid),
            }
        }
    }

    /// Another process can have this number from now on.
    pub(super) fn is_seen_again(&mut self, pid: Pid) {
        self.unseen.retain(|&other| other != pid);
    }

    /// The tracer is about to end: nobody wants breakpoints where those are.
    pub(super) fn leave_no_unseen(&mut self) {
        for &pid in &self.unseen {
            let process = self.table.find_process(pid).map(|process| self.table.process(process));
            if let Some(space) = process.and_then(|process| process.space.as_ref()) {
                space.borrow_mut().give_up();
            }
        }
    }
}
