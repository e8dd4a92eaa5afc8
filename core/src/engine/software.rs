//! Breakpoint instructions in memory.
//!
//! They belong to an [address space](crate::address_space): a `vfork` child has its parent's, the child of
//! a fork a copy. Each process owns the breakpoints that were inserted into it. A thread steps over those
//! of other processes without an event. [`hit`] looks a trap up. [`go_on`] finds out whether a thread that
//! is to run stands at a breakpoint; it then gets past that in [`slots`] or in [`step_over`]. [`memory`]
//! shows memory without the instructions. [`inherit`], [`sharers`] and [`remove_all`] put them in and take
//! them out as processes come, go and are detached.

mod copies;
mod former;
mod go_on;
mod handlers;
mod hit;
pub(super) mod inherit;
mod inside;
mod linker;
mod loan;
mod memory;
mod position;
mod pushed;
mod remove_all;
mod rewritten;
mod rules;
mod settle;
mod sharers;
mod slots;
mod step_over;
mod untraced;

use std::collections::VecDeque;
use std::rc::Rc;

use rustc_hash::FxHashMap;
use thin_vec::ThinVec;

use crate::address_space::{AddressSpace, At, InMemory, Shared};
use crate::backend::{Run, Thread};
use crate::breakpoint::Rules;
use crate::code_cache::CodeCache;
use crate::limits::HELD_FOR;
use crate::{
    Backend, Breakpoint, BreakpointId, CodeMode, Error, Pid, Result, SoftwareBreakpoint, StepOver,
};

use super::{Engine, ProcessHandle};
use handlers::Handler;
use position::Owed;

pub(super) use slots::Onward;

/// What a thread has to do with breakpoints in memory.
#[derive(Debug, Default, Clone)]
pub(super) struct Soft {
    /// Where it is.
    at: At,
    /// In which mode it executes the code there.
    mode: CodeMode,
    /// It is to be run so, once it is past the breakpoint.
    queued: Option<Run>,
    /// It is on its way past the breakpoint; how it is to be run then.
    stepping_over: Option<Run>,
    /// A step may be done that its last stop has come before.
    pub(super) stray_step: bool,
    /// It has entered the system call at this address, and has not trapped since.
    entered: Option<u64>,
    /// Whether it waits in `vfork`.
    pub(super) vfork: Vfork,
    /// It runs into the breakpoint there once more, which is no new arrival.
    again: Option<u64>,
    /// Where it is to stop for the engine, whatever the rules of a breakpoint of the user's there.
    pub(super) expects: ThinVec<u64>,
    /// A trap of a breakpoint instruction that its last stop has come before.
    owed: Owed,
    /// Handlers that it runs, and that come back to a breakpoint.
    handlers: ThinVec<Handler>,
    /// What the memory was when it was last run.
    pub(super) seen: u64,
    /// It is to step over the instruction there, which stores the flags.
    stores_flags_at: Option<u64>,
}

/// Whether a thread waits in `vfork`. It stops when that is over, before it does anything else.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Vfork {
    #[default]
    No,
    /// For this process.
    For(Pid),
    /// For a thread, or for one that has ended.
    ForAnother,
}

impl Vfork {
    pub(super) fn waits(self) -> bool {
        self != Vfork::No
    }

    /// The process that it waits for.
    fn child(self) -> Option<Pid> {
        match self {
            Vfork::For(child) => Some(child),
            Vfork::No | Vfork::ForAnother => None,
        }
    }
}

impl Soft {
    /// What a new thread has to do with them.
    pub(super) fn starting(in_slot: bool) -> Self {
        Soft { at: if in_slot { At::InAnySlot } else { At::Nowhere }, ..Soft::default() }
    }

    /// Whether it waits to be led past a breakpoint.
    pub(super) fn is_queued(&self) -> bool {
        self.queued.is_some()
    }

