//! Which task is whose child: the two halves of a fork, brought together.
//!
//! A kernel reports a fork twice, in either order: the parent's half carries the child's id, the
//! child's half is its first stop. A child whose half is first waits here, *unannounced*, for its
//! parent's; a parent whose half is first waits for its child, which was *announced*. Either can be
//! killed before its half is reported.
//!
//! ```text
//!              child_seen                    parent_said
//!   unknown ---------------> unannounced ------------------> a pair
//!      |                      |      |
//!      | parent_said          |      | no candidate is left (candidates, spoke, gone)
//!      v                      |      +-------------------------------------> shown without its parent
//!   announced --child_seen----+--> a pair                                      |
//!                                                         parent_said: absorbed|
//! ```
//!
//! The tracker makes no request and knows no system: reports go in, and what is to be done comes out.

use std::collections::VecDeque;
use std::time::Instant;

use crate::backend::{RawKind, RawStop, Setup, Thread};
use crate::stopped::Place;
use crate::{ForkKind, Pid, Tid};

use crate::address_space::Shared;
use crate::limits::{REMEMBERED, ROUND};

/// A fork that the parent has reported.
pub(crate) struct Announced {
    pub(crate) kind: ForkKind,
    pub(crate) child: Pid,
    /// The child's first thread, where its id is known.
    pub(crate) first: Option<Tid>,
    pub(crate) parent: Thread,
    /// The parent's stop, as long as it lives.
    pub(crate) place: Option<Place>,
    pub(crate) real_parent: Option<Pid>,
    pub(crate) setup: Setup,
    /// The parent's breakpoints in memory.
    pub(crate) space: Option<Shared>,
    pub(crate) since: Instant,
}

impl Announced {
    fn is_about(&self, raw: &RawStop) -> bool {
        raw.pid == Some(self.child) || (raw.tid.is_some() && raw.tid == self.first)
    }
}

/// The first report of a task of which no parent has told.
#[derive(Clone)]
pub(crate) struct Unannounced {
    pub(crate) raw: RawStop,
    pub(crate) since: Instant,
    /// The living threads that may have made it, and have said nothing since. `None` as long as
    /// nobody has looked for them.
    pub(crate) candidates: Option<Vec<Thread>>,
    /// Its parent is at another stop, and reports the fork when it is next run.
    pub(crate) waits: bool,
    /// How many reports of others were taken since.
    passed: u32,
    /// A question about it has failed.
    failed: bool,
}

/// What is to be done with the first report of an unknown task.
pub(crate) enum Seen {
    /// Its parent has told of it.
    Pair(Box<Announced>),
    /// It is to be detached.
    Detach(Pid),
    /// It waits for its parent's half.
    Waits,
}

/// The forks of which a half is missing.
#[derive(Default)]
pub(crate) struct ForkTracker {
    announced: Vec<Announced>,
    unannounced: Vec<Unannounced>,
    /// What a process reported that has ended, exec'ed or was detached last.
    left: Option<Setup>,
    /// Such a process may have made one of which nobody has told.
    may_have_left: bool,
    /// Children that were shown without their parents' halves, with the threads from which these
    /// may still come.
    shown: Vec<(Pid, Vec<Thread>)>,
    /// Children to be detached at their first stop.
    detaching: Vec<Pid>,
    /// Processes that were detached lately: what they made in the last moment goes with them.
    detached: VecDeque<Pid>,
}

impl ForkTracker {
    /// A parent has told of a fork. The child's half, if that was first.
    pub(crate) fn parent_said(&mut self, fork: Announced) -> Option<(Announced, RawStop)> {
        match self.take(Some(fork.child), fork.first) {
            Some(raw) => Some((fork, raw)),
            None => {
                self.announced.push(fork);
                None
            }
        }
    }

    /// Whether a child was shown already, and this thread may have made it: its half is no news.
    pub(crate) fn was_shown(&mut self, child: Pid, maker: Thread, whole: bool) -> bool {
        // Where a process stops as a whole, not each thread of it is known.
        let same = |thread: &Thread| *thread == maker || (whole && thread.pid == maker.pid);
        let at = self.shown.iter().position(|(pid, may)| *pid == child && may.iter().any(same));
        at.map(|at| self.shown.remove(at)).is_some()
    }

