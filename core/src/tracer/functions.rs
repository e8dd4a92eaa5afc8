//! Functions of the program that a tracee calls for its tracer.
//!
//! The thread is brought to where it can run ([`Backend::leave_place`]), enters the function, and
//! returns to a breakpoint of the tracer's own, at the entry point of the program, which nothing
//! else comes to once the program runs. What it had before is put back then.

use std::fmt;
use std::task::Poll;

use crate::auxiliary::{self, AT_ENTRY};
use crate::backend::{Patience, Run};
use crate::error::unless_gone;
use crate::{
    Arch, Backend, BreakpointId, CodeMode, Error, Event, FunctionEntry, Pid, Result, Signal,
    SoftwareBreakpoint, StopReason, Stopped, Syscall, Tid, TrapCauses,
};

use super::Tracer;
use super::next::{Only, Until};
use super::software::Soft;
use super::thread::{CallSide, Intent, State, StopKind};

/// How a [call of a function](Tracer::call_function) has ended, or not yet.
///
/// ```
/// use trapline::CallOutcome;
///
/// fn result(outcome: &CallOutcome) -> Option<u64> {
///     match outcome {
///         CallOutcome::Returned { value, .. } => Some(*value),
///         _ => None,
///     }
/// }
/// ```
#[non_exhaustive]
pub enum CallOutcome<B: Backend> {
    /// The function has returned, and the thread is where it was.
    Returned {
        /// The thread, at the stop that it was at.
        stop: Stopped,
        /// What the function has returned, as a whole number or an address.
        value: u64,
    },
    /// Something else happened first, and the thread is inside the function.
    Interrupted {
        /// What: a stop of the thread for a signal or a breakpoint, the end of its process, a fork
        /// that it has made, the call of a [`Waker`](crate::Waker).
        event: Event,
        /// The call, to [go on](Tracer::continue_call) or to be [given up](Tracer::abandon_call).
        call: FunctionCall<B>,
    },
}

/// A call of a function that has not returned.
///
/// To drop it leaves the thread inside the function, without a way back: it runs into the entry point
/// of the program when the function returns.
///
/// ```
/// use trapline::{FunctionCall, Resume, Result, Stopped, Tracer};
///
/// /// Lets a function that was interrupted by a signal go on.
/// fn go_on(tracer: &mut Tracer, stop: Stopped, call: FunctionCall) -> Result<Option<u64>> {
///     match tracer.continue_call(stop, call)? {
///         trapline::CallOutcome::Returned { stop, value } => {
///             tracer.resume(stop, Resume::Continue)?;
///             Ok(Some(value))
///         }
///         _ => Ok(None),
///     }
/// }
/// ```
#[must_use = "without it the thread cannot be brought back"]
pub struct FunctionCall<B: Backend>(Box<Inside<B>>);

struct Inside<B: Backend> {
    pid: Pid,
    tid: Tid,
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

impl<B: Backend> FunctionCall<B> {
    /// The process.
    ///
    /// ```
    /// fn describe(call: &trapline::FunctionCall) -> String {
    ///     format!("a call in process {}", call.pid())
    /// }
    /// ```
    pub fn pid(&self) -> Pid {
        self.0.pid
    }

    /// The thread.
    ///
    /// ```
    /// fn describe(call: &trapline::FunctionCall) -> String {
    ///     format!("a call in thread {}", call.tid())
    /// }
    /// ```
    pub fn tid(&self) -> Tid {
        self.0.tid
    }
}

impl<B: Backend> fmt::Debug for FunctionCall<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FunctionCall")
            .field("pid", &self.0.pid)
            .field("tid", &self.0.tid)
            .finish_non_exhaustive()
    }
}

impl<B: Backend> fmt::Debug for CallOutcome<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CallOutcome::Returned { stop, value } => {
                f.debug_struct("Returned").field("stop", stop).field("value", value).finish()
            }
            CallOutcome::Interrupted { event, call } => {
                f.debug_struct("Interrupted").field("event", event).field("call", call).finish()
            }
        }
    }
}

