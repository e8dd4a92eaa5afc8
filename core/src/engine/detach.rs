//! Detaching and killing.
//!
//! A detach takes three steps. The breakpoints are taken out of memory, for which all threads are stopped
//! (`software/remove_all.rs`). Children that the user has not been told of are detached
//! ([`detach_children`](super::detach_children)). Then the threads are ([`detach_threads`](super::detach_threads)),
//! for which those that run have to stop. What is not done within the limits is done by the waits that follow.

use crate::backend::RawReason;
use crate::error::{About, unless_gone};
use crate::{Backend, Event, Pid, Result, Signal, StopReason, Stopped};

use super::thread::{Slot, State};
use super::{Engine, ProcessHandle};

impl<B: Backend> Engine<B> {
    /// Detaches the processes of an event (or a token), as if they had never been traced.
    pub(crate) fn detach(&mut self, event: Event) -> Result<()> {
        let live = |slot: &Slot| slot.is_given();
        let mut stops = Vec::new();
        for stop in event.into_stops() {
            self.own(&stop)?; // another tracer's is given again by that one
            let process = self.table.at(stop.place).filter(|slot| live(slot)).map(|s| s.process);
            if let Some(process) = process {
                // All at once, for while one is detached, an exec can take the token of another.
                self.table.process_mut(process).begin_detach();
                self.ready.silence(stop.pid);
            }
            stops.push((stop, process));
        }
        let mut result = Ok(());
        for (stop, process) in stops {
            let pid = stop.pid;
            let detached = if self.table.at(stop.place).is_some_and(live) {
                self.detach_stopped(stop)
            } else {
                self.discard(stop);
                match process.filter(|&process| self.table.is_there(process)) {
                    Some(process) => self.detach_running(process),
                    None => Ok(()),
                }
            };
            result = result.and(detached.about(pid));
        }
        result?;
        self.detach_unseen();
        self.step_over_queued()
    }

    /// Detaches a process at a stop of which the user has the token. As long as nothing is detached,
    /// an error leaves the user the stop.
    fn detach_stopped(&mut self, stop: Stopped) -> Result<()> {
        let (place, pid) = (stop.place, stop.pid);
        let process = self.table.slot(place.index).process;
        self.table.slot_mut(place.index).state = State::Resting;
        if self.has_to_stay(process) {
            let (_, signal) = stop.consume();
            return self.stay_unseen(process, Some(place.index), signal);
        }
        match self.prepare_detach(place.index) {
            Ok(true) => {
                // The token's signal counts, also if it is none.
                let (_, signal) = stop.consume();
                self.leave(place.index, signal)
            }
            Ok(false) => {
                stop.consume();
                self.await_children()
            }
            Err(error) => {
                if self.table.is_there(process) {
                    self.table.process_mut(process).give_up_detach();
                    self.failures.retry(pid); // what was brought to rest runs on
                }
                if self.table.at(place).is_some_and(|slot| slot.rests()) {
                    self.table.slot_mut(place.index).state = State::Given(stop.reason);
                }
                Err(error)
            }
        }
    }

    /// Detaches a process, running or stopped, as `detach` does.
    pub(crate) fn detach_process(&mut self, pid: Pid) -> Result<()> {
        match self.shown(pid) {
            Ok(process) => {
                self.ready.silence(pid);
                self.detach_running(process)?;
                self.detach_unseen();
                self.step_over_queued()
            }
            Err(_) => Ok(()),
        }
    }

    /// Detaches a halted process, as `detach` does.
    pub(crate) fn detach_halted(&mut self, halted: crate::Halted) -> Result<()> {
        let process = self.table.find_process(halted.pid);
        if let Some(process) = process {
            self.end_halt(process, &halted.lease);
        }
        let mut threads = halted.threads.into_iter();
        let Some(first) = threads.next() else { return Ok(()) };
        let rest: Vec<Stopped> = threads.collect();
        self.detach(first.into())?;
        for stop in rest {
            self.detach(stop.into())?; // of no effect, unless the first one was stale
        }
        // It stays if all were: what came to rest in the halt runs.
        match process.filter(|&process| self.table.is_there(process)) {
            Some(process) if !self.table.process(process).is_detaching() => self.run_late(process),
            _ => Ok(()),
        }
    }

    /// Kills a process.
    pub(crate) fn kill(&mut self, pid: Pid) -> Result<()> {
        let Ok(process) = self.shown(pid) else { return Ok(()) };
        let stopped = self.table.stopped_in(process);
        let stopped = stopped.map(|index| self.table.slot(index).thread.tid);
        unless_gone(self.backend.get_mut().kill(pid, stopped))?;
        self.runs_to_its_end(process);
        Ok(())
    }

