//! What one stop costs, beside the best loop that can be written by hand with raw calls.
//!
//! The tracee is a mode of this binary that does one thing for ever; an iteration is one stop of
//! it: waited for, told apart, resumed.

use std::process::Command;
use std::time::{Duration, Instant};

use criterion::Criterion;
use trapline::{Event, EventFlags, Resume, StopReason, Stopped, Tracer};

/// Names what the tracee does.
const TRACEE: &str = "TRAPLINE_BENCH_TRACEE";

/// Becomes the tracee, if this process is one.
fn tracee() {
    match std::env::var(TRACEE).as_deref() {
        Ok("raise") => loop {
            // SAFETY: sends a signal to this thread, which its tracer takes away.
            unsafe { libc::raise(libc::SIGUSR1) };
        },
        Ok("call") => loop {
            // SAFETY: no arguments.
            unsafe { std::hint::black_box(libc::getppid()) };
        },
        _ => {}
    }
}

fn command(what: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this binary"));
    command.env(TRACEE, what);
    command
}

/// A tracee, and a tracer that is at its first stop.
struct Traced {
    tracer: Tracer,
    stop: Option<Stopped>,
}

impl Traced {
    fn new(what: &str, flags: EventFlags) -> Self {
        let mut tracer = Tracer::builder().events(flags).build().expect("a tracer");
        tracer.spawn(command(what)).expect("spawn");
        let stop = Some(next(&mut tracer));
        Traced { tracer, stop }
    }

    /// The time that this many stops take.
    fn stops(&mut self, n: u64, how: Resume) -> Duration {
        let start = Instant::now();
        for _ in 0..n {
            let mut stop = self.stop.take().expect("a stop");
            if let StopReason::Signal(_) = stop.reason() {
                stop.set_signal(None).expect("a signal stop");
            }
            self.tracer.resume(stop, how).expect("resume");
            self.stop = Some(next(&mut self.tracer));
        }
        start.elapsed()
    }
}

fn next(tracer: &mut Tracer) -> Stopped {
    match tracer.wait().expect("wait") {
        Some(Event::Stopped(stop)) => stop,
        other => panic!("expected a stop, not {other:?}"),
    }
}

/// The loop by hand.
#[cfg(target_os = "linux")]
mod bare {
    use std::os::unix::process::CommandExt;
    use std::process::Child;
    use std::ptr::null_mut;
    use std::time::{Duration, Instant};

    pub(super) struct Bare(Child);

    impl Bare {
        pub(super) fn new(what: &str) -> Self {
            let mut command = super::command(what);
            // SAFETY: one system call, which is async-signal-safe.
            unsafe {
                command.pre_exec(|| {
                    libc::ptrace(libc::PTRACE_TRACEME, 0, null_mut::<u8>(), null_mut::<u8>());
                    Ok(())
                });
            }
            let bare = Bare(command.spawn().expect("spawn"));
            bare.wait();
            let options = libc::PTRACE_O_TRACESYSGOOD | libc::PTRACE_O_EXITKILL;
            // SAFETY: the tracee is stopped; the request takes a number.
            let result = unsafe { libc::ptrace(libc::PTRACE_SETOPTIONS, bare.pid(), 0, options) };
            assert_eq!(result, 0);
            bare
        }

        fn pid(&self) -> i32 {
            self.0.id() as i32
        }

        fn wait(&self) -> i32 {
            let mut status = 0;
            // SAFETY: `status` lives across the call.
            let pid = unsafe { libc::wait4(-1, &mut status, libc::__WALL, null_mut()) };
            assert!(pid == self.pid() && libc::WIFSTOPPED(status), "{status:#x}");
            status
        }

        /// The time that this many stops take; `ask` as well where the cause is asked for.
        pub(super) fn stops(&mut self, n: u64, request: libc::c_uint, ask: bool) -> Duration {
            let start = Instant::now();
            for _ in 0..n {
                // SAFETY: the tracee is stopped; the requests take numbers, and a siginfo that
                // lives across the call.
                unsafe {
                    let result = libc::ptrace(request, self.pid(), 0, 0);
                    assert_eq!(result, 0);
                    let status = self.wait();
                    if ask && libc::WSTOPSIG(status) == libc::SIGTRAP {
                        let mut info: libc::siginfo_t = std::mem::zeroed();
                        libc::ptrace(libc::PTRACE_GETSIGINFO, self.pid(), 0, &mut info);
                        std::hint::black_box(info.si_code);
                    }
                }
            }
            start.elapsed()
        }
    }

    impl Drop for Bare {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
}

fn trap_latency(c: &mut Criterion) {
    let kinds = [
        ("signal", "raise", EventFlags::PROCESS, Resume::Continue),
        ("syscall", "call", EventFlags::SYSCALL, Resume::Continue),
        ("step", "call", EventFlags::PROCESS, Resume::Step),
    ];
    for (kind, what, flags, how) in kinds {
        let mut group = c.benchmark_group(kind);
        #[cfg(target_os = "linux")]
        {
            let (request, ask) = match kind {
                "signal" => (libc::PTRACE_CONT, false),
                "syscall" => (libc::PTRACE_SYSCALL, false),
                _ => (libc::PTRACE_SINGLESTEP, true),
            };
            let mut bare = bare::Bare::new(what);
            group.bench_function("bare", |b| b.iter_custom(|n| bare.stops(n, request, ask)));
        }
        let mut traced = Traced::new(what, flags);
        group.bench_function("trapline", |b| b.iter_custom(|n| traced.stops(n, how)));
        group.finish();
    }
}

fn main() {
    tracee();
    let mut criterion = Criterion::default().without_plots().configure_from_args();
    trap_latency(&mut criterion);
    criterion.final_summary();
}
