//! What only some CPUs have beside the general and the floating-point registers, and the thread
//! pointer.

use std::fmt;

/// What a thread has beside the general and the floating-point registers: the thread pointer, the
/// scalable vectors and the masks of pointer authentication.
///
/// **Available:** aarch64.
///
/// ```
/// use trapline_arch_aarch64::ExtendedState;
///
/// fn has_sve(state: &ExtendedState) -> bool {
///     state.sve.as_ref().is_some_and(|sve| sve.is_live())
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExtendedState {
    /// `TPIDR_EL0`: where the ELF thread-local storage is.
    pub thread_pointer: u64,
    /// The number of the system call that the thread is in; -1 if it is in none.
    ///
    /// # Platform notes
    ///
    /// **Available:** Linux. At the entry of a call another number makes it another call, and -1 skips it.
    pub syscall: i32,
    /// SVE, where the CPU has it.
    pub sve: Option<SveState>,
    /// Which bits of pointers have signatures, where the CPU has pointer authentication. They are
    /// the kernel's: to set them changes nothing.
    pub pointer_masks: Option<PointerMasks>,
}

/// Which bits of an authenticated pointer are its signature, and not address.
///
/// **Available:** aarch64.
///
/// ```
/// use trapline_arch_aarch64::PointerMasks;
///
/// /// A return address without its signature.
/// fn strip(address: u64, masks: &PointerMasks) -> u64 {
///     address & !masks.instruction
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct PointerMasks {
    /// Of pointers to data.
    pub data: u64,
    /// Of pointers to code, a return address for one.
    pub instruction: u64,
}

/// The scalable vectors of a thread, in the form that Linux has them (`struct user_sve_header` and
/// what follows it, `asm/ptrace.h`).
///
/// **Available:** aarch64.
///
/// ```
/// use trapline_arch_aarch64::SveState;
///
/// // A header that says that vectors have 16 bytes and that nothing more is used.
/// let mut bytes = vec![0; 16 + 32 * 16];
/// bytes[8] = 16;
/// let state = SveState::from_bytes(bytes).unwrap();
/// assert_eq!((state.vector_length(), state.is_live()), (16, false));
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct SveState(Vec<u8>);

/// The length of `struct user_sve_header`.
const HEADER: usize = 16;
/// In the flags of the header: what follows are scalable vectors, not the 128-bit registers.
const SCALABLE: u16 = 1;
const VECTORS: usize = 32;
const PREDICATES: usize = 16;

impl SveState {
    /// What a kernel has given; `None` if that is too short.
    ///
    /// ```
    /// use trapline_arch_aarch64::SveState;
    ///
    /// assert!(SveState::from_bytes(vec![0; 8]).is_none());
    /// ```
    pub fn from_bytes(bytes: Vec<u8>) -> Option<Self> {
        (bytes.len() >= HEADER).then_some(Self(bytes))
    }

