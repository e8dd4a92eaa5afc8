//! The doorbell: how another thread ends a blocked wait.
//!
//! `wait4` ends for a tracee and for nothing else that would leave the host's signals alone. So
//! there is one more tracee: a process that does nothing, made when the first waker is asked for.
//! Ringing it is a signal that stops it; the wait sees that stop, lets it go on, and ends.
//!
//! The signal is SIGCONT. To a thread that was seized it is news about job control, told by a
//! `PTRACE_EVENT_STOP` whether the signal is blocked or not (`prepare_signal` and
//! `ptrace_trap_notify` in `kernel/signal.c`), and one that comes while the thread is stopped is
//! told as soon as it is resumed. And it may be sent to a process of the same session even by a
//! host that has given up its privileges since.
//!
//! It sleeps in a read of a `timerfd`, and traps when that returns: so a wait ends at a deadline,
//! for one request that sets the timer. A timer whose wait ended before is left to expire: a stop
//! too many, now and then, costs less than to stop the timer each time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use trapline_core::backend::{Run, Wake};
use trapline_core::{Error, ExitStatus, Result, Tid};

use crate::attach::refusal;
use crate::sys::{Kernel, PidFd, Timer, clone_bell, error};

/// The doorbell, on the tracer's side.
#[derive(Debug)]
pub(crate) struct Bell {
    tid: Tid,
    rope: Arc<Rope>,
    timer: Timer,
    /// When the timer expires, unless it has.
    set_to: Option<Instant>,
}

/// What wakers hold. It outlives the doorbell.
#[derive(Debug)]
struct Rope {
    /// Whether a wake was not answered yet.
    rung: AtomicBool,
    /// Names the doorbell and never a later process of its id.
    bell: PidFd,
}

impl Wake for Rope {
    fn wake(&self) {
        // One stop answers all wakes that came before it.
        if !self.rung.swap(true, Ordering::AcqRel) {
            self.bell.send(libc::SIGCONT);
        }
    }
}

impl Bell {
    /// Makes one, and has the calling thread trace it.
    pub(crate) fn new(kernel: &Kernel) -> Result<Self> {
        let timer = Timer::new(kernel)?;
        let (tid, bell) = hang(kernel, &timer)?;
        let rung = AtomicBool::new(false);
        let rope = Arc::new(Rope { rung, bell });
        Ok(Self { tid, rope, timer, set_to: None })
    }

    /// Has it stop at this moment, or some time before.
    pub(crate) fn stop_by(&mut self, kernel: &Kernel, deadline: Instant) -> Result<()> {
        let now = Instant::now();
        if self.set_to.is_some_and(|set_to| set_to > now && set_to <= deadline) {
            return Ok(());
        }
        self.timer.set(kernel, deadline.saturating_duration_since(now))?;
        self.set_to = Some(deadline);
        Ok(())
    }

    pub(crate) fn waker(&self) -> Arc<dyn Wake> {
        self.rope.clone()
    }

    pub(crate) fn is(&self, tid: Tid) -> bool {
        self.tid == tid
    }

    /// Lets it go on after a stop. No signal reaches it, whatever the stop was.
    pub(crate) fn quiet(&self, kernel: &Kernel) -> Result<()> {
        match kernel.resume(self.tid, Run::Continue, None) {
            // Killed at the stop: its end follows.
            Err(Error::Gone) => Ok(()),
            other => other,
        }
    }

    /// Whether there was a wake since the last time.
    pub(crate) fn was_rung(&self) -> bool {
        self.rope.rung.swap(false, Ordering::AcqRel)
    }

    /// Somebody has killed it: makes another one, which old wakers ring as well.
    pub(crate) fn replace(&mut self, kernel: &Kernel, ended: ExitStatus) -> Result<()> {
        if let ExitStatus::Code(_) = ended {
            // It cannot sleep here (a system call filter of the host?), and another could not.
            return Err(Error::Unsupported {
                what: "a waker, for read(2) is refused,",
                on: "this Linux",
            });
        }
        self.hang_again(kernel)
    }

    /// Ends it for a moment; [`hang_again`](Self::hang_again) makes another one.
    pub(crate) fn take_down(&self, kernel: &Kernel) {
        if self.rope.bell.send(libc::SIGKILL) {
            kernel.reap(self.tid);
        }
    }

    /// Makes another one, which old wakers ring as well.
    pub(crate) fn hang_again(&mut self, kernel: &Kernel) -> Result<()> {
        let (tid, bell) = hang(kernel, &self.timer)?;
        self.tid = tid;
        self.set_to = None; // what it was set to may have passed, unheard
        self.rope.bell.replace_by(bell)
    }

    /// Rings it if there was a wake that the one before may have taken with it.
    pub(crate) fn ring_again(&self) {
        if self.rope.rung.load(Ordering::Acquire) {
            self.rope.bell.send(libc::SIGCONT);
        }
    }

    /// Has it stop, for whoever looks; says whether it is there to do so.
    pub(crate) fn ring(&self) -> bool {
        self.rope.bell.send(libc::SIGCONT)
    }

    /// Ends it. Wakers may live on, and ring nothing.
    pub(crate) fn end(self, kernel: &Kernel) {
        // If it may not be killed, for the host has become another user, it ends with the tracer's
        // thread, by its EXITKILL.
        if self.rope.bell.send(libc::SIGKILL) {
            kernel.reap(self.tid);
        }
    }
}

fn hang(kernel: &Kernel, timer: &Timer) -> Result<(Tid, PidFd)> {
    kernel.count();
    let tid = clone_bell(timer).map_err(|e| error("clone", -1, e))?;
    let fd = match PidFd::open(kernel, tid.as_raw()) {
        Ok(fd) => fd,
        Err(e) => {
            // It is our child and was not waited for, so the id is still its own.
            let pid = trapline_core::Pid::from_raw(tid.as_raw());
            kernel.kill(pid, trapline_core::Signal::KILL)?;
            kernel.reap(tid);
            return Err(e);
        }
    };
    if let Err(e) = kernel.seize(tid, libc::PTRACE_O_EXITKILL) {
        let error = refusal(kernel, tid, e);
        if fd.send(libc::SIGKILL) {
            kernel.reap(tid);
        }
        return Err(error);
    }
    Ok((tid, fd))
}
