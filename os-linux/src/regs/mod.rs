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

use trapline_core::Syscall;

use crate::ffi::{PTRACE_SYSCALL_INFO_ENTRY, PTRACE_SYSCALL_INFO_SECCOMP, SyscallInfo};

/// A system call from what the kernel says at its entry, which is everything; `None` if the
/// registers must be asked as well.
pub(crate) fn syscall_at_entry(info: &SyscallInfo) -> Option<Syscall> {
    match info.op {
        PTRACE_SYSCALL_INFO_ENTRY | PTRACE_SYSCALL_INFO_SECCOMP => {
            let [number, args @ ..] = info.data;
            Some(Syscall { number, args, result: None })
        }
        _ => None,
    }
}

/// The result of a system call, from what the kernel says at its exit.
fn result_of(info: &SyscallInfo) -> Result<u64, i32> {
    let [value, is_error, ..] = info.data;
    if is_error & 0xff == 0 { Ok(value) } else { Err((value as i64).wrapping_neg() as i32) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_call_is_complete_at_its_entry() {
        let info = SyscallInfo {
            op: PTRACE_SYSCALL_INFO_ENTRY,
            data: [39, 1, 2, 3, 4, 5, 6],
            ..SyscallInfo::default()
        };
        let call = syscall_at_entry(&info).unwrap();
        assert_eq!((call.number, call.args), (39, [1, 2, 3, 4, 5, 6]));
        assert_eq!(call.result, None);
    }
}
