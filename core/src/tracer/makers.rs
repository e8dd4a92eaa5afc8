//! Who may have made a task that nobody has announced.
//!
//! Where a stop stops one thread, the news of a fork is the next thing that its maker does: it
//! neither sleeps nor does anything else before (`kernel_clone` in `kernel/fork.c`). So of the
//! living threads that may have made a task that has stopped already, those are out that have
//! stopped for something else since, that sleep, or that have run for long.

use std::time::{Duration, Instant};

use crate::backend::{Activity, StopScope, Thread};
use crate::error::unless_gone;
use crate::{Backend, Pid, Result};

use super::Tracer;
use super::table::{Process, Slot, State};

/// Of the CPU time that it takes a thread from making a task to the news of it, a multiple.
const RUN: Duration = Duration::from_millis(50);
/// The first look at the living is after this share of the patience for a half; from then on each
/// comes after twice the time.
const FIRST_LOOK: u32 = 100;

/// The living threads that may have made a task, and have yet to say so.
#[derive(Default)]
pub(super) struct Makers {
    /// With the CPU time that they had when they were first looked at. `None` before that.
    silent: Option<Vec<(Thread, Duration)>>,
    looks: u32,
}

impl Makers {
    pub(super) fn into_threads(self) -> Vec<Thread> {
        self.silent.unwrap_or_default().into_iter().map(|(thread, _)| thread).collect()
    }
}

impl<B: Backend> Tracer<B> {
    /// Whether the news of a parked stop may still come from a living thread.
    pub(super) fn is_awaited(&mut self, parked: usize, parent: Option<Pid>) -> Result<bool> {
        let Some(child) = self.parked.get_mut(parked) else { return Ok(false) };
        let (since, number) = (child.since, child.number);
        let mut makers = std::mem::take(&mut child.makers);
        let answer = self.narrow(&mut makers, parent, since, number);
        if let Some(child) = self.parked.get_mut(parked) {
            child.makers = makers;
        }
        answer
    }

    fn narrow(
        &mut self,
        makers: &mut Makers,
        parent: Option<Pid>,
        since: Instant,
        number: u64,
    ) -> Result<bool> {
        let living = match parent {
            Some(parent) => self.table.find_process(parent).is_some(),
            None => self.table.processes().any(|(_, p)| p.ended.is_none()),
        };
        if B::STOP_SCOPE == StopScope::Process || !(living || self.has_children(parent)) {
            return Ok(living);
        }
        let wait =
            (self.half_patience / FIRST_LOOK).saturating_mul(2_u32.saturating_pow(makers.looks));
        if since.elapsed() < wait {
            return Ok(makers.silent.as_ref().is_none_or(|silent| !silent.is_empty()));
        }
        makers.looks += 1;
        let known = match makers.silent.take() {
            Some(known) => known.into_iter().map(|(thread, cpu)| (thread, Some(cpu))).collect(),
            None => self.makers(parent).into_iter().map(|thread| (thread, None)).collect(),
        };
        self.look_at_makers(makers, known, number)?;
        Ok(makers.silent.as_ref().is_some_and(|silent| !silent.is_empty()))
    }

    /// Keeps those that may still say that they have made it.
    fn look_at_makers(
        &mut self,
        makers: &mut Makers,
        known: Vec<(Thread, Option<Duration>)>,
        number: u64,
    ) -> Result<()> {
        let silent = makers.silent.insert(Vec::new());
        for (thread, then) in known {
            let slot = self.table.find_thread_of(thread.pid, thread.tid);
            let runs = |slot: &Slot| {
                let stopped = slot.is_stopped() || slot.state == State::Listening;
                !stopped && slot.spoken <= number
            };
            if !slot.is_some_and(|slot| runs(self.table.slot(slot))) {
                continue;
            }
            if let Some(Activity::Busy { cpu }) = unless_gone(self.backend.activity(thread))? {
                let then = then.unwrap_or(cpu);
                if cpu.saturating_sub(then) < RUN {
                    silent.push((thread, then));
                }
            }
        }
        Ok(())
    }

    /// Whether a process that is traced, and may have made a sibling, has this parent, or one that
    /// cannot be named either.
    pub(super) fn has_children(&self, parent: Option<Pid>) -> bool {
        let child = |p: &Process| p.ended.is_none() && p.real_parent == parent;
        Self::MAKES_SIBLINGS && self.table.processes().any(|(_, p)| child(p))
    }

    /// The threads that may have made a child of this parent, and have yet to say so: of one that
    /// cannot be named, any.
    pub(super) fn makers(&self, parent: Option<Pid>) -> Vec<Thread> {
        let sibling = |p: &Process| Self::MAKES_SIBLINGS && p.real_parent == parent;
        let living = self.table.processes().map(|(_, p)| p).filter(|p| p.ended.is_none());
        let may = |p: &&Process| parent.is_none_or(|parent| p.pid == parent) || sibling(p);
        let makers = living.filter(may);
        let slots = makers.flat_map(|p| &p.threads).map(|&index| self.table.slot(index));
        let silent = |slot: &&Slot| !Self::MAKES_SIBLINGS || !slot.is_stopped();
        slots.filter(silent).map(|slot| slot.thread).collect()
    }

    /// Whether a process can make a sibling: only where a thread is a process of a kind.
    pub(super) const MAKES_SIBLINGS: bool = matches!(B::STOP_SCOPE, StopScope::Thread);

    /// Whether the child of a fork was shown before its maker told of it.
    pub(super) fn take_early(&mut self, child: Pid, index: u32) -> bool {
        let maker = self.table.slot(index).thread;
        // Where a process stops as a whole, not each thread of it is known.
        let same = |thread: &Thread| match B::STOP_SCOPE {
            StopScope::Thread => *thread == maker,
            StopScope::Process => thread.pid == maker.pid,
        };
        let early = |(pid, makers): &(Pid, Vec<Thread>)| *pid == child && makers.iter().any(same);
        let found = self.early.iter().position(early);
        if let Some(at) = found {
            self.early.remove(at);
        }
        self.speaks(index);
        found.is_some()
    }

    /// A thread has stopped. The news of a fork would have come before, so it has made none of
    /// those that are parked or were shown early.
    pub(super) fn speaks(&mut self, index: u32) {
        let parkings = self.parkings;
        let slot = self.table.slot_mut(index);
        slot.spoken = parkings;
        if self.early.is_empty() || B::STOP_SCOPE == StopScope::Process {
            return;
        }
        let thread = slot.thread;
        for (_, makers) in &mut self.early {
            makers.retain(|&maker| maker != thread);
        }
        self.early.retain(|(_, makers)| !makers.is_empty());
    }
}
