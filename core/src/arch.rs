//! What a CPU must provide.

use std::fmt::Debug;

/// A CPU architecture: plain data and pure functions; no operating system in it.
pub trait Arch {
    /// The general registers, the same type on every system.
    type Registers: Copy + Eq + Debug;
    /// The floating-point registers.
    type FpRegisters: Clone + Eq + Debug;
    /// The extended state, in the form that the CPU saves it.
    type ExtendedState: Clone + Eq + Debug;

    /// The instruction that traps, as it stands in memory.
    const BREAKPOINT: &'static [u8];

    /// The program counter.
    fn pc(registers: &Self::Registers) -> u64;

    /// Moves the program counter; what the CPU remembers about the old one is cleared (on x86 the
    /// resume flag, without which the next execute breakpoint would be missed).
    fn set_pc(registers: &mut Self::Registers, pc: u64);

    /// The stack pointer.
    fn sp(registers: &Self::Registers) -> u64;

    /// How many addresses the debug registers can watch, at most
    /// [`DEBUG_SLOTS`](crate::backend::DEBUG_SLOTS).
    const DEBUG_SLOTS: usize;

    /// How many bytes one of them can watch, at a multiple of that number: powers of two, the
    /// smallest, which is 1, first.
    const DEBUG_LENGTHS: &'static [u8];

    /// Whether this is the address of a byte that can be a program's.
    fn can_watch(addr: u64) -> bool;

    /// Has the next instruction not hit an execute breakpoint (on x86 by the resume flag).
    fn pass_breakpoint(registers: &mut Self::Registers);

    /// Whether the program has itself trapped after each instruction (on x86 by the trap flag).
    fn steps_itself(registers: &Self::Registers) -> bool;
}
