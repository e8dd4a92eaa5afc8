//! What only one system has: for each a `TracerExt`, which [`Tracer`](crate::Tracer) implements
//! there, and its back end with the raw requests, which [`Tracer::backend`](crate::Tracer::backend)
//! gives.

/// Linux: programs that stop at chosen system calls, the whole `siginfo_t`, the ABI of a thread.
#[cfg(target_os = "linux")]
pub mod linux {
    pub use trapline_os_linux::*;
}

/// FreeBSD: `PT_LWPINFO`, arguments and results of system calls as the kernel has them, maps of
/// memory, tracers and reapers.
#[cfg(target_os = "freebsd")]
pub mod freebsd {
    pub use trapline_os_freebsd::*;
}
