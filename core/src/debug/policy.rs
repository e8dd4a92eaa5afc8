//! What becomes of breakpoints where a process or an image begins, and what a watched value was.

use crate::BreakpointId;

/// What a new process or a new program has of the hardware breakpoints before it.
///
/// ```
/// use trapline::{Inherit, InheritDebug};
///
/// assert_eq!(InheritDebug::default().fork, Inherit::Clear);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Inherit {
    /// None of them: its debug registers are clear.
    #[default]
    Clear,
    /// All of them, under the same ids, before its first instruction.
    Copy,
}

/// What inherits the hardware breakpoints of a process. Its threads always share them.
///
/// ```
/// use trapline::{Builder, Inherit, InheritDebug};
///
/// let inherit = InheritDebug { fork: Inherit::Copy, ..InheritDebug::default() };
/// let builder = Builder::new().inherit_debug(inherit);
/// # drop(builder);
/// ```
///
/// # Platform notes
///
/// It is the same on every system. That old kernels copied debug registers to the child of a fork
/// and today's do not, and that FreeBSD copies them to new threads and Linux does not, does not
/// show.
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

/// A change of a value, at a stop for a [`HardwareKind::Change`](crate::HardwareKind::Change).
///
/// ```
/// use trapline::Change;
///
/// fn describe(change: &Change) -> String {
///     format!("watchpoint {}: {:x?}, was {:x?}", change.id, change.new, change.old)
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Change {
    /// The breakpoint.
    pub id: BreakpointId,
    /// Its bytes, as they were when it was inserted or changed last.
    pub old: Vec<u8>,
    /// Its bytes at this stop.
    pub new: Vec<u8>,
}
