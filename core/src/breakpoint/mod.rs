//! Breakpoints and watchpoints, as users name them.

mod conditional;

use std::fmt;
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};

pub use conditional::{BreakpointHit, BreakpointSpec, ConditionalBreakpoint};
pub(crate) use conditional::{Memory, Rules};

/// A breakpoint of either kind, as [`Tracer::breakpoints`](crate::Tracer::breakpoints) lists them.
///
/// ```
/// use trapline::{Breakpoint, HardwareBreakpoint, HardwareKind, SoftwareBreakpoint};
///
/// let code: Breakpoint = SoftwareBreakpoint { addr: 0x40_1000 }.into();
/// let data: Breakpoint =
///     HardwareBreakpoint { addr: 0x60_0000, len: 8, kind: HardwareKind::Write }.into();
/// assert!(matches!(code, Breakpoint::Software(_)));
/// assert!(matches!(data, Breakpoint::Hardware(_)));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Breakpoint {
    /// An instruction in memory.
    Software(SoftwareBreakpoint),
    /// One or more debug registers of the CPU.
    Hardware(HardwareBreakpoint),
}

/// A breakpoint instruction in place of the program's own. There can be any number of them, for code
/// only.
///
/// It belongs to a process, for all its threads. Each arrival of each thread is one stop, with the
/// program counter at the breakpoint; to resume the thread passes it.
/// [`read_memory`](crate::Tracer::read_memory) does not show the instruction, and it stays if
/// [`write_memory`](crate::Tracer::write_memory) writes there.
///
/// The child of a fork has its parent's breakpoints under the same ids, as long as it is traced. A
/// `vfork` child shares its parent's memory: it passes its parent's breakpoints without a stop, and
/// can have its own. An exec removes all breakpoints. The memory of a detached process has none.
///
/// ```
/// use trapline::{Backend, BreakpointId, Pid, Result, SoftwareBreakpoint, TracerOn};
///
/// fn break_at<B: Backend>(tracer: &mut TracerOn<B>, pid: Pid, addr: u64) -> Result<BreakpointId> {
///     tracer.insert_breakpoint(pid, SoftwareBreakpoint { addr })
/// }
/// ```
///
/// # Platform notes
///
/// If the tracer is *killed*, nobody takes the instructions out: a process that lives on dies of
/// `SIGTRAP` when it reaches one. On Linux, a thread that a program makes with `CLONE_UNTRACED` is
/// not traced; if that thread reaches a breakpoint, the program dies in the same way. On aarch64,
/// 32-bit code cannot have breakpoints in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SoftwareBreakpoint {
    /// The first byte of an instruction.
    pub addr: u64,
}

/// A breakpoint or watchpoint of the CPU's debug registers, of which there are few, for code and
/// data.
///
/// After a data hit the program counter is at the next instruction. After an execute hit it is at
/// the instruction itself, which runs when the thread is resumed.
///
/// ```
/// use trapline::{Backend, BreakpointId, HardwareBreakpoint, HardwareKind, Pid, Result, TracerOn};
///
/// /// Has a process stop when the 4 bytes of a variable get another value.
/// fn watch<B: Backend>(tracer: &mut TracerOn<B>, pid: Pid, addr: u64) -> Result<BreakpointId> {
///     let kind = HardwareKind::Change;
///     tracer.insert_breakpoint(pid, HardwareBreakpoint { addr, len: 4, kind })
/// }
/// ```
///
/// # Platform notes
///
/// The debug registers of a detached process are clear. But if the tracer is *killed*, Linux detaches
/// its tracees with their debug registers armed, and the next hit kills them with `SIGTRAP`.
///
/// Threads that a Linux program makes with `CLONE_UNTRACED` are not traced, and have no
/// breakpoints. x86-64 has four debug registers for anything; aarch64 has up to 16 for instructions
/// and up to 16 for data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct HardwareBreakpoint {
    /// The first byte.
    pub addr: u64,
    /// How many bytes; 1 for [`HardwareKind::Execute`]. One debug register watches 1, 2, 4 or 8
    /// bytes at a multiple of that; other ranges take several.
    pub len: u64,
    /// What to stop at.
    pub kind: HardwareKind,
}

/// What a debug register stops at. It is what the program itself does: what the kernel reads and
/// writes for it, say in `read(2)`, does not count.
///
/// ```
/// use trapline::{HardwareBreakpoint, HardwareKind};
///
/// // An instruction in read-only memory.
/// let breakpoint = HardwareBreakpoint { addr: 0x40_1000, len: 1, kind: HardwareKind::Execute };
/// # let _ = breakpoint;
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HardwareKind {
    /// The instruction at the address is about to be executed.
    Execute,
    /// One of the bytes was written, whatever the value. The writing instruction is done.
    Write,
    /// One of the bytes was read or written. The instruction is done.
    ReadWrite,
    /// The bytes were written, and have another value than when a stop last showed them (at first:
    /// than when the breakpoint was inserted).
    /// [`Tracer::watch_changes`](crate::Tracer::watch_changes) gives both values. Other writes are
    /// not reported, though each of them stops the thread for a moment.
    Change,
}

impl From<SoftwareBreakpoint> for Breakpoint {
    fn from(breakpoint: SoftwareBreakpoint) -> Self {
        Breakpoint::Software(breakpoint)
    }
}

impl From<HardwareBreakpoint> for Breakpoint {
    fn from(breakpoint: HardwareBreakpoint) -> Self {
        Breakpoint::Hardware(breakpoint)
    }
}

