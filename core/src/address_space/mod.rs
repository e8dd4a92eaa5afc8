//! What the breakpoints of an address space are, and what its memory should hold.

mod areas;
mod at;
mod copies;
mod places;
mod runs;
mod shown;
mod ways;

use std::cell::RefCell;
use std::rc::Rc;

use crate::{BreakpointId, Pid};

pub(crate) use at::At;
pub(crate) use copies::{PAGE, Reach, overlaps, position};
use places::{Code, FixedCode, Owner, Places};
pub(crate) use places::{InMemory, KEPT, Location};
pub(crate) use runs::runs;
pub(crate) use ways::Ways;

/// An address space, with all that refer to it: the processes that share the memory, and what may have to
/// clean a copy of it.
pub(crate) type Shared = Rc<RefCell<AddressSpace>>;

/// The breakpoint instructions of one address space.
#[derive(Debug, Clone, Default)]
pub(crate) struct AddressSpace {
    places: Rc<Places>,
    /// The processes that have breakpoints here, by their number as owners; `None` for one that has
    /// nothing to do with this memory any more.
    members: Vec<Option<Pid>>,
    /// Processes that are not traced and have the memory too: a breakpoint would kill them. What is
    /// wanted is put in when there are none.
    loans: Vec<Loan>,
    /// How many times its memory was changed: a thread that was resumed since then has seen it as it is.
    version: u64,
    /// There can be no slots: the kernel has refused memory for them.
    slotless: bool,
    /// It is a copy that was made at another moment, and what is in it has to be found out.
    doubted: bool,
    /// The [digest](crate::modules::List::digest) of the program's list of modules that was there last.
    pub(crate) modules_seen: u64,
}

/// A process that is not traced has the memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Loan {
    to: Pid,
    /// A thread that is traced waits for it, and says when it has the memory no more.
    returns: bool,
}

/// What a process had to do with an address space before it was about to be detached.
pub(crate) struct Before {
    number: Option<u16>,
}

impl Before {
    pub(crate) fn new(space: &AddressSpace, pid: Pid) -> Self {
        Before { number: space.number(pid) }
    }

    /// It is not detached.
    pub(crate) fn restore(self, space: &mut AddressSpace, pid: Pid) {
        let number = self.number.map(usize::from);
        if let Some(member) = number.and_then(|number| space.members.get_mut(number)) {
            *member = Some(pid);
        }
        space.loans.retain(|loan| loan.to != pid);
        space.places().doubt_all();
    }
}

/// What memory should hold, and does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Insert,
    Lift,
}

impl AddressSpace {
    pub(crate) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Whether it says nothing yet: of processes that have come since it may not be known that they
    /// share it.
    pub(crate) fn is_blank(&self) -> bool {
        self.places.is_empty() && self.loans.is_empty()
    }

    #[inline]
    pub(crate) fn get(&self, addr: u64) -> Option<&Location> {
        self.places.get(addr)
    }

    fn places(&mut self) -> &mut Places {
        Rc::make_mut(&mut self.places)
    }

    #[inline]
    pub(crate) fn is_inserted(&self, addr: u64) -> bool {
        self.get(addr).is_some_and(|location| location.memory == InMemory::Yes)
    }

    /// Whether a process has a breakpoint there, be it that it cannot be in memory now.
    #[inline]
    pub(crate) fn is_wanted(&self, addr: u64) -> bool {
        self.get(addr).is_some_and(|location| self.wants(location))
    }

    fn wants(&self, location: &Location) -> bool {
        let is_owned = |location: &Location| {
            location.owners.iter().any(|owner| self.member(owner.member).is_some())
        };
        let original = || location.copy_of.and_then(|of| self.get(of));
        is_owned(location) || original().is_some_and(is_owned)
    }

    fn member(&self, number: u16) -> Option<Pid> {
        self.members.get(usize::from(number)).copied().flatten()
    }

    fn number(&self, pid: Pid) -> Option<u16> {
        let at = self.members.iter().position(|member| *member == Some(pid))?;
        u16::try_from(at).ok()
    }

    /// A process is not traced any more, and keeps the memory.
    pub(crate) fn lend(&mut self, to: Pid, returns: bool) {
        self.loans.push(Loan { to, returns });
        self.places().doubt_all();
    }

    /// A process has the memory no more.
    pub(crate) fn give_back(&mut self, from: Pid) {
        if self.loans.iter().any(|loan| loan.to == from) {
            self.loans.retain(|loan| loan.to != from);
            self.places().doubt_all();
        }
    }

    /// Nobody will tell when a process has the memory no more.
    pub(crate) fn lend_for_good(&mut self, to: Pid) {
        self.loans.iter_mut().filter(|loan| loan.to == to).for_each(|loan| loan.returns = false);
    }

    /// Whether there can be no breakpoints for as long as there is this memory.
    pub(crate) fn is_lent_for_good(&self) -> bool {
        self.loans.iter().any(|loan| !loan.returns)
    }

    /// Those that have it for good.
    pub(crate) fn lent_for_good(&self) -> Vec<Pid> {
        self.loans.iter().filter(|loan| !loan.returns).map(|loan| loan.to).collect()
    }