impl<B: Backend> Tracer<B> {
    /// Has a stopped thread call a function of its program, with whole numbers or addresses as
    /// arguments, six at most, and waits until it returns.
    ///
    /// The thread then is at the same stop as before, with all its registers and its signal mask; a
    /// signal that it is stopped for is still to be delivered, and a system call that it was
    /// interrupted in is made again as if nothing had been. What other threads report meanwhile is
    /// given by later waits. The other threads go on as they do: those that run run, those that are
    /// stopped stay so, and a function that needs a lock which one of them has does not return.
    ///
    /// The function is called as by the C ABI, on the thread's own stack. While it runs its process
    /// has a breakpoint at the entry point of its program.
    ///
    /// ```no_run
    /// use trapline::{CallOutcome, Result, Stopped, Tracer};
    ///
    /// /// What a function of the program returns; `None` if something has come between.
    /// fn value_of(tracer: &mut Tracer, stop: Stopped, at: u64) -> Result<Option<u64>> {
    ///     match tracer.call_function(stop, at, [1, 2])? {
    ///         CallOutcome::Returned { stop, value } => {
    ///             drop(stop); // the next wait gives it again
    ///             Ok(Some(value))
    ///         }
    ///         CallOutcome::Interrupted { event, call } => {
    ///             println!("{event:?} inside the function");
    ///             if let Some(stop) = event.into_stops().next() {
    ///                 drop(tracer.abandon_call(stop, call)?);
    ///             }
    ///             Ok(None)
    ///         }
    ///         _ => Ok(None),
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Gone`] if the thread was killed. [`Error::NotStopped`] at a stop at which the thread
    /// can execute nothing, as in [`call_syscall`](Tracer::call_syscall), or that has something else
    /// behind it. [`Error::Unsupported`] for 32-bit code, for more arguments than go into registers,
    /// and with a shadow stack. [`Error::BadAddress`] if the stack cannot be written. What a
    /// [breakpoint](Tracer::insert_breakpoint) can fail with. After an error the thread is as it was, and the
    /// next wait gives its stop.
    ///
    /// # Platform notes
    ///
    /// FreeBSD: [`Error::NotStopped`] also at the entry of a system call and for a thread that was
    /// stopped asleep in one; and while another thread of the process has an event that was not
    /// resumed, this one runs alone.
    pub fn call_function(
        &mut self,
        stop: Stopped,
        addr: u64,
        args: impl AsRef<[u64]>,
    ) -> Result<CallOutcome<B>> {
        let call = self.enter(&stop, addr, args.as_ref())?;
        stop.consume();
        let index = self.table.find_thread_of(call.0.pid, call.0.tid).ok_or(Error::Gone)?;
        match self.run_inside(index, Run::Continue, None) {
            Ok(()) => self.await_return(call),
            Err(error) => {
                self.come_back(index, &call, None)?;
                drop(self.token(index, call.0.before.reason));
                Err(error)
            }
        }
    }

    /// Runs on what has come between and waits until the function returns. For an event without a
    /// token, such as the call of a waker, it only waits.
    ///
    /// ```no_run
    /// use trapline::{CallOutcome, Result, Stopped, Tracer};
    ///
    /// /// Calls a function whatever comes between, such as signals.
    /// fn value_of(tracer: &mut Tracer, stop: Stopped, at: u64) -> Result<Option<u64>> {
    ///     let mut outcome = tracer.call_function(stop, at, [])?;
    ///     loop {
    ///         outcome = match outcome {
    ///             CallOutcome::Returned { value, .. } => return Ok(Some(value)),
    ///             CallOutcome::Interrupted { event, call } => tracer.continue_call(event, call)?,
    ///             _ => return Ok(None),
    ///         }
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`resume`](Tracer::resume) and [`wait`](Tracer::wait).
    pub fn continue_call(
        &mut self,
        event: impl Into<Event>,
        call: FunctionCall<B>,
    ) -> Result<CallOutcome<B>> {
        for stop in event.into().into_stops() {
            self.resume_stop(stop, super::Resume::Continue)?;
        }
        self.await_return(call)
    }

    /// Gives a call up: the thread, which is stopped inside the function, is where it was before.
    /// What the function has done to memory stays. A signal that it was stopped for inside the
    /// function comes again, unless it is one of the breakpoint's or of the function's own fault,
    /// which has no meaning outside.
    ///
    /// ```no_run
    /// use trapline::{CallOutcome, Result, Stopped, Tracer};
    ///
    /// /// The stop again, whether the function has returned or has run into something.
    /// fn tried(tracer: &mut Tracer, stop: Stopped, at: u64) -> Result<Option<Stopped>> {
    ///     Ok(match tracer.call_function(stop, at, [])? {
    ///         CallOutcome::Returned { stop, .. } => Some(stop),
    ///         CallOutcome::Interrupted { event, call } => match event.into_stops().next() {
    ///             Some(stop) => Some(tracer.abandon_call(stop, call)?),
    ///             None => None, // its process has ended
    ///         },
    ///         _ => None,
    ///     })
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Gone`] if the thread was killed, or if it is another one.
    pub fn abandon_call(&mut self, stop: Stopped, call: FunctionCall<B>) -> Result<Stopped> {
        self.asked(&stop)?;
        if (stop.pid, stop.tid) != (call.0.pid, call.0.tid) {
            return Err(Error::Gone);
        }
        let index = stop.place.index;
        let faults = [Signal::ILL, Signal::TRAP, Signal::BUS, Signal::FPE, Signal::SEGV];
        let kept = match stop.reason {
            StopReason::Signal(_) => stop.signal.filter(|signal| !faults.contains(signal)),
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
        let State::Given(reason) = slot.state else { return Err(Error::NotStopped) };
        if slot.next.is_some() {
            return Err(Error::NotStopped);
        }
        let process = slot.process;
        let registers = self.noted_registers(index)?;
        if B::code_mode(&registers) != CodeMode::Bits64 {
            return Err(Error::Unsupported { what: "a call of 32-bit code", on: B::SYSTEM });
        }
        if self.backend.get_mut().has_shadow_stack(thread)? {
            return Err(Error::Unsupported { what: "a call with a shadow stack", on: B::SYSTEM });
        }
        let vector = self.backend.get_mut().auxiliary_vector(thread.pid)?;
        let returns_to = auxiliary::value(&vector, AT_ENTRY)
            .ok_or(Error::Unsupported { what: "a call without an entry point", on: B::SYSTEM })?;
        let entry = <B::Arch as Arch>::enter_function(&registers, addr, args, returns_to)
            .ok_or(Error::Unsupported { what: "a call with so many arguments", on: B::SYSTEM })?;
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
                return Err(Error::BadAddress { addr: at.wrapping_add(written as u64) });
            }
        }
        self.set_shown_registers(index, &entry.registers)?;
        self.table.slot_mut(index).soft.forget_place();
        self.moved_from_hardware(index, <B::Arch as Arch>::pc(&entry.registers));
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
        let index = self.table.find_thread_of(pid, tid).ok_or(Error::Gone)?;
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
