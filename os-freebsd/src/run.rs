//! Running: to resume, step, interrupt and kill.

use std::time::{Duration, Instant};

use trapline_core::backend::{RawReason, Run, Thread};
use trapline_core::{Error, Pid, Result, Signal};

use crate::decode::{EventMask, LwpFlags, SIGKILL, SIGSTOP};
use crate::sys::{Errno, Go};
use crate::system::FreeBsd;
use crate::wait::{NET, stopped};

/// How long one that is killed may take at first.
const KILLED_FOR: Duration = Duration::from_millis(5);

/// A process that the tracer has killed.
#[derive(Debug)]
pub(crate) struct Killed {
    pid: i32,
    /// When it is killed once more.
    again: Instant,
    pause: Duration,
}

impl FreeBsd {
    /// Runs a process, with the one thread stepping if so asked.
    ///
    /// A step that another thread began and has not finished goes on: it is reported later.
    ///
    /// A call that forked or exec'ed has its exit in the same stop, so when system calls are asked
    /// for, that is reported next, and the process stays where it is.
    pub(crate) fn run(&mut self, thread: Thread, run: Run, signal: Option<Signal>) -> Result<()> {
        let (pid, tid) = (thread.pid.as_raw(), thread.tid.as_raw());
        self.forget_registers();
        let Some(tracee) = self.tracees.get_mut(&pid) else {
            return Err(Error::GONE);
        };
        if let Some(tid) = tracee.hidden_exit.take() {
            if run == Run::Syscall {
                tracee.expected.answer(); // any stop answers an interrupt
                self.ready.push_back(stopped(pid, tid, RawReason::SyscallExit));
                return Ok(());
            }
        }
        let mut mask = tracee.wanted;
        if run == Run::Syscall {
            mask |= EventMask::CALLS;
        }
        let change = (mask != tracee.mask).then_some(mask);
        if run == Run::Step {
            tracee.steps.start(tid);
        } else if tracee.steps.is_started(tid) {
            self.take_back_step(thread)?; // something else may have come before it was done
        }
        if let Some(mask) = change {
            self.tell_mask(thread, mask)?;
        }
        if let Some(signal) = signal {
            self.delivers(thread, signal);
        }
        let (go, request) = match run {
            Run::Step => (Go::Step, "PT_STEP"),
            Run::Continue | Run::Syscall => (Go::Continue, "PT_CONTINUE"),
        };
        let result = self.kernel.go(go, tid, signal.map_or(0, Signal::as_raw));
        self.checked(request, thread, result)
    }

    /// Takes back a step that may not be done.
    ///
    /// One that has entered a system call traps all the same when it leaves it: that was decided
    /// at the entry (`amd64_syscall` in `sys/amd64/amd64/trap.c`).
    fn take_back_step(&mut self, thread: Thread) -> Result<()> {
        let tid = thread.tid.as_raw();
        let result = self.kernel.clear_step(tid);
        self.checked("PT_CLEARSTEP", thread, result)?;
        let inside = self.info(thread)?.flags.contains(LwpFlags::SCE);
        if let Some(tracee) = self.tracees.get_mut(&thread.pid.as_raw()) {
            tracee.steps.take_back(tid, inside);
        }
        Ok(())
    }

    /// Whether a trap is such a one, and not of a debug register, which the kernel tells alike.
    pub(crate) fn is_step_taken_back(&mut self, thread: Thread) -> bool {
        let tracee = self.tracees.get_mut(&thread.pid.as_raw());
        tracee.is_some_and(|tracee| tracee.steps.take_trap(thread.tid.as_raw()))
            && !self.hit_debug_register(thread)
    }

    /// Sets what a stopped process reports.
    pub(crate) fn set_mask(&mut self, thread: Thread, mask: EventMask) -> Result<()> {
        let Some(tracee) = self.tracees.get_mut(&thread.pid.as_raw()) else {
            return Err(Error::GONE);
        };
        tracee.wanted = mask;
        if tracee.mask == mask { Ok(()) } else { self.tell_mask(thread, mask) }
    }

    /// The event mask is set, never added to: PT_SYSCALL and its like leave their bits in it.
    pub(crate) fn tell_mask(&mut self, thread: Thread, mask: EventMask) -> Result<()> {
        let result = self.kernel.set_event_mask(thread.pid.as_raw(), mask);
        self.checked("PT_SET_EVENT_MASK", thread, result)?;
        if let Some(tracee) = self.tracees.get_mut(&thread.pid.as_raw()) {
            tracee.mask = mask;
        }
        Ok(())
    }

