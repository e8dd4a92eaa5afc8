//! Signals by gdb's numbers, which are the same for every system (`include/gdb/signals.def` in gdb's
//! source).

use trapline::Signal;

/// The signals that have a name in Rust on both systems.
const NAMED: &[(Signal, u8)] = &[
    (Signal::HUP, 1),
    (Signal::INT, 2),
    (Signal::QUIT, 3),
    (Signal::ILL, 4),
    (Signal::TRAP, 5),
    (Signal::ABRT, 6),
    (Signal::FPE, 8),
    (Signal::KILL, 9),
    (Signal::BUS, 10),
    (Signal::SEGV, 11),
    (Signal::SYS, 12),
    (Signal::PIPE, 13),
    (Signal::ALRM, 14),
    (Signal::TERM, 15),
    (Signal::URG, 16),
    (Signal::STOP, 17),
    (Signal::TSTP, 18),
    (Signal::CONT, 19),
    (Signal::CHLD, 20),
    (Signal::TTIN, 21),
    (Signal::TTOU, 22),
    (Signal::IO, 23),
    (Signal::XCPU, 24),
    (Signal::XFSZ, 25),
    (Signal::VTALRM, 26),
    (Signal::PROF, 27),
    (Signal::WINCH, 28),
    (Signal::USR1, 30),
    (Signal::USR2, 31),
];

/// Those that one of the systems has, by the name that a signal prints.
const BY_NAME: &[(&str, u8)] = &[("SIGEMT", 7), ("SIGPWR", 32), ("SIGINFO", 142)];

/// No signal, as gdb says it.
pub(crate) const NONE: u8 = 0;
/// One that gdb has no number for.
const UNKNOWN: u8 = 143;

/// gdb's number of real-time signal `n`; it has 32 to 127 in three pieces.
fn realtime(n: i32) -> Option<u8> {
    let number = match n {
        32 => 77,
        33..=63 => 45 + (n - 33),
        64..=127 => 78 + (n - 64),
        _ => return None,
    };
    u8::try_from(number).ok()
}

/// What gdb calls a signal.
pub(crate) fn to_client(signal: Signal) -> u8 {
    let named = NAMED.iter().find(|(host, _)| *host == signal).map(|(_, number)| *number);
    let by_name = || {
        let name = signal.to_string();
        BY_NAME.iter().find(|(host, _)| *host == name).map(|(_, number)| *number)
    };
    named.or_else(by_name).or_else(|| realtime(signal.as_raw())).unwrap_or(UNKNOWN)
}

/// The signal that gdb means; `None` for "no signal" and for those that this system lacks.
pub(crate) fn from_client(number: u8) -> Option<Signal> {
    if number == NONE || number == UNKNOWN {
        return None;
    }
    (1..=super::LAST_SIGNAL)
        .filter_map(Signal::from_raw)
        .find(|&signal| to_client(signal) == number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_signal_comes_back() {
        for signal in (1..=64).filter_map(Signal::from_raw) {
            let number = to_client(signal);
            if number != UNKNOWN {
                assert_eq!(from_client(number), Some(signal), "{signal}");
            }
        }
        assert_eq!(from_client(NONE), None);
        let highest = (0..=255).filter_map(from_client).map(Signal::as_raw).max();
        assert!(highest.is_some_and(|highest| highest <= super::super::LAST_SIGNAL));
        assert_eq!(to_client(Signal::USR1), 30);
    }
}
