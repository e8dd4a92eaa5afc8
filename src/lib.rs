//! A portable ptrace abstraction for FreeBSD and Linux.
//!
//! A debugger or tracer embeds trapline and writes its event loop once: follow `fork`, `vfork`,
//! `clone` and `exec`, see every child exactly once, know each process's real parent, with the same
//! meaning on both systems.
//!
//! ```no_run
//! use std::process::Command;
//! use trapline::{Builder, Event, EventFlags, Resume, StopReason};
//!
//! let mut tracer = Builder::new().events(EventFlags::PROCESS).build()?;
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
//! The [`guide`] shows how to do with it what debuggers and tracers do.
//!
//! # Living with a host program
//!
//! The tracer takes no child, no signal and no thread of the program that it is embedded in. In
//! return, while it traces, no thread of the host waits for a tracee itself, or for "any child"
//! (`waitpid(-1)`): such a wait may take what the tracer waits for. The tracer notices that only on
//! Linux, and only when no tracee is left: that is [`Error::Taken`]. `std::process::Child` waits
//! for its own process alone, so it is safe to use for the host's own children.
//!
//! A host with an event loop of its own watches
//! [`Tracer::readiness`](trapline_core::Tracer::readiness); one with other threads has them wake a
//! wait with a [`Waker`], or waits with a [time limit](trapline_core::Tracer::wait_timeout). One with a
//! user interface or an async runtime has a [`TracerThread`] do all that.
//!
//! # Systems and CPUs
//!
//! What has no line `Available:` in its documentation is there on Linux and FreeBSD, and on x86-64 and
//! aarch64. A line `Available:` names the only systems, or the only CPUs, that have the item. It counts
//! for the methods, fields and variants of the item, too. Where a method is there and a system
//! cannot do it, the method fails with [`Error::Unsupported`]. FreeBSD on aarch64 has not been tried.
//!
//! # Features
//!
//! None is on by default.
//!
//! - `fake`: `trapline::fake`, a model of a kernel, to test a tracer without a real one.
//! - `nix`: conversions from and to the ids and signals of the crate `nix`.
//! - `tracing`: each raw stop and each request of the kernel is an event of the crate `tracing`, at trace
//!   level, with the target `trapline`. Without it nothing of that is compiled.

#![forbid(unsafe_code)]

mod cpu;
pub mod guide;
pub mod os;

#[doc(inline)]
pub use cpu::*;
#[doc(hidden)]
pub use trapline_core::backend;
#[doc(inline)]
pub use trapline_core::{
    AttachOptions, Breakpoint, BreakpointId, BreakpointSet, BreakpointSpec, Change, CodeMode,
    ConditionalBreakpoint, Error, Event, EventFlags, ExitStatus, FollowExec, FollowFork, ForkKind,
    ForkSide, Forked, Halted, HardwareBreakpoint, HardwareKind, Inherit, InheritDebug, InvalidId,
    InvalidSignal, MemoryRegion, Module, ModuleKind, Next, Notice, OnExit, Only, PendingSignals,
    Pid, Placement, ProcessInfo, Reached, Readiness, Result, Resume, Signal, SignalInfo, SignalSet,
    SoftwareBreakpoint, SpawnOptions, Spawned, StepOver, StopReason, Stopped, Stops, Syscall,
    SyscallAbi, ThreadInfo, ThreadState, Tid, TrapCauses, Value, Waker,
};
// Bounds for code that runs on any system and any CPU; what they require is no part of this API.
#[doc(no_inline)]
pub use trapline_core::{Arch, Backend};

cfg_if::cfg_if! {
    if #[cfg(target_os = "linux")] {
        use trapline_os_linux::Linux as System;
    } else if #[cfg(target_os = "freebsd")] {
        use trapline_os_freebsd::FreeBsd as System;
    } else {
        compile_error!("trapline has back ends for Linux and FreeBSD");
    }
}

/// A tracer on this system; see [`trapline_core::Tracer`]. Code that runs on any back end, such as
/// the model of a kernel (feature `fake`), takes a [`TracerOn`].
pub type Tracer = trapline_core::Tracer<System>;

/// A tracer on any back end.
///
/// It has a name of its own, because [`Tracer`] cannot have a default back end: the compiler does
/// not use a default type parameter in an expression such as `Tracer::builder()`.
pub use trapline_core::Tracer as TracerOn;

/// A stopped thread to ask questions about, on this system unless another back end is named; see
/// [`trapline_core::Reader`].
pub type Reader<'a, B = System> = trapline_core::Reader<'a, B>;

