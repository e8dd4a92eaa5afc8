//! What a back end answers: stops as the kernel tells them, and what it is asked for.

use std::process::Child;

use crate::{ExitStatus, ForkKind, Pid, Signal, Tid};

/// What a wait found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waited {
    /// A stop or an end.
    Stop(RawStop),
    /// Nothing, for as long as was asked.
    Nothing,
    /// There is no tracee left that could stop.
    NoTracees,
    /// A waker ended the wait.
    Woken,
}

/// What the kernel said of a tracee.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RawStop {
    /// The process, where the kernel said it.
    pub pid: Option<Pid>,
    /// The thread, where the kernel said it: always for a stop.
    pub tid: Option<Tid>,
    /// What happened.
    pub kind: RawKind,
}

/// Whether it stopped or ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RawKind {
    /// The thread stopped.
    Stop(RawReason),
    /// The thread ended, or, with a `pid` alone or a process's last thread, the process.
    Ended(ExitStatus),
}

/// Why a thread stopped, in the kernel's own terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RawReason {
    /// About to deliver a signal.
    Signal {
        /// The signal.
        signal: Signal,
        /// For `SIGTRAP`: where it comes from.
        trap: Option<TrapOrigin>,
    },
    /// Stopped by job control.
    GroupStop(Signal),
    /// Stopped because the tracer asked, or because it is new, or because a group-stop ended.
    Paused,
    /// Has made a task.
    Forked {
        /// How.
        kind: ForkKind,
        /// What.
        task: Option<NewTask>,
    },
    /// Its vfork child has exec'ed or ended.
    VforkDone,
    /// Has exec'ed.
    Execed {
        /// The id before it.
        former_tid: Option<Tid>,
    },
    /// The first stop of a new thread.
    ThreadStarted,
    /// On its way out.
    ThreadExiting,
    /// In a system call, at its entry or its exit; the engine knows which.
    Syscall,
    /// At the entry of a system call.
    SyscallEntry,
    /// At the exit of a system call.
    SyscallExit,
    /// At the entry of a system call that a filter of the process has picked out, whether system
    /// calls are traced or not.
    SyscallFiltered,
    /// Something else.
    Unknown {
        /// The kernel's own words.
        raw: u32,
    },
}

/// What a fork or clone has made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NewTask {
    /// A thread of the same process.
    Thread(Tid),
    /// A process.
    Process {
        /// Its id.
        pid: Pid,
        /// Whether it is a sibling of its creator (`CLONE_PARENT`), not a child.
        sibling: bool,
    },
}

/// Where a `SIGTRAP` comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TrapOrigin {
    /// A single step is done.
    Step,
    /// A breakpoint instruction.
    Breakpoint,
    /// A debug register.
    Hardware,
    /// Not a trap at all: somebody sent the signal.
    Sent,
}

/// What is known about a signal: the parts of `siginfo_t` that both systems have.
///
/// ```
/// use trapline::SignalInfo;
///
/// fn describe(info: &SignalInfo) -> String {
///     match (info.addr, info.sender) {
///         (Some(addr), _) => format!("{} at {addr:#x}", info.signal),
///         (None, Some(sender)) => format!("{} from process {sender}", info.signal),
///         (None, None) => info.signal.to_string(),
///     }
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct SignalInfo {
    /// The signal.
    pub signal: Signal,
    /// `si_code`, in the system's own numbering: positive if the kernel made the signal.
    pub code: i32,
    /// `si_errno`.
    pub errno: i32,
    /// The sender, if a process sent the signal that the tracer can name.
    pub sender: Option<Pid>,
    /// The sender's real user id.
    pub sender_uid: Option<u32>,
    /// `si_addr`, for the kernel's own `SIGSEGV`, `SIGBUS`, `SIGILL`, `SIGFPE` and `SIGTRAP`.
    pub addr: Option<u64>,
    /// `si_value`, for signals that carry one.
    pub value: Option<u64>,
}

impl SignalInfo {
    /// Of a signal of which nothing more is known: for back ends.
    #[doc(hidden)]
    pub fn new(signal: Signal, code: i32) -> Self {
        SignalInfo {
            signal,
            code,
            errno: 0,
            sender: None,
            sender_uid: None,
            addr: None,
            value: None,
        }
    }
}

/// A system call, at its entry or its exit.
///
/// ```
/// use trapline::Syscall;
///
/// fn describe(call: &Syscall) -> String {
///     match call.result {
///         None => format!("call {} with {:x?}", call.number, call.args),
///         Some(Ok(value)) => format!("call {} = {value}", call.number),
///         Some(Err(errno)) => format!("call {} failed: error {errno}", call.number),
///     }
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Syscall {
    /// The ABI that it was made by, which says what its number means.
    pub abi: SyscallAbi,
    /// Its number in that ABI.
    pub number: u64,
    /// Its arguments. Those of [`SyscallAbi::Bits32`] have 32 bits each, zero-extended.
    pub args: [u64; 6],
    /// What it returned, at its exit: the value, or the error number.
    pub result: Option<std::result::Result<u64, i32>>,
}

impl Syscall {
    /// For back ends.
    #[doc(hidden)]
    pub fn new(
        abi: SyscallAbi,
        number: u64,
        args: [u64; 6],
        result: Option<std::result::Result<u64, i32>>,
    ) -> Self {
        Syscall { abi, number, args, result }
    }
}

/// The ABI of a system call: a table of numbers, and a width of arguments.
///
/// It belongs to the call, not to the program: a 64-bit program can make 32-bit calls.
///
/// ```
/// use trapline::{Syscall, SyscallAbi};
///
/// /// `write` has another number in each ABI (here of Linux on x86).
/// fn is_write(call: &Syscall) -> bool {
///     match call.abi {
///         SyscallAbi::Bits64 => call.number == 1,
///         SyscallAbi::Bits32 => call.number == 4,
///         _ => false,
///     }
/// }
/// ```
///
/// # Platform notes
///
/// On Linux on x86-64, `syscall` in 64-bit code makes a 64-bit call; `int 0x80`, `sysenter` and
/// `syscall` in 32-bit code make 32-bit ones, and so does `int 0x80` in 64-bit code. A call of the
/// x32 ABI is a 64-bit call whose number has bit 30 set. On FreeBSD the program decides, not the
/// instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SyscallAbi {
    /// The one of 64-bit programs.
    Bits64,
    /// The one of 32-bit programs.
    Bits32,
}

/// A program that was started.
#[derive(Debug)]
pub struct RawSpawn {
    /// Its process.
    pub pid: Pid,
    /// What std knows of it; `None` only from a back end that starts no real process.
    pub child: Option<Child>,
    /// Its exec stop; `None` if it was killed before that.
    pub stop: Option<RawStop>,
    /// Stops and ends of other tracees that came meanwhile.
    pub meanwhile: Vec<RawStop>,
}

/// A process that was attached to.
#[derive(Debug)]
pub struct RawAttach {
    /// Its threads that are traced now.
    pub threads: Vec<Tid>,
    /// Its real parent.
    pub real_parent: Option<Pid>,
    /// Stops that were waited for meanwhile.
    pub meanwhile: Vec<RawStop>,
}

/// A process in a list of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Listed {
    /// The process.
    pub pid: Pid,
    /// Its real parent, whoever traces it.
    pub parent: Pid,
    /// A number that it shares with those that were forked from it, until an exec, and that
    /// others have only by chance; `None` where the kernel does not tell.
    pub image: Option<u64>,
}
