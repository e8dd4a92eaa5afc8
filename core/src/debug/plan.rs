//! The planner: which registers watch which bytes, so that all breakpoints of a process are served.
//!
//! The CPU tells which register was hit, not which of its bytes. So a register serves a breakpoint
//! if all its bytes are the breakpoint's, and a breakpoint needs registers that together have each
//! of its bytes. Registers are shared by all breakpoints that they lie within.

use crate::{Arch, Error, HardwareBreakpoint, HardwareKind, Result};

use super::{
    DebugAlignment, DebugKind, DebugPool, DebugRoom, DebugSlot, DebugSlots, NO_SLOTS, used,
};

impl HardwareKind {
    /// What a register that serves it breaks on.
    pub(crate) fn watched(self) -> DebugKind {
        match self {
            HardwareKind::Execute => DebugKind::Execute,
            HardwareKind::Write | HardwareKind::Change => DebugKind::Write,
            HardwareKind::ReadWrite => DebugKind::ReadWrite,
        }
    }
}

/// Whether a hit of this register is a hit of this breakpoint.
pub(crate) fn serves(slot: &DebugSlot, breakpoint: &HardwareBreakpoint) -> bool {
    // From the breakpoint's first byte on, so that nothing overflows.
    let at = slot.addr.wrapping_sub(breakpoint.addr);
    let left = breakpoint.len.checked_sub(u64::from(slot.len));
    slot.kind == breakpoint.kind.watched() && left.is_some_and(|most| at <= most)
}

/// Whether a CPU could watch such a breakpoint, with enough registers.
///
/// # Errors
///
/// [`Error::BadBreakpoint`] for a length that makes no sense, [`Error::BadAddress`] for one of its
/// bytes that is not the program's to use.
pub(crate) fn check<A: Arch>(breakpoint: &HardwareBreakpoint) -> Result<()> {
    check_for(A::INSTRUCTION_ALIGNMENT, A::can_watch, breakpoint)
}

fn check_for(
    alignment: u64,
    can_watch: fn(u64) -> bool,
    breakpoint: &HardwareBreakpoint,
) -> Result<()> {
    let HardwareBreakpoint { addr, len, kind } = *breakpoint;
    if len == 0 {
        return Err(Error::bad_breakpoint("it has no bytes"));
    }
    if kind == HardwareKind::Execute && len != 1 {
        return Err(Error::bad_breakpoint(
            "one for execution has length 1, however long its instruction is",
        ));
    }
    if kind == HardwareKind::Execute && addr % alignment != 0 {
        return Err(Error::bad_breakpoint("no instruction can begin at its address"));
    }
    if !can_watch(addr) {
        return Err(Error::bad_address(addr));
    }
    match addr.checked_add(len - 1) {
        Some(last) if can_watch(last) => Ok(()),
        Some(last) => Err(Error::bad_address(last)),
        None => Err(Error::bad_address(u64::MAX)),
    }
}

/// The registers for these breakpoints, changing as few of the current ones as need be.
///
/// # Errors
///
/// [`Error::NoFreeSlot`] only if no choice of registers would do; it speaks of the last breakpoint,
/// on top of the others.
pub(crate) fn plan<A: Arch>(
    breakpoints: &[HardwareBreakpoint],
    current: &DebugSlots,
    room: DebugRoom,
) -> Result<DebugSlots> {
    plan_in(A::DEBUG_POOLS, breakpoints, current, room)
}

fn plan_in(
    pools: &'static [DebugPool],
    breakpoints: &[HardwareBreakpoint],
    current: &DebugSlots,
    room: DebugRoom,
) -> Result<DebugSlots> {
    let mut planned = NO_SLOTS;
    for pool in pools {
        let in_pool = |b: &HardwareBreakpoint| pool.kinds.contains(&b.kind.watched());
        let own: Vec<_> = breakpoints.iter().copied().filter(in_pool).collect();
        let pool = Pool { slots: pool.slots & room.slots, longest: room.longest, kind: pool };
        for (slot, own) in planned.iter_mut().zip(pool.plan(&own, current)?) {
            *slot = slot.or(own);
        }
    }
    Ok(planned)
}

