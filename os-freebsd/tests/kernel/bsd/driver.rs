//! What the tests share.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};

use trapline_core::backend::{
    NewTask, OnExit, Patience, RawKind, RawReason, RawStop, Run, Setup, Thread, Waited,
};
use trapline_core::{
    Backend, Event, EventFlags, ExitStatus, Pid, Resume, Signal, StopReason, Stopped, Tid, Tracer,
};
use trapline_os_freebsd::FreeBsd;

pub(crate) fn setup(flags: EventFlags) -> Setup {
    Setup { flags, on_exit: OnExit::Kill }
}

/// The test binary, as a program to be traced.
pub(crate) fn fixture(args: &[&str]) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("own path"));
    command.arg("--fixture").args(args);
    command
}

pub(crate) fn kill(pid: i32, signal: i32) -> bool {
    // SAFETY: plain values.
    unsafe { libc::kill(pid, signal) == 0 }
}

pub(crate) fn kill_thread(pid: Pid, tid: Tid, signal: i32) -> bool {
    // SAFETY: plain values.
    unsafe { libc::thr_kill2(pid.as_raw(), tid.as_raw().into(), signal) == 0 }
}

pub(crate) fn thread(stop: &RawStop) -> Thread {
    Thread { pid: stop.pid.expect("a pid"), tid: stop.tid.expect("a tid") }
}

pub(crate) fn reason(stop: &RawStop) -> RawReason {
    match stop.kind {
        RawKind::Stop(reason) => reason,
        RawKind::Ended(status) => panic!("ended: {status}"),
    }
}

/// The next stop or end.
pub(crate) fn next(b: &mut FreeBsd) -> RawStop {
    match b.wait(Patience::Block).expect("a wait") {
        Waited::Stop(stop) => stop,
        other => panic!("{other:?}"),
    }
}

/// What a stop delivers if nobody interferes.
pub(crate) fn signal(stop: &RawStop) -> Option<Signal> {
    match stop.kind {
        RawKind::Stop(RawReason::Signal { signal, .. }) => Some(signal),
        _ => None,
    }
}

pub(crate) fn go(b: &mut FreeBsd, stop: &RawStop) {
    b.resume(thread(stop), Run::Continue, signal(stop)).expect("a resume");
}

/// Starts a fixture and gives its exec stop.
pub(crate) fn start(b: &mut FreeBsd, args: &[&str], flags: EventFlags) -> RawStop {
    let spawned = b.spawn(fixture(args), setup(flags)).expect("a spawn");
    assert!(spawned.meanwhile.is_empty());
    spawned.stop.expect("an exec stop")
}

/// A program that is not traced, or not yet, with its standard input and output.
pub(crate) struct Talk {
    pub(crate) pid: Pid,
    pub(crate) input: Option<ChildStdin>,
    pub(crate) output: BufReader<ChildStdout>,
    pub(crate) child: std::process::Child,
}

impl Talk {
    /// A child of ours; its first line is read.
    pub(crate) fn new(args: &[&str]) -> (Talk, String) {
        let mut child =
            fixture(args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a program");
        let output = child.stdout.take().expect("its output");
        let mut talk = Talk {
            pid: Pid::from(&child),
            input: child.stdin.take(),
            output: BufReader::new(output),
            child,
        };
        let line = talk.line();
        (talk, line)
    }

    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("a line");
        line.trim_end().to_owned()
    }

    /// Closes its input, and gives what it says and its exit code.
    pub(crate) fn finish(mut self) -> (String, Option<i32>) {
        drop(self.input.take());
        let line = self.line();
        let status = self.child.wait().expect("its end");
        if status.code().is_none() {
            println!("{status}");
        }
        (line, status.code())
    }
}

/// What each process did, by order of appearance, until all have ended. System calls are named by
/// number; ends have no thread.
pub(crate) fn trace(
    b: &mut FreeBsd,
    first: RawStop,
    flags: EventFlags,
    run: Run,
) -> Vec<Vec<String>> {
    let mut order: BTreeMap<Pid, usize> = BTreeMap::new();
    let mut lists: Vec<Vec<String>> = Vec::new();
    let mut stop = first;
    loop {
        let pid = stop.pid.expect("a pid");
        let known = order.len();
        let at = *order.entry(pid).or_insert(known);
        if at == lists.len() {
            lists.push(Vec::new());
        }
        let (text, child) = match stop.kind {
            RawKind::Ended(status) => (format!("{status}"), None),
            RawKind::Stop(RawReason::Forked { kind, task }) => match task {
                Some(NewTask::Process { pid, sibling: false }) => (format!("{kind}"), Some(pid)),
                other => panic!("{other:?}"),
            },
            RawKind::Stop(RawReason::Execed { former_tid }) => {
                assert_eq!(former_tid, stop.tid);
                ("exec".into(), None)
            }
            RawKind::Stop(RawReason::Signal { signal, .. }) => (format!("{signal}"), None),
            RawKind::Stop(reason) => (format!("{reason:?}"), None),
        };
        lists[at].push(text);
        if let Some(child) = child {
            let known = order.len();
            if *order.entry(child).or_insert(known) == lists.len() {
                lists.push(Vec::new());
            }
        }
        if let RawKind::Stop(reason) = stop.kind {
            if reason == RawReason::Paused {
                b.set_up(thread(&stop), setup(flags)).expect("set_up");
            }
            b.resume(thread(&stop), run, signal(&stop)).expect("a resume");
        }
        stop = match b.wait(Patience::Block).expect("a wait") {
            Waited::Stop(stop) => stop,
            Waited::NoTracees => return lists,
            other => panic!("{other:?}"),
        };
    }
}

