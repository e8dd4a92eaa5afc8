//! The CPU, as the engine knows it.

use trapline_core::backend::{DebugAlignment, DebugKind, DebugPool};
use trapline_core::debug_registers::Probe;
use trapline_core::{Arch, CodeMode, EmulatedMemory, FunctionEntry, Passing, Relocation, SlotCode};

use crate::debug::{self, SLOTS, USER_END};
use crate::{Emulated, ExtendedState, FpRegisters, RFlags, Registers, instruction, relocate};

/// The x86-64 CPU, as [`Arch`] has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct X86_64;

impl trapline_core::private::Sealed for X86_64 {}

impl Arch for X86_64 {
    type Registers = Registers;
    type FpRegisters = FpRegisters;
    type ExtendedState = ExtendedState;
    type Emulated = Emulated;

    /// `int3`. After it has trapped, the program counter is one past it.
    const BREAKPOINT: &'static [u8] = &[0xcc];

    const BREAKPOINT_ADVANCE: u64 = 1;

    const LONGEST_INSTRUCTION: usize = instruction::LONGEST;

    fn pc(registers: &Registers) -> u64 {
        registers.rip
    }

    /// Moves the program counter, clears RF and leaves the system call.
    ///
    /// RF speaks of the instruction that the thread stood at: left set, an execute breakpoint at
    /// the new place would be missed.
    ///
    /// [`orig_rax`](Registers::orig_rax) becomes `u64::MAX`: if the thread was stopped in a system
    /// call that Linux means to restart, the kernel would take 2 (the length of the `syscall`
    /// instruction) off the *new* program counter when it goes on, and load `rax` with the call's
    /// number (`arch_do_signal_or_restart` in Linux's `arch/x86/kernel/signal.c`). At the *entry*
    /// of a system call this cancels the call.
    fn set_pc(registers: &mut Registers, pc: u64) {
        registers.rip = pc;
        registers.rflags &= !RFlags::RF.bits();
        registers.orig_rax = Registers::NO_SYSCALL;
    }

    fn sp(registers: &Registers) -> u64 {
        registers.rsp
    }

