//! sysctl(3) and procctl(2): what is known about processes, traced or not.

use libc::{c_int, kinfo_proc};

use trapline_core::ThreadState;

use super::{Errno, Kernel, Result, check};
use crate::decode::SignalSet;
use crate::ffi;

/// A process, or a thread of one, as `kern.proc` tells it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    /// The thread, or any thread of the process.
    pub(crate) tid: i32,
    /// The real parent, whoever traces it.
    pub(crate) parent: i32,
    /// The tracer, or 0.
    pub(crate) tracer: i32,
    /// It has ended, and waits to be reaped.
    pub(crate) zombie: bool,
    /// A vfork child that still has its parent's memory.
    pub(crate) in_vfork: bool,
    /// Killed, and on its way out, which may take it a while.
    pub(crate) killed: bool,
    /// It is about to stop, or has stopped and was not waited for.
    pub(crate) stopping: bool,
    /// The signals that it handles.
    pub(crate) caught: SignalSet,
    /// Those that it ignores.
    pub(crate) ignored: SignalSet,
    /// Those that the thread, or any thread of the process, blocks.
    pub(crate) blocked: SignalSet,
    /// It has changed its user or group since its last exec.
    pub(crate) changed_ids: bool,
    /// It runs a 32-bit program, by the name of the ABI: `FreeBSD ELF32`, `FreeBSD ELF64`.
    pub(crate) narrow: bool,
    /// Names its memory: the kernel's address of it, which says nothing else here.
    pub(crate) memory: usize,
    /// The thread sleeps.
    pub(crate) asleep: bool,
    /// The thread sleeps, and no signal ends that.
    pub(crate) uninterruptible: bool,
    /// The thread sleeps, or is about to, even if it is stopped there.
    pub(crate) on_sleep_queue: bool,
    /// Besides, a signal ends that.
    pub(crate) can_be_woken: bool,
    /// What the thread, or any thread of the process, is at, and where.
    pub(crate) state: ThreadState,
    pub(crate) cpu: Option<u32>,
    /// Pending for the process; in a list of threads, for the thread.
    pub(crate) pending: SignalSet,
}

/// The length of one entry; the kernel's, as `ffi.rs` makes sure.
const SIZE: usize = size_of::<kinfo_proc>();

const STOPS: i64 = (libc::P_STOPPED_SIG | libc::P_STOPPED_TRACE) as i64;

/// The buffer does not grow beyond this: no list of a process's threads, arguments or such is
/// longer.
const LIMIT: usize = 64 << 20;