    /// Whether breakpoints that somebody wants are out of memory until it is given back: threads that
    /// run meanwhile would miss them.
    pub(crate) fn is_missed(&self) -> bool {
        self.is_lent() && !self.is_lent_for_good() && self.is_wanted_by_others(None)
    }

    /// Whether a process other than this one has a breakpoint here.
    pub(crate) fn is_wanted_by_others(&self, than: Option<Pid>) -> bool {
        let other = |member: u16| self.member(member).is_some_and(|pid| Some(pid) != than);
        self.places
            .iter()
            .any(|(_, location)| location.owners.iter().any(|owner| other(owner.member)))
    }

    /// Whether a process that is not traced has the memory.
    pub(crate) fn is_lent(&self) -> bool {
        !self.loans.is_empty()
    }

    /// Whether a system call has a breakpoint.
    #[inline]
    pub(crate) fn has_calls(&self) -> bool {
        self.places.has_calls()
    }

    /// A process's breakpoint at an address.
    #[inline]
    pub(crate) fn owned(&self, addr: u64, pid: Pid) -> Option<BreakpointId> {
        let own = |owner: &&Owner| self.member(owner.member) == Some(pid);
        self.get(addr)?.owners.iter().find(own).and_then(Owner::id)
    }

    /// Whether the engine has a breakpoint there for a process.
    pub(crate) fn is_watched(&self, addr: u64, pid: Pid) -> bool {
        let own = |owner: &Owner| owner.engine && self.member(owner.member) == Some(pid);
        self.get(addr).is_some_and(|location| location.owners.iter().any(own))
    }

    /// The engine has a breakpoint for a process at an address that is known.
    pub(crate) fn watch(&mut self, addr: u64, pid: Pid) {
        if let Some(number) = self.number_of(pid) {
            self.places().watch(addr, number);
        }
    }

    /// The engine has none for this process any more.
    pub(crate) fn unwatch_each(&mut self, pid: Pid) {
        let watched: Vec<u64> =
            self.addresses().into_iter().filter(|&addr| self.is_watched(addr, pid)).collect();
        let Some(number) = self.number(pid) else { return };
        watched.into_iter().for_each(|addr| self.places().unwatch(addr, number));
    }

    /// Whether somebody has the breakpoint of this name.
    #[inline]
    pub(crate) fn has(&self, id: BreakpointId) -> bool {
        let location = self.places.place_of(id).and_then(|addr| self.get(addr));
        let owns = |location: &Location| {
            let mut own = location.owners.iter().filter(|owner| owner.id() == Some(id));
            own.any(|owner| self.member(owner.member).is_some())
        };
        location.is_some_and(owns)
    }

