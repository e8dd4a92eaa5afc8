//! Requests that fail.
//!
//! Any request can fail at any moment: a security module refuses it, memory is short, the program
//! has given up the privileges that it takes. What the user has asked for then returns the error,
//! and is as it was before. What the engine does by itself is told by the next wait, once, and is
//! done again by each wait from then on, until it succeeds or the process has ended.

use std::collections::VecDeque;

use crate::backend::{RawReason, RawStop, Run};
use crate::{Backend, Error, Pid, Result, Signal};

use super::Engine;
use super::software::Soft;
use super::thread::{CallSide, Intent, Interrupt, Slot, State, StopKind};

/// What has failed.
#[derive(Default)]
pub(super) struct Failures {
    /// What is to be told, each once.
    errors: VecDeque<Error>,
    /// What has failed again: told where a wait would sleep otherwise.
    repeated: Option<Error>,
    /// Processes with something to be done again.
    processes: Vec<Pid>,
    /// Stops of tasks that are not in the table, to be taken in again.
    stops: Vec<RawStop>,
    /// Processes that the user wants an event of.
    interrupts: Vec<Pid>,
    /// Threads could not be led past a breakpoint by the last wait.
    pub(super) stepping_over: bool,
    /// Whose turn it is.
    retried: Option<Pid>,
}

impl Failures {
    #[inline]
    pub(super) fn next(&mut self) -> Option<Error> {
        self.errors.pop_front()
    }

    /// What has kept threads from being led past a breakpoint. They are led past by a later wait.
    pub(super) fn step_over_failed(&mut self, error: Error) {
        match (error.pid(), std::mem::replace(&mut self.stepping_over, true)) {
            (Some(pid), true) => self.note_again(pid, error),
            _ => self.errors.push_back(error),
        }
    }

    /// What is to be told about a process, for a call that is about it.
    pub(super) fn error_of(&mut self, pid: Pid) -> Result<()> {
        let at = self.errors.iter().position(|error| error.pid() == Some(pid));
        at.and_then(|at| self.errors.remove(at)).map_or(Ok(()), Err)
    }

    /// What has failed again, if nothing else is to be said.
    pub(super) fn take_repeated(&mut self) -> Option<Error> {
        self.repeated.take()
    }

    #[inline]
    pub(super) fn has_repeated(&self) -> bool {
        self.repeated.is_some()
    }

    /// Whether an error is left to be told.
    #[inline]
    pub(super) fn is_silent(&self) -> bool {
        self.errors.is_empty()
    }

    /// Whether something is to be done again.
    #[inline]
    pub(super) fn are_left(&self) -> bool {
        !self.processes.is_empty() || !self.stops.is_empty()
    }

    /// What it means that a request has failed which the engine has made by itself; all such failures are
    /// judged here. A thread that is gone was killed, and its end comes. What has failed again is told
    /// only where a wait would sleep; anything else by the next wait.
    pub(super) fn note(&mut self, pid: Pid, error: Error) {
        match error {
            Error::Gone { .. } => {}
            error if self.retried == Some(pid) => self.repeated = Some(error.of(pid)),
            error => self.errors.push_back(error.of(pid)),
        }
    }

    /// The same for one that has been told before.
    pub(super) fn note_again(&mut self, pid: Pid, error: Error) {
        if !error.is_gone() {
            self.repeated = Some(error.of(pid));
        }
    }

    /// The same, and has the process looked after by the next wait.
    pub(super) fn note_and_retry(&mut self, pid: Pid, error: Error) {
        self.note(pid, error);
        self.retry(pid);
    }

    /// Has the stop of a task that is not in the table taken in again.
    pub(super) fn retry_stop(&mut self, pid: Pid, raw: RawStop, error: Error) {
        self.note(pid, error);
        self.stops.push(raw);
    }

    /// Has a process looked after by the next wait.
    pub(super) fn retry(&mut self, pid: Pid) {
        if !self.processes.contains(&pid) {
            self.processes.push(pid);
        }
    }

    /// Has a process interrupted by the next wait.
    pub(super) fn interrupt_again(&mut self, pid: Pid) {
        self.interrupts.push(pid);
    }

