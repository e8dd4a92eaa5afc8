//! A few instructions that hit breakpoints, to find out whether those are reported.

use trapline_core::Arch;
use trapline_core::debug_registers::Probe;

use crate::{Registers, X86_64};

/// Calls a function and writes a word, as often as it is told, and ends with `int3`. It needs
/// nothing but the registers that [`probe`] sets, and runs wherever it is put.
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

/// The instructions for a thread; see [`Arch::probe`].
pub(crate) fn probe(registers: &Registers, rounds: u64) -> Probe<Registers> {
    let at = registers.rip;
    let word = registers.rsp.wrapping_sub(512) & !7;
    let mut registers = Registers { rdi: rounds, rsi: word, ..*registers };
    X86_64::set_pc(&mut registers, at);
    Probe { at, code: &CODE, function: at.wrapping_add(FUNCTION), word, registers }
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
        let registers = Registers { rip: 0x1000, rsp: 0x9004, ..Registers::default() };
        let Probe { function, registers, .. } = probe(&registers, 7);
        assert_eq!((registers.rip, registers.rdi, registers.rsi), (0x1000, 7, 0x8e00));
        assert_eq!(function, 0x100e);
    }
}
