//! Signals from the tracer.

use crate::{Backend, Result, Signal, Stopped};

use super::Tracer;

impl<B: Backend> Tracer<B> {
    /// Has a stopped thread get a signal when it is resumed, whatever it is stopped for. No stop is
    /// reported for that signal. To change the signal that a thread is stopped *for*, use
    /// [`Stopped::set_signal`].
    ///
    /// The signal is sent to the thread, so it stays pending while the thread blocks it. Its
    /// `siginfo_t` names the tracer as the sender.
    ///
    /// ```
    /// use trapline::{Backend, Result, Resume, Signal, Stopped, TracerOn};
    ///
    /// /// gdb's `signal SIGUSR1`: has a thread go on with a signal, whatever it is stopped for.
    /// fn go_on_with<B: Backend>(tracer: &mut TracerOn<B>, stop: Stopped) -> Result<()> {
    ///     tracer.send_signal(&stop, Signal::USR1)?;
    ///     tracer.resume(stop, Resume::Continue)
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Gone`](crate::Error::Gone) if the thread was killed;
    /// [`Error::Os`](crate::Error::Os) if this user may not send it signals.
    ///
    /// # References
    ///
    /// `tgkill(2)` (Linux), `thr_kill2(2)` (FreeBSD).
    pub fn send_signal(&mut self, stop: &Stopped, signal: Signal) -> Result<()> {
        self.engine.send_signal(stop, signal)
    }
}
