//! Breakpoints in memory: who has which, who has come to one, and what the user was told of it.

mod check;

use std::collections::{BTreeMap, BTreeSet};

use trapline_core::backend::{RawKind, RawReason};
use trapline_core::{
    Breakpoint, BreakpointId, FollowFork, ForkKind, Pid, Signal, StopReason, Stopped, Tid, Tracer,
};
use trapline_fake::{Fake, Kernel, Report, Rules, Swallowed};

/// Where programs have their code.
pub(crate) const CODE: u64 = 0x1000;
/// The breakpoint instruction.
const TRAP: u8 = 0xcc;

type Verdict = Result<(), String>;

/// What is known of one process.
#[derive(Debug, Default, Hash)]
struct Owner {
    /// The image that its breakpoints are in.
    image: Option<u32>,
    /// Its breakpoints, and how many times each was asked for, if that is certain.
    own: BTreeMap<u64, (BreakpointId, Option<u32>)>,
    /// The same before it was to be let go.
    before: BTreeMap<u64, (BreakpointId, Option<u32>)>,
    /// All that it ever had.
    ever: BTreeMap<BreakpointId, u64>,
    made: Option<(Pid, ForkKind)>,
    /// Its creator's breakpoints are those that there were when it was made.
    sure: bool,
    /// The tracer has it, and has said which breakpoints.
    known: bool,
    /// It is, or is about to be, traced no more.
    leaves: bool,
    /// Who is not traced and has its memory, as far as the tracer can know: so that must be clean.
    loans: BTreeSet<Pid>,
    /// It must be so until its next exec.
    for_good: bool,
    /// The thread that waits for it in vfork, unless it has exec'ed.
    waiter: Option<Tid>,
    /// Another process has the number of its creator by now.
    orphan: bool,
}

impl Owner {
    fn is_lent(&self) -> bool {
        self.for_good || !self.loans.is_empty()
    }
}

/// What a thread has to do with breakpoints.
#[derive(Debug, Clone, Copy, Hash)]
struct Arrival {
    pid: Pid,
    image: u32,
    /// Where it has trapped, and has not executed the program's own instruction since.
    at: Option<u64>,
    /// The user was told.
    given: bool,
    /// The user has to be told.
    owed: bool,
    /// The breakpoint was inserted anew since, so that it may be told again.
    anew: bool,
    /// What it has executed last, unless it has gone somewhere else since.
    last: Option<u64>,
}

impl Arrival {
    fn new(pid: Pid, image: u32) -> Self {
        Arrival { pid, image, at: None, given: false, owed: false, anew: false, last: None }
    }
}

/// All of them.
#[derive(Debug, Hash)]
pub(crate) struct Breaks {
    code: &'static [u8],
    follow_both: bool,
    owners: BTreeMap<Pid, Owner>,
    /// What processes had whose numbers others have by now.
    past: BTreeMap<BreakpointId, u64>,
    threads: BTreeMap<Tid, Arrival>,
    /// What the tracer has taken in, and may be busy with.
    reports: Vec<(Pid, Tid, RawKind)>,
    /// How much of what was executed has been looked at.
    seen: usize,
    wrong: Option<String>,
}

impl Breaks {
    pub(crate) fn new(code: &'static [u8], follow: FollowFork) -> Self {
        let follow_both = follow == FollowFork::Both;
        let (owners, threads) = (BTreeMap::new(), BTreeMap::new());
        let past = BTreeMap::new();
        let reports = Vec::new();
        Breaks { code, follow_both, owners, past, threads, reports, seen: 0, wrong: None }
    }

    /// Whether there is anything to look at.
    pub(crate) fn is_off(&self) -> bool {
        self.code.is_empty()
    }

