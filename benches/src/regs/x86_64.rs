//! Instructions of x86-64.

use std::arch::asm;

use super::super::hot::SLOT;
use super::super::tracee::{CODE, WORD};

/// An instruction that does nothing, whose length divides the distance of the places.
pub const NOTHING: &[u8] = &[0x90];

/// Traps.
///
/// # Safety
///
/// A tracer takes the trap.
pub unsafe fn trap() {
    // SAFETY: by the caller's promise.
    unsafe { asm!("int3") }
}

/// Counts for ever.
pub fn count() -> ! {
    // SAFETY: counts in a register.
    unsafe { asm!("2: add {0}, 1", "jmp 2b", in(reg) 0_u64, options(noreturn)) }
}

/// Goes on at an address, for good.
///
/// # Safety
///
/// There is code that never returns, and that does no harm.
pub unsafe fn go_to(addr: u64) -> ! {
    // SAFETY: by the caller's promise.
    unsafe { asm!("jmp {0}", in(reg) addr, options(noreturn)) }
}

/// A loop for `CODE`: does nothing, then adds 1 to `WORD`.
pub fn endless() -> Vec<u8> {
    // xchg ax, ax; inc qword [rip + (WORD - the next instruction)]; jmp CODE
    let mut code = vec![0x66, 0x90, 0x48, 0xff, 0x05];
    code.extend(((WORD - CODE - 9) as u32).to_le_bytes());
    code.extend([0xeb, 0xf5]);
    code
}

/// For `SLOT`: a copy of the loop's first instruction, and a jump to its second one.
pub fn copied() -> Vec<u8> {
    let mut code = vec![0x66, 0x90, 0xe9];
    code.extend(((CODE + 2).wrapping_sub(SLOT + 7) as u32).to_le_bytes());
    code
}
