//! What is checked of breakpoints in memory.

use trapline_core::{BreakpointId, ExitStatus, ForkKind, Pid, Signal, Tid, Tracer};
use trapline_fake::{Execution, Fake, Kernel, Rules};

use super::{Arrival, Breaks, CODE, Owner, TRAP, Verdict, list};

impl Breaks {
    /// Takes in what was executed.
    pub(crate) fn look<R: Rules>(&mut self, kernel: &Kernel<R>) -> Verdict {
        if self.is_off() {
            return Ok(());
        }
        for execution in kernel.executions(self.seen) {
            self.seen += 1;
            let result = self.executed(execution);
            if kernel.fate(execution.pid).is_none() {
                result?;
            }
        }
        self.wrong.take().map_or(Ok(()), Err)
    }

    fn executed(&mut self, Execution { pid, tid, addr, image, trapped }: Execution) -> Verdict {
        let owner = self.owners.get(&pid);
        let owned = owner.is_some_and(|o| o.image == Some(image) && o.own.contains_key(&addr));
        let lent = owner.is_some_and(Owner::is_lent);
        let old = self.threads.get(&tid).filter(|old| (old.pid, old.image) == (pid, image));
        let mut now = old.copied().unwrap_or(Arrival::new(pid, image));
        // A system call that was interrupted is made again.
        let again = now.last == Some(addr);
        let wrong = match now.at {
            Some(at) if at != addr => Some(format!("goes on at {addr:#x}, and not from {at:#x}")),
            Some(_) if !trapped && now.owed => {
                Some(format!("passed {addr:#x}, and nobody said so"))
            }
            None if !trapped && owned && !lent && !again => Some(format!("ran past {addr:#x}")),
            _ => None,
        };
        if !trapped {
            now = Arrival { last: Some(addr), ..Arrival::new(pid, image) };
        } else if now.at != Some(addr) {
            (now.at, now.given, now.owed) = (Some(addr), again, owned && !again);
            now.anew &= again;
        }
        self.threads.insert(tid, now);
        wrong.map_or(Ok(()), |wrong| Err(format!("M1: {tid} {wrong}")))
    }

    /// The tracer may know processes that are new: what it says of their breakpoints.
    pub(crate) fn meet<R: Rules>(
        &mut self,
        kernel: &Kernel<R>,
        tracer: &Tracer<Fake<R>>,
    ) -> Verdict {
        let new: Vec<Pid> = self.owners.iter().filter(|(_, o)| !o.known).map(|(&p, _)| p).collect();
        for pid in new {
            let (Ok(told), true) = (list(tracer, pid), kernel.is_traced(pid)) else { continue };
            let Some(owner) = self.owners.get(&pid) else { continue };
            let (sure, made) = (owner.sure, owner.made);
            let Some((maker, kind)) = made else { continue };
            let makers = match kind {
                ForkKind::Vfork => Vec::new(),
                _ => self.of(maker),
            };
            let from = self.owners.get(&maker);
            let dead = kernel.fate(maker).is_some() || kernel.threads(maker).is_empty();
            let lives = !dead && !owner.orphan && from.is_some_and(|from| !from.leaves);
            let same = lives && kernel.image(maker) == kernel.image(pid);
            if same && sure && told != makers {
                return Err(format!("M1: {pid} has {told:?}, its maker {maker} {makers:?}"));
            }
            // Of several that are dead the tracer may take another one for its creator.
            let all: Vec<_> = match lives {
                true => from.into_iter().map(|owner| &owner.ever).collect(),
                false => {
                    self.owners.values().map(|owner| &owner.ever).chain([&self.past]).collect()
                }
            };
            let had = |&(addr, id): &(u64, BreakpointId)| {
                all.iter().any(|ever| ever.get(&id) == Some(&addr))
            };
            if !told.iter().all(had) {
                return Err(format!("M1: {pid} has {told:?}, of which its maker knows nothing"));
            }
            if let Some(owner) = self.owners.get_mut(&pid) {
                owner.known = true;
                owner.ever = told.iter().map(|&(addr, id)| (id, addr)).collect();
                // Each as often as its creator had asked for it.
                owner.own = told.into_iter().map(|(addr, id)| (addr, (id, None))).collect();
            }
        }
        Ok(())
    }

