//! Signals from the tracer.

use crate::error::About;
use crate::{Backend, PendingSignals, Result, Signal, SignalSet, Stopped};

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
        self.engine.send_signal(stop, signal).about(stop.pid())
    }

    /// The signals that a stopped thread blocks.
    ///
    /// ```
    /// use trapline::{Backend, Result, Signal, Stopped, TracerOn};
    ///
    /// fn hears_interrupts<B: Backend>(tracer: &TracerOn<B>, stop: &Stopped) -> Result<bool> {
    ///     Ok(!tracer.signal_mask(stop)?.contains(Signal::INT))
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Gone`](crate::Error::Gone) if the thread was killed.
    ///
    /// # References
    ///
    /// `PTRACE_GETSIGMASK` in `ptrace(2)` (Linux), `pl_sigmask` of `PT_LWPINFO` in `ptrace(2)`
    /// (FreeBSD).
    pub fn signal_mask(&self, stop: &Stopped) -> Result<SignalSet> {
        self.engine.question(stop, |backend, thread| backend.signal_mask(thread)).about(stop.pid())
    }

    /// Has a stopped thread block these signals and no others, until it changes that itself. `SIGKILL`
    /// and `SIGSTOP` cannot be blocked, and are left out.
    ///
    /// ```
    /// use trapline::{Backend, Result, Signal, Stopped, TracerOn};
    ///
    /// fn block_alarms<B: Backend>(tracer: &mut TracerOn<B>, stop: &Stopped) -> Result<()> {
    ///     let mut mask = tracer.signal_mask(stop)?;
    ///     mask.insert(Signal::ALRM);
    ///     tracer.set_signal_mask(stop, mask)
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Gone`](crate::Error::Gone) if the thread was killed. On FreeBSD as
    /// [`call_syscall`](Tracer::call_syscall).
    ///
    /// # Platform notes
    ///
    /// FreeBSD has no request for it. So the thread is made to call `sigprocmask(2)`, with the set in
    /// its own memory, below its stack, which is then as it was; this takes FreeBSD 14.
    ///
    /// # References
    ///
    /// `PTRACE_SETSIGMASK` in `ptrace(2)` (Linux), `PT_SC_REMOTE` in `ptrace(2)` (FreeBSD).
    pub fn set_signal_mask(&mut self, stop: &Stopped, mask: SignalSet) -> Result<()> {
        self.engine
            .question(stop, |backend, thread| backend.set_signal_mask(thread, mask))
            .about(stop.pid())
    }

    /// The signals that were sent to a stopped thread, or to its process, and have not been delivered.
    /// The signal that the thread is stopped for is not among them.
    ///
    /// ```
    /// use trapline::{Backend, Result, Stopped, TracerOn};
    ///
    /// fn print<B: Backend>(tracer: &TracerOn<B>, stop: &Stopped) -> Result<()> {
    ///     for signal in tracer.pending_signals(stop)?.thread.iter() {
    ///         println!("{} has yet to get {signal}", stop.tid());
    ///     }
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Gone`](crate::Error::Gone) if the thread was killed.
    ///
    /// # References
    ///
    /// `PTRACE_PEEKSIGINFO` in `ptrace(2)` (Linux); `pl_siglist` of `PT_LWPINFO` in `ptrace(2)`,
    /// `KERN_PROC_PID` in `sysctl(3)` (FreeBSD).
    pub fn pending_signals(&self, stop: &Stopped) -> Result<PendingSignals> {
        self.engine
            .question(stop, |backend, thread| backend.pending_signals(thread))
            .about(stop.pid())
    }
}
