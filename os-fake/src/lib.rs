//! A model of a kernel, to test the engine, and what is built on it, without a real one.
//!
//! A [`Kernel`] is the world: a test has its programs fork, exec, end and be killed, and says in
//! which order the tracer hears of it. A [`Fake`] is the [`Backend`](trapline_core::Backend) over it, and
//! answers requests as a kernel would. Which kernel is said by [`Rules`]: [`LinuxRules`] or
//! [`FreeBsdRules`].
//!
//! The model is strict: a request that no correct tracer makes (to run a running thread, to ask
//! about one that was reaped) is noted as a [violation](Kernel::violations). It is timeless:
//! nothing happens but by a step that the test makes, or by a request.
//!
//! ```
//! use trapline_fake::{Kernel, LinuxRules};
//! use trapline_core::{Event, FollowFork, ForkKind, Resume, Tracer};
//!
//! let kernel = Kernel::<LinuxRules>::new();
//! let mut tracer = Tracer::builder().build_on(kernel.backend());
//! let shell = kernel.start();
//! tracer.attach(shell)?;
//! let started = tracer.wait()?.unwrap();
//! tracer.resume(started, Resume::Continue)?;
//! let child = kernel.fork(kernel.leader(shell), ForkKind::Fork);
//! let Some(Event::Forked(fork)) = tracer.wait()? else { panic!() };
//! assert_eq!(fork.child_pid, child);
//! # tracer.resume(fork, Resume::Continue)?;
//! # Ok::<(), trapline_core::Error>(())
//! ```

mod arch;
mod attach;
mod backend;
mod code;
mod debug;
mod detour;
mod faults;
mod kernel;
mod looks;
mod memory;
mod model;
mod process;
mod program;
mod report;
mod rules;
mod run;
mod script;
mod signals;
mod stops;
mod system;
mod wait;
mod world;

pub use arch::{FakeArch, FakeRegisters, Skip};
pub use backend::{ENTRY_POINT, PROGRAM_HEADERS};
pub use detour::Detour;
pub use faults::Fault;
pub use kernel::Kernel;
pub use report::{Delivery, Execution, Report, Swallowed};
pub use rules::{FreeBsdRules, LinuxRules, OtherCpuRules, RuleSet, Rules};
pub use script::Call;
pub use system::Fake;

/// The examples of the README compile.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
