//! Waiting for many threads that were asked to stop.
//!
//! A wait for everybody costs the kernel a look at each tracee, so to stop N threads that way
//! costs it N² of them. A look at one thread costs the same however many there are. So those that
//! were asked are looked at one by one, and only what they are not there for is waited for.

use crate::backend::StopScope;
use crate::error::unless_gone;
use crate::{Backend, Pid, Result};

use super::Tracer;
use super::table::State;

impl<B: Backend> Tracer<B> {
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
            if slot.process != process || slot.dead || slot.is_stopped() {
                continue;
            }
            let thread = slot.thread;
            let mut raw = self.backend.look(thread)?;
            while raw.is_none() && yields > 0 {
                yields -= 1;
                std::thread::yield_now();
                raw = self.backend.look(thread)?;
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
        let late = unless_gone(self.backend.late_threads(pid))?.unwrap_or_default();
        for &tid in &late {
            let index = self.table.add_thread(process, tid, State::Running);
            self.table.slot_mut(index).known = true;
        }
        if !late.is_empty() {
            self.interrupt_running(process)?;
        }
        Ok(!late.is_empty())
    }

    /// Whether a process is still there, is the one that had this index, and has not ended.
    pub(super) fn is_there(&self, pid: Pid, process: u32) -> bool {
        self.table.find_process(pid) == Some(process) && self.table.process(process).ended.is_none()
    }
}
