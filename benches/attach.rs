//! Attaching to a process with 1, 100 and 1,000 threads, to its first event, and letting it go.

mod common;

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use criterion::Criterion;
use trapline::{EventFlags, Pid};

use common::{traced, tracee};

/// A process with threads that sleep, and is not traced.
struct Sleeper(Child);

impl Sleeper {
    fn new(threads: u64) -> Self {
        let mut command = tracee::command_with("idle-threads", threads);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("spawn");
        let stdout = child.stdout.as_mut().expect("piped");
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).expect("it says that it is there");
        assert_eq!(line, "ready\n");
        Sleeper(child)
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The times of many attaches, or of the detaches that follow them.
fn trapline(pid: i32, n: u64, detaches: bool) -> Duration {
    let mut tracer = traced::tracer(EventFlags::PROCESS, None);
    let mut taken = Duration::ZERO;
    for _ in 0..n {
        let start = Instant::now();
        tracer.attach(Pid::from_raw(pid)).expect("attach");
        let stop = traced::next_stop(&mut tracer);
        let attached = start.elapsed();
        let start = Instant::now();
        tracer.detach(stop).expect("detach");
        taken += if detaches { start.elapsed() } else { attached };
    }
    taken
}

fn attach(c: &mut Criterion) {
    for threads in [1, 100, 1000] {
        let sleeper = Sleeper::new(threads);
        let pid = sleeper.0.id() as i32;
        for (what, detaches) in [("attach", false), ("detach", true)] {
            let mut group = c.benchmark_group(format!("{what}_{threads}_threads"));
            group.sample_size(10);
            #[cfg(target_os = "linux")]
            group.bench_function("bare", |b| {
                b.iter_custom(|n| common::bare::attach::times(pid, n, detaches));
            });
            group.bench_function("trapline", |b| {
                b.iter_custom(|n| trapline(pid, n, detaches));
            });
            group.finish();
        }
    }
}

fn main() {
    tracee::run_if_asked();
    let mut criterion = Criterion::default().without_plots().configure_from_args();
    attach(&mut criterion);
    criterion.final_summary();
}
