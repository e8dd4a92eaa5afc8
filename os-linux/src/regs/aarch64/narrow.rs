//! 32-bit programs: `compat_elf_gregset_t` of `arch/arm64/include/asm/compat.h`, 18 words of 4
//! bytes, R0 to R15, CPSR and the first argument of a system call.

use trapline_arch_aarch64::FpRegisters;

use super::{CloneCall, Raw};

/// How many bytes their set of registers has.
pub(super) const LENGTH: usize = 18 * 4;

const STACK: usize = 13;
const COUNTER: usize = 15;
const STATUS: usize = 16;
/// The first argument of a system call, also when its result is in R0.
const FIRST_ARGUMENT: usize = 17;

/// The word of a short set.
fn word(raw: &Raw, index: usize) -> u64 {
    let both = raw.regs.get(index / 2).copied().unwrap_or(0);
    both >> (32 * (index % 2)) & 0xffff_ffff
}

/// A short set as a long one: the CPU itself has R0 to R14 in the low halves of X0 to X14.
pub(super) fn widened(raw: &Raw) -> Raw {
    let mut regs = [0; 31];
    for (index, register) in regs.iter_mut().take(COUNTER).enumerate() {
        *register = word(raw, index);
    }
    // Kept where the CPU has nothing of a 32-bit program, to be given back.
    regs[FIRST_ARGUMENT] = word(raw, FIRST_ARGUMENT);
    Raw { regs, sp: word(raw, STACK), pc: word(raw, COUNTER), pstate: word(raw, STATUS) }
}

/// The way back.
pub(super) fn narrowed(raw: &Raw) -> Raw {
    let word = |index| match index {
        COUNTER => raw.pc,
        STATUS => raw.pstate,
        _ => raw.regs.get(index).copied().unwrap_or(0),
    };
    let mut regs = [0; 31];
    for (index, both) in regs.iter_mut().take(LENGTH / 8).enumerate() {
        *both = word(2 * index) & 0xffff_ffff | word(2 * index + 1) << 32;
    }
    Raw { regs, sp: 0, pc: 0, pstate: 0 }
}

/// The call that made a task: its number is in R7 (`arch/arm/include/uapi/asm/unistd.h`).
pub(super) fn clone_call(raw: &Raw) -> CloneCall {
    const FORK: u64 = 2;
    const CLONE: u64 = 120;
    const VFORK: u64 = 190;
    const CLONE3: u64 = 435;
    match raw.regs[7] {
        FORK | VFORK => CloneCall::Fork,
        CLONE => CloneCall::Clone(raw.regs[0]),
        CLONE3 => CloneCall::Clone3(raw.regs[0]),
        _ => CloneCall::Other,
    }
}

/// D0 to D31 and FPSCR (`struct user_vfp` of `arch/arm/include/asm/user.h`, as `compat_vfp_get` in
/// `arch/arm64/kernel/ptrace.c` gives it).
pub(super) const FP_LENGTH: usize = 32 * 8 + 4;

/// The bits of FPSCR that are in FPSR where the two halves are apart: the flags and what has happened.
/// The others are in FPCR.
const FPSR: u32 = 0xf800_009f;

/// The CPU has D0 and D1 in V0, and so on up to V15.
pub(super) fn widened_fp(bytes: &[u8]) -> FpRegisters {
    let mut registers = FpRegisters::default();
    let (vectors, rest) = bytes.split_at_checked(32 * 8).unwrap_or_default();
    for (register, bytes) in registers.v.iter_mut().zip(vectors.chunks_exact(16)) {
        *register = u128::from_le_bytes(bytes.try_into().unwrap_or_default());
    }
    let status = rest.first_chunk().copied().map_or(0, u32::from_le_bytes);
    (registers.fpsr, registers.fpcr) = (status & FPSR, status & !FPSR);
    registers
}

/// The way back.
pub(super) fn narrowed_fp(registers: &FpRegisters) -> Vec<u8> {
    let vectors = registers.v.iter().take(16).flat_map(|register| register.to_le_bytes());
    let status = registers.fpsr & FPSR | registers.fpcr & !FPSR;
    vectors.chain(status.to_le_bytes()).collect()
}
