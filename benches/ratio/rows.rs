//! The rows: what is measured, and what it must be.

#[cfg(target_os = "linux")]
use std::sync::OnceLock;
use std::time::Duration;

use trapline::Event;

use crate::pairs::{Bound, Length, Row, each, pairs};
use crate::{busy, counting};
use trapline_benches::bare::Bare;
use trapline_benches::idle::Busy;
use trapline_benches::traced::Traced;
use trapline_benches::worker::Worker;
use trapline_benches::workload::{Tool, Workload};
use trapline_benches::{Kind, Loop, cpu, idle};

pub type Measure = fn(&'static str, Length) -> Result<Row, String>;

/// All rows, by name.
pub const ALL: &[(&str, Measure)] = &[
    ("int3", |name, length| kind(name, Kind::Int3, 20_000, 1.03, length)),
    ("step", |name, length| kind(name, Kind::Step, 10_000, 1.03, length)),
    ("signal", |name, length| kind(name, Kind::Signal, 20_000, 1.03, length)),
    ("syscall", |name, length| kind(name, Kind::Syscall, 20_000, 1.03, length)),
    ("hardware_breakpoint", |name, length| kind(name, Kind::Hardware, 5_000, 1.05, length)),
    ("watchpoint", |name, length| kind(name, Kind::Watch, 5_000, 1.05, length)),
    ("fork_pair", |name, length| kind(name, Kind::Fork, 1_000, 1.05, length)),
    ("exec", |name, length| kind(name, Kind::Exec, 200, 1.05, length)),
    #[cfg(target_os = "linux")]
    ("pete_over_trapline_int3", pete),
    ("idle_4096_over_none_int3", among_idle),
    #[cfg(target_os = "linux")]
    ("bare_any_idle_4096_over_none_int3", bare_among_idle),
    ("worst_wait_of_64_busy_stops", worst_wait),
    ("memory_per_idle_tracee_bytes", memory),
    ("idle_5s_cpu", idle_cpu),
    ("build_300_files_trace", |name, length| build(name, Tool::Trace, 1.10, length)),
    #[cfg(target_os = "linux")]
    ("build_300_files_bare", |name, length| build(name, Tool::Bare, f64::INFINITY, length)),
    #[cfg(target_os = "linux")]
    ("silence_factor", silence_factor),
    #[cfg(target_os = "linux")]
    ("stop_after_3s_silence", after_silence),
    #[cfg(target_os = "linux")]
    ("stop_after_3s_over_1ms", silence_costs),
    #[cfg(target_os = "linux")]
    ("bare_stop_after_3s_over_1ms", silence_costs_bare),
];

/// A kind of stop, trapline beside the loop by hand, both on one CPU.
fn kind(name: &'static str, kind: Kind, n: u64, bound: f64, length: Length) -> Result<Row, String> {
    let n = length.of(n);
    let cpu = Some(cpu::shared());
    if Traced::new(kind, cpu).is_none() || Bare::new(kind, cpu).is_none() {
        return Err("not to be had here".into());
    }
    fn fresh<L: Loop>(made: Option<L>, n: u64) -> f64 {
        let mut made = made.expect("made before");
        made.run(n / 10 + 1);
        each(made.run(n), n)
    }
    let pairs =
        pairs(length, || fresh(Bare::new(kind, cpu), n), || fresh(Traced::new(kind, cpu), n));
    Ok(Row::new(name, &pairs, Bound::AtMost(bound), "trapline / bare, on one CPU"))
}

/// pete, which has no placement, as fast as it can be set; trapline sharing a CPU.
#[cfg(target_os = "linux")]
fn pete(name: &'static str, length: Length) -> Result<Row, String> {
    use trapline_benches::peer::Pete;
    let n = length.of(5_000);
    let pairs = pairs(
        length,
        || {
            let mut traced = Traced::new(Kind::Int3, Some(cpu::shared())).expect("a tracee");
            traced.run(n / 10);
            each(traced.run(n), n)
        },
        || {
            let mut pete = Pete::new(Kind::Int3, None).expect("a tracee");
            pete.run(n / 10);
            each(pete.run(n), n)
        },
    );
    let what = "second column trapline sharing a CPU; third pete, polling every ns, not placed";
    Ok(Row::new(name, &pairs, Bound::AtLeast(5.0), what))
}

/// A block of a worker, after some that do not count.
pub fn block(worker: &Worker, n: u64) -> f64 {
    worker.run(n / 10 + 1);
    each(worker.run(n), n)
}

fn many(length: Length) -> u64 {
    if length.short { 200 } else { 4096 }
}

fn among_idle(name: &'static str, length: Length) -> Result<Row, String> {
    let (n, idle, cpu) = (length.of(10_000), many(length), Some(cpu::shared()));
    let none = Worker::new(move || Busy::among(0, cpu), Busy::run);
    let many = Worker::new(move || Busy::among(idle, cpu), Busy::run);
    let pairs = pairs(length, || block(&none, n), || block(&many, n));
    let what = format!("trapline with {idle} idle tracees / with none, sharing a CPU");
    Ok(Row::new(name, &pairs, Bound::AtMost(1.25), what))
}

/// The same for the usual loop by hand, which waits for anybody: how far it is from flat.
#[cfg(target_os = "linux")]
fn bare_among_idle(name: &'static str, length: Length) -> Result<Row, String> {
    use trapline_benches::bare::crowd::Among;
    let (n, idle, cpu) = (length.of(1_000), many(length), Some(cpu::shared()));
    let run = |among: &mut Among, n| among.run(n, true);
    let none = Worker::new(move || Among::new(0, cpu), run);
    let many = Worker::new(move || Among::new(idle, cpu), run);
    let pairs = pairs(length, || block(&none, n), || block(&many, n));
    let what = format!("a loop by hand with waitpid(-1), {idle} idle tracees / none");
    Ok(Row::new(name, &pairs, Bound::None, what))
}

fn worst_wait(name: &'static str, length: Length) -> Result<Row, String> {
    let stops = length.of(64 * 500).max(64 * 20);
    let pairs = pairs(length, || 64.0, || busy::worst_wait(64, stops) as f64);
    let what = "stops that were handled while a tracee of 64 waited, at worst / 64";
    Ok(Row::new(name, &pairs, Bound::AtMost(2.0), what))
}

/// What the tracer allocates for each of many idle tracees.
fn memory(name: &'static str, length: Length) -> Result<Row, String> {
    let idle = many(length);
    let measured = |n: u64| {
        std::thread::spawn(move || {
            let mut tracer = idle::processes(1, None);
            let before = counting::bytes();
            idle::add_processes(&mut tracer, n);
            (counting::bytes() - before) as f64 / n as f64
        })
        .join()
        .map_err(|_| "a panic".to_string())
    };
    // At their worst the tables have just grown.
    let (at_best, at_worst) = (measured(idle - 1)?, measured(idle + idle / 8)?);
    let what = format!(
        "bytes for each of {idle} idle tracees / 512; {at_worst:.0} where the tables have just grown"
    );
    Ok(Row::new(name, &[(512.0, at_best)], Bound::AtMost(1.0), what))
}

/// The CPU time of a tracer's thread with nothing to do for 5 seconds.
fn idle_cpu(name: &'static str, length: Length) -> Result<Row, String> {
    let time = Duration::from_millis(if length.short { 200 } else { 5_000 });
    let used = std::thread::spawn(move || {
        let mut tracer = idle::processes(64, None);
        let waker = tracer.waker().map_err(|error| error.to_string())?;
        std::thread::spawn(move || {
            std::thread::sleep(time);
            waker.wake();
        });
        let before = busy::thread_cpu();
        match tracer.wait() {
            Ok(Some(Event::Woken)) => Ok(busy::thread_cpu() - before),
            other => Err(format!("{other:?}")),
        }
    });
    let used = used.join().map_err(|_| "a panic")??;
    let what = "ns of CPU time in 5 s without a stop, 64 idle tracees / 5 ms";
    Ok(Row::new(name, &[(5e6, used.as_nanos() as f64)], Bound::AtMost(1.0), what))
}

/// Times from a signal to its event, in pairs: after 1 ms of silence and after 3 s.
#[cfg(target_os = "linux")]
struct Silence {
    trapline: Vec<(f64, f64)>,
    bare: Vec<(f64, f64)>,
}

/// Measured once, for several rows.
#[cfg(target_os = "linux")]
fn silence(length: Length) -> Result<&'static Silence, String> {
    static MEASURED: OnceLock<Result<Silence, String>> = OnceLock::new();
    let micros = if length.short { 50_000 } else { 3_000_000 };
    let measure = || {
        let mut silence = Silence { trapline: Vec::new(), bare: Vec::new() };
        for _ in 0..length.pairs {
            silence.trapline.push(busy::answers(micros)?);
            silence.bare.push(busy::bare_answers(micros)?);
        }
        Ok(silence)
    };
    MEASURED.get_or_init(measure).as_ref().map_err(Clone::clone)
}

