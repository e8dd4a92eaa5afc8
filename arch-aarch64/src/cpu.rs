//! The CPU, as [`Arch`] has it.

use trapline_core::backend::{DebugHits, DebugPool, MemoryAccess};
use trapline_core::debug_registers::Probe;
use trapline_core::{Arch, CodeMode, EmulatedMemory, FunctionEntry, Passing, Relocation, SlotCode};

use crate::debug::{self, USER_END};
use crate::{Emulated, ExtendedState, FpRegisters, Pstate, Registers, instruction};

/// The aarch64 CPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AArch64;

impl trapline_core::private::Sealed for AArch64 {}

impl Arch for AArch64 {
    type Registers = Registers;
    type FpRegisters = FpRegisters;
    type ExtendedState = ExtendedState;
    type Emulated = Emulated;

    /// `brk #0`. After it has trapped, the program counter is still at it.
    const BREAKPOINT: &'static [u8] = &[0x00, 0x00, 0x20, 0xd4];

    const BREAKPOINT_ADVANCE: u64 = 0;

    /// 32-bit code has other instructions.
    const BREAKPOINT_MODES: &'static [CodeMode] = &[CodeMode::Bits64];

    const LONGEST_INSTRUCTION: usize = instruction::LENGTH as usize;

    const INSTRUCTION_ALIGNMENT: u64 = instruction::LENGTH as u64;

    const SEQUENCE_LENGTH: usize = instruction::SEQUENCE * instruction::LENGTH as usize;

    fn interrupts_sequence(before: &[u8], at: &[u8]) -> bool {
        instruction::interrupts_sequence(before, at)
    }

    fn pc(registers: &Registers) -> u64 {
        registers.pc
    }

    /// Moves the program counter; what the CPU remembers of a branch that has led to the old place
    /// is cleared. A system call that was interrupted has been gone back from by then, and a kernel
    /// leaves another program counter alone.
    fn set_pc(registers: &mut Registers, pc: u64) {
        registers.pc = pc;
        registers.pstate &= !Pstate::BTYPE.bits();
    }

    fn sp(registers: &Registers) -> u64 {
        registers.sp
    }

    const DEBUG_POOLS: &'static [DebugPool] = debug::POOLS;

    /// As kernels tell it: the fault address is in the signal.
    const DEBUG_HITS: DebugHits = DebugHits::Address;

    fn access(code: &[u8], registers: &Registers) -> Option<MemoryAccess> {
        // Of 32-bit code nothing is known but the address that was hit.
        let wide = registers.pstate & Pstate::NRW.bits() == 0;
        debug::access(code, registers).filter(|_| wide)
    }

    /// Below [`USER_END`]: with 48-bit addresses, which is what programs get unless they ask for
    /// more.
    fn can_watch(addr: u64) -> bool {
        addr < USER_END
    }

    /// The CPU has no flag for that.
    fn pass_breakpoint(_: &mut Registers) {}

    /// Programs cannot.
    fn steps_itself(_: &Registers) -> bool {
        false
    }

    const STORES_STEP_FLAG: bool = false;

    fn instruction_length(code: &[u8], _: CodeMode) -> Option<u8> {
        instruction::word(code).map(|_| 4)
    }

    fn passing(code: &[u8], mode: CodeMode) -> Passing {
        match instruction::word(code) {
            Some(word) if instruction::is_syscall(word, mode) => Passing::SystemCall,
            _ => Passing::Step,
        }
    }

    /// No instruction does.
    fn pushed_step(registers: &Registers) -> (u64, u8) {
        (registers.sp, 0)
    }

    const SLOT_LENGTH: usize = 8;

    /// How far a branch reaches, less what a slot's own place in its page may be.
    const SLOT_REACH: u64 = (128 << 20) - (64 << 10);

    fn relocate(code: &[u8], from: u64, mode: CodeMode) -> Relocation<Emulated> {
        instruction::relocate(code, from, mode)
    }

    fn place(code: &[u8], from: u64, to: u64, mode: CodeMode) -> Option<SlotCode> {
        instruction::place(code, from, to, mode)
    }