/// A pool of registers, as far as it can be used.
struct Pool {
    slots: u32,
    longest: u8,
    kind: &'static DebugPool,
}

impl Pool {
    fn has(&self, index: usize) -> bool {
        self.slots >> index & 1 != 0
    }

    /// How many there are.
    fn many(&self) -> usize {
        self.slots.count_ones() as usize
    }

    fn lengths(&self) -> impl Iterator<Item = u8> + use<> {
        let longest = self.longest;
        self.kind.lengths.iter().copied().filter(move |&len| len <= longest)
    }

    fn plan(&self, breakpoints: &[HardwareBreakpoint], current: &DebugSlots) -> Result<DebugSlots> {
        // What no breakpoint has use for goes; then, the latest first, what the others make up for.
        let mut kept = *current;
        for (index, slot) in kept.iter_mut().enumerate() {
            let serves_any = |slot: &DebugSlot| breakpoints.iter().any(|b| serves(slot, b));
            *slot =
                slot.filter(|slot| self.has(index) && slot.len <= self.longest && serves_any(slot));
        }
        for index in (0..kept.len()).rev() {
            let mut fewer = kept;
            match fewer.get_mut(index) {
                Some(slot @ Some(_)) => *slot = None,
                _ => continue,
            }
            let needed = |b: &&HardwareBreakpoint| gap(b, &slots_of(&kept)).is_none();
            if breakpoints.iter().filter(needed).all(|b| gap(b, &slots_of(&fewer)).is_none()) {
                kept = fewer;
            }
        }
        let mut chosen = slots_of(&kept);
        let free = self.many().saturating_sub(chosen.len());
        // First what leaves all others where they are.
        let mut needed = 0_u64;
        for breakpoint in breakpoints {
            let before = chosen.len();
            match self.add(breakpoint, breakpoints, &mut chosen) {
                Ok(()) => needed += (chosen.len() - before) as u64,
                Err(more) => needed = needed.saturating_add(more),
            }
        }
        if needed > free as u64 {
            let Some(found) = self.search(breakpoints, &mut Vec::new()) else {
                let needed = usize::try_from(needed).unwrap_or(usize::MAX);
                return Err(Error::no_free_slot(needed, free));
            };
            chosen = found;
        }
        Ok(self.place(&chosen, current))
    }

    /// The registers that could watch a byte of a breakpoint for it, the largest first.
    fn candidates(
        &self,
        breakpoint: &HardwareBreakpoint,
        at: u64,
        all: &[HardwareBreakpoint],
    ) -> Vec<DebugSlot> {
        let kind = breakpoint.kind.watched();
        let mut slots: Vec<DebugSlot> = match self.kind.alignment {
            DebugAlignment::Own => {
                let slot = |len: u8| DebugSlot { addr: at - at % u64::from(len.max(1)), len, kind };
                self.lengths().map(slot).collect()
            }
            DebugAlignment::Within(block) => self.runs(breakpoint, at, u64::from(block), all),
        };
        slots.retain(|slot| serves(slot, breakpoint));
        slots.sort_by_key(|slot| std::cmp::Reverse(slot.len));
        slots
    }

    /// The runs of bytes within a block that have a byte of a breakpoint: to begin or end elsewhere
    /// than where some breakpoint does makes none of them serve more.
    fn runs(
        &self,
        breakpoint: &HardwareBreakpoint,
        at: u64,
        block: u64,
        all: &[HardwareBreakpoint],
    ) -> Vec<DebugSlot> {
        let kind = breakpoint.kind.watched();
        let first = at - at % block.max(1);
        let last = first.saturating_add(block - 1);
        // Both included, so that nothing overflows.
        let alike = |b: &&HardwareBreakpoint| b.kind.watched() == kind;
        let ends = |b: &HardwareBreakpoint| b.addr.saturating_add(b.len.saturating_sub(1));
        let firsts = all.iter().filter(alike).map(|b| b.addr).chain([first]);
        let lasts: Vec<u64> = all.iter().filter(alike).map(ends).chain([last]).collect();
        let mut slots = Vec::new();
        for from in firsts.filter(|from| (first..=at).contains(from)) {
            for &to in lasts.iter().filter(|to| (at..=last).contains(to)) {
                let len = u8::try_from(to - from + 1).unwrap_or(0);
                let slot = DebugSlot { addr: from, len, kind };
                if self.lengths().any(|allowed| allowed == len) && !slots.contains(&slot) {
                    slots.push(slot);
                }
            }
        }
        slots
    }

