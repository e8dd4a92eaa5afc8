//! The general registers.

use std::fmt;

use crate::RFlags;

macro_rules! registers {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// The general registers of a thread, the same type on every system.
        ///
        /// **Available:** x86-64.
        ///
        /// `Default` is all zeros, outside any system call.
        ///
        /// ```
        /// use trapline_arch_x86_64::Registers;
        /// let mut registers = Registers::default();
        /// assert!(registers.set("rip", 0x401000));
        /// assert_eq!(registers.get("rip"), Some(registers.rip));
        /// assert_eq!(registers.get("xmm0"), None);
        /// for (name, value) in registers.iter() {
        ///     println!("{name:8} {value:#018x}");
        /// }
        /// ```
        ///
        /// # Platform notes
        ///
        /// The set is that of Linux's `struct user_regs_struct`, with its order. FreeBSD's
        /// `struct reg` has all of them but `orig_rax`, `fs_base` and `gs_base`; the bases come
        /// from requests of their own there, and what is written to `ds`, `es`, `fs` and `gs` is
        /// ignored (`set_regs` in `sys/amd64/amd64/exec_machdep.c`).
        #[derive(Clone, Copy, PartialEq, Eq, Hash)]
        pub struct Registers {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Registers {
            /// The names of all registers, in the order of the fields.
            pub const NAMES: &'static [&'static str] = &[$(stringify!($name)),*];

            /// The register of this name; `None` if there is none.
            ///
            /// ```
            /// use trapline_arch_x86_64::Registers;
            ///
            /// let mut registers = Registers::default();
            /// registers.set_pc(0x40_1000);
            /// assert_eq!(registers.get("rip"), Some(0x40_1000));
            /// assert_eq!(registers.get("no register"), None);
            /// ```
            pub fn get(&self, name: &str) -> Option<u64> {
                match name {
                    $(stringify!($name) => Some(self.$name),)*
                    _ => None,
                }
            }

            /// Sets the register of this name, and says whether there is one.
            ///
            /// This writes the one value; to move the program counter of a thread use
            /// [`Arch::set_pc`](trapline_core::Arch::set_pc).
            ///
            /// ```
            /// use trapline_arch_x86_64::Registers;
            ///
            /// let mut registers = Registers::default();
            /// assert!(registers.set("rsp", 0x7fff_0000));
            /// assert!(!registers.set("no register", 0));
            /// ```
            #[must_use = "false says that there is no such register"]
            pub fn set(&mut self, name: &str, value: u64) -> bool {
                match name {
                    $(stringify!($name) => self.$name = value,)*
                    _ => return false,
                }
                true
            }

            /// Names and values, in the order of the fields.
            ///
            /// ```
            /// use trapline_arch_x86_64::Registers;
            ///
            /// for (name, value) in Registers::default().iter() {
            ///     println!("{name:8} {value:#018x}");
            /// }
            /// ```
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
                [$((stringify!($name), self.$name)),*].into_iter()
            }
        }
    };
}

registers! {
    /// General register; callee-saved.
    r15,
    /// General register; callee-saved.
    r14,
    /// General register; callee-saved.
    r13,
    /// General register; callee-saved.
    r12,
    /// The frame pointer, where one is kept; callee-saved.
    rbp,
    /// General register; callee-saved.
    rbx,
    /// General register; the `syscall` instruction puts RFLAGS into it.
    r11,
    /// General register; fourth argument of a system call.
    r10,
    /// General register; sixth argument.
    r9,
    /// General register; fifth argument.
    r8,
    /// General register; the result of a function or of a system call.
    rax,
    /// General register; fourth argument of a function. The `syscall` instruction puts the address
    /// of the next instruction into it.
    rcx,
    /// General register; third argument.
    rdx,
    /// General register; second argument.
    rsi,
    /// General register; first argument.
    rdi,
    /// The system call that the thread is in, `u64::MAX` if none.
    ///
    /// # Platform notes
    ///
    /// FreeBSD does not keep it: always `u64::MAX` there.
    orig_rax,
    /// The program counter.
    rip,
    /// Code segment; its value tells 64-bit code from 32-bit code, by numbers that each system
    /// chooses.
    cs,
    /// The flags; [`Registers::flags`] takes them apart.
    rflags,
    /// The stack pointer.
    rsp,
    /// Stack segment.
    ss,
    /// Where the FS segment starts: the thread pointer of the ELF thread-local storage.
    fs_base,
    /// Where the GS segment starts.
    gs_base,
    /// Data segment.
    ds,
    /// Extra segment.
    es,
    /// FS segment selector; in 64-bit code only its base counts.
    fs,
    /// GS segment selector; in 64-bit code only its base counts.
    gs,
}

