//! Signals by gdb's numbers, which are the same for every system
//! (`include/gdb/signals.def` in gdb's source).

use gdbstub::common::Signal as Gdb;
use trapline::Signal;

/// The signals that have a name in Rust on both systems.
const NAMED: &[(Signal, Gdb)] = &[
    (Signal::HUP, Gdb::SIGHUP),
    (Signal::INT, Gdb::SIGINT),
    (Signal::QUIT, Gdb::SIGQUIT),
    (Signal::ILL, Gdb::SIGILL),
    (Signal::TRAP, Gdb::SIGTRAP),
    (Signal::ABRT, Gdb::SIGABRT),
    (Signal::BUS, Gdb::SIGBUS),
    (Signal::FPE, Gdb::SIGFPE),
    (Signal::KILL, Gdb::SIGKILL),
    (Signal::USR1, Gdb::SIGUSR1),
    (Signal::SEGV, Gdb::SIGSEGV),
    (Signal::USR2, Gdb::SIGUSR2),
    (Signal::PIPE, Gdb::SIGPIPE),
    (Signal::ALRM, Gdb::SIGALRM),
    (Signal::TERM, Gdb::SIGTERM),
    (Signal::CHLD, Gdb::SIGCHLD),
    (Signal::CONT, Gdb::SIGCONT),
    (Signal::STOP, Gdb::SIGSTOP),
    (Signal::TSTP, Gdb::SIGTSTP),
    (Signal::TTIN, Gdb::SIGTTIN),
    (Signal::TTOU, Gdb::SIGTTOU),
    (Signal::URG, Gdb::SIGURG),
    (Signal::XCPU, Gdb::SIGXCPU),
    (Signal::XFSZ, Gdb::SIGXFSZ),
    (Signal::VTALRM, Gdb::SIGVTALRM),
    (Signal::PROF, Gdb::SIGPROF),
    (Signal::WINCH, Gdb::SIGWINCH),
    (Signal::IO, Gdb::SIGIO),
    (Signal::SYS, Gdb::SIGSYS),
];

/// Those that one of the systems has, by the name that a signal prints.
const BY_NAME: &[(&str, Gdb)] =
    &[("SIGPWR", Gdb::SIGPWR), ("SIGEMT", Gdb::SIGEMT), ("SIGINFO", Gdb::SIGINFO)];

/// gdb's number of real-time signal `n`; it has 32 to 127 in three pieces.
fn realtime(n: i32) -> Option<Gdb> {
    let number = match n {
        32 => i32::from(Gdb::SIG32.0),
        33..=63 => i32::from(Gdb::SIG33.0) + (n - 33),
        64..=127 => i32::from(Gdb::SIG64.0) + (n - 64),
        _ => return None,
    };
    u8::try_from(number).ok().map(Gdb)
}

/// What gdb calls a signal.
pub(crate) fn to_gdb(signal: Signal) -> Gdb {
    let named = NAMED.iter().find(|(host, _)| *host == signal).map(|(_, gdb)| *gdb);
    let by_name = || {
        let name = signal.to_string();
        BY_NAME.iter().find(|(host, _)| *host == name).map(|(_, gdb)| *gdb)
    };
    named.or_else(by_name).or_else(|| realtime(signal.as_raw())).unwrap_or(Gdb::UNKNOWN)
}

/// The signal that gdb means; `None` for "no signal" and for those that this system lacks.
pub(crate) fn from_gdb(gdb: Gdb) -> Option<Signal> {
    (1..=127).filter_map(Signal::from_raw).find(|&signal| to_gdb(signal) == gdb)
}
