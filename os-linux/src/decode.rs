//! What the kernel's numbers mean: pure functions, integers in and stops out.

use trapline_core::backend::{OnExit, RawKind, RawReason, RawStop, Setup};
use trapline_core::{EventFlags, ExitStatus, ForkKind, Pid, Signal, SignalInfo, Tid};

use crate::ffi::{PTRACE_EVENT_STOP, Siginfo};

/// Fork, vfork, vfork-done, clone and exec are always on: only a stopped thread's options can be
/// changed, and the engine hides what was not asked for. The bit of a system call's stop tells it
/// from a `SIGTRAP`.
const ALWAYS: i32 = libc::PTRACE_O_TRACESYSGOOD
    | libc::PTRACE_O_TRACEFORK
    | libc::PTRACE_O_TRACEVFORK
    | libc::PTRACE_O_TRACECLONE
    | libc::PTRACE_O_TRACEEXEC
    | libc::PTRACE_O_TRACEVFORKDONE;

/// The options of `PTRACE_SEIZE` and `PTRACE_SETOPTIONS`.
pub(crate) fn options(setup: Setup) -> i32 {
    let mut options = ALWAYS;
    if setup.flags.contains(EventFlags::EXIT) {
        options |= libc::PTRACE_O_TRACEEXIT;
    }
    if setup.on_exit == OnExit::Kill {
        options |= libc::PTRACE_O_EXITKILL;
    }
    options
}

/// A wait status (`wait(2)`, and `ptrace(2)` for the bits above 16).
pub(crate) fn stop(tid: Tid, status: i32) -> RawStop {
    let kind = match ended(status) {
        Some(ended) => RawKind::Ended(ended),
        None => RawKind::Stop(reason(status)),
    };
    RawStop { pid: None, tid: Some(tid), kind }
}

/// The wait status of an end; `None` for that of a stop.
pub(crate) fn ended(status: i32) -> Option<ExitStatus> {
    if libc::WIFEXITED(status) {
        return Some(ExitStatus::Code(libc::WEXITSTATUS(status)));
    }
    if libc::WIFSIGNALED(status) {
        let signal = Signal::from_raw(libc::WTERMSIG(status))?;
        let core_dumped = libc::WCOREDUMP(status);
        return Some(ExitStatus::Killed { signal, core_dumped });
    }
    None
}

fn reason(status: i32) -> RawReason {
    let raw = status as u32;
    let unknown = RawReason::Unknown { raw };
    if !libc::WIFSTOPPED(status) {
        return unknown;
    }
    let (event, number) = (raw >> 16, (status >> 8) & 0xff);
    if event == 0 && number == libc::SIGTRAP | 0x80 {
        return RawReason::Syscall;
    }
    let Some(signal) = Signal::from_raw(number) else {
        return unknown;
    };
    let forked = |kind| RawReason::Forked { kind, task: None };
    match event as i32 {
        0 => RawReason::Signal { signal, trap: None },
        libc::PTRACE_EVENT_FORK => forked(ForkKind::Fork),
        libc::PTRACE_EVENT_VFORK => forked(ForkKind::Vfork),
        libc::PTRACE_EVENT_CLONE => forked(ForkKind::Clone),
        libc::PTRACE_EVENT_VFORK_DONE => RawReason::VforkDone,
        libc::PTRACE_EVENT_EXEC => RawReason::Execed { former_tid: None },
        libc::PTRACE_EVENT_EXIT => RawReason::ThreadExiting,
        libc::PTRACE_EVENT_SECCOMP => RawReason::SyscallFiltered,
        _ if event == PTRACE_EVENT_STOP && signal == Signal::TRAP => RawReason::Paused,
        _ if event == PTRACE_EVENT_STOP && signal.stops() => RawReason::GroupStop(signal),
        _ => unknown,
    }
}

/// Whether an event message could be an exit code.
///
/// A tracee that is killed at an event goes on to its exit stop, and what was a thread's id is
/// the code it ends with: a signal's number, perhaps with the bit of a core file, or what it
/// passed to `exit`, times 256.
pub(crate) fn could_be_exit_code(message: u64) -> bool {
    message < 0x100 || (message < 0x1_0000 && message & 0xff == 0)
}

