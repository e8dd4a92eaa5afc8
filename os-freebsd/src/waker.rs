//! The wake pipe: how another thread ends a blocked wait.

use std::os::fd::AsFd;
use std::sync::Arc;

use trapline_core::backend::Wake;
use trapline_core::{Error, Result};

use crate::sys::{self, Pipe};
use crate::system::FreeBsd;

/// A pipe to ourselves. Each waker keeps both ends open, so that to write to it late is
/// harmless.
#[derive(Debug)]
pub(crate) struct WakePipe(Pipe);

impl WakePipe {
    /// Reads all that was written.
    pub(crate) fn drain(&self) {
        self.0.drain();
    }
}

impl Wake for WakePipe {
    fn wake(&self) {
        sys::wake(self.0.write.as_fd());
    }
}

impl FreeBsd {
    /// The pipe, which is made if there is none.
    pub(crate) fn wake_pipe(&mut self) -> Result<Arc<WakePipe>> {
        if let Some(pipe) = &self.wake_pipe {
            return Ok(Arc::clone(pipe));
        }
        let pipe = Pipe::new().map_err(|source| Error::os("pipe2", -1, source))?;
        self.queue
            .watch_pipe(pipe.read.as_fd())
            .map_err(|errno| Error::os("kevent", -1, errno.into()))?;
        Ok(Arc::clone(self.wake_pipe.insert(Arc::new(WakePipe(pipe)))))
    }
}
