//! Behaviour on a real kernel, through the facade: one binary, in which each file is one idea and
//! each test names the clause of ARCHITECTURE.md that it shows.
//!
//! Every test runs in a process of its own under a time limit, and fails if it leaves a process
//! behind. The programs that are traced are modes of this same binary ([`fixtures`]), so that a
//! test needs nothing but itself, `sh` and the base system.

// A test binary exports nothing. A test that is in no list is never run.
#![allow(unreachable_pub)]
#![deny(dead_code)]

mod common;
mod fixtures;
/// An example, to be run as a fixture.
#[cfg(target_os = "linux")]
#[path = "../examples/linux_syscalls/run.rs"]
mod linux_syscalls;
/// The main example, to be run as a fixture.
#[path = "../examples/trace/run.rs"]
mod trace;

mod attach;
mod breakpoints;
mod breakpoints_follow;
mod breakpoints_moved;
mod breakpoints_soak;
mod breakpoints_threads;
mod calls;
mod calls_kept;
mod confined;
mod debug_exact;
mod debug_inherit;
mod debug_registers;
mod debugger;
mod endings;
mod event_loop;
mod exec;
mod exits;
mod flags;
mod follow;
mod fork;
mod golden;
mod halt;
mod hosts;
mod kill;
mod kinds;
mod memory;
mod modules;
mod namespace;
mod own_children;
mod parents;
mod placement;
mod places;
mod programs;
mod real_parents;
mod regs;
mod requests;
mod sharding;
mod signals;
mod spawn;
mod stepping;
mod threads;
mod timing;
mod tracer_thread;
mod untraced;
mod vfork;
mod waiting;
mod watch;

fn main() {
    fixtures::run_if_asked();
    let all = [
        ("attach", attach::TESTS),
        ("bits32", regs::bits32::TESTS),
        ("breakpoints", breakpoints::TESTS),
        ("breakpoints_follow", breakpoints_follow::TESTS),
        ("breakpoints_moved", breakpoints_moved::TESTS),
        ("breakpoints_soak", breakpoints_soak::TESTS),
        ("breakpoints_threads", breakpoints_threads::TESTS),
        ("calls", calls::TESTS),
        ("calls_kept", calls_kept::TESTS),
        ("confined", confined::TESTS),
        ("debug_exact", debug_exact::TESTS),
        ("debug_inherit", debug_inherit::TESTS),
        ("debug_registers", debug_registers::TESTS),
        ("debugger", debugger::TESTS),
        ("endings", endings::TESTS),
        ("event_loop", event_loop::TESTS),
        ("exec", exec::TESTS),
        ("exits", exits::TESTS),
        ("flags", flags::TESTS),
        ("follow", follow::TESTS),
        ("fork", fork::TESTS),
        ("golden", golden::TESTS),
        ("halt", halt::TESTS),
        ("hosts", hosts::TESTS),
        ("kill", kill::TESTS),
        ("kinds", kinds::TESTS),
        ("memory", memory::TESTS),
        ("modules", modules::TESTS),
        ("namespace", namespace::TESTS),
        ("placement", placement::TESTS),
        ("places", places::TESTS),
        ("programs", programs::TESTS),
        ("parents", parents::TESTS),
        ("real_parents", real_parents::TESTS),
        ("own_children", own_children::TESTS),
        ("requests", requests::TESTS),
        ("sharding", sharding::TESTS),
        ("signals", signals::TESTS),
        ("spawn", spawn::TESTS),
        ("stepping", stepping::TESTS),
        ("timing", timing::TESTS),
        ("threads", threads::TESTS),
        ("tracer_thread", tracer_thread::TESTS),
        ("untraced", untraced::TESTS),
        ("vfork", vfork::TESTS),
        ("waiting", waiting::TESTS),
        ("watch", watch::TESTS),
    ];
    common::harness::main(&all);
}
