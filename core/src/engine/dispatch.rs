//! From raw stops to events: what a stop means, and whether it is shown.

use std::collections::VecDeque;

use crate::backend::{RawKind, RawReason, RawStop, Run, TrapOrigin};
use crate::event_queue::{ForkPair, Ready, Side};
use crate::stopped::Place;
use crate::{
    Backend, Event, EventFlags, ForkSide, Forked, Only, Result, Resume, Signal, StopReason,
    Stopped, TrapCauses,
};

use super::Engine;
use super::failures::Before;
use super::process::{End, Start};
use super::thread::{CallSide, Intent, Interrupt, Slot, State};
use super::trap::Trap;

impl<B: Backend> Engine<B> {
    /// Queues again what was dropped. Both halves of a fork, if both were dropped, are one event
    /// again.
    pub(super) fn take_back(&mut self) {
        if self.returned.borrow().is_empty() {
            return;
        }
        let mut places = VecDeque::from(std::mem::take(&mut *self.returned.borrow_mut()));
        while let Some(place) = places.pop_front() {
            let Some(slot) = self.table.at(place) else { continue };
            let reason = match slot.state {
                State::Given(reason) => reason,
                State::DeadGiven(_) => {
                    self.release_dead(place.index);
                    continue;
                }
                _ => continue,
            };
            let killed = self.table.process_of(place.index).end == End::Killed;
            if killed && self.run(place.index, Resume::Continue, None).is_ok() {
                continue; // it has left the stop, or does so now
            }
            self.table.slot_mut(place.index).state = State::Queued(reason);
            let other = self.other_side(place, reason, &places).and_then(|at| places.remove(at));
            let Some(other) = other else {
                self.ready.push(Ready::Stop(place));
                continue;
            };
            let (parent, child) =
                if reason == StopReason::Started { (other, place) } else { (place, other) };
            for side in [parent, child] {
                if let State::Given(reason) = self.table.slot(side.index).state {
                    self.table.slot_mut(side.index).state = State::Queued(reason);
                }
            }
            let Slot { thread, made, .. } = self.table.slot(parent.index);
            if let Some((kind, child_pid)) = *made {
                self.ready.push(Ready::Fork(ForkPair {
                    kind,
                    parent_pid: Some(thread.pid),
                    parent_tid: Some(thread.tid),
                    child_pid,
                    parent: Side::Stopped(parent),
                    child: Side::Stopped(child),
                }));
            }
        }
    }

    /// Where the other side of a fork is among the places whose tokens were dropped.
    fn other_side(
        &self,
        place: Place,
        reason: StopReason,
        among: &VecDeque<Place>,
    ) -> Option<usize> {
        let sought = match reason {
            StopReason::Forked => StopReason::Started,
            StopReason::Started => StopReason::Forked,
            _ => return None,
        };
        let made = |parent: &Slot, child: &Slot| {
            parent.made.is_some_and(|(_, pid)| pid == child.thread.pid)
        };
        let this = self.table.at(place)?;
        among.iter().position(|&other| match self.table.at(other) {
            Some(other) if other.state == State::Given(sought) => match reason {
                StopReason::Forked => made(this, other),
                _ => made(other, this),
            },
            _ => false,
        })
    }

