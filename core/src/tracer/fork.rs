//! What is done about a fork: by its parent's half, its child's, or both.
//!
//! Which halves belong together is the [`ForkTracker`]'s business; here are the requests that it
//! needs, and the processes and events that come of it. Halves are paired by the id that the parent's
//! carries, never by the child's parent process, which may be another one (`CLONE_PARENT`), or dead.

use std::rc::Rc;
use std::time::Instant;

use crate::backend::{Activity, NewTask, RawKind, RawReason, RawStop, Setup, Thread};
use crate::error::unless_gone;
use crate::{Backend, Ending, Error, EventFlags, ForkKind, Pid, Result, StopReason, Tid};

use super::forks::{Announced, Seen};
use super::limits::PATIENCE;
use super::process::{End, Process};
use super::software::image::Shared;
use super::software::inherit::Heritage;
use super::thread::{Interrupt, State};
use super::{FollowFork, ForkPair, Ready, Side, Tracer};

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
            None => match self.backend.get_mut().new_task(thread, setup) {
                Ok(task) => task,
                Err(Error::Gone) => {
                    self.table.slot_mut(index).state = State::Running;
                    return Ok(()); // killed: its child is shown without it
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
                let (setup, image) = (parent.setup, parent.image.clone());
                self.table.slot_mut(index).state = State::Forking;
                let said = self.forks.parent_said(Announced {
                    kind,
                    child,
                    first: B::first_thread(child),
                    parent: thread,
                    place: Some(self.table.place(index)),
                    real_parent,
                    setup,
                    image,
                    since: Instant::now(),
                });
                match said {
                    Some((fork, raw)) => self.pair(fork, raw),
                    None => Ok(()),
                }
            }
        }
    }

    /// A task that is not in the table has stopped or ended.
    pub(super) fn child_seen(&mut self, raw: RawStop) -> Result<()> {
        if self.end_shell(raw) {
            return Ok(());
        }
        let pid = raw.pid.or(raw.tid.and_then(B::process_led_by));
        match (self.forks.child_seen(raw, pid), raw.kind, raw.tid) {
            (Seen::Pair(fork), ..) => self.pair(*fork, raw),
            (Seen::Detach(pid), RawKind::Stop(_), Some(tid)) => {
                self.let_go_stray(pid, tid, raw.kind);
                Ok(())
            }
            (Seen::Detach(_) | Seen::Waits, ..) => Ok(()),
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
        match seen {
            Some(RawStop { kind: RawKind::Stop(reason), .. }) => self.stopped(index, reason),
            _ => Ok(()),
        }
    }

    /// Both halves are known: the child becomes a process of ours, and the event one event.
    pub(super) fn pair(&mut self, fork: Announced, child: RawStop) -> Result<()> {
        let parent = fork.place.filter(|&place| self.table.at(place).is_some());
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
        let process = self.add_process(Process::new(fork.child, fork.real_parent, setup));
        self.inherit_hardware(process, Some(fork.parent.pid), fork.kind);
        let side = self.first_stop(process, child, applied.filter(|_| B::INHERITS_SETUP));
        let (kind, from) = (fork.kind, fork.parent.pid);
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
            parent_pid: Some(fork.parent.pid),
            parent_tid: Some(fork.parent.tid),
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
    ) -> Result<Option<Announced>> {
        let Process { pid, end, .. } = *self.table.process(parent);
        // Who was killed by others is asked about only in the end.
        if !(end == End::Killed || late)
            || unless_gone(self.backend.get_mut().is_unkillable(pid))? != Some(true)
        {
            return Ok(None);
        }
        let vforked = unless_gone(self.backend.get_mut().was_vforked(child))?.flatten();
        let threads = unless_gone(self.backend.get_mut().threads(pid))?.unwrap_or_default();
        let (Some(true), [waiter]) = (vforked, &threads[..]) else { return Ok(None) };
        let Process { setup, ref image, .. } = *self.table.process(parent);
        Ok(Some(Announced {
            kind: ForkKind::Vfork,
            child: child.pid,
            first: Some(child.tid),
            parent: Thread { pid, tid: *waiter },
            place: None,
            real_parent: Some(pid),
            setup,
            image: image.clone(),
            since: Instant::now(),
        }))
    }

    /// The queue has run dry: a child that was announced, that has not been heard of, and that is
    /// no tracee is one that the host has waited for. Its fork is told, and that it was taken.
    pub(super) fn settle_taken(&mut self) -> Result<bool> {
        let missing: Vec<(Pid, Instant)> = self.forks.missing().collect();
        for (child, since) in missing {
            if since.elapsed() < self.half_patience
                || unless_gone(self.backend.get_mut().is_traced(child))? == Some(true)
            {
                continue;
            }
            let Some(fork) = self.forks.take_announced(|fork| fork.child == child) else {
                continue;
            };
            let parent = fork.place.filter(|&place| self.table.at(place).is_some());
            let pair = ForkPair {
                kind: fork.kind,
                parent_pid: Some(fork.parent.pid),
                parent_tid: Some(fork.parent.tid),
                child_pid: child,
                parent: parent.map_or(Side::Gone, Side::Stopped),
                child: Side::Gone,
            };
            self.show_fork(pair, fork.setup.flags)?;
            self.failures.note(child, Error::Taken { pid: child.as_raw() });
            return Ok(true);
        }
        Ok(false)
    }

    /// The queue has run dry: whoever waits for a parent's half that cannot come any more is shown
    /// without. Says whether anything came of it.
    pub(super) fn settle_unannounced(&mut self) -> Result<bool> {
        self.settle_each_unannounced(false)
    }

    /// The same as a process ends, which decides it for its own children: they are shown before
    /// its end.
    pub(super) fn settle_at_end(&mut self) -> Result<bool> {
        self.settle_each_unannounced(true)
    }

    fn settle_each_unannounced(&mut self, at_end: bool) -> Result<bool> {
        let mut settled = false;
        for raw in self.forks.waiting() {
            match self.settle_one_unannounced(raw, at_end) {
                Ok(done) => settled |= done,
                Err(error) => {
                    let led_by = raw.tid.and_then(B::process_led_by);
                    let Some(pid) = raw.pid.or(led_by) else { continue };
                    match self.forks.failed(&raw) {
                        true => self.failures.note_again(pid, error),
                        false => self.failures.note(pid, error),
                    }
                }
            }
        }
        Ok(settled)
    }

    fn settle_one_unannounced(&mut self, raw: RawStop, at_end: bool) -> Result<bool> {
        let (Some(tid), Some(known)) = (raw.tid, self.forks.get_mut(&raw)) else {
            return Ok(false);
        };
        let (since, looked) = (known.since, known.candidates.is_some());
        let Some((pid, real_parent)) = unless_gone(self.who_is(tid))? else {
            self.forks.take(None, Some(tid)); // killed: its end comes, or was taken in
            return Ok(false);
        };
        let late = since.elapsed() >= self.half_patience;
        if let Some(process) = self.table.find_process(pid) {
            // A thread, whose maker was killed alone, as an exec does.
            if !late {
                return Ok(false);
            }
            let maker = self.table.process(process).threads.first().copied();
            self.announce_thread(process, tid, maker)?;
            return Ok(true);
        }
        if B::first_thread(pid).is_some_and(|first| first != tid)
            || self.is_left_by_detached(pid, real_parent)
        {
            self.forks.take(None, Some(tid));
            self.let_go_stray(pid, tid, raw.kind);
            return Ok(false);
        }
        let child = Thread { pid, tid };
        let living = real_parent.and_then(|parent| self.table.find_process(parent));
        let mute = living.map(|parent| self.mute_fork(parent, child, late)).transpose()?;
        if let Some(fork) = mute.flatten() {
            self.forks.take(None, Some(tid));
            self.pair(fork, raw)?;
            return Ok(true);
        }
        if !looked && !at_end && since.elapsed() < self.half_patience / PATIENCE {
            return Ok(false);
        }
        let silent = self.look_at_candidates(&raw, real_parent)?;
        let overdue = since.elapsed() >= self.half_patience.saturating_mul(PATIENCE);
        if silent && (!overdue || at_end) {
            return Ok(false);
        }
        if living.is_some_and(|parent| self.is_stopped_whole(parent)) {
            // It tells when it is run, however long its user looks at it.
            if let Some(child) = self.forks.get_mut(&raw) {
                child.waits = true;
            }
            return Ok(false);
        }
        self.show_alone(raw, child, real_parent)?;
        Ok(true)
    }

    /// Whether the half of a child's parent may still come from a living thread.
    fn look_at_candidates(&mut self, raw: &RawStop, real_parent: Option<Pid>) -> Result<bool> {
        let known = self.forks.get_mut(raw).and_then(|child| child.candidates.clone());
        let mut candidates = known.unwrap_or_else(|| self.may_have_made(real_parent));
        if Self::makers_report_next() {
            let mut silent = Vec::new();
            for thread in candidates {
                let slot = self.table.find_thread_of(thread.pid, thread.tid);
                let slot = slot.map(|index| self.table.slot(index));
                let runs = slot.is_some_and(|s| !s.is_stopped() && s.state != State::Listening);
                // The news of a fork is the next thing that a maker does, and it does not sleep
                // before that (`kernel_clone` in Linux's `kernel/fork.c`).
                if runs
                    && !matches!(
                        unless_gone(self.backend.get_mut().activity(thread))?,
                        None | Some(Activity::Asleep)
                    )
                {
                    silent.push(thread);
                }
            }
            candidates = silent;
        }
        let any = !candidates.is_empty();
        if let Some(child) = self.forks.get_mut(raw) {
            child.candidates = Some(candidates);
        }
        Ok(any)
    }

    /// The living threads that may have made a child of this parent: those of the parent, and, where
    /// a thread can make a sibling of its process, those of its other children. Of a parent that
    /// cannot be named, any.
    fn may_have_made(&self, parent: Option<Pid>) -> Vec<Thread> {
        let siblings = Self::threads_make_siblings();
        let may = |p: &Process| {
            parent.is_none_or(|parent| p.pid == parent) || siblings && p.real_parent == parent
        };
        let living = self.table.processes().filter(|(_, p)| !p.has_ended() && may(p));
        let slots = living.flat_map(|(_, p)| &p.threads).map(|&index| self.table.slot(index));
        slots
            .filter(|slot| !Self::makers_report_next() || !slot.is_stopped())
            .map(|slot| slot.thread)
            .collect()
    }

    /// Shows a child without its parent's half. Who the parent was is said if only one can be it.
    fn show_alone(&mut self, raw: RawStop, child: Thread, real_parent: Option<Pid>) -> Result<()> {
        let vforked = unless_gone(self.backend.get_mut().was_vforked(child))?.flatten();
        let kind = if vforked == Some(true) { ForkKind::Vfork } else { ForkKind::Fork };
        let parent = real_parent.and_then(|parent| self.table.find_process(parent));
        let sole = parent.is_some_and(|parent| self.table.process(parent).is_sole_maker());
        let parent = parent.filter(|_| sole || !Self::threads_make_siblings());
        let setup = match parent {
            Some(parent) => self.table.process(parent).setup,
            // Most likely that of the process which has ended last.
            None => self.left_setup.unwrap_or(Setup { flags: self.flags, ending: Ending::Detach }),
        };
        let mut images = self.former_images();
        match parent.map(|parent| self.table.process(parent)) {
            Some(parent) => {
                images = parent.image.iter().map(|i| (parent.pid, Rc::clone(i))).collect();
            }
            None => images.extend(self.candidates_images(&raw)),
        }
        let lent_to = self.lent_by_detached(child, kind);
        let parent_pid = parent.map(|parent| self.table.process(parent).pid);
        self.forks.show(&raw, child.pid);
        let process = self.add_process(Process::new(child.pid, real_parent, setup));
        self.inherit_hardware(process, parent_pid, kind);
        let side = self.first_stop(process, raw, None);
        self.inherit(process, &side, Heritage::Unannounced { makers: images, lent_to });
        let pair = ForkPair {
            kind,
            parent_pid,
            parent_tid: None,
            child_pid: child.pid,
            // A living parent has not stopped for it, or not yet.
            parent: if sole { Side::LetGo } else { Side::Gone },
            child: side,
        };
        self.show_fork(pair, setup.flags)
    }

    /// The breakpoints of living processes that may have made a child.
    fn candidates_images(&mut self, raw: &RawStop) -> Vec<(Pid, Shared)> {
        let known = self.forks.get_mut(raw).and_then(|child| child.candidates.clone());
        let mut pids: Vec<Pid> = known.unwrap_or_default().iter().map(|t| t.pid).collect();
        pids.sort();
        pids.dedup();
        let process = |pid| self.table.find_process(pid).map(|index| self.table.process(index));
        let images = pids.into_iter().filter_map(process);
        images.filter_map(|p| Some((p.pid, p.image.clone()?))).collect()
    }

    /// The process of a thread that nobody has announced, and its real parent if that can be named.
    fn who_is(&mut self, tid: Tid) -> Result<(Pid, Option<Pid>)> {
        let silent = match self.backend.get_mut().process_of(tid) {
            Err(silent @ Error::Unsupported { .. }) => silent,
            answer => return answer,
        };
        // Nobody tells; but it may be one of those that are known.
        let living = self.table.processes().filter(|(_, p)| !p.has_ended());
        let living: Vec<(Pid, Option<Pid>)> = living.map(|(_, p)| (p.pid, p.real_parent)).collect();
        for (pid, real_parent) in living {
            let threads = unless_gone(self.backend.get_mut().threads(pid))?.unwrap_or_default();
            if threads.contains(&tid) {
                return Ok((pid, real_parent));
            }
        }
        Err(silent)
    }

    /// Whether what has stopped was made in the last moment by a process that was detached, or is left
    /// over from it. Where a stop stops one thread it has told of all its children before.
    fn is_left_by_detached(&self, pid: Pid, real_parent: Option<Pid>) -> bool {
        let child = real_parent.is_some_and(|parent| self.forks.is_detached(parent));
        self.forks.is_detached(pid) || child && !Self::makers_report_next()
    }

    /// Detaches children that have stopped, and whose parent was detached before its half came.
    pub(super) fn detach_unannounced(&mut self) -> Result<()> {
        for raw in self.forks.waiting() {
            let Some(tid) = raw.tid else { continue };
            let Some((child, by)) = unless_gone(self.who_is(tid))? else { continue };
            if self.is_left_by_detached(child, by) && self.forks.take(None, Some(tid)).is_some() {
                self.let_go_stray(child, tid, raw.kind);
            }
        }
        Ok(())
    }

    /// With no process left in the table: whether there may be one that nobody has announced.
    pub(super) fn expects_an_unknown(&mut self) -> Result<bool> {
        if self.forks.has_unknown() {
            return Ok(true);
        }
        match self.may_be_unknown {
            true => {
                self.may_be_unknown = self.backend.get_mut().has_tracees()?;
                Ok(self.may_be_unknown)
            }
            false => Ok(false),
        }
    }

    /// Notes a process that is traced.
    pub(super) fn add_process(&mut self, process: Process) -> u32 {
        self.forks.is_traced(process.pid);
        self.table.add_process(process)
    }
}
