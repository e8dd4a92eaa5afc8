//! x86-64: registers, system calls and the instructions of the wake helper.

mod call;
pub(crate) mod debug;
mod detour;
mod trap;

use std::io;
use std::sync::OnceLock;

use trapline_arch_x86_64::{ExtendedState, FpRegisters, Registers, X86_64};
use trapline_core::{CodeMode, Error, Result, Tid};

pub(crate) use call::{CloneCall, audit_arch, clone_call, restarted, syscall};
pub(crate) use detour::{Raw, calling, is_behind_its_birth, pc, returned};
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

/// Whether these registers are those of 64-bit code.
pub(crate) fn is_native(registers: &libc::user_regs_struct) -> bool {
    mode_of(registers.cs) == CodeMode::Bits64
}

/// The instruction that makes a system call.
pub(crate) const SYSCALL: &[u8] = &[0x0f, 0x05];

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

/// The registers behind a system call that a thread was inside of, from those at its exit stop.
pub(crate) fn behind_call(_inside: &Raw, at_exit: Raw) -> Raw {
    at_exit
}

/// The system call that a thread is at the entry of: its number and its arguments.
pub(crate) fn call_of(registers: &Raw) -> (u64, [u64; 6]) {
    let r = registers;
    (r.orig_rax, [r.rdi, r.rsi, r.rdx, r.r10, r.r8, r.r9])
}

/// Has a thread at the entry of a system call make this one.
pub(crate) fn change_call(kernel: &Kernel, tid: Tid, number: u64, args: [u64; 6]) -> Result<()> {
    let registers = kernel.registers(tid)?;
    if !is_native(&registers) {
        return Err(crate::detour::refused("to change a system call of a 32-bit program"));
    }
    let [rdi, rsi, rdx, r10, r8, r9] = args;
    kernel.set_registers(tid, &Raw { orig_rax: number, rdi, rsi, rdx, r10, r8, r9, ..registers })
}

/// Sets what a system call has returned.
pub(crate) fn set_call_result(registers: &mut Raw, value: u64) {
    registers.rax = value;
}

/// Has a thread at the entry of a system call not make it.
pub(crate) fn skip_call(kernel: &Kernel, tid: Tid, registers: &Raw) -> Result<()> {
    kernel.set_registers(tid, &Raw { orig_rax: Registers::NO_SYSCALL, ..*registers })
}

/// Where the data of a thread's own begin.
pub(crate) fn thread_pointer(kernel: &Kernel, tid: Tid) -> Result<u64> {
    Ok(kernel.registers(tid)?.fs_base)
}

/// All that says which system call a thread is in is in its registers.
pub(crate) const CALL_IS_IN_REGISTERS: bool = true;

/// Nothing: see [`CALL_IS_IN_REGISTERS`].
pub(crate) fn call_number(_: &Kernel, _: Tid) -> Result<Option<i32>> {
    Ok(None)
}

/// The same.
pub(crate) fn set_call_number(_: &Kernel, _: Tid, _: i32) -> Result<()> {
    Ok(())
}

/// Whether the kernel makes the system call again that a thread is at the exit of.
pub(crate) fn will_restart(registers: &Raw) -> bool {
    restarted(&from_kernel(registers)).is_some()
}

/// Whether the call of this number makes a task, which would go on at the same place, or does not
/// come back to where it was made.
pub(crate) fn goes_elsewhere(number: u64) -> bool {
    let wide = number & !call::X32_SYSCALL_BIT;
    let elsewhere = [
        libc::SYS_fork,
        libc::SYS_vfork,
        libc::SYS_clone,
        libc::SYS_clone3,
        libc::SYS_execve,
        libc::SYS_execveat,
        libc::SYS_exit,
        libc::SYS_exit_group,
        libc::SYS_rt_sigreturn,
        libc::SYS_restart_syscall,
    ];
    elsewhere.iter().any(|&call| wide as u32 == call as u32)
}

/// What a function may change beside the general registers.
#[derive(Debug)]
pub(crate) enum Extended {
    /// All of it.
    Whole(ExtendedState),
    /// What a CPU without XSAVE has.
    Floats(Box<[u8; 512]>),
}

/// That of a thread.
pub(crate) fn all_extended(kernel: &Kernel, tid: Tid) -> Result<Extended> {
    match extended_state(kernel, tid) {
        Ok(state) => Ok(Extended::Whole(state)),
        Err(Error::Unsupported { .. }) => Ok(Extended::Floats(Box::new(kernel.fp_registers(tid)?))),
        Err(error) => Err(error),
    }
}

