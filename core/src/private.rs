//! What keeps the traits of this crate to the crates of this workspace.

/// Marks the back ends and CPUs of trapline itself.
///
/// [`Backend`](crate::Backend) and [`Arch`](crate::Arch) grow with the engine, in any release. A
/// crate that implements this trait, and so one of those, depends on exactly one version.
pub trait Sealed {}
