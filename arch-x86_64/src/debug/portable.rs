//! Between the engine's words for debug registers and the CPU's.

use trapline_core::backend::{DebugKind, DebugSlot, DebugSlots, DebugStatus};

use super::{Dr6, Dr7, Kind, SLOTS, Slot, SlotError, SlotSet};

impl TryFrom<DebugSlot> for Slot {
    type Error = SlotError;

    fn try_from(slot: DebugSlot) -> Result<Self, SlotError> {
        let kind = match slot.kind {
            DebugKind::Execute => Kind::Execute,
            DebugKind::Write => Kind::Write,
            DebugKind::ReadWrite => Kind::ReadWrite,
        };
        Slot::new(slot.addr, slot.len, kind)
    }
}

impl Dr7 {
    /// What watches these slots; see [`of`](Dr7::of).
    ///
    /// # Errors
    ///
    /// The first of them that the CPU cannot watch.
    pub fn of_portable(slots: &DebugSlots) -> Result<Self, SlotError> {
        let mut converted = [None; SLOTS];
        for (to, slot) in converted.iter_mut().zip(slots) {
            *to = slot.map(Slot::try_from).transpose()?;
        }
        Ok(Self::of(&converted))
    }
}

impl From<Dr6> for DebugStatus {
    /// Whatever is enabled.
    fn from(dr6: Dr6) -> Self {
        let causes = dr6.causes(Dr7::from_raw(0x55));
        DebugStatus {
            hits: causes.hits.bits().into(),
            single_step: causes.single_step,
            address: None,
        }
    }
}

impl SlotSet {
    /// The slots in which two sets differ.
    pub fn changed(one: &DebugSlots, other: &DebugSlots) -> Self {
        let bit = |(i, (a, b))| u8::from(a != b) << i;
        Self::from_bits(one.iter().zip(other).take(SLOTS).enumerate().map(bit).sum())
    }
}

#[cfg(test)]
mod tests {
    use trapline_core::backend::NO_SLOTS;

    use super::*;

    fn slot(addr: u64, len: u8, kind: DebugKind) -> Option<DebugSlot> {
        Some(DebugSlot { addr, len, kind })
    }

    fn slots(first: [Option<DebugSlot>; SLOTS]) -> DebugSlots {
        let mut slots = NO_SLOTS;
        slots[..SLOTS].copy_from_slice(&first);
        slots
    }

    #[test]
    fn slots_are_the_same_in_both_words() {
        let slots = slots([
            slot(0x1000, 8, DebugKind::Write),
            None,
            slot(0x2001, 1, DebugKind::Execute),
            slot(0x3002, 2, DebugKind::ReadWrite),
        ]);
        assert_eq!(Dr7::of_portable(&slots).unwrap().as_raw(), 0x7009_0051);
        let bad = self::slots([slot(0x1001, 8, DebugKind::Write), None, None, None]);
        assert_eq!(Dr7::of_portable(&bad), Err(SlotError::Misaligned { addr: 0x1001, len: 8 }));
    }

    #[test]
    fn the_status_has_every_hit_and_the_step() {
        let status = DebugStatus::from(Dr6::from_raw(0xffff_4ff5));
        assert_eq!(status, DebugStatus { hits: 0b101, single_step: true, address: None });
        assert_eq!(DebugStatus::from(Dr6::CLEAR), DebugStatus::default());
        assert_eq!(DebugStatus::from(Dr6::from_raw(0)), DebugStatus::default());
    }

    #[test]
    fn what_differs_is_found() {
        let one = slots([slot(0x1000, 8, DebugKind::Write), None, None, None]);
        let other = slots([None, None, slot(0x1000, 8, DebugKind::Write), None]);
        assert_eq!(SlotSet::changed(&one, &other), SlotSet::from_bits(0b101));
    }
}
