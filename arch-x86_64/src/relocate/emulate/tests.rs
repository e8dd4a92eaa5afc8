//! Instructions that are carried out on the registers and the memory.

use CodeMode::{Bits32, Bits64};
use trapline_core::Relocation;

use super::super::relocate;
use super::*;

const FROM: u64 = 0x40_0000;
const STACK: u64 = 0x7000;

/// Memory from `STACK - 0x100` on.
struct Memory([u8; 0x200]);

impl Memory {
    fn new() -> Self {
        Self(std::array::from_fn(|i| i as u8))
    }

    fn at(&mut self, addr: u64, len: usize) -> Option<&mut [u8]> {
        let offset = usize::try_from(addr.checked_sub(STACK - 0x100)?).ok()?;
        self.0.get_mut(offset..)?.get_mut(..len)
    }

    fn put(&mut self, addr: u64, value: u64) {
        self.at(addr, 8).unwrap().copy_from_slice(&value.to_le_bytes());
    }

    fn get(&mut self, addr: u64) -> u64 {
        u64::from_le_bytes(self.at(addr, 8).unwrap().try_into().unwrap())
    }
}

impl EmulatedMemory for Memory {
    fn read(&mut self, addr: u64, buf: &mut [u8]) -> bool {
        self.at(addr, buf.len()).map(|from| buf.copy_from_slice(from)).is_some()
    }

    fn write(&mut self, addr: u64, data: &[u8]) -> bool {
        self.at(addr, data.len()).map(|to| to.copy_from_slice(data)).is_some()
    }
}

fn start() -> Registers {
    Registers { rip: FROM, rsp: STACK, rflags: 0x202, ..Registers::default() }
}

fn emulated(code: &[u8], mode: CodeMode) -> Emulated {
    match relocate(code, FROM, mode) {
        Relocation::Emulate(emulated) => emulated,
        other => panic!("{code:x?}: {other:?}"),
    }
}

/// The registers behind it; `None` if nothing was done, and then nothing has changed.
fn run(code: &[u8], mode: CodeMode, before: Registers, memory: &mut Memory) -> Option<Registers> {
    let (mut registers, bytes) = (before, memory.0);
    if emulated(code, mode).carry_out(&mut registers, memory) {
        return Some(registers);
    }
    assert_eq!((registers, memory.0), (before, bytes), "{code:x?}");
    None
}

fn run64(code: &[u8], before: Registers) -> Option<Registers> {
    run(code, Bits64, before, &mut Memory::new())
}

#[test]
fn a_call_pushes_the_address_behind_the_original() {
    let mut memory = Memory::new();
    let after = run(&[0xe8, 0, 1, 0, 0], Bits64, start(), &mut memory).unwrap();
    assert_eq!(after, Registers { rip: FROM + 0x105, rsp: STACK - 8, ..start() });
    assert_eq!(memory.get(STACK - 8), FROM + 5);
}

/// `call [rsp + 8]`
#[test]
fn a_call_reads_its_operand_before_it_pushes() {
    let mut memory = Memory::new();
    memory.put(STACK + 8, 0x1234);
    let after = run(&[0xff, 0x54, 0x24, 8], Bits64, start(), &mut memory).unwrap();
    assert_eq!(after, Registers { rip: 0x1234, rsp: STACK - 8, ..start() });
    assert_eq!(memory.get(STACK - 8), FROM + 4);
    // call rsp
    let after = run(&[0xff, 0xd4], Bits64, start(), &mut memory).unwrap();
    assert_eq!(after, Registers { rip: STACK, rsp: STACK - 8, ..start() });
}

#[test]
fn a_return_pops_and_releases() {
    let mut memory = Memory::new();
    memory.put(STACK, 0x1234);
    let after = run(&[0xc3], Bits64, start(), &mut memory).unwrap();
    assert_eq!(after, Registers { rip: 0x1234, rsp: STACK + 8, ..start() });
    let after = run(&[0xc2, 0x10, 0], Bits64, start(), &mut memory).unwrap();
    assert_eq!(after, Registers { rip: 0x1234, rsp: STACK + 0x18, ..start() });
}

