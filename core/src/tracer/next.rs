//! The waits.

use std::time::{Duration, Instant};

use crate::backend::Patience;
use crate::{Backend, Event, Result};

use super::Tracer;
use super::drive::Turn;

/// How long a wait goes on.
#[derive(Debug, Clone, Copy)]
enum Until {
    Now,
    Then(Instant),
    Ever,
}

impl Until {
    fn is_over(self) -> bool {
        match self {
            Until::Now => true,
            Until::Then(deadline) => Instant::now() >= deadline,
            Until::Ever => false,
        }
    }
}

impl<B: Backend> Tracer<B> {
    /// The next event; `None` once no process is traced.
    ///
    /// If every traced thread is stopped and its token is in the caller's hands, this blocks until
    /// one of them is killed or a waker wakes.
    ///
    /// # Errors
    ///
    /// [`Error::Os`](crate::Error::Os) for an answer of the kernel that is not expected; no stop
    /// is lost by it. [`Error::Taken`](crate::Error::Taken) if the host has waited for a tracee
    /// itself.
    ///
    /// # Platform notes
    ///
    /// Only tracees of this tracer are waited for, never another child of this process. The host
    /// must not wait for a tracee itself, nor for "any child": `waitpid(-1)` there may take stops
    /// and ends of tracees (on Linux only of those that this process has spawned).
    pub fn wait(&mut self) -> Result<Option<Event>> {
        self.next(Until::Ever)
    }

    /// The next event, if there is one now.
    ///
    /// # Errors
    ///
    /// As [`wait`](Tracer::wait).
    pub fn try_wait(&mut self) -> Result<Option<Event>> {
        self.next(Until::Now)
    }

    /// The next event, if there is one within so long; `None` too once no process is traced, which
    /// [`is_empty`](Tracer::is_empty) tells. It sleeps as [`wait`](Tracer::wait) does, and answers
    /// a stop as fast.
    ///
    /// # Errors
    ///
    /// As [`wait`](Tracer::wait), and as [`waker`](Tracer::waker).
    ///
    /// # Platform notes
    ///
    /// On Linux the first one that has to sleep makes the hidden helper that a waker needs
    /// (see there), with a `timerfd`.
    pub fn wait_timeout(&mut self, timeout: Duration) -> Result<Option<Event>> {
        match Instant::now().checked_add(timeout) {
            Some(deadline) => self.next(Until::Then(deadline)),
            None => self.next(Until::Ever),
        }
    }

    fn next(&mut self, until: Until) -> Result<Option<Event>> {
        let event = self.find_next(until)?;
        if event.is_none() {
            self.set_readiness()?;
        }
        Ok(event)
    }

    fn find_next(&mut self, until: Until) -> Result<Option<Event>> {
        if let Some(process) = self.departed.take() {
            self.table.remove_process(process);
        }
        self.take_back();
        self.end_halts()?;
        self.retry_all()?;
        loop {
            while let Some(raw) = self.backlog.pop_front() {
                self.take(raw)?;
            }
            match self.pass_queued() {
                Ok(()) => self.failures.passing = false,
                Err(error) => self.failures.passes(error),
            }
            self.queue_held_exits();
            if let Some(error) = self.failures.next() {
                return Err(error);
            }
            if std::mem::take(&mut self.woken) {
                return Ok(Some(Event::Woken));
            }
            if let Some(event) = self.give_next()? {
                return Ok(Some(event));
            }
            let over = self.table.is_empty() && !self.expects_an_unknown()?;
            if over && self.settle_awaited() {
                continue;
            }
            if over && self.readiness.is_none() {
                return Ok(None);
            }
            if self.eager.is_due(self.table.threads()) && self.take_in_all()? {
                continue;
            }
            let patience = match (until, self.expects_something()) {
                // Only a waker may have something to say, which must not stay readable.
                _ if over => Patience::Poll,
                (Until::Now, _) => Patience::Poll,
                (_, true) => Patience::Brief,
                _ if self.failures.has_repeated() => Patience::Brief,
                (Until::Then(deadline), false) => Patience::Until(deadline),
                (Until::Ever, false) => Patience::Block,
            };
            match self.drive(patience)? {
                Turn::Report | Turn::Woken => {}
                Turn::Nothing => {
                    self.look_for_answers();
                    if self.settle_taken()?
                        || self.settle_unannounced()?
                        || !self.failures.is_silent()
                    {
                        continue;
                    }
                    if over || until.is_over() {
                        return Ok(None);
                    }
                    // Nobody would end this wait.
                    if let Some(error) = self.failures.take_repeated() {
                        return Err(error);
                    }
                }
                Turn::NoTracees => {
                    if !self.settle_vanished()? {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// Whether something is on its way that nothing announces, so that the time has to be watched.
    pub(super) fn expects_something(&self) -> bool {
        self.forks.is_watching()
            || self.failures.are_left()
            || !self.unanswered.is_empty()
            || (self.table.is_empty() && (self.forks.has_unknown() || self.may_be_unknown))
    }
}
