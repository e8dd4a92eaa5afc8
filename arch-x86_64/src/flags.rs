//! The flags register.

bitflags::bitflags! {
    /// The bits of RFLAGS (SDM vol. 1, 3.4.3) that user code or a debugger meets.
    ///
    /// **Available:** x86-64.
    ///
    /// ```
    /// use trapline_arch_x86_64::{RFlags, Registers};
    /// let registers = Registers { rflags: 0x10246, ..Registers::default() };
    /// assert_eq!(registers.flags(), RFlags::PF | RFlags::ZF | RFlags::IF | RFlags::RF | RFlags::ONE);
    /// ```
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub struct RFlags: u64 {
        /// Carry. A FreeBSD system call sets it at its return to say that `rax` is an `errno`.
        const CF = 1 << 0;
        /// Reserved, and always set.
        const ONE = 1 << 1;
        /// Parity.
        const PF = 1 << 2;
        /// Auxiliary carry.
        const AF = 1 << 4;
        /// Zero.
        const ZF = 1 << 6;
        /// Sign.
        const SF = 1 << 7;
        /// Trap: a debug exception after each instruction. It is how kernels do a single step.
        const TF = 1 << 8;
        /// Interrupts are enabled: always set in user mode.
        const IF = 1 << 9;
        /// Direction of string instructions.
        const DF = 1 << 10;
        /// Overflow.
        const OF = 1 << 11;
        /// Nested task.
        const NT = 1 << 14;
        /// Resume: the next instruction does not hit an execute breakpoint of the debug registers.
        /// The CPU clears it after that instruction (SDM vol. 3, "Instruction-Breakpoint Exception
        /// Condition").
        const RF = 1 << 16;
        /// Virtual-8086 mode.
        const VM = 1 << 17;
        /// Alignment check.
        const AC = 1 << 18;
        /// Virtual interrupt.
        const VIF = 1 << 19;
        /// Virtual interrupt pending.
        const VIP = 1 << 20;
        /// `cpuid` exists.
        const ID = 1 << 21;

        // Other bits are kept.
        const _ = !0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bits_are_where_the_manual_has_them() {
        for (flag, bit) in [
            (RFlags::CF, 0),
            (RFlags::ONE, 1),
            (RFlags::PF, 2),
            (RFlags::AF, 4),
            (RFlags::ZF, 6),
            (RFlags::SF, 7),
            (RFlags::TF, 8),
            (RFlags::IF, 9),
            (RFlags::DF, 10),
            (RFlags::OF, 11),
            (RFlags::NT, 14),
            (RFlags::RF, 16),
            (RFlags::VM, 17),
            (RFlags::AC, 18),
            (RFlags::VIF, 19),
            (RFlags::VIP, 20),
            (RFlags::ID, 21),
        ] {
            assert_eq!(flag.bits(), 1 << bit, "{flag:?}");
        }
    }

    #[test]
    fn unknown_bits_are_kept() {
        assert_eq!(RFlags::from_bits_retain(u64::MAX).bits(), u64::MAX);
    }
}
