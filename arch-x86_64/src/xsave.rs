//! The extended state: the XSAVE area.

use std::fmt;

use crate::fp::{FXSAVE_LEN, FpRegisters};

/// Offsets and lengths of the standard format that hold for every CPU (SDM vol. 1, 13.4).
/// Part of what the CPU leaves to software in the legacy region; both kernels put XCR0 there
/// (Linux `arch/x86/include/uapi/asm/sigcontext.h`, FreeBSD `sys/x86/include/fpu.h`).
const XCR0: usize = 464;
const XSTATE_BV: usize = 512;
const XCOMP_BV: usize = 520;
/// The legacy region and the header: the shortest area there is.
const MIN_LEN: usize = 576;
const XMM: usize = 160;
const XMM_END: usize = XMM + 16 * 16;
/// Component 2: the upper halves of YMM0 to YMM15.
const YMM_HI128: usize = 576;
const YMM_HI128_END: usize = YMM_HI128 + 16 * 16;
/// Bit 63 of XCOMP_BV: the area is in the compacted format.
const COMPACTED: u64 = 1 << 63;

bitflags::bitflags! {
    /// State components that an XSAVE area may hold (SDM vol. 1, 13.1).
    ///
    /// **Available:** x86-64.
    ///
    /// ```
    /// use trapline_arch_x86_64::StateComponents;
    ///
    /// let avx = StateComponents::X87 | StateComponents::SSE | StateComponents::AVX;
    /// assert_eq!(avx.bits(), 7);
    /// ```
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub struct StateComponents: u64 {
        /// x87.
        const X87 = 1 << 0;
        /// SSE: XMM0 to XMM15. MXCSR has no bit: it is always stored, and always loaded with SSE
        /// or AVX.
        const SSE = 1 << 1;
        /// AVX: the upper halves of YMM0 to YMM15.
        const AVX = 1 << 2;
        /// MPX: bound registers.
        const BNDREGS = 1 << 3;
        /// MPX: bound configuration.
        const BNDCSR = 1 << 4;
        /// AVX-512: the mask registers.
        const OPMASK = 1 << 5;
        /// AVX-512: the upper halves of ZMM0 to ZMM15.
        const ZMM_HI256 = 1 << 6;
        /// AVX-512: ZMM16 to ZMM31.
        const HI16_ZMM = 1 << 7;
        /// The protection keys of user pages.
        const PKRU = 1 << 9;
        /// AMX: tile configuration.
        const XTILECFG = 1 << 17;
        /// AMX: tile data.
        const XTILEDATA = 1 << 18;

        // Other bits are kept.
        const _ = !0;
    }
}

/// Why some bytes are not an XSAVE area that [`ExtendedState`] takes.
///
/// **Available:** x86-64.
///
/// ```
/// use trapline_arch_x86_64::{ExtendedState, XsaveError};
///
/// let error = ExtendedState::from_bytes(vec![0; 512]).unwrap_err();
/// assert_eq!(error, XsaveError::TooShort { len: 512 });
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum XsaveError {
    /// Shorter than the legacy region and the header.
    #[error("an XSAVE area has at least 576 bytes, not {len}")]
    TooShort {
        /// How many there are.
        len: usize,
    },
    /// In the compacted format, where every offset depends on what is stored.
    #[error("the XSAVE area is in the compacted format")]
    Compacted,
}

/// The extended state of a thread: an XSAVE area in the standard format (SDM vol. 1, 13.4), of
/// whatever length the CPU and the kernel give it.
///
/// **Available:** x86-64.
///
/// | offset | length | what |
/// |---|---|---|
/// | 0 | 416 | legacy region: x87 and SSE, as [`FpRegisters`] |
/// | 416 | 96 | of that reserved, or left to software: see [`enabled`](Self::enabled) |
/// | 512 | 8 | XSTATE_BV: the components that are not in their initial state |
/// | 520 | 8 | XCOMP_BV: 0 in the standard format |
/// | 528 | 48 | reserved, zero |
/// | 576 | 256 | component 2 (AVX): the upper 128 bits of YMM0 to YMM15 |
///
/// Where later components are depends on the CPU (CPUID leaf 0xD), so what is offered here is
/// what is the same on all; the rest is in [`as_bytes`](Self::as_bytes).
///
/// A component whose bit in XSTATE_BV is clear is in its initial state, whatever stands in its
/// bytes: reading gives the initial values, and writing one register of it sets the bit and puts
/// the component's other registers to their initial values.
///
/// ```
/// use trapline_arch_x86_64::ExtendedState;
///
/// let area = vec![0; 1024];
/// let mut state = ExtendedState::from_bytes(area)?;
/// if let Some(mut value) = state.ymm(3) {
///     value[0] = 1;
///     assert!(state.set_ymm(3, &value));
/// }
/// # Ok::<(), trapline_arch_x86_64::XsaveError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct ExtendedState {
    /// At least `MIN_LEN` long.
    area: Vec<u8>,
}

