//! Reading an instruction, and what kind it is as far as a thread that is led past it needs to be
//! told (SDM volume 2).

use iced_x86::{Code, Decoder, DecoderOptions, Instruction, Mnemonic};
use trapline_core::{CodeMode, Passing};

/// How many bytes the longest instruction has.
pub(crate) const LONGEST: usize = 15;

/// The instruction that `code` begins with; `None` if there is none, or not all of it.
pub(crate) fn decode(code: &[u8], addr: u64, mode: CodeMode) -> Option<Instruction> {
    let code = code.get(..LONGEST).unwrap_or(code);
    let instruction = decoder(code, addr, mode)?.decode();
    (!instruction.is_invalid()).then_some(instruction)
}

/// What reads `code`, which stands at `addr`.
pub(crate) fn decoder(code: &[u8], addr: u64, mode: CodeMode) -> Option<Decoder<'_>> {
    let bits = match mode {
        CodeMode::Bits64 => 64,
        CodeMode::Bits32 => 32,
        CodeMode::Bits16 => 16,
    };
    Decoder::try_with_ip(bits, code, addr, DecoderOptions::NONE).ok()
}

/// Whether it is `int 0x80`, which makes a system call.
pub(crate) fn is_int_0x80(instruction: &Instruction) -> bool {
    instruction.code() == Code::Int_imm8 && instruction.immediate8() == 0x80
}

/// What it takes to get past the instruction that `code` begins with.
pub(crate) fn passing(code: &[u8], mode: CodeMode) -> Passing {
    let Some(instruction) = decode(code, 0, mode) else { return Passing::Step };
    match instruction.mnemonic() {
        Mnemonic::Syscall | Mnemonic::Sysenter => Passing::SystemCall,
        Mnemonic::Int if is_int_0x80(&instruction) => Passing::SystemCall,
        Mnemonic::Pushf | Mnemonic::Pushfd | Mnemonic::Pushfq => Passing::PushesFlags,
        _ if instruction.is_string_instruction()
            && (instruction.has_rep_prefix() || instruction.has_repne_prefix()) =>
        {
            Passing::Repeats
        }
        _ => Passing::Step,
    }
}

#[cfg(test)]
mod tests {
    use CodeMode::{Bits16, Bits32, Bits64};

    use super::*;

    #[test]
    fn system_calls_are_known() {
        for code in [&[0x0f, 0x05][..], &[0x0f, 0x34, 0xc3], &[0xcd, 0x80], &[0x48, 0x0f, 0x05]] {
            assert_eq!(passing(code, Bits64), Passing::SystemCall, "{code:x?}");
        }
        for code in [&[0x0f, 0x0b][..], &[0xcd, 0x03], &[0x0f], &[]] {
            assert_eq!(passing(code, Bits64), Passing::Step, "{code:x?}");
        }
    }

    #[test]
    fn flags_are_pushed() {
        for code in [&[0x9c][..], &[0x66, 0x9c], &[0x48, 0x9c]] {
            assert_eq!(passing(code, Bits64), Passing::PushesFlags, "{code:x?}");
        }
        assert_eq!(passing(&[0x9c], Bits32), Passing::PushesFlags);
        assert_eq!(passing(&[0x9d], Bits64), Passing::Step);
    }

    #[test]
    fn string_instructions_repeat_if_they_say_so() {
        for code in [
            &[0xf3, 0xa4][..],         // movsb
            &[0xf3, 0x48, 0xa5],       // movsq
            &[0xf2, 0xae],             // scasb
            &[0x66, 0xf3, 0xab],       // stosw
            &[0xf3, 0x6c],             // insb
            &[0xf3, 0x6f],             // outsd
            &[0x65, 0xf3, 0xa4],       // from another segment
            &[0x67, 0xf3, 0x48, 0xa5], // with 32-bit addresses
        ] {
            assert_eq!(passing(code, Bits64), Passing::Repeats, "{code:x?}");
        }
        // Without the prefix; `pause`; `popcnt`; `endbr64`; `movsd` of SSE
        for code in [
            &[0xa4][..],
            &[0xf3, 0x90],
            &[0xf3, 0x0f, 0xb8, 0xc0],
            &[0xf3, 0x0f, 0x1e, 0xfa],
            &[0xf2, 0x0f, 0x10, 0xc1],
        ] {
            assert_eq!(passing(code, Bits64), Passing::Step, "{code:x?}");
        }
    }

    /// `inc eax; rep movsb` where 64-bit code has `rex rep movsb`.
    #[test]
    fn the_mode_counts() {
        assert_eq!(passing(&[0x40, 0xa4], Bits32), Passing::Step);
        assert_eq!(passing(&[0x40, 0x0f, 0x05], Bits64), Passing::SystemCall);
        assert_eq!(passing(&[0x40, 0x0f, 0x05], Bits32), Passing::Step);
    }

    #[test]
    fn what_is_cut_off_or_none_is_nothing() {
        for code in [&[][..], &[0x0f], &[0xe8, 0, 0, 0], &[0x06], &[0x66; 20]] {
            assert_eq!(decode(code, 0, Bits64), None, "{code:x?}");
        }
    }

    /// M1: `inc eax; pushf` and `dec edi; int 0x80` begin with what is a REX prefix in 64-bit code.
    #[test]
    fn what_is_a_prefix_depends_on_the_mode() {
        for mode in [Bits16, Bits32] {
            for code in [&[0x40, 0x9c][..], &[0x4f, 0xcd, 0x80], &[0x48, 0xf3, 0xa4]] {
                assert_eq!(passing(code, mode), Passing::Step, "{code:x?}");
            }
            assert_eq!(passing(&[0x9c], mode), Passing::PushesFlags);
            assert_eq!(passing(&[0x66, 0x9c], mode), Passing::PushesFlags);
            assert_eq!(passing(&[0xf3, 0xa5], mode), Passing::Repeats);
            for code in [[0x0f, 0x05], [0x0f, 0x34], [0xcd, 0x80]] {
                assert_eq!(passing(&code, mode), Passing::SystemCall, "{code:x?}");
            }
        }
        assert_eq!(passing(&[0x40, 0x9c], Bits64), Passing::PushesFlags);
    }
}