/// The answer after a silence beside that of a loop by hand, which blocks and is woken: what the
/// machine takes to wake up is in both.
#[cfg(target_os = "linux")]
fn after_silence(name: &'static str, length: Length) -> Result<Row, String> {
    let silence = silence(length)?;
    let after = |pairs: &[(f64, f64)]| pairs.iter().map(|pair| pair.1).collect::<Vec<_>>();
    let pairs = after(&silence.bare).into_iter().zip(after(&silence.trapline));
    let what = "ns from a signal after 3 s of silence to its event, trapline / bare";
    Ok(Row::new(name, &pairs.collect::<Vec<_>>(), Bound::AtMost(1.25), what))
}

/// How many times longer an answer takes after 3 s than after 1 ms. The machine takes its time to
/// wake up, the loop by hand shows how long; a tracer that polls with longer and longer pauses
/// would add its own.
#[cfg(target_os = "linux")]
fn silence_factor(name: &'static str, length: Length) -> Result<Row, String> {
    let silence = silence(length)?;
    let factors =
        |pairs: &[(f64, f64)]| pairs.iter().map(|pair| pair.1 / pair.0).collect::<Vec<_>>();
    let pairs = factors(&silence.bare).into_iter().zip(factors(&silence.trapline));
    let what =
        "answer after 3 s of silence / after 1 ms: trapline's factor / that of the loop by hand";
    Ok(Row::new(name, &pairs.collect::<Vec<_>>(), Bound::AtMost(1.25), what))
}

