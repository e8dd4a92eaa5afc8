//! Places in a model of an address space.

use super::*;
use crate::Passing;

const P: Pid = Pid::from_raw(1);
const Q: Pid = Pid::from_raw(2);

fn id(number: u32) -> BreakpointId {
    BreakpointId::from_number(number)
}

fn image() -> Image {
    let mut image = Image::default();
    image.locate(0x10, &[0x90], Passing::Step.into());
    image.own(0x10, P, id(1));
    image.settled(0x10, Change::Insert);
    image
}

#[test]
fn asked_twice_is_removed_twice() {
    let mut image = image();
    image.own(0x10, P, id(7));
    assert_eq!(image.owned(0x10, P), Some(id(1)));
    assert!(image.release(P, id(1)));
    assert_eq!(image.changes(), []);
    assert!(image.release(P, id(1)));
    assert_eq!(image.changes(), [(0x10, Change::Lift)]);
    assert!(!image.release(P, id(1)));
}

#[test]
fn what_two_processes_want_goes_with_the_last() {
    let mut image = image();
    image.own(0x10, Q, id(2));
    image.leave(P);
    assert_eq!((image.owned(0x10, P), image.owned(0x10, Q)), (None, Some(id(2))));
    assert_eq!(image.changes(), []);
    image.lend(P, true);
    assert_eq!(image.changes(), [(0x10, Change::Lift)]);
    assert!(!image.is_lent_for_good());
    image.settled(0x10, Change::Lift);
    image.give_back(P);
    assert_eq!(image.changes(), [(0x10, Change::Insert)]);
}

#[test]
fn reads_show_and_writes_change_the_programs_bytes() {
    let mut image = image();
    let mut read = [0x11, 0xcc, 0x22];
    image.hide(0xf, &mut read, &[0xcc]);
    assert_eq!(read, [0x11, 0x90, 0x22]);
    let mut data = [1, 2, 3];
    image.keep(0xe, &mut data, &[0xcc]);
    assert_eq!(data, [1, 2, 0xcc]);
    image.wrote(0xe, &[1, 2, 3]);
    let mut read = [0xcc];
    image.hide(0x10, &mut read, &[0xcc]);
    assert_eq!(read, [3]);
    let mut read = [7];
    image.hide(0x11, &mut read, &[0xcc]);
    assert_eq!(read, [7]);
}

#[test]
fn what_the_program_has_put_over_a_breakpoint_is_shown_and_kept() {
    let mut image = image();
    let mut read = [0x55];
    image.hide(0x10, &mut read, &[0xcc]);
    assert_eq!(read, [0x55]);
    assert!(!image.is_inserted(0x10) && image.is_wanted(0x10));
    assert_eq!(image.changes(), []);
    let mut data = [1];
    image.keep(0x10, &mut data, &[0xcc]);
    assert_eq!(data, [1]);
}

#[test]
fn a_copy_has_the_breakpoints_of_one() {
    let mut image = image();
    image.locate(0x20, &[0x05], Passing::SystemCall.into());
    image.own(0x20, Q, id(2));
    image.settled(0x20, Change::Insert);
    assert!(image.has_calls());
    let copy = image.copy(P, Pid::from_raw(3));
    assert_eq!(copy.of(Pid::from_raw(3)).collect::<Vec<_>>(), [(id(1), 0x10)]);
    assert_eq!(copy.owned(0x20, Q), None);
    assert_eq!(copy.changes(), [(0x20, Change::Lift)]);
}

#[test]
fn breakpoints_may_not_overlap() {
    let image = image();
    assert!(!image.overlaps(0x10, 4));
    assert!(!image.overlaps(0x11, 1));
    assert!(image.overlaps(0x11, 4));
    assert!(image.overlaps(0xd, 4));
    assert!(!image.overlaps(0xc, 4));
}

#[test]
fn a_slot_is_found_by_a_program_counter_in_it() {
    let mut image = image();
    image.add_area(0x1000, 0x20, 0x10);
    let code = SlotCode::new(&[0x90, 0xe9, 0, 0, 0, 0], 1, 1).unwrap();
    assert_eq!(image.free_slots(0x10, 0x2000), [0x1000]);
    assert_eq!(image.free_slots(0x10, 0x100), []);
    image.fill_slot(0x10, 0x1000, code, CodeMode::Bits64);
    assert_eq!(image.get(0x10).unwrap().slot, Some((0x1000, CodeMode::Bits64)));
    assert_eq!(image.slot_at(0x1003), Some((&code, 0x10, 0x1000)));
    assert_eq!(image.slot_at(0x1010), None);
    assert_eq!(image.free_slots(0x10, 0x2000), [0x1010]);
    image.wrote(0x10, &[0x91]);
    assert_eq!(image.get(0x10).unwrap().slot, None);
}
