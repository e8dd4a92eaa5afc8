//! The debug registers: addresses of instructions (DBGBVR and DBGBCR) and of data (DBGWVR and
//! DBGWCR), up to 16 each.
//!
//! Arm ARM D2.8, "Breakpoint Instruction exceptions" to D2.10, "Watchpoint exceptions".

mod access;
mod probe;

pub use access::{Access, access};
pub use probe::Probe;

/// How many addresses the kernel has room for.
pub const SLOTS: usize = 4;

/// Where the user half of the address space ends, with 48-bit addresses.
pub const USER_END: u64 = 1 << 48;
