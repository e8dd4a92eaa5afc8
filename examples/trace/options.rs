//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{Parser, ValueEnum};
use trapline::{FollowFork, Pid};

const EXAMPLES: &str = "\
Examples:
  trace -- make -j4                     every process of a build, and their tree
  trace -o build.txt --timeline build.trace -- make -j4
                                        the same into files; ui.perfetto.dev opens the second
  trace --json events.json --signals --threads -- ./server --port 80
  trace -p 1234 -p 1250                 running processes; Ctrl-C lets them go again

Signals:
  Ctrl-C goes to the program from the terminal; trace goes on until the last process has ended.
  SIGTERM and SIGHUP are passed on to the program. Once the program itself has ended, and with
  -p, each of these lets the processes that are left go, and they live on.

Exit status:
  That of the program, or 128+N if signal N killed it; 0 with -p alone. 127 if there is no such
  program, 126 if it cannot be executed, 2 for wrong use, 125 if tracing failed.";

/// Follow a program, or a running process, and everything that it starts: a line for each event as
/// it happens, and at the end a tree of the processes by real parent.
#[derive(Debug, Parser)]
#[command(
    name = "trace",
    version,
    after_help = EXAMPLES,
    override_usage = "trace [OPTIONS] [--] PROGRAM [ARGS]...\n       trace [OPTIONS] -p PID..."
)]
pub(crate) struct Options {
    /// Write the lines and the tree to FILE, not to standard error.
    #[arg(short = 'o', value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,

    /// Write one JSON object for each event to FILE; bytes that are not UTF-8 become U+FFFD.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,

    /// Write a timeline to FILE that ui.perfetto.dev opens (Chrome trace events).
    #[arg(long, value_name = "FILE")]
    pub(crate) timeline: Option<PathBuf>,

    /// Report threads too: their start and their end.
    #[arg(long)]
    pub(crate) threads: bool,

    /// Report signals too, and job control.
    #[arg(long)]
    pub(crate) signals: bool,

    /// Which side of a fork to follow.
    #[arg(long, value_name = "SIDE", value_enum, default_value_t = Follow::Both)]
    pub(crate) follow: Follow,

    /// Attach to this running process, with all its threads; may be given several times.
    #[arg(short = 'p', value_name = "PID")]
    pub(crate) pids: Vec<Pid>,

    /// The program to run, and its arguments.
    #[arg(value_name = "PROGRAM", trailing_var_arg = true)]
    pub(crate) program: Vec<OsString>,
}

/// [`FollowFork`] as a word of the command line.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Follow {
    Parent,
    Child,
    Both,
}

impl From<Follow> for FollowFork {
    fn from(follow: Follow) -> Self {
        match follow {
            Follow::Parent => FollowFork::Parent,
            Follow::Child => FollowFork::Child,
            Follow::Both => FollowFork::Both,
        }
    }
}

/// Why there are no options.
pub(crate) enum Refusal {
    /// Help or the version was asked for, and has been printed.
    Printed,
    /// Wrong use, in one line.
    Wrong(String),
}

/// Reads a command line, the name of the program first.
pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Options, Refusal> {
    let options = Options::try_parse_from(args).map_err(|error| match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            // A reader that has gone away is no reason to fail.
            let _ = error.print();
            Refusal::Printed
        }
        _ => Refusal::Wrong(in_one_line(&error.to_string())),
    })?;
    if options.program.is_empty() && options.pids.is_empty() {
        return Err(Refusal::Wrong(
            "nothing to trace: give a PROGRAM with its arguments, or -p PID (see trace --help)"
                .into(),
        ));
    }
    Ok(options)
}

/// clap explains over several lines; the first ones say what is wrong.
fn in_one_line(error: &str) -> String {
    let mut text = String::new();
    for line in error.lines().map(str::trim) {
        match line {
            _ if line.starts_with("Usage:") || line.starts_with("For more") => break,
            "" => {}
            // How to pass a flag as a value is no advice for this command line.
            _ if line.contains("as a value, use") => {}
            _ if text.is_empty() => text += line.trim_start_matches("error: "),
            _ if line.starts_with('[') => text.extend([" ", line]),
            _ => text.extend(["; ", line.trim_start_matches("tip: ")]),
        }
    }
    text + " (see trace --help)"
}
