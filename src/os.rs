//! What only one system has: for each a `TracerExt`, which [`Tracer`](crate::Tracer) implements
//! there, with the types of its answers.

/// Linux: programs that stop at chosen system calls, the whole `siginfo_t`, also of signals that wait,
/// sets of registers by their numbers, the ABI of a thread.
///
/// On other systems this module does not exist.
#[cfg(target_os = "linux")]
pub mod linux {
    #[doc(inline)]
    pub use trapline_os_linux::{Abi, BpfInstruction, SignalQueue, TracerExt};
}

/// FreeBSD: `PT_LWPINFO`, the whole `siginfo_t`, sets of registers by their numbers, arguments and
/// results of system calls as the kernel has them, maps of memory, tracers and reapers.
///
/// On other systems this module does not exist.
#[cfg(target_os = "freebsd")]
pub mod freebsd {
    #[doc(inline)]
    pub use trapline_os_freebsd::{
        EventMask, LwpFlags, LwpInfo, MapEntry, Protection, SigInfo, SignalSet, SyscallReturn,
        TraceStatus, TracerExt,
    };
}
