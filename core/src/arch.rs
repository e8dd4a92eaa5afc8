//! What a CPU must provide.

use std::fmt::Debug;

use crate::backend::{DebugHits, DebugPool, MemoryAccess};
use crate::debug_registers::Probe;
use crate::private::Sealed;
use crate::{CodeMode, EmulatedMemory, FunctionEntry, Relocation, SlotCode};

/// A CPU architecture: plain data and pure functions; no operating system in it.
///
/// The trait is sealed: only the crates of trapline implement it, and what it has may change in any
/// release, but for the types and functions of registers.
pub trait Arch: Sealed {
    /// The general registers, the same type on every system.
    type Registers: Copy + Eq + Debug;
    /// The floating-point registers.
    type FpRegisters: Clone + Eq + Debug;
    /// The extended state, in the form that the CPU saves it.
    type ExtendedState: Clone + Eq + Debug;
    /// An instruction that can be carried out without the CPU: see [`Relocation::Emulate`].
    type Emulated: Clone + Debug;

    /// The instruction that traps, as it stands in memory.
    const BREAKPOINT: &'static [u8];

    /// How far behind the breakpoint instruction's address the program counter is when it has
    /// trapped.
    const BREAKPOINT_ADVANCE: u64;

    /// The modes in which code traps by it; in code of the others there can be no breakpoint.
    const BREAKPOINT_MODES: &'static [CodeMode] =
        &[CodeMode::Bits64, CodeMode::Bits32, CodeMode::Bits16];

    /// How many bytes the longest instruction has.
    const LONGEST_INSTRUCTION: usize;

    /// Instructions begin at multiples of it.
    const INSTRUCTION_ALIGNMENT: u64 = 1;

    /// How many bytes of code before and behind a place
    /// [`interrupts_sequence`](Self::interrupts_sequence) looks at.
    const SEQUENCE_LENGTH: usize = 0;

    /// Whether a trap between `before`, the code up to a place, and `at`, the code from there on,
    /// would have a program that runs into it try the same again for ever: some CPUs have a load
    /// that reserves memory, and a store that only works if nothing has come between.
    fn interrupts_sequence(_before: &[u8], _at: &[u8]) -> bool {
        false
    }

    /// The program counter.
    fn pc(registers: &Self::Registers) -> u64;

    /// Moves the program counter; what the CPU remembers about the old one is cleared (on x86 the
    /// resume flag, without which the next execute breakpoint would be missed).
    fn set_pc(registers: &mut Self::Registers, pc: u64);

    /// The stack pointer.
    fn sp(registers: &Self::Registers) -> u64;

    /// The debug registers, which are numbered through all pools.
    const DEBUG_POOLS: &'static [DebugPool];

    /// How the CPU reports that one of them was hit.
    const DEBUG_HITS: DebugHits = DebugHits::Status;

    /// What the instruction that `code` begins with is about to read or write, as far as these
    /// registers tell. Only for CPUs with [`DebugHits::Address`]: the address is one of its bytes,
    /// or near them.
    fn access(_code: &[u8], _registers: &Self::Registers) -> Option<MemoryAccess> {
        None
    }

    /// Whether this is the address of a byte that can be a program's.
    fn can_watch(addr: u64) -> bool;

    /// Has the next instruction not hit an execute breakpoint (on x86 by the resume flag).
    fn pass_breakpoint(registers: &mut Self::Registers);

    /// Whether the program has itself trapped after each instruction (on x86 by the trap flag).
    fn steps_itself(registers: &Self::Registers) -> bool;

    /// What it takes to lead a thread past the instruction that these bytes begin with; they may
    /// be fewer than it has.
    fn passing(instruction: &[u8], mode: CodeMode) -> Passing;

    /// How many bytes the instruction has that these begin with; `None` if they are none.
    fn instruction_length(code: &[u8], mode: CodeMode) -> Option<u8>;

    /// Whether a thread is stepped by a flag that instructions can store.
    const STORES_STEP_FLAG: bool;

    /// Where the flags that a thread has just pushed have the one by which it was stepped: the
    /// address of a byte, and the bit in it.
    fn pushed_step(registers: &Self::Registers) -> (u64, u8);

    /// How many bytes of memory a slot takes, at a multiple of that number.
    const SLOT_LENGTH: usize;

    /// How far a slot may be from the place that it is for: where memory for slots is worth having.
    /// What an instruction refers to can be out of reach all the same; [`place`](Self::place) says.
    const SLOT_REACH: u64;

    /// How the instruction that `code` begins with can be executed away from `from`, its address.
    ///
    /// `code` may have more bytes than the instruction; if it has fewer, or is no instruction, it
    /// is refused. The answer depends on nothing else, so it can be kept.
    fn relocate(code: &[u8], from: u64, mode: CodeMode) -> Relocation<Self::Emulated>;

    /// The code for a slot at `to`, for an instruction at `from` that is to be copied
    /// ([`Relocation::Copy`]).
    ///
    /// `None` if what the instruction refers to is out of reach from there.
    fn place(code: &[u8], from: u64, to: u64, mode: CodeMode) -> Option<SlotCode>;

    /// Carries an instruction out: the registers become what they would be behind it, the program
    /// counter too.
    ///
    /// False if it has to be executed in place, because memory could not be accessed, because it
    /// faults, or because the program has itself trapped behind it; then nothing has changed.
    #[must_use = "false says that nothing was done"]
    fn emulate(
        instruction: &Self::Emulated,
        registers: &mut Self::Registers,
        memory: &mut dyn EmulatedMemory,
    ) -> bool;

    /// Whether it pushes or pops a return address, of which the CPU keeps a second copy where it
    /// has a shadow stack: then it must not be emulated.
    fn uses_return_stack(instruction: &Self::Emulated) -> bool;

    /// The registers of a thread that runs in the slot at `to`, as they would be if it had executed
    /// the original at `from` in place. Registers with another program counter are left alone.
    ///
    /// What the kernel remembers about a system call stays, so that one that was interrupted in the
    /// slot is made again at the original place.
    fn leave_slot(slot: &SlotCode, from: u64, to: u64, registers: &mut Self::Registers);

    /// How a thread with these registers enters a function, by the calling convention of 64-bit
    /// programs, so that it returns to an address. The stack below what the code there may use is
    /// the function's. `None` for more arguments than go into registers.
    fn enter_function(
        registers: &Self::Registers,
        function: u64,
        args: &[u64],
        returns_to: u64,
    ) -> Option<FunctionEntry<Self::Registers>>;

    /// The return address, if the instruction between these two sets of registers was the call of a
    /// function. `read` gives a word of memory.
    fn called_from(
        before: &Self::Registers,
        after: &Self::Registers,
        read: &dyn Fn(u64) -> Option<u64>,
    ) -> Option<u64>;

    /// What a function has returned that has just come back: a whole number or an address.
    fn returned_value(registers: &Self::Registers) -> u64;

    /// What shows whether hardware breakpoints work: instructions for a thread with these
    /// registers, which call a function and write a word so many times and then trap. They are put
    /// where the thread stands, and write below its stack. `None` if there are none for this CPU.
    fn probe(_registers: &Self::Registers, _rounds: u64) -> Option<Probe<Self::Registers>> {
        None
    }

    /// Sends a thread that has arrived at a breakpoint into the slot at `to`, which is for that
    /// place.
    ///
    /// Nothing but the program counter changes.
    fn enter_slot(to: u64, registers: &mut Self::Registers);
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
