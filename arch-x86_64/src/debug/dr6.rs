//! DR6: why the CPU trapped.

use std::fmt;

use super::dr7::Dr7;
use super::slot::SlotSet;

/// Bits that are ones in every value that comes from a CPU.
const FIXED: u64 = 0xfffe_07f0;
const HITS: u64 = 0xf;
const BLD: u64 = 1 << 11;
const BD: u64 = 1 << 13;
const BS: u64 = 1 << 14;
const BT: u64 = 1 << 15;
const RTM: u64 = 1 << 16;

/// The debug status register.
///
/// | bits | what |
/// |---|---|
/// | 0 to 3 | B0 to B3: the slot's condition holds, *whether it is enabled or not* |
/// | 4 to 10 | reserved, ones |
/// | 11 | BLD: **clear** after a bus lock; one where the CPU does not have it |
/// | 12 | reserved, zero |
/// | 13 | BD: the next instruction would access the debug registers |
/// | 14 | BS: single step |
/// | 15 | BT: task switch |
/// | 16 | RTM: **clear** for a trap in a transactional region; one where the CPU does not have it |
/// | 17 to 31 | reserved, ones |
///
/// The CPU sets bits and clears hardly any, so what is not cleared by a write of
/// [`CLEAR`](Dr6::CLEAR) shows up in the next trap too.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Dr6(u64);

impl Dr6 {
    /// Nothing has happened: the value to write when one is done with a trap.
    ///
    /// Not 0, which would say that a bus lock in a transactional region has.
    pub const CLEAR: Dr6 = Dr6(0xffff_0ff0);

    /// A value that was read.
    pub const fn from_raw(raw: u64) -> Self {
        Self(raw)
    }

    /// The value to write.
    pub const fn as_raw(self) -> u64 {
        self.0
    }

    /// The same as the CPU would show it: reserved bits as they always are.
    ///
    /// In a value that lacks the fixed ones, such as the 0 that some kernels show before the first
    /// trap, nothing is known about the bits that mean something when they are clear; they count
    /// as not having happened.
    #[must_use]
    pub const fn normalised(self) -> Self {
        let from_cpu = self.0 & FIXED == FIXED;
        let low = if from_cpu { !self.0 & (BLD | RTM) } else { 0 };
        Self((Self::CLEAR.0 | self.0 & (HITS | BD | BS | BT)) & !low)
    }

    /// Why the CPU trapped, with `dr7` as it was then: a condition that nobody has enabled is no
    /// cause.
    pub fn causes(self, dr7: Dr7) -> Causes {
        let raw = self.normalised().0;
        let enabled = dr7.enabled_slots().bits();
        Causes {
            hits: SlotSet::from_bits(raw as u8 & enabled),
            single_step: raw & BS != 0,
            task_switch: raw & BT != 0,
            register_access: raw & BD != 0,
            bus_lock: raw & BLD == 0,
            transaction: raw & RTM == 0,
        }
    }
}

/// Nothing has happened.
impl Default for Dr6 {
    fn default() -> Self {
        Self::CLEAR
    }
}

impl fmt::Debug for Dr6 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Dr6({:#x})", self.0)
    }
}

/// Why the CPU trapped: a set, for one trap can have several causes. A step that ends with a write
/// to a watched place is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub struct Causes {
    /// The enabled slots that were hit.
    pub hits: SlotSet,
    /// A single step is done (BS).
    pub single_step: bool,
    /// A task switch (BT); there are none in 64-bit mode.
    pub task_switch: bool,
    /// An instruction that would have accessed the debug registers (BD); user code cannot.
    pub register_access: bool,
    /// A bus lock (BLD).
    pub bus_lock: bool,
    /// The trap was in a transactional region (RTM). That is where, not why: see
    /// [`is_empty`](Causes::is_empty).
    pub transaction: bool,
}

