//! trapline beside the loop by hand (or whatever a row names), in alternating blocks of one run,
//! and whether what it must show holds.
//!
//! ```sh
//! cargo bench -p trapline-benches --bench ratio -- [--pairs N] [--json FILE] [--only NAME]... [--skip NAME]... [--short]
//! ```
//!
//! The last table is `name bare_ns trapline_ns ratio`: medians, the last one of the ratios of the
//! pairs. Where a row compares something else the second column is what is compared with and the
//! third what is compared, as the row's description says.

// A bench exports nothing.
#![allow(unreachable_pub)]

mod breakpoints;
mod busy;
mod counting;
mod pairs;
mod rows;
/// The example whose cost is measured.
#[path = "../../examples/trace/run.rs"]
mod trace;

use std::fs;

use clap::Parser;
use serde::Serialize;

use pairs::Row;

#[global_allocator]
static ALLOCATOR: counting::Counting = counting::Counting;

/// Compares trapline with loops by hand.
#[derive(Debug, Parser)]
struct Options {
    /// How many pairs of blocks a row has.
    #[arg(long, default_value_t = 15)]
    pairs: usize,
    /// Writes the last table to this file, as a list of objects.
    #[arg(long)]
    json: Option<std::path::PathBuf>,
    /// Only the rows whose names contain this.
    #[arg(long)]
    only: Vec<String>,
    /// Not the rows whose names contain this.
    #[arg(long)]
    skip: Vec<String>,
    /// Few pairs and short blocks: whether it works, not how fast.
    #[arg(long)]
    short: bool,
    /// Fails if a bound does not hold.
    #[arg(long)]
    strict: bool,
    /// What `cargo bench` says.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Serialize)]
struct Line<'a> {
    name: &'a str,
    bare_ns: f64,
    trapline_ns: f64,
    ratio: f64,
}

fn main() {
    trapline_benches::tracee::run_if_asked();
    trapline_benches::workload::trace_if_asked(trace::run);
    let options = Options::parse();
    let length = pairs::Length {
        pairs: if options.short { 2 } else { options.pairs },
        short: options.short,
    };
    let wanted = |name: &str| {
        (options.only.is_empty() || options.only.iter().any(|part| name.contains(part)))
            && !options.skip.iter().any(|part| name.contains(part))
    };
    println!("{}", machine());
    let mut results: Vec<Row> = Vec::new();
    for (name, measure) in rows::ALL.iter().chain(breakpoints::ALL) {
        if wanted(name) {
            match measure(name, length) {
                Ok(row) => {
                    println!("{row}");
                    results.push(row);
                }
                Err(why) => println!("{name}: not measured: {why}"),
            }
        }
    }
    println!("\n{}", machine());
    println!("\n{:<36} {:>12} {:>12} {:>8}", "name", "bare_ns", "trapline_ns", "ratio");
    let mut lines = Vec::new();
    for row in &results {
        let line =
            Line { name: row.name, bare_ns: row.base, trapline_ns: row.value, ratio: row.ratio };
        let Line { name, bare_ns, trapline_ns, ratio } = line;
        println!("{name:<36} {bare_ns:>12.0} {trapline_ns:>12.0} {ratio:>8.3}");
        lines.push(line);
    }
    if let Some(file) = &options.json {
        let text = serde_json::to_string_pretty(&lines).expect("numbers and names");
        fs::write(file, text + "\n").expect("the file is written");
    }
    if options.strict && results.iter().any(|row| !row.holds()) {
        std::process::exit(1);
    }
}

/// What it runs on.
pub fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let info = read("/proc/cpuinfo");
    let model = info.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let model = model.trim_start_matches([' ', '\t', ':']);
    let cpus = std::thread::available_parallelism().map_or(0, |n| n.get());
    let kernel = read("/proc/sys/kernel/osrelease");
    let load = read("/proc/loadavg");
    let load: Vec<&str> = load.split(' ').take(3).collect();
    let (kernel, load) = (kernel.trim(), load.join(" "));
    format!("{cpus} CPUs, {model}; Linux {kernel}; load average {load}")
}
