//! The x87's tag word: gdb has the one of the 8087, two bits for each register; the CPU saves an
//! abridged one, a bit for each (SDM vol. 1, 8.1.7 and 10.5.1.1).

/// What a register holds, as the full tag word says it.
const VALID: u16 = 0;
const ZERO: u16 = 1;
const SPECIAL: u16 = 2;
const EMPTY: u16 = 3;

/// The tag of an 80-bit value that is in use.
fn tag(value: &[u8]) -> u16 {
    let mut wide = [0; 16];
    for (to, from) in wide.iter_mut().zip(value.iter().take(10)) {
        *to = *from;
    }
    let bits = u128::from_le_bytes(wide);
    let (mantissa, exponent) = (bits as u64, (bits >> 64) as u16 & 0x7fff);
    match (exponent, mantissa) {
        (0, 0) => ZERO,
        (0, _) | (0x7fff, _) => SPECIAL,
        // A normal number has its integer bit set.
        _ if mantissa >> 63 == 1 => VALID,
        _ => SPECIAL,
    }
}

/// The full tag word. `st` are the registers from the top of the stack on, which the status word
/// names; tags are those of the physical registers.
pub(crate) fn full(abridged: u8, status: u16, st: &[[u8; 16]; 8]) -> u16 {
    let top = usize::from(status >> 11 & 7);
    (0..8).fold(0, |word, physical| {
        let used = abridged >> physical & 1 == 1;
        let tag = if used { tag(&st[(physical + 8 - top) % 8]) } else { EMPTY };
        word | tag << (2 * physical)
    })
}

/// The abridged tag word of a full one.
pub(crate) fn abridged(full: u16) -> u8 {
    (0..8).fold(0, |word, physical| {
        let used = full >> (2 * physical) & 3 != EMPTY;
        word | u8::from(used) << physical
    })
}
