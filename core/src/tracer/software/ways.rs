//! What it takes to get past an instruction, by the mode in which it is executed.

use crate::{Arch, CodeMode, Passing};

/// The answers of a CPU for the same bytes in each mode. Which one counts is known when a thread
/// comes by: its code segment decides, not the program that it is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ways {
    bits64: Passing,
    bits32: Passing,
    bits16: Passing,
}

impl Ways {
    /// Past the instruction that these bytes begin with.
    pub(super) fn of<A: Arch>(code: &[u8]) -> Self {
        Ways {
            bits64: A::passing(code, CodeMode::Bits64),
            bits32: A::passing(code, CodeMode::Bits32),
            bits16: A::passing(code, CodeMode::Bits16),
        }
    }

    pub(super) fn in_mode(self, mode: CodeMode) -> Passing {
        match mode {
            CodeMode::Bits64 => self.bits64,
            CodeMode::Bits32 => self.bits32,
            CodeMode::Bits16 => self.bits16,
        }
    }

    /// Whether it is this in any mode.
    pub(super) fn can_be(self, passing: Passing) -> bool {
        [self.bits64, self.bits32, self.bits16].contains(&passing)
    }
}

#[cfg(test)]
impl From<Passing> for Ways {
    /// The same in every mode.
    fn from(passing: Passing) -> Self {
        Ways { bits64: passing, bits32: passing, bits16: passing }
    }
}
