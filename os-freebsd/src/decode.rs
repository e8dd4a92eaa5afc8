//! What the kernel's words mean: integers in, raw stops out.
//!
//! Pure, and tested on any host; so the kernel's constants stand here, and `tests/headers.c`
//! checks them against the system's headers. Signals are compared by FreeBSD's numbers.

pub(crate) mod map;

use bitflags::bitflags;
use trapline_core::backend::{NewTask, RawReason, TrapOrigin};
use trapline_core::{EventFlags, ExitStatus, ForkKind, Pid, Signal, SignalInfo, Tid};

pub(crate) const SIGILL: i32 = 4;
pub(crate) const SIGTRAP: i32 = 5;
pub(crate) const SIGFPE: i32 = 8;
pub(crate) const SIGKILL: i32 = 9;
pub(crate) const SIGBUS: i32 = 10;
pub(crate) const SIGSEGV: i32 = 11;
pub(crate) const SIGSTOP: i32 = 17;

pub(crate) const TRAP_BRKPT: i32 = 1;
pub(crate) const TRAP_TRACE: i32 = 2;

pub(crate) const SI_USER: i32 = 0x10001;
pub(crate) const SI_QUEUE: i32 = 0x10002;
pub(crate) const SI_TIMER: i32 = 0x10003;
pub(crate) const SI_ASYNCIO: i32 = 0x10004;
pub(crate) const SI_MESGQ: i32 = 0x10005;
pub(crate) const SI_LWP: i32 = 0x10007;

bitflags! {
    /// `pl_flags` of `PT_LWPINFO`: what is true of a thread. Not each of them is what stopped it:
    /// see [`LwpInfo`].
    ///
    /// **Available:** FreeBSD.
    ///
    /// ```
    /// use trapline::os::freebsd::LwpFlags;
    ///
    /// assert!(!LwpFlags::SCE.contains(LwpFlags::SCX));
    /// ```
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub struct LwpFlags: i32 {
        /// In a system call, before it is carried out or while it is.
        const SCE = 0x04;
        /// Leaving a system call.
        const SCX = 0x08;
        /// Has exec'ed.
        const EXEC = 0x10;
        /// There is a [`SigInfo`].
        const SI = 0x20;
        /// Has made a process.
        const FORKED = 0x40;
        /// The first stop of a new process.
        const CHILD = 0x80;
        /// A new LWP.
        const BORN = 0x100;
        /// An LWP on its way out.
        const EXITED = 0x200;
        /// With [`FORKED`](Self::FORKED): by `vfork`.
        const VFORKED = 0x400;
        /// Its vfork child no longer shares its memory.
        const VFORK_DONE = 0x800;
    }
}

bitflags! {
    /// The event mask of a process, as `PT_SET_EVENT_MASK` takes it.
    ///
    /// **Available:** FreeBSD.
    ///
    /// ```
    /// use trapline::os::freebsd::EventMask;
    ///
    /// assert!(EventMask::SYSCALL.contains(EventMask::SCE));
    /// ```
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub struct EventMask: i32 {
        /// `PTRACE_EXEC`: successful execs.
        const EXEC = 0x01;
        /// `PTRACE_SCE`: entries of system calls.
        const SCE = 0x02;
        /// `PTRACE_SCX`: exits of system calls.
        const SCX = 0x04;
        /// `PTRACE_FORK`: new processes, which are traced too.
        const FORK = 0x08;
        /// `PTRACE_LWP`: birth and death of LWPs.
        const LWP = 0x10;
        /// `PTRACE_VFORK`: the end of a vfork.
        const VFORK = 0x20;

        /// `PTRACE_SYSCALL`
        const SYSCALL = Self::SCE.bits() | Self::SCX.bits();
    }
}

impl EventMask {
    /// The mask of a process whose tracing has just begun: `PTRACE_DEFAULT`.
    pub(crate) const FIRST: EventMask = EventMask::EXEC;

    /// What tracing system calls takes. Without events of LWPs a new one would stop as if it left
    /// a call that it never made (`fork_return` in `kern_fork.c`).
    pub(crate) const CALLS: EventMask = EventMask::SYSCALL.union(EventMask::LWP);

