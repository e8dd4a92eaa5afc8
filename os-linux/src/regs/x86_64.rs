//! x86-64: registers, system calls and the instructions of the doorbell.

pub(crate) mod debug;

use std::io;
use std::sync::OnceLock;

use trapline_arch_x86_64::{ExtendedState, FpRegisters, Registers, X86_64};
use trapline_core::backend::Thread;
use trapline_core::{CodeMode, Error, Result, Syscall, Tid};

use crate::ffi::{PTRACE_SYSCALL_INFO_EXIT, PTRACE_SYSCALL_INFO_NONE, SyscallInfo};
use crate::sys::{Kernel, error};

/// The CPU.
pub(crate) type Cpu = X86_64;

/// The code segment of 64-bit programs (`__USER_CS` in `arch/x86/include/asm/segment.h`).
const USER_CS: u64 = 0x33;
/// Set in the numbers of the x32 ABI, whose calls that make tasks are those of the 64-bit one.
const X32_SYSCALL_BIT: u64 = 0x4000_0000;
/// The ABI of 32-bit programs, in [`SyscallInfo::arch`] (`linux/audit.h`).
const AUDIT_ARCH_I386: u32 = 0x4000_0003;

/// The system call that made a task, as its caller's registers show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CloneCall {
    /// `fork` or `vfork`.
    Fork,
    /// `clone` with these flags.
    Clone(u64),
    /// `clone3` with its arguments at this address; the flags are the first eight bytes there.
    Clone3(u64),
    /// A call of another ABI.
    Other,
}

/// Which call it was. At an event stop the arguments are still in their registers.
pub(crate) fn clone_call(registers: &libc::user_regs_struct) -> CloneCall {
    if registers.cs != USER_CS {
        return CloneCall::Other;
    }
    // 64-bit code can make 32-bit calls (`int 0x80`), but those that make tasks have other
    // numbers there: 2, 120, 190. `clone3` has the same one, and its argument in rbx.
    match (registers.orig_rax & !X32_SYSCALL_BIT) as libc::c_long {
        libc::SYS_fork | libc::SYS_vfork => CloneCall::Fork,
        libc::SYS_clone => CloneCall::Clone(registers.rdi),
        libc::SYS_clone3 => CloneCall::Clone3(registers.rdi),
        _ => CloneCall::Other,
    }
}

/// Whether these registers are those of a 64-bit program (or of one of the x32 ABI).
pub(crate) fn is_native(registers: &libc::user_regs_struct) -> bool {
    registers.cs == USER_CS
}

/// The instruction that makes a system call.
pub(crate) const SYSCALL: &[u8] = &[0x0f, 0x05];

/// In which mode a thread with these registers reads its instructions.
pub(crate) fn code_mode(registers: &Registers) -> CodeMode {
    if registers.cs == USER_CS { CodeMode::Bits64 } else { CodeMode::Bits32 }
}

/// The registers of a thread that is to make a system call by the instruction at `at`.
pub(crate) fn at_call(
    registers: &libc::user_regs_struct,
    at: u64,
    number: u64,
    args: [u64; 6],
) -> libc::user_regs_struct {
    let [rdi, rsi, rdx, r10, r8, r9] = args;
    let orig_rax = Registers::NO_SYSCALL;
    libc::user_regs_struct {
        rip: at,
        rax: number,
        orig_rax,
        rdi,
        rsi,
        rdx,
        r10,
        r8,
        r9,
        ..*registers
    }
}

/// What it returned.
pub(crate) fn call_result(registers: &libc::user_regs_struct) -> i64 {
    registers.rax as i64
}

/// Whether a thread has stopped at the exit of `rt_sigreturn`, which forgets that it was a system
/// call (`restore_sigcontext` in `arch/x86/kernel/signal_64.c`).
pub(crate) fn ends_handler(_: &Kernel, _: Tid, registers: &Registers) -> Result<bool> {
    Ok(registers.orig_rax == Registers::NO_SYSCALL)
}

/// Whether a thread has a shadow stack (Linux 6.6).
pub(crate) fn has_shadow_stack(kernel: &Kernel, tid: Tid) -> Result<bool> {
    /// `linux/elf.h`
    const NT_X86_SHSTK: u32 = 0x204;
    static CPU_HAS_ONE: OnceLock<bool> = OnceLock::new();
    let known = CPU_HAS_ONE.get_or_init(|| {
        let flags = std::fs::read_to_string("/proc/cpuinfo");
        flags.map_or(true, |flags| flags.split_whitespace().any(|flag| flag == "user_shstk"))
    });
    Ok(*known && kernel.register_set(tid, NT_X86_SHSTK, &mut [0; 8]).is_ok())
}

