//! The program that is run: how it is found, how it ends, and what goes wrong.

use std::ffi::OsString;
use std::fmt::Display;
use std::io::{self, Write};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use trapline::{Error, ExitStatus};

/// An exit status and a line that says why.
pub(crate) struct Failure(i32, String);

/// Tracing itself went wrong.
pub(crate) fn failed(error: impl Display) -> Failure {
    Failure(125, format!("cannot trace: {error}"))
}

/// What was asked for makes no sense.
pub(crate) fn wrong(line: impl Display) -> Failure {
    Failure(2, line.to_string())
}

/// The program could not be started.
pub(crate) fn not_started(words: &[OsString], error: Error) -> Failure {
    let program = words.first().map(|word| word.to_string_lossy()).unwrap_or_default();
    match error {
        Error::Spawn(error) if error.kind() == io::ErrorKind::NotFound => {
            Failure(127, format!("{program}: {error}"))
        }
        Error::Spawn(error) => Failure(126, format!("{program}: {error}")),
        error => failed(error),
    }
}

/// The command of a command line's words, of which there is one at least.
pub(crate) fn command(words: &[OsString]) -> Command {
    let (program, args) = words.split_first().expect("clap asks for a program");
    let mut command = Command::new(program);
    command.args(args);
    command
}

/// Has Ctrl-C decide about the program, which gets it from the terminal too, and not about us.
pub(crate) fn leave_ctrl_c_to_the_program() -> Result<(), Failure> {
    for signal in [libc::SIGINT, libc::SIGQUIT] {
        signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false))).map_err(failed)?;
    }
    Ok(())
}

/// What a shell makes of the end of a program.
pub(crate) fn as_shell(status: ExitStatus) -> i32 {
    match status {
        ExitStatus::Code(code) => code,
        ExitStatus::Killed { signal, .. } => 128 + signal.as_raw(),
    }
}

/// Ends as the program did, or says what went wrong.
pub(crate) fn end(name: &str, result: Result<i32, Failure>) -> ! {
    let status = result.unwrap_or_else(|Failure(status, line)| {
        let _ = writeln!(io::stderr(), "{name}: {line}");
        status
    });
    std::process::exit(status)
}
