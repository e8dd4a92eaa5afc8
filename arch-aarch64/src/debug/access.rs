//! What an instruction reads or writes: the CPU tells one address of a watched access, and not how
//! many bytes it has (Arm ARM C4.1.94, "Loads and stores").

use trapline_core::backend::MemoryAccess as Access;

use crate::Registers;
use crate::instruction::{bits, is_literal, signed, word};

/// What the instruction that `code` begins with will access, with these registers. `None` for one
/// that accesses nothing, or whose extent is not in the general registers alone (SVE, memory
/// copies, prefetches).
pub(crate) fn access(code: &[u8], registers: &Registers) -> Option<Access> {
    let word = word(code)?;
    let base = || match bits(word, 5, 5) {
        31 => registers.sp,
        number => register(registers, number),
    };
    let reads =
        |addr: u64, len: u32| Some(Access { addr, len: len.into(), writes: false, reads: true });
    let either = |addr: u64, len: u32, loads: bool| {
        Some(Access { addr, len: len.into(), writes: !loads, reads: loads })
    };
    let both =
        |addr: u64, len: u32| Some(Access { addr, len: len.into(), writes: true, reads: true });
    let (size, vector) = (word >> 30, bits(word, 26, 1) == 1);
    // `dc zva`, with the length that the kernels allow most often.
    if word & 0xffff_ffe0 == 0xd50b_7420 {
        let addr = register(registers, bits(word, 0, 5)) & !63;
        return either(addr, 64, false);
    }
    if is_literal(word) {
        let addr = registers.pc.wrapping_add_signed(signed(word, 5, 19) * 4);
        let len = match (vector, size) {
            (false, 0 | 2) | (true, 0) => 4,
            (false, 1) | (true, 1) => 8,
            (true, 2) => 16,
            _ => return None,
        };
        return reads(addr, len);
    }
    // Exclusive and ordered ones, compare and swap.
    if word & 0x3f00_0000 == 0x0800_0000 {
        let (ordered, loads, third) =
            (bits(word, 23, 1), bits(word, 22, 1) == 1, bits(word, 21, 1));
        return match (ordered, third) {
            (0, 1) if size < 2 => both(base(), 8 << size), // `casp`
            (0, 1) => either(base(), 2 << size, loads),
            (1, 1) => both(base(), 1 << size),
            _ => either(base(), 1 << size, loads),
        };
    }
    // Pairs.
    if word & 0x3a00_0000 == 0x2800_0000 {
        let scale = match (vector, size) {
            (true, 0..=2) => 4 << size,
            (false, 2) => 8,
            (false, 0 | 1) => 4,
            _ => return None,
        };
        let offset = signed(word, 15, 7) * i64::from(scale);
        let after = bits(word, 23, 2) == 1;
        let addr = if after { base() } else { base().wrapping_add_signed(offset) };
        return either(addr, 2 * scale, bits(word, 22, 1) == 1);
    }
    // Ordered ones with an offset.
    if word & 0x3f20_0c00 == 0x1900_0000 {
        let addr = base().wrapping_add_signed(signed(word, 12, 9));
        return either(addr, 1 << size, bits(word, 22, 2) != 0);
    }
    if word & 0x3a00_0000 == 0x3800_0000 {
        return single(word, registers, base());
    }
    // Structures of vectors, as many registers as they have.
    if word & 0xbf20_0000 == 0x0c00_0000 {
        let registers = match bits(word, 12, 4) {
            0 | 2 => 4,
            4 | 6 => 3,
            7 => 1,
            8 | 10 => 2,
            _ => return None,
        };
        let one = if bits(word, 30, 1) == 1 { 16 } else { 8 };
        return either(base(), registers * one, bits(word, 22, 1) == 1);
    }
    None
}

