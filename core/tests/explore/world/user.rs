//! What the user does: waits, resumes, and follows whims.

use std::task::Poll;

use trapline_core::{
    BreakpointId, Error, Event, Halted, Next, Pid, Resume, SoftwareBreakpoint, StopReason, Stopped,
};
use trapline_fake::Rules;

use super::World;
use super::failures::{is_failure, token};
use crate::breaks::{CODE, list};
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
        let event = match self.tracer().try_wait() {
            Ok(Poll::Ready(event)) => event,
            Ok(Poll::Pending) => None,
            Err(error) => {
                self.told(true, &error)?;
                return self.check();
            }
        };
        self.check()?;
        self.take(event)
    }

    fn take(&mut self, event: Option<Event>) -> Result<(), String> {
        self.did(0, || format!("wait: {event:?}"));
        self.news = event.is_some();
        let Some(event) = event else { return Ok(()) };
        if let Event::Stopped(stop) = &event {
            let hit =
                matches!(stop.reason(), StopReason::Trap(causes) if causes.software.is_some());
            let pc = match hit.then(|| self.tracer().registers(stop)) {
                Some(Err(error)) if is_failure(&error) => {
                    self.told(false, &error)?;
                    None
                }
                Some(Ok(registers)) => Some(registers.pc),
                Some(Err(_)) | None => None,
            };
            self.breaks.borrow_mut().given(stop, pc, &self.kernel)?;
        }
        self.ledger.hides_parents = self.failures.borrow().hide_parents();
        self.ledger.given(&event, &self.kernel)?;
        let kept = Kept::Event(event);
        if !kept.tokens().is_empty() {
            self.kept.push(kept);
        }
        Ok(())
    }

    pub(super) fn resume(&mut self, kept: Kept) -> Result<(), String> {
        self.news = true;
        let tokens: Vec<_> = kept.tokens().into_iter().map(token).collect();
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
        match result {
            Ok(()) => Ok(()),
            Err(error) => self.refused(&tokens, &error),
        }
    }

    /// Removes a breakpoint, once.
    pub(super) fn remove(&mut self, pid: Pid, addr: u64, id: BreakpointId) -> Result<(), String> {
        self.did(30, || format!("remove {id} at {addr:#x} from {pid}"));
        self.breaks.borrow_mut().removed(pid, addr);
        let removed = match self.tracer().remove_breakpoint(pid, id) {
            // Whoever runs into it does not stop; it is taken out with the next change.
            Err(error) if is_failure(&error) => {
                self.told(false, &error)?;
                Ok(true)
            }
            removed => removed,
        };
        match removed {
            Ok(_) | Err(Error::Gone { .. }) if !self.is_there(pid) => Ok(()),
            Ok(true) => match list(self.tracer(), pid) {
                Ok(left) if left.contains(&(addr, id)) => {
                    self.breaks.borrow_mut().is_still(pid, addr, id)
                }
                _ => Ok(()),
            },
            other => Err(format!("M1: remove {id} of {pid}: {other:?}")),
        }
    }

    /// Inserts a breakpoint into a process that has stopped, or removes one.
    fn change(&mut self, whim: User, kept: &Kept) -> Result<(), String> {
        let mut pids: Vec<Pid> = kept.tokens().into_iter().map(Stopped::pid).collect();
        pids.dedup();
        let Some(&pid) = pids.get(self.path.choose(pids.len())) else { return Ok(()) };
        if whim == User::Unbreak {
            let own = self.breaks.borrow().of(pid);
            let Some(&(addr, id)) = own.get(self.path.choose(own.len())) else { return Ok(()) };
            return self.remove(pid, addr, id);
        }
        let addr = CODE + self.scenario.spots[self.path.choose(self.scenario.spots.len())];
        self.did(31 + addr as u32, || format!("insert at {addr:#x} into {pid}"));
        let result = self.tracer().insert_breakpoint(pid, SoftwareBreakpoint { addr });
        let mut breaks = self.breaks.borrow_mut();
        breaks.look(&self.kernel)?;
        breaks.told(&self.kernel);
        match result {
            Ok(id) if !self.is_there(pid) => {
                breaks.inserted_into_dead(pid, addr, id);
                Ok(())
            }
            Ok(id) => breaks.inserted(pid, addr, id),
            Err(_) if !self.is_there(pid) => Ok(()),
            // An exec has killed the thread that was stopped, and holds the others.
            Err(Error::NotStopped { .. }) if self.any_doomed(pid) => Ok(()),
            Err(error) if is_failure(&error) => {
                drop(breaks);
                self.told(false, &error)
            }
            Err(Error::Unsupported { .. }) if breaks.is_lent_for_good(pid) => Ok(()),
            Err(error) => Err(format!("M1: insert into {pid}: {error}")),
        }
    }

    fn any_doomed(&self, pid: Pid) -> bool {
        self.kernel.threads(pid).into_iter().any(|tid| self.kernel.is_doomed(tid))
    }

    /// Whether a process is there as the user knows it.
    fn is_there(&self, pid: Pid) -> bool {
        self.kernel.fate(pid).is_none() && self.kernel.is_traced(pid)
    }

    pub(super) fn whim(&mut self, whim: User, kept: Kept) -> Result<(), String> {
        self.news = true;
        if matches!(whim, User::Break | User::Unbreak) {
            self.change(whim, &kept)?;
            self.kept.push(kept);
            return Ok(());
        }
        let tokens: Vec<_> = kept.tokens().into_iter().map(token).collect();
        let event = match kept {
            Kept::Event(event) => event,
            Kept::Halted(halted) => {
                self.did(10 + whim as u32, || format!("{whim:?} {halted:?}"));
                match whim {
                    User::Detach => {
                        if halted.threads.iter().any(|stop| self.is_live(stop)) {
                            self.ledger.let_go(halted.pid);
                            self.breaks.borrow_mut().leaves(halted.pid);
                        }
                        if let Err(error) = self.tracer().detach_halted(halted) {
                            self.not_detached(&tokens, &error)?;
                        }
                    }
                    _ => {
                        for stop in &halted.threads {
                            self.ledger.dropped_stop(stop);
                            self.breaks.borrow_mut().dropped(stop);
                        }
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
                let kept = Kept::Event(event);
                kept.tokens().into_iter().for_each(|s| self.breaks.borrow_mut().dropped(s));
            }
            User::Detach => {
                let kept = Kept::Event(event);
                for stop in kept.tokens() {
                    if self.is_live(stop) {
                        self.ledger.let_go(stop.pid());
                        self.breaks.borrow_mut().leaves(stop.pid());
                    }
                }
                let Kept::Event(event) = kept else { return Ok(()) };
                if let Err(error) = self.tracer().detach(event) {
                    self.not_detached(&tokens, &error)?;
                }
            }
            User::Kill => {
                for pid in pids {
                    if let Err(error) = self.tracer().kill(pid) {
                        self.told(false, &error)?;
                    }
                }
                self.kept.push(Kept::Event(event));
            }
            User::Interrupt => {
                for pid in pids {
                    match self.tracer().interrupt(pid) {
                        Ok(()) | Err(Error::Gone { .. }) => {}
                        Err(error) => self.told(false, &error)?,
                    }
                }
                self.kept.push(Kept::Event(event));
            }
            User::Break | User::Unbreak => {}
            User::Step => {
                if let Err(error) = self.tracer().resume(event, Resume::Step) {
                    self.refused(&tokens, &error)?;
                }
            }
            User::Halt => {
                let mut stops: Vec<Stopped> = event.into_stops().collect();
                let Some(stop) = stops.pop() else { return Ok(()) };
                for other in stops {
                    self.kept.push(Kept::Event(other.into()));
                }
                match self.tracer().halt(stop) {
                    Ok(halted) => self.kept.push(Kept::Halted(halted)),
                    Err(Error::Gone { .. }) => {}
                    Err(error) => self.refused(&tokens, &error)?,
                }
            }
        }
        Ok(())
    }
}
