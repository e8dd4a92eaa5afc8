//! The places of an address space that have breakpoints or had some, and the slots for them.
//!
//! All of it is plain data. A copy of the memory, as `fork` makes it, shares it until one of the two
//! changes ([`Rc::make_mut`](std::rc::Rc::make_mut)), so that a fork costs the same however many
//! breakpoints there are.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::rc::Rc;

use rustc_hash::FxHashMap;

use crate::{BreakpointId, CodeMode, Passing, SlotCode};

use super::areas::Areas;
use super::ways::Ways;

/// How many bytes of an instruction are kept: as many as the longest of any CPU has.
pub(crate) const KEPT: usize = 16;

/// The program's own bytes at a place.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Code {
    bytes: [u8; KEPT],
    len: u8,
}

impl Code {
    /// As many of these bytes as are kept.
    pub(crate) fn new(code: &[u8]) -> Self {
        let mut kept = Code::default();
        for (to, &byte) in kept.bytes.iter_mut().zip(code) {
            *to = byte;
            kept.len += 1;
        }
        kept
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }

    /// Other bytes have been written at `addr`; `at` is where these are. Says whether any differs.
    fn write(&mut self, at: u64, addr: u64, data: &[u8]) -> bool {
        let before = *self;
        let len = usize::from(self.len);
        for (offset, own) in self.bytes.iter_mut().take(len).enumerate() {
            let place = at.wrapping_add(offset as u64).wrapping_sub(addr);
            if let Some(&new) = usize::try_from(place).ok().and_then(|place| data.get(place)) {
                *own = new;
            }
        }
        *self != before
    }
}

/// Whether the breakpoint instruction is in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InMemory {
    No,
    Yes,
    /// It was, and the program has put something else there. It is put in again when somebody
    /// asks for a breakpoint there again, not before.
    Lost,
}

/// A place where there is a breakpoint, or was one: a thread may have run into it, and not have
/// reported that yet.
#[derive(Debug, Clone)]
pub(crate) struct Location {
    pub(crate) code: Code,
    pub(crate) passing: Ways,
    /// Whose it is. Nobody's is one that was removed.
    pub(crate) owners: Vec<Owner>,
    pub(crate) memory: InMemory,
    /// A thread is stepping over it in place, so that it must not be in memory.
    pub(crate) open: bool,
    /// The address of the slot in which its instruction runs, once it has one, and the mode that
    /// this is for.
    pub(crate) slot: Option<(u64, CodeMode)>,
    /// Nobody has asked for it; its instruction is that of this other place, which has it, too.
    pub(crate) copy_of: Option<u64>,
    /// Whether the program can write it anew, once that was asked.
    pub(crate) rewritable: Option<bool>,
}

/// One process's part in a location.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Owner {
    /// The process, as the address space counts them.
    pub(crate) member: u16,
    /// What the user knows it by, who has asked for it so many times. 0 times: it is the engine's
    /// alone.
    id: BreakpointId,
    count: u32,
    /// The engine has a breakpoint of its own there.
    pub(crate) engine: bool,
}

impl Owner {
    /// What the user knows it by.
    pub(crate) fn id(&self) -> Option<BreakpointId> {
        (self.count > 0).then_some(self.id)
    }
}

/// All places and slots of an address space.
#[derive(Debug, Clone, Default)]
pub(crate) struct Places {
    locations: BTreeMap<u64, Location>,
    by_id: FxHashMap<BreakpointId, u64>,
    /// Where memory may not be what it should.
    dirty: BTreeSet<u64>,
    /// How many locations are system calls.
    calls: usize,
    /// How many are open.
    open: usize,
    areas: Areas,
    /// Places that are copies of others.
    copies: BTreeSet<u64>,
    /// Places whose instruction was in memory and is not, without anybody having taken it out.
    lost: Vec<u64>,
    /// At which places of a page there are breakpoints, as a set of bits, once that was asked.
    offsets: OnceCell<Box<[u64; 64]>>,
    /// Where the program has code that it cannot write, as it was when the last place was added.
    fixed_code: Option<Rc<FixedCode>>,
}

