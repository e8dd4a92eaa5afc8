//! A process with many threads, to attach to.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use trapline::{EventFlags, Next, Pid, SoftwareBreakpoint, Tracer};

use super::tracee::{CODE, command_with};
use super::{hot::Others, traced};

/// Untraced, with threads that sleep.
pub struct Sleeper(Child);

impl Sleeper {
    /// All sleep.
    pub fn new(threads: u64) -> Self {
        Self::running("idle-threads", threads)
    }

    /// All sleep but the first one, which goes round the hot place.
    pub fn hot(threads: u64) -> Self {
        Self::running("hot-line", Others::sleeping(threads - 1).amount())
    }

    fn running(program: &str, amount: u64) -> Self {
        let mut command = command_with(program, amount);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("spawn");
        let stdout = child.stdout.as_mut().expect("piped");
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).expect("it says that it is there");
        assert_eq!(line, "ready\n");
        Sleeper(child)
    }

    pub fn pid(&self) -> i32 {
        self.0.id() as i32
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Between two attaches: the threads that were detached get back to sleep.
pub const PAUSE: Duration = Duration::from_millis(20);

/// Times and requests of attaches, each to its first event, and of the detaches that follow them.
#[derive(Debug, Default, Clone, Copy)]
pub struct Attaches {
    pub attach: Duration,
    pub attach_requests: u64,
    pub detach: Duration,
    pub detach_requests: u64,
}

/// So many of them.
pub fn attaches(pid: i32, n: u64) -> Attaches {
    let mut tracer = traced::tracer(EventFlags::PROCESS, None);
    let mut sum = Attaches::default();
    for _ in 0..n {
        std::thread::sleep(PAUSE);
        let (before, start) = (tracer.requests(), Instant::now());
        tracer.attach(Pid::from_raw(pid)).expect("attach");
        let stop = traced::next_stop(&mut tracer);
        sum.attach += start.elapsed();
        sum.attach_requests += tracer.requests() - before;
        let (before, start) = (tracer.requests(), Instant::now());
        tracer.detach(stop).expect("detach");
        sum.detach += start.elapsed();
        sum.detach_requests += tracer.requests() - before;
    }
    sum
}

/// What is done with all threads of a process: attaching, to the first event; a halt; a breakpoint
/// that is inserted while they run; detaching with that.
pub fn steps(pid: i32) -> [Duration; 4] {
    fn timed<T>(tracer: &mut Tracer, step: impl FnOnce(&mut Tracer) -> T) -> (T, Duration) {
        std::thread::sleep(PAUSE);
        let start = Instant::now();
        let done = step(tracer);
        (done, start.elapsed())
    }
    let pid = Pid::from_raw(pid);
    let mut tracer = traced::tracer(EventFlags::PROCESS, None);
    let (stop, attach) = timed(&mut tracer, |tracer| {
        tracer.attach(pid).expect("attach");
        traced::next_stop(tracer)
    });
    let (halted, halt) = timed(&mut tracer, |tracer| tracer.halt(stop).expect("halt"));
    tracer.resume_halted(halted, |_| Next::Continue).expect("resume");
    let breakpoint = SoftwareBreakpoint { addr: CODE + 0x900 };
    let (_, insert) =
        timed(&mut tracer, |tracer| tracer.insert_breakpoint(pid, breakpoint).expect("insert"));
    let ((), detach) = timed(&mut tracer, |tracer| tracer.detach_process(pid).expect("detach"));
    [attach, halt, insert, detach]
}

/// The requests that it takes to let a halted process go.
pub fn halted_detach_requests(pid: i32) -> u64 {
    let mut tracer = traced::tracer(EventFlags::PROCESS, None);
    tracer.attach(Pid::from_raw(pid)).expect("attach");
    let stop = traced::next_stop(&mut tracer);
    let halted = tracer.halt(stop).expect("halt");
    let before = tracer.requests();
    tracer.detach_halted(halted).expect("detach");
    tracer.requests() - before
}
