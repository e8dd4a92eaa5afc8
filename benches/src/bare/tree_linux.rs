//! Following all processes of a program by hand on Linux: every event is taken, and nothing told.

use std::ffi::OsString;
use std::process::Command;

use super::{Tracees, ptrace};

/// Runs a program under the tracer; its exit status.
pub fn follow(args: Vec<OsString>) -> i32 {
    // A shell waits for the byte that says that it is seized.
    let mut command = Command::new("sh");
    command.args(["-c", "read -r _; exec \"$@\"", "sh"]).args(args);
    let options = libc::PTRACE_O_TRACEFORK
        | libc::PTRACE_O_TRACEVFORK
        | libc::PTRACE_O_TRACECLONE
        | libc::PTRACE_O_TRACEEXEC;
    let tracees = Tracees::seize(command, options, false, None);
    let mut result = 1;
    loop {
        let (mut status, options) = (0, libc::__WALL | libc::__WNOTHREAD);
        // SAFETY: writes `status`.
        let pid = unsafe { libc::wait4(-1, &mut status, options, std::ptr::null_mut()) };
        if pid == -1 {
            return result;
        }
        if !libc::WIFSTOPPED(status) {
            if pid == tracees.pid && libc::WIFEXITED(status) {
                result = libc::WEXITSTATUS(status);
            }
            continue;
        }
        let signal = if status >> 16 == 0 { libc::WSTOPSIG(status) } else { 0 };
        ptrace(libc::PTRACE_CONT, pid, 0, signal as usize);
    }
}
