//! What the benches share: the programs that are traced, and the loops that trace them.

// Nobody but the benches beside it uses this package.
#![allow(missing_docs)]

pub mod bare;
pub mod breakpoints;
pub mod cpu;
pub mod gdb;
pub mod hot;
pub mod idle;
#[cfg(target_os = "linux")]
pub mod peer;
pub mod regs;
pub mod sleeper;
pub mod traced;
pub mod tracee;
pub mod worker;
pub mod workload;

use std::time::Duration;

/// Something that tracees do for ever; one of it is an iteration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A breakpoint instruction of the program's own; its signal is taken away.
    Int3,
    /// A single step, with its cause asked for.
    Step,
    /// One stop at the entry or the exit of a system call.
    Syscall,
    /// A signal, which is taken away.
    Signal,
    /// An execute breakpoint in a debug register, with its cause asked for.
    Hardware,
    /// A watched write, with its cause asked for.
    Watch,
    /// A fork with both halves held and detached together, the child's end, and SIGCHLD.
    Fork,
    /// The same with vfork.
    Vfork,
    /// An exec, with the former thread id asked for.
    Exec,
    /// A thread: its birth, its first stop and its end.
    Thread,
}

impl Kind {
    pub const ALL: [Kind; 10] = [
        Kind::Int3,
        Kind::Step,
        Kind::Syscall,
        Kind::Signal,
        Kind::Hardware,
        Kind::Watch,
        Kind::Fork,
        Kind::Vfork,
        Kind::Exec,
        Kind::Thread,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Kind::Int3 => "int3",
            Kind::Step => "step",
            Kind::Syscall => "syscall",
            Kind::Signal => "signal",
            Kind::Hardware => "hardware_breakpoint",
            Kind::Watch => "watchpoint",
            Kind::Fork => "fork_pair",
            Kind::Vfork => "vfork",
            Kind::Exec => "exec",
            Kind::Thread => "thread",
        }
    }

    /// What the tracee does.
    pub fn program(self) -> &'static str {
        match self {
            Kind::Int3 => "int3",
            Kind::Step => "count",
            Kind::Syscall => "call",
            Kind::Signal => "raise",
            Kind::Hardware | Kind::Watch => "touch",
            Kind::Fork => "fork",
            Kind::Vfork => "vfork",
            Kind::Exec => "exec",
            Kind::Thread => "thread",
        }
    }
}

/// A tracer with a tracee.
pub trait Loop {
    /// The time that this many iterations take.
    fn run(&mut self, n: u64) -> Duration;
}

/// Runs so many iterations.
pub type Run = Box<dyn FnMut(u64) -> Duration>;

/// The loops of one kind that can be made here, by name.
pub fn loops(kind: Kind, cpu: Option<u32>) -> Vec<(&'static str, Run)> {
    fn timed<L: Loop>(make: impl Fn() -> Option<L> + 'static) -> Run {
        // Made for each measurement, as there is one tracer on a thread at a time.
        Box::new(move |n| {
            let mut run = make().expect("made before");
            run.run(n.clamp(1, 100));
            run.run(n)
        })
    }
    let mut loops = Vec::new();
    if bare::Bare::new(kind, cpu).is_some() {
        loops.push(("bare", timed(move || bare::Bare::new(kind, cpu))));
    }
    if traced::Traced::new(kind, cpu).is_some() {
        loops.push(("trapline", timed(move || traced::Traced::new(kind, cpu))));
    }
    #[cfg(target_os = "linux")]
    if peer::Pete::new(kind, cpu).is_some() {
        loops.push(("pete", timed(move || peer::Pete::new(kind, cpu))));
    }
    loops
}
