//! Slots: the code that is written into one, and the way in and out.

use iced_x86::{Mnemonic, Register};
use trapline_core::{CodeMode, Relocation, SlotCode};

use super::relocate;
use crate::Registers;
use crate::instruction::{decode, decoder};

/// A line of the cache: that a slot is written does not disturb a thread that runs in the next one.
pub(crate) const LENGTH: usize = 64;

/// What a displacement of 32 bits reaches, less the longest slot.
pub(crate) const REACH: u64 = (1 << 31) - 64;

/// How `mov rcx, imm64` begins: what follows a `syscall` in its slot, and no other instruction.
const MOV_RCX: [u8; 2] = [0x48, 0xb9];

/// The code for a slot at `to`: the instruction, and a jump back behind the original.
pub(crate) fn place(code: &[u8], from: u64, to: u64, mode: CodeMode) -> Option<SlotCode> {
    let Relocation::Copy { length } = relocate(code, from, mode) else { return None };
    let instruction = decode(code, from, mode)?;
    let original = code.get(..usize::from(length))?;
    let back = from.wrapping_add(u64::from(length));
    let mut slot = Vec::with_capacity(SlotCode::MOST);
    slot.extend_from_slice(original);
    if instruction.is_ip_rel_memory_operand() {
        let (at, displacement) = displacement(original, from, to, mode)?;
        slot.get_mut(at..)?.get_mut(..4)?.copy_from_slice(&displacement.to_le_bytes());
    }
    if instruction.mnemonic() == Mnemonic::Syscall {
        // It leaves the address behind it in rcx.
        slot.extend_from_slice(&MOV_RCX);
        slot.extend_from_slice(&back.to_le_bytes());
    }
    let at = to.checked_add(slot.len().try_into().ok()?)?;
    jump(&mut slot, at, back, mode)?;
    SlotCode::new(&slot, length, length)
}

/// Where the displacement of an operand relative to the program counter stands, and what it is at
/// `to`.
fn displacement(code: &[u8], from: u64, to: u64, mode: CodeMode) -> Option<(usize, i32)> {
    let mut decoder = decoder(code, from, mode)?;
    let instruction = decoder.decode();
    let offsets = decoder.get_constant_offsets(&instruction);
    if offsets.displacement_size() != 4 {
        return None;
    }
    let at = offsets.displacement_offset();
    let here = i32::from_le_bytes(code.get(at..)?.get(..4)?.try_into().ok()?);
    let moved = from.wrapping_sub(to) as i64;
    let there = if instruction.memory_base() == Register::EIP {
        here.wrapping_add(moved as i32) // such addresses have 32 bits
    } else {
        i64::from(here).checked_add(moved)?.try_into().ok()?
    };
    Some((at, there))
}

/// Appends a jump that will stand at `at`. It changes no register and no flag.
fn jump(slot: &mut Vec<u8>, at: u64, target: u64, mode: CodeMode) -> Option<()> {
    let distance = target.wrapping_sub(at.checked_add(5)?) as i64;
    let near = match mode {
        CodeMode::Bits64 => i32::try_from(distance).ok(),
        _ if u32::try_from(at).is_err() => return None,
        _ => Some(distance as i32), // addresses of 32 bits wrap around
    };
    if let Some(near) = near {
        slot.push(0xe9); // jmp rel32
        slot.extend_from_slice(&near.to_le_bytes());
    } else {
        // jmp [rip + padding]: to what follows, at a multiple of 8, since programs can ask for a
        // fault where it is not (AC).
        let end = at.checked_add(6)?;
        let padding = end.checked_next_multiple_of(8)?.wrapping_sub(end);
        slot.extend_from_slice(&[0xff, 0x25, padding as u8, 0, 0, 0]);
        slot.resize(slot.len().checked_add(padding as usize)?, 0xcc);
        slot.extend_from_slice(&target.to_le_bytes());
    }
    Some(())
}

/// The registers as they would be in place.
///
/// Only `rip` changes, and `rcx` between a `syscall` and what mends it. RF stays: a fault has set
/// it for the one instruction, wherever that stands. So do `rax` and `orig_rax`: a `syscall` that
/// Linux means to restart is 2 bytes before the program counter in either place.
pub(crate) fn leave(slot: &SlotCode, from: u64, to: u64, registers: &mut Registers) {
    let offset = registers.rip.wrapping_sub(to);
    let code = slot.bytes();
    if usize::try_from(offset).map_or(true, |offset| offset >= code.len()) {
        return;
    }
    if offset < u64::from(slot.done()) {
        registers.rip = from.wrapping_add(offset);
        return;
    }
    let length = u64::from(slot.length());
    registers.rip = from.wrapping_add(length);
    let is_syscall = code.get(usize::from(slot.done())..).is_some_and(|c| c.starts_with(&MOV_RCX));
    if is_syscall && registers.rcx == to.wrapping_add(length) {
        registers.rcx = registers.rip;
    }
}

