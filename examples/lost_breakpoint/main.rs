//! `lost_breakpoint`: the reproducer of hardware breakpoints that get lost on some hypervisors.
//!
//! A pair is a tracer and a tracee. The tracee calls a function that sets a variable to what it is
//! given, 5; the tracer has an execute breakpoint at the function and gives it 1 instead. Where the
//! variable is 5 after all, a hit was lost. Half of the pairs use another function, so that the
//! debug registers of a CPU that several of them share change all the time.

#[path = "../child_signals/mod.rs"]
mod child_signals;
mod pair;
mod tracee;

use std::io::Read;
use std::process::{Child, Command, Stdio};

use clap::Parser;
use trapline::debug_registers::{SelfTest, self_test};

/// Look for hardware breakpoints that get lost. Exits with 1 if one was.
#[derive(Debug, Parser)]
#[command(name = "lost_breakpoint")]
struct Options {
    /// For how long.
    #[arg(long, value_name = "S", default_value_t = 10)]
    seconds: u64,

    /// How many tracers, each with a tracee, at the same time.
    #[arg(long, value_name = "N", default_value_t = 2)]
    pairs: usize,

    /// Be the tracer of this pair.
    #[arg(long, hide = true)]
    pair: Option<usize>,

    /// Be the tracee of this pair.
    #[arg(long, hide = true)]
    tracee: Option<usize>,
}

fn main() {
    let options = Options::parse();
    if let Some(pair) = options.tracee {
        tracee::run(pair);
    }
    if let Err(error) = child_signals::survive() {
        eprintln!("lost_breakpoint: {error}");
        std::process::exit(125);
    }
    let result = match options.pair {
        Some(pair) => pair::run(pair, options.seconds).map(|counts| {
            println!("{} {}", counts.hits, counts.losses);
            0
        }),
        None => all(&options),
    };
    std::process::exit(result.unwrap_or_else(|error| {
        eprintln!("lost_breakpoint: {error}");
        125
    }));
}

type Failure = Box<dyn std::error::Error>;

/// Runs all pairs, each in a process of its own: FreeBSD allows one tracer in a process.
fn all(options: &Options) -> Result<i32, Failure> {
    let start = |pair: usize| -> Result<Child, Failure> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("--seconds").arg(options.seconds.to_string());
        command.arg("--pair").arg(pair.to_string()).stdout(Stdio::piped());
        Ok(command.spawn()?)
    };
    let children: Vec<_> = (0..options.pairs.max(1)).map(start).collect::<Result<_, _>>()?;
    let (mut hits, mut losses) = (0, 0);
    for (pair, mut child) in children.into_iter().enumerate() {
        let mut line = String::new();
        child.stdout.take().ok_or("no pipe")?.read_to_string(&mut line)?;
        let status = child.wait()?;
        let counts: Vec<u64> = line.split_whitespace().filter_map(|n| n.parse().ok()).collect();
        let (true, [hit, lost]) = (status.success(), &counts[..]) else {
            return Err(format!("pair {pair} failed: {status}").into());
        };
        println!("pair {pair}: {hit} hits, {lost} lost");
        hits += hit;
        losses += lost;
    }
    println!("{hits} hits, {losses} lost");
    if losses > 0 {
        println!("{}", self_test(SelfTest::default())?);
        return Ok(1);
    }
    if hits == 0 {
        return Err("no breakpoint was ever hit".into());
    }
    Ok(0)
}
