//! `ptrace(2)`.
//!
//! Called as a system call: the C libraries do not agree on the type of its first argument, and
//! they treat the PEEK requests in a way of their own.

use std::io;
use std::ptr;

use trapline_core::backend::Run;
use trapline_core::{Error, Result, Signal, Tid};

use super::{Kernel, check, error};
use crate::decode;
use crate::ext::SignalQueue;
use crate::ffi::{
    PTRACE_GET_SYSCALL_INFO, PTRACE_GETSIGMASK, PTRACE_PEEKSIGINFO, PTRACE_PEEKSIGINFO_SHARED,
    PTRACE_SET_SYSCALL_INFO, PTRACE_SETSIGMASK, PeekSiginfoArgs, Siginfo, SyscallInfo,
};

/// A request that takes numbers: `addr` and `data` are not looked at as addresses.
fn plain(request: libc::c_long, tid: Tid, data: libc::c_long) -> io::Result<libc::c_long> {
    // SAFETY: the requests that are passed here take their last argument as a number and touch no
    // memory of this process.
    check(unsafe { libc::syscall(libc::SYS_ptrace, request, tid.as_raw(), 0_usize, data) })
}

/// A request that fills `data`, of whatever length its type has.
///
/// # Safety
///
/// The kernel writes at most `size_of::<T>()` bytes for `request` and `addr`, and every value of
/// these bytes is a `T`.
pub(crate) unsafe fn fill<T>(
    request: libc::c_long,
    tid: Tid,
    addr: libc::c_long,
    data: &mut T,
) -> io::Result<libc::c_long> {
    let data: *mut T = data;
    // SAFETY: `data` is writable for the length of `T` until the call returns, which is all the
    // kernel writes, by the caller's promise.
    check(unsafe { libc::syscall(libc::SYS_ptrace, request, tid.as_raw(), addr, data) })
}

/// A request that reads `data`.
///
/// # Safety
///
/// The kernel reads at most `size_of::<T>()` bytes for `request`.
pub(crate) unsafe fn pass<T>(
    request: libc::c_long,
    tid: Tid,
    data: &T,
) -> io::Result<libc::c_long> {
    let data: *const T = data;
    // SAFETY: `data` is readable for the length of `T`, which is all the kernel reads, by the
    // caller's promise.
    check(unsafe { libc::syscall(libc::SYS_ptrace, request, tid.as_raw(), 0_usize, data) })
}

/// The request counts in 32 bits, and as many can be asked for at once.
const MOST_QUEUED: u64 = 1 << 20;

fn number(signal: Option<Signal>) -> libc::c_long {
    signal.map_or(0, |signal| signal.as_raw().into())
}

impl Kernel {
    /// `PTRACE_SEIZE` with options: traces a thread without stopping it. The error is the
    /// kernel's own, for the caller to explain.
    pub(crate) fn seize(&self, tid: Tid, options: i32) -> io::Result<()> {
        self.count();
        plain(libc::PTRACE_SEIZE as _, tid, (options | self.options_of_all()).into())?;
        Ok(())
    }

    /// Whether `ptrace` is refused whoever it is about, as by a filter of system calls: nobody has
    /// the number 0.
    pub(crate) fn is_ptrace_refused(&self) -> bool {
        let nobody = plain(libc::PTRACE_SEIZE as _, Tid::from_raw(0), 0);
        nobody.is_err_and(|e| e.raw_os_error() != Some(libc::ESRCH))
    }

    /// `PTRACE_SETOPTIONS`.
    pub(crate) fn set_options(&self, tid: Tid, options: i32) -> Result<()> {
        self.count();
        let options = options | self.options_of_all() | self.own_options(tid);
        plain(libc::PTRACE_SETOPTIONS as _, tid, options.into())
            .map_err(|e| error("PTRACE_SETOPTIONS", tid.as_raw(), e))?;
        Ok(())
    }

    /// `PTRACE_CONT`, `PTRACE_SINGLESTEP` or `PTRACE_SYSCALL`.
    pub(crate) fn resume(&self, tid: Tid, run: Run, signal: Option<Signal>) -> Result<()> {
        self.count();
        let (request, name) = match run {
            Run::Continue => (libc::PTRACE_CONT, "PTRACE_CONT"),
            Run::Step => (libc::PTRACE_SINGLESTEP, "PTRACE_SINGLESTEP"),
            Run::Syscall => (libc::PTRACE_SYSCALL, "PTRACE_SYSCALL"),
        };
        plain(request as _, tid, number(signal)).map_err(|e| error(name, tid.as_raw(), e))?;
        Ok(())
    }

    /// `PTRACE_LISTEN`: leaves a thread in its group-stop.
    pub(crate) fn listen(&self, tid: Tid) -> Result<()> {
        self.count();
        plain(libc::PTRACE_LISTEN as _, tid, 0)
            .map_err(|e| error("PTRACE_LISTEN", tid.as_raw(), e))?;
        Ok(())
    }

