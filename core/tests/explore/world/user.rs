//! What the user does: waits, resumes, and follows whims.

use trapline_core::fake::Rules;
use trapline_core::{Error, Event, Halted, Next, Pid, Resume, Stopped};

use super::World;
use crate::scenario::User;

/// What a user has in hand.
pub(super) enum Kept {
    Event(Event),
    Halted(Halted),
}

impl Kept {
    pub(super) fn tokens(&self) -> Vec<&Stopped> {
        match self {
            Kept::Event(Event::Stopped(stop)) => vec![stop],
            Kept::Event(Event::Forked(fork)) => {
                [&fork.parent, &fork.child].into_iter().filter_map(|half| half.stopped()).collect()
            }
            Kept::Event(_) => Vec::new(),
            Kept::Halted(halted) => halted.threads.iter().collect(),
        }
    }
}

impl<R: Rules> World<'_, R> {
    pub(super) fn wait(&mut self) -> Result<(), String> {
        let event = self.tracer().try_wait().map_err(|error| format!("wait: {error}"))?;
        self.check()?;
        self.take(event)
    }

    fn take(&mut self, event: Option<Event>) -> Result<(), String> {
        self.did(0, || format!("wait: {event:?}"));
        self.news = event.is_some();
        let Some(event) = event else { return Ok(()) };
        self.ledger.given(&event, &self.kernel)?;
        let kept = Kept::Event(event);
        if !kept.tokens().is_empty() {
            self.kept.push(kept);
        }
        Ok(())
    }

    pub(super) fn resume(&mut self, kept: Kept) -> Result<(), String> {
        self.news = true;
        let result = match kept {
            Kept::Event(event) => {
                self.did(1, || format!("resume {event:?}"));
                self.tracer().resume(event, Resume::Continue)
            }
            Kept::Halted(halted) => {
                self.did(2, || format!("resume {halted:?}"));
                self.tracer().resume_halted(halted, |_| Next::Continue)
            }
        };
        result.map_err(|error| format!("resume: {error}"))
    }

    pub(super) fn whim(&mut self, whim: User, kept: Kept) -> Result<(), String> {
        self.news = true;
        let event = match kept {
            Kept::Event(event) => event,
            Kept::Halted(halted) => {
                self.did(10 + whim as u32, || format!("{whim:?} {halted:?}"));
                match whim {
                    User::Detach => {
                        if halted.threads.iter().any(|stop| self.is_live(stop)) {
                            self.ledger.let_go(halted.pid);
                        }
                        self.tracer().detach_halted(halted).map_err(|e| format!("detach: {e}"))?;
                    }
                    _ => {
                        halted.threads.iter().for_each(|stop| self.ledger.dropped_stop(stop));
                        drop(halted);
                    }
                }
                return Ok(());
            }
        };
        self.did(20 + whim as u32, || format!("{whim:?} {event:?}"));
        let pids: Vec<Pid> = match &event {
            Event::Forked(fork) => fork.parent_pid.into_iter().chain([fork.child_pid]).collect(),
            other => other.pid().into_iter().collect(),
        };
        match whim {
            User::Drop => {
                self.ledger.dropped(&event);
                drop(event);
            }
            User::Detach => {
                let kept = Kept::Event(event);
                for stop in kept.tokens() {
                    if self.is_live(stop) {
                        self.ledger.let_go(stop.pid());
                    }
                }
                let Kept::Event(event) = kept else { return Ok(()) };
                self.tracer().detach(event).map_err(|error| format!("detach: {error}"))?;
            }
            User::Kill => {
                for pid in pids {
                    self.tracer().kill(pid).map_err(|error| format!("kill: {error}"))?;
                }
                self.kept.push(Kept::Event(event));
            }
            User::Interrupt => {
                for pid in pids {
                    match self.tracer().interrupt(pid) {
                        Ok(()) | Err(Error::Gone) => {}
                        Err(error) => return Err(format!("interrupt: {error}")),
                    }
                }
                self.kept.push(Kept::Event(event));
            }
            User::Step => {
                self.tracer()
                    .resume(event, Resume::Step)
                    .map_err(|error| format!("step: {error}"))?;
            }
            User::Halt => {
                let mut stops: Vec<Stopped> = event.into_stops().collect();
                let Some(stop) = stops.pop() else { return Ok(()) };
                for other in stops {
                    self.kept.push(Kept::Event(other.into()));
                }
                match self.tracer().halt(stop) {
                    Ok(halted) => self.kept.push(Kept::Halted(halted)),
                    Err(Error::Gone) => {}
                    Err(error) => return Err(format!("halt: {error}")),
                }
            }
        }
        Ok(())
    }
}
