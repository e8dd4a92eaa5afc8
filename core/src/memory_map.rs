//! What a process has in its memory, and what its threads are at.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::Tid;

/// A range of a process's memory; see [`Tracer::memory_map`](crate::Tracer::memory_map).
///
/// ```
/// fn describe(region: &trapline::MemoryRegion) -> String {
///     let file = region.path.as_deref().map_or("".into(), |path| path.display().to_string());
///     format!("{:#x}-{:#x} {file}", region.start, region.end)
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub struct MemoryRegion {
    /// The first address.
    pub start: u64,
    /// The first address behind it.
    pub end: u64,
    /// It can be read.
    pub read: bool,
    /// It can be written.
    pub write: bool,
    /// It can be executed.
    pub execute: bool,
    /// What is written there others see, too.
    pub shared: bool,
    /// Where it begins in what backs it, in bytes.
    pub offset: u64,
    /// The device that the file behind it is on, 0 for none, as `stat(2)` numbers it.
    pub device: u64,
    /// The file's number there, 0 for none.
    pub inode: u64,
    /// The file behind it, as the kernel names it. On Linux one that was deleted has ` (deleted)`
    /// behind its name.
    pub path: Option<PathBuf>,
    /// What the kernel calls memory without a file, such as `[heap]`, `[stack]` or `[vdso]` (Linux).
    pub name: Option<OsString>,
}

impl MemoryRegion {
    /// Whether an address is in it.
    ///
    /// ```no_run
    /// use trapline::{Pid, Result, Tracer};
    ///
    /// fn is_code(tracer: &Tracer, pid: Pid, addr: u64) -> Result<bool> {
    ///     let map = tracer.memory_map(pid)?;
    ///     Ok(map.iter().any(|region| region.contains(addr) && region.execute))
    /// }
    /// ```
    pub fn contains(&self, addr: u64) -> bool {
        (self.start..self.end).contains(&addr)
    }
}

/// What is known about a thread; see [`Tracer::thread_info`](crate::Tracer::thread_info).
///
/// ```
/// fn describe(info: &trapline::ThreadInfo) -> String {
///     format!("{} {}: {:?}", info.tid, info.name.to_string_lossy(), info.state)
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct ThreadInfo {
    /// The thread.
    pub tid: Tid,
    /// What it is called: the program gave it the name, or it is the program's.
    pub name: OsString,
    /// What it is at.
    pub state: ThreadState,
    /// The CPU that it runs on, or ran on last.
    pub cpu: Option<u32>,
}

impl ThreadInfo {
    /// For back ends.
    #[doc(hidden)]
    pub fn new(tid: Tid, name: OsString, state: ThreadState, cpu: Option<u32>) -> Self {
        ThreadInfo { tid, name, state, cpu }
    }
}

/// What the kernel says that a thread is at.
///
/// ```
/// use trapline::ThreadState;
///
/// fn is_idle(state: ThreadState) -> bool {
///     matches!(state, ThreadState::Sleeping | ThreadState::Uninterruptible)
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ThreadState {
    /// It runs, or waits for a CPU.
    Running,
    /// It sleeps, and a signal ends that.
    Sleeping,
    /// It sleeps, and nothing ends that but what it waits for.
    Uninterruptible,
    /// A tracer or job control has stopped it. FreeBSD says this also of one that was stopped asleep.
    Stopped,
    /// It has ended.
    Ended,
    /// Anything else.
    Other,
}