impl Registers {
    /// What [`orig_rax`](Registers::orig_rax) is outside a system call.
    pub const NO_SYSCALL: u64 = u64::MAX;

    /// The flags, by name.
    ///
    /// ```
    /// use trapline_arch_x86_64::{RFlags, Registers};
    ///
    /// let registers = Registers { rflags: 0x101, ..Registers::default() };
    /// assert!(registers.flags().contains(RFlags::TF));
    /// ```
    pub fn flags(&self) -> RFlags {
        RFlags::from_bits_retain(self.rflags)
    }

    /// The number of the system call that the thread is in; `None` if it is in none, or if the
    /// system does not keep it.
    ///
    /// ```
    /// use trapline_arch_x86_64::Registers;
    ///
    /// let registers = Registers::default();
    /// assert_eq!(registers.syscall_number(), None);
    /// let in_a_call = Registers { orig_rax: 1, ..registers };
    /// assert_eq!(in_a_call.syscall_number(), Some(1));
    /// ```
    ///
    /// # Platform notes
    ///
    /// Linux keeps it in `orig_rax` from the entry of the call to its exit, and puts `-ENOSYS` or
    /// the result into `rax`. FreeBSD keeps no copy: this is always `None` there. `rax` holds the
    /// number at the entry (at the exit it holds the result), but may be that of the indirect
    /// `syscall` (0) or `__syscall` (198), which take the real one as their first argument. The
    /// tracer's own question about the system call is right on both.
    pub fn syscall_number(&self) -> Option<u64> {
        (self.orig_rax != Self::NO_SYSCALL).then_some(self.orig_rax)
    }

    /// Whether Linux will make the system call again that the thread is in: when the thread goes
    /// on, the kernel takes 2 off the program counter (`include/linux/errno.h`).
    pub(crate) fn will_restart(&self) -> bool {
        let result = self.rax as i64;
        self.orig_rax != Self::NO_SYSCALL && matches!(result, -514..=-512 | -516)
    }

    /// The six arguments of a 64-bit system call: `rdi`, `rsi`, `rdx`, `r10`, `r8`, `r9`.
    ///
    /// The fourth is not where a function has it, because the `syscall` instruction needs `rcx`.
    /// They are sure at the entry of a call; a kernel may change some before its exit. (System V
    /// ABI for AMD64, A.2.1.)
    ///
    /// ```
    /// use trapline_arch_x86_64::Registers;
    ///
    /// let registers = Registers { rdi: 1, r10: 4, ..Registers::default() };
    /// assert_eq!(registers.syscall_args(), [1, 0, 0, 4, 0, 0]);
    /// ```
    ///
    /// # Platform notes
    ///
    /// A FreeBSD program passes them the same way, but that kernel moves the fourth to `rcx` at
    /// the entry and shows a meaningless `r10` until the exit (`fast_syscall` in
    /// `sys/amd64/amd64/exception.S`). The tracer's own question about the system call is right on
    /// both.
    pub fn syscall_args(&self) -> [u64; 6] {
        [self.rdi, self.rsi, self.rdx, self.r10, self.r8, self.r9]
    }

    /// The first six integer arguments at the entry of a function: `rdi`, `rsi`, `rdx`, `rcx`,
    /// `r8`, `r9` (System V ABI for AMD64, 3.2.3). Further ones are on the stack.
    ///
    /// ```
    /// use trapline_arch_x86_64::Registers;
    ///
    /// let registers = Registers { rdi: 1, rcx: 4, ..Registers::default() };
    /// assert_eq!(registers.function_args(), [1, 0, 0, 4, 0, 0]);
    /// ```
    pub fn function_args(&self) -> [u64; 6] {
        [self.rdi, self.rsi, self.rdx, self.rcx, self.r8, self.r9]
    }

