//! `gdbserver`: a gdb remote stub over trapline, for gdb on this machine or another.
//!
//! `cargo run --release --example gdbserver -- --help` says how; the loop is in `session.rs`.

mod amd64;
mod breakpoints;
mod connection;
mod debuggee;
mod description;
mod extended;
mod files;
mod frame;
mod memory;
mod objects;
mod options;
mod running;
mod server;
mod session;
mod signals;
mod target;
mod x87;

fn main() {
    std::process::exit(server::run(std::env::args_os()));
}
