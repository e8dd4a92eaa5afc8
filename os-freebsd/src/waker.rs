//! What ends a sleep: the bell that others ring, and the lookout.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use trapline_core::backend::Wake;
use trapline_core::{Error, Result};

use crate::backend::FreeBsd;
use crate::sys::{self, Mask, Pipe, Queue};
use crate::wait::NET;

/// A pipe to ourselves. Whoever holds it keeps both ends open, so that to ring it late is
/// harmless.
#[derive(Debug)]
pub(crate) struct Bell(Pipe);

impl Bell {
    /// Takes back all that was rung.
    pub(crate) fn quiet(&self) {
        self.0.drain();
    }
}

impl Wake for Bell {
    fn wake(&self) {
        sys::ring(self.0.write.as_fd());
    }
}

impl FreeBsd {
    pub(crate) fn bell(&mut self) -> Result<Arc<Bell>> {
        if let Some(bell) = &self.bell {
            return Ok(Arc::clone(bell));
        }
        let pipe = Pipe::new().map_err(|source| Error::Os { request: "pipe2", id: -1, source })?;
        self.queue.watch_pipe(pipe.read.as_fd()).map_err(|errno| Error::Os {
            request: "kevent",
            id: -1,
            source: errno.into(),
        })?;
        Ok(Arc::clone(self.bell.insert(Arc::new(Bell(pipe)))))
    }

    /// The queue itself, for another one to watch. What a sleep would be woken by makes it readable:
    /// all that came since the last look at it. It ticks as a sleep does, for what only a look
    /// finds.
    pub(crate) fn queue_to_watch(&mut self) -> Result<OwnedFd> {
        let failed = |source| Error::Os { request: "kevent", id: -1, source };
        self.queue.tick(NET).map_err(|errno| failed(errno.into()))?;
        self.queue.copy().map_err(|source| Error::Os { request: "fcntl", id: -1, source })
    }

    /// A wait that found nothing has left nothing in the queue.
    pub(crate) fn watch_for(&mut self, time: Option<Duration>) -> Result<()> {
        if let Some(lookout) = &mut self.lookout {
            lookout.look();
        }
        match time.map(|time| self.queue.tick_once(time)) {
            None | Some(Ok(())) => Ok(()),
            Some(Err(errno)) => Err(Error::Os { request: "kevent", id: -1, source: errno.into() }),
        }
    }

    /// From now on a lookout looks for stops.
    pub(crate) fn post_lookout(&mut self) {
        if self.lookout.is_none() {
            self.lookout = Lookout::post(&self.queue);
        }
    }
}

/// A thread that sleeps in wait6 while a wait sleeps on the kqueue, and rings when a child stops.
///
/// For hosts that get no SIGCHLD for that (SA_NOCLDSTOP). It leaves the stop to be waited for
/// (WNOWAIT), and looks again only when told to, as it would find the same stop at once. It ends
/// with its tracer; if it then sleeps, at the next stop of a child, or when there is none left.
#[derive(Debug)]
pub(crate) struct Lookout {
    orders: SyncSender<()>,
    looking: bool,
}

impl Lookout {
    fn post(queue: &Arc<Queue>) -> Option<Lookout> {
        let queue = Arc::clone(queue);
        let (orders, told) = sync_channel(1);
        let post = move || {
            Mask::full().set(); // the host's handlers run on its own threads
            while let Ok(()) = told.recv() {
                if sys::sleep_until_stop().is_err() {
                    // No traced child, or only such as a plain wait does not find.
                    std::thread::sleep(Duration::from_millis(10));
                }
                let _ = queue.ring();
            }
        };
        // Without it the net still catches what there is.
        std::thread::Builder::new().name("trapline-lookout".into()).spawn(post).ok()?;
        Some(Lookout { orders, looking: false })
    }

    /// Looks, if it does not already.
    pub(crate) fn look(&mut self) {
        if !self.looking {
            self.looking = self.orders.try_send(()).is_ok();
        }
    }

    /// It has rung.
    pub(crate) fn hear(&mut self) {
        self.looking = false;
    }
}
