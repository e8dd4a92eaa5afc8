//! What one stop of each kind costs: `bare`, a loop by hand with raw calls; `trapline`; and
//! `pete`, where it can. Tracer and tracee share a CPU; with `TRAPLINE_BENCH_SPREAD=1` they are
//! where the scheduler puts them.

use criterion::Criterion;

use trapline_benches::{Kind, cpu, loops};

fn trap_latency(c: &mut Criterion) {
    let spread = std::env::var_os("TRAPLINE_BENCH_SPREAD").is_some();
    let (cpu, suffix) = if spread { (None, "_spread") } else { (Some(cpu::shared()), "") };
    for kind in Kind::ALL {
        let mut group = c.benchmark_group(format!("{}{suffix}", kind.name()));
        for (who, mut run) in loops(kind, cpu) {
            group.bench_function(who, |b| b.iter_custom(&mut run));
        }
        group.finish();
    }
}

fn main() {
    trapline_benches::tracee::run_if_asked();
    let mut criterion = Criterion::default().without_plots().configure_from_args();
    trap_latency(&mut criterion);
    criterion.final_summary();
}
