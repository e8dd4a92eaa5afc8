//! All that depends on the scope of a stop. On one kind of kernel a stop stops one thread, and a request
//! runs one; on the other both are about a whole process.
//!
//! Each method here is a question that the engine has, or something that it wants done, with the
//! answer of either kind; what takes more than a line is in [`per_thread`] and in [`whole_process`].
//! The rest of the engine does not know on which kind it is.

mod per_thread;
mod whole_process;

use crate::backend::{RawReason, Run, Setup, StopScope, Thread};
use crate::error::unless_gone;
use crate::{Backend, Error, EventFlags, Next, Pid, Result, Signal, StopReason, Stopped, Tid};

use super::process::{Births, Process};
use super::thread::{Hold, Interrupt, Slot, State, StopKind};
use super::{Engine, ProcessHandle};

/// Running, halting and suspending.
impl<B: Backend> Engine<B> {
    /// Makes the kernel run a stopped thread, or its process once no other thread of it has an event
    /// or a token out.
    pub(super) fn start(&mut self, index: u32, run: Run, signal: Option<Signal>) -> Result<()> {
        match B::STOP_SCOPE {
            StopScope::Thread => self.start_thread(index, run, signal),
            StopScope::Process => self.start_process(index, run, signal),
        }
    }

    /// Notes that the kernel runs a thread, and what runs with it; its tokens are stale from now on.
    pub(super) fn ran(&mut self, index: u32, state: State) {
        self.table.revoke(index);
        let before = std::mem::replace(&mut self.table.slot_mut(index).state, state);
        // Where a process stops as a whole a thread may have been shown that has yet to report a fork.
        let shown_for_others = matches!(
            before,
            State::Resting | State::Given(StopReason::Halted | StopReason::Interrupted)
        );
        if B::STOP_SCOPE == StopScope::Thread || !shown_for_others {
            self.note_memory(index);
        }
        match B::STOP_SCOPE {
            StopScope::Thread => self.table.slot_mut(index).hold = Hold::Free,
            StopScope::Process => self.others_ran(index, state),
        }
    }

    /// The kernel was told what a thread is to report, and with it those that it is told for.
    pub(super) fn was_set_up(&mut self, index: u32, setup: Setup) {
        let process = self.table.slot(index).process;
        self.table.process_mut(process).births = Births::under(setup);
        self.table.slot_mut(index).applied = Some(setup);
        if B::STOP_SCOPE == StopScope::Process {
            self.table.for_threads_of(process, |_, slot| slot.applied = Some(setup));
        }
    }

    /// What the kernel has to be told to report, so that the end of a thread that is about to run, and
    /// leaves nothing of its process running, is heard of.
    pub(super) fn with_lone_end(&mut self, index: u32, mut setup: Setup) -> Setup {
        match B::STOP_SCOPE {
            StopScope::Thread => {
                if self.table.is_first(index) && self.ends_last(index) {
                    setup.flags |= EventFlags::EXIT;
                }
            }
            StopScope::Process => {
                let mut threads = self.table.process_of(index).threads.iter();
                if threads.any(|&i| self.table.slot(i).stays()) {
                    setup.flags |= EventFlags::THREAD;
                }
            }
        }
        setup
    }

    /// Runs the threads of a process, as was planned for each.
    pub(super) fn resume_planned(
        &mut self,
        process: ProcessHandle,
        plan: Vec<(Stopped, Next)>,
    ) -> Result<()> {
        match B::STOP_SCOPE {
            StopScope::Thread => self.resume_each(process, plan),
            StopScope::Process => self.resume_together(plan),
        }
    }

    /// A thread is to stay stopped when its process is run.
    pub(super) fn keep_from_running(&mut self, thread: Thread) -> Result<()> {
        match B::STOP_SCOPE {
            StopScope::Thread => Ok(()), // only what is resumed runs
            StopScope::Process => {
                unless_gone(self.backend.get_mut().suspend(thread, true)).map(drop)
            }
        }
    }