    /// The integer result of a function at its return, or of a system call at its exit: `rax`.
    ///
    /// ```
    /// use trapline_arch_x86_64::Registers;
    ///
    /// let registers = Registers { rax: 3, ..Registers::default() };
    /// assert_eq!(registers.return_value(), 3);
    /// ```
    ///
    /// # Platform notes
    ///
    /// A system call that failed returns `-errno` (-4095 to -1) on Linux; on FreeBSD it returns
    /// `errno` and sets [`RFlags::CF`].
    pub fn return_value(&self) -> u64 {
        self.rax
    }
}

impl Default for Registers {
    fn default() -> Self {
        Self {
            r15: 0,
            r14: 0,
            r13: 0,
            r12: 0,
            rbp: 0,
            rbx: 0,
            r11: 0,
            r10: 0,
            r9: 0,
            r8: 0,
            rax: 0,
            rcx: 0,
            rdx: 0,
            rsi: 0,
            rdi: 0,
            orig_rax: Self::NO_SYSCALL,
            rip: 0,
            cs: 0,
            rflags: 0,
            rsp: 0,
            ss: 0,
            fs_base: 0,
            gs_base: 0,
            ds: 0,
            es: 0,
            fs: 0,
            gs: 0,
        }
    }
}

impl fmt::Debug for Registers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Registers");
        for (name, value) in self.iter() {
            out.field(name, &format_args!("{value:#x}"));
        }
        out.finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Every register with a value of its own.
    fn numbered() -> Registers {
        let mut registers = Registers::default();
        for (value, name) in (1..).zip(Registers::NAMES) {
            assert!(registers.set(name, value));
        }
        registers
    }

    #[test]
    fn names_are_in_the_order_of_user_regs_struct() {
        assert_eq!(
            Registers::NAMES.join(" "),
            "r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip cs rflags rsp \
             ss fs_base gs_base ds es fs gs"
        );
    }

    #[test]
    fn each_name_is_its_own_register() {
        let registers = numbered();
        assert_eq!((registers.r15, registers.rax, registers.rip, registers.gs), (1, 11, 17, 27));
        assert!(registers.iter().map(|(_, value)| value).eq(1..=27));
        assert!(registers.iter().map(|(name, _)| name).eq(Registers::NAMES.iter().copied()));
        for (name, value) in registers.iter() {
            assert_eq!(registers.get(name), Some(value));
        }
    }

    #[test]
    fn a_name_that_is_none_changes_nothing() {
        let mut registers = numbered();
        for name in ["", "RAX", "eax", "rip ", "xmm0"] {
            assert_eq!(registers.get(name), None);
            assert!(!registers.set(name, 0));
        }
        assert_eq!(registers, numbered());
    }

    #[test]
    fn arguments_are_where_the_abi_has_them() {
        let r = numbered();
        assert_eq!(r.syscall_args(), [r.rdi, r.rsi, r.rdx, r.r10, r.r8, r.r9]);
        assert_eq!(r.function_args(), [r.rdi, r.rsi, r.rdx, r.rcx, r.r8, r.r9]);
        assert_eq!(r.return_value(), r.rax);
    }

    #[test]
    fn a_thread_is_in_a_system_call_or_in_none() {
        let read = Registers { orig_rax: 0, rax: -38_i64 as u64, ..Registers::default() };
        assert_eq!(read.syscall_number(), Some(0));
        assert_eq!(Registers::default().syscall_number(), None);
    }

    #[test]
    fn debug_is_hexadecimal() {
        let text = format!("{:?}", Registers { rip: 0x401000, ..Registers::default() });
        assert!(text.starts_with("Registers { r15: 0x0, "), "{text}");
        assert!(text.contains("orig_rax: 0xffffffffffffffff, rip: 0x401000, "), "{text}");
    }

    proptest! {
        #[test]
        fn what_is_set_is_got_and_nothing_else_changes(
            start: [u64; 27],
            which in 0..Registers::NAMES.len(),
            value: u64,
        ) {
            let mut registers = Registers::default();
            for (name, value) in Registers::NAMES.iter().zip(start) {
                prop_assert!(registers.set(name, value));
            }
            prop_assert!(registers.set(Registers::NAMES[which], value));
            let mut expected = start;
            expected[which] = value;
            prop_assert!(registers.iter().map(|(_, value)| value).eq(expected));
        }
    }
}
