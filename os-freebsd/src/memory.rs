//! Memory, by PT_IO.

use std::ops::Range;

use trapline_core::backend::Thread;
use trapline_core::{Error, Result};

use crate::sys::{self, Errno, Io, Kernel};
use crate::system::FreeBsd;

/// What one request copies at most.
const CHUNK: usize = 1 << 20;
const PAGE: u64 = 4096;

impl FreeBsd {
    /// Reads. The kernel reads through any protection.
    pub(crate) fn read(&mut self, thread: Thread, addr: u64, buf: &mut [u8]) -> Result<usize> {
        let len = buf.len();
        self.copy(thread, addr, len, |kernel, at, range| {
            kernel.io(thread.pid.as_raw(), at, Io::Read(&mut buf[range]))
        })
    }

    /// Writes. A page that the process itself may not write to is copied first, so that text is
    /// changed for this process alone.
    pub(crate) fn write(&mut self, thread: Thread, addr: u64, data: &[u8]) -> Result<usize> {
        self.copy(thread, addr, data.len(), |kernel, at, range| {
            kernel.io(thread.pid.as_raw(), at, Io::Write(&data[range]))
        })
    }

    /// Copies as much as can be. A request that meets an unmapped page fails, and does not tell
    /// how far it came, so then it goes page by page.
    pub(crate) fn copy(
        &mut self,
        thread: Thread,
        addr: u64,
        len: usize,
        mut request: impl FnMut(&mut Kernel, u64, Range<usize>) -> sys::Result<usize>,
    ) -> Result<usize> {
        let mut done = 0;
        let mut by_page = false;
        while done < len {
            let at = addr.wrapping_add(done as u64);
            let in_page = (PAGE - at % PAGE) as usize;
            let step = (len - done).min(if by_page { in_page } else { CHUNK });
            match request(&mut self.kernel, at, done..done + step) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(Errno::FAULT) if step > in_page => by_page = true,
                Err(Errno::FAULT) => break,
                Err(errno) => return self.checked("PT_IO", thread, Err(errno)),
            }
        }
        if done == 0 && len > 0 { Err(Error::bad_address(addr)) } else { Ok(done) }
    }
}