impl Kernel {
    /// One process; `None` if there is none. An LWP's id finds its process.
    pub(crate) fn process(&mut self, pid: i32) -> Result<Option<Process>> {
        let mut bytes = [0; SIZE];
        match self.sysctl_into([libc::KERN_PROC_PID, pid], &mut bytes) {
            Ok(len) => Ok((len == SIZE).then(|| process(&bytes))),
            Err(Errno::SRCH) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    /// The threads of a process, each with what is known about the process; none if there is none.
    pub(crate) fn threads(&mut self, pid: i32) -> Result<Vec<Process>> {
        self.processes([libc::KERN_PROC_PID | libc::KERN_PROC_INC_THREAD, pid], 16)
    }

    /// All processes that can be seen.
    pub(crate) fn all_processes(&mut self) -> Result<Vec<Process>> {
        self.processes([libc::KERN_PROC_PROC, 0], 256)
    }

    /// The file that a process runs, with a final zero.
    pub(crate) fn executable(&mut self, pid: i32) -> Result<Vec<u8>> {
        self.sysctl([libc::KERN_PROC_PATHNAME, pid], libc::PATH_MAX as usize)
    }

    /// The address of a process's `struct ps_strings`.
    pub(crate) fn ps_strings(&mut self, pid: i32) -> Result<Vec<u8>> {
        self.sysctl([libc::KERN_PROC_PS_STRINGS, pid], size_of::<u64>())
    }

    /// The arguments of a process, each with a final zero.
    pub(crate) fn arguments(&mut self, pid: i32) -> Result<Vec<u8>> {
        self.sysctl([libc::KERN_PROC_ARGS, pid], 4096)
    }

    /// The auxiliary vector of a process.
    pub(crate) fn auxiliary_vector(&mut self, pid: i32) -> Result<Vec<u8>> {
        self.sysctl([libc::KERN_PROC_AUXV, pid], 4096)
    }

    /// The memory map of a process, as entries of different lengths.
    pub(crate) fn memory_map(&mut self, pid: i32) -> Result<Vec<u8>> {
        self.sysctl([ffi::KERN_PROC_VMMAP, pid], 64 << 10)
    }

    /// The name of a thread, without its final zero; `None` if there is no such thread.
    pub(crate) fn thread_name(&mut self, pid: i32, tid: i32) -> Result<Option<Vec<u8>>> {
        let name = [libc::KERN_PROC_PID | libc::KERN_PROC_INC_THREAD, pid];
        let bytes = self.sysctl(name, 16 * SIZE)?;
        Ok(bytes.chunks_exact(SIZE).find(|entry| process(entry).tid == tid).map(name_of))
    }

    fn processes(&mut self, name: [c_int; 2], guess: usize) -> Result<Vec<Process>> {
        let bytes = match self.sysctl(name, guess * SIZE) {
            Err(Errno::SRCH) => return Ok(Vec::new()),
            result => result?,
        };
        Ok(bytes.chunks_exact(SIZE).map(process).collect())
    }

    /// Reads a variable below `kern.proc`, into a buffer that grows until it fits.
    fn sysctl(&mut self, name: [c_int; 2], guess: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; guess];
        loop {
            match self.sysctl_into(name, &mut bytes) {
                Err(Errno::NOMEM) if bytes.len() < LIMIT => bytes.resize(4 * bytes.len(), 0),
                result => {
                    bytes.truncate(result?);
                    return Ok(bytes);
                }
            }
        }
    }

    /// Reads a variable below `kern.proc`, and says how long it is.
    fn sysctl_into(&mut self, name: [c_int; 2], bytes: &mut [u8]) -> Result<usize> {
        let name = [libc::CTL_KERN, libc::KERN_PROC, name[0], name[1]];
        let mut len = bytes.len();
        self.requests += 1;
        // SAFETY: the name is read; at most `len` bytes are written, and the buffer has them.
        check(unsafe {
            libc::sysctl(
                name.as_ptr(),
                name.len() as u32,
                bytes.as_mut_ptr().cast(),
                &mut len,
                std::ptr::null(),
                0,
            )
        })?;
        Ok(len)
    }

    /// Whether a process may be traced, as a request would find out: EPERM if not.
    pub(crate) fn may_debug(&mut self, pid: i32) -> Result<()> {
        self.ps_strings(pid).map(|_| ()) // of all that needs it, the least to do
    }

    /// Whether processes without privileges may trace at all, in this jail.
    pub(crate) fn may_debug_unprivileged(&mut self) -> bool {
        let mut value: c_int = 1;
        let mut len = size_of::<c_int>();
        self.requests += 1;
        let name = c"security.bsd.unprivileged_proc_debug";
        // SAFETY: the name is a string; at most the one int is written.
        let result = unsafe {
            libc::sysctlbyname(
                name.as_ptr(),
                (&raw mut value).cast(),
                &mut len,
                std::ptr::null(),
                0,
            )
        };
        result != 0 || value != 0
    }

    /// `PROC_TRACE_STATUS`: the tracer, 0 if there is none, -1 if none may be.
    pub(crate) fn trace_status(&mut self, pid: i32) -> Result<i32> {
        let mut status: c_int = 0;
        self.requests += 1;
        // SAFETY: the request writes one int.
        check(unsafe {
            libc::procctl(
                libc::P_PID,
                pid.into(),
                libc::PROC_TRACE_STATUS,
                std::ptr::from_mut(&mut status).cast(),
            )
        })?;
        Ok(status)
    }

    /// `PROC_REAP_STATUS`: which process gets a process's orphans.
    pub(crate) fn reaper(&mut self, pid: i32) -> Result<i32> {
        let mut status = ffi::ReaperStatus::default();
        self.requests += 1;
        // SAFETY: the request writes one `struct procctl_reaper_status`.
        check(unsafe {
            libc::procctl(
                libc::P_PID,
                pid.into(),
                libc::PROC_REAP_STATUS,
                std::ptr::from_mut(&mut status).cast(),
            )
        })?;
        Ok(status.rs_reaper)
    }
}

/// One entry of `kern.proc`. The bytes are as long as one.
fn process(bytes: &[u8]) -> Process {
    // SAFETY: the bytes are as long as a `kinfo_proc`, which is integers, arrays of them and
    // pointers that are not followed; they may be unaligned.
    let info: kinfo_proc = unsafe { bytes.as_ptr().cast::<kinfo_proc>().read_unaligned() };
    let (sleeps, flags) = (info.ki_stat == libc::SSLEEP, info.ki_flag);
    let heeds_signals = info.ki_tdflags & ffi::TDF_SINTR != 0;
    let queued = !info.ki_wchan.is_null();
    Process {
        pid: info.ki_pid,
        tid: info.ki_tid,
        parent: info.ki_ppid,
        tracer: info.ki_tracer,
        zombie: info.ki_stat == libc::SZOMB,
        in_vfork: flags & i64::from(libc::P_PPWAIT) != 0,
        killed: flags & i64::from(libc::P_WKILLED) != 0,
        stopping: flags & STOPS != 0 && flags & i64::from(libc::P_WAITED) == 0,
        caught: super::ptrace::signals(&info.ki_sigcatch),
        ignored: super::ptrace::signals(&info.ki_sigignore),
        blocked: super::ptrace::signals(&info.ki_sigmask),
        changed_ids: flags & i64::from(libc::P_SUGID) != 0,
        narrow: has(&info.ki_emul, b"32"),
        memory: info.ki_vmspace.addr(),
        asleep: sleeps,
        state: match info.ki_stat {
            libc::SRUN | libc::SIDL => ThreadState::Running,
            libc::SSLEEP | libc::SLOCK | libc::SWAIT if heeds_signals => ThreadState::Sleeping,
            libc::SSLEEP | libc::SLOCK | libc::SWAIT => ThreadState::Uninterruptible,
            libc::SSTOP => ThreadState::Stopped,
            libc::SZOMB => ThreadState::Ended,
            _ => ThreadState::Other,
        },
        cpu: [info.ki_oncpu, info.ki_lastcpu].into_iter().find_map(|cpu| u32::try_from(cpu).ok()),
        uninterruptible: sleeps && !heeds_signals,
        on_sleep_queue: queued,
        can_be_woken: queued && heeds_signals,
        pending: super::ptrace::signals(&info.ki_siglist),
    }
}

/// Whether a name has these bytes in it.
fn has(name: &[libc::c_char], wanted: &[u8]) -> bool {
    let same = |(&byte, &wanted): (&libc::c_char, &u8)| byte as u8 == wanted;
    name.windows(wanted.len()).any(|part| part.iter().zip(wanted).all(same))
}

/// The name of the thread of an entry: what does not fit into the first field is in a second one.
fn name_of(bytes: &[u8]) -> Vec<u8> {
    // SAFETY: as above.
    let info: kinfo_proc = unsafe { bytes.as_ptr().cast::<kinfo_proc>().read_unaligned() };
    let bytes = |field: &[libc::c_char]| -> Vec<u8> {
        field.iter().map(|&byte| byte as u8).take_while(|&byte| byte != 0).collect()
    };
    [bytes(&info.ki_tdname), bytes(&info.ki_moretdname)].concat()
}
