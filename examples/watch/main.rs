//! `watch`: shows who reads or writes a variable of a program.

#[path = "../syscalls/program.rs"]
mod program;

mod modules;
mod options;
mod session;

use clap::Parser;

fn main() {
    program::end("watch", session::run(&options::Options::parse()))
}
