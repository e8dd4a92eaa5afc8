//! What the debug registers of a CPU are to watch: plain data, no system and no CPU in it.

mod plan;
mod policy;
mod process;
pub(crate) mod standing;
mod thread;

pub use policy::{Change, Inherit, InheritDebug};

pub(crate) use plan::{check, plan, serves};
pub(crate) use process::{Inserted, ProcessDebug};
pub(crate) use thread::{Carried, Hit, ThreadDebug};

/// How many addresses any CPU that is known can watch, the slots of all its pools together. One
/// that can watch more raises it.
pub const DEBUG_SLOTS: usize = 32;

/// A pool of debug registers that are alike: a CPU may have some for instructions and others for
/// data, or one pool for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DebugPool {
    /// Their numbers, bit 0 for the first: as many as the architecture has room for.
    pub slots: u32,
    /// What they can break on. A kind belongs to one pool.
    pub kinds: &'static [DebugKind],
    /// How many bytes one of them can watch, the smallest number, which is 1, first.
    pub lengths: &'static [u8],
    /// Where these may be.
    pub alignment: DebugAlignment,
}

/// Where the bytes may be that one debug register watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DebugAlignment {
    /// At a multiple of their number, which is a power of two.
    Own,
    /// Anywhere within a block of so many bytes, at a multiple of that.
    Within(u8),
}

/// How a CPU (with its kernels) says what was hit, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DebugHits {
    /// By bits of a status register, which stay until they are cleared. An instruction with a
    /// breakpoint is about to be executed, and passes it by a flag
    /// ([`Arch::pass_breakpoint`](crate::Arch::pass_breakpoint)); data has been accessed.
    Status,
    /// By the address of one byte, at the stop itself. Neither has the instruction been executed
    /// nor data been accessed: it takes a step without the breakpoint to get past.
    Address,
}

/// The bytes that an instruction is about to read or write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MemoryAccess {
    /// The first one.
    pub addr: u64,
    /// How many.
    pub len: u64,
    /// Whether it writes.
    pub writes: bool,
    /// Whether it reads.
    pub reads: bool,
}

/// What of the debug registers a thread can use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DebugRoom {
    /// The registers that there are, bit 0 for the first.
    pub slots: u32,
    /// How many bytes one of them can watch, at most.
    pub longest: u8,
}

impl DebugRoom {
    /// All that the architecture has room for.
    pub const ALL: DebugRoom = DebugRoom { slots: u32::MAX, longest: u8::MAX };
}

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

/// What one debug register watches: bytes that one register of the pool for this kind can watch.
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
    /// The registers whose condition was met, bit 0 for the first; also some that are not enabled
    /// ([`DebugHits::Status`]).
    pub hits: u32,
    /// A single step is done, for whatever it was made.
    pub single_step: bool,
    /// The address that the stop is for ([`DebugHits::Address`]).
    pub address: Option<u64>,
}

/// The registers that are in use, bit 0 for the first.
pub(crate) fn used(slots: &DebugSlots) -> u32 {
    mask(slots, |_, slot| slot.is_some())
}

/// Whether any register is in use.
#[inline]
pub(crate) fn any(slots: &DebugSlots) -> bool {
    slots.iter().any(Option::is_some)
}

/// The registers in which two sets differ.
pub(crate) fn changed(one: &DebugSlots, other: &DebugSlots) -> u32 {
    mask(one, |index, slot| other.get(index) != Some(slot))
}

fn mask(slots: &DebugSlots, is: impl Fn(usize, &Option<DebugSlot>) -> bool) -> u32 {
    let bit = |(index, slot)| u32::from(is(index, slot)) << index;
    slots.iter().enumerate().map(bit).sum()
}
