//! aarch64.

use trapline_arch_aarch64::{FpRegisters, Registers};
use trapline_core::backend::{Backend, Thread};
use trapline_os_linux::Linux;

/// `AUDIT_ARCH_AARCH64` (`linux/audit.h`).
pub(crate) const AUDIT_ARCH: u32 = 0xc000_00b7;

/// `svc #0`.
pub(crate) const SYSTEM_CALL: [u8; 4] = [0x01, 0x00, 0x00, 0xd4];

/// `brk #0`.
pub(crate) const BREAKPOINT: [u8; 4] = [0x00, 0x00, 0x20, 0xd4];

/// How far behind a breakpoint the program counter is when it has trapped.
pub(crate) const TRAPS_BEHIND: u64 = 0;

/// What the kernel says of such a trap: `TRAP_BRKPT`.
pub(crate) const BREAKPOINT_CODE: i32 = 1;

/// Changes two registers.
pub(crate) fn change(registers: &mut Registers) {
    (registers.x[12], registers.x[30]) = (0x1234_5678_9abc_def0, u64::MAX);
}

/// A vector register; the control register is what programs begin with.
pub(crate) fn vector(registers: &mut FpRegisters) -> &mut u128 {
    assert_eq!(registers.fpcr, 0);
    &mut registers.v[7]
}

/// The extended state has the thread pointer.
pub(crate) fn extended_state_is_read_and_written(linux: &mut Linux, thread: Thread) {
    let mut state = linux.extended_state(thread).unwrap();
    state.thread_pointer ^= 0x1000;
    linux.set_extended_state(thread, &state).unwrap();
    assert_eq!(linux.extended_state(thread).unwrap().thread_pointer, state.thread_pointer);
}
