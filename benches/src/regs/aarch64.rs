//! Instructions of aarch64.

use std::arch::asm;

use super::super::hot::SLOT;
use super::super::tracee::{CODE, WORD};

/// An instruction that does nothing, whose length divides the distance of the places: `nop`.
pub const NOTHING: &[u8] = &NOP.to_le_bytes();

const NOP: u32 = 0xd503_201f;

/// `b`, by so many bytes.
const fn branch(by: i64) -> u32 {
    0x1400_0000 | (by >> 2) as u32 & 0x03ff_ffff
}

/// Traps.
///
/// # Safety
///
/// A tracer takes the trap. It stays at its instruction, so that to go on is to trap again.
pub unsafe fn trap() {
    // SAFETY: by the caller's promise.
    unsafe { asm!("brk #0") }
}

/// Counts for ever.
pub fn count() -> ! {
    // SAFETY: counts in a register.
    unsafe { asm!("2: add {0}, {0}, #1", "b 2b", in(reg) 0_u64, options(noreturn)) }
}

/// Goes on at an address, for good.
///
/// # Safety
///
/// There is code that never returns, and that does no harm.
pub unsafe fn go_to(addr: u64) -> ! {
    // SAFETY: by the caller's promise.
    unsafe { asm!("br {0}", in(reg) addr, options(noreturn)) }
}

/// A loop for `CODE`: does nothing, then adds 1 to `WORD`.
pub fn endless() -> Vec<u8> {
    let distance = (WORD - CODE - 4) as u32;
    // adr x0, WORD: the two low bits of the distance are apart from the others.
    let adr = 0x1000_0000 | (distance & 3) << 29 | (distance >> 2) << 5;
    // ldr x1, [x0]; add x1, x1, #1; str x1, [x0]
    let code = [NOP, adr, 0xf940_0001, 0x9100_0421, 0xf900_0001, branch(-20)];
    code.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// For `SLOT`: a copy of the loop's first instruction, and a branch to its second one.
pub fn copied() -> Vec<u8> {
    let back = branch((CODE + 4).wrapping_sub(SLOT + 4) as i64);
    [NOP, back].iter().flat_map(|word| word.to_le_bytes()).collect()
}
