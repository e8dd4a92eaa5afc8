//! `clone(2)` of the wake helper, its timer, and what it shares with its creator.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use trapline_core::{Result, Tid};

use super::{Kernel, above_stdio, last_error};

/// What the wake helper shares: the memory, so that nothing is copied, and nothing else. It has no exit
/// signal, so that to the host it is no child, and its own working directory (`/`), so that the
/// host's can be unmounted and the host can change namespaces.
const FLAGS: usize = libc::CLONE_VM as usize;

const DIRECTORY: &std::ffi::CStr = c"/";
const NAME: &std::ffi::CStr = c"trapline-wake";

/// A timer that has the wake helper stop when it expires.
#[derive(Debug)]
pub(crate) struct Timer(OwnedFd);

impl Timer {
    /// `timerfd_create(2)`.
    pub(crate) fn new(kernel: &Kernel) -> Result<Self> {
        kernel.count();
        let flags = libc::TFD_CLOEXEC | libc::TFD_NONBLOCK;
        // SAFETY: takes numbers.
        let raw = unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, flags) };
        if raw == -1 {
            return Err(last_error("timerfd_create", -1));
        }
        // SAFETY: the kernel has just made this descriptor for us.
        Ok(Self(above_stdio(unsafe { OwnedFd::from_raw_fd(raw) })?))
    }

    /// Has it expire once, so long from now (`timerfd_settime(2)`).
    pub(crate) fn set(&self, kernel: &Kernel, from_now: Duration) -> Result<()> {
        kernel.count();
        if self.expire_in(from_now) { Ok(()) } else { Err(last_error("timerfd_settime", -1)) }
    }

    /// Has it expire at once. Leaves `errno` as it was, and is async-signal-safe.
    pub(crate) fn expire(&self) {
        // SAFETY: the calling thread's own errno, valid as long as the thread.
        let errno = unsafe { libc::__errno_location() };
        // SAFETY: as above.
        let before = unsafe { *errno };
        self.expire_in(Duration::ZERO);
        // SAFETY: as above.
        unsafe { *errno = before };
    }

    fn expire_in(&self, time: Duration) -> bool {
        let never = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        let value = libc::timespec {
            tv_sec: time.as_secs().try_into().unwrap_or(i64::MAX),
            // Zero would stop it.
            tv_nsec: i64::from(time.subsec_nanos().max(1)),
        };
        let times = libc::itimerspec { it_interval: never, it_value: value };
        // SAFETY: reads one structure, which lives; the old times are not asked for.
        let set =
            unsafe { libc::timerfd_settime(self.0.as_raw_fd(), 0, &times, std::ptr::null_mut()) };
        set == 0
    }
}

/// What a wake helper and its creator share: the macro `clone_sleeper` of `regs/` knows the offsets.
#[repr(C)]
struct Block {
    /// Where it reads to; nobody looks at it.
    ticks: AtomicU64,
    /// Not 0 once it has closed what it had of the host's.
    ready: AtomicU32,
    unused: u32,
    /// What it waits for: its timer, and the line.
    polled: [libc::pollfd; 2],
}

/// A process that sleeps, and what it needs as long as it lives.
#[derive(Debug)]
pub(crate) struct Sleeper {
    tid: Tid,
    /// On the heap, and freed by [`reaped`](Self::reaped) alone.
    block: *mut Block,
    /// Our end of a pipe, of which the sleeper has the other: it ends when this is closed, be it by
    /// an exec.
    _line: OwnedFd,
}

