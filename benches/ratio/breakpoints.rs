//! The rows about breakpoints in memory, and about processes with many threads.

use std::sync::OnceLock;
use std::time::Duration;

use crate::pairs::{Bound, Length, Row, pairs};
use crate::rows::{Measure, block};
use trapline_benches::breakpoints::{Breakpoints, Forks, Hot};
use trapline_benches::cpu;
use trapline_benches::hot::{self, Others};
use trapline_benches::sleeper::{Sleeper, attaches, halted_detach_requests, steps};
use trapline_benches::worker::Worker;

/// These rows, by name.
pub const ALL: &[(&str, Measure)] = &[
    ("breakpoint_requests", requests),
    ("breakpoint_over_hardware", over_hardware),
    #[cfg(target_os = "linux")]
    ("breakpoint_over_bare_out_of_line", over_bare),
    #[cfg(target_os = "linux")]
    ("breakpoint_over_bare_out_of_line_one_cpu", over_bare_on_one_cpu),
    #[cfg(target_os = "linux")]
    ("bare_in_place_over_out_of_line", bare_in_place),
    ("breakpoint_1024_threads_over_none", among_sleepers),
    ("breakpoint_4_busy_threads_over_none", among_busy),
    ("breakpoint_100000_over_one", among_breakpoints),
    #[cfg(target_os = "linux")]
    ("gdb_over_breakpoint_64_threads", gdb),
    ("insert_100000", insert),
    ("insert_100000_requests", insert_requests),
    ("fork_5000_breakpoints_over_none", forks),
    ("read_5000_breakpoints_over_none", reads),
    #[cfg(target_os = "linux")]
    ("attach_1000_threads_over_bare", attach_over_bare),
    ("attach_1000_threads_requests", attach_requests),
    ("detach_1000_threads_requests", detach_requests),
    ("detach_1000_halted_requests", detach_halted),
    ("attach_8000_threads_over_1000", |name, length| grows(name, 0, length)),
    #[cfg(target_os = "linux")]
    ("bare_attach_8000_threads_over_1000", bare_attach_grows),
    ("halt_8000_threads_over_1000", |name, length| grows(name, 1, length)),
    ("insert_8000_threads_over_1000", |name, length| grows(name, 2, length)),
    ("detach_8000_threads_over_1000", |name, length| grows(name, 3, length)),
];

/// One breakpoint in memory.
const ONE: Breakpoints = Breakpoints::Software(1);

/// A program at the hot place, on a thread of its own, where all share a CPU.
fn hot(others: Others, breakpoints: Breakpoints) -> Worker {
    let cpu = Some(cpu::shared());
    let make = move || Hot::new(others, breakpoints, cpu).expect("to be had");
    Worker::new(make, Hot::run)
}

/// Few, where it is only to be seen that it works.
fn few(length: Length, n: u64) -> u64 {
    if length.short { (n / 20).clamp(4, 500) } else { n }
}

fn requests(name: &'static str, length: Length) -> Result<Row, String> {
    let (threads, n) = (few(length, 64), length.of(1_000));
    let counted = |others| {
        let count = move || {
            let mut hot = Hot::new(others, ONE, None).expect("a tracee");
            hot.run(n / 10 + 1);
            hot.requests(n)
        };
        std::thread::spawn(count).join().map_err(|_| "a panic".to_string())
    };
    let (alone, among) = (counted(Others::NONE)?, counted(Others::sleeping(threads))?);
    let what = format!("requests for a hit and on with {threads} other threads; alone {alone:.2}");
    Ok(Row::new(name, &[(1.0, alone.max(among))], Bound::AtMost(5.0), what))
}

fn over_hardware(name: &'static str, length: Length) -> Result<Row, String> {
    let cpu = Some(cpu::shared());
    let has = move || Hot::new(Others::NONE, Breakpoints::Hardware, cpu).is_some();
    if !std::thread::spawn(has).join().map_err(|_| "a panic")? {
        return Err("no debug registers".into());
    }
    let n = length.of(5_000);
    let (hardware, software) = (hot(Others::NONE, Breakpoints::Hardware), hot(Others::NONE, ONE));
    let pairs = pairs(length, || block(&hardware, n), || block(&software, n));
    let what = "hit and on, breakpoint in memory / in a debug register, on one CPU";
    Ok(Row::new(name, &pairs, Bound::AtMost(0.9), what))
}

