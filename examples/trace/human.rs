//! The readable lines.

use std::fmt::Write as _;

use trapline::{ExitStatus, Pid, ProcessInfo, SignalInfo, Tid};

use super::model::{Processes, Record, What};
use super::output::Output;
use super::{quote, tree};

/// How much of a command line is shown.
const COMMAND: usize = 160;

/// The lines, and at the end the tree.
pub(crate) struct Human {
    output: Output,
    paint: Paint,
    line: String,
}

/// Colours, for terminals.
#[derive(Clone, Copy)]
pub(crate) struct Paint(bool);

#[derive(Clone, Copy)]
pub(crate) enum Colour {
    Red = 31,
    Green = 32,
    Yellow = 33,
    Cyan = 36,
    Grey = 90,
}

impl Paint {
    /// Colours if a person looks who wants them: <https://no-color.org>.
    fn for_output(output: &Output) -> Paint {
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        Paint(output.is_terminal() && !unwanted && !dumb)
    }

    pub(crate) fn paint(self, colour: Colour, text: &str) -> String {
        if self.0 && !text.is_empty() {
            format!("\x1b[{}m{text}\x1b[0m", colour as u8)
        } else {
            text.into()
        }
    }

    /// The end of a process: quiet, if all went well.
    pub(crate) fn status(self, status: ExitStatus) -> String {
        let (colour, text) = match status {
            ExitStatus::Code(0) => (Colour::Grey, "exit 0".into()),
            ExitStatus::Code(code) => (Colour::Yellow, format!("exit {code}")),
            killed => (Colour::Red, killed.to_string()),
        };
        self.paint(colour, &text)
    }
}

impl Human {
    pub(crate) fn new(output: Output) -> Human {
        let paint = Paint::for_output(&output);
        let human = Human { output, paint, line: String::new() };
        let head = format!("{:>12} {:>7} {:>7}  event", "seconds", "pid", "parent");
        human.output.write((paint.paint(Colour::Grey, &head) + "\n").as_bytes());
        human
    }

    /// Writes the line of an event.
    pub(crate) fn record(&mut self, record: &Record, processes: &Processes) {
        let Some(what) = self.what(record) else { return };
        let process = record.at.map(|at| processes.get(at));
        let number = |pid: Option<Pid>| pid.map_or("?".into(), |pid| pid.to_string());
        let pid = number(record.pid);
        let parent = number(process.and_then(|process| process.parent));
        let first = process.and_then(|process| process.tid);
        let thread = by_thread(record, first).map(|tid| format!(" (thread {tid})"));
        let thread = thread.unwrap_or_default();
        self.line.clear();
        let time = format!("{:12.6}", record.t.as_secs_f64());
        let time = self.paint.paint(Colour::Grey, &time);
        // Writing to a `String` cannot fail.
        let _ = writeln!(self.line, "{time} {pid:>7} {parent:>7}  {what}{thread}");
        self.output.write(self.line.as_bytes());
    }

    fn what(&self, record: &Record) -> Option<String> {
        let paint = self.paint;
        Some(match &record.what {
            What::Spawn => "spawn".into(),
            What::Attach => "attach".into(),
            What::Fork { kind, child } => paint.paint(Colour::Cyan, &format!("{kind} {child}")),
            What::Exec { info, .. } => {
                format!("{} {}", paint.paint(Colour::Green, "exec"), exec(*info))
            }
            // Of interest to debuggers, which read the JSON.
            What::VforkDone => return None,
            What::Thread => format!("thread {}", record.tid?),
            What::ThreadExit => format!("thread {} ends", record.tid?),
            What::Signal { signal, info } => {
                let from = info.map(origin).unwrap_or_default();
                paint.paint(Colour::Yellow, &signal.to_string()) + &from
            }
            What::GroupStop(signal) => format!("stopped by {signal}"),
            What::Reparented { from, to } => {
                let to = to.map_or("a parent elsewhere".into(), |to| to.to_string());
                paint.paint(Colour::Grey, &format!("reparented from {from} to {to}"))
            }
            What::Detach => "detach".into(),
            What::Exit { status, .. } => paint.status(*status),
        })
    }

    /// Writes the tree of all processes.
    pub(crate) fn finish(&self, processes: &Processes) {
        self.output.write(tree::draw(processes, self.paint).as_bytes());
    }
}

/// The program, and its arguments from its name on, unless that is the same.
fn exec(info: Option<&ProcessInfo>) -> String {
    let Some(info) = info else { return "?".into() };
    let args = info.arguments.as_deref().unwrap_or_default();
    let args_shown = quote::command(args, COMMAND);
    match &info.executable {
        None => format!("?: {args_shown}"),
        Some(path) if args.first().is_some_and(|first| first == path) => args_shown,
        Some(path) => format!("{}: {args_shown}", quote::command([path], COMMAND)),
    }
}

/// Which thread it was, where that is not plain: not the first one of its process.
fn by_thread(record: &Record, first: Option<Tid>) -> Option<Tid> {
    match &record.what {
        // It has become the first one.
        What::Exec { former_tid, .. } => *former_tid,
        What::Thread | What::ThreadExit | What::Exit { .. } | What::Detach => None,
        _ => record.tid.filter(|tid| first.is_some_and(|first| first != *tid)),
    }
}

/// Where a signal comes from.
fn origin(info: SignalInfo) -> String {
    match (info.sender, info.addr) {
        (Some(sender), _) => format!(" from {sender}"),
        (None, Some(addr)) => format!(" at {addr:#x}"),
        (None, None) => String::new(),
    }
}
