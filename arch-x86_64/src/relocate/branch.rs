//! Near branches, calls and returns.

use iced_x86::{ConditionCode, Instruction, Mnemonic, OpKind, Register};
use trapline_core::EmulatedMemory;

use super::operand::{Operand, Part, Width};
use crate::debug::USER_END;
use crate::{RFlags, Registers};

/// A near branch, call or return.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Branch {
    when: When,
    target: Target,
    is_call: bool,
}

/// When it is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum When {
    Always,
    /// `jcc`
    Flags(ConditionCode),
    /// `loop`, `loope`, `loopne`: with one less in a register it is not 0 yet, and ZF is this.
    Counted {
        count: Part,
        zero: Option<bool>,
    },
    /// `jrcxz`: this register is 0.
    Zero(Part),
}

/// Where it leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Target {
    Address(u64),
    Register(Part),
    Memory(Operand),
    /// `ret`: to what is on the stack, and this many bytes more are taken off.
    Return {
        release: u16,
    },
}

impl Branch {
    /// `None` if it is none.
    pub(super) fn new(instruction: &Instruction, width: Width) -> Option<Self> {
        let code = instruction.code();
        let is_call = code.is_call_near() || code.is_call_near_indirect();
        if instruction.mnemonic() == Mnemonic::Ret {
            let has_operand = instruction.op_count() == 1;
            let release = if has_operand { instruction.immediate16() } else { 0 };
            return Some(Self { when: When::Always, target: Target::Return { release }, is_call });
        }
        let when = if is_call || code.is_jmp_short_or_near() || code.is_jmp_near_indirect() {
            When::Always
        } else if code.is_jcc_short_or_near() {
            When::Flags(code.condition_code())
        } else if code.is_loop() || code.is_loopcc() {
            let zero = match code.condition_code() {
                ConditionCode::e => Some(true),
                ConditionCode::ne => Some(false),
                _ => None,
            };
            When::Counted { count: count(instruction)?, zero }
        } else if code.is_jcx_short() {
            When::Zero(count(instruction)?)
        } else {
            return None;
        };
        let target = match instruction.op0_kind() {
            OpKind::NearBranch32 | OpKind::NearBranch64 => {
                Target::Address(width.wrap(instruction.near_branch_target()))
            }
            OpKind::Register => Target::Register(Part::new(instruction.op0_register())?),
            OpKind::Memory => Target::Memory(Operand::new(instruction, width)?),
            _ => return None,
        };
        Some(Self { when, target, is_call })
    }

    pub(super) fn uses_return_stack(&self) -> bool {
        self.is_call || matches!(self.target, Target::Return { .. })
    }

    /// Carries it out on the registers, which count only if it says `Some`. What is written to
    /// memory is written last.
    pub(super) fn carry_out(
        &self,
        registers: &mut Registers,
        next: u64,
        width: Width,
        memory: &mut dyn EmulatedMemory,
    ) -> Option<()> {
        let top = width.wrap(registers.rsp);
        let taken = self.when.holds(registers);
        let target = match self.target {
            _ if !taken => next,
            Target::Address(addr) => addr,
            Target::Register(part) => part.get(registers),
            Target::Memory(operand) => {
                width.read(operand.address(registers)?, registers, memory)?
            }
            Target::Return { release } => {
                let target = width.read(top, registers, memory)?;
                let bytes = width.bytes().wrapping_add(release.into());
                registers.rsp = width.wrap(top.wrapping_add(bytes));
                target
            }
        };
        if target >= USER_END {
            return None; // some of it faults at the branch, some at the target
        }
        if self.is_call {
            let pushed = width.wrap(top.wrapping_sub(width.bytes()));
            if !width.write(pushed, next, registers, memory) {
                return None;
            }
            registers.rsp = pushed;
        }
        registers.rip = target;
        Some(())
    }
}

/// The register that `loop` and `jrcxz` count in: by the size of addresses, not of operands.
fn count(instruction: &Instruction) -> Option<Part> {
    use iced_x86::Code::*;
    Part::new(match instruction.code() {
        Loop_rel8_32_CX | Loope_rel8_32_CX | Loopne_rel8_32_CX | Jcxz_rel8_32 => Register::CX,
        Loop_rel8_32_ECX | Loope_rel8_32_ECX | Loopne_rel8_32_ECX | Jecxz_rel8_32 => Register::ECX,
        Loop_rel8_64_ECX | Loope_rel8_64_ECX | Loopne_rel8_64_ECX | Jecxz_rel8_64 => Register::ECX,
        Loop_rel8_64_RCX | Loope_rel8_64_RCX | Loopne_rel8_64_RCX | Jrcxz_rel8_64 => Register::RCX,
        _ => return None,
    })
}

impl When {
    /// Whether it is taken; what it counts is counted.
    fn holds(self, registers: &mut Registers) -> bool {
        match self {
            Self::Always => true,
            Self::Flags(condition) => holds(condition, registers.flags()),
            Self::Counted { count, zero } => {
                let left = count.get(registers).wrapping_sub(1);
                count.set(registers, left);
                let is_zero = registers.flags().contains(RFlags::ZF);
                count.get(registers) != 0 && zero.is_none_or(|zero| zero == is_zero)
            }
            Self::Zero(part) => part.get(registers) == 0,
        }
    }
}

/// Whether the flags fulfil a condition (SDM volume 1, appendix B).
fn holds(condition: ConditionCode, flags: RFlags) -> bool {
    use ConditionCode as Is;
    let has = |flag| flags.contains(flag);
    let less = has(RFlags::SF) != has(RFlags::OF);
    match condition {
        Is::o => has(RFlags::OF),
        Is::no => !has(RFlags::OF),
        Is::b => has(RFlags::CF),
        Is::ae => !has(RFlags::CF),
        Is::e => has(RFlags::ZF),
        Is::ne => !has(RFlags::ZF),
        Is::be => has(RFlags::CF) || has(RFlags::ZF),
        Is::a => !has(RFlags::CF) && !has(RFlags::ZF),
        Is::s => has(RFlags::SF),
        Is::ns => !has(RFlags::SF),
        Is::p => has(RFlags::PF),
        Is::np => !has(RFlags::PF),
        Is::l => less,
        Is::ge => !less,
        Is::le => less || has(RFlags::ZF),
        Is::g => !less && !has(RFlags::ZF),
        _ => true,
    }
}
