//! What depends on the CPU: a port to another one is another file here, and one of requests beside
//! the others.

cfg_if::cfg_if! {
    if #[cfg(target_arch = "x86_64")] {
        mod x86_64;
        #[allow(unsafe_code)]
        #[path = "../sys/x86_64.rs"]
        mod requests;
        pub(crate) use x86_64::*;
    } else if #[cfg(target_arch = "aarch64")] {
        mod aarch64;
        #[allow(unsafe_code)]
        #[path = "../sys/aarch64.rs"]
        mod requests;
        pub(crate) use aarch64::*;
    } else {
        compile_error!("trapline does not know this CPU yet; it knows x86-64 and aarch64");
    }
}

use trapline_core::{Syscall, SyscallAbi};

use crate::ffi::{PTRACE_SYSCALL_INFO_ENTRY, PTRACE_SYSCALL_INFO_SECCOMP, SyscallInfo};

/// A system call from what the kernel says at its entry, which is everything; `None` if the
/// registers must be asked as well.
pub(crate) fn syscall_at_entry(info: &SyscallInfo) -> Option<Syscall> {
    match info.op {
        PTRACE_SYSCALL_INFO_ENTRY | PTRACE_SYSCALL_INFO_SECCOMP => {
            let [number, args @ ..] = info.data;
            Some(call(info.arch, number, args, None))
        }
        _ => None,
    }
}

/// A call by the widths of its ABI. The kernel shows whole registers, and the upper halves are
/// whatever they were: 64-bit code may have left something there before it made a 32-bit call. The
/// number is an `int` to it.
fn call(arch: u32, number: u64, args: [u64; 6], result: Option<Result<u64, i32>>) -> Syscall {
    /// Set in the architectures of 64 bits (`__AUDIT_ARCH_64BIT` in `linux/audit.h`).
    const WIDE: u32 = 0x8000_0000;
    let low = |value: u64| value & 0xffff_ffff;
    if arch & WIDE != 0 {
        let number = i64::from(number as i32) as u64;
        return Syscall::new(SyscallAbi::Bits64, number, args, result);
    }
    let result = result.map(|result| result.map(low));
    Syscall::new(SyscallAbi::Bits32, low(number), args.map(low), result)
}

/// The result of a system call, from what the kernel says at its exit.
fn result_of(info: &SyscallInfo) -> Result<u64, i32> {
    let [value, is_error, ..] = info.data;
    if is_error & 0xff == 0 { Ok(value) } else { Err((value as i64).wrapping_neg() as i32) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const X86_64: u32 = 0xc000_003e;
    const AARCH64: u32 = 0xc000_00b7;
    const I386: u32 = 0x4000_0003;
    const ARM: u32 = 0x4000_0028;

    fn at_entry(op: u8, arch: u32, data: [u64; 7]) -> Syscall {
        syscall_at_entry(&SyscallInfo { op, arch, data, ..SyscallInfo::default() }).unwrap()
    }

    #[test]
    fn a_system_call_is_complete_at_its_entry() {
        for arch in [X86_64, AARCH64] {
            let call = at_entry(PTRACE_SYSCALL_INFO_ENTRY, arch, [39, 1, 2, 3, 4, 5, 1 << 40]);
            assert_eq!((call.number, call.args), (39, [1, 2, 3, 4, 5, 1 << 40]));
            assert_eq!((call.abi, call.result), (SyscallAbi::Bits64, None));
        }
    }

    #[test]
    fn a_32_bit_call_has_numbers_of_32_bits() {
        let dirty = |low: u64| 0xdead_beef_0000_0000 | low;
        let data = [dirty(4), dirty(1), dirty(2), dirty(3), dirty(4), dirty(5), u64::MAX];
        for op in [PTRACE_SYSCALL_INFO_ENTRY, PTRACE_SYSCALL_INFO_SECCOMP] {
            for arch in [I386, ARM] {
                let call = at_entry(op, arch, data);
                assert_eq!((call.number, call.args), (4, [1, 2, 3, 4, 5, 0xffff_ffff]));
                assert_eq!(call.abi, SyscallAbi::Bits32);
            }
        }
    }
}