    /// The mask for these flags. Forks, vforks and execs are always on, and the engine shows what
    /// was asked for: a change of flags then holds at once.
    pub(crate) fn of(flags: EventFlags) -> EventMask {
        let mut mask = EventMask::EXEC | EventMask::FORK | EventMask::VFORK;
        if flags.intersects(EventFlags::THREAD | EventFlags::EXIT) {
            mask |= EventMask::LWP;
        }
        if flags.contains(EventFlags::SYSCALL) {
            mask |= EventMask::CALLS;
        }
        mask
    }
}

/// A set of signals, as the kernel has it: signal 1 is the lowest bit of the first word.
///
/// **Available:** FreeBSD.
///
/// ```
/// use trapline::Signal;
/// use trapline::os::freebsd::SignalSet;
///
/// assert!(SignalSet([1, 0, 0, 0]).contains(Signal::HUP));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct SignalSet(pub [u32; 4]);

impl SignalSet {
    /// Whether the signal is in it.
    ///
    /// ```
    /// use trapline::Signal;
    /// use trapline::os::freebsd::SignalSet;
    ///
    /// assert!(!SignalSet::default().contains(Signal::HUP));
    /// ```
    pub fn contains(&self, signal: Signal) -> bool {
        self.has(signal.as_raw())
    }

    /// The same for all systems.
    pub(crate) fn portable(self) -> trapline_core::SignalSet {
        let words = self.0.iter().rev();
        let bits = words.fold(0, |bits: u128, &word| bits << 32 | u128::from(word));
        trapline_core::SignalSet::from_bits(bits)
    }

    pub(crate) fn has(&self, number: i32) -> bool {
        let bit = u32::try_from(number).ok().and_then(|n| n.checked_sub(1)).unwrap_or(u32::MAX);
        let word = usize::try_from(bit / 32).unwrap_or(usize::MAX);
        self.0.get(word).is_some_and(|word| word >> (bit % 32) & 1 != 0)
    }
}

/// `siginfo_t`, the parts that are filled in for every signal.
///
/// **Available:** FreeBSD.
///
/// ```
/// use trapline::os::freebsd::SigInfo;
///
/// assert_eq!(SigInfo::default().signo, 0);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct SigInfo {
    /// `si_signo`
    pub signo: i32,
    /// `si_errno`
    pub errno: i32,
    /// `si_code`: below 0x10000 if the kernel made the signal, and then what for.
    pub code: i32,
    /// `si_pid`
    pub pid: i32,
    /// `si_uid`
    pub uid: u32,
    /// `si_addr`
    pub addr: u64,
    /// `si_value`
    pub value: u64,
}

impl SigInfo {
    /// Whether the thread's own instruction raised it, and raises it again if it is run again.
    pub(crate) fn is_fault(&self) -> bool {
        matches!(self.signo, SIGILL | SIGFPE | SIGBUS | SIGSEGV)
            && (1..SI_USER).contains(&self.code)
    }
}

/// What `PT_LWPINFO` says of a thread of a stopped process.
///
/// **Available:** FreeBSD.
///
/// The flags are the thread's *state*. What stopped it follows from all of it together: a thread
/// that stops for a signal has [`SI`](LwpFlags::SI), and [`SCE`](LwpFlags::SCE) besides if it was
/// in a system call; a new thread has [`SCX`](LwpFlags::SCX) besides [`BORN`](LwpFlags::BORN), one
/// that ends [`SCE`](LwpFlags::SCE) besides [`EXITED`](LwpFlags::EXITED).
///
/// ```
/// use trapline::Signal;
/// use trapline::os::freebsd::LwpInfo;
///
/// fn blocks_interrupts(info: &LwpInfo) -> bool {
///     info.blocked.contains(Signal::INT)
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LwpInfo {
    /// The thread.
    pub tid: Tid,
    /// Whether the thread reports something, or waits for its turn to: a process reports for one
    /// of its threads at a time.
    pub reports: bool,
    /// `pl_flags`
    pub flags: LwpFlags,
    /// The signal that it stopped for, with [`LwpFlags::SI`].
    pub siginfo: Option<SigInfo>,
    /// Its signal mask.
    pub blocked: SignalSet,
    /// What is pending for this thread; not what is pending for the process.
    pub pending: SignalSet,
    /// The new process, with [`LwpFlags::FORKED`].
    pub child: Option<Pid>,
    /// The number of the system call it is in, or was in last.
    pub syscall: u32,
    /// How many arguments that takes.
    pub syscall_args: u32,
}

