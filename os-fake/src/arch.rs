//! A CPU with three registers.

use trapline_core::backend::{DebugAlignment, DebugHits, DebugKind, DebugPool, MemoryAccess};
use trapline_core::{Arch, CodeMode, EmulatedMemory, FunctionEntry, Passing, Relocation, SlotCode};

/// How many addresses each of its pools can watch.
pub(crate) const SLOTS: usize = 4;
/// Traps.
pub(crate) const BREAKPOINT: u8 = 0xcc;
/// Counts `value` down to 0, one at a step.
pub(crate) const REPEAT: u8 = 0xf3;
/// Makes a system call in 64-bit code; elsewhere it does nothing.
pub(crate) const CALL: u8 = 0x05;
/// Comes back from the handler of a signal.
pub(crate) const RETURN: u8 = 0xcf;
/// Goes on behind the byte that follows it.
pub(crate) const SKIP: u8 = 0xeb;
/// Goes to the address in the eight bytes that follow it.
pub(crate) const JUMP: u8 = 0xe9;
/// Does nothing, and only at its own place.
pub(crate) const BOUND: u8 = 0x0f;
/// Waits for ever.
pub(crate) const HALT: u8 = 0xf4;

/// A CPU with three registers, whose breakpoint instruction is one byte.
///
/// There are two of it. One has four debug registers for anything, and says which were hit when it has
/// happened. The other one, with `BEFORE`, has four for instructions and four for data, and stops before
/// what it watches, with an address and no flag to get past it.
#[derive(Debug)]
pub struct FakeArch<const BEFORE: bool = false>;

/// The instruction of a [`FakeArch`] that can be carried out on the registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Skip;

/// The registers of a [`FakeArch`]; its floating-point and extended registers are plain bytes.
///
/// ```
/// use trapline::fake::FakeRegisters;
///
/// let registers = FakeRegisters { pc: 0x1000, ..FakeRegisters::default() };
/// assert_eq!(registers.sp, 0);
/// ```
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
    /// What the next instruction will access: where, how many bytes, and whether it writes.
    pub accesses: Option<(u64, u64, bool)>,
}

const EXECUTE: &[DebugKind] = &[DebugKind::Execute];
const DATA: &[DebugKind] = &[DebugKind::Write, DebugKind::ReadWrite];
const ANY: &[DebugKind] = &[DebugKind::Execute, DebugKind::Write, DebugKind::ReadWrite];

const fn pool(first: usize, kinds: &'static [DebugKind]) -> DebugPool {
    let (slots, alignment) = (((1 << SLOTS) - 1) << first, DebugAlignment::Own);
    DebugPool { slots, kinds, lengths: &[1, 2, 4, 8], alignment }
}

static COMMON: [DebugPool; 1] = [pool(0, ANY)];
static SEPARATE: [DebugPool; 2] = [pool(0, EXECUTE), pool(SLOTS, DATA)];

impl<const BEFORE: bool> trapline_core::private::Sealed for FakeArch<BEFORE> {}

impl<const BEFORE: bool> Arch for FakeArch<BEFORE> {
    type Registers = FakeRegisters;
    type FpRegisters = Vec<u8>;
    type ExtendedState = Vec<u8>;
    type Emulated = Skip;

    const BREAKPOINT: &'static [u8] = &[BREAKPOINT];
    const BREAKPOINT_ADVANCE: u64 = 1;
    const BREAKPOINT_MODES: &'static [CodeMode] = if BEFORE {
        &[CodeMode::Bits64]
    } else {
        &[CodeMode::Bits64, CodeMode::Bits32, CodeMode::Bits16]
    };
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

    const DEBUG_POOLS: &'static [DebugPool] = if BEFORE { &SEPARATE } else { &COMMON };

    const DEBUG_HITS: DebugHits = if BEFORE { DebugHits::Address } else { DebugHits::Status };

    fn access(_: &[u8], registers: &FakeRegisters) -> Option<MemoryAccess> {
        let (addr, len, writes) = registers.accesses?;
        Some(MemoryAccess { addr, len, writes, reads: !writes })
    }

    fn can_watch(addr: u64) -> bool {
        addr < 1 << 47
    }

    fn pass_breakpoint(registers: &mut FakeRegisters) {
        registers.resumes = !BEFORE;
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

    const STORES_STEP_FLAG: bool = false;

    fn pushed_step(registers: &FakeRegisters) -> (u64, u8) {
        (registers.sp, 1) // no instruction of the model pushes flags
    }

    const SLOT_LENGTH: usize = 16;
    const SLOT_REACH: u64 = 1 << 31;

    fn relocate(code: &[u8], _: u64, _: CodeMode) -> Relocation<Skip> {
        match code.first() {
            None | Some(&BOUND) => Relocation::Refused,
            Some(&SKIP) => Relocation::Emulate(Skip),
            Some(_) => Relocation::Copy { length: 1 },
        }
    }

    fn place(code: &[u8], from: u64, _: u64, _: CodeMode) -> Option<SlotCode> {
        let mut slot = vec![*code.first()?, JUMP];
        slot.extend(from.wrapping_add(1).to_le_bytes());
        SlotCode::new(&slot, 1, 1)
    }

    fn emulate(_: &Skip, registers: &mut FakeRegisters, _: &mut dyn EmulatedMemory) -> bool {
        registers.pc = registers.pc.wrapping_add(2);
        true
    }

    fn uses_return_stack(_: &Skip) -> bool {
        false
    }

    fn leave_slot(slot: &SlotCode, from: u64, to: u64, registers: &mut FakeRegisters) {
        let offset = registers.pc.wrapping_sub(to);
        if offset < slot.bytes().len() as u64 {
            registers.pc = from.wrapping_add(u64::from(offset > 0));
        }
    }

    /// The only argument is in the only register that can have it. The function finds its own way
    /// back.
    fn enter_function(
        registers: &FakeRegisters,
        function: u64,
        args: &[u64],
        _: u64,
    ) -> Option<FunctionEntry<FakeRegisters>> {
        let mut entered = *registers;
        match args {
            [] => {}
            [arg] => entered.value = *arg,
            _ => return None,
        }
        entered.sp = registers.sp.wrapping_sub(16);
        (entered.steps, entered.interrupted) = (false, false);
        Self::set_pc(&mut entered, function);
        Some(FunctionEntry { registers: entered, frame: None, returned_sp: entered.sp })
    }

    fn called_from(
        _: &FakeRegisters,
        _: &FakeRegisters,
        _: &dyn Fn(u64) -> Option<u64>,
    ) -> Option<u64> {
        None // it has no calls
    }

    fn returned_value(registers: &FakeRegisters) -> u64 {
        registers.value
    }

    fn enter_slot(to: u64, registers: &mut FakeRegisters) {
        registers.pc = to;
    }

    fn instruction_length(code: &[u8], _: CodeMode) -> Option<u8> {
        code.first().map(|_| 1)
    }
}
