//! aarch64: registers, system calls and the instructions of the wake helper.

pub(crate) mod debug;
mod narrow;
mod sets;
mod trap;

use trapline_arch_aarch64::{AArch64, Pstate, Registers};
use trapline_core::backend::Thread;
use trapline_core::{CodeMode, Result, Syscall, Tid};

pub(crate) use sets::{extended_state, fp_registers, set_extended_state, set_fp_registers};
pub(crate) use trap::trap_origin;

use crate::ffi::{PTRACE_SYSCALL_INFO_EXIT, PTRACE_SYSCALL_INFO_NONE, SyscallInfo};
use crate::sys::Kernel;

/// The CPU.
pub(crate) type Cpu = AArch64;

/// What a request for the registers gives.
pub(crate) type Raw = libc::user_regs_struct;

/// The system call that made a task, as its caller's registers show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CloneCall {
    /// `fork` or `vfork`, which 32-bit programs have.
    Fork,
    /// `clone` with these flags.
    Clone(u64),
    /// `clone3` with its arguments at this address; the flags are the first eight bytes there.
    Clone3(u64),
    /// A call of another ABI.
    Other,
}

impl Kernel {
    /// The general registers, of 32-bit programs too.
    pub(crate) fn registers(&self, tid: Tid) -> Result<Raw> {
        let (registers, length) = self.general_set(tid)?;
        Ok(if length == narrow::LENGTH { narrow::widened(&registers) } else { registers })
    }

    /// Sets them; a program stays what it is.
    pub(crate) fn set_registers(&self, tid: Tid, registers: &Raw) -> Result<()> {
        if is_native(registers) {
            return self.set_general_set(tid, registers, size_of::<Raw>());
        }
        self.set_general_set(tid, &narrow::narrowed(registers), narrow::LENGTH)
    }
}

/// Whether a thread that is new stands behind the `svc` by which its creator made it. Its registers alone
/// do not say so, for it keeps them when it runs on; but at its first stop it has not run yet.
pub(crate) fn is_behind_its_birth(registers: &Raw, is_first_stop: bool) -> bool {
    let made = !matches!(clone_call(registers), CloneCall::Other);
    made && is_first_stop && is_native(registers) && returned(registers) == 0
}

/// The registers by which such a thread makes another call there.
pub(crate) fn calling(registers: &Raw, number: libc::c_long, [first, second]: [u64; 2]) -> Raw {
    let mut calling = *registers;
    calling.pc = registers.pc.wrapping_sub(4);
    calling.regs[..3].copy_from_slice(&[first, second, 0]);
    calling.regs[8] = number as u64;
    calling
}

/// What a call has returned.
pub(crate) fn returned(registers: &Raw) -> i64 {
    registers.regs[0] as i64
}

/// The program counter.
pub(crate) fn pc(registers: &Raw) -> u64 {
    registers.pc
}

/// Which call it was. At an event stop the arguments are still in their registers.
pub(crate) fn clone_call(registers: &Raw) -> CloneCall {
    let [first, ..] = registers.regs;
    if !is_native(registers) {
        return narrow::clone_call(registers);
    }
    match registers.regs[8] as libc::c_long {
        libc::SYS_clone => CloneCall::Clone(first),
        libc::SYS_clone3 => CloneCall::Clone3(first),
        _ => CloneCall::Other,
    }
}

/// Whether these registers are those of a 64-bit program.
pub(crate) fn is_native(registers: &Raw) -> bool {
    registers.pstate & Pstate::NRW.bits() == 0
}

/// The instruction that makes a system call: `svc #0`.
pub(crate) const SYSCALL: &[u8] = &[0x01, 0x00, 0x00, 0xd4];

/// In which mode a thread executes: only an exec changes that.
pub(crate) fn code_mode(registers: &Registers) -> CodeMode {
    match registers.pstate & Pstate::NRW.bits() {
        0 => CodeMode::Bits64,
        _ => CodeMode::Bits32,
    }
}

