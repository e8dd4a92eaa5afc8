//! What the breakpoints of an address space are, and what its memory should hold.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::{BreakpointId, Passing, Pid};

use super::ways::Ways;

/// An image and all that know it: the processes that share the memory, and whoever may have to
/// clean a copy of it.
pub(in crate::tracer) type Shared = Rc<RefCell<Image>>;

/// The breakpoint instructions of one address space.
#[derive(Debug, Clone, Default)]
pub(in crate::tracer) struct Image {
    locations: BTreeMap<u64, Location>,
    /// Processes that are not traced and have the memory too: a breakpoint would kill them. What is
    /// wanted is put in when there are none.
    loans: Vec<Loan>,
    /// How many locations are system calls.
    calls: usize,
}

/// Somebody who is not traced has the memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Loan {
    to: Pid,
    /// A thread that is traced waits for it, and says when it has the memory no more.
    returns: bool,
}

/// A place where there is a breakpoint, or was one: a thread may have run into it, and not have
/// reported that yet.
#[derive(Debug, Clone)]
pub(super) struct Location {
    /// The program's own bytes.
    pub(super) original: Vec<u8>,
    pub(super) passing: Ways,
    /// Whose it is. Nobody's is one that was removed.
    owners: Vec<Owner>,
    /// The breakpoint instruction is in memory.
    pub(super) inserted: bool,
    /// A thread is being led past, so that it must not be.
    open: bool,
}

/// One process's part in a location.
#[derive(Debug, Clone, Copy)]
struct Owner {
    pid: Pid,
    id: BreakpointId,
    /// How many times it was asked for.
    count: u32,
}

/// What memory should hold, and does not.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Change {
    Insert,
    Lift,
}

impl Image {
    pub(in crate::tracer) fn is_empty(&self) -> bool {
        self.locations.is_empty()
    }

    /// Whether it says nothing yet: of processes that have come since it may not be known that they
    /// share it.
    pub(super) fn is_blank(&self) -> bool {
        self.locations.is_empty() && self.loans.is_empty()
    }

    pub(super) fn get(&self, addr: u64) -> Option<&Location> {
        self.locations.get(&addr)
    }

    pub(super) fn get_mut(&mut self, addr: u64) -> Option<&mut Location> {
        self.locations.get_mut(&addr)
    }

    pub(super) fn is_inserted(&self, addr: u64) -> bool {
        self.get(addr).is_some_and(|location| location.inserted)
    }

    /// Whether a process has a breakpoint there, be it that it cannot be in memory now.
    pub(super) fn is_wanted(&self, addr: u64) -> bool {
        self.get(addr).is_some_and(|location| !location.owners.is_empty())
    }

    /// A process is not traced any more, and keeps the memory.
    pub(super) fn lend(&mut self, to: Pid, returns: bool) {
        self.loans.push(Loan { to, returns });
    }

    /// A process has the memory no more.
    pub(super) fn give_back(&mut self, from: Pid) {
        self.loans.retain(|loan| loan.to != from);
    }

    /// Whether there can be no breakpoints for as long as there is this memory.
    pub(super) fn is_lent_for_good(&self) -> bool {
        self.loans.iter().any(|loan| !loan.returns)
    }

    /// Whether a system call has a breakpoint.
    pub(super) fn has_calls(&self) -> bool {
        self.calls > 0
    }

    /// A process's breakpoint at an address.
    pub(super) fn owned(&self, addr: u64, pid: Pid) -> Option<BreakpointId> {
        self.get(addr)?.owners.iter().find(|owner| owner.pid == pid).map(|owner| owner.id)
    }