impl ExtendedState {
    /// Takes an XSAVE area.
    ///
    /// ```
    /// use trapline_arch_x86_64::ExtendedState;
    ///
    /// assert!(ExtendedState::from_bytes(vec![0; 1024]).is_ok());
    /// assert!(ExtendedState::from_bytes(vec![0; 512]).is_err());
    /// ```
    ///
    /// # Errors
    ///
    /// [`XsaveError`] if it is too short, or in the compacted format. Kernels give tracers the
    /// standard one.
    pub fn from_bytes(area: Vec<u8>) -> Result<Self, XsaveError> {
        if area.len() < MIN_LEN {
            return Err(XsaveError::TooShort { len: area.len() });
        }
        let state = Self { area };
        if u64::from_le_bytes(state.bytes(XCOMP_BV)) & COMPACTED != 0 {
            return Err(XsaveError::Compacted);
        }
        Ok(state)
    }

    /// The area, as the kernel takes it.
    ///
    /// ```
    /// use trapline_arch_x86_64::ExtendedState;
    ///
    /// let area = vec![0; 1024];
    /// let state = ExtendedState::from_bytes(area)?;
    /// assert_eq!(state.as_bytes().len(), 1024);
    /// # Ok::<(), trapline_arch_x86_64::XsaveError>(())
    /// ```
    pub fn as_bytes(&self) -> &[u8] {
        &self.area
    }

    /// Gives the area back.
    ///
    /// ```
    /// use trapline_arch_x86_64::ExtendedState;
    ///
    /// let area = vec![0; 1024];
    /// let state = ExtendedState::from_bytes(area)?;
    /// assert_eq!(state.into_bytes(), vec![0; 1024]);
    /// # Ok::<(), trapline_arch_x86_64::XsaveError>(())
    /// ```
    pub fn into_bytes(self) -> Vec<u8> {
        self.area
    }

    /// XSTATE_BV: the components that are not in their initial state.
    ///
    /// ```
    /// use trapline_arch_x86_64::ExtendedState;
    ///
    /// let area = vec![0; 1024];
    /// let state = ExtendedState::from_bytes(area)?;
    /// assert_eq!(state.xstate_bv(), 0, "all is as it was at the start");
    /// # Ok::<(), trapline_arch_x86_64::XsaveError>(())
    /// ```
    pub fn xstate_bv(&self) -> u64 {
        u64::from_le_bytes(self.bytes(XSTATE_BV))
    }

    /// The components that the system has enabled (XCR0), as kernels note them at offset 464;
    /// `None` in an area where that is not noted.
    ///
    /// ```
    /// use trapline_arch_x86_64::ExtendedState;
    ///
    /// let area = vec![0; 1024];
    /// let state = ExtendedState::from_bytes(area)?;
    /// assert_eq!(state.enabled(), None, "nobody has noted it here");
    /// # Ok::<(), trapline_arch_x86_64::XsaveError>(())
    /// ```
    pub fn enabled(&self) -> Option<StateComponents> {
        let xcr0 = StateComponents::from_bits_retain(u64::from_le_bytes(self.bytes(XCR0)));
        // Nobody can disable x87, so without it this is something else.
        xcr0.contains(StateComponents::X87).then_some(xcr0)
    }

    /// [`xstate_bv`](Self::xstate_bv), by name.
    ///
    /// ```
    /// use trapline_arch_x86_64::ExtendedState;
    ///
    /// let area = vec![0; 1024];
    /// let state = ExtendedState::from_bytes(area)?;
    /// assert!(state.in_use().is_empty());
    /// # Ok::<(), trapline_arch_x86_64::XsaveError>(())
    /// ```
    pub fn in_use(&self) -> StateComponents {
        StateComponents::from_bits_retain(self.xstate_bv())
    }

