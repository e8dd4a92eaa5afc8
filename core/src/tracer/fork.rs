//! Pairing the two halves of a fork.
//!
//! A kernel reports a fork twice: at the parent, with the child's id, and at the child, which
//! stops before its first instruction. Either can come first, and either can be killed before it
//! is reported. They are paired by the id that the parent's event carries, never by the child's
//! parent process, which may be another one (`CLONE_PARENT`), or already dead.

use std::time::Instant;

use crate::backend::{NewTask, RawKind, RawReason, RawStop, Setup, Thread};
use crate::error::unless_gone;
use crate::stopped::Place;
use crate::{Backend, Error, EventFlags, ForkKind, Pid, Result, StopReason, Tid};

use super::software::image::Shared;
use super::software::inherit::Heritage;
use super::table::{Interrupt, Process, State};
use super::{FollowFork, ForkPair, Ready, Side, Tracer};

/// A fork that the parent reported, and the child has not.
pub(super) struct Awaited {
    kind: ForkKind,
    pub(super) child: Pid,
    pub(super) parent_pid: Pid,
    parent_tid: Tid,
    /// The parent's stop, as long as it lives.
    parent: Option<Place>,
    real_parent: Option<Pid>,
    setup: Setup,
    /// The parent's breakpoints in memory.
    pub(super) image: Option<Shared>,
    since: Instant,
}

impl<B: Backend> Tracer<B> {
    /// A thread has made a task.
    pub(super) fn forked(
        &mut self,
        index: u32,
        kind: ForkKind,
        task: Option<NewTask>,
    ) -> Result<()> {
        let thread = self.table.slot(index).thread;
        let setup = self.table.slot(index).applied;
        let setup = setup.unwrap_or(self.table.process_of(index).setup);
        let task = match task {
            Some(task) => task,
            None => match self.backend.new_task(thread, setup) {
                Ok(task) => task,
                Err(Error::Gone) => {
                    self.lose(index, Some(kind));
                    self.table.slot_mut(index).state = State::Running;
                    return Ok(());
                }
                Err(error) => return Err(error),
            },
        };
        match task {
            NewTask::Thread(tid) => {
                if kind == ForkKind::Vfork {
                    self.vfork_begins(index, None);
                }
                self.announce_thread(self.table.slot(index).process, tid, Some(index))?;
                self.run_silently(index)
            }
            NewTask::Process { pid: child, .. } if self.take_early(child, index) => {
                if kind == ForkKind::Vfork {
                    self.vfork_begins(index, Some(child));
                }
                self.run_silently(index)
            }
            NewTask::Process { pid: child, sibling } => {
                let parent = self.table.process_of(index);
                let real_parent = if sibling { parent.real_parent } else { Some(parent.pid) };
                let parent_setup = parent.setup;
                let image = parent.image.clone();
                if kind == ForkKind::Vfork {
                    self.vfork_begins(index, Some(child));
                }
                self.table.slot_mut(index).state = State::Forking;
                let awaited = Awaited {
                    kind,
                    child,
                    parent_pid: thread.pid,
                    parent_tid: thread.tid,
                    parent: Some(self.table.place(index)),
                    real_parent,
                    setup: parent_setup,
                    image,
                    since: Instant::now(),
                };
                match self.unpark(Some(child), B::first_thread(child)) {
                    Some(raw) => self.pair(awaited, raw),
                    None => {
                        self.awaited.push(awaited);
                        Ok(())
                    }
                }
            }
        }
    }

    /// A thread is known to exist, by the event of its maker.
    pub(super) fn announce_thread(
        &mut self,
        process: u32,
        tid: Tid,
        maker: Option<u32>,
    ) -> Result<()> {
        if self.table.find_thread(tid).is_some() {
            return Ok(()); // found by an attach meanwhile
        }
        let parked = self.unpark(None, Some(tid));
        if matches!(parked, Some(RawStop { kind: RawKind::Ended(_), .. })) {
            return Ok(()); // born and dead unseen
        }
        let index = self.table.add_thread(process, tid, State::Announced);
        // Linux copies the maker's options.
        let applied = maker.and_then(|maker| self.table.slot(maker).applied);
        let home = maker.and_then(|maker| self.table.slot(maker).home.clone());
        let slot = self.table.slot_mut(index);
        (slot.applied, slot.home) = (applied, home);
        match parked {
            Some(RawStop { kind: RawKind::Stop(reason), .. }) => self.stopped(index, reason),
            _ => Ok(()),
        }
    }

