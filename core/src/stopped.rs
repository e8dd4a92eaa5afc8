//! The token for one stopped thread.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;

use crate::{Error, Pid, Result, Signal, StopReason, Tid};

/// Where a thread stands in its tracer's table. The generation tells a thread from the one that
/// had the place before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// The number of the tracer, which no other one of this process has or had.
    pub(crate) tracer: u32,
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

/// The places of tokens that were dropped, for the next wait to give again.
pub(crate) type Returned = Rc<RefCell<Vec<Place>>>;

/// The token for one stopped thread.
///
/// Questions about the thread take `&Stopped`. Resuming or detaching the thread consumes the token.
/// Dropping the token runs nothing: the thread stays stopped, and the next wait gives the stop
/// again, so an early `?` loses no tracee.
///
/// A token belongs to the thread that made its tracer, as ptrace requires, so it cannot be sent to
/// another thread. Any other tracer answers it with [`Error::Gone`].
///
/// ```
/// use trapline::fake::{Kernel, LinuxRules};
/// use trapline::{Event, Resume, StopReason, TracerOn};
///
/// let kernel = Kernel::<LinuxRules>::new();
/// let pid = kernel.start();
/// let mut tracer = TracerOn::builder().build_on(kernel.backend());
/// tracer.attach(pid)?;
/// let Some(Event::Stopped(stop)) = tracer.wait()? else { panic!("no stop") };
/// assert_eq!((stop.pid(), stop.reason()), (pid, StopReason::Started));
/// drop(stop);
/// let Some(Event::Stopped(stop)) = tracer.wait()? else { panic!("it is given again") };
/// tracer.resume(stop, Resume::Continue)?;
/// # Ok::<(), trapline::Error>(())
/// ```
#[must_use = "the thread stays stopped until it is resumed or detached"]
pub struct Stopped {
    pub(crate) place: Place,
    pub(crate) pid: Pid,
    pub(crate) tid: Tid,
    pub(crate) reason: StopReason,
    /// What resuming delivers; starts as the signal of a signal stop.
    pub(crate) signal: Option<Signal>,
    /// `None` once consumed.
    pub(crate) returned: Option<Returned>,
}

impl Stopped {
    /// The process.
    ///
    /// ```
    /// fn describe(stop: &trapline::Stopped) -> String {
    ///     format!("thread {} of process {}", stop.tid(), stop.pid())
    /// }
    /// ```
    #[inline]
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// The thread.
    ///
    /// ```
    /// fn is_same_thread(one: &trapline::Stopped, other: &trapline::Stopped) -> bool {
    ///     one.tid() == other.tid()
    /// }
    /// ```
    #[inline]
    pub fn tid(&self) -> Tid {
        self.tid
    }

    /// Why the thread stopped.
    ///
    /// ```
    /// use trapline::{StopReason, Stopped};
    ///
    /// fn has_execed(stop: &Stopped) -> bool {
    ///     matches!(stop.reason(), StopReason::Execed { .. })
    /// }
    /// ```
    #[inline]
    pub fn reason(&self) -> StopReason {
        self.reason
    }

    /// The signal that is delivered when the thread is resumed.
    ///
    /// ```
    /// use trapline::{Signal, Stopped};
    ///
    /// fn is_about_to_abort(stop: &Stopped) -> bool {
    ///     stop.signal() == Some(Signal::ABRT)
    /// }
    /// ```
    #[inline]
    pub fn signal(&self) -> Option<Signal> {
        self.signal
    }

    /// Chooses the signal that is delivered when the thread is resumed: another one, or none.
    ///
    /// ```
    /// use trapline::{Backend, Result, Resume, Signal, StopReason, Stopped, TracerOn};
    ///
    /// /// Runs a thread on, but keeps `SIGINT` from its program.
    /// fn go_on<B: Backend>(tracer: &mut TracerOn<B>, mut stop: Stopped) -> Result<()> {
    ///     if stop.reason() == StopReason::Signal(Signal::INT) {
    ///         stop.set_signal(None)?;
    ///     }
    ///     tracer.resume(stop, Resume::Continue)
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::NotSignalStop`] unless this stop is for a signal, because no kernel delivers one
    /// reliably by resuming from another stop. There
    /// [`Tracer::send_signal`](crate::Tracer::send_signal) does it.
    pub fn set_signal(&mut self, signal: Option<Signal>) -> Result<()> {
        if !matches!(self.reason, StopReason::Signal(_)) {
            return Err(Error::NotSignalStop { pid: Some(self.pid) });
        }
        self.signal = signal;
        Ok(())
    }

    /// Takes the token apart, so that dropping it gives nothing back.
    #[inline]
    pub(crate) fn consume(mut self) -> (Place, Option<Signal>) {
        self.returned = None;
        (self.place, self.signal)
    }
}

impl Drop for Stopped {
    #[inline]
    fn drop(&mut self) {
        if let Some(returned) = self.returned.take() {
            returned.borrow_mut().push(self.place);
        }
    }
}

impl fmt::Debug for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stopped")
            .field("pid", &self.pid)
            .field("tid", &self.tid)
            .field("reason", &self.reason)
            .field("signal", &self.signal)
            .finish()
    }
}
