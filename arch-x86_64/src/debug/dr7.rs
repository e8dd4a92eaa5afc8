//! DR7: what the four debug registers watch.

use std::fmt;

use super::slot::{Kind, SLOTS, Slot, SlotSet, USER_END_LA57};

/// Where the R/W and LEN fields start; each slot has 4 bits.
const FIELDS: usize = 16;

/// The debug control register.
///
/// | bits | what |
/// |---|---|
/// | 0, 2, 4, 6 | L0 to L3: slot enabled locally |
/// | 1, 3, 5, 7 | G0 to G3: slot enabled globally |
/// | 8, 9 | LE, GE: no effect on any 64-bit CPU |
/// | 10 | reserved, reads as 1 |
/// | 11 | RTM: debugging of transactional regions |
/// | 13 | GD: trap on access to the debug registers |
/// | 16-17, 20-21, 24-25, 28-29 | R/W: execute 0, write 1, I/O 2, read-write 3 |
/// | 18-19, 22-23, 26-27, 30-31 | LEN: 1 byte 0, 2 bytes 1, 8 bytes 2, 4 bytes 3 |
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Dr7(u64);

impl Dr7 {
    /// Nothing is watched.
    pub const CLEAR: Dr7 = Dr7(0);

    /// A value that was read.
    pub const fn from_raw(raw: u64) -> Self {
        Self(raw)
    }

    /// The value to write.
    pub const fn as_raw(self) -> u64 {
        self.0
    }

    /// What watches these slots, each by its local enable bit, and nothing else. The addresses go
    /// to DR0 to DR3.
    ///
    /// (Global bits would make no difference: no kernel lets the CPU switch tasks, which is what
    /// clears the local ones.)
    pub fn of(slots: &[Option<Slot>; SLOTS]) -> Self {
        let mut raw = 0;
        for (index, slot) in slots.iter().enumerate() {
            if let Some(slot) = slot {
                let fields = read_write(slot.kind()) | length(slot.len()) << 2;
                raw |= fields << (FIELDS + 4 * index) | 1 << (2 * index);
            }
        }
        Self(raw)
    }

    /// Whether slot `index` is enabled, locally or globally; `false` for an index above 3.
    pub const fn enabled(self, index: usize) -> bool {
        index < SLOTS && self.0 >> (2 * index) & 0b11 != 0
    }

    /// The slots that are enabled.
    pub fn enabled_slots(self) -> SlotSet {
        let bit = |index| u8::from(self.enabled(index)) << index;
        SlotSet::from_bits((0..SLOTS).map(bit).sum())
    }

    /// What slot `index` breaks on, enabled or not; `None` for an index above 3 and for I/O.
    pub const fn kind(self, index: usize) -> Option<Kind> {
        match self.fields(index) {
            Some(fields) => match fields & 0b11 {
                0 => Some(Kind::Execute),
                1 => Some(Kind::Write),
                3 => Some(Kind::ReadWrite),
                _ => None,
            },
            None => None,
        }
    }

    /// How many bytes slot `index` watches, enabled or not; `None` for an index above 3.
    pub const fn len(self, index: usize) -> Option<u8> {
        match self.fields(index) {
            Some(fields) => Some(match fields >> 2 {
                0 => 1,
                1 => 2,
                2 => 8,
                _ => 4,
            }),
            None => None,
        }
    }

    /// What slot `index` watches with `addr` in its address register; `None` if it is not enabled,
    /// or watches something that is no [`Slot`].
    pub fn slot(self, index: usize, addr: u64) -> Option<Slot> {
        if !self.enabled(index) {
            return None;
        }
        Slot::new_below(USER_END_LA57, addr, self.len(index)?, self.kind(index)?).ok()
    }

    /// The same without some of the slots.
    ///
    /// Their fields are cleared as well as their enable bits: Linux checks a new address against
    /// the length that stands in DR7, even that of a disabled slot, and only a length of 1 goes
    /// with every address.
    #[must_use]
    pub fn without(self, slots: SlotSet) -> Self {
        let mask = |index: usize| 0b1111_u64 << (FIELDS + 4 * index) | 0b11 << (2 * index);
        Self(slots.iter().fold(self.0, |raw, index| raw & !mask(index)))
    }

    /// The R/W and LEN fields of a slot.
    const fn fields(self, index: usize) -> Option<u64> {
        if index >= SLOTS {
            return None;
        }
        Some(self.0 >> (FIELDS + 4 * index) & 0b1111)
    }
}

impl fmt::Debug for Dr7 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Dr7({:#x})", self.0)
    }
}

/// The R/W field.
const fn read_write(kind: Kind) -> u64 {
    match kind {
        Kind::Execute => 0,
        Kind::Write => 1,
        Kind::ReadWrite => 3,
    }
}

