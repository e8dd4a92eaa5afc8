//! What must come, and what did.

use std::collections::{BTreeMap, BTreeSet};

use trapline_core::backend::{RawKind, RawReason};
use trapline_core::{
    Event, EventFlags, ExitStatus, ForkKind, ForkSide, Pid, Signal, StopReason, Stopped, Tid,
};
use trapline_fake::{Kernel, Report, Rules};

/// One process, from its first to its last event.
#[derive(Debug, Default)]
pub(crate) struct Life {
    /// Who made it, and how.
    pub(crate) made: Option<(Pid, Tid, ForkKind)>,
    announced: u32,
    /// Its own first half came before the end of its creator.
    early: bool,
    /// It and its creator were killed before it was announced.
    excused: bool,
    /// An event named it.
    told: bool,
    /// Threads whose start was dropped, and is given again unless the process is killed.
    again: BTreeSet<Tid>,
    /// It may have been detached with its creator, or for its creator's sake.
    lost_sight: bool,
    /// Nobody wants to hear of its fork.
    unasked: bool,
    /// Its fork was dropped, and so will be given again.
    given_again: bool,
    pub(crate) exited: bool,
    /// Traced no more, by the user's or the policy's wish.
    pub(crate) let_go: bool,
    /// Some of its threads were let go, and others were killed before they could be: nobody tells its
    /// tracer of its end.
    in_part: bool,
    /// It was to be detached, and something has failed.
    refused: bool,
    /// What the kernel reported of it.
    execs: u32,
    signals: usize,
    execs_seen: u32,
    /// How many may have been given again.
    execs_again: u32,
    threads: BTreeSet<Tid>,
    /// Those on their way out, by the time that this was first given.
    exiting: BTreeSet<Tid>,
    /// Others whose end was told, as it left nothing running.
    last: BTreeSet<Tid>,
    /// Signals of an earlier process with this number.
    pub(crate) earlier: usize,
    /// Its death, or an exec of it, may take signals along.
    pub(crate) lossy: bool,
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Ledger {
    pub(crate) flags: EventFlags,
    pub(crate) lives: BTreeMap<Pid, Life>,
    /// What each thread has made by the last of its forks that was given.
    last_made: BTreeMap<Tid, Pid>,
    /// A question about a parent has failed.
    pub(crate) hides_parents: bool,
}

type Verdict = Result<(), String>;

impl Ledger {
    pub(crate) fn new(flags: EventFlags) -> Self {
        Ledger { flags, lives: BTreeMap::new(), last_made: BTreeMap::new(), hides_parents: false }
    }

    /// A process that the tracer knows from the start.
    pub(crate) fn start(&mut self, pid: Pid, threads: Vec<Tid>) {
        let threads = threads.into_iter().collect();
        self.lives.insert(pid, Life { announced: 1, threads, ..Life::default() });
    }

    pub(crate) fn made(&mut self, child: Pid, maker: (Pid, Tid), kind: ForkKind) {
        let flag = match kind {
            ForkKind::Vfork => EventFlags::VFORK,
            _ => EventFlags::FORK,
        };
        // Nobody asked to be told.
        let unasked = !self.flags.contains(flag);
        let made = Some((maker.0, maker.1, kind));
        let announced = u32::from(unasked);
        self.lives.insert(child, Life { made, announced, unasked, ..Life::default() });
    }

    /// The user has dropped an event.
    pub(crate) fn dropped(&mut self, event: &Event) {
        match event {
            Event::Stopped(stop) => self.dropped_stop(stop),
            Event::Forked(fork) => {
                let halves = [&fork.parent, &fork.child];
                halves.iter().filter_map(|half| half.stopped()).for_each(|s| self.dropped_stop(s));
            }
            _ => {}
        }
    }

    /// The user lets a process go, and with it the children whose forks it will not hear of again.
    pub(crate) fn let_go(&mut self, pid: Pid) {
        for (&other, life) in &mut self.lives {
            let child = life.made.is_some_and(|(maker, _, _)| maker == pid);
            life.let_go |= other == pid;
            life.lost_sight |= child && life.given_again;
        }
    }

    /// A process was to be detached, and something has failed: it is detached later, or the user is
    /// given the stop again.
    pub(crate) fn not_let_go(&mut self, pid: Pid) {
        if let Some(life) = self.lives.get_mut(&pid).filter(|life| life.let_go) {
            (life.let_go, life.refused) = (false, true);
        }
    }

