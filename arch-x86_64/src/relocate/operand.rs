//! What a branch refers to: registers and memory.

use iced_x86::{CodeSize, Instruction, Register};
use trapline_core::EmulatedMemory;

use crate::{RFlags, Registers};

/// How many bytes an address has: that of 64-bit or that of 32-bit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Width {
    Four,
    Eight,
}

impl Width {
    pub(super) fn bytes(self) -> u64 {
        match self {
            Self::Four => 4,
            Self::Eight => 8,
        }
    }

    /// An address of this width: it wraps around.
    pub(super) fn wrap(self, addr: u64) -> u64 {
        match self {
            Self::Four => addr & u64::from(u32::MAX),
            Self::Eight => addr,
        }
    }

    /// Reads a value; `None` if the program itself could not.
    pub(super) fn read(
        self,
        addr: u64,
        registers: &Registers,
        memory: &mut dyn EmulatedMemory,
    ) -> Option<u64> {
        let mut bytes = [0; 8];
        let filled = match self {
            Self::Four => bytes.get_mut(..4)?,
            Self::Eight => &mut bytes,
        };
        let works = self.may_access(addr, registers) && memory.read(addr, filled);
        works.then(|| u64::from_le_bytes(bytes))
    }

    /// Writes a value, and says whether the program itself could.
    pub(super) fn write(
        self,
        addr: u64,
        value: u64,
        registers: &Registers,
        memory: &mut dyn EmulatedMemory,
    ) -> bool {
        let bytes = value.to_le_bytes();
        let data = match self {
            Self::Four => bytes.get(..4).unwrap_or_default(),
            Self::Eight => &bytes,
        };
        self.may_access(addr, registers) && memory.write(addr, data)
    }

    /// Whether an access is aligned, if the program asks for a fault where it is not.
    fn may_access(self, addr: u64, registers: &Registers) -> bool {
        !registers.flags().contains(RFlags::AC) || addr % self.bytes() == 0
    }
}

/// The part of a register that an instruction names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Part {
    register: Register,
}

impl Part {
    /// `None` if it is no general register of 16, 32 or 64 bits.
    pub(super) fn new(register: Register) -> Option<Self> {
        let known = register.is_gpr16() || register.is_gpr32() || register.is_gpr64();
        known.then_some(Self { register })
    }

    fn mask(self) -> u64 {
        match self.register.size() {
            2 => 0xffff,
            4 => 0xffff_ffff,
            _ => u64::MAX,
        }
    }

    pub(super) fn get(self, registers: &Registers) -> u64 {
        let mut copy = *registers;
        *self.whole(&mut copy) & self.mask()
    }

    /// Writing 32 bits clears the upper half; writing 16 leaves the rest.
    pub(super) fn set(self, registers: &mut Registers, value: u64) {
        let kept = if self.register.size() == 2 { !self.mask() } else { 0 };
        let mask = self.mask();
        let whole = self.whole(registers);
        *whole = *whole & kept | value & mask;
    }

    fn whole(self, registers: &mut Registers) -> &mut u64 {
        match self.register.full_register() {
            Register::RAX => &mut registers.rax,
            Register::RCX => &mut registers.rcx,
            Register::RDX => &mut registers.rdx,
            Register::RBX => &mut registers.rbx,
            Register::RSP => &mut registers.rsp,
            Register::RBP => &mut registers.rbp,
            Register::RSI => &mut registers.rsi,
            Register::RDI => &mut registers.rdi,
            Register::R8 => &mut registers.r8,
            Register::R9 => &mut registers.r9,
            Register::R10 => &mut registers.r10,
            Register::R11 => &mut registers.r11,
            Register::R12 => &mut registers.r12,
            Register::R13 => &mut registers.r13,
            Register::R14 => &mut registers.r14,
            _ => &mut registers.r15,
        }
    }
}

/// A memory operand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Operand {
    /// FS or GS; the other segments start at 0, as they do in 64-bit code and, on the systems that
    /// there are, in 32-bit programs.
    segment: Register,
    base: Option<Part>,
    index: Option<Part>,
    scale: u64,
    displacement: u64,
    /// To how many bytes the offset into the segment wraps around.
    mask: u64,
    /// To how many bytes the address does.
    width: Width,
}

impl Operand {
    pub(super) fn new(instruction: &Instruction, width: Width) -> Option<Self> {
        let (base, index) = (instruction.memory_base(), instruction.memory_index());
        let bits = if base != Register::None {
            base.size()
        } else if index != Register::None {
            index.size()
        } else {
            match (instruction.memory_displ_size(), instruction.code_size()) {
                (size @ (2 | 4 | 8), _) => size.try_into().ok()?,
                (_, CodeSize::Code32) => 4,
                _ => 8,
            }
        };
        let part = |register| match register {
            // Relative to the program counter: the displacement is the address.
            Register::None | Register::RIP | Register::EIP => Some(None),
            register => Part::new(register).map(Some),
        };
        Some(Self {
            segment: instruction.memory_segment(),
            base: part(base)?,
            index: part(index)?,
            scale: instruction.memory_index_scale().into(),
            displacement: instruction.memory_displacement64(),
            mask: match bits {
                2 => 0xffff,
                4 => 0xffff_ffff,
                _ => u64::MAX,
            },
            width,
        })
    }

    /// Its linear address; `None` if there is none, and the access faults.
    pub(super) fn address(&self, registers: &Registers) -> Option<u64> {
        let part = |part: Option<Part>| part.map_or(0, |part| part.get(registers));
        let offset = part(self.base)
            .wrapping_add(part(self.index).wrapping_mul(self.scale))
            .wrapping_add(self.displacement);
        let (selector, start) = match self.segment {
            Register::FS => (registers.fs, registers.fs_base),
            Register::GS => (registers.gs, registers.gs_base),
            _ => return Some(self.width.wrap(offset & self.mask)),
        };
        // In 32-bit code a selector of 0 to 3 means no segment; in 64-bit code only bases count.
        let is_none = self.width == Width::Four && selector & 0xfffc == 0;
        (!is_none).then(|| self.width.wrap((offset & self.mask).wrapping_add(start)))
    }
}
