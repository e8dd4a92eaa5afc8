//! System calls that a tracee makes for its tracer.

use crate::backend::Setup;
use crate::{Backend, Result, Stopped};

use super::Tracer;

impl<B: Backend> Tracer<B> {
    /// What the kernel was told that a stopped thread is to report: for the extension traits of back
    /// ends.
    ///
    /// # Errors
    ///
    /// As [`thread`](Tracer::thread).
    #[doc(hidden)]
    pub fn setup_of(&self, stop: &Stopped) -> Result<Setup> {
        self.asked(stop)?;
        let slot = self.table.slot(stop.place.index);
        Ok(slot.applied.unwrap_or(self.wanted_setup(slot.process)))
    }

    /// Has a stopped thread make a system call, and returns what that has returned: a value, or an
    /// error number, negative (-4095 to -1), as the kernel of Linux has it.
    ///
    /// The thread then is at the same stop as before: its registers, its signal mask and the signal
    /// that it is stopped for are what they were, and a system call that it was interrupted in is
    /// still made again. Signals that come meanwhile are reported by later waits. The number and the
    /// arguments, six of them at most, are those of this system; buffers are the program's own.
    ///
    /// It returns when the call does. A call that waits for another thread which is stopped never
    /// returns.
    ///
    /// ```no_run
    /// use trapline::{Result, Stopped, Tracer};
    ///
    /// /// Closes a descriptor of a program; `number` is that of `close(2)` on this system.
    /// fn close(tracer: &mut Tracer, stop: &mut Stopped, number: u64, fd: u64) -> Result<bool> {
    ///     Ok(tracer.call_syscall(stop, number, [fd])? == 0)
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Gone`](crate::Error::Gone) if the thread was killed.
    /// [`Error::NotStopped`](crate::Error::NotStopped) at a stop at which the thread can execute
    /// nothing: on its way out, or in `vfork`, whose child has the memory.
    /// [`Error::Unsupported`](crate::Error::Unsupported) for calls that make a task, run a program or
    /// end the thread, and where seccomp may forbid the call.
    ///
    /// # Platform notes
    ///
    /// Linux: 64-bit programs only. At a stop inside a system call that has done its work, a fork or
    /// an exec, the result of that call is in its register afterwards. Where the thread is stopped in a call that waits with another
    /// signal mask, such as `sigsuspend(2)`, that call starts anew, and the signal that has ended it may
    /// be reported once more. On aarch64 the kernel does not give away how an interrupted call would
    /// have ended: it is made again from its beginning.
    ///
    /// FreeBSD: since 14, and [`Error::NotStopped`](crate::Error::NotStopped) at the entry of a system
    /// call and for a thread that was stopped asleep in one.
    ///
    /// # References
    ///
    /// `syscall(2)`; `PT_SC_REMOTE` in `ptrace(2)` (FreeBSD).
    pub fn call_syscall(
        &mut self,
        stop: &mut Stopped,
        number: u64,
        args: impl AsRef<[u64]>,
    ) -> Result<i64> {
        let thread = self.asked(stop)?;
        let returned = self.backend.get_mut().call_syscall(thread, number, args.as_ref())?;
        Ok(match returned {
            Ok(value) => value as i64,
            Err(errno) => -i64::from(errno),
        })
    }
}
