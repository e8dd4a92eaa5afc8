//! What is left of a first thread that has ended before the others: it cannot be let go.

use crate::backend::{RawKind, RawStop};
use crate::{Backend, Pid};

use super::Tracer;
use super::process::Process;

impl<B: Backend> Tracer<B> {
    /// A process is let go but for its first thread, which has ended before the others, and of
    /// whose end the kernel tells the tracer alone, once they have ended.
    pub(super) fn leave_shell(&mut self, process: u32) {
        let entry = self.table.process(process);
        if entry.child.is_some() {
            self.shells.push((entry.pid, entry.setup));
        }
        self.forget_process(process);
    }

    /// Whether an end is that of such a process, which the wait has taken from the host: it is
    /// told.
    pub(super) fn end_shell(&mut self, raw: RawStop) -> bool {
        let pid = raw.pid.or(raw.tid.and_then(B::process_led_by));
        let RawKind::Ended(status) = raw.kind else {
            // The host has waited for it, and another one has its number.
            self.shells.retain(|&(shell, _)| Some(shell) != pid);
            return false;
        };
        let Some(at) = self.shells.iter().position(|&(shell, _)| Some(shell) == pid) else {
            return false;
        };
        let (pid, setup) = self.shells.swap_remove(at);
        self.detached.retain(|child| child.id() as i32 != pid.as_raw());
        let us = Pid::this();
        let process = self.add_process(Process::new(pid, Some(us), setup));
        self.end_process(process, status);
        true
    }
}
