//! Code that was read for steps: a loop that is stepped through is read once.

use crate::limits::CHUNK;
use crate::{Pid, Result};

/// How many pieces of code are kept.
const PIECES: usize = 16;
/// The longest instruction of any CPU, which may reach into the next piece.
const LONGEST: usize = 16;

/// Code that was read for steps, and is good for others as long as nothing but steps is made.
#[derive(Default)]
pub(crate) struct CodeCache {
    pieces: [Option<Piece>; PIECES],
}

/// A piece of code of a process.
#[derive(Clone, Copy)]
pub(crate) struct Piece {
    pid: Pid,
    start: u64,
    code: [u8; CHUNK + LONGEST],
    len: usize,
}

impl Piece {
    /// The code around an address, by `read`, which says how much it is.
    pub(crate) fn around(
        pid: Pid,
        addr: u64,
        read: impl FnOnce(u64, &mut [u8]) -> Result<usize>,
    ) -> Result<Self> {
        let start = addr & !(CHUNK as u64 - 1);
        let mut piece = Piece { pid, start, code: [0; CHUNK + LONGEST], len: 0 };
        piece.len = read(start, &mut piece.code)?;
        Ok(piece)
    }
}

impl CodeCache {
    fn at(start: u64) -> usize {
        (start / CHUNK as u64) as usize % PIECES
    }

    /// The code at an address, if it is known.
    pub(crate) fn find(&self, pid: Pid, addr: u64) -> Option<&[u8]> {
        let start = addr & !(CHUNK as u64 - 1);
        let piece = self.pieces.get(Self::at(start))?.as_ref()?;
        let fits = (piece.pid, piece.start) == (pid, start);
        let code = piece.code.get(..piece.len)?.get((addr - start) as usize..)?;
        (fits && !code.is_empty()).then_some(code)
    }

    pub(crate) fn put(&mut self, piece: Piece) {
        if let Some(place) = self.pieces.get_mut(Self::at(piece.start)) {
            *place = Some(piece);
        }
    }

    /// What is known of a process's code may not be so any more.
    pub(crate) fn forget(&mut self, pid: Pid) {
        for piece in &mut self.pieces {
            *piece = piece.filter(|piece| piece.pid != pid);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;

    const ONE: Pid = Pid::from_raw(1);
    const OTHER: Pid = Pid::from_raw(2);

    /// Memory in which each byte is the lowest of its address, up to 0x1100.
    fn read(start: u64, buf: &mut [u8]) -> Result<usize> {
        let mapped = usize::try_from(0x1100_u64.saturating_sub(start)).unwrap_or(0).min(buf.len());
        for (at, byte) in buf.iter_mut().take(mapped).enumerate() {
            *byte = (start as usize + at) as u8;
        }
        Ok(mapped)
    }

    #[test]
    fn code_is_known_from_any_address_within_what_was_read() {
        let mut cache = CodeCache::default();
        assert!(cache.find(ONE, 0x1010).is_none());
        cache.put(Piece::around(ONE, 0x1010, read).unwrap());
        assert_eq!(cache.find(ONE, 0x1010).map(|code| code[..2].to_vec()), Some(vec![0x10, 0x11]));
        assert_eq!(cache.find(ONE, 0x1000).map(|code| code[0]), Some(0));
        assert!(cache.find(OTHER, 0x1010).is_none(), "another process's");
        cache.forget(ONE);
        assert!(cache.find(ONE, 0x1010).is_none());
    }

    #[test]
    fn what_is_not_mapped_is_not_known() {
        let mut cache = CodeCache::default();
        cache.put(Piece::around(ONE, 0x1100, read).unwrap());
        assert!(cache.find(ONE, 0x1100).is_none());
        assert!(Piece::around(ONE, 0x1000, |_, _| Err(Error::GONE)).is_err());
    }
}
