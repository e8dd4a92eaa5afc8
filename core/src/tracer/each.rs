//! Asking many threads to stop, and waiting for them.
//!
//! A wait for everybody costs the kernel a look at each tracee, so to stop N threads that way
//! costs it N² of them. A look at one thread costs the same however many there are. So those that
//! were asked are looked at one by one, and only what they are not there for is waited for.

use crate::backend::{StopScope, Thread};
use crate::error::unless_gone;
use crate::{Backend, Pid, Result};

use super::Tracer;
use super::thread::{Interrupt, State};

impl<B: Backend> Tracer<B> {
    /// Asks every running thread of a process to stop.
    pub(super) fn interrupt_running(&mut self, process: u32) -> Result<()> {
        let pid = self.table.process(process).pid;
        let mut asked = false;
        let mut running = self.running(process);
        if B::STOP_SCOPE == StopScope::Thread {
            running.reverse(); // as they are looked at then
        }
        for index in running {
            let slot = self.table.slot(index);
            let thread = slot.thread;
            asked = true;
            if slot.interrupt == Interrupt::None && slot.state != State::Announced {
                asked = unless_gone(self.backend.get_mut().interrupt(thread))?.is_some();
                self.table.slot_mut(index).interrupt = Interrupt::Internal;
            }
            // One stops them all; but where deaths are not told it may be gone.
            if asked && B::STOP_SCOPE == StopScope::Process {
                break;
            }
        }
        if !asked && B::STOP_SCOPE == StopScope::Process {
            // Those that were born without a word.
            for tid in unless_gone(self.backend.get_mut().threads(pid))?.unwrap_or_default() {
                if unless_gone(self.backend.get_mut().interrupt(Thread { pid, tid }))?.is_some() {
                    break;
                }
            }
        }
        Ok(())
    }

    /// The threads of a process that are not at rest. One in a group-stop is.
    pub(super) fn running(&self, process: u32) -> Vec<u32> {
        let threads = self.table.process(process).threads.iter().copied();
        threads.filter(|&i| !self.table.slot(i).is_stopped()).collect()
    }

    /// Takes in the stops and ends that threads of a process have come to by now, the last one
    /// first; how many there were. Those that are not there yet get a little time, in all as much
    /// as a wait gives before it sleeps.
    pub(super) fn take_in_each(
        &mut self,
        pid: Pid,
        process: u32,
        threads: &[u32],
    ) -> Result<usize> {
        if B::STOP_SCOPE == StopScope::Process {
            return Ok(0); // one stop is that of all
        }
        let (mut found, mut yields) = (0, B::YIELDS);
        for &index in threads.iter().rev() {
            // What was taken in before may have changed everything.
            if !self.is_there(pid, process) {
                break;
            }
            let slot = self.table.slot(index);
            if slot.process != process || slot.is_stopped() {
                continue;
            }
            let thread = slot.thread;
            let mut raw = self.backend.get_mut().look(thread)?;
            while raw.is_none() && yields > 0 {
                yields -= 1;
                std::thread::yield_now();
                raw = self.backend.get_mut().look(thread)?;
            }
            if let Some(raw) = raw {
                found += 1;
                self.take(raw)?;
            }
        }
        Ok(found)
    }

    /// Has the threads stop that were being made when their process was attached to; says whether
    /// there are any.
    pub(super) fn add_late_threads(&mut self, pid: Pid, process: u32) -> Result<bool> {
        let late = unless_gone(self.backend.get_mut().late_threads(pid))?.unwrap_or_default();
        for &tid in &late {
            let index = self.table.add_thread(process, tid, State::Running);
            self.table.slot_mut(index).was_born();
        }
        if !late.is_empty() {
            self.interrupt_running(process)?;
        }
        Ok(!late.is_empty())
    }

    /// Whether a process is still there, is the one that had this index, and has not ended.
    pub(super) fn is_there(&self, pid: Pid, process: u32) -> bool {
        self.table.find_process(pid) == Some(process) && !self.table.process(process).has_ended()
    }
}
