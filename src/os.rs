//! What only one system has.

/// Linux.
#[cfg(target_os = "linux")]
pub mod linux {
    pub use trapline_os_linux::*;
}

/// FreeBSD.
#[cfg(target_os = "freebsd")]
pub mod freebsd {
    pub use trapline_os_freebsd::*;
}
