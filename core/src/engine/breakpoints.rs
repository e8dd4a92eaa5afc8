//! Breakpoints and watchpoints of a process.

use crate::{Arch, Backend, Breakpoint, BreakpointId, BreakpointSpec, Pid, Result};

use super::{Engine, ProcessHandle};

impl<B: Backend> Engine<B> {
    /// Inserts a breakpoint into a process, for all its threads, including later ones.
    pub(crate) fn insert_breakpoint(
        &mut self,
        pid: Pid,
        breakpoint: BreakpointSpec<<B::Arch as Arch>::Registers>,
    ) -> Result<BreakpointId> {
        let process = self.staying(pid)?;
        self.insert_with_rules(process, breakpoint)
    }

    pub(super) fn insert_plain(
        &mut self,
        process: ProcessHandle,
        breakpoint: Breakpoint,
    ) -> Result<BreakpointId> {
        match breakpoint {
            Breakpoint::Software(breakpoint) => self.insert_software(process, breakpoint),
            Breakpoint::Hardware(breakpoint) => self.insert_hardware(process, breakpoint),
        }
    }

    /// Removes a breakpoint, and says whether the process had it (an exec removes all breakpoints).
    pub(crate) fn remove_breakpoint(&mut self, pid: Pid, id: BreakpointId) -> Result<bool> {
        let process = self.shown(pid)?;
        Ok(self.remove_software(process, id)? || self.remove_hardware(process, id)?)
    }

    /// The breakpoints of a process, the oldest first.
    pub(crate) fn breakpoints(&self, pid: Pid) -> Result<Vec<(BreakpointId, Breakpoint)>> {
        let process = self.shown(pid)?;
        let mut all = self.software_of(process);
        all.extend(self.hardware_of(process));
        all.sort_by_key(|&(id, _)| id);
        Ok(all)
    }

    /// A number that no breakpoint had before.
    pub(super) fn next_breakpoint(&mut self) -> BreakpointId {
        self.last_breakpoint = self.last_breakpoint.wrapping_add(1);
        BreakpointId::from_number(self.last_breakpoint)
    }
}
