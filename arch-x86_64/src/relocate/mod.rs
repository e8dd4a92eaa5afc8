//! Executing an instruction away from its place: in a slot, or on the registers alone.
//!
//! What only computes is copied, with memory operands relative to the program counter adapted
//! (`slot`). What moves the program counter is carried out here (`emulate`, `branch`): in a slot it
//! would lead elsewhere, or push the wrong return address. The rest is refused: far branches,
//! software interrupts, transactions, and what this decoder does not know.
//!
//! One thing shows: the x87 unit remembers where its last instruction was, and `fnstenv`, `fxsave`
//! and `xsave` store that. After an x87 instruction in a slot it is the slot's address.

mod branch;
mod emulate;
mod operand;
mod slot;

use iced_x86::{FlowControl, Instruction, Mnemonic};
use trapline_core::{CodeMode, Relocation};

pub use emulate::Emulated;
pub(crate) use slot::{LENGTH, REACH, enter, leave, place};

use crate::instruction::{decode, is_int_0x80};

/// How the instruction that `code` begins with can be executed away from `from`.
pub(crate) fn relocate(code: &[u8], from: u64, mode: CodeMode) -> Relocation<Emulated> {
    let Some(instruction) = decode(code, from, mode) else { return Relocation::Refused };
    if mode == CodeMode::Bits16 {
        return Relocation::Refused;
    }
    if let Some(emulated) = Emulated::new(&instruction, code, mode) {
        return Relocation::Emulate(emulated);
    }
    match u8::try_from(instruction.len()) {
        Ok(length) if can_be_copied(&instruction, mode) => Relocation::Copy { length },
        _ => Relocation::Refused,
    }
}

