//! Children whose parent's half of the fork does not come.
//!
//! Their parent was killed before it could report, or the kernel does not report how they were made. Once
//! nothing else is to be taken in, the threads are looked for that may still report the half (the
//! candidates). When none is left, the child is shown without it. The parent is then named only if one
//! process alone can be it.

use std::rc::Rc;
use std::time::Instant;

use crate::backend::{RawStop, Setup, Thread};
use crate::error::unless_gone;
use crate::event_queue::{ForkPair, Side};
use crate::forks::Announced;
use crate::limits::PATIENCE;
use crate::{Backend, Error, ForkKind, OnExit, Pid, Result, Tid};

use super::fork::pair_of;
use super::process::{End, Process};
use super::software::inherit::Heritage;
use super::thread::State;
use super::{Engine, ProcessHandle};

/// When it is asked what becomes of a child that nobody has announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    /// Nothing else is to be taken in.
    Quiet,
    /// A process ends, which decides it for its own children: they are shown before its end.
    End,
}

impl<B: Backend> Engine<B> {
    /// The fork of a child that has stopped, if it is a vfork whose parent was killed and waits all
    /// the same: no half of that one comes, nor its end before the child has exec'ed or ended.
    pub(super) fn fork_of_unkillable(
        &mut self,
        parent: ProcessHandle,
        child: Thread,
        late: bool,
    ) -> Result<Option<Announced>> {
        let Process { pid, end, .. } = *self.table.process(parent);
        // Whether it was killed from outside is asked only after a while.
        if !(end == End::Killed || late)
            || unless_gone(self.backend.get_mut().is_unkillable(pid))? != Some(true)
        {
            return Ok(None);
        }
        let vforked = unless_gone(self.backend.get_mut().was_vforked(child))?.flatten();
        let threads = unless_gone(self.backend.get_mut().threads(pid))?.unwrap_or_default();
        let (Some(true), [waiter]) = (vforked, &threads[..]) else { return Ok(None) };
        let Process { setup, ref space, .. } = *self.table.process(parent);
        Ok(Some(Announced {
            kind: ForkKind::Vfork,
            child: child.pid,
            first: Some(child.tid),
            parent: Thread { pid, tid: *waiter },
            place: None,
            real_parent: Some(pid),
            setup,
            space: space.clone(),
            since: Instant::now(),
        }))
    }

    /// The queue has run dry: a child that was announced, that has not been heard of, and that is
    /// no tracee is one that the host has waited for. Its fork is told, and that it was taken.
    pub(super) fn settle_taken(&mut self) -> Result<bool> {
        let missing: Vec<(Pid, Instant)> = self.forks.missing().collect();
        for (child, since) in missing {
            if since.elapsed() < self.settings.half_patience
                || unless_gone(self.backend.get_mut().is_traced(child))? == Some(true)
            {
                continue;
            }
            let Some(fork) = self.forks.take_announced(|fork| fork.child == child) else {
                continue;
            };
            let parent = fork.place.filter(|&place| self.table.at(place).is_some());
            let pair = pair_of(&fork, parent.map_or(Side::Gone, Side::Stopped), Side::Gone);
            self.show_fork(pair, fork.setup.flags)?;
            self.failures.note(child, Error::Taken { pid: child });
            return Ok(true);
        }
        Ok(false)
    }

