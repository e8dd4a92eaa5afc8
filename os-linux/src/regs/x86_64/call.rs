//! System calls, as registers and the kernel show them. A 32-bit call is one of 32-bit code, or one
//! that 64-bit code makes by `int 0x80`; the kernel says which it was (`syscall_get_arch` in
//! `arch/x86/include/asm/syscall.h`).

use trapline_arch_x86_64::Registers;
use trapline_core::backend::Thread;
use trapline_core::{CodeMode, Result, Syscall};

use super::super::{call, result_of};
use super::{code_mode, mode_of};
use crate::ffi::{PTRACE_SYSCALL_INFO_EXIT, PTRACE_SYSCALL_INFO_NONE, SyscallInfo};
use crate::sys::Kernel;

/// Set in the numbers of the x32 ABI, whose calls that make tasks are those of the 64-bit one.
pub(super) const X32_SYSCALL_BIT: u64 = 0x4000_0000;
/// [`SyscallInfo::arch`] of 32-bit calls (`linux/audit.h`); x32 has that of 64-bit ones.
const AUDIT_ARCH_I386: u32 = 0x4000_0003;

/// The numbers of calls in 32-bit programs (`arch/x86/entry/syscalls/syscall_32.tbl`).
mod bits32 {
    pub(super) const RESTART_SYSCALL: u64 = 0;
    pub(super) const FORK: u64 = 2;
    pub(super) const CLONE: u64 = 120;
    pub(super) const VFORK: u64 = 190;
    pub(super) const CLONE3: u64 = 435;
}

/// The system call that made a task, as its caller's registers show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CloneCall {
    /// `fork` or `vfork`.
    Fork,
    /// `clone` with these flags.
    Clone(u64),
    /// `clone3` with its arguments at this address; the flags are the first eight bytes there.
    Clone3(u64),
    /// What the registers do not tell.
    Other,
}

/// Which call it was. At an event stop the arguments are still in their registers.
pub(crate) fn clone_call(registers: &libc::user_regs_struct) -> CloneCall {
    let r = registers;
    match mode_of(r.cs) {
        // 64-bit code can make 32-bit calls (`int 0x80`), but those that make tasks have other
        // numbers there. `clone3` has the same one, and its argument in ebx: whoever reads the
        // flags at its address has to see whether they make sense.
        CodeMode::Bits64 => match (r.orig_rax & !X32_SYSCALL_BIT) as libc::c_long {
            libc::SYS_fork | libc::SYS_vfork => CloneCall::Fork,
            libc::SYS_clone => CloneCall::Clone(r.rdi),
            libc::SYS_clone3 => CloneCall::Clone3(r.rdi),
            _ => CloneCall::Other,
        },
        CodeMode::Bits32 | CodeMode::Bits16 => match low(r.orig_rax) {
            bits32::FORK | bits32::VFORK => CloneCall::Fork,
            bits32::CLONE => CloneCall::Clone(low(r.rbx)),
            bits32::CLONE3 => CloneCall::Clone3(low(r.rbx)),
            _ => CloneCall::Other,
        },
    }
}

/// What the registers of a thread that was interrupted in a system call become when it goes on
/// without a signal: the call is made again, if it says so by its result
/// (`arch_do_signal_or_restart` in `arch/x86/kernel/signal.c`, codes in `linux/errno.h`).
///
/// The kernel takes the number of the call, and in 32-bit code its result, for an `int`: a debugger
/// that knows 32-bit registers sets no more of them.
pub(crate) fn restarted(registers: &Registers) -> Option<Registers> {
    const ERESTARTSYS: i64 = 512;
    const ERESTARTNOINTR: i64 = 513;
    const ERESTARTNOHAND: i64 = 514;
    const ERESTART_RESTARTBLOCK: i64 = 516;
    /// The length of `syscall` and of `int 0x80`. From `sysenter` a thread goes on behind an
    /// `int 0x80` of the vdso, which then makes the call again.
    const CALL: u64 = 2;
    if registers.orig_rax as i32 == -1 {
        return None;
    }
    let narrow = code_mode(registers) != CodeMode::Bits64;
    let result = if narrow { i64::from(registers.rax as i32) } else { registers.rax as i64 };
    let rax = match result.wrapping_neg() {
        ERESTARTSYS | ERESTARTNOINTR | ERESTARTNOHAND => registers.orig_rax,
        // The call that goes on with another one.
        ERESTART_RESTARTBLOCK if narrow => bits32::RESTART_SYSCALL,
        ERESTART_RESTARTBLOCK => libc::SYS_restart_syscall as u64,
        _ => return None,
    };
    Some(Registers { rax, rip: registers.rip.wrapping_sub(CALL), ..*registers })
}