#[test]
fn operands_are_in_memory() {
    let mut memory = Memory::new();
    memory.put(STACK + 0x20, 0x1234);
    let registers =
        Registers { rax: STACK, r11: 4, fs_base: STACK + 0x10, gs_base: STACK - 0x1000, ..start() };
    for code in [
        &[0x42, 0xff, 0x64, 0xd8, 0][..],         // jmp [rax + r11 * 8]
        &[0xff, 0x60, 0x20],                      // jmp [rax + 32]
        &[0xff, 0x24, 0x25, 0x20, 0x70, 0, 0],    // jmp [0x7020]
        &[0x64, 0xff, 0x24, 0x25, 0x10, 0, 0, 0], // jmp fs:[0x10]
        &[0x65, 0xff, 0xa0, 0x20, 0, 0, 0],       // jmp gs:[rax + 0x20]: elsewhere
        &[0x67, 0xff, 0x60, 0x20],                // jmp [eax + 32]
        &[0x3e, 0xff, 0x60, 0x20],                // notrack jmp [rax + 32]
    ] {
        let after = run(code, Bits64, registers, &mut memory);
        if code[0] == 0x65 {
            assert_eq!(after, None);
        } else {
            assert_eq!(after, Some(Registers { rip: 0x1234, ..registers }), "{code:x?}");
        }
    }
    // jmp [rip + ..]
    let distance = (STACK as i32 + 0x20 - FROM as i32 - 6).to_le_bytes();
    let code = [&[0xff, 0x25][..], &distance].concat();
    assert_eq!(run(&code, Bits64, registers, &mut memory).unwrap().rip, 0x1234);
}

/// Each condition with each combination of the five flags it can look at.
#[test]
fn conditions_are_those_of_the_manual() {
    for flags in 0..32_u64 {
        let bit = |n: u64| flags >> n & 1;
        let (cf, zf, sf, of, pf) = (bit(0), bit(1), bit(2), bit(3), bit(4));
        let rflags = 0x202 | cf | pf << 2 | zf << 6 | sf << 7 | of << 11;
        let before = Registers { rflags, ..start() };
        let halves = [of, cf, zf, cf | zf, sf, pf, sf ^ of, zf | (sf ^ of)];
        for (code, taken) in (0x70_u8..).zip(halves.into_iter().flat_map(|yes| [yes, yes ^ 1])) {
            let rip = FROM + 2 + taken * 0x10;
            let expected = Some(Registers { rip, ..before });
            assert_eq!(run64(&[code, 0x10], before), expected, "{code:x} {flags:b}");
            let rip = FROM + 6 + taken * 0x10;
            let near = [0x0f, code + 0x10, 0x10, 0, 0, 0];
            assert_eq!(run64(&near, before), Some(Registers { rip, ..before }));
        }
    }
}

#[test]
fn loops_count() {
    let high = 7 << 32;
    for (rcx, left, code, taken) in [
        (2, 1, &[0xe2, 0x10][..], true),
        (1, 0, &[0xe2, 0x10], false),
        (0, u64::MAX, &[0xe2, 0x10], true),
        (high, high - 1, &[0xe2, 0x10], true),
        (high + 1, 0, &[0x67, 0xe2, 0x10], false), // in ecx
        (high, 0xffff_ffff, &[0x67, 0xe2, 0x10], true),
        (2, 1, &[0xe1, 0x10], false), // loope: ZF is not set
        (2, 1, &[0xe0, 0x10], true),  // loopne
        (1, 0, &[0xe0, 0x10], false),
        (0, 0, &[0xe3, 0x10], true), // jrcxz
        (high, high, &[0xe3, 0x10], false),
        (high, high, &[0x67, 0xe3, 0x10], true), // jecxz
    ] {
        let next = FROM + code.len() as u64;
        let rip = if taken { next + 0x10 } else { next };
        let after = run64(code, Registers { rcx, ..start() });
        assert_eq!(after, Some(Registers { rcx: left, rip, ..start() }), "{code:x?} {rcx:x}");
    }
    let zero = Registers { rcx: 2, rflags: 0x242, ..start() };
    assert_eq!(run64(&[0xe1, 0x10], zero).unwrap().rip, FROM + 0x12);
    assert_eq!(run64(&[0xe0, 0x10], zero).unwrap().rip, FROM + 2);
}

