//! What the tests share.

pub mod allocations;
pub mod events;
pub mod group;
pub mod harness;
pub mod probes;
pub mod process;
pub mod watched;

pub use allocations::allocations;
pub use events::*;
pub use group::living_in;
pub use harness::skip;
pub use probes::*;
pub use process::{hears_nothing, kill, stays, until};
pub use watched::Watched;
