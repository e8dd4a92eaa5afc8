//! A thread that does something else for its tracer, and then goes on as if nothing had been.
//!
//! What a thread is to do is done from the exit of a system call, with all signals blocked: there a
//! thread is inside no call, and stops at the entry and the exit of the next one without a signal for
//! it. So it is first brought there, whatever stop it is at, and in the end brought back to a stop of
//! the same kind, from which the kernel goes on as it would have: it delivers the signal, makes an
//! interrupted call again, or carries a call out.

use std::thread;

use trapline_core::backend::{RawKind, RawReason, RawStop, Run, Thread, Waited};
use trapline_core::{Backend, Error, Result, Signal, Tid};

use crate::ffi::{PTRACE_EVENT_STOP, PTRACE_SYSCALL_INFO_ENTRY, PTRACE_SYSCALL_INFO_EXIT, Siginfo};
use crate::sys::error;
use crate::{Linux, decode, process, regs};

/// How many other stops a thread may make on its way to one.
const STOPS_MOST: usize = 16;
/// How often the CPU is left to a thread before its tracer sleeps.
const YIELDS: usize = 12;
/// All signals that can be blocked are.
const ALL: u64 = u64::MAX;

pub(crate) fn refused(what: &'static str) -> Error {
    Error::unsupported(what, Linux::SYSTEM)
}

/// What kind of stop a thread is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A signal is about to be delivered.
    Signal,
    /// It was interrupted, has just been made, or job control has stopped it.
    Paused { group: bool },
    /// At the entry of a system call; by a filter, after that of the trace.
    Entry { filtered: bool },
    /// At the exit of a system call.
    Exit,
    /// Inside a system call that has done its work.
    Inside,
}

/// Where a thread was, and all that is to be put back.
#[derive(Debug)]
pub struct Detour {
    kind: Kind,
    registers: regs::Raw,
    /// The system call that it is in, where that is none of the registers.
    call: Option<i32>,
    mask: u64,
    info: Siginfo,
    /// What a function may change besides.
    extended: Option<regs::Extended>,
}

impl Linux {
    /// Notes where a thread is.
    pub(crate) fn note_place(&mut self, thread: Thread) -> Result<Detour> {
        let tid = thread.tid;
        let (kind, info) = self.kind_of_stop(tid)?;
        let registers = self.kernel.registers(tid)?;
        if kind == Kind::Exit && !regs::CALL_IS_IN_REGISTERS && regs::will_restart(&registers) {
            return Err(Error::NOT_STOPPED); // nobody could put back what is made again then
        }
        let call = regs::call_number(&self.kernel, tid)?;
        let mask = self.kernel.signal_mask(tid)?;
        Ok(Detour { kind, registers, call, mask, info, extended: None })
    }

    /// The same, with all that a function may change, and has the thread leave the system call that
    /// it is in: then it runs what its registers say.
    pub(crate) fn leave_for_detour(&mut self, thread: Thread) -> Result<Detour> {
        let mut detour = self.note_place(thread)?;
        detour.extended = Some(regs::all_extended(&self.kernel, thread.tid)?);
        if matches!(detour.kind, Kind::Entry { .. } | Kind::Inside) {
            self.kernel.set_signal_mask(thread.tid, ALL)?;
            self.leave_call(thread, &mut detour, &mut false)?;
            self.kernel.set_signal_mask(thread.tid, detour.mask)?;
        }
        Ok(detour)
    }

