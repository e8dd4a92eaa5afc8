//! The command line, as gdb's own gdbserver has it.

use std::ffi::OsString;

use trapline::Pid;

const HELP: &str = "\
A gdb remote stub over trapline: debug a program with gdb on this machine or on another.

Usage:
  gdbserver [--once] HOST:PORT PROGRAM [ARGS]...
  gdbserver [--once] --attach HOST:PORT PID     (or --attach PID HOST:PORT)
  gdbserver [--once] --multi HOST:PORT

  HOST may be left out: then every interface is listened on. PORT 0 takes a free one.

Options:
  --attach    Attach to the running process PID; when gdb goes, it lives on.
  --multi     Start without a program, and wait for gdb to run or attach to one
              (target extended-remote); stay when it ends.
  --once      Accept one connection, and end with it.
  --help      Print this.
  --version   Print the version.

In gdb: target remote HOST:PORT";

/// What is to be debugged.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// A program, with its arguments, that is started now.
    Program(Vec<OsString>),
    /// A running process.
    Process(Pid),
    /// What gdb asks for.
    Nothing,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Options {
    /// `HOST:PORT` or `:PORT`.
    pub(crate) address: String,
    pub(crate) what: What,
    pub(crate) once: bool,
    pub(crate) multi: bool,
}

/// Why there are no options.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Something was asked for that is to be printed.
    Print(String),
    /// Wrong use, in one line.
    Wrong(String),
}

/// Reads a command line, the name of the program first.
pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Options, Refusal> {
    let mut args = args.into_iter().skip(1).peekable();
    let (mut once, mut multi, mut attach) = (false, false, false);
    while let Some(arg) = args.next_if(|arg| arg.to_string_lossy().starts_with("--")) {
        match arg.to_str() {
            Some("--once") => once = true,
            Some("--multi") => multi = true,
            Some("--attach") => attach = true,
            Some("--help") => return Err(Refusal::Print(HELP.to_string())),
            Some("--version") => {
                let version = env!("CARGO_PKG_VERSION");
                return Err(Refusal::Print(format!("gdbserver (trapline) {version}")));
            }
            Some("--") => break,
            _ => return Err(wrong(format!("there is no option {}", arg.to_string_lossy()))),
        }
    }
    let mut words: Vec<OsString> = args.collect();
    if attach && words.first().is_some_and(|word| process_id(word).is_some()) && words.len() == 2 {
        words.swap(0, 1);
    }
    if words.is_empty() {
        return Err(wrong("where shall it listen? Say HOST:PORT or :PORT"));
    }
    let address = address(&words.remove(0))?;
    let what = match (attach, multi, words.as_slice()) {
        (true, _, [pid]) => match process_id(pid) {
            Some(pid) => What::Process(pid),
            None => return Err(wrong(format!("{} is no process id", pid.to_string_lossy()))),
        },
        (true, _, _) => return Err(wrong("--attach takes one process id")),
        (false, true, []) => What::Nothing,
        (false, false, []) => return Err(wrong("which program? Or say --attach or --multi")),
        (false, ..) => What::Program(words),
    };
    Ok(Options { address, what, once, multi })
}

fn wrong(line: impl std::fmt::Display) -> Refusal {
    Refusal::Wrong(format!("{line} (see gdbserver --help)"))
}

fn process_id(word: &OsString) -> Option<Pid> {
    word.to_str()?.parse().ok().filter(|&pid| pid > 0).map(Pid::from_raw)
}

/// `HOST:PORT` as `std::net` takes it: without a host, every interface.
fn address(word: &OsString) -> Result<String, Refusal> {
    let refused = || wrong(format!("{} is not HOST:PORT", word.to_string_lossy()));
    let text = word.to_str().ok_or_else(refused)?;
    let (host, port) = text.rsplit_once(':').ok_or_else(refused)?;
    let port: u16 = port.parse().map_err(|_| refused())?;
    let host = if host.is_empty() { "0.0.0.0" } else { host };
    Ok(format!("{host}:{port}"))
}