    /// A call with a stop has failed: unless that was used, it is given again.
    pub(crate) fn perhaps_again(&mut self, (pid, tid, reason): (Pid, Tid, StopReason)) {
        if reason == StopReason::Forked {
            self.fork_again(tid);
        }
        let Some(life) = self.lives.get_mut(&pid) else { return };
        match reason {
            StopReason::Execed { .. } => life.execs_again += 1,
            StopReason::ThreadStarted => drop(life.again.insert(tid)),
            _ => {}
        }
    }

    /// The stop of a thread at its fork is given again, perhaps with its child's.
    fn fork_again(&mut self, maker: Tid) {
        let child = self.last_made.get(&maker).and_then(|child| self.lives.get_mut(child));
        if let Some(life) = child {
            life.given_again = true;
        }
    }

    pub(crate) fn dropped_stop(&mut self, stop: &Stopped) {
        if stop.reason() == StopReason::Forked {
            self.fork_again(stop.tid());
        }
        let Some(life) = self.lives.get_mut(&stop.pid()) else { return };
        match stop.reason() {
            StopReason::Execed { .. } => life.execs_seen -= 1,
            StopReason::ThreadStarted => drop(life.again.insert(stop.tid())),
            _ => {}
        }
    }

    /// The tracer takes a report of the kernel's; `again` says that it has sent the signal itself, since
    /// the kernel had let go of that.
    pub(crate) fn reported(&mut self, report: Report, again: bool) {
        let maker = self.lives.get(&report.pid).and_then(|life| life.made);
        let lives =
            maker.is_some_and(|(pid, _, _)| self.lives.get(&pid).is_some_and(|m| !m.exited));
        let Some(life) = self.lives.get_mut(&report.pid) else { return };
        life.early |= lives && matches!(report.kind, RawKind::Stop(_));
        match report.kind {
            RawKind::Stop(RawReason::Execed { .. }) => life.execs += 1,
            RawKind::Stop(RawReason::Signal { signal: Signal::USR1, .. }) => {
                life.signals += usize::from(!again);
            }
            _ => {}
        }
    }

    fn life(&mut self, pid: Pid, event: &Event) -> Result<&mut Life, String> {
        if let Some(life) = self.lives.get_mut(&pid) {
            life.told = true;
        }
        match self.lives.get_mut(&pid) {
            None => Err(format!("E2: {event:?} of an unknown process")),
            Some(life) if life.announced == 0 => Err(format!("E2: {event:?} before its fork")),
            Some(life) if life.exited => Err(format!("E4: {event:?} after its exit")),
            Some(life) => Ok(life),
        }
    }