    /// A task that is not in the table has stopped or ended.
    pub(crate) fn child_seen(&mut self, raw: RawStop, pid: Option<Pid>) -> Seen {
        if let Some(at) = self.detaching.iter().position(|&child| pid == Some(child)) {
            return Seen::Detach(self.detaching.swap_remove(at));
        }
        if let Some(at) = self.announced.iter().position(|fork| fork.is_about(&raw)) {
            return Seen::Pair(Box::new(self.announced.swap_remove(at)));
        }
        // It may have been killed since, or its number be another task's by now.
        self.take(raw.pid, raw.tid);
        self.shown.retain(|&(child, _)| pid != Some(child));
        let ended = |one: &Unannounced| matches!(one.raw.kind, RawKind::Ended(_));
        if self.unannounced.iter().filter(|one| ended(one)).count() >= REMEMBERED {
            if let Some(at) = self.unannounced.iter().position(ended) {
                self.unannounced.remove(at);
            }
        }
        self.unannounced.push(Unannounced {
            raw,
            since: Instant::now(),
            candidates: None,
            waits: false,
            passed: 0,
            failed: false,
        });
        Seen::Waits
    }

    /// Takes out what an unannounced task has reported.
    pub(crate) fn take(&mut self, pid: Option<Pid>, tid: Option<Tid>) -> Option<RawStop> {
        let named = |one: &Unannounced| {
            (pid.is_some() && one.raw.pid == pid) || (tid.is_some() && one.raw.tid == tid)
        };
        let at = self.unannounced.iter().position(named)?;
        Some(self.unannounced.remove(at).raw)
    }

    /// A thread has reported something else than a fork: it has made none of the children that were
    /// seen before, for it would have said so first.
    #[inline]
    pub(crate) fn spoke(&mut self, thread: Thread) {
        self.drop_candidates(|&candidate| candidate == thread);
    }

    /// A process has ended.
    pub(crate) fn gone(&mut self, pid: Pid) {
        self.drop_candidates(|candidate| candidate.pid == pid);
    }

    fn drop_candidates(&mut self, out: impl Fn(&Thread) -> bool) {
        if self.unannounced.is_empty() && self.shown.is_empty() {
            return;
        }
        let lists = self.unannounced.iter_mut().filter_map(|one| one.candidates.as_mut());
        for list in lists.chain(self.shown.iter_mut().map(|(_, list)| list)) {
            list.retain(|candidate| !out(candidate));
        }
        self.shown.retain(|(_, list)| !list.is_empty());
    }

    /// A report was taken. Whether some child has let so many pass that it is to be looked after now.
    #[inline]
    pub(crate) fn report_taken(&mut self) -> bool {
        let mut overdue = false;
        for one in &mut self.unannounced {
            one.waits = false;
            one.passed += 1;
            overdue |= one.stops() && one.passed % ROUND == 0;
        }
        overdue
    }

    /// Whether there are children whose makers are not known.
    pub(super) fn has_unannounced(&self) -> bool {
        !self.unannounced.is_empty()
    }

    /// The children that wait for their parents' halves.
    pub(crate) fn waiting(&self) -> Vec<RawStop> {
        self.unannounced.iter().filter(|one| one.stops()).map(|one| one.raw).collect()
    }

    /// One of these.
    pub(crate) fn get_mut(&mut self, raw: &RawStop) -> Option<&mut Unannounced> {
        self.unannounced.iter_mut().find(|one| one.raw == *raw)
    }

    /// A child is shown without its parent's half, which may still come from one of these.
    pub(crate) fn show(&mut self, raw: &RawStop, child: Pid) {
        let at = self.unannounced.iter().position(|one| one.raw == *raw);
        let Some(one) = at.map(|at| self.unannounced.remove(at)) else { return };
        let may = one.candidates.unwrap_or_default();
        if !may.is_empty() {
            self.shown.truncate(REMEMBERED - 1);
            self.shown.insert(0, (child, may));
        }
    }

