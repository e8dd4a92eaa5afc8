//! Pairing the two halves of a fork.
//!
//! A kernel reports a fork twice: at the parent, with the child's id, and at the child, which
//! stops before its first instruction. Either can come first, and either can be killed before it
//! is reported. They are paired by the id that the parent's event carries, never by the child's
//! parent process, which may be another one (`CLONE_PARENT`), or already dead.

use std::time::{Duration, Instant};

use crate::backend::{NewTask, RawKind, RawReason, RawStop, Setup, StopScope, Thread};
use crate::error::unless_gone;
use crate::stopped::Place;
use crate::{
    Backend, Ending, Error, EventFlags, ExitStatus, ForkKind, Pid, Result, StopReason, Tid,
};

use super::table::{Process, State};
use super::{FollowFork, ForkPair, Ready, Side, Tracer};

/// A stop or an end of a task that nobody has announced yet.
#[derive(Clone, Copy)]
pub(super) struct Parked {
    raw: RawStop,
    since: Instant,
    /// Its parent is at another stop, and reports the fork when it is next run.
    pub(super) waits: bool,
}

/// A fork that the parent reported, and the child has not.
pub(super) struct Awaited {
    kind: ForkKind,
    child: Pid,
    parent_pid: Pid,
    parent_tid: Tid,
    /// The parent's stop, as long as it lives.
    parent: Option<Place>,
    real_parent: Option<Pid>,
    setup: Setup,
}

/// A thread that was killed, and perhaps had forked without the kernel saying so.
#[derive(Clone, Copy)]
pub(super) struct Lost {
    pid: Pid,
    tid: Tid,
    real_parent: Option<Pid>,
    /// It had: it was killed between its event and the question which child that was.
    forked: Option<ForkKind>,
    /// It is not dead, but let go.
    let_go: bool,
    at: Instant,
    setup: Setup,
}

