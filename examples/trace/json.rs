//! One JSON object for each event.

use std::borrow::Cow;

use serde::Serialize;
use trapline::ExitStatus;

use super::model::{Record, What};
use super::output::Output;

/// The file, and a buffer for a line.
pub(crate) struct Json {
    output: Output,
    line: Vec<u8>,
}

/// What every line has. An id is null where the kernel did not tell it.
#[derive(Serialize)]
struct Line<'a> {
    event: &'static str,
    /// Nanoseconds since the start.
    t: u128,
    pid: Option<i32>,
    tid: Option<i32>,
    #[serde(flatten)]
    details: Details<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Details<'a> {
    None {},
    Fork {
        child: i32,
        kind: String,
    },
    Exec {
        path: Option<Cow<'a, str>>,
        argv: Option<Vec<Cow<'a, str>>>,
        /// Null if the first thread called it.
        former_tid: Option<i32>,
    },
    Signal {
        signal: i32,
        name: String,
    },
    Exit {
        #[serde(flatten)]
        status: Status,
        real_parent: Option<i32>,
    },
}

#[derive(Serialize)]
#[serde(untagged)]
enum Status {
    Code { status: i32 },
    Killed { signal: i32, core: bool },
}

impl Json {
    pub(crate) fn new(output: Output) -> Json {
        Json { output, line: Vec::new() }
    }

    /// Writes the line of an event.
    pub(crate) fn record(&mut self, record: &Record) {
        let (event, details) = match &record.what {
            What::Spawn => ("spawn", Details::None {}),
            What::Attach => ("attach", Details::None {}),
            What::Fork { kind, child, .. } => {
                ("fork", Details::Fork { child: child.as_raw(), kind: kind.to_string() })
            }
            What::Exec { info, former_tid } => {
                let path = info.and_then(|info| info.executable.as_ref());
                let path = path.map(|path| path.to_string_lossy());
                let argv = info.and_then(|info| info.arguments.as_ref());
                let argv = argv.map(|argv| argv.iter().map(|arg| arg.to_string_lossy()).collect());
                let former_tid = former_tid.map(|tid| tid.as_raw());
                ("exec", Details::Exec { path, argv, former_tid })
            }
            What::VforkDone => ("vfork_done", Details::None {}),
            What::Thread => ("thread", Details::None {}),
            What::ThreadExit => ("thread_exit", Details::None {}),
            What::Signal { signal, .. } => {
                let name = signal.to_string();
                ("signal", Details::Signal { signal: signal.as_raw(), name })
            }
            What::Detach => ("detach", Details::None {}),
            What::Exit { status, real_parent } => {
                let status = match *status {
                    ExitStatus::Code(status) => Status::Code { status },
                    ExitStatus::Killed { signal, core_dumped } => {
                        Status::Killed { signal: signal.as_raw(), core: core_dumped }
                    }
                };
                let real_parent = real_parent.map(|pid| pid.as_raw());
                ("exit", Details::Exit { status, real_parent })
            }
            // For people: the parent is in the exit's line, the signal that stops is one by itself.
            What::GroupStop(_) | What::Reparented { .. } => return,
        };
        let line = Line {
            event,
            t: record.t.as_nanos(),
            pid: record.pid.map(|pid| pid.as_raw()),
            tid: record.tid.map(|tid| tid.as_raw()),
            details,
        };
        self.line.clear();
        // Numbers and strings always are JSON, and a `Vec` takes everything.
        if serde_json::to_writer(&mut self.line, &line).is_ok() {
            self.line.push(b'\n');
            self.output.write(&self.line);
        }
    }
}
