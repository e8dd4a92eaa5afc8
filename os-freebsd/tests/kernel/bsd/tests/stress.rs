//! Much at once: nothing is lost, and nothing waits for the net.

use std::time::Instant;

use trapline_core::EventFlags;

use crate::bsd::driver::*;

/// 16 threads that fork.
pub(super) fn fork_storm() {
    let begin = Instant::now();
    let lists = traced(&["forks", "16", "3"], EventFlags::PROCESS | EventFlags::THREAD);
    assert_eq!(lists.len(), 49);
    let forks = lists[0].iter().filter(|text| *text == "fork").count();
    assert_eq!(forks, 48);
    for child in &lists[1..] {
        assert_eq!(*child, ["Paused", "exit status 0"]);
    }
    println!("{:?}", begin.elapsed());
}

/// 16 threads that spawn programs, in turn followed.
pub(super) fn spawn_storm() {
    let begin = Instant::now();
    let lists = traced(&["storm", "16", "5"], EventFlags::PROCESS);
    assert_eq!(lists.len(), 81);
    for child in &lists[1..] {
        assert_eq!(*child, ["Paused", "exec", "exit status 0"]);
    }
    println!("{:?}", begin.elapsed());
}
