//! Ids and signals as the crate `nix` has them: with the feature `nix`.

use nix::errno::Errno;

use crate::{InvalidId, Pid, Signal};

/// As long as it names a process: `nix` has numbers for groups, and for all processes, too.
impl TryFrom<nix::unistd::Pid> for Pid {
    type Error = InvalidId;

    fn try_from(pid: nix::unistd::Pid) -> Result<Self, InvalidId> {
        Pid::try_from(pid.as_raw())
    }
}

impl From<Pid> for nix::unistd::Pid {
    fn from(pid: Pid) -> Self {
        nix::unistd::Pid::from_raw(pid.as_raw())
    }
}

impl From<nix::sys::signal::Signal> for Signal {
    fn from(signal: nix::sys::signal::Signal) -> Self {
        // The signals of `nix` are those of this system, and none has the number 0.
        Signal::from_raw(signal as i32).unwrap_or(Signal::KILL)
    }
}

/// As long as `nix` has a name for it: it has none for real-time signals.
impl TryFrom<Signal> for nix::sys::signal::Signal {
    type Error = Errno;

    fn try_from(signal: Signal) -> Result<Self, Errno> {
        nix::sys::signal::Signal::try_from(signal.as_raw())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_signal_there_and_back() {
        for theirs in nix::sys::signal::Signal::iterator() {
            let ours = Signal::from(theirs);
            assert_eq!(ours.to_string(), theirs.as_str());
            assert_eq!(nix::sys::signal::Signal::try_from(ours), Ok(theirs));
        }
        let realtime = Signal::from_raw(70).unwrap();
        assert!(nix::sys::signal::Signal::try_from(realtime).is_err());
    }

    #[test]
    fn a_process_and_no_group() {
        let theirs = nix::unistd::Pid::this();
        let ours = Pid::try_from(theirs).unwrap();
        assert_eq!(nix::unistd::Pid::from(ours), theirs);
        for raw in [0, -1, -theirs.as_raw()] {
            assert_eq!(Pid::try_from(nix::unistd::Pid::from_raw(raw)), Err(InvalidId));
        }
    }
}
