//! Places in a model of an address space.

use super::*;
use crate::{CodeMode, Passing, SlotCode};

const P: Pid = Pid::from_raw(1);
const Q: Pid = Pid::from_raw(2);

fn id(number: u32) -> BreakpointId {
    BreakpointId::from_number(number)
}

fn space() -> AddressSpace {
    let mut space = AddressSpace::default();
    space.locate(0x10, &[0x90], Passing::Step.into());
    space.own(0x10, P, id(1));
    space.settled(0x10, Change::Insert);
    space
}

#[test]
fn asked_twice_is_removed_twice() {
    let mut space = space();
    space.own(0x10, P, id(7));
    assert_eq!(space.owned(0x10, P), Some(id(1)));
    assert!(space.release(P, id(1)));
    assert_eq!(space.changes(), []);
    assert!(space.release(P, id(1)));
    assert_eq!(space.changes(), [(0x10, Change::Lift)]);
    assert!(!space.release(P, id(1)));
}

#[test]
fn what_two_processes_want_goes_with_the_last() {
    let mut space = space();
    space.own(0x10, Q, id(2));
    space.leave(P);
    assert_eq!((space.owned(0x10, P), space.owned(0x10, Q)), (None, Some(id(2))));
    assert_eq!(space.changes(), []);
    space.lend(P, true);
    assert_eq!(space.changes(), [(0x10, Change::Lift)]);
    assert!(!space.is_lent_for_good());
    space.settled(0x10, Change::Lift);
    space.give_back(P);
    assert_eq!(space.changes(), [(0x10, Change::Insert)]);
}

#[test]
fn reads_show_and_writes_change_the_programs_bytes() {
    let mut space = space();
    let mut read = [0x11, 0xcc, 0x22];
    space.hide(0xf, &mut read, &[0xcc]);
    assert_eq!(read, [0x11, 0x90, 0x22]);
    let mut data = [1, 2, 3];
    space.keep(0xe, &mut data, &[0xcc]);
    assert_eq!(data, [1, 2, 0xcc]);
    space.wrote(0xe, &[1, 2, 3]);
    let mut read = [0xcc];
    space.hide(0x10, &mut read, &[0xcc]);
    assert_eq!(read, [3]);
    let mut read = [7];
    space.hide(0x11, &mut read, &[0xcc]);
    assert_eq!(read, [7]);
}

#[test]
fn what_the_program_has_put_over_a_breakpoint_is_shown_and_kept() {
    let mut space = space();
    let mut read = [0x55];
    space.hide(0x10, &mut read, &[0xcc]);
    assert_eq!(read, [0x55]);
    assert!(!space.is_inserted(0x10) && space.is_wanted(0x10));
    assert_eq!(space.changes(), []);
    let mut data = [1];
    space.keep(0x10, &mut data, &[0xcc]);
    assert_eq!(data, [1]);
}

#[test]
fn a_copy_has_the_breakpoints_of_one() {
    let mut space = space();
    space.locate(0x20, &[0x05], Passing::SystemCall.into());
    space.own(0x20, Q, id(2));
    space.settled(0x20, Change::Insert);
    assert!(space.has_calls());
    let copy = space.copy(P, Pid::from_raw(3));
    assert_eq!(copy.of(Pid::from_raw(3)).collect::<Vec<_>>(), [(id(1), 0x10)]);
    assert_eq!(copy.owned(0x20, Q), None);
    assert_eq!(copy.changes(), [(0x20, Change::Lift)]);
}

#[test]
fn a_system_call_that_is_taken_over_is_one() {
    let mut other = AddressSpace::default();
    other.locate(0x10, &[0x05], Passing::SystemCall.into());
    other.own(0x10, P, id(1));
    let mut space = AddressSpace::default();
    space.add(other);
    assert!(space.has_calls());
}

#[test]
fn a_copy_has_the_slots_that_are_found_in_it() {
    let code = |byte: u8| SlotCode::new(&[byte, byte], 1, 1).unwrap();
    let mut space = space();
    space.add_area(0x1000, 0x100, 0x10);
    space.fill_slot(0x10, 0x1000, code(1), CodeMode::Bits64);
    let slot = |space: &AddressSpace| space.get(0x10).and_then(|location| location.slot);
    assert_eq!(space.filled_areas(), [(0x1000, 0x10)]);
    let mut same = space.copy(P, Q);
    same.found_area(0x1000, &[1, 1, 0]);
    assert_eq!(slot(&same), slot(&space));
    let mut older = space.copy(P, Q);
    older.found_area(0x1000, &[0, 0, 0]);
    assert!(slot(&older).is_none() && older.has_slots());
    let mut oldest = space.copy(P, Q);
    oldest.found_area(0x1000, &[]);
    assert!(slot(&oldest).is_none() && !oldest.has_slots());
}

#[test]
fn breakpoints_may_not_overlap() {
    let space = space();
    assert!(!space.overlaps(0x10, 4));
    assert!(!space.overlaps(0x11, 1));
    assert!(space.overlaps(0x11, 4));
    assert!(space.overlaps(0xd, 4));
    assert!(!space.overlaps(0xc, 4));
}

#[test]
fn a_slot_is_found_by_a_program_counter_in_it() {
    let mut space = space();
    space.add_area(0x1000, 0x20, 0x10);
    let code = SlotCode::new(&[0x90, 0xe9, 0, 0, 0, 0], 1, 1).unwrap();
    assert_eq!(space.free_slots(0x10, 0x2000), [0x1000]);
    assert_eq!(space.free_slots(0x10, 0x100), []);
    space.fill_slot(0x10, 0x1000, code, CodeMode::Bits64);
    assert_eq!(space.get(0x10).unwrap().slot, Some((0x1000, CodeMode::Bits64)));
    assert_eq!(space.slot_at(0x1003), Some((&code, 0x10, 0x1000)));
    assert_eq!(space.slot_at(0x1010), None);
    assert_eq!(space.free_slots(0x10, 0x2000), [0x1010]);
    space.wrote(0x10, &[0x91]);
    assert_eq!(space.get(0x10).unwrap().slot, None);
}