/// Ranges of code that a program cannot write.
pub(crate) type FixedCode = Vec<Range<u64>>;

impl Places {
    pub(crate) fn is_empty(&self) -> bool {
        self.locations.is_empty()
    }

    #[inline]
    pub(crate) fn get(&self, addr: u64) -> Option<&Location> {
        self.locations.get(&addr)
    }

    /// A location that is about to change.
    pub(crate) fn change(&mut self, addr: u64) -> Option<&mut Location> {
        let location = self.locations.get_mut(&addr)?;
        self.dirty.insert(addr);
        Some(location)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &Location)> {
        self.locations.iter().map(|(&addr, location)| (addr, location))
    }

    /// The locations with bytes in a range.
    pub(crate) fn within(
        &self,
        addr: u64,
        len: usize,
        reach: usize,
    ) -> impl Iterator<Item = (u64, &Location)> {
        let from = addr.saturating_sub(reach.saturating_sub(1) as u64);
        let to = addr.saturating_add(len as u64);
        self.locations.range(from..to.max(from)).map(|(&addr, location)| (addr, location))
    }

    /// Notes what the program has at an address. A slot for its instruction stays if that is the
    /// same.
    pub(crate) fn locate(&mut self, addr: u64, code: Code, passing: Ways) {
        let calls = |location: &Location| usize::from(location.passing.can_be(Passing::SystemCall));
        let before = self.locations.get(&addr).map_or(0, calls);
        if self.locations.get(&addr).is_none_or(|location| location.code != code) {
            self.fixed_code = None;
        }
        let location = self.locations.entry(addr).or_insert_with(|| Location {
            code,
            passing,
            owners: Vec::new(),
            memory: InMemory::No,
            open: false,
            slot: None,
            copy_of: None,
            rewritable: None,
        });
        if location.code != code {
            location.slot = None;
        }
        (location.code, location.passing) = (code, passing);
        self.calls = (self.calls + calls(location)).saturating_sub(before);
        self.dirty.insert(addr);
        self.offsets.take();
    }

    /// Takes over a location of another address space.
    pub(crate) fn adopt(&mut self, addr: u64, location: Location) {
        for id in location.owners.iter().filter_map(Owner::id) {
            self.by_id.insert(id, addr);
        }
        let (code, passing) = (location.code, location.passing);
        if location.copy_of.is_some() {
            self.copies.insert(addr);
        }
        self.locate(addr, code, passing); // which counts it
        self.locations.insert(addr, Location { slot: None, ..location });
    }

    /// Whether a system call has a breakpoint.
    pub(crate) fn has_calls(&self) -> bool {
        self.calls > 0
    }

    /// Whether a location is open.
    pub(crate) fn is_open(&self) -> bool {
        self.open > 0
    }

    /// Opens or closes a location.
    pub(crate) fn set_open(&mut self, addr: u64, open: bool) {
        let Some(location) = self.change(addr) else { return };
        let was = std::mem::replace(&mut location.open, open);
        if open {
            location.memory = InMemory::No;
        }
        self.open = (self.open + usize::from(open)).saturating_sub(usize::from(was));
    }

    pub(crate) fn close_all(&mut self) {
        let open: Vec<u64> = self.iter().filter(|(_, l)| l.open).map(|(addr, _)| addr).collect();
        open.into_iter().for_each(|addr| self.set_open(addr, false));
    }

    /// A member asks for a breakpoint at a location that is known; `id` is its name if the member
    /// has none there.
    pub(crate) fn own(&mut self, addr: u64, member: u16, id: BreakpointId) {
        let Some(location) = self.change(addr) else { return };
        match location.owners.iter_mut().find(|owner| owner.member == member) {
            Some(owner) if owner.count > 0 => owner.count = owner.count.saturating_add(1),
            Some(owner) => {
                (owner.id, owner.count) = (id, 1);
                self.by_id.insert(id, addr);
            }
            None => {
                location.owners.push(Owner { member, id, count: 1, engine: false });
                self.by_id.insert(id, addr);
            }
        }
    }

