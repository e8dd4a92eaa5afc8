//! All-stop: the halt that a user asks for, and the stop of all threads that some requests need.

use std::rc::{Rc, Weak};

use crate::error::unless_gone;
use crate::limits::{HELD_FOR, UNANSWERED};
use crate::{Backend, Error, Halted, Next, Result, Signal, StopReason, Stopped, Tid};

use super::drive::{Driven, Turn};
use super::process::Process;
use super::thread::{Hold, Reported, State};
use super::{Engine, ProcessHandle};

/// How far the threads of a process are that were asked to stop.
enum Stopping {
    /// These still run.
    Awaited(Vec<u32>),
    /// There is nobody to wait for; the kernel holds these.
    Done(Vec<u32>),
}

impl<B: Backend> Engine<B> {
    /// Stops all threads of a process at the stop of one (all-stop).
    pub(crate) fn halt(&mut self, stop: Stopped) -> Result<Halted> {
        let place = stop.place;
        self.own(&stop)?;
        let Some(slot) = self.table.at(place).filter(|slot| !slot.is_dead()) else {
            self.discard(stop);
            return Err(Error::GONE);
        };
        let (pid, process) = (stop.pid, slot.process);
        let lease = Rc::new(());
        self.table.process_mut(process).halted = Some(Rc::downgrade(&lease));
        self.halts.push(pid);
        // On an error the token is dropped, and so given again.
        let blocked = self.stop_all(process)?;
        if self.table.at(place).is_none_or(|slot| slot.is_dead()) {
            // Killed, or taken away by the exec of another thread.
            self.discard(stop);
            drop(lease);
            self.end_halts()?;
            return Err(Error::GONE);
        }
        let mut halted = Halted { pid, threads: vec![stop], blocked: Vec::new(), lease };
        for index in self.table.process(process).threads.clone() {
            let slot = self.table.slot(index);
            let tid = slot.thread.tid;
            match slot.state {
                // Its end was told.
                State::Resting if slot.reported == Reported::End => {}
                State::Resting => {
                    let kept = self.table.slot_mut(index).kept.take();
                    let reason = kept.map_or(StopReason::Halted, StopReason::Signal);
                    let token = self.token(index, reason);
                    halted.threads.push(token);
                }
                // Its own event is in the queue, or waits for something; until
                // then this token only answers questions.
                State::Queued(_) | State::Forking | State::Retrying(_) => {
                    let token = Stopped {
                        place: self.table.place(index),
                        pid,
                        tid,
                        reason: StopReason::Halted,
                        signal: None,
                        returned: None,
                    };
                    halted.threads.push(token);
                }
                State::Running | State::Announced if blocked.contains(&tid) => {
                    halted.blocked.push(tid);
                }
                _ => {}
            }
        }
        Ok(halted)
    }

    /// Stops every thread of a process that can be stopped; returns those that the kernel holds.
    pub(super) fn stop_all(&mut self, process: ProcessHandle) -> Result<Vec<Tid>> {
        let pid = self.table.process(process).pid;
        if self.is_stopped_whole(process) {
            self.look_up_threads(process)?;
            return Ok(Vec::new());
        }
        let vforks = |&&i: &&u32| self.table.slot(i).waits_for_vfork();
        let vforking = self.table.process(process).threads.iter().filter(vforks).count();
        // Where births are not told there can be threads that nobody has heard of.
        let known = Self::makers_announce_threads()
            || vforking > 0
                && unless_gone(self.backend.get_mut().threads(pid))?
                    .is_some_and(|t| t.len() <= vforking);
        self.interrupt_running(process)?;
        let mut held_for = 0;
        let driven = self.drive_until(UNANSWERED, |tracer, turn| {
            let awaited = match tracer.take_in_stops(process, known)? {
                Stopping::Awaited(running) => running,
                Stopping::Done(held) => return Ok(Some(held)),
            };
            if turn != Turn::Nothing {
                return Ok(None);
            }
            let Some(held) = tracer.are_held(process, &awaited)? else {
                held_for = 0;
                return Ok(None);
            };
            held_for += 1;
            let waits = |&i: &u32| held.contains(&i) || tracer.table.slot(i).waits_for_vfork();
            let held = || tracer.running(process).into_iter().filter(waits).collect();
            Ok((held_for >= HELD_FOR).then(held))
        })?;
        let held = match driven {
            Driven::Done(held) => held,
            Driven::Over => self.running(process),
            Driven::NoTracees => Vec::new(),
        };
        Ok(held.into_iter().map(|i| self.table.slot(i).thread.tid).collect())
    }

    /// Takes in those of a process that have stopped by now. If all its threads are `known`, those that
    /// wait in `vfork` are not waited for.
    fn take_in_stops(&mut self, process: ProcessHandle, known: bool) -> Result<Stopping> {
        loop {
            if !self.table.is_there(process) {
                return Ok(Stopping::Done(Vec::new()));
            }
            let mut running = self.running(process);
            running.retain(|&i| !(known && self.table.slot(i).waits_for_vfork()));
            if !running.is_empty() {
                if self.take_in_each(process, &running)? == 0 {
                    return Ok(Stopping::Awaited(running));
                }
            } else if !self.add_late_threads(process)? {
                if self.is_stopped_whole(process) {
                    self.look_up_threads(process)?; // some may be gone without a word
                }
                return Ok(Stopping::Done(self.running(process)));
            }
        }
    }