/// The event of a stop, from its `si_code`: that is what the wait status had above bit 8.
pub(crate) fn event_of(info: &Siginfo) -> i32 {
    int(info, 8) >> 8
}

/// The event of a stop, 0 at one for a signal: there the code is whatever its sender says, mostly a
/// small or a negative number.
pub(crate) fn event_of_stop(info: &Siginfo) -> i32 {
    let (signal, code) = (int(info, 0), int(info, 8));
    if code > 0 && code & 0xff == signal { code >> 8 } else { 0 }
}

/// Sets `si_addr`.
pub(crate) fn set_addr(info: &mut Siginfo, addr: u64) {
    if let Some(bytes) = info.0.get_mut(16..24) {
        bytes.copy_from_slice(&addr.to_ne_bytes());
    }
}

/// Whether the stop is one of a system call (`PTRACE_O_TRACESYSGOOD`).
pub(crate) fn is_syscall_stop(info: &Siginfo) -> bool {
    int(info, 8) == libc::SIGTRAP | 0x80
}

/// A `siginfo_t`, by the layouts that the kernel chooses among (`siginfo_layout` in
/// `kernel/signal.c`); `None` if it names no signal.
pub(crate) fn signal_info(info: &Siginfo) -> Option<SignalInfo> {
    const SI_USER: i32 = 0;
    const SI_KERNEL: i32 = 0x80;
    let signal = Signal::from_raw(int(info, 0))?;
    let code = int(info, 8);
    // Above are SI_KERNEL, which has nothing more, and the events of ptrace.
    let made_by_kernel = code > SI_USER && code < SI_KERNEL;
    // The child's own report says what its parent is.
    let has_sender = match code {
        libc::SI_TIMER | libc::SI_SIGIO => false,
        _ => code <= SI_USER || (made_by_kernel && signal == Signal::CHLD),
    };
    let has_addr = made_by_kernel
        && [Signal::SEGV, Signal::BUS, Signal::ILL, Signal::FPE, Signal::TRAP].contains(&signal);
    let has_value = code < SI_USER && code != libc::SI_SIGIO && code != libc::SI_TKILL;
    let mut known = SignalInfo::new(signal, code);
    known.errno = int(info, 4);
    // 0 is a sender outside of this pid namespace.
    known.sender = Pid::new(int(info, 16)).filter(|_| has_sender);
    known.sender_uid = has_sender.then(|| int(info, 20) as u32);
    known.addr = has_addr.then(|| long(info, 16));
    known.value = has_value.then(|| long(info, 24));
    Some(known)
}

/// The number of its signal.
pub(crate) fn signal_of(info: &Siginfo) -> i32 {
    int(info, 0)
}

/// A change of a child that `waitid` tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// It has ended.
    Ended,
    /// Job control or a tracer has it stopped; the signal, and above that the event.
    Stopped(i32),
}

/// What `waitid` has found; `None` for nothing.
pub(crate) fn change(info: &Siginfo) -> Option<Change> {
    match (int(info, 16), int(info, 8)) {
        (0, _) => None,
        (_, libc::CLD_EXITED | libc::CLD_KILLED | libc::CLD_DUMPED) => Some(Change::Ended),
        _ => Some(Change::Stopped(int(info, 24))),
    }
}

/// Whom `waitid` has found, if anybody.
pub(crate) fn changed(info: &Siginfo) -> Option<Tid> {
    Some(int(info, 16)).filter(|&tid| tid != 0).map(Tid::from_raw)
}

/// The 32-bit number at an offset, which is a constant of this file.
pub(crate) fn int(info: &Siginfo, at: usize) -> i32 {
    i32::from_ne_bytes(std::array::from_fn(|i| info.0[at + i]))
}

/// The 64-bit number at an offset, which is a constant of this file.
pub(crate) fn long(info: &Siginfo, at: usize) -> u64 {
    u64::from_ne_bytes(std::array::from_fn(|i| info.0[at + i]))
}

#[cfg(test)]
mod tests;
