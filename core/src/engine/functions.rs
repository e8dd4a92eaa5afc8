//! Functions of the program that a tracee calls for its tracer.
//!
//! The thread is brought to where it can run ([`Backend::leave_place`]), enters the function, and
//! returns to a breakpoint of the tracer's own, at the entry point of the program, which nothing
//! else comes to once the program runs. What it had before is put back then.

use std::task::Poll;

use crate::auxiliary::{self, AT_ENTRY};
use crate::backend::{Patience, Run};
use crate::error::unless_gone;
use crate::{
    Arch, Backend, BreakpointId, CallOutcome, CodeMode, Error, Event, FunctionCall, FunctionEntry,
    Only, Pid, Result, Signal, SoftwareBreakpoint, StopReason, Stopped, Syscall, Tid, TrapCauses,
};

use super::Engine;
use super::software::Soft;
use super::thread::{CallSide, Intent, State, StopKind};
use super::waits::Until;

pub(crate) struct Inside<B: Backend> {
    pub(crate) pid: Pid,
    pub(crate) tid: Tid,
    detour: B::Detour,
    /// The breakpoint that it returns to.
    breakpoint: BreakpointId,
    returns_to: u64,
    returned_sp: u64,
    before: Before<<B::Arch as Arch>::Registers>,
}

/// What the engine knew of a thread.
struct Before<R> {
    registers: R,
    /// They are not what the kernel had.
    hidden: bool,
    soft: Soft,
    run: Run,
    call_side: CallSide,
    stop: StopKind,
    call: Option<Box<Syscall>>,
    reason: StopReason,
    signal: Option<Signal>,
}

impl<B: Backend> Engine<B> {
    /// Has a stopped thread call a function of its program, with whole numbers or addresses as
    /// arguments, six at most, and waits until it returns.
    pub(crate) fn call_function(
        &mut self,
        stop: Stopped,
        addr: u64,
        args: &[u64],
    ) -> Result<CallOutcome<B>> {
        let call = self.enter(&stop, addr, args)?;
        stop.consume();
        let index = self.table.find_thread_of(call.0.pid, call.0.tid).ok_or(Error::GONE)?;
        match self.run_inside(index, Run::Continue, None) {
            Ok(()) => self.await_return(call),
            Err(error) => {
                self.come_back(index, &call, None)?;
                drop(self.token(index, call.0.before.reason));
                Err(error)
            }
        }
    }

    /// Runs on what has come between and waits until the function returns.
    pub(crate) fn continue_call(
        &mut self,
        event: Event,
        call: FunctionCall<B>,
    ) -> Result<CallOutcome<B>> {
        for stop in event.into_stops() {
            self.resume_stop(stop, crate::Resume::Continue)?;
        }
        self.await_return(call)
    }

    /// Gives a call up.
    pub(crate) fn abandon_call(&mut self, stop: Stopped, call: FunctionCall<B>) -> Result<Stopped> {
        self.asked(&stop)?;
        if (stop.pid, stop.tid) != (call.0.pid, call.0.tid) {
            return Err(Error::GONE);
        }
        let index = stop.place.index;
        let kept = match stop.reason {
            StopReason::Signal(_) => stop.signal.filter(|signal| !signal.is_fault()),
            _ => None,
        };
        self.come_back(index, &call, kept)?;
        stop.consume();
        Ok(self.same_stop(index, &call))
    }

    /// Has a thread be at the beginning of a function.
    fn enter(&mut self, stop: &Stopped, addr: u64, args: &[u64]) -> Result<FunctionCall<B>> {
        let thread = self.asked(stop)?;
        let index = stop.place.index;
        let slot = self.table.slot(index);
        let State::Given(reason) = slot.state else { return Err(Error::NOT_STOPPED) };
        if slot.next.is_some() {
            return Err(Error::NOT_STOPPED);
        }
        let process = slot.process;
        let registers = self.noted_registers(index)?;
        if B::code_mode(&registers) != CodeMode::Bits64 {
            return Err(Error::unsupported("a call of 32-bit code", B::SYSTEM));
        }
        if self.backend.get_mut().has_shadow_stack(thread)? {
            return Err(Error::unsupported("a call with a shadow stack", B::SYSTEM));
        }
        let vector = self.backend.get_mut().auxiliary_vector(thread.pid)?;
        let returns_to = auxiliary::value(&vector, AT_ENTRY)
            .ok_or(Error::unsupported("a call without an entry point", B::SYSTEM))?;
        let entry = <B::Arch as Arch>::enter_function(&registers, addr, args, returns_to)
            .ok_or(Error::unsupported("a call with so many arguments", B::SYSTEM))?;
        let breakpoint = SoftwareBreakpoint { addr: returns_to };
        let breakpoint = self.insert_plain(process, breakpoint.into())?;
        let hidden = self.table.slot(index).soft.is_hidden();
        let in_slot = self.place_in_slot(index)?;
        let detour = match self.backend.get_mut().leave_place(thread) {
            Ok(detour) => detour,
            Err(error) => {
                unless_gone(self.remove_software(process, breakpoint))?;
                return Err(error);
            }
        };
        let slot = self.table.slot_mut(index);
        let before = Before {
            registers,
            hidden,
            soft: slot.soft.clone().shown(in_slot),
            run: slot.run,
            call_side: std::mem::replace(&mut slot.call_side, CallSide::Outside),
            stop: std::mem::replace(&mut slot.stop, StopKind::Other),
            call: slot.call.take(),
            reason,
            signal: stop.signal,
        };
        // It comes back to that, whatever rules a breakpoint of the user's has there.
        self.table.slot_mut(index).soft.expects = thin_vec::thin_vec![returns_to];
        let (pid, tid, returned_sp) = (thread.pid, thread.tid, entry.returned_sp);
        let inside = Inside { pid, tid, detour, breakpoint, returns_to, returned_sp, before };
        let call = FunctionCall(Box::new(inside));
        match self.set_entry(index, &entry) {
            Ok(()) => Ok(call),
            Err(error) => {
                self.come_back(index, &call, None)?;
                Err(error)
            }
        }
    }

