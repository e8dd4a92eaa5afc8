//! What only FreeBSD has.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use bitflags::bitflags;
use trapline_core::backend::Thread;
use trapline_core::{Backend, Error, Pid, Result, Stopped, Tid, Tracer};

use crate::decode::{EventMask, LwpInfo};
use crate::sys::{Errno, Io, MapRequest};
use crate::system::FreeBsd;

bitflags! {
    /// How memory may be used.
    ///
    /// **Available:** FreeBSD.
    ///
    /// ```
    /// use trapline::os::freebsd::Protection;
    ///
    /// assert!((Protection::READ | Protection::WRITE).contains(Protection::WRITE));
    /// ```
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub struct Protection: u32 {
        /// PROT_READ
        const READ = 1;
        /// PROT_WRITE
        const WRITE = 2;
        /// PROT_EXEC
        const EXECUTE = 4;
    }
}

/// A range of a process's memory: `struct ptrace_vm_entry`.
///
/// **Available:** FreeBSD.
///
/// ```
/// use trapline::os::freebsd::{MapEntry, Protection};
///
/// fn is_code(entry: &MapEntry) -> bool {
///     entry.protection.contains(Protection::EXECUTE)
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct MapEntry {
    /// The first address.
    pub start: u64,
    /// The last address, which belongs to it.
    pub end: u64,
    /// Where it starts in what backs it, in bytes.
    pub offset: u64,
    /// How it may be used now.
    pub protection: Protection,
    /// The file that backs it.
    pub path: Option<PathBuf>,
}

/// What a system call left: `struct ptrace_sc_ret`.
///
/// **Available:** FreeBSD.
///
/// ```
/// use trapline::os::freebsd::SyscallReturn;
///
/// fn has_failed(left: &SyscallReturn) -> bool {
///     left.error > 0
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SyscallReturn {
    /// 0, an error number, or one of the kernel's own: ERESTART (-1), the call will be made again;
    /// EJUSTRETURN (-2), a success without values.
    pub error: i32,
    /// Two values, of which most calls have one; `pipe` has both.
    pub values: [u64; 2],
}

/// `PROC_TRACE_STATUS`
///
/// **Available:** FreeBSD.
///
/// ```
/// use trapline::Pid;
/// use trapline::os::freebsd::TraceStatus;
///
/// fn tracer(status: TraceStatus) -> Option<Pid> {
///     match status {
///         TraceStatus::TracedBy(pid) => Some(pid),
///         _ => None,
///     }
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TraceStatus {
    /// No process traces it.
    NotTraced,
    /// It has forbidden tracing, by PROC_TRACE_CTL.
    Forbidden,
    /// This process traces it.
    TracedBy(Pid),
}

/// The operations of `PT_IO`. The two spaces are one on amd64; they are here for completeness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Space {
    /// `PIOD_READ_D`, `PIOD_WRITE_D`
    Data,
    /// `PIOD_READ_I`, `PIOD_WRITE_I`
    Text,
}

/// What a [`Tracer`] can do on FreeBSD and on no other system. The methods that take a stop fail with
/// [`Error::Gone`](trapline_core::Error::Gone) if its process was killed; each is explained at the
/// method of [`FreeBsd`] that has its name.
///
/// **Available:** FreeBSD.
///
/// ```
/// use trapline::os::freebsd::TracerExt;
/// use trapline::{Result, Stopped, Tracer};
///
/// fn print_map(tracer: &Tracer, stop: &Stopped) -> Result<()> {
///     for entry in tracer.vm_entries(stop)? {
///         println!("{:#x}-{:#x} {:?}", entry.start, entry.end, entry.path);
///     }
///     Ok(())
/// }
/// ```
pub trait TracerExt: sealed::Sealed {
    /// All that the kernel says of a stopped thread: `PT_LWPINFO`.
    ///
    /// ```
    /// use trapline::os::freebsd::TracerExt;
    /// use trapline::{Result, Stopped, Tracer};
    ///
    /// fn call_number(tracer: &Tracer, stop: &Stopped) -> Result<u32> {
    ///     Ok(tracer.lwp_info(stop)?.syscall)
    /// }
    /// ```
    fn lwp_info(&self, stop: &Stopped) -> Result<LwpInfo>;

    /// The threads of a stopped process: `PT_GETLWPLIST`.
    ///
    /// ```
    /// use trapline::os::freebsd::TracerExt;
    /// use trapline::{Result, Stopped, Tracer};
    ///
    /// fn count(tracer: &Tracer, stop: &Stopped) -> Result<usize> {
    ///     Ok(tracer.lwps(stop)?.len())
    /// }
    /// ```
    fn lwps(&self, stop: &Stopped) -> Result<Vec<Tid>>;