    fn is_to_be_interrupted(&mut self, pid: Pid) -> bool {
        let before = self.interrupts.len();
        self.interrupts.retain(|&other| other != pid);
        self.interrupts.len() < before
    }
}

/// What a stop changes of a thread before it is known what the stop is for.
#[derive(Debug, Clone)]
pub(super) struct Before {
    state: State,
    interrupt: Interrupt,
    stop: StopKind,
    call_side: CallSide,
    intent: Intent,
    run: Run,
    soft: Soft,
}

impl Before {
    pub(super) fn new(slot: &Slot, interrupt: Interrupt) -> Self {
        Before {
            state: slot.state,
            interrupt,
            stop: slot.stop,
            call_side: slot.call_side,
            intent: slot.intent,
            run: slot.run,
            soft: slot.soft.clone(),
        }
    }

    fn restore(self, slot: &mut Slot) {
        slot.state = self.state;
        slot.interrupt = self.interrupt;
        slot.stop = self.stop;
        slot.call_side = self.call_side;
        slot.intent = self.intent;
        slot.run = self.run;
        slot.soft = self.soft;
    }
}

impl<B: Backend> Engine<B> {
    /// A thread has stopped, and a question about that has failed: it is asked again by the next
    /// wait, with the thread as it was before the stop.
    pub(super) fn keep_stop(&mut self, index: u32, reason: RawReason, before: Before, why: Error) {
        self.table.revoke(index);
        let slot = self.table.slot_mut(index);
        before.restore(slot);
        let stopped = slot.is_stopped();
        slot.next = slot.next.filter(|_| !stopped);
        slot.before = (!stopped).then(|| Box::new(slot.state));
        slot.state = State::Retrying(reason);
        let pid = slot.thread.pid;
        self.failures.note_and_retry(pid, why);
    }

    /// Runs a thread whose stop is not shown. If that fails it stays stopped until the next wait
    /// does it again.
    pub(super) fn start_silently(&mut self, index: u32, run: Run, signal: Option<Signal>) {
        let thread = self.table.slot(index).thread;
        let Err(error) = self.start(index, run, signal) else { return };
        if self.table.find_thread_of(thread.pid, thread.tid) == Some(index) {
            self.table.slot_mut(index).state = State::Resting;
            if let Some(signal) = signal {
                self.keep(index, signal, false);
            }
        }
        self.failures.note_and_retry(thread.pid, error);
    }

    /// Does again what has failed, once for each process.
    pub(super) fn retry_all(&mut self) -> Result<()> {
        self.failures.repeated = None;
        if !self.failures.are_left() {
            return Ok(());
        }
        for raw in std::mem::take(&mut self.failures.stops) {
            self.failures.retried = raw.pid.or_else(|| raw.tid.and_then(B::process_led_by));
            self.take(raw)?;
        }
        for pid in std::mem::take(&mut self.failures.processes) {
            self.failures.retried = Some(pid);
            self.retry_process(pid)?;
        }
        self.failures.retried = None;
        Ok(())
    }

    fn retry_process(&mut self, pid: Pid) -> Result<()> {
        let Ok(process) = self.traced(pid) else { return Ok(()) };
        for index in self.table.process(process).threads.clone() {
            self.look_again(index)?;
            if !self.table.is_there(process) {
                return Ok(());
            }
        }
        if self.failures.is_to_be_interrupted(pid) {
            self.interrupt_another(pid);
        }
        if self.table.process(process).is_detaching() {
            if let Err(error) = self.detach_running(process) {
                self.failures.note_and_retry(pid, error);
            }
            return Ok(());
        }
        match self.table.process(process).is_halted() {
            true => Ok(()), // what rests is run when that is over
            false => self.run_late(process),
        }
    }

    /// Takes in a stop again of which it was not found out what it is for.
    pub(super) fn look_again(&mut self, index: u32) -> Result<()> {
        let slot = self.table.slot_mut(index);
        let State::Retrying(reason) = slot.state else { return Ok(()) };
        slot.state = slot.before.take().map_or(State::Running, |before| *before);
        self.stopped(index, reason)
    }
}