/// How long a dead thread may have been somebody's parent: a child is at most one turn of the
/// scheduler behind the death of the thread that made it.
const LOST_FOR: Duration = Duration::from_secs(2);
const LOST_MOST: usize = 64;
/// How many times longer a half is waited for whose maker may be alive: it is on its way, however
/// busy the machine is, unless the child was made so that nobody announces it.
const LIVING_PATIENCE: u32 = 100;

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
                self.announce_thread(self.table.slot(index).process, tid, Some(index))?;
                self.run_silently(index)
            }
            NewTask::Process { pid: child, .. } if self.early.iter().any(|e| e.0 == child) => {
                self.early.retain(|&(pid, _)| pid != child);
                self.run_silently(index)
            }
            NewTask::Process { pid: child, sibling } => {
                let parent = self.table.process_of(index);
                let real_parent = if sibling { parent.real_parent } else { Some(parent.pid) };
                let parent_setup = parent.setup;
                self.table.slot_mut(index).state = State::Forking;
                let awaited = Awaited {
                    kind,
                    child,
                    parent_pid: thread.pid,
                    parent_tid: thread.tid,
                    parent: Some(self.table.place(index)),
                    real_parent,
                    setup: parent_setup,
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
        self.table.slot_mut(index).applied = applied;
        match parked {
            Some(RawStop { kind: RawKind::Stop(reason), .. }) => self.stopped(index, reason),
            _ => Ok(()),
        }
    }

    /// Keeps a stop or an end of an unknown task until its maker is heard of.
    pub(super) fn park(&mut self, raw: RawStop) -> Result<()> {
        if let Some(pid) = self.stray(raw) {
            self.strays.retain(|&stray| stray != pid);
            if let (RawKind::Stop(_), Some(tid)) = (raw.kind, raw.tid) {
                self.let_go_stray(pid, tid, raw.kind)?;
            }
            return Ok(());
        }
        let named = |a: &Awaited| {
            raw.pid == Some(a.child) || (raw.tid.is_some() && raw.tid == B::first_thread(a.child))
        };
        if let Some(at) = self.awaited.iter().position(named) {
            let awaited = self.awaited.swap_remove(at);
            return self.pair(awaited, raw);
        }
        // It may be parked already, and have been killed since.
        self.parked.retain(|parked| match (parked.raw.pid, raw.pid) {
            (Some(one), Some(other)) => one != other,
            _ => parked.raw.tid.is_none() || parked.raw.tid != raw.tid,
        });
        let reused =
            |pid| raw.pid == Some(pid) || B::first_thread(pid).is_some_and(|t| raw.tid == Some(t));
        self.early.retain(|&(pid, _)| !reused(pid));
        self.parked.push(Parked { raw, since: Instant::now(), waits: false });
        Ok(())
    }

    /// Whether a raw stop is that of a child that is to be let go.
    fn stray(&self, raw: RawStop) -> Option<Pid> {
        self.strays.iter().copied().find(|&pid| {
            raw.pid == Some(pid) || (raw.tid.is_some() && raw.tid == B::first_thread(pid))
        })
    }

    /// The parked stops, that is, without the ends.
    fn parked_stops(&self) -> Vec<RawStop> {
        let stops = self.parked.iter().filter(|p| matches!(p.raw.kind, RawKind::Stop(_)));
        stops.map(|parked| parked.raw).collect()
    }

    pub(super) fn unpark(&mut self, pid: Option<Pid>, tid: Option<Tid>) -> Option<RawStop> {
        let at = self.parked.iter().position(|parked| {
            (pid.is_some() && parked.raw.pid == pid) || (tid.is_some() && parked.raw.tid == tid)
        })?;
        Some(self.parked.swap_remove(at).raw)
    }

    /// Both halves are known: the child becomes a process of ours, and the event one event.
    fn pair(&mut self, fork: Awaited, child: RawStop) -> Result<()> {
        let parent = fork.parent.filter(|&place| self.table.at(place).is_some());
        let setup = match parent {
            Some(place) => self.table.process_of(place.index).setup,
            None => fork.setup,
        };
        let applied = parent.and_then(|place| self.table.slot(place.index).applied);
        let parent = match parent {
            Some(place) => Side::Stopped(place),
            None => Side::Gone,
        };
        let process = self.table.add_process(Process::new(fork.child, fork.real_parent, setup));
        let side = self.first_stop(process, child, applied.filter(|_| B::INHERITS_SETUP));
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
    fn first_stop(&mut self, process: u32, raw: RawStop, applied: Option<Setup>) -> Side {
        match (raw.kind, raw.tid) {
            (RawKind::Stop(reason), Some(tid)) => {
                let index = self.table.add_thread(process, tid, State::Announced);
                let slot = self.table.slot_mut(index);
                slot.applied = applied;
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
    fn show_fork(&mut self, mut pair: ForkPair, flags: EventFlags) -> Result<()> {
        let flag = match pair.kind {
            ForkKind::Vfork => EventFlags::VFORK,
            ForkKind::Fork | ForkKind::Clone => EventFlags::FORK,
        };
        if let Side::Stopped(place) = pair.parent {
            let reason = StopReason::Forked { kind: pair.kind, child: pair.child_pid };
            self.table.slot_mut(place.index).state = State::Queued(reason);
        }
        let unfollowed = match self.follow {
            FollowFork::Parent => Some(&mut pair.child),
            FollowFork::Child if matches!(pair.parent, Side::Stopped(_)) => Some(&mut pair.parent),
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
            self.ready.push_back(Ready::Fork(pair));
        } else {
            for side in [pair.child, pair.parent] {
                if let Side::Stopped(place) = side {
                    self.run_unseen(place.index)?;
                }
            }
        }
        match let_go {
            Some(index) => self.let_go(index, None),
            None => Ok(()),
        }
    }

    /// Runs a thread whose queued stop is not shown.
    fn run_unseen(&mut self, index: u32) -> Result<()> {
        self.table.slot_mut(index).state = State::Running;
        match self.table.slot_mut(index).next.take() {
            Some(next) => self.stopped(index, next),
            None => self.run_silently(index),
        }
    }

    /// Notes that a thread has died which may have forked unheard.
    pub(super) fn lose(&mut self, index: u32, forked: Option<ForkKind>) {
        let thread = self.table.slot(index).thread;
        let process = self.table.process_of(index);
        let (real_parent, setup) = (process.real_parent, process.setup);
        let Thread { pid, tid } = thread;
        let let_go = process.letting_go;
        let at = Instant::now();
        let known = self.lost.iter().position(|lost| lost.tid == tid && lost.pid == pid);
        let forked = forked.or(known.and_then(|known| self.lost.remove(known).forked));
        if self.lost.len() == LOST_MOST {
            self.lost.remove(0);
        }
        self.lost.push(Lost { pid, tid, real_parent, forked, let_go, at, setup });
    }

    /// Whether a process was let go a short while ago.
    fn was_let_go(&self, pid: Pid) -> bool {
        self.lost.iter().any(|lost| lost.let_go && lost.pid == pid)
    }

    /// Whether what has stopped is left over from a process that was let go, or is its child. A
    /// child may be a sibling's, made with `CLONE_PARENT`, as long as there is one.
    fn is_let_go_with(&self, pid: Pid, real_parent: Pid) -> bool {
        self.was_let_go(pid) || (self.was_let_go(real_parent) && !self.has_children(real_parent))
    }

    /// Whether a process that is traced, and may have made a sibling, has this parent.
    fn has_children(&self, parent: Pid) -> bool {
        let child = |p: &Process| p.ended.is_none() && p.real_parent == Some(parent);
        Self::MAKES_SIBLINGS && self.table.processes().any(|(_, p)| child(p))
    }

    /// Whether a process can make a sibling: only where a thread is a process of a kind.
    const MAKES_SIBLINGS: bool = matches!(B::STOP_SCOPE, StopScope::Thread);

    /// Lets children go that have stopped, and whose parent was let go before its half came.
    pub(super) fn let_go_parked(&mut self) -> Result<()> {
        for raw in self.parked_stops() {
            let Some(tid) = raw.tid else { continue };
            let Some((child, by)) = unless_gone(self.backend.process_of(tid))? else { continue };
            if self.is_let_go_with(child, by) && self.unpark(None, Some(tid)).is_some() {
                self.let_go_stray(child, tid, raw.kind)?;
            }
        }
        Ok(())
    }

    /// Whether a process has lost a thread that may have been in a fork.
    pub(super) fn has_lost(&self, pid: Pid) -> bool {
        self.lost.iter().any(|lost| lost.pid == pid)
    }

    /// Whether something of a fork is still to come that nothing else announces.
    pub(super) fn expects_a_half(&self) -> bool {
        self.parked.iter().any(|parked| !parked.waits)
            || self.lost.iter().any(|lost| lost.forked.is_some())
    }

    /// With no process left in the table: whether there may be one that nobody has announced.
    pub(super) fn expects_an_unknown(&mut self) -> Result<bool> {
        if !self.parked.is_empty() || !self.strays.is_empty() {
            return Ok(true);
        }
        if self.lost.is_empty() {
            return Ok(false);
        }
        let any = self.backend.has_tracees()?;
        if !any {
            self.lost.clear();
        }
        Ok(any)
    }

    /// Whether the end of a process must wait for the event of a fork that it may have made.
    pub(super) fn may_have_forked(&self, pid: Pid, cut_short: bool) -> bool {
        self.awaited.iter().any(|fork| fork.parent_pid == pid)
            || self.lost.iter().any(|lost| lost.pid == pid && lost.forked.is_some())
            || (cut_short && self.parked.iter().any(|p| matches!(p.raw.kind, RawKind::Stop(_))))
    }

    /// Takes back the announcements of the children that a process has made, and that have not
    /// stopped yet.
    pub(super) fn take_awaited(&mut self, parent: Pid) -> Vec<Pid> {
        let children = self.awaited.iter().filter(|fork| fork.parent_pid == parent);
        let children = children.map(|fork| fork.child).collect();
        self.awaited.retain(|fork| fork.parent_pid != parent);
        children
    }

    /// The queue has run dry: whoever is parked now, and whose maker cannot tell of it any more,
    /// is reported without. Says whether anything came of it.
    pub(super) fn settle_parked(&mut self) -> Result<bool> {
        self.lost.retain(|lost| lost.at.elapsed() < LOST_FOR);
        let mut settled = false;
        for lost in &mut self.lost {
            if lost.at.elapsed() >= self.half_patience && self.parked.is_empty() {
                settled |= lost.forked.take().is_some(); // its child has died with it
            }
        }
        for at in (0..self.parked.len()).rev() {
            let Some(&Parked { raw, since, .. }) = self.parked.get(at) else { continue };
            let late = since.elapsed() >= self.half_patience;
            match raw.kind {
                RawKind::Ended(status) if late => {
                    self.parked.swap_remove(at);
                    settled |= self.settle_dead(raw, status)?;
                }
                RawKind::Ended(_) => {}
                RawKind::Stop(_) if self.lost.is_empty() && !late => {}
                RawKind::Stop(_) => settled |= self.settle_living(at, late)?,
            }
        }
        Ok(settled)
    }

    /// Nobody is left who could announce what is parked.
    pub(super) fn settle_dead_halves(&mut self) -> Result<()> {
        for parked in std::mem::take(&mut self.parked) {
            if let RawKind::Ended(status) = parked.raw.kind {
                self.settle_dead(parked.raw, status)?;
            }
        }
        Ok(())
    }

    /// A task that has stopped, and whose maker is silent.
    fn settle_living(&mut self, at: usize, late: bool) -> Result<bool> {
        let Some(Parked { raw, since, .. }) = self.parked.get(at).copied() else {
            return Ok(false);
        };
        let Some(tid) = raw.tid else { return Ok(false) };
        let Some((pid, real_parent)) = unless_gone(self.backend.process_of(tid))? else {
            self.parked.swap_remove(at); // killed, and its end was taken in
            return Ok(false);
        };
        if let Some(process) = self.table.find_process(pid) {
            // A thread, whose maker was killed alone, as an exec does.
            if !late {
                return Ok(false);
            }
            let maker = self.table.process(process).threads.first().copied();
            self.announce_thread(process, tid, maker)?;
            return Ok(true);
        }
        if B::first_thread(pid).is_some_and(|first| first != tid) {
            // A thread of a process that was let go, made in the last moment.
            self.parked.swap_remove(at);
            self.let_go_stray(pid, tid, raw.kind)?;
            return Ok(false);
        }
        if self.is_let_go_with(pid, real_parent) || (late && self.was_let_go(real_parent)) {
            self.parked.swap_remove(at);
            self.let_go_stray(pid, tid, raw.kind)?;
            return Ok(false);
        }
        // As long as its maker may be alive, that one's half may be on the way. A maker is the
        // parent, or with `CLONE_PARENT` a sibling.
        let living = self.table.find_process(real_parent);
        let awaited = living.is_some() || self.has_children(real_parent);
        let overdue = since.elapsed() >= self.half_patience * LIVING_PATIENCE;
        if awaited && !overdue || !late && self.lost.is_empty() {
            return Ok(false);
        }
        if let (StopScope::Process, Some(parent)) = (B::STOP_SCOPE, living) {
            let mut threads = self.table.process(parent).threads.iter();
            if threads.any(|&i| self.table.slot(i).is_stopped()) {
                self.parked.iter_mut().filter(|p| p.raw == raw).for_each(|p| p.waits = true);
                return Ok(false);
            }
        }
        self.parked.swap_remove(at);
        if awaited {
            self.early.truncate(LOST_MOST);
            self.early.insert(0, (pid, real_parent));
        }
        let mut suspects = self.lost.clone();
        let sibling = |lost: &Lost| Self::MAKES_SIBLINGS && lost.real_parent == Some(real_parent);
        let likely = |lost: &Lost| lost.pid == real_parent || sibling(lost);
        if living.is_some() && (!Self::MAKES_SIBLINGS || suspects.iter().any(likely)) {
            suspects.retain(likely);
        }
        if !suspects.is_empty() && suspects.iter().all(|suspect| self.was_let_go(suspect.pid)) {
            self.let_go_stray(pid, tid, raw.kind)?;
            return Ok(false);
        }
        let parent_pid = match suspects.first() {
            Some(first) => suspects.iter().all(|s| s.pid == first.pid).then_some(first.pid),
            None => living.map(|_| real_parent),
        };
        let parent_tid = suspects
            .first()
            .filter(|first| suspects.iter().all(|s| s.tid == first.tid))
            .map(|first| first.tid);
        let kind = suspects.first().filter(|_| parent_pid.is_some()).and_then(|s| s.forked);
        if let Some(tid) = parent_tid {
            self.lost.iter_mut().filter(|l| l.tid == tid).for_each(|l| l.forked = None);
        }
        let setup = match (suspects.first(), living) {
            (Some(maker), _) => maker.setup,
            (None, Some(living)) => self.table.process(living).setup,
            (None, None) => Setup { flags: self.flags, ending: Ending::Detach },
        };
        let process = self.table.add_process(Process::new(pid, Some(real_parent), setup));
        let child = self.first_stop(process, raw, None);
        let pair = ForkPair {
            kind: kind.unwrap_or(ForkKind::Fork),
            parent_pid,
            parent_tid,
            child_pid: pid,
            // A living parent has not stopped for it: the child was made with `CLONE_UNTRACED`
            // and `CLONE_PTRACE`.
            parent: if suspects.is_empty() && living.is_some() { Side::LetGo } else { Side::Gone },
            child,
        };
        self.show_fork(pair, setup.flags)?;
        Ok(true)
    }

    /// A task that has ended before anybody announced it. If one thread alone could have made it,
    /// and is known to have forked just before it was killed, this was the child; if not, it may
    /// as well have been a thread that died with its process, and nothing is said of it: it never
    /// ran.
    fn settle_dead(&mut self, raw: RawStop, status: ExitStatus) -> Result<bool> {
        let forked = self.lost.iter().find_map(|l| Some((l.pid, l.tid, l.forked?, l.setup)));
        let pid = raw.pid.or_else(|| raw.tid.and_then(B::process_led_by));
        let (Some((parent, tid, kind, setup)), Some(pid)) = (forked, pid) else {
            return Ok(false);
        };
        let alone = self.lost.iter().all(|lost| lost.tid == tid);
        if !alone || kind == ForkKind::Clone || !self.parked_stops().is_empty() {
            return Ok(false);
        }
        let process = self.table.add_process(Process::new(pid, Some(parent), setup));
        let pair = ForkPair {
            kind,
            parent_pid: Some(parent),
            parent_tid: Some(tid),
            child_pid: pid,
            parent: Side::Gone,
            child: Side::Gone,
        };
        self.lost.retain(|lost| lost.tid != tid);
        self.show_fork(pair, setup.flags)?;
        self.end_process(process, status);
        Ok(true)
    }
}
