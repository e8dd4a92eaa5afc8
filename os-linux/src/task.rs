//! What a thread has made at a fork event, and what it was before its exec: the event's message,
//! and what the message does not say.

use trapline_core::backend::{NewTask, Setup, Thread};
use trapline_core::{Error, EventFlags, ForkKind, Pid, Result, Tid};

use crate::regs::{CloneCall, clone_call};
use crate::{Linux, decode, process};

/// `clone(2)`: the new task is a child of its creator's parent.
const CLONE_PARENT: u64 = libc::CLONE_PARENT as u64;
/// `clone(2)`: the new task is a thread of its creator's process.
const CLONE_THREAD: u64 = libc::CLONE_THREAD as u64;

/// Whether `clone3` can have made a process with these flags, if it was reported as such a one. It was
/// not if the address that the registers give is not that of the arguments.
fn could_be_clone3(flags: u64, kind: Option<ForkKind>) -> bool {
    const CSIGNAL: u64 = 0xff;
    const CLONE_VFORK: u64 = libc::CLONE_VFORK as u64;
    const KNOWN: u64 = (1 << 34) - 1; // up to CLONE_INTO_CGROUP
    let vfork = flags & CLONE_VFORK != 0;
    let fits = flags & (CSIGNAL | CLONE_THREAD) == 0 && flags & !KNOWN == 0;
    fits && kind.is_none_or(|kind| vfork == (kind == ForkKind::Vfork))
}

impl Linux {
    /// What a thread has made, in one request beyond the event's message for threads, `fork`,
    /// `vfork` and `clone`.
    ///
    /// The kind of the event does not say it (`kernel_clone` in `kernel/fork.c`): any exit signal
    /// but SIGCHLD gives a clone event, which a thread has as well.
    pub(crate) fn task_of(&mut self, parent: Thread, setup: Setup) -> Result<NewTask> {
        let event = [libc::PTRACE_EVENT_FORK, libc::PTRACE_EVENT_VFORK, libc::PTRACE_EVENT_CLONE];
        let new = self.message_of(parent.tid, &event, setup)?;
        let kind = self.last_fork.filter(|&(tid, _)| tid == parent.tid);
        let kind = kind.map(|(_, kind)| kind);
        let process = |sibling| NewTask::Process { pid: Pid::from_raw(new.as_raw()), sibling };
        // Most clones make threads.
        let mut is_process = false;
        if kind == Some(ForkKind::Clone) {
            if self.kernel.is_thread_of(parent.pid, new) {
                return Ok(NewTask::Thread(new));
            }
            is_process = true;
        }
        let registers = self.kernel.registers(parent.tid)?;
        let flags_at = match clone_call(&registers) {
            CloneCall::Fork => return Ok(process(false)),
            CloneCall::Clone(flags) if flags & CLONE_THREAD != 0 => {
                return Ok(NewTask::Thread(new));
            }
            CloneCall::Clone(flags) => return Ok(process(flags & CLONE_PARENT != 0)),
            // clone3 takes an exit signal with neither of the two (`clone3_args_valid`).
            CloneCall::Clone3(_) if kind == Some(ForkKind::Fork) => return Ok(process(false)),
            CloneCall::Clone3(args) => Some(args),
            CloneCall::Other => None,
        };
        // The arguments of clone3 are in memory, where another thread may have changed them since.
        // Whether it is a thread the kernel knows.
        if !is_process && self.kernel.is_thread_of(parent.pid, new) {
            return Ok(NewTask::Thread(new));
        }
        if let Some(args) = flags_at {
            let mut flags = [0; 8];
            if let Ok(8) = self.memory.read(&self.kernel, parent, args, &mut flags) {
                let flags = u64::from_ne_bytes(flags);
                if could_be_clone3(flags, kind) {
                    return Ok(process(flags & CLONE_PARENT != 0));
                }
            }
        }
        match process::status(&self.kernel, new.as_raw()) {
            Ok(Some(status)) => Ok(process(status.ppid != parent.pid.as_raw())),
            // Nobody tells, or it was killed and is gone.
            Ok(None) | Err(Error::Gone { .. }) => Ok(process(false)),
            Err(error) => Err(error),
        }
    }

    /// The id of a thread before its exec.
    pub(crate) fn tid_before_exec(&mut self, thread: Thread, setup: Setup) -> Result<Tid> {
        self.message_of(thread.tid, &[libc::PTRACE_EVENT_EXEC], setup)
    }

    /// The thread id in the message of an event.
    ///
    /// A thread that was killed at the event may have gone on to its exit stop, if it reports
    /// one, and then the message is its exit code. If it could be, the stop is asked what it is.
    fn message_of(&mut self, tid: Tid, events: &[i32], setup: Setup) -> Result<Tid> {
        let message = self.kernel.event_message(tid)?;
        if setup.flags.contains(EventFlags::EXIT) && decode::could_be_exit_code(message) {
            let event = decode::event_of(&self.kernel.siginfo(tid)?);
            if !events.contains(&event) {
                return Err(Error::GONE);
            }
        }
        match i32::try_from(message) {
            Ok(id) if id > 0 => Ok(Tid::from_raw(id)),
            // 0: it was killed before the message was there, or it is in a namespace where the
            // tracer cannot see it.
            _ => Err(Error::GONE),
        }
    }
}
