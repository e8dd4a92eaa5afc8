//! Branches by chance: carried out as the CPU does it.

use std::cell::{Cell, RefCell};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use trapline_arch_x86_64::X86_64;
use trapline_core::{Arch, CodeMode, Relocation};

use crate::compare::{Bench, How};
use crate::random::Random;

/// The bytes of a near branch, call or return, or of `popf`; a few are none.
fn branch() -> impl Strategy<Value = Vec<u8>> {
    let prefixes =
        prop::sample::subsequence(vec![0xf2_u8, 0xf3, 0x2e, 0x3e, 0x64, 0x65, 0x67], 0..=2);
    let rex = prop::option::weighted(0.4, 0x40_u8..0x50);
    let opcode = prop_oneof![
        prop::sample::select(vec![vec![0xe8], vec![0xe9], vec![0xeb]]),
        prop::sample::select(vec![vec![0xc3], vec![0xc2], vec![0x9d]]),
        prop::sample::select(vec![vec![0xe0], vec![0xe1], vec![0xe2], vec![0xe3]]),
        (0x70_u8..0x80).prop_map(|opcode| vec![opcode]),
        (0x80_u8..0x90).prop_map(|opcode| vec![0x0f, opcode]),
        // call and jmp through a register or memory: mod, 2 or 4, rm
        (0_u8..4, prop::bool::ANY, 0_u8..8)
            .prop_map(|(how, jump, rm)| vec![0xff, how << 6 | if jump { 0x20 } else { 0x10 } | rm]),
    ];
    let rest = prop::array::uniform9(any::<u8>());
    (prefixes.prop_shuffle(), rex, opcode, rest).prop_map(|(prefixes, rex, opcode, rest)| {
        let mut code = prefixes;
        code.extend(rex);
        code.extend(opcode);
        code.extend(rest);
        code.truncate(X86_64::LONGEST_INSTRUCTION);
        code
    })
}

/// Tries so many of them.
fn try_all(mode: CodeMode, cases: u32) {
    let bench = RefCell::new(Bench::new());
    let (emulated, left) = (Cell::new(0), Cell::new(0));
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let result = TestRunner::new(config).run(&(branch(), any::<u64>()), |(bytes, seed)| {
        if matches!(X86_64::relocate(&bytes, 0, mode), Relocation::Emulate(_)) {
            let how = bench.borrow_mut().try_one(&bytes, mode, &mut Random(seed));
            let count = if how == How::Emulated { &emulated } else { &left };
            count.set(count.get() + 1);
        }
        Ok(())
    });
    result.unwrap_or_else(|error| panic!("{error}"));
    let (emulated, left) = (emulated.get(), left.get());
    assert!(emulated > left, "{emulated} were emulated, {left} left to the CPU");
}

fn cases() -> u32 {
    if crate::at_length() { 100_000 } else { 2_000 }
}

#[test]
fn m1_branches_are_carried_out_as_the_cpu_does_it() {
    try_all(CodeMode::Bits64, cases());
}

/// In 32-bit code, what would be REX is an instruction of its own.
#[test]
fn m1_branches_of_32_bit_code_are_carried_out_as_the_cpu_does_it() {
    try_all(CodeMode::Bits32, cases());
}
