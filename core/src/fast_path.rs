//! Which threads a wait asks for first.
//!
//! A wait for everybody costs the kernel a look at each tracee, and puts the tracer to sleep. What
//! was just resumed is likely to stop again at once, and a look at one thread costs the same
//! however many there are. So a wait first looks at the threads that were just resumed, a bounded
//! number of times, and lets others run in between.
//!
//! That must not starve anybody: after so many stops all that have stopped are taken in before any
//! of them is resumed, and as long as these are many, again and again. And it must not cost more
//! than it gains. Looks that find nothing are left out more and more. When another program is using this
//! CPU, yields take long, and a sleeping tracer is woken sooner than one that has yielded.

use std::time::Duration;

use crate::backend::Thread;

use crate::limits::{CROWD, LONG_YIELD, PAUSE_MOST, ROUND};

/// Leaves something out the longer, the oftener it fails.
#[derive(Debug, Default)]
struct Habit {
    failures: u32,
    pause: u32,
}

impl Habit {
    /// Whether to do it this time.
    #[inline]
    fn again(&mut self) -> bool {
        match self.pause.checked_sub(1) {
            Some(left) => {
                self.pause = left;
                false
            }
            None => true,
        }
    }

    #[inline]
    fn succeeded(&mut self) {
        self.failures = 0;
    }

    #[inline]
    fn failed(&mut self) {
        self.failures = self.failures.saturating_add(1);
        let doublings = self.failures.saturating_sub(PAUSE_MOST / 16).min(16);
        self.pause = if doublings == 0 { 0 } else { (1 << doublings).min(PAUSE_MOST) };
    }

    fn harmed(&mut self) {
        self.failures = self.failures.max(PAUSE_MOST / 16) + 1;
        self.pause = PAUSE_MOST;
    }
}

/// How many threads are looked at: a fork's two.
const MOST: usize = 2;

/// Which threads to look at, and how often.
#[derive(Debug, Default)]
pub(crate) struct FastPath {
    /// The threads that were resumed since the last wait, the last one first.
    resumed: [Option<Thread>; MOST],
    looks: Habit,
    yields: Habit,
    /// Stops since all were taken in.
    stops: u32,
    /// How many stops that brought.
    crowd: usize,
}

impl FastPath {
    /// A thread was resumed.
    #[inline]
    pub(crate) fn resumed(&mut self, thread: Thread) {
        self.resumed = [Some(thread), self.resumed[0]];
    }

    /// Whether a thread was resumed since the last wait.
    #[inline]
    pub(crate) fn has_resumed(&self) -> bool {
        self.resumed[0].is_some()
    }

    /// Those to look at in this wait; they are not looked at in later ones.
    #[inline]
    pub(crate) fn take(&mut self) -> [Option<Thread>; MOST] {
        let resumed = std::mem::take(&mut self.resumed);
        if resumed[0].is_some() && self.looks.again() { resumed } else { [None; MOST] }
    }

    /// Whether to yield and look again, after a look that found nothing.
    #[inline]
    pub(crate) fn yields(&mut self) -> bool {
        self.yields.again()
    }

    /// A look found something; for one after yields, how long those took.
    #[inline]
    pub(crate) fn found(&mut self, after: Option<Duration>) {
        self.looks.succeeded();
        match after {
            None => {}
            Some(took) if took > LONG_YIELD => self.yields.harmed(),
            Some(_) => self.yields.succeeded(),
        }
    }

    /// No look found anything; how long the yields took, if there were any.
    #[inline]
    pub(crate) fn missed(&mut self, after: Option<Duration>) {
        self.looks.failed();
        match after {
            None => {}
            Some(took) if took > LONG_YIELD => self.yields.harmed(),
            Some(_) => self.yields.failed(),
        }
    }

    /// Whether yields have lasted so long that more would make things worse.
    #[inline]
    pub(crate) fn is_long(took: Duration) -> bool {
        took > LONG_YIELD
    }

