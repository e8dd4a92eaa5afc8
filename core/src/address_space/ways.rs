//! What an instruction is, by the mode in which it is executed.

use crate::{Arch, CodeMode, Passing};

/// The answers of a CPU for the same bytes in each mode. Which one counts is known when a thread
/// comes by: its code segment decides, not the program that it is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ways {
    bits64: Way,
    bits32: Way,
    bits16: Way,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Way {
    passing: Passing,
    /// The instruction is longer than the one that traps.
    is_longer: bool,
}

impl Ways {
    /// For the instruction that these bytes begin with.
    pub(crate) fn of<A: Arch>(code: &[u8]) -> Self {
        let way = |mode| {
            let length = A::instruction_length(code, mode).unwrap_or(0);
            Way {
                passing: A::passing(code, mode),
                is_longer: u64::from(length) > A::BREAKPOINT_ADVANCE,
            }
        };
        Ways {
            bits64: way(CodeMode::Bits64),
            bits32: way(CodeMode::Bits32),
            bits16: way(CodeMode::Bits16),
        }
    }

    fn way(self, mode: CodeMode) -> Way {
        match mode {
            CodeMode::Bits64 => self.bits64,
            CodeMode::Bits32 => self.bits32,
            CodeMode::Bits16 => self.bits16,
        }
    }

    /// What it takes to get past it.
    pub(crate) fn in_mode(self, mode: CodeMode) -> Passing {
        self.way(mode).passing
    }

    /// Whether no other instruction begins where the program counter is once the breakpoint
    /// instruction has trapped.
    pub(crate) fn covers_trap(self, mode: CodeMode) -> bool {
        self.way(mode).is_longer
    }

    /// Whether it is this in any mode.
    pub(crate) fn can_be(self, passing: Passing) -> bool {
        [self.bits64, self.bits32, self.bits16].iter().any(|way| way.passing == passing)
    }
}

#[cfg(test)]
impl From<Passing> for Ways {
    /// The same in every mode.
    fn from(passing: Passing) -> Self {
        let way = Way { passing, is_longer: false };
        Ways { bits64: way, bits32: way, bits16: way }
    }
}
