//! Tracers on threads of their own, where their tracees belong.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// A thread with tracees of its own, which runs blocks for whoever asks.
pub struct Worker {
    ask: Option<Sender<u64>>,
    told: Receiver<Duration>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    /// It has made its tracees when this returns.
    pub fn new<S: 'static>(
        make: impl FnOnce() -> S + Send + 'static,
        mut run: impl FnMut(&mut S, u64) -> Duration + Send + 'static,
    ) -> Self {
        let (ask, asked) = channel();
        let (tell, told) = channel();
        let thread = std::thread::spawn(move || {
            let mut state = make();
            let _ = tell.send(Duration::ZERO);
            while let Ok(n) = asked.recv() {
                let _ = tell.send(run(&mut state, n));
            }
        });
        told.recv().expect("it is made");
        Worker { ask: Some(ask), told, thread: Some(thread) }
    }

    /// Begins a block.
    pub fn start(&self, n: u64) {
        self.ask.as_ref().expect("it lives").send(n).expect("it lives");
    }

    /// Waits for its end.
    pub fn finish(&self) -> Duration {
        self.told.recv().expect("it lives")
    }

    pub fn run(&self, n: u64) -> Duration {
        self.start(n);
        self.finish()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.ask = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
