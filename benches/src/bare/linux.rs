//! The loops by hand on Linux.
//!
//! All unsafe code of this file is `ptrace` and `wait4`. Requests that take numbers touch no
//! memory of ours; those that fill a variable get a pointer to one of the length that they write.
//! A request for a tracee that is gone fails, which [`ptrace`] says by a panic.

use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::super::cpu::Pinned;
use super::super::regs::linux::Armed;
use super::super::tracee::{CODE, WORD, command};
use super::super::{Kind, Loop};

/// A request that takes numbers.
#[inline(always)]
pub fn ptrace(request: libc::c_uint, pid: i32, addr: usize, data: usize) {
    // SAFETY: see above.
    let result = unsafe { libc::ptrace(request, pid, addr, data) };
    assert_eq!(result, 0, "request {request}: {}", std::io::Error::last_os_error());
}

/// Waits; a pid and a status.
#[inline(always)]
pub fn wait(pid: i32) -> (i32, i32) {
    let mut status = 0;
    let options = libc::__WALL | libc::__WNOTHREAD;
    // SAFETY: writes `status`.
    let pid = unsafe { libc::wait4(pid, &mut status, options, std::ptr::null_mut()) };
    assert!(pid > 0, "wait4: {}", std::io::Error::last_os_error());
    (pid, status)
}

fn message(pid: i32) -> u64 {
    let mut message = 0_u64;
    // SAFETY: writes one word.
    let result = unsafe { libc::ptrace(libc::PTRACE_GETEVENTMSG, pid, 0, &mut message) };
    assert_eq!(result, 0);
    message
}

/// A program that was started and seized, with what it starts.
pub struct Tracees {
    pub child: Child,
    pub pid: i32,
    _pinned: Pinned,
}

impl Tracees {
    /// Starts a program, and seizes it before it has begun; stopped if `stopped`.
    pub fn seize(mut command: Command, options: i32, stopped: bool, cpu: Option<u32>) -> Self {
        use std::os::unix::process::CommandExt;
        let pinned = Pinned::new(cpu);
        let mut child = command.stdin(Stdio::piped()).process_group(0).spawn().expect("spawn");
        let pid = child.id() as i32;
        ptrace(libc::PTRACE_SEIZE, pid, 0, (options | libc::PTRACE_O_EXITKILL) as usize);
        if stopped {
            ptrace(libc::PTRACE_INTERRUPT, pid, 0, 0);
            // Or at the exec that has made it, if that is still under way.
            let (_, status) = wait(pid);
            assert!(libc::WIFSTOPPED(status), "{status:#x}");
        }
        child.stdin.take().expect("piped").write_all(b"\n").expect("the tracee waits for it");
        Tracees { child, pid, _pinned: pinned }
    }
}

impl Drop for Tracees {
    fn drop(&mut self) {
        // SAFETY: a signal for the group that was made for it.
        unsafe { libc::kill(-self.pid, libc::SIGKILL) };
        loop {
            let (mut status, options) = (0, libc::__WALL | libc::__WNOTHREAD);
            // SAFETY: writes `status`.
            let pid = unsafe { libc::wait4(-self.pid, &mut status, options, std::ptr::null_mut()) };
            if pid == -1 {
                break;
            }
        }
    }
}

/// The best loop by hand for a kind.
pub struct Bare {
    tracees: Tracees,
    kind: Kind,
    /// For a fork, the half that has come alone.
    half: Option<i32>,
    /// For what is watched.
    armed: Option<Armed>,
}

impl Bare {
    /// `None` where this kind cannot be had.
    pub fn new(kind: Kind, cpu: Option<u32>) -> Option<Self> {
        let options = match kind {
            Kind::Syscall => libc::PTRACE_O_TRACESYSGOOD,
            Kind::Fork => libc::PTRACE_O_TRACEFORK,
            Kind::Vfork => libc::PTRACE_O_TRACEVFORK,
            Kind::Exec => libc::PTRACE_O_TRACEEXEC,
            Kind::Thread => libc::PTRACE_O_TRACECLONE,
            Kind::Int3 | Kind::Step | Kind::Signal | Kind::Hardware | Kind::Watch => 0,
        };
        let tracees = Tracees::seize(command(kind.program()), options, true, cpu);
        let pid = tracees.pid;
        let armed = match kind {
            Kind::Hardware => Some(Armed::execute(pid, CODE)?),
            Kind::Watch => Some(Armed::write(pid, WORD)?),
            _ => None,
        };
        let mut bare = Bare { tracees, kind, half: None, armed };
        bare.begin();
        Some(bare)
    }

