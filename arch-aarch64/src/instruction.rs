//! Instructions: which depend on their address, what those do, and how the others are executed
//! elsewhere (Arm ARM C4.1, "A64 instruction set encoding").

use trapline_core::{CodeMode, EmulatedMemory, Relocation, SlotCode};

use crate::{Pstate, Registers};

/// How many bytes every instruction has.
pub(crate) const LENGTH: u8 = 4;

/// The register number that reads as zero, or is the stack pointer, by instruction.
const ZERO: u8 = 31;

/// An instruction that depends on where it is, and is carried out on the registers instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Emulated {
    what: What,
    /// The address of the next instruction.
    next: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum What {
    /// `adr`, `adrp`
    Address { to: u8, value: u64 },
    /// `ldr` and `ldrsw` of what stands near the code
    Load { to: u8, addr: u64, width: Width },
    /// `prfm`, which need not do anything
    Nothing,
    /// `b`, `bl`, `b.cond`, `cbz`, `cbnz`, `tbz`, `tbnz`
    Branch { target: u64, links: bool, when: Condition },
    /// `br`, `blr`, `ret`
    BranchTo { register: u8, links: bool, returns: bool },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Width {
    Word,
    Signed,
    Double,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Condition {
    Always,
    Flags(u8),
    Zero { register: u8, wide: bool, is: bool },
    Bit { register: u8, bit: u8, is: bool },
}

/// The instruction that some bytes begin with.
pub(crate) fn word(code: &[u8]) -> Option<u32> {
    code.first_chunk().copied().map(u32::from_le_bytes)
}

/// `count` bits from the bit `low` on.
pub(crate) fn bits(word: u32, low: u32, count: u32) -> u32 {
    word >> low & ((1 << count) - 1)
}

/// The same, as a signed number.
pub(crate) fn signed(word: u32, low: u32, count: u32) -> i64 {
    let unused = 64 - count;
    (i64::from(bits(word, low, count)) << unused) >> unused
}

fn register(word: u32, low: u32) -> u8 {
    bits(word, low, 5) as u8
}

/// See [`Arch::relocate`](trapline_core::Arch::relocate).
pub(crate) fn relocate(code: &[u8], from: u64, mode: CodeMode) -> Relocation<Emulated> {
    let Some(word) = word(code).filter(|_| mode == CodeMode::Bits64 && from % 4 == 0) else {
        return Relocation::Refused;
    };
    let next = from.wrapping_add(u64::from(LENGTH));
    let emulate = |what| Relocation::Emulate(Emulated { what, next });
    let near = |distance: i64| from.wrapping_add_signed(distance * 4);
    let branch =
        |distance, links, when| emulate(What::Branch { target: near(distance), links, when });
    match word {
        // Never executed: `udf`.
        _ if word >> 16 == 0 => Relocation::Refused,
        _ if word & 0x1f00_0000 == 0x1000_0000 => {
            let distance = signed(word, 5, 19) << 2 | i64::from(bits(word, 29, 2));
            let value = match word >> 31 {
                0 => from.wrapping_add_signed(distance),
                _ => (from & !0xfff).wrapping_add_signed(distance << 12),
            };
            emulate(What::Address { to: register(word, 0), value })
        }
        _ if is_literal(word) => {
            let (to, addr) = (register(word, 0), near(signed(word, 5, 19)));
            match (bits(word, 26, 1), word >> 30) {
                (0, 0) => emulate(What::Load { to, addr, width: Width::Word }),
                (0, 1) => emulate(What::Load { to, addr, width: Width::Double }),
                (0, 2) => emulate(What::Load { to, addr, width: Width::Signed }),
                (0, _) => emulate(What::Nothing),
                (_, 3) => Relocation::Refused,
                // Of a vector register, which are not among the general ones.
                _ => Relocation::Copy { length: LENGTH },
            }
        }
        _ if word & 0x7c00_0000 == 0x1400_0000 => {
            branch(signed(word, 0, 26), word >> 31 == 1, Condition::Always)
        }
        _ if word & 0xff00_0000 == 0x5400_0000 => {
            branch(signed(word, 5, 19), false, Condition::Flags(bits(word, 0, 4) as u8))
        }
        _ if word & 0x7e00_0000 == 0x3400_0000 => {
            let (wide, is) = (word >> 31 == 1, bits(word, 24, 1) == 0);
            let when = Condition::Zero { register: register(word, 0), wide, is };
            branch(signed(word, 5, 19), false, when)
        }
        _ if word & 0x7e00_0000 == 0x3600_0000 => {
            let bit = (bits(word, 31, 1) << 5 | bits(word, 19, 5)) as u8;
            let is = bits(word, 24, 1) == 1;
            let when = Condition::Bit { register: register(word, 0), bit, is };
            branch(signed(word, 5, 14), false, when)
        }
        _ if word & 0xffff_fc1f == 0xd61f_0000 || word & 0xffff_fc1f == 0xd65f_0000 => {
            let returns = bits(word, 21, 2) == 2;
            emulate(What::BranchTo { register: register(word, 5), links: false, returns })
        }
        _ if word & 0xffff_fc1f == 0xd63f_0000 => {
            emulate(What::BranchTo { register: register(word, 5), links: true, returns: false })
        }
        // `braa`, `retaa` and the like go where they would from anywhere; `blraa` would leave an
        // address in the slot behind.
        _ if word & 0xfe00_0000 == 0xd600_0000 => match bits(word, 21, 3) {
            0 | 2 => Relocation::Copy { length: LENGTH },
            _ => Relocation::Refused,
        },
        // `svc`; of the others some trap, and some are not for programs.
        _ if is_syscall(word, mode) => Relocation::Copy { length: LENGTH },
        _ if word & 0xff00_0000 == 0xd400_0000 => Relocation::Refused,
        // Hints, barriers, system registers.
        _ if word & 0xff00_0000 == 0xd500_0000 => Relocation::Copy { length: LENGTH },
        // Branches that were not known when this was written.
        _ if word & 0x1c00_0000 == 0x1400_0000 => Relocation::Refused,
        // A store that only works if nothing has come between it and its load.
        _ if is_store_exclusive(word) => Relocation::Refused,
        _ => Relocation::Copy { length: LENGTH },
    }
}

/// See [`Arch::place`](trapline_core::Arch::place): the instruction, and a branch.
pub(crate) fn place(code: &[u8], from: u64, to: u64, mode: CodeMode) -> Option<SlotCode> {
    let Relocation::Copy { length } = relocate(code, from, mode) else { return None };
    let mut word = word(code)?;
    if is_literal(word) {
        let target = from.wrapping_add_signed(signed(word, 5, 19) * 4);
        let distance = i32::try_from(target.wrapping_sub(to) as i64 / 4).ok()?;
        if !(-(1 << 18)..1 << 18).contains(&distance) {
            return None;
        }
        word = word & !(0x7_ffff << 5) | (distance as u32 & 0x7_ffff) << 5;
    }
    let back = from.wrapping_sub(to) as i64; // from the branch to what follows the original
    if back % 4 != 0 || !(-(1 << 27)..1 << 27).contains(&back) {
        return None;
    }
    let branch = 0x1400_0000 | (back / 4) as u32 & 0x3ff_ffff;
    let mut slot = [0; 8];
    slot[..4].copy_from_slice(&word.to_le_bytes());
    slot[4..].copy_from_slice(&branch.to_le_bytes());
    SlotCode::new(&slot, LENGTH, length)
}

/// See [`Arch::emulate`](trapline_core::Arch::emulate).
pub(crate) fn emulate(
    instruction: &Emulated,
    registers: &mut Registers,
    memory: &mut dyn EmulatedMemory,
) -> bool {
    let Emulated { what, next } = *instruction;
    let mut pc = next;
    match what {
        What::Address { to, value } => set(registers, to, value),
        What::Nothing => {}
        What::Load { to, addr, width } => {
            let mut bytes = [0; 8];
            let length = if width == Width::Double { 8 } else { 4 };
            let Some(read) = bytes.get_mut(..length) else { return false };
            if !memory.read(addr, read) {
                return false;
            }
            let value = u64::from_le_bytes(bytes);
            let value = match width {
                Width::Signed => i64::from(value as i32) as u64,
                Width::Word | Width::Double => value,
            };
            set(registers, to, value);
        }
        What::Branch { target, links, when } => {
            if holds(when, registers) {
                pc = target;
            }
            if links {
                set(registers, 30, next);
            }
        }
        What::BranchTo { register, links, .. } => {
            pc = get(registers, register);
            if pc % 4 != 0 {
                return false; // it faults
            }
            if links {
                set(registers, 30, next);
            }
        }
    }
    // As any instruction but a branch leaves it; nothing that may follow minds.
    registers.pstate &= !Pstate::BTYPE.bits();
    registers.pc = pc;
    true
}

/// See [`Arch::uses_return_stack`](trapline_core::Arch::uses_return_stack).
pub(crate) fn uses_return_stack(instruction: &Emulated) -> bool {
    match instruction.what {
        What::Branch { links, .. } => links,
        What::BranchTo { links, returns, .. } => links || returns,
        _ => false,
    }
}

fn get(registers: &Registers, number: u8) -> u64 {
    registers.x.get(usize::from(number)).copied().unwrap_or(0)
}

fn set(registers: &mut Registers, number: u8, value: u64) {
    if number != ZERO {
        if let Some(register) = registers.x.get_mut(usize::from(number)) {
            *register = value;
        }
    }
}

fn holds(condition: Condition, registers: &Registers) -> bool {
    let flags = registers.flags();
    let has = |flag| flags.contains(flag);
    match condition {
        Condition::Always => true,
        Condition::Flags(code) => {
            let holds = match code >> 1 {
                0 => has(Pstate::Z),
                1 => has(Pstate::C),
                2 => has(Pstate::N),
                3 => has(Pstate::V),
                4 => has(Pstate::C) && !has(Pstate::Z),
                5 => has(Pstate::N) == has(Pstate::V),
                6 => has(Pstate::N) == has(Pstate::V) && !has(Pstate::Z),
                _ => return true,
            };
            holds != (code & 1 == 1)
        }
        Condition::Zero { register, wide, is } => {
            let value = get(registers, register);
            let value = if wide { value } else { value & u64::from(u32::MAX) };
            (value == 0) == is
        }
        Condition::Bit { register, bit, is } => (get(registers, register) >> bit & 1 == 1) == is,
    }
}

/// `ldr`, `ldrsw` or `prfm` of an address near the code.
pub(crate) fn is_literal(word: u32) -> bool {
    word & 0x3b00_0000 == 0x1800_0000
}

/// `svc`; of 32-bit code the one without a condition, in the longer of its two sets of instructions.
pub(crate) fn is_syscall(word: u32, mode: CodeMode) -> bool {
    match mode {
        CodeMode::Bits64 => word & 0xffe0_001f == 0xd400_0001,
        _ => word & 0xff00_0000 == 0xef00_0000,
    }
}

/// `ldxr`, `ldaxr`, `ldxp`, `ldaxp`, of any size.
fn is_load_exclusive(word: u32) -> bool {
    word & 0x3fc0_0000 == 0x0840_0000 && !is_compare_and_swap_pair(word)
}

/// `stxr`, `stlxr`, `stxp`, `stlxp`, of any size.
fn is_store_exclusive(word: u32) -> bool {
    word & 0x3fc0_0000 == 0x0800_0000 && !is_compare_and_swap_pair(word)
}

/// `casp`, whose encoding is next to that of the pairs.
fn is_compare_and_swap_pair(word: u32) -> bool {
    word & 0xbfa0_7c00 == 0x0820_7c00
}

/// How many instructions a load and the store that belongs to it may be apart.
pub(crate) const SEQUENCE: usize = 16;

/// Whether an instruction lies between a load that reserves memory and the store that only works if
/// nothing else has come between: a trap there makes the store fail, and the program would try
/// again for ever. `before` is the code up to it, `at` the code from it on.
pub(crate) fn interrupts_sequence(before: &[u8], at: &[u8]) -> bool {
    let ends = |&word: &u32| {
        // A branch that is always taken; a call, which may do anything.
        let branches = word & 0x7c00_0000 == 0x1400_0000 || word & 0xfe00_0000 == 0xd600_0000;
        branches || word >> 16 == 0 || word & 0xff00_0000 == 0xd400_0000
    };
    let mut earlier = before.rchunks_exact(4).filter_map(word).take(SEQUENCE);
    let opener =
        earlier.find(|word| is_load_exclusive(*word) || is_store_exclusive(*word) || ends(word));
    let mut later = at.chunks_exact(4).filter_map(word).take(SEQUENCE);
    let closer =
        later.find(|word| is_load_exclusive(*word) || is_store_exclusive(*word) || ends(word));
    opener.is_some_and(is_load_exclusive) && closer.is_some_and(is_store_exclusive)
}

#[cfg(test)]
#[path = "instruction_tests.rs"]
mod tests;
