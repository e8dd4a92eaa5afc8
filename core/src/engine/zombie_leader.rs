//! What is left of a first thread that has ended before the others: it cannot be detached.

use crate::backend::{RawKind, RawStop};
use crate::{Backend, Pid};

use super::process::Process;
use super::{Engine, ProcessHandle};

impl<B: Backend> Engine<B> {
    /// A process is detached but for its first thread, which has ended before the others, and of
    /// whose end the kernel tells the tracer alone, once they have ended.
    pub(super) fn leave_zombie_leader(&mut self, process: ProcessHandle) {
        let entry = self.table.process(process);
        if entry.child.is_some() {
            self.zombie_leaders.push((entry.pid, entry.setup));
        }
        self.forget_process(process);
    }

    /// Whether an end is that of such a process, which the wait has taken from the host: it is
    /// told.
    pub(super) fn end_zombie_leader(&mut self, raw: RawStop) -> bool {
        let pid = raw.pid.or(raw.tid.and_then(B::process_led_by));
        let RawKind::Ended(status) = raw.kind else {
            // The host has waited for it, and another one has its number.
            self.zombie_leaders.retain(|&(zombie_leader, _)| Some(zombie_leader) != pid);
            return false;
        };
        let Some(at) =
            self.zombie_leaders.iter().position(|&(zombie_leader, _)| Some(zombie_leader) == pid)
        else {
            return false;
        };
        let (pid, setup) = self.zombie_leaders.swap_remove(at);
        self.detached.retain(|child| child.id() as i32 != pid.as_raw());
        let us = Pid::this();
        let process = self.add_process(Process::new(pid, Some(us), setup));
        self.end_process(process, status);
        true
    }
}