/// The registers of a thread that is to make a system call by the instruction at `at`.
pub(crate) fn at_call(registers: &Raw, at: u64, number: u64, args: [u64; 6]) -> Raw {
    let mut call = *registers;
    let [a, b, c, d, e, f] = args;
    // The seventh register is what the kernel shows at the stops of a system call, and puts back.
    for (register, value) in call.regs.iter_mut().zip([a, b, c, d, e, f]) {
        *register = value;
    }
    call.regs[8] = number;
    call.pc = at;
    call
}

/// What it returned.
pub(crate) fn call_result(registers: &Raw) -> i64 {
    let [result, ..] = registers.regs;
    result as i64
}

/// The registers behind a system call that a thread was inside of, from those at its exit stop: there
/// the kernel shows in one of them that it is one, and puts it back itself (`report_syscall` in
/// `arch/arm64/kernel/ptrace.c`).
pub(crate) fn behind_call(inside: &Raw, at_exit: Raw) -> Raw {
    let shown = if is_native(inside) { 7 } else { 12 };
    let mut behind = at_exit;
    behind.regs[shown] = inside.regs[shown];
    behind
}

/// The system call that a thread is at the entry of: its number and its arguments.
pub(crate) fn call_of(registers: &Raw) -> (u64, [u64; 6]) {
    let [a, b, c, d, e, f, _, _, number, ..] = registers.regs;
    (number, [a, b, c, d, e, f])
}

/// Has a thread at the entry of a system call make this one.
pub(crate) fn change_call(kernel: &Kernel, tid: Tid, number: u64, args: [u64; 6]) -> Result<()> {
    let registers = kernel.registers(tid)?;
    if !is_native(&registers) {
        return Err(crate::detour::refused("to change a system call of a 32-bit program"));
    }
    let call = at_call(&registers, registers.pc, number, args);
    kernel.set_registers(tid, &call)?;
    set_call_number(kernel, tid, number as i32)
}

/// Sets what a system call has returned.
pub(crate) fn set_call_result(registers: &mut Raw, value: u64) {
    let [first, ..] = &mut registers.regs;
    *first = value;
}

/// Has a thread at the entry of a system call not make it.
pub(crate) fn skip_call(kernel: &Kernel, tid: Tid, _: &Raw) -> Result<()> {
    set_call_number(kernel, tid, -1)
}

/// Where the data of a thread's own begin.
pub(crate) fn thread_pointer(kernel: &Kernel, tid: Tid) -> Result<u64> {
    Ok(extended_state(kernel, tid)?.thread_pointer)
}

/// The kernel remembers the number and the first argument of the system call that a thread is in
/// apart from the registers, and does not let go of the argument.
pub(crate) const CALL_IS_IN_REGISTERS: bool = false;

/// The number of the system call that a thread is in; -1 for none.
pub(crate) fn call_number(kernel: &Kernel, tid: Tid) -> Result<Option<i32>> {
    sets::raw_syscall_number(kernel, tid)
}

/// Sets it.
pub(crate) fn set_call_number(kernel: &Kernel, tid: Tid, number: i32) -> Result<()> {
    sets::set_syscall_number(kernel, tid, number)
}

/// Whether the kernel makes the system call again that a thread is at the exit of: what it returns
/// says so (`linux/errno.h`).
pub(crate) fn will_restart(registers: &Raw) -> bool {
    matches!(call_result(registers), -514..=-512 | -516)
}

/// Whether the call of this number makes a task, which would go on at the same place, or does not
/// come back to where it was made.
pub(crate) fn goes_elsewhere(number: u64) -> bool {
    let elsewhere = [
        libc::SYS_clone,
        libc::SYS_clone3,
        libc::SYS_execve,
        libc::SYS_execveat,
        libc::SYS_exit,
        libc::SYS_exit_group,
        libc::SYS_rt_sigreturn,
        libc::SYS_restart_syscall,
    ];
    elsewhere.iter().any(|&call| number as u32 == call as u32)
}

pub(crate) use sets::{Extended, all_extended, set_all_extended};

