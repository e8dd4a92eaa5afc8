//! A server of the gdb remote serial protocol over trapline, for gdb and lldb: the program
//! `trapline-gdbserver`. Its README says how it is used.
//!
//! From the line to the kernel: [`wire`] (frames, acknowledgements), [`packet`] (what is asked for,
//! as data), `server` (a session, answers), `inferiors` (processes and threads as a client sees
//! them), and trapline. `regs` has the registers in the client's order, `system` what only one system
//! can do.

#![forbid(unsafe_code)]

mod inferiors;
mod options;
#[doc(hidden)]
pub mod packet;
mod regs;
mod server;
mod system;
#[doc(hidden)]
pub mod wire;

use std::ffi::OsString;
use std::io::{self, Write};

use options::Refusal;

/// Says something to whoever has started us. The program has standard output for itself.
pub(crate) fn say(line: std::fmt::Arguments<'_>) {
    // If nobody listens, the client still does.
    let _ = writeln!(io::stderr(), "{line}");
}

/// Does what a command line says, the name of the program first; returns the exit status.
pub fn run(args: impl IntoIterator<Item = OsString>) -> i32 {
    let result = match options::parse(args) {
        Ok(options) => server::serve(options),
        Err(Refusal::Print(text)) => {
            let _ = writeln!(io::stdout(), "{text}");
            Ok(0)
        }
        Err(Refusal::Wrong(line)) => Err(line),
    };
    result.unwrap_or_else(|line| {
        say(format_args!("trapline-gdbserver: {line}"));
        1
    })
}
