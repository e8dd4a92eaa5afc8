//! The end of a thread that leaves nothing of its process running.
//!
//! A user who runs one thread and has the others stay waits for that one. If it ends, nothing of
//! the process can stop any more, and without an event that wait would never end. So such an end
//! is told whatever the process reports.

use crate::event_queue::Ready;
use crate::{Backend, Pid, Tid};

use super::Engine;
use super::thread::{Reported, Slot, State, StopKind};

impl<B: Backend> Engine<B> {
    /// Whether a thread that is not run by itself stays where it is until the user does something.
    pub(super) fn stays_put(&self, slot: &Slot) -> bool {
        match slot.state {
            State::Given(_) => true,
            State::Resting => slot.stays() || self.table.process(slot.process).is_kept(),
            // Where a process is run as a whole these are suspended.
            State::Running => Self::is_suspended(slot),
            _ => false,
        }
    }

    /// Whether a thread is not the only one of its process, and all the others stay stopped.
    pub(super) fn ends_last(&mut self, index: u32) -> bool {
        let process = self.table.process_of(index);
        if process.all_stops > 0 || process.threads.len() < 2 {
            return false;
        }
        let others = process.threads.iter().filter(|&&i| i != index);
        let moves = |i: &&u32| {
            let slot = self.table.slot(**i);
            slot.is_dead() || !self.stays_put(slot)
        };
        let mut moving = others.filter(moves);
        match (moving.next(), moving.next()) {
            (None, _) => true,
            // A first thread that has ended before the others is still there.
            (Some(&first), None) if Self::first_threads_end_silently() => {
                let slot = self.table.slot(first);
                let (thread, runs) = (slot.thread, slot.state == State::Running);
                if !(self.table.is_first(first) && runs && process.threads.len() > 2) {
                    return false;
                }
                match self.backend.get_mut().is_uninterruptible(thread) {
                    Err(crate::Error::Gone { .. }) => true,
                    Ok(_) => false,
                    Err(error) => {
                        self.failures.note(thread.pid, error);
                        false
                    }
                }
            }
            _ => false,
        }
    }

    /// Whether a thread that ends leaves nothing running, and its process is not ending with it.
    pub(super) fn leaves_a_standstill(&mut self, index: u32) -> bool {
        if !self.ends_last(index) {
            return false;
        }
        // If its process ends as a whole, the others have been killed by now.
        let others = &self.table.process_of(index).threads;
        let stopped = |&&i: &&u32| i != index && self.table.slot(i).is_stopped();
        let other = others.iter().find(stopped).map(|&i| self.table.slot(i).thread);
        match other.map(|other| (other.pid, self.backend.get_mut().registers(other))) {
            Some((_, Ok(_))) => true,
            None | Some((_, Err(crate::Error::Gone { .. }))) => false,
            Some((pid, Err(error))) => {
                self.failures.note(pid, error);
                true
            }
        }
    }

    /// A thread was run out of its exit stop. If it is a first thread, no wait tells of its end before
    /// the others have ended.
    pub(super) fn left_exit_stop(&mut self, index: u32) {
        if self.table.is_first(index) && self.table.process_of(index).threads.len() > 1 {
            self.queue_lone_exit(index);
        }
    }

    fn queue_lone_exit(&mut self, index: u32) {
        let thread = self.table.slot(index).thread;
        self.ready.push(Ready::ThreadExited { pid: thread.pid, tid: thread.tid });
    }

    /// Whether the queued end of a thread is of no interest: it is that of a first thread, and the
    /// caller has others of its process run by now, or that has ended.
    pub(super) fn is_needless_exit(&mut self, pid: Pid, tid: Tid) -> bool {
        B::first_thread(pid) == Some(tid)
            && !self
                .table
                .find_thread_of(pid, tid)
                .is_some_and(|index| self.leaves_a_standstill(index))
    }

    /// Where a process is run as a whole: whether all that would run of it is this thread, on its
    /// way out. Then its end is told, and it stays there: the kernel would run nothing, and no
    /// interrupt could stop that.
    pub(super) fn stays_at_its_end(&mut self, index: u32) -> bool {
        if self.table.slot(index).stop != StopKind::WayOut || !self.ends_last(index) {
            return false;
        }
        let slot = self.table.rest(index);
        if std::mem::replace(&mut slot.reported, Reported::End) != Reported::End {
            self.queue_lone_exit(index);
        }
        true
    }
}