    /// The x87 and SSE registers.
    ///
    /// ```
    /// use trapline_arch_x86_64::ExtendedState;
    ///
    /// let area = vec![0; 1024];
    /// let state = ExtendedState::from_bytes(area)?;
    /// assert_eq!(state.fp_registers().xmm[0], 0);
    /// # Ok::<(), trapline_arch_x86_64::XsaveError>(())
    /// ```
    pub fn fp_registers(&self) -> FpRegisters {
        let mut registers = FpRegisters::from_fxsave(&self.bytes::<FXSAVE_LEN>(0));
        if !self.in_use().contains(StateComponents::X87) {
            registers.clear_x87();
        }
        if !self.in_use().contains(StateComponents::SSE) {
            registers.xmm = [0; 16];
        }
        registers
    }

    /// Sets the x87 and SSE registers. What stands behind them in the legacy region is the
    /// area's own, and stays.
    ///
    /// ```
    /// use trapline_arch_x86_64::ExtendedState;
    ///
    /// let area = vec![0; 1024];
    /// let mut state = ExtendedState::from_bytes(area)?;
    /// let mut registers = state.fp_registers();
    /// registers.xmm[0] = 5;
    /// state.set_fp_registers(&registers);
    /// assert_eq!(state.fp_registers().xmm[0], 5);
    /// # Ok::<(), trapline_arch_x86_64::XsaveError>(())
    /// ```
    pub fn set_fp_registers(&mut self, registers: &FpRegisters) {
        self.put(0, &registers.to_fxsave()[..XMM_END]);
        self.mark(StateComponents::X87 | StateComponents::SSE);
    }

    /// YMM register `index`, least byte first; `None` if there is none: `index` is above 15, the
    /// area has no room for AVX, or AVX is not [`enabled`](Self::enabled).
    ///
    /// ```
    /// use trapline_arch_x86_64::ExtendedState;
    ///
    /// let area = vec![0; 1024];
    /// let state = ExtendedState::from_bytes(area)?;
    /// assert_eq!(state.ymm(16), None, "there are 16 of them");
    /// # Ok::<(), trapline_arch_x86_64::XsaveError>(())
    /// ```
    pub fn ymm(&self, index: usize) -> Option<[u8; 32]> {
        let (low, high) = self.ymm_at(index)?;
        let mut value = [0; 32];
        let (low_half, high_half) = value.split_at_mut(16);
        if self.in_use().contains(StateComponents::SSE) {
            low_half.copy_from_slice(&self.bytes::<16>(low));
        }
        if self.in_use().contains(StateComponents::AVX) {
            high_half.copy_from_slice(&self.bytes::<16>(high));
        }
        Some(value)
    }

    /// Sets YMM register `index`, and says whether there is one.
    ///
    /// ```
    /// use trapline_arch_x86_64::ExtendedState;
    ///
    /// let area = vec![0; 1024];
    /// let mut state = ExtendedState::from_bytes(area)?;
    /// assert!(!state.set_ymm(16, &[1; 32]), "there are 16 of them");
    /// # Ok::<(), trapline_arch_x86_64::XsaveError>(())
    /// ```
    #[must_use = "false says that there is no such register"]
    pub fn set_ymm(&mut self, index: usize, value: &[u8; 32]) -> bool {
        let Some((low, high)) = self.ymm_at(index) else {
            return false;
        };
        if !self.in_use().contains(StateComponents::SSE) {
            self.put(XMM, &[0; 256]);
        }
        if !self.in_use().contains(StateComponents::AVX) {
            self.put(YMM_HI128, &[0; 256]);
        }
        let (low_half, high_half) = value.split_at(16);
        self.put(low, low_half);
        self.put(high, high_half);
        self.mark(StateComponents::SSE | StateComponents::AVX);
        true
    }

    /// Where the two halves of a YMM register are.
    fn ymm_at(&self, index: usize) -> Option<(usize, usize)> {
        let has_avx = self.area.len() >= YMM_HI128_END
            && self.enabled().is_none_or(|enabled| enabled.contains(StateComponents::AVX));
        (has_avx && index < 16).then(|| (XMM + 16 * index, YMM_HI128 + 16 * index))
    }

    fn mark(&mut self, components: StateComponents) {
        let bits = self.xstate_bv() | components.bits();
        self.put(XSTATE_BV, &bits.to_le_bytes());
    }

