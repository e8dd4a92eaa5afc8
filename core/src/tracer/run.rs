//! Resuming.

use crate::backend::{Run, StopScope};
use crate::error::unless_gone;
use crate::{Backend, Event, EventFlags, Half, Pid, Result, Signal, StopReason, Stopped, Tid};

use super::process::{Births, End};
use super::software::Onward;
use super::thread::{Hold, Intent, Interrupt, State, StopKind, Told};
use super::{Ready, Tracer};

/// How to run a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Resume {
    /// Until its next event.
    #[default]
    Continue,
    /// For one instruction; then it stops with
    /// [`TrapCauses::single_step`](crate::TrapCauses::single_step).
    Step,
}

impl From<Stopped> for Event {
    fn from(stop: Stopped) -> Self {
        Event::Stopped(stop)
    }
}

impl From<crate::Forked> for Event {
    fn from(forked: crate::Forked) -> Self {
        Event::Forked(forked)
    }
}

impl Event {
    /// The tokens that the event owns: none, one, or the two of a fork.
    pub fn into_stops(self) -> impl Iterator<Item = Stopped> {
        let (one, other) = match self {
            Event::Stopped(stop) => (Some(stop), None),
            // The child first: a vfork's parent does not run before it anyway.
            Event::Forked(forked) => (forked.child.into_stopped(), forked.parent.into_stopped()),
            _ => (None, None),
        };
        one.into_iter().chain(other)
    }

    /// The process that the event is about; for a fork its parent, if that is known.
    pub fn pid(&self) -> Option<Pid> {
        match self {
            Event::Stopped(stop) => Some(stop.pid()),
            Event::Forked(forked) => forked.parent_pid,
            Event::ThreadExited { pid, .. }
            | Event::Exited { pid, .. }
            | Event::Reparented { pid, .. }
            | Event::LetGo { pid } => Some(*pid),
            Event::Woken => None,
        }
    }
}

impl From<Half> for Option<Stopped> {
    fn from(half: Half) -> Self {
        half.into_stopped()
    }
}

impl<B: Backend> Tracer<B> {
    /// Runs every thread that an event (or a token) owns; does nothing for an event without one.
    ///
    /// A signal stop delivers its signal, or what [`Stopped::set_signal`] chose. A
    /// [`StopReason::GroupStop`] stays one until a `SIGCONT` comes. To resume what was killed
    /// meanwhile is `Ok`; its [`Event::Exited`] follows.
    ///
    /// # Errors
    ///
    /// [`Error::Gone`](crate::Error::Gone) for the token of another tracer.
    /// [`Error::Os`](crate::Error::Os) for an unexpected answer of the kernel; then the next wait
    /// gives the stop again.
    ///
    /// # Platform notes
    ///
    /// It runs what the stop has stopped: a thread on Linux, the whole process on FreeBSD. Who
    /// needs the other threads at rest uses [`halt`](Tracer::halt).
    pub fn resume(&mut self, event: impl Into<Event>, how: Resume) -> Result<()> {
        // On an error the tokens that are left are dropped, and so given again.
        for stop in event.into().into_stops() {
            self.finish_passes(stop.pid)?;
            self.resume_stop(stop, how)?;
        }
        self.pass_queued()
    }

    /// Runs a thread to the exit of the system call that it is in (or of its next one, if it is in
    /// none), or to an event that comes first. For extension traits of back ends where a stop
    /// stops one thread.
    ///
    /// # Errors
    ///
    /// As [`resume`](Tracer::resume).
    #[doc(hidden)]
    pub fn run_to_syscall_exit(&mut self, stop: Stopped) -> Result<()> {
        self.resume_as(stop, Resume::Continue, Intent::CallExit)?;
        self.pass_queued()
    }