/// What the registers of a thread that was interrupted in a system call become when it goes on
/// without a signal: the call is made again, if it says so by its result
/// (`arch_do_signal_or_restart` in `arch/x86/kernel/signal.c`, codes in `linux/errno.h`).
pub(crate) fn restarted(registers: &Registers) -> Option<Registers> {
    const ERESTARTSYS: i64 = 512;
    const ERESTARTNOINTR: i64 = 513;
    const ERESTARTNOHAND: i64 = 514;
    const ERESTART_RESTARTBLOCK: i64 = 516;
    /// The length of `syscall`, of `sysenter` and of `int 0x80`.
    const CALL: u64 = 2;
    /// The call that goes on with another one.
    const RESTART_SYSCALL: u64 = libc::SYS_restart_syscall as u64;
    if registers.orig_rax == Registers::NO_SYSCALL {
        return None;
    }
    let rax = match (registers.rax as i64).wrapping_neg() {
        ERESTARTSYS | ERESTARTNOINTR | ERESTARTNOHAND => registers.orig_rax,
        ERESTART_RESTARTBLOCK => RESTART_SYSCALL,
        _ => return None,
    };
    Some(Registers { rax, rip: registers.rip.wrapping_sub(CALL), ..*registers })
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

/// The system call that a thread is in, of which the kernel has not told all.
pub(crate) fn syscall(
    kernel: &Kernel,
    thread: Thread,
    info: &SyscallInfo,
) -> Result<Option<Syscall>> {
    let registers = kernel.registers(thread.tid)?;
    Ok(syscall_from_registers(info, &registers))
}

/// A system call at its exit, where the kernel says the result and the registers still have the
/// number and the arguments, or at another stop inside it; `None` if the thread is in none.
fn syscall_from_registers(
    info: &SyscallInfo,
    registers: &libc::user_regs_struct,
) -> Option<Syscall> {
    let r = registers;
    let args = if info.arch == AUDIT_ARCH_I386 {
        [r.rbx, r.rcx, r.rdx, r.rsi, r.rdi, r.rbp].map(|arg| arg & 0xffff_ffff)
    } else {
        [r.rdi, r.rsi, r.rdx, r.r10, r.r8, r.r9]
    };
    let result = match info.op {
        PTRACE_SYSCALL_INFO_EXIT => Some(super::result_of(info)),
        PTRACE_SYSCALL_INFO_NONE if registers.orig_rax as i64 >= 0 => None,
        _ => return None,
    };
    Some(Syscall { number: registers.orig_rax, args, result })
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

    fn raw(orig_rax: u64, cs: u64) -> libc::user_regs_struct {
        let mut raw = to_kernel(&Registers::default());
        (raw.orig_rax, raw.cs) = (orig_rax, cs);
        (raw.rdi, raw.rsi, raw.rdx, raw.r10, raw.r8, raw.r9) = (1, 2, 3, 4, 5, 6);
        (raw.rbx, raw.rcx, raw.rbp) = (7, 8, u64::MAX);
        raw
    }

    #[test]
    fn registers_survive_the_way_there_and_back() {
        let mut registers = Registers::default();
        for (i, name) in Registers::NAMES.iter().enumerate() {
            assert!(registers.set(name, i as u64 + 1));
        }
        assert_eq!(from_kernel(&to_kernel(&registers)), registers);
    }

    #[test]
    fn the_call_that_made_a_task_is_seen_in_the_registers() {
        assert_eq!(clone_call(&raw(57, 0x33)), CloneCall::Fork);
        assert_eq!(clone_call(&raw(58, 0x33)), CloneCall::Fork);
        assert_eq!(clone_call(&raw(56, 0x33)), CloneCall::Clone(1));
        assert_eq!(clone_call(&raw(435, 0x33)), CloneCall::Clone3(1));
        assert_eq!(clone_call(&raw(0x4000_0000 | 56, 0x33)), CloneCall::Clone(1));
        for other in [raw(57, 0x23), raw(120, 0x33), raw(2, 0x33), raw(u64::MAX, 0x33)] {
            assert_eq!(clone_call(&other), CloneCall::Other);
        }
    }

    #[test]
    fn at_its_exit_the_registers_have_the_rest() {
        let exit = |value: i64, is_error: u64, arch| SyscallInfo {
            op: PTRACE_SYSCALL_INFO_EXIT,
            arch,
            data: [value as u64, is_error, 0, 0, 0, 0, 0],
            ..SyscallInfo::default()
        };
        let call = syscall_from_registers(&exit(7, 0, 0xc000_003e), &raw(1, 0x33)).unwrap();
        assert_eq!((call.number, call.args), (1, [1, 2, 3, 4, 5, 6]));
        assert_eq!(call.result, Some(Ok(7)));
        let call = syscall_from_registers(&exit(-2, 1, 0xc000_003e), &raw(1, 0x33)).unwrap();
        assert_eq!(call.result, Some(Err(2)));
        let call = syscall_from_registers(&exit(0, 0, AUDIT_ARCH_I386), &raw(4, 0x23)).unwrap();
        assert_eq!(call.args, [7, 8, 3, 2, 1, 0xffff_ffff]);
    }

    #[test]
    fn elsewhere_there_is_a_call_if_the_registers_say_so() {
        let none = SyscallInfo::default();
        let call = syscall_from_registers(&none, &raw(56, 0x33)).unwrap();
        assert_eq!((call.number, call.result), (56, None));
        assert_eq!(syscall_from_registers(&none, &raw(u64::MAX, 0x33)), None);
        let unknown = SyscallInfo { op: 9, ..SyscallInfo::default() };
        assert_eq!(syscall_from_registers(&unknown, &raw(1, 0x33)), None);
    }
}
