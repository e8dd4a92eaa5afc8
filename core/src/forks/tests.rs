//! The tracker, in every order of reports.

use super::*;
use crate::backend::RawReason;
use crate::{EventFlags, ExitStatus, OnExit};

const PARENT: Thread = Thread { pid: Pid::from_raw(10), tid: Tid::from_raw(10) };
const OTHER: Thread = Thread { pid: Pid::from_raw(11), tid: Tid::from_raw(11) };
const CHILD: Pid = Pid::from_raw(20);

fn fork() -> Announced {
    Announced {
        kind: ForkKind::Fork,
        child: CHILD,
        first: Some(Tid::from_raw(20)),
        parent: PARENT,
        place: None,
        real_parent: Some(PARENT.pid),
        setup: Setup { flags: EventFlags::PROCESS, on_exit: OnExit::Detach },
        space: None,
        since: Instant::now(),
    }
}

fn child(kind: RawKind) -> RawStop {
    RawStop { pid: None, tid: Some(Tid::from_raw(20)), kind }
}

fn stop() -> RawStop {
    child(RawKind::Stop(RawReason::Paused))
}

fn end() -> RawStop {
    child(RawKind::Ended(ExitStatus::Code(0)))
}

fn see(tracker: &mut ForkTracker, raw: RawStop) -> Seen {
    tracker.child_seen(raw, Some(CHILD))
}

#[test]
fn either_half_first_and_the_child_stopped_or_dead() {
    for first in [stop(), end()] {
        let mut tracker = ForkTracker::default();
        assert!(tracker.parent_said(fork()).is_none());
        assert!(tracker.awaits_child_of(PARENT.pid));
        assert!(matches!(see(&mut tracker, first), Seen::Pair(fork) if fork.child == CHILD));
        assert!(!tracker.awaits_child_of(PARENT.pid));

        let mut tracker = ForkTracker::default();
        assert!(matches!(see(&mut tracker, first), Seen::Waits));
        assert_eq!(tracker.is_watching(), first == stop());
        assert_eq!(tracker.parent_said(fork()).map(|(_, raw)| raw), Some(first));
        assert!(!tracker.is_watching() && !tracker.has_unknown());
    }
}

#[test]
fn one_that_is_killed_as_it_waits_is_dead_for_its_parent() {
    let mut tracker = ForkTracker::default();
    see(&mut tracker, stop());
    see(&mut tracker, end());
    assert!(tracker.waiting().is_empty());
    assert_eq!(tracker.parent_said(fork()).map(|(_, raw)| raw), Some(end()));
}

#[test]
fn candidates_are_out_that_speak_or_end() {
    let mut tracker = ForkTracker::default();
    see(&mut tracker, stop());
    tracker.get_mut(&stop()).unwrap().candidates = Some(vec![PARENT, OTHER]);
    tracker.spoke(OTHER);
    assert_eq!(tracker.get_mut(&stop()).unwrap().candidates, Some(vec![PARENT]));
    tracker.gone(PARENT.pid);
    assert_eq!(tracker.get_mut(&stop()).unwrap().candidates, Some(vec![]));
}

#[test]
fn the_half_of_one_that_was_shown_is_no_news_once() {
    for whole in [false, true] {
        let mut tracker = ForkTracker::default();
        see(&mut tracker, stop());
        tracker.get_mut(&stop()).unwrap().candidates = Some(vec![PARENT]);
        tracker.show(&stop(), CHILD);
        assert!(!tracker.is_watching());
        assert!(!tracker.was_shown(CHILD, OTHER, whole));
        assert!(tracker.was_shown(CHILD, PARENT, whole));
        assert!(!tracker.was_shown(CHILD, PARENT, whole));
    }
}

#[test]
fn a_number_that_is_another_tasks_is_not_taken_for_the_one_that_was_shown() {
    for how in [0, 1, 2] {
        let mut tracker = ForkTracker::default();
        see(&mut tracker, stop());
        tracker.get_mut(&stop()).unwrap().candidates = Some(vec![PARENT]);
        tracker.show(&stop(), CHILD);
        match how {
            0 => tracker.spoke(PARENT),
            1 => tracker.gone(PARENT.pid),
            _ => assert!(matches!(see(&mut tracker, stop()), Seen::Waits)),
        }
        assert!(!tracker.was_shown(CHILD, PARENT, false));
    }
}

#[test]
fn children_of_the_detached() {
    let mut tracker = ForkTracker::default();
    assert!(tracker.parent_said(fork()).is_none());
    assert_eq!(tracker.retract(PARENT.pid), [CHILD]);
    tracker.detach(CHILD);
    assert!(tracker.is_detaching() && tracker.has_unknown());
    assert!(matches!(see(&mut tracker, stop()), Seen::Detach(CHILD)));
    assert!(!tracker.is_detaching());
    tracker.was_detached(PARENT.pid);
    assert!(tracker.is_detached(PARENT.pid));
    tracker.is_traced(PARENT.pid);
    assert!(!tracker.is_detached(PARENT.pid));
}

#[test]
fn reports_of_others_do_not_starve_one_that_waits() {
    let mut tracker = ForkTracker::default();
    see(&mut tracker, stop());
    let overdue = (0..ROUND).filter(|_| tracker.report_taken()).count();
    assert_eq!(overdue, 1);
}

#[test]
fn ends_that_nobody_announces_are_not_kept_for_ever() {
    let mut tracker = ForkTracker::default();
    for pid in 100..100 + 2 * REMEMBERED as i32 {
        let kind = RawKind::Ended(ExitStatus::Code(0));
        let raw = RawStop { pid: None, tid: Some(Tid::from_raw(pid)), kind };
        tracker.child_seen(raw, Some(Pid::from_raw(pid)));
    }
    assert_eq!(tracker.unannounced.len(), REMEMBERED);
    assert!(!tracker.is_watching());
}
