//! A few instructions that hit breakpoints, to find out whether those are reported.

use crate::Registers;

/// Calls a function and writes a word, as often as it is told, and ends with `int3`. It needs
/// nothing but the registers that [`Probe::start`] sets, and runs wherever it is put.
const CODE: [u8; 16] = [
    0xe8, 0x09, 0x00, 0x00, 0x00, // again: call function
    0x48, 0x89, 0x3e, // mov [rsi], rdi
    0x48, 0xff, 0xcf, // dec rdi
    0x75, 0xf3, // jnz again
    0xcc, // int3
    0x90, // function: nop
    0xc3, // ret
];

const FUNCTION: u64 = 14;

/// Instructions to be put into a stopped program, instead of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probe {
    /// Where they are.
    pub at: u64,
    /// The word that they write: 8 bytes, aligned.
    pub word: u64,
}

impl Probe {
    /// One that is put where a thread stands, with its word below the thread's stack.
    pub fn at(registers: &Registers) -> Self {
        Probe { at: registers.rip, word: registers.rsp.wrapping_sub(512) & !7 }
    }

    /// What is to be written to [`at`](Probe::at).
    pub fn code() -> &'static [u8] {
        &CODE
    }

    /// The function that is called: one instruction that does nothing, and the return.
    pub fn function(self) -> u64 {
        self.at.wrapping_add(FUNCTION)
    }

    /// Has a thread do it `rounds` times, at least once, and trap.
    pub fn start(self, registers: &mut Registers, rounds: u64) {
        <crate::X86_64 as trapline_core::Arch>::set_pc(registers, self.at);
        registers.rdi = rounds.max(1);
        registers.rsi = self.word;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_jumps_go_where_they_should() {
        let call = i32::from_le_bytes(CODE[1..5].try_into().unwrap());
        assert_eq!(5 + i64::from(call), FUNCTION as i64);
        assert_eq!(CODE[FUNCTION as usize..], [0x90, 0xc3]);
        assert_eq!(13 + i64::from(CODE[12] as i8), 0);
    }

    #[test]
    fn it_starts_at_its_beginning() {
        let mut registers = Registers { rip: 0x1000, rsp: 0x9004, ..Registers::default() };
        let probe = Probe::at(&registers);
        probe.start(&mut registers, 7);
        assert_eq!((registers.rip, registers.rdi, registers.rsi), (0x1000, 7, 0x8e00));
        assert_eq!(probe.function(), 0x100e);
    }
}
