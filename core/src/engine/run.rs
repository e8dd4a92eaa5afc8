//! Resuming threads, and interrupting those that run.

use crate::backend::Run;
use crate::error::{About, unless_gone};
use crate::event_queue::Ready;
use crate::{Backend, Event, EventFlags, Pid, Result, Resume, Signal, StopReason, Stopped, Tid};

use super::process::End;
use super::thread::{Intent, Interrupt, Reported, State, StopKind};
use super::{Engine, ProcessHandle};

impl<B: Backend> Engine<B> {
    /// Runs every thread that an event (or a token) owns.
    pub(crate) fn resume(&mut self, event: Event, how: Resume) -> Result<()> {
        // On an error the tokens that are left are dropped, and so given again.
        match event {
            Event::Stopped(stop) => self.resume_next(stop, how)?, // the usual one
            event => event.into_stops().try_for_each(|stop| self.resume_next(stop, how))?,
        }
        self.step_over_queued()
    }

    /// Runs a thread, after what has to be done before that.
    fn resume_next(&mut self, stop: Stopped, how: Resume) -> Result<()> {
        let pid = stop.pid;
        self.finish_step_overs(pid).about(pid)?;
        self.resume_stop(stop, how).about(pid)
    }

    /// Runs a thread to the exit of the system call that it is in (or of its next one, if it is in
    /// none), or to an event that comes first.
    pub(crate) fn run_to_syscall_exit(&mut self, stop: Stopped) -> Result<()> {
        self.resume_as(stop, Resume::Continue, Intent::CallExit)?;
        self.step_over_queued()
    }

    /// A token is one of this tracer, stale or not.
    pub(super) fn own(&self, stop: &Stopped) -> Result<()> {
        match self.table.owns(stop.place) {
            true => Ok(()),
            false => Err(crate::Error::Gone { pid: Some(stop.pid) }),
        }
    }

    pub(super) fn resume_stop(&mut self, stop: Stopped, how: Resume) -> Result<()> {
        self.resume_as(stop, how, Intent::Event)
    }

    fn resume_as(&mut self, stop: Stopped, how: Resume, intent: Intent) -> Result<()> {
        let (place, signal) = (stop.place, stop.signal);
        self.own(&stop)?; // another tracer's is given again by that one
        let Some(slot) = self.table.at(place) else {
            stop.consume();
            return Ok(());
        };
        // In a `Halted`, but with an event that the user has yet to see.
        if !slot.is_given() {
            let dead = matches!(slot.state, State::DeadGiven(_));
            stop.consume();
            if dead {
                self.release_dead(place.index);
            }
            return Ok(());
        }
        self.keep_call(place.index);
        let slot = self.table.slot_mut(place.index);
        slot.intent = intent;
        self.run(place.index, how, signal)?; // an error drops the token, which gives it back
        stop.consume();
        Ok(())
    }

    /// Runs a stopped thread.
    pub(super) fn run(&mut self, index: u32, how: Resume, signal: Option<Signal>) -> Result<()> {
        if let Some(next) = self.table.slot_mut(index).next.take() {
            self.table.run(index);
            return self.stopped(index, next);
        }
        let slot = self.table.slot_mut(index);
        let run = match how {
            // The system call is to be left first: the kernel would take its end for the step.
            Resume::Step if slot.stop == StopKind::EndOfCall => {
                slot.intent = Intent::StepBehindCall;
                Run::Syscall
            }
            Resume::Step => Run::Step,
            Resume::Continue if self.stops_at_syscalls(index) => Run::Syscall,
            Resume::Continue => Run::Continue,
        };
        self.start(index, run, signal)
    }

    pub(super) fn reports_syscalls(&self, index: u32) -> bool {
        self.table.process_of(index).setup.flags.contains(EventFlags::SYSCALL)
    }

    fn stops_at_syscalls(&self, index: u32) -> bool {
        self.table.slot(index).intent == Intent::CallExit
            || self.reports_syscalls(index)
            || self.runs_handler(index)
    }

    /// The system calls of a thread that runs a handler have to be seen, as it may have come to that
    /// with this very resumption.
    pub(super) fn or_to_handlers_end(&self, index: u32, run: Run) -> Run {
        if run == Run::Continue && self.runs_handler(index) { Run::Syscall } else { run }
    }

    /// Tells the kernel what the process reports, if that has changed since it was told.
    pub(super) fn apply_setup(&mut self, index: u32) -> Result<()> {
        let wanted = self.wanted_setup(self.table.slot(index).process);
        let wanted = self.with_lone_end(index, wanted);
        if self.table.slot(index).applied == Some(wanted) {
            return Ok(());
        }
        self.note_older_threads(index, wanted)?;
        unless_gone(self.backend.get_mut().set_up(self.table.slot(index).thread, wanted))?;
        self.was_set_up(index, wanted);
        Ok(())
    }