    const DEBUG_POOLS: &'static [DebugPool] = &[DebugPool {
        slots: (1 << SLOTS) - 1,
        kinds: &[DebugKind::Execute, DebugKind::Write, DebugKind::ReadWrite],
        lengths: &[1, 2, 4, 8],
        alignment: DebugAlignment::Own,
    }];

    /// Below [`USER_END`]: with four-level page tables, which is what programs get unless they ask
    /// for more.
    fn can_watch(addr: u64) -> bool {
        addr < USER_END
    }

    /// Sets RF.
    fn pass_breakpoint(registers: &mut Registers) {
        registers.rflags |= RFlags::RF.bits();
    }

    /// Whether TF is set.
    fn steps_itself(registers: &Registers) -> bool {
        registers.flags().contains(RFlags::TF)
    }

    fn passing(code: &[u8], mode: CodeMode) -> Passing {
        instruction::passing(code, mode)
    }

    fn instruction_length(code: &[u8], mode: CodeMode) -> Option<u8> {
        instruction::decode(code, 0, mode).and_then(|found| u8::try_from(found.len()).ok())
    }

    const STORES_STEP_FLAG: bool = true;

    /// TF is bit 8.
    fn pushed_step(registers: &Registers) -> (u64, u8) {
        let [_, bit, ..] = RFlags::TF.bits().to_le_bytes();
        (registers.rsp.wrapping_add(1), bit)
    }

    const SLOT_LENGTH: usize = relocate::LENGTH;

    const SLOT_REACH: u64 = relocate::REACH;

    fn relocate(code: &[u8], from: u64, mode: CodeMode) -> Relocation<Emulated> {
        relocate::relocate(code, from, mode)
    }

    fn place(code: &[u8], from: u64, to: u64, mode: CodeMode) -> Option<SlotCode> {
        relocate::place(code, from, to, mode)
    }

    fn emulate(
        instruction: &Emulated,
        registers: &mut Registers,
        memory: &mut dyn EmulatedMemory,
    ) -> bool {
        instruction.carry_out(registers, memory)
    }

    fn uses_return_stack(instruction: &Emulated) -> bool {
        instruction.uses_return_stack()
    }

    fn leave_slot(slot: &SlotCode, from: u64, to: u64, registers: &mut Registers) {
        relocate::leave(slot, from, to, registers);
    }

    /// By the System V ABI: the arguments in registers, the stack aligned before the return address
    /// was pushed, the direction flag clear, and no vectors for variable arguments. The 128 bytes
    /// below the stack pointer are the interrupted function's.
    fn enter_function(
        registers: &Registers,
        function: u64,
        args: &[u64],
        returns_to: u64,
    ) -> Option<FunctionEntry<Registers>> {
        const RED_ZONE: u64 = 128;
        let top = registers.rsp.wrapping_sub(RED_ZONE) & !15;
        let mut entered = *registers;
        let places = [
            &mut entered.rdi,
            &mut entered.rsi,
            &mut entered.rdx,
            &mut entered.rcx,
            &mut entered.r8,
            &mut entered.r9,
        ];
        if args.len() > places.len() {
            return None;
        }
        for (place, &arg) in places.into_iter().zip(args) {
            *place = arg;
        }
        let cleared = RFlags::DF | RFlags::TF | RFlags::RF;
        entered.rflags &= !cleared.bits();
        (entered.rax, entered.rsp) = (0, top - 8);
        Self::set_pc(&mut entered, function);
        let frame = Some((top - 8, returns_to));
        Some(FunctionEntry { registers: entered, frame, returned_sp: top })
    }

    /// It has pushed the address behind itself.
    fn called_from(
        before: &Registers,
        after: &Registers,
        read: &dyn Fn(u64) -> Option<u64>,
    ) -> Option<u64> {
        const LONGEST: u64 = 15;
        if after.rsp != before.rsp.wrapping_sub(8) {
            return None;
        }
        let pushed = read(after.rsp)?;
        let behind = pushed.wrapping_sub(before.rip);
        ((2..=LONGEST).contains(&behind) && after.rip != pushed).then_some(pushed)
    }

    fn returned_value(registers: &Registers) -> u64 {
        registers.rax
    }

    fn probe(registers: &Registers, rounds: u64) -> Option<Probe<Registers>> {
        Some(debug::probe(registers, rounds))
    }

    fn enter_slot(to: u64, registers: &mut Registers) {
        relocate::enter(to, registers);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each register with a value of its own.
    fn numbered() -> Registers {
        let mut registers = Registers::default();
        for (value, name) in (1..).zip(Registers::NAMES) {
            assert!(registers.set(name, value));
        }
        registers
    }

    /// D5: an execute breakpoint at the new place must not be missed.
    #[test]
    fn setting_the_program_counter_forgets_the_old_place() {
        let mut registers = Registers { rflags: 0x1_0346, ..numbered() };
        let before = registers;
        X86_64::set_pc(&mut registers, 0x401000);
        assert_eq!(X86_64::pc(&registers), 0x401000);
        assert_eq!(registers.flags(), before.flags() - RFlags::RF);
        assert_eq!(registers.syscall_number(), None, "Linux would restart the call");
        let rest = Registers {
            rip: before.rip,
            rflags: before.rflags,
            orig_rax: before.orig_rax,
            ..registers
        };
        assert_eq!(rest, before);
    }

    #[test]
    fn a_function_is_entered_as_a_compiler_would_call_it() {
        let before = Registers { rsp: 0x7fff_1238, rflags: 0x1_0746, ..numbered() };
        let entry = X86_64::enter_function(&before, 0x40_1000, &[7, 8, 9, 10, 11, 12], 0x5000);
        let entry = entry.unwrap();
        let now = entry.registers;
        assert_eq!((now.rip, now.rdi, now.rsi, now.rdx), (0x40_1000, 7, 8, 9));
        assert_eq!((now.rcx, now.r8, now.r9, now.rax), (10, 11, 12, 0));
        assert_eq!(now.rsp % 16, 8, "as behind a call");
        assert!(now.rsp + 8 + 128 <= before.rsp, "the red zone is kept");
        assert_eq!(entry.frame, Some((now.rsp, 0x5000)));
        assert_eq!(entry.returned_sp, now.rsp + 8);
        assert!(!now.flags().intersects(RFlags::DF | RFlags::TF | RFlags::RF));
        assert_eq!(now.syscall_number(), None, "no call is made again");
        assert_eq!(now.rbx, before.rbx);
        assert_eq!(X86_64::enter_function(&before, 0x40_1000, &[0; 7], 0), None);
    }

    #[test]
    fn a_call_is_told_from_a_push_and_a_jump() {
        let before = Registers { rip: 0x1000, rsp: 0x8000, ..numbered() };
        let after = |rip, rsp| Registers { rip, rsp, ..before };
        let from = |after, pushed| X86_64::called_from(&before, &after, &|_| Some(pushed));
        assert_eq!(from(after(0x5000, 0x7ff8), 0x1005), Some(0x1005));
        assert_eq!(from(after(0x1005, 0x7ff8), 0x1005), None, "a call of what is behind it");
        assert_eq!(from(after(0x1001, 0x7ff8), 0x2000), None, "a push");
        assert_eq!(from(after(0x5000, 0x8000), 0x1005), None, "a jump");
        assert_eq!(from(after(0x5000, 0x8008), 0x1005), None, "a return");
    }

    #[test]
    fn the_stack_pointer_and_the_breakpoint() {
        assert_eq!(X86_64::sp(&numbered()), numbered().rsp);
        assert_eq!(X86_64::BREAKPOINT, [0xcc]);
    }
}
