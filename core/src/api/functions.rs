//! Functions of the program that a tracee calls for its tracer.

use std::fmt;

use crate::engine::Inside;
use crate::error::About;
use crate::{Backend, Event, Pid, Result, Stopped, Tid};

use super::Tracer;

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
pub struct FunctionCall<B: Backend>(pub(crate) Box<Inside<B>>);

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
    /// [`Error::Gone`](crate::Error::Gone) if the thread was killed.
    /// [`Error::NotStopped`](crate::Error::NotStopped) at a stop at which the thread can execute
    /// nothing, as in [`call_syscall`](Tracer::call_syscall), or that has something else behind it.
    /// [`Error::Unsupported`](crate::Error::Unsupported) for 32-bit code, for more arguments than
    /// go into registers, and with a shadow stack. [`Error::BadAddress`](crate::Error::BadAddress)
    /// if the stack cannot be written. What a [breakpoint](Tracer::insert_breakpoint) can fail
    /// with. After an error the thread is as it was, and the next wait gives its stop.
    ///
    /// # Platform notes
    ///
    /// FreeBSD: [`Error::NotStopped`](crate::Error::NotStopped) also at the entry of a system call
    /// and for a thread that was stopped asleep in one; and while another thread of the process has
    /// an event that was not resumed, this one runs alone.
    pub fn call_function(
        &mut self,
        stop: Stopped,
        addr: u64,
        args: impl AsRef<[u64]>,
    ) -> Result<CallOutcome<B>> {
        let pid = stop.pid();
        self.engine.call_function(stop, addr, args.as_ref()).about(pid)
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
        let pid = call.pid();
        self.engine.continue_call(event.into(), call).about(pid)
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
    /// [`Error::Gone`](crate::Error::Gone) if the thread was killed, or if it is another one.
    pub fn abandon_call(&mut self, stop: Stopped, call: FunctionCall<B>) -> Result<Stopped> {
        let pid = stop.pid();
        self.engine.abandon_call(stop, call).about(pid)
    }
}
