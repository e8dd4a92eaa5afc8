//! Detaching the children of forks that were not reported: with their parent, or at their first stop.

use crate::backend::{NO_SLOTS, RawKind, RawReason, RawStop, Thread};
use crate::error::unless_gone;
use crate::event_queue::Side;
use crate::limits::UNANSWERED;
use crate::{Backend, Pid, Result, Signal, Tid};

use super::Engine;
use super::drive::Driven;

impl<B: Backend> Engine<B> {
    /// Waits for children that are to be detached: each is about to make its first stop.
    pub(super) fn await_children(&mut self) -> Result<()> {
        self.detach_unannounced()?;
        let none_left = |tracer: &mut Self, _| Ok((!tracer.forks.is_detaching()).then_some(()));
        if let Driven::NoTracees = self.drive_until(UNANSWERED, none_left)? {
            self.forks.end_detaching();
        }
        Ok(())
    }

    /// Detaches the children of a process of whose forks the user was not told.
    pub(super) fn detach_unreported_children(&mut self, parent: Pid) -> Result<()> {
        for child in self.forks.retract(parent) {
            self.detach_child(child, parent);
        }
        let mut seen = Vec::new();
        while let Some((at, mut pair)) = self.ready.take_fork_of(parent, &seen) {
            seen.push(pair.child_pid);
            let mut later = false;
            if let Side::Stopped(place) = pair.child {
                if self.table.at(place).is_some_and(|slot| !slot.is_dead()) {
                    if let Err(error) = self.detach_here(place.index, None) {
                        self.failures.note_and_retry(pair.child_pid, error);
                        later = true;
                    }
                    pair.child = Side::Gone;
                }
            }
            let dead = match std::mem::replace(&mut pair.parent, Side::Detached) {
                Side::Stopped(place) if self.table.at(place).is_some_and(|slot| slot.is_dead()) => {
                    pair.parent = Side::Gone;
                    Some(place.index)
                }
                _ => None,
            };
            // Of a child that was killed the end will be told, and so this before it.
            if !later && self.table.processes().any(|(_, process)| process.pid == pair.child_pid) {
                self.ready.put_fork(at, pair);
            }
            if let Some(dead) = dead {
                self.release_dead(dead);
            }
        }
        Ok(())
    }

    /// Detaches a child at its first stop, which may have come already.
    pub(super) fn detach_child(&mut self, child: Pid, parent: Pid) {
        self.keep_home(child, parent);
        match self.forks.take(Some(child), B::first_thread(child)) {
            Some(raw) => {
                if let Some(tid) = raw.tid {
                    self.detach_orphan_stop(child, tid, raw.kind);
                }
            }
            None => self.forks.detach(child),
        }
    }

    /// Detaches a process of which only the first stop is known.
    pub(super) fn detach_orphan_stop(&mut self, pid: Pid, tid: Tid, kind: RawKind) {
        let signal = match kind {
            RawKind::Stop(RawReason::Signal { signal, .. }) => Some(signal),
            RawKind::Stop(_) => None,
            RawKind::Ended(_) => return,
        };
        if let Err(error) = self.detach_untabled(pid, tid, signal) {
            self.forks.detach(pid);
            let raw = RawStop { pid: Some(pid), tid: Some(tid), kind };
            self.failures.retry_stop(pid, raw, error);
        }
    }

    fn detach_untabled(&mut self, pid: Pid, tid: Tid, signal: Option<Signal>) -> Result<()> {
        self.put_back(Thread { pid, tid });
        if self.watches {
            // Old kernels copy debug registers to it.
            unless_gone(self.backend.get_mut().set_watched(Thread { pid, tid }, None, &NO_SLOTS))?;
        }
        self.clean_child(Thread { pid, tid })?;
        if unless_gone(self.backend.get_mut().detach(Thread { pid, tid }, signal))?.is_none() {
            self.forks.detach(pid); // killed: its end comes
        }
        self.backend.get_mut().forget(pid);
        Ok(())
    }
}
