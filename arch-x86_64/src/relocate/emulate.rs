//! Carrying out an instruction on the registers and the memory.

#[cfg(test)]
mod tests;

use iced_x86::{Instruction, Mnemonic};
use trapline_core::{CodeMode, EmulatedMemory};

use super::branch::Branch;
use super::operand::Width;
use crate::{RFlags, Registers};

/// An instruction that can be carried out on the registers and the memory, without the CPU: a near
/// branch, call or return, or `popf`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Emulated {
    kind: Kind,
    /// The address behind it.
    next: u64,
    width: Width,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Branch(Branch),
    PopFlags,
}

impl Emulated {
    /// `None` if it is none of those.
    pub(super) fn new(instruction: &Instruction, code: &[u8], mode: CodeMode) -> Option<Self> {
        let width = match mode {
            CodeMode::Bits64 => Width::Eight,
            CodeMode::Bits32 => Width::Four,
            CodeMode::Bits16 => return None,
        };
        let kind = match instruction.mnemonic() {
            Mnemonic::Popfq | Mnemonic::Popfd => Kind::PopFlags,
            // In 64-bit code Intel's CPUs ignore the prefix for branches, and AMD's do not.
            _ if is_16_bit(code, mode) => return None,
            _ => Kind::Branch(Branch::new(instruction, width)?),
        };
        Some(Self { kind, next: width.wrap(instruction.next_ip()), width })
    }

    pub(crate) fn uses_return_stack(&self) -> bool {
        matches!(self.kind, Kind::Branch(branch) if branch.uses_return_stack())
    }

    /// Carries it out; false, and nothing has changed, if that has to be done in place.
    pub(crate) fn carry_out(
        &self,
        registers: &mut Registers,
        memory: &mut dyn EmulatedMemory,
    ) -> bool {
        // The trap behind it would be missed; the system call comes before it.
        if registers.flags().contains(RFlags::TF) || registers.will_restart() {
            return false;
        }
        let mut after = *registers;
        let done = match self.kind {
            Kind::Branch(branch) => branch.carry_out(&mut after, self.next, self.width, memory),
            Kind::PopFlags => pop_flags(&mut after, self.next, self.width, memory),
        };
        if done.is_some() {
            after.rflags &= !RFlags::RF.bits(); // as after any instruction
            *registers = after;
        }
        done.is_some()
    }
}

/// `popf`, as far as it changes nothing but what a tracer can change as well (Linux has a mask for
/// that, `FLAG_MASK` in `arch/x86/kernel/ptrace.c`), and does not set TF.
fn pop_flags(
    registers: &mut Registers,
    next: u64,
    width: Width,
    memory: &mut dyn EmulatedMemory,
) -> Option<()> {
    const CHANGED: RFlags = RFlags::CF
        .union(RFlags::PF)
        .union(RFlags::AF)
        .union(RFlags::ZF)
        .union(RFlags::SF)
        .union(RFlags::DF)
        .union(RFlags::OF)
        .union(RFlags::AC);
    const FAR: RFlags = RFlags::TF.union(RFlags::NT).union(RFlags::ID);
    /// The I/O privilege level: where it is not 0, `popf` can change IF.
    const IOPL: u64 = 3 << 12;

    let popped = width.read(width.wrap(registers.rsp), registers, memory)?;
    let differ = popped ^ registers.rflags;
    if differ & FAR.bits() != 0 || registers.rflags & IOPL != 0 {
        return None;
    }
    registers.rflags ^= differ & CHANGED.bits();
    registers.rsp = width.wrap(registers.rsp.wrapping_add(width.bytes()));
    registers.rip = next;
    Some(())
}

/// Whether a prefix asks for operands of 16 bits, and no REX.W overrides it.
fn is_16_bit(code: &[u8], mode: CodeMode) -> bool {
    let (mut asked, mut overridden) = (false, false);
    for byte in code {
        match byte {
            // REX counts only where nothing but the instruction follows.
            0x40..=0x4f if mode == CodeMode::Bits64 => overridden = byte & 8 != 0,
            0x66 => (asked, overridden) = (true, false),
            0x26 | 0x2e | 0x36 | 0x3e | 0x64 | 0x65 | 0x67 | 0xf0 | 0xf2 | 0xf3 => {
                overridden = false;
            }
            _ => break,
        }
    }
    asked && !overridden
}