    /// The first event of the queue, or the first one of a thread or process, that still is one.
    pub(super) fn give_next(&mut self, only: Option<Only>) -> Result<Option<Event>> {
        while let Some(ready) = self.next_ready(only) {
            match ready {
                Ready::Stop(place) => {
                    if !self.renew_causes(place)? {
                        continue;
                    }
                    if let Some(stop) = self.give(place) {
                        return Ok(Some(Event::Stopped(stop)));
                    }
                }
                Ready::Fork(pair) => {
                    let mut half = |side| match side {
                        Side::Stopped(place) => {
                            self.give(place).map_or(ForkSide::Gone, ForkSide::Stopped)
                        }
                        Side::Detached | Side::Silent => ForkSide::Detached,
                        Side::Gone => ForkSide::Gone,
                    };
                    return Ok(Some(Event::Forked(Forked {
                        kind: pair.kind,
                        parent_pid: pair.parent_pid,
                        parent_tid: pair.parent_tid,
                        child_pid: pair.child_pid,
                        parent: half(pair.parent),
                        child: half(pair.child),
                    })));
                }
                Ready::ThreadExited { pid, tid } if self.is_needless_exit(pid, tid) => {}
                Ready::ThreadExited { pid, tid } => {
                    return Ok(Some(Event::ThreadExited { pid, tid }));
                }
                Ready::Exited { process, .. } => {
                    self.departed = Some(process);
                    let process = self.table.process(process);
                    let (pid, real_parent) = (process.pid, process.real_parent);
                    let Some(status) = process.exit_status() else { continue };
                    return Ok(Some(Event::Exited { pid, status, real_parent }));
                }
                Ready::Reparented { pid, from, to } => {
                    return Ok(Some(Event::Reparented { pid, from, to }));
                }
                Ready::Detached { pid } => return Ok(Some(Event::Detached { pid })),
            }
        }
        Ok(None)
    }

    fn next_ready(&mut self, only: Option<Only>) -> Option<Ready> {
        self.ready.take(only, |place| self.table.at(place).map(|slot| slot.thread))
    }

    /// The token of a queued stop.
    fn give(&mut self, place: Place) -> Option<Stopped> {
        let (State::Queued(reason) | State::DeadQueued(reason)) = self.table.at(place)?.state
        else {
            return None;
        };
        // Another token may be out for it, in a `Halted`; this one takes its place.
        self.table.revoke(place.index);
        if let StopReason::Trap(TrapCauses { software: Some(id), .. }) = reason {
            self.is_given(place.index, id);
        }
        Some(self.token(place.index, reason))
    }

    /// A token for a stopped thread.
    pub(super) fn token(&mut self, index: u32, reason: StopReason) -> Stopped {
        self.table.slot_mut(index).was_given(reason);
        let slot = self.table.slot(index);
        Stopped {
            place: self.table.place(index),
            pid: slot.thread.pid,
            tid: slot.thread.tid,
            reason,
            signal: match reason {
                StopReason::Signal(signal) => Some(signal),
                _ => None,
            },
            returned: Some(self.returned.clone()),
        }
    }

    /// Takes in what the kernel said. If a request that it needs fails, the next wait says so, and
    /// nothing is lost.
    pub(super) fn take(&mut self, raw: RawStop) -> Result<()> {
        match raw.kind {
            RawKind::Stop(reason) => self.take_stop(raw, reason),
            RawKind::Ended(status) => self.take_end(raw, status),
        }
    }

    /// Takes in stops that came while a program was started or attached to.
    pub(super) fn take_all(&mut self, stops: impl IntoIterator<Item = RawStop>) {
        for raw in stops {
            let _ = self.take(raw);
        }
    }

    fn take_stop(&mut self, raw: RawStop, reason: RawReason) -> Result<()> {
        let Some(tid) = raw.tid else { return Ok(()) };
        let known = match raw.pid {
            Some(pid) => self.table.find_thread_of(pid, tid),
            None => self.table.find_thread(tid),
        };
        if let Some(index) = known {
            return self.stopped(index, reason);
        }
        let process = match (raw.pid, reason) {
            (Some(pid), _) => self.table.find_process(pid),
            // A thread has exec'ed, and now has the id of a first thread that had ended before
            // the process was attached to.
            (None, RawReason::Execed { .. }) => {
                B::process_led_by(tid).and_then(|pid| self.table.find_process(pid))
            }
            (None, _) => None,
        };
        match process {
            // A thread whose birth the kernel did not report, since nobody asked for it.
            Some(process) => {
                let index = self.table.add_thread(process, tid, State::Running);
                self.stopped(index, reason)
            }
            None => self.child_seen(raw),
        }
    }