    /// Has a running process stop. See [`Expected`](crate::decode::Expected).
    pub(crate) fn ask_to_stop(&mut self, pid: Pid) -> Result<()> {
        let Some(tracee) = self.tracees.get(&pid.as_raw()) else {
            return Err(Error::GONE);
        };
        if tracee.expected.is_attaching() {
            return Ok(()); // a stop is due
        }
        // Sent even if one is due: a SIGCONT from anybody takes a pending SIGSTOP back.
        let pending = self.kernel.process(pid.as_raw()).ok().flatten();
        let pending = pending.is_some_and(|process| process.pending.has(SIGSTOP));
        if let Some(tracee) = self.tracees.get_mut(&pid.as_raw()) {
            tracee.expected.ask(pending);
        }
        let result = self.kernel.kill(pid.as_raw(), SIGSTOP);
        self.answered("kill", pid, pid.as_raw(), result)
    }

    /// Kills.
    ///
    /// SIGKILL does nothing to a process as long as its tracer keeps it stopped. PT_KILL resumes
    /// such a one, and kills it by the thread that reported; but at the stop of an attach there is
    /// none, and threads may be asleep. So a signal follows, which wakes them.
    pub(crate) fn kill_process(&mut self, pid: Pid, stopped: bool) -> Result<()> {
        let raw = pid.as_raw();
        if self.killed.iter().all(|killed| killed.pid != raw) {
            let again = Instant::now() + KILLED_FOR;
            self.killed.push(Killed { pid: raw, again, pause: KILLED_FOR });
        }
        let before = self.ready.len();
        self.ready.retain(|stop| stop.pid != Some(pid) || stop.tid.is_none());
        let stopped = stopped || self.ready.len() < before; // at a stop that is still to be given
        if let Some(tracee) = self.tracees.get_mut(&raw) {
            tracee.hidden_exit = None;
        }
        if stopped {
            match self.kernel.kill_stopped(raw) {
                Ok(()) => {
                    let _ = self.kernel.kill(raw, SIGKILL);
                    return Ok(());
                }
                Err(Errno::BUSY) => {} // it runs
                result => return self.answered("PT_KILL", pid, raw, result),
            }
        }
        let result = self.kernel.kill(raw, SIGKILL);
        self.answered("kill", pid, raw, result)
    }

    /// Kills once more what was killed and lives on: a SIGKILL can be given to a thread that ends,
    /// and is gone with it (`ptracestop` and `tdsigcleanup` in `kern_sig.c`). Says when to do it
    /// again.
    pub(crate) fn kill_again(&mut self) -> Option<Instant> {
        if self.killed.is_empty() {
            return None;
        }
        let now = Instant::now();
        let (kernel, tracees) = (&mut self.kernel, &self.tracees);
        self.killed.retain_mut(|killed| {
            if !tracees.contains_key(&killed.pid) {
                return false;
            }
            if now >= killed.again {
                let _ = kernel.kill(killed.pid, SIGKILL); // an error says that it has ended
                killed.pause = NET.min(2 * killed.pause);
                killed.again = now + killed.pause;
            }
            true
        });
        self.killed.iter().map(|killed| killed.again).min()
    }

    /// Wakes threads that the kernel does not. Ten times a second a process is looked at, this one
    /// or each in turn.
    ///
    /// A SIGKILL that comes while its process is stopped is given to one thread, which is not woken
    /// if it is asleep; the process would live on until it wakes by itself (`tdsendsignal` in
    /// `kern_sig.c`). For the others see [`stuck`](crate::stuck).
    pub(crate) fn wake_sleepers(&mut self, only: Option<i32>) {
        let now = Instant::now();
        if now - *self.turn.looked.get_or_insert(now) < NET {
            return;
        }
        self.turn.looked = Some(now);
        let stopping = self.turn.stopping.take();
        let next = only.or(stopping).or_else(|| self.turn.next(&self.tracees));
        let Some(pid) = next else { return };
        let Ok(Some(process)) = self.kernel.process(pid) else { return };
        if process.pending.has(SIGKILL) {
            let _ = self.kernel.kill(pid, SIGKILL); // wakes, unless it is still stopped
        }
        if process.stopping {
            self.turn.stopping = Some(pid);
            if stopping == Some(pid) {
                self.wake_stuck(pid);
            }
        }
    }
}