    /// All breakpoints of a process.
    pub(crate) fn of(&self, pid: Pid) -> impl Iterator<Item = (BreakpointId, u64)> + '_ {
        let number = self.number(pid);
        self.places.iter().filter_map(move |(addr, location)| {
            let owner = location.owners.iter().find(|owner| Some(owner.member) == number)?;
            Some((owner.id()?, addr))
        })
    }

    /// Whether a new breakpoint there would share bytes with another one.
    pub(crate) fn overlaps(&self, addr: u64, len: usize) -> bool {
        let mut near = self.places.within(addr, len, len);
        near.any(|(at, location)| at != addr && self.wants(location))
    }

    /// The program's own instruction was put in, for a thread to step over it in place.
    pub(crate) fn open(&mut self, addr: u64) {
        self.places().set_open(addr, true);
    }

    /// The thread is past, or will not be.
    pub(crate) fn close(&mut self, addr: u64) {
        self.places().set_open(addr, false);
    }

    /// Remembers what the program has at an address, which was read just now.
    pub(crate) fn locate(&mut self, addr: u64, code: &[u8], passing: Ways) {
        self.places().locate(addr, Code::new(code), passing);
    }

    /// Whether the program is known to have this at an address.
    pub(crate) fn has_code(&self, addr: u64, code: &[u8]) -> bool {
        self.get(addr).is_some_and(|location| location.code == Code::new(code))
    }

    /// Where there is code that the program cannot write, if that is known.
    pub(crate) fn fixed_code(&self) -> Option<Rc<FixedCode>> {
        self.places.fixed_code()
    }

    pub(crate) fn set_fixed_code(&mut self, fixed: Rc<FixedCode>) {
        self.places().set_fixed_code(fixed);
    }

    pub(crate) fn set_rewritable(&mut self, addr: u64, rewritable: bool) {
        self.places().set_rewritable(addr, rewritable);
    }

    /// What is in memory at a place, as somebody has seen just now.
    pub(crate) fn found(&mut self, addr: u64, memory: InMemory) {
        let Some(before) = self.get(addr).map(|location| location.memory) else { return };
        if before == memory {
            return;
        }
        if let Some(location) = self.places().change(addr) {
            location.memory = memory;
        }
        if before == InMemory::Yes {
            self.places().lose(addr);
        }
    }

    /// A process asks for a breakpoint at an address that is known; `id` is its name if it has
    /// none.
    pub(crate) fn own(&mut self, addr: u64, pid: Pid, id: BreakpointId) {
        if let Some(number) = self.number_of(pid) {
            self.places().own(addr, number, id);
        }
    }

    /// A process by its number, which it gets if it has none.
    fn number_of(&mut self, pid: Pid) -> Option<u16> {
        self.number(pid).or_else(|| {
            let number = u16::try_from(self.members.len()).ok()?;
            self.members.push(Some(pid));
            Some(number)
        })
    }

    /// A process wants a breakpoint no more, or once less. Says whether it had it.
    pub(crate) fn release(&mut self, pid: Pid, id: BreakpointId) -> bool {
        match (self.number(pid), self.places.place_of(id)) {
            (Some(number), Some(_)) => self.places().release(number, id),
            _ => false,
        }
    }

    /// A process has nothing to do with this memory any more.
    pub(crate) fn leave(&mut self, pid: Pid) {
        let Some(number) = self.number(pid) else { return };
        if let Some(member) = self.members.get_mut(usize::from(number)) {
            *member = None;
        }
        self.places().doubt_all();
    }

    /// Nobody wants any of the breakpoints.
    pub(crate) fn give_up(&mut self) {
        self.members.iter_mut().for_each(|member| *member = None);
        self.places().doubt_all();
    }

    /// Nobody wants the breakpoint at this address.
    pub(crate) fn give_up_one(&mut self, addr: u64) {
        self.places().disown(addr);
    }

    /// What is to be changed in memory, in the order of addresses.
    pub(crate) fn changes(&self) -> Vec<(u64, Change)> {
        let change = |(addr, location): (u64, &Location)| {
            let wanted = self.wants(location) && self.loans.is_empty() && !location.open;
            match (wanted, location.memory) {
                (true, InMemory::No) => Some((addr, Change::Insert)),
                (false, InMemory::Yes) => Some((addr, Change::Lift)),
                _ => None,
            }
        };
        self.places.dirty().filter_map(change).collect()
    }

    /// Whether memory holds what it should, as far as is known.
    pub(crate) fn is_settled(&self) -> bool {
        !self.doubted && !self.places.has_lost() && self.changes().is_empty()
    }

    /// What is in memory is not known, or known again.
    pub(crate) fn doubt(&mut self, doubted: bool) {
        self.doubted = doubted;
    }

    pub(crate) fn is_doubted(&self) -> bool {
        self.doubted
    }

    /// Memory was changed.
    pub(crate) fn settled(&mut self, addr: u64, change: Change) {
        let places = Rc::make_mut(&mut self.places);
        if let Some(location) = places.change(addr) {
            location.memory = match change {
                Change::Insert => InMemory::Yes,
                Change::Lift => InMemory::No,
            };
        }
        places.settled(addr);
        self.version += 1;
    }

    /// Forgets which places were looked at in vain.
    pub(crate) fn tidy(&mut self) {
        if self.places.dirty().next().is_some() {
            let left: Vec<u64> = self.changes().into_iter().map(|(addr, _)| addr).collect();
            self.places().settled_but(left);
        }
    }

    /// How many times the memory was changed so far.
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// The addresses of all locations.
    pub(crate) fn addresses(&self) -> Vec<u64> {
        self.places.iter().map(|(addr, _)| addr).collect()
    }

    /// What the program has at all locations: as much as a breakpoint instruction hides.
    pub(crate) fn code(&self, breakpoint: usize) -> Vec<(u64, Vec<u8>)> {
        let own = |(addr, location): (u64, &Location)| {
            (addr, location.code.bytes().iter().copied().take(breakpoint).collect())
        };
        self.places.iter().map(own).collect()
    }

    /// The address space of a copy of the memory, which belongs to a process that has the breakpoints of
    /// another one. What of the instructions the copy really has may still have to be found out.
    pub(crate) fn copy(&self, from: Pid, to: Pid) -> AddressSpace {
        let mut copy = self.clone();
        let lent = !copy.loans.is_empty();
        copy.loans.clear();
        let others = copy.members.iter().flatten().any(|&member| member != from);
        for member in &mut copy.members {
            *member = member.filter(|&member| member == from).map(|_| to);
        }
        if copy.places.is_open() {
            copy.places().close_all();
        }
        if others || lent {
            copy.places().doubt_all();
        }
        copy
    }

    /// Has what another image has as well, but for addresses that it knows with an owner.
    pub(crate) fn add(&mut self, other: AddressSpace) {
        if !self.has_slots() {
            self.places().take_areas(&other.places);
        }
        for (addr, location) in other.places.iter() {
            if self.is_wanted(addr) {
                continue;
            }
            let mut location = location.clone();
            location.owners.retain(|owner| other.member(owner.member).is_some());
            for owner in &mut location.owners {
                let Some(pid) = other.member(owner.member) else { continue };
                if self.number(pid).is_none() {
                    self.members.push(Some(pid));
                }
                owner.member = self.number(pid).unwrap_or(owner.member);
            }
            self.places().adopt(addr, location);
        }
    }
}

#[cfg(test)]
mod tests;