    /// Shows those without their parent's half for which it cannot come any more. Says whether anything
    /// came of it.
    pub(super) fn settle_unannounced(&mut self, moment: Moment) -> Result<bool> {
        let mut settled = false;
        for raw in self.forks.waiting() {
            match self.settle_one_unannounced(raw, moment) {
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

    fn settle_one_unannounced(&mut self, raw: RawStop, moment: Moment) -> Result<bool> {
        let (Some(tid), Some(known)) = (raw.tid, self.forks.get_mut(&raw)) else {
            return Ok(false);
        };
        let (since, looked) = (known.since, known.candidates.is_some());
        let Some((pid, real_parent)) = unless_gone(self.who_is(tid))? else {
            self.forks.take(None, Some(tid)); // killed: its end comes, or was taken in
            return Ok(false);
        };
        let late = since.elapsed() >= self.settings.half_patience;
        let overdue = since.elapsed() >= self.settings.half_patience.saturating_mul(PATIENCE);
        if let Some(process) = self.table.find_process(pid) {
            // A thread, whose maker was killed alone, as an exec does; or the machine is too busy to let
            // that tell.
            if !late || !overdue && self.look_at_candidates(&raw, Some(pid))? {
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
            self.detach_orphan_stop(pid, tid, raw.kind);
            return Ok(false);
        }
        let child = Thread { pid, tid };
        let living = real_parent.and_then(|parent| self.table.find_process(parent));
        let mute = living.map(|parent| self.fork_of_unkillable(parent, child, late)).transpose()?;
        if let Some(fork) = mute.flatten() {
            self.forks.take(None, Some(tid));
            self.pair(fork, raw)?;
            return Ok(true);
        }
        if !looked
            && moment == Moment::Quiet
            && since.elapsed() < self.settings.half_patience / PATIENCE
        {
            return Ok(false);
        }
        let silent = self.look_at_candidates(&raw, real_parent)?;
        if silent && (!overdue || moment == Moment::End) {
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
        let mut candidates = match known {
            Some(known) => known,
            None => self.may_have_made(real_parent)?,
        };
        if Self::makers_report_next() {
            let mut silent = Vec::new();
            for thread in candidates {
                let slot = self.table.find_thread_of(thread.pid, thread.tid);
                let slot = slot.map(|index| self.table.slot(index));
                let runs = slot.is_some_and(|s| !s.is_stopped() && s.state != State::Listening);
                // The news of a fork is the next thing that a maker does, and it does not sleep
                // before that (`kernel_clone` in Linux's `kernel/fork.c`).
                if runs && unless_gone(self.backend.get_mut().is_asleep(thread))? == Some(false) {
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
    fn may_have_made(&mut self, parent: Option<Pid>) -> Result<Vec<Thread>> {
        let siblings = Self::threads_make_siblings();
        let may = |p: &Process| {
            parent.is_none_or(|parent| p.pid == parent) || siblings && p.real_parent == parent
        };
        let living = self.table.living().filter(|(_, p)| may(p));
        if Self::makers_announce_threads() {
            let slots = living.flat_map(|(_, p)| &p.threads).map(|&index| self.table.slot(index));
            return Ok(slots.filter(|slot| !slot.is_stopped()).map(|slot| slot.thread).collect());
        }
        // Some may have been born without a word.
        let mut all = Vec::new();
        for pid in living.map(|(_, p)| p.pid).collect::<Vec<_>>() {
            let threads = unless_gone(self.backend.get_mut().threads(pid))?.unwrap_or_default();
            all.extend(threads.into_iter().map(|tid| Thread { pid, tid }));
        }
        Ok(all)
    }

    /// Shows a child without its parent's half. The parent is named if only one process can be it.
    fn show_alone(&mut self, raw: RawStop, child: Thread, real_parent: Option<Pid>) -> Result<()> {
        let vforked = unless_gone(self.backend.get_mut().was_vforked(child))?.flatten();
        let kind = if vforked == Some(true) { ForkKind::Vfork } else { ForkKind::Fork };
        let parent = real_parent.and_then(|parent| self.table.find_process(parent));
        let sole = parent.is_some_and(|parent| self.table.process(parent).is_sole_candidate());
        let parent = parent.filter(|_| sole || !Self::threads_make_siblings());
        let setup = match parent {
            Some(parent) => self.table.process(parent).setup,
            // Most likely that of the process which has ended last.
            None => self
                .forks
                .left_setup()
                .unwrap_or(Setup { flags: self.settings.flags, on_exit: OnExit::Detach }),
        };
        let mut spaces = self.former_spaces();
        match parent.map(|parent| self.table.process(parent)) {
            Some(parent) => {
                spaces = parent.space.iter().map(|i| (parent.pid, Rc::clone(i))).collect();
            }
            // Any of those that are in the table may be dead by now.
            None => {
                let all = self.table.processes();
                spaces.extend(all.filter_map(|(_, p)| Some((p.pid, p.space.clone()?))));
            }
        }
        let lent_to = self.lent_by_detached(child, kind);
        let parent_pid = parent.map(|parent| self.table.process(parent).pid);
        self.forks.show(&raw, child.pid);
        let process = self.add_process(Process::new(child.pid, real_parent, setup));
        self.inherit_hardware(process, parent_pid, kind);
        let side = self.first_stop(process, raw, None);
        self.inherit(process, &side, Heritage::Unannounced { makers: spaces, lent_to });
        let pair = ForkPair {
            kind,
            parent_pid,
            parent_tid: None,
            child_pid: child.pid,
            parent: if sole { Side::Silent } else { Side::Gone },
            child: side,
        };
        self.show_fork(pair, setup.flags)
    }

    /// The process of a thread that nobody has announced, and its real parent if that can be named.
    fn who_is(&mut self, tid: Tid) -> Result<(Pid, Option<Pid>)> {
        let silent = match self.backend.get_mut().process_of(tid) {
            Err(silent @ Error::Unsupported { .. }) => silent,
            answer => return answer,
        };
        // Nobody tells; but it may be one of those that are known.
        let living: Vec<(Pid, Option<Pid>)> =
            self.table.living().map(|(_, p)| (p.pid, p.real_parent)).collect();
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
                self.detach_orphan_stop(child, tid, raw.kind);
            }
        }
        Ok(())
    }

    /// With no process left in the table: whether there may be one that nobody has announced.
    pub(super) fn expects_an_unknown(&mut self) -> Result<bool> {
        if self.forks.has_unknown() {
            return Ok(true);
        }
        if !self.forks.may_have_left() {
            return Ok(false);
        }
        let left = self.backend.get_mut().has_tracees()?;
        if !left {
            self.forks.has_left_nothing();
        }
        Ok(left)
    }
}