/// The system call that a thread is in, of which the kernel has not given all.
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
    let args = match info.arch {
        AUDIT_ARCH_I386 => [r.rbx, r.rcx, r.rdx, r.rsi, r.rdi, r.rbp],
        _ => [r.rdi, r.rsi, r.rdx, r.r10, r.r8, r.r9],
    };
    let result = match info.op {
        PTRACE_SYSCALL_INFO_EXIT => Some(result_of(info)),
        PTRACE_SYSCALL_INFO_NONE if is_in_call(r) => None,
        _ => return None,
    };
    Some(call(info.arch, r.orig_rax, args, result))
}

/// Whether a thread is in a system call.
fn is_in_call(registers: &libc::user_regs_struct) -> bool {
    registers.orig_rax as i32 >= 0
}

/// By which ABI a thread makes system calls. The kernel remembers a 32-bit call for as long as a
/// thread is in it, and says of every other stop that the ABI is that of 64-bit programs.
pub(crate) fn audit_arch(kernel: &Kernel, thread: Thread, info: &SyscallInfo) -> Result<u32> {
    if info.op != PTRACE_SYSCALL_INFO_NONE {
        return Ok(info.arch);
    }
    let registers = kernel.registers(thread.tid)?;
    Ok(match mode_of(registers.cs) {
        CodeMode::Bits32 | CodeMode::Bits16 if !is_in_call(&registers) => AUDIT_ARCH_I386,
        _ => info.arch,
    })
}

fn low(value: u64) -> u64 {
    value & 0xffff_ffff
}

#[cfg(test)]
mod tests {
    use trapline_core::SyscallAbi;

    use super::super::to_kernel;
    use super::*;

    const AUDIT_ARCH_X86_64: u32 = 0xc000_003e;

    const CS64: u64 = 0x33;
    const CS32: u64 = 0x23;

    fn raw(orig_rax: u64, cs: u64) -> libc::user_regs_struct {
        let mut raw = to_kernel(&Registers::default());
        (raw.orig_rax, raw.cs) = (orig_rax, cs);
        (raw.rdi, raw.rsi, raw.rdx, raw.r10, raw.r8, raw.r9) = (1, 2, 3, 4, 5, 6);
        (raw.rbx, raw.rcx, raw.rbp) = (7, 8, u64::MAX);
        raw
    }

    fn info(op: u8, arch: u32, data: [u64; 7]) -> SyscallInfo {
        SyscallInfo { op, arch, data, ..SyscallInfo::default() }
    }

    #[test]
    fn the_call_that_made_a_task_is_seen_in_the_registers() {
        assert_eq!(clone_call(&raw(57, CS64)), CloneCall::Fork);
        assert_eq!(clone_call(&raw(58, CS64)), CloneCall::Fork);
        assert_eq!(clone_call(&raw(56, CS64)), CloneCall::Clone(1));
        assert_eq!(clone_call(&raw(435, CS64)), CloneCall::Clone3(1));
        assert_eq!(clone_call(&raw(0x4000_0000 | 56, CS64)), CloneCall::Clone(1));
        assert_eq!(clone_call(&raw(2, CS32)), CloneCall::Fork);
        assert_eq!(clone_call(&raw(190, CS32)), CloneCall::Fork);
        assert_eq!(clone_call(&raw(120, CS32)), CloneCall::Clone(7));
        assert_eq!(clone_call(&raw(435, CS32)), CloneCall::Clone3(7));
        for other in
            [raw(57, CS32), raw(56, CS32), raw(120, CS64), raw(2, CS64), raw(u64::MAX, CS64)]
        {
            assert_eq!(clone_call(&other), CloneCall::Other);
        }
    }

