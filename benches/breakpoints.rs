//! Breakpoints in memory, beside hardware breakpoints, loops by hand and gdb.
//!
//! - `breakpoint/<who>_<n>`: a hit and on to the next, in a program with n other threads that
//!   sleep; all share a CPU. `trapline` and `hardware` are breakpoints in memory and in a debug
//!   register; `bare_in_place` and `bare_out_of_line` are the loops by hand, the latter with a slot
//!   that the program has mapped for it; `gdb` is told to `ignore` the breakpoint, with displaced
//!   stepping, and is measured by how far the program gets.
//! - `breakpoint_busy/<who>_4`: the same with 4 threads that are busy, wherever the scheduler puts
//!   them.
//! - `breakpoints_<what>/<n>`: with n breakpoints inserted, a hit and on, 8 bytes read, a fork;
//!   inserting them; detaching with them.
//!
//! Attaching to many threads is in the bench `attach`.

use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion};

use trapline_benches::breakpoints::{Breakpoints, Forks, Hot};
use trapline_benches::hot::Others;
use trapline_benches::worker::Worker;
use trapline_benches::{cpu, tracee};

const SLEEPING: [u64; 5] = [0, 16, 64, 256, 1024];
const INSERTED: [u64; 3] = [1, 1_000, 100_000];

/// A loop on a thread of its own, made when it is first asked for.
fn worker<S: 'static>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    make: impl FnOnce() -> S + Send + Clone + 'static,
    run: fn(&mut S, u64) -> Duration,
) {
    let mut worker = None;
    group.bench_function(name, |b| {
        let worker = worker.get_or_insert_with(|| Worker::new(make.clone(), run));
        b.iter_custom(|n| worker.run(n));
    });
}

/// Each way to have a breakpoint, in a program with other threads.
fn ways(group: &mut BenchmarkGroup<'_, WallTime>, others: Others, cpu: Option<u32>) {
    let n = others.sleeping + others.busy;
    for (who, breakpoints) in
        [("trapline", Breakpoints::Software(1)), ("hardware", Breakpoints::Hardware)]
    {
        let has = move || Hot::new(others, breakpoints, cpu).is_some();
        if std::thread::spawn(has).join().expect("no panic") {
            let make = move || Hot::new(others, breakpoints, cpu).expect("as before");
            worker(group, &format!("{who}_{n}"), make, Hot::run);
        }
    }
    #[cfg(target_os = "linux")]
    {
        use trapline_benches::bare::hot::{Hot, Way};
        for (who, way) in [("bare_in_place", Way::InPlace), ("bare_out_of_line", Way::OutOfLine)] {
            let make = move || Hot::new(others, way, cpu);
            worker(group, &format!("{who}_{n}"), make, Hot::run);
        }
        // Measured once: it takes its time to get ready.
        let mut measured = None;
        group.bench_function(format!("gdb_{n}"), |b| {
            let time = Duration::from_secs(1);
            let nanos = measured.get_or_insert_with(|| trapline_benches::gdb::nanos(others, time));
            let nanos = nanos.as_ref().copied().unwrap_or(f64::MAX);
            b.iter_custom(|n| Duration::from_nanos((nanos * n as f64).min(1e18) as u64));
        });
    }
}

fn hits(c: &mut Criterion) {
    let mut group = c.benchmark_group("breakpoint");
    group.sample_size(20);
    for sleeping in SLEEPING {
        ways(&mut group, Others::sleeping(sleeping), Some(cpu::shared()));
    }
    group.finish();
    let mut group = c.benchmark_group("breakpoint_busy");
    group.sample_size(20);
    ways(&mut group, Others { sleeping: 0, busy: 4 }, None);
    group.finish();
}

/// A loop over something that is made anew each time.
fn anew(c: &mut Criterion, what: &str, n: u64, once: fn(u64) -> Duration) {
    let mut group = c.benchmark_group(format!("breakpoints_{what}"));
    group.sample_size(10);
    group.bench_function(n.to_string(), |b| {
        b.iter_custom(|times| {
            // A tracer belongs to its thread, and its tracees end with that.
            let once = move || (0..times).map(|_| once(n)).sum();
            std::thread::spawn(once).join().expect("no panic")
        });
    });
    group.finish();
}

fn inserted(c: &mut Criterion) {
    let cpu = Some(cpu::shared());
    // Where it is only to be seen that it works, there are few.
    let most = if std::env::args().any(|arg| arg == "--test") { 100 } else { u64::MAX };
    for n in INSERTED.map(|n| n.min(most)) {
        let hot = move || {
            Hot::new(Others::NONE, Breakpoints::Software(n), cpu).expect("it takes no register")
        };
        for (what, run) in [("hit", Hot::run as fn(&mut Hot, u64) -> Duration), ("read", Hot::read)]
        {
            let mut group = c.benchmark_group(format!("breakpoints_{what}"));
            group.sample_size(20);
            worker(&mut group, &n.to_string(), hot, run);
            group.finish();
        }
        let mut group = c.benchmark_group("breakpoints_fork");
        group.sample_size(20);
        worker(&mut group, &n.to_string(), move || Forks::new(n, cpu), Forks::run);
        group.finish();
        anew(c, "insert", n, |n| Hot::without(Others::NONE, Some(cpu::shared())).insert(n).0);
        anew(c, "detach", n, |n| {
            let cpu = Some(cpu::shared());
            Hot::new(Others::NONE, Breakpoints::Software(n), cpu).expect("as above").detach()
        });
    }
}

fn main() {
    tracee::run_if_asked();
    let mut criterion = Criterion::default().without_plots().configure_from_args();
    hits(&mut criterion);
    inserted(&mut criterion);
    criterion.final_summary();
}