/// A load or store of one register.
fn single(word: u32, registers: &Registers, base: u64) -> Option<Access> {
    let (size, vector) = (word >> 30, bits(word, 26, 1) == 1);
    let op = bits(word, 22, 2);
    let (scale, loads) = match (vector, op) {
        (true, 2 | 3) => (4, op == 3),
        (false, 2) if size == 3 => return None, // a prefetch
        _ => (size, op != 0),
    };
    let addr = if bits(word, 24, 1) == 1 {
        base.wrapping_add(u64::from(bits(word, 10, 12)) << scale)
    } else {
        match (bits(word, 21, 1), bits(word, 10, 2)) {
            (0, 1) => base, // the offset is added after it
            (0, _) => base.wrapping_add_signed(signed(word, 12, 9)),
            (1, 2) => {
                let shift = if bits(word, 12, 1) == 1 { scale } else { 0 };
                let index = register(registers, bits(word, 16, 5));
                let index = match bits(word, 13, 3) {
                    2 => u64::from(index as u32),
                    6 => i64::from(index as i32) as u64,
                    _ => index,
                };
                base.wrapping_add(index << shift)
            }
            // Atomic ones: they read and write.
            (1, 0) => {
                let len = 1 << size;
                return Some(Access { addr: base, len, writes: true, reads: true });
            }
            _ => return None,
        }
    };
    Some(Access { addr, len: 1 << scale, writes: !loads, reads: loads })
}

fn register(registers: &Registers, number: u32) -> u64 {
    registers.x.get(number as usize).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_they_access() {
        let mut registers = Registers { sp: 0x8000, pc: 0x40_0000, ..Registers::default() };
        (registers.x[1], registers.x[2]) = (0x1000, 3);
        registers.x[3] = u64::MAX; // -1
        for (word, addr, len, how) in [
            (0xf900_0020, 0x1000, 8, "w"),    // str x0, [x1]
            (0xb940_0420, 0x1004, 4, "r"),    // ldr w0, [x1, #4]
            (0x3900_0420, 0x1001, 1, "w"),    // strb w0, [x1, #1]
            (0xf81f_8c20, 0x0ff8, 8, "w"),    // str x0, [x1, #-8]!
            (0xf81f_8420, 0x1000, 8, "w"),    // str x0, [x1], #-8
            (0x3c80_c3e0, 0x800c, 16, "w"),   // stur q0, [sp, #12]
            (0xf862_7820, 0x1018, 8, "r"),    // ldr x0, [x1, x2, lsl #3]
            (0xb823_d820, 0x0ffc, 4, "w"),    // str w0, [x1, w3, sxtw #2]
            (0xa900_8be1, 0x8008, 16, "w"),   // stp x1, x2, [sp, #8]
            (0xa8c1_7bfd, 0x8000, 16, "r"),   // ldp x29, x30, [sp], #16
            (0xad01_0420, 0x1020, 32, "w"),   // stp q0, q1, [x1, #32]
            (0xc85f_7c20, 0x1000, 8, "r"),    // ldxr x0, [x1]
            (0x8802_fc20, 0x1000, 4, "w"),    // stlxr w2, w0, [x1]
            (0xc87f_0420, 0x1000, 16, "r"),   // ldxp x0, x1, [x1]
            (0xf820_0022, 0x1000, 8, "rw"),   // ldadd x0, x2, [x1]
            (0xc8a0_7c22, 0x1000, 8, "rw"),   // cas x0, x2, [x1]
            (0x4c00_7020, 0x1000, 16, "w"),   // st1 {v0.16b}, [x1]
            (0x5800_0040, 0x40_0008, 8, "r"), // ldr x0, . + 8
        ] {
            let found = access(&u32::to_le_bytes(word), &registers).unwrap();
            let wanted = Access { addr, len, writes: how.contains('w'), reads: how.contains('r') };
            assert_eq!(found, wanted, "{word:#x}");
        }
    }

    #[test]
    fn others_access_nothing() {
        for word in [0xd503_201f, 0x8b01_0000, 0xf980_0020, 0xd65f_03c0, 0] {
            assert_eq!(access(&u32::to_le_bytes(word), &Registers::default()), None, "{word:#x}");
        }
        assert_eq!(access(&[1, 2, 3], &Registers::default()), None);
    }
}
