//! Where a `SIGTRAP` comes from.

use trapline_core::backend::TrapOrigin;

use crate::decode::int;
use crate::ffi::Siginfo;

/// A step is `TRAP_TRACE` (`single_step_handler` in `arch/arm64/kernel/debug-monitors.c`), but over a
/// system call `SI_USER` without a sender (`report_syscall` in `arch/arm64/kernel/ptrace.c`), and into a
/// signal handler the signal's own number (`signal_delivered` in `kernel/signal.c`). `brk` is
/// `TRAP_BRKPT`.
pub(crate) fn trap_origin(info: &Siginfo) -> TrapOrigin {
    const SI_USER: i32 = 0;
    const TRAP_BRKPT: i32 = 1;
    const SENDER: usize = 16;
    match int(info, 8) {
        libc::TRAP_TRACE | libc::SIGTRAP => TrapOrigin::Step,
        SI_USER if int(info, SENDER) == 0 => TrapOrigin::Step,
        libc::TRAP_HWBKPT => TrapOrigin::Hardware,
        TRAP_BRKPT => TrapOrigin::Breakpoint,
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
            (5, TrapOrigin::Step),
            (1, TrapOrigin::Breakpoint),
            (4, TrapOrigin::Hardware),
            (0, TrapOrigin::Sent),
            (-6, TrapOrigin::Sent),
            (-1, TrapOrigin::Sent),
            (6, TrapOrigin::Sent),
            (i32::MIN, TrapOrigin::Sent),
            (i32::MAX, TrapOrigin::Sent),
        ] {
            assert_eq!(origin(code, 7), expected, "{code}");
        }
        assert_eq!(origin(0, 0), TrapOrigin::Step);
    }
}