    /// What a process reports, in the kernel's own words: `PT_GET_EVENT_MASK`.
    ///
    /// ```
    /// use trapline::os::freebsd::TracerExt;
    /// use trapline::{Result, Stopped, Tracer};
    ///
    /// fn print(tracer: &Tracer, stop: &Stopped) -> Result<()> {
    ///     println!("{:?}", tracer.event_mask(stop)?);
    ///     Ok(())
    /// }
    /// ```
    fn event_mask(&self, stop: &Stopped) -> Result<EventMask>;

    /// The arguments of the system call that a thread is in: `PT_GET_SC_ARGS`. How many of them
    /// it takes is in [`LwpInfo::syscall_args`].
    ///
    /// ```
    /// use trapline::os::freebsd::TracerExt;
    /// use trapline::{Result, Stopped, Tracer};
    ///
    /// fn first(tracer: &Tracer, stop: &Stopped) -> Result<u64> {
    ///     Ok(tracer.syscall_args(stop)?[0])
    /// }
    /// ```
    fn syscall_args(&self, stop: &Stopped) -> Result<[u64; 8]>;

    /// What a system call left, at its exit: `PT_GET_SC_RET`.
    ///
    /// ```
    /// use trapline::os::freebsd::TracerExt;
    /// use trapline::{Result, Stopped, Tracer};
    ///
    /// fn has_failed(tracer: &Tracer, stop: &Stopped) -> Result<bool> {
    ///     Ok(tracer.syscall_return(stop)?.error > 0)
    /// }
    /// ```
    fn syscall_return(&self, stop: &Stopped) -> Result<SyscallReturn>;

    /// The memory of a stopped process, in order of addresses: `PT_VM_ENTRY`.
    ///
    /// ```
    /// use trapline::os::freebsd::TracerExt;
    /// use trapline::{Result, Stopped, Tracer};
    ///
    /// fn mapped(tracer: &Tracer, stop: &Stopped) -> Result<u64> {
    ///     Ok(tracer.vm_entries(stop)?.iter().map(|entry| entry.end - entry.start + 1).sum())
    /// }
    /// ```
    fn vm_entries(&self, stop: &Stopped) -> Result<Vec<MapEntry>>;

    /// The whole `siginfo_t` of a thread that is stopped for a signal: `pl_siginfo` of `PT_LWPINFO`.
    /// The kernel has no request to change it.
    ///
    /// ```
    /// use trapline::os::freebsd::TracerExt;
    /// use trapline::{Result, Stopped, Tracer};
    ///
    /// /// `si_signo`, the first of its fields.
    /// fn number(tracer: &Tracer, stop: &Stopped) -> Result<Option<u8>> {
    ///     Ok(tracer.siginfo(stop)?.map(|info| info[0]))
    /// }
    /// ```
    fn siginfo(&self, stop: &Stopped) -> Result<Option<[u8; 80]>>;

    /// A set of registers of a stopped thread by its number, as the kernel has it: `NT_*` of
    /// `sys/elf_common.h`, such as `NT_X86_SEGBASES` (0x200) or `NT_X86_XSTATE` (0x202). The general
    /// registers (`NT_PRSTATUS`) are [`Error::Unsupported`](trapline_core::Error::Unsupported), since
    /// only [`Tracer::registers`] shows them as the program has them. `PT_GETREGSET`.
    ///
    /// ```
    /// use trapline::os::freebsd::TracerExt;
    /// use trapline::{Result, Stopped, Tracer};
    ///
    /// /// Where the data of a thread's own begin (amd64).
    /// fn fs_base(tracer: &Tracer, stop: &Stopped) -> Result<Option<u64>> {
    ///     const NT_X86_SEGBASES: u32 = 0x200;
    ///     let set = tracer.register_set(stop, NT_X86_SEGBASES)?;
    ///     Ok(set.first_chunk().map(|bytes| u64::from_ne_bytes(*bytes)))
    /// }
    /// ```
    fn register_set(&self, stop: &Stopped, set: u32) -> Result<Vec<u8>>;

    /// Changes a set of registers; see [`register_set`](Self::register_set). `PT_SETREGSET`.
    ///
    /// ```
    /// use trapline::os::freebsd::TracerExt;
    /// use trapline::{Result, Stopped, Tracer};
    ///
    /// /// Has one thread have the set of another one.
    /// fn copy(tracer: &mut Tracer, set: u32, from: &Stopped, to: &Stopped) -> Result<()> {
    ///     let bytes = tracer.register_set(from, set)?;
    ///     tracer.set_register_set(to, set, &bytes)
    /// }
    /// ```
    fn set_register_set(&mut self, stop: &Stopped, set: u32, bytes: &[u8]) -> Result<()>;