    /// Both halves are known: the child becomes a process of ours, and the event one event.
    pub(super) fn pair(&mut self, fork: Awaited, child: RawStop) -> Result<()> {
        let parent = fork.parent.filter(|&place| self.table.at(place).is_some());
        let setup = match parent {
            Some(place) => self.table.process_of(place.index).setup,
            None => fork.setup,
        };
        let applied = parent.and_then(|place| self.table.slot(place.index).applied);
        let maker = parent;
        let parent = match parent {
            Some(place) => Side::Stopped(place),
            None => Side::Gone,
        };
        let process = self.table.add_process(Process::new(fork.child, fork.real_parent, setup));
        self.inherit_hardware(process, Some(fork.parent_pid), fork.kind);
        let side = self.first_stop(process, child, applied.filter(|_| B::INHERITS_SETUP));
        let (kind, from) = (fork.kind, fork.parent_pid);
        let heritage = match (fork.image, maker) {
            (Some(image), Some(maker)) => {
                let maker = self.table.slot(maker.index).thread;
                Some(Heritage::Announced { kind, from, image, maker })
            }
            (None, Some(_)) => None,
            (image, None) => {
                let makers = image.into_iter().map(|image| (from, image)).collect();
                Some(Heritage::Unannounced { makers, lent_to: None })
            }
        };
        if let Some(heritage) = heritage {
            self.inherit(process, &side, heritage);
        }
        let pair = ForkPair {
            kind: fork.kind,
            parent_pid: Some(fork.parent_pid),
            parent_tid: Some(fork.parent_tid),
            child_pid: fork.child,
            parent,
            child: side,
        };
        self.show_fork(pair, setup.flags)?;
        if let RawKind::Ended(status) = child.kind {
            self.end_process(process, status);
        }
        Ok(())
    }

    /// Takes in the first thing that was heard of a new process's first thread.
    pub(super) fn first_stop(
        &mut self,
        process: u32,
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
            let reason = StopReason::Forked { kind: pair.kind, child: pair.child_pid };
            self.table.slot_mut(place.index).state = State::Queued(reason);
        }
        // Of a process that is on its way to being let go the child is let go as well, untold.
        let leaves = match pair.parent {
            Side::Stopped(place) => self.table.process_of(place.index).is_leaving(),
            _ => true,
        };
        let unfollowed = match self.follow {
            FollowFork::Parent => Some(&mut pair.child),
            FollowFork::Child if !leaves => Some(&mut pair.parent),
            FollowFork::Child | FollowFork::Both => None,
        };
        let mut let_go = None;
        if let Some(side) = unfollowed {
            if let Side::Stopped(place) = side {
                self.table.slot_mut(place.index).state = State::Resting;
                let_go = Some(place.index);
                *side = Side::LetGo;
            }
        }
        // First, for it may be killed while it is let go, and that is told later.
        if flags.contains(flag) {
            if let Side::Stopped(place) = pair.parent {
                self.table.slot_mut(place.index).interrupt = Interrupt::None;
            }
            self.ready.push_back(Ready::Fork(pair));
        } else {
            for side in [pair.child, pair.parent] {
                if let Side::Stopped(place) = side {
                    self.run_unseen(place.index)?;
                }
            }
        }
        if let Some(index) = let_go {
            self.let_go_silently(index, None);
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

    /// The fork of a child that has stopped, if it is a vfork whose parent was killed and waits all
    /// the same: no half of that one comes, nor its end before the child has exec'ed or ended.
    pub(super) fn mute_fork(
        &mut self,
        parent: u32,
        child: Thread,
        late: bool,
    ) -> Result<Option<Awaited>> {
        let Process { pid, killed, .. } = *self.table.process(parent);
        // Who was killed by others is asked about only in the end.
        if !(killed || late) || unless_gone(self.backend.is_mute(pid))? != Some(true) {
            return Ok(None);
        }
        let vforked = unless_gone(self.backend.was_vforked(child))?.flatten();
        let threads = unless_gone(self.backend.threads(pid))?.unwrap_or_default();
        let (Some(true), [waiter]) = (vforked, &threads[..]) else { return Ok(None) };
        let Process { setup, ref image, .. } = *self.table.process(parent);
        Ok(Some(Awaited {
            kind: ForkKind::Vfork,
            child: child.pid,
            parent_pid: pid,
            parent_tid: *waiter,
            parent: None,
            real_parent: Some(pid),
            setup,
            image: image.clone(),
            since: Instant::now(),
        }))
    }

    /// The queue has run dry: a child that was announced, that has not been heard of, and that is
    /// no tracee is one that the host has waited for. Its fork is told, and that it was taken.
    pub(super) fn settle_taken(&mut self) -> Result<bool> {
        for at in 0..self.awaited.len() {
            let Some(fork) = self.awaited.get(at) else { break };
            let child = fork.child;
            if fork.since.elapsed() < self.half_patience
                || unless_gone(self.backend.is_traced(child))? == Some(true)
            {
                continue;
            }
            let Awaited { kind, parent_pid, parent_tid, parent, setup, .. } =
                self.awaited.swap_remove(at);
            let parent = parent.filter(|&place| self.table.at(place).is_some());
            let pair = ForkPair {
                kind,
                parent_pid: Some(parent_pid),
                parent_tid: Some(parent_tid),
                child_pid: child,
                parent: parent.map_or(Side::Gone, Side::Stopped),
                child: Side::Gone,
            };
            self.show_fork(pair, setup.flags)?;
            self.failures.note(child, Error::Taken { pid: child.as_raw() });
            return Ok(true);
        }
        Ok(false)
    }

    /// Takes back the announcements of the children that a process has made, and that have not
    /// stopped yet.
    pub(super) fn take_awaited(&mut self, parent: Pid) -> Vec<Pid> {
        let children = self.awaited.iter().filter(|fork| fork.parent_pid == parent);
        let children = children.map(|fork| fork.child).collect();
        self.awaited.retain(|fork| fork.parent_pid != parent);
        children
    }
}