    /// The tracer is told that a process has exec'ed, or is not concerned.
    pub(super) fn execed<R: Rules>(&mut self, pid: Pid, kernel: &Kernel<R>) {
        if let Some(owner) = self.owners.get_mut(&pid) {
            owner.own.clear();
            owner.loans.clear();
            (owner.image, owner.for_good, owner.waiter) = (kernel.image(pid), false, None);
        }
        self.is_given_back(pid);
    }

    /// A request is about to be made.
    pub(crate) fn before<R: Rules>(&mut self, kernel: &Kernel<R>, name: &str, id: i32) {
        let looks = matches!(name, "is_uninterruptible" | "is_unkillable" | "is_asleep");
        if self.is_off() || self.wrong.is_some() || looks {
            return;
        }
        if matches!(name, "resume" | "detach") {
            self.told(kernel);
        }
        self.wrong = self.look(kernel).and_then(|()| self.at_any_time(kernel)).err();
        if name == "detach" {
            let of = |pid: &Pid| kernel.threads(*pid).iter().any(|tid| tid.as_raw() == id);
            if let Some(pid) = kernel.processes().into_iter().find(of) {
                self.leaves(pid);
            }
        }
    }

    /// What holds before every request.
    pub(crate) fn at_any_time<R: Rules>(&mut self, kernel: &Kernel<R>) -> Verdict {
        let pids: Vec<Pid> = self.owners.keys().copied().collect();
        for pid in pids {
            if kernel.fate(pid).is_some() || kernel.threads(pid).is_empty() {
                continue;
            }
            if kernel.delivered(pid, Signal::TRAP) > 0 {
                return Err(format!("M1: {pid} was given a SIGTRAP"));
            }
            let memory = kernel.memory(pid, CODE, self.code.len());
            if !kernel.is_traced(pid) && memory != self.code {
                return Err(format!("F3: {pid} is not traced, and has {memory:x?}"));
            }
            self.look_for_loans(pid, kernel);
            let Some(owner) = self.owners.get_mut(&pid) else { continue };
            if owner.is_lent() || owner.leaves || owner.image != kernel.image(pid) {
                continue;
            }
            for &addr in owner.own.keys() {
                if memory.get((addr - CODE) as usize) == Some(&TRAP) {
                    continue;
                }
                let led = |a: &Arrival| [a.at, a.last].contains(&Some(addr));
                let led = |tid: &Tid| self.threads.get(tid).is_some_and(led);
                let free = |tid: &Tid| kernel.acts(*tid) && !led(tid);
                if let Some(tid) = kernel.threads(pid).into_iter().find(free) {
                    return Err(format!("M1: {tid} can run past {addr:#x}"));
                }
            }
        }
        let trapped = ExitStatus::Killed { signal: Signal::TRAP, core_dumped: true };
        match self.owners.keys().find(|&&pid| kernel.fate(pid) == Some(trapped)) {
            Some(pid) => Err(format!("F3: {pid} was killed by a trap")),
            None => Ok(()),
        }
    }