    /// Asks every running thread of a process to stop.
    pub(super) fn interrupt_running(&mut self, process: ProcessHandle) -> Result<()> {
        match B::STOP_SCOPE {
            StopScope::Thread => self.interrupt_each(process),
            StopScope::Process => self.interrupt_any(process),
        }
    }

    /// Takes in the stops and ends that threads of a process have come to by now; how many there
    /// were.
    pub(super) fn take_in_each(
        &mut self,
        process: ProcessHandle,
        threads: &[u32],
    ) -> Result<usize> {
        match B::STOP_SCOPE {
            StopScope::Thread => self.look_at_each(process, threads),
            StopScope::Process => Ok(0), // one stop is that of all
        }
    }

    /// Looks up the threads of a stopped process, where the birth and the death of those that rest
    /// may have gone unreported.
    pub(super) fn look_up_threads(&mut self, process: ProcessHandle) -> Result<()> {
        match B::STOP_SCOPE {
            StopScope::Thread => Ok(()),
            StopScope::Process => self.look_up_resting(process),
        }
    }

    /// Has what is about to happen to one thread happen to it alone: the others of its process are
    /// suspended. Returns the signal that is then to be delivered.
    pub(super) fn suspend_others(
        &mut self,
        process: ProcessHandle,
        index: u32,
    ) -> Result<Option<Signal>> {
        match B::STOP_SCOPE {
            StopScope::Thread => Ok(None), // they are stopped one by one
            StopScope::Process => self.suspend_all_but(process, index),
        }
    }

    /// The others may run again, but for those that were told to stay.
    pub(super) fn free_others(&mut self, process: ProcessHandle, index: u32) -> Result<()> {
        match B::STOP_SCOPE {
            StopScope::Thread => Ok(()),
            StopScope::Process => self.free_all_but(process, index),
        }
    }

    /// Whether a thread that is to run whatever others do has to run alone: others of its process have
    /// an event or a token out.
    pub(super) fn has_to_run_alone(&self, index: u32) -> bool {
        match B::STOP_SCOPE {
            StopScope::Thread => false,
            StopScope::Process => {
                let mut threads = self.table.process_of(index).threads.iter();
                threads.any(|&i| i != index && self.table.slot(i).is_shown())
            }
        }
    }

    /// One thread is about to run alone. Others that are still inside the kernel may have something to
    /// say as well, where it is their process that runs.
    pub(super) fn runs_alone(&mut self, index: u32) {
        self.table.slot_mut(index).state = State::Running;
        if B::STOP_SCOPE == StopScope::Process {
            self.others_ran(index, State::Running);
        }
    }

    /// It could not be run after all; says whether that ends what it was to be run for.
    pub(super) fn could_not_run_alone(
        &mut self,
        process: ProcessHandle,
        index: u32,
        signal: Option<Signal>,
    ) -> bool {
        match B::STOP_SCOPE {
            StopScope::Thread => false, // it was killed: its end comes
            StopScope::Process => {
                self.give_up_step_over(process, index, signal);
                true
            }
        }
    }

    /// Those of a process's threads that are to rest again, since none of it was run.
    pub(super) fn rest_again(&mut self, process: ProcessHandle) {
        if B::STOP_SCOPE == StopScope::Process {
            self.none_ran(process);
        }
    }

    /// Runs the threads of a process that have stepped over a breakpoint, and then those that were
    /// stopped for it.
    pub(super) fn go_on(&mut self, process: ProcessHandle) -> Result<()> {
        match B::STOP_SCOPE {
            StopScope::Thread => self.each_goes_on(process),
            StopScope::Process => self.process_goes_on(process),
        }
    }

    /// The threads of a process that are to run now, and may be at a breakpoint.
    pub(super) fn about_to_run(&self, process: ProcessHandle) -> Vec<u32> {
        match B::STOP_SCOPE {
            StopScope::Thread => self.each_about_to_run(process),
            StopScope::Process => self.together_about_to_run(process),
        }
    }

