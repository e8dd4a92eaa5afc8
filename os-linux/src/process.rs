//! What `/proc` says of processes and threads (`proc(5)`), and what is known without it. `None` is no
//! answer, from a process that exists.

use std::ffi::OsString;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use trapline_core::backend::{Disposition, Listed, Thread};
use trapline_core::{Error, Pid, Result, Signal, Tid};

use crate::proc;
use crate::sys::Kernel;

/// The lines of `/proc/<id>/status` that are needed here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Status {
    /// `R`, `S`, `D`, `T` (stopped), `t` (stopped by a tracer), `Z`, `X`, ...
    pub(crate) state: u8,
    /// The process.
    pub(crate) tgid: i32,
    /// The process of its real parent, whoever traces it; 0 if that is in another namespace.
    pub(crate) ppid: i32,
    /// The thread that traces it, or 0.
    pub(crate) tracer: i32,
    /// How many threads its process has, with those that have ended and were not waited for.
    pub(crate) threads: usize,
    /// Its effective user.
    pub(crate) user: u32,
    /// Its effective capabilities.
    pub(crate) capabilities: u64,
    /// The signals that wait for this thread alone, the lowest bit for signal 1.
    pub(crate) pending: u64,
    /// The signals that its process ignores.
    pub(crate) ignored: u64,
    /// The signals that its process has handlers for.
    pub(crate) caught: u64,
    /// Whether its system calls are filtered, if the kernel tells: 0 if not.
    pub(crate) seccomp: Option<u8>,
}

impl Status {
    /// Whether it has ended.
    pub(crate) fn has_ended(&self) -> bool {
        matches!(self.state, b'Z' | b'X' | b'x')
    }

    /// Whether a signal waits for this thread alone.
    pub(crate) fn has_pending(&self, signal: Signal) -> bool {
        has(self.pending, signal)
    }

    /// What a signal does to its process.
    pub(crate) fn disposition(&self, signal: Signal) -> Disposition {
        // The default of these is to do nothing, or nothing that the program sees.
        let harmless = matches!(signal, Signal::CHLD | Signal::URG | Signal::WINCH | Signal::CONT);
        if has(self.caught, signal) {
            Disposition::Caught
        } else if has(self.ignored, signal) || harmless || signal.stops() {
            Disposition::Ignored
        } else {
            Disposition::Ends
        }
    }

    fn parse(text: &[u8]) -> Option<Self> {
        let field = |name: &str| {
            text.split(|&byte| byte == b'\n')
                .find_map(|line| line.strip_prefix(name.as_bytes())?.strip_prefix(b":"))
                .and_then(|value| std::str::from_utf8(value).ok())
        };
        let number = |name| field(name)?.trim().parse().ok();
        let number_of = |name| field(name)?.trim().parse().ok();
        Some(Self {
            state: *field("State")?.trim().as_bytes().first()?,
            tgid: number("Tgid")?,
            ppid: number("PPid")?,
            tracer: number("TracerPid")?,
            threads: field("Threads")?.trim().parse().ok()?,
            user: field("Uid")?.split_whitespace().nth(1)?.parse().ok()?,
            capabilities: u64::from_str_radix(field("CapEff")?.trim(), 16).ok()?,
            pending: u64::from_str_radix(field("SigPnd")?.trim(), 16).ok()?,
            ignored: u64::from_str_radix(field("SigIgn")?.trim(), 16).ok()?,
            caught: u64::from_str_radix(field("SigCgt")?.trim(), 16).ok()?,
            seccomp: number_of("Seccomp"),
        })
    }
}

/// Whether a set of signals, the lowest bit for signal 1, has one.
fn has(set: u64, signal: Signal) -> bool {
    let bit = u32::try_from(signal.as_raw() - 1).unwrap_or(u32::MAX);
    set.checked_shr(bit).is_some_and(|bits| bits & 1 != 0)
}

/// The status of a process or of a thread.
pub(crate) fn status(kernel: &Kernel, id: i32) -> Result<Option<Status>> {
    let Some(text) = proc::read(kernel, id, "status")? else { return Ok(None) };
    Status::parse(&text).map(Some).ok_or_else(|| malformed("/proc/<id>/status", id))
}

/// A thread's state, as [`Status::state`] has it, by a shorter file.
pub(crate) fn state(kernel: &Kernel, tid: Tid) -> Result<Option<u8>> {
    let Some(text) = proc::read(kernel, tid.as_raw(), "stat")? else { return Ok(None) };
    let fields = after_name(&text).and_then(|fields| fields.first().copied());
    fields.map(Some).ok_or_else(|| malformed("/proc/<id>/stat", tid.as_raw()))
}

/// How many descriptors there is room for in the table of this process.
pub(crate) fn descriptors(kernel: &Kernel) -> Option<u32> {
    let text = proc::read(kernel, std::process::id() as i32, "status").ok()??;
    let text = String::from_utf8_lossy(&text);
    text.lines().find_map(|line| line.strip_prefix("FDSize:"))?.trim().parse().ok()
}