    #[test]
    fn at_its_exit_the_registers_have_the_rest() {
        let exit = |value: i64, is_error: u64, arch| {
            info(PTRACE_SYSCALL_INFO_EXIT, arch, [value as u64, is_error, 0, 0, 0, 0, 0])
        };
        let exit64 = |value, is_error| exit(value, is_error, AUDIT_ARCH_X86_64);
        let call = syscall_from_registers(&exit64(7, 0), &raw(1, CS64)).unwrap();
        assert_eq!((call.number, call.args), (1, [1, 2, 3, 4, 5, 6]));
        assert_eq!(call.result, Some(Ok(7)));
        let call = syscall_from_registers(&exit64(-2, 1), &raw(1, CS64)).unwrap();
        assert_eq!(call.result, Some(Err(2)));
        let high = exit64(0, 0);
        let call = syscall_from_registers(&high, &raw(0x1_0000_0027, CS64)).unwrap();
        assert_eq!(call.number, 39, "the same as at its entry");
        for cs in [CS32, CS64] {
            let narrow = exit(-0x1000_0000, 0, AUDIT_ARCH_I386);
            let call = syscall_from_registers(&narrow, &raw(0x1_0000_0004, cs)).unwrap();
            assert_eq!((call.number, call.args), (4, [7, 8, 3, 2, 1, 0xffff_ffff]));
            assert_eq!((call.abi, call.result), (SyscallAbi::Bits32, Some(Ok(0xf000_0000))));
        }
    }

    #[test]
    fn elsewhere_there_is_a_call_if_the_registers_say_so() {
        let none = SyscallInfo { arch: AUDIT_ARCH_X86_64, ..SyscallInfo::default() };
        let call = syscall_from_registers(&none, &raw(56, CS64)).unwrap();
        assert_eq!((call.number, call.result), (56, None));
        for none_at_all in [u64::MAX, 0xffff_ffff] {
            assert_eq!(syscall_from_registers(&none, &raw(none_at_all, CS64)), None);
        }
        let unknown = SyscallInfo { op: 9, ..SyscallInfo::default() };
        assert_eq!(syscall_from_registers(&unknown, &raw(1, CS64)), None);
    }

    #[test]
    fn a_call_is_made_again_by_the_numbers_of_the_code() {
        let again = |cs, orig_rax: u64, rax: u64| {
            let registers = Registers { cs, orig_rax, rax, rip: 0x1002, ..Registers::default() };
            restarted(&registers).map(|registers| (registers.rip, registers.rax))
        };
        for (cs, restart) in [(CS64, 219), (CS32, 0)] {
            for code in [512_i64, 513, 514] {
                assert_eq!(again(cs, 7, -code as u64), Some((0x1000, 7)));
            }
            assert_eq!(again(cs, 7, -516_i64 as u64), Some((0x1000, restart)));
            for result in [0, 5, -4_i64 as u64, -515_i64 as u64] {
                assert_eq!(again(cs, 7, result), None);
            }
            assert_eq!(again(cs, u64::MAX, -512_i64 as u64), None, "in no call");
            assert_eq!(
                again(cs, 0xffff_ffff, -512_i64 as u64),
                None,
                "so a 32-bit debugger says it"
            );
        }
        assert_eq!(again(CS32, 7, 0xffff_fe00), Some((0x1000, 7)), "-512 in 32 bits");
        assert_eq!(again(CS64, 7, 0xffff_fe00), None, "a large number in 64 bits");
    }
}
