//! What kind of instruction some bytes are, as far as a thread that is led past it needs to be
//! told (Intel SDM volume 2, chapter 2 and appendix A).

use trapline_core::Passing;

/// How many bytes the longest instruction has.
pub(crate) const LONGEST: usize = 15;

/// What it takes to get past an instruction of 64-bit code.
pub(crate) fn passing(code: &[u8]) -> Passing {
    let mut repeats = false;
    let mut rest = code;
    while let [byte, more @ ..] = rest {
        match byte {
            0xf2 | 0xf3 => repeats = true,
            // Segments, sizes, `lock`; REX, which counts only as the last, but does no harm before.
            0x26 | 0x2e | 0x36 | 0x3e | 0x64..=0x67 | 0xf0 | 0x40..=0x4f => {}
            _ => break,
        }
        rest = more;
    }
    match rest {
        // `syscall`, `sysenter`, `int 0x80`
        [0x0f, 0x05 | 0x34, ..] | [0xcd, 0x80, ..] => Passing::SystemCall,
        // `ins`, `outs`; `movs`, `cmps`; `stos`, `lods`, `scas`
        [0x6c..=0x6f | 0xa4..=0xa7 | 0xaa..=0xaf, ..] if repeats => Passing::Repeats,
        // `pushf`
        [0x9c, ..] => Passing::PushesFlags,
        _ => Passing::Step,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn system_calls_are_known() {
        for code in [&[0x0f, 0x05][..], &[0x0f, 0x34, 0xc3], &[0xcd, 0x80], &[0x48, 0x0f, 0x05]] {
            assert_eq!(passing(code), Passing::SystemCall, "{code:x?}");
        }
        for code in [&[0x0f, 0x0b][..], &[0xcd, 0x03], &[0x0f], &[]] {
            assert_eq!(passing(code), Passing::Step, "{code:x?}");
        }
    }

    #[test]
    fn flags_are_pushed() {
        for code in [&[0x9c][..], &[0x66, 0x9c], &[0x48, 0x9c]] {
            assert_eq!(passing(code), Passing::PushesFlags, "{code:x?}");
        }
        assert_eq!(passing(&[0x9d]), Passing::Step);
    }

    #[test]
    fn string_instructions_repeat_if_they_say_so() {
        for code in [&[0xf3, 0xa4][..], &[0xf3, 0x48, 0xa5], &[0xf2, 0xae], &[0x66, 0xf3, 0xab]] {
            assert_eq!(passing(code), Passing::Repeats, "{code:x?}");
        }
        // Without the prefix; `pause`; `popcnt`; `endbr64`
        for code in [&[0xa4][..], &[0xf3, 0x90], &[0xf3, 0x0f, 0xb8], &[0xf3, 0x0f, 0x1e, 0xfa]] {
            assert_eq!(passing(code), Passing::Step, "{code:x?}");
        }
    }
}