/// The loop by hand.
#[cfg(target_os = "linux")]
fn bare(way: trapline_benches::bare::hot::Way, cpu: Option<u32>) -> Worker {
    use trapline_benches::bare::hot::Hot;
    Worker::new(move || Hot::new(Others::NONE, way, cpu), Hot::run)
}

#[cfg(target_os = "linux")]
fn beside_bare(length: Length, cpu: Option<u32>) -> Vec<(f64, f64)> {
    let n = length.of(5_000);
    let make = move || Hot::new(Others::NONE, ONE, cpu).expect("to be had");
    let bare = bare(trapline_benches::bare::hot::Way::OutOfLine, cpu);
    let software = Worker::new(make, Hot::run);
    pairs(length, || block(&bare, n), || block(&software, n))
}

#[cfg(target_os = "linux")]
fn over_bare(name: &'static str, length: Length) -> Result<Row, String> {
    let what = "hit and on, trapline / by hand out of line, wherever the scheduler likes";
    Ok(Row::new(name, &beside_bare(length, None), Bound::AtMost(1.05), what))
}

/// The cheapest stop that there is, which shows every instruction of ours.
#[cfg(target_os = "linux")]
fn over_bare_on_one_cpu(name: &'static str, length: Length) -> Result<Row, String> {
    let what = "the same on one CPU";
    Ok(Row::new(name, &beside_bare(length, Some(cpu::shared())), Bound::None, what))
}

#[cfg(target_os = "linux")]
fn bare_in_place(name: &'static str, length: Length) -> Result<Row, String> {
    use trapline_benches::bare::hot::Way;
    let n = length.of(5_000);
    let cpu = Some(cpu::shared());
    let (out, place) = (bare(Way::OutOfLine, cpu), bare(Way::InPlace, cpu));
    let pairs = pairs(length, || block(&out, n), || block(&place, n));
    let what = "the loops by hand: in place / out of line";
    Ok(Row::new(name, &pairs, Bound::None, what))
}

fn among_sleepers(name: &'static str, length: Length) -> Result<Row, String> {
    let (n, threads) = (length.of(2_000), few(length, 1024));
    let (alone, among) = (hot(Others::NONE, ONE), hot(Others::sleeping(threads), ONE));
    let pairs = pairs(length, || block(&alone, n), || block(&among, n));
    let what = format!("hit and on with {threads} threads that sleep / with none, on one CPU");
    Ok(Row::new(name, &pairs, Bound::AtMost(1.1), what))
}

/// The busy ones take CPUs away, which is no cost of ours: so without a bound.
fn among_busy(name: &'static str, length: Length) -> Result<Row, String> {
    let n = length.of(2_000);
    let worker = |busy| {
        let others = Others { sleeping: 0, busy };
        Worker::new(move || Hot::new(others, ONE, None).expect("to be had"), Hot::run)
    };
    let (alone, among) = (worker(0), worker(4));
    let pairs = pairs(length, || block(&alone, n), || block(&among, n));
    let what = "hit and on with 4 threads that are busy / with none, wherever the scheduler likes";
    Ok(Row::new(name, &pairs, Bound::None, what))
}

fn among_breakpoints(name: &'static str, length: Length) -> Result<Row, String> {
    let (n, many) = (length.of(2_000), few(length, 100_000));
    let (one, many_of) = (hot(Others::NONE, ONE), hot(Others::NONE, Breakpoints::Software(many)));
    let pairs = pairs(length, || block(&one, n), || block(&many_of, n));
    let what = format!("hit and on with {many} breakpoints / with one, on one CPU");
    Ok(Row::new(name, &pairs, Bound::AtMost(1.1), what))
}

