//! What is done about a fork: by its parent's half, its child's, or both.
//!
//! Which halves belong together is the [`ForkTracker`]'s business; here are the requests that it
//! needs, and the processes and events that come of it. Halves are paired by the id that the parent's
//! carries, never by the child's parent process, which may be another one (`CLONE_PARENT`), or dead.

use std::time::Instant;

use crate::backend::{NewTask, RawKind, RawReason, RawStop, Setup};
use crate::error::unless_gone;
use crate::event_queue::{ForkPair, Ready, Side};
use crate::forks::{Announced, Seen};
use crate::{Backend, EventFlags, FollowFork, ForkKind, Result, StopReason, Tid};

use super::process::Process;
use super::software::inherit::Heritage;
use super::thread::{Interrupt, State};
use super::{Engine, ProcessHandle};

/// What is shown of a fork that was announced.
pub(super) fn pair_of(fork: &Announced, parent: Side, child: Side) -> ForkPair {
    ForkPair {
        kind: fork.kind,
        parent_pid: Some(fork.parent.pid),
        parent_tid: Some(fork.parent.tid),
        child_pid: fork.child,
        parent,
        child,
    }
}

impl<B: Backend> Engine<B> {
    /// A thread has made a task.
    pub(super) fn forked(
        &mut self,
        index: u32,
        kind: ForkKind,
        task: Option<NewTask>,
    ) -> Result<()> {
        let thread = self.table.slot(index).thread;
        let Some(task) = self.made_task(index, task)? else {
            self.table.slot_mut(index).state = State::Running;
            return Ok(()); // killed: its child is shown without it
        };
        match task {
            NewTask::Thread(tid) => {
                if kind == ForkKind::Vfork {
                    self.vfork_begins(index, None);
                }
                self.announce_thread(self.table.slot(index).process, tid, Some(index))?;
                self.run_silently(index)
            }
            NewTask::Process { pid: child, sibling } => {
                if kind == ForkKind::Vfork {
                    self.vfork_begins(index, Some(child));
                }
                let anybodys = !Self::makers_report_next();
                let shown = self.forks.was_shown(child, thread, anybodys);
                if shown || self.table.find_process(child).is_some() {
                    return self.run_silently(index); // its child was shown without it
                }
                let parent = self.table.process_of(index);
                let real_parent = if sibling { parent.real_parent } else { Some(parent.pid) };
                let (setup, space) = (parent.setup, parent.space.clone());
                self.table.slot_mut(index).state = State::Forking;
                let said = self.forks.parent_said(Announced {
                    kind,
                    child,
                    first: B::first_thread(child),
                    parent: thread,
                    place: Some(self.table.place(index)),
                    real_parent,
                    setup,
                    space,
                    since: Instant::now(),
                });
                match said {
                    Some((fork, raw)) => self.pair(fork, raw),
                    None => Ok(()),
                }
            }
        }
    }

    /// The task that a thread has made, which the back end may have told already. `None` if it was
    /// killed.
    pub(super) fn made_task(
        &mut self,
        index: u32,
        told: Option<NewTask>,
    ) -> Result<Option<NewTask>> {
        if told.is_some() {
            return Ok(told);
        }
        let slot = self.table.slot(index);
        // What this thread was told to report, be it for its own sake.
        let setup = slot.applied.unwrap_or(self.table.process_of(index).setup);
        unless_gone(self.backend.get_mut().new_task(slot.thread, setup))
    }

    /// A task that is not in the table has stopped or ended.
    pub(super) fn child_seen(&mut self, raw: RawStop) -> Result<()> {
        if self.end_zombie_leader(raw) {
            return Ok(());
        }
        let pid = raw.pid.or(raw.tid.and_then(B::process_led_by));
        match (self.forks.child_seen(raw, pid), raw.kind, raw.tid) {
            (Seen::Pair(fork), ..) => self.pair(*fork, raw),
            (Seen::Detach(pid), RawKind::Stop(_), Some(tid)) => {
                self.detach_orphan_stop(pid, tid, raw.kind);
                Ok(())
            }
            (Seen::Detach(_) | Seen::Waits, ..) => Ok(()),
        }
    }

    /// A thread is known to exist, by the event of its maker.
    pub(super) fn announce_thread(
        &mut self,
        process: ProcessHandle,
        tid: Tid,
        maker: Option<u32>,
    ) -> Result<()> {
        if self.table.find_thread(tid).is_some() {
            return Ok(()); // found by an attach meanwhile
        }
        let seen = self.forks.take(None, Some(tid));
        if matches!(seen, Some(RawStop { kind: RawKind::Ended(_), .. })) {
            return Ok(()); // born and dead unseen
        }
        let index = self.table.add_thread(process, tid, State::Announced);
        // Linux copies the maker's options.
        let applied = maker.and_then(|maker| self.table.slot(maker).applied);
        let home = maker.and_then(|maker| self.table.slot(maker).home.clone());
        let slot = self.table.slot_mut(index);
        (slot.applied, slot.home) = (applied, home);
        self.begins_where(index, maker);
        match seen {
            Some(RawStop { kind: RawKind::Stop(reason), .. }) => self.stopped(index, reason),
            _ => Ok(()),
        }
    }