impl Causes {
    /// Whether there is no cause: the trap does not come from the debug registers, or a slot was
    /// hit that is not enabled any more.
    pub const fn is_empty(self) -> bool {
        self.hits.is_empty()
            && !self.single_step
            && !self.task_switch
            && !self.register_access
            && !self.bus_lock
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALL: Dr7 = Dr7::from_raw(0x55);

    fn causes(raw: u64) -> Causes {
        Dr6::from_raw(raw).causes(ALL)
    }

    #[test]
    fn clear_is_no_cause() {
        assert_eq!(Dr6::CLEAR.as_raw(), 0xffff_0ff0);
        assert_eq!(Dr6::default(), Dr6::CLEAR);
        assert_eq!(Dr6::CLEAR.causes(ALL), Causes::default());
        assert!(Dr6::CLEAR.causes(ALL).is_empty());
    }

    #[test]
    fn each_bit_is_one_cause() {
        let none = Causes::default();
        for (raw, expected) in [
            (0xffff_0ff1, Causes { hits: SlotSet::from_bits(1), ..none }),
            (0xffff_0ff8, Causes { hits: SlotSet::from_bits(8), ..none }),
            (0xffff_4ff0, Causes { single_step: true, ..none }),
            (0xffff_8ff0, Causes { task_switch: true, ..none }),
            (0xffff_2ff0, Causes { register_access: true, ..none }),
            (0xffff_07f0, Causes { bus_lock: true, ..none }),
        ] {
            assert_eq!(causes(raw), expected, "{raw:#x}");
            assert!(!causes(raw).is_empty());
        }
    }

    #[test]
    fn one_trap_has_several_causes() {
        let causes = causes(0xffff_4ff5);
        assert!(causes.single_step);
        assert_eq!(causes.hits, SlotSet::from_bits(0b101));
    }

    #[test]
    fn a_slot_that_is_not_enabled_is_no_cause() {
        let dr6 = Dr6::from_raw(0xffff_0fff);
        assert_eq!(dr6.causes(Dr7::from_raw(0x04)).hits, SlotSet::from_bits(0b0010));
        assert_eq!(dr6.causes(Dr7::from_raw(0x80)).hits, SlotSet::from_bits(0b1000), "global");
        assert!(dr6.causes(Dr7::CLEAR).is_empty());
    }

    #[test]
    fn a_transactional_region_is_where_not_why() {
        let hit = causes(0xfffe_0ff1);
        assert!(hit.transaction && !hit.is_empty());
        let nothing = causes(0xfffe_0ff0);
        assert!(nothing.transaction && nothing.is_empty());
    }

    /// A kernel that has not seen a trap yet shows 0, and one that keeps only what it set itself
    /// shows that.
    #[test]
    fn a_value_that_no_cpu_gives_has_no_active_low_causes() {
        assert!(causes(0).is_empty());
        assert_eq!(Dr6::from_raw(0).normalised(), Dr6::CLEAR);
        assert_eq!(causes(0x4001), causes(0xffff_4ff1));
        assert_eq!(Dr6::from_raw(0x4001).normalised(), Dr6::from_raw(0xffff_4ff1));
    }

    #[test]
    fn reserved_bits_are_normalised() {
        assert_eq!(Dr6::from_raw(0xdead_beef_ffff_5ff2).normalised().as_raw(), 0xffff_4ff2);
        assert_eq!(Dr6::from_raw(0xfffe_47f1).normalised().as_raw(), 0xfffe_47f1);
    }

    proptest! {
        #[test]
        fn normalising_changes_no_cause(raw: u64, dr7: u64, from_cpu: bool) {
            let dr6 = Dr6::from_raw(if from_cpu { raw | FIXED } else { raw });
            let dr7 = Dr7::from_raw(dr7);
            prop_assert_eq!(dr6.normalised().normalised(), dr6.normalised());
            prop_assert_eq!(dr6.normalised().causes(dr7), dr6.causes(dr7));
            prop_assert_eq!(dr6.normalised().as_raw() & !0x1_e80f, FIXED);
        }

        #[test]
        fn only_enabled_slots_are_hit(raw: u64, dr7: u64) {
            let dr7 = Dr7::from_raw(dr7);
            for index in Dr6::from_raw(raw).causes(dr7).hits.iter() {
                prop_assert!(dr7.enabled(index));
                prop_assert!(raw >> index & 1 == 1);
            }
        }
    }
}
