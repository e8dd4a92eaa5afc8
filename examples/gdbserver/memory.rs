//! Memory of the process.

use trapline::{Error, Result};

use super::debuggee::Debuggee;

impl Debuggee {
    /// Reads as much as there is.
    pub(crate) fn read(&mut self, addr: u64, data: &mut [u8]) -> Result<usize> {
        let stop = Self::any_token(&self.inferior)?;
        self.tracer.read_memory(stop, addr, data)
    }

    /// Writes all or says where it could not.
    pub(crate) fn write(&mut self, addr: u64, data: &[u8]) -> Result<()> {
        let stop = Self::any_token(&self.inferior)?;
        let written = self.tracer.write_memory(stop, addr, data)?;
        if written < data.len() {
            return Err(Error::BadAddress { addr: addr.saturating_add(written as u64) });
        }
        Ok(())
    }
}