    /// A thread of ours has stopped. If a question about that fails, the stop is taken in again
    /// later.
    pub(super) fn stopped(&mut self, index: u32, reason: RawReason) -> Result<()> {
        let slot = self.table.slot(index);
        let (thread, stopped) = (slot.thread, slot.is_stopped() && !slot.rests());
        let before = Before::new(slot, self.asked_interrupt(index));
        let Err(error) = self.take_in(index, reason) else { return Ok(()) };
        // By an exec another thread can have taken the place of one that was stopped.
        let new = !stopped || matches!(reason, RawReason::Execed { .. });
        if new && self.table.find_thread_of(thread.pid, thread.tid) == Some(index) {
            self.keep_stop(index, reason, before, error);
        } else {
            self.failures.note(thread.pid, error);
        }
        Ok(())
    }

    fn take_in(&mut self, index: u32, reason: RawReason) -> Result<()> {
        if !matches!(reason, RawReason::Forked { .. }) {
            self.forks.spoke(self.table.slot(index).thread);
        }
        if let RawReason::Execed { former_tid } = reason {
            return self.execed(index, former_tid);
        }
        let process = self.table.slot(index).process;
        self.stopped_by(index);
        let slot = self.table.slot_mut(index);
        // It was killed in a stop, and has gone on to its exit stop.
        match slot.state {
            State::Resting => slot.state = State::Running, // nobody has that stop
            _ if slot.is_stopped() => {
                slot.next = Some(reason);
                return Ok(());
            }
            _ => {}
        }
        // The filter comes behind the entry that is traced, with nothing in between.
        let was_inside = slot.call_side == CallSide::Inside;
        let entered = was_inside && slot.run != Run::Continue;
        let inside = match reason {
            // Linux does not tell an entry from an exit, but every other stop is known to be
            // inside or outside of a system call.
            RawReason::Syscall => !was_inside,
            RawReason::Forked { .. } | RawReason::VforkDone => true,
            RawReason::SyscallEntry | RawReason::SyscallFiltered => true,
            RawReason::Unknown { .. } | RawReason::ThreadExiting => was_inside,
            _ => false,
        };
        let new_call = match reason {
            RawReason::Syscall => inside,
            RawReason::SyscallEntry => true,
            RawReason::SyscallFiltered => !entered,
            _ => false,
        };
        if new_call {
            slot.call.take();
        }
        slot.call_side = if inside { CallSide::Inside } else { CallSide::Outside };
        let steps_behind_call = slot.intent == Intent::StepBehindCall;
        if steps_behind_call {
            slot.intent = Intent::Event;
        }
        slot.stop = Self::kind_of_stop(reason);
        if reason == RawReason::ThreadExiting {
            slot.soft.executes_no_more();
            self.vfork_is_abandoned(index);
        }
        let slot = self.table.slot_mut(index);
        if slot.run == Run::Step && slot.was_interrupted() {
            slot.soft.stray_step = Self::may_hide_a_step(reason);
        }
        let (announced, listening) =
            (slot.state == State::Announced, slot.state == State::Listening);
        let interrupt = self.take_interrupt(index);
        self.look_for_return(index, reason)?;
        self.end_step(index)?;
        if reason == RawReason::VforkDone {
            self.vfork_is_over(index)?;
        }
        if self.table.process(process).detaches_at_stops() {
            return self.detach_at_stop(index, reason);
        }
        if !matches!(reason, RawReason::Signal { signal: Signal::TRAP, .. }) {
            self.stepped_past_hardware(index);
        }
        if !matches!(reason, RawReason::Signal { .. }) && self.step_over_met(index, reason)? {
            return Ok(());
        }
        if self.table.process(process).start == Start::Attaching {
            self.table.process_mut(process).start = Start::Shown;
            let slot = self.table.slot_mut(index);
            slot.next = (reason != RawReason::Paused).then_some(reason);
            self.queue(index, StopReason::Started);
            self.meet_linker(index);
            // Behind that, for one that was there when it was attached to may have ended since.
            let (pid, setup) = (self.table.process(process).pid, self.table.process(process).setup);
            if let Err(error) = self.note_older_threads(index, setup) {
                self.failures.note(pid, error);
            }
            return Ok(());
        }
        let asked = interrupt == Interrupt::Asked;
        if asked {
            // Any stop has answered the kernel's request; the user's, one that is shown.
            self.table.slot_mut(index).interrupt = interrupt;
        }
        let shown = match reason {
            RawReason::Paused if announced => self.thread_started(index),
            RawReason::ThreadStarted => self.thread_started(index),
            RawReason::Paused => asked.then_some(StopReason::Interrupted),
            // Not a new one, but our interrupt in the middle of it.
            RawReason::GroupStop(_) if listening && interrupt != Interrupt::None => {
                asked.then_some(StopReason::Interrupted)
            }
            RawReason::GroupStop(signal) => Some(StopReason::GroupStop(signal)),
            RawReason::Signal { signal, trap } => return self.signalled(index, signal, trap),
            RawReason::Forked { kind, task } => return self.forked(index, kind, task),
            RawReason::VforkDone => {
                self.if_wanted(index, EventFlags::VFORK_DONE, StopReason::VforkDone)
            }
            // Killed before its first stop: it never ran.
            RawReason::ThreadExiting if announced || self.is_unborn(index) => None,
            RawReason::ThreadExiting => {
                self.if_wanted(index, EventFlags::EXIT, StopReason::ThreadExiting)
            }
            RawReason::Syscall | RawReason::SyscallEntry if inside => {
                self.if_wanted(index, EventFlags::SYSCALL, StopReason::SyscallEntry)
            }
            RawReason::SyscallFiltered if entered && self.reports_syscalls(index) => None,
            RawReason::SyscallFiltered => Some(StopReason::SyscallEntry),
            // The exit of a call.
            RawReason::Syscall | RawReason::SyscallEntry | RawReason::SyscallExit => {
                if steps_behind_call {
                    // Out of the call; now for the instruction.
                    self.table.slot_mut(index).run = Run::Step;
                    None
                } else if self.table.slot(index).intent == Intent::CallExit {
                    Some(StopReason::SyscallExit)
                } else {
                    self.if_wanted(index, EventFlags::SYSCALL, StopReason::SyscallExit)
                }
            }
            RawReason::Unknown { raw } => Some(StopReason::Unknown { raw }),
            RawReason::Execed { .. } => return Ok(()), // went its own way above
        };
        match shown {
            Some(reason) => {
                self.queue(index, reason);
                Ok(())
            }
            None => self.run_silently(index),
        }
    }

