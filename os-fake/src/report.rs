//! What a test is shown of what has happened.

use trapline_core::backend::{RawKind, RawReason};
use trapline_core::{Pid, Signal, Tid};

/// Something that the next wait can find.
///
/// ```
/// use trapline::fake::{Kernel, LinuxRules, Report};
///
/// let kernel = Kernel::<LinuxRules>::new();
/// let pid = kernel.start();
/// let main = kernel.leader(pid);
/// let describe = |report: &Report| format!("{} has something to report", report.tid);
/// assert!(kernel.reports().iter().map(describe).next().is_none(), "it is not traced");
/// # let _ = (pid, main);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// The process.
    pub pid: Pid,
    /// The thread.
    pub tid: Tid,
    /// What.
    pub kind: RawKind,
}

/// A signal that reached a program.
///
/// ```
/// use trapline::fake::Delivery;
///
/// fn describe(delivery: &Delivery) -> String {
///     format!("{} of {} got {}", delivery.tid, delivery.pid, delivery.signal)
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivery {
    /// The process.
    pub pid: Pid,
    /// The thread that took it.
    pub tid: Tid,
    /// The signal.
    pub signal: Signal,
}

/// An instruction that a program has come to.
///
/// ```
/// use trapline::fake::Execution;
///
/// fn describe(execution: &Execution) -> String {
///     format!("{} came to {:#x}", execution.tid, execution.addr)
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Execution {
    /// The process.
    pub pid: Pid,
    /// The thread.
    pub tid: Tid,
    /// Where it is.
    pub addr: u64,
    /// Which exec's program it is part of, as [`Kernel::image`](crate::Kernel::image) says.
    pub image: u32,
    /// It was a breakpoint instruction, and trapped; if not, it was executed.
    pub trapped: bool,
}

/// A stop that no wait has seen, since the thread was resumed from an earlier stop out of which
/// the kernel had taken it.
///
/// ```
/// use trapline::fake::Swallowed;
///
/// fn describe(swallowed: &Swallowed) -> String {
///     format!("{}: {:?}", swallowed.tid, swallowed.reason)
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Swallowed {
    /// The process.
    pub pid: Pid,
    /// The thread.
    pub tid: Tid,
    /// The stop.
    pub reason: RawReason,
}