/// Whether a thread has stopped at the exit of `rt_sigreturn`, which forgets that it was a system
/// call (`restore_sigframe` in `arch/arm64/kernel/signal.c`).
pub(crate) fn ends_handler(kernel: &Kernel, tid: Tid, _: &Registers) -> Result<bool> {
    Ok(sets::syscall_number(kernel, tid)?.is_none())
}

/// Never: what the CPU has of that is not used by programs yet.
pub(crate) fn has_shadow_stack(_: &Kernel, _: Tid) -> Result<bool> {
    Ok(false)
}

/// By which ABI a thread makes system calls, which is that of its program.
pub(crate) fn audit_arch(_: &Kernel, _: Thread, info: &SyscallInfo) -> Result<u32> {
    Ok(info.arch)
}

/// Never: the kernel has gone back to the call before it tells of the stop (`do_signal` in
/// `arch/arm64/kernel/signal.c`).
pub(crate) fn restarted(_: &Registers) -> Option<Registers> {
    None
}

/// The library's registers from the kernel's. The bit that a step needs comes and goes with it.
pub(crate) fn from_kernel(raw: &Raw) -> Registers {
    let pstate = raw.pstate & !Pstate::SS.bits();
    Registers { x: raw.regs, sp: raw.sp, pc: raw.pc, pstate }
}

/// The kernel's registers from the library's.
pub(crate) fn to_kernel(registers: &Registers) -> Raw {
    let Registers { x, sp, pc, pstate } = *registers;
    Raw { regs: x, sp, pc, pstate }
}

/// The system call that a thread is in: what the kernel says of it, whose first argument is not in
/// its register any more when the result is.
pub(crate) fn syscall(
    kernel: &Kernel,
    thread: Thread,
    info: &SyscallInfo,
) -> Result<Option<Syscall>> {
    let result = match info.op {
        PTRACE_SYSCALL_INFO_EXIT => Some(super::result_of(info)),
        PTRACE_SYSCALL_INFO_NONE => None,
        _ => return Ok(None),
    };
    kernel.count();
    let tid = thread.tid.as_raw();
    if let Some(call) = std::fs::read_to_string(format!("/proc/{tid}/syscall"))
        .ok()
        .and_then(|line| call_in(&line, info.arch, result))
    {
        return Ok(Some(call));
    }
    // Where the kernel does not say, or this tracer may not ask.
    let number = match sets::syscall_number(kernel, thread.tid)? {
        Some(number) => number,
        // The kernel forgets that of `rt_sigreturn`, and of what a signal has come into.
        None if result.is_some() => u64::MAX,
        None => return Ok(None),
    };
    let [a, b, c, d, e, f, ..] = kernel.registers(thread.tid)?.regs;
    Ok(Some(super::call(info.arch, number, [a, b, c, d, e, f], result)))
}

/// A line of `/proc/<id>/syscall` (`proc_pid_syscall` in `fs/proc/base.c`): the number, the
/// arguments, the stack pointer and the program counter; -1 where there is no call.
fn call_in(
    line: &str,
    arch: u32,
    result: Option<std::result::Result<u64, i32>>,
) -> Option<Syscall> {
    let mut words = line.split_whitespace();
    let number: i64 = words.next()?.parse().ok()?;
    let number = u64::try_from(number).ok()?;
    let mut args = [0; 6];
    for arg in &mut args {
        *arg = u64::from_str_radix(words.next()?.trim_start_matches("0x"), 16).ok()?;
    }
    Some(super::call(arch, number, args, result))
}