/// A tracer on a thread of its own, for hosts whose threads have other things to do; see
/// [`trapline_core::TracerThread`]. `S` is a state of the host's that lives on that thread.
///
/// ```no_run
/// use std::process::Command;
/// use std::sync::mpsc;
///
/// use trapline::{Builder, Notice, Resume, TracerThread};
///
/// let (sender, notices) = mpsc::channel();
/// let thread = TracerThread::start(Builder::new(), move |_, notice| {
///     let _ = sender.send(notice); // any channel will do
/// })?;
/// thread.call(|session| session.tracer_mut().spawn(Command::new("make")).map(drop))?;
/// for notice in notices {
///     let notice = notice?;
///     println!("{notice:?}");
///     thread.post(move |session| {
///         let _ = session.resume_all(notice.threads(), Resume::Continue);
///     })?;
/// }
/// # Ok::<(), trapline::Error>(())
/// ```
pub type TracerThread<S = ()> = trapline_core::TracerThread<System, S>;

/// What the closures and the handler of a [`TracerThread`] get; see [`trapline_core::Session`].
pub type Session<S = ()> = trapline_core::Session<System, S>;

/// How a call of a function has ended; see [`trapline_core::CallOutcome`].
pub type CallOutcome<B = System> = trapline_core::CallOutcome<B>;

/// A call of a function that has not returned; see [`trapline_core::FunctionCall`].
pub type FunctionCall<B = System> = trapline_core::FunctionCall<B>;

/// A thread that has arrived at a breakpoint; see [`trapline_core::BreakpointHit`].
pub type BreakpointHit<'a> = trapline_core::BreakpointHit<'a, Registers>;

/// Makes a [`Tracer`] on this system.
pub type Builder = trapline_core::Builder<System>;

/// Whether the debug registers of this machine can be relied upon.
///
/// ```no_run
/// use trapline::debug_registers::{SelfTest, self_test};
///
/// let report = self_test(SelfTest::default())?;
/// println!("{report}");
/// if !report.verdict().is_reliable() {
///     println!("better use software breakpoints");
/// }
/// # Ok::<(), trapline::Error>(())
/// ```
pub mod debug_registers {
    pub use trapline_core::debug_registers::{Hits, Probe, Report, SelfTest, Verdict};

    /// Finds out whether hardware breakpoints work on this system; see
    /// [`trapline_core::debug_registers::self_test`].
    ///
    /// ```no_run
    /// use trapline::debug_registers::{SelfTest, Verdict, self_test};
    ///
    /// let report = self_test(SelfTest::default())?;
    /// assert_ne!(report.verdict(), Verdict::InventsHits);
    /// # Ok::<(), trapline::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// What spawning and tracing can fail with.
    // Compiled by those who call it; otherwise everybody would compile the engine twice.
    #[inline]
    pub fn self_test(how: SelfTest) -> crate::Result<Report> {
        trapline_core::debug_registers::self_test::<crate::System>(how)
    }
}

/// A model of a kernel, to test a program that traces without a real one: a back end whose
/// processes do what the test says, in the order that it says, with the rules of Linux or of
/// FreeBSD. With the feature `fake`.
///
/// ```
/// use trapline::fake::{FreeBsdRules, Kernel, LinuxRules, Rules};
/// use trapline::{Backend, Event, ForkKind, Resume, TracerOn};
///
/// /// What is to be tested: counts the processes that tracees make.
/// fn count_forks<B: Backend>(tracer: &mut TracerOn<B>) -> trapline::Result<usize> {
///     let mut forks = 0;
///     while let Some(event) = tracer.wait()? {
///         forks += usize::from(matches!(event, Event::Forked(_)));
///         tracer.resume(event, Resume::Continue)?;
///     }
///     Ok(forks)
/// }
///
/// fn two_forks<R: Rules>() -> trapline::Result<usize> {
///     let kernel = Kernel::<R>::new();
///     let mut tracer = TracerOn::builder().build_on(kernel.backend());
///     let shell = kernel.start();
///     tracer.attach(shell)?;
///     // A step of the programs for each wait that would find nothing.
///     for _ in 0..2 {
///         kernel.when_idle(move |kernel| {
///             kernel.fork(kernel.leader(shell), ForkKind::Fork);
///         });
///     }
///     kernel.when_idle(|kernel| {
///         for pid in kernel.processes() {
///             kernel.exit(kernel.leader(pid), 0);
///         }
///     });
///     count_forks(&mut tracer)
/// }
///
/// assert_eq!(two_forks::<LinuxRules>()?, 2);
/// assert_eq!(two_forks::<FreeBsdRules>()?, 2);
/// # Ok::<(), trapline::Error>(())
/// ```
#[cfg(feature = "fake")]
pub use trapline_fake as fake;

/// This CPU.
pub type Cpu = <System as Backend>::Arch;

/// The examples of the README compile.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
