//! Steps that a debugger means: to a place, out of a range of code.

use std::ops::Range;

use crate::backend::Run;
use crate::error::About;
use crate::{
    Arch, Backend, Breakpoint, BreakpointId, BreakpointSet, ConditionalBreakpoint, Error, Event,
    Pid, Reached, Result, Resume, SoftwareBreakpoint, StopReason, Stopped, Tid, TrapCauses,
};

use super::Engine;

/// The end of a step.
const STEP: TrapCauses = TrapCauses {
    single_step: true,
    software: None,
    hardware: BreakpointSet::EMPTY,
    modules_changed: false,
};

/// What a step inside a range has led to.
enum Stepped {
    /// The next instruction of the range.
    Inside(Stopped),
    /// The first instruction of a function that the range calls, which returns to this address, with
    /// the stack pointer of before the call.
    Called(Stopped, u64, u64),
    /// Out of the range.
    Outside(Stopped),
    Other(Event),
}

impl<B: Backend> Engine<B> {
    /// Runs a thread until it arrives at one of these addresses, or reports something else.
    pub(crate) fn run_to(&mut self, stop: Stopped, addrs: &[u64]) -> Result<Reached> {
        self.asked(&stop)?;
        let (pid, tid) = (stop.pid, stop.tid);
        let mut inserted = Vec::new();
        for &addr in addrs {
            match self.insert_for(pid, tid, addr) {
                Ok(id) => inserted.push(id),
                Err(error) => {
                    self.remove_each(pid, &inserted);
                    return Err(error);
                }
            }
        }
        self.table.slot_mut(stop.place.index).soft.expects = addrs.into();
        let event = self
            .resume(stop.into(), Resume::Continue)
            .and_then(|()| self.next_alone(pid, tid, Run::Continue));
        if let Some(index) = self.table.find_thread_of(pid, tid) {
            self.table.slot_mut(index).soft.expects.clear();
        }
        self.remove_each(pid, &inserted);
        Ok(match event? {
            Event::Stopped(stop) if hits(&stop).is_some_and(|id| inserted.contains(&id)) => {
                Reached::There(self.arrived(stop)?)
            }
            event => Reached::Other(event),
        })
    }

    /// Steps a thread until its program counter is out of a range of code, which is a line of a
    /// program, say.
    pub(crate) fn step_range(&mut self, stop: Stopped, range: Range<u64>) -> Result<Reached> {
        let mut stop = stop;
        loop {
            stop = match self.step_in(stop, &range)? {
                Stepped::Inside(stop) => stop,
                Stepped::Outside(stop) => return Ok(Reached::There(stop)),
                Stepped::Other(event) => return Ok(Reached::Other(event)),
                Stepped::Called(stop, returns_to, sp) => {
                    match self.run_back(stop, returns_to, sp)? {
                        Reached::There(stop) if range.contains(&returns_to) => stop,
                        reached => return Ok(reached),
                    }
                }
            };
        }
    }

    /// A thread has arrived where it was to get: unless the user has a breakpoint there, that is the end
    /// of a step, since of the one that has stopped it nobody has heard.
    fn arrived(&mut self, stop: Stopped) -> Result<Stopped> {
        let (index, id) = (stop.place.index, hits(&stop));
        if self.breakpoints(stop.pid)?.iter().any(|&(there, _)| Some(there) == id) {
            return Ok(stop);
        }
        stop.consume();
        self.table.revoke(index);
        Ok(self.token(index, StopReason::Trap(STEP)))
    }

    /// Runs a thread to where a function returns to, through deeper calls of the same.
    fn run_back(&mut self, stop: Stopped, returns_to: u64, sp: u64) -> Result<Reached> {
        let mut stop = stop;
        loop {
            match self.run_to(stop, &[returns_to])? {
                Reached::There(there) => {
                    if <B::Arch as Arch>::sp(&self.registers(&there)?) >= sp {
                        return Ok(Reached::There(there));
                    }
                    stop = there;
                }
                other => return Ok(other),
            }
        }
    }

    /// One step of a thread that is in a range.
    fn step_in(&mut self, stop: Stopped, range: &Range<u64>) -> Result<Stepped> {
        let before = self.registers(&stop)?;
        let (pid, tid) = (stop.pid, stop.tid);
        self.resume(stop.into(), Resume::Step)?;
        let stop = match self.next_alone(pid, tid, Run::Step)? {
            Event::Stopped(stop) if is_plain_step(&stop) => stop,
            event => return Ok(Stepped::Other(event)),
        };
        let after = self.registers(&stop)?;
        if range.contains(&<B::Arch as Arch>::pc(&after)) {
            return Ok(Stepped::Inside(stop));
        }
        let word = |addr| {
            let mut word = [0; 8];
            let read = self.read_memory(&stop, addr, &mut word).ok()?;
            (read == word.len()).then_some(u64::from_ne_bytes(word))
        };
        Ok(match <B::Arch as Arch>::called_from(&before, &after, &word) {
            Some(returns_to) => Stepped::Called(stop, returns_to, <B::Arch as Arch>::sp(&before)),
            None => Stepped::Outside(stop),
        })
    }

    /// A breakpoint for one thread; if the process has one at the place already, that one.
    fn insert_for(&mut self, pid: Pid, tid: Tid, addr: u64) -> Result<BreakpointId> {
        let own = ConditionalBreakpoint::from(SoftwareBreakpoint { addr }).thread(tid);
        match self.insert_breakpoint(pid, own.into()) {
            Err(Error::BadBreakpoint { .. }) => {
                let there = self.breakpoints(pid)?.into_iter().find(|(_, breakpoint)| {
                    matches!(breakpoint, Breakpoint::Software(there) if there.addr == addr)
                });
                let process = self.staying(pid)?;
                match there {
                    Some((_, breakpoint)) => self.insert_plain(process, breakpoint),
                    None => Err(Error::bad_address(addr)),
                }
            }
            inserted => inserted,
        }
    }

    fn remove_each(&mut self, pid: Pid, ids: &[BreakpointId]) {
        for &id in ids {
            if let Err(error) = self.remove_breakpoint(pid, id) {
                if !error.is_gone() {
                    self.failures.note(pid, error);
                }
            }
        }
    }

    /// Asks for an event of one thread that runs.
    pub(crate) fn interrupt_thread(&mut self, tid: Tid) -> Result<()> {
        let Some(index) = self.table.find_thread(tid) else {
            // One whose birth nobody has told.
            let (pid, _) = self.backend.get_mut().process_of(tid).map_err(|_| Error::GONE)?;
            return self.interrupt(pid).about(pid);
        };
        let slot = self.table.slot(index);
        let (pid, gone) = (slot.thread.pid, Error::Gone { pid: Some(slot.thread.pid) });
        if slot.is_dead() {
            return Err(gone);
        }
        if slot.rests() {
            self.queue(index, StopReason::Interrupted);
            return Ok(());
        }
        let asked = slot.is_stopped() || self.ask_to_stop(index).about(pid)?;
        if asked { Ok(()) } else { Err(gone) }
    }
}

/// The breakpoint in memory that a stop is for.
fn hits(stop: &Stopped) -> Option<BreakpointId> {
    match stop.reason {
        StopReason::Trap(TrapCauses { software, .. }) => software,
        _ => None,
    }
}

/// Whether a stop is for a step and nothing else.
fn is_plain_step(stop: &Stopped) -> bool {
    stop.reason == StopReason::Trap(STEP)
}
