//! Breakpoints in the debug registers.

use crate::{Backend, Breakpoint, BreakpointId, Error, HardwareBreakpoint, Result};

use super::Tracer;

impl<B: Backend> Tracer<B> {
    pub(super) fn insert_hardware(
        &mut self,
        _process: u32,
        _breakpoint: HardwareBreakpoint,
    ) -> Result<BreakpointId> {
        Err(Error::Unsupported { what: "a hardware breakpoint", on: B::SYSTEM })
    }

    /// Says whether the process had it.
    pub(super) fn remove_hardware(&mut self, _process: u32, _id: BreakpointId) -> Result<bool> {
        Ok(false)
    }

    pub(super) fn hardware_of(&self, _process: u32) -> Vec<(BreakpointId, Breakpoint)> {
        Vec::new()
    }
}