#[cfg(target_os = "linux")]
fn gdb(name: &'static str, length: Length) -> Result<Row, String> {
    let (n, others) = (length.of(2_000), Others::sleeping(few(length, 64)));
    let time = Duration::from_millis(if length.short { 100 } else { 2_000 });
    let ours = Worker::new(move || Hot::new(others, ONE, None).expect("to be had"), Hot::run);
    let length = Length { pairs: length.pairs.min(5), ..length };
    let mut failed = None;
    let mut theirs = || {
        trapline_benches::gdb::nanos(others, time).unwrap_or_else(|error| {
            failed = Some(error);
            f64::NAN
        })
    };
    let pairs = pairs(length, || block(&ours, n), &mut theirs);
    let what = "second column trapline; third gdb, `ignore` and displaced stepping, not placed";
    failed.map_or_else(|| Ok(Row::new(name, &pairs, Bound::AtLeast(15.0), what)), Err)
}

/// How long it took to insert so many, and with how many requests, a few times.
struct Inserted {
    many: u64,
    times: Vec<(Duration, u64)>,
}

/// Measured once, for two rows.
fn inserted(length: Length) -> Result<&'static Inserted, String> {
    static MEASURED: OnceLock<Result<Inserted, String>> = OnceLock::new();
    let measure = || {
        let (many, cpu) = (few(length, 100_000), Some(cpu::shared()));
        let once = move || Hot::without(Others::NONE, cpu).insert(many);
        let times = (0..length.pairs.min(5))
            .map(|_| std::thread::spawn(once).join().map_err(|_| "a panic".to_string()));
        Ok(Inserted { many, times: times.collect::<Result<_, _>>()? })
    };
    MEASURED.get_or_init(measure).as_ref().map_err(Clone::clone)
}

fn insert(name: &'static str, length: Length) -> Result<Row, String> {
    let Inserted { many, times } = inserted(length)?;
    let pairs: Vec<_> = times.iter().map(|(time, _)| (5e8, time.as_nanos() as f64)).collect();
    let what = format!("ns to insert {many} breakpoints / half a second");
    Ok(Row::new(name, &pairs, Bound::AtMost(1.0), what))
}

fn insert_requests(name: &'static str, length: Length) -> Result<Row, String> {
    /// What it may take whatever the number of pages.
    const CONSTANT: u64 = 64;
    let Inserted { many, times } = inserted(length)?;
    let most = (hot::pages(*many) + CONSTANT) as f64;
    let pairs: Vec<_> = times.iter().map(|&(_, requests)| (most, requests as f64)).collect();
    let what = format!("requests to insert {many} breakpoints / pages and {CONSTANT}");
    Ok(Row::new(name, &pairs, Bound::AtMost(1.0), what))
}

fn forks(name: &'static str, length: Length) -> Result<Row, String> {
    let (n, many, cpu) = (length.of(500), few(length, 5_000), Some(cpu::shared()));
    let worker = |breakpoints| Worker::new(move || Forks::new(breakpoints, cpu), Forks::run);
    let (none, many_of) = (worker(0), worker(many));
    let pairs = pairs(length, || block(&none, n), || block(&many_of, n));
    let what = format!("a fork with {many} breakpoints / with none, on one CPU");
    Ok(Row::new(name, &pairs, Bound::AtMost(1.5), what))
}

fn reads(name: &'static str, length: Length) -> Result<Row, String> {
    let (n, many, cpu) = (length.of(20_000), few(length, 5_000), Some(cpu::shared()));
    let worker = |breakpoints| {
        let make = move || match breakpoints {
            0 => Hot::without(Others::NONE, cpu),
            n => Hot::new(Others::NONE, Breakpoints::Software(n), cpu).expect("a tracee"),
        };
        Worker::new(make, Hot::read)
    };
    let (none, many_of) = (worker(0), worker(many));
    let pairs = pairs(length, || block(&none, n), || block(&many_of, n));
    let what = format!("8 bytes read with {many} breakpoints / with none");
    Ok(Row::new(name, &pairs, Bound::AtMost(1.1), what))
}

fn threads(length: Length) -> u64 {
    few(length, 1000)
}

