//! Another system call than the one that a new thread stands behind.

use trapline_arch_x86_64::Registers;
use trapline_core::CodeMode;

use super::call::{CloneCall, clone_call};
use super::mode_of;

/// What a request for the registers gives.
pub(crate) type Raw = libc::user_regs_struct;

/// The length of `syscall`.
const SYSCALL: u64 = 2;

/// Whether a thread that is new stands behind the `syscall` by which its creator made it, which leaves
/// its own address in rcx: that says more than whether this is its first stop.
pub(crate) fn is_behind_its_birth(registers: &Raw, _is_first_stop: bool) -> bool {
    let made = !matches!(clone_call(registers), CloneCall::Other);
    let wide = mode_of(registers.cs) == CodeMode::Bits64;
    made && wide && registers.rax == 0 && registers.rcx == registers.rip
}

/// The registers by which such a thread makes another call there.
pub(crate) fn calling(registers: &Raw, number: libc::c_long, [first, second]: [u64; 2]) -> Raw {
    let mut calling = *registers;
    calling.rip = registers.rip.wrapping_sub(SYSCALL);
    (calling.rax, calling.orig_rax) = (number as u64, Registers::NO_SYSCALL);
    (calling.rdi, calling.rsi, calling.rdx) = (first, second, 0);
    (calling.r10, calling.r8) = (0, 0);
    calling
}

/// What a call has returned.
pub(crate) fn returned(registers: &Raw) -> i64 {
    registers.rax as i64
}

/// The program counter.
pub(crate) fn pc(registers: &Raw) -> u64 {
    registers.rip
}

#[cfg(test)]
mod tests {
    use super::*;

    fn child() -> Raw {
        let mut raw = super::super::to_kernel(&Registers::default());
        (raw.cs, raw.orig_rax, raw.rax) = (0x33, libc::SYS_clone as u64, 0);
        (raw.rip, raw.rcx) = (0x1002, 0x1002);
        raw
    }

    #[test]
    fn a_child_stands_behind_the_call_of_its_maker() {
        assert!(is_behind_its_birth(&child(), true));
        // The creator; in a handler; by `int 0x80`; a 32-bit program; another call.
        assert!(!is_behind_its_birth(&Raw { rax: 7, ..child() }, true));
        assert!(!is_behind_its_birth(&Raw { rip: 0x2000, ..child() }, true));
        assert!(!is_behind_its_birth(&Raw { rcx: 0, ..child() }, true));
        assert!(!is_behind_its_birth(&Raw { cs: 0x23, ..child() }, true));
        assert!(!is_behind_its_birth(&Raw { orig_rax: 1, ..child() }, true));
    }

    #[test]
    fn another_call_is_made_by_the_same_instruction() {
        let made = calling(&child(), libc::SYS_prctl, [3, 4]);
        assert_eq!((made.rip, made.rax, made.rdi, made.rsi), (0x1000, 157, 3, 4));
        assert_eq!(made.orig_rax, u64::MAX, "nothing is restarted");
        assert_eq!(returned(&Raw { rax: u64::MAX, ..child() }), -1);
    }
}