/// `clone($flags)` without a stack of its own, as an expression of what the kernel returned: the
/// new process's id, or a negative error number. What the new process does is told at the other one,
/// in `x86_64.rs`.
macro_rules! clone_sleeper {
    (
        $flags:expr, $parent:expr, $timer:expr, $line:expr, $bound:expr, $directory:expr, $name:expr,
        $block:expr
    ) => {{
        let returned: isize;
        std::arch::asm!(
            "svc #0",
            "cbnz x0, 2f",
            "mov x0, #{set_pdeathsig}",
            "mov x1, #{sigkill}",
            "mov x8, #{prctl}",
            "svc #0",
            "mov x8, #{getppid}",
            "svc #0",
            // 0: it is in another namespace than its parent.
            "cbz w0, 6f",
            "cmp w0, w24",
            "b.ne 4f",
            "6:",
            "mov w0, w22",
            "mov w1, #0",
            "mov w2, #0",
            "mov x8, #{dup3}",
            "svc #0",
            "cbnz w0, 4f",
            "mov w0, w25",
            "mov w1, #1",
            "mov w2, #0",
            "mov x8, #{dup3}",
            "svc #0",
            "cmp w0, #1",
            "b.ne 4f",
            "mov w0, #2",
            "mov w1, #-1",
            "mov w2, #0",
            "mov x8, #{close_range}",
            "svc #0",
            "cbz x0, 5f",
            "7:",
            "cmp w26, #2",
            "b.le 5f",
            "sub w26, w26, #1",
            "mov w0, w26",
            "mov x8, #{close}",
            "svc #0",
            "b 7b",
            "5:",
            "mov x0, x20",
            "mov x8, #{chdir}",
            "svc #0",
            "mov x0, #{set_name}",
            "mov x1, x21",
            "mov x8, #{prctl}",
            "svc #0",
            "mov w1, #1",
            "add x0, x23, #8",
            "stlr w1, [x0]",
            "mov w1, #{wake}",
            "mov w2, #1",
            "mov x8, #{futex}",
            "svc #0",
            "3:",
            "add x0, x23, #16",
            "mov w1, #2",
            "mov x2, #0",
            "mov x3, #0",
            "mov w4, #8",
            "mov x8, #{ppoll}",
            "svc #0",
            "cmn x0, #{interrupted}",
            "b.eq 3b",
            "cmp x0, #1",
            "b.lt 4f",
            "ldrh w0, [x23, #30]",
            "cbnz w0, 4f",
            "mov w0, #0",
            "mov x1, x23",
            "mov x2, #8",
            "mov x8, #{read}",
            "svc #0",
            // Set again meanwhile.
            "cmn x0, #{again}",
            "b.eq 3b",
            "cmp x0, #8",
            "b.ne 4f",
            "mov x8, #{getpid}",
            "svc #0",
            "mov x1, #{sigcont}",
            "mov x8, #{kill}",
            "svc #0",
            "cbz x0, 3b",
            "4:",
            "mov x0, #0",
            "mov x8, #{exit}",
            "svc #0",
            "udf #0",
            "2:",
            set_pdeathsig = const libc::PR_SET_PDEATHSIG,
            sigkill = const libc::SIGKILL,
            prctl = const libc::SYS_prctl,
            getppid = const libc::SYS_getppid,
            dup3 = const libc::SYS_dup3,
            close_range = const libc::SYS_close_range,
            close = const libc::SYS_close,
            chdir = const libc::SYS_chdir,
            set_name = const libc::PR_SET_NAME,
            wake = const libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG,
            futex = const libc::SYS_futex,
            ppoll = const libc::SYS_ppoll,
            read = const libc::SYS_read,
            interrupted = const libc::EINTR,
            again = const libc::EAGAIN,
            getpid = const libc::SYS_getpid,
            sigcont = const libc::SIGCONT,
            kill = const libc::SYS_kill,
            exit = const libc::SYS_exit,
            in("x8") libc::SYS_clone,
            inlateout("x0") $flags as isize => returned,
            in("x1") 0_usize,
            in("x2") 0_usize,
            in("x3") 0_usize,
            in("x4") 0_usize,
            in("x20") $directory,
            in("x21") $name,
            in("x22") $timer,
            in("x23") $block,
            in("x24") $parent,
            in("x25") $line,
            in("x26") $bound,
            options(nostack),
        );
        returned
    }};
}
pub(crate) use clone_sleeper;

#[cfg(test)]
#[path = "aarch64/tests.rs"]
mod tests;
