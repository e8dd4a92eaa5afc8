//! A CPU with three registers.

use std::convert::Infallible;

use crate::backend::{DebugAlignment, DebugKind, DebugPool};
use crate::{Arch, CodeMode, EmulatedMemory, Passing, Relocation, SlotCode};

/// How many addresses it can watch.
pub(super) const SLOTS: usize = 4;
/// Traps.
pub(super) const BREAKPOINT: u8 = 0xcc;
/// Counts `value` down to 0, one at a step.
pub(super) const REPEAT: u8 = 0xf3;
/// Makes a system call in 64-bit code; elsewhere it does nothing.
pub(super) const CALL: u8 = 0x05;
/// Waits for ever.
pub(super) const HALT: u8 = 0xf4;

/// A CPU with three registers, whose breakpoint instruction is one byte.
#[derive(Debug)]
pub struct FakeArch;

/// The registers of a [`FakeArch`]; its floating-point and extended registers are plain bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct FakeRegisters {
    /// The program counter.
    pub pc: u64,
    /// The stack pointer.
    pub sp: u64,
    /// Any other register.
    pub value: u64,
    /// The next instruction does not hit an execute breakpoint.
    pub resumes: bool,
    /// The program traps after each instruction.
    pub steps: bool,
    /// In a system call that will be made again.
    pub interrupted: bool,
    /// The code segment is one of 32-bit code.
    pub narrow: bool,
}

impl Arch for FakeArch {
    type Registers = FakeRegisters;
    type FpRegisters = Vec<u8>;
    type ExtendedState = Vec<u8>;
    type Emulated = Infallible;

    const BREAKPOINT: &'static [u8] = &[BREAKPOINT];
    const BREAKPOINT_ADVANCE: u64 = 1;
    const LONGEST_INSTRUCTION: usize = 1;

    fn pc(registers: &FakeRegisters) -> u64 {
        registers.pc
    }

    fn set_pc(registers: &mut FakeRegisters, pc: u64) {
        registers.pc = pc;
        registers.resumes = false;
    }

    fn sp(registers: &FakeRegisters) -> u64 {
        registers.sp
    }

    const DEBUG_POOLS: &'static [DebugPool] = &[DebugPool {
        slots: (1 << SLOTS) - 1,
        kinds: &[DebugKind::Execute, DebugKind::Write, DebugKind::ReadWrite],
        lengths: &[1, 2, 4, 8],
        alignment: DebugAlignment::Own,
    }];

    fn can_watch(addr: u64) -> bool {
        addr < 1 << 47
    }

    fn pass_breakpoint(registers: &mut FakeRegisters) {
        registers.resumes = true;
    }

    fn steps_itself(registers: &FakeRegisters) -> bool {
        registers.steps
    }

    fn passing(code: &[u8], mode: CodeMode) -> Passing {
        match code.first() {
            Some(&REPEAT) => Passing::Repeats,
            Some(&CALL) if mode == CodeMode::Bits64 => Passing::SystemCall,
            _ => Passing::Step,
        }
    }

    fn pushed_step(registers: &FakeRegisters) -> (u64, u8) {
        (registers.sp, 1) // no instruction of the model pushes flags
    }

    const SLOT_LENGTH: usize = 16;
    const SLOT_REACH: u64 = 1 << 31;

    fn relocate(_: &[u8], _: u64, _: CodeMode) -> Relocation<Infallible> {
        Relocation::Refused
    }

    fn place(_: &[u8], _: u64, _: u64, _: CodeMode) -> Option<SlotCode> {
        None
    }

    fn emulate(never: &Infallible, _: &mut FakeRegisters, _: &mut dyn EmulatedMemory) -> bool {
        match *never {}
    }

    fn uses_return_stack(never: &Infallible) -> bool {
        match *never {}
    }

    fn leave_slot(_: &SlotCode, _: u64, _: u64, _: &mut FakeRegisters) {}

    fn enter_slot(_: u64, _: &mut FakeRegisters) {}
}