    fn emulate(
        instruction: &Emulated,
        registers: &mut Registers,
        memory: &mut dyn EmulatedMemory,
    ) -> bool {
        instruction::emulate(instruction, registers, memory)
    }

    fn uses_return_stack(instruction: &Emulated) -> bool {
        instruction::uses_return_stack(instruction)
    }

    fn leave_slot(slot: &SlotCode, from: u64, to: u64, registers: &mut Registers) {
        let at = registers.pc.wrapping_sub(to);
        if at >= slot.bytes().len() as u64 {
            return;
        }
        registers.pc = match at < u64::from(slot.done()) {
            true => from,
            false => from.wrapping_add(u64::from(slot.length())),
        };
    }

    fn probe(registers: &Registers, rounds: u64) -> Option<Probe<Registers>> {
        Some(debug::probe(registers, rounds))
    }

    /// By the procedure call standard of Arm: the arguments in registers, the return address in the
    /// link register. The 128 bytes below the stack pointer are left alone.
    fn enter_function(
        registers: &Registers,
        function: u64,
        args: &[u64],
        returns_to: u64,
    ) -> Option<FunctionEntry<Registers>> {
        const LEFT: u64 = 128;
        const MOST: usize = 6;
        /// The link register.
        const LR: usize = 30;
        let mut entered = *registers;
        if args.len() > MOST {
            return None;
        }
        for (place, &arg) in entered.x.iter_mut().zip(args) {
            *place = arg;
        }
        *entered.x.get_mut(LR)? = returns_to;
        entered.sp = registers.sp.wrapping_sub(LEFT) & !15;
        Self::set_pc(&mut entered, function);
        Some(FunctionEntry { registers: entered, frame: None, returned_sp: entered.sp })
    }

    /// It has put the address behind itself into the link register.
    fn called_from(
        before: &Registers,
        after: &Registers,
        _: &dyn Fn(u64) -> Option<u64>,
    ) -> Option<u64> {
        let behind = before.pc.wrapping_add(u64::from(instruction::LENGTH));
        let linked = after.x.last().copied();
        (after.pc != behind && linked == Some(behind)).then_some(behind)
    }

    fn returned_value(registers: &Registers) -> u64 {
        let [first, ..] = registers.x;
        first
    }

    fn enter_slot(to: u64, registers: &mut Registers) {
        registers.pc = to;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn setting_the_program_counter_forgets_the_branch() {
        let mut registers = Registers { pstate: 0x6000_0c00, ..Registers::default() };
        AArch64::set_pc(&mut registers, 0x1000);
        assert_eq!((registers.pc, registers.pstate), (0x1000, 0x6000_0000));
    }

    #[test]
    fn a_slot_is_left_to_where_the_original_would_be() {
        let slot = instruction::place(&[0x20, 0x00, 0x80, 0xd2], 0x1000, 0x8000, CodeMode::Bits64);
        let slot = slot.unwrap();
        for (pc, left) in [(0x8000, 0x1000), (0x8004, 0x1004), (0x8008, 0x8008), (0x7ffc, 0x7ffc)] {
            let mut registers = Registers { pc, ..Registers::default() };
            AArch64::leave_slot(&slot, 0x1000, 0x8000, &mut registers);
            assert_eq!(registers.pc, left);
        }
    }

    #[test]
    fn system_calls_are_known() {
        let svc = [0x01, 0x00, 0x00, 0xd4];
        assert_eq!(AArch64::passing(&svc, CodeMode::Bits64), Passing::SystemCall);
        let narrow = [0x00, 0x00, 0x00, 0xef];
        assert_eq!(AArch64::passing(&narrow, CodeMode::Bits32), Passing::SystemCall);
        assert_eq!(AArch64::passing(&narrow, CodeMode::Bits64), Passing::Step);
        assert_eq!(AArch64::passing(&svc, CodeMode::Bits32), Passing::Step);
        for code in [&[0x1f, 0x20, 0x03, 0xd5][..], AArch64::BREAKPOINT, &[]] {
            assert_eq!(AArch64::passing(code, CodeMode::Bits64), Passing::Step);
        }
    }
}
