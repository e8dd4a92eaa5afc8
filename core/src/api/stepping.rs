//! Steps that a debugger means: to a place, out of a range of code.

use std::ops::Range;

use crate::error::About;
use crate::{Backend, Event, Result, Stopped, Tid};

use super::Tracer;

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
    /// [`wait`](Tracer::wait). [`Error::Gone`](crate::Error::Gone) if the thread ends without an
    /// event.
    pub fn run_to(&mut self, stop: Stopped, addrs: impl AsRef<[u64]>) -> Result<Reached> {
        let pid = stop.pid();
        self.engine.run_to(stop, addrs.as_ref()).about(pid)
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
        let pid = stop.pid();
        self.engine.step_range(stop, range).about(pid)
    }

    /// Asks for an event of one thread that runs:
    /// [`StopReason::Interrupted`](crate::StopReason::Interrupted), unless something else happens
    /// first. A thread that is stopped already has its event or its token.
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
    /// [`Error::Gone`](crate::Error::Gone) if there is no such thread of a tracee.
    ///
    /// # Platform notes
    ///
    /// FreeBSD stops the process as a whole, and the thread that reports it can be another one; the
    /// others are given by [`halt`](Tracer::halt).
    pub fn interrupt_thread(&mut self, tid: Tid) -> Result<()> {
        self.engine.interrupt_thread(tid)
    }
}
