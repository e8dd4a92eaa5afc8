//! The waits.

use std::time::{Duration, Instant};

use crate::backend::Patience;
use crate::{Backend, Error, Event, Pid, Result, Tid};

use super::Tracer;
use super::drive::Turn;
use super::thread::Slot;
use super::{Ready, Side};

/// Whose events a wait gives; see [`Tracer::wait_for`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Only {
    /// Those of one thread: its stops, its end, and that of its process.
    Thread(Pid, Tid),
    /// Those of a process: its stops and ends, the forks that it makes, and its own making.
    Process(Pid),
}

impl Only {
    fn pid(self) -> Pid {
        let (Only::Thread(pid, _) | Only::Process(pid)) = self;
        pid
    }

    /// Whether an event of this process is one, and of a certain thread, if it is about one.
    fn is_about(self, pid: Option<Pid>, tid: Option<Tid>) -> bool {
        match self {
            Only::Process(only) => pid == Some(only),
            Only::Thread(only, thread) => pid == Some(only) && tid.is_none_or(|tid| tid == thread),
        }
    }
}

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

    /// The next event of one thread or process. Those of others stay in the queue, in their order, for
    /// later waits; their stops last until then. `None` if it is not traced, or is no more.
    ///
    /// ```no_run
    /// use trapline_core::{Backend, Event, Only, Result, Resume, Stopped, Tracer};
    ///
    /// /// Makes a step, whatever other threads do meanwhile.
    /// fn step<B: Backend>(tracer: &mut Tracer<B>, stop: Stopped) -> Result<Option<Event>> {
    ///     let only = Only::Thread(stop.pid(), stop.tid());
    ///     tracer.resume(stop, Resume::Step)?;
    ///     tracer.wait_for(only)
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`wait`](Tracer::wait), and [`Error::AtRest`](crate::Error::AtRest) if nothing of it runs,
    /// so that no wait would end: its tokens are with the caller.
    ///
    /// # Platform notes
    ///
    /// FreeBSD stops a process as a whole: while the stop of another thread waits in the queue, none
    /// of its threads runs.
    pub fn wait_for(&mut self, only: Only) -> Result<Option<Event>> {
        let event = self.find_next(Until::Ever, Some(only))?;
        if event.is_none() {
            self.set_readiness()?;
        }
        Ok(event)
    }

    fn next(&mut self, until: Until) -> Result<Option<Event>> {
        let event = self.find_next(until, None)?;
        if event.is_none() {
            self.set_readiness()?;
        }
        Ok(event)
    }

    fn find_next(&mut self, until: Until, only: Option<Only>) -> Result<Option<Event>> {
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
            if let Some(event) = self.give_next(only)? {
                return Ok(Some(event));
            }
            if only.is_some_and(|only| !self.may_tell(only)) {
                return Ok(None);
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
            if let Some(only) = only {
                self.can_tell(only)?;
            }
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
            || (self.table.is_empty() && (self.forks.has_unknown() || self.forks.may_have_left()))
    }

    /// The place in the queue of the next event, or of the next one of a thread or process.
    pub(super) fn next_in_queue(&self, only: Option<Only>) -> Option<usize> {
        let Some(only) = only else { return (!self.ready.is_empty()).then_some(0) };
        let thread = |side: &Side| match side {
            Side::Stopped(place) => self.table.at(*place).map(|slot| slot.thread),
            Side::LetGo | Side::Gone => None,
        };
        self.ready.iter().position(|ready| match ready {
            Ready::Stop(place) => self
                .table
                .at(*place)
                .is_none_or(|slot| only.is_about(Some(slot.thread.pid), Some(slot.thread.tid))),
            Ready::Fork(pair) => {
                let child = thread(&pair.child).map(|thread| thread.tid);
                only.is_about(pair.parent_pid, pair.parent_tid)
                    || only.is_about(Some(pair.child_pid), child)
            }
            Ready::ThreadExited { pid, tid } => only.is_about(Some(*pid), Some(*tid)),
            Ready::Exited { process } => {
                only.is_about(Some(self.table.process(*process).pid), None)
            }
            Ready::Reparented { pid, .. } | Ready::LetGo { pid } => only.is_about(Some(*pid), None),
        })
    }

    /// Whether something of a thread or process may still be told.
    fn may_tell(&self, only: Only) -> bool {
        let traced = self.traced(only.pid()).is_ok();
        match only {
            Only::Process(_) => traced,
            Only::Thread(pid, tid) => traced && self.table.find_thread_of(pid, tid).is_some(),
        }
    }

    /// Whether anything runs that may do so: otherwise a wait for it would not end.
    fn can_tell(&self, only: Only) -> Result<()> {
        let Ok(process) = self.traced(only.pid()) else { return Ok(()) };
        let threads = &self.table.process(process).threads;
        let mut slots = threads.iter().map(|&index| self.table.slot(index));
        let given = |slot: &Slot| slot.is_given();
        let stuck = match only {
            Only::Thread(_, tid) => slots.any(|slot| slot.thread.tid == tid && given(slot)),
            Only::Process(_) => slots.all(given),
        };
        if stuck { Err(Error::AtRest { pid: only.pid().as_raw() }) } else { Ok(()) }
    }
}
