//! What the loops by hand ask of Linux about the registers of x86-64.
//!
//! All unsafe code of this file is `ptrace` that takes numbers, or a structure of the length that it
//! reads or writes.

use super::super::bare::ptrace;

/// Where DR0 is for PEEKUSER and POKEUSER.
const DR0: usize = std::mem::offset_of!(libc::user, u_debugreg);
const DR6: usize = DR0 + 6 * 8;
const DR7: usize = DR0 + 7 * 8;

/// The word that a breakpoint instruction makes of one of code.
pub fn with_breakpoint(word: usize) -> usize {
    word & !0xff | 0xcc
}

/// How far behind a breakpoint instruction the program counter is when it has trapped.
pub const ADVANCE: u64 = 1;

/// Moves the program counter.
#[inline(always)]
pub fn move_pc(pid: i32, to: impl FnOnce(u64) -> u64) {
    // SAFETY: all zeros are a value of this structure of integers.
    let mut registers: libc::user_regs_struct = unsafe { std::mem::zeroed() };
    let at: *mut libc::user_regs_struct = &mut registers;
    // SAFETY: writes one `user_regs_struct`.
    assert_eq!(unsafe { libc::ptrace(libc::PTRACE_GETREGS, pid, 0, at) }, 0);
    registers.rip = to(registers.rip);
    let at: *const libc::user_regs_struct = &registers;
    // SAFETY: reads one `user_regs_struct`.
    assert_eq!(unsafe { libc::ptrace(libc::PTRACE_SETREGS, pid, 0, at) }, 0);
}

/// A debug register in use.
#[derive(Debug, Clone, Copy)]
pub struct Armed;

impl Armed {
    /// For an instruction.
    pub fn execute(pid: i32, addr: u64) -> Option<Self> {
        // DR7: the first register, local; R/W 0 is execute.
        Self::new(pid, addr, 1)
    }

    /// For writes to 8 bytes.
    pub fn write(pid: i32, addr: u64) -> Option<Self> {
        // R/W 1 is a write; length 2 is 8 bytes.
        Self::new(pid, addr, 1 | 1 << 16 | 2 << 18)
    }

    fn new(pid: i32, addr: u64, dr7: usize) -> Option<Self> {
        for (register, value) in [(DR0, addr as usize), (DR7, dr7)] {
            // SAFETY: takes numbers.
            if unsafe { libc::ptrace(libc::PTRACE_POKEUSER, pid, register, value) } != 0 {
                return None;
            }
        }
        Some(Armed)
    }

    /// What a hit takes: which register it was, by DR6, whose bits the CPU does not clear by itself.
    #[inline(always)]
    pub fn hit(self, pid: i32) {
        // SAFETY: takes numbers; what it returns is the word.
        let dr6 = unsafe { libc::ptrace(libc::PTRACE_PEEKUSER, pid, DR6, 0) };
        std::hint::black_box(dr6 & 15);
        ptrace(libc::PTRACE_POKEUSER, pid, DR6, 0);
    }
}
