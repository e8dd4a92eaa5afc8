//! Plots and tables from what criterion has measured.
//!
//! ```sh
//! cargo bench -p trapline-benches --bench trap_latency --bench scaling --bench breakpoints    # measure
//! cargo bench -p trapline-benches --bench figures -- [--from DIR] [--to DIR]
//! ```
//!
//! Writes `latency.svg`, `scaling.svg` and `breakpoints.svg`, and prints the tables of `benches/README.md`.

// A bench exports nothing.
#![allow(unreachable_pub)]

mod plots;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use clap::Parser;

/// Plots what was measured.
#[derive(Debug, Parser)]
struct Options {
    /// Where criterion has its results.
    #[arg(long)]
    from: Option<PathBuf>,
    /// Where the plots go.
    #[arg(long, default_value = env!("CARGO_MANIFEST_DIR"))]
    to: PathBuf,
    /// What `cargo bench` says.
    #[arg(long, hide = true)]
    bench: bool,
}

/// Medians in nanoseconds, by group and function.
pub type Medians = BTreeMap<String, BTreeMap<String, f64>>;

/// The kinds of stops, in the order of the plot, and the tracers.
const KINDS: [&str; 10] = [
    "int3",
    "step",
    "syscall",
    "signal",
    "hardware_breakpoint",
    "watchpoint",
    "fork_pair",
    "vfork",
    "exec",
    "thread",
];
const TRACERS: [&str; 3] = ["bare", "trapline", "pete"];
const IDLE: [u64; 5] = [0, 1, 64, 1024, 4096];
const WAITS: [&str; 3] = ["bare_one", "trapline", "bare_any"];
const SLEEPING: [u64; 5] = [0, 16, 64, 256, 1024];
const WAYS: [&str; 5] = ["bare_out_of_line", "trapline", "hardware", "bare_in_place", "gdb"];
const INSERTED: [u64; 3] = [1, 1_000, 100_000];
const DONE: [&str; 5] = ["hit", "read", "fork", "insert", "detach"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let options = Options::parse();
    let from = options.from.unwrap_or_else(criterion_home);
    let medians = read(&from);
    if medians.is_empty() {
        println!("nothing measured in {}", from.display());
        return Ok(());
    }
    latency_table(&medians);
    other_tables(&medians);
    let kinds: Vec<&str> = KINDS.into_iter().filter(|kind| medians.contains_key(*kind)).collect();
    if !kinds.is_empty() {
        plots::latency(&options.to.join("latency.svg"), &medians, &kinds, &TRACERS)?;
    }
    if medians.contains_key("idle") {
        plots::scaling(&options.to.join("scaling.svg"), &medians["idle"], &IDLE, &WAITS)?;
    }
    if let Some(group) = medians.get("breakpoint") {
        plots::breakpoints(&options.to.join("breakpoints.svg"), group, &SLEEPING, &WAYS)?;
    }
    Ok(())
}

fn criterion_home() -> PathBuf {
    let env = |name: &str| std::env::var_os(name).map(PathBuf::from);
    env("CRITERION_HOME")
        .or_else(|| env("CARGO_TARGET_DIR").map(|target| target.join("criterion")))
        .unwrap_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/../target/criterion").into())
}

fn read(from: &Path) -> Medians {
    let mut medians = Medians::new();
    for group in entries(from) {
        for function in entries(&group) {
            let file = function.join("new/estimates.json");
            let Ok(text) = fs::read_to_string(file) else { continue };
            let Ok(value) = serde_json::from_str::<serde_json::Value>(&text) else { continue };
            if let Some(median) = value["median"]["point_estimate"].as_f64() {
                medians.entry(name(&group)).or_default().insert(name(&function), median);
            }
        }
    }
    medians
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).map(|entries| entries.flatten().map(|e| e.path()).collect());
    entries.unwrap_or_default()
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// A time, with three digits.
fn time(nanos: Option<&f64>) -> String {
    match nanos {
        None => "-".into(),
        Some(&ns) if ns < 1e3 => format!("{ns:.0} ns"),
        Some(&ns) if ns < 1e4 => format!("{:.2} us", ns / 1e3),
        Some(&ns) if ns < 1e5 => format!("{:.1} us", ns / 1e3),
        Some(&ns) if ns < 1e6 => format!("{:.0} us", ns / 1e3),
        Some(&ns) => format!("{:.2} ms", ns / 1e6),
    }
}

/// Each kind by each tracer, on one CPU and where the scheduler puts them.
fn latency_table(medians: &Medians) {
    for suffix in ["", "_spread"] {
        println!("\n| kind{suffix} | bare | trapline | pete |\n|---|---|---|---|");
        for kind in KINDS {
            let Some(group) = medians.get(&format!("{kind}{suffix}")) else { continue };
            let [bare, trapline, pete] = TRACERS.map(|tracer| time(group.get(tracer)));
            println!("| {kind} | {bare} | {trapline} | {pete} |");
        }
    }
}

/// What is left, a row for each group.
fn other_tables(medians: &Medians) {
    if let Some(group) = medians.get("idle") {
        println!("\n| idle tracees | {} |\n|---|---|---|---|", WAITS.join(" | "));
        for n in IDLE {
            let row = WAITS.map(|wait| time(group.get(&format!("{wait}_{n}"))));
            println!("| {n} | {} |", row.join(" | "));
        }
    }
    breakpoint_tables(medians);
    for (name, group) in medians {
        if name == "idle"
            || name.starts_with("breakpoint")
            || KINDS.iter().any(|kind| name.starts_with(kind))
        {
            continue;
        }
        let row: Vec<String> =
            group.iter().map(|(who, ns)| format!("{who} {}", time(Some(ns)))).collect();
        println!("\n{name}: {}", row.join(", "));
    }
}

/// A hit among other threads, each way, and what is done with so many breakpoints.
fn breakpoint_tables(medians: &Medians) {
    for (group, others, numbers) in
        [("breakpoint", "sleep", &SLEEPING[..]), ("breakpoint_busy", "are busy", &[4])]
    {
        let Some(group) = medians.get(group) else { continue };
        let line = "|---".repeat(WAYS.len() + 1);
        println!("\n| other threads that {others} | {} |\n{line}|", WAYS.join(" | "));
        for n in numbers {
            let row = WAYS.map(|way| time(group.get(&format!("{way}_{n}"))));
            println!("| {n} | {} |", row.join(" | "));
        }
    }
    if DONE.iter().any(|what| medians.contains_key(&format!("breakpoints_{what}"))) {
        let line = "|---".repeat(DONE.len() + 1);
        println!("\n| breakpoints inserted | {} |\n{line}|", DONE.join(" | "));
        for n in INSERTED {
            let row = DONE.map(|what| {
                let group = medians.get(&format!("breakpoints_{what}"));
                time(group.and_then(|group| group.get(&n.to_string())))
            });
            println!("| {n} | {} |", row.join(" | "));
        }
    }
}
