//! Detaching.
//!
//! PT_DETACH alone harms (`kern_ptrace` and `ptracestop`): an LWP that waits for its turn to
//! report takes its event's SIGTRAP for a signal, and dies of it; a signal given to PT_DETACH is
//! delivered twice; a step that is not finished, and a SIGSTOP that we sent, are left behind. So
//! everything is taken out first, with the process stopped, and put back as signals:
//!
//! 1. No more events: an empty event mask, and no steps.
//! 2. Every LWP that waits to report does so: the others are suspended, and the process runs until
//!    they have. Signals are kept, traps of ours and events dropped. The new process of a fork that
//!    was not reported is detached too.
//! 3. Our SIGSTOP is taken out, if one is left.
//! 4. What was kept is sent again, and PT_DETACH has no signal.

use std::time::Duration;

use trapline_arch_x86_64::X86_64;
use trapline_core::backend::{NewTask, RawReason, Thread};
use trapline_core::{Arch, Error, Pid, Result, Signal, Tid};

use crate::decode::{
    self, EventMask, LwpFlags, LwpInfo, SI_LWP, SI_QUEUE, SI_USER, SIGKILL, SIGSTOP, SIGTRAP,
    SigInfo, Status, TRAP_BRKPT, TRAP_TRACE,
};
use crate::stuck::Wakeup;
use crate::sys::{Errno, Go};
use crate::system::FreeBsd;
use crate::tracee::DebugRegisters;

/// How long an LWP that only has to report may take. One that has a signal pending is in the
/// kernel already, and on its way.
const LIMIT: Duration = Duration::from_secs(2);

/// More stops than this do not come out of one process that runs no instruction.
const ROUNDS: usize = 4096;

/// A signal to be sent again.
#[derive(Debug, Clone, Copy)]
struct Kept {
    tid: i32,
    signal: i32,
    info: Option<SigInfo>,
}

/// What a detach has found so far.
#[derive(Debug)]
struct Found {
    /// The process, by any thread of it.
    thread: Thread,
    /// The LWPs with a step of ours.
    stepping: Vec<i32>,
    /// The LWP that reported last.
    reporter: LwpInfo,
    kept: Vec<Kept>,
}