    /// Brings a thread back to where it was, from whatever stop it is at now. A signal that it is
    /// stopped for now, and that is `kept`, comes again later.
    pub(crate) fn return_from_detour(
        &mut self,
        thread: Thread,
        detour: &Detour,
        kept: Option<Signal>,
    ) -> Result<()> {
        let tid = thread.tid;
        let (kind, _) = self.kind_of_stop(tid)?;
        let simple = match (kind, detour.kind) {
            (Kind::Signal, Kind::Signal | Kind::Paused { group: false }) => kept.is_none(),
            (Kind::Paused { group: false }, Kind::Paused { group: false }) => true,
            _ => false,
        };
        if let Some(extended) = &detour.extended {
            regs::set_all_extended(&self.kernel, tid, extended)?;
        }
        if simple {
            return self.put_back(thread, detour);
        }
        let at = self.syscall_instruction(thread)?;
        let mut stopped = false;
        self.kernel.set_signal_mask(tid, ALL)?;
        match kind {
            Kind::Exit => {}
            Kind::Entry { .. } | Kind::Inside => {
                let mut now = self.note_place(thread)?;
                self.leave_call(thread, &mut now, &mut stopped)?;
            }
            Kind::Signal | Kind::Paused { .. } => {
                // A signal that is blocked by now is one that waits, again with all that is known of it.
                let now = self.kernel.registers(tid)?;
                let call = regs::at_call(&now, at, libc::SYS_getpid as u64, [0; 6]);
                self.kernel.set_registers(tid, &call)?;
                self.run_to_call(thread, kept, &mut stopped)?;
                self.run_to_call(thread, None, &mut stopped)?;
            }
        }
        self.go_back(thread, detour, at, stopped)
    }

    /// Has a thread make a system call, from wherever it is, and brings it back.
    pub(crate) fn call_on_the_way(
        &mut self,
        thread: Thread,
        number: u64,
        args: [u64; 6],
    ) -> Result<std::result::Result<u64, i32>> {
        let tid = thread.tid;
        let at = self.syscall_instruction(thread)?;
        let mut detour = self.note_place(thread)?;
        let mut stopped = false;
        self.kernel.set_signal_mask(tid, ALL)?;
        let result = self.call_from(thread, &mut detour, at, (number, args), &mut stopped);
        match result {
            Err(Error::Gone { .. }) => Err(Error::GONE),
            Err(error) => {
                // It is somewhere on the way, and at least goes on from where it was.
                self.put_back(thread, &detour)?;
                Err(error)
            }
            Ok(result) => {
                self.go_back(thread, &detour, at, stopped)?;
                Ok(result)
            }
        }
    }

    fn call_from(
        &mut self,
        thread: Thread,
        detour: &mut Detour,
        at: u64,
        (number, args): (u64, [u64; 6]),
        stopped: &mut bool,
    ) -> Result<std::result::Result<u64, i32>> {
        let tid = thread.tid;
        if matches!(detour.kind, Kind::Entry { .. } | Kind::Inside) {
            self.leave_call(thread, detour, stopped)?;
        }
        let call = regs::at_call(&detour.registers, at, number, args);
        self.kernel.set_registers(tid, &call)?;
        self.run_to_call(thread, None, stopped)?;
        self.run_to_call(thread, None, stopped)?;
        let returned = regs::call_result(&self.kernel.registers(tid)?);
        Ok(match i32::try_from(returned) {
            Ok(errno @ -4095..=-1) => Err(-errno),
            _ => Ok(returned as u64),
        })
    }

    /// From inside a system call, or from its entry, to its exit; a call at its entry is not carried
    /// out.
    fn leave_call(
        &mut self,
        thread: Thread,
        detour: &mut Detour,
        stopped: &mut bool,
    ) -> Result<()> {
        let tid = thread.tid;
        if let Kind::Entry { .. } = detour.kind {
            regs::skip_call(&self.kernel, tid, &detour.registers)?;
        }
        self.run_to_call(thread, None, stopped)?;
        if detour.kind == Kind::Inside {
            let at_exit = self.kernel.registers(tid)?;
            detour.registers = regs::behind_call(&detour.registers, at_exit); // with the result
        }
        Ok(())
    }