/// Starts a fixture and traces it to its end.
pub(crate) fn traced(args: &[&str], flags: EventFlags) -> Vec<Vec<String>> {
    let mut b = FreeBsd::open().expect("a back end");
    let first = start(&mut b, args, flags);
    trace(&mut b, first, flags, Run::Continue)
}

/// Waits until the process, with whatever it does, has ended; gives its end.
pub(crate) fn run_out(b: &mut FreeBsd) -> ExitStatus {
    loop {
        let stop = next(b);
        match stop.kind {
            RawKind::Ended(status) => return status,
            RawKind::Stop(_) => go(b, &stop),
        }
    }
}

/// The engine over this back end, for what takes both to show.
pub(crate) fn tracer(flags: EventFlags) -> Tracer<FreeBsd> {
    Tracer::builder().events(flags).build().expect("a tracer")
}

/// Starts a program, and gives its exec stop.
pub(crate) fn spawned(tracer: &mut Tracer<FreeBsd>, command: Command) -> Stopped {
    let pid = tracer.spawn(command).expect("a spawn").pid;
    let stop = next_stop(tracer);
    assert_eq!((stop.pid(), stop.reason()), (pid, StopReason::Execed { former_tid: None }));
    stop
}

/// The next event, a stop.
pub(crate) fn next_stop(tracer: &mut Tracer<FreeBsd>) -> Stopped {
    match tracer.wait().expect("a wait") {
        Some(Event::Stopped(stop)) => stop,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn resume(tracer: &mut Tracer<FreeBsd>, event: impl Into<Event>) {
    tracer.resume(event, Resume::Continue).expect("a resume");
}

/// Runs everything to its end, and gives the last one's.
pub(crate) fn finish(tracer: &mut Tracer<FreeBsd>) -> ExitStatus {
    let mut last = None;
    while let Some(event) = tracer.wait().expect("a wait") {
        if let Event::Exited { status, .. } = &event {
            last = Some(*status);
        }
        resume(tracer, event);
    }
    last.expect("an end")
}

/// Orphans of this process's descendants become its children.
pub(crate) fn become_reaper() {
    // SAFETY: an attribute of this process; the command takes no data.
    let result =
        unsafe { libc::procctl(libc::P_PID, 0, libc::PROC_REAP_ACQUIRE, std::ptr::null_mut()) };
    assert_eq!(result, 0);
}

/// A process that was given to this one at its parent's death: waits for its end.
pub(crate) fn reap(pid: Pid) -> i32 {
    let mut status = 0;
    // SAFETY: the status is valid for a write.
    assert_eq!(unsafe { libc::waitpid(pid.as_raw(), &mut status, 0) }, pid.as_raw());
    status
}

/// A sysctl, as it was when this is dropped.
#[derive(Debug)]
pub(crate) struct Set(&'static std::ffi::CStr, libc::c_int);

impl Set {
    /// Sets it; the value that it had, as an error number if it cannot be set.
    pub(crate) fn to(name: &'static std::ffi::CStr, mut new: libc::c_int) -> Result<Set, i32> {
        let (mut old, mut len) = (0, size_of::<libc::c_int>());
        // SAFETY: one int is written, and one is read.
        let result = unsafe {
            libc::sysctlbyname(
                name.as_ptr(),
                (&raw mut old).cast(),
                &mut len,
                (&raw mut new).cast(),
                len,
            )
        };
        let errno = std::io::Error::last_os_error().raw_os_error().unwrap_or(0);
        if result == 0 { Ok(Set(name, old)) } else { Err(errno) }
    }
}

impl Drop for Set {
    fn drop(&mut self) {
        std::mem::forget(Set::to(self.0, self.1));
    }
}

/// This test cannot run here.
pub(crate) fn skip(why: &str) -> ! {
    println!("SKIPPED: {why}");
    std::process::exit(super::SKIPPED);
}
