//! Whose turn it is to be looked at; see [`wait`](crate::wait).

use std::collections::BTreeMap;
use std::time::Instant;

use crate::tracee::Tracee;

/// Whose turn it is.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    /// Stops since the kqueue was looked at.
    pub(crate) streak: u32,
    /// Stops since a process had its turn.
    pub(crate) orderly: u32,
    /// The process that had its turn last.
    last: i32,
    /// A sleep ended by the net.
    pub(crate) netted: bool,
    /// The process that was about to stop when it was looked at last, and has not stopped since.
    pub(crate) stopping: Option<i32>,
    /// When one was last looked at for threads that are to be woken.
    pub(crate) looked: Option<Instant>,
}

impl Turn {
    /// A process has stopped.
    pub(crate) fn has_stopped(&mut self, pid: i32) {
        self.stopping.take_if(|stopping| *stopping == pid);
    }

    /// The process whose turn it is.
    pub(crate) fn next(&mut self, tracees: &BTreeMap<i32, Tracee>) -> Option<i32> {
        let after = tracees.range(self.last.saturating_add(1)..).next();
        let (&pid, _) = after.or_else(|| tracees.first_key_value())?;
        self.last = pid;
        Some(pid)
    }
}
