//! The waits of the user: when they return, and with what.

use std::task::Poll;
use std::time::{Duration, Instant};

use crate::backend::{Patience, Thread};
use crate::error::unless_gone;
use crate::limits::HELD_FOR;
use crate::{Backend, Error, Event, Only, Pid, Result};

use super::drive::Turn;
use super::process::Process;
use super::unannounced::Moment;
use super::{Engine, ProcessHandle};

/// How long a wait goes on.
#[derive(Debug, Clone, Copy)]
pub(super) enum Until {
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

/// The event, if there is one by now. An event is large: arm by arm it is moved once, where each `?`
/// would move it once more.
#[inline]
fn event_of(next: Result<Poll<Option<Event>>>) -> Result<Option<Event>> {
    match next {
        Ok(Poll::Ready(event)) => Ok(event),
        Ok(Poll::Pending) => Ok(None),
        Err(error) => Err(error),
    }
}

impl<B: Backend> Engine<B> {
    /// The next event.
    pub(crate) fn wait(&mut self) -> Result<Option<Event>> {
        event_of(self.next(Until::Ever, None))
    }

    /// The next event, without waiting for one.
    pub(crate) fn try_wait(&mut self) -> Result<Poll<Option<Event>>> {
        self.next(Until::Now, None)
    }

    /// The next event, if one comes within this time.
    pub(crate) fn wait_timeout(&mut self, timeout: Duration) -> Result<Option<Event>> {
        // Later than any clock can say is never.
        let until = Instant::now().checked_add(timeout).map_or(Until::Ever, Until::Then);
        event_of(self.next(until, None))
    }

    /// The next event of one thread or process.
    pub(crate) fn wait_for(&mut self, only: Only) -> Result<Option<Event>> {
        event_of(self.next(Until::Ever, Some(only)))
    }

    fn next(&mut self, until: Until, only: Option<Only>) -> Result<Poll<Option<Event>>> {
        let event = self.find_next(until, only);
        if matches!(event, Ok(Poll::Pending | Poll::Ready(None))) {
            self.set_readiness()?;
        }
        event
    }

    pub(super) fn find_next(
        &mut self,
        until: Until,
        only: Option<Only>,
    ) -> Result<Poll<Option<Event>>> {
        if let Some(process) = self.departed.take() {
            self.table.remove_process(process);
        }
        self.take_back();
        self.end_halts()?;
        self.retry_all()?;
        let mut waited = 0;
        loop {
            while let Some(raw) = self.backlog.pop_front() {
                self.take(raw)?;
            }
            match self.step_over_queued() {
                Ok(()) => self.failures.stepping_over = false,
                Err(error) => self.failures.step_over_failed(error),
            }
            self.queue_held_exits();
            self.detach_unseen();
            if !self.failures.is_silent() {
                self.failures.next().map_or(Ok(()), Err)?;
            }
            if std::mem::take(&mut self.woken) {
                return Ok(Poll::Ready(Some(Event::Woken)));
            }
            if !self.ready.is_empty() {
                match self.give_next(only) {
                    Ok(None) => {}
                    Ok(event) => return Ok(Poll::Ready(event)),
                    Err(error) => return Err(error),
                }
            }
            if only.is_some_and(|only| !self.may_tell(only)) {
                return Ok(Poll::Ready(None));
            }
            let over = self.table.is_empty() && !self.expects_an_unknown()?;
            if over && self.settle_awaited() {
                continue;
            }
            if over && self.readiness.is_none() {
                return Ok(Poll::Ready(None));
            }
            let others = self.table.threads() + usize::from(self.has_waker);
            if self.fast_path.is_due(others) && self.take_in_all()? {
                continue;
            }
            let stuck = match until {
                // What was just resumed runs.
                Until::Ever if !over && !self.fast_path.has_resumed() => self.stuck(only),
                _ => None,
            };
            let patience = match (until, self.expects_something()) {
                // Only a waker may have something to say, which must not stay readable.
                _ if over => Patience::Poll,
                // What was killed in its stop is reported all the same.
                _ if stuck.is_some() && waited == 0 => Patience::Poll,
                _ if stuck.is_some() => Patience::Brief,
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
                        || self.settle_unannounced(Moment::Quiet)?
                        || !self.failures.is_silent()
                    {
                        continue;
                    }
                    if over {
                        return Ok(Poll::Ready(None));
                    }
                    if until.is_over() {
                        return Ok(Poll::Pending);
                    }
                    // Nobody would end this wait.
                    if let Some(error) = self.failures.take_repeated() {
                        return Err(error);
                    }
                    if let Some(pid) = stuck {
                        let is_due = self.forks.may_have_left() && waited < HELD_FOR;
                        if !is_due && !self.is_dying(only)? {
                            return Err(Error::NotRunning { pid });
                        }
                        waited += 1;
                    }
                }
                Turn::NoTracees => {
                    if !self.settle_vanished()? {
                        return Ok(Poll::Ready(None));
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

    /// Whether something of a thread or process may still be told.
    fn may_tell(&self, only: Only) -> bool {
        let traced = self.shown(only.pid()).is_ok();
        match only {
            Only::Process(_) => traced,
            Only::Thread(pid, tid) => traced && self.table.find_thread_of(pid, tid).is_some(),
        }
    }

    /// A process of those that a wait is for, if no thread of any of them can stop or end, because
    /// the caller has the tokens, and nobody can wake the wait.
    fn stuck(&self, only: Option<Only>) -> Option<Pid> {
        let others = self.has_waker || !self.zombie_leaders.is_empty() || self.expects_something();
        if only.is_none() && others {
            return None;
        }
        match only {
            Some(Only::Thread(pid, tid)) => {
                let slot = self.table.slot(self.table.find_thread_of(pid, tid)?);
                let waits = slot.rests() && self.runs_with_what_is_shown(slot.process);
                (waits || self.stays_put(slot)).then_some(pid)
            }
            Some(Only::Process(pid)) => {
                let process = self.table.find_process(pid)?;
                self.is_out(process).then_some(pid)
            }
            None => {
                // What the user has detached is none that the wait is for.
                let seen = |(_, process): &(ProcessHandle, &Process)| !self.is_unseen(process.pid);
                let mut all = self.table.processes().filter(seen);
                let (first, process) = all.next()?;
                let out = self.is_out(first) && all.all(|(process, _)| self.is_out(process));
                out.then_some(process.pid)
            }
        }
    }

    /// Whether one of the processes that a wait is for was killed in the stop that the caller has the
    /// token of, so that its end comes by itself.
    fn is_dying(&mut self, only: Option<Only>) -> Result<bool> {
        let one_of = |process: &Process| {
            let mut threads = process.threads.iter().map(|&index| self.table.slot(index));
            threads.find(|slot| slot.is_given()).map(|slot| slot.thread)
        };
        let asked = |process: &&Process| only.is_none_or(|only| only.pid() == process.pid);
        let processes = self.table.living().map(|(_, process)| process);
        let threads: Vec<Thread> = processes.filter(asked).filter_map(one_of).collect();
        for thread in threads {
            if unless_gone(self.backend.get_mut().registers(thread))?.is_none() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether no thread of a process can stop or end before the caller runs one.
    fn is_out(&self, process: ProcessHandle) -> bool {
        let process = self.table.process(process);
        // Its end is kept until the tokens are given back.
        process.has_ended() || self.waits_for_its_tokens(process)
    }
}
