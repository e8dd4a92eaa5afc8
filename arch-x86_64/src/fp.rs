//! The x87 and SSE registers: the FXSAVE image.

use std::fmt;

/// The length of an FXSAVE image, in bytes.
pub const FXSAVE_LEN: usize = 512;

/// What stands in an FXSAVE image behind the XMM registers.
const TAIL_LEN: usize = 96;

/// The floating-point registers: what `fxsave64` stores (SDM vol. 1, 10.5.1, table 10-2 with the
/// 64-bit pointers), as typed data.
///
/// **Available:** x86-64.
///
/// The bytes that the CPU reserves or leaves to software are kept as they were, so that an image
/// survives the way there and back. `Default` is the state of a new program.
///
/// ```
/// use trapline_arch_x86_64::FpRegisters;
/// let registers = FpRegisters::default();
/// assert_eq!(registers.fcw, 0x37f);
/// assert_eq!(FpRegisters::from_fxsave(&registers.to_fxsave()), registers);
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct FpRegisters {
    /// x87 control word (offset 0).
    pub fcw: u16,
    /// x87 status word (offset 2).
    pub fsw: u16,
    /// x87 tag word, abridged (offset 4): bit *i* is set if physical register *i* is in use.
    pub ftw: u8,
    /// x87: the last instruction's opcode, 11 bits (offset 6).
    pub fop: u16,
    /// x87: the last instruction's address (offset 8).
    pub fip: u64,
    /// x87: the last operand's address (offset 16).
    pub fdp: u64,
    /// SSE control and status (offset 24). Kernels refuse to set bits that `mxcsr_mask` lacks.
    pub mxcsr: u32,
    /// The bits of `mxcsr` that this CPU has (offset 28); 0 means `0xffbf`.
    pub mxcsr_mask: u32,
    /// ST0 to ST7, also MM0 to MM7 (offset 32): the 80-bit value, least byte first, and 6 reserved
    /// bytes.
    pub st: [[u8; 16]; 8],
    /// XMM0 to XMM15 (offset 160).
    pub xmm: [u128; 16],
    /// Offset 5.
    reserved: u8,
    /// Offset 416: 48 reserved bytes and 48 that are left to software.
    tail: [u8; TAIL_LEN],
}

impl FpRegisters {
    /// Takes an FXSAVE image apart.
    ///
    /// ```
    /// use trapline_arch_x86_64::{FXSAVE_LEN, FpRegisters};
    ///
    /// let mut image = [0; FXSAVE_LEN];
    /// image[160] = 1;
    /// assert_eq!(FpRegisters::from_fxsave(&image).xmm[0], 1);
    /// ```
    pub fn from_fxsave(image: &[u8; FXSAVE_LEN]) -> Self {
        Self {
            fcw: u16::from_le_bytes(bytes(image, 0)),
            fsw: u16::from_le_bytes(bytes(image, 2)),
            ftw: image[4],
            reserved: image[5],
            fop: u16::from_le_bytes(bytes(image, 6)),
            fip: u64::from_le_bytes(bytes(image, 8)),
            fdp: u64::from_le_bytes(bytes(image, 16)),
            mxcsr: u32::from_le_bytes(bytes(image, 24)),
            mxcsr_mask: u32::from_le_bytes(bytes(image, 28)),
            st: std::array::from_fn(|i| bytes(image, 32 + 16 * i)),
            xmm: std::array::from_fn(|i| u128::from_le_bytes(bytes(image, 160 + 16 * i))),
            tail: bytes(image, FXSAVE_LEN - TAIL_LEN),
        }
    }

    /// The FXSAVE image of these registers.
    ///
    /// ```
    /// use trapline_arch_x86_64::{FXSAVE_LEN, FpRegisters};
    ///
    /// let mut registers = FpRegisters::from_fxsave(&[0; FXSAVE_LEN]);
    /// registers.xmm[1] = 1;
    /// assert_eq!(registers.to_fxsave()[176], 1);
    /// ```
    pub fn to_fxsave(&self) -> [u8; FXSAVE_LEN] {
        let mut image = [0; FXSAVE_LEN];
        let mut at = 0;
        let mut put = |field: &[u8]| {
            image[at..at + field.len()].copy_from_slice(field);
            at += field.len();
        };
        put(&self.fcw.to_le_bytes());
        put(&self.fsw.to_le_bytes());
        put(&[self.ftw, self.reserved]);
        put(&self.fop.to_le_bytes());
        put(&self.fip.to_le_bytes());
        put(&self.fdp.to_le_bytes());
        put(&self.mxcsr.to_le_bytes());
        put(&self.mxcsr_mask.to_le_bytes());
        self.st.iter().for_each(|register| put(register));
        self.xmm.iter().for_each(|register| put(&register.to_le_bytes()));
        put(&self.tail);
        image
    }

