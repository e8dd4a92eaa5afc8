//! What becomes of breakpoints where a process or an image begins, and what a watched value was.

use crate::BreakpointId;

/// What a new process or a new image has of the hardware breakpoints before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Inherit {
    /// Nothing: its debug registers are clear.
    #[default]
    Clear,
    /// All of them, under the same ids, before its first instruction.
    Copy,
}

/// Which tasks inherit a process's hardware breakpoints; the same on every system, whatever its kernel
/// copies. Threads always share those of their process.
///
/// # Platform notes
///
/// Old kernels copied debug registers to the child of a fork, today's do not; FreeBSD copies them
/// to new threads, Linux does not; all clear them at an exec. None of that shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct InheritDebug {
    /// The child of a `fork`, or of a Linux `clone` that makes a process.
    pub fork: Inherit,
    /// The child of a `vfork`. It shares its parent's memory until it execs or ends.
    pub vfork: Inherit,
    /// The program that an exec starts. What was at an address of the old one is elsewhere in the
    /// new one, unless both are linked to fixed addresses.
    pub exec: Inherit,
}

/// What a stop for a [`HardwareKind::Change`](crate::HardwareKind::Change) has found.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Change {
    /// The breakpoint.
    pub id: BreakpointId,
    /// Its bytes as they were when it was inserted or changed last.
    pub old: Vec<u8>,
    /// Its bytes at this stop.
    pub new: Vec<u8>,
}
