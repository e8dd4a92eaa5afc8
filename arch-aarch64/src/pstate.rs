//! The processor state.

bitflags::bitflags! {
    /// The bits of PSTATE as SPSR_EL1 has them (Arm ARM C5.2.18) that user code or a debugger meets.
    ///
    /// **Available:** aarch64.
    ///
    /// ```
    /// use trapline_arch_aarch64::{Pstate, Registers};
    /// let registers = Registers { pstate: 0x6000_1000, ..Registers::default() };
    /// assert_eq!(registers.flags(), Pstate::Z | Pstate::C | Pstate::SSBS);
    /// ```
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub struct Pstate: u64 {
        /// Negative.
        const N = 1 << 31;
        /// Zero.
        const Z = 1 << 30;
        /// Carry.
        const C = 1 << 29;
        /// Overflow.
        const V = 1 << 28;
        /// Tag check override.
        const TCO = 1 << 25;
        /// Data-independent timing.
        const DIT = 1 << 24;
        /// Single step: kernels set it to do one.
        const SS = 1 << 21;
        /// Illegal execution state.
        const IL = 1 << 20;
        /// Speculative stores may be bypassed.
        const SSBS = 1 << 12;
        /// The kind of the branch that was just taken, for `bti` to check: 0 after anything else.
        const BTYPE = 3 << 10;
        /// 32-bit code.
        const NRW = 1 << 4;

        // Other bits are kept.
        const _ = !0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bits_are_where_the_manual_has_them() {
        for (flag, bits) in [
            (Pstate::N, 0x8000_0000),
            (Pstate::Z, 0x4000_0000),
            (Pstate::C, 0x2000_0000),
            (Pstate::V, 0x1000_0000),
            (Pstate::SS, 0x0020_0000),
            (Pstate::BTYPE, 0xc00),
            (Pstate::NRW, 0x10),
        ] {
            assert_eq!(flag.bits(), bits, "{flag:?}");
        }
        assert_eq!(Pstate::from_bits_retain(u64::MAX).bits(), u64::MAX);
    }
}
