//! The loops by hand on FreeBSD, for the kinds with one tracee that need no debug registers.
//!
//! All unsafe code of this file is `ptrace` and `waitpid`. Requests that take numbers touch no
//! memory of ours; PT_LWPINFO fills a variable of the length that it is told.

use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use super::super::cpu::Pinned;
use super::super::tracee::command;
use super::super::{Kind, Loop};

/// A request that takes numbers; the address 1 is "where it stopped".
#[inline(always)]
fn ptrace(request: i32, pid: i32, data: i32) {
    let here = std::ptr::without_provenance_mut(1);
    // SAFETY: see above.
    let result = unsafe { libc::ptrace(request, pid, here, data) };
    assert_eq!(result, 0, "request {request}: {}", std::io::Error::last_os_error());
}

#[inline(always)]
fn wait(pid: i32) -> i32 {
    let mut status = 0;
    // SAFETY: writes `status`.
    let found = unsafe { libc::waitpid(pid, &mut status, 0) };
    assert!(found == pid, "waitpid: {}", std::io::Error::last_os_error());
    status
}

/// Why the tracee has stopped.
#[inline(always)]
fn cause(pid: i32) {
    // SAFETY: all zeros are a value of this structure of integers.
    let mut info: libc::ptrace_lwpinfo = unsafe { std::mem::zeroed() };
    let size = size_of::<libc::ptrace_lwpinfo>() as i32;
    // SAFETY: writes at most `size` bytes.
    let result = unsafe { libc::ptrace(libc::PT_LWPINFO, pid, (&raw mut info).cast(), size) };
    assert_eq!(result, 0);
    std::hint::black_box(info.pl_flags);
}

/// The best loop by hand for a kind.
pub struct Bare {
    child: Child,
    kind: Kind,
    _pinned: Pinned,
}

impl Bare {
    /// `None` where this kind cannot be had.
    pub fn new(kind: Kind, cpu: Option<u32>) -> Option<Self> {
        if !matches!(kind, Kind::Int3 | Kind::Step | Kind::Syscall | Kind::Signal) {
            return None;
        }
        let pinned = Pinned::new(cpu);
        let child = traced(command(kind.program()));
        let mut bare = Bare { child, kind, _pinned: pinned };
        assert!(libc::WIFSTOPPED(wait(bare.pid())));
        bare.run(1);
        Some(bare)
    }

    fn pid(&self) -> i32 {
        self.child.id() as i32
    }
}

/// Starts a program that is traced from its exec on.
fn traced(mut command: Command) -> Child {
    // SAFETY: one system call, which is async-signal-safe.
    unsafe {
        command.pre_exec(|| match libc::ptrace(libc::PT_TRACE_ME, 0, std::ptr::null_mut(), 0) {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        });
    }
    command.spawn().expect("spawn")
}

impl Loop for Bare {
    fn run(&mut self, n: u64) -> Duration {
        let pid = self.pid();
        let request = match self.kind {
            Kind::Step => libc::PT_STEP,
            Kind::Syscall => libc::PT_SYSCALL,
            _ => libc::PT_CONTINUE,
        };
        let start = Instant::now();
        for _ in 0..n {
            ptrace(request, pid, 0);
            let status = wait(pid);
            assert!(libc::WIFSTOPPED(status), "{status:#x}");
            // A trap is a step, a breakpoint or a system call: the kernel has to be asked, and so
            // is it with a signal, to know the thread.
            cause(pid);
        }
        start.elapsed()
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        ptrace(libc::PT_KILL, self.pid(), 0);
        let _ = self.child.wait();
    }
}
