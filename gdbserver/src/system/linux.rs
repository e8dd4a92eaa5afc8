//! Linux.

use std::fs;
use std::os::unix::fs::MetadataExt;

use trapline::os::linux::TracerExt;
use trapline::{Error, Pid, Result, Stopped, Tid, Tracer};

use super::{CLibrary, Listed};

/// A stop stops one thread, and each can be run by itself.
pub(crate) const STOPS_THREADS: bool = true;

/// The number of the system call that a thread is in is kept beside its registers, where a CPU has no
/// register for it.
#[allow(dead_code)]
pub(crate) const KEEPS_CALL_NUMBER: bool = true;

/// The highest number of a signal.
pub(crate) const LAST_SIGNAL: i32 = 64;

/// gdb's name of the system.
pub(crate) const OS_ABI: &str = "GNU/Linux";

/// lldb's.
pub(crate) const OS_TYPE: &str = "linux";

pub(crate) const C_LIBRARY: CLibrary = CLibrary::Glibc;

/// What a client is told that can be done here, beside what can be done everywhere.
pub(crate) const FEATURES: &[&str] = &["qXfer:siginfo:read+", "qXfer:siginfo:write+"];

/// The tracer gets no signal when a child of a program's ends.
pub(crate) const SIGNALS_OF_ENDS: &[i32] = &[];

/// The `siginfo_t` of a stopped thread.
pub(crate) fn siginfo(tracer: &mut Tracer, stop: &Stopped) -> Result<Vec<u8>> {
    tracer.siginfo(stop).map(|info| info.to_vec())
}

/// Changes it.
pub(crate) fn set_siginfo(tracer: &mut Tracer, stop: &Stopped, info: &[u8]) -> Result<()> {
    let (what, on) = ("a siginfo_t of another length", OS_TYPE);
    let refused = Error::Unsupported { what, on, pid: Some(stop.pid()) };
    let info = info.try_into().map_err(|_| refused)?;
    tracer.set_siginfo(stop, &info)
}

/// The CPU that a thread ran on last (field 39 of `/proc/pid/task/tid/stat`).
pub(crate) fn core(pid: Pid, tid: Tid) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/task/{tid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(36)?.parse().ok()
}

/// The processes of this machine.
pub(crate) fn processes() -> Vec<Listed> {
    let Ok(all) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = all.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid: i32| {
        let user = fs::metadata(format!("/proc/{pid}")).ok()?.uid();
        let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let words = arguments.split(|&byte| byte == 0).filter(|word| !word.is_empty());
        let words: Vec<_> = words.map(String::from_utf8_lossy).collect();
        let command = match words.is_empty() {
            true => {
                let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
                format!("[{}]", name.trim_end())
            }
            false => words.join(" "),
        };
        Some(Listed { pid, user: user.to_string(), command })
    })
    .collect()
}

/// The directory of a process's root, for names that a client has of it.
pub(crate) fn root_of(pid: i32) -> Option<std::path::PathBuf> {
    let same =
        |own: &str, other: String| Some(fs::read_link(own).ok()? == fs::read_link(other).ok()?);
    let shared = same("/proc/self/ns/mnt", format!("/proc/{pid}/ns/mnt")).unwrap_or(true);
    (!shared).then(|| format!("/proc/{pid}/root").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_listed() {
        let own = std::process::id() as i32;
        assert!(processes().iter().any(|listed| listed.pid == own && !listed.command.is_empty()));
        assert!(core(Pid::from_raw(own), Tid::from_raw(own)).is_some());
    }
}
