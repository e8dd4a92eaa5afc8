//! A small debugger for programs in C, Rust and the like, on trapline: to use, and to learn from.
//!
//! Each file is one idea. What reads a stopped thread (`unwind`, `scope`, `types`, `cpu`) takes a
//! [`Reader`](trapline::Reader), which is copied and shares the tracer.

#![forbid(unsafe_code)]

mod breakpoints;
mod call;
mod command;
mod cpu;
mod events;
mod expression;
mod file;
mod lines;
mod modules;
mod scope;
mod stepping;
mod types;
mod unwind;

use std::io::{BufRead, Write};
use std::process::Command;

use trapline::Pid;

use events::Debugger;

/// What can go wrong, to be told to the user.
pub type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// What to debug.
#[derive(Debug)]
pub enum Target {
    /// A program that is started.
    Program(Command),
    /// A process that runs already.
    Process(Pid),
}

/// Debugs a program by commands, one in each line, and writes what there is to say. It ends with the
/// commands: then a program that was started is killed, and a process that was attached to goes on.
///
/// # Errors
///
/// If the program cannot be started or attached to, and what writing fails with. A command that fails is
/// only told.
pub fn run(target: Target, commands: impl BufRead, out: impl Write) -> Outcome<()> {
    let mut debugger = Debugger::start(target, out)?;
    let mut last = String::new();
    debugger.prompt()?;
    for line in commands.lines() {
        let line = line?;
        // An empty line is the last command once more.
        if !line.trim().is_empty() {
            last = line.trim().to_string();
        }
        match debugger.command(&last) {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            Err(error) => debugger.say(format_args!("{error}"))?,
        }
        debugger.prompt()?;
    }
    Ok(())
}
