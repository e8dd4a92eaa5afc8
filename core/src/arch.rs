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

    /// How far behind the breakpoint instruction's address the program counter is when it has
    /// trapped.
    const BREAKPOINT_ADVANCE: u64;

    /// How many bytes the longest instruction has.
    const LONGEST_INSTRUCTION: usize;

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

    /// What it takes to lead a thread past the instruction that these bytes begin with; they may
    /// be fewer than it has.
    fn passing(instruction: &[u8]) -> Passing;

    /// Where the flags that a thread has just pushed have the one by which it was stepped: the
    /// address of a byte, and the bit in it.
    fn pushed_step(registers: &Self::Registers) -> (u64, u8);
}

/// What it takes to lead a thread past an instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Passing {
    /// One step.
    Step,
    /// One step, by a flag that the instruction stores with the others.
    PushesFlags,
    /// As many steps as it takes until the program counter moves: a step of a string instruction
    /// does one round.
    Repeats,
    /// It makes a system call, which can block for ever; it is run to the call's entry.
    SystemCall,
}
