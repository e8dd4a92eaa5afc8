//! Signals, by their raw number.

use std::fmt;
use std::num::NonZeroU8;
use std::str::FromStr;

/// A signal: its number, so that no signal is unknown, real-time ones included.
///
/// The numbers are those of the system that this was built for. `Display` gives the name, and the
/// name can be parsed again, in upper or lower case, with or without the `SIG`.
///
/// ```
/// use trapline::Signal;
///
/// assert_eq!(Signal::TERM.to_string(), "SIGTERM");
/// assert_eq!("term".parse(), Ok(Signal::TERM));
/// assert_eq!("9".parse(), Ok(Signal::KILL));
/// let realtime: Signal = "SIGRTMIN+3".parse()?;
/// assert_eq!(realtime.to_string(), "SIGRTMIN+3");
/// # Ok::<(), trapline::InvalidSignal>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Signal(NonZeroU8);

/// A number, or a text, that is no signal of this system.
///
/// ```
/// use trapline::{InvalidSignal, Signal};
///
/// let result: Result<Signal, InvalidSignal> = "SIGNAL".parse();
/// assert_eq!(result.unwrap_err().to_string(), "this system has no such signal");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct InvalidSignal;

impl fmt::Display for InvalidSignal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("this system has no such signal")
    }
}

impl std::error::Error for InvalidSignal {}

/// How one system numbers its signals.
struct Numbering {
    /// Names without the `SIG`; the first is signal 1.
    names: &'static [&'static str],
    /// The real-time signals that programs can use.
    realtime: (u8, u8),
}

/// `signal(7)`; `kill -l`. 32 and 33 are the C library's own.
const LINUX: Numbering = Numbering {
    names: &[
        "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
        "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
        "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
    ],
    realtime: (34, 64),
};

/// `sys/sys/signal.h`. 32 and 33 are the libraries' own.
const FREEBSD: Numbering = Numbering {
    names: &[
        "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "EMT", "FPE", "KILL", "BUS", "SEGV", "SYS",
        "PIPE", "ALRM", "TERM", "URG", "STOP", "TSTP", "CONT", "CHLD", "TTIN", "TTOU", "IO",
        "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "INFO", "USR1", "USR2", "THR", "LIBRT",
    ],
    realtime: (65, 126),
};

/// The numbering of the system this is built for. Both tables are plain data, so that either can
/// be tested anywhere.
const HOST: Numbering = match std::env::consts::OS.as_bytes() {
    b"freebsd" => FREEBSD,
    _ => LINUX,
};

impl Numbering {
    const fn number(&self, name: &str) -> Option<Signal> {
        let mut i = 0;
        while i < self.names.len() {
            if same(self.names[i].as_bytes(), name.as_bytes()) {
                return Signal::from_raw(i as i32 + 1);
            }
            i += 1;
        }
        None
    }

    /// The signal that a name or a number means, as [`write`](Self::write) has it.
    fn parse(&self, text: &str) -> Option<Signal> {
        let text = text.strip_prefix("signal ").unwrap_or(text).to_ascii_uppercase();
        if let Ok(number) = text.parse() {
            return Signal::from_raw(number);
        }
        let name = text.strip_prefix("SIG").unwrap_or(&text);
        let realtime = |offset: &str| match offset.strip_prefix(['+', '-']) {
            Some(number) if number.starts_with(['+', '-']) => None,
            Some(number) => number.parse::<i32>().ok(),
            None => offset.is_empty().then_some(0),
        };
        let (first, last) = (i32::from(self.realtime.0), i32::from(self.realtime.1));
        let number = if let Some(offset) = name.strip_prefix("RTMIN") {
            first.checked_add(realtime(offset).filter(|_| !offset.starts_with('-'))?)?
        } else if let Some(offset) = name.strip_prefix("RTMAX") {
            last.checked_sub(realtime(offset).filter(|_| !offset.starts_with('+'))?)?
        } else {
            return self.number(name);
        };
        Signal::from_raw(number).filter(|_| (first..=last).contains(&number))
    }

    fn write(&self, number: u8, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, last) = self.realtime;
        if let Some(name) = self.names.get(usize::from(number) - 1) {
            f.pad(&format!("SIG{name}"))
        } else if number == first {
            f.pad("SIGRTMIN")
        } else if (first..=last).contains(&number) {
            f.pad(&format!("SIGRTMIN+{}", number - first))
        } else {
            f.pad(&format!("signal {number}"))
        }
    }
}

const fn same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let mut i = 0;
    while i < a.len() {
        if a[i] != b[i] {
            return false;
        }
        i += 1;
    }
    true
}

macro_rules! signals {
    ($($name:ident)*) => {
        /// The signals that both systems have, each with the number that it has here.
        impl Signal {
            $(
                #[doc = concat!("`SIG", stringify!($name), "`")]
                pub const $name: Signal = HOST.number(stringify!($name)).unwrap();
            )*
        }
    };
}

signals! {
    HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM CHLD CONT STOP TSTP TTIN
    TTOU URG XCPU XFSZ VTALRM PROF WINCH IO SYS
}

