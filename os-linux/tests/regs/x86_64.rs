//! x86-64.

use trapline_arch_x86_64::{FpRegisters, Registers};
use trapline_core::Error;
use trapline_core::backend::{Backend, Thread};
use trapline_os_linux::Linux;

/// `AUDIT_ARCH_X86_64` (`linux/audit.h`).
pub(crate) const AUDIT_ARCH: u32 = 0xc000_003e;

/// `syscall`.
pub(crate) const SYSTEM_CALL: [u8; 2] = [0x0f, 0x05];

/// `int3`.
pub(crate) const BREAKPOINT: [u8; 1] = [0xcc];

/// How far behind a breakpoint the program counter is when it has trapped.
pub(crate) const TRAPS_BEHIND: u64 = 1;

/// What the kernel says of such a trap: `SI_KERNEL`.
pub(crate) const BREAKPOINT_CODE: i32 = 0x80;

/// Changes two registers.
pub(crate) fn change(registers: &mut Registers) {
    (registers.r12, registers.rbx) = (0x1234_5678_9abc_def0, u64::MAX);
}

/// A vector register; the control register is what programs begin with.
pub(crate) fn vector(registers: &mut FpRegisters) -> &mut u128 {
    assert_eq!(registers.mxcsr, 0x1f80);
    &mut registers.xmm[7]
}

/// The extended state has that register, too.
pub(crate) fn extended_state_is_read_and_written(linux: &mut Linux, thread: Thread) {
    let fp = linux.fp_registers(thread).unwrap();
    match linux.extended_state(thread) {
        Ok(mut state) => {
            assert!(state.as_bytes().len() >= 576);
            let mut legacy = state.fp_registers();
            assert_eq!(legacy.xmm[7], fp.xmm[7]);
            legacy.xmm[7] = 42;
            state.set_fp_registers(&legacy);
            linux.set_extended_state(thread, &state).unwrap();
            assert_eq!(linux.fp_registers(thread).unwrap().xmm[7], 42);
        }
        // A CPU without XSAVE.
        Err(error) => assert!(matches!(error, Error::Unsupported { .. }), "{error}"),
    }
}