    /// Which process traces this one, stopped or not: `procctl(2)`, `PROC_TRACE_STATUS`.
    ///
    /// ```
    /// use trapline::os::freebsd::{TraceStatus, TracerExt};
    /// use trapline::{Pid, Result, Tracer};
    ///
    /// fn is_traced(tracer: &Tracer, pid: Pid) -> Result<bool> {
    ///     Ok(matches!(tracer.trace_status(pid)?, TraceStatus::TracedBy(_)))
    /// }
    /// ```
    fn trace_status(&self, pid: Pid) -> Result<TraceStatus>;

    /// Which process becomes the parent of this one's children when it ends: `procctl(2)`,
    /// `PROC_REAP_STATUS`.
    ///
    /// ```
    /// use trapline::os::freebsd::TracerExt;
    /// use trapline::{Pid, Result, Tracer};
    ///
    /// fn reaper(tracer: &Tracer, pid: Pid) -> Result<Pid> {
    ///     tracer.reaper(pid)
    /// }
    /// ```
    fn reaper(&self, pid: Pid) -> Result<Pid>;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for trapline_core::Tracer<crate::FreeBsd> {}
}

impl TracerExt for Tracer<FreeBsd> {
    fn lwp_info(&self, stop: &Stopped) -> Result<LwpInfo> {
        self.ask(stop, |backend, thread| backend.lwp_info(thread))
    }

    fn lwps(&self, stop: &Stopped) -> Result<Vec<Tid>> {
        self.ask(stop, |backend, thread| backend.lwps(thread))
    }

    fn event_mask(&self, stop: &Stopped) -> Result<EventMask> {
        self.ask(stop, |backend, thread| backend.event_mask(thread))
    }

    fn syscall_args(&self, stop: &Stopped) -> Result<[u64; 8]> {
        self.ask(stop, |backend, thread| backend.syscall_args(thread))
    }

    fn syscall_return(&self, stop: &Stopped) -> Result<SyscallReturn> {
        self.ask(stop, |backend, thread| backend.syscall_return(thread))
    }

    fn vm_entries(&self, stop: &Stopped) -> Result<Vec<MapEntry>> {
        self.ask(stop, |backend, thread| backend.vm_entries(thread))
    }

    fn siginfo(&self, stop: &Stopped) -> Result<Option<[u8; 80]>> {
        self.ask(stop, |backend, thread| backend.siginfo(thread))
    }

    fn register_set(&self, stop: &Stopped, set: u32) -> Result<Vec<u8>> {
        self.ask(stop, |backend, thread| backend.register_set(thread, set))
    }

    fn set_register_set(&mut self, stop: &Stopped, set: u32, bytes: &[u8]) -> Result<()> {
        self.ask(stop, |backend, thread| backend.set_register_set(thread, set, bytes))
    }

    fn trace_status(&self, pid: Pid) -> Result<TraceStatus> {
        self.on_backend(|backend| backend.trace_status(pid)).map_err(|error| error.about(pid))
    }

    fn reaper(&self, pid: Pid) -> Result<Pid> {
        self.on_backend(|backend| backend.reaper(pid)).map_err(|error| error.about(pid))
    }
}

/// `sys/elf_common.h`: the general registers.
const NT_PRSTATUS: u32 = 1;

fn refuse_general(set: u32) -> Result<()> {
    match set {
        NT_PRSTATUS => {
            Err(Error::unsupported("the general registers as a raw set", FreeBsd::SYSTEM))
        }
        _ => Ok(()),
    }
}

/// Requests that no other system has. Those that name a [`Thread`] need it to be stopped, and fail
/// with [`Error::Gone`](trapline_core::Error::Gone) or
/// [`Error::NotStopped`](trapline_core::Error::NotStopped) as the others do.
impl FreeBsd {
    fn siginfo(&mut self, thread: Thread) -> Result<Option<[u8; 80]>> {
        let result = self.kernel.whole_siginfo(thread.tid.as_raw());
        self.checked("PT_LWPINFO", thread, result)
    }

    fn register_set(&mut self, thread: Thread, set: u32) -> Result<Vec<u8>> {
        refuse_general(set)?;
        let result = self.kernel.register_set(thread.tid.as_raw(), set);
        self.checked("PT_GETREGSET", thread, result)
    }

    fn set_register_set(&mut self, thread: Thread, set: u32, bytes: &[u8]) -> Result<()> {
        refuse_general(set)?;
        let result = self.kernel.set_register_set(thread.tid.as_raw(), set, bytes);
        self.checked("PT_SETREGSET", thread, result)
    }

    /// All that the kernel says of a thread: `PT_LWPINFO`.
    pub fn lwp_info(&mut self, thread: Thread) -> Result<LwpInfo> {
        self.info(thread)
    }

