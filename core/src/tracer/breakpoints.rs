//! Breakpoints and watchpoints of a process.

use crate::{Backend, Breakpoint, BreakpointId, Error, Pid, Result};

use super::Tracer;

impl<B: Backend> Tracer<B> {
    /// Inserts a breakpoint into a process, for all its threads, those to come too. The same one
    /// asked twice is one, which has to be removed twice.
    ///
    /// Threads that run are stopped for it, for a moment.
    ///
    /// # Errors
    ///
    /// [`Error::Gone`] if the process is not traced; [`Error::BadAddress`] for a place that cannot
    /// have one.
    pub fn insert(&mut self, pid: Pid, breakpoint: impl Into<Breakpoint>) -> Result<BreakpointId> {
        let _process = self.traced(pid)?;
        match breakpoint.into() {
            Breakpoint::Software(_) => {
                Err(Error::Unsupported { what: "a software breakpoint", on: B::SYSTEM })
            }
            Breakpoint::Hardware(_) => {
                Err(Error::Unsupported { what: "a hardware breakpoint", on: B::SYSTEM })
            }
        }
    }
}