    /// From the exit of a system call, with all signals blocked, back to a stop as it was.
    fn go_back(
        &mut self,
        thread: Thread,
        detour: &Detour,
        at: u64,
        mut stopped: bool,
    ) -> Result<()> {
        let tid = thread.tid;
        match detour.kind {
            Kind::Signal => {
                let signal = self.free_signal(tid)?;
                self.kernel.set_signal_mask(tid, !(1 << (signal.as_raw() - 1)))?;
                // The kernel itself sends it, so that no permission is needed (`ptrace_report_syscall`).
                let stop = self.run_on(thread, Run::Continue, Some(signal), &mut stopped)?;
                if !matches!(stop, RawReason::Signal { signal: got, .. } if got == signal) {
                    return Err(refused("a system call at this stop"));
                }
                self.put_back(thread, detour)?;
            }
            Kind::Paused { group } => {
                let now = self.pause(thread, &mut stopped)?;
                self.put_back(thread, detour)?;
                // Job control has done something meanwhile.
                if matches!(now.kind, RawKind::Stop(RawReason::GroupStop(_))) != group {
                    self.early.push_back(now);
                }
            }
            Kind::Entry { filtered } => {
                let (number, args) = regs::call_of(&detour.registers);
                let call = regs::at_call(&detour.registers, at, number, args);
                self.kernel.set_registers(tid, &call)?;
                self.run_to_call(thread, None, &mut stopped)?;
                if filtered {
                    self.run_on(thread, Run::Continue, None, &mut stopped)?;
                }
                self.put_back(thread, detour)?;
            }
            Kind::Exit | Kind::Inside => {
                self.put_back(thread, detour)?;
                if let Some(call) = detour.call {
                    regs::set_call_number(&self.kernel, tid, call)?;
                }
                if detour.kind == Kind::Inside {
                    self.left_calls.push(tid);
                }
                // Without a reason to look for signals the kernel does not make a call again.
                if regs::will_restart(&detour.registers) {
                    self.kernel.interrupt(tid)?;
                }
            }
        }
        if stopped {
            // What has stopped it on the way stops it behind that.
            if let Err(Error::Gone { .. }) = self.kernel.kill_thread(thread, Signal::STOP) {
                return Err(Error::GONE);
            }
        }
        Ok(())
    }

    /// Registers, signal mask and signal are those of before.
    fn put_back(&mut self, thread: Thread, detour: &Detour) -> Result<()> {
        let tid = thread.tid;
        self.kernel.set_registers(tid, &detour.registers)?;
        self.kernel.set_signal_mask(tid, detour.mask)?;
        if detour.kind == Kind::Signal {
            self.kernel.set_siginfo(tid, &detour.info)?;
        }
        Ok(())
    }

    /// A signal that a thread can be sent without meeting another one of its number.
    fn free_signal(&mut self, tid: Tid) -> Result<Signal> {
        /// The last real-time signal.
        const LAST: i32 = 64;
        let status = process::status(&self.kernel, tid.as_raw())?;
        let is_free =
            |signal: &Signal| status.as_ref().is_none_or(|status| !status.has_pending(*signal));
        let mut candidates = (34..=LAST).rev().filter_map(Signal::from_raw);
        Ok(candidates.find(is_free).unwrap_or(Signal::TRAP))
    }

    /// Has a thread stop as an interrupt stops it, before it executes anything.
    fn pause(&mut self, thread: Thread, stopped: &mut bool) -> Result<RawStop> {
        let tid = thread.tid;
        for _ in 0..STOPS_MOST {
            self.kernel.interrupt(tid)?;
            self.kernel.resume(tid, Run::Continue, None)?;
            let stop = self.next_of(tid)?;
            match stop.kind {
                RawKind::Stop(RawReason::Paused | RawReason::GroupStop(_)) => return Ok(stop),
                RawKind::Stop(RawReason::Signal { signal: Signal::STOP, .. }) => *stopped = true,
                _ => return Err(self.is_over(stop)),
            }
        }
        Err(refused("a system call at this stop"))
    }

    /// To the next entry or exit of a system call.
    fn run_to_call(
        &mut self,
        thread: Thread,
        signal: Option<Signal>,
        stopped: &mut bool,
    ) -> Result<()> {
        match self.run_on(thread, Run::Syscall, signal, stopped)? {
            RawReason::Syscall => Ok(()),
            _ => Err(refused("a system call at this stop")),
        }
    }

