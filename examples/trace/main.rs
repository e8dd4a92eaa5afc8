//! `trace`: follows a program, or a running process, and everything that it starts.
//!
//! `cargo run --release --example trace -- --help` says how; the loop is in `run.rs`.

// A `#[path]`, so that a test can include the same file with its modules.
#[path = "run.rs"]
mod run;

#[path = "../child_signals/mod.rs"]
mod child_signals;

fn main() {
    if let Err(error) = child_signals::survive() {
        eprintln!("trace: {error}");
    }
    std::process::exit(run::run(std::env::args_os()));
}