    /// The threads of a stopped process: `PT_GETLWPLIST`.
    pub fn lwps(&mut self, thread: Thread) -> Result<Vec<Tid>> {
        let result = self.kernel.lwps(thread.pid.as_raw());
        let lwps = self.checked("PT_GETLWPLIST", thread, result)?;
        Ok(lwps.into_iter().map(Tid::from_raw).collect())
    }

    /// What the process reports: `PT_GET_EVENT_MASK`.
    pub fn event_mask(&mut self, thread: Thread) -> Result<EventMask> {
        let result = self.kernel.event_mask(thread.pid.as_raw());
        self.checked("PT_GET_EVENT_MASK", thread, result)
    }

    /// Has a thread step when its process is next resumed, whichever thread that names:
    /// `PT_SETSTEP` and `PT_CLEARSTEP`.
    pub fn set_step(&mut self, thread: Thread, step: bool) -> Result<()> {
        let tid = thread.tid.as_raw();
        let result = if step { self.kernel.set_step(tid) } else { self.kernel.clear_step(tid) };
        self.checked(if step { "PT_SETSTEP" } else { "PT_CLEARSTEP" }, thread, result)?;
        if let Some(tracee) = self.tracees.get_mut(&thread.pid.as_raw()) {
            if step {
                tracee.steps.start(tid);
            } else {
                tracee.steps.cancel(tid);
            }
        }
        Ok(())
    }

    /// The arguments of the system call that a thread is in, all that are passed in registers:
    /// `PT_GET_SC_ARGS`. How many of them it takes is in [`LwpInfo::syscall_args`].
    pub fn syscall_args(&mut self, thread: Thread) -> Result<[u64; 8]> {
        let result = self.kernel.syscall_args(thread.tid.as_raw());
        self.checked("PT_GET_SC_ARGS", thread, result)
    }

    /// What a system call left, at its exit: `PT_GET_SC_RET`.
    pub fn syscall_return(&mut self, thread: Thread) -> Result<SyscallReturn> {
        let info = self.info(thread)?;
        self.left_by_call(thread, info)
    }

    /// The memory of a stopped process, in order of addresses: `PT_VM_ENTRY`.
    pub fn vm_entries(&mut self, thread: Thread) -> Result<Vec<MapEntry>> {
        let mut map = Vec::new();
        let mut request = MapRequest::default();
        loop {
            match self.kernel.map_entry(thread.pid.as_raw(), &mut request) {
                Err(Errno::NOENT) => return Ok(map),
                result => self.checked("PT_VM_ENTRY", thread, result)?,
            }
            let path = std::mem::take(&mut request.path);
            map.push(MapEntry {
                start: request.start,
                end: request.end,
                offset: request.offset,
                protection: Protection::from_bits_truncate(request.protection),
                path: (!path.is_empty()).then(|| OsString::from_vec(path).into()),
            });
        }
    }

    /// Reads memory of one space: `PT_IO`.
    pub fn read_space(
        &mut self,
        thread: Thread,
        space: Space,
        addr: u64,
        buf: &mut [u8],
    ) -> Result<usize> {
        let len = buf.len();
        self.copy(thread, addr, len, |kernel, at, range| {
            let buf = &mut buf[range];
            let io = if space == Space::Text { Io::ReadText(buf) } else { Io::Read(buf) };
            kernel.io(thread.pid.as_raw(), at, io)
        })
    }

    /// Writes memory of one space: `PT_IO`.
    pub fn write_space(
        &mut self,
        thread: Thread,
        space: Space,
        addr: u64,
        data: &[u8],
    ) -> Result<usize> {
        self.copy(thread, addr, data.len(), |kernel, at, range| {
            let data = &data[range];
            let io = if space == Space::Text { Io::WriteText(data) } else { Io::Write(data) };
            kernel.io(thread.pid.as_raw(), at, io)
        })
    }

    /// Which process traces this one, stopped or not: `procctl(2)`, PROC_TRACE_STATUS.
    pub fn trace_status(&mut self, pid: Pid) -> Result<TraceStatus> {
        let result = self.kernel.trace_status(pid.as_raw());
        Ok(match self.answered("PROC_TRACE_STATUS", pid, pid.as_raw(), result)? {
            0 => TraceStatus::NotTraced,
            -1 => TraceStatus::Forbidden,
            tracer => TraceStatus::TracedBy(Pid::from_raw(tracer)),
        })
    }

    /// Which process becomes the parent of this one's children when it ends: `procctl(2)`,
    /// PROC_REAP_STATUS.
    pub fn reaper(&mut self, pid: Pid) -> Result<Pid> {
        let result = self.kernel.reaper(pid.as_raw());
        Ok(Pid::from_raw(self.answered("PROC_REAP_STATUS", pid, pid.as_raw(), result)?))
    }
}
