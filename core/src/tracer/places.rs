//! Where things are in a process, and what its threads are at.

use crate::memory_map::{MemoryRegion, ThreadInfo};
use crate::{Backend, Pid, Result, Stopped, Tid, auxiliary};

use super::{Reader, Tracer};

impl<B: Backend> Tracer<B> {
    /// The memory of a process, running or stopped, in the order of addresses.
    ///
    /// ```no_run
    /// use trapline::{Pid, Result, Tracer};
    ///
    /// /// The file that an address is in.
    /// fn file_at(tracer: &Tracer, pid: Pid, addr: u64) -> Result<Option<std::path::PathBuf>> {
    ///     let map = tracer.memory_map(pid)?;
    ///     Ok(map.into_iter().find(|region| region.contains(addr)).and_then(|region| region.path))
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Gone`](crate::Error::Gone) if the process is not traced, or was killed.
    ///
    /// # Platform notes
    ///
    /// FreeBSD does not tell whether memory without a file is shared.
    ///
    /// # References
    ///
    /// `/proc/pid/maps` in `proc(5)` (Linux); `KERN_PROC_VMMAP` in `sysctl(3)`, `kinfo_getvmmap(3)`
    /// (FreeBSD).
    pub fn memory_map(&self, pid: Pid) -> Result<Vec<MemoryRegion>> {
        self.traced(pid)?;
        self.backend.borrow_mut().memory_map(pid)
    }

    /// A value of the [auxiliary vector](Tracer::auxiliary_vector) of a process, by its type: `AT_ENTRY`
    /// and so on, in `elf.h`.
    ///
    /// ```no_run
    /// use trapline::{Pid, Result, Tracer};
    ///
    /// /// Where the dynamic linker is; 0 or nothing in a static program.
    /// fn linker(tracer: &Tracer, pid: Pid) -> Result<Option<u64>> {
    ///     const AT_BASE: u64 = 7;
    ///     tracer.auxv(pid, AT_BASE)
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`auxiliary_vector`](Tracer::auxiliary_vector).
    pub fn auxv(&self, pid: Pid, key: u64) -> Result<Option<u64>> {
        Ok(auxiliary::value(&self.auxiliary_vector(pid)?, key))
    }

    /// What is known about a thread of a process, running or stopped.
    ///
    /// ```no_run
    /// use trapline::{Pid, Result, Tracer};
    ///
    /// fn list(tracer: &Tracer, pid: Pid) -> Result<()> {
    ///     for tid in tracer.threads(pid)? {
    ///         let info = tracer.thread_info(pid, tid)?;
    ///         println!("{tid} {} {:?} on {:?}", info.name.display(), info.state, info.cpu);
    ///     }
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Gone`](crate::Error::Gone) if the process is not traced, or has no such thread.
    ///
    /// # References
    ///
    /// `/proc/pid/task/tid/stat` in `proc(5)` (Linux); `KERN_PROC_INC_THREAD` in `sysctl(3)`
    /// (FreeBSD).
    pub fn thread_info(&self, pid: Pid, tid: Tid) -> Result<ThreadInfo> {
        self.traced(pid)?;
        self.backend.borrow_mut().thread_info(crate::backend::Thread { pid, tid })
    }

    /// Where the data of a stopped thread's own begin: what `%fs` points to on x86-64, `TPIDR_EL0` on
    /// aarch64.
    ///
    /// ```no_run
    /// use trapline::{Result, Stopped, Tracer};
    ///
    /// /// The first word there.
    /// fn own_word(tracer: &Tracer, stop: &Stopped) -> Result<u64> {
    ///     tracer.at(stop).read_value(tracer.thread_pointer(stop)?)
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`registers`](Tracer::registers).
    pub fn thread_pointer(&self, stop: &Stopped) -> Result<u64> {
        let thread = self.asked(stop)?;
        self.backend.borrow_mut().thread_pointer(thread)
    }
}

impl<B: Backend> Reader<'_, B> {
    /// As [`Tracer::thread_pointer`].
    ///
    /// ```no_run
    /// use trapline::{Reader, Result};
    ///
    /// fn own_word(thread: Reader<'_>) -> Result<u64> {
    ///     thread.read_value(thread.thread_pointer()?)
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// As there.
    pub fn thread_pointer(self) -> Result<u64> {
        self.asks(|tracer, stop| tracer.thread_pointer(stop))
    }
}
