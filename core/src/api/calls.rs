//! System calls that a tracee makes for its tracer.

use crate::backend::Setup;
use crate::error::About;
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
        self.engine.setup_of(stop).about(stop.pid())
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
    /// Linux: 64-bit programs only. At a stop inside a system call that has done its work, a fork
    /// or an exec, the result of that call is in its register afterwards. Where the thread is
    /// stopped in a call that waits with another signal mask, such as `sigsuspend(2)`, that call
    /// starts anew, and the signal that has ended it may be reported once more. On aarch64 the
    /// kernel does not give away how an interrupted call would have ended: it is made again from
    /// its beginning.
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
        self.engine.call_syscall(stop, number, args.as_ref()).about(stop.pid())
    }

    /// Has a thread at the entry of a system call make another one, or the same with other arguments.
    /// The number and the arguments are those of this system. At the exit
    /// [`syscall`](Tracer::syscall) gives what it was changed to.
    ///
    /// ```no_run
    /// use trapline::{Result, Stopped, Tracer};
    ///
    /// /// Has a program write no more than so many bytes at once; at the entry of `write(2)`.
    /// fn limit(tracer: &mut Tracer, stop: &Stopped, most: u64) -> Result<()> {
    ///     let call = tracer.syscall(stop)?;
    ///     let [fd, buffer, length, rest @ ..] = call.args;
    ///     let [a, b, c] = rest;
    ///     tracer.set_syscall(stop, call.number, [fd, buffer, length.min(most), a, b, c])
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::NotStopped`](crate::Error::NotStopped) at any other stop than a
    /// [`SyscallEntry`](crate::StopReason::SyscallEntry), [`Error::Gone`](crate::Error::Gone) if
    /// the thread was killed, and [`Error::Unsupported`](crate::Error::Unsupported) in a 32-bit
    /// program and on FreeBSD.
    ///
    /// # Platform notes
    ///
    /// **Available:** Linux. FreeBSD's kernel has read the registers by then, and does not read them
    /// again.
    ///
    /// Before Linux 6.16, and where the request is refused, the registers of the thread are set.
    ///
    /// # References
    ///
    /// `PTRACE_SYSCALL` in `ptrace(2)`.
    pub fn set_syscall(&mut self, stop: &Stopped, number: u64, args: [u64; 6]) -> Result<()> {
        self.engine.set_syscall(stop, number, args).about(stop.pid())
    }

    /// Has a thread at the entry of a system call not carry it out. It comes to the exit all the same,
    /// where [`set_syscall_result`](Tracer::set_syscall_result) says what it is to return.
    ///
    /// ```no_run
    /// use trapline::{Result, Resume, Stopped, Tracer};
    ///
    /// /// Has a system call do nothing, and succeed: at its entry, and at its exit.
    /// fn succeed(tracer: &mut Tracer, entry: Stopped) -> Result<()> {
    ///     tracer.skip_syscall(&entry)?;
    ///     tracer.resume(entry, Resume::Continue)?;
    ///     if let Some(exit) = tracer.wait()?.and_then(|event| event.into_stops().next()) {
    ///         tracer.set_syscall_result(&exit, Ok(0))?;
    ///         tracer.resume(exit, Resume::Continue)?;
    ///     }
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`set_syscall`](Tracer::set_syscall).
    ///
    /// # Platform notes
    ///
    /// **Available:** Linux. Unless a result is set, the call returns `ENOSYS`.
    pub fn skip_syscall(&mut self, stop: &Stopped) -> Result<()> {
        self.engine.skip_syscall(stop).about(stop.pid())
    }

    /// Sets what a system call returns, at its exit: a value, or an error number.
    ///
    /// ```no_run
    /// use trapline::{Result, Stopped, Tracer};
    ///
    /// /// Has a system call fail as if it had been interrupted; at its exit.
    /// fn interrupted(tracer: &mut Tracer, stop: &Stopped) -> Result<()> {
    ///     const EINTR: i32 = 4;
    ///     tracer.set_syscall_result(stop, Err(EINTR))
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::NotStopped`](crate::Error::NotStopped) at any other stop than a
    /// [`SyscallExit`](crate::StopReason::SyscallExit), [`Error::Gone`](crate::Error::Gone) if the
    /// thread was killed.
    pub fn set_syscall_result(
        &mut self,
        stop: &Stopped,
        result: std::result::Result<u64, i32>,
    ) -> Result<()> {
        self.engine.set_syscall_result(stop, result).about(stop.pid())
    }
}