    /// The tracer has run a thread out of a stop for an exec before a wait could find that: where
    /// it takes the place of a first thread that was killed in a stop, no kernel says so. Whose
    /// memory has which breakpoints is not to be known any more.
    pub(crate) fn give_up_if_misled<R: Rules>(&mut self, kernel: &Kernel<R>) {
        let exec = |swallowed: &Swallowed| matches!(swallowed.reason, RawReason::Execed { .. });
        if kernel.swallowed().iter().any(exec) {
            self.code = &[];
        }
    }

    /// Looks at nothing any more.
    pub(crate) fn give_up(&mut self) {
        self.code = &[];
    }

    // What programs do.

    /// The process that the tracer has from the start.
    pub(crate) fn start<R: Rules>(&mut self, pid: Pid, kernel: &Kernel<R>) {
        let owner = Owner { image: kernel.image(pid), known: true, ..Owner::default() };
        self.owners.insert(pid, owner);
    }

    pub(crate) fn made<R: Rules>(
        &mut self,
        child: Pid,
        (maker, tid): (Pid, Tid),
        kind: ForkKind,
        kernel: &Kernel<R>,
    ) {
        let made_by = |owner: &&mut Owner| owner.made.is_some_and(|(maker, _)| maker == child);
        self.owners.values_mut().filter(made_by).for_each(|owner| owner.orphan = true);
        let made = Some((maker, kind));
        let waiter = (kind == ForkKind::Vfork).then_some(tid);
        let image = kernel.image(child);
        let owner = Owner { image, made, waiter, sure: true, ..Owner::default() };
        if let Some(old) = self.owners.insert(child, owner) {
            self.past.extend(old.ever);
        }
        self.born(kernel.leader(child));
    }

    /// A new thread, which may have the number of an old one.
    pub(crate) fn born(&mut self, tid: Tid) {
        self.threads.remove(&tid);
    }

    /// A thread goes somewhere else.
    pub(crate) fn jumped<R: Rules>(&mut self, tid: Tid, kernel: &Kernel<R>) {
        if let Some(arrival) = self.threads.get_mut(&tid) {
            if kernel.image(arrival.pid) != Some(arrival.image) {
                return; // an exec of another thread has given it this number
            }
            if let Some(at) = arrival.at.take() {
                let wrong = format!("M1: {tid} runs, and never went on from {at:#x}");
                self.wrong.get_or_insert(wrong);
            }
            arrival.last = None;
        }
    }

    // What the user does.

    pub(crate) fn inserted(&mut self, pid: Pid, addr: u64, id: BreakpointId) -> Verdict {
        self.changed(pid);
        let ever = self.owners.values().any(|owner| owner.ever.contains_key(&id));
        let owner = self.owners.entry(pid).or_default();
        match owner.own.get_mut(&addr) {
            Some((same, count)) if *same == id => *count = count.map(|count| count + 1),
            Some((other, _)) => return Err(format!("M1: {id} at {addr:#x}, which has {other}")),
            None if ever => return Err(format!("M1: {id} was used before")),
            None => drop(owner.own.insert(addr, (id, Some(1)))),
        }
        owner.ever.insert(id, addr);
        // Who is there, or in a system call there, may come to it once more.
        let there = |a: &&mut Arrival| a.pid == pid && [a.at, a.last].contains(&Some(addr));
        self.threads.values_mut().filter(there).for_each(|arrival| arrival.anew = true);
        Ok(())
    }

    /// The same for a process that was killed meanwhile; a child of it may have a copy.
    pub(crate) fn inserted_into_dead(&mut self, pid: Pid, addr: u64, id: BreakpointId) {
        self.owners.entry(pid).or_default().ever.insert(id, addr);
    }

    /// One that the user is about to remove.
    pub(crate) fn removed(&mut self, pid: Pid, addr: u64) {
        self.changed(pid);
        let Some(owner) = self.owners.get_mut(&pid) else { return };
        if let Some((_, count)) = owner.own.get_mut(&addr) {
            match count {
                Some(count @ 2..) => *count -= 1,
                _ => {
                    owner.own.remove(&addr);
                    self.at(pid, addr).for_each(|arrival| arrival.owed = false);
                }
            }
        }
    }