    /// A token is one of this tracer, stale or not.
    pub(super) fn own(&self, stop: &Stopped) -> Result<()> {
        match self.table.owns(stop.place) {
            true => Ok(()),
            false => Err(crate::Error::Gone),
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
    fn run(&mut self, index: u32, how: Resume, signal: Option<Signal>) -> Result<()> {
        if let Some(next) = self.table.slot_mut(index).next.take() {
            self.table.revoke(index);
            self.table.slot_mut(index).state = State::Running;
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

    /// Makes the kernel run a stopped thread; with process scope, its process.
    pub(super) fn start(&mut self, index: u32, run: Run, signal: Option<Signal>) -> Result<()> {
        if B::STOP_SCOPE == StopScope::Process {
            return self.start_process(index, run, signal);
        }
        let thread = self.table.slot(index).thread;
        self.apply_setup(index)?;
        self.keep_watch(index)?;
        let signal = self.due_signal(index, signal)?;
        let signal = self.with_owed(index, signal);
        if self.table.slot(index).stop == StopKind::GroupStop {
            // To continue it would end the group-stop.
            unless_gone(self.backend.get_mut().listen(thread))?;
            self.took_signals(index);
            self.ran(index, State::Listening);
            return Ok(());
        }
        if self.go_on_from(index, run, signal)? != Onward::Runs {
            self.took_signals(index);
            return Ok(());
        }
        let run = self.pass_hardware(index, run, signal)?;
        let run = self.or_to_handlers_end(index, run);
        self.begin_step(index, run)?;
        unless_gone(self.backend.get_mut().resume(thread, run, signal))?;
        self.took_signals(index);
        self.eager.resumed(thread);
        self.table.slot_mut(index).run = run;
        self.ran(index, State::Running);
        Ok(())
    }

    /// Makes the kernel run a process, once no other thread of it has an event or a token out.
    pub(super) fn start_process(
        &mut self,
        index: u32,
        run: Run,
        signal: Option<Signal>,
    ) -> Result<()> {
        // A list that is kept, so that no stop allocates one.
        let mut threads = std::mem::take(&mut self.list);
        threads.clear();
        threads.extend_from_slice(&self.table.process_of(index).threads);
        let result = self.start_threads(&threads, index, run, signal);
        self.list = threads;
        result
    }

    fn start_threads(
        &mut self,
        threads: &[u32],
        index: u32,
        run: Run,
        signal: Option<Signal>,
    ) -> Result<()> {
        let shown = |&i: &u32| {
            let slot = self.table.slot(i);
            i != index && slot.is_shown()
        };
        if threads.iter().any(shown) {
            self.table.revoke(index);
            let slot = self.table.slot_mut(index);
            slot.state = State::Resting;
            let kept = slot.deferred.and_then(|(_, signal)| signal);
            slot.deferred = Some((run, signal.or(kept)));
            return Ok(());
        }
        if self.stays_at_its_end(index) {
            return Ok(());
        }
        let signal = self.due_signal(index, signal)?;
        if self.process_goes_on_from(index, run, signal)? != Onward::Runs {
            self.took_signals(index);
            return Ok(());
        }
        let own = run;
        let (mut target, mut run, mut signal) = (index, run, signal);
        for &i in threads {
            if !self.table.slot(i).stays() && i != index {
                signal = signal.or(self.due_signal(i, None)?);
            }
            let slot = self.table.slot(i);
            let (thread, deferred) = (slot.thread, slot.deferred);
            let runs = !slot.stays() || i == index || deferred.is_some();
            if runs && slot.hold != Hold::Free {
                unless_gone(self.backend.get_mut().suspend(thread, false))?;
                self.table.slot_mut(i).hold = Hold::Free;
            }
            signal = signal.or(deferred.and_then(|(_, kept)| kept));
            if i != index && run != Run::Step && self.still_steps(i) {
                (target, run) = (i, Run::Step);
            }
        }
        for &i in threads {
            run = self.or_to_handlers_end(i, run);
        }
        self.apply_setup(target)?;
        self.begin_step(target, run)?;
        let thread = self.table.slot(target).thread;
        for &i in threads {
            self.keep_watch(i)?;
            signal = self.with_owed(i, signal);
        }
        let mut ran = unless_gone(self.backend.get_mut().resume(thread, run, signal))?;
        // Unless it has ended without a word: then any other one will do.
        let first = target;
        for &i in threads {
            if ran.is_some() || i == first {
                continue;
            }
            let other = self.table.slot(i).thread;
            let how = if i == index { own } else { Run::Continue };
            ran = unless_gone(self.backend.get_mut().resume(other, how, signal))?;
            if ran.is_some() {
                (target, run) = (i, how);
            }
        }
        if ran.is_some() {
            self.eager.resumed(self.table.slot(target).thread);
        }
        for &i in threads {
            let steps = (i != first || i == target) && self.still_steps(i);
            let slot = self.table.slot_mut(i);
            slot.deferred = None;
            if i != index {
                slot.run = if steps { Run::Step } else { Run::Continue };
            }
            match slot.stays() {
                true => self.paid(i),
                false => self.took_signals(i),
            }
        }
        self.table.slot_mut(index).run = if index == target { run } else { Run::Continue };
        self.ran(index, State::Running);
        for &i in threads {
            let slot = self.table.slot(i);
            if slot.stop == StopKind::WayOut && !slot.stays() && !slot.is_stopped() {
                self.thread_ended(i);
            }
        }
        Ok(())
    }

    /// The system calls of a thread that runs a handler have to be seen, as it may have come to that
    /// with this very resumption.
    fn or_to_handlers_end(&self, index: u32, run: Run) -> Run {
        if run == Run::Continue && self.runs_handler(index) { Run::Syscall } else { run }
    }

    /// Whether a thread that is run with its process still has a step to make, which the stop of
    /// another one has come before.
    fn still_steps(&self, index: u32) -> bool {
        let slot = self.table.slot(index);
        !slot.stays() && slot.deferred.map_or(slot.run, |(run, _)| run) == Run::Step
    }

    /// Tells the kernel what the process reports, if that has changed since it was told.
    pub(super) fn apply_setup(&mut self, index: u32) -> Result<()> {
        let wanted = self.told_setup(self.table.slot(index).process);
        let wanted = self.with_lone_end(index, wanted);
        if self.table.slot(index).applied == Some(wanted) {
            return Ok(());
        }
        self.note_older_threads(index, wanted)?;
        unless_gone(self.backend.get_mut().set_up(self.table.slot(index).thread, wanted))?;
        let process = self.table.slot(index).process;
        self.table.process_mut(process).births = Births::under(wanted);
        self.table.slot_mut(index).applied = Some(wanted);
        if B::STOP_SCOPE == StopScope::Process {
            for i in 0..self.table.process(process).threads.len() {
                let other = self.table.process(process).threads[i];
                self.table.slot_mut(other).applied = Some(wanted);
            }
        }
        Ok(())
    }

    /// Notes that the kernel runs a thread; its tokens are stale from now on.
    fn ran(&mut self, index: u32, state: State) {
        self.table.revoke(index);
        self.table.slot_mut(index).state = state;
        self.note_memory(index);
        if B::STOP_SCOPE == StopScope::Thread {
            self.table.slot_mut(index).hold = Hold::Free;
            return;
        }
        let process = self.table.slot(index).process;
        for i in 0..self.table.process(process).threads.len() {
            let other = self.table.process(process).threads[i];
            if other != index && self.table.slot(other).rests() {
                self.table.slot_mut(other).state = state;
            }
        }
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

    /// Asks for an event of a process: [`StopReason::Interrupted`] of one of its threads, unless
    /// something else happens first.
    ///
    /// It is there at once if all threads of the process are at rest; if the caller holds the
    /// tokens of them all, nothing follows.
    ///
    /// # Errors
    ///
    /// [`Error::Gone`](crate::Error::Gone) if this process is not traced.
    pub fn interrupt(&mut self, pid: Pid) -> Result<()> {
        let process = self.traced(pid)?;
        if self.table.process(process).end == End::Killed {
            return Ok(()); // its end follows
        }
        let mut running = self.table.process(process).threads.clone();
        running.retain(|&i| !self.table.slot(i).is_stopped());
        // The first thread, as a user expects; but one that the kernel holds answers only when it
        // is let go of, and one that has ended before the others never.
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
        for index in held {
            if self.ask_to_stop(index)? {
                return Ok(());
            }
        }
        if B::STOP_SCOPE == StopScope::Process {
            self.look_up_threads(process)?;
        }
        let mut threads = self.table.process(process).threads.iter();
        let rests = threads.find(|&&i| {
            let slot = self.table.slot(i);
            slot.rests() && slot.told != Told::End
        });
        if let Some(&index) = rests {
            self.queue(index, StopReason::Interrupted);
        }
        Ok(())
    }

    /// Interrupts a thread for the user, unless it is gone.
    fn ask_to_stop(&mut self, index: u32) -> Result<bool> {
        let thread = self.table.slot(index).thread;
        if unless_gone(self.backend.get_mut().interrupt(thread))?.is_none() {
            return Ok(false);
        }
        self.table.slot_mut(index).interrupt = Interrupt::Asked;
        self.expect_answer(index);
        Ok(true)
    }

    /// The table's index of a process that is traced and has not ended.
    pub(super) fn traced(&self, pid: Pid) -> Result<u32> {
        self.table
            .find_process(pid)
            .filter(|&i| !self.table.process(i).has_ended())
            .ok_or(crate::Error::Gone)
    }

    /// Queues the end of a thread, if its process reports such.
    pub(super) fn queue_thread_exit(&mut self, flags: EventFlags, pid: Pid, tid: Tid) {
        if flags.contains(EventFlags::THREAD) {
            self.ready.push_back(Ready::ThreadExited { pid, tid });
        }
    }
}
