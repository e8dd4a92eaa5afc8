//! `trace`: follows a program, or a running process, and everything that it starts.
//!
//! `cargo run --release --example trace -- --help` says how; the loop is in `run.rs`.

// A `#[path]`, so that a test can include the same file with its modules.
#[path = "run.rs"]
mod run;

fn main() {
    std::process::exit(run::run(std::env::args_os()));
}
