//! The portable half of trapline: traits, events and the engine.
//!
//! Users take the facade crate, `trapline`, which picks a back end; this crate knows no operating
//! system and no CPU. A port to a new system is one [`Backend`], a port to a new CPU one [`Arch`].

#![forbid(unsafe_code)]

mod address_space;
mod api;
mod arch;
mod arena;
mod auxiliary;
pub mod backend;
mod breakpoint;
mod code_cache;
mod cpus;
mod debug;
pub mod debug_registers;
mod engine;
mod error;
mod event;
mod event_queue;
mod fast_path;
mod flags;
mod forks;
mod function;
mod host;
mod id;
mod last_known;
mod limits;
mod memory_map;
mod modules;
#[cfg(feature = "nix")]
mod nix;
#[doc(hidden)]
pub mod private;
mod relocation;
mod signal;
mod signal_set;
mod stopped;

pub use api::{
    AttachOptions, Builder, CallOutcome, FollowExec, FollowFork, FunctionCall, Halted, Next, Only,
    Placement, ProcessInfo, Reached, Reader, Readiness, Resume, SpawnOptions, Spawned, StepOver,
    Tracer, Value, Waker,
};
pub use arch::{Arch, Passing};
pub use backend::{Backend, OnExit, SignalInfo, Syscall, SyscallAbi};
pub use breakpoint::{
    Breakpoint, BreakpointHit, BreakpointId, BreakpointSet, BreakpointSpec, ConditionalBreakpoint,
    HardwareBreakpoint, HardwareKind, SoftwareBreakpoint,
};
pub use cpus::CpuSet;
pub use debug::{Change, Inherit, InheritDebug};
pub use error::{Error, Result};
pub use event::{Event, ExitStatus, ForkKind, ForkSide, Forked, StopReason, TrapCauses};
pub use flags::EventFlags;
pub use function::FunctionEntry;
pub use host::{Notice, Session, Stops, TracerThread};
pub use id::{InvalidId, Pid, Tid};
pub use memory_map::{MemoryRegion, ThreadInfo, ThreadState};
pub use modules::{Module, ModuleKind};
pub use relocation::{CodeMode, EmulatedMemory, Relocation, SlotCode};
pub use signal::{InvalidSignal, Signal};
pub use signal_set::{PendingSignals, SignalSet};
pub use stopped::Stopped;
