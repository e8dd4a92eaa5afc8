//! A few instructions that hit breakpoints, to find out whether those are reported.

use crate::Registers;

/// Calls a function and writes a word, as often as it is told, and ends with `brk`. It needs
/// nothing but the registers that [`Probe::start`] sets, and runs wherever it is put.
const CODE: [u8; 28] = [
    0x05, 0x00, 0x00, 0x94, // again: bl function
    0x22, 0x00, 0x00, 0xf9, // str x2, [x1]
    0x42, 0x04, 0x00, 0xf1, // subs x2, x2, #1
    0xa1, 0xff, 0xff, 0x54, // b.ne again
    0x00, 0x00, 0x20, 0xd4, // brk #0
    0x1f, 0x20, 0x03, 0xd5, // function: nop
    0xc0, 0x03, 0x5f, 0xd6, // ret
];

const FUNCTION: u64 = 20;

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
        Probe { at: registers.pc, word: registers.sp.wrapping_sub(512) & !7 }
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
        registers.set_pc(self.at);
        // Not X0: a thread that has just exec'ed still gets the result of that call there.
        let [_, word, count, ..] = &mut registers.x;
        (*word, *count) = (self.word, rounds.max(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_starts_at_its_beginning() {
        let mut registers = Registers { pc: 0x1000, sp: 0x9004, ..Registers::default() };
        let probe = Probe::at(&registers);
        probe.start(&mut registers, 7);
        assert_eq!((registers.pc, registers.x[2], registers.x[1]), (0x1000, 7, 0x8e00));
        assert_eq!(probe.function(), 0x1014);
        assert_eq!(CODE[FUNCTION as usize..][..4], [0x1f, 0x20, 0x03, 0xd5]);
    }
}
