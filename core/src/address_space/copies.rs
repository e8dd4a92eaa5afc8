//! Breakpoint instructions that are copies of others: how they are known, and how they hang together.

use super::AddressSpace;
use super::places::InMemory;

/// Memory is moved by pages of at least this size.
pub(crate) const PAGE: u64 = 4096;
/// So many bytes behind the breakpoint instruction must be the same.
const EVIDENCE: usize = 4;

/// Where a copy may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// In memory that was moved, or that is mapped twice: at the same place of a page.
    Pages,
    /// Anywhere.
    Anywhere,
}

impl AddressSpace {
    /// The place of a breakpoint that the code at an address, which begins with a breakpoint
    /// instruction, has come from.
    pub(crate) fn original(&self, addr: u64, code: &[u8], int: &[u8], reach: Reach) -> Option<u64> {
        let near = |at: u64| reach == Reach::Anywhere || at % PAGE == addr % PAGE;
        let mut found = self.places.iter().filter(|&(at, location)| {
            at != addr && near(at) && location.copy_of.is_none() && self.looks_like(at, code, int)
        });
        let (first, location) = found.next()?;
        let own = location.code.bytes().get(..int.len())?;
        // Of several the program's own instruction must be the same.
        found.all(|(_, other)| other.code.bytes().starts_with(own)).then_some(first)
    }

    /// Whether code that begins with a breakpoint instruction is what memory has at a place.
    fn looks_like(&self, at: u64, code: &[u8], int: &[u8]) -> bool {
        let Some(own) = self.get(at).map(|location| location.code.bytes()) else { return false };
        let len = own.len().min(code.len());
        // Others may have come along.
        let other = |offset: usize, byte: u8| {
            let addr = at.wrapping_add(offset as u64);
            let mut others = self.places.within(addr, 1, int.len());
            others.any(|(start, _)| {
                let within = usize::try_from(addr.wrapping_sub(start)).ok();
                within.and_then(|within| int.get(within)) == Some(&byte)
            })
        };
        let same =
            |(offset, (&own, &there)): (usize, (&u8, &u8))| own == there || other(offset, there);
        len >= int.len() + EVIDENCE
            && !own.starts_with(int)
            && own.iter().zip(code).enumerate().skip(int.len()).all(same)
    }

    /// A copy of a place's instruction was found, and whether the place has it still.
    pub(crate) fn note_copy(&mut self, addr: u64, of: u64, is_there: bool) {
        let Some((code, passing)) = self.get(of).map(|l| (l.code, l.passing)) else { return };
        self.places().locate(addr, code, passing);
        self.places().set_copy(addr, is_there.then_some(of));
        self.found(addr, InMemory::Yes);
    }

    /// Where a copy is somebody's breakpoint, and its original is nobody's any more, they change places:
    /// to take the one out may take the other one out.
    pub(crate) fn hand_over(&mut self) {
        let is_owned = |space: &Self, at: u64| {
            let owners = space.get(at).map(|location| location.owners.as_slice());
            owners.unwrap_or_default().iter().any(|owner| space.member(owner.member).is_some())
        };
        let copies: Vec<u64> = self.places.copies().collect();
        for &copy in &copies {
            let of = self.get(copy).and_then(|location| location.copy_of);
            let Some(of) = of.filter(|&of| is_owned(self, copy) && !is_owned(self, of)) else {
                continue;
            };
            let all =
                copies.iter().filter(|&&at| self.get(at).is_some_and(|l| l.copy_of == Some(of)));
            let others: Vec<u64> = all.copied().chain([of]).filter(|&at| at != copy).collect();
            self.places().set_copy(copy, None);
            others.into_iter().for_each(|at| self.places().set_copy(at, Some(copy)));
        }
    }

    /// Whether an address is the same place of a page as a breakpoint, and has none itself.
    pub(crate) fn may_be_moved(&self, addr: u64) -> bool {
        !self.is_inserted(addr) && self.places.is_at_offset((addr % PAGE) as u16)
    }

    /// Whether breakpoint instructions are to be looked for.
    pub(crate) fn has_lost(&self) -> bool {
        self.places.has_lost()
    }

    /// What should have been taken out of memory was not there.
    pub(crate) fn lose(&mut self, addr: u64) {
        self.places().lose(addr);
    }

    /// The places whose instruction may be elsewhere; they are looked for by the caller.
    pub(crate) fn take_lost(&mut self) -> Vec<u64> {
        if self.places.has_lost() { self.places().take_lost() } else { Vec::new() }
    }

    /// They could not be.
    pub(crate) fn lose_again(&mut self, lost: Vec<u64>) {
        lost.into_iter().for_each(|addr| self.places().lose(addr));
    }
}

/// Where these bytes are next in others.
pub(crate) fn position(bytes: &[u8], from: usize, wanted: &[u8]) -> Option<usize> {
    let (&first, rest) = wanted.split_first()?;
    let mut at = from;
    loop {
        at += bytes.get(at..)?.iter().position(|&byte| byte == first)?;
        if bytes.get(at + 1..)?.starts_with(rest) {
            return Some(at);
        }
        at += 1;
    }
}

/// Where these bytes may be in others, also where one end or both are outside.
pub(crate) fn overlaps<'a>(bytes: &'a [u8], wanted: &'a [u8]) -> impl Iterator<Item = i64> + 'a {
    let next = move |from| position(bytes, from, wanted);
    let inside = std::iter::successors(next(0), move |at| next(at + 1));
    let (len, within) = (bytes.len() as i64, wanted.len() as i64);
    let at_an_end = (1 - within..0).chain((len + 1 - within).max(0)..len);
    let fits = move |at: &i64| {
        let there = |at: i64| usize::try_from(at).ok().and_then(|at| bytes.get(at));
        wanted.iter().zip(*at..).all(|(byte, at)| there(at).is_none_or(|there| there == byte))
    };
    inside.map(|at| at as i64).chain(at_an_end.filter(fits))
}

#[cfg(test)]
mod tests {
    use super::{overlaps, position};

    #[test]
    fn bytes_are_found_at_the_ends_in_part() {
        let found = |bytes: &[u8]| overlaps(bytes, &[1, 2, 3, 4]).collect::<Vec<_>>();
        assert_eq!(found(&[0, 1, 2, 3, 4, 1, 2]), [1, 5]);
        assert_eq!(found(&[4, 0, 3, 4]), [-3]);
        assert_eq!(found(&[3, 4, 1, 2, 3, 4, 0]), [2, -2]);
        assert_eq!(found(&[2, 3]), [-1]);
        assert_eq!(found(&[1]), [0]);
        assert_eq!(found(&[2, 2]), []);
        assert_eq!(overlaps(&[5, 6, 5], &[5]).collect::<Vec<_>>(), [0, 2]);
    }

    #[test]
    fn bytes_are_found_from_a_place_on() {
        let bytes = [1, 2, 1, 3, 1, 2, 1];
        assert_eq!(position(&bytes, 0, &[1, 2]), Some(0));
        assert_eq!(position(&bytes, 1, &[1, 2]), Some(4));
        assert_eq!(position(&bytes, 5, &[1, 2]), None);
        assert_eq!(position(&bytes, 6, &[1]), Some(6));
        assert_eq!(position(&bytes, 9, &[1]), None);
    }
}
