//! Attaching to a process with 1, 100 and 1,000 threads, to its first event, and letting it go.

use criterion::Criterion;

use trapline_benches::sleeper::{Sleeper, attaches};
use trapline_benches::tracee;

fn attach(c: &mut Criterion) {
    for threads in [1, 100, 1000] {
        let sleeper = Sleeper::new(threads);
        let pid = sleeper.pid();
        for (what, detaches) in [("attach", false), ("detach", true)] {
            let mut group = c.benchmark_group(format!("{what}_{threads}_threads"));
            group.sample_size(10);
            #[cfg(target_os = "linux")]
            group.bench_function("bare", |b| {
                b.iter_custom(|n| trapline_benches::bare::attach::times(pid, n, detaches));
            });
            group.bench_function("trapline", |b| {
                b.iter_custom(|n| {
                    let taken = attaches(pid, n);
                    if detaches { taken.detach } else { taken.attach }
                });
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