    /// Of one that was removed the tracer says that it is still there: it was asked for more often.
    pub(crate) fn is_still(&mut self, pid: Pid, addr: u64, id: BreakpointId) -> Verdict {
        let Some(owner) = self.owners.get_mut(&pid) else { return Ok(()) };
        match owner.own.get(&addr) {
            Some(_) => Ok(()),
            None if owner.known && owner.made.is_some() => {
                owner.own.insert(addr, (id, None));
                Ok(())
            }
            None => Err(format!("M1: {id} at {addr:#x} was removed from {pid}, and is there")),
        }
    }

    fn changed(&mut self, pid: Pid) {
        let of = |owner: &&mut Owner| owner.made.is_some_and(|(maker, _)| maker == pid);
        self.owners.values_mut().filter(of).for_each(|owner| owner.sure = false);
    }

    fn at(&mut self, pid: Pid, addr: u64) -> impl Iterator<Item = &mut Arrival> {
        let there = move |arrival: &&mut Arrival| arrival.pid == pid && arrival.at == Some(addr);
        self.threads.values_mut().filter(there)
    }

    /// The breakpoints of a process, the one at the lowest address first.
    pub(crate) fn of(&self, pid: Pid) -> Vec<(u64, BreakpointId)> {
        let own = self.owners.get(&pid).map(|owner| &owner.own);
        own.into_iter().flatten().map(|(&addr, &(id, _))| (addr, id)).collect()
    }

    /// A process is about to be detached.
    pub(crate) fn leaves(&mut self, pid: Pid) {
        self.changed(pid);
        let maker = |owner: &Owner| owner.made.filter(|_| owner.waiter.is_some()).map(|m| m.0);
        let own = self.owners.get(&pid).and_then(maker);
        if let Some(owner) = self.owners.get_mut(&pid) {
            if !std::mem::replace(&mut owner.leaves, true) {
                owner.before = std::mem::take(&mut owner.own);
            }
        }
        // If it is dead already, the tracer has yet to hear of that.
        for (&other, owner) in self.owners.iter_mut().filter(|&(&other, _)| other != pid) {
            let theirs = maker(owner);
            if theirs == Some(pid) || own == Some(other) || (own.is_some() && own == theirs) {
                owner.loans.insert(pid);
            }
        }
        for arrival in self.threads.values_mut().filter(|arrival| arrival.pid == pid) {
            arrival.owed = false;
        }
    }

    /// It was not let go: the tracer says that it has these. If that is not what it had, it is on
    /// its way, and what is there then is not to be known.
    pub(crate) fn stays(&mut self, pid: Pid, still: Vec<(u64, BreakpointId)>) {
        let Some(owner) = self.owners.get_mut(&pid) else { return };
        let had: Vec<(u64, BreakpointId)> =
            owner.before.iter().map(|(&addr, &(id, _))| (addr, id)).collect();
        if still != had || had.is_empty() {
            return self.give_up();
        }
        owner.own = std::mem::take(&mut owner.before);
        owner.leaves = false;
        for other in self.owners.values_mut() {
            other.loans.remove(&pid);
        }
        // Its user may hear of who is there once more.
        for arrival in self.threads.values_mut().filter(|arrival| arrival.pid == pid) {
            arrival.anew |= arrival.at.is_some();
        }
    }

    pub(crate) fn dropped(&mut self, stop: &Stopped) {
        if let (Some(_), Some(arrival)) = (software(stop), self.threads.get_mut(&stop.tid())) {
            arrival.given = false;
        }
    }

    /// A call with a stop has failed, so that it may be given again.
    pub(crate) fn perhaps_again(&mut self, (_, tid, reason): (Pid, Tid, StopReason)) {
        let hit = matches!(reason, StopReason::Trap(causes) if causes.software.is_some());
        if let Some(arrival) = self.threads.get_mut(&tid).filter(|_| hit) {
            arrival.anew = true;
        }
    }

