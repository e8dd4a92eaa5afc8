//! What only Linux has.

use trapline_core::Result;
use trapline_core::backend::Thread;

use crate::Linux;
use crate::ffi::Siginfo;

/// Where a thread is and by which ABI it makes system calls: the part of
/// `struct ptrace_syscall_info` that every stop has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Abi {
    /// The CPU and ABI, as `AUDIT_ARCH_*` of `linux/audit.h`: `0xc000003e` is x86-64 (and x32),
    /// `0x40000003` is 32-bit x86.
    pub audit_arch: u32,
    /// The program counter.
    pub instruction_pointer: u64,
    /// The stack pointer.
    pub stack_pointer: u64,
}

impl Linux {
    /// The ABI of a stopped thread (`PTRACE_GET_SYSCALL_INFO` of `ptrace(2)`).
    ///
    /// # Errors
    ///
    /// [`Error::Gone`](trapline_core::Error::Gone) if it was killed.
    pub fn abi(&mut self, thread: Thread) -> Result<Abi> {
        let info = self.kernel.syscall_info(thread.tid)?;
        Ok(Abi {
            audit_arch: info.arch,
            instruction_pointer: info.instruction_pointer,
            stack_pointer: info.stack_pointer,
        })
    }

    /// The whole `siginfo_t` of a thread that is stopped for a signal, or, at another stop, what
    /// the kernel made up for it (`PTRACE_GETSIGINFO` of `ptrace(2)`).
    ///
    /// # Errors
    ///
    /// [`Error::Gone`](trapline_core::Error::Gone) if it was killed;
    /// [`Error::Os`](trapline_core::Error::Os) with `EINVAL` at a group-stop, which has none.
    pub fn siginfo(&mut self, thread: Thread) -> Result<[u8; 128]> {
        Ok(self.kernel.siginfo(thread.tid)?.0)
    }

    /// Changes the `siginfo_t` that the program will see (`PTRACE_SETSIGINFO` of `ptrace(2)`), if
    /// the thread is resumed with the signal that it names.
    ///
    /// # Errors
    ///
    /// As [`siginfo`](Self::siginfo).
    pub fn set_siginfo(&mut self, thread: Thread, info: &[u8; 128]) -> Result<()> {
        self.kernel.set_siginfo(thread.tid, &Siginfo(*info))
    }
}