    /// Who is not traced and has a process's memory, or will.
    fn look_for_loans<R: Rules>(&mut self, pid: Pid, kernel: &Kernel<R>) {
        let leaves = |pid: &Pid| self.owners.get(pid).is_some_and(|owner| owner.leaves);
        let mut outside = kernel.sharers(pid);
        outside.retain(|other| *other != pid);
        outside.retain(|other| !self.follow_both || leaves(other) || !kernel.is_traced(*other));
        // Nobody waits for it who will report that.
        let returns = |other: &Pid| match self.owners.get(other).and_then(|owner| owner.made) {
            Some((maker, ForkKind::Vfork)) => {
                kernel.fate(maker).is_none() && kernel.is_traced(maker) && !leaves(&maker)
            }
            _ => false,
        };
        let lent = |other: &Pid| self.owners.get(other).is_some_and(|owner| owner.for_good);
        let for_good = !outside.iter().all(returns) || kernel.sharers(pid).iter().any(lent);
        let Some(owner) = self.owners.get(&pid) else { return };
        // If its creator was detached, nobody knows whether that lives; if it is dead, nobody knows
        // whether it was one that was detached.
        let gone = |maker: Pid| kernel.fate(maker).is_some() || kernel.threads(maker).is_empty();
        let gone = owner.made.is_some_and(|(maker, _)| leaves(&maker) || gone(maker));
        let left = owner.waiter.is_some()
            && (gone || owner.orphan)
            && self.owners.values().any(|owner| owner.leaves);
        if let Some(owner) = self.owners.get_mut(&pid) {
            owner.for_good |= for_good || left;
            owner.loans.extend(outside);
        }
    }

    pub(crate) fn is_lent_for_good(&self, pid: Pid) -> bool {
        self.owners.get(&pid).is_some_and(|owner| owner.for_good)
    }

    /// Nothing is to come any more.
    pub(crate) fn settled<R: Rules>(
        &mut self,
        kernel: &Kernel<R>,
        tracer: &Tracer<Fake<R>>,
    ) -> Verdict {
        if self.is_off() {
            return Ok(());
        }
        self.at_any_time(kernel)?;
        for (&tid, arrival) in &self.threads {
            let pid = arrival.pid;
            let there = kernel.fate(pid).is_none() && kernel.threads(pid).contains(&tid);
            let there = there && kernel.image(pid) == Some(arrival.image);
            if there && arrival.owed {
                return Err(format!(
                    "M1: nobody said that {tid} has met a breakpoint: {arrival:?}"
                ));
            }
            if let (true, true, Some(at)) = (there, kernel.acts(tid), arrival.at) {
                return Err(format!("M1: {tid} runs, and never went on from {at:#x}"));
            }
        }
        for (&pid, owner) in &self.owners {
            if kernel.fate(pid).is_some() || !kernel.is_traced(pid) || !owner.known || owner.leaves
            {
                continue;
            }
            let told = list(tracer, pid).map_err(|error| format!("M1: of {pid}: {error}"))?;
            if told != self.of(pid) {
                return Err(format!("M1: {pid} has {told:?}, not {:?}", self.of(pid)));
            }
            if owner.is_lent() {
                continue;
            }
            let mut wanted = self.code.to_vec();
            let sharers = kernel.sharers(pid);
            for (addr, _) in sharers.iter().flat_map(|&sharer| self.of(sharer)) {
                wanted[(addr - CODE) as usize] = TRAP;
            }
            let mut memory = kernel.memory(pid, CODE, self.code.len());
            // One that was killed and is still on its way out may be about to leave some there.
            let leaving = sharers.iter().filter(|&&sharer| kernel.fate(sharer).is_some());
            let left = leaving.filter_map(|sharer| self.owners.get(sharer));
            for &addr in left.flat_map(|owner| owner.ever.values()) {
                let at = (addr - CODE) as usize;
                memory[at] = wanted[at];
            }
            if memory != wanted {
                return Err(format!("M1: {pid} has {memory:x?} in memory, not {wanted:x?}"));
            }
        }
        Ok(())
    }

    /// All breakpoints were removed.
    pub(crate) fn all_removed<R: Rules>(&self, kernel: &Kernel<R>) -> Verdict {
        for &pid in self.owners.keys() {
            let memory = kernel.memory(pid, CODE, self.code.len());
            let lives = kernel.fate(pid).is_none() && !kernel.threads(pid).is_empty();
            // What a parent that waits in vfork cannot take out goes when it stops.
            let alone = kernel.sharers(pid).len() < 2;
            if lives && alone && memory != self.code {
                return Err(format!("M1: {memory:x?} is left in {pid}"));
            }
        }
        Ok(())
    }
}
