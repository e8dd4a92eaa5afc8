//! Requests that fail, and what the user is told of it.

use trapline_core::{Error, Pid, StopReason, Stopped, Tid};
use trapline_fake::{Call, Rules};

use super::World;
use crate::breaks::list;

/// What a stop was for that a call was made with.
pub(super) type Token = (Pid, Tid, StopReason);

pub(super) fn token(stop: &Stopped) -> Token {
    (stop.pid(), stop.tid(), stop.reason())
}

/// How many requests have failed, and what the user was told.
#[derive(Debug, Default, Clone, Hash)]
pub(super) struct Failures {
    /// How often one may still fail.
    pub(super) left: usize,
    /// The one that did.
    failed: Option<(&'static str, i32)>,
    told: usize,
}

impl Failures {
    pub(super) fn fail(&mut self, call: Call) {
        self.left -= 1;
        (self.failed, self.told) = (Some((call.name, call.id)), 0);
    }

    /// The user was told of an error.
    fn tell(&mut self, by_wait: bool, error: &Error) -> Result<(), String> {
        let Some((name, id)) = self.failed.filter(|_| is_failure(error)) else {
            return Err(format!("E10: {error}, and nothing has failed"));
        };
        self.told += 1;
        if self.told > 1 {
            return Err(format!("E10: {error}, told twice"));
        }
        if by_wait && id >= 0 && error.pid().is_none() {
            return Err(format!("E10: {error}, and of whom: {name} of {id}"));
        }
        Ok(())
    }

    /// Whether nobody tells whose child somebody is.
    pub(super) fn hide_parents(&self) -> bool {
        matches!(self.failed, Some(("parent_at_end" | "real_parent", _)))
    }

    /// Whether the user was told of what has failed. What is asked for to know more is not told,
    /// whose child somebody is; nor what was then done in another way, to lead a thread past a
    /// breakpoint.
    pub(super) fn are_told(&self) -> Result<(), String> {
        match self.failed {
            None => Ok(()),
            Some(("read_memory" | "write_memory" | "memory_map", _)) => Ok(()),
            Some(("map_code" | "unmap_code", _)) => Ok(()),
            Some(_) if self.hide_parents() => Ok(()),
            Some(_) if self.told == 1 => Ok(()),
            Some((name, id)) => Err(format!("E10: {name} of {id} has failed, and nobody said so")),
        }
    }
}

/// Whether this says that a request has failed as a [`Failures`] made it.
pub(super) fn is_failure(error: &Error) -> bool {
    match error {
        Error::Os { .. } => true,
        Error::Tracee { error, .. } => is_failure(error),
        _ => false,
    }
}

impl<R: Rules> World<'_, R> {
    /// A wait, or a call that leaves everything as it was, has failed.
    pub(super) fn told(&mut self, by_wait: bool, error: &Error) -> Result<(), String> {
        self.news = true;
        self.did(4, || format!("error: {error}"));
        self.failures.borrow_mut().tell(by_wait, error)
    }

    /// A call with these stops has failed: those that it has not used are given again.
    pub(super) fn refused(&mut self, tokens: &[Token], error: &Error) -> Result<(), String> {
        for &token in tokens {
            self.ledger.perhaps_again(token);
            self.breaks.borrow_mut().perhaps_again(token);
        }
        self.told(false, error)
    }

    /// The same for a detach.
    pub(super) fn not_detached(&mut self, tokens: &[Token], error: &Error) -> Result<(), String> {
        for &(pid, _, _) in tokens {
            self.ledger.not_let_go(pid);
        }
        // If it has begun it goes on, and which breakpoints are still there depends on how far it got.
        let still = |pid| self.tracer.as_ref().and_then(|tracer| list(tracer, pid).ok());
        let still: Vec<_> = tokens.iter().map(|&(pid, _, _)| (pid, still(pid))).collect();
        let mut breaks = self.breaks.borrow_mut();
        for (pid, still) in still {
            breaks.stays(pid, still.unwrap_or_default());
        }
        drop(breaks);
        self.refused(tokens, error)
    }
}