    /// It waits no more; how it is to be run.
    pub(super) fn take_queued(&mut self) -> Option<Run> {
        self.queued.take()
    }

    /// It is on its way past a breakpoint no more; how it is to be run.
    pub(super) fn take_stepping_over(&mut self) -> Option<Run> {
        self.stepping_over.take()
    }

    /// Whether it may be at a breakpoint, or in a slot.
    #[inline]
    fn is_at_any(&self) -> bool {
        !matches!(self.at, At::Nowhere | At::Exiting)
    }

    /// It does not go on from where it is.
    pub(super) fn forget_place(&mut self) {
        self.at.leave();
    }

    /// It has executed an instruction: no system call is made again.
    pub(super) fn left_call(&mut self) {
        self.entered = None;
    }

    /// It is on its way out.
    pub(super) fn executes_no_more(&mut self) {
        self.at.exits();
    }
}

/// What the engine keeps for breakpoints in memory, apart from the table.
pub(super) struct Software<R> {
    /// Processes with threads to lead past a breakpoint.
    queue: VecDeque<Pid>,
    /// The registers of threads whose breakpoint instruction has trapped, by their slots.
    registers: Vec<Option<R>>,
    /// Whether threads step over breakpoints out of line, where that is possible.
    out_of_line: bool,
    /// The registers of a thread, by its slot, that were read to find out why it has stopped.
    looked: Option<(u32, R)>,
    /// Breakpoints of which not every arrival is reported.
    rules: FxHashMap<BreakpointId, Box<Rules<R>>>,
    /// For steps.
    code: CodeCache,
    /// Breakpoints that were in memory of processes that are gone.
    former: Vec<former::Former>,
    /// Steps were made since something else was.
    stepping: bool,
}

impl<R> Software<R> {
    pub(super) fn new(step_over: StepOver) -> Self {
        let out_of_line = step_over == StepOver::OutOfLine;
        Software {
            queue: VecDeque::new(),
            registers: Vec::new(),
            out_of_line,
            looked: None,
            rules: FxHashMap::default(),
            code: CodeCache::default(),
            former: Vec::new(),
            stepping: false,
        }
    }
}

impl<B: Backend> Engine<B> {
    pub(super) fn insert_software(
        &mut self,
        process: ProcessHandle,
        breakpoint: SoftwareBreakpoint,
    ) -> Result<BreakpointId> {
        let addr = breakpoint.addr;
        let pid = self.table.process(process).pid;
        self.with_stopped(process, |tracer, thread| {
            // Not before: an exec of another thread may have taken all of them away.
            if let Some(space) = tracer.table.process(process).space.clone() {
                let known = space.borrow().owned(addr, pid);
                if let Some(id) = known {
                    tracer.insert_again(&space, thread, addr)?;
                    space.borrow_mut().own(addr, pid, id);
                    return Ok(id);
                }
            }
            let inserted = tracer.insert_each(process, thread, &[(addr, 0)])?;
            inserted.into_iter().next().map_or(Err(Error::bad_address(addr)), |(_, id)| id)
        })
    }

    /// A breakpoint that the process has is asked for once more: the program may have put something
    /// else there meanwhile, or other memory.
    fn insert_again(&mut self, space: &Shared, thread: Thread, addr: u64) -> Result<()> {
        if space.borrow().is_inserted(addr) && self.has_breakpoint(thread, addr)? {
            return Ok(());
        }
        // What follows there now may be other code.
        space.borrow_mut().found(addr, InMemory::No);
        self.look_for_lost(space, thread)?;
        for located in self.locate(space, thread, &[addr])? {
            located?;
        }
        self.settle(space, thread)
    }

