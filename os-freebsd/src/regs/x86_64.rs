//! The registers of amd64.

mod debug;

use trapline_arch_x86_64::{ExtendedState, FpRegisters, RFlags, Registers};
use trapline_core::backend::Thread;
use trapline_core::{Arch, Backend, CodeMode, Error, Result};

use crate::sys::Errno;
use crate::system::FreeBsd;

/// Where XCR0 stands in an XSAVE area, as Linux and core dumps of both systems have it; the CPU
/// leaves these bytes to software. PT_GETXSTATE does not fill them in.
const XCR0: std::ops::Range<usize> = 464..472;

/// RFLAGS: the carry flag, by which a system call says that it failed.
const CARRY: u64 = 1;

/// The registers of an LWP as they were last read or written, at the stop that it is at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KnownRegisters {
    tid: i32,
    regs: libc::reg,
    bases: (u64, u64),
}

/// The code segment of 64-bit programs (`GUCODE_SEL` in `sys/x86/include/segments.h`).
const UCODE: u64 = 0x43;

/// In which mode a code segment has the CPU execute: that of 32-bit programs is 0x33, and what a
/// program makes for itself (`i386_set_ldt(2)`) is never of 64-bit code.
pub(crate) fn code_mode(cs: u64) -> CodeMode {
    match cs {
        UCODE => CodeMode::Bits64,
        _ => CodeMode::Bits32,
    }
}

impl FreeBsd {
    /// Has the kernel wait until an LWP has left its CPU.
    ///
    /// A stop is reported as soon as the last LWP is marked as suspended, which is before it has
    /// left its CPU and what is not in its trap frame was saved: the debug registers, the state of
    /// the FPU, and the bases (`thread_suspend_switch` in `kern_thread.c`, `cpu_switch` in
    /// `amd64/amd64/cpu_switch.S`). Until then requests read what was saved the time before, and
    /// what they set is overwritten. The LWP's lock is free only after that, and asking where it
    /// may run takes that lock.
    fn settle(&mut self, thread: Thread) {
        let _ = self.kernel.cpus(Some(thread.tid.as_raw()));
    }

    /// A process runs, or may have run.
    pub(crate) fn forget_registers(&mut self) {
        (self.known_registers, self.last_step, self.kept_signal) = (None, None, None);
    }

    /// `PT_GETREGS` and, as `struct reg` has none, the two bases.
    pub(crate) fn read_registers(&mut self, thread: Thread) -> Result<Registers> {
        let tid = thread.tid.as_raw();
        let result = self.kernel.registers(tid);
        let regs = self.checked("PT_GETREGS", thread, result)?;
        self.settle(thread);
        let result = self.kernel.bases(tid);
        let bases = self.checked("PT_GETFSBASE", thread, result)?;
        self.known_registers = Some(KnownRegisters { tid, regs, bases });
        let (fs_base, gs_base) = bases;
        let u = |value: i64| value as u64;
        // A step of ours that something else came before.
        let tracee = self.tracees.get(&thread.pid.as_raw());
        let stepping = tracee.is_some_and(|tracee| tracee.steps.is_started(tid));
        let steps = if stepping { RFlags::TF.bits() } else { 0 };
        Ok(Registers {
            r15: u(regs.r_r15),
            r14: u(regs.r_r14),
            r13: u(regs.r_r13),
            r12: u(regs.r_r12),
            rbp: u(regs.r_rbp),
            rbx: u(regs.r_rbx),
            r11: u(regs.r_r11),
            r10: u(regs.r_r10),
            r9: u(regs.r_r9),
            r8: u(regs.r_r8),
            rax: u(regs.r_rax),
            rcx: u(regs.r_rcx),
            rdx: u(regs.r_rdx),
            rsi: u(regs.r_rsi),
            rdi: u(regs.r_rdi),
            orig_rax: u64::MAX,
            rip: u(regs.r_rip),
            cs: u(regs.r_cs),
            rflags: u(regs.r_rflags) & !steps,
            rsp: u(regs.r_rsp),
            ss: u(regs.r_ss),
            fs_base,
            gs_base,
            ds: regs.r_ds.into(),
            es: regs.r_es.into(),
            fs: regs.r_fs.into(),
            gs: regs.r_gs.into(),
        })
    }