    /// Puts the x87 part into its initial state (SDM vol. 1, 13.6).
    pub(crate) fn clear_x87(&mut self) {
        self.fcw = 0x37f;
        self.fsw = 0;
        self.ftw = 0;
        self.fop = 0;
        self.fip = 0;
        self.fdp = 0;
        self.st = [[0; 16]; 8];
    }
}

impl Default for FpRegisters {
    fn default() -> Self {
        let mut registers = Self::from_fxsave(&[0; FXSAVE_LEN]);
        registers.clear_x87();
        registers.mxcsr = 0x1f80;
        registers
    }
}

impl fmt::Debug for FpRegisters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("FpRegisters");
        out.field("fcw", &format_args!("{:#x}", self.fcw))
            .field("fsw", &format_args!("{:#x}", self.fsw))
            .field("ftw", &format_args!("{:#x}", self.ftw))
            .field("fop", &format_args!("{:#x}", self.fop))
            .field("fip", &format_args!("{:#x}", self.fip))
            .field("fdp", &format_args!("{:#x}", self.fdp))
            .field("mxcsr", &format_args!("{:#x}", self.mxcsr))
            .field("mxcsr_mask", &format_args!("{:#x}", self.mxcsr_mask));
        for (i, register) in self.st.iter().enumerate() {
            let value = u128::from_le_bytes(*register);
            out.field(&format!("st{i}"), &format_args!("{value:#x}"));
        }
        for (i, value) in self.xmm.iter().enumerate() {
            out.field(&format!("xmm{i}"), &format_args!("{value:#x}"));
        }
        out.finish_non_exhaustive()
    }
}

/// `N` bytes of an image. Offsets are this file's own constants, so they are in range.
fn bytes<const N: usize>(image: &[u8; FXSAVE_LEN], at: usize) -> [u8; N] {
    std::array::from_fn(|i| image[at + i])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn fields_are_where_the_manual_has_them() {
        // Byte i is i modulo 251, so that no two fields are equal.
        let image: [u8; FXSAVE_LEN] = std::array::from_fn(|i| (i % 251) as u8);
        let registers = FpRegisters::from_fxsave(&image);
        assert_eq!(registers.fcw, 0x0100);
        assert_eq!(registers.fsw, 0x0302);
        assert_eq!(registers.ftw, 0x04);
        assert_eq!(registers.fop, 0x0706);
        assert_eq!(registers.fip, 0x0f0e_0d0c_0b0a_0908);
        assert_eq!(registers.fdp, 0x1716_1514_1312_1110);
        assert_eq!(registers.mxcsr, 0x1b1a_1918);
        assert_eq!(registers.mxcsr_mask, 0x1f1e_1d1c);
        assert_eq!(registers.st[0], image[32..48]);
        assert_eq!(registers.st[7], image[144..160]);
        assert_eq!(registers.xmm[0].to_le_bytes(), image[160..176]);
        assert_eq!(registers.xmm[15].to_le_bytes(), image[400..416]);
    }

    #[test]
    fn a_new_program_has_all_exceptions_masked() {
        let registers = FpRegisters::default();
        assert_eq!((registers.fcw, registers.mxcsr), (0x37f, 0x1f80));
        assert_eq!((registers.fsw, registers.ftw, registers.fop), (0, 0, 0));
        assert_eq!(registers.st, [[0; 16]; 8]);
        assert_eq!(registers.xmm, [0; 16]);
    }

    #[test]
    fn debug_is_hexadecimal() {
        let mut registers = FpRegisters::default();
        registers.xmm[3] = 0xabc;
        let text = format!("{registers:?}");
        assert!(text.starts_with("FpRegisters { fcw: 0x37f, "), "{text}");
        assert!(text.contains("xmm3: 0xabc, "), "{text}");
    }

    proptest! {
        #[test]
        fn every_byte_survives_the_way_there_and_back(image in prop::collection::vec(any::<u8>(), 512)) {
            let image: [u8; FXSAVE_LEN] = image.try_into().unwrap();
            prop_assert_eq!(FpRegisters::from_fxsave(&image).to_fxsave(), image);
        }
    }
}
