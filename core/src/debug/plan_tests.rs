//! The planner against a model of the CPU's matching rule.

use proptest::prelude::*;

use super::*;
use crate::debug::{NO_SLOTS, changed};

/// Four registers, each for anything.
const POOLS: &[DebugPool] = &[DebugPool {
    slots: 0b1111,
    kinds: &[DebugKind::Execute, DebugKind::Write, DebugKind::ReadWrite],
    lengths: &[1, 2, 4, 8],
    alignment: DebugAlignment::Own,
}];

const KINDS: [HardwareKind; 4] =
    [HardwareKind::Execute, HardwareKind::Write, HardwareKind::ReadWrite, HardwareKind::Change];

fn plan(breakpoints: &[HardwareBreakpoint], current: &DebugSlots) -> Result<DebugSlots> {
    plan_in(POOLS, breakpoints, current, DebugRoom::ALL)
}

fn check(breakpoint: &HardwareBreakpoint) -> Result<()> {
    check_for(1, |addr| addr < 1 << 47, breakpoint)
}

fn watch(addr: u64, len: u64, kind: HardwareKind) -> HardwareBreakpoint {
    HardwareBreakpoint { addr, len, kind }
}

fn write(addr: u64, len: u64) -> HardwareBreakpoint {
    watch(addr, len, HardwareKind::Write)
}

/// The CPU's rule (SDM vol. 3, "Breakpoint Field Recognition"): an access of one byte.
fn cpu_hits(slots: &DebugSlots, kind: DebugKind, at: u64) -> Vec<DebugSlot> {
    let mask = |slot: &DebugSlot| !(u64::from(slot.len) - 1);
    let hit = |slot: &&DebugSlot| slot.kind == kind && slot.addr & mask(slot) == at & mask(slot);
    slots.iter().flatten().filter(hit).copied().collect()
}

/// Whether an access to a byte is a hit of a breakpoint, by way of the registers.
fn is_hit(slots: &DebugSlots, breakpoint: &HardwareBreakpoint, at: u64) -> bool {
    let kind = breakpoint.kind.watched();
    cpu_hits(slots, kind, at).iter().any(|slot| serves(slot, breakpoint))
}

/// Each breakpoint is hit by exactly its own bytes, and nothing is watched that nobody asked for.
fn assert_exact(breakpoints: &[HardwareBreakpoint], slots: &DebugSlots) {
    let low = breakpoints.iter().map(|b| b.addr).min().unwrap_or(0).saturating_sub(16);
    let high = breakpoints.iter().map(|b| b.addr + b.len).max().unwrap_or(0) + 16;
    for at in low..high {
        for breakpoint in breakpoints {
            let wanted = (breakpoint.addr..breakpoint.addr + breakpoint.len).contains(&at);
            assert_eq!(is_hit(slots, breakpoint, at), wanted, "{breakpoint:x?} at {at:#x}");
        }
        for kind in [DebugKind::Execute, DebugKind::Write, DebugKind::ReadWrite] {
            let wanted = |b: &HardwareBreakpoint| {
                b.kind.watched() == kind && (b.addr..b.addr + b.len).contains(&at)
            };
            let hit = !cpu_hits(slots, kind, at).is_empty();
            assert_eq!(hit, breakpoints.iter().any(wanted), "{kind:?} of {at:#x}");
        }
    }
    for slot in slots.iter().flatten() {
        assert!(slot.len.is_power_of_two() && slot.len <= 8);
        assert_eq!(slot.addr % u64::from(slot.len), 0);
        assert!(slot.kind != DebugKind::Execute || slot.len == 1);
    }
}

/// Whether any four registers would do, by trying every set of those that lie in a breakpoint.
fn can_be_covered(breakpoints: &[HardwareBreakpoint]) -> bool {
    let mut all: Vec<DebugSlot> = Vec::new();
    for b in breakpoints {
        for len in [1_u8, 2, 4, 8] {
            for addr in (b.addr..b.addr + b.len).filter(|addr| addr % u64::from(len) == 0) {
                let slot = DebugSlot { addr, len, kind: b.kind.watched() };
                if serves(&slot, b) && !all.contains(&slot) {
                    all.push(slot);
                }
            }
        }
    }
    fn any(all: &[DebugSlot], chosen: &mut Vec<DebugSlot>, bs: &[HardwareBreakpoint]) -> bool {
        let mut slots = NO_SLOTS;
        for (place, slot) in slots.iter_mut().zip(chosen.iter()) {
            *place = Some(*slot);
        }
        let served =
            |b: &HardwareBreakpoint| (b.addr..b.addr + b.len).all(|a| is_hit(&slots, b, a));
        if bs.iter().all(served) {
            return true;
        }
        if chosen.len() == 4 {
            return false;
        }
        (0..all.len()).any(|i| {
            chosen.push(all[i]);
            let found = any(&all[i + 1..], chosen, bs);
            chosen.pop();
            found
        })
    }
    any(&all, &mut Vec::new(), breakpoints)
}

#[test]
fn an_aligned_range_takes_one_register() {
    for len in [1, 2, 4, 8] {
        let slots = plan(&[write(0x1000, len)], &NO_SLOTS).unwrap();
        assert_eq!(used(&slots), 1);
        assert_exact(&[write(0x1000, len)], &slots);
    }
}