    /// The engine has a breakpoint of its own for a member at a location that is known.
    pub(crate) fn watch(&mut self, addr: u64, member: u16) {
        let Some(location) = self.change(addr) else { return };
        match location.owners.iter_mut().find(|owner| owner.member == member) {
            Some(owner) => owner.engine = true,
            None => {
                let id = BreakpointId::from_number(0);
                location.owners.push(Owner { member, id, count: 0, engine: true });
            }
        }
    }

    /// It has it no more.
    pub(crate) fn unwatch(&mut self, addr: u64, member: u16) {
        let Some(location) = self.change(addr) else { return };
        for owner in location.owners.iter_mut().filter(|owner| owner.member == member) {
            owner.engine = false;
        }
        location.owners.retain(|owner| owner.count > 0 || owner.engine);
        self.dirty.extend(&self.copies);
    }

    /// A member wants a breakpoint no more, or once less. Says whether it had it.
    pub(crate) fn release(&mut self, member: u16, id: BreakpointId) -> bool {
        let Some(&addr) = self.by_id.get(&id) else { return false };
        let Some(location) = self.change(addr) else { return false };
        let ours = |owner: &&mut Owner| owner.member == member && owner.id() == Some(id);
        let Some(owner) = location.owners.iter_mut().find(ours) else { return false };
        owner.count = owner.count.saturating_sub(1);
        if owner.count == 0 {
            location.owners.retain(|owner| owner.count > 0 || owner.engine);
            self.by_id.remove(&id);
        }
        self.dirty.extend(&self.copies);
        true
    }

    /// The place of a breakpoint.
    pub(crate) fn place_of(&self, id: BreakpointId) -> Option<u64> {
        self.by_id.get(&id).copied()
    }

    /// Nobody wants the breakpoint at an address.
    pub(crate) fn disown(&mut self, addr: u64) {
        let Some(location) = self.change(addr) else { return };
        for id in std::mem::take(&mut location.owners).iter().filter_map(Owner::id) {
            self.by_id.remove(&id);
        }
        self.dirty.extend(&self.copies);
    }

    /// Says whether a place is a copy of another one.
    pub(super) fn set_copy(&mut self, addr: u64, of: Option<u64>) {
        let Some(location) = self.change(addr) else { return };
        location.copy_of = of;
        match of {
            Some(_) => self.copies.insert(addr),
            None => self.copies.remove(&addr),
        };
    }

    /// The places that are copies of others.
    pub(super) fn copies(&self) -> impl Iterator<Item = u64> {
        self.copies.iter().copied()
    }

    /// The instruction of a place is not where it was put.
    pub(super) fn lose(&mut self, addr: u64) {
        self.lost.push(addr);
    }

    pub(super) fn has_lost(&self) -> bool {
        !self.lost.is_empty()
    }