    /// The user is given a stop, at `pc`.
    pub(crate) fn given<R: Rules>(
        &mut self,
        stop: &Stopped,
        pc: Option<u64>,
        kernel: &Kernel<R>,
    ) -> Verdict {
        if self.is_off() {
            return Ok(());
        }
        if stop.reason() == StopReason::Signal(Signal::TRAP) {
            return Err(format!("M1: {stop:?}, and no program traps"));
        }
        let Some(id) = software(stop) else { return Ok(()) };
        let owner = self.owners.get(&stop.pid());
        let Some(&addr) = owner.and_then(|owner| owner.ever.get(&id)) else {
            return Err(format!("M1: {stop:?}: no breakpoint of this process"));
        };
        // An exec of another thread may have taken the place of this one since.
        let same = owner.is_some_and(|owner| owner.image == kernel.image(stop.pid()));
        if same && pc.is_some_and(|pc| pc != addr) {
            return Err(format!("M1: {stop:?} at {pc:x?}, not at {addr:#x}"));
        }
        match self.threads.get_mut(&stop.tid()) {
            Some(arrival) if arrival.at == Some(addr) && (!arrival.given || arrival.anew) => {
                (arrival.given, arrival.owed, arrival.anew) = (true, false, false);
                Ok(())
            }
            other => Err(format!("M1: {stop:?} twice, or from nowhere: {other:?}")),
        }
    }

    /// The tracer takes a report.
    pub(crate) fn takes(&mut self, report: Report) {
        self.reports.push((report.pid, report.tid, report.kind));
    }

    /// The tracer has seen to what it has taken.
    pub(crate) fn told<R: Rules>(&mut self, kernel: &Kernel<R>) {
        for (pid, tid, kind) in std::mem::take(&mut self.reports) {
            match kind {
                RawKind::Stop(RawReason::VforkDone) => self.vfork_is_over(pid, tid, kernel),
                RawKind::Stop(RawReason::Execed { .. }) => self.execed(pid, kernel),
                RawKind::Ended(_) => self.is_given_back(pid),
                RawKind::Stop(_) => {}
            }
        }
    }

    /// A process has nobody's memory any more.
    fn is_given_back(&mut self, pid: Pid) {
        for owner in self.owners.values_mut() {
            owner.loans.remove(&pid);
        }
    }

    /// A thread has said that its vfork is over.
    fn vfork_is_over<R: Rules>(&mut self, pid: Pid, tid: Tid, kernel: &Kernel<R>) {
        let waits = |(_, owner): &(&Pid, &Owner)| owner.waiter == Some(tid);
        let children: Vec<Pid> = self.owners.iter().filter(waits).map(|(&pid, _)| pid).collect();
        for child in children {
            self.is_given_back(child);
        }
        for pid in kernel.sharers(pid) {
            let Some(owner) = self.owners.get(&pid) else { continue };
            // What is put back is new to who is in a system call there.
            let there = |a: &&mut Arrival| a.last.is_some_and(|last| owner.own.contains_key(&last));
            let mut threads = self.threads.values_mut().filter(|arrival| arrival.pid == pid);
            threads.by_ref().filter(there).for_each(|arrival| arrival.anew = true);
        }
    }
}

/// The breakpoints of a process, as the tracer says, by address.
pub(crate) fn list<R: Rules>(
    tracer: &Tracer<Fake<R>>,
    pid: Pid,
) -> trapline_core::Result<Vec<(u64, BreakpointId)>> {
    let software = |(id, breakpoint)| match breakpoint {
        Breakpoint::Software(at) => Some((at.addr, id)),
        _ => None,
    };
    let mut told: Vec<_> = tracer.breakpoints(pid)?.filter_map(software).collect();
    told.sort_unstable();
    Ok(told)
}

/// The breakpoint in memory that a stop is for.
fn software(stop: &Stopped) -> Option<BreakpointId> {
    match stop.reason() {
        StopReason::Trap(causes) => causes.software,
        _ => None,
    }
}
