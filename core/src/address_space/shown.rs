//! Memory as the program has it: the breakpoint instructions are hidden in what is read, and kept in what
//! is written.

use super::{AddressSpace, InMemory};

impl AddressSpace {
    /// Puts the program's own bytes into what was read from memory, where the breakpoint
    /// instructions still are.
    pub(crate) fn hide(&mut self, addr: u64, read: &mut [u8], breakpoint: &[u8]) {
        let mut lost = Vec::new();
        for (at, location) in self.places.within(addr, read.len(), breakpoint.len()) {
            if location.memory != InMemory::Yes {
                continue;
            }
            let mut shared = shared(at, addr, read.len(), breakpoint.len());
            if shared.clone().all(|(own, there)| read.get(there) == breakpoint.get(own)) {
                let code = location.code.bytes();
                shared.for_each(|(own, there)| {
                    if let (Some(byte), Some(&own)) = (read.get_mut(there), code.get(own)) {
                        *byte = own;
                    }
                });
            } else if shared.next().is_some() {
                lost.push(at);
            }
        }
        for at in lost {
            self.found(at, InMemory::Lost);
        }
    }

    /// Whether a breakpoint instruction is in a range of memory.
    pub(crate) fn has_within(&self, addr: u64, len: usize, breakpoint: usize) -> bool {
        let mut near = self.places.within(addr, len, breakpoint);
        near.any(|(_, location)| location.memory == InMemory::Yes)
    }

    /// Puts the breakpoints into what is to be written to memory.
    pub(crate) fn keep(&self, addr: u64, data: &mut [u8], breakpoint: &[u8]) {
        for (at, location) in self.places.within(addr, data.len(), breakpoint.len()) {
            if location.memory != InMemory::Yes {
                continue;
            }
            for (own, there) in shared(at, addr, data.len(), breakpoint.len()) {
                if let (Some(to), Some(&byte)) = (data.get_mut(there), breakpoint.get(own)) {
                    *to = byte;
                }
            }
        }
    }

    /// The program's own bytes have changed.
    pub(crate) fn wrote(&mut self, addr: u64, data: &[u8]) {
        self.places().wrote(addr, data);
    }

    /// Where an instruction with a breakpoint may reach into what was written.
    pub(crate) fn reaching_into(&self, addr: u64, len: usize, longest: usize) -> Vec<u64> {
        self.places.within(addr, len, longest).map(|(addr, _)| addr).collect()
    }
}

/// The bytes that a breakpoint instruction and a piece of memory have in common: each by its offset
/// in the one and in the other.
fn shared(
    at: u64,
    addr: u64,
    len: usize,
    breakpoint: usize,
) -> impl Iterator<Item = (usize, usize)> + Clone {
    (0..breakpoint).filter_map(move |own| {
        let there = at.checked_add(own as u64)?.checked_sub(addr)?;
        let there = usize::try_from(there).ok()?;
        (there < len).then_some((own, there))
    })
}