    /// Says whether the process had it.
    pub(super) fn remove_software(
        &mut self,
        process: ProcessHandle,
        id: BreakpointId,
    ) -> Result<bool> {
        let entry = self.table.process(process);
        let (pid, Some(space)) = (entry.pid, entry.space.clone()) else { return Ok(false) };
        if !space.borrow_mut().release(pid, id) {
            return Ok(false);
        }
        if space.borrow().is_lent() {
            self.end_loan(&space);
        }
        self.forget_rules(id);
        self.settle_removed(process, &space)?;
        Ok(true)
    }

    /// Takes out of memory what was removed.
    fn settle_removed(&mut self, process: ProcessHandle, space: &Shared) -> Result<()> {
        if space.borrow().is_settled() {
            return Ok(());
        }
        let settle = |tracer: &mut Self, _| tracer.settle_sharers(space, process);
        match self.with_stopped(process, settle) {
            // A thread that runs into it steps over it until it can be taken out.
            Ok(()) | Err(Error::Gone { .. } | Error::NotStopped { .. }) => Ok(()),
            Err(error) => {
                // So it is with this one, which the next wait takes out.
                self.failures.stepping_over = true;
                let pid = self.table.process(process).pid;
                self.queue_step_over(pid);
                Err(error)
            }
        }
    }

    pub(super) fn software_of(&self, process: ProcessHandle) -> Vec<(BreakpointId, Breakpoint)> {
        let process = self.table.process(process);
        let Some(space) = &process.space else { return Vec::new() };
        let space = space.borrow();
        let own = space.of(process.pid);
        own.map(|(id, addr)| (id, SoftwareBreakpoint { addr }.into())).collect()
    }

    /// Does something that needs a stopped thread of a process: any one will do.
    fn with_stopped<T>(
        &mut self,
        process: ProcessHandle,
        mut request: impl FnMut(&mut Self, Thread) -> Result<T>,
    ) -> Result<T> {
        if let Some(thread) = self.stopped_thread(process)? {
            match request(self, thread) {
                Err(Error::Gone { .. }) => {} // killed, perhaps with its process, or by an exec of another
                result => return result,
            }
        }
        let mut tries = 0;
        loop {
            let result = self.with_all_stopped(process, |tracer| {
                if !tracer.table.is_there(process) {
                    return Err(Error::GONE);
                }
                let thread = tracer.stopped_sharer(process)?.ok_or(Error::NOT_STOPPED)?;
                match request(tracer, thread) {
                    Err(Error::Gone { .. }) if tracer.table.is_there(process) => {
                        Err(Error::NOT_STOPPED)
                    }
                    result => result,
                }
            });
            tries += 1;
            let held = matches!(result, Err(Error::NotStopped { .. }));
            if !held || tries == HELD_FOR || !self.table.is_there(process) {
                return result;
            }
        }
    }

    /// The address space of a process, made if it has none yet: it may be that of another one.
    pub(super) fn space_of(&mut self, process: ProcessHandle) -> Result<Shared> {
        self.inherit_again(process)?;
        let mut space = match &self.table.process(process).space {
            Some(space) if !space.borrow().is_blank() => return Ok(Rc::clone(space)),
            Some(space) => Rc::clone(space),
            None => Rc::<std::cell::RefCell<AddressSpace>>::default(),
        };
        let mut sharers = vec![process];
        let mut at = 0;
        while let Some(&sharer) = sharers.get(at) {
            for other in self.vfork_relatives(sharer) {
                if sharers.contains(&other) || !self.share(sharer, other)? {
                    continue;
                }
                let theirs = self.table.process(other).space.as_ref();
                if let Some(theirs) = theirs.filter(|space| !space.borrow().is_blank()) {
                    space = Rc::clone(theirs);
                }
                sharers.push(other);
            }
            at += 1;
        }
        for sharer in sharers {
            self.table.process_mut(sharer).space = Some(Rc::clone(&space));
            // A child whose fork is reported half has it as well.
            let pid = self.table.process(sharer).pid;
            for fork in self.forks.announced_by(pid) {
                fork.space = Some(Rc::clone(&space));
            }
        }
        Ok(space)
    }
}
