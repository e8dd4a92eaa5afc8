//! `watch`: shows who reads or writes a variable of a program.

#[path = "../syscalls/program.rs"]
mod program;

#[path = "../child_signals/mod.rs"]
mod child_signals;
mod modules;
mod options;
mod session;

use clap::Parser;

fn main() {
    if let Err(error) = child_signals::survive() {
        eprintln!("watch: {error}");
    }
    program::end("watch", session::run(&options::Options::parse()))
}