    /// The user is given an event.
    pub(crate) fn given<R: Rules>(&mut self, event: &Event, kernel: &Kernel<R>) -> Verdict {
        match event {
            Event::Stopped(stop) => {
                let flags = self.flags;
                let life = self.life(stop.pid(), event)?;
                match stop.reason() {
                    StopReason::Execed { .. } => life.execs_seen += 1,
                    StopReason::ThreadStarted if !flags.contains(EventFlags::THREAD) => {
                        return Err(format!("E7: {event:?}, which nobody asked for"));
                    }
                    StopReason::ThreadStarted if life.again.remove(&stop.tid()) => {}
                    StopReason::ThreadStarted if !life.threads.insert(stop.tid()) => {
                        return Err(format!("E4: {event:?} twice"));
                    }
                    StopReason::ThreadExiting if !flags.contains(EventFlags::EXIT) => {
                        return Err(format!("E7: {event:?}, which nobody asked for"));
                    }
                    StopReason::ThreadExiting
                        if flags.contains(EventFlags::THREAD)
                            && !life.threads.contains(&stop.tid())
                            && !life.exiting.contains(&stop.tid())
                            && kernel.first_thread(stop.pid()) != Some(stop.tid()) =>
                    {
                        return Err(format!("E4: {event:?} of a thread that never started"));
                    }
                    StopReason::ThreadExiting => drop(life.exiting.insert(stop.tid())),
                    StopReason::Signal(Signal::KILL) => {
                        return Err(format!("E5: {event:?}: SIGKILL as a stop"));
                    }
                    _ => {}
                }
            }
            Event::Forked(fork) => {
                let Some(life) = self.lives.get_mut(&fork.child_pid) else {
                    return Err(format!("E2: {event:?}, of which the kernel knows nothing"));
                };
                let again = std::mem::take(&mut life.given_again);
                let let_go_child = matches!(fork.child, ForkSide::Detached);
                if let ForkSide::Stopped(parent) = &fork.parent {
                    self.last_made.insert(parent.tid(), fork.child_pid);
                }
                life.told = true;
                life.announced += u32::from(!again);
                if life.announced > 1 || life.exited {
                    return Err(format!("E2: {event:?} twice, or after the exit"));
                }
                let Some((pid, tid, kind)) = life.made else {
                    return Err(format!("E2: {event:?} of the first process"));
                };
                life.let_go |= let_go_child;
                let lives = kernel.fate(pid).is_none() && !kernel.threads(pid).is_empty();
                let gone = kernel.threads(fork.child_pid).is_empty();
                // With others that are dead it cannot be known, and is left open.
                let known = fork.parent_pid.is_some();
                let left = self.lives.get(&pid).is_some_and(|maker| maker.let_go);
                if lives && !gone && known && left {
                    return Err(format!("F3: {event:?}, whose creator was detached before"));
                }
                let early = self.lives.get(&fork.child_pid).is_some_and(|life| life.early);
                let gone = |pid| early && self.lives.get(pid).is_some_and(|life| life.exited);
                if fork.parent_pid.as_ref().is_some_and(gone) {
                    return Err(format!("E4: {event:?} after the exit of the parent"));
                }
                let told = matches!(fork.parent, ForkSide::Stopped(_)) || fork.parent_tid.is_some();
                let told = told && !matches!(fork.parent, ForkSide::Gone);
                if told
                    && (fork.kind, fork.parent_pid, fork.parent_tid) != (kind, Some(pid), Some(tid))
                {
                    return Err(format!("E2: {event:?}, but it was {pid} {tid} by {kind}"));
                }
                if fork.parent_pid.is_some_and(|named| named != pid) {
                    return Err(format!("E2: {event:?}, but the parent was {pid}"));
                }
                if let (ForkSide::Detached, Some(parent)) = (&fork.parent, self.lives.get_mut(&pid))
                {
                    parent.let_go = !kernel.is_traced(pid);
                    // It is traced all the same if its half was not reported, as the thread that has
                    // forked is on its way out, which an exec of another does too.
                    let doomed = kernel.is_doomed(tid) || kernel.fate(pid).is_some();
                    if !parent.let_go && !parent.lossy && !doomed {
                        return Err(format!("E2: {event:?}, which its maker has not reported"));
                    }
                }
                if let ForkSide::Stopped(parent) = &fork.parent {
                    if (parent.pid(), parent.tid()) != (pid, tid) {
                        return Err(format!("E2: {event:?}, but the parent was {pid} {tid}"));
                    }
                }
                if let ForkSide::Stopped(child) = &fork.child {
                    if child.pid() != fork.child_pid {
                        return Err(format!("E2: {event:?}: another child's token"));
                    }
                }
            }
            Event::ThreadExited { pid, tid } => {
                // One that leaves nothing running is told in any case, the first one's too.
                let last = !kernel.threads(*pid).iter().any(|&tid| kernel.acts(tid));
                if !self.flags.contains(EventFlags::THREAD) && !last {
                    return Err(format!("E7: {event:?}, which nobody asked for"));
                }
                let life = self.life(*pid, event)?;
                if !(life.threads.remove(tid) || last && life.last.insert(*tid)) {
                    return Err(format!("E4: {event:?} of a thread that never started"));
                }
            }
            Event::Exited { pid, status, real_parent } => {
                let life = self.life(*pid, event)?;
                life.exited = true;
                let let_go = life.let_go;
                let (pid, threads) = (*pid, std::mem::take(&mut life.threads));
                if !let_go && self.flags.contains(EventFlags::THREAD) && !threads.is_empty() {
                    return Err(format!("E4: {event:?} before the end of its {threads:?}"));
                }
                self.right_end(pid, *status, *real_parent, kernel)?;
            }
            Event::Woken => return Err("Woken, and nobody woke".to_string()),
            _ => {}
        }
        Ok(())
    }

    fn right_end<R: Rules>(
        &self,
        pid: Pid,
        status: ExitStatus,
        real_parent: Option<Pid>,
        kernel: &Kernel<R>,
    ) -> Verdict {
        let ends = kernel.statuses();
        let Some(&(parent, _, truth)) = ends.iter().rev().find(|(_, child, _)| *child == pid)
        else {
            return Err(format!("E4: exit of {pid}, which has not ended"));
        };
        if status != truth {
            return Err(format!("E4: {pid} ended with {truth}, and {status} was said"));
        }
        // A parent that died before, unheard of, may still be named.
        let dead = |named| ends.iter().any(|(_, child, _)| *child == named);
        let made_by = self.lives.get(&pid).and_then(|life| life.made);
        let could_be = |named| named == parent || dead(named) || kernel.fate(named).is_some();
        match (real_parent, made_by) {
            (Some(named), _) if could_be(named) => Ok(()),
            (None, Some(_)) if self.hides_parents => Ok(()),
            (None, Some(_)) => Err(format!("F4: no parent of {pid}, but it was {parent}")),
            (None, None) => Ok(()),
            (Some(named), _) => Err(format!("F4: parent of {pid} is {parent}, not {named}")),
        }
    }

