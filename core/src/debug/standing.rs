//! Where a thread stands, on a CPU that has no flag to get past its breakpoints, and what an access
//! touches there.

use crate::backend::{DebugKind, DebugSlot, DebugSlots, MemoryAccess, NO_SLOTS, Run};

use super::thread::Hit;

/// What a thread has to do with breakpoints that it is at.
#[derive(Default)]
pub(crate) struct Standing {
    /// The breakpoint for execution that was reported and not passed yet.
    pub(crate) at: Option<u64>,
    /// A watched access that is about to be made: where, and what watches it.
    pub(crate) access: Option<(u64, Vec<DebugSlot>)>,
    /// An access that a step has made whose trap its last stop has come before.
    pub(crate) made: Option<Vec<DebugSlot>>,
    /// It has trapped for an access that nothing armed explains, and makes it again: program counter
    /// and address.
    pub(crate) unexplained: Option<(u64, u64)>,
    /// It has run since, so that it may be elsewhere.
    pub(crate) doubtful: bool,
    /// It is being stepped: how it is to run then.
    pub(crate) wanted: Option<Run>,
    /// Program counter and stack pointer of threads that were given a signal at a breakpoint: when the
    /// handler is done they are back, which is no new arrival.
    pub(crate) returns: Vec<(u64, u64)>,
}

impl Standing {
    /// Whether a trap can be the end of a step of ours.
    pub(crate) fn may_trap(&self) -> bool {
        self.wanted.is_some() || self.made.is_some()
    }

    /// It has run since it was asked, and its program counter is this: what it was about to access it
    /// has accessed if it is elsewhere.
    pub(crate) fn is_found_at(&mut self, pc: u64) {
        self.at = self.at.filter(|at| *at == pc);
        if let Some((_, hit)) = self.access.take_if(|(at, _)| *at != pc) {
            self.made = Some(hit);
        }
        self.doubtful = false;
    }

    /// It is sent there.
    pub(crate) fn is_moved_to(&mut self, pc: u64) {
        self.at = self.at.filter(|at| *at == pc);
        self.access.take_if(|(at, _)| *at != pc);
    }

    /// Where it stands.
    pub(crate) fn place(&self) -> Option<u64> {
        self.at.or(self.access.as_ref().map(|(at, _)| *at))
    }

    /// What a thread is to watch that stands here, of what its process does.
    pub(crate) fn without_its_own(&self, slots: &DebugSlots) -> DebugSlots {
        if self.access.is_some() {
            return NO_SLOTS;
        }
        let own = |slot: &DebugSlot| slot.kind == DebugKind::Execute && Some(slot.addr) == self.at;
        slots.map(|slot| slot.filter(|slot| !own(slot)))
    }
}

/// Registers that were hit and are armed.
pub(crate) fn now(hit: &[DebugSlot]) -> Vec<Hit> {
    hit.iter().map(|&slot| Hit { slot, before: false }).collect()
}

/// The registers in use that watch data.
fn data(armed: &DebugSlots) -> impl Iterator<Item = DebugSlot> {
    armed.iter().flatten().filter(|slot| slot.kind != DebugKind::Execute).copied()
}

/// Those that watch a byte of an access.
pub(crate) fn touched(armed: &DebugSlots, access: Option<MemoryAccess>) -> Vec<DebugSlot> {
    let touches = |slot: &DebugSlot| {
        let Some(access) = access else { return false };
        let kind = match slot.kind {
            DebugKind::ReadWrite => access.reads || access.writes,
            _ => access.writes,
        };
        // Neither end overflows in these differences.
        kind && (slot.addr.wrapping_sub(access.addr) < access.len
            || access.addr.wrapping_sub(slot.addr) < u64::from(slot.len))
    };
    data(armed).filter(touches).collect()
}

/// The one nearest to the address that the CPU gave, which is somewhere in the access.
pub(crate) fn nearest(armed: &DebugSlots, addr: u64) -> Vec<DebugSlot> {
    let distance = |slot: &DebugSlot| {
        let last = slot.addr.saturating_add(u64::from(slot.len.saturating_sub(1)));
        slot.addr.saturating_sub(addr).max(addr.saturating_sub(last))
    };
    data(armed).min_by_key(distance).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn armed() -> DebugSlots {
        let mut slots = NO_SLOTS;
        let slot = |addr, len, kind| Some(DebugSlot { addr, len, kind });
        slots[0] = slot(0x1000, 1, DebugKind::Execute);
        slots[1] = slot(0x1000, 8, DebugKind::Write);
        slots[2] = slot(0x1008, 4, DebugKind::ReadWrite);
        slots
    }

    #[test]
    fn an_access_is_seen_by_all_that_watch_a_byte_of_it() {
        let hits = |addr, len, writes| {
            let access = MemoryAccess { addr, len, writes, reads: !writes };
            let hit = touched(&armed(), Some(access));
            hit.iter().map(|slot| slot.addr).collect::<Vec<_>>()
        };
        assert_eq!(hits(0x1004, 8, true), [0x1000, 0x1008]);
        assert_eq!(hits(0x1004, 8, false), [0x1008]);
        assert_eq!(hits(0xff8, 16, true), [0x1000]);
        assert_eq!(hits(0x100b, 1, false), [0x1008]);
    }

    #[test]
    fn of_an_unknown_one_the_nearest_is_taken() {
        assert_eq!(touched(&armed(), None), []);
        let hits = |addr| nearest(&armed(), addr).iter().map(|s| s.addr).collect::<Vec<_>>();
        assert_eq!(hits(0x1003), [0x1000]);
        assert_eq!(hits(0x0ff0), [0x1000]);
        assert_eq!(hits(0x1010), [0x1008]);
        assert_eq!(nearest(&NO_SLOTS, 0x1000), []);
    }
}
