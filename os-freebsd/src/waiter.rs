//! The waiter thread, and what an event loop watches.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use trapline_core::{Error, Result};

use crate::sys::{self, Mask, Queue};
use crate::system::FreeBsd;
use crate::wait::NET;

impl FreeBsd {
    /// The queue itself, for another one to watch. What a sleep would be woken by makes it readable:
    /// all that came since the last look at it. It ticks as a sleep does, for what only a look
    /// finds.
    pub(crate) fn readiness_descriptor(&mut self) -> Result<OwnedFd> {
        let failed = |source| Error::os("kevent", -1, source);
        self.queue.tick(NET).map_err(|errno| failed(errno.into()))?;
        self.queue.copy().map_err(|source| Error::os("fcntl", -1, source))
    }

    /// A wait that found nothing has left nothing in the queue.
    pub(crate) fn watch_for(&mut self, time: Option<Duration>) -> Result<()> {
        if let Some(waiter) = &mut self.waiter {
            waiter.look();
        }
        match time.map(|time| self.queue.tick_once(time)) {
            None | Some(Ok(())) => Ok(()),
            Some(Err(errno)) => Err(Error::os("kevent", -1, errno.into())),
        }
    }

    /// From now on a waiter thread looks for stops.
    pub(crate) fn start_waiter(&mut self) {
        if self.waiter.is_none() {
            self.waiter = Waiter::start(&self.queue);
        }
    }
}

/// A thread that sleeps in wait6 while a wait sleeps on the kqueue, and notifies that when a child stops.
///
/// For hosts that get no SIGCHLD for that (SA_NOCLDSTOP). It leaves the stop to be waited for
/// (WNOWAIT), and looks again only when ordered to, because it would find the same stop at once. It ends
/// with its tracer; if it then sleeps, at the next stop of a child, or when there is none left.
#[derive(Debug)]
pub(crate) struct Waiter {
    orders: SyncSender<()>,
    looking: bool,
}

impl Waiter {
    fn start(queue: &Arc<Queue>) -> Option<Waiter> {
        let queue = Arc::clone(queue);
        let (orders, told) = sync_channel(1);
        let run = move || {
            Mask::full().set(); // the host's handlers run on its own threads
            while let Ok(()) = told.recv() {
                if sys::sleep_until_stop().is_err() {
                    // No traced child, or only such as a plain wait does not find.
                    std::thread::sleep(Duration::from_millis(10));
                }
                let _ = queue.notify();
            }
        };
        // Without it the net still catches what there is.
        std::thread::Builder::new().name("trapline-waiter".into()).spawn(run).ok()?;
        Some(Waiter { orders, looking: false })
    }

    /// Looks, if it does not already.
    pub(crate) fn look(&mut self) {
        if !self.looking {
            self.looking = self.orders.try_send(()).is_ok();
        }
    }

    /// It has found something.
    pub(crate) fn has_found(&mut self) {
        self.looking = false;
    }
}
