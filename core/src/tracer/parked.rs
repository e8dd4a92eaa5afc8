//! Halves of forks whose counterpart is silent.
//!
//! The maker of a new task says so, but the task can be heard of first; it is parked until then.
//! If the maker was killed on the way it never says so: who it was has to be found out, or to be
//! left open.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::backend::{RawKind, RawStop, Setup, StopScope, Thread};
use crate::error::unless_gone;
use crate::{Backend, Ending, Error, ExitStatus, ForkKind, Pid, Result, Tid};

use super::fork::Awaited;
use super::makers::Makers;
use super::software::image::Shared;
use super::software::inherit::Heritage;
use super::table::Process;
use super::{ForkPair, Side, Tracer};

/// A stop or an end of a task that nobody has announced yet.
pub(super) struct Parked {
    raw: RawStop,
    pub(super) since: Instant,
    /// How many had been parked before.
    pub(super) number: u64,
    pub(super) makers: Makers,
    /// Its parent is at another stop, and reports the fork when it is next run.
    waits: bool,
    /// How many reports were taken since.
    passed: u32,
    /// A question about it has failed.
    failed: bool,
}

/// A thread that was killed, and perhaps had forked without the kernel saying so.
#[derive(Clone)]
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
    /// The breakpoints that were in its memory.
    image: Option<Shared>,
}

/// How long a dead thread may have been somebody's parent: a child is at most one turn of the
/// scheduler behind the death of the thread that made it.
const LOST_FOR: Duration = Duration::from_secs(2);
const LOST_MOST: usize = 64;
/// How many others can be parked between the death of a maker and the first stop of its child.
const LATE_MOST: u64 = 64;
/// How many times longer a half is waited for whose maker may be alive: it is on its way, however
/// busy the machine is, unless the child was made so that nobody announces it.
const LIVING_PATIENCE: u32 = 100;
/// How many reports of others a parked one lets pass before it is looked after all the same.
const PASSED_MOST: u32 = 512;

