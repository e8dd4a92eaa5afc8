//! The control registers: DBGBCR and DBGWCR (Arm ARM D23.3.2 and D23.3.11).

use trapline_core::backend::{DebugAlignment, DebugKind, DebugPool, DebugSlot};

/// How many registers of a kind a CPU can have.
pub const POOL: usize = 16;
/// The number of the first one for instructions.
pub const BREAKPOINTS: usize = 0;
/// The number of the first one for data.
pub const WATCHPOINTS: usize = POOL;

/// The registers of this CPU. Those for data watch any bytes of a double word, if there is none in
/// between that is not watched.
pub(crate) const POOLS: &[DebugPool] = &[
    DebugPool {
        slots: 0x0000_ffff,
        kinds: &[DebugKind::Execute],
        lengths: &[1],
        alignment: DebugAlignment::Own,
    },
    DebugPool {
        slots: 0xffff_0000,
        kinds: &[DebugKind::Write, DebugKind::ReadWrite],
        lengths: &[1, 2, 3, 4, 5, 6, 7, 8],
        alignment: DebugAlignment::Within(8),
    },
];

/// A pair of registers: the address, and what it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Control {
    /// DBGBVR or DBGWVR.
    pub addr: u64,
    /// DBGBCR or DBGWCR.
    pub control: u32,
}

impl Control {
    /// Nothing is watched.
    pub const OFF: Control = Control { addr: 0, control: 0 };

    /// What watches a slot: bit 0 enables it, bits 1 and 2 have it watch programs, not the kernel,
    /// bits 3 and 4 say loads and stores, bits 5 to 12 which bytes, from the aligned address on.
    pub fn of(slot: DebugSlot) -> Self {
        const ENABLED: u32 = 1;
        const PROGRAMS: u32 = 2 << 1;
        const STORES: u32 = 2 << 3;
        const LOADS: u32 = 1 << 3;
        let (addr, bytes, how) = match slot.kind {
            DebugKind::Execute => (slot.addr & !3, 0xf, 0),
            DebugKind::Write => (slot.addr & !7, bytes_of(slot), STORES),
            DebugKind::ReadWrite => (slot.addr & !7, bytes_of(slot), STORES | LOADS),
        };
        Control { addr, control: ENABLED | PROGRAMS | how | bytes << 5 }
    }
}

/// The bytes of a double word that a slot has, bit 0 for the first.
fn bytes_of(slot: DebugSlot) -> u32 {
    let first = slot.addr as u32 & 7;
    ((1 << u32::from(slot.len.min(8))) - 1) << first & 0xff
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_its_bits() {
        let control = |addr, len, kind| {
            let Control { addr, control } = Control::of(DebugSlot { addr, len, kind });
            (addr, control)
        };
        assert_eq!(control(0x1004, 1, DebugKind::Execute), (0x1004, 0x1e5));
        assert_eq!(control(0x1000, 8, DebugKind::Write), (0x1000, 0x1ff5));
        assert_eq!(control(0x1003, 1, DebugKind::Write), (0x1000, 0x115));
        assert_eq!(control(0x1002, 3, DebugKind::ReadWrite), (0x1000, 0x39d));
    }
}