#[cfg(target_os = "linux")]
fn silence_costs(name: &'static str, length: Length) -> Result<Row, String> {
    let what = "ns from a signal to its event, trapline, after 3 s of silence / after 1 ms";
    Ok(Row::new(name, &silence(length)?.trapline, Bound::None, what))
}

#[cfg(target_os = "linux")]
fn silence_costs_bare(name: &'static str, length: Length) -> Result<Row, String> {
    let what = "the same for a loop by hand: what silence costs the machine";
    Ok(Row::new(name, &silence(length)?.bare, Bound::None, what))
}

/// The wall time of a build of many C files, under a tracer and untraced.
fn build(name: &'static str, tool: Tool, bound: f64, length: Length) -> Result<Row, String> {
    let workload = Workload::new(if length.short { 10 } else { 300 });
    let workload = workload.map_err(|error| error.to_string())?;
    let limit = Duration::from_secs(600);
    let nanos = |tool| workload.run(tool, limit).map(|taken| taken.as_nanos() as f64);
    nanos(Tool::Untraced)?; // the compiler is in the cache now
    nanos(tool)?;
    let mut failed = None;
    let mut block = |tool| {
        nanos(tool).unwrap_or_else(|error| {
            failed = Some(error);
            f64::NAN
        })
    };
    let mut measured = Vec::new();
    for pair in 0..length.pairs {
        let first = block(if pair % 2 == 0 { Tool::Untraced } else { tool });
        let second = block(if pair % 2 == 0 { tool } else { Tool::Untraced });
        measured.push(if pair % 2 == 0 { (first, second) } else { (second, first) });
    }
    let bound = if bound.is_finite() { Bound::AtMost(bound) } else { Bound::None };
    let what = "make -j2, about five processes for each file; traced / untraced";
    failed.map_or_else(|| Ok(Row::new(name, &measured, bound, what)), Err)
}
