//! Each kind of instruction, with encodings that an assembler made.

use super::*;

const FROM: u64 = 0x40_1008;

struct Words(Vec<(u64, u64)>);

impl EmulatedMemory for Words {
    fn read(&mut self, addr: u64, buf: &mut [u8]) -> bool {
        let Some((_, value)) = self.0.iter().find(|(at, _)| *at == addr) else { return false };
        buf.copy_from_slice(&value.to_le_bytes()[..buf.len()]);
        true
    }

    fn write(&mut self, _: u64, _: &[u8]) -> bool {
        panic!("nothing is written")
    }
}

fn relocated(word: u32) -> Relocation<Emulated> {
    relocate(&word.to_le_bytes(), FROM, CodeMode::Bits64)
}

fn registers() -> Registers {
    let mut registers = Registers { pc: FROM, pstate: 0x800, ..Registers::default() };
    registers.x[3] = 0x12_0000_0008;
    registers
}

/// What the registers are behind an instruction.
fn after(word: u32, mut registers: Registers) -> Registers {
    let Relocation::Emulate(instruction) = relocated(word) else { panic!("{word:#x}") };
    let mut memory = Words(vec![(FROM - 8, 0x8765_4321), (FROM + 8, u64::MAX - 1)]);
    assert!(emulate(&instruction, &mut registers, &mut memory), "{word:#x}");
    assert_eq!(registers.pstate & 0xc00, 0);
    registers
}

#[test]
fn addresses_and_literals_come_from_the_old_place() {
    for (word, value) in [
        (0x3000_0023, FROM + 5),              // adr x3, . + 5
        (0x9000_0003, 0x40_1000),             // adrp x3, .
        (0xb000_0003, 0x40_2000),             // adrp x3, . + 0x1000
        (0x98ff_ffc3, 0xffff_ffff_8765_4321), // ldrsw x3, . - 8
        (0x18ff_ffc3, 0x8765_4321),           // ldr w3, . - 8
        (0x5800_0043, u64::MAX - 1),          // ldr x3, . + 8
        (0xd800_0080, registers().x[3]),      // prfm pldl1keep, . + 16
    ] {
        let registers = after(word, registers());
        assert_eq!((registers.x[3], registers.pc), (value, FROM + 4), "{word:#x}");
    }
    assert_eq!(after(0x9000_001f, registers()).x, registers().x, "adrp xzr, .");
    let Relocation::Emulate(load) = relocated(0x5800_0063) else { panic!() };
    let mut unchanged = registers();
    assert!(!emulate(&load, &mut unchanged, &mut Words(Vec::new())));
    assert_eq!(unchanged, registers());
}

#[test]
fn branches_go_where_they_would() {
    const ZERO: u64 = 0x4000_0000;
    for (word, pstate, target) in [
        (0x1400_0004, 0, 16),           // b . + 16
        (0x17ff_fffc, 0, -16),          // b . - 16
        (0x5400_0081, 0, 16),           // b.ne . + 16
        (0x5400_0081, ZERO, 4),         //
        (0x5400_0080, ZERO, 16),        // b.eq . + 16
        (0x5400_008c, 0, 16),           // b.gt . + 16
        (0x5400_008c, ZERO, 4),         //
        (0x5400_008c, 0x8000_0000, 4),  // N, not V
        (0x5400_008c, 0x9000_0000, 16), // N and V
        (0x5400_0088, 0x2000_0000, 16), // b.hi . + 16, with C
        (0x5400_008e, ZERO, 16),        // b.al . + 16
        (0x5400_008f, ZERO, 16),        // b.nv . + 16, which is no other
        (0xb400_0083, 0, 4),            // cbz x3, . + 16
        (0x3400_0083, 0, 4),            // cbz w3, . + 16
        (0x35ff_ffe3, 0, -4),           // cbnz w3, . - 4
        (0xb400_009f, 0, 16),           // cbz xzr, . + 16
        (0xb608_0043, 0, 4),            // tbz x3, #33, . + 8: it is set
        (0xb628_0043, 0, 8),            // tbz x3, #37, . + 8
        (0x3718_0043, 0, 8),            // tbnz w3, #3, . + 8
    ] {
        let registers = after(word, Registers { pstate, ..registers() });
        assert_eq!(registers.pc, FROM.wrapping_add_signed(target), "{word:#x}");
        assert_eq!(registers.x, self::registers().x);
    }
}