    /// The same, to be given to a kernel.
    ///
    /// ```
    /// use trapline_arch_aarch64::SveState;
    ///
    /// // A header that says that vectors have 16 bytes and that nothing more is used.
    /// let mut bytes = vec![0; 16 + 32 * 16];
    /// bytes[8] = 16;
    /// let state = SveState::from_bytes(bytes).unwrap();
    /// assert_eq!(state.as_bytes().len(), 528);
    /// ```
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    fn half(&self, at: usize) -> u16 {
        let bytes = self.0.get(at..at + 2).and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0, u16::from_le_bytes)
    }

    /// How many bytes a vector has.
    ///
    /// ```
    /// use trapline_arch_aarch64::SveState;
    ///
    /// // A header that says that vectors have 16 bytes and that nothing more is used.
    /// let mut bytes = vec![0; 16 + 32 * 16];
    /// bytes[8] = 16;
    /// let state = SveState::from_bytes(bytes).unwrap();
    /// assert_eq!(state.vector_length(), 16);
    /// ```
    pub fn vector_length(&self) -> usize {
        usize::from(self.half(8))
    }

    /// Whether the thread uses more than the 128-bit registers, so that Z and P registers are here.
    ///
    /// ```
    /// use trapline_arch_aarch64::SveState;
    ///
    /// // A header that says that vectors have 16 bytes and that nothing more is used.
    /// let mut bytes = vec![0; 16 + 32 * 16];
    /// bytes[8] = 16;
    /// let state = SveState::from_bytes(bytes).unwrap();
    /// assert!(!state.is_live());
    /// ```
    pub fn is_live(&self) -> bool {
        self.half(12) & SCALABLE != 0
    }

    /// Z0 to Z31; `None` if the thread does not [use](Self::is_live) them, or for another index.
    ///
    /// ```
    /// use trapline_arch_aarch64::SveState;
    ///
    /// // A header that says that vectors have 16 bytes and that nothing more is used.
    /// let mut bytes = vec![0; 16 + 32 * 16];
    /// bytes[8] = 16;
    /// let state = SveState::from_bytes(bytes).unwrap();
    /// assert_eq!(state.z(0), None);
    /// ```
    pub fn z(&self, index: usize) -> Option<&[u8]> {
        self.0.get(self.z_at(index)?)
    }

    /// Sets one of Z0 to Z31; says whether it is here and has this length.
    ///
    /// ```
    /// use trapline_arch_aarch64::SveState;
    ///
    /// // A header that says that vectors have 16 bytes and that nothing more is used.
    /// let mut bytes = vec![0; 16 + 32 * 16];
    /// bytes[8] = 16;
    /// let mut state = SveState::from_bytes(bytes).unwrap();
    /// assert!(!state.set_z(0, &[1; 16]));
    /// ```
    #[must_use = "false says that nothing was set"]
    pub fn set_z(&mut self, index: usize, value: &[u8]) -> bool {
        let place = self.z_at(index).and_then(|at| self.0.get_mut(at));
        match place.filter(|place| place.len() == value.len()) {
            Some(place) => {
                place.copy_from_slice(value);
                true
            }
            None => false,
        }
    }

    fn z_at(&self, index: usize) -> Option<std::ops::Range<usize>> {
        let length = self.vector_length();
        let at = HEADER + length * index;
        (self.is_live() && index < VECTORS).then_some(at..at + length)
    }

    /// P0 to P15, a bit for each byte of a vector; as [`z`](Self::z).
    ///
    /// ```
    /// use trapline_arch_aarch64::SveState;
    ///
    /// // A header that says that vectors have 16 bytes and that nothing more is used.
    /// let mut bytes = vec![0; 16 + 32 * 16];
    /// bytes[8] = 16;
    /// let state = SveState::from_bytes(bytes).unwrap();
    /// assert_eq!(state.p(0), None);
    /// ```
    pub fn p(&self, index: usize) -> Option<&[u8]> {
        let length = self.vector_length() / 8;
        let at = HEADER + self.vector_length() * VECTORS + length * index;
        self.0.get(at..at + length).filter(|_| self.is_live() && index < PREDICATES)
    }
}

impl fmt::Debug for SveState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("SveState");
        out.field("vector_length", &self.vector_length());
        for (index, value) in (0..VECTORS).filter_map(|index| Some((index, self.z(index)?))) {
            out.field(&format!("z{index}"), &format_args!("{value:02x?}"));
        }
        out.finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(live: bool) -> SveState {
        let mut bytes = vec![0; HEADER + 32 * 32 + 16 * 4 + 4 + 12 + 8];
        bytes[8] = 32;
        bytes[12] = u8::from(live);
        for (index, byte) in bytes.iter_mut().enumerate().skip(HEADER) {
            *byte = index as u8;
        }
        SveState::from_bytes(bytes).unwrap()
    }

    #[test]
    fn vectors_are_where_the_kernel_has_them() {
        let mut state = state(true);
        assert_eq!(state.vector_length(), 32);
        assert_eq!(state.z(1).unwrap()[0], 48);
        assert_eq!((state.z(31).unwrap().len(), state.z(32)), (32, None));
        assert_eq!(state.p(0).unwrap(), [16, 17, 18, 19], "1040 is 4 * 256 + 16");
        assert_eq!(state.p(16), None);
        assert!(
            state.set_z(2, &[7; 32]) && !state.set_z(2, &[7; 16]) && !state.set_z(32, &[7; 32])
        );
        assert_eq!(state.z(2).unwrap(), [7; 32]);
        assert_eq!(state.z(3).unwrap()[0], 112);
    }

    #[test]
    fn a_thread_that_does_not_use_them_has_none() {
        let state = state(false);
        assert_eq!((state.z(0), state.p(0), state.is_live()), (None, None, false));
        assert_eq!(SveState::from_bytes(vec![0; 15]), None);
    }
}
