//! FreeBSD.

use std::process::Command;

use signal_hook::consts::{SIGALRM, SIGPROF, SIGUSR1, SIGUSR2, SIGVTALRM};
use trapline::os::freebsd::TracerExt;
use trapline::{Error, Pid, Result, Stopped, Tid, Tracer};

use super::{CLibrary, Listed};

/// A stop stops the whole process.
pub(crate) const STOPS_THREADS: bool = false;

/// Nobody keeps the number of the system call that a thread is in.
pub(crate) const KEEPS_CALL_NUMBER: bool = false;

/// The highest number of a signal.
pub(crate) const LAST_SIGNAL: i32 = 126;

/// gdb's name of the system.
pub(crate) const OS_ABI: &str = "FreeBSD";

/// lldb's.
pub(crate) const OS_TYPE: &str = "freebsd";

pub(crate) const C_LIBRARY: CLibrary = CLibrary::FreeBsd;

/// What a client is told that can be done here, beside what can be done everywhere.
pub(crate) const FEATURES: &[&str] = &["qXfer:siginfo:read+"];

/// The tracer gets the signals by which programs are told of the ends of their children, which need not
/// be SIGCHLD.
pub(crate) const SIGNALS_OF_ENDS: &[i32] = &[SIGUSR1, SIGUSR2, SIGALRM, SIGVTALRM, SIGPROF];

/// The `siginfo_t` of a thread that is stopped for a signal.
pub(crate) fn siginfo(tracer: &mut Tracer, stop: &Stopped) -> Result<Vec<u8>> {
    let info = tracer.siginfo(stop)?.map(|info| info.to_vec());
    let (what, on) = ("the siginfo_t of a stop without a signal", OS_TYPE);
    info.ok_or(Error::Unsupported { what, on, pid: Some(stop.pid()) })
}

/// It cannot be changed.
pub(crate) fn set_siginfo(_: &mut Tracer, stop: &Stopped, _: &[u8]) -> Result<()> {
    Err(Error::Unsupported { what: "to change a siginfo_t", on: OS_TYPE, pid: Some(stop.pid()) })
}

/// Nobody tells without a request for each thread.
pub(crate) fn core(_: Pid, _: Tid) -> Option<u32> {
    None
}

/// The processes of this machine.
pub(crate) fn processes() -> Vec<Listed> {
    let output = Command::new("/bin/ps").args(["-axww", "-o", "pid=,user=,command="]).output();
    let Ok(output) = output else { return Vec::new() };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let listed = text.lines().filter_map(|line| {
        let (pid, rest) = line.trim_start().split_once(' ')?;
        let (user, command) = rest.trim_start().split_once(' ')?;
        let command = command.trim_start().to_string();
        Some(Listed { pid: pid.parse().ok()?, user: user.to_string(), command })
    });
    listed.collect()
}

/// Processes are taken to see the files that this one sees.
pub(crate) fn root_of(_: i32) -> Option<std::path::PathBuf> {
    None
}
