//! The planner: which registers watch which bytes, so that all breakpoints of a process are served.
//!
//! The CPU tells which register was hit, not which of its bytes. So a register serves a breakpoint
//! if all its bytes are the breakpoint's, and a breakpoint needs registers that together have each
//! of its bytes. Registers are shared by all breakpoints that they lie within.

use crate::{Arch, Error, HardwareBreakpoint, HardwareKind, Result};

use super::{DEBUG_SLOTS, DebugKind, DebugSlot, DebugSlots, used};

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
    let HardwareBreakpoint { addr, len, kind } = *breakpoint;
    if len == 0 {
        return Err(Error::BadBreakpoint { why: "it has no bytes" });
    }
    if kind == HardwareKind::Execute && len != 1 {
        return Err(Error::BadBreakpoint {
            why: "one for execution has length 1, however long its instruction is",
        });
    }
    if !A::can_watch(addr) {
        return Err(Error::BadAddress { addr });
    }
    match addr.checked_add(len - 1) {
        Some(last) if A::can_watch(last) => Ok(()),
        Some(last) => Err(Error::BadAddress { addr: last }),
        None => Err(Error::BadAddress { addr: u64::MAX }),
    }
}

/// The registers for these breakpoints, changing as few of the current ones as need be. One watches
/// at most `longest` bytes, if that is known to be less than the CPU can.
///
/// # Errors
///
/// [`Error::NoFreeSlot`] only if no choice of registers would do; it speaks of the last breakpoint,
/// on top of the others.
pub(crate) fn plan<A: Arch>(
    breakpoints: &[HardwareBreakpoint],
    current: &DebugSlots,
    longest: Option<u8>,
) -> Result<DebugSlots> {
    let longest = longest.unwrap_or(u8::MAX);
    // What no breakpoint has use for goes; then, the latest first, what the others make up for.
    let mut kept = *current;
    for slot in &mut kept {
        let serves_any = |slot: &DebugSlot| breakpoints.iter().any(|b| serves(slot, b));
        *slot = slot.filter(|slot| slot.len <= longest && serves_any(slot));
    }
    for index in (0..kept.len()).rev() {
        let mut fewer = kept;
        if let Some(slot) = fewer.get_mut(index) {
            *slot = None;
        }
        let needed = |b: &&HardwareBreakpoint| gap(b, &slots_of(&kept)).is_none();
        if breakpoints.iter().filter(needed).all(|b| gap(b, &slots_of(&fewer)).is_none()) {
            kept = fewer;
        }
    }
    let most = A::DEBUG_SLOTS.min(DEBUG_SLOTS);
    let mut chosen = slots_of(&kept);
    let free = most.saturating_sub(chosen.len());
    // First what leaves all others where they are.
    let mut needed = 0_u64;
    for breakpoint in breakpoints {
        let before = chosen.len();
        match add::<A>(breakpoint, &mut chosen, most, longest) {
            Ok(()) => needed += (chosen.len() - before) as u64,
            Err(more) => needed = needed.saturating_add(more),
        }
    }
    if needed > free as u64 {
        let Some(found) = search::<A>(breakpoints, &mut Vec::new(), most, longest) else {
            let needed = usize::try_from(needed).unwrap_or(usize::MAX);
            return Err(Error::NoFreeSlot { needed, free });
        };
        chosen = found;
    }
    Ok(place(&chosen, current))
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

/// The registers that could watch a byte of a breakpoint for it, the largest first.
fn candidates<A: Arch>(
    breakpoint: &HardwareBreakpoint,
    at: u64,
    longest: u8,
) -> impl Iterator<Item = DebugSlot> + '_ {
    let kind = breakpoint.kind.watched();
    let lengths = A::DEBUG_LENGTHS.iter().rev().copied().filter(move |&len| len <= longest);
    let slot = move |len: u8| DebugSlot { addr: at - at % u64::from(len.max(1)), len, kind };
    lengths.map(slot).filter(move |slot| serves(slot, breakpoint))
}

/// Adds what a breakpoint still needs, in as large pieces as possible.
///
/// # Errors
///
/// How many more it needs, if that makes more than `most`.
fn add<A: Arch>(
    breakpoint: &HardwareBreakpoint,
    chosen: &mut Vec<DebugSlot>,
    most: usize,
    longest: u8,
) -> std::result::Result<(), u64> {
    let mut more = Vec::new();
    while let Some(at) = gap(breakpoint, &[&chosen[..], &more[..]].concat()) {
        if chosen.len() + more.len() >= most {
            // However long the range, there is no need to go through it.
            let largest = A::DEBUG_LENGTHS.iter().copied().max().unwrap_or(1).min(longest).max(1);
            let rest = breakpoint.len - at.wrapping_sub(breakpoint.addr);
            let pieces = (rest / u64::from(largest)).max(1);
            return Err(more.len() as u64 + pieces);
        }
        match candidates::<A>(breakpoint, at, longest).next() {
            Some(slot) => more.push(slot),
            None => return Err(u64::MAX), // a CPU without a length of 1
        }
    }
    chosen.append(&mut more);
    Ok(())
}

/// At most `most` registers that serve all breakpoints, `chosen` among them; tries everything.
fn search<A: Arch>(
    breakpoints: &[HardwareBreakpoint],
    chosen: &mut Vec<DebugSlot>,
    most: usize,
    longest: u8,
) -> Option<Vec<DebugSlot>> {
    let missing = breakpoints.iter().find_map(|b| Some((b, gap(b, chosen)?)));
    let Some((breakpoint, at)) = missing else { return Some(chosen.clone()) };
    if chosen.len() >= most {
        return None;
    }
    for slot in candidates::<A>(breakpoint, at, longest) {
        chosen.push(slot);
        let found = search::<A>(breakpoints, chosen, most, longest);
        chosen.pop();
        if found.is_some() {
            return found;
        }
    }
    None
}

/// Gives each its register: the one that it has, or a free one.
fn place(chosen: &[DebugSlot], current: &DebugSlots) -> DebugSlots {
    let mut placed = current.map(|slot| slot.filter(|slot| chosen.contains(slot)));
    for slot in chosen {
        if !placed.contains(&Some(*slot)) {
            // One that was free before, if there is one: it takes fewer requests.
            let unused = used(&placed) | used(current);
            let free = (0..placed.len())
                .find(|i| unused >> i & 1 == 0)
                .or(placed.iter().position(Option::is_none));
            if let Some(place) = free.and_then(|index| placed.get_mut(index)) {
                *place = Some(*slot);
            }
        }
    }
    placed
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