impl Sleeper {
    /// Makes a process that sleeps until it is killed, with all signals blocked, and sends itself
    /// SIGCONT whenever the timer expires: to its tracer that is a stop, and without one nothing at
    /// all, so that it cannot die of it and leave a core file with the host's memory.
    ///
    /// It runs a few instructions that were written for it, uses no stack and no thread-local
    /// storage, and can take no signal handler, so that it may share the memory of its creator.
    pub(crate) fn new(kernel: &Kernel, timer: &Timer) -> io::Result<Self> {
        let [theirs, line] = pipe()?;
        let polled = |fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
        let block = Box::into_raw(Box::new(Block {
            ticks: AtomicU64::new(0),
            ready: AtomicU32::new(0),
            unused: 0,
            polled: [polled(0), polled(1)],
        }));
        let parent = std::process::id();
        let bound = bound(kernel);
        let (timer, theirs) = (i64::from(timer.0.as_raw_fd()), i64::from(theirs.as_raw_fd()));
        let (directory, name) = (DIRECTORY.as_ptr(), NAME.as_ptr());
        let mask = block_all();
        kernel.count();
        // SAFETY: in this process it is a system call that touches no memory. The new one never gets
        // further than the instructions of the macro; it reads the two constants, and reads and
        // writes the block, which is not freed before it has ended.
        let pid = unsafe {
            crate::regs::clone_sleeper!(
                FLAGS,
                u64::from(parent),
                timer,
                theirs,
                u64::from(bound),
                directory,
                name,
                block
            )
        };
        restore(mask);
        let tid = match i32::try_from(pid) {
            Ok(pid) if pid > 0 => Tid::from_raw(pid),
            failed => {
                // SAFETY: it is ours alone, as there is no other process.
                drop(unsafe { Box::from_raw(block) });
                let error = failed.map(|e| io::Error::from_raw_os_error(e.wrapping_neg()));
                return Err(error.unwrap_or(io::ErrorKind::Other.into()));
            }
        };
        Ok(Self { tid, block, _line: line })
    }

    pub(crate) fn tid(&self) -> Tid {
        self.tid
    }

    /// Waits until it has closed what it had of the host's descriptors, but for no longer than this;
    /// says whether it has.
    pub(crate) fn wait_until_ready(&self, most: Duration) -> bool {
        // SAFETY: it lives as long as we do.
        let ready = unsafe { &(*self.block).ready };
        if ready.load(Ordering::Acquire) == 0 {
            let time = libc::timespec { tv_sec: 0, tv_nsec: most.subsec_nanos().into() };
            let (ready, time): (*const AtomicU32, *const libc::timespec) = (ready, &time);
            let wait = libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG;
            // SAFETY: reads the word and the time, which live.
            unsafe { libc::syscall(libc::SYS_futex, ready, wait, 0, time) };
        }
        ready.load(Ordering::Acquire) != 0
    }

    /// It has ended, and was waited for.
    pub(crate) fn reaped(self) {
        // SAFETY: made by `Box::into_raw`, and nobody else has it any more.
        drop(unsafe { Box::from_raw(self.block) });
    }
}

fn pipe() -> io::Result<[OwnedFd; 2]> {
    let mut fds = [-1; 2];
    // SAFETY: writes two descriptors into `fds`.
    if unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made both for us.
    let [one, other] = fds.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
    let above = |fd: OwnedFd| if fd.as_raw_fd() > 2 { Ok(fd) } else { fd.try_clone() };
    Ok([above(one)?, above(other)?])
}

/// Below which number all descriptors are, for a kernel that cannot close them together (Linux
/// before 5.9), or that does not let us; 0 for others.
fn bound(kernel: &Kernel) -> u32 {
    const MOST: u32 = 1 << 20;
    let nothing = u32::MAX;
    // SAFETY: takes numbers; there is no such descriptor.
    if unsafe { libc::syscall(libc::SYS_close_range, nothing, nothing, 0) } == 0 {
        return 0;
    }
    // The table may grow before it is copied.
    let size = crate::process::descriptors(kernel).map(|size| size.saturating_mul(2));
    size.unwrap_or_else(|| {
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: writes one structure, which lives.
        unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) };
        u32::try_from(limit.rlim_max).unwrap_or(MOST).min(MOST)
    })
}

/// The length of the kernel's signal sets (64 signals).
const SET_LENGTH: usize = 8;

/// Blocks every signal on the calling thread, those of the C library too, and returns the mask
/// that it had (`rt_sigprocmask(2)`).
fn block_all() -> u64 {
    let (all, mut before) = (!0_u64, 0_u64);
    let (new, old) = (&raw const all, &raw mut before);
    // SAFETY: reads one set and writes the other, both of 8 bytes. It cannot fail.
    unsafe { libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, new, old, SET_LENGTH) };
    before
}

fn restore(mask: u64) {
    let (new, old) = (&raw const mask, std::ptr::null_mut::<u64>());
    // SAFETY: reads one set of 8 bytes. It cannot fail.
    unsafe { libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, new, old, SET_LENGTH) };
}