    /// A process is to run to its end, for it was killed.
    pub(super) fn runs_to_its_end(&mut self, process: ProcessHandle) {
        match B::STOP_SCOPE {
            StopScope::Thread => self.leave_stops(process),
            StopScope::Process => self.run_killed(process),
        }
    }

    /// Detaches a stopped thread, or its process.
    pub(super) fn detach_at(&mut self, index: u32, signal: Option<Signal>) -> Result<()> {
        match B::STOP_SCOPE {
            StopScope::Thread => self.release(index, signal),
            StopScope::Process => self.detach_whole(index, signal),
        }
    }

    /// What is left of a process after one of its threads was detached is detached as well.
    pub(super) fn detach_rest(&mut self, process: ProcessHandle) -> Result<()> {
        match B::STOP_SCOPE {
            StopScope::Thread => self.detach_each(process),
            StopScope::Process => {
                // It went as a whole, or was killed, and its end comes. But the stop that it was to be
                // detached at may be over.
                if self.table.is_there(process) && self.is_stopped_whole(process) {
                    self.failures.retry(self.table.process(process).pid);
                }
                Ok(())
            }
        }
    }
}

/// What a stop means.
impl<B: Backend> Engine<B> {
    /// A thread has stopped; the others of its process are stopped, if that stops them.
    pub(super) fn stopped_by(&mut self, index: u32) {
        if B::STOP_SCOPE == StopScope::Process {
            self.rest_others(index);
        }
    }

    /// What a stop is, as far as the resumption depends on that.
    pub(super) fn kind_of_stop(reason: RawReason) -> StopKind {
        match (reason, B::STOP_SCOPE) {
            (RawReason::GroupStop(_), _) => StopKind::GroupStop,
            (RawReason::Paused | RawReason::Signal { .. }, _) => StopKind::Interruption,
            (RawReason::Forked { .. } | RawReason::VforkDone, StopScope::Thread) => {
                StopKind::EndOfCall
            }
            (RawReason::ThreadExiting, _) => StopKind::WayOut,
            _ => StopKind::Other,
        }
    }

    /// What the stop at an exec is: there the system call has done its work, too.
    pub(super) fn kind_of_exec() -> StopKind {
        match B::STOP_SCOPE {
            StopScope::Thread => StopKind::EndOfCall,
            StopScope::Process => StopKind::Other,
        }
    }

    /// Whether the trap of a step may wait behind a stop. Linux has it come before all other signals.
    pub(super) fn may_hide_a_step(reason: RawReason) -> bool {
        B::STOP_SCOPE == StopScope::Process || !matches!(reason, RawReason::Signal { .. })
    }

    /// The threads whose interrupts a stop of one answers: any stop of the thread does, or any stop of
    /// its process.
    fn answered_by(&self, index: u32) -> &[u32] {
        match B::STOP_SCOPE {
            StopScope::Thread => &[],
            StopScope::Process => &self.table.process_of(index).threads,
        }
    }

    /// Takes the interrupt that a stop answers.
    pub(super) fn take_interrupt(&mut self, index: u32) -> Interrupt {
        let interrupt = self.asked_interrupt(index);
        self.table.slot_mut(index).interrupt = Interrupt::None;
        for at in 0..self.answered_by(index).len() {
            let other = self.answered_by(index)[at];
            self.table.slot_mut(other).interrupt = Interrupt::None;
        }
        interrupt
    }

    /// The same, which is not taken yet.
    pub(super) fn asked_interrupt(&self, index: u32) -> Interrupt {
        let others = self.answered_by(index).iter().map(|&i| self.table.slot(i).interrupt);
        let asked = others.chain([self.table.slot(index).interrupt]);
        asked.max().unwrap_or(Interrupt::None)
    }

    /// Whether a process is stopped by one stop, which is that of all its threads.
    pub(super) fn is_stopped_whole(&self, process: ProcessHandle) -> bool {
        B::STOP_SCOPE == StopScope::Process && self.table.stopped_in(process).is_some()
    }

