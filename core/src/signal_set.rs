//! Sets of signals.

use std::fmt;

use crate::Signal;

/// A set of signals: those that a thread blocks, those that wait.
///
/// ```
/// use trapline::{Signal, SignalSet};
///
/// let mut set: SignalSet = [Signal::INT, Signal::TERM].into_iter().collect();
/// set.remove(Signal::INT);
/// assert!(set.contains(Signal::TERM) && !set.contains(Signal::INT));
/// assert_eq!(set.iter().collect::<Vec<_>>(), [Signal::TERM]);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct SignalSet(u128);

fn bit(signal: Signal) -> u128 {
    u32::try_from(signal.as_raw().wrapping_sub(1))
        .ok()
        .and_then(|at| 1_u128.checked_shl(at))
        .unwrap_or(0)
}

impl SignalSet {
    /// No signal.
    ///
    /// ```
    /// assert!(trapline::SignalSet::EMPTY.is_empty());
    /// ```
    pub const EMPTY: SignalSet = SignalSet(0);

    /// The set with these bits: signal 1 is the lowest one.
    ///
    /// ```
    /// use trapline::{Signal, SignalSet};
    ///
    /// assert!(SignalSet::from_bits(1).contains(Signal::HUP));
    /// ```
    pub const fn from_bits(bits: u128) -> Self {
        SignalSet(bits)
    }

    /// Its bits: signal 1 is the lowest one.
    ///
    /// ```
    /// assert_eq!(trapline::SignalSet::EMPTY.bits(), 0);
    /// ```
    pub const fn bits(self) -> u128 {
        self.0
    }

    /// Whether it has a signal.
    ///
    /// ```
    /// use trapline::{Signal, SignalSet};
    ///
    /// assert!(!SignalSet::EMPTY.contains(Signal::HUP));
    /// ```
    pub fn contains(self, signal: Signal) -> bool {
        self.0 & bit(signal) != 0
    }

    /// Adds a signal.
    ///
    /// ```
    /// use trapline::{Signal, SignalSet};
    ///
    /// fn block_interrupts(mut mask: SignalSet) -> SignalSet {
    ///     mask.insert(Signal::INT);
    ///     mask
    /// }
    /// ```
    pub fn insert(&mut self, signal: Signal) {
        self.0 |= bit(signal);
    }

    /// Takes a signal out.
    ///
    /// ```
    /// use trapline::{Signal, SignalSet};
    ///
    /// fn let_interrupts_in(mut mask: SignalSet) -> SignalSet {
    ///     mask.remove(Signal::INT);
    ///     mask
    /// }
    /// ```
    pub fn remove(&mut self, signal: Signal) {
        self.0 &= !bit(signal);
    }

    /// Whether it has none.
    ///
    /// ```
    /// use trapline::SignalSet;
    ///
    /// assert!(SignalSet::default().is_empty());
    /// ```
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Its signals, in the order of their numbers.
    ///
    /// ```
    /// use trapline::SignalSet;
    ///
    /// fn names(set: SignalSet) -> Vec<String> {
    ///     set.iter().map(|signal| signal.to_string()).collect()
    /// }
    /// ```
    pub fn iter(self) -> impl Iterator<Item = Signal> {
        (1..=128).filter_map(Signal::from_raw).filter(move |&signal| self.contains(signal))
    }
}

impl FromIterator<Signal> for SignalSet {
    fn from_iter<I: IntoIterator<Item = Signal>>(signals: I) -> Self {
        let mut set = SignalSet::EMPTY;
        signals.into_iter().for_each(|signal| set.insert(signal));
        set
    }
}

impl fmt::Debug for SignalSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// Signals that were sent and have not been delivered; see
/// [`Tracer::pending_signals`](crate::Tracer::pending_signals).
///
/// ```
/// use trapline::{PendingSignals, Signal};
///
/// fn is_to_end(pending: &PendingSignals) -> bool {
///     pending.thread.contains(Signal::TERM) || pending.process.contains(Signal::TERM)
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub struct PendingSignals {
    /// Those for this thread.
    pub thread: SignalSet,
    /// Those for its process: any thread that does not block them can get them.
    pub process: SignalSet,
}

impl PendingSignals {
    /// For back ends.
    #[doc(hidden)]
    pub fn new(thread: SignalSet, process: SignalSet) -> Self {
        PendingSignals { thread, process }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_and_the_last_signal_have_a_bit() {
        let mut set = SignalSet::EMPTY;
        for number in [1, 64, 65, 127] {
            let Some(signal) = Signal::from_raw(number) else { continue };
            assert!(!set.contains(signal));
            set.insert(signal);
            assert!(set.contains(signal));
            assert_eq!(set.bits() >> (number - 1), 1, "{number}");
        }
        assert_eq!(format!("{:?}", SignalSet::from_bits(2)), "{SIGINT}");
        let all: SignalSet = set.iter().collect();
        assert_eq!(all, set);
    }
}