    pub(super) fn take_lost(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.lost)
    }

    /// Whether any breakpoint is at this place of its page, of 4096 bytes.
    pub(super) fn is_at_offset(&self, offset: u16) -> bool {
        let offsets = self.offsets.get_or_init(|| {
            let mut offsets = Box::new([0; 64]);
            for addr in self.locations.keys() {
                if let Some(bits) = offsets.get_mut((addr % 4096 / 64) as usize) {
                    *bits |= 1_u64 << (addr % 64);
                }
            }
            offsets
        });
        let bits = offsets.get(usize::from(offset % 4096 / 64)).copied().unwrap_or(0);
        bits & 1 << (offset % 64) != 0
    }

    /// Where there is code that the program cannot write, if that is known.
    pub(crate) fn fixed_code(&self) -> Option<Rc<FixedCode>> {
        self.fixed_code.clone()
    }

    pub(crate) fn set_fixed_code(&mut self, fixed: Rc<FixedCode>) {
        self.fixed_code = Some(fixed);
    }

    /// Whether the program can write the instruction at a place anew.
    pub(crate) fn set_rewritable(&mut self, addr: u64, rewritable: bool) {
        if let Some(location) = self.locations.get_mut(&addr) {
            location.rewritable = Some(rewritable);
        }
    }

    /// Memory may be anything, compared with what it should be.
    pub(crate) fn doubt_all(&mut self) {
        self.dirty.extend(self.locations.keys());
    }

    /// The addresses where memory may not be what it should.
    pub(crate) fn dirty(&self) -> impl Iterator<Item = (u64, &Location)> {
        self.dirty.iter().filter_map(|&addr| Some((addr, self.locations.get(&addr)?)))
    }

    /// Memory is as it should be, but for these addresses.
    pub(crate) fn settled_but(&mut self, addresses: impl IntoIterator<Item = u64>) {
        self.dirty = addresses.into_iter().collect();
    }

    /// Memory at this address is as it should be.
    pub(crate) fn settled(&mut self, addr: u64) {
        self.dirty.remove(&addr);
    }

    /// The program's own bytes have changed.
    pub(crate) fn wrote(&mut self, addr: u64, data: &[u8]) {
        let from = addr.saturating_sub(KEPT as u64 - 1);
        let to = addr.saturating_add(data.len() as u64);
        for (&at, location) in self.locations.range_mut(from..to.max(from)) {
            if location.code.write(at, addr, data) {
                location.slot = None;
            }
        }
    }

    /// The slot that a program counter is in: its code, the place that it is for, and its address.
    #[inline]
    pub(crate) fn slot_at(&self, pc: u64) -> Option<(&SlotCode, u64, u64)> {
        self.areas.slot_at(pc)
    }

    /// The memory for slots.
    pub(super) fn areas(&self) -> &Areas {
        &self.areas
    }

    /// Has the slots of another one, which are in this memory too.
    pub(crate) fn take_areas(&mut self, other: &Places) {
        self.areas.clone_from(&other.areas);
    }

    /// Memory for slots has been mapped.
    pub(crate) fn add_area(&mut self, start: u64, len: u64, stride: u64) {
        self.areas.add(start, len, stride);
    }

    /// What is in the memory for slots that begins there; nothing if it is not mapped. A copy that was
    /// made before has none of that memory, or other slots in it.
    pub(crate) fn found_area(&mut self, start: u64, memory: &[u8]) {
        let lost = self.areas.found(start, memory);
        if !lost.is_empty() {
            for location in self.locations.values_mut() {
                location.slot = location.slot.filter(|(to, _)| !lost.contains(to));
            }
        }
    }

    /// There is no memory for slots any more.
    pub(crate) fn forget_areas(&mut self) {
        self.areas.clear();
        self.locations.values_mut().for_each(|location| location.slot = None);
    }

    /// A slot has its code in memory.
    pub(crate) fn fill_slot(&mut self, from: u64, to: u64, code: SlotCode, mode: CodeMode) {
        self.areas.fill(from, to, code);
        if let Some(location) = self.locations.get_mut(&from) {
            location.slot = Some((to, mode));
        }
    }

    /// Takes back the slots near an address whose places have no breakpoint any more, or other code,
    /// but for those that threads may be in, whose addresses are in order. Says whether that was worth
    /// while.
    pub(crate) fn take_back_slots(&mut self, near: u64, reach: u64, entered: &[u64]) -> bool {
        let Places { locations, areas, .. } = self;
        let wanted = |l: &Location| !l.owners.is_empty() || l.memory == InMemory::Yes;
        let enough = areas.take_back(near, reach, |from, to| {
            let location = locations.get(&from).filter(|l| l.slot.is_some_and(|(is, _)| is == to));
            entered.binary_search(&to).is_ok() || location.is_some_and(wanted)
        });
        locations.values_mut().filter(|l| !wanted(l)).for_each(|l| l.slot = None);
        enough
    }
}
