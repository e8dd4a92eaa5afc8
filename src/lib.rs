//! A portable ptrace abstraction for FreeBSD and Linux.
//!
//! A debugger or tracer embeds trapline and writes its event loop once: follow `fork`, `vfork`,
//! `clone` and `exec`, see every child exactly once, know each process's real parent, with the same
//! meaning on both systems.
//!
//! ```no_run
//! use std::process::Command;
//! use trapline::{Event, EventFlags, Resume, StopReason, Tracer};
//!
//! let mut tracer = Tracer::builder().events(EventFlags::PROCESS).build()?;
//! tracer.spawn(Command::new("make"))?;
//! while let Some(event) = tracer.wait()? {
//!     match &event {
//!         Event::Forked(fork) => println!("{:?} made {}", fork.parent_pid, fork.child_pid),
//!         Event::Stopped(stop) => match stop.reason() {
//!             StopReason::Execed { .. } => println!("{} runs a new program", stop.pid()),
//!             StopReason::Signal(signal) => println!("{} gets {signal}", stop.pid()),
//!             _ => {}
//!         },
//!         Event::Exited { pid, status, .. } => println!("{pid}: {status}"),
//!         _ => {}
//!     }
//!     tracer.resume(event, Resume::Continue)?;
//! }
//! # Ok::<(), trapline::Error>(())
//! ```
//!
//! # Living with a host program
//!
//! The tracer takes no child, no signal and no thread of the program that it is embedded in. In
//! return the host does not wait for a tracee itself, nor for "any child" (`waitpid(-1)`) while it
//! traces, on any thread: a wait of the host may take what the tracer waits for. Where that can be
//! noticed it is [`Error::Taken`]: when no tracee is left (Linux). `std::process::Child` waits for
//! its own process alone, so it is safe to use for the host's own children.
//!
//! A host with an event loop of its own watches
//! [`Tracer::readiness`](trapline_core::Tracer::readiness); one with other threads has them wake a
//! wait with a [`Waker`], or waits with a [time limit](trapline_core::Tracer::wait_timeout).

#![forbid(unsafe_code)]

mod cpu;
pub mod debug_registers;
pub mod os;

pub use cpu::*;
pub use trapline_core::backend;
pub use trapline_core::{
    Arch, Backend, Breakpoint, BreakpointId, BreakpointSet, Change, CodeMode,
    ConditionalBreakpoint, CpuSet, EmulatedMemory, Ending, Error, Event, EventFlags, ExitStatus,
    FollowExec, FollowFork, ForkKind, Forked, Half, Halted, HardwareBreakpoint, HardwareKind,
    Inherit, InheritDebug, Insertion, Next, Passing, Pid, Placement, ProcessInfo, Readiness,
    Relocation, Result, Resume, Signal, SignalInfo, SlotCode, SoftwareBreakpoint, Spawned,
    StepOver, StopReason, Stopped, Syscall, SyscallAbi, Tid, TrapCauses, Waker,
};

cfg_if::cfg_if! {
    if #[cfg(target_os = "linux")] {
        use trapline_os_linux::Linux as System;
    } else if #[cfg(target_os = "freebsd")] {
        use trapline_os_freebsd::FreeBsd as System;
    } else {
        compile_error!("trapline has back ends for Linux and FreeBSD");
    }
}

/// A tracer on this system; see [`trapline_core::Tracer`].
pub type Tracer = trapline_core::Tracer<System>;

/// A thread that has arrived at a breakpoint; see [`trapline_core::Arrival`].
pub type Arrival<'a> = trapline_core::Arrival<'a, Registers>;

/// Makes a [`Tracer`].
pub type Builder = trapline_core::Builder<System>;

/// This CPU.
pub type Cpu = <System as Backend>::Arch;
