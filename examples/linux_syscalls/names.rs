//! The names of system calls. A machine has two tables of them, one for each width of programs.

use syscalls::{aarch64, arm, x86, x86_64};
use trapline::SyscallAbi;

/// Calls that are newer than the tables: the same numbers on all machines, from this one on.
const NEW_FROM: u64 = 462;
const NEW: &[&str] = &[
    "mseal",
    "setxattrat",
    "getxattrat",
    "listxattrat",
    "removexattrat",
    "open_tree_attr",
    "file_getattr",
    "file_setattr",
];

/// Set in the numbers of x32, an ABI of x86-64 whose calls are mostly those of 64-bit programs.
const X32: u64 = 0x4000_0000;
/// Those that are its own, from this number on (`arch/x86/entry/syscalls/syscall_64.tbl`).
const X32_FROM: u64 = 512;
const X32_OWN: &[&str] = &[
    "rt_sigaction",
    "rt_sigreturn",
    "ioctl",
    "readv",
    "writev",
    "recvfrom",
    "sendmsg",
    "recvmsg",
    "execve",
    "ptrace",
    "rt_sigpending",
    "rt_sigtimedwait",
    "rt_sigqueueinfo",
    "sigaltstack",
    "timer_create",
    "mq_notify",
    "kexec_load",
    "waitid",
    "set_robust_list",
    "get_robust_list",
    "vmsplice",
    "move_pages",
    "preadv",
    "pwritev",
    "rt_tgsigqueueinfo",
    "recvmmsg",
    "sendmmsg",
    "process_vm_readv",
    "process_vm_writev",
    "setsockopt",
    "getsockopt",
    "io_setup",
    "io_submit",
    "execveat",
    "preadv2",
    "pwritev2",
];

/// No table is longer; the one of arm has some calls far behind.
const MOST: u64 = 1000;

/// The tables of one machine.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Names {
    /// As Rust calls the CPU.
    machine: &'static str,
}

impl Names {
    /// Those of this machine.
    pub(crate) fn here() -> Names {
        Names { machine: std::env::consts::ARCH }
    }

    /// What a call is called, if it is known.
    pub(crate) fn name(self, abi: SyscallAbi, number: u64) -> Option<&'static str> {
        if self.machine == "x86_64" && abi == SyscallAbi::Bits64 && number & X32 != 0 {
            return self.x32(number ^ X32);
        }
        let id = usize::try_from(number).ok()?;
        let name = match (self.machine, abi) {
            ("x86_64", SyscallAbi::Bits64) => x86_64::Sysno::new(id).map(|call| call.name()),
            ("x86_64", SyscallAbi::Bits32) => x86::Sysno::new(id).map(|call| call.name()),
            ("aarch64", SyscallAbi::Bits64) => aarch64::Sysno::new(id).map(|call| call.name()),
            ("aarch64", SyscallAbi::Bits32) => arm::Sysno::new(id).map(|call| call.name()),
            _ => None,
        };
        name.or_else(|| at(NEW, number, NEW_FROM))
    }

    fn x32(self, number: u64) -> Option<&'static str> {
        let own = at(X32_OWN, number, X32_FROM);
        own.or_else(|| self.name(SyscallAbi::Bits64, number).filter(|_| number < X32_FROM))
    }

    /// The kernel's number of an ABI of this machine (`AUDIT_ARCH_*` of `linux/audit.h`).
    pub(crate) fn audit_arch(self, abi: SyscallAbi) -> Option<u32> {
        Some(match (self.machine, abi) {
            ("x86_64", SyscallAbi::Bits64) => 0xc000_003e,
            ("x86_64", SyscallAbi::Bits32) => 0x4000_0003,
            ("aarch64", SyscallAbi::Bits64) => 0xc000_00b7,
            ("aarch64", SyscallAbi::Bits32) => 0x4000_0028,
            _ => return None,
        })
    }

    /// All numbers that an ABI has for these names.
    pub(crate) fn numbers(self, abi: SyscallAbi, names: &[String]) -> Vec<u32> {
        let all = (0..MOST).chain((0..MOST).map(|number| number | X32));
        let wanted =
            |&number: &u64| self.name(abi, number).is_some_and(|n| names.iter().any(|w| w == n));
        all.filter(wanted).filter_map(|number| u32::try_from(number).ok()).collect()
    }

    /// Whether an ABI has a call of this name.
    pub(crate) fn has(self, name: &str) -> bool {
        let names = [name.to_string()];
        ABIS.iter().any(|&abi| !self.numbers(abi, &names).is_empty())
    }
}

/// All ABIs that there can be.
pub(crate) const ABIS: [SyscallAbi; 2] = [SyscallAbi::Bits64, SyscallAbi::Bits32];

fn at(names: &'static [&'static str], number: u64, from: u64) -> Option<&'static str> {
    let index = usize::try_from(number.checked_sub(from)?).ok()?;
    names.get(index).copied()
}