/// Names a breakpoint of a process. An id is not used again in the life of its tracer. The child of a
/// fork has its parent's breakpoints under the same ids.
///
/// ```
/// use std::collections::HashMap;
/// use trapline::{BreakpointId, StopReason, Stopped};
///
/// /// What a debugger calls the breakpoint that a thread has arrived at.
/// fn name<'a>(names: &'a HashMap<BreakpointId, String>, stop: &Stopped) -> Option<&'a str> {
///     let StopReason::Trap(causes) = stop.reason() else { return None };
///     Some(names.get(&causes.software?)?.as_str())
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BreakpointId(NonZeroU32);

impl BreakpointId {
    /// The id with this number; for the engine.
    pub(crate) fn from_number(number: u32) -> Self {
        BreakpointId(NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN))
    }

    /// Its number, from 1 on, for messages.
    ///
    /// ```
    /// fn describe(id: trapline::BreakpointId) -> String {
    ///     format!("Breakpoint {}", id.number())
    /// }
    /// ```
    pub fn number(self) -> u32 {
        self.0.get()
    }
}

impl fmt::Display for BreakpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The breakpoints that one trap has hit: a small set, by value.
///
/// ```
/// use trapline::{BreakpointId, TrapCauses};
///
/// fn has_hit(causes: &TrapCauses, watchpoint: BreakpointId) -> bool {
///     causes.hardware.contains(watchpoint)
/// }
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct BreakpointSet(Ids);

/// Every stop carries a set, so it has to be small. Nearly all have at most one member; a large one is
/// kept once for the life of the program, whoever has it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Ids {
    Few([Option<BreakpointId>; FEW]),
    Many(&'static Vec<BreakpointId>),
}

const FEW: usize = 3;

impl Default for Ids {
    fn default() -> Self {
        Ids::Few([None; FEW])
    }
}

impl Ids {
    /// The set of these, of which there are more than a few.
    fn many(ids: Vec<BreakpointId>) -> Self {
        static SETS: Mutex<Vec<&'static Vec<BreakpointId>>> = Mutex::new(Vec::new());
        let mut sets = SETS.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = sets.iter().find(|known| ***known == ids) {
            return Ids::Many(known);
        }
        let kept: &'static Vec<BreakpointId> = Box::leak(Box::new(ids));
        sets.push(kept);
        Ids::Many(kept)
    }
}

impl BreakpointSet {
    /// None.
    pub(crate) const EMPTY: BreakpointSet = BreakpointSet(Ids::Few([None; FEW]));

    /// How many there can be. Four debug registers can serve ten ranges made of neighbours, each
    /// for all writes and for changes.
    pub const MOST: usize = 20;

    /// Whether there is none.
    ///
    /// ```
    /// assert!(trapline::BreakpointSet::default().is_empty());
    /// ```
    #[inline]
    pub fn is_empty(self) -> bool {
        matches!(self.0, Ids::Few([None, ..]))
    }

    /// Whether this one is among them.
    ///
    /// ```
    /// use trapline::{BreakpointId, BreakpointSet};
    ///
    /// fn with(id: BreakpointId) {
    ///     let set: BreakpointSet = [id].into_iter().collect();
    ///     assert!(set.contains(id));
    /// }
    /// ```
    pub fn contains(self, id: BreakpointId) -> bool {
        self.iter().any(|is| is == id)
    }

    /// All of them, in the order in which they were inserted.
    ///
    /// ```
    /// use trapline::TrapCauses;
    ///
    /// fn print(causes: &TrapCauses) {
    ///     for id in causes.hardware.iter() {
    ///         println!("watchpoint {id}");
    ///     }
    /// }
    /// ```
    pub fn iter(self) -> impl Iterator<Item = BreakpointId> {
        let (few, many): (_, &[BreakpointId]) = match self.0 {
            Ids::Few(ids) => (ids, &[]),
            Ids::Many(ids) => ([None; FEW], ids),
        };
        few.into_iter().flatten().chain(many.iter().copied())
    }
}

impl FromIterator<BreakpointId> for BreakpointSet {
    /// The first [`MOST`](BreakpointSet::MOST) different ones.
    fn from_iter<I: IntoIterator<Item = BreakpointId>>(ids: I) -> Self {
        let (mut few, mut many) = ([None; FEW], Vec::new());
        for id in ids {
            if few.contains(&Some(id)) || many.contains(&id) || many.len() == BreakpointSet::MOST {
                continue;
            }
            match few.iter_mut().find(|place| place.is_none()) {
                Some(free) => *free = Some(id),
                None if many.is_empty() => many.extend(few.iter().flatten().copied().chain([id])),
                None => many.push(id),
            }
        }
        BreakpointSet(if many.is_empty() { Ids::Few(few) } else { Ids::many(many) })
    }
}

impl fmt::Debug for BreakpointSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(numbers: impl IntoIterator<Item = u32>) -> Vec<BreakpointId> {
        numbers.into_iter().map(BreakpointId::from_number).collect()
    }

    #[test]
    fn d4_a_set_of_any_size_keeps_its_members_and_their_order() {
        for many in 0..=BreakpointSet::MOST as u32 {
            let set: BreakpointSet = ids((1..=many).chain(1..=many)).into_iter().collect();
            assert_eq!(set.iter().collect::<Vec<_>>(), ids(1..=many));
            assert_eq!(set.is_empty(), many == 0);
            assert_eq!(set, ids(1..=many).into_iter().collect(), "{many}");
            assert!(!set.contains(BreakpointId::from_number(many + 1)));
        }
    }

    #[test]
    fn d4_a_set_takes_no_more_than_the_most() {
        let set: BreakpointSet = ids(1..=100).into_iter().collect();
        assert_eq!(set.iter().count(), BreakpointSet::MOST);
    }

    #[test]
    fn a_set_is_small_since_every_stop_carries_one() {
        assert!(size_of::<BreakpointSet>() <= 16);
    }
}