    fn set_entry(
        &mut self,
        index: u32,
        entry: &FunctionEntry<<B::Arch as Arch>::Registers>,
    ) -> Result<()> {
        let thread = self.table.slot(index).thread;
        if let Some((at, word)) = entry.frame {
            let bytes = word.to_ne_bytes();
            let written = self.write_as_program(thread, at, &bytes)?;
            if written < bytes.len() {
                return Err(Error::bad_address(at.wrapping_add(written as u64)));
            }
        }
        self.set_shown_registers(index, &entry.registers)?;
        self.table.slot_mut(index).soft.forget_place();
        Ok(())
    }

    /// Runs a thread, whatever others do; where a process is run as a whole, alone if others of it have
    /// an event or a token out.
    fn run_inside(&mut self, index: u32, run: Run, signal: Option<Signal>) -> Result<()> {
        let slot = self.table.slot_mut(index);
        (slot.run, slot.intent) = (run, Intent::Event);
        let run = self.run_as_before(index);
        if self.has_to_run_alone(index) {
            return self.run_alone(index, run, signal);
        }
        self.start(index, run, signal)
    }

    /// Waits until a thread has returned from a function, or reports something else.
    fn await_return(&mut self, call: FunctionCall<B>) -> Result<CallOutcome<B>> {
        let event = self.next_alone(call.0.pid, call.0.tid, Run::Continue)?;
        let stop = match event {
            Event::Stopped(stop) => stop,
            event => return Ok(CallOutcome::Interrupted { event, call }),
        };
        if !self.has_returned(&stop, &call)? {
            return Ok(CallOutcome::Interrupted { event: stop.into(), call });
        }
        let index = stop.place.index;
        let value = <B::Arch as Arch>::returned_value(&self.registers(&stop)?);
        self.come_back(index, &call, None)?;
        stop.consume();
        Ok(CallOutcome::Returned { stop: self.same_stop(index, &call), value })
    }

    /// Whether a thread has come to the breakpoint that a function returns to, from that call.
    fn has_returned(&self, stop: &Stopped, call: &FunctionCall<B>) -> Result<bool> {
        match stop.reason {
            StopReason::Trap(TrapCauses { software: Some(id), .. }) if id == call.0.breakpoint => {
                let registers = self.registers(stop)?;
                Ok(<B::Arch as Arch>::pc(&registers) == call.0.returns_to
                    && <B::Arch as Arch>::sp(&registers) == call.0.returned_sp)
            }
            _ => Ok(false),
        }
    }

    /// The next event of a thread that was run so, and that runs until then, whatever others do.
    pub(super) fn next_alone(&mut self, pid: Pid, tid: Tid, run: Run) -> Result<Event> {
        let only = Only::Thread(pid, tid);
        let mut errors = Vec::new();
        let found = loop {
            match self.find_next(Until::Now, Some(only)) {
                Ok(Poll::Ready(Some(event))) => break Ok(event),
                Ok(_) => {}
                // For a wait to tell.
                Err(Error::Tracee { pid: of, error }) if of != pid => errors.push((of, *error)),
                Err(error) => break Err(error),
            }
            if let Err(error) = self.keep_going(pid, tid, run) {
                break Err(error);
            }
        };
        for (pid, error) in errors {
            self.failures.note(pid, error);
        }
        found
    }

    /// Sees to it that a thread runs, and waits for something to happen.
    fn keep_going(&mut self, pid: Pid, tid: Tid, run: Run) -> Result<()> {
        let index = self.table.find_thread_of(pid, tid).ok_or(Error::GONE)?;
        let slot = self.table.slot(index);
        if slot.rests() {
            // Stopped with others, or at something that is not shown.
            let deferred = self.table.slot_mut(index).deferred.take();
            self.run_inside(index, run, deferred.and_then(|(_, signal)| signal))?;
        }
        let brief = self.expects_something() || self.failures.has_repeated();
        self.drive(if brief { Patience::Brief } else { Patience::Block })?;
        Ok(())
    }

    /// Puts a thread back to where it was before the call.
    fn come_back(
        &mut self,
        index: u32,
        call: &FunctionCall<B>,
        kept: Option<Signal>,
    ) -> Result<()> {
        let thread = self.table.slot(index).thread;
        self.backend.get_mut().return_to_place(thread, &call.0.detour, kept)?;
        let before = &call.0.before;
        if before.hidden {
            self.backend.get_mut().set_registers(thread, &before.registers)?;
        }
        let slot = self.table.slot_mut(index);
        slot.run = before.run;
        (slot.call_side, slot.stop) = (before.call_side, before.stop);
        slot.call.replace(before.call.clone());
        slot.soft = before.soft.clone();
        let process = slot.process;
        self.end_alone(index)?;
        unless_gone(self.remove_software(process, call.0.breakpoint))?;
        Ok(())
    }

    /// The token of the stop that a thread was at.
    fn same_stop(&mut self, index: u32, call: &FunctionCall<B>) -> Stopped {
        self.table.revoke(index);
        let mut stop = self.token(index, call.0.before.reason);
        stop.signal = call.0.before.signal;
        stop
    }
}