/// Sends a thread into its slot. RF stays: nothing has an execute breakpoint in a slot.
pub(crate) fn enter(to: u64, registers: &mut Registers) {
    registers.rip = to;
}

#[cfg(test)]
mod tests {
    use CodeMode::{Bits32, Bits64};

    use super::*;

    const FROM: u64 = 0x5555_5555_0000;
    const NEAR: u64 = FROM + 0x1000;
    const FAR: u64 = 0x7fff_0000_0000;

    /// A slot's bytes.
    fn bytes(code: &[u8], from: u64, to: u64, mode: CodeMode) -> Vec<u8> {
        let slot = place(code, from, to, mode).unwrap();
        assert_eq!(usize::from(slot.length()), code.len());
        assert_eq!(slot.length(), slot.done());
        slot.bytes().to_vec()
    }

    #[test]
    fn a_copy_jumps_back() {
        // To FROM + 1, from the end of the jump at NEAR + 6
        let back = (-0x1005_i32).to_le_bytes();
        assert_eq!(bytes(&[0x90], FROM, NEAR, Bits64), [&[0x90, 0xe9][..], &back].concat());
    }

    #[test]
    fn a_copy_jumps_back_from_afar() {
        let back = (FROM + 1).to_le_bytes();
        let jump = [0x90, 0xff, 0x25, 1, 0, 0, 0, 0xcc];
        assert_eq!(bytes(&[0x90], FROM, FAR, Bits64), [&jump[..], &back].concat());
        let jump = [0x50, 0xff, 0x25, 0, 0, 0, 0];
        assert_eq!(bytes(&[0x50], FROM, FAR + 1, Bits64), [&jump[..], &back].concat());
    }

    #[test]
    fn the_longest_slots_fit() {
        // add qword ptr fs:[rax + rbx * 2 + 1], 1, with prefixes that change nothing
        let code = [0x64, 0x64, 0x64, 0x48, 0x81, 0x84, 0x58, 1, 0, 0, 0, 1, 0, 0, 0];
        assert_eq!(bytes(&code, FROM, FAR, Bits64).len(), 32);
        let code = [&[0x64; 12][..], &[0x48, 0x0f, 0x05]].concat();
        assert_eq!(bytes(&code, FROM, FAR, Bits64).len(), 40);
        const { assert!(15 + 10 + 6 + 7 + 8 <= SlotCode::MOST && SlotCode::MOST <= LENGTH) };
    }

    #[test]
    fn operands_relative_to_the_program_counter_move() {
        for (code, at) in [
            (&[0x48, 0x8d, 0x05, 0, 0, 0x10, 0][..], 3), // lea rax, [rip + 0x100000]
            (&[0x81, 0x05, 0, 0, 0x10, 0, 1, 2, 3, 4], 2), // add dword ptr [..], 0x04030201
            (&[0x80, 0x3d, 0, 0, 0x10, 0, 7], 2),        // cmp byte ptr [..], 7
            (&[0x66, 0x0f, 0x3a, 0x0f, 0x05, 0, 0, 0x10, 0, 8], 5), // palignr xmm0, [..], 8
            (&[0xc4, 0xe3, 0x7d, 0x46, 0x05, 0, 0, 0x10, 0, 0x31], 5), // vperm2i128 ymm0, ..
            (&[0x62, 0xf1, 0x7c, 0x48, 0x28, 0x05, 0, 0, 0x10, 0], 6), // vmovaps zmm0, [..]
            (&[0x67, 0x8b, 0x05, 0, 0, 0x10, 0], 3),     // mov eax, [eip + 0x100000]
        ] {
            let slot = bytes(code, FROM, NEAR, Bits64);
            let mut expected = code.to_vec();
            expected[at..at + 4].copy_from_slice(&(0x10_0000_i32 - 0x1000).to_le_bytes());
            assert_eq!(slot[..code.len()], expected, "{code:x?}");
        }
    }