#[test]
fn calls_leave_the_address_behind_the_old_place() {
    let called = after(0x97ff_fffc, registers()); // bl . - 16
    assert_eq!((called.pc, called.x[30]), (FROM - 16, FROM + 4));
    let called = after(0xd63f_0060, registers()); // blr x3
    assert_eq!((called.pc, called.x[30]), (0x12_0000_0008, FROM + 4));
    let link = Registers { x: [0x5000; 31], ..registers() };
    let called = after(0xd63f_03c0, link); // blr x30
    assert_eq!((called.pc, called.x[30]), (0x5000, FROM + 4));
    assert_eq!(after(0xd65f_03c0, link).pc, 0x5000, "ret");
    assert_eq!(after(0xd61f_0060, registers()).x, registers().x, "br x3");
    for (word, uses) in [(0x97ff_fffc, true), (0xd63f_0060, true), (0xd65f_03c0, true)] {
        let Relocation::Emulate(instruction) = relocated(word) else { panic!() };
        assert_eq!(uses_return_stack(&instruction), uses);
    }
    for word in [0x1400_0004, 0xd61f_0060, 0x3000_0023] {
        let Relocation::Emulate(instruction) = relocated(word) else { panic!() };
        assert!(!uses_return_stack(&instruction), "{word:#x}");
    }
}

#[test]
fn a_branch_to_no_instruction_faults_in_place() {
    let Relocation::Emulate(branch) = relocated(0xd61f_0060) else { panic!() };
    let mut odd = registers();
    odd.x[3] = 0x1002;
    let before = odd;
    assert!(!emulate(&branch, &mut odd, &mut Words(Vec::new())));
    assert_eq!(odd, before);
}

#[test]
fn the_others_are_copied_and_branch_back() {
    for word in [
        0xd280_0020, // mov x0, #1
        0xf900_0020, // str x0, [x1]
        0xd503_245f, // bti c
        0xd503_233f, // paciasp
        0xd400_0001, // svc #0
        0xd65f_0bff, // retaa
        0xd71f_0864, // braa x3, x4
        0x885f_fc20, // ldaxr w0, [x1]
        0x4820_7c82, // casp x0, x1, x2, x3, [x4]
    ] {
        assert_eq!(relocated(word), Relocation::Copy { length: 4 }, "{word:#x}");
        let to = FROM + 0x10_0000;
        let slot = place(&u32::to_le_bytes(word), FROM, to, CodeMode::Bits64).unwrap();
        assert_eq!(slot.bytes()[..4], word.to_le_bytes());
        // The branch is at `to + 4`, and goes to `FROM + 4`.
        assert_eq!(slot.bytes()[4..], 0x17fc_0000_u32.to_le_bytes());
        assert_eq!((slot.done(), slot.length()), (4, 4));
    }
}

#[test]
fn what_must_stay_in_place() {
    for word in [
        0xd420_0000, // brk #0
        0xd440_0000, // hlt #0
        0x0000_0000, // udf #0
        0xd73f_0864, // blraa x3, x4
        0xd69f_03e0, // eret
        0x8802_7c20, // stxr w2, w0, [x1]
        0x7400_0000, // a branch of a CPU to come
    ] {
        assert_eq!(relocated(word), Relocation::Refused, "{word:#x}");
    }
    let code = 0xd280_0020_u32.to_le_bytes();
    assert_eq!(relocate(&code[..3], FROM, CodeMode::Bits64), Relocation::Refused);
    assert_eq!(relocate(&code, FROM + 2, CodeMode::Bits64), Relocation::Refused);
    assert_eq!(relocate(&code, FROM, CodeMode::Bits32), Relocation::Refused);
}

#[test]
fn a_slot_has_to_be_near() {
    let code = 0xd280_0020_u32.to_le_bytes();
    let fits = |to: u64| place(&code, FROM + (1 << 40), to, CodeMode::Bits64).is_some();
    let from = FROM + (1 << 40);
    assert!(fits(from + (128 << 20)) && !fits(from + (128 << 20) + 4));
    assert!(fits(from - (128 << 20) + 4) && !fits(from - (128 << 20)));
    assert!(!fits(from + 2));
}

#[test]
fn a_vector_is_loaded_from_where_it_is() {
    let code = 0x9c00_0083_u32.to_le_bytes(); // ldr q3, . + 16
    assert_eq!(relocated(0x9c00_0083), Relocation::Copy { length: 4 });
    let slot = place(&code, FROM, FROM + 64, CodeMode::Bits64).unwrap();
    assert_eq!(slot.bytes()[..4], 0x9cff_fe83_u32.to_le_bytes(), "ldr q3, . - 48");
    assert_eq!(place(&code, FROM, FROM + (2 << 20), CodeMode::Bits64), None);
}

#[test]
fn between_a_reservation_and_its_store() {
    // ldaxr w0, [x1]; mov x0, #1; cbnz w3, . - 4; stxr w2, w0, [x1]; ret
    let code = [0x885f_fc20_u32, 0xd280_0020, 0x35ff_ffe3, 0x8802_7c20, 0xd65f_03c0];
    let code: Vec<u8> = code.iter().flat_map(|word| word.to_le_bytes()).collect();
    let inside = |at: usize| interrupts_sequence(&code[..at], &code[at..]);
    assert_eq!([0, 4, 8, 12, 16].map(inside), [false, true, true, true, false]);
    // A reservation that is given up.
    assert!(!interrupts_sequence(&code[..8], &code[16..]));
    assert!(!interrupts_sequence(&[], &[]));
}
