//! Where a `SIGTRAP` comes from.

use trapline_core::backend::TrapOrigin;

use crate::decode::int;
use crate::ffi::Siginfo;

/// `send_sigtrap` and `get_si_code` in `arch/x86/kernel/traps.c`; a step over a system call is
/// `TRAP_BRKPT` (`user_single_step_report` in `arch/x86/kernel/ptrace.c`), a step into a signal
/// handler has the signal's own number (`signal_delivered` in `kernel/signal.c`), and `int3` has
/// `SI_KERNEL`.
pub(crate) fn trap_origin(info: &Siginfo) -> TrapOrigin {
    const SI_KERNEL: i32 = 0x80;
    const TRAP_BRKPT: i32 = 1;
    const TRAP_BRANCH: i32 = 3;
    match int(info, 8) {
        libc::TRAP_TRACE | TRAP_BRKPT | TRAP_BRANCH | libc::SIGTRAP => TrapOrigin::Step,
        libc::TRAP_HWBKPT => TrapOrigin::Hardware,
        SI_KERNEL => TrapOrigin::Breakpoint,
        // Negative or 0 if a process sent it; else of the program's own making, as by a
        // performance counter (`TRAP_PERF`).
        _ => TrapOrigin::Sent,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(code: i32, sender: i32) -> TrapOrigin {
        let mut info = Siginfo::default();
        info.0[8..12].copy_from_slice(&code.to_le_bytes());
        info.0[16..20].copy_from_slice(&sender.to_le_bytes());
        trap_origin(&info)
    }

    #[test]
    fn where_traps_come_from() {
        for (code, expected) in [
            (2, TrapOrigin::Step),
            (1, TrapOrigin::Step),
            (3, TrapOrigin::Step),
            (5, TrapOrigin::Step),
            (4, TrapOrigin::Hardware),
            (0x80, TrapOrigin::Breakpoint),
            (0, TrapOrigin::Sent),
            (-6, TrapOrigin::Sent),
            (-1, TrapOrigin::Sent),
            (6, TrapOrigin::Sent),
            (i32::MIN, TrapOrigin::Sent),
            (i32::MAX, TrapOrigin::Sent),
        ] {
            assert_eq!(origin(code, 7), expected, "{code}");
        }
    }
}
