//! x86-64: registers, system calls and the instructions of the doorbell.

mod call;
pub(crate) mod debug;
mod trap;

use std::io;

use trapline_arch_x86_64::{ExtendedState, FpRegisters, Registers, X86_64};
use trapline_core::{CodeMode, Error, Result, Tid};

pub(crate) use call::{CloneCall, audit_arch, clone_call, restarted, syscall};
pub(crate) use trap::trap_origin;

use crate::sys::{Kernel, error};

/// The CPU.
pub(crate) type Cpu = X86_64;

/// The code segment of 64-bit code; that of 32-bit programs is 0x23 (`__USER_CS` and `__USER32_CS` in
/// `arch/x86/include/asm/segment.h`).
const USER_CS: u64 = 0x33;

/// In which mode a thread executes. Code segments that a program makes for itself (`modify_ldt(2)`)
/// are never of 64-bit code; that one of them is of 16-bit code the kernel tells nobody.
pub(crate) fn code_mode(registers: &Registers) -> CodeMode {
    mode_of(registers.cs)
}

fn mode_of(cs: u64) -> CodeMode {
    match cs {
        USER_CS => CodeMode::Bits64,
        _ => CodeMode::Bits32,
    }
}

/// The library's registers from the kernel's.
pub(crate) fn from_kernel(raw: &libc::user_regs_struct) -> Registers {
    Registers {
        r15: raw.r15,
        r14: raw.r14,
        r13: raw.r13,
        r12: raw.r12,
        rbp: raw.rbp,
        rbx: raw.rbx,
        r11: raw.r11,
        r10: raw.r10,
        r9: raw.r9,
        r8: raw.r8,
        rax: raw.rax,
        rcx: raw.rcx,
        rdx: raw.rdx,
        rsi: raw.rsi,
        rdi: raw.rdi,
        orig_rax: raw.orig_rax,
        rip: raw.rip,
        cs: raw.cs,
        rflags: raw.eflags,
        rsp: raw.rsp,
        ss: raw.ss,
        fs_base: raw.fs_base,
        gs_base: raw.gs_base,
        ds: raw.ds,
        es: raw.es,
        fs: raw.fs,
        gs: raw.gs,
    }
}

/// The kernel's registers from the library's.
pub(crate) fn to_kernel(registers: &Registers) -> libc::user_regs_struct {
    libc::user_regs_struct {
        r15: registers.r15,
        r14: registers.r14,
        r13: registers.r13,
        r12: registers.r12,
        rbp: registers.rbp,
        rbx: registers.rbx,
        r11: registers.r11,
        r10: registers.r10,
        r9: registers.r9,
        r8: registers.r8,
        rax: registers.rax,
        rcx: registers.rcx,
        rdx: registers.rdx,
        rsi: registers.rsi,
        rdi: registers.rdi,
        orig_rax: registers.orig_rax,
        rip: registers.rip,
        cs: registers.cs,
        eflags: registers.rflags,
        rsp: registers.rsp,
        ss: registers.ss,
        fs_base: registers.fs_base,
        gs_base: registers.gs_base,
        ds: registers.ds,
        es: registers.es,
        fs: registers.fs,
        gs: registers.gs,
    }
}

/// The floating-point registers.
pub(crate) fn fp_registers(kernel: &Kernel, tid: Tid) -> Result<FpRegisters> {
    Ok(FpRegisters::from_fxsave(&kernel.fp_registers(tid)?))
}

/// Sets the floating-point registers.
pub(crate) fn set_fp_registers(kernel: &Kernel, tid: Tid, registers: &FpRegisters) -> Result<()> {
    kernel.set_fp_registers(tid, &registers.to_fxsave())
}

/// The register set that `PTRACE_GETREGSET` calls the extended state of an x86 CPU (`linux/elf.h`).
const NT_X86_XSTATE: u32 = 0x202;

/// More than any CPU of today has (AMX makes it 11 KB); if not, it is asked again with more.
const XSAVE_LENGTH: usize = 16 << 10;

