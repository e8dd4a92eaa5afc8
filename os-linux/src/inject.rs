//! System calls that a tracee makes for its tracer.

use trapline_core::backend::{RawKind, RawReason, Run, Thread, pages_near};
use trapline_core::{Arch, Backend, Error, Result, Signal};

use crate::ffi::PTRACE_EVENT_STOP;
use crate::{Linux, decode, process, regs};

/// `MAP_FIXED_NOREPLACE` (Linux 4.17); an older kernel takes the address for a wish.
const FIXED_NOREPLACE: u64 = 0x10_0000;

/// How much of the vDSO is searched for the instruction that makes a system call.
const VDSO_LENGTH: usize = 8192;

/// How many other stops a thread may make before its call is done.
const STOPS_MOST: usize = 16;

fn refused(what: &'static str) -> Error {
    Error::Unsupported { what, on: Linux::SYSTEM }
}

impl Linux {
    /// Memory for code, as near to an address as can be.
    pub(crate) fn map_near(&mut self, thread: Thread, near: u64, len: u64) -> Result<u64> {
        const REACH: u64 = <regs::Cpu as Arch>::SLOT_REACH;
        let protection = (libc::PROT_READ | libc::PROT_EXEC) as u64;
        let flags = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS) as u64 | FIXED_NOREPLACE;
        let what = "memory near the program's code";
        for wish in pages_near(near, REACH) {
            let args = [wish, len, protection, flags, u64::MAX, 0];
            let start = match self.inject(thread, libc::SYS_mmap, args)? {
                Ok(start) => start,
                Err(libc::EEXIST | libc::EINVAL | libc::EPERM) => continue,
                Err(_) => return Err(refused(what)),
            };
            if start.abs_diff(near) < REACH {
                return Ok(start);
            }
            self.unmap(thread, start, len)?;
        }
        Err(refused(what))
    }

    pub(crate) fn unmap(&mut self, thread: Thread, addr: u64, len: u64) -> Result<()> {
        match self.inject(thread, libc::SYS_munmap, [addr, len, 0, 0, 0, 0])? {
            Ok(_) => Ok(()),
            Err(_) => Err(refused("to give memory back")),
        }
    }

    /// Has a stopped thread make a system call; its registers, its signal mask and the signal that it
    /// is stopped for are put back. The result is the call's.
    ///
    /// The call is stepped over: the stop that follows is one in which the kernel, as in the one
    /// before, has yet to see whether another call is to be made again (`arch_do_signal_or_restart`).
    fn inject(
        &mut self,
        thread: Thread,
        number: libc::c_long,
        args: [u64; 6],
    ) -> Result<std::result::Result<u64, i32>> {
        let tid = thread.tid;
        let status = process::status(&self.kernel, tid.as_raw())?;
        if status.and_then(|status| status.seccomp) != Some(0) {
            return Err(refused("a system call that a seccomp filter may forbid"));
        }
        // A group-stop has no siginfo, and must not be left.
        let Ok(info) = self.kernel.siginfo(tid) else {
            return Err(Error::NotStopped);
        };
        let event = decode::event_of(&info);
        if decode::is_syscall_stop(&info) || event != 0 && event != PTRACE_EVENT_STOP as i32 {
            return Err(Error::NotStopped);
        }
        let saved = self.kernel.registers(tid)?;
        if !regs::is_native(&saved) {
            return Err(refused("a system call in a 32-bit program"));
        }
        let at = self.syscall_instruction(thread)?;
        let mask = self.kernel.signal_mask(tid)?;
        // Nothing else comes between. A blocked SIGTRAP would have its handler taken away.
        let all = !(1 << (libc::SIGTRAP - 1));
        self.kernel.set_signal_mask(tid, all)?;
        let result = self
            .kernel
            .set_registers(tid, &regs::at_call(&saved, at, number as u64, args))
            .and_then(|()| self.step_over_call(thread));
        let result = match result {
            Err(Error::Gone) => return Err(Error::Gone),
            result => result,
        };
        self.kernel.set_registers(tid, &saved)?;
        self.kernel.set_signal_mask(tid, mask)?;
        if event == 0 {
            self.kernel.set_siginfo(tid, &info)?;
        }
        result
    }

    /// Steps until the call is done, and says what it returned.
    fn step_over_call(&mut self, thread: Thread) -> Result<std::result::Result<u64, i32>> {
        let tid = thread.tid;
        let mut stopped = false;
        for _ in 0..STOPS_MOST {
            self.kernel.resume(tid, Run::Step, None)?;
            let stop = decode::stop(tid, self.kernel.wait_one(tid)?);
            match stop.kind {
                RawKind::Stop(RawReason::Signal { signal: Signal::TRAP, .. }) => {
                    if stopped {
                        self.kernel.kill_thread(thread, Signal::STOP)?;
                    }
                    let returned = regs::call_result(&self.kernel.registers(tid)?);
                    return Ok(match i32::try_from(returned) {
                        Ok(errno @ -4095..=-1) => Err(-errno),
                        _ => Ok(returned as u64),
                    });
                }
                // What was asked for before the stop that it is at; or it cannot be blocked.
                RawKind::Stop(RawReason::Paused) => {}
                RawKind::Stop(RawReason::Signal { signal: Signal::STOP, .. }) => stopped = true,
                RawKind::Stop(RawReason::GroupStop(_)) => stopped = true,
                RawKind::Stop(RawReason::ThreadExiting) | RawKind::Ended(_) => {
                    self.early.push_back(stop);
                    return Err(Error::Gone);
                }
                RawKind::Stop(_) => break,
            }
        }
        Err(refused("a system call here"))
    }

    /// Where a process has the instruction that makes a system call: in the vDSO.
    fn syscall_instruction(&mut self, thread: Thread) -> Result<u64> {
        const AT_SYSINFO_EHDR: u64 = 33;
        let nowhere = refused("a system call without a vDSO");
        let vector = process::auxiliary_vector(&self.kernel, thread.pid)?;
        let word = |bytes: &[u8]| bytes.try_into().ok().map(u64::from_ne_bytes);
        let start = vector.chunks_exact(16).find_map(|pair| {
            let (key, value) = pair.split_at(8);
            (word(key)? == AT_SYSINFO_EHDR).then(|| word(value))?
        });
        let Some(start) = start.filter(|&start| start != 0) else { return Err(nowhere) };
        let mut code = vec![0; VDSO_LENGTH];
        let read = self.memory.read(&self.kernel, thread, start, &mut code)?;
        code.truncate(read);
        let at = code.windows(regs::SYSCALL.len()).position(|code| code == regs::SYSCALL);
        at.map(|at| start + at as u64).ok_or(nowhere)
    }
}
