//! What `/proc` says of processes and threads (`proc(5)`), and what is known without it. `None` is no
//! answer, from a process that exists.

use std::ffi::OsString;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::time::Duration;

use trapline_core::backend::{Activity, Disposition, Listed, Thread};
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

/// What a thread is at, by the same file. Its times are in ticks of a hundredth of a second, on
/// x86-64 always (`USER_HZ`).
pub(crate) fn activity(kernel: &Kernel, tid: Tid) -> Result<Option<Activity>> {
    let Some(text) = proc::read(kernel, tid.as_raw(), "stat")? else { return Ok(None) };
    let parsed = after_name(&text).and_then(activity_in);
    let activity = parsed.ok_or_else(|| malformed("/proc/<id>/stat", tid.as_raw()))?;
    activity.map(Some).ok_or(Error::Gone)
}

/// The number of a parent, which is 0 in a namespace where the parent is not.
pub(crate) fn parent(raw: i32) -> Option<Pid> {
    (raw > 0).then(|| Pid::from_raw(raw))
}

/// `None` within if it has ended.
fn activity_in(fields: &[u8]) -> Option<Option<Activity>> {
    let mut fields = fields.split(|&byte| byte == b' ');
    let state = *fields.next()?.first()?;
    // `utime` and `stime`, the fields 14 and 15 of the file, which begins with two more.
    let mut ticks =
        fields.skip(10).map(|field| std::str::from_utf8(field).ok()?.parse::<u64>().ok());
    let cpu = ticks.next()??.checked_add(ticks.next()??)?.checked_mul(10)?;
    Some(match state {
        b'Z' | b'X' | b'x' => None,
        b'R' | b'T' | b't' => Some(Activity::Busy { cpu: Duration::from_millis(cpu) }),
        _ => Some(Activity::Asleep),
    })
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
        Err(Error::Gone) => {
            let others = threads(kernel, pid)?;
            let found = others.into_iter().find_map(|tid| ask(tid.as_raw()).ok());
            found.ok_or(Error::Gone)?
        }
        answer => answer?,
    };
    answer.ok_or_else(proc::silent)
}