    /// Detaches a process at a stop of one of its threads, which nobody has asked for in so many
    /// words.
    pub(super) fn detach_silently(&mut self, index: u32, signal: Option<Signal>) {
        let pid = self.table.slot(index).thread.pid;
        if let Err(error) = self.detach_here(index, signal) {
            self.failures.note_and_retry(pid, error);
        }
    }

    /// Detaches a process at a stop of one of its threads. What fails is done again by the waits
    /// that follow.
    pub(super) fn detach_here(&mut self, index: u32, signal: Option<Signal>) -> Result<()> {
        // It has no token any more, so its end, should it come now, need not wait for one.
        self.table.slot_mut(index).state = State::Resting;
        let process = self.table.slot(index).process;
        if self.has_to_stay(process) {
            return self.stay_unseen(process, Some(index), signal);
        }
        match self.prepare_detach(index) {
            Ok(true) => self.leave(index, signal),
            Ok(false) => self.await_children(),
            Err(error) => {
                self.detach_later(index, signal);
                Err(error)
            }
        }
    }

    /// A process is to be detached at a stop of this thread, but not yet.
    pub(super) fn detach_later(&mut self, index: u32, signal: Option<Signal>) {
        let slot = self.table.slot_mut(index);
        if let (State::Resting, Some(signal)) = (slot.state, signal) {
            slot.kept = Some(signal);
        }
        let pid = slot.thread.pid;
        self.failures.retry(pid);
    }

    /// Takes out of a process what must not be left in it; says whether it can then be detached at
    /// this thread.
    fn prepare_detach(&mut self, index: u32) -> Result<bool> {
        let process = self.table.slot(index).process;
        self.table.process_mut(process).begin_detach();
        if self.has_space(process)? {
            let place = self.table.place(index);
            self.remove_all_breakpoints(process)?;
            if !self.table.is_there(process) {
                return Ok(false);
            }
            if self.table.at(place).is_none() {
                self.detach_running(process)?; // its thread is gone, or has stopped again
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Detaches a process that has nothing of ours in its memory any more.
    fn leave(&mut self, index: u32, signal: Option<Signal>) -> Result<()> {
        let (place, pid) = (self.table.place(index), self.table.slot(index).thread.pid);
        let result = self.finish_detach_at(index, signal);
        if result.is_err() {
            match self.table.at(place) {
                Some(_) => self.detach_later(index, signal),
                None => self.failures.retry(pid),
            }
        }
        result
    }

    fn finish_detach_at(&mut self, index: u32, signal: Option<Signal>) -> Result<()> {
        let process = self.table.slot(index).process;
        let pid = self.table.process(process).pid;
        let place = self.table.place(index);
        self.detach_unreported_children(pid)?;
        if self.table.is_there(process) {
            if self.table.at(place).is_some() {
                self.detach_at(index, signal)?;
            }
            self.detach_rest(process)?;
        }
        self.await_children()
    }

    /// The signal that a stopped thread has yet to get.
    pub(super) fn kept_signal(&self, index: u32) -> Option<Signal> {
        let slot = self.table.slot(index);
        if let Some((_, signal)) = slot.deferred {
            return signal;
        }
        if slot.kept.is_some() {
            return slot.kept;
        }
        match (slot.state, slot.next) {
            (State::Queued(StopReason::Signal(signal)), _)
            | (State::Given(StopReason::Signal(signal)), _)
            | (_, Some(RawReason::Signal { signal, .. })) => Some(signal),
            _ => None,
        }
    }

    /// A process is not traced any more.
    pub(super) fn forget_process(&mut self, process: ProcessHandle) {
        self.leaves_children(process, true);
        self.may_keep_memory(process);
        let Some(entry) = self.table.remove_process(process) else { return };
        self.is_seen_again(entry.pid);
        self.forks.gone(entry.pid);
        self.forks.was_detached(entry.pid);
        self.backend.get_mut().forget(entry.pid);
        self.detached.extend(entry.child);
    }

    /// Detaches a process that may be running altogether.
    pub(super) fn detach_running(&mut self, process: ProcessHandle) -> Result<()> {
        let pid = self.table.process(process).pid;
        if self.has_to_stay(process) {
            return self.stay_unseen(process, None, None);
        }
        self.has_space(process)?;
        if let Err(error) = self.remove_all_breakpoints(process) {
            if self.table.is_there(process) {
                self.table.process_mut(process).give_up_detach();
                self.failures.retry(pid); // what was brought to rest runs on
            }
            return Err(error);
        }
        if !self.table.is_there(process) {
            return self.await_children();
        }
        let threads = self.table.process(process).threads.clone();
        let stopped = threads.iter().find(|&&i| {
            let slot = self.table.slot(i);
            slot.can_be_asked() && !matches!(slot.state, State::Retrying(_))
        });
        if let Some(&index) = stopped {
            return self.detach_here(index, self.kept_signal(index));
        }
        self.table.process_mut(process).begin_detach();
        self.interrupt_running(process)?;
        self.await_detached(process)?;
        self.await_children()
    }
}