    /// Notes who cannot be announced any more.
    pub(crate) fn excuse<R: Rules>(&mut self, kernel: &Kernel<R>) {
        let dead = |pid| kernel.fate(pid).is_some() || kernel.threads(pid).is_empty();
        for (&pid, life) in &mut self.lives {
            if let (false, Some((maker, tid, _))) = (life.told, life.made) {
                life.excused |= dead(pid) && (dead(maker) || kernel.is_doomed(tid));
            }
        }
    }

    /// Whether a process was made unheard of, by one that was detached.
    fn left_unsaid(&self, life: &Life) -> bool {
        let maker = life.made.and_then(|(maker, _, _)| self.lives.get(&maker));
        !life.told && maker.is_some_and(|maker| maker.let_go)
    }

    /// Nothing is to come any more.
    pub(crate) fn settled<R: Rules>(&mut self, kernel: &Kernel<R>) -> Verdict {
        let pids: Vec<Pid> = self.lives.keys().copied().collect();
        for pid in pids {
            if let Some(life) = self.lives.get_mut(&pid).filter(|life| life.refused) {
                life.let_go |= !kernel.is_traced(pid);
                life.in_part |= kernel.is_traced_in_part(pid);
            }
            let life = &self.lives[&pid];
            let lives = kernel.fate(pid).is_none() && !kernel.threads(pid).is_empty();
            if self.left_unsaid(life) {
                // If the creator was killed before it could be detached, the child may be traced.
                let maker = life.made.map(|(maker, _, _)| &self.lives[&maker]);
                let excused = life.unasked || maker.is_some_and(|maker| maker.exited);
                if lives && !excused && kernel.is_traced(pid) {
                    return Err(format!("F3: {pid} is traced, after its creator was detached"));
                }
                continue;
            }
            if lives && life.announced == 0 && kernel.is_traced(pid) {
                return Err(format!("E2: {pid} lives, and was never announced"));
            }
            if lives && life.let_go && kernel.is_traced(pid) {
                return Err(format!("F3: {pid} was detached, and is traced"));
            }
            // With `CLONE_PARENT` it may have been taken for a child of one that was detached.
            let parent = kernel.real_parent(pid).and_then(|parent| self.lives.get(&parent));
            let with_parent = !life.told && parent.is_some_and(|parent| parent.let_go);
            if lives && (with_parent || life.lost_sight) && !kernel.is_traced(pid) {
                self.lives.entry(pid).or_default().lost_sight = true;
                continue;
            }
            if lives && !life.let_go && !kernel.is_traced(pid) {
                return Err(format!("F3: {pid} is not traced, and was not detached"));
            }
            let asked = self.flags.contains(EventFlags::EXEC) && !life.let_go;
            let told = life.execs..=life.execs + life.execs_again;
            if lives && asked && !told.contains(&life.execs_seen) {
                return Err(format!("E3: {} of {} execs of {pid}", life.execs_seen, life.execs));
            }
            let delivered = kernel.delivered(pid, Signal::USR1) - life.earlier;
            if lives && !life.lossy && !life.let_go && delivered != life.signals {
                return Err(format!("E8: {pid} got {delivered} of {} signals", life.signals));
            }
        }
        Ok(())
    }

    /// All is over. `unheard_of` says of a process that its creator never reported it.
    pub(crate) fn over(&self, unheard_of: impl Fn(Pid) -> bool) -> Verdict {
        for (&pid, life) in &self.lives {
            if self.left_unsaid(life) {
                continue;
            }
            if life.lost_sight {
                continue;
            }
            let silent = !life.told && (life.excused || unheard_of(pid));
            if life.announced == 0 && !silent && !life.let_go {
                return Err(format!("E2: {pid} was never announced"));
            }
            if life.announced > 0 && !life.exited && !life.let_go && !life.in_part && !silent {
                return Err(format!("E4: {pid} has ended, and nobody said so"));
            }
        }
        Ok(())
    }
}
