//! What a self-test has found.

use std::fmt;

/// How many hits there should have been, and were.
///
/// ```
/// use trapline::debug_registers::Hits;
///
/// fn lost(hits: Hits) -> u64 {
///     hits.expected.saturating_sub(hits.seen)
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub struct Hits {
    /// How often the program came there.
    pub expected: u64,
    /// How often that was reported.
    pub seen: u64,
}

/// What a self-test has found.
///
/// ```
/// use trapline::debug_registers::Report;
///
/// fn has_all_registers(report: &Report) -> bool {
///     report.free_slots == report.slots
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Report {
    /// Of breakpoints at an instruction.
    pub execute: Hits,
    /// Of watched writes.
    pub write: Hits,
    /// How many of the CPU's registers can be had for watching data: performance counters and
    /// hypervisors may hold some.
    pub free_slots: usize,
    /// How many registers for that the CPU has.
    pub slots: usize,
}

/// What a [`Report`] comes to.
///
/// ```
/// use trapline::debug_registers::Verdict;
///
/// assert_eq!(Verdict::LosesHits.to_string(), "hits of hardware breakpoints get lost here");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Verdict {
    /// Each hit was reported, and once.
    Reliable,
    /// Some were not.
    LosesHits,
    /// None was.
    NeverHits,
    /// More were than there should have been.
    InventsHits,
    /// No register can be had at all.
    NoneFree,
}

impl Verdict {
    /// Whether breakpoints can be relied upon.
    ///
    /// ```
    /// use trapline::debug_registers::Verdict;
    ///
    /// assert!(Verdict::Reliable.is_reliable() && !Verdict::NoneFree.is_reliable());
    /// ```
    pub fn is_reliable(self) -> bool {
        self == Verdict::Reliable
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Verdict::Reliable => "hardware breakpoints are reliable here",
            Verdict::LosesHits => "hits of hardware breakpoints get lost here",
            Verdict::NeverHits => "hardware breakpoints never hit here",
            Verdict::InventsHits => "hardware breakpoints hit without reason here",
            Verdict::NoneFree => "all debug registers are in use",
        })
    }
}

impl Report {
    /// Of a CPU with so many registers, before anything was tried.
    pub(crate) fn new(slots: usize) -> Self {
        Report { execute: Hits::default(), write: Hits::default(), free_slots: 0, slots }
    }

    /// What it comes to.
    ///
    /// ```
    /// use trapline::debug_registers::{Report, Verdict};
    ///
    /// fn can_watch(report: &Report) -> bool {
    ///     report.verdict() == Verdict::Reliable
    /// }
    /// ```
    pub fn verdict(&self) -> Verdict {
        let both = [self.execute, self.write];
        if both.iter().any(|hits| hits.seen > hits.expected) {
            Verdict::InventsHits
        } else if both.iter().all(|hits| hits.seen == hits.expected && hits.expected > 0) {
            Verdict::Reliable
        } else if both.iter().any(|hits| hits.seen > 0) {
            Verdict::LosesHits
        } else if self.free_slots == 0 {
            Verdict::NoneFree
        } else {
            Verdict::NeverHits
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { execute, write, free_slots, slots } = self;
        write!(
            f,
            "{}: {} of {} executions and {} of {} writes reported, {free_slots} of {slots} \
             registers free",
            self.verdict(),
            execute.seen,
            execute.expected,
            write.seen,
            write.expected,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(execute: (u64, u64), write: (u64, u64), free_slots: usize) -> Report {
        let hits = |(seen, expected)| Hits { seen, expected };
        Report { execute: hits(execute), write: hits(write), free_slots, slots: 4 }
    }

    #[test]
    fn a_verdict_for_each_report() {
        for (report, verdict) in [
            (report((8, 8), (8, 8), 4), Verdict::Reliable),
            (report((8, 8), (7, 8), 4), Verdict::LosesHits),
            (report((0, 8), (8, 8), 4), Verdict::LosesHits),
            (report((0, 8), (0, 8), 4), Verdict::NeverHits),
            (report((9, 8), (8, 8), 4), Verdict::InventsHits),
            (report((0, 8), (0, 8), 0), Verdict::NoneFree),
        ] {
            assert_eq!(report.verdict(), verdict, "{report}");
        }
    }
}