/// Sets it.
pub(crate) fn set_all_extended(kernel: &Kernel, tid: Tid, state: &Extended) -> Result<()> {
    match state {
        Extended::Whole(state) => set_extended_state(kernel, tid, state),
        Extended::Floats(image) => kernel.set_fp_registers(tid, image),
    }
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
            Error::unsupported("the extended state", "this CPU, which has no XSAVE,")
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
/// The new process, with a file table of its own, asks to be killed with the thread that made it,
/// and ends if its parent is not `$parent` any more. It keeps two descriptors, `$timer` and `$line`,
/// as 0 and 1; where they cannot be closed together it closes all below `$bound` one by one. Then it
/// moves to the directory `$directory`, takes the name `$name`, says so in the block at `$block`
/// (`Block` in `sys/wake_helper.rs`), and sleeps until the timer expires. Each time it sends itself SIGCONT.
/// When the line is closed at its other end, or anything fails, it ends. Needs an `unsafe` block: all
/// signals must be blocked.
macro_rules! clone_sleeper {
    (
        $flags:expr, $parent:expr, $timer:expr, $line:expr, $bound:expr, $directory:expr, $name:expr,
        $block:expr
    ) => {{
        let returned: isize;
        std::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "mov edi, {set_pdeathsig}",
            "mov esi, {sigkill}",
            "mov eax, {prctl}",
            "syscall",
            "mov eax, {getppid}",
            "syscall",
            // 0: it is in another namespace than its parent.
            "test eax, eax",
            "jz 6f",
            "cmp eax, r8d",
            "jne 4f",
            "6:",
            "mov edi, r14d",
            "xor esi, esi",
            "mov eax, {dup2}",
            "syscall",
            "test eax, eax",
            "jnz 4f",
            "mov edi, r10d",
            "mov esi, 1",
            "mov eax, {dup2}",
            "syscall",
            "cmp eax, 1",
            "jne 4f",
            "mov edi, 2",
            "mov esi, -1",
            "xor edx, edx",
            "mov eax, {close_range}",
            "syscall",
            "test rax, rax",
            "jz 5f",
            "7:",
            "cmp r9d, 2",
            "jle 5f",
            "sub r9d, 1",
            "mov edi, r9d",
            "mov eax, {close}",
            "syscall",
            "jmp 7b",
            "5:",
            "mov rdi, r12",
            "mov eax, {chdir}",
            "syscall",
            "mov edi, {set_name}",
            "mov rsi, r13",
            "mov eax, {prctl}",
            "syscall",
            "mov dword ptr [r15 + 8], 1",
            "lea rdi, [r15 + 8]",
            "mov esi, {wake}",
            "mov edx, 1",
            "mov eax, {futex}",
            "syscall",
            "3:",
            "lea rdi, [r15 + 16]",
            "mov esi, 2",
            "xor edx, edx",
            "xor r10d, r10d",
            "mov r8d, 8",
            "mov eax, {ppoll}",
            "syscall",
            "cmp rax, {interrupted}",
            "je 3b",
            "cmp rax, 1",
            "jl 4f",
            "cmp word ptr [r15 + 30], 0",
            "jne 4f",
            "xor edi, edi",
            "mov rsi, r15",
            "mov edx, 8",
            "mov eax, {read}",
            "syscall",
            // Set again meanwhile.
            "cmp rax, {again}",
            "je 3b",
            "cmp rax, 8",
            "jne 4f",
            "mov eax, {getpid}",
            "syscall",
            "mov edi, eax",
            "mov esi, {sigcont}",
            "mov eax, {kill}",
            "syscall",
            "test rax, rax",
            "jz 3b",
            "4:",
            "xor edi, edi",
            "mov eax, {exit}",
            "syscall",
            "ud2",
            "2:",
            set_pdeathsig = const libc::PR_SET_PDEATHSIG,
            sigkill = const libc::SIGKILL,
            prctl = const libc::SYS_prctl,
            getppid = const libc::SYS_getppid,
            dup2 = const libc::SYS_dup2,
            close_range = const libc::SYS_close_range,
            close = const libc::SYS_close,
            chdir = const libc::SYS_chdir,
            set_name = const libc::PR_SET_NAME,
            wake = const libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG,
            futex = const libc::SYS_futex,
            ppoll = const libc::SYS_ppoll,
            read = const libc::SYS_read,
            interrupted = const -libc::EINTR,
            again = const -libc::EAGAIN,
            getpid = const libc::SYS_getpid,
            sigcont = const libc::SIGCONT,
            kill = const libc::SYS_kill,
            exit = const libc::SYS_exit,
            inlateout("rax") libc::SYS_clone as isize => returned,
            in("rdi") $flags,
            in("rsi") 0_usize,
            in("rdx") 0_usize,
            // The kernel looks at these three for other flags only.
            in("r10") $line,
            in("r8") $parent,
            in("r9") $bound,
            in("r12") $directory,
            in("r13") $name,
            in("r14") $timer,
            in("r15") $block,
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
