//! The server, driven by the real gdb: each session beside the same one with gdb's own gdbserver. And
//! by a client of the bare protocol, for where there is no gdb.
//!
//! Every test runs in a process of its own under a time limit, and fails if it leaves a process
//! behind.

// A test binary exports nothing. A test that is in no list is never run.
#![allow(unreachable_pub)]
#![deny(dead_code)]

#[path = "../../tests/common/harness.rs"]
mod harness;
#[path = "../../tests/fixtures/machine.rs"]
mod machine;

mod events;
mod faults;
mod lldb;
mod normal;
mod processes;
mod program;
mod protocol;
mod random;
mod resuming;
mod rsp;
mod session;
mod transcripts;

fn main() {
    program::run_if_asked();
    let all = [
        ("events", events::TESTS),
        ("faults", faults::TESTS),
        ("lldb", lldb::TESTS),
        ("processes", processes::TESTS),
        ("protocol", protocol::TESTS),
        ("random", random::TESTS),
        ("resuming", resuming::TESTS),
        ("transcripts", transcripts::TESTS),
    ];
    harness::main(&all);
}
