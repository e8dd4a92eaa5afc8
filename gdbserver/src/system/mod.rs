//! What only one system can do, by the same names on each.

#[cfg(target_os = "freebsd")]
mod freebsd;
#[cfg(target_os = "linux")]
mod linux;
pub(crate) mod signals;

#[cfg(target_os = "freebsd")]
pub(crate) use freebsd::*;
#[cfg(target_os = "linux")]
pub(crate) use linux::*;

/// Whose C library programs have, which keeps thread-local variables in a way of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(dead_code)] // each system has one of them
pub(crate) enum CLibrary {
    Glibc,
    FreeBsd,
}

/// A process of this machine, for a list of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Listed {
    pub(crate) pid: i32,
    pub(crate) user: String,
    pub(crate) command: String,
}