    /// A question about an unannounced child has failed; whether one has before.
    pub(crate) fn failed(&mut self, raw: &RawStop) -> bool {
        self.get_mut(raw).is_some_and(|one| std::mem::replace(&mut one.failed, true))
    }

    /// A child is to be detached at its first stop.
    pub(crate) fn detach(&mut self, child: Pid) {
        self.detaching.push(child);
    }

    /// Whether children are to be detached whose first stops have not come.
    pub(crate) fn is_detaching(&self) -> bool {
        !self.detaching.is_empty()
    }

    /// None of those will come.
    pub(crate) fn end_detaching(&mut self) {
        self.detaching.clear();
    }

    /// A process was detached.
    pub(crate) fn was_detached(&mut self, pid: Pid) {
        self.detached.retain(|&other| other != pid);
        if self.detached.len() == REMEMBERED {
            self.detached.pop_front();
        }
        self.detached.push_back(pid);
    }

    /// A process is traced; one that had its number is forgotten.
    pub(crate) fn is_traced(&mut self, pid: Pid) {
        self.detached.retain(|&other| other != pid);
    }

    /// Whether a process was detached lately.
    pub(crate) fn is_detached(&self, pid: Pid) -> bool {
        self.detached.contains(&pid)
    }

    /// Takes back the announcements of a parent that is detached.
    pub(crate) fn retract(&mut self, parent: Pid) -> Vec<Pid> {
        let of_it = |fork: &&Announced| fork.parent.pid == parent;
        let children = self.announced.iter().filter(of_it).map(|fork| fork.child).collect();
        self.announced.retain(|fork| fork.parent.pid != parent);
        children
    }

    /// Takes out an announced fork whose child has not come for some reason.
    pub(crate) fn take_announced(
        &mut self,
        which: impl FnMut(&Announced) -> bool,
    ) -> Option<Announced> {
        let at = self.announced.iter().position(which)?;
        Some(self.announced.swap_remove(at))
    }

    /// The announced forks of a parent.
    pub(crate) fn announced_by(&mut self, parent: Pid) -> impl Iterator<Item = &mut Announced> {
        self.announced.iter_mut().filter(move |fork| fork.parent.pid == parent)
    }

    /// The children that were announced and have not been seen.
    pub(crate) fn missing(&self) -> impl Iterator<Item = (Pid, Instant)> {
        self.announced.iter().map(|fork| (fork.child, fork.since))
    }

    /// Whether a child of a process is still to come, so that the process's end has to wait.
    pub(crate) fn awaits_child_of(&self, parent: Pid) -> bool {
        self.announced.iter().any(|fork| fork.parent.pid == parent)
    }

    /// Whether the time has to be watched: nothing announces that a parent's half will not come.
    #[inline]
    pub(crate) fn is_watching(&self) -> bool {
        self.unannounced.iter().any(|one| one.stops() && !one.waits)
    }

    /// A process is gone, and may have made children just before of which nobody will tell.
    pub(crate) fn has_left(&mut self, setup: Setup) {
        (self.left, self.may_have_left) = (Some(setup), true);
    }

    /// There is no child of such a process.
    pub(crate) fn has_left_nothing(&mut self) {
        self.may_have_left = false;
    }

    pub(crate) fn may_have_left(&self) -> bool {
        self.may_have_left
    }

    /// What such a process reported last.
    pub(crate) fn left_setup(&self) -> Option<Setup> {
        self.left
    }

    /// Whether a process is stopped, or about to, that is not in the table.
    #[inline]
    pub(crate) fn has_unknown(&self) -> bool {
        self.is_detaching() || self.unannounced.iter().any(Unannounced::stops)
    }

    /// No tracee is left: nothing that is missing will come. Whether anything was.
    pub(crate) fn clear(&mut self) -> bool {
        let any = !self.announced.is_empty();
        self.announced.clear();
        self.unannounced.clear();
        any
    }
}

impl Unannounced {
    fn stops(&self) -> bool {
        matches!(self.raw.kind, RawKind::Stop(_))
    }
}

#[cfg(test)]
mod tests;
