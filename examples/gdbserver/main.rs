//! `gdbserver`: a gdb remote stub over trapline, for gdb on this machine or on another.
//!
//! `cargo run --release --example gdbserver -- --help` says how. `run.rs` listens, `session.rs`
//! talks with one gdb, `running.rs` runs the process and waits for it.

// A `#[path]`, so that a test can include the same file with its modules.
#[path = "run.rs"]
mod run;

fn main() {
    std::process::exit(run::run(std::env::args_os()));
}
