//! Inserting breakpoints in memory, one or many at a time, and which arrivals at them are reported.

use std::cell::RefCell;

use crate::address_space::Shared;
use crate::backend::Thread;
use crate::breakpoint::BreakpointHit;
use crate::error::About;
use crate::error::unless_gone;
use crate::{
    Arch, Backend, Breakpoint, BreakpointId, BreakpointSpec, Error, Pid, Result, SoftwareBreakpoint,
};

use super::super::{Engine, ProcessHandle};

impl<B: Backend> Engine<B> {
    /// Inserts a breakpoint in memory with rules of which arrivals are reported.
    pub(in crate::engine) fn insert_with_rules(
        &mut self,
        process: ProcessHandle,
        insertion: BreakpointSpec<<B::Arch as Arch>::Registers>,
    ) -> Result<BreakpointId> {
        let BreakpointSpec { breakpoint, rules } = insertion;
        let Breakpoint::Software(breakpoint) = breakpoint else {
            return self.insert_plain(process, breakpoint);
        };
        let entry = self.table.process(process);
        let known = entry.space.as_ref().and_then(|i| i.borrow().owned(breakpoint.addr, entry.pid));
        let ruled = known.is_some_and(|id| self.software.rules.contains_key(&id));
        if ruled || known.is_some() && rules.is_some() {
            let why = "the process has one at this address; a conditional one must be the only one";
            return Err(Error::bad_breakpoint(why));
        }
        let id = self.insert_software(process, breakpoint)?;
        if let Some(rules) = rules {
            self.software.rules.insert(id, rules);
        }
        Ok(id)
    }

    /// Whether the arrival of a thread is reported.
    pub(super) fn admits(
        &mut self,
        index: u32,
        id: BreakpointId,
        registers: &<B::Arch as Arch>::Registers,
    ) -> bool {
        if self.software.rules.is_empty() {
            return true;
        }
        let Some(mut rules) = self.software.rules.remove(&id) else { return true };
        let thread = self.table.slot(index).thread;
        let mut read = |addr, buf: &mut [u8]| self.read_as_program(thread, addr, buf);
        let (pid, tid) = (thread.pid, thread.tid);
        let memory = RefCell::new(&mut read as crate::breakpoint::Memory<'_>);
        let admitted = rules.admit(&BreakpointHit { pid, tid, id, registers, memory });
        self.software.rules.insert(id, rules);
        admitted
    }

    /// The event of an arrival is given: a breakpoint that is for one alone is removed.
    pub(in crate::engine) fn is_given(&mut self, index: u32, id: BreakpointId) {
        if !self.software.rules.get(&id).is_some_and(|rules| rules.once) {
            return;
        }
        let slot = self.table.slot(index);
        let (thread, process) = (slot.thread, slot.process);
        if slot.soft.at.place().is_some_and(|at| slot.soft.expects.contains(&at)) {
            return; // it has stopped for the engine
        }
        let Some(space) = self.table.process(process).space.clone() else { return };
        space.borrow_mut().release(thread.pid, id);
        self.forget_rules(id);
        // A thread that runs into it steps over it until it can be taken out.
        if let Err(error) = unless_gone(self.settle(&space, thread)) {
            self.failures.note(thread.pid, error);
            self.queue_step_over(thread.pid);
        }
    }

    /// A process has a breakpoint no more; the children of forks may.
    pub(super) fn forget_rules(&mut self, id: BreakpointId) {
        let has = |space: &Shared| space.borrow().has(id);
        let mut spaces = self.table.processes().filter_map(|(_, p)| p.space.as_ref());
        if !self.software.rules.is_empty() && !spaces.any(has) {
            self.software.rules.remove(&id);
        }
    }

    /// Inserts many breakpoints in memory at once, into a process that runs or is stopped.
    pub(crate) fn insert_breakpoints(
        &mut self,
        pid: Pid,
        breakpoints: impl IntoIterator<Item = SoftwareBreakpoint>,
    ) -> Result<Vec<Result<BreakpointId>>> {
        let process = self.staying(pid)?;
        let breakpoints = breakpoints.into_iter().enumerate();
        let mut wanted: Vec<(u64, usize)> = breakpoints.map(|(at, b)| (b.addr, at)).collect();
        wanted.sort_unstable();
        let insert = |tracer: &mut Self, thread| tracer.insert_each(process, thread, &wanted);
        let mut results = self.with_stopped(process, insert)?;
        results.sort_unstable_by_key(|&(at, _)| at);
        Ok(results.into_iter().map(|(_, result)| result.about(pid)).collect())
    }

    /// Inserts breakpoints at addresses that are in order, each with a number that its result has, too.
    pub(super) fn insert_each(
        &mut self,
        process: ProcessHandle,
        thread: Thread,
        wanted: &[(u64, usize)],
    ) -> Result<Vec<(usize, Result<BreakpointId>)>> {
        let pid = self.table.process(process).pid;
        let mut addresses: Vec<u64> = wanted.iter().map(|&(addr, _)| addr).collect();
        addresses.dedup();
        let space = self.known_space_of(process, thread)?;
        let located = self.locate(&space, thread, &addresses)?;
        // Of several at one address each has its own error.
        let mut located = addresses.into_iter().zip(located).peekable();
        let mut results: Vec<(u64, usize, Result<BreakpointId>)> = Vec::new();
        for &(addr, at) in wanted {
            while located.next_if(|&(of, _)| of < addr).is_some() {}
            let result = match located.peek() {
                Some((_, Err(error))) => Err(error.clone()),
                _ if space.borrow().overlaps(addr, Self::INT.len()) => {
                    Err(Error::bad_address(addr))
                }
                _ => {
                    let known = space.borrow().owned(addr, pid);
                    let id = known.unwrap_or_else(|| self.next_breakpoint());
                    space.borrow_mut().own(addr, pid, id);
                    Ok(id)
                }
            };
            results.push((addr, at, result));
        }
        while let Err((addr, error)) = self.settle_each(&space, thread) {
            let refused = |(of, _, result): &(u64, usize, Result<BreakpointId>)| {
                *of == addr && result.is_ok()
            };
            let is_one = !error.is_gone() && results.iter().any(refused);
            for (_, _, result) in results.iter_mut().filter(|(of, ..)| !is_one || *of == addr) {
                if let Ok(id) = std::mem::replace(result, Err(error.clone())) {
                    space.borrow_mut().release(pid, id);
                }
            }
            if !is_one {
                return Err(error);
            }
        }
        self.rest_for_loan(process, &space)?;
        Ok(results.into_iter().map(|(_, at, result)| (at, result)).collect())
    }

    /// Removes many breakpoints at once, as `insert_breakpoints` inserts them.
    pub(crate) fn remove_breakpoints(
        &mut self,
        pid: Pid,
        ids: impl IntoIterator<Item = BreakpointId>,
    ) -> Result<Vec<bool>> {
        let process = self.shown(pid)?;
        let space = self.table.process(process).space.clone();
        let mut removed = Vec::new();
        for id in ids {
            let software = space.as_ref().is_some_and(|i| i.borrow_mut().release(pid, id));
            if software {
                self.forget_rules(id);
            }
            removed.push(software || self.remove_hardware(process, id)?);
        }
        if let Some(space) = space {
            self.settle_removed(process, &space)?;
        }
        Ok(removed)
    }
}
