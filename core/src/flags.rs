//! Which events a process reports.

bitflags::bitflags! {
    /// The events that a traced process reports; a property of the whole process.
    ///
    /// Set for new tracees by the tracer's builder, inherited by children, changed for a process
    /// at any of its stops. They work under a plain continue, without tracing system calls, and
    /// for successes only. Signals and the end of a process are always reported.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub struct EventFlags: u32 {
        /// A process made by `fork`, or by a `clone` that is none of the others.
        const FORK = 1 << 0;
        /// A process made by `vfork`.
        const VFORK = 1 << 1;
        /// A parent in `vfork` goes on: its child has exec'ed or ended.
        const VFORK_DONE = 1 << 2;
        /// A successful `execve`.
        const EXEC = 1 << 3;
        /// Birth and death of threads other than a process's first.
        const THREAD = 1 << 4;
        /// A thread stops on its way out, with its registers and memory still there.
        const EXIT = 1 << 5;
        /// Every system call stops at its entry and at its exit.
        const SYSCALL = 1 << 6;
        /// A process's real parent died, and it has a new one.
        const REPARENT = 1 << 7;

        /// What a tracer of processes wants: forks, vforks and execs.
        const PROCESS = Self::FORK.bits() | Self::VFORK.bits() | Self::EXEC.bits();
    }
}

impl Default for EventFlags {
    fn default() -> Self {
        Self::PROCESS
    }
}