    /// Runs the tracee from its first stop to what is counted.
    fn begin(&mut self) {
        let pid = self.tracees.pid;
        match self.kind {
            // Over what is on the way there: the read that it was interrupted in.
            Kind::Step => ptrace(libc::PTRACE_CONT, pid, 0, 0),
            Kind::Syscall => ptrace(libc::PTRACE_SYSCALL, pid, 0, 0),
            _ => ptrace(libc::PTRACE_CONT, pid, 0, 0),
        }
        match self.kind {
            Kind::Step => {
                std::thread::sleep(Duration::from_millis(2));
                ptrace(libc::PTRACE_INTERRUPT, pid, 0, 0);
                wait(pid);
            }
            Kind::Fork | Kind::Vfork => self.forks(1),
            Kind::Thread => self.threads(1),
            _ => {
                wait(pid);
            }
        }
    }

    /// A kind with one tracee, at a stop; `answer` is what is done at the next.
    #[inline(always)]
    fn stops(&self, n: u64, request: libc::c_uint, answer: impl Fn(i32, i32)) {
        let pid = self.tracees.pid;
        for _ in 0..n {
            ptrace(request, pid, 0, 0);
            let (_, status) = wait(pid);
            assert!(libc::WIFSTOPPED(status), "{status:#x}");
            answer(pid, status);
        }
    }

    /// Forks, each from its halves to the next one's: both have stopped, and run again together.
    fn forks(&mut self, n: u64) {
        let mut left = n;
        while left > 0 {
            let (pid, status) = wait(-1);
            if !libc::WIFSTOPPED(status) {
                continue; // a child has ended
            }
            let child = match status >> 16 {
                libc::PTRACE_EVENT_FORK | libc::PTRACE_EVENT_VFORK => message(pid) as i32,
                0 => {
                    ptrace(libc::PTRACE_CONT, pid, 0, libc::WSTOPSIG(status) as usize);
                    continue;
                }
                _ => pid, // its first stop
            };
            match self.half.take() {
                None => self.half = Some(child),
                Some(half) => {
                    assert_eq!(half, child);
                    left -= 1;
                    ptrace(libc::PTRACE_CONT, child, 0, 0);
                    ptrace(libc::PTRACE_CONT, self.tracees.pid, 0, 0);
                }
            }
        }
    }

    /// Threads, each from its first stop to the next one's.
    fn threads(&mut self, n: u64) {
        let mut left = n;
        while left > 0 {
            let (pid, status) = wait(-1);
            if !libc::WIFSTOPPED(status) {
                continue;
            }
            match status >> 16 {
                libc::PTRACE_EVENT_CLONE => {
                    std::hint::black_box(message(pid));
                }
                libc::PTRACE_EVENT_STOP => left -= 1,
                _ => {}
            }
            ptrace(libc::PTRACE_CONT, pid, 0, 0);
        }
    }
}

/// Where a SIGTRAP comes from.
#[inline(always)]
fn cause(pid: i32, _: i32) {
    // SAFETY: all zeros are a value of this structure of integers.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: writes one `siginfo_t`.
    let result = unsafe { libc::ptrace(libc::PTRACE_GETSIGINFO, pid, 0, &mut info) };
    assert_eq!(result, 0);
    std::hint::black_box(info.si_code);
}

impl Loop for Bare {
    fn run(&mut self, n: u64) -> Duration {
        let start = Instant::now();
        match self.kind {
            Kind::Int3 | Kind::Signal => self.stops(n, libc::PTRACE_CONT, |_, _| {}),
            Kind::Step => self.stops(n, libc::PTRACE_SINGLESTEP, cause),
            Kind::Syscall => self.stops(n, libc::PTRACE_SYSCALL, |_, _| {}),
            Kind::Hardware | Kind::Watch => {
                let armed = self.armed.expect("armed when it was made");
                self.stops(n, libc::PTRACE_CONT, |pid, _| armed.hit(pid));
            }
            Kind::Exec => self.stops(n, libc::PTRACE_CONT, |pid, _| {
                std::hint::black_box(message(pid));
            }),
            Kind::Fork | Kind::Vfork => self.forks(n),
            Kind::Thread => self.threads(n),
        }
        start.elapsed()
    }
}