    /// `PTRACE_INTERRUPT`: has a running thread stop.
    pub(crate) fn interrupt(&self, tid: Tid) -> Result<()> {
        self.count();
        plain(libc::PTRACE_INTERRUPT as _, tid, 0)
            .map_err(|e| error("PTRACE_INTERRUPT", tid.as_raw(), e))?;
        Ok(())
    }

    /// `PTRACE_DETACH` from a stopped thread.
    pub(crate) fn detach(&self, tid: Tid, signal: Option<Signal>) -> Result<()> {
        self.count();
        plain(libc::PTRACE_DETACH as _, tid, number(signal))
            .map_err(|e| error("PTRACE_DETACH", tid.as_raw(), e))?;
        Ok(())
    }

    /// `PTRACE_GETEVENTMSG`: a new task's id, a former thread id, or an exit code.
    pub(crate) fn event_message(&self, tid: Tid) -> Result<u64> {
        self.count();
        let mut message = 0_u64;
        // SAFETY: writes one unsigned long.
        unsafe { fill(libc::PTRACE_GETEVENTMSG as _, tid, 0, &mut message) }
            .map_err(|e| error("PTRACE_GETEVENTMSG", tid.as_raw(), e))?;
        Ok(message)
    }

    /// `PTRACE_GETSIGINFO`. The kernel has none for a group-stop (`EINVAL`).
    pub(crate) fn siginfo(&self, tid: Tid) -> Result<Siginfo> {
        self.count();
        let mut info = Siginfo::default();
        // SAFETY: writes one `siginfo_t`, which is 128 bytes.
        unsafe { fill(libc::PTRACE_GETSIGINFO as _, tid, 0, &mut info) }
            .map_err(|e| error("PTRACE_GETSIGINFO", tid.as_raw(), e))?;
        Ok(info)
    }

    /// `PTRACE_SETSIGINFO`.
    pub(crate) fn set_siginfo(&self, tid: Tid, info: &Siginfo) -> Result<()> {
        self.count();
        // SAFETY: reads one `siginfo_t`, which is 128 bytes.
        unsafe { pass(libc::PTRACE_SETSIGINFO as _, tid, info) }
            .map_err(|e| error("PTRACE_SETSIGINFO", tid.as_raw(), e))?;
        Ok(())
    }

    /// Whether a signal waits for a stopped thread alone (`PTRACE_PEEKSIGINFO`); `None` if the
    /// kernel does not tell.
    pub(crate) fn has_pending(&self, tid: Tid, signal: Signal) -> Result<Option<bool>> {
        let mut infos = [Siginfo::default(); 16];
        let mut off = 0;
        while off < MOST_QUEUED {
            let got = match self.peek_queued(tid, SignalQueue::Thread, off, &mut infos) {
                Ok(got) => got,
                Err(e) if e.raw_os_error() == Some(libc::ESRCH) => return Err(Error::GONE),
                Err(_) => return Ok(None),
            };
            let is_it = |info: &Siginfo| decode::signal_of(info) == signal.as_raw();
            if infos.iter().take(got).any(is_it) {
                return Ok(Some(true));
            }
            if got < infos.len() {
                break;
            }
            off += got as u64;
        }
        Ok(Some(false))
    }

    /// Signals of a queue from a place on: how many there were, of as many as there is room for.
    fn peek_queued(
        &self,
        tid: Tid,
        queue: SignalQueue,
        off: u64,
        infos: &mut [Siginfo; 16],
    ) -> io::Result<usize> {
        self.count();
        let flags = match queue {
            SignalQueue::Thread => 0,
            SignalQueue::Process => PTRACE_PEEKSIGINFO_SHARED,
        };
        let args = PeekSiginfoArgs { off, flags, nr: infos.len() as i32 };
        let args: *const PeekSiginfoArgs = &args;
        // SAFETY: reads `args` and writes at most `nr` structures of 128 bytes into `infos`.
        let got = check(unsafe {
            let infos = infos.as_mut_ptr();
            libc::syscall(libc::SYS_ptrace, PTRACE_PEEKSIGINFO, tid.as_raw(), args, infos)
        })?;
        Ok(usize::try_from(got).unwrap_or(0))
    }

    /// All signals of a queue.
    pub(crate) fn queued(&self, tid: Tid, queue: SignalQueue) -> Result<Vec<Siginfo>> {
        let mut all = Vec::new();
        let mut infos = [Siginfo::default(); 16];
        while (all.len() as u64) < MOST_QUEUED {
            let got = self
                .peek_queued(tid, queue, all.len() as u64, &mut infos)
                .map_err(|e| error("PTRACE_PEEKSIGINFO", tid.as_raw(), e))?;
            all.extend(infos.iter().take(got));
            if got < infos.len() {
                break;
            }
        }
        Ok(all)
    }