    /// Those of these threads that the kernel holds, if no other one can stop.
    fn are_held(&mut self, process: ProcessHandle, running: &[u32]) -> Result<Option<Vec<u32>>> {
        // Killed, but a thread of it waits in vfork: none of the others stops any more.
        let silenced = self.is_silenced_by_vfork(self.table.process(process).pid)?;
        let mut held = Vec::new();
        for &index in running {
            let thread = self.table.slot(index).thread;
            match unless_gone(self.backend.get_mut().is_uninterruptible(thread))? {
                Some(false) if !silenced => return Ok(None),
                Some(_) => held.push(index),
                // It was killed, or it is a first thread that ended before the others, and is not
                // heard of until they have.
                None => {}
            }
        }
        Ok(Some(held))
    }

    /// Runs the threads of a halted process as `next` says, all at once.
    pub(crate) fn resume_halted(
        &mut self,
        halted: Halted,
        mut next: impl FnMut(&Stopped) -> Next,
    ) -> Result<()> {
        halted.threads.iter().try_for_each(|stop| self.own(stop))?;
        let Halted { pid, threads, lease, .. } = halted;
        let plan: Vec<(Stopped, Next)> =
            threads.into_iter().map(|stop| (next(&stop), stop)).map(|(n, s)| (s, n)).collect();
        let Some(process) = self.table.find_process(pid) else {
            for (stop, _) in plan {
                self.discard(stop);
            }
            return Ok(());
        };
        self.end_halt(process, &lease);
        self.resume_planned(process, plan)?;
        self.step_over_queued()
    }

    /// Keeps a thread stopped without a token, with the signal that it has yet to get.
    pub(super) fn stay(&mut self, stop: Stopped) -> Result<()> {
        let kept = match self.table.at(stop.place) {
            Some(slot) => slot.is_given(),
            None => false,
        };
        if !kept {
            self.discard(stop);
            return Ok(());
        }
        self.keep_from_running(self.table.slot(stop.place.index).thread)?;
        let (place, signal) = stop.consume();
        let signal = signal.or(self.take_deferred(place.index));
        let slot = self.table.slot_mut(place.index);
        if slot.next.is_some() {
            // It was killed, and what came behind its stop is still to be shown.
            let reason = match (signal, slot.state) {
                (Some(signal), _) => StopReason::Signal(signal),
                (None, State::Given(reason)) => reason,
                (None, _) => StopReason::Halted,
            };
            self.queue(place.index, reason);
            return Ok(());
        }
        let slot = self.table.rest(place.index);
        slot.hold = Hold::Stays;
        slot.kept = signal.or(slot.kept);
        Ok(())
    }

    /// A thread that was resumed while the others of its process were not gets a new order; the
    /// signal that it was to get is still its own.
    pub(super) fn take_deferred(&mut self, index: u32) -> Option<Signal> {
        self.table.slot_mut(index).deferred.take().and_then(|(_, signal)| signal)
    }

    /// Runs what came to rest after the halt, since the kernel had held it before.
    pub(super) fn run_late(&mut self, process: ProcessHandle) -> Result<()> {
        for index in self.table.process(process).threads.clone() {
            let slot = self.table.slot(index);
            if slot.rests() && !slot.stays() {
                self.run_silently(index)?;
            }
        }
        Ok(())
    }

    /// A halt is over, by the will of its user.
    pub(super) fn end_halt(&mut self, process: ProcessHandle, lease: &Rc<()>) {
        let Process { pid, halted, .. } = self.table.process_mut(process);
        if halted.as_ref().is_some_and(|halted| Weak::ptr_eq(halted, &Rc::downgrade(lease))) {
            *halted = None;
            let pid = *pid;
            self.halts.retain(|&other| other != pid);
        }
    }

    /// Ends the halts whose `Halted` was dropped or taken apart: what rests without a token runs.
    pub(super) fn end_halts(&mut self) -> Result<()> {
        if self.halts.is_empty() {
            return Ok(());
        }
        for pid in std::mem::take(&mut self.halts) {
            let Some(process) = self.table.find_process(pid) else { continue };
            if self.table.process(process).is_halted() {
                self.halts.push(pid);
            } else if self.table.process_mut(process).halted.take().is_some() {
                self.run_late(process)?;
            }
        }
        Ok(())
    }

    /// A token that is of no use any more.
    pub(super) fn discard(&mut self, stop: Stopped) {
        let (place, _) = stop.consume();
        let dead = self.table.at(place).is_some_and(|s| matches!(s.state, State::DeadGiven(_)));
        if dead {
            self.release_dead(place.index);
        }
    }
}
