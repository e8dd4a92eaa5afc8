//! A stop stops a process, and a request runs it, but for what is suspended: FreeBSD.

use rustc_hash::FxHashSet;

use crate::backend::{Run, Thread};
use crate::engine::process::End;
use crate::engine::software::Onward;
use crate::engine::thread::{Delivery, Hold, Interrupt, Slot, State, StopKind};
use crate::engine::{Engine, ProcessHandle};
use crate::error::unless_gone;
use crate::{Backend, Next, Result, Signal, Stopped, Tid};

impl<B: Backend> Engine<B> {
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
            self.defer(index, run, signal);
            return Ok(());
        }
        if self.stays_at_its_end(index) {
            return Ok(());
        }
        let Some((index, run, signal)) = self.keep_back(threads, index, run, signal)? else {
            return Ok(());
        };
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
            self.fast_path.resumed(self.table.slot(target).thread);
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

    /// A thread waits until its process can be run, with what it is to be run with then.
    fn defer(&mut self, index: u32, run: Run, signal: Option<Signal>) {
        let slot = self.table.rest(index);
        let kept = slot.deferred.and_then(|(_, signal)| signal);
        slot.deferred = Some((run, signal.or(kept)));
    }

    /// Whether a thread that is run with its process still has a step to make, which the stop of
    /// another one has come before.
    fn still_steps(&self, index: u32) -> bool {
        let slot = self.table.slot(index);
        !slot.stays() && slot.deferred.map_or(slot.run, |(run, _)| run) == Run::Step
    }

    /// What rests runs with the one that was run.
    pub(super) fn others_ran(&mut self, index: u32, state: State) {
        let process = self.table.slot(index).process;
        self.table.for_threads_of(process, |other, slot| {
            if other != index && slot.rests() {
                slot.state = state;
            }
        });
    }

    pub(super) fn none_ran(&mut self, process: ProcessHandle) {
        self.table.for_threads_of(process, |_, slot| {
            if slot.state == State::Running {
                slot.state = State::Resting;
            }
        });
    }

    /// Only what stopped has something to say.
    pub(super) fn rest_others(&mut self, index: u32) {
        let process = self.table.slot(index).process;
        self.table.for_threads_of(process, |other, slot| {
            if other != index && !slot.is_stopped() {
                slot.state = State::Resting;
                // Whether its step is done will be known when it is reported.
                slot.soft.stray_step |= slot.run == Run::Step;
            }
        });
    }

    /// One stop stops them all; but where deaths are not told a thread may be gone.
    pub(super) fn interrupt_any(&mut self, process: ProcessHandle) -> Result<()> {
        let pid = self.table.process(process).pid;
        for index in self.running(process) {
            let slot = self.table.slot(index);
            if slot.interrupt != Interrupt::None || slot.state == State::Announced {
                return Ok(());
            }
            let asked = unless_gone(self.backend.get_mut().interrupt(slot.thread))?.is_some();
            self.table.slot_mut(index).interrupt = Interrupt::Internal;
            if asked {
                return Ok(());
            }
        }
        // Those that were born without a word.
        for tid in unless_gone(self.backend.get_mut().threads(pid))?.unwrap_or_default() {
            if unless_gone(self.backend.get_mut().interrupt(Thread { pid, tid }))?.is_some() {
                break;
            }
        }
        Ok(())
    }

    pub(super) fn look_up_resting(&mut self, process: ProcessHandle) -> Result<()> {
        let pid = self.table.process(process).pid;
        let Some(tids) = unless_gone(self.backend.get_mut().threads(pid))? else { return Ok(()) };
        let there: FxHashSet<Tid> = tids.iter().copied().collect();
        // The process is stopped for a request, so that its stopped threads are no standstill.
        self.table.begin_all_stop(process);
        for index in self.table.process(process).threads.clone() {
            let slot = self.table.slot(index);
            if slot.rests() && !there.contains(&slot.thread.tid) {
                self.thread_ended(index);
            }
        }
        self.table.end_all_stop(process);
        for tid in tids {
            if self.table.find_thread_of(pid, tid).is_none() {
                self.table.add_thread(process, tid, State::Resting);
            }
        }
        Ok(())
    }

    /// The signal that is then to be delivered goes to the thread that has reported it.
    pub(super) fn suspend_all_but(
        &mut self,
        process: ProcessHandle,
        index: u32,
    ) -> Result<Option<Signal>> {
        let threads = self.table.process(process).threads.clone();
        for &i in &threads {
            let slot = self.table.slot(i);
            let thread = slot.thread;
            if i == index && slot.hold != Hold::Free {
                unless_gone(self.backend.get_mut().suspend(thread, false))?;
                self.table.slot_mut(i).hold = Hold::Free;
            } else if i != index && !slot.stays() && !slot.is_dead() {
                unless_gone(self.backend.get_mut().suspend(thread, true))?;
                self.table.slot_mut(i).hold = Hold::Suspended;
            }
        }
        let mut signal = None;
        self.table.for_threads_of(process, |_, slot| {
            if let Some((_, kept)) = &mut slot.deferred {
                signal = signal.or(kept.take());
            }
        });
        Ok(signal)
    }

    pub(super) fn free_all_but(&mut self, process: ProcessHandle, index: u32) -> Result<()> {
        for i in self.table.process(process).threads.clone() {
            let slot = self.table.slot(i);
            if i != index && !slot.stays() && !slot.is_dead() {
                unless_gone(self.backend.get_mut().suspend(slot.thread, false))?;
                self.table.slot_mut(i).hold = Hold::Free;
            }
        }
        Ok(())
    }

    /// A thread that was to run alone has ended without a word, or was killed.
    pub(super) fn give_up_step_over(
        &mut self,
        process: ProcessHandle,
        index: u32,
        signal: Option<Signal>,
    ) {
        let slot = self.table.slot_mut(index);
        slot.run = slot.soft.take_stepping_over().unwrap_or(slot.run);
        slot.soft.forget_place();
        slot.state = State::Resting;
        for i in self.table.process(process).threads.clone() {
            let slot = self.table.slot_mut(i);
            if slot.state == State::Running {
                slot.state = State::Resting;
            }
            if let Some((_, kept)) = slot.deferred.as_mut().filter(|_| signal.is_some()) {
                *kept = signal;
                break;
            }
        }
    }

    /// Suspends the threads that are to stay, and then runs the process.
    pub(super) fn resume_together(&mut self, plan: Vec<(Stopped, Next)>) -> Result<()> {
        Self::can_step(plan.iter().filter(|(_, next)| *next == Next::Step).count())?;
        let any_runs = plan.iter().any(|(_, next)| *next != Next::Stay);
        // One with an event in the queue is not run before that was given.
        let given = |slot: &Slot| any_runs && slot.is_given();
        let is_given = |(stop, _): &(Stopped, Next)| self.table.at(stop.place).is_some_and(given);
        let (plan, others): (Vec<_>, Vec<_>) = plan.into_iter().partition(is_given);
        for (stop, _) in others {
            self.stay(stop)?;
        }
        for (stop, next) in &plan {
            let index = stop.place.index;
            let thread = self.table.slot(index).thread;
            unless_gone(self.backend.get_mut().suspend(thread, *next == Next::Stay))?;
            self.table.slot_mut(index).hold =
                if *next == Next::Stay { Hold::Stays } else { Hold::Free };
        }
        let mut chosen: Option<(u32, Run)> = None;
        let mut deliver = None;
        for (stop, next) in plan {
            let index = stop.place.index;
            let (_, signal) = stop.consume();
            let signal = signal.or(self.take_deferred(index));
            self.table.slot_mut(index).run = Run::Continue;
            // The kernel knows one signal, that of the thread that has reported.
            match (signal, next) {
                (Some(signal), Next::Stay) => self.keep(index, signal, true),
                (signal, _) if self.table.slot(index).delivery == Delivery::Resend => {
                    self.table.slot_mut(index).kept = signal;
                }
                (signal, _) => deliver = deliver.or(signal),
            }
            self.table.rest(index);
            match next {
                Next::Stay => {}
                Next::Step => chosen = Some((index, Run::Step)),
                Next::Continue => chosen = chosen.or(Some((index, Run::Continue))),
            }
        }
        match chosen {
            Some((index, run)) => {
                self.table.slot_mut(index).run = run;
                let result = self.start(index, run, deliver);
                if result.is_err() {
                    // It has no token any more.
                    if let Some(signal) = deliver {
                        self.keep(index, signal, false);
                    }
                    let pid = self.table.slot(index).thread.pid;
                    self.failures.retry(pid);
                }
                result
            }
            None => Ok(()),
        }
    }

    /// It runs to its end with the stops that it was at; its tokens answer `Gone`.
    pub(super) fn run_killed(&mut self, process: ProcessHandle) {
        self.table.process_mut(process).end = End::Killed;
        for index in self.table.process(process).threads.clone() {
            if self.table.slot(index).is_held() {
                self.table.slot_mut(index).died();
            } else {
                self.table.run(index);
            }
        }
    }

    pub(super) fn process_goes_on_from(
        &mut self,
        index: u32,
        run: Run,
        signal: Option<Signal>,
    ) -> Result<Onward> {
        let process = self.table.slot(index).process;
        if self.table.process(process).space.is_none() {
            return Ok(Onward::Runs);
        }
        let mut waits = false;
        for i in self.table.process(process).threads.clone() {
            let slot = self.table.slot(i);
            let deferred = slot.deferred;
            let runs = i == index || deferred.is_some() || !slot.stays();
            if !runs || slot.is_dead() {
                continue;
            }
            let wanted = deferred.map_or(slot.run, |(run, _)| run);
            let signal = if i == index { signal } else { deferred.and_then(|(_, signal)| signal) };
            match self.leave_place(i, if i == index { run } else { wanted }, signal)? {
                Onward::Runs => {}
                Onward::Waits => waits = true,
                Onward::Stepped => {
                    self.table.slot_mut(i).deferred = None;
                    return Ok(Onward::Stepped);
                }
            }
        }
        if !waits {
            return Ok(Onward::Runs);
        }
        self.defer(index, run, signal);
        self.queue_step_over(self.table.slot(index).thread.pid);
        Ok(Onward::Waits)
    }

    pub(super) fn together_about_to_run(&self, process: ProcessHandle) -> Vec<u32> {
        let threads = self.table.process(process).threads.iter().copied();
        let asked = |&i: &u32| self.table.slot(i).deferred.is_some();
        if !threads.clone().any(|i| asked(&i)) || self.runs_with_what_is_shown(process) {
            return Vec::new();
        }
        threads.filter(|i| asked(i) || !self.table.slot(*i).stays()).collect()
    }

    pub(super) fn process_goes_on(&mut self, process: ProcessHandle) -> Result<()> {
        if self.runs_with_what_is_shown(process) {
            return Ok(());
        }
        self.free_kept(process);
        let mut threads = self.table.process(process).threads.iter();
        let asked = threads.find_map(|&i| {
            let slot = self.table.slot(i);
            Some((i, slot.deferred.filter(|_| slot.rests())?))
        });
        match asked {
            Some((index, (run, signal))) => self.start(index, run, signal),
            None if self.table.process(process).is_halted() => Ok(()),
            None => self.run_late(process),
        }
    }
}
