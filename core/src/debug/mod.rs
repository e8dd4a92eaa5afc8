//! What the debug registers of a CPU are to watch: plain data, no system and no CPU in it.

mod plan;
mod policy;

pub use policy::{Change, Inherit, InheritDebug};

pub(crate) use plan::{check, plan, serves};

/// How many addresses any CPU that is known can watch. One that can watch more raises it.
pub const DEBUG_SLOTS: usize = 4;

/// What one debug register breaks on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DebugKind {
    /// The instruction at the address is about to be executed.
    Execute,
    /// One of the bytes was written.
    Write,
    /// One of the bytes was read or written.
    ReadWrite,
}

/// What one debug register watches: bytes that one register can watch, a power of two of them,
/// at a multiple of their number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DebugSlot {
    /// The first byte.
    pub addr: u64,
    /// How many.
    pub len: u8,
    /// What to break on.
    pub kind: DebugKind,
}

/// What all debug registers of a thread watch, by their number.
pub type DebugSlots = [Option<DebugSlot>; DEBUG_SLOTS];

/// Nothing is watched.
pub const NO_SLOTS: DebugSlots = [None; DEBUG_SLOTS];

/// Why the CPU says that a thread has trapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct DebugStatus {
    /// The registers whose condition was met, bit 0 for the first; also some that are not enabled.
    pub hits: u8,
    /// A single step is done, whoever asked for it.
    pub single_step: bool,
}

/// The registers that are in use, bit 0 for the first.
pub(crate) fn used(slots: &DebugSlots) -> u8 {
    mask(slots, |_, slot| slot.is_some())
}

/// The registers in which two sets differ.
pub(crate) fn changed(one: &DebugSlots, other: &DebugSlots) -> u8 {
    mask(one, |index, slot| other.get(index) != Some(slot))
}

fn mask(slots: &DebugSlots, is: impl Fn(usize, &Option<DebugSlot>) -> bool) -> u8 {
    let bit = |(index, slot)| u8::from(is(index, slot)) << index;
    slots.iter().enumerate().map(bit).sum()
}