    /// Runs a thread on whose stop nobody wants to hear of; in a halted process it rests instead.
    pub(super) fn run_silently(&mut self, index: u32) -> Result<()> {
        if self.table.slot(index).interrupt == Interrupt::Asked {
            self.queue(index, StopReason::Interrupted);
            return Ok(());
        }
        if self.table.process_of(index).is_halted() {
            self.table.slot_mut(index).state = State::Resting;
            return Ok(());
        }
        if let Some(next) = self.table.slot_mut(index).next.take() {
            // It was killed in its stop, say, and has stopped again on its way out.
            self.table.slot_mut(index).state = State::Running;
            return self.stopped(index, next);
        }
        let run = self.run_as_before(index);
        self.start_silently(index, run, None);
        Ok(())
    }

    /// How a thread goes on after a stop that is not shown. A step that something else came before
    /// is still wanted; whether system calls are reported may have changed.
    pub(super) fn run_as_before(&self, index: u32) -> Run {
        match self.table.slot(index).run {
            Run::Step => Run::Step,
            Run::Continue | Run::Syscall if self.stops_at_syscalls(index) => Run::Syscall,
            Run::Continue | Run::Syscall => Run::Continue,
        }
    }

    /// Asks for an event of a process.
    pub(crate) fn interrupt(&mut self, pid: Pid) -> Result<()> {
        let process = self.shown(pid)?;
        if self.table.process(process).end == End::Killed {
            return Ok(()); // its end follows
        }
        let mut running = self.table.process(process).threads.clone();
        running.retain(|&i| !self.table.slot(i).is_stopped());
        // The first thread, as a user expects; but one that the kernel holds answers only when it
        // is detached from, and one that has ended before the others never.
        running.sort_by_key(|&i| !self.table.is_first(i));
        let alone = self.table.process(process).threads.len() == 1;
        let mut held = Vec::new();
        for index in running {
            let thread = self.table.slot(index).thread;
            let is_held = if alone {
                Some(false)
            } else {
                unless_gone(self.backend.get_mut().is_uninterruptible(thread))?
            };
            match is_held {
                Some(true) => held.push(index),
                Some(false) if self.ask_to_stop(index)? => return Ok(()),
                Some(false) | None => {}
            }
        }
        if let Some(index) = self.kept_back_in(process) {
            self.queue(index, StopReason::Interrupted);
            return Ok(());
        }
        for index in held {
            if self.ask_to_stop(index)? {
                return Ok(());
            }
        }
        self.look_up_threads(process)?;
        let mut threads = self.table.process(process).threads.iter();
        let rests = threads.find(|&&i| {
            let slot = self.table.slot(i);
            slot.rests() && slot.reported != Reported::End
        });
        if let Some(&index) = rests {
            self.queue(index, StopReason::Interrupted);
        }
        Ok(())
    }

    /// Interrupts a thread for the user, unless it is gone.
    pub(super) fn ask_to_stop(&mut self, index: u32) -> Result<bool> {
        let thread = self.table.slot(index).thread;
        if unless_gone(self.backend.get_mut().interrupt(thread))?.is_none() {
            return Ok(false);
        }
        self.table.slot_mut(index).interrupt = Interrupt::Asked;
        self.expect_answer(index);
        Ok(true)
    }

    /// A process that is traced and has not ended.
    pub(super) fn traced(&self, pid: Pid) -> Result<ProcessHandle> {
        self.table
            .find_process(pid)
            .filter(|&i| !self.table.process(i).has_ended())
            .ok_or(crate::Error::GONE)
    }

    /// The same, if the user has not detached it.
    pub(super) fn shown(&self, pid: Pid) -> Result<ProcessHandle> {
        let process = self.traced(pid)?;
        match self.is_unseen(pid) {
            true => Err(crate::Error::GONE),
            false => Ok(process),
        }
    }

    /// The same, if it is not being detached either.
    pub(super) fn staying(&self, pid: Pid) -> Result<ProcessHandle> {
        let process = self.shown(pid)?;
        match self.table.process(process).is_detaching() {
            true => Err(crate::Error::GONE),
            false => Ok(process),
        }
    }

    /// Queues the end of a thread, if its process reports such.
    pub(super) fn queue_thread_exit(&mut self, flags: EventFlags, pid: Pid, tid: Tid) {
        if flags.contains(EventFlags::THREAD) {
            self.ready.push(Ready::ThreadExited { pid, tid });
        }
    }
}