#[test]
fn an_unaligned_range_takes_several() {
    for (addr, len, registers) in
        [(0x1001, 2, 2), (0x1003, 4, 3), (0x1001, 7, 3), (0x1004, 8, 2), (0x1000, 32, 4)]
    {
        let slots = plan(&[write(addr, len)], &NO_SLOTS).unwrap();
        assert_eq!(used(&slots).count_ones(), registers, "{addr:#x}, {len}");
        assert_exact(&[write(addr, len)], &slots);
    }
}

#[test]
fn what_does_not_fit_is_refused_with_numbers() {
    let refused = |breakpoints: &[HardwareBreakpoint]| {
        let current = plan(&breakpoints[..breakpoints.len() - 1], &NO_SLOTS).unwrap();
        match plan(breakpoints, &current) {
            Err(Error::NoFreeSlot { needed, free, .. }) => (needed, free),
            other => panic!("{other:?}"),
        }
    };
    let four: Vec<_> = (0..5).map(|i| write(0x1000 + 16 * i, 8)).collect();
    assert_eq!(refused(&four), (1, 0));
    assert_eq!(refused(&[write(0x1000, 24), write(0x2001, 2)]), (2, 1));
    assert_eq!(refused(&[write(0x1000, 40)]), (5, 4));
    assert_eq!(refused(&[write(0x1000, 1 << 46)]), (1 << 43, 4));
}

#[test]
fn the_same_bytes_are_watched_once() {
    let breakpoints = [write(0x1000, 8), watch(0x1000, 8, HardwareKind::Change)];
    let slots = plan(&breakpoints, &NO_SLOTS).unwrap();
    assert_eq!(used(&slots), 1);
    let reads = [write(0x1000, 8), watch(0x1000, 8, HardwareKind::ReadWrite)];
    let slots = plan(&reads, &NO_SLOTS).unwrap();
    assert_eq!(used(&slots), 0b11, "a write breakpoint does not stop at reads");
}

/// Two halves serve the whole, so that these five fit.
#[test]
fn a_range_is_cut_up_where_that_saves_a_register() {
    let breakpoints =
        [write(0x1000, 8), write(0x1000, 4), write(0x1004, 4), write(0x2000, 8), write(0x3000, 8)];
    let mut slots = NO_SLOTS;
    for many in 1..=breakpoints.len() {
        slots = plan(&breakpoints[..many], &slots).unwrap();
        assert_exact(&breakpoints[..many], &slots);
    }
}

#[test]
fn what_stays_keeps_its_register() {
    let three = [write(0x1000, 8), write(0x2000, 8), write(0x3000, 8)];
    let slots = plan(&three, &NO_SLOTS).unwrap();
    let fewer = plan(&[three[0], three[2]], &slots).unwrap();
    assert_eq!(changed(&slots, &fewer), 0b010);
    let again = plan(&[three[0], three[2], write(0x4000, 4)], &fewer).unwrap();
    assert_eq!(changed(&fewer, &again).count_ones(), 1);
}

#[test]
fn a_free_register_is_taken_before_one_that_was_in_use() {
    let slots = plan(&[write(0x1000, 8)], &NO_SLOTS).unwrap();
    let other = plan(&[write(0x2000, 8)], &slots).unwrap();
    assert_eq!((used(&slots), used(&other)), (0b01, 0b10));
}

#[test]
fn nonsense_is_refused_before_anything_is_planned() {
    let why = |b: HardwareBreakpoint| check(&b).unwrap_err();
    assert!(matches!(why(write(0x1000, 0)), Error::BadBreakpoint { .. }));
    for len in [2, 4, 8, 16] {
        let execute = watch(0x1000, len, HardwareKind::Execute);
        assert!(matches!(why(execute), Error::BadBreakpoint { .. }));
    }
    let end = 1 << 47;
    assert!(matches!(why(write(end, 1)), Error::BadAddress { addr, .. } if addr == end));
    assert!(matches!(why(write(end - 4, 8)), Error::BadAddress { addr, .. } if addr == end + 3));
    assert!(matches!(why(write(0x1000, u64::MAX)), Error::BadAddress { .. }));
    let kernel = 0xffff_8000_0000_0000;
    assert!(matches!(why(write(kernel, 8)), Error::BadAddress { addr, .. } if addr == kernel));
    assert!(check(&write(end - 8, 8)).is_ok());
}

fn some_breakpoint() -> impl Strategy<Value = HardwareBreakpoint> {
    (0x1000_u64..0x1010, 1_u64..=10, prop::sample::select(KINDS.to_vec())).prop_map(
        |(addr, len, kind)| match kind {
            HardwareKind::Execute => watch(addr, 1, kind),
            _ => watch(addr, len, kind),
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_is_accepted_is_exact_and_what_is_refused_cannot_be_done(
        breakpoints in prop::collection::vec(some_breakpoint(), 1..=5),
        removed in 0_usize..5,
    ) {
        let mut slots = NO_SLOTS;
        let mut served: Vec<HardwareBreakpoint> = Vec::new();
        for breakpoint in breakpoints {
            served.push(breakpoint);
            match plan(&served, &slots) {
                Ok(planned) => {
                    assert_exact(&served, &planned);
                    slots = planned;
                }
                Err(Error::NoFreeSlot { needed, free, .. }) => {
                    prop_assert!(needed > free && free <= 4);
                    prop_assert!(!can_be_covered(&served), "{served:x?}");
                    served.pop();
                }
                Err(other) => panic!("{other}"),
            }
        }
        if !served.is_empty() {
            served.remove(removed % served.len());
        }
        let fewer = plan(&served, &slots).unwrap();
        assert_exact(&served, &fewer);
    }
}