/// Whether a copy of it does the same in a slot, with what [`place`] adapts.
fn can_be_copied(instruction: &Instruction, mode: CodeMode) -> bool {
    match instruction.flow_control() {
        FlowControl::Next => match instruction.mnemonic() {
            // With flags from the stack the program can have itself trapped from the *next*
            // instruction on, which in a slot is the jump back: carried out, or done in place.
            Mnemonic::Popf | Mnemonic::Popfd | Mnemonic::Popfq => false,
            // To enter an enclave puts the address behind the instruction into rcx.
            Mnemonic::Enclu => false,
            _ => true,
        },
        // `ud2` and its like fault in the slot as they would in place.
        FlowControl::Exception => true,
        // From `sysenter`, and from the `syscall` of 32-bit code, kernels return to a place of
        // their own choice.
        FlowControl::Call => {
            mode == CodeMode::Bits64 && instruction.mnemonic() == Mnemonic::Syscall
        }
        FlowControl::Interrupt => is_int_0x80(instruction),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use CodeMode::{Bits16, Bits32, Bits64};

    use super::*;

    fn copied(code: &[u8], mode: CodeMode) -> bool {
        let length = u8::try_from(code.len()).unwrap();
        relocate(code, 0x40_0000, mode) == Relocation::Copy { length }
    }

    fn emulated(code: &[u8], mode: CodeMode) -> bool {
        matches!(relocate(code, 0x40_0000, mode), Relocation::Emulate(_))
    }

    fn refused(code: &[u8], mode: CodeMode) -> bool {
        relocate(code, 0x40_0000, mode) == Relocation::Refused
    }

    #[test]
    fn what_computes_is_copied() {
        for code in [
            &[0x55][..],                                       // push rbp
            &[0xf3, 0x0f, 0x1e, 0xfa],                         // endbr64
            &[0x48, 0x83, 0xec, 0x18],                         // sub rsp, 24
            &[0x48, 0x8b, 0x05, 1, 2, 3, 4],                   // mov rax, [rip + ..]
            &[0x64, 0x48, 0x8b, 0x04, 0x25, 40, 0, 0, 0],      // mov rax, fs:[40]
            &[0xf3, 0xa4],                                     // rep movsb
            &[0x9c],                                           // pushfq
            &[0x8e, 0xd0],                                     // mov ss, eax
            &[0x0f, 0x0b],                                     // ud2
            &[0xf4],                                           // hlt
            &[0xec],                                           // in al, dx
            &[0x0f, 0xa2],                                     // cpuid
            &[0x0f, 0x01, 0xf9],                               // rdtscp
            &[0xc5, 0xf8, 0x77],                               // vzeroupper
            &[0x62, 0xf1, 0x7c, 0x48, 0x28, 0x05, 1, 2, 3, 4], // vmovaps zmm0, [rip + ..]
            &[0x0f, 0x05],                                     // syscall
            &[0xcd, 0x80],                                     // int 0x80
            &[0xc6, 0xf8, 0], // xabort: the breakpoint has ended the transaction
            &[0xd9, 0x30],    // fnstenv [rax]
        ] {
            assert!(copied(code, Bits64), "{code:x?}");
        }
    }

    #[test]
    fn what_moves_the_program_counter_is_emulated() {
        for code in [
            &[0xe8, 0, 0, 0, 0][..],               // call
            &[0x67, 0xe8, 0, 0, 0, 0],             // addr32 call, as linkers write it
            &[0x66, 0x66, 0x48, 0xe8, 0, 0, 0, 0], // data16 data16 rex.W call: thread-local storage
            &[0xff, 0xd0],                         // call rax
            &[0x41, 0xff, 0x53, 0x10],             // call [r11 + 16]
            &[0xff, 0x15, 0, 0, 0, 0],             // call [rip]
            &[0xf2, 0xff, 0x25, 0, 0, 0, 0],       // bnd jmp [rip]
            &[0x3e, 0xff, 0xe0],                   // notrack jmp rax
            &[0xeb, 0xfe],                         // jmp
            &[0xe9, 0, 0, 0, 0],                   // jmp
            &[0x74, 0],                            // je
            &[0x0f, 0x84, 0, 0, 0, 0],             // je
            &[0xe2, 0],                            // loop
            &[0xe3, 0],                            // jrcxz
            &[0xc3],                               // ret
            &[0xf3, 0xc3],                         // rep ret
            &[0xc2, 8, 0],                         // ret 8
            &[0x9d],                               // popfq
        ] {
            assert!(emulated(code, Bits64), "{code:x?}");
        }
    }

    #[test]
    fn the_rest_is_refused() {
        for code in [
            &[0xcc][..],                  // int3
            &[0xcd, 0x03],                // int 3
            &[0xf1],                      // int1
            &[0x0f, 0x34],                // sysenter
            &[0x0f, 0x07],                // sysret
            &[0xcb],                      // retf
            &[0x48, 0xcf],                // iretq
            &[0xff, 0x18],                // call far [rax]
            &[0xff, 0x28],                // jmp far [rax]
            &[0xc7, 0xf8, 0, 0, 0, 0],    // xbegin
            &[0x66, 0xe8, 0, 0, 0, 0],    // a call whose size depends on the CPU's maker
            &[0x66, 0xc3],                // a return of the same kind
            &[0x0f, 0x01, 0xd7],          // enclu
            &[0x66, 0x9d],                // popf of 16 bits
            &[0x06],                      // no instruction
            &[0xf0, 0x90],                // lock nop: faults in place
            &[0x48, 0x8b, 0x05, 1, 2, 3], // cut off
            &[],
        ] {
            assert!(refused(code, Bits64), "{code:x?}");
        }
        assert!(refused(&[0x90], Bits16));
    }

    #[test]
    fn code_of_32_bits_is_read_as_such() {
        assert!(copied(&[0x40], Bits32), "inc eax");
        assert!(copied(&[0xa1, 1, 2, 3, 4], Bits32), "mov eax, [..]");
        assert!(copied(&[0xcd, 0x80], Bits32), "int 0x80");
        assert!(emulated(&[0xe8, 0, 0, 0, 0], Bits32), "call");
        assert!(emulated(&[0x9d], Bits32), "popfd");
        for code in [
            &[0x0f, 0x05][..],         // syscall
            &[0x0f, 0x34],             // sysenter
            &[0xce],                   // into
            &[0x9a, 0, 0, 0, 0, 0, 0], // call far
            &[0xea, 0, 0, 0, 0, 0, 0], // jmp far
            &[0x66, 0xe8, 0, 0],       // call of 16 bits
        ] {
            assert!(refused(code, Bits32), "{code:x?}");
        }
    }

    #[test]
    fn bytes_behind_the_instruction_do_not_count() {
        assert_eq!(relocate(&[0x90, 0xcc, 0xcc], 0, Bits64), Relocation::Copy { length: 1 });
        assert_eq!(relocate(&[0x90; 40], 0, Bits64), Relocation::Copy { length: 1 });
    }
}
