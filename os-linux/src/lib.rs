//! The Linux back end of trapline: `ptrace(2)` with `PTRACE_SEIZE`, on x86-64
//! and aarch64.
//!
//! Users take the facade crate, `trapline`. Needs Linux 5.4 or later (`PTRACE_GET_SYSCALL_INFO`); a
//! `/proc` of the tracer's own pid namespace tells more than there is without one.
//!
//! # What the host sees of it
//!
//! - A tracee belongs to the *thread* that traces it, so there is one [`Linux`] per thread, and it
//!   stays there. When that thread ends, the kernel detaches its tracees or kills them.
//! - Waits find tracees, and of the host's children only those that are tracees or were made by
//!   `clone` with an exit signal other than SIGCHLD. The host must not wait for a tracee itself,
//!   nor for everybody (`waitpid(-1)`), on any thread: `wait` of one thread takes what another
//!   thread traces. Tracees send SIGCHLD like children.
//! - A thread starts programs, from the first spawn on.
//! - A *wake helper* exists once a [waker](trapline_core::Backend::waker) or a time limit was asked for: a process
//!   that sleeps, shares the host's memory and nothing else, and ends with the tracer or with an exec
//!   of the host. It is a tracee like others.
//! - A thread that looks for stops exists once a [readiness](trapline_core::Backend::readiness) was asked for.
//! - A thread may exist for as long as an attach takes, and a moment longer.

#![cfg(target_os = "linux")]
#![deny(unsafe_code)]

mod attach;
mod backend;
mod decode;
mod detour;
mod ext;
mod ffi;
mod inject;
mod maps;
mod memory;
mod proc;
mod process;
mod refused;
mod regs;
mod settle;
mod spawn;
#[allow(unsafe_code)]
mod sys;
mod system;
mod task;
mod wait;
mod waiter;
mod waker;

pub use detour::Detour;
pub use ext::{Abi, BpfInstruction, SignalQueue, TracerExt};
pub use system::Linux;