/// The extended state, as long as the kernel makes it.
pub(crate) fn extended_state(kernel: &Kernel, tid: Tid) -> Result<ExtendedState> {
    let failed = |e: io::Error| match e.raw_os_error() {
        Some(libc::ENODEV) => {
            Error::Unsupported { what: "the extended state", on: "this CPU, which has no XSAVE," }
        }
        _ => error("PTRACE_GETREGSET", tid.as_raw(), e),
    };
    let mut area = vec![0; XSAVE_LENGTH];
    loop {
        let length = kernel.register_set(tid, NT_X86_XSTATE, &mut area).map_err(failed)?;
        if length < area.len() {
            area.truncate(length);
            break;
        }
        // It may have been cut short.
        area.resize(2 * area.len(), 0);
    }
    ExtendedState::from_bytes(area)
        .map_err(|e| failed(io::Error::new(io::ErrorKind::InvalidData, e)))
}

/// Sets the extended state.
pub(crate) fn set_extended_state(kernel: &Kernel, tid: Tid, state: &ExtendedState) -> Result<()> {
    kernel
        .set_register_set(tid, NT_X86_XSTATE, state.as_bytes())
        .map_err(|e| error("PTRACE_SETREGSET", tid.as_raw(), e))
}

/// `clone($flags)` without a stack of its own, as an expression of what the kernel returned: the
/// new process's id, or a negative error number.
///
/// The new process leaves the file table it was born with and keeps of it `$timer` alone, a
/// `timerfd` that is neither 0 nor the last number; moves to the directory `$directory`, takes the
/// name `$name` and sleeps in `read(2)` of that timer, into the 8 bytes at `$ticks`. Each time that
/// returns it traps; if it fails, it ends. Needs an `unsafe` block: all signals must be blocked.
macro_rules! clone_sleeper {
    ($flags:expr, $directory:expr, $name:expr, $timer:expr, $ticks:expr) => {{
        let returned: isize;
        std::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor edi, edi",
            "lea esi, [r14 - 1]",
            "mov edx, {unshare}",
            "mov eax, {close_range}",
            "syscall",
            "test rax, rax",
            "jnz 5f",
            "lea edi, [r14 + 1]",
            "mov esi, -1",
            "xor edx, edx",
            "mov eax, {close_range}",
            "syscall",
            "5:",
            "mov rdi, r12",
            "mov eax, {chdir}",
            "syscall",
            "mov edi, {set_name}",
            "mov rsi, r13",
            "mov eax, {prctl}",
            "syscall",
            "3:",
            "mov edi, r14d",
            "mov rsi, r15",
            "mov edx, 8",
            "mov eax, {read}",
            "syscall",
            "cmp rax, {interrupted}",
            "je 3b",
            "cmp rax, 8",
            "jne 4f",
            "int3",
            "jmp 3b",
            "4:",
            "xor edi, edi",
            "mov eax, {exit}",
            "syscall",
            "ud2",
            "2:",
            unshare = const $crate::ffi::CLOSE_RANGE_UNSHARE,
            close_range = const libc::SYS_close_range,
            chdir = const libc::SYS_chdir,
            set_name = const libc::PR_SET_NAME,
            prctl = const libc::SYS_prctl,
            read = const libc::SYS_read,
            interrupted = const -libc::EINTR,
            exit = const libc::SYS_exit,
            inlateout("rax") libc::SYS_clone as isize => returned,
            in("rdi") $flags,
            in("rsi") 0_usize,
            in("rdx") 0_usize,
            in("r10") 0_usize,
            in("r8") 0_usize,
            in("r12") $directory,
            in("r13") $name,
            in("r14") $timer,
            in("r15") $ticks,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
        returned
    }};
}
pub(crate) use clone_sleeper;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_survive_the_way_there_and_back() {
        let mut registers = Registers::default();
        for (i, name) in Registers::NAMES.iter().enumerate() {
            assert!(registers.set(name, i as u64 + 1));
        }
        assert_eq!(from_kernel(&to_kernel(&registers)), registers);
    }

    #[test]
    fn the_code_segment_says_the_mode() {
        let mode = |cs| code_mode(&Registers { cs, ..Registers::default() });
        assert_eq!(mode(0x33), CodeMode::Bits64);
        for cs in [0x23, 0x7, 0xf] {
            assert_eq!(mode(cs), CodeMode::Bits32);
        }
    }
}
