//! Breakpoint instructions in memory.

use crate::{Backend, Breakpoint, BreakpointId, Error, Result, SoftwareBreakpoint};

use super::Tracer;

impl<B: Backend> Tracer<B> {
    pub(super) fn insert_software(
        &mut self,
        _process: u32,
        _breakpoint: SoftwareBreakpoint,
    ) -> Result<BreakpointId> {
        Err(Error::Unsupported { what: "a software breakpoint", on: B::SYSTEM })
    }

    /// Says whether the process had it.
    pub(super) fn remove_software(&mut self, _process: u32, _id: BreakpointId) -> Result<bool> {
        Ok(false)
    }

    pub(super) fn software_of(&self, _process: u32) -> Vec<(BreakpointId, Breakpoint)> {
        Vec::new()
    }
}
