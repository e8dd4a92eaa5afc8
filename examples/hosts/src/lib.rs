//! What the programs of this package share. Each of them is in `src/bin`:
//!
//! - `tokio_readiness`: a tracer in the thread of an async runtime, by its file descriptor;
//! - `tokio_thread`: a tracer on a thread of its own, and async code that asks it;
//! - `tui`: the same thread, under a user interface in the terminal.

#![forbid(unsafe_code)]

#[path = "../../child_signals/mod.rs"]
mod child_signals;

use std::process::Command;

use trapline::Notice;

/// Has this program survive the signals by which FreeBSD may tell a tracer of the end of its tracees.
///
/// # Errors
///
/// What the system says.
pub fn survive() -> std::io::Result<()> {
    child_signals::survive()
}

/// The program that the command line names, with its arguments.
///
/// # Errors
///
/// A line that says how to use this program, if there is none.
pub fn command() -> Result<Command, String> {
    let mut words = std::env::args_os();
    let name = words.next().unwrap_or_default();
    let program = words.next();
    let usage = || format!("usage: {} PROGRAM [ARGUMENT...]", name.to_string_lossy());
    let mut command = Command::new(program.ok_or_else(usage)?);
    command.args(words);
    Ok(command)
}

/// An event in a line, if it is worth one.
pub fn line(notice: &Notice) -> Option<String> {
    match notice {
        Notice::Stopped { pid, reason, .. } => Some(format!("{pid}: {reason:?}")),
        Notice::Forked { kind, parent_pid, child_pid, .. } => {
            let parent = parent_pid.map_or_else(|| "?".to_string(), |pid| pid.to_string());
            Some(format!("{parent}: {kind} of {child_pid}"))
        }
        Notice::Exited { pid, status, .. } => Some(format!("{pid}: {status}")),
        _ => None,
    }
}
