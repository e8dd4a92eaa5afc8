//! Signals that are sent to `trace` itself.

use std::io;
use std::sync::mpsc::{self, Receiver};
use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::{Handle, Signals};
use trapline::{Signal, Waker};

/// Signals that would have ended `trace`, while this lives.
pub(crate) struct Caught {
    pub(crate) signals: Receiver<Signal>,
    handle: Handle,
}

impl Caught {
    /// Catches them from now on; each wakes the tracer. To be called only once the program runs,
    /// so that it starts with the signal actions that `trace` was started with.
    pub(crate) fn start(waker: Waker) -> io::Result<Caught> {
        let mut caught = Signals::new([SIGINT, SIGQUIT, SIGTERM, SIGHUP])?;
        let handle = caught.handle();
        let (sender, signals) = mpsc::channel();
        thread::Builder::new().name("signals".into()).spawn(move || {
            for signal in caught.forever().filter_map(Signal::from_raw) {
                if sender.send(signal).is_err() {
                    return;
                }
                waker.wake();
            }
        })?;
        Ok(Caught { signals, handle })
    }
}

impl Drop for Caught {
    fn drop(&mut self) {
        self.handle.close();
    }
}