impl Signal {
    /// The signal with this number; `None` for 0 (which means "no signal"), for negative numbers
    /// and for those above 127, which no wait status can carry.
    ///
    /// ```
    /// use trapline::Signal;
    ///
    /// assert_eq!(Signal::from_raw(9), Some(Signal::KILL));
    /// assert_eq!(Signal::from_raw(0), None);
    /// ```
    pub const fn from_raw(raw: i32) -> Option<Signal> {
        if raw < 1 || raw > 127 {
            return None;
        }
        match NonZeroU8::new(raw as u8) {
            Some(number) => Some(Signal(number)),
            None => None,
        }
    }

    /// Its number, 1 to 127.
    ///
    /// ```
    /// assert_eq!(trapline::Signal::KILL.as_raw(), 9);
    /// ```
    pub const fn as_raw(self) -> i32 {
        self.0.get() as i32
    }

    /// Whether an instruction raises this signal where it stands.
    pub(crate) fn is_fault(self) -> bool {
        [Signal::ILL, Signal::TRAP, Signal::BUS, Signal::FPE, Signal::SEGV].contains(&self)
    }

    /// Whether the default action of this signal is to stop the process (job control).
    ///
    /// ```
    /// use trapline::Signal;
    ///
    /// assert!(Signal::TSTP.stops() && !Signal::CONT.stops());
    /// ```
    pub fn stops(self) -> bool {
        [Signal::STOP, Signal::TSTP, Signal::TTIN, Signal::TTOU].contains(&self)
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        HOST.write(self.0.get(), f)
    }
}

impl TryFrom<i32> for Signal {
    type Error = InvalidSignal;

    fn try_from(raw: i32) -> Result<Signal, InvalidSignal> {
        Signal::from_raw(raw).ok_or(InvalidSignal)
    }
}

impl From<Signal> for i32 {
    fn from(signal: Signal) -> i32 {
        signal.as_raw()
    }
}

impl FromStr for Signal {
    type Err = InvalidSignal;

    fn from_str(text: &str) -> Result<Signal, InvalidSignal> {
        HOST.parse(text).ok_or(InvalidSignal)
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_systems_number_the_same_names_differently() {
        let raw = |n: &Numbering, name| n.number(name).unwrap().as_raw();
        for (name, linux, freebsd) in [
            ("KILL", 9, 9),
            ("TRAP", 5, 5),
            ("BUS", 7, 10),
            ("USR1", 10, 30),
            ("USR2", 12, 31),
            ("CHLD", 17, 20),
            ("CONT", 18, 19),
            ("STOP", 19, 17),
            ("TSTP", 20, 18),
            ("TTIN", 21, 21),
            ("URG", 23, 16),
            ("IO", 29, 23),
            ("SYS", 31, 12),
            ("WINCH", 28, 28),
        ] {
            assert_eq!(raw(&LINUX, name), linux, "{name}");
            assert_eq!(raw(&FREEBSD, name), freebsd, "{name}");
        }
    }

    #[test]
    fn every_number_has_a_name() {
        assert_eq!(Signal::KILL.to_string(), "SIGKILL");
        let realtime = Signal::from_raw(i32::from(HOST.realtime.0) + 3).unwrap();
        assert_eq!(realtime.to_string(), "SIGRTMIN+3");
        assert_eq!(Signal::from_raw(127).unwrap().to_string(), "signal 127");
        assert_eq!(format!("[{:>8}]", Signal::INT), "[  SIGINT]");
    }

    #[test]
    fn every_name_is_parsed_again() {
        for raw in 1..=127 {
            let signal = Signal::from_raw(raw).unwrap();
            let name = signal.to_string();
            assert_eq!(name.parse(), Ok(signal), "{name}");
            assert_eq!(name.to_lowercase().parse(), Ok(signal), "{name}");
            assert_eq!(raw.to_string().parse(), Ok(signal));
            assert_eq!(Signal::try_from(raw), Ok(signal));
        }
        assert_eq!("int".parse(), Ok(Signal::INT));
        let last = Signal::from_raw(i32::from(HOST.realtime.1));
        assert_eq!("SIGRTMAX".parse().ok(), last);
        assert_eq!("RTMAX-0".parse().ok(), last);
        for none in ["", "SIG", "SIGSIGINT", "0", "128", "-9", "RTMIN-1", "RTMIN+200", "RTMAX+1"] {
            assert_eq!(none.parse::<Signal>(), Err(InvalidSignal), "{none}");
        }
        for none in ["RTMIN+", "RTMIN+-1", "RTMAX-2147483647", "SIGINT ", "signal x", "RTMIN++1"] {
            assert_eq!(none.parse::<Signal>(), Err(InvalidSignal), "{none}");
        }
    }

    #[test]
    fn numbers_out_of_range_are_no_signals() {
        for raw in [0, -1, 128, i32::MAX] {
            assert_eq!(Signal::from_raw(raw), None);
        }
    }
}
