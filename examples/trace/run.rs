//! The run loop: from the command line to the exit status.

mod human;
mod json;
mod model;
mod options;
mod output;
mod quote;
mod session;
mod signals;
mod timeline;
mod tree;

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::Path;
use std::process::Command;

use trapline::{Builder, Error, EventFlags, Pid};

use options::{Options, Refusal};
use output::Output;
use session::Session;

/// Wrong use; and what `env`, `timeout` and shells say for what they could not run.
const WRONG_USE: i32 = 2;
const FAILED: i32 = 125;
const NOT_EXECUTABLE: i32 = 126;
const NOT_FOUND: i32 = 127;

/// Why nothing was traced, or no further: the exit status, and a line that says what to do.
struct Failure(i32, String);

/// Does what a command line says, the name of the program first; returns the exit status.
pub(crate) fn run(args: impl IntoIterator<Item = OsString>) -> i32 {
    let result = match options::parse(args) {
        Ok(options) => trace(&options),
        Err(Refusal::Printed) => Ok(0),
        Err(Refusal::Wrong(line)) => Err(Failure(WRONG_USE, line)),
    };
    result.unwrap_or_else(|Failure(status, line)| {
        let line = line.lines().map(str::trim).collect::<Vec<_>>().join(" ");
        // If nobody listens, the exit status is left.
        let _ = writeln!(io::stderr(), "trace: {line}");
        status
    })
}

fn trace(options: &Options) -> Result<i32, Failure> {
    // Before anything runs: a file that cannot be written is found out now.
    let file = |path: &Option<_>| path.as_deref().map(create).transpose();
    let lines = file(&options.output)?.unwrap_or(Output::Stderr);
    let (json, timeline) = (file(&options.json)?, file(&options.timeline)?);

    let mut events = EventFlags::PROCESS | EventFlags::VFORK_DONE | EventFlags::REPARENT;
    events.set(EventFlags::THREAD, options.threads);
    let mut tracer =
        Builder::new().events(events).follow_fork(options.follow.into()).build().map_err(failed)?;

    let mut session = Session::new(options);
    for &pid in &options.pids {
        if session.attaches(pid) {
            tracer.attach(pid).map_err(|error| cannot_attach(pid, error))?;
        }
    }
    if let Some((program, args)) = options.program.split_first() {
        let mut command = Command::new(program);
        command.args(args);
        let spawned = tracer.spawn(command).map_err(|error| cannot_spawn(program, error))?;
        session.spawned(spawned.pid);
    }
    session.write_to(lines, json, timeline);
    session.follow(&mut tracer)
}

fn create(path: &Path) -> Result<Output, Failure> {
    Output::create(path).map_err(|error| {
        let path = path.display();
        Failure(WRONG_USE, format!("cannot create {path}: {error}; choose another file"))
    })
}

/// Tracing itself went wrong.
fn failed(error: impl std::fmt::Display) -> Failure {
    Failure(FAILED, format!("cannot trace: {error}"))
}

fn cannot_attach(pid: Pid, error: Error) -> Failure {
    let line = match error {
        Error::Gone { .. } => format!("there is no process {pid}; see ps for those that there are"),
        Error::NotPermitted { .. } => error.to_string(),
        error => format!("cannot attach to process {pid}: {error}"),
    };
    Failure(WRONG_USE, line)
}

fn cannot_spawn(program: &OsString, error: Error) -> Failure {
    let program = quote::command([program], usize::MAX);
    match error {
        Error::Spawn(error) if error.kind() == io::ErrorKind::NotFound => {
            let line = format!("{program}: {error}; is the name right, and its folder in PATH?");
            Failure(NOT_FOUND, line)
        }
        Error::Spawn(error) => Failure(
            NOT_EXECUTABLE,
            format!("{program}: {error}; it must be an executable file, of a kind that runs here"),
        ),
        Error::NotPermitted { .. } => Failure(WRONG_USE, error.to_string()),
        error => Failure(FAILED, format!("cannot start {program}: {error}")),
    }
}