    /// A signal is about to be delivered, or a trap of ours looks like one.
    fn signalled(&mut self, index: u32, signal: Signal, trap: Option<TrapOrigin>) -> Result<()> {
        if signal == Signal::TRAP {
            match self.explain_trap(index, trap)? {
                Trap::Ours(causes) => {
                    if let Some(causes) = self.stepped_over(index, causes)? {
                        self.queue(index, StopReason::Trap(causes));
                    }
                    return Ok(());
                }
                Trap::Unseen => return self.run_silently(index),
                Trap::Gone => {
                    self.step_over_met(index, RawReason::Signal { signal, trap })?;
                    self.table.slot_mut(index).state = State::Running;
                    return Ok(());
                }
                Trap::Programs => {}
            }
        }
        self.step_over_met(index, RawReason::Signal { signal, trap })?;
        if self.is_injected(index, signal) {
            return self.deliver_silently(index, signal);
        }
        self.queue(index, StopReason::Signal(signal));
        Ok(())
    }

    /// The first stop of a new thread.
    fn thread_started(&mut self, index: u32) -> Option<StopReason> {
        self.table.slot_mut(index).was_born();
        self.if_wanted(index, EventFlags::THREAD, StopReason::ThreadStarted)
    }

    /// A stop, if its process reports such ones.
    fn if_wanted(&self, index: u32, flag: EventFlags, reason: StopReason) -> Option<StopReason> {
        self.table.process_of(index).setup.flags.contains(flag).then_some(reason)
    }

    pub(super) fn queue(&mut self, index: u32, reason: StopReason) {
        if self.is_unseen(self.table.slot(index).thread.pid) {
            return self.end_unseen_stop(index, reason);
        }
        let slot = self.table.slot_mut(index);
        slot.state = State::Queued(reason);
        slot.interrupt = Interrupt::None;
        self.ready.push(Ready::Stop(self.table.place(index)));
    }
}
