//! A build with thousands of processes under whole tools: `trace`, a loop by hand, `strace` and
//! `gdb`, in turn.
//!
//! ```sh
//! cargo bench -p trapline-benches --bench build -- [--files N] [--rounds N] [--skip TOOL]... [--json FILE]
//! ```
//!
//! A tool that is not installed, or that is not done after the limit, is left out and said so.

// A bench exports nothing.
#![allow(unreachable_pub)]

/// The example whose cost is measured.
#[path = "../../examples/trace/run.rs"]
mod trace;

use std::time::Duration;

use clap::Parser;
use serde::Serialize;

use trapline_benches::workload::{Tool, Workload, trace_if_asked};

/// Builds under whole tools.
#[derive(Debug, Parser)]
struct Options {
    /// How many C files.
    #[arg(long, default_value_t = 300)]
    files: usize,
    /// How many builds under each tool.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Not this tool.
    #[arg(long)]
    skip: Vec<String>,
    /// Gives up a build after so many seconds.
    #[arg(long, default_value_t = 300)]
    limit: u64,
    /// Writes the table to this file.
    #[arg(long)]
    json: Option<std::path::PathBuf>,
    /// Few files, one round.
    #[arg(long)]
    short: bool,
    /// What `cargo bench` says.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Serialize)]
struct Line {
    tool: &'static str,
    seconds: Option<f64>,
    ratio: Option<f64>,
    why: Option<String>,
}

fn main() {
    trapline_benches::tracee::run_if_asked();
    trace_if_asked(trace::run);
    let options = Options::parse();
    let (files, rounds) = if options.short { (10, 1) } else { (options.files, options.rounds) };
    let workload = Workload::new(files).expect("a directory of our own");
    let limit = Duration::from_secs(options.limit);
    let mut times: Vec<(Tool, Result<Vec<f64>, String>)> = Tool::ALL
        .into_iter()
        .filter(|tool| !options.skip.iter().any(|skip| skip == tool.name()))
        .map(|tool| (tool, Ok(Vec::new())))
        .collect();
    let _ = workload.run(Tool::Untraced, limit); // the compiler is in the cache then
    for _ in 0..rounds {
        for (tool, times) in &mut times {
            // What has failed once, or takes very long, is not tried again.
            let Ok(seconds) = times else { continue };
            if seconds.last().is_some_and(|&last| last > 60.0) {
                continue;
            }
            match workload.run(*tool, limit) {
                Ok(taken) => seconds.push(taken.as_secs_f64()),
                Err(why) => *times = Err(why),
            }
        }
    }
    println!("{files} files, {rounds} rounds: medians");
    println!("{:<16} {:>10} {:>8}", "tool", "seconds", "ratio");
    let mut untraced = f64::NAN;
    let mut lines = Vec::new();
    for (tool, times) in times {
        let (name, mut seconds) = match times {
            Ok(seconds) => (tool.name(), seconds),
            Err(why) => {
                println!("{:<16} {why}", tool.name());
                let why = Some(why);
                lines.push(Line { tool: tool.name(), seconds: None, ratio: None, why });
                continue;
            }
        };
        seconds.sort_by(f64::total_cmp);
        let median = seconds[seconds.len() / 2];
        if tool == Tool::Untraced {
            untraced = median;
        }
        let ratio = median / untraced;
        println!("{name:<16} {median:>10.2} {ratio:>8.3}");
        let (seconds, ratio) = (Some(median), Some(ratio));
        lines.push(Line { tool: name, seconds, ratio, why: None });
    }
    if let Some(file) = &options.json {
        let text = serde_json::to_string_pretty(&lines).expect("numbers and names");
        std::fs::write(file, text + "\n").expect("the file is written");
    }
}
