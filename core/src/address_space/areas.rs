//! The memory for slots, and which of them are in use.
//!
//! A slot is used again once its breakpoint is gone and no thread can be in it, so that what a program
//! is made to map grows with the breakpoints that it has, not with those that it ever had.

use crate::{CodeMode, SlotCode};

use super::AddressSpace;

/// All memory for slots of an address space.
#[derive(Debug, Clone, Default)]
pub(super) struct Areas(Vec<Area>);

/// What was mapped at one time.
#[derive(Debug, Clone)]
struct Area {
    start: u64,
    stride: u64,
    room: usize,
    /// Those that have or had code.
    slots: Vec<Slot>,
    /// Those of them that can have other code, by their numbers.
    free: Vec<usize>,
}

#[derive(Debug, Clone)]
struct Slot {
    /// The place that it is for.
    from: u64,
    code: SlotCode,
    in_use: bool,
}

impl Area {
    fn addr(&self, number: usize) -> u64 {
        self.start + number as u64 * self.stride
    }

    fn number(&self, addr: u64) -> Option<usize> {
        usize::try_from(addr.checked_sub(self.start)? / self.stride).ok()
    }

    /// The number of the slot that is filled next.
    fn next(&self) -> Option<usize> {
        let unused = (self.slots.len() < self.room).then_some(self.slots.len());
        self.free.last().copied().or(unused)
    }
}

impl Areas {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Addresses and lengths.
    pub(super) fn all(&self) -> Vec<(u64, u64)> {
        self.0.iter().map(|area| (area.start, area.room as u64 * area.stride)).collect()
    }

    pub(super) fn add(&mut self, start: u64, len: u64, stride: u64) {
        let stride = stride.max(1);
        let room = usize::try_from(len / stride).unwrap_or(0);
        self.0.push(Area { start, stride, room, slots: Vec::new(), free: Vec::new() });
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// The slot that a program counter is in: its code, the place that it is for, and its address.
    #[inline]
    pub(super) fn slot_at(&self, pc: u64) -> Option<(&SlotCode, u64, u64)> {
        self.0.iter().find_map(|area| {
            let number = area.number(pc)?;
            let slot = area.slots.get(number)?;
            Some((&slot.code, slot.from, area.addr(number)))
        })
    }

    /// The memory as far as it is filled: addresses and lengths.
    pub(super) fn filled(&self) -> Vec<(u64, usize)> {
        let filled = |area: &Area| (area.start, area.slots.len() * area.stride as usize);
        self.0.iter().map(filled).collect()
    }

    /// This is in the memory that begins there, or it is not mapped. Says which slots are not there.
    pub(super) fn found(&mut self, start: u64, memory: &[u8]) -> Vec<u64> {
        let Some(at) = self.0.iter().position(|area| area.start == start) else {
            return Vec::new();
        };
        let Some(area) = self.0.get(at) else { return Vec::new() };
        let stride = usize::try_from(area.stride).unwrap_or(usize::MAX);
        let slots = area.slots.iter().enumerate();
        let lost = slots.filter(|&(number, slot)| {
            let there = memory.get(number.saturating_mul(stride)..).unwrap_or_default();
            !there.starts_with(slot.code.bytes())
        });
        let lost = lost.map(|(number, _)| area.addr(number)).collect();
        if memory.is_empty() {
            self.0.remove(at);
        }
        lost
    }

    /// Addresses at which a slot could be made for an instruction, no further than `reach` away.
    pub(super) fn free(&self, from: u64, reach: u64) -> Vec<u64> {
        let next = self.0.iter().filter_map(|area| Some(area.addr(area.next()?)));
        next.filter(|to| to.abs_diff(from) < reach).collect()
    }

    /// A slot, which was one of the [free](Self::free) ones, has its code in memory.
    pub(super) fn fill(&mut self, from: u64, to: u64, code: SlotCode) {
        let slot = Slot { from, code, in_use: true };
        for area in &mut self.0 {
            let Some(number) = area.next().filter(|&next| area.addr(next) == to) else { continue };
            match area.slots.get_mut(number) {
                Some(old) => {
                    *old = slot;
                    area.free.pop();
                }
                None => area.slots.push(slot),
            }
            return;
        }
    }

    /// Takes back the slots near an address that are of no use any more; `is_of_use` says so of a slot,
    /// by the place that it is for and its own address. Enough of them are a quarter of what is mapped
    /// at a time: with less, more memory is better than to look again soon.
    pub(super) fn take_back(
        &mut self,
        near: u64,
        reach: u64,
        is_of_use: impl Fn(u64, u64) -> bool,
    ) -> bool {
        let mut enough = false;
        for area in self.0.iter_mut().filter(|area| area.start.abs_diff(near) < reach) {
            let (start, stride) = (area.start, area.stride);
            for (number, slot) in area.slots.iter_mut().enumerate() {
                if slot.in_use && !is_of_use(slot.from, start + number as u64 * stride) {
                    slot.in_use = false;
                    area.free.push(number);
                }
            }
            enough |= area.free.len() >= area.room / 4;
        }
        enough
    }
}

impl AddressSpace {
    /// The slot that a program counter is in: its code, the place that it is for, and its address.
    #[inline]
    pub(crate) fn slot_at(&self, pc: u64) -> Option<(&SlotCode, u64, u64)> {
        self.places.slot_at(pc)
    }

    /// Whether a program counter can be in a slot.
    pub(crate) fn has_slots(&self) -> bool {
        !self.places.areas().is_empty()
    }

    /// The memory for slots: addresses and lengths.
    pub(crate) fn areas(&self) -> Vec<(u64, u64)> {
        self.places.areas().all()
    }

    pub(crate) fn add_area(&mut self, start: u64, len: u64, stride: u64) {
        self.version += 1;
        self.places().add_area(start, len, stride);
    }

    pub(crate) fn filled_areas(&self) -> Vec<(u64, usize)> {
        self.places.areas().filled()
    }

    pub(crate) fn found_area(&mut self, start: u64, memory: &[u8]) {
        self.places().found_area(start, memory);
    }

    pub(crate) fn forget_areas(&mut self) {
        self.places().forget_areas();
    }

    pub(crate) fn free_slots(&self, from: u64, reach: u64) -> Vec<u64> {
        self.places.areas().free(from, reach)
    }

    /// A slot has its code in memory. A copy that was made before does not have it.
    pub(crate) fn fill_slot(&mut self, from: u64, to: u64, code: SlotCode, mode: CodeMode) {
        self.version += 1;
        self.places().fill_slot(from, to, code, mode);
    }

    /// Takes slots back that are of no use, and that none of the threads which were sent into these is
    /// in; says whether there are enough of them.
    pub(crate) fn take_back_slots(&mut self, near: u64, reach: u64, entered: &[u64]) -> bool {
        self.has_slots() && self.places().take_back_slots(near, reach, entered)
    }

    /// The kernel maps no memory for slots here.
    pub(crate) fn refuse_slots(&mut self) {
        self.slotless = true;
    }

    pub(crate) fn is_slotless(&self) -> bool {
        self.slotless
    }
}
