//! The debug registers: addresses of instructions (DBGBVR and DBGBCR) and of data (DBGWVR and
//! DBGWCR), up to 16 each.
//!
//! Arm ARM D2.8, "Breakpoint Instruction exceptions" to D2.10, "Watchpoint exceptions".

mod access;
mod control;
mod probe;

pub(crate) use access::access;
pub(crate) use control::POOLS;
pub use control::{BREAKPOINTS, Control, POOL, WATCHPOINTS};
pub(crate) use probe::probe;

/// How many addresses of data the CPU can watch, at most: many have four.
pub const SLOTS: usize = POOL;

/// Where the user half of the address space ends, with 48-bit addresses.
pub const USER_END: u64 = 1 << 48;
