//! A stop stops one thread, and a request runs one: Linux.

use crate::backend::Run;
use crate::engine::process::End;
use crate::engine::software::Onward;
use crate::engine::thread::{Interrupt, State, StopKind};
use crate::engine::{Engine, ProcessHandle};
use crate::error::unless_gone;
use crate::{Backend, Next, Result, Resume, Signal, Stopped};

impl<B: Backend> Engine<B> {
    pub(super) fn start_thread(
        &mut self,
        index: u32,
        run: Run,
        signal: Option<Signal>,
    ) -> Result<()> {
        let slot = self.table.slot(index);
        let thread = slot.thread;
        if slot.stop != StopKind::GroupStop && self.is_kept_back(index, run, signal) {
            return Ok(());
        }
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
        let ran = unless_gone(self.backend.get_mut().resume(thread, run, signal))?;
        if self.table.slot(index).stop == StopKind::WayOut && ran.is_some() {
            self.left_exit_stop(index);
        }
        self.took_signals(index);
        self.fast_path.resumed(thread);
        self.table.slot_mut(index).run = run;
        self.ran(index, State::Running);
        Ok(())
    }

    /// The process's first thread is resumed last, so that it is known whether it runs alone.
    pub(super) fn resume_each(
        &mut self,
        process: ProcessHandle,
        plan: Vec<(Stopped, Next)>,
    ) -> Result<()> {
        let pid = self.table.process(process).pid;
        let any_runs = plan.iter().any(|(_, next)| *next == Next::Continue);
        let is_first = |stop: &Stopped| {
            self.table.at(stop.place).is_some_and(|_| self.table.is_first(stop.place.index))
        };
        let (last, mut plan): (Vec<_>, Vec<_>) =
            plan.into_iter().partition(|(stop, next)| *next != Next::Stay && is_first(stop));
        plan.extend(last);
        for (stop, next) in plan {
            let result = match next {
                Next::Continue => self.resume_stop(stop, Resume::Continue),
                Next::Step => self.resume_stop(stop, Resume::Step),
                Next::Stay => self.stay(stop),
            };
            if result.is_err() {
                self.failures.retry(pid); // those that have no token run all the same
                return result;
            }
        }
        if any_runs && self.table.is_there(process) {
            self.run_late(process)?;
        }
        Ok(())
    }

    /// The last thread first, as [`look_at_each`](Tracer::look_at_each) looks at them.
    pub(super) fn interrupt_each(&mut self, process: ProcessHandle) -> Result<()> {
        for index in self.running(process).into_iter().rev() {
            let slot = self.table.slot(index);
            if slot.interrupt == Interrupt::None && slot.state != State::Announced {
                unless_gone(self.backend.get_mut().interrupt(slot.thread))?;
                self.table.slot_mut(index).interrupt = Interrupt::Internal;
            }
        }
        Ok(())
    }

    /// A wait for everybody costs the kernel a look at each tracee, so to stop N threads that way
    /// costs it N² of them. A look at one thread costs the same however many there are. So those that
    /// were asked are looked at one by one, the last one first. Those that are not there yet get a
    /// little time, in all as much as a wait gives before it sleeps.
    pub(super) fn look_at_each(
        &mut self,
        process: ProcessHandle,
        threads: &[u32],
    ) -> Result<usize> {
        let (mut found, mut yields) = (0, B::YIELDS);
        for &index in threads.iter().rev() {
            // What was taken in before may have changed everything.
            if !self.table.is_there(process) {
                break;
            }
            let slot = self.table.slot(index);
            if slot.process != process || slot.is_stopped() || slot.is_dead() {
                continue;
            }
            let thread = slot.thread;
            let mut raw = self.look_at(thread)?;
            while raw.is_none() && yields > 0 {
                yields -= 1;
                std::thread::yield_now();
                raw = self.look_at(thread)?;
            }
            if let Some(raw) = raw {
                found += 1;
                self.take(raw)?;
            }
        }
        Ok(found)
    }

    /// A resting thread of a killed process leaves its stop by itself, unless that is its exit stop.
    pub(super) fn leave_stops(&mut self, process: ProcessHandle) {
        self.table.process_mut(process).end = End::Killed;
        for index in self.table.process(process).threads.clone() {
            let slot = self.table.slot_mut(index);
            if !slot.rests() {
                continue;
            }
            match slot.stop {
                StopKind::WayOut => self.start_silently(index, Run::Continue, None),
                _ => slot.state = State::Running,
            }
        }
    }

    pub(super) fn each_about_to_run(&self, process: ProcessHandle) -> Vec<u32> {
        let entry = self.table.process(process);
        let kept = entry.is_kept();
        let runs = |&i: &u32| {
            let slot = self.table.slot(i);
            let runs = !slot.stays() && slot.stop != StopKind::GroupStop && slot.next.is_none();
            runs && (slot.soft.is_queued() || !kept)
        };
        entry.threads.iter().copied().filter(runs).collect()
    }

    pub(super) fn each_goes_on(&mut self, process: ProcessHandle) -> Result<()> {
        for index in self.table.process(process).threads.clone() {
            let slot = self.table.slot_mut(index);
            let Some(run) = slot.soft.take_queued() else { continue };
            if !slot.rests() || slot.stays() || slot.next.is_some() {
                continue;
            }
            self.start(index, run, None)?;
            if !self.table.is_there(process) {
                return Ok(());
            }
        }
        match self.table.process(process).is_halted() {
            true => Ok(()),
            false => self.run_late(process),
        }
    }
}
