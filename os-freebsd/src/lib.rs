//! FreeBSD for trapline: one [`Backend`](trapline_core::Backend) over `ptrace(2)`, `wait6(2)` and
//! `kqueue(2)`.
//!
//! Users take the facade crate, `trapline`. What is here is thin: typed requests and raw stops.
//! FreeBSD 13, 14 and 15 on amd64. Names in backticks such as `sys_process.c` are files of the
//! kernel's sources, in `sys/kern` unless said otherwise.
//!
//! # How FreeBSD traces
//!
//! * The *process* is traced, not the thread, and the tracer is a process too: a stop stops all
//!   LWPs, and any thread of the tracer may ask. So there can be one tracer in a process.
//! * A stop is reported by `wait6`, its reason by `PT_LWPINFO`: two requests, and one to resume.
//! * An end is reported by the kqueue, and only then waited for, by its pid: a wait for everybody
//!   would take the exit status of the host's own children (see `wait.rs`).
//! * Tracing makes the tracer the parent, for the kernel; `ki_ppid` and `getppid` go on saying
//!   the real one.
//!
//! On other systems this crate is empty, but for the unit tests of its decoder.

#![deny(unsafe_code)]

#[cfg(target_os = "freebsd")]
mod attach;
#[cfg(target_os = "freebsd")]
mod backend;
#[cfg(any(target_os = "freebsd", test))]
#[cfg_attr(not(target_os = "freebsd"), allow(unreachable_pub))]
mod decode;
#[cfg(target_os = "freebsd")]
mod detach;
#[cfg(target_os = "freebsd")]
mod detour;
#[cfg(target_os = "freebsd")]
mod duplicates;
#[cfg(target_os = "freebsd")]
mod ext;
#[cfg(target_os = "freebsd")]
#[allow(unsafe_code)]
mod ffi;
#[cfg(target_os = "freebsd")]
mod inject;
#[cfg(target_os = "freebsd")]
mod memory;
#[cfg(target_os = "freebsd")]
mod pairs;
#[cfg(target_os = "freebsd")]
mod process;
#[cfg(target_os = "freebsd")]
mod refused;
#[cfg(target_os = "freebsd")]
mod regs;
#[cfg(target_os = "freebsd")]
mod run;
#[cfg(target_os = "freebsd")]
mod spawn;
#[cfg(target_os = "freebsd")]
mod stuck;
#[cfg(target_os = "freebsd")]
#[allow(unsafe_code)]
mod sys;
#[cfg(target_os = "freebsd")]
mod system;
#[cfg(target_os = "freebsd")]
mod tracee;
#[cfg(target_os = "freebsd")]
mod turn;
#[cfg(target_os = "freebsd")]
mod wait;
#[cfg(target_os = "freebsd")]
mod waiter;
#[cfg(target_os = "freebsd")]
mod waker;

#[cfg(target_os = "freebsd")]
pub use decode::{EventMask, LwpFlags, LwpInfo, SigInfo, SignalSet};
#[cfg(target_os = "freebsd")]
pub use detour::Detour;
#[cfg(target_os = "freebsd")]
pub use ext::{MapEntry, Protection, Space, SyscallReturn, TraceStatus, TracerExt};
#[cfg(target_os = "freebsd")]
pub use system::FreeBsd;