/// The LEN field. 8 came last, so the numbers are not in order.
const fn length(len: u8) -> u64 {
    match len {
        2 => 1,
        8 => 2,
        4 => 3,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn slot(addr: u64, len: u8, kind: Kind) -> Option<Slot> {
        Some(Slot::new(addr, len, kind).unwrap())
    }

    #[test]
    fn each_slot_has_its_own_bits() {
        let execute = slot(0x1000, 1, Kind::Execute);
        let write = slot(0x1000, 1, Kind::Write);
        let wide = slot(0x1000, 8, Kind::ReadWrite);
        for (slots, raw) in [
            ([None, None, None, None], 0),
            ([execute, None, None, None], 0x0000_0001),
            ([None, execute, None, None], 0x0000_0004),
            ([None, None, execute, None], 0x0000_0010),
            ([None, None, None, execute], 0x0000_0040),
            ([write, None, None, None], 0x0001_0001),
            ([None, write, None, None], 0x0010_0004),
            ([None, None, write, None], 0x0100_0010),
            ([None, None, None, write], 0x1000_0040),
            ([wide, wide, wide, wide], 0xbbbb_0055),
        ] {
            assert_eq!(Dr7::of(&slots), Dr7::from_raw(raw));
        }
    }

    #[test]
    fn lengths_are_not_in_order() {
        for (len, field) in [(1, 0), (2, 1), (8, 2), (4, 3)] {
            let dr7 = Dr7::of(&[slot(0x1000, len, Kind::Write), None, None, None]);
            assert_eq!(dr7.as_raw(), 0x1_0001 | field << 18);
            assert_eq!(dr7.len(0), Some(len));
        }
    }

    #[test]
    fn kinds_are_decoded() {
        let kind = |field: u64| Dr7::from_raw(field << 24).kind(2);
        assert_eq!(kind(0), Some(Kind::Execute));
        assert_eq!(kind(1), Some(Kind::Write));
        assert_eq!(kind(2), None, "I/O");
        assert_eq!(kind(3), Some(Kind::ReadWrite));
    }

    #[test]
    fn either_bit_enables() {
        for (raw, slots) in [(0, 0), (1, 1), (2, 1), (3, 1), (0x80, 8), (0x55, 15), (0xff00, 0)] {
            assert_eq!(Dr7::from_raw(raw).enabled_slots(), SlotSet::from_bits(slots), "{raw:#x}");
        }
    }

    #[test]
    fn there_is_no_fifth_slot() {
        let dr7 = Dr7::from_raw(u64::MAX);
        for index in [4, 32, usize::MAX] {
            assert!(!dr7.enabled(index));
            assert_eq!((dr7.kind(index), dr7.len(index), dr7.slot(index, 0)), (None, None, None));
        }
    }

    #[test]
    fn what_is_not_a_slot_is_not_decoded_as_one() {
        assert_eq!(Dr7::from_raw(0x0002_0001).slot(0, 0x1000), None, "I/O");
        assert_eq!(Dr7::from_raw(0x0004_0001).slot(0, 0x1000), None, "execute, 2 bytes");
        assert_eq!(Dr7::from_raw(0x0005_0001).slot(0, 0x1001), None, "misaligned");
        assert_eq!(Dr7::from_raw(0x0005_0000).slot(0, 0x1000), None, "disabled");
    }

    #[test]
    fn without_a_slot_nothing_of_it_is_left() {
        let dr7 = Dr7::from_raw(0xffff_07ff);
        assert_eq!(dr7.without(SlotSet::EMPTY), dr7);
        assert_eq!(dr7.without(SlotSet::from_bits(0b0010)).as_raw(), 0xff0f_07f3);
        assert_eq!(dr7.without(SlotSet::from_bits(0b1111)).as_raw(), 0x0000_0700);
        assert_eq!(dr7.without(SlotSet::from_bits(0b1111)).len(3), Some(1));
    }

    fn any_slot() -> impl Strategy<Value = Option<Slot>> {
        let len = prop::sample::select(vec![1u8, 2, 4, 8]);
        let kind = prop::sample::select(vec![Kind::Execute, Kind::Write, Kind::ReadWrite]);
        prop::option::of((0..super::super::USER_END, len, kind).prop_map(|(addr, len, kind)| {
            let len = if kind == Kind::Execute { 1 } else { len };
            Slot::new(addr & !u64::from(len - 1), len, kind).unwrap()
        }))
    }

    proptest! {
        #[test]
        fn slots_survive_the_way_there_and_back(
            slots in prop::array::uniform4(any_slot()),
            removed in 0u8..16,
        ) {
            let dr7 = Dr7::of(&slots);
            prop_assert_eq!(dr7.as_raw() & 0xffff_ffff_0000_ffaa, 0, "only local enables");
            let addr = |index: usize| slots[index].map_or(0, Slot::addr);
            prop_assert_eq!(std::array::from_fn(|index| dr7.slot(index, addr(index))), slots);

            let removed = SlotSet::from_bits(removed);
            let left = std::array::from_fn(|i| slots[i].filter(|_| !removed.contains(i)));
            prop_assert_eq!(dr7.without(removed), Dr7::of(&left));
        }

        #[test]
        fn any_value_can_be_decoded(raw: u64, addr: u64, index: usize) {
            let dr7 = Dr7::from_raw(raw);
            for index in [0, 1, 2, 3, index] {
                prop_assert_eq!(dr7.enabled(index), dr7.enabled_slots().contains(index));
                if let Some(slot) = dr7.slot(index, addr) {
                    prop_assert!(dr7.enabled(index));
                    prop_assert_eq!(Some(slot.len()), dr7.len(index));
                    prop_assert_eq!(Some(slot.kind()), dr7.kind(index));
                }
            }
        }
    }
}
