//! The memory of a child that was born undumpable.
//!
//! A program that makes itself undumpable (`PR_SET_DUMPABLE` in `prctl(2)`), or has dropped its
//! privileges, hands that down to its children, and with it copies of our breakpoints; and of a
//! child there is no file that was opened before. All ways to its memory are closed to a tracer
//! without CAP_SYS_PTRACE. But its registers are not, and at its first stop it stands behind the very
//! instruction by which its creator called the kernel. So it is led to make that call three times more:
//! to ask what it is, to become dumpable, and, once its memory file is open, to become what it was.
//! It runs no other instruction meanwhile, is stopped between, and nothing of it is left.
//!
//! If it has become another user besides, its memory file is opened by a thread of ours that is that
//! user to the file system (`setfsuid(2)`), for which the tracer needs CAP_SETUID and CAP_SETGID, as
//! root has them in a container without CAP_SYS_PTRACE.

use std::thread;

use trapline_core::backend::{RawKind, RawReason, Run, Thread};
use trapline_core::{Error, Result, Signal, Tid};

use crate::decode::{self, Change};
use crate::ffi::PTRACE_EVENT_STOP;
use crate::proc;
use crate::regs::{self, Raw};
use crate::sys::{Kernel, Peek, Target, become_user, is_dumpable, set_dumpable};

use super::file::Opened;

/// Opens the memory file of a child at its first stop, if that can be done.
pub(super) fn unlock(kernel: &Kernel, thread: Thread, file: &mut Opened) -> Result<()> {
    let Some(before) = standing(kernel, thread.tid)? else { return Ok(()) };
    let Some(user) = user(kernel, thread.tid)? else { return Ok(()) };
    let mask = kernel.signal_mask(thread.tid)?;
    // What is sent to it meanwhile waits. SIGSTOP cannot be told to, and is sent again.
    kernel.set_signal_mask(thread.tid, !0)?;
    let mut detour = Detour { kernel, thread, before, stops: Vec::new() };
    let opened = detour.open(user, file);
    let restored = kernel
        .set_registers(thread.tid, &before)
        .and_then(|()| kernel.set_signal_mask(thread.tid, mask));
    for signal in detour.stops {
        kernel.kill_thread(thread, signal)?;
    }
    opened.and(restored)
}

/// The registers of a thread that stands right behind the system call that has made it, if it is
/// safe to have it make others there.
fn standing(kernel: &Kernel, tid: Tid) -> Result<Option<Raw>> {
    let event = decode::event_of(&kernel.siginfo(tid)?);
    if u32::try_from(event) != Ok(PTRACE_EVENT_STOP) {
        return Ok(None);
    }
    let Some(status) = proc::read(kernel, tid.as_raw(), "status")? else { return Ok(None) };
    let status = String::from_utf8_lossy(&status);
    let is = |name: &str, value: &str| {
        status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim) == Some(value)
    };
    // Each stop is one: of its own free will it has given up the CPU for this one alone.
    let is_first_stop = is("voluntary_ctxt_switches:", "1");
    let registers = kernel.registers(tid)?;
    if !regs::is_behind_its_birth(&registers, is_first_stop) {
        return Ok(None);
    }
    // A filter may kill it for a call that it never makes by itself.
    Ok(is("Seccomp:", "0").then_some(registers))
}

/// Whose process it is: the one user and the one group, by number.
type User = (u32, u32);

/// `None` if its ids are not all the same.
fn user(kernel: &Kernel, tid: Tid) -> Result<Option<User>> {
    let Some(status) = proc::read(kernel, tid.as_raw(), "status")? else { return Ok(None) };
    let status = String::from_utf8_lossy(&status);
    let the_one = |name: &str| {
        let ids = status.lines().find_map(|line| line.strip_prefix(name))?;
        let mut ids = ids.split_whitespace().map(|id| id.parse::<u32>().ok());
        let first = ids.next()??;
        ids.all(|id| id == Some(first)).then_some(first)
    };
    Ok(the_one("Uid:").zip(the_one("Gid:")))
}

/// A thread on its way through calls that are not its own.
struct Detour<'a> {
    kernel: &'a Kernel,
    thread: Thread,
    before: Raw,
    /// Stop signals that have come meanwhile.
    stops: Vec<Signal>,
}

impl Detour<'_> {
    fn open(&mut self, user: User, file: &mut Opened) -> Result<()> {
        const GET: u64 = libc::PR_GET_DUMPABLE as u64;
        const SET: u64 = libc::PR_SET_DUMPABLE as u64;
        let was = self.call(libc::SYS_prctl, [GET, 0])?;
        if was != 1 && self.call(libc::SYS_prctl, [SET, 1])? != 0 {
            return Ok(());
        }
        *file = Opened::Untried;
        let mut opened = file.open(self.kernel, self.thread);
        if opened.is_ok() && !file.is_open() {
            opened = self.open_as(user, file);
        }
        if was != 1 {
            // 2, "for root alone", is what no program can set.
            self.call(libc::SYS_prctl, [SET, 0])?;
        }
        opened
    }

    /// The same by a thread that is that user. What it changes of itself ends with it, but for this:
    /// to the kernel the whole process has become undumpable by it.
    fn open_as(&self, (user, group): User, file: &mut Opened) -> Result<()> {
        let was_dumpable = is_dumpable();
        let kernel = self.kernel.another();
        let target = self.thread;
        let opened = thread::Builder::new().name("trapline-memory".into()).spawn(move || {
            let mut file = Opened::Untried;
            if become_user(user, group) {
                let _ = file.open(&kernel, target);
            }
            file
        });
        if let Some(opened) = opened.ok().and_then(|opened| opened.join().ok()) {
            *file = opened;
        }
        if was_dumpable {
            set_dumpable();
        }
        if matches!(file, Opened::Untried) {
            *file = Opened::Closed(libc::EACCES);
        }
        Ok(())
    }

    /// Has it make a call; what that returned.
    fn call(&mut self, number: libc::c_long, arguments: [u64; 2]) -> Result<i64> {
        let registers = regs::calling(&self.before, number, arguments);
        self.kernel.set_registers(self.thread.tid, &registers)?;
        self.run_to_system_call()?;
        self.run_to_system_call()?;
        Ok(regs::returned(&self.kernel.registers(self.thread.tid)?))
    }

    /// To the entry of a call, or to its exit.
    fn run_to_system_call(&mut self) -> Result<()> {
        let tid = self.thread.tid;
        loop {
            self.kernel.resume(tid, Run::Syscall, None)?;
            match self.kernel.peek(Target::Tid(tid), false)? {
                Peek::Changed(Change::Stopped(_)) => {}
                // Its end is left for a wait.
                Peek::Changed(Change::Ended) | Peek::NoChild | Peek::Nothing => {
                    return Err(Error::GONE);
                }
            }
            let Some(status) = self.kernel.take_stop(tid)? else { return Err(Error::GONE) };
            match decode::stop(tid, status).kind {
                RawKind::Stop(RawReason::Syscall) => return Ok(()),
                RawKind::Stop(RawReason::Signal { signal, .. }) => self.stops.push(signal),
                RawKind::Stop(RawReason::ThreadExiting) | RawKind::Ended(_) => {
                    return Err(Error::GONE);
                }
                RawKind::Stop(_) => {}
            }
        }
    }
}