    /// Both halves are known: the child becomes a process of ours, and the event one event.
    pub(super) fn pair(&mut self, mut fork: Announced, child: RawStop) -> Result<()> {
        let parent = fork.place.filter(|&place| self.table.at(place).is_some());
        let setup = match parent {
            Some(place) => self.table.process_of(place.index).setup,
            None => fork.setup,
        };
        let applied = parent.and_then(|place| self.table.slot(place.index).applied);
        let process = self.add_process(Process::new(fork.child, fork.real_parent, setup));
        self.inherit_hardware(process, Some(fork.parent.pid), fork.kind);
        let side = self.first_stop(process, child, applied.filter(|_| B::INHERITS_SETUP));
        let (kind, from) = (fork.kind, fork.parent.pid);
        let heritage = match (fork.space.take(), parent) {
            (Some(space), Some(maker)) => {
                let maker = self.table.slot(maker.index).thread;
                Some(Heritage::Announced { kind, from, space, maker })
            }
            (None, Some(_)) => None,
            (space, None) => {
                let makers = space.into_iter().map(|space| (from, space)).collect();
                Some(Heritage::Unannounced { makers, lent_to: None })
            }
        };
        if let Some(heritage) = heritage {
            self.inherit(process, &side, heritage);
        }
        self.show_fork(
            pair_of(&fork, parent.map_or(Side::Gone, Side::Stopped), side),
            setup.flags,
        )?;
        if let RawKind::Ended(status) = child.kind {
            self.end_process(process, status);
        }
        Ok(())
    }

    /// Takes in the first thing that was heard of a new process's first thread.
    pub(super) fn first_stop(
        &mut self,
        process: ProcessHandle,
        raw: RawStop,
        applied: Option<Setup>,
    ) -> Side {
        match (raw.kind, raw.tid) {
            (RawKind::Stop(reason), Some(tid)) => {
                let home = self.home_under(self.table.process(process).real_parent);
                let index = self.table.add_thread(process, tid, State::Announced);
                let slot = self.table.slot_mut(index);
                (slot.applied, slot.home) = (applied, home);
                slot.state = State::Queued(StopReason::Started);
                // A signal that came before the first stop is shown behind it.
                slot.next = (reason != RawReason::Paused).then_some(reason);
                Side::Stopped(self.table.place(index))
            }
            (RawKind::Ended(_), _) | (RawKind::Stop(_), None) => Side::Gone,
        }
    }

    /// Queues a fork, follows the sides that are to be followed, and runs both on if nobody wants
    /// to hear of it.
    pub(super) fn show_fork(&mut self, mut pair: ForkPair, flags: EventFlags) -> Result<()> {
        let flag = match pair.kind {
            ForkKind::Vfork => EventFlags::VFORK,
            ForkKind::Fork | ForkKind::Clone => EventFlags::FORK,
        };
        if let Side::Stopped(place) = pair.parent {
            let slot = self.table.slot_mut(place.index);
            slot.state = State::Queued(StopReason::Forked);
            slot.made = Some((pair.kind, pair.child_pid));
        }
        // Of a process that is on its way to being detached the child is detached as well, untold.
        let leaves = match pair.parent {
            Side::Stopped(place) => self.table.process_of(place.index).is_leaving(),
            _ => true,
        };
        let unseen = pair.parent_pid.is_some_and(|pid| self.is_unseen(pid));
        let unfollowed = match self.settings.follow {
            _ if unseen => Some(&mut pair.child),
            FollowFork::Parent => Some(&mut pair.child),
            FollowFork::Child if !leaves => Some(&mut pair.parent),
            FollowFork::Child | FollowFork::Both => None,
        };
        let mut detach_here = None;
        if let Some(side) = unfollowed {
            if let Side::Stopped(place) = side {
                self.table.slot_mut(place.index).state = State::Resting;
                detach_here = Some(place.index);
                *side = Side::Detached;
            }
        }
        // First, for it may be killed while it is detached, and that is told later.
        if flags.contains(flag) {
            if let Side::Stopped(place) = pair.parent {
                self.table.slot_mut(place.index).interrupt = Interrupt::None;
            }
            self.ready.push(Ready::Fork(pair));
        } else {
            for side in [pair.child, pair.parent] {
                if let Side::Stopped(place) = side {
                    self.run_unseen(place.index)?;
                }
            }
        }
        if let Some(index) = detach_here {
            self.detach_silently(index, None);
        }
        Ok(())
    }

    /// Runs a thread whose queued stop is not shown.
    fn run_unseen(&mut self, index: u32) -> Result<()> {
        self.table.slot_mut(index).state = State::Running;
        match self.table.slot_mut(index).next.take() {
            Some(next) => self.stopped(index, next),
            None => self.run_silently(index),
        }
    }

    /// Notes a process that is traced.
    pub(super) fn add_process(&mut self, process: Process) -> ProcessHandle {
        self.forks.is_traced(process.pid);
        self.table.add_process(process)
    }
}