    /// What `struct reg` has besides stays as it is, and the kernel ignores the four data segments.
    /// A base is written only if it changes: to write it makes its segment the flat one.
    pub(crate) fn write_registers(&mut self, thread: Thread, to: &Registers) -> Result<()> {
        let tid = thread.tid.as_raw();
        let known = self.known_registers.take().filter(|known| known.tid == tid);
        self.last_step = None;
        let mut regs = match known {
            Some(known) => known.regs,
            None => {
                let result = self.kernel.registers(tid);
                self.checked("PT_GETREGS", thread, result)?
            }
        };
        let i = |value: u64| value as i64;
        regs.r_r15 = i(to.r15);
        regs.r_r14 = i(to.r14);
        regs.r_r13 = i(to.r13);
        regs.r_r12 = i(to.r12);
        regs.r_rbp = i(to.rbp);
        regs.r_rbx = i(to.rbx);
        regs.r_r11 = i(to.r11);
        regs.r_r10 = i(to.r10);
        regs.r_r9 = i(to.r9);
        regs.r_r8 = i(to.r8);
        regs.r_rax = i(to.rax);
        regs.r_rcx = i(to.rcx);
        regs.r_rdx = i(to.rdx);
        regs.r_rsi = i(to.rsi);
        regs.r_rdi = i(to.rdi);
        regs.r_rip = i(to.rip);
        regs.r_cs = i(to.cs);
        let tracee = self.tracees.get(&thread.pid.as_raw());
        let stepping = tracee.is_some_and(|tracee| tracee.steps.is_started(tid));
        let steps = if stepping { regs.r_rflags & i(RFlags::TF.bits()) } else { 0 };
        regs.r_rflags = i(to.rflags) | steps;
        regs.r_rsp = i(to.rsp);
        regs.r_ss = i(to.ss);
        let result = self.kernel.set_registers(tid, regs);
        self.checked("PT_SETREGS", thread, result)?;
        let (fs_base, gs_base) = match known {
            Some(known) => known.bases,
            None => {
                self.settle(thread);
                let result = self.kernel.bases(tid);
                self.checked("PT_GETFSBASE", thread, result)?
            }
        };
        if fs_base != to.fs_base {
            let result = self.kernel.set_fs_base(tid, to.fs_base);
            self.checked("PT_SETFSBASE", thread, result)?;
        }
        if gs_base != to.gs_base {
            let result = self.kernel.set_gs_base(tid, to.gs_base);
            self.checked("PT_SETGSBASE", thread, result)?;
        }
        self.known_registers = Some(KnownRegisters { tid, regs, bases: (to.fs_base, to.gs_base) });
        Ok(())
    }

    pub(crate) fn read_fp_registers(&mut self, thread: Thread) -> Result<FpRegisters> {
        self.settle(thread);
        let result = self.kernel.fp_registers(thread.tid.as_raw());
        Ok(FpRegisters::from_fxsave(&self.checked("PT_GETFPREGS", thread, result)?))
    }

    pub(crate) fn write_fp_registers(&mut self, thread: Thread, to: &FpRegisters) -> Result<()> {
        self.settle(thread);
        let result = self.kernel.set_fp_registers(thread.tid.as_raw(), to.to_fxsave());
        self.checked("PT_SETFPREGS", thread, result)
    }

    pub(crate) fn read_extended_state(&mut self, thread: Thread) -> Result<ExtendedState> {
        let tid = thread.tid.as_raw();
        self.settle(thread);
        let result = self.kernel.xstate(tid);
        let mut area = self.xstate_answer("PT_GETXSTATE", thread, result)?;
        let result = self.kernel.xstate_info(tid);
        let (_, xcr0) = self.xstate_answer("PT_GETXSTATE_INFO", thread, result)?;
        if let Some(bytes) = area.get_mut(XCR0) {
            bytes.copy_from_slice(&xcr0.to_le_bytes());
        }
        ExtendedState::from_bytes(area)
            .map_err(|error| Error::os("PT_GETXSTATE", tid, std::io::Error::other(error)))
    }

    pub(crate) fn write_extended_state(
        &mut self,
        thread: Thread,
        to: &ExtendedState,
    ) -> Result<()> {
        self.settle(thread);
        let result = self.kernel.set_xstate(thread.tid.as_raw(), to.as_bytes());
        self.xstate_answer("PT_SETXSTATE", thread, result)
    }

    fn xstate_answer<T>(
        &mut self,
        request: &'static str,
        thread: Thread,
        result: crate::sys::Result<T>,
    ) -> Result<T> {
        if let Err(Errno::OPNOTSUPP) = result {
            return Err(Error::unsupported("XSAVE on this CPU", FreeBsd::SYSTEM));
        }
        self.checked(request, thread, result)
    }

    /// Sets what a system call has returned.
    pub(crate) fn set_call_result(
        &mut self,
        thread: Thread,
        result: std::result::Result<u64, i32>,
    ) -> Result<()> {
        let mut registers = self.read_registers(thread)?;
        match result {
            Ok(value) => {
                registers.rax = value;
                registers.rflags &= !CARRY;
            }
            Err(errno) => {
                registers.rax = u64::try_from(errno).unwrap_or(0);
                registers.rflags |= CARRY;
            }
        }
        self.write_registers(thread, &registers)
    }

    /// What a system call has returned, by the registers.
    pub(crate) fn returned(&mut self, thread: Thread) -> Result<std::result::Result<u64, i32>> {
        let result = self.kernel.registers(thread.tid.as_raw());
        let regs = self.checked("PT_GETREGS", thread, result)?;
        let value = regs.r_rax as u64;
        let failed = regs.r_rflags as u64 & CARRY != 0;
        Ok(if failed { Err(i32::try_from(value).unwrap_or(i32::MAX)) } else { Ok(value) })
    }

    /// The program counter, taken back behind a breakpoint instruction that has trapped; unless
    /// that instruction is still there, as it is if it is the program's own.
    pub(crate) fn step_back(&mut self, thread: Thread) -> Result<bool> {
        type Cpu = trapline_arch_x86_64::X86_64;
        let mut registers = self.read_registers(thread)?;
        let at = Cpu::pc(&registers).wrapping_sub(Cpu::BREAKPOINT.len() as u64);
        let mut code = vec![0; Cpu::BREAKPOINT.len()];
        self.read(thread, at, &mut code)?;
        if code == Cpu::BREAKPOINT {
            return Ok(false);
        }
        Cpu::set_pc(&mut registers, at);
        self.write_registers(thread, &registers)?;
        Ok(true)
    }
}