    /// `N` bytes at an offset that the callers know to be in the area.
    fn bytes<const N: usize>(&self, at: usize) -> [u8; N] {
        std::array::from_fn(|i| self.area[at + i])
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.area[at..at + bytes.len()].copy_from_slice(bytes);
    }
}

impl fmt::Debug for ExtendedState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("ExtendedState");
        out.field("len", &self.area.len())
            .field("in_use", &self.in_use())
            .field("fp_registers", &self.fp_registers());
        for (i, ymm) in (0..16).map_while(|i| self.ymm(i)).enumerate() {
            let [low, high] =
                [0, 16].map(|at| u128::from_le_bytes(std::array::from_fn(|i| ymm[at + i])));
            out.field(&format!("ymm{i}"), &format_args!("{high:#034x}_{low:032x}"));
        }
        out.finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An area of AVX's length where every byte of a component is `fill`.
    fn area(in_use: StateComponents, fill: u8) -> ExtendedState {
        let mut area = vec![fill; YMM_HI128_END];
        area[XMM_END..YMM_HI128].fill(0);
        area[XSTATE_BV..XCOMP_BV].copy_from_slice(&in_use.bits().to_le_bytes());
        ExtendedState::from_bytes(area).unwrap()
    }

    fn with_xcr0(state: ExtendedState, xcr0: u64) -> ExtendedState {
        let mut area = state.into_bytes();
        area[XCR0..XCR0 + 8].copy_from_slice(&xcr0.to_le_bytes());
        ExtendedState::from_bytes(area).unwrap()
    }

    const X87: StateComponents = StateComponents::X87;
    const SSE: StateComponents = StateComponents::SSE;
    const AVX: StateComponents = StateComponents::AVX;
    const NONE: StateComponents = StateComponents::empty();

    #[test]
    fn short_and_compacted_areas_are_refused() {
        for len in [0, 512, 575] {
            assert_eq!(ExtendedState::from_bytes(vec![0; len]), Err(XsaveError::TooShort { len }));
        }
        assert!(ExtendedState::from_bytes(vec![0; 576]).is_ok());
        let mut compacted = vec![0; 832];
        compacted[527] = 0x80;
        assert_eq!(ExtendedState::from_bytes(compacted), Err(XsaveError::Compacted));
    }

    #[test]
    fn the_header_is_where_the_manual_has_it() {
        let mut bytes = vec![0; 576];
        bytes[512..520].copy_from_slice(&[1, 2, 3, 4, 5, 6, 7, 8]);
        let state = ExtendedState::from_bytes(bytes).unwrap();
        assert_eq!(state.xstate_bv(), 0x0807_0605_0403_0201);
        assert_eq!(state.in_use().bits(), state.xstate_bv());
    }

    #[test]
    fn initial_components_read_as_initial_whatever_their_bytes() {
        let state = area(NONE, 0xaa);
        let registers = state.fp_registers();
        assert_eq!((registers.fcw, registers.fsw, registers.ftw), (0x37f, 0, 0));
        assert_eq!((registers.fop, registers.fip, registers.fdp), (0, 0, 0));
        assert_eq!((registers.st, registers.xmm), ([[0; 16]; 8], [0; 16]));
        assert_eq!(registers.mxcsr, 0xaaaa_aaaa, "MXCSR is always stored");
        assert_eq!(state.ymm(5), Some([0; 32]));
    }

    #[test]
    fn each_bit_speaks_for_its_own_component() {
        let x87 = area(X87, 0xaa).fp_registers();
        assert_eq!((x87.fcw, x87.xmm[0]), (0xaaaa, 0));
        let sse = area(SSE, 0xaa);
        assert_eq!((sse.fp_registers().fcw, sse.fp_registers().xmm[0]), (0x37f, u128::MAX / 3 * 2));
        let halves =
            |state: ExtendedState| state.ymm(15).map(|ymm| (ymm[0], ymm[15], ymm[16], ymm[31]));
        assert_eq!(halves(sse), Some((0xaa, 0xaa, 0, 0)));
        assert_eq!(halves(area(AVX, 0xaa)), Some((0, 0, 0xaa, 0xaa)));
        assert_eq!(halves(area(SSE | AVX, 0xaa)), Some((0xaa, 0xaa, 0xaa, 0xaa)));
    }

    #[test]
    fn ymm_is_at_160_and_576() {
        let mut state = area(SSE | AVX, 0);
        let value: [u8; 32] = std::array::from_fn(|i| i as u8 + 1);
        assert!(state.set_ymm(3, &value));
        assert_eq!(state.as_bytes()[160 + 48..160 + 64], value[..16]);
        assert_eq!(state.as_bytes()[576 + 48..576 + 64], value[16..]);
        assert_eq!(state.ymm(3), Some(value));
        assert_eq!(state.fp_registers().xmm[3].to_le_bytes(), value[..16]);
    }

    #[test]
    fn writing_one_register_leaves_the_others_as_they_read() {
        for in_use in [NONE, X87, SSE, AVX, SSE | AVX, X87 | SSE | AVX] {
            let before = area(in_use, 0xaa);
            let mut after = before.clone();
            assert!(after.set_ymm(7, &[0x11; 32]));
            assert_eq!(after.in_use(), in_use | SSE | AVX);
            for i in 0..16 {
                let expected = if i == 7 { Some([0x11; 32]) } else { before.ymm(i) };
                assert_eq!(after.ymm(i), expected, "{in_use:?}, ymm{i}");
            }
            let mut expected = before.fp_registers();
            expected.xmm[7] = u128::from_le_bytes([0x11; 16]);
            assert_eq!(after.fp_registers(), expected, "{in_use:?}");
        }
    }

    #[test]
    fn floating_point_registers_are_set_as_one() {
        let mut state = with_xcr0(area(AVX, 0xaa), 7);
        let mut registers = state.fp_registers();
        registers.fcw = 0x27f;
        registers.st[2] = [9; 16];
        registers.xmm[15] = 5;
        state.set_fp_registers(&registers);
        assert_eq!(state.fp_registers(), registers);
        assert_eq!(state.in_use(), X87 | SSE | AVX);
        assert_eq!(state.ymm(0).map(|ymm| (ymm[0], ymm[16])), Some((0, 0xaa)));

        state.set_fp_registers(&FpRegisters::default());
        assert_eq!(state.enabled(), Some(X87 | SSE | AVX), "XCR0 is the area's own");
        assert_eq!(
            state.fp_registers().to_fxsave()[..416],
            FpRegisters::default().to_fxsave()[..416]
        );
    }

    #[test]
    fn there_is_no_ymm_without_avx() {
        let mut short = ExtendedState::from_bytes(vec![0; 831]).unwrap();
        let mut disabled = with_xcr0(area(SSE, 0), 0x203);
        let mut enabled = with_xcr0(area(SSE, 0), 0x207);
        assert_eq!((short.ymm(0), disabled.ymm(0), enabled.ymm(0)), (None, None, Some([0; 32])));
        for state in [&mut short, &mut disabled] {
            let before = state.clone();
            assert!(!state.set_ymm(0, &[1; 32]));
            assert_eq!(*state, before);
        }
        for index in [16, usize::MAX] {
            assert_eq!(enabled.ymm(index), None);
            assert!(!enabled.set_ymm(index, &[1; 32]));
        }
    }

    #[test]
    fn debug_shows_the_registers() {
        let mut state = area(NONE, 0);
        assert!(state.set_ymm(1, &[1; 32]));
        let text = format!("{state:?}");
        assert!(text.contains("in_use: StateComponents(SSE | AVX)"), "{text}");
        assert!(
            text.contains(&format!("ymm1: 0x{}_{}, ", "01".repeat(16), "01".repeat(16))),
            "{text}"
        );
    }

    proptest! {
        #[test]
        fn any_area_is_kept_as_it_is(mut bytes in prop::collection::vec(any::<u8>(), 576..3000)) {
            bytes[527] &= 0x7f;
            let state = ExtendedState::from_bytes(bytes.clone()).unwrap();
            let _ = format!("{state:?}");
            prop_assert_eq!(state.as_bytes(), &bytes);
            prop_assert_eq!(state.into_bytes(), bytes);
        }

        #[test]
        fn what_is_set_is_got(index in 0usize..16, value: [u8; 32], xstate_bv in 0u64..8) {
            let mut state = area(StateComponents::from_bits_retain(xstate_bv), 0x55);
            prop_assert!(state.set_ymm(index, &value));
            prop_assert_eq!(state.ymm(index), Some(value));
        }
    }
}