    /// All breakpoints of a process.
    pub(super) fn of(&self, pid: Pid) -> impl Iterator<Item = (BreakpointId, u64)> + '_ {
        let own = move |(&addr, location): (&u64, &Location)| {
            let owner = location.owners.iter().find(|owner| owner.pid == pid)?;
            Some((owner.id, addr))
        };
        self.locations.iter().filter_map(own)
    }

    /// Whether a new breakpoint there would share bytes with another one.
    pub(super) fn overlaps(&self, addr: u64, len: u64) -> bool {
        let from = addr.saturating_sub(len.saturating_sub(1));
        let to = addr.saturating_add(len.saturating_sub(1));
        self.locations.range(from..=to).any(|(&at, l)| at != addr && !l.owners.is_empty())
    }

    /// The program's own instruction was put in, for a thread to be led past.
    pub(super) fn open(&mut self, addr: u64) {
        if let Some(location) = self.locations.get_mut(&addr) {
            (location.inserted, location.open) = (false, true);
        }
    }

    /// The thread is past, or will not be.
    pub(super) fn close(&mut self, addr: u64) {
        if let Some(location) = self.locations.get_mut(&addr) {
            location.open = false;
        }
    }

    /// Remembers what the program has at an address; if it is known, only what kind it is.
    pub(super) fn locate(&mut self, addr: u64, original: &[u8], passing: Ways) {
        let location = self.locations.entry(addr).or_insert_with(|| Location {
            original: original.to_vec(),
            passing,
            owners: Vec::new(),
            inserted: false,
            open: false,
        });
        if !location.inserted {
            location.original = original.to_vec();
        }
        location.passing = passing;
        self.count_calls();
    }

    fn count_calls(&mut self) {
        let calls = self.locations.values().filter(|l| l.passing.can_be(Passing::SystemCall));
        self.calls = calls.count();
    }

    /// A process asks for a breakpoint at an address that is known; `id` is its name if it has
    /// none.
    pub(super) fn own(&mut self, addr: u64, pid: Pid, id: BreakpointId) {
        let Some(location) = self.locations.get_mut(&addr) else { return };
        match location.owners.iter_mut().find(|owner| owner.pid == pid) {
            Some(owner) => owner.count = owner.count.saturating_add(1),
            None => location.owners.push(Owner { pid, id, count: 1 }),
        }
    }

    /// A process wants a breakpoint no more, or once less. Says whether it had it.
    pub(super) fn release(&mut self, pid: Pid, id: BreakpointId) -> bool {
        for location in self.locations.values_mut() {
            let ours = |owner: &Owner| owner.pid == pid && owner.id == id;
            let Some(at) = location.owners.iter().position(ours) else { continue };
            if let Some(owner) = location.owners.get_mut(at) {
                owner.count = owner.count.saturating_sub(1);
                if owner.count == 0 {
                    location.owners.swap_remove(at);
                }
            }
            return true;
        }
        false
    }

    /// A process has nothing to do with this memory any more.
    pub(super) fn leave(&mut self, pid: Pid) {
        for location in self.locations.values_mut() {
            location.owners.retain(|owner| owner.pid != pid);
        }
    }

    /// Nobody wants any of the breakpoints.
    pub(super) fn give_up(&mut self) {
        self.locations.values_mut().for_each(|location| location.owners.clear());
    }

    /// Nobody wants the breakpoint at this address.
    pub(super) fn give_up_one(&mut self, addr: u64) {
        if let Some(location) = self.locations.get_mut(&addr) {
            location.owners.clear();
        }
    }

    /// What is to be changed in memory.
    pub(super) fn changes(&self) -> Vec<(u64, Change)> {
        let change = |(&addr, location): (&u64, &Location)| {
            let wanted = !location.owners.is_empty() && self.loans.is_empty() && !location.open;
            match (wanted, location.inserted) {
                (true, false) => Some((addr, Change::Insert)),
                (false, true) => Some((addr, Change::Lift)),
                _ => None,
            }
        };
        self.locations.iter().filter_map(change).collect()
    }

    /// The addresses of all locations.
    pub(super) fn addresses(&self) -> Vec<u64> {
        self.locations.keys().copied().collect()
    }

    /// What the program has at all locations.
    pub(super) fn code(&self) -> Vec<(u64, Vec<u8>)> {
        let own = |(&addr, location): (&u64, &Location)| (addr, location.original.clone());
        self.locations.iter().map(own).collect()
    }

    /// The image of a copy of the memory, which belongs to a process that has the breakpoints of
    /// another one. What of the instructions the copy really has is still to be found out.
    pub(super) fn copy(&self, from: Pid, to: Pid) -> Image {
        let mut copy = self.clone();
        copy.loans.clear();
        for location in copy.locations.values_mut() {
            location.open = false;
            location.owners.retain(|owner| owner.pid == from);
            location.owners.iter_mut().for_each(|owner| owner.pid = to);
        }
        copy
    }

    /// Has what another image has as well, but for addresses that it knows with an owner.
    pub(super) fn add(&mut self, other: Image) {
        for (addr, location) in other.locations {
            let known = self.locations.get(&addr).is_some_and(|known| !known.owners.is_empty());
            if !known {
                self.locations.insert(addr, location);
            }
        }
        self.count_calls();
    }

    /// Puts the program's own bytes into what was read from memory.
    pub(super) fn hide(&self, addr: u64, read: &mut [u8]) {
        self.each_in(addr, read.len(), |place, own| {
            if let (Some(place), Some(own)) = (read.get_mut(place), own) {
                *place = own;
            }
        });
    }

    /// Puts the breakpoints into what is to be written to memory.
    pub(super) fn keep(&self, addr: u64, data: &mut [u8], breakpoint: &[u8]) {
        for (&at, location) in self.locations.iter().filter(|(_, l)| l.inserted) {
            for (offset, &byte) in breakpoint.iter().enumerate().take(location.original.len()) {
                let place = at.wrapping_add(offset as u64).wrapping_sub(addr);
                if let Some(place) = usize::try_from(place).ok().and_then(|p| data.get_mut(p)) {
                    *place = byte;
                }
            }
        }
    }

    /// The program's own bytes have changed.
    pub(super) fn wrote(&mut self, addr: u64, data: &[u8]) {
        for (&at, location) in &mut self.locations {
            for (offset, own) in location.original.iter_mut().enumerate() {
                let place = at.wrapping_add(offset as u64).wrapping_sub(addr);
                if let Some(&new) = usize::try_from(place).ok().and_then(|p| data.get(p)) {
                    *own = new;
                }
            }
        }
    }

    /// Where an instruction with a breakpoint may reach into what was written.
    pub(super) fn starting_in(&self, from: u64, to: u64) -> Vec<u64> {
        self.locations.range(from..to.max(from)).map(|(&addr, _)| addr).collect()
    }

    /// Calls `each` with the offset of each byte that a breakpoint hides, and what it hides.
    fn each_in(&self, addr: u64, len: usize, mut each: impl FnMut(usize, Option<u8>)) {
        for (&at, location) in self.locations.iter().filter(|(_, l)| l.inserted) {
            for (offset, &own) in location.original.iter().enumerate() {
                let place = at.wrapping_add(offset as u64).wrapping_sub(addr);
                if let Some(place) = usize::try_from(place).ok().filter(|&place| place < len) {
                    each(place, Some(own));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const P: Pid = Pid::from_raw(1);
    const Q: Pid = Pid::from_raw(2);

    fn id(number: u32) -> BreakpointId {
        BreakpointId::from_number(number)
    }

    fn image() -> Image {
        let mut image = Image::default();
        image.locate(0x10, &[0x90], Passing::Step.into());
        image.own(0x10, P, id(1));
        image.get_mut(0x10).unwrap().inserted = true;
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
        image.get_mut(0x10).unwrap().inserted = false;
        image.give_back(P);
        assert_eq!(image.changes(), [(0x10, Change::Insert)]);
    }

    #[test]
    fn reads_show_and_writes_change_the_programs_bytes() {
        let mut image = image();
        let mut read = [0x11, 0xcc, 0x22];
        image.hide(0xf, &mut read);
        assert_eq!(read, [0x11, 0x90, 0x22]);
        let mut data = [1, 2, 3];
        image.keep(0xe, &mut data, &[0xcc]);
        assert_eq!(data, [1, 2, 0xcc]);
        image.wrote(0xe, &[1, 2, 3]);
        let mut read = [0xcc];
        image.hide(0x10, &mut read);
        assert_eq!(read, [3]);
        image.hide(0x11, &mut read);
        assert_eq!(read, [3]);
    }

    #[test]
    fn a_copy_has_the_breakpoints_of_one() {
        let mut image = image();
        image.locate(0x20, &[0x05], Passing::SystemCall.into());
        image.own(0x20, Q, id(2));
        assert!(image.has_calls());
        let copy = image.copy(P, Pid::from_raw(3));
        assert_eq!(copy.of(Pid::from_raw(3)).collect::<Vec<_>>(), [(id(1), 0x10)]);
        assert_eq!(copy.owned(0x20, Q), None);
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
}
