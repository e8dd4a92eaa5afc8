//! Attaching by hand on Linux: every thread is seized, one is stopped for the first event; to let
//! go all are stopped, for only a stopped thread can be.

use std::collections::HashSet;
use std::fs;
use std::time::{Duration, Instant};

use super::super::sleeper::PAUSE;
use super::{ptrace, wait};

/// The times of many attaches, or of the detaches that follow them.
pub fn times(pid: i32, n: u64, detaches: bool) -> Duration {
    let mut taken = Duration::ZERO;
    for _ in 0..n {
        std::thread::sleep(PAUSE);
        let start = Instant::now();
        let threads = seize(pid);
        ptrace(libc::PTRACE_INTERRUPT, pid, 0, 0);
        wait(pid);
        let attached = start.elapsed();
        let start = Instant::now();
        for &tid in threads.iter().filter(|&&tid| tid != pid) {
            ptrace(libc::PTRACE_INTERRUPT, tid, 0, 0);
        }
        ptrace(libc::PTRACE_DETACH, pid, 0, 0);
        for _ in 1..threads.len() {
            let (tid, _) = wait(-1);
            ptrace(libc::PTRACE_DETACH, tid, 0, 0);
        }
        taken += if detaches { start.elapsed() } else { attached };
    }
    taken
}

/// Seizes the threads that there are, until there are no new ones.
fn seize(pid: i32) -> Vec<i32> {
    let (mut seized, mut seen) = (Vec::new(), HashSet::new());
    loop {
        let before = seized.len();
        for entry in fs::read_dir(format!("/proc/{pid}/task")).expect("a process") {
            let tid = entry.ok().and_then(|entry| entry.file_name().to_str()?.parse().ok());
            let tid: i32 = tid.expect("a number");
            if seen.insert(tid) {
                ptrace(libc::PTRACE_SEIZE, tid, 0, libc::PTRACE_O_TRACECLONE as usize);
                seized.push(tid);
            }
        }
        if seized.len() == before {
            return seized;
        }
    }
}