    /// `PTRACE_GETSIGMASK`: the signals that a stopped thread has blocked.
    pub(crate) fn signal_mask(&self, tid: Tid) -> Result<u64> {
        self.count();
        let mut mask = 0_u64;
        // SAFETY: writes a set of 8 bytes, which is what it is told.
        unsafe { fill(PTRACE_GETSIGMASK, tid, size_of::<u64>() as libc::c_long, &mut mask) }
            .map_err(|e| error("PTRACE_GETSIGMASK", tid.as_raw(), e))?;
        Ok(mask)
    }

    /// `PTRACE_SETSIGMASK`.
    pub(crate) fn set_signal_mask(&self, tid: Tid, mask: u64) -> Result<()> {
        self.count();
        let (length, mask): (usize, *const u64) = (size_of::<u64>(), &mask);
        // SAFETY: reads a set of 8 bytes, which is what it is told.
        check(unsafe {
            libc::syscall(libc::SYS_ptrace, PTRACE_SETSIGMASK, tid.as_raw(), length, mask)
        })
        .map_err(|e| error("PTRACE_SETSIGMASK", tid.as_raw(), e))?;
        Ok(())
    }

    /// `PTRACE_PEEKDATA`: the word at an address, by the rights of a tracer.
    pub(crate) fn peek_word(&self, tid: Tid, addr: u64) -> io::Result<u64> {
        self.count();
        let mut word = 0_u64;
        // SAFETY: writes one word.
        unsafe { fill(libc::PTRACE_PEEKDATA as _, tid, addr as libc::c_long, &mut word) }?;
        Ok(word)
    }

    /// `PTRACE_POKEDATA`.
    pub(crate) fn poke_word(&self, tid: Tid, addr: u64, word: u64) -> io::Result<()> {
        self.count();
        let request = libc::PTRACE_POKEDATA;
        // SAFETY: takes both arguments as numbers and touches no memory of this process.
        check(unsafe { libc::syscall(libc::SYS_ptrace, request, tid.as_raw(), addr, word) })?;
        Ok(())
    }

    /// `PTRACE_GET_SYSCALL_INFO` (Linux 5.3).
    pub(crate) fn syscall_info(&self, tid: Tid) -> Result<SyscallInfo> {
        self.count();
        let mut info = SyscallInfo::default();
        let size = size_of::<SyscallInfo>() as libc::c_long;
        // SAFETY: writes at most as many bytes as the third argument says, the length of `info`.
        unsafe { fill(PTRACE_GET_SYSCALL_INFO, tid, size, &mut info) }.map_err(|e| {
            match e.raw_os_error() {
                Some(libc::EIO) => Error::unsupported(
                    "to ask for a system call, which needs Linux 5.4 or later,",
                    "this kernel",
                ),
                _ => error("PTRACE_GET_SYSCALL_INFO", tid.as_raw(), e),
            }
        })?;
        Ok(info)
    }

    /// `PTRACE_SET_SYSCALL_INFO` (Linux 6.16): says whether it was done. A kernel without it, and one
    /// to which the thread is in no such call, does not.
    pub(crate) fn set_syscall_info(&self, tid: Tid, info: &SyscallInfo) -> Result<bool> {
        self.count();
        let (size, info): (usize, *const SyscallInfo) = (size_of::<SyscallInfo>(), info);
        // SAFETY: reads as many bytes as the third argument says, the length of `info`.
        let set = check(unsafe {
            libc::syscall(libc::SYS_ptrace, PTRACE_SET_SYSCALL_INFO, tid.as_raw(), size, info)
        });
        match set {
            Ok(_) => Ok(true),
            Err(e) if e.raw_os_error() == Some(libc::ESRCH) => Err(Error::GONE),
            Err(_) => Ok(false),
        }
    }

    /// `PTRACE_GETREGSET`: how many bytes of `area` the set took.
    pub(crate) fn register_set(&self, tid: Tid, set: u32, area: &mut [u8]) -> io::Result<usize> {
        self.count();
        let mut iov = libc::iovec { iov_base: area.as_mut_ptr().cast(), iov_len: area.len() };
        // SAFETY: writes the `iovec`'s new length and, through it, at most `iov_len` bytes of
        // `area`, which is borrowed until after the call.
        unsafe { fill(libc::PTRACE_GETREGSET as _, tid, set.into(), &mut iov) }?;
        Ok(iov.iov_len)
    }

    /// `PTRACE_SETREGSET`.
    pub(crate) fn set_register_set(&self, tid: Tid, set: u32, area: &[u8]) -> io::Result<()> {
        self.count();
        let mut iov =
            libc::iovec { iov_base: ptr::from_ref(area).cast_mut().cast(), iov_len: area.len() };
        // SAFETY: writes the `iovec`'s new length and only reads, through it, at most `iov_len`
        // bytes of `area`, which is borrowed until after the call.
        unsafe { fill(libc::PTRACE_SETREGSET as _, tid, set.into(), &mut iov) }?;
        Ok(())
    }
}