    /// Runs a thread to its next stop that is not one of job control or of an interrupt, which it
    /// leaves.
    fn run_on(
        &mut self,
        thread: Thread,
        run: Run,
        mut signal: Option<Signal>,
        stopped: &mut bool,
    ) -> Result<RawReason> {
        for _ in 0..STOPS_MOST {
            self.kernel.resume(thread.tid, run, signal.take())?;
            let stop = self.next_of(thread.tid)?;
            match stop.kind {
                // What was asked for before the stop that it was at.
                RawKind::Stop(RawReason::Paused) => {}
                RawKind::Stop(RawReason::GroupStop(_)) => *stopped = true,
                // It cannot be blocked.
                RawKind::Stop(RawReason::Signal { signal: Signal::STOP, .. }) => *stopped = true,
                RawKind::Stop(RawReason::ThreadExiting | RawReason::Execed { .. })
                | RawKind::Ended(_) => return Err(self.is_over(stop)),
                RawKind::Stop(reason) => return Ok(reason),
            }
        }
        Err(refused("a system call at this stop"))
    }

    /// A thread has ended on its way, or another one has taken its number by an exec: a wait tells.
    fn is_over(&mut self, stop: RawStop) -> Error {
        self.early.push_back(stop);
        Error::GONE
    }

    /// The next stop of a thread, or its end. What others have to tell meanwhile is kept: they may
    /// have to be waited for before this one can stop, as in an exec.
    fn next_of(&mut self, tid: Tid) -> Result<RawStop> {
        for _ in 0..YIELDS {
            match self.kernel.try_wait(tid) {
                Ok(Some(status)) => return Ok(decode::stop(tid, status)),
                Ok(None) => thread::yield_now(),
                Err(e) if e.raw_os_error() == Some(libc::ECHILD) => return Err(Error::GONE),
                Err(e) => return Err(error("wait4", tid.as_raw(), e)),
            }
        }
        loop {
            let (found, status) = match self.kernel.wait_any(true) {
                Ok(Some(found)) => found,
                Ok(None) => continue, // does not happen to a wait that blocks
                Err(e) if e.raw_os_error() == Some(libc::ECHILD) => return Err(Error::GONE),
                Err(e) => return Err(error("wait4", -1, e)),
            };
            match self.told(found, status)? {
                Some(Waited::Stop(stop)) if found == tid => return Ok(stop),
                Some(Waited::Stop(stop)) => self.early.push_back(stop),
                Some(Waited::Woken) => self.woken = true,
                Some(Waited::Nothing | Waited::NoTracees) | None => {}
            }
        }
    }

    /// At what kind of stop a thread is.
    fn kind_of_stop(&mut self, tid: Tid) -> Result<(Kind, Siginfo)> {
        let info = match self.kernel.siginfo(tid) {
            Ok(info) => info,
            Err(Error::Gone { .. }) => return Err(Error::GONE),
            Err(_) => return Err(Error::NOT_STOPPED),
        };
        let kind = if decode::is_syscall_stop(&info) {
            match self.kernel.syscall_info(tid)?.op {
                PTRACE_SYSCALL_INFO_ENTRY => Kind::Entry { filtered: false },
                PTRACE_SYSCALL_INFO_EXIT => Kind::Exit,
                _ => return Err(Error::NOT_STOPPED),
            }
        } else {
            match decode::event_of_stop(&info) {
                0 => Kind::Signal,
                libc::PTRACE_EVENT_SECCOMP => Kind::Entry { filtered: true },
                libc::PTRACE_EVENT_FORK
                | libc::PTRACE_EVENT_CLONE
                | libc::PTRACE_EVENT_VFORK_DONE
                | libc::PTRACE_EVENT_EXEC => Kind::Inside,
                event if event == PTRACE_EVENT_STOP as i32 => {
                    Kind::Paused { group: decode::signal_of(&info) != libc::SIGTRAP }
                }
                // In vfork, or on its way out: it executes nothing of the program.
                _ => return Err(Error::NOT_STOPPED),
            }
        };
        Ok((kind, info))
    }

    /// A thread is resumed whose stop was inside a system call that it has left since: says whether
    /// the exit of that is what comes now.
    pub(crate) fn takes_left_call(&mut self, tid: Tid, run: Run) -> bool {
        let Some(at) = self.left_calls.iter().position(|&left| left == tid) else { return false };
        self.left_calls.swap_remove(at);
        if run == Run::Syscall {
            let kind = RawKind::Stop(RawReason::Syscall);
            self.early.push_back(RawStop { pid: None, tid: Some(tid), kind });
        }
        run == Run::Syscall
    }
}
