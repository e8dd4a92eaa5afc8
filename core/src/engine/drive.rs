//! The one place that takes from the kernel.
//!
//! A call that waits for something (a wait of the user's, a halt, a detach, a step over in place) drives
//! the engine until that has happened. Each turn takes in one report, whatever process it is about, so
//! that all the others go on meanwhile. Events go into the queue.

use std::time::{Duration, Instant};

use crate::backend::{Patience, RawStop, Thread, Waited};
use crate::fast_path::FastPath;
use crate::limits::Limit;
use crate::{Backend, Result};

use super::Engine;
use super::unannounced::Moment;

/// What a turn has brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// A report, which was taken in.
    Report,
    /// A waker's call, which the next wait of the user's gives.
    Woken,
    /// Nothing, within the time.
    Nothing,
    /// There is no tracee.
    NoTracees,
}

/// How a wait for something has ended.
#[derive(Debug)]
pub(super) enum Driven<T> {
    /// It has come.
    Done(T),
    /// It has not, within the limit.
    Over,
    /// It cannot: there is no tracee.
    NoTracees,
}

impl<B: Backend> Engine<B> {
    /// Takes in report after report until `look` answers, which is asked before the first turn and after
    /// each. Other reports are handled as in a wait of the user's.
    pub(super) fn drive_until<T>(
        &mut self,
        limit: Limit,
        mut look: impl FnMut(&mut Self, Turn) -> Result<Option<T>>,
    ) -> Result<Driven<T>> {
        let (mut turn, mut silent) = (Turn::Report, 0);
        loop {
            if let Some(done) = look(self, turn)? {
                return Ok(Driven::Done(done));
            }
            let over = match limit {
                Limit::Silence(most) => silent >= most,
                Limit::Unlimited => false,
            };
            if over {
                return Ok(Driven::Over);
            }
            turn = self.drive_briefly()?;
            match turn {
                Turn::Report => silent = 0,
                Turn::Nothing => silent += 1,
                Turn::Woken => {}
                Turn::NoTracees => return Ok(Driven::NoTracees),
            }
        }
    }

    /// Waits once, and takes in what comes.
    pub(super) fn drive(&mut self, patience: Patience) -> Result<Turn> {
        Ok(match self.ask(patience)? {
            Waited::Stop(raw) => {
                self.fast_path.stopped();
                let overdue = self.forks.report_taken();
                self.take(raw)?;
                if overdue {
                    self.settle_unannounced(Moment::Quiet)?;
                }
                Turn::Report
            }
            Waited::Woken => {
                self.woken = true;
                Turn::Woken
            }
            Waited::Nothing => Turn::Nothing,
            Waited::NoTracees => Turn::NoTracees,
        })
    }

    /// A turn of about a millisecond. If it brings nothing, forks whose other half does not come are
    /// settled, as in a wait of the user's.
    pub(super) fn drive_briefly(&mut self) -> Result<Turn> {
        let turn = self.drive(Patience::Brief)?;
        if turn == Turn::Nothing {
            self.settle_unannounced(Moment::Quiet)?;
        }
        Ok(turn)
    }

    /// Takes in all stops that there are by now, before any of these threads is resumed; says whether
    /// there were any. So a thread that has stopped waits for no more than one stop of each other
    /// thread, even if the kernel would find the others first.
    pub(super) fn take_in_all(&mut self) -> Result<bool> {
        let before = self.backlog.len();
        loop {
            match self.ask_everybody(Patience::Poll)? {
                Waited::Stop(raw) => {
                    self.forks.report_taken();
                    self.backlog.push_back(raw);
                }
                Waited::Woken => self.woken = true,
                Waited::Nothing | Waited::NoTracees => {
                    self.fast_path.took_all(self.backlog.len() - before);
                    return Ok(self.woken || !self.backlog.is_empty());
                }
            }
        }
    }

    /// Waits: first for the threads that were just resumed, then for everybody.
    fn ask(&mut self, patience: Patience) -> Result<Waited> {
        if let Some(raw) = self.backlog.pop_front() {
            return Ok(Waited::Stop(raw)); // taken in with others of which one has to wait for it
        }
        match self.ask_the_resumed(patience)? {
            Some(raw) => Ok(Waited::Stop(raw)),
            None => self.ask_everybody(patience),
        }
    }

    fn ask_everybody(&mut self, patience: Patience) -> Result<Waited> {
        self.backend.get_mut().wait(patience)
    }

    /// What a thread that was just resumed has to say by now, or after it was left the CPU a few times.
    fn ask_the_resumed(&mut self, patience: Patience) -> Result<Option<RawStop>> {
        let resumed = self.fast_path.take();
        if resumed[0].is_none() {
            return Ok(None);
        }
        if let Some(raw) = self.look(&resumed)? {
            self.fast_path.found(None);
            return Ok(Some(raw));
        }
        if patience == Patience::Poll || !self.fast_path.yields() {
            self.fast_path.missed(None);
            return Ok(None);
        }
        let start = Instant::now();
        let mut took = Duration::ZERO;
        for _ in 0..B::YIELDS {
            std::thread::yield_now();
            took = start.elapsed();
            if let Some(raw) = self.look(&resumed)? {
                self.fast_path.found(Some(took));
                return Ok(Some(raw));
            }
            if FastPath::is_long(took) {
                break;
            }
        }
        self.fast_path.missed(Some(took));
        Ok(None)
    }

    /// A stop or an end of one of these.
    fn look(&mut self, threads: &[Option<Thread>]) -> Result<Option<RawStop>> {
        for &thread in threads.iter().flatten() {
            if let Some(raw) = self.look_at(thread)? {
                return Ok(Some(raw));
            }
        }
        Ok(None)
    }

    /// A stop or an end of a thread, or of its process where that stops as a whole.
    pub(super) fn look_at(&mut self, thread: Thread) -> Result<Option<RawStop>> {
        if self.backlog.is_empty() {
            return self.backend.get_mut().look(thread);
        }
        let of_it = |raw: &RawStop| {
            raw.tid == Some(thread.tid) || raw.pid.is_some_and(|pid| pid == thread.pid)
        };
        match self.backlog.iter().position(of_it) {
            Some(at) => Ok(self.backlog.remove(at)),
            None => self.backend.get_mut().look(thread),
        }
    }
}