/// What a wait status says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    /// Stopped, with this signal.
    Stopped(i32),
    /// Ended.
    Ended(ExitStatus),
}

/// A wait status, from `wait6` or from the data of a `NOTE_EXIT`; `sys/wait.h`.
pub(crate) fn status(status: i32) -> Status {
    let signal = status & 0x7f;
    match Signal::from_raw(signal) {
        Some(_) if signal == 0x7f => Status::Stopped(status >> 8 & 0xff),
        Some(signal) => {
            Status::Ended(ExitStatus::Killed { signal, core_dumped: status & 0x80 != 0 })
        }
        None => Status::Ended(ExitStatus::Code(status >> 8 & 0xff)),
    }
}

/// The stops of a process that we have asked for ourselves, with a SIGSTOP: FreeBSD has no other
/// way.
///
/// The kernel keeps neither sender nor value of a SIGSTOP (`sigqueue_add` in `kern_sig.c`), so
/// ours is told from another's only by being due. To a traced process it is all the same: it does
/// nothing on a SIGSTOP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Expected {
    asked: Asked,
    /// How many SIGSTOPs of ours are still to come.
    due: u8,
    /// How many more there may be: sent while one was pending, with which it became one unless a
    /// thread took that just before.
    perhaps: u8,
    /// Stops until those would have come.
    left: u8,
}

/// Stops of a process within which a SIGSTOP that was sent is reported: few, since a thread takes
/// it before it returns to its program.
const SOON: u8 = 16;

/// What the tracer has asked for, and no stop has answered yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Asked {
    #[default]
    Nothing,
    /// The first stop, after an attach.
    Attach,
    /// A stop, by an interrupt.
    Interrupt,
}

impl Expected {
    /// After an attach.
    pub(crate) fn attach() -> Expected {
        Expected { asked: Asked::Attach, ..Expected::default() }
    }

    /// Whether the stop of an attach is still to come.
    pub(crate) fn is_attaching(&self) -> bool {
        self.asked == Asked::Attach
    }

    /// What was asked for is answered.
    pub(crate) fn answer(&mut self) {
        self.asked = Asked::Nothing;
    }

    /// A SIGSTOP is being sent, and none or one was seen pending just before. Each thread can have
    /// one on its way to being reported besides.
    pub(crate) fn ask(&mut self, pending: bool) {
        self.asked = Asked::Interrupt;
        if pending {
            self.perhaps = self.perhaps.saturating_add(1);
            self.left = SOON;
        } else {
            self.due = self.due.saturating_add(1);
        }
    }

    /// Whether a SIGSTOP of ours may still come.
    pub(crate) fn may_come(&self) -> bool {
        self.due > 0 || self.perhaps > 0
    }

    /// The reason of a stop; `None` for what is left of an interrupt that another stop has
    /// answered: that is not reported.
    pub(crate) fn reason(&mut self, signal: i32, info: &LwpInfo) -> Option<RawReason> {
        let reason = reason(signal, info);
        let stopped = signal == SIGSTOP && matches!(reason, RawReason::Signal { .. });
        let asked = std::mem::take(&mut self.asked);
        if asked == Asked::Attach {
            if stopped {
                return Some(RawReason::Paused);
            }
            self.due = 1; // the attach's SIGSTOP lost, and is still to come
        }
        if !stopped || !self.may_come() {
            self.left = self.left.saturating_sub(1);
            if self.left == 0 {
                self.perhaps = 0;
            }
            return Some(reason);
        }
        match self.due.checked_sub(1) {
            Some(due) => self.due = due,
            None => self.perhaps -= 1,
        }
        (asked == Asked::Interrupt).then_some(RawReason::Paused)
    }
}

