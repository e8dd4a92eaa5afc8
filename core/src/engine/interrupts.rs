//! Interrupts that the user has asked for, and that may go unanswered.
//!
//! Where a stop stops one thread, a first thread that is about to end takes an interrupt and never
//! answers it, and no wait tells of its end before the other threads have ended. Whether it has ended
//! can be seen a moment later; then another thread is asked.

use crate::error::unless_gone;
use crate::limits::HELD_FOR;
use crate::{Backend, Pid};

use super::Engine;
use super::thread::Interrupt;

/// An interrupt that the first thread of a process was asked for, beside other threads.
pub(super) struct Unanswered {
    pid: Pid,
    /// How many times the kernel was seen to hold it.
    held: u32,
}

impl<B: Backend> Engine<B> {
    /// A thread was interrupted for the user.
    pub(super) fn expect_answer(&mut self, index: u32) {
        let slot = self.table.slot(index);
        let alone = self.table.process_of(index).threads.len() == 1;
        if Self::first_threads_end_silently() && self.table.is_first(index) && !alone {
            let pid = slot.thread.pid;
            self.unanswered.retain(|asked| asked.pid != pid);
            self.unanswered.push(Unanswered { pid, held: 0 });
        }
    }

    /// A quiet moment: looks after those that were asked and have not answered.
    pub(super) fn look_for_answers(&mut self) {
        for mut asked in std::mem::take(&mut self.unanswered) {
            let Ok(process) = self.traced(asked.pid) else { continue };
            let threads = self.table.process(process).threads.iter().copied();
            let waiting = threads.into_iter().find(|&i| {
                let slot = self.table.slot(i);
                self.table.is_first(i) && slot.interrupt == Interrupt::Asked && !slot.is_stopped()
            });
            let Some(index) = waiting else { continue };
            let thread = self.table.slot(index).thread;
            match unless_gone(self.backend.get_mut().is_uninterruptible(thread)) {
                Ok(Some(false)) => asked.held = 0,
                Ok(Some(true)) if asked.held < HELD_FOR => asked.held += 1,
                Ok(_) => {
                    // If it stops all the same, nobody has asked for that any more.
                    self.table.slot_mut(index).interrupt = Interrupt::Internal;
                    self.interrupt_another(asked.pid);
                    continue;
                }
                Err(error) => self.failures.note(asked.pid, error),
            }
            self.unanswered.push(asked);
        }
    }

    /// The event that was asked for has to come from another thread.
    pub(super) fn interrupt_another(&mut self, pid: Pid) {
        match self.interrupt(pid) {
            Ok(()) | Err(crate::Error::Gone { .. }) => {}
            Err(error) => {
                self.failures.note_and_retry(pid, error);
                self.failures.interrupt_again(pid);
            }
        }
    }
}
