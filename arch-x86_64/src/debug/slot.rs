//! What one debug register watches.

use std::fmt;

/// How many addresses the CPU can watch: DR0 to DR3.
pub const SLOTS: usize = 4;

/// Where the user half of the address space ends, with four-level page tables.
pub const USER_END: u64 = 1 << 47;

/// Where it ends with five-level page tables (LA57).
pub const USER_END_LA57: u64 = 1 << 56;

/// What one debug register breaks on.
///
/// The CPU cannot watch reads alone. It could watch I/O ports, which no kernel allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The instruction at the address is about to be executed. The trap comes before it.
    Execute,
    /// One of the bytes was written. The trap comes after the instruction.
    Write,
    /// One of the bytes was read or written, other than by fetching an instruction. The trap
    /// comes after the instruction.
    ReadWrite,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Kind::Execute => "execute",
            Kind::Write => "write",
            Kind::ReadWrite => "read-write",
        })
    }
}

/// Why the CPU cannot watch something with one register.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SlotError {
    /// A register watches 1, 2, 4 or 8 bytes.
    #[error("a debug register watches 1, 2, 4 or 8 bytes, not {len}")]
    Length {
        /// What was asked for.
        len: u8,
    },
    /// An execute breakpoint has length 1, however long its instruction is.
    #[error("an execute breakpoint has length 1, not {len}")]
    ExecuteLength {
        /// What was asked for.
        len: u8,
    },
    /// The address belongs to the kernel.
    #[error("{addr:#x} is an address of the kernel")]
    Kernel {
        /// The address.
        addr: u64,
    },
    /// The address is in the hole between the user's half and the kernel's: nothing can be there.
    #[error("{addr:#x} is not a canonical address")]
    NonCanonical {
        /// The address.
        addr: u64,
    },
    /// The address is not a multiple of the length.
    #[error("{addr:#x} is not a multiple of the {len} bytes to be watched")]
    Misaligned {
        /// The address.
        addr: u64,
        /// The length.
        len: u8,
    },
}

/// What one debug register watches: always something that the CPU can do.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Slot {
    addr: u64,
    len: u8,
    kind: Kind,
}

impl Slot {
    /// `len` bytes at `addr`, below [`USER_END`].
    ///
    /// # Errors
    ///
    /// [`SlotError`], with the first of its variants that holds.
    pub const fn new(addr: u64, len: u8, kind: Kind) -> Result<Self, SlotError> {
        Self::new_below(USER_END, addr, len, kind)
    }

    /// The instruction at `addr`.
    ///
    /// # Errors
    ///
    /// [`SlotError::Kernel`] and [`SlotError::NonCanonical`].
    pub const fn execute(addr: u64) -> Result<Self, SlotError> {
        Self::new(addr, 1, Kind::Execute)
    }

    /// As [`new`](Slot::new), for a user half that ends at `user_end`, a power of two:
    /// [`USER_END_LA57`] for a program that has asked for addresses that only five-level page
    /// tables have.
    ///
    /// # Errors
    ///
    /// As [`new`](Slot::new).
    ///
    /// # Platform notes
    ///
    /// Linux refuses the last page of the user half as well; nothing is ever mapped there.
    pub const fn new_below(
        user_end: u64,
        addr: u64,
        len: u8,
        kind: Kind,
    ) -> Result<Self, SlotError> {
        if !matches!(len, 1 | 2 | 4 | 8) {
            return Err(SlotError::Length { len });
        }
        if matches!(kind, Kind::Execute) && len != 1 {
            return Err(SlotError::ExecuteLength { len });
        }
        if addr >= user_end.wrapping_neg() {
            return Err(SlotError::Kernel { addr });
        }
        if addr >= user_end {
            return Err(SlotError::NonCanonical { addr });
        }
        if addr & (len as u64 - 1) != 0 {
            return Err(SlotError::Misaligned { addr, len });
        }
        Ok(Self { addr, len, kind })
    }

    /// The first byte.
    pub const fn addr(self) -> u64 {
        self.addr
    }

    /// How many bytes: 1, 2, 4 or 8.
    #[expect(clippy::len_without_is_empty, reason = "it is never empty")]
    pub const fn len(self) -> u8 {
        self.len
    }

    /// What it breaks on.
    pub const fn kind(self) -> Kind {
        self.kind
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slot")
            .field("addr", &format_args!("{:#x}", self.addr))
            .field("len", &self.len)
            .field("kind", &self.kind)
            .finish()
    }
}

/// Some of the four slots.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct SlotSet(u8);

impl SlotSet {
    /// None of them.
    pub const EMPTY: SlotSet = SlotSet(0);

