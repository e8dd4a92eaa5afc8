//! What the tests share.

pub mod allocations;
pub mod events;
pub mod group;
pub mod harness;
pub mod probes;
pub mod watched;

pub use allocations::allocations;
pub use events::*;
pub use group::living_in;
pub use harness::skip;
pub use probes::*;
pub use watched::Watched;

/// Defines tests, and the list of them that `main` runs.
#[macro_export]
macro_rules! tests {
    ($($(#[$meta:meta])* fn $name:ident() $body:block)*) => {
        $($(#[$meta])* fn $name() $body)*
        pub const TESTS: &[(&str, fn())] = &[$($(#[$meta])* (stringify!($name), $name),)*];
    };
}
