//! `gdbserver`: a gdb remote stub over trapline, for gdb on this machine or on another.
//!
//! `cargo run --release --example gdbserver -- --help` says how. `run.rs` listens, `session.rs`
//! talks with one gdb, `running.rs` runs the process and waits for it.

//!
//! What gdb's own server can do and this one cannot, since the crate `gdbstub` has no way to say
//! it: several processes at once, so children are let go without a word (their breakpoints taken
//! out); an exec, which is shown as a SIGTRAP; the names of threads but as "extra information",
//! `$_siginfo`, thread-local variables, signals that gdb need not be told of, non-stop mode.

// A `#[path]`, so that a test can include the same file with its modules.
#[path = "run.rs"]
mod run;

#[path = "../child_signals/mod.rs"]
mod child_signals;

fn main() {
    if let Err(error) = child_signals::survive() {
        eprintln!("gdbserver: {error}");
    }
    std::process::exit(run::run(std::env::args_os()));
}
