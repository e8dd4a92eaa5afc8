//! The wake helper: how another thread ends a blocked wait.
//!
//! `wait4` ends for a tracee and for nothing else that would leave the host's signals alone. So
//! there is one more tracee: a process that does nothing, made when the first waker is asked for.
//! It sleeps until a `timerfd` expires, and sends itself SIGCONT then: so a wait ends at a deadline,
//! for one request that sets the timer, and another thread ends it by setting the timer to expire at
//! once, which any thread and any signal handler may do and no change of privileges forbids.
//!
//! To a thread that was seized SIGCONT is news about job control, reported by a `PTRACE_EVENT_STOP`
//! whether the signal is blocked or not (`prepare_signal` and `ptrace_trap_notify` in
//! `kernel/signal.c`). To one that is not traced, as the wake helper is for a moment after it was made,
//! it is nothing, and so a timer that expires then does no harm.
//!
//! A timer whose wait ended before is left to expire: a stop too many, now and then, costs less than
//! to stop the timer each time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use trapline_core::backend::{Run, Wake};
use trapline_core::{Error, ExitStatus, Pid, Result, Signal, Tid};

use crate::attach::refusal;
use crate::sys::{Kernel, Sleeper, Timer, error};

/// How long to wait for a new wake helper before it is looked whether it lives.
const LOOK: Duration = Duration::from_millis(10);

/// The wake helper, on the tracer's side.
#[derive(Debug)]
pub(crate) struct WakeHelper {
    sleeper: Sleeper,
    handle: Arc<WakeHandle>,
    /// When the timer expires, unless it has, or was set otherwise by a waker.
    set_to: Option<Instant>,
}

/// What wakers hold. It outlives the wake helper.
#[derive(Debug)]
struct WakeHandle {
    /// Whether a wake was not answered yet.
    pending: AtomicBool,
    timer: Timer,
}

impl Wake for WakeHandle {
    fn wake(&self) {
        // One stop answers all wakes that came before it.
        if !self.pending.swap(true, Ordering::SeqCst) {
            self.timer.expire();
        }
    }
}

impl WakeHelper {
    /// Makes one, and has the calling thread trace it.
    pub(crate) fn new(kernel: &Kernel) -> Result<Self> {
        let timer = Timer::new(kernel)?;
        let sleeper = start(kernel, &timer)?;
        let pending = AtomicBool::new(false);
        Ok(Self { sleeper, handle: Arc::new(WakeHandle { pending, timer }), set_to: None })
    }

    /// Has it stop at this moment, or some time before.
    pub(crate) fn stop_by(&mut self, kernel: &Kernel, deadline: Instant) -> Result<()> {
        let now = Instant::now();
        if self.set_to.is_some_and(|set_to| set_to > now && set_to <= deadline) {
            return Ok(());
        }
        self.handle.timer.set(kernel, deadline.saturating_duration_since(now))?;
        self.set_to = Some(deadline);
        // A waker that came before may have set it to expire, and we to something else.
        self.repeat_wake();
        Ok(())
    }

    pub(crate) fn waker(&self) -> Arc<dyn Wake> {
        self.handle.clone()
    }

    pub(crate) fn is(&self, tid: Tid) -> bool {
        self.sleeper.tid() == tid
    }

    /// Lets it go on after a stop. No signal reaches it, whatever the stop was.
    pub(crate) fn resume(&mut self, kernel: &Kernel) -> Result<()> {
        // A waker may have set the timer since.
        self.set_to = None;
        match kernel.resume(self.sleeper.tid(), Run::Continue, None) {
            // Killed at the stop: its end follows.
            Err(Error::Gone { .. }) => Ok(()),
            other => other,
        }
    }

    /// Whether there was a wake since the last time.
    pub(crate) fn take_wake(&self) -> bool {
        self.handle.pending.swap(false, Ordering::SeqCst)
    }

    /// Somebody has killed it: makes another one, which old wakers ring as well.
    pub(crate) fn replace(&mut self, kernel: &Kernel, ended: ExitStatus) -> Result<()> {
        if let ExitStatus::Code(_) = ended {
            return Err(no_helper()); // another could not sleep, either
        }
        self.restart(kernel, true)
    }

