//! Steps that a debugger means: to a place, out of a range of code.

use std::ops::Range;

use crate::backend::Run;
use crate::{
    Arch, Backend, Breakpoint, BreakpointId, BreakpointSet, ConditionalBreakpoint, Error, Event,
    Pid, Result, SoftwareBreakpoint, StopReason, Stopped, Tid, TrapCauses,
};

use super::{Resume, Tracer};

/// Where a thread has come to that was to [get somewhere](Tracer::run_to).
///
/// ```
/// use trapline::{Reached, Stopped};
///
/// fn arrived(reached: Reached) -> Option<Stopped> {
///     match reached {
///         Reached::There(stop) => Some(stop),
///         _ => None,
///     }
/// }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum Reached {
    /// Where it was to get.
    There(Stopped),
    /// Something else has happened first.
    Other(Event),
}

/// The end of a step.
const STEP: TrapCauses =
    TrapCauses { single_step: true, software: None, hardware: BreakpointSet::EMPTY };

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

impl<B: Backend> Tracer<B> {
    /// Runs a thread until it arrives at one of these addresses, or reports something else: a signal,
    /// a breakpoint, its end, the call of a [`Waker`](crate::Waker). Other threads run as they do with
    /// [`resume`](Tracer::resume), pass the addresses unnoticed, and their events stay in the queue.
    ///
    /// The thread stops each time that it comes to an address, be it in a deeper call of the same
    /// function. Where the user has no breakpoint it stops as at the end of a step.
    ///
    /// ```no_run
    /// use trapline::{Reached, Result, Stopped, Tracer};
    ///
    /// /// Runs to the end of a function whose return address is known.
    /// fn finish(tracer: &mut Tracer, stop: Stopped, returns_to: u64) -> Result<Option<Stopped>> {
    ///     Ok(match tracer.run_to(stop, [returns_to])? {
    ///         Reached::There(stop) => Some(stop),
    ///         other => {
    ///             println!("{other:?} before it had returned");
    ///             None
    ///         }
    ///     })
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`insert_breakpoint`](Tracer::insert_breakpoint), with nothing changed, and as
    /// [`wait`](Tracer::wait). [`Error::Gone`] if the thread ends without an event.
    pub fn run_to(&mut self, stop: Stopped, addrs: impl AsRef<[u64]>) -> Result<Reached> {
        self.asked(&stop)?;
        let (pid, tid) = (stop.pid, stop.tid);
        let mut inserted = Vec::new();
        for &addr in addrs.as_ref() {
            match self.insert_for(pid, tid, addr) {
                Ok(id) => inserted.push(id),
                Err(error) => {
                    self.remove_each(pid, &inserted);
                    return Err(error);
                }
            }
        }
        let event = self
            .resume(stop, Resume::Continue)
            .and_then(|()| self.next_alone(pid, tid, Run::Continue));
        self.remove_each(pid, &inserted);
        Ok(match event? {
            Event::Stopped(stop) if hits(&stop).is_some_and(|id| inserted.contains(&id)) => {
                Reached::There(self.arrived(stop)?)
            }
            event => Reached::Other(event),
        })
    }

    /// Steps a thread until its program counter is out of a range of code, which is a line of a
    /// program, say; or until it reports something else. Functions that the range calls are run
    /// through at once, with a breakpoint where they return.
    ///
    /// The thread stops outside of the range at whatever instruction it comes to: of the next line,
    /// of its caller after a return, of a function that the range jumps to. A breakpoint inside the
    /// range, or in a function that it calls, is reported.
    ///
    /// ```no_run
    /// use trapline::{Reached, Result, Stopped, Tracer};
    ///
    /// /// The command `next` of a debugger, for the line with this code.
    /// fn next_line(tracer: &mut Tracer, stop: Stopped, line: (u64, u64)) -> Result<Reached> {
    ///     tracer.step_range(stop, line.0..line.1)
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`run_to`](Tracer::run_to).
    pub fn step_range(&mut self, stop: Stopped, range: Range<u64>) -> Result<Reached> {
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
        if self.breakpoints(stop.pid)?.any(|(there, _)| Some(there) == id) {
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
            match self.run_to(stop, [returns_to])? {
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
        self.resume(stop, Resume::Step)?;
        let stop = match self.next_alone(pid, tid, Run::Step)? {
            Event::Stopped(stop) if is_plain_step(&stop) => stop,
            event => return Ok(Stepped::Other(event)),
        };
        let after = self.registers(&stop)?;
        if range.contains(&<B::Arch as Arch>::pc(&after)) {
            return Ok(Stepped::Inside(stop));
        }
        let reader = self.at(&stop);
        let word = |addr| reader.read_value::<u64>(addr).ok();
        Ok(match <B::Arch as Arch>::called_from(&before, &after, &word) {
            Some(returns_to) => Stepped::Called(stop, returns_to, <B::Arch as Arch>::sp(&before)),
            None => Stepped::Outside(stop),
        })
    }

    /// A breakpoint for one thread; if the process has one at the place already, that one.
    fn insert_for(&mut self, pid: Pid, tid: Tid, addr: u64) -> Result<BreakpointId> {
        let own = ConditionalBreakpoint::from(SoftwareBreakpoint { addr }).thread(tid);
        match self.insert_breakpoint(pid, own) {
            Err(Error::BadBreakpoint { .. }) => {
                let there = self.breakpoints(pid)?.find(|(_, breakpoint)| {
                    matches!(breakpoint, Breakpoint::Software(there) if there.addr == addr)
                });
                match there {
                    Some((_, breakpoint)) => self.insert_breakpoint(pid, breakpoint),
                    None => Err(Error::BadAddress { addr }),
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

    /// Asks for an event of one thread that runs: [`StopReason::Interrupted`], unless something else
    /// happens first. A thread that is stopped already has its event or its token.
    ///
    /// ```no_run
    /// use trapline::{Event, Only, Pid, Result, Tid, Tracer};
    ///
    /// /// Where a thread is.
    /// fn place(tracer: &mut Tracer, pid: Pid, tid: Tid) -> Result<Option<u64>> {
    ///     tracer.interrupt_thread(tid)?;
    ///     match tracer.wait_for(Only::Thread(pid, tid))? {
    ///         Some(Event::Stopped(stop)) => Ok(Some(tracer.registers(&stop)?.pc())),
    ///         _ => Ok(None),
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Gone`] if there is no such thread of a tracee.
    ///
    /// # Platform notes
    ///
    /// FreeBSD stops the process as a whole, and the thread that reports it can be another one; the
    /// others are given by [`halt`](Tracer::halt).
    pub fn interrupt_thread(&mut self, tid: Tid) -> Result<()> {
        let Some(index) = self.table.find_thread(tid) else {
            // One whose birth nobody has told.
            let (pid, _) = self.backend.get_mut().process_of(tid).map_err(|_| Error::Gone)?;
            return self.interrupt(pid);
        };
        let slot = self.table.slot(index);
        if slot.is_dead() {
            return Err(Error::Gone);
        }
        if slot.rests() {
            self.queue(index, StopReason::Interrupted);
            return Ok(());
        }
        if slot.is_stopped() || self.ask_to_stop(index)? { Ok(()) } else { Err(Error::Gone) }
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