#[cfg(target_os = "linux")]
fn attach_over_bare(name: &'static str, length: Length) -> Result<Row, String> {
    use crate::pairs::each;
    use trapline_benches::bare;
    let (threads, n) = (threads(length), length.of(5).max(2));
    let sleeper = Sleeper::new(threads);
    let pid = sleeper.pid();
    let (bare, trapline) = (
        Worker::new(|| (), move |(), n| bare::attach::times(pid, n, false)),
        Worker::new(|| (), move |(), n| attaches(pid, n).attach),
    );
    let pairs = pairs(length, || each(bare.run(n), n), || each(trapline.run(n), n));
    let what =
        format!("attach to {threads} threads that sleep, to the first event, trapline / bare");
    Ok(Row::new(name, &pairs, Bound::AtMost(1.5), what))
}

/// The same for the loop by hand: how much of the growth is the kernel's.
#[cfg(target_os = "linux")]
fn bare_attach_grows(name: &'static str, length: Length) -> Result<Row, String> {
    use crate::pairs::each;
    use trapline_benches::bare;
    let threads = threads(length);
    let sleepers = [threads, 8 * threads].map(Sleeper::new);
    let [few, many] = [0, 1].map(|which: usize| {
        let pid = sleepers[which].pid();
        Worker::new(|| (), move |(), n| bare::attach::times(pid, n, false))
    });
    let length = Length { pairs: length.pairs.min(7), ..length };
    let pairs = pairs(length, || each(few.run(1), 1), || each(many.run(1), 1));
    let what = format!("a loop by hand that attaches to {} threads / to {threads}", 8 * threads);
    Ok(Row::new(name, &pairs, Bound::None, what))
}

fn attach_requests(name: &'static str, length: Length) -> Result<Row, String> {
    let threads = threads(length);
    let sleeper = Sleeper::new(threads);
    let requests = attaches(sleeper.pid(), 1).attach_requests as f64;
    let what = format!("requests to attach to {threads} threads, for each");
    let bound = if length.short { Bound::None } else { Bound::AtMost(3.0) };
    Ok(Row::new(name, &[(threads as f64, requests)], bound, what))
}

/// Of threads that run each has to be stopped, and what it has stopped for has to be asked: it may
/// be a signal, which must not get lost.
fn detach_requests(name: &'static str, length: Length) -> Result<Row, String> {
    let threads = threads(length);
    let sleeper = Sleeper::new(threads);
    let requests = attaches(sleeper.pid(), 1).detach_requests as f64;
    let what = format!("requests to let {threads} threads go, all but one of which run, for each");
    Ok(Row::new(name, &[(threads as f64, requests)], Bound::AtMost(2.0), what))
}

fn detach_halted(name: &'static str, length: Length) -> Result<Row, String> {
    let threads = threads(length);
    let sleeper = Sleeper::new(threads);
    let requests = halted_detach_requests(sleeper.pid()) as f64;
    let what = format!("requests to let {threads} threads go that rest, for each");
    Ok(Row::new(name, &[(threads as f64, requests)], Bound::AtMost(2.0), what))
}

/// Measured once, for several rows: each step with many threads and with eight times as many.
fn grown(length: Length) -> Result<&'static Vec<[[Duration; 4]; 2]>, String> {
    static MEASURED: OnceLock<Result<Vec<[[Duration; 4]; 2]>, String>> = OnceLock::new();
    let measure = || {
        let threads = threads(length);
        let sleepers = [threads, 8 * threads].map(Sleeper::hot);
        let round = |_| {
            let [few, many] = [0, 1].map(|which: usize| {
                let pid = sleepers[which].pid();
                std::thread::spawn(move || steps(pid)).join().map_err(|_| "a panic".to_string())
            });
            Ok([few?, many?])
        };
        (0..length.pairs.min(7)).map(round).collect()
    };
    MEASURED.get_or_init(measure).as_ref().map_err(Clone::clone)
}

fn grows(name: &'static str, step: usize, length: Length) -> Result<Row, String> {
    let nanos = |steps: &[Duration; 4]| steps[step].as_nanos() as f64;
    let pairs = grown(length)?.iter().map(|[few, many]| (nanos(few), nanos(many)));
    let what = format!("the same with {} threads / with {}", 8 * threads(length), threads(length));
    Ok(Row::new(name, &pairs.collect::<Vec<_>>(), Bound::AtMost(9.0), what))
}
