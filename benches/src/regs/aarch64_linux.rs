//! What the loops by hand ask of Linux about the registers of aarch64.
//!
//! All unsafe code of this file is `ptrace` that takes numbers, or a structure of the length that it
//! reads or writes.

use super::super::bare::{ptrace, wait};

/// The register sets (`linux/elf.h`).
const NT_PRSTATUS: usize = 1;
const NT_ARM_HW_BREAK: usize = 0x402;
const NT_ARM_HW_WATCH: usize = 0x403;

/// `brk #0`.
const BREAKPOINT: usize = 0xd420_0000;

/// The word that a breakpoint instruction makes of one of code.
pub fn with_breakpoint(word: usize) -> usize {
    word & !0xffff_ffff | BREAKPOINT
}

/// How far behind a breakpoint instruction the program counter is when it has trapped.
pub const ADVANCE: u64 = 0;

/// PTRACE_GETREGSET or PTRACE_SETREGSET with a set, in a structure of integers.
#[inline(always)]
fn register_set<T>(request: libc::c_uint, pid: i32, set: usize, value: &mut T) -> bool {
    let mut range =
        libc::iovec { iov_base: std::ptr::from_mut(value).cast(), iov_len: size_of::<T>() };
    let range: *mut libc::iovec = &mut range;
    // SAFETY: reads and writes the range, and what it names, which live.
    unsafe { libc::ptrace(request, pid, set, range) == 0 }
}

/// Moves the program counter.
#[inline(always)]
pub fn move_pc(pid: i32, to: impl FnOnce(u64) -> u64) {
    // SAFETY: all zeros are a value of this structure of integers.
    let mut registers: libc::user_regs_struct = unsafe { std::mem::zeroed() };
    assert!(register_set(libc::PTRACE_GETREGSET, pid, NT_PRSTATUS, &mut registers));
    registers.pc = to(registers.pc);
    assert!(register_set(libc::PTRACE_SETREGSET, pid, NT_PRSTATUS, &mut registers));
}

/// The first register of a set (`struct user_hwdebug_state` of `asm/ptrace.h`).
#[derive(Debug, Clone, Copy)]
#[repr(C)]
struct First {
    info: [u32; 2],
    addr: u64,
    control: u32,
    pad: u32,
}

/// A debug register in use.
#[derive(Debug, Clone, Copy)]
pub struct Armed {
    set: usize,
    addr: u64,
    control: u32,
}

impl Armed {
    /// For an instruction.
    pub fn execute(pid: i32, addr: u64) -> Option<Self> {
        // Of user code; all four bytes.
        Self::new(pid, Armed { set: NT_ARM_HW_BREAK, addr, control: 1 | 2 << 1 | 0xf << 5 })
    }

    /// For writes to 8 bytes.
    pub fn write(pid: i32, addr: u64) -> Option<Self> {
        // Of user code; stores; all eight bytes.
        let control = 1 | 2 << 1 | 2 << 3 | 0xff << 5;
        Self::new(pid, Armed { set: NT_ARM_HW_WATCH, addr, control })
    }

    fn new(pid: i32, armed: Self) -> Option<Self> {
        armed.set(pid, armed.control).then_some(armed)
    }

    #[inline(always)]
    fn set(self, pid: i32, control: u32) -> bool {
        let mut first = First { info: [0; 2], addr: self.addr, control, pad: 0 };
        register_set(libc::PTRACE_SETREGSET, pid, self.set, &mut first)
    }

    /// What a hit takes: which address it was; and since it is told of before the instruction, which
    /// would hit again, a step without the register.
    #[inline(always)]
    pub fn hit(self, pid: i32) {
        // SAFETY: all zeros are a value of this structure of integers.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        // SAFETY: writes one `siginfo_t`.
        let result = unsafe { libc::ptrace(libc::PTRACE_GETSIGINFO, pid, 0, &mut info) };
        assert_eq!(result, 0);
        // SAFETY: it is a fault's.
        std::hint::black_box(unsafe { info.si_addr() });
        assert!(self.set(pid, 0));
        ptrace(libc::PTRACE_SINGLESTEP, pid, 0, 0);
        wait(pid);
        assert!(self.set(pid, self.control));
    }
}
