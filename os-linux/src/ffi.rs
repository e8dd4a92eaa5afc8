//! What the C library's bindings lack: `linux/ptrace.h`, `linux/elf.h`, `asm-generic/siginfo.h`.

/// The event of a stop that `PTRACE_INTERRUPT`, an automatic attach or job control made; only
/// `PTRACE_SEIZE`d threads have it.
pub(crate) const PTRACE_EVENT_STOP: u32 = 128;

/// `ptrace(2)`: signals that wait, which stay.
pub(crate) const PTRACE_PEEKSIGINFO: libc::c_long = 0x4209;

/// `ptrace(2)`: the signals that a thread has blocked.
pub(crate) const PTRACE_GETSIGMASK: libc::c_long = 0x420a;
pub(crate) const PTRACE_SETSIGMASK: libc::c_long = 0x420b;

/// `struct ptrace_peeksiginfo_args` of `linux/ptrace.h`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub(crate) struct PeekSiginfoArgs {
    /// From which one on.
    pub(crate) off: u64,
    /// Those of the process instead of the thread's.
    pub(crate) flags: u32,
    /// How many.
    pub(crate) nr: i32,
}

/// `ptrace(2)`: what a stop in a system call is about.
pub(crate) const PTRACE_GET_SYSCALL_INFO: libc::c_long = 0x420e;

/// `ptrace(2)`: changes it (Linux 6.16).
pub(crate) const PTRACE_SET_SYSCALL_INFO: libc::c_long = 0x4212;

/// [`PeekSiginfoArgs::flags`]: the signals of the process.
pub(crate) const PTRACE_PEEKSIGINFO_SHARED: u32 = 1;

/// [`SyscallInfo::op`]: the thread is not at a stop of a system call.
pub(crate) const PTRACE_SYSCALL_INFO_NONE: u8 = 0;
/// [`SyscallInfo::op`]: at the entry of a system call.
pub(crate) const PTRACE_SYSCALL_INFO_ENTRY: u8 = 1;
/// [`SyscallInfo::op`]: at its exit.
pub(crate) const PTRACE_SYSCALL_INFO_EXIT: u8 = 2;
/// [`SyscallInfo::op`]: at a stop that a seccomp filter asked for.
pub(crate) const PTRACE_SYSCALL_INFO_SECCOMP: u8 = 3;

/// `struct ptrace_syscall_info` of `linux/ptrace.h`. The union is an array here: `entry` and
/// `seccomp` are the number and six arguments, `exit` the result and, in its first byte, whether
/// that is an error.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct SyscallInfo {
    pub(crate) op: u8,
    pub(crate) pad: [u8; 3],
    pub(crate) arch: u32,
    pub(crate) instruction_pointer: u64,
    pub(crate) stack_pointer: u64,
    pub(crate) data: [u64; 7],
    pub(crate) seccomp_data: u64,
}

/// `siginfo_t`, as bytes: `decode` takes it apart.
#[repr(C, align(8))]
#[derive(Debug, Clone, Copy)]
pub(crate) struct Siginfo(pub(crate) [u8; 128]);

impl Default for Siginfo {
    fn default() -> Self {
        Self([0; 128])
    }
}

/// A control message that carries one `SCM_CREDENTIALS`. `CMSG_DATA` of 64-bit systems is what
/// follows the 16 bytes of the header.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Credentials {
    pub(crate) header: libc::cmsghdr,
    pub(crate) who: libc::ucred,
}

/// `seccomp(2)`: the filter is there to trace, not to confine, so the program keeps the speed of a
/// CPU that guesses whether a load depends on a store (Linux 4.17).
pub(crate) const SECCOMP_FILTER_FLAG_SPEC_ALLOW: libc::c_ulong = 1 << 2;