/// Whether a thread sleeps in the kernel; `None` where nobody tells.
pub(crate) fn is_asleep(kernel: &Kernel, tid: Tid) -> Result<Option<bool>> {
    let Some(text) = proc::read(kernel, tid.as_raw(), "stat")? else { return Ok(None) };
    let state = after_name(&text).and_then(|fields| fields.first().copied());
    match state.ok_or_else(|| malformed("/proc/<id>/stat", tid.as_raw()))? {
        b'Z' | b'X' | b'x' => Err(Error::GONE),
        state => Ok(Some(!matches!(state, b'R' | b'T' | b't'))),
    }
}

/// The number of a parent, which is 0 in a namespace where the parent is not.
pub(crate) fn parent(raw: i32) -> Option<Pid> {
    (raw > 0).then(|| Pid::from_raw(raw))
}

/// All processes that have not ended, but for those whose parent is in another namespace and for
/// the kernel's own.
pub(crate) fn all(kernel: &Kernel) -> Result<Vec<Listed>> {
    let mut all = Vec::new();
    for pid in proc::processes(kernel)? {
        let Ok(Some(text)) = proc::read(kernel, pid, "stat") else { continue };
        if let Some(parent) = parent_in(&text) {
            let (pid, parent) = (Pid::from_raw(pid), Pid::from_raw(parent));
            all.push(Listed { pid, parent, image: image(&text) });
        }
    }
    Ok(all)
}

/// The real parent in a `stat` of a process that has not ended.
fn parent_in(stat: &[u8]) -> Option<i32> {
    let fields = std::str::from_utf8(after_name(stat)?).ok()?;
    let (state, fields) = fields.split_once(' ')?;
    let parent: i32 = fields.split(' ').next()?.parse().ok()?;
    (!matches!(state, "Z" | "X" | "x") && parent > 0).then_some(parent)
}

/// Where the kernel has put program, heap and stack (`startcode`, `startstack`, `start_brk` and
/// `arg_start` in `proc_pid_stat(5)`): random at each exec, and copied by a fork. `None` where the
/// kernel does not tell us, and has zeros or ones.
fn image(stat: &[u8]) -> Option<u64> {
    let fields = std::str::from_utf8(after_name(stat)?).ok()?;
    // The first field here is the third one of the file.
    let field = |number: usize| fields.split(' ').nth(number - 3)?.trim().parse::<u64>().ok();
    let layout = [field(26)?, field(28)?, field(47)?, field(48)?];
    let mut hasher = DefaultHasher::new();
    layout.hash(&mut hasher);
    (layout[1] > 1).then(|| hasher.finish())
}

/// Whether it is a thread of the kernel's own (`PF_KTHREAD` in `include/linux/sched.h`).
pub(crate) fn is_kernel_thread(kernel: &Kernel, id: i32) -> bool {
    const PF_KTHREAD: u64 = 0x0020_0000;
    let flags = |text: Vec<u8>| {
        let fields = std::str::from_utf8(after_name(&text)?).ok()?;
        fields.split(' ').nth(6)?.parse::<u64>().ok()
    };
    let flags = proc::read(kernel, id, "stat").ok().flatten().and_then(flags);
    flags.is_some_and(|flags| flags & PF_KTHREAD != 0)
}

/// The fields of `stat` behind the name, which may itself have spaces and brackets.
fn after_name(stat: &[u8]) -> Option<&[u8]> {
    let end = stat.iter().rposition(|&byte| byte == b')')?;
    stat.get(end + 2..)
}

/// A thread's name.
pub(crate) fn name(kernel: &Kernel, id: i32) -> Result<String> {
    let name = proc::read(kernel, id, "comm")?.unwrap_or_default();
    Ok(String::from_utf8_lossy(name.trim_ascii_end()).into_owned())
}

/// `kernel.yama.ptrace_scope`, on a kernel that has it.
pub(crate) fn yama(kernel: &Kernel) -> Option<u8> {
    let scope = proc::setting(kernel, "sys/kernel/yama/ptrace_scope")?;
    std::str::from_utf8(&scope).ok()?.trim().parse().ok()
}

/// The threads of a process, its first one too if that has ended before the others.
///
/// A thread that ends while it is listed can end the list (`next_tid` in `fs/proc/base.c`), so a
/// list that is too short is made again.
pub(crate) fn threads(kernel: &Kernel, pid: Pid) -> Result<Vec<Tid>> {
    const TRIES: usize = 10;
    let list = || {
        let Some(tids) = proc::numbers(kernel, pid.as_raw(), "task")? else {
            return Ok(every_thread(kernel, pid));
        };
        Ok(tids.into_iter().map(Tid::from_raw).collect::<Vec<Tid>>())
    };
    let mut threads = list()?;
    for _ in 0..TRIES {
        match status(kernel, pid.as_raw())? {
            Some(status) if status.threads > threads.len() => threads = list()?,
            _ => break,
        }
    }
    Ok(threads)
}

