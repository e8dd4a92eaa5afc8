//! A few instructions that hit breakpoints, to find out whether those are reported.

use trapline_core::debug_registers::Probe;

use crate::Registers;

/// Calls a function and writes a word, as often as it is told, and ends with `brk`. It needs
/// nothing but the registers that [`probe`] sets, and runs wherever it is put.
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

/// The instructions for a thread; see [`Arch::probe`](trapline_core::Arch::probe).
pub(crate) fn probe(registers: &Registers, rounds: u64) -> Probe<Registers> {
    let at = registers.pc;
    let word = registers.sp.wrapping_sub(512) & !7;
    let mut registers = *registers;
    registers.set_pc(at);
    // Not X0: a thread that has just exec'ed still gets the result of that call there.
    let [_, address, count, ..] = &mut registers.x;
    (*address, *count) = (word, rounds);
    Probe { at, code: &CODE, function: at.wrapping_add(FUNCTION), word, registers }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_starts_at_its_beginning() {
        let registers = Registers { pc: 0x1000, sp: 0x9004, ..Registers::default() };
        let Probe { function, registers, .. } = probe(&registers, 7);
        assert_eq!((registers.pc, registers.x[2], registers.x[1]), (0x1000, 7, 0x8e00));
        assert_eq!(function, 0x1014);
        assert_eq!(CODE[FUNCTION as usize..][..4], [0x1f, 0x20, 0x03, 0xd5]);
    }
}
