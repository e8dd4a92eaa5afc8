//! The bytes on the line: packets, acknowledgements, notifications (gdb's manual, "Overview" of the
//! remote protocol).

mod connection;
mod decode;
mod encode;
mod listen;

pub(crate) use connection::{Connection, Input};
pub use decode::{Decoder, Received};
pub use encode::{escape, frame, notification, run_lengths};
pub(crate) use listen::{Address, Listener};

/// The longest packet that is taken, and the longest that is promised to a client.
pub const LONGEST: usize = 0x2_0000;