/// `None` if the LWP has ended.
fn unless_gone<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(Error::Gone { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

impl FreeBsd {
    /// Detaches a stopped process, with a signal for the thread that reported.
    pub(crate) fn detach_process(&mut self, thread: Thread, signal: Option<Signal>) -> Result<()> {
        let pid = thread.pid.as_raw();
        let Some(tracee) = self.tracees.get(&pid) else {
            return Err(Error::GONE);
        };
        let stepping = tracee.steps.lwps();
        self.tell_mask(thread, EventMask::empty())?;
        let result = self.kernel.lwp_info(pid);
        let reporter = self.checked("PT_LWPINFO", thread, result)?;
        let kept = signal.map(|signal| {
            let (tid, signal) = (reporter.tid.as_raw(), signal.as_raw());
            Kept { tid, signal, info: reporter.siginfo.filter(|info| info.signo == signal) }
        });
        let kept = kept.into_iter().collect();
        let mut found = Found { thread, stepping, reporter, kept };
        let taken_out = self.take_out_all(&mut found);
        for &kept in &found.kept {
            self.send_again(pid, kept); // also if the detach fails: then they come again
        }
        taken_out?;
        let result = self.kernel.go(Go::Detach, pid, 0);
        self.checked("PT_DETACH", thread, result)?;
        self.disown(pid);
        Ok(())
    }

    fn take_out_all(&mut self, found: &mut Found) -> Result<()> {
        self.end_steps(found)?;
        for _ in 0..ROUNDS {
            self.take_out_reports(found)?;
            // Whenever the process runs, others of its threads may come to report: a suspended one
            // looks for signals before it heeds that.
            if !self.take_out_interrupt(found)? {
                break;
            }
        }
        Ok(())
    }

    /// Takes back the steps. One that has entered a system call traps when it leaves it all the
    /// same (`amd64_syscall` in `sys/amd64/amd64/trap.c`), which may be long after: such a call is
    /// interrupted, and made again where the kernel does that.
    fn end_steps(&mut self, found: &mut Found) -> Result<()> {
        let pid = found.thread.pid.as_raw();
        for tid in found.stepping.clone() {
            let thread = Thread { tid: Tid::from_raw(tid), ..found.thread };
            let cleared = self.kernel.clear_step(tid);
            if unless_gone(self.checked("PT_CLEARSTEP", thread, cleared))?.is_none() {
                continue;
            }
            let info = self.kernel.lwp_info(tid);
            let info = unless_gone(self.checked("PT_LWPINFO", thread, info))?;
            if !info.is_some_and(|info| info.flags.contains(LwpFlags::SCE)) {
                continue;
            }
            self.suspend_all_but(found.thread, &[tid])?;
            let Some(tracee) = self.tracees.get_mut(&pid) else {
                return Err(Error::GONE);
            };
            tracee.expected.ask(false);
            let result = self.kernel.go(Go::Continue, pid, 0);
            self.checked("PT_CONTINUE", found.thread, result)?;
            // Only now, as it wakes nobody while the process is stopped.
            let _ = self.kernel.kill_thread(pid, tid, SIGSTOP);
            self.one_more(found)?;
        }
        Ok(())
    }

    /// Has every LWP report that waits to do so, or has something of ours pending.
    fn take_out_reports(&mut self, found: &mut Found) -> Result<()> {
        let pid = found.thread.pid.as_raw();
        for _ in 0..ROUNDS {
            let Some(tracee) = self.tracees.get(&pid) else { return Err(Error::GONE) };
            let (stops, wakeups) = (tracee.expected.may_come(), tracee.wakeups.clone());
            let mut waiting = Vec::new();
            for tid in self.lwps_of(found.thread)? {
                let Ok(info) = self.kernel.lwp_info(tid) else { continue };
                let due = info.reports && info.tid != found.reporter.tid;
                // A trap that it has not come to report yet.
                let traps = info.pending.has(SIGTRAP) && !info.blocked.has(SIGTRAP);
                let woken = |w: &Wakeup| w.tid == info.tid && info.pending.has(w.signal);
                if due || wakeups.iter().any(woken) || traps || (stops && info.pending.has(SIGSTOP))
                {
                    waiting.push(tid);
                }
            }
            if waiting.is_empty() {
                return Ok(());
            }
            self.suspend_all_but(found.thread, &waiting)?;
            let result = self.kernel.go(Go::Continue, pid, 0);
            self.checked("PT_CONTINUE", found.thread, result)?;
            self.one_more(found)?;
        }
        Ok(())
    }

    fn lwps_of(&mut self, thread: Thread) -> Result<Vec<i32>> {
        let result = self.kernel.lwps(thread.pid.as_raw());
        self.checked("PT_GETLWPLIST", thread, result)
    }

    /// Has only these LWPs run when the process does.
    fn suspend_all_but(&mut self, thread: Thread, running: &[i32]) -> Result<()> {
        for tid in self.lwps_of(thread)? {
            let _ = self.kernel.suspend(tid, !running.contains(&tid)); // it may have ended
        }
        Ok(())
    }

    /// Waits for one more stop of the process that was just run.
    fn one_more(&mut self, found: &mut Found) -> Result<()> {
        let pid = found.thread.pid.as_raw();
        let Some(status) = self.wait_for_one(pid, LIMIT)? else {
            return Err(Error::NOT_STOPPED);
        };
        let Status::Stopped(signal) = decode::status(status) else {
            return Ok(());
        };
        self.turn.has_stopped(pid);
        let result = self.kernel.lwp_info(pid);
        let info = self.checked("PT_LWPINFO", found.thread, result)?;
        found.reporter = info;
        let tid = info.tid.as_raw();
        if signal == SIGKILL {
            found.kept.push(Kept { tid, signal, info: None });
            return Ok(());
        }
        let Some(tracee) = self.tracees.get_mut(&pid) else {
            return Err(Error::GONE);
        };
        tracee.is_duplicate(&info); // one that comes again is sent again too, and so delivered once
        let woken = tracee.takes_wakeup(&info);
        match tracee.expected.reason(signal, &info) {
            Some(RawReason::Signal { .. }) if woken => {}
            Some(RawReason::Signal { .. }) => {
                let here = Thread { pid: found.thread.pid, tid: info.tid };
                if !self.was_ours(here, &info, &found.stepping) {
                    found.kept.push(Kept { tid, signal, info: info.siginfo });
                }
            }
            Some(RawReason::Forked { task: Some(NewTask::Process { pid, .. }), .. }) => {
                let parent = found.thread.pid.as_raw();
                let parent = self.tracees.get(&parent);
                let watched = parent.is_some_and(|tracee| tracee.debug == DebugRegisters::Set);
                let code = parent.map(|tracee| tracee.original_code.clone()).unwrap_or_default();
                self.detach_child(pid, watched, &code)?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Whether a trap comes from a step, a debug register or a breakpoint of ours, which are all
    /// gone by now. The LWP is put back to where the breakpoint was.
    fn was_ours(&mut self, thread: Thread, info: &LwpInfo, stepping: &[i32]) -> bool {
        let Some(siginfo) = info.siginfo.filter(|i| i.signo == SIGTRAP) else {
            return false;
        };
        match siginfo.code {
            TRAP_BRKPT => self.step_back(thread).unwrap_or(false),
            TRAP_TRACE => {
                stepping.contains(&thread.tid.as_raw())
                    || self.is_step_taken_back(thread)
                    || self.take_debug_hit(thread)
            }
            _ => false,
        }
    }

    /// The child of a fork that is not reported. One that has stopped already is known, and
    /// not ours to detach.
    fn detach_child(&mut self, child: Pid, watched: bool, code: &[(u64, Vec<u8>)]) -> Result<()> {
        let pid = child.as_raw();
        if self.pairs.parent(pid) || self.adopt(pid)?.is_none() {
            return Ok(());
        }
        if let Ok(Some(status)) = self.wait_for_one(pid, LIMIT) {
            if decode::status(status) == Status::Stopped(SIGKILL) {
                let _ = self.kernel.kill_stopped(pid);
            }
            self.clean(child, code);
            if watched {
                // Old kernels copy its parent's debug registers.
                let _ = self.kernel.set_debug_registers(pid, [0; 8]);
            }
            let _ = self.kernel.go(Go::Detach, pid, 0);
        }
        self.pairs.child(pid);
        self.disown(pid);
        Ok(())
    }

    /// Puts the program's own code where a process has a breakpoint instruction.
    fn clean(&mut self, pid: Pid, code: &[(u64, Vec<u8>)]) {
        let thread = Thread { pid, tid: Tid::from_raw(pid.as_raw()) }; // memory is the process's
        for (addr, own) in code {
            let mut there = vec![0; X86_64::BREAKPOINT.len()];
            let read = self.read(thread, *addr, &mut there);
            if read.is_ok() && there == X86_64::BREAKPOINT {
                let _ = self.write(thread, *addr, own); // gone, or unmapped: nobody runs it
            }
        }
    }

    /// Takes out the SIGSTOP of an interrupt, if it is still to come: it would stop the process
    /// for good. Says whether the process had to be run for that.
    fn take_out_interrupt(&mut self, found: &mut Found) -> Result<bool> {
        let pid = found.thread.pid.as_raw();
        if self.tracees.get(&pid).is_none_or(|tracee| !tracee.expected.may_come()) {
            return Ok(false);
        }
        let process = self.kernel.process(pid);
        let process = self.answered("kern.proc.pid", found.thread.pid, pid, process)?;
        let Some(process) = process.filter(|process| process.pending.has(SIGSTOP)) else {
            return Ok(false);
        };
        // A thread that has stopped for a signal goes on to look for the next one before it runs,
        // and so meets ours; unless stop signals are held back, as in a vfork child.
        if found.reporter.siginfo.is_some() && !process.in_vfork {
            self.suspend_all_but(found.thread, &[found.reporter.tid.as_raw()])?;
            let result = self.kernel.go(Go::Continue, pid, 0);
            self.checked("PT_CONTINUE", found.thread, result)?;
            self.one_more(found)?;
            return Ok(true);
        }
        // One that stands elsewhere may be asleep, or run on; a SIGCONT takes the SIGSTOP out too,
        // and does nothing else but in a program that handles it.
        let result = self.kernel.kill(pid, Signal::CONT.as_raw());
        self.checked("kill", found.thread, result)?;
        Ok(false)
    }

    /// Sends a signal as it was sent. A fault needs no sending: the instruction is run again, and
    /// faults again.
    fn send_again(&mut self, pid: i32, kept: Kept) {
        let Kept { tid, signal, info } = kept;
        let kernel = &mut self.kernel;
        let code = info.map_or(SI_USER, |info| info.code);
        let result = match info {
            Some(info) if info.is_fault() => return,
            Some(info) if code == SI_QUEUE => kernel.queue_signal(pid, signal, info.value),
            _ if code == SI_LWP || (1..SI_USER).contains(&code) => {
                kernel.kill_thread(pid, tid, signal)
            }
            _ => kernel.kill(pid, signal),
        };
        if let Err(Errno::AGAIN | Errno::SRCH) = result {
            let _ = kernel.kill(pid, signal); // the queue is full, or the LWP gone
        }
    }
}