    /// Adds what a breakpoint still needs, in as large pieces as possible.
    ///
    /// # Errors
    ///
    /// How many more it needs, if that makes more than there are.
    fn add(
        &self,
        breakpoint: &HardwareBreakpoint,
        all: &[HardwareBreakpoint],
        chosen: &mut Vec<DebugSlot>,
    ) -> std::result::Result<(), u64> {
        let mut more = Vec::new();
        while let Some(at) = gap(breakpoint, &[&chosen[..], &more[..]].concat()) {
            if chosen.len() + more.len() >= self.many() {
                // However long the range, there is no need to go through it.
                let largest = self.lengths().max().unwrap_or(1).max(1);
                let rest = breakpoint.len - at.wrapping_sub(breakpoint.addr);
                let pieces = (rest / u64::from(largest)).max(1);
                return Err(more.len() as u64 + pieces);
            }
            match self.candidates(breakpoint, at, all).first() {
                Some(slot) => more.push(*slot),
                None => return Err(u64::MAX), // a CPU without a length of 1
            }
        }
        chosen.append(&mut more);
        Ok(())
    }

    /// Registers that serve all breakpoints, `chosen` among them; tries everything.
    fn search(
        &self,
        breakpoints: &[HardwareBreakpoint],
        chosen: &mut Vec<DebugSlot>,
    ) -> Option<Vec<DebugSlot>> {
        let missing = breakpoints.iter().find_map(|b| Some((b, gap(b, chosen)?)));
        let Some((breakpoint, at)) = missing else { return Some(chosen.clone()) };
        if chosen.len() >= self.many() {
            return None;
        }
        for slot in self.candidates(breakpoint, at, breakpoints) {
            chosen.push(slot);
            let found = self.search(breakpoints, chosen);
            chosen.pop();
            if found.is_some() {
                return found;
            }
        }
        None
    }

    /// Gives each its register: the one that it has, or a free one.
    fn place(&self, chosen: &[DebugSlot], current: &DebugSlots) -> DebugSlots {
        let mut placed = *current;
        for (index, slot) in placed.iter_mut().enumerate() {
            *slot = slot.filter(|slot| self.has(index) && chosen.contains(slot));
        }
        for slot in chosen {
            if !placed.contains(&Some(*slot)) {
                // One that was free before, if there is one: it takes fewer requests.
                let unused = used(&placed) | used(current);
                let is_free = |i: &usize| self.has(*i) && used(&placed) >> i & 1 == 0;
                let free = (0..placed.len())
                    .find(|i| self.has(*i) && unused >> i & 1 == 0)
                    .or((0..placed.len()).find(is_free));
                if let Some(place) = free.and_then(|index| placed.get_mut(index)) {
                    *place = Some(*slot);
                }
            }
        }
        placed
    }
}

fn slots_of(slots: &DebugSlots) -> Vec<DebugSlot> {
    slots.iter().flatten().copied().collect()
}

/// The first byte of a breakpoint that these registers do not watch for it.
fn gap(breakpoint: &HardwareBreakpoint, slots: &[DebugSlot]) -> Option<u64> {
    let mut done = 0; // bytes from its start
    while done < breakpoint.len {
        let at = breakpoint.addr.wrapping_add(done);
        let watches = |slot: &&DebugSlot| {
            serves(slot, breakpoint) && at.wrapping_sub(slot.addr) < u64::from(slot.len)
        };
        match slots.iter().find(watches) {
            Some(slot) => done += u64::from(slot.len) - at.wrapping_sub(slot.addr),
            None => return Some(at),
        }
    }
    None
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
