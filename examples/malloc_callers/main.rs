//! Counts the calls of a function, `malloc`, by what calls it:
//! `cargo run --release --example malloc_callers -- ls -l`.
//!
//! The breakpoint has a condition that never holds, so no arrival is an event. The engine calls the
//! condition at each of them, with the thread stopped, and lets the thread go on.

#[path = "../child_signals/mod.rs"]
mod child_signals;
#[path = "../watch/modules.rs"]
mod modules;

use std::cell::RefCell;
use std::collections::HashMap;
use std::process::Command;
use std::rc::Rc;

use modules::Modules;
use trapline::{
    BreakpointHit, Builder, Event, FollowFork, Pid, Result, Resume, SoftwareBreakpoint, StopReason,
    Stopped, Tracer,
};

const FUNCTION: &str = "malloc";
/// How many callers are shown.
const MOST: usize = 20;

/// How often each return address was seen.
type Counts = Rc<RefCell<HashMap<u64, u64>>>;

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    child_signals::survive()?;
    let mut words = std::env::args_os().skip(1);
    let mut command = Command::new(words.next().ok_or("usage: malloc_callers PROGRAM...")?);
    command.args(words);
    let mut tracer = Builder::new().follow_fork(FollowFork::Parent).build()?;
    tracer.spawn(command)?;
    let counts = Counts::default();
    let mut modules = Modules::default();
    while let Some(event) = tracer.wait()? {
        if let Event::Stopped(stop) = &event {
            match stop.reason() {
                StopReason::Execed { .. } => at_exec(&mut tracer, stop.pid(), &counts)?,
                StopReason::Trap(causes) if causes.software.is_some() => {
                    modules = at_entry(&mut tracer, stop, &counts)?;
                }
                _ => {}
            }
        }
        tracer.resume(event, Resume::Continue)?;
    }
    let mut callers: Vec<(u64, u64)> = counts.take().into_iter().collect();
    callers.sort_by_key(|&(addr, count)| (std::cmp::Reverse(count), addr));
    let calls: u64 = callers.iter().map(|&(_, count)| count).sum();
    eprintln!("{calls} calls of {FUNCTION}, from {} places", callers.len());
    for &(addr, count) in callers.iter().take(MOST) {
        eprintln!("{count:10}  {}", modules.describe(addr));
    }
    Ok(())
}

/// A new program: its libraries are not there yet, but at its entry point they are.
fn at_exec(tracer: &mut Tracer, pid: Pid, counts: &Counts) -> Result<()> {
    counts.borrow_mut().clear();
    if let Some(addr) = Modules::entry_point(tracer, pid)? {
        tracer.insert_breakpoint(pid, SoftwareBreakpoint::at(addr).once())?;
    }
    Ok(())
}

fn at_entry(tracer: &mut Tracer, stop: &Stopped, counts: &Counts) -> Result<Modules> {
    let modules = Modules::of(tracer, stop.pid())?;
    let counts = Rc::clone(counts);
    let count = move |hit: &BreakpointHit<'_>| {
        if let Ok(caller) = hit.registers().return_address(|addr| hit.read_value(addr)) {
            *counts.borrow_mut().entry(caller).or_default() += 1;
        }
        false
    };
    match modules.find_function(FUNCTION) {
        Some(addr) => {
            let breakpoint = SoftwareBreakpoint::at(addr).when(count);
            tracer.insert_breakpoint(stop.pid(), breakpoint)?;
        }
        None => eprintln!("the program has no {FUNCTION}"),
    }
    Ok(modules)
}