    /// Whether no thread of a process can stop or end before the caller resumes one of its tokens.
    pub(super) fn waits_for_its_tokens(&self, process: &Process) -> bool {
        let mut threads = process.threads.iter().map(|&index| self.table.slot(index));
        match B::STOP_SCOPE {
            StopScope::Thread => {
                !process.threads.is_empty() && threads.all(|s| s.is_given() || s.rests())
            }
            StopScope::Process => threads.any(Slot::is_given),
        }
    }

    /// Whether an event or a token of a process is out, with whose resumption it will run.
    pub(super) fn runs_with_what_is_shown(&self, process: ProcessHandle) -> bool {
        let mut threads = self.table.process(process).threads.iter();
        B::STOP_SCOPE == StopScope::Process && threads.any(|&i| self.table.slot(i).is_shown())
    }

    /// Whether a thread that the table has running is kept from it.
    pub(super) fn is_suspended(slot: &Slot) -> bool {
        B::STOP_SCOPE == StopScope::Process && slot.stays()
    }

    /// Whether what a breakpoint instruction has yet to report is taken out thread by thread before a
    /// detach; if not, the back end does it for the process.
    pub(super) fn takes_out_traps() -> bool {
        B::STOP_SCOPE == StopScope::Thread
    }
}

/// What the kernel reports, and about which thread.
impl<B: Backend> Engine<B> {
    /// Whether the makers of threads announce them. Otherwise the births are told by the threads
    /// themselves, if that was asked for.
    pub(super) fn makers_announce_threads() -> bool {
        B::STOP_SCOPE == StopScope::Thread
    }

    /// Whether the end of a first thread that ends before the others is told only with theirs: it is
    /// a zombie until then, which answers nothing.
    pub(super) fn first_threads_end_silently() -> bool {
        B::STOP_SCOPE == StopScope::Thread
    }

    /// Whether a thread can end while its stop is being shown. Otherwise it ends only after its process
    /// was run, so that no stop of it is left.
    pub(super) fn tokens_outlive_threads() -> bool {
        B::STOP_SCOPE == StopScope::Thread
    }

    /// Whether a thread can make a child in its process's parent's name (`CLONE_PARENT`).
    pub(super) fn threads_make_siblings() -> bool {
        B::STOP_SCOPE == StopScope::Thread
    }

    /// Whether the first thing that a thread reports after it has made a child is that fork, so that a
    /// stopped thread has none left to report.
    pub(super) fn makers_report_next() -> bool {
        B::STOP_SCOPE == StopScope::Thread
    }

    /// Whether the exec of another thread can give a thread what that was told to report.
    pub(super) fn execs_change_setups() -> bool {
        B::STOP_SCOPE == StopScope::Thread
    }

    /// Whether a killed process can be silent, since a thread of it waits in `vfork`.
    pub(super) fn is_silenced_by_vfork(&mut self, pid: Pid) -> Result<bool> {
        match B::STOP_SCOPE {
            StopScope::Thread => Ok(false),
            StopScope::Process => {
                let answer = self.backend.get_mut().is_unkillable(pid);
                Ok(unless_gone(answer)? == Some(true))
            }
        }
    }

    /// The threads that one is placed with: on FreeBSD those of its process, since the kernel runs
    /// them together.
    pub(super) fn placed_with(&mut self, thread: Thread) -> Vec<Tid> {
        match B::STOP_SCOPE {
            StopScope::Thread => vec![thread.tid],
            StopScope::Process => self.backend.get_mut().threads(thread.pid).unwrap_or_default(),
        }
    }

    /// An error unless so many threads can be stepped at once.
    fn can_step(many: usize) -> Result<()> {
        match B::STOP_SCOPE {
            StopScope::Process if many > 1 => {
                Err(Error::unsupported("stepping several threads at once", B::SYSTEM))
            }
            _ => Ok(()),
        }
    }
}
