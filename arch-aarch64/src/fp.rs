//! The floating-point and vector registers.

use std::fmt;

/// The floating-point registers: V0 to V31, FPSR and FPCR (Arm ARM B1.2.2).
///
/// **Available:** aarch64.
///
/// ```
/// use trapline_arch_aarch64::FpRegisters;
///
/// let registers = FpRegisters::default();
/// assert_eq!(registers.v[31], 0);
/// ```
#[derive(Clone, PartialEq, Eq, Default)]
pub struct FpRegisters {
    /// V0 to V31, 128 bits each: the low parts of Z0 to Z31 where the CPU has SVE.
    pub v: [u128; 32],
    /// The floating-point status register.
    pub fpsr: u32,
    /// The floating-point control register.
    pub fpcr: u32,
}

impl fmt::Debug for FpRegisters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("FpRegisters");
        for (index, value) in self.v.iter().enumerate() {
            out.field(&format!("v{index}"), &format_args!("{value:#x}"));
        }
        out.field("fpsr", &format_args!("{:#x}", self.fpsr));
        out.field("fpcr", &format_args!("{:#x}", self.fpcr)).finish()
    }
}