    #[test]
    fn what_is_out_of_reach_has_no_slot() {
        let lea =
            |displacement: i32| [&[0x48, 0x8d, 0x05][..], &displacement.to_le_bytes()].concat();
        assert_eq!(place(&lea(0), FROM, FAR, Bits64), None);
        assert!(place(&lea(i32::MIN), FROM, FROM - 0x1000, Bits64).is_some());
        assert_eq!(place(&lea(i32::MIN), FROM, FROM + 0x1000, Bits64), None);
        assert_eq!(place(&lea(i32::MAX), FROM, FROM - 0x1000, Bits64), None);
        // Nothing is, within `REACH` of an instruction that refers to its neighbourhood.
        assert!(place(&lea(-7), FROM, FROM + REACH, Bits64).is_some());
        assert!(place(&lea(-7), FROM, FROM - REACH, Bits64).is_some());
        assert_eq!(place(&lea(0), 0, u64::MAX - 3, Bits64), None);
        // Addresses of 32 bits wrap around.
        assert!(place(&[0x67, 0x8b, 0x05, 0, 0, 0, 0], FROM, FAR, Bits64).is_some());
    }

    #[test]
    fn what_is_not_copied_has_no_slot() {
        for code in [&[0xc3][..], &[0xe8, 0, 0, 0, 0], &[0xcc], &[0x48], &[]] {
            assert_eq!(place(code, FROM, NEAR, Bits64), None, "{code:x?}");
        }
    }

    #[test]
    fn code_of_32_bits_has_slots_below_4_gib() {
        // inc eax; to 0xffff_f001 from the end of the jump at 0x1006
        let back = 0xffff_dffb_u32.to_le_bytes();
        let slot = bytes(&[0x40], 0xffff_f000, 0x1000, Bits32);
        assert_eq!(slot, [&[0x40, 0xe9][..], &back].concat());
        assert_eq!(place(&[0x40], 0x1000, 0x1_0000_0000, Bits32), None);
        // What is relative in 64-bit code is absolute here.
        let slot = bytes(&[0x8b, 0x05, 1, 2, 3, 4], 0x1000, 0x2000, Bits32);
        assert_eq!(slot[..6], [0x8b, 0x05, 1, 2, 3, 4]);
    }

    /// What the registers are in place, for a thread at an offset into a slot.
    fn left(code: &[u8], offset: u64, registers: Registers) -> Registers {
        let slot = place(code, FROM, NEAR, Bits64).unwrap();
        let mut registers = Registers { rip: NEAR.wrapping_add(offset), ..registers };
        leave(&slot, FROM, NEAR, &mut registers);
        registers
    }

    #[test]
    fn a_program_counter_in_a_slot_is_before_or_behind_the_original() {
        let any = Registers { rax: 1, rcx: NEAR + 2, rflags: 0x1_0246, ..Registers::default() };
        let mov = [0x48, 0x89, 0xc3];
        assert_eq!(left(&mov, 0, any), Registers { rip: FROM, ..any });
        assert_eq!(left(&mov, 3, any), Registers { rip: FROM + 3, ..any });
        // Not in the slot
        assert_eq!(left(&mov, 8, any), Registers { rip: NEAR + 8, ..any });
        assert_eq!(left(&mov, u64::MAX, any), Registers { rip: NEAR - 1, ..any });
    }

    #[test]
    fn a_system_call_in_a_slot_returns_behind_the_original() {
        let slot = bytes(&[0x0f, 0x05], FROM, NEAR, Bits64);
        // mov rcx, FROM + 2
        let mends = [&[0x48, 0xb9][..], &(FROM + 2).to_le_bytes(), &[0xe9]].concat();
        assert_eq!(slot[2..13], mends);

        let inside = Registers { rcx: NEAR + 2, orig_rax: 0, rax: -512_i64 as u64, ..any() };
        let expected = Registers { rip: FROM + 2, rcx: FROM + 2, ..inside };
        assert_eq!(left(&[0x0f, 0x05], 2, inside), expected);
        assert_eq!(left(&[0x0f, 0x05], 12, Registers { rcx: FROM + 2, ..inside }), expected);
        // Another rcx is the program's, or that of a kernel that keeps an argument in it.
        let other = Registers { rcx: 7, ..inside };
        assert_eq!(left(&[0x0f, 0x05], 2, other), Registers { rip: FROM + 2, ..other });
        assert_eq!(left(&[0x0f, 0x05], 0, inside), Registers { rip: FROM, ..inside });
    }

    fn any() -> Registers {
        Registers { rsp: 0x7ffc_0000_0000, rflags: 0x246, ..Registers::default() }
    }

    #[test]
    fn the_way_in_changes_the_program_counter_alone() {
        let at = Registers { rip: FROM, rflags: 0x1_0246, ..any() };
        let mut registers = at;
        enter(NEAR, &mut registers);
        assert_eq!(registers, Registers { rip: NEAR, ..at });
    }
}