/// Why a thread stopped, from the stop's signal and `PT_LWPINFO`.
///
/// Events are reported with SIGTRAP, and the first stop of a process with SIGSTOP, both without
/// siginfo; what has siginfo is a signal (`ptracestop` and `sigprocess` in `kern_sig.c`). The
/// SIGSTOP of an attach is a signal to a thread in older kernels, and reported by none in newer
/// ones (the sysctl `debug.ptrace_attach_transparent`).
pub(crate) fn reason(signal: i32, info: &LwpInfo) -> RawReason {
    let has = |flag| info.flags.contains(flag);
    let event = info.reports && info.siginfo.is_none();
    if event && signal == SIGSTOP && has(LwpFlags::CHILD) {
        return RawReason::Paused;
    }
    if event && signal == SIGTRAP {
        // The order matters only between these and the two of system calls: what forks, execs or
        // is born does so at the exit of a system call, and what exits at the entry of one.
        return if has(LwpFlags::EXITED) {
            RawReason::ThreadExiting
        } else if has(LwpFlags::EXEC) {
            RawReason::Execed { former_tid: Some(info.tid) }
        } else if has(LwpFlags::FORKED) {
            let kind = if has(LwpFlags::VFORKED) { ForkKind::Vfork } else { ForkKind::Fork };
            let task = info.child.map(|pid| NewTask::Process { pid, sibling: false });
            RawReason::Forked { kind, task }
        } else if has(LwpFlags::BORN) {
            RawReason::ThreadStarted
        } else if has(LwpFlags::VFORK_DONE) {
            RawReason::VforkDone
        } else if has(LwpFlags::SCE) {
            RawReason::SyscallEntry
        } else if has(LwpFlags::SCX) {
            RawReason::SyscallExit
        } else {
            RawReason::Unknown { raw: info.flags.bits() as u32 }
        };
    }
    match Signal::from_raw(signal) {
        Some(found) => {
            let trap = info.siginfo.filter(|_| signal == SIGTRAP).map(|i| trap_origin(i.code));
            RawReason::Signal { signal: found, trap }
        }
        None => RawReason::Unknown { raw: info.flags.bits() as u32 },
    }
}

/// Whether the exit of a system call goes without a stop of its own here. The kernel merges it
/// into the stop of the fork or exec, or, as the vfork waits in between, has it before that.
pub(crate) fn hides_syscall_exit(reason: RawReason) -> bool {
    match reason {
        RawReason::Forked { kind, .. } => kind != ForkKind::Vfork,
        RawReason::Execed { .. } | RawReason::VforkDone => true,
        _ => false,
    }
}

/// Where a SIGTRAP comes from. TRAP_TRACE is a single step and a debug register alike; DR6 tells.
/// The traps of DTrace and Capsicum are the program's own, as if sent.
pub(crate) fn trap_origin(code: i32) -> TrapOrigin {
    match code {
        TRAP_BRKPT => TrapOrigin::Breakpoint,
        TRAP_TRACE => TrapOrigin::Step,
        _ => TrapOrigin::Sent,
    }
}

/// The portable parts of a siginfo; `None` if its number is no signal's.
pub(crate) fn signal_info(info: &SigInfo) -> Option<SignalInfo> {
    let sent = matches!(info.code, SI_USER | SI_QUEUE | SI_LWP);
    let carries = matches!(info.code, SI_QUEUE | SI_TIMER | SI_ASYNCIO | SI_MESGQ);
    let at_address =
        info.is_fault() || (info.signo == SIGTRAP && (1..SI_USER).contains(&info.code));
    let mut known = SignalInfo::new(Signal::from_raw(info.signo)?, info.code);
    known.errno = info.errno;
    known.sender = Pid::new(info.pid).filter(|_| sent);
    known.sender_uid = sent.then_some(info.uid);
    known.addr = at_address.then_some(info.addr);
    known.value = carries.then_some(info.value);
    Some(known)
}

/// What `PT_GET_SC_RET` says. Positive is an error number; of the kernel's own negative ones
/// (`sys/errno.h`), EJUSTRETURN is a success without a value, as of an exec, and ERESTART (-1) a
/// call that will be made again.
pub(crate) fn syscall_result(error: i32, value: u64) -> Result<u64, i32> {
    const EJUSTRETURN: i32 = -2;
    match error {
        0 => Ok(value),
        EJUSTRETURN => Ok(0),
        error => Err(error),
    }
}

#[cfg(test)]
mod tests;
