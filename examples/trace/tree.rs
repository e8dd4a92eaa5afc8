//! The tree of processes by real parent, as they were born.

use std::fmt::Write as _;

use super::human::{Colour, Paint};
use super::model::{End, Process, Processes};
use super::quote;

/// How much of a process's last command line is shown, and of those before it.
const LAST: usize = 100;
const EARLIER: usize = 40;

/// Draws the tree, and a line that sums up.
pub(crate) fn draw(processes: &Processes, paint: Paint) -> String {
    let mut text = String::from("\n");
    // Not recursive, for a chain of processes can be long.
    let mut stack: Vec<Branch> = processes
        .roots()
        .rev()
        .map(|at| Branch { at, before: String::new(), fork: "", below: "" })
        .collect();
    while let Some(Branch { at, before, fork, below }) = stack.pop() {
        let process = processes.get(at);
        let lines = paint.paint(Colour::Grey, &format!("{before}{fork}"));
        // Writing to a `String` cannot fail.
        let _ = writeln!(text, "{lines}{} {}", process.pid, label(process, paint));
        let before = before + below;
        let last = process.children.last();
        for child in process.children.iter().rev() {
            let (fork, below) =
                if Some(child) == last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
            stack.push(Branch { at: *child, before: before.clone(), fork, below });
        }
    }
    let count =
        |n: usize, one: &str, many: &str| format!("{n} {}", if n == 1 { one } else { many });
    let counts = &processes.counts;
    let _ = writeln!(
        text,
        "{}: {}, {}, {} ({} by a signal)",
        count(processes.len(), "process", "processes"),
        count(counts.forks, "fork", "forks"),
        count(counts.execs, "exec", "execs"),
        count(counts.exits, "exit", "exits"),
        counts.killed,
    );
    text
}

/// A process that is still to be drawn.
struct Branch {
    at: usize,
    /// The lines to the left of its parent's children.
    before: String,
    /// How it hangs on its parent.
    fork: &'static str,
    /// What goes on below it.
    below: &'static str,
}

fn label(process: &Process, paint: Paint) -> String {
    let mut text = String::new();
    let last = process.programs.len().saturating_sub(1);
    for (i, program) in process.programs.iter().enumerate() {
        if i > 0 {
            text += &paint.paint(Colour::Grey, " → ");
        }
        text += &quote::shorten(&program.command, if i == last { LAST } else { EARLIER });
    }
    if process.programs.is_empty() {
        let copy = process.copy_of.as_deref().unwrap_or("?");
        text += &paint.paint(Colour::Grey, &format!("(a copy of {copy})"));
    }
    if let Some((t, end)) = process.end {
        let time = t.saturating_sub(process.started).as_secs_f64();
        let time = paint.paint(Colour::Grey, &format!("{time:.3} s"));
        let end = match end {
            End::Exited(status) => paint.status(status),
            End::LetGo => paint.paint(Colour::Grey, "detached"),
        };
        let _ = write!(text, "  {time}, {end}");
    }
    if let Some(parent) = process.adopted_by {
        text += &paint.paint(Colour::Grey, &format!(", reparented to {parent}"));
    }
    text
}
