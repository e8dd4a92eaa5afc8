//! What a stop costs one busy tracee among many idle ones, and when many are busy.
//!
//! - `idle/<who>/<n>`: int3 stops of one tracee among n idle ones, all on one CPU. `bare_any` is the
//!   usual loop by hand with `waitpid(-1)`; `bare_one` waits for the busy one alone, which only
//!   who knows that all others are idle can do.
//! - `busy/<who>/64`: signals of 64 busy tracees, one stop.
//! - `sharding/<tracers>x<tracees>`: signals of 64 busy tracees by several tracers of one program,
//!   each on a thread of its own, wherever the scheduler puts them; one stop of any.

use std::time::Instant;

use criterion::Criterion;

use trapline_benches::idle::Busy;
use trapline_benches::worker::Worker;
use trapline_benches::{cpu, tracee};

const IDLE: [u64; 5] = [0, 1, 64, 1024, 4096];

fn among_idle(c: &mut Criterion) {
    let cpu = Some(cpu::shared());
    let mut group = c.benchmark_group("idle");
    for n in IDLE {
        #[cfg(target_os = "linux")]
        for (who, any) in [("bare_one", false), ("bare_any", true)] {
            use trapline_benches::bare::crowd::Among;
            let run = move |among: &mut Among, n| among.run(n, any);
            let mut worker = None;
            group.bench_function(format!("{who}/{n}"), |b| {
                let worker =
                    worker.get_or_insert_with(|| Worker::new(move || Among::new(n, cpu), run));
                b.iter_custom(|n| worker.run(n));
            });
        }
        let mut worker = None;
        group.bench_function(format!("trapline/{n}"), |b| {
            let make = || Worker::new(move || Busy::among(n, cpu), Busy::run);
            let worker = worker.get_or_insert_with(make);
            b.iter_custom(|n| worker.run(n));
        });
    }
    group.finish();
}

fn all_busy(c: &mut Criterion) {
    let mut group = c.benchmark_group("busy");
    let cpu = Some(cpu::shared());
    #[cfg(target_os = "linux")]
    {
        use trapline_benches::bare::crowd::Crowd;
        let mut worker = None;
        group.bench_function("bare_any/64", |b| {
            let make = || Worker::new(move || Crowd::new(64, cpu), Crowd::run);
            let worker = worker.get_or_insert_with(make);
            b.iter_custom(|n| worker.run(n));
        });
    }
    let mut worker = None;
    group.bench_function("trapline/64", |b| {
        let make = || Worker::new(move || Busy::many(64, cpu), Busy::run);
        let worker = worker.get_or_insert_with(make);
        b.iter_custom(|n| worker.run(n));
    });
    group.finish();
}

/// Several tracers, each with its part of 64 busy tracees.
fn sharding(c: &mut Criterion) {
    if cfg!(target_os = "freebsd") {
        return; // one tracer in a process
    }
    let cpus = std::thread::available_parallelism().map_or(1, |n| n.get());
    let mut group = c.benchmark_group("sharding");
    for tracers in [1, 2, 4] {
        for (how, placed) in [("", false), ("_placed", true)] {
            let each = 64 / tracers;
            let make = |shard| {
                let cpu = placed.then_some(shard as u32 % cpus as u32);
                Worker::new(move || Busy::many(each, cpu), Busy::run)
            };
            let mut workers = None;
            group.bench_function(format!("{tracers}x{each}{how}"), |b| {
                let workers: &mut Vec<Worker> =
                    workers.get_or_insert_with(|| (0..tracers).map(make).collect());
                b.iter_custom(|n| {
                    let start = Instant::now();
                    let part = n / tracers + 1;
                    workers.iter().for_each(|worker| worker.start(part));
                    for worker in workers.iter() {
                        worker.finish();
                    }
                    start.elapsed().mul_f64(n as f64 / (part * tracers) as f64)
                });
            });
        }
    }
    group.finish();
}

fn main() {
    tracee::run_if_asked();
    let mut criterion = Criterion::default().without_plots().configure_from_args();
    among_idle(&mut criterion);
    all_busy(&mut criterion);
    sharding(&mut criterion);
    criterion.final_summary();
}