#[test]
fn addresses_of_32_bits_wrap_around() {
    let mut memory = Memory::new();
    memory.put(STACK, 0xdead_beef_0000_1234);
    let ret = run(&[0xc3], Bits32, start(), &mut memory).unwrap();
    assert_eq!(ret, Registers { rip: 0x1234, rsp: STACK + 4, ..start() });

    let call = run(&[0xe8, 0, 0, 0, 0xff], Bits32, start(), &mut memory).unwrap();
    assert_eq!(call, Registers { rip: 0xff40_0005, rsp: STACK - 4, ..start() });
    assert_eq!(memory.get(STACK - 4), 0x0000_1234_0040_0005);

    // jmp gs:[eax]
    let far = Registers { rax: 0x8000_0000, gs: 0x63, gs_base: 0x8000_0000 + STACK, ..start() };
    let jump = run(&[0x65, 0xff, 0x20], Bits32, far, &mut memory).unwrap();
    assert_eq!(jump.rip, 0x1234);
    let none = Registers { gs: 0, ..far };
    assert_eq!(run(&[0x65, 0xff, 0x20], Bits32, none, &mut memory), None, "it faults");
    // loop, in cx
    let counted = Registers { rcx: 0x7_0000, ..start() };
    let looped = run(&[0x67, 0xe2, 0], Bits32, counted, &mut memory).unwrap();
    assert_eq!(looped.rcx, 0x7_ffff);
}

#[test]
fn what_faults_is_done_in_place() {
    let elsewhere = Registers { rsp: 0x10, ..start() };
    assert_eq!(run64(&[0xe8, 0, 0, 0, 0], elsewhere), None, "no stack");
    assert_eq!(run64(&[0xc3], elsewhere), None, "no stack");
    assert_eq!(run64(&[0x9d], elsewhere), None, "no stack");
    assert_eq!(run64(&[0xff, 0x20], start()), None, "jmp [rax], which is 0");
    for rax in [1 << 47, 1 << 63, u64::MAX] {
        assert_eq!(run64(&[0xff, 0xe0], Registers { rax, ..start() }), None, "{rax:x}");
        assert_eq!(run64(&[0xff, 0xd0], Registers { rax, ..start() }), None, "{rax:x}");
    }
    let checks = Registers { rsp: STACK + 1, rflags: start().rflags | 1 << 18, ..start() };
    assert_eq!(run64(&[0xe8, 0, 0, 0, 0], checks), None, "alignment");
}

#[test]
fn flags_that_belong_to_one_instruction() {
    let jmp = [0xeb, 0];
    let steps = Registers { rflags: 0x302, ..start() };
    assert_eq!(run64(&jmp, steps), None, "it traps behind each instruction");
    let resumes = Registers { rflags: 0x1_0202, ..start() };
    assert_eq!(run64(&jmp, resumes), Some(Registers { rip: FROM + 2, ..start() }));
}

/// The kernel is about to take 2 off the program counter.
#[test]
fn a_system_call_that_is_made_again_comes_first() {
    let call = Registers { orig_rax: 0, rax: -512_i64 as u64, ..start() };
    assert_eq!(run64(&[0xeb, 0], call), None);
    let done = Registers { rax: 5, ..call };
    assert_eq!(run64(&[0xeb, 0], done), Some(Registers { rip: FROM + 2, ..done }));
}

#[test]
fn flags_are_popped() {
    let mut memory = Memory::new();
    let all = 0x4_0cd5; // AC, OF, DF, SF, ZF, AF, PF, CF
    memory.put(STACK, all);
    let before = Registers { rflags: 0x202, ..start() };
    let after = run(&[0x9d], Bits64, before, &mut memory);
    let expected = Registers { rip: FROM + 1, rsp: STACK + 8, rflags: 0x202 | all, ..before };
    assert_eq!(after, Some(expected), "IF stays");
    memory.put(STACK, 0x202);
    let before = Registers { rflags: 0x202 | 0xcd5, ..start() };
    let after = run(&[0x9d], Bits32, before, &mut memory).unwrap();
    assert_eq!((after.rflags, after.rsp), (0x202, STACK + 4));
    // TF, NT and ID
    for bit in [8, 14, 21] {
        memory.put(STACK, 0x202 | 1 << bit);
        assert_eq!(run(&[0x9d], Bits64, start(), &mut memory), None, "{bit}");
    }
}

#[test]
fn calls_and_returns_use_the_return_stack() {
    for (code, uses) in [
        (&[0xe8, 0, 0, 0, 0][..], true),
        (&[0xff, 0xd0], true),
        (&[0xff, 0x10], true),
        (&[0xc3], true),
        (&[0xc2, 0, 0], true),
        (&[0xeb, 0], false),
        (&[0xff, 0xe0], false),
        (&[0x74, 0], false),
        (&[0x9d], false),
    ] {
        assert_eq!(emulated(code, Bits64).uses_return_stack(), uses, "{code:x?}");
    }
}
