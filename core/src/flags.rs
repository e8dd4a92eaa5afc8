//! Which events a process reports.

bitflags::bitflags! {
    /// The events that a traced process reports. They are a property of the whole process.
    ///
    /// The tracer's builder sets them for new tracees, children inherit them, and
    /// [`Tracer::set_events`](crate::Tracer::set_events) changes them. They need no tracing of system
    /// calls, and are for successes only. Signals and the end of a process are always reported.
    ///
    /// ```
    /// use trapline::EventFlags;
    ///
    /// let flags = EventFlags::PROCESS | EventFlags::THREAD;
    /// assert!(flags.contains(EventFlags::EXEC));
    /// assert!(!flags.contains(EventFlags::SYSCALL));
    /// ```
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub struct EventFlags: u32 {
        /// A process made by `fork`, or by a `clone` that is none of the others.
        const FORK = 1 << 0;
        /// A process made by `vfork`.
        const VFORK = 1 << 1;
        /// A parent in `vfork` goes on, because its child has exec'ed or ended.
        const VFORK_DONE = 1 << 2;
        /// A successful `execve`.
        const EXEC = 1 << 3;
        /// The start and the end of each thread but the first one of a process.
        const THREAD = 1 << 4;
        /// A thread stops on its way out, with its registers and memory still there.
        const EXIT = 1 << 5;
        /// Every system call stops at its entry and at its exit.
        const SYSCALL = 1 << 6;
        /// The real parent of a process has ended, and the process has a new one.
        const REPARENT = 1 << 7;

        /// The list of a program's [modules](crate::Tracer::modules) has changed: its libraries are
        /// loaded, or a library was loaded or unloaded later
        /// ([`TrapCauses::modules_changed`](crate::TrapCauses::modules_changed)). The dynamic linker
        /// does not go on before the stop is resumed.
        ///
        /// The tracer has a breakpoint of its own for this in the memory of each process that reports
        /// it. What is said of breakpoints in memory holds for it, too. Programs that can have none
        /// do not report changes: on aarch64, those of 32-bit code.
        const MODULES = 1 << 8;

        /// What a tracer of processes needs: forks, vforks and execs.
        const PROCESS = Self::FORK.bits() | Self::VFORK.bits() | Self::EXEC.bits();
    }
}

impl Default for EventFlags {
    fn default() -> Self {
        Self::PROCESS
    }
}