impl<B: Backend> Tracer<B> {
    /// Keeps a stop or an end of an unknown task until its maker is heard of.
    pub(super) fn park(&mut self, raw: RawStop) -> Result<()> {
        if self.end_shell(raw) {
            return Ok(());
        }
        if let Some(pid) = self.stray(raw) {
            self.strays.retain(|&stray| stray != pid);
            if let (RawKind::Stop(_), Some(tid)) = (raw.kind, raw.tid) {
                self.let_go_stray(pid, tid, raw.kind);
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
        let same = |parked: &Parked| match (parked.raw.pid, raw.pid) {
            (Some(one), Some(other)) => one == other,
            _ => parked.raw.tid.is_some() && parked.raw.tid == raw.tid,
        };
        let again = |old: &RawStop| match (old.pid, raw.pid) {
            (Some(one), Some(other)) => one == other,
            _ => old.tid.is_some() && old.tid == raw.tid,
        };
        self.unclaimed.retain(|old| !again(old));
        let mut number = self.parkings;
        self.parked.retain(|parked| {
            if same(parked) && matches!(parked.raw.kind, RawKind::Stop(_)) {
                number = parked.number;
            }
            !same(parked)
        });
        let reused =
            |pid| raw.pid == Some(pid) || B::first_thread(pid).is_some_and(|t| raw.tid == Some(t));
        self.early.retain(|&(pid, _)| !reused(pid));
        self.parked.push(Parked {
            raw,
            since: Instant::now(),
            number,
            makers: Makers::default(),
            waits: false,
            passed: 0,
            failed: false,
        });
        self.parkings += 1;
        Ok(())
    }

    /// A report was taken; whether so many were that whoever is parked can wait no longer for the
    /// queue to run dry.
    pub(super) fn pass_parked(&mut self) -> bool {
        let mut overdue = false;
        for parked in &mut self.parked {
            parked.waits = false;
            parked.passed += 1;
            overdue |= parked.passed % PASSED_MOST == 0;
        }
        overdue
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
        let named =
            |raw: &RawStop| (pid.is_some() && raw.pid == pid) || (tid.is_some() && raw.tid == tid);
        if let Some(at) = self.parked.iter().position(|parked| named(&parked.raw)) {
            return Some(self.parked.swap_remove(at).raw);
        }
        let at = self.unclaimed.iter().position(named)?;
        self.unclaimed.remove(at)
    }

    /// Keeps the end of a task that nobody has announced, and does not wait for that any more: on a
    /// busy machine its maker may still get to it.
    fn leave_unclaimed(&mut self, raw: RawStop) {
        if self.unclaimed.len() == LOST_MOST {
            self.unclaimed.pop_front();
        }
        self.unclaimed.push_back(raw);
    }

    /// Notes that a thread has died which may have forked unheard.
    pub(super) fn lose(&mut self, index: u32, forked: Option<ForkKind>) {
        let thread = self.table.slot(index).thread;
        let process = self.table.process_of(index);
        let (real_parent, setup) = (process.real_parent, process.setup);
        // As they are now, for they are given up soon.
        let copy = |image: &Shared| Rc::new(RefCell::new(image.borrow().clone()));
        let image = process.image.as_ref().filter(|i| !i.borrow().is_empty()).map(copy);
        let Thread { pid, tid } = thread;
        let let_go = process.letting_go;
        let at = Instant::now();
        let known = self.lost.iter().position(|lost| lost.tid == tid && lost.pid == pid);
        let forked = forked.or(known.and_then(|known| self.lost.remove(known).forked));
        if self.lost.len() == LOST_MOST {
            self.lost.remove(0);
        }
        self.lost.push(Lost { pid, tid, real_parent, forked, let_go, at, setup, image });
    }

    /// Whether a process was let go a short while ago.
    fn was_let_go(&self, pid: Pid) -> bool {
        self.lost.iter().any(|lost| lost.let_go && lost.pid == pid)
    }

    /// Whether what has stopped is left over from a process that was let go, or is its child. A
    /// child may be a sibling's, made with `CLONE_PARENT`, if there is or was one.
    fn is_let_go_with(&self, pid: Pid, real_parent: Option<Pid>) -> bool {
        let alone = |parent| self.left_alone(parent) && !self.has_children(Some(parent));
        self.was_let_go(pid) || real_parent.is_some_and(alone)
    }

    /// Whether a process was let go, and none that has died since may have made a sibling with it as
    /// the parent.
    fn left_alone(&self, parent: Pid) -> bool {
        let child = |lost: &Lost| !lost.let_go && lost.real_parent == Some(parent);
        let siblings = Self::MAKES_SIBLINGS && self.lost.iter().any(child);
        self.was_let_go(parent) && !siblings
    }

    /// Lets children go that have stopped, and whose parent was let go before its half came.
    pub(super) fn let_go_parked(&mut self) -> Result<()> {
        for raw in self.parked_stops() {
            let Some(tid) = raw.tid else { continue };
            let Some((child, by)) = unless_gone(self.process_of(tid))? else { continue };
            if self.is_let_go_with(child, by) && self.unpark(None, Some(tid)).is_some() {
                self.let_go_stray(child, tid, raw.kind);
            }
        }
        Ok(())
    }

    /// The breakpoints that were in the memory of those who are lost, with their processes.
    pub(super) fn lost_images(&self) -> Vec<(Pid, Shared)> {
        let images = self.lost.iter().filter_map(|lost| Some((lost.pid, lost.image.clone()?)));
        images.collect()
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

    /// Whether there may be a process that nobody has announced.
    pub(super) fn may_have_unknown(&self) -> bool {
        !self.parked.is_empty() || !self.strays.is_empty() || !self.lost.is_empty()
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
    /// That is parked by then or soon, if at all.
    pub(super) fn may_have_forked(&self, pid: Pid, cut_short: Option<u64>) -> bool {
        let stopped = |parked: &Parked| matches!(parked.raw.kind, RawKind::Stop(_));
        let before = |parked: &Parked| {
            cut_short.is_some_and(|parkings| parked.number < parkings + LATE_MOST)
        };
        self.awaited.iter().any(|fork| fork.parent_pid == pid)
            || self.lost.iter().any(|lost| lost.pid == pid && lost.forked.is_some())
            || self.parked.iter().any(|parked| stopped(parked) && before(parked))
    }

    /// The process of a thread that nobody has announced, and its real parent if that can be named.
    fn process_of(&mut self, tid: Tid) -> Result<(Pid, Option<Pid>)> {
        let silent = match self.backend.process_of(tid) {
            Err(silent @ Error::Unsupported { .. }) => silent,
            answer => return answer,
        };
        // Nobody tells; but it may be one of those that are known.
        let living = self.table.processes().filter(|(_, p)| p.ended.is_none());
        for pid in living.map(|(_, p)| p.pid).collect::<Vec<Pid>>() {
            let threads = unless_gone(self.backend.threads(pid))?.unwrap_or_default();
            if threads.contains(&tid) {
                return Ok((
                    pid,
                    self.table.find_process(pid).and_then(|p| self.table.process(p).real_parent),
                ));
            }
        }
        Err(silent)
    }

    /// The queue has run dry: whoever is parked now, and whose maker cannot tell of it any more,
    /// is reported without. Says whether anything came of it.
    pub(super) fn settle_parked(&mut self) -> Result<bool> {
        self.lost.retain(|lost| lost.at.elapsed() < LOST_FOR);
        let mut settled = false;
        let killed = self.table.processes().any(|(_, p)| p.killed && p.ended.is_none());
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
                    match self.settle_dead(raw, status)? {
                        true => settled = true,
                        false => self.leave_unclaimed(raw),
                    }
                }
                RawKind::Ended(_) => {}
                RawKind::Stop(_) if self.lost.is_empty() && !killed && !late => {}
                RawKind::Stop(_) => match self.settle_living(at, late) {
                    Ok(done) => settled |= done,
                    Err(error) => self.note_of_parked(at, error),
                },
            }
        }
        Ok(settled)
    }

    /// A question about a parked one has failed; it is asked again each time.
    fn note_of_parked(&mut self, at: usize, error: Error) {
        let Some(parked) = self.parked.get_mut(at) else { return };
        let led_by = parked.raw.tid.and_then(B::process_led_by);
        let Some(pid) = parked.raw.pid.or(led_by) else { return };
        match std::mem::replace(&mut parked.failed, true) {
            true => self.failures.note_again(pid, error),
            false => self.failures.note(pid, error),
        }
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
        let Some(&Parked { raw, since, .. }) = self.parked.get(at) else { return Ok(false) };
        let Some(tid) = raw.tid else { return Ok(false) };
        let Some((pid, real_parent)) = unless_gone(self.process_of(tid))? else {
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
            self.let_go_stray(pid, tid, raw.kind);
            return Ok(false);
        }
        let left_alone = || real_parent.is_some_and(|parent| self.left_alone(parent));
        if self.is_let_go_with(pid, real_parent) || (late && left_alone()) {
            self.parked.swap_remove(at);
            self.let_go_stray(pid, tid, raw.kind);
            return Ok(false);
        }
        let living = real_parent.and_then(|parent| self.table.find_process(parent));
        let child = Thread { pid, tid };
        let mute = living.map(|parent| self.mute_fork(parent, child, late)).transpose()?;
        if let Some(fork) = mute.flatten() {
            self.parked.swap_remove(at);
            self.pair(fork, raw)?;
            return Ok(true);
        }
        // As long as its maker may be alive, that one's half may be on the way. A maker is the
        // parent, or with `CLONE_PARENT` a sibling.
        let awaited = self.is_awaited(at, real_parent)?;
        let overdue = since.elapsed() >= self.half_patience.saturating_mul(LIVING_PATIENCE);
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
        let vforked = unless_gone(self.backend.was_vforked(child))?.flatten();
        let makers = self.parked.swap_remove(at).makers;
        if awaited {
            let makers = match B::STOP_SCOPE {
                StopScope::Thread => makers.into_threads(),
                StopScope::Process => self.makers(real_parent),
            };
            self.early.truncate(LOST_MOST);
            self.early.insert(0, (pid, makers));
        }
        let mut suspects = self.lost.clone();
        let sibling = |lost: &Lost| Self::MAKES_SIBLINGS && lost.real_parent == real_parent;
        let likely = |lost: &Lost| Some(lost.pid) == real_parent || sibling(lost);
        if living.is_some() && (!Self::MAKES_SIBLINGS || suspects.iter().any(likely)) {
            suspects.retain(likely);
        }
        if !suspects.is_empty() && suspects.iter().all(|suspect| self.was_let_go(suspect.pid)) {
            self.let_go_stray(pid, tid, raw.kind);
            return Ok(false);
        }
        let parent_pid = match suspects.first() {
            Some(first) => suspects.iter().all(|s| s.pid == first.pid).then_some(first.pid),
            None => living.and(real_parent),
        };
        let parent_tid = suspects
            .first()
            .filter(|first| suspects.iter().all(|s| s.tid == first.tid))
            .map(|first| first.tid);
        let kind = suspects.first().filter(|_| parent_pid.is_some()).and_then(|s| s.forked);
        let kind = match vforked {
            Some(true) => Some(ForkKind::Vfork),
            Some(false) => Some(ForkKind::Fork),
            None => kind,
        };
        if let Some(tid) = parent_tid {
            self.lost.iter_mut().filter(|l| l.tid == tid).for_each(|l| l.forked = None);
        }
        let setup = match (suspects.first(), living) {
            (Some(maker), _) => maker.setup,
            (None, Some(living)) => self.table.process(living).setup,
            (None, None) => Setup { flags: self.flags, ending: Ending::Detach },
        };
        let process = self.table.add_process(Process::new(pid, real_parent, setup));
        self.inherit_hardware(process, parent_pid, kind.unwrap_or(ForkKind::Fork));
        let images = match (&suspects[..], living) {
            ([], Some(living)) => {
                let living = self.table.process(living);
                living.image.iter().map(|image| (living.pid, Rc::clone(image))).collect()
            }
            (suspects, _) => suspects
                .iter()
                .filter_map(|maker| Some((maker.pid, maker.image.clone()?)))
                .collect(),
        };
        let thread = child;
        let child = self.first_stop(process, raw, None);
        let kind = kind.unwrap_or(ForkKind::Fork);
        // Its maker may still have the memory, or another child of that one that is not traced.
        let mut lent_to = None;
        for &Lost { pid, tid, .. } in suspects.iter().filter(|suspect| suspect.let_go) {
            let maker = Thread { pid, tid };
            let shared = self.backend.shares_memory(maker, thread).is_ok_and(|s| s == Some(true));
            lent_to = lent_to.or(Some(pid).filter(|_| shared || kind == ForkKind::Vfork));
        }
        self.inherit(process, &child, Heritage::Unannounced { makers: images, lent_to });
        let pair = ForkPair {
            kind,
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