    /// Ends it for a moment; [`restart`](Self::restart) makes another one. Says whether it has.
    pub(crate) fn stop(&self, kernel: &Kernel) -> bool {
        end(kernel, &self.sleeper)
    }

    /// Makes another one, which old wakers ring as well. The one before may have ended.
    pub(crate) fn restart(&mut self, kernel: &Kernel, ended: bool) -> Result<()> {
        let before = std::mem::replace(&mut self.sleeper, start(kernel, &self.handle.timer)?);
        if ended {
            before.reaped();
        }
        self.set_to = None; // what it was set to may have passed, unheard
        Ok(())
    }

    /// Rings it if there was a wake that the one before may have taken with it.
    pub(crate) fn repeat_wake(&self) {
        if self.handle.pending.load(Ordering::SeqCst) {
            self.handle.timer.expire();
        }
    }

    /// Has it stop, for whoever looks; says whether it is there to do so.
    pub(crate) fn expire(&self, kernel: &Kernel) -> bool {
        self.handle.timer.expire();
        kernel.has_ended(self.sleeper.tid()).is_ok_and(|ended| ended.is_some())
    }

    /// Ends it. Wakers may live on, and ring nothing.
    pub(crate) fn end(self, kernel: &Kernel) {
        // If it may not be killed, for the host has become another user, it ends by itself when its
        // line is closed.
        if end(kernel, &self.sleeper) {
            self.sleeper.reaped();
        }
    }
}

/// Kills a wake helper, and says whether it is gone.
fn end(kernel: &Kernel, sleeper: &Sleeper) -> bool {
    let tid = sleeper.tid();
    // As long as it is our tracee the id is its own.
    let is_ours = kernel.has_ended(tid).is_ok_and(|ended| ended.is_some());
    let gone = is_ours && kernel.kill(Pid::from_raw(tid.as_raw()), Signal::KILL).is_ok();
    if gone {
        kernel.reap(tid);
    }
    gone
}

fn start(kernel: &Kernel, timer: &Timer) -> Result<Sleeper> {
    let sleeper = Sleeper::new(kernel, timer).map_err(|e| error("clone", -1, e))?;
    let tid = sleeper.tid();
    if let Err(e) = kernel.seize(tid, libc::PTRACE_O_EXITKILL) {
        let error = refusal(kernel, tid, e);
        // It is our child and was not waited for, so the id is its own.
        if kernel.kill(Pid::from_raw(tid.as_raw()), Signal::KILL).is_ok() {
            kernel.reap(tid);
            sleeper.reaped();
        }
        return Err(error);
    }
    // From here on it has nothing of the host's, such as a lock that others wait for.
    while !sleeper.wait_until_ready(LOOK) {
        match kernel.look(tid) {
            Ok(None) => {}
            // Somebody sends it signals.
            Ok(Some(status)) if crate::decode::ended(status).is_none() => {
                let _ = kernel.resume(tid, Run::Continue, None);
            }
            Ok(Some(_)) => {
                sleeper.reaped();
                return Err(no_helper());
            }
            // Somebody else has waited for it.
            Err(e) => return Err(error("wait4", tid.as_raw(), e)),
        }
    }
    Ok(sleeper)
}

/// It does not live here: a system call that it needs is refused, as by a filter of the host's.
fn no_helper() -> Error {
    Error::unsupported(
        "a waker or a time limit, for ppoll(2), read(2) or kill(2) is refused,",
        "this Linux",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As it is for a moment after it was made: the timer has expired, and nobody traces it.
    #[test]
    fn a_wake_helper_that_nobody_traces_does_not_trap() {
        let kernel = Kernel::open();
        let timer = Timer::new(&kernel).unwrap();
        let mut sleepers = Vec::new();
        for _ in 0..20 {
            timer.expire();
            let sleeper = Sleeper::new(&kernel, &timer).unwrap();
            while !sleeper.wait_until_ready(LOOK) {}
            sleepers.push(sleeper);
        }
        for _ in 0..50 {
            timer.expire();
            std::thread::sleep(Duration::from_millis(1));
        }
        for sleeper in sleepers {
            let tid = sleeper.tid();
            assert_eq!(kernel.has_ended(tid).unwrap(), Some(false), "it lives");
            assert!(end(&kernel, &sleeper));
            sleeper.reaped();
        }
    }
}
