//! Other processes: to send them signals, and to wait for what becomes of them.

use std::time::{Duration, Instant};

use trapline::{Pid, Tracer};

use super::events::seconds;

/// Sends a signal to a process of this test. Says whether there is one of that number.
pub fn kill(pid: Pid, signal: i32) -> bool {
    // SAFETY: no pointers. The number is that of a process that the test has started, or traces.
    unsafe { libc::kill(pid.as_raw(), signal) == 0 }
}

/// Waits until something is so. For what nothing tells of, and can only be looked at.
///
/// # Panics
///
/// If it takes too long.
#[track_caller]
pub fn until(mut is_so: impl FnMut() -> bool) {
    let limit = Instant::now() + seconds(20);
    while !is_so() {
        assert!(Instant::now() < limit, "it does not come about");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Whether something stays so, for a moment: for what must not happen, which nothing tells of.
pub fn stays(mut is_so: impl FnMut() -> bool) -> bool {
    let over = Instant::now() + MOMENT;
    while Instant::now() < over {
        if !is_so() {
            return false;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    is_so()
}

/// Whether a tracer hears of nothing, for a moment.
pub fn hears_nothing(tracer: &mut Tracer) -> bool {
    tracer.wait_timeout(MOMENT).unwrap().is_none()
}

/// How long something that must not happen is waited for.
const MOMENT: Duration = Duration::from_millis(50);