    /// The slots whose bits are set, bit 0 for slot 0; others do not count.
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits & 0xf)
    }

    /// Bit 0 for slot 0, to bit 3 for slot 3.
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// Whether slot `index` is one of them; `false` for an index above 3.
    pub const fn contains(self, index: usize) -> bool {
        index < SLOTS && self.0 & (1 << index) != 0
    }

    /// How many there are.
    pub const fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Their indices, the lowest first.
    pub fn iter(self) -> impl Iterator<Item = usize> + Clone {
        (0..SLOTS).filter(move |&index| self.contains(index))
    }
}

impl fmt::Debug for SlotSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DATA: [Kind; 2] = [Kind::Write, Kind::ReadWrite];

    #[test]
    fn what_the_cpu_can_do_is_taken() {
        for kind in DATA {
            for len in [1, 2, 4, 8] {
                let slot = Slot::new(0x1000 + u64::from(len), len, kind).unwrap();
                assert_eq!(
                    (slot.addr(), slot.len(), slot.kind()),
                    (0x1000 + u64::from(len), len, kind)
                );
            }
        }
        assert_eq!(Slot::execute(0x401003), Slot::new(0x401003, 1, Kind::Execute));
        assert_eq!(Slot::execute(0).unwrap().addr(), 0);
    }

    #[test]
    fn lengths_that_the_cpu_does_not_have_are_refused() {
        for len in (0..=255).filter(|len| ![1, 2, 4, 8].contains(len)) {
            for kind in [Kind::Execute, Kind::Write, Kind::ReadWrite] {
                assert_eq!(Slot::new(0, len, kind), Err(SlotError::Length { len }));
            }
        }
        for len in [2, 4, 8] {
            assert_eq!(Slot::new(0, len, Kind::Execute), Err(SlotError::ExecuteLength { len }));
        }
    }

    #[test]
    fn misaligned_addresses_are_refused() {
        for kind in DATA {
            for (addr, len) in [(0x1001, 2), (0x1002, 4), (0x1004, 8), (0x1007, 8)] {
                assert_eq!(Slot::new(addr, len, kind), Err(SlotError::Misaligned { addr, len }));
            }
            assert!(Slot::new(0x1007, 1, kind).is_ok());
        }
    }

    #[test]
    fn only_the_user_half_is_taken() {
        assert!(Slot::new(USER_END - 8, 8, Kind::Write).is_ok());
        for addr in [USER_END, 0x1234_0000_0000_0000, 0xffff_7fff_ffff_ffff] {
            assert_eq!(Slot::execute(addr), Err(SlotError::NonCanonical { addr }));
        }
        for addr in [0xffff_8000_0000_0000, u64::MAX] {
            assert_eq!(Slot::execute(addr), Err(SlotError::Kernel { addr }));
        }
    }

    #[test]
    fn five_level_page_tables_have_a_larger_half() {
        let slot = |addr| Slot::new_below(USER_END_LA57, addr, 1, Kind::Execute);
        assert_eq!(slot(USER_END).unwrap().addr(), USER_END);
        assert!(slot(USER_END_LA57 - 1).is_ok());
        for addr in [USER_END_LA57, 0xfeff_ffff_ffff_ffff] {
            assert_eq!(slot(addr), Err(SlotError::NonCanonical { addr }));
        }
        let addr = 0xff00_0000_0000_0000;
        assert_eq!(slot(addr), Err(SlotError::Kernel { addr }));
    }

    #[test]
    fn errors_say_what_was_asked_for() {
        let text = |result: Result<Slot, SlotError>| result.unwrap_err().to_string();
        assert_eq!(
            text(Slot::new(0, 3, Kind::Write)),
            "a debug register watches 1, 2, 4 or 8 bytes, not 3"
        );
        assert_eq!(
            text(Slot::new(0x1001, 4, Kind::Write)),
            "0x1001 is not a multiple of the 4 bytes to be watched"
        );
    }

    #[test]
    fn a_set_gives_its_slots_in_order() {
        let set = SlotSet::from_bits(0b1111_1010);
        assert_eq!(set.bits(), 0b1010);
        assert_eq!(set.iter().collect::<Vec<_>>(), [1, 3]);
        assert_eq!((set.len(), set.is_empty()), (2, false));
        assert!(!set.contains(0) && set.contains(3) && !set.contains(4) && !set.contains(1000));
        assert!(SlotSet::EMPTY.is_empty());
        assert_eq!(format!("{set:?}"), "{1, 3}");
    }

    proptest! {
        #[test]
        fn every_slot_is_aligned_and_in_the_user_half(addr: u64, len: u8) {
            for kind in DATA {
                if let Ok(slot) = Slot::new(addr, len, kind) {
                    let len = u64::from(slot.len());
                    prop_assert!(len.is_power_of_two() && len <= 8);
                    prop_assert_eq!(slot.addr() % len, 0);
                    prop_assert!(slot.addr() + len <= USER_END);
                }
            }
        }
    }
}