    /// Whether all that have stopped are to be taken in before the next stop: there is so much that
    /// can end a wait, threads and wakers.
    #[inline]
    pub(crate) fn is_due(&self, others: usize) -> bool {
        let more = others / CROWD;
        // Beside one alone only a tracee that nobody has announced could wait.
        let round = if others > 1 { ROUND } else { ROUND * 16 };
        let round = round.saturating_add(u32::try_from(more).unwrap_or(u32::MAX));
        self.crowd >= more.max(2) || self.stops >= round
    }

    /// A stop was taken.
    #[inline]
    pub(crate) fn stopped(&mut self) {
        self.stops = self.stops.saturating_add(1);
    }

    /// All were taken in, which brought so many stops.
    pub(crate) fn took_all(&mut self, stops: usize) {
        self.stops = 0;
        self.crowd = stops;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Pid, Tid};

    const SHORT: Option<Duration> = Some(Duration::from_micros(5));

    fn thread(id: i32) -> Thread {
        Thread { pid: Pid::from_raw(id), tid: Tid::from_raw(id) }
    }

    fn looks(fast_path: &mut FastPath) -> bool {
        fast_path.resumed(thread(1));
        fast_path.take()[0].is_some()
    }

    #[test]
    fn w3_what_was_resumed_is_looked_at_once() {
        let mut fast_path = FastPath::default();
        assert_eq!(fast_path.take(), [None; MOST]);
        fast_path.resumed(thread(1));
        fast_path.resumed(thread(2));
        assert_eq!(fast_path.take(), [Some(thread(2)), Some(thread(1))]);
        assert_eq!(fast_path.take(), [None; MOST], "nothing was resumed lately");
    }

    #[test]
    fn w3_looks_that_find_nothing_are_left_out_and_tried_again() {
        let mut fast_path = FastPath::default();
        let mut made = 0;
        for _ in 0..10_000 {
            if looks(&mut fast_path) {
                made += 1;
                fast_path.missed(None);
            }
        }
        assert!((100..250).contains(&made), "{made}");
        // And are made again as soon as they pay.
        for _ in 0..=PAUSE_MOST {
            if looks(&mut fast_path) {
                fast_path.found(None);
            }
        }
        assert!((0..100).all(|_| {
            let looks = looks(&mut fast_path);
            fast_path.found(None);
            looks
        }));
    }

    #[test]
    fn w3_yields_that_take_long_are_left_out() {
        let mut fast_path = FastPath::default();
        let mut made = 0;
        for _ in 0..10_000 {
            looks(&mut fast_path);
            if fast_path.yields() {
                made += 1;
                fast_path.found(Some(Duration::from_millis(3)));
            } else {
                fast_path.missed(None);
            }
        }
        assert!(made < 200, "{made}");
    }

    #[test]
    fn w3_yields_that_pay_go_on() {
        let mut fast_path = FastPath::default();
        for _ in 0..1000 {
            assert!(looks(&mut fast_path) && fast_path.yields());
            fast_path.found(SHORT);
        }
    }

    #[test]
    fn w3_all_are_taken_in_after_a_bounded_number_of_stops() {
        for (threads, most) in [(1, 1024), (2, 64), (64, 72), (4096, 400)] {
            let mut fast_path = FastPath::default();
            let mut stops = 0;
            while !fast_path.is_due(threads) {
                fast_path.stopped();
                stops += 1;
                assert!(stops <= most);
            }
            fast_path.took_all(0);
            assert!(!fast_path.is_due(threads));
        }
    }

    #[test]
    fn w3_in_a_crowd_each_gets_its_turn() {
        let mut fast_path = FastPath::default();
        for (threads, stops, again) in
            [(1, 1, false), (64, 3, false), (64, 4, true), (2, 2, true), (4096, 100, false)]
        {
            fast_path.took_all(stops);
            assert_eq!(fast_path.is_due(threads), again, "{stops} of {threads}");
        }
    }
}