fn malformed(request: &'static str, id: i32) -> Error {
    Error::Os { request, id, source: io::ErrorKind::InvalidData.into() }
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
        Ok(_) | Err(Error::Gone) => Ok(Some(known)),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &[u8] = b"Name:\ta) b\nUmask:\t0022\nState:\tt (tracing stop)\nTgid:\t12\n\
        Ngid:\t0\nPid:\t13\nPPid:\t1\nTracerPid:\t99\nUid:\t1000\t1001\t0\t0\n\
        CapEff:\t000001ffffffffff\nThreads:\t2\nSigPnd:\t0000000000000010\n\
        SigIgn:\t0000000000001000\nSigCgt:\t0000000000000200\nSeccomp:\t2\n";

    #[test]
    fn a_status_file_is_read_by_names() {
        let status = Status::parse(STATUS).unwrap();
        let expected = Status {
            state: b't',
            tgid: 12,
            ppid: 1,
            tracer: 99,
            threads: 2,
            user: 1001,
            capabilities: 0x1ff_ffff_ffff,
            pending: 0x10,
            ignored: 0x1000,
            caught: 0x200,
            seccomp: Some(2),
        };
        assert_eq!(status, expected);
        for (signal, does) in [
            (Signal::USR1, Disposition::Caught),
            (Signal::PIPE, Disposition::Ignored),
            (Signal::CHLD, Disposition::Ignored),
            (Signal::STOP, Disposition::Ignored),
            (Signal::TERM, Disposition::Ends),
        ] {
            assert_eq!(status.disposition(signal), does, "{signal}");
        }
        assert!(!status.has_ended());
        assert!(status.has_pending(Signal::TRAP) && !status.has_pending(Signal::ILL));
    }

    #[test]
    fn what_a_thread_is_at_is_its_state_and_its_two_times() {
        let at = |state| format!("{state} 1 2 3 4 5 6 7 8 9 10 7 3 13 14 15");
        let cpu = Duration::from_millis(100);
        for (state, expected) in [
            ("R", Some(Activity::Busy { cpu })),
            ("t", Some(Activity::Busy { cpu })),
            ("S", Some(Activity::Asleep)),
            ("D", Some(Activity::Asleep)),
            ("Z", None),
        ] {
            assert_eq!(activity_in(at(state).as_bytes()), Some(expected));
        }
        for text in ["", "R", "R 1 2 3 4 5 6 7 8 9 10 7", "R 1 2 3 4 5 6 7 8 9 10 x 3 4"] {
            assert_eq!(activity_in(text.as_bytes()), None);
        }
    }

    #[test]
    fn what_is_no_status_file_is_refused() {
        assert_eq!(Status::parse(b""), None);
        for cut in 0..STATUS.len() - 12 {
            // Any answer will do that is not a panic.
            let _ = Status::parse(&STATUS[..cut]);
        }
        assert_eq!(Status::parse(b"State:\nTgid:\nPPid:\nTracerPid:\nUid:\n"), None);
    }

    #[test]
    fn a_name_with_brackets_does_not_confuse() {
        assert_eq!(after_name(b"7 (a) R (b) S 1 2"), Some(&b"S 1 2"[..]));
        assert_eq!(after_name(b"7 (a"), None);
        assert_eq!(after_name(b"7 (a)"), None);
    }

    #[test]
    fn processes_are_listed_with_their_parents_and_images() {
        let kernel = Kernel::open();
        let own = std::process::id() as i32;
        let parent = std::os::unix::process::parent_id() as i32;
        let mut child = std::process::Command::new("sleep").arg("10").spawn().unwrap();
        // It is spawned as soon as its exec can no longer fail, which is before it has its image.
        let until = std::time::Instant::now() + std::time::Duration::from_secs(10);
        loop {
            let all = all(&kernel).unwrap();
            let find = |pid| all.iter().find(|process| process.pid.as_raw() == pid).unwrap();
            let (ours, theirs) = (find(own), find(child.id() as i32));
            assert_eq!((ours.parent.as_raw(), theirs.parent.as_raw()), (parent, own));
            assert!(ours.image.is_some());
            if theirs.image.is_some() && ours.image != theirs.image {
                break;
            }
            assert!(std::time::Instant::now() < until, "it has no image of its own");
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(parent_in(b"7 (a) b) Z 3 4"), None, "it has ended");
        assert_eq!(parent_in(b"7 (a) b) S 0 4"), None, "somewhere else");
        assert_eq!(parent_in(b"7 (a) b) S 3 4"), Some(3));
        assert_eq!(image(b"7 (a) S 1 2"), None);
    }

    #[test]
    fn arguments_are_split_at_their_ends() {
        assert_eq!(split_arguments(b""), Vec::<OsString>::new());
        assert_eq!(split_arguments(b"sh\0-c\0\0"), ["sh", "-c", ""]);
        // A program that has overwritten them may leave no end.
        assert_eq!(split_arguments(b"postgres: idle"), ["postgres: idle"]);
        assert_eq!(split_arguments(b"\0"), [""]);
    }

    #[test]
    fn this_process_is_found() {
        let kernel = Kernel::open();
        let pid = Pid::from_raw(std::process::id() as i32);
        let status = status(&kernel, pid.as_raw()).unwrap().unwrap();
        assert_eq!(status.tgid, pid.as_raw());
        assert_eq!(executable(&kernel, pid).unwrap(), std::env::current_exe().unwrap());
        let arguments = arguments(&kernel, pid).unwrap();
        assert_eq!(arguments, std::env::args_os().collect::<Vec<_>>());
        let own = Tid::from_raw(crate::sys::own_tid());
        assert!(threads(&kernel, pid).unwrap().contains(&own));
        assert_eq!(state(&kernel, own).unwrap(), Some(b'R'));
        assert!(!is_kernel_thread(&kernel, pid.as_raw()));
        assert!(kernel.requests() > 10);
    }

    /// As a kernel without a fitting `/proc` has it.
    #[test]
    fn threads_are_found_without_a_list() {
        let kernel = Kernel::default();
        let pid = Pid::from_raw(std::process::id() as i32);
        let (announce, tid) = std::sync::mpsc::channel();
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let other = std::thread::spawn(move || {
            announce.send(crate::sys::own_tid()).unwrap();
            let _ = ended.recv();
        });
        let tids = [crate::sys::own_tid(), tid.recv().unwrap()].map(Tid::from_raw);
        let found = threads(&kernel, pid).unwrap();
        assert!(tids.iter().all(|tid| found.contains(tid)), "{found:?}");
        let parent = Tid::from_raw(std::os::unix::process::parent_id() as i32);
        assert!(!found.contains(&parent));
        drop(end);
        other.join().unwrap();
        assert!(executable(&kernel, pid).is_err_and(|error| !error.is_gone()));
        assert!(status(&kernel, pid.as_raw()).unwrap().is_none());
    }

    #[test]
    fn a_parent_in_another_namespace_is_none() {
        assert_eq!(parent(0), None);
        assert_eq!(parent(7), Some(Pid::from_raw(7)));
    }

    #[test]
    fn what_does_not_exist_is_gone() {
        let kernel = Kernel::open();
        for raw in [i32::MAX, 0, -1] {
            assert!(status(&kernel, raw).unwrap_err().is_gone());
            assert!(threads(&kernel, Pid::from_raw(raw)).unwrap_err().is_gone());
            assert!(executable(&kernel, Pid::from_raw(raw)).unwrap_err().is_gone());
            assert!(arguments(&kernel, Pid::from_raw(raw)).unwrap_err().is_gone());
        }
    }
}