/// How many threads a process has, if the kernel tells.
pub(crate) fn thread_count(kernel: &Kernel, pid: Pid) -> Option<usize> {
    status(kernel, pid.as_raw()).ok()?.map(|status| status.threads)
}

/// The same list by asking for every number that a thread can have, which can take a good part of a
/// second: where `/proc` does not tell, nothing else lists them.
fn every_thread(kernel: &Kernel, pid: Pid) -> Vec<Tid> {
    let most = number_limit(kernel).max(pid.as_raw());
    (1..=most).map(Tid::from_raw).filter(|&tid| kernel.is_thread_of(pid, tid)).collect()
}

/// The greatest number that a thread can have (`kernel.pid_max`, which any `/proc` tells).
fn number_limit(kernel: &Kernel) -> i32 {
    /// `PID_MAX_LIMIT` of 64-bit kernels (`include/linux/threads.h`).
    const MOST: i32 = 4 << 20;
    kernel.count();
    let limit = std::fs::read_to_string("/proc/sys/kernel/pid_max").ok();
    limit.and_then(|limit| limit.trim().parse().ok()).filter(|limit| *limit > 0).unwrap_or(MOST)
}

/// The program that a process runs; " (deleted)" stands behind the path of one that is not there
/// any more, as the kernel has it.
pub(crate) fn executable(kernel: &Kernel, pid: Pid) -> Result<PathBuf> {
    by_any_thread(kernel, pid, |id| proc::link(kernel, id, "exe"))
}

/// Its arguments, the program's name first. The program can change them.
pub(crate) fn arguments(kernel: &Kernel, pid: Pid) -> Result<Vec<OsString>> {
    by_any_thread(kernel, pid, |id| {
        let line = proc::read(kernel, id, "cmdline")?;
        if line.as_ref().is_some_and(Vec::is_empty) {
            // There are none, or the thread has no memory any more; then it has no program.
            proc::link(kernel, id, "exe")?;
        }
        Ok(line.map(|line| split_arguments(&line)))
    })
}

/// Its auxiliary vector (`getauxval(3)`).
pub(crate) fn auxiliary_vector(kernel: &Kernel, pid: Pid) -> Result<Vec<u8>> {
    by_any_thread(kernel, pid, |id| proc::read(kernel, id, "auxv"))
}

/// The name of a thread (`PR_SET_NAME` in `prctl(2)`).
pub(crate) fn thread_name(kernel: &Kernel, thread: Thread) -> Result<OsString> {
    let name = proc::read(kernel, thread.tid.as_raw(), "comm")?;
    let mut name = name.ok_or_else(proc::silent)?;
    if name.last() == Some(&b'\n') {
        name.pop();
    }
    Ok(OsString::from_vec(name))
}

fn split_arguments(line: &[u8]) -> Vec<OsString> {
    let Some(line) = line.strip_suffix(b"\0").or(Some(line).filter(|l| !l.is_empty())) else {
        return Vec::new();
    };
    line.split(|&byte| byte == 0).map(|argument| OsString::from_vec(argument.to_vec())).collect()
}

/// Asks the process's directory, or that of another thread: a first thread that has ended before
/// the others has no memory and no program.
fn by_any_thread<T>(
    kernel: &Kernel,
    pid: Pid,
    ask: impl Fn(i32) -> Result<Option<T>>,
) -> Result<T> {
    let answer = match ask(pid.as_raw()) {
        Err(Error::Gone { .. }) => {
            let others = threads(kernel, pid)?;
            let found = others.into_iter().find_map(|tid| ask(tid.as_raw()).ok());
            found.ok_or(Error::GONE)?
        }
        answer => answer?,
    };
    answer.ok_or_else(proc::silent)
}

fn malformed(request: &'static str, id: i32) -> Error {
    Error::os(request, id, io::ErrorKind::InvalidData.into())
}

/// The real parent that a process had at its end, which was just waited for.
///
/// A parent that is a zombie of ours has lost its children (`forget_original_parent` in
/// `kernel/exit.c`), and the process then is a zombie of the new parent, which can be asked for
/// it. If it is gone it was waited for, most likely by the parent that was known; its id may be
/// another's by then.
pub(crate) fn parent_at_end(kernel: &Kernel, pid: Pid, known: Pid) -> Result<Option<Pid>> {
    if kernel.has_ended(Tid::from_raw(known.as_raw()))? == Some(false) {
        return Ok(Some(known));
    }
    match status(kernel, pid.as_raw()) {
        Ok(Some(status)) if status.has_ended() && status.tgid == pid.as_raw() => {
            Ok(parent(status.ppid))
        }
        Ok(_) | Err(Error::Gone { .. }) => Ok(Some(known)),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
