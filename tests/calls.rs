//! M4: what a thread does for its tracer.

use std::io::Read;
use std::process::{ChildStdout, Stdio};
use std::time::Duration;

use trapline::{
    CallOutcome, Error, Event, EventFlags, ExitStatus, Pid, Registers, Resume, Signal, StopReason,
    Stopped, Tid, Tracer,
};

use crate::common::*;
use crate::fixtures::{cpu, fixture, random_pauses};

crate::tests![
    m4_calls_at_the_first_stop,
    m4_calls_at_every_kind_of_stop,
    m4_an_interrupted_sleep_goes_on,
    m4_a_signal_inside_a_function,
    m4_calls_at_random_stops,
    e7_a_call_is_skipped_or_changed,
];

/// What the fixture's function returns.
fn sum(args: [u64; 6]) -> u64 {
    (1..).zip(args).map(|(factor, arg)| factor * arg).sum()
}

const ARGS: [u64; 6] = [11, 22, 33, 44, 55, 66];

/// A call of a thread that can make one: `None` at a stop at which it can execute nothing.
pub(crate) fn pid_of(tracer: &mut Tracer, stop: &mut Stopped) -> Option<i64> {
    let before = tracer.registers(stop).unwrap();
    let called = tracer.call_syscall(stop, cpu::GETPID, []);
    let called = match called {
        Err(Error::NotStopped { .. }) => None,
        called => Some(called.unwrap()),
    };
    assert_same(stop.reason(), before, tracer.registers(stop).unwrap());
    called
}

/// The registers at a stop are the same; but for the result of a system call that the thread was
/// inside of, which is known once it has been left. A stop there can answer an interrupt. And but for
/// bit 1 of the flags of x86, which is always set: an older kernel shows a program that has not begun
/// without it.
fn assert_same(reason: StopReason, before: Registers, after: Registers) {
    use StopReason::{Execed, Forked, Halted, Interrupted, VforkDone};
    let inside = match reason {
        Forked | VforkDone | Execed { .. } => true,
        Interrupted | Halted => cpu::may_be_inside_call(&before),
        _ => false,
    };
    let known = |registers: Registers| -> Vec<_> {
        let all = registers.iter();
        let all = all.filter(|(name, _)| !(inside && ["rax", "x0"].contains(name)));
        all.map(|(name, value)| (name, value | u64::from(name == "rflags") << 1)).collect()
    };
    assert_eq!(known(before), known(after), "{reason:?}");
}

/// The fixture, where it has told the address of its function, and that of the word that ends it.
fn called_upon(tracer: &mut Tracer, threads: usize) -> (Stopped, [u64; 2], ChildStdout) {
    let mut command = fixture("called-upon", &[&threads.to_string()]);
    command.stdout(Stdio::piped());
    let mut child = tracer.spawn(command).unwrap();
    let out = child.stdout.take().unwrap();
    let stop = next_stop(tracer);
    let (stop, function) = announced(tracer, stop);
    let (stop, enough) = announced(tracer, stop);
    (stop, [function, enough], out)
}

fn m4_calls_at_the_first_stop() {
    let mut tracer = tracer(EventFlags::PROCESS);
    let mut stop = spawned(&mut tracer, fixture("exit", &["3"]));
    let pid = i64::from(stop.pid().as_raw());
    assert_eq!(tracer.call_syscall(&mut stop, cpu::GETPID, []).unwrap(), pid);
    // No descriptor.
    let closed = tracer.call_syscall(&mut stop, cpu::CLOSE, [9999]).unwrap();
    assert_eq!(closed, -i64::from(libc::EBADF));
    let forked = tracer.call_syscall(&mut stop, cpu::FORK, [0; 6]);
    assert!(matches!(forked, Err(Error::Unsupported { .. })), "{forked:?}");
    let many = tracer.call_syscall(&mut stop, cpu::GETPID, [0; 7]);
    assert!(matches!(many, Err(Error::Unsupported { .. })), "{many:?}");
    assert_eq!(stop.reason(), StopReason::Execed { former_tid: None });
    tracer.resume(stop, Resume::Continue).unwrap();
    assert_eq!(next_exit(&mut tracer).1, ExitStatus::Code(3));
}

/// What a process has reported, without what depends on the moment: its signals for children, and
/// how many system calls it has made. To each entry there is an exit.
fn without_calls<'a>(told: &[&'a str]) -> Vec<&'a str> {
    let mut inside = false;
    for &line in told {
        match line {
            "entry" => assert!(!std::mem::replace(&mut inside, true), "{told:?}"),
            "exit" => assert!(std::mem::take(&mut inside) || told[0] == "exec", "{told:?}"),
            _ => {}
        }
    }
    let depends = |line: &&&str| !["entry", "exit", "signal SIGCHLD"].contains(*line);
    told.iter().filter(depends).copied().collect()
}

/// All that can be reported is, and at each stop a call is made; what is reported is the same as
/// without.
fn m4_calls_at_every_kind_of_stop() {
    let flags = EventFlags::all();
    let script = "exec 2>/dev/null; (exit 4); /bin/echo a >/dev/null; kill -USR1 $$; exit 5";
    let told = |calls: bool| {
        let mut tracer = tracer(flags);
        let mut command = sh(&format!("trap : USR1; {script}"));
        command.stdin(Stdio::null());
        tracer.spawn(command).unwrap();
        let mut made = 0;
        let log = run_with(&mut tracer, |tracer, mut event| {
            if let Event::Stopped(stop) = &mut event {
                made += usize::from(calls && pid_of(tracer, stop).is_some());
            }
            Some(event)
        });
        (log, made)
    };
    let ((plain, _), (called, made)) = (told(false), told(true));
    assert!(made > 20, "{made} calls");
    let (plain, called) = (plain.by_process(), called.by_process());
    assert_eq!(plain.len(), called.len());
    for ((process, plain), (_, called)) in plain.iter().zip(&called) {
        assert_eq!(without_calls(plain), without_calls(called), "{process}");
    }
}

/// A call that is made again after an interrupt, for the time that is left.
fn m4_an_interrupted_sleep_goes_on() {
    let mut tracer = tracer(EventFlags::PROCESS);
    let start = std::time::Instant::now();
    let stop = spawned(&mut tracer, fixture("outlive", &["400"]));
    let pid = stop.pid();
    tracer.resume(stop, Resume::Continue).unwrap();
    // On a busy machine it can have slept enough before the last of these.
    let (mut interrupts, mut calls) = (0, 0);
    let status = loop {
        if interrupts < 20 {
            std::thread::sleep(Duration::from_millis(5));
            match tracer.interrupt(pid) {
                Ok(()) | Err(Error::Gone { .. }) => interrupts += 1,
                Err(error) => panic!("{error}"),
            }
        }
        match tracer.wait().unwrap() {
            Some(Event::Stopped(mut stop)) => {
                assert_eq!(stop.reason(), StopReason::Interrupted);
                calls += usize::from(pid_of(&mut tracer, &mut stop).is_some());
                tracer.resume(stop, Resume::Continue).unwrap();
            }
            Some(Event::Exited { status, .. }) => break status,
            other => panic!("{other:?}"),
        }
    };
    let slept = interrupts < 20 || cfg!(target_os = "freebsd");
    assert!(calls > 0 || slept, "asleep on FreeBSD it can execute nothing");
    assert_eq!(status, ExitStatus::Code(0));
    assert!(start.elapsed() >= Duration::from_millis(400));
}

fn m4_a_signal_inside_a_function() {
    let mut tracer = tracer(EventFlags::PROCESS);
    let (stop, [function, enough], _out) = called_upon(&mut tracer, 1);
    let (pid, before) = (stop.pid(), tracer.registers(&stop).unwrap());
    let id = insert(&mut tracer, pid, function);
    // The breakpoint inside comes first; then a signal; then it is given up.
    let outcome = tracer.call_function(stop, function, ARGS).unwrap();
    let CallOutcome::Interrupted { event: Event::Stopped(stop), call } = outcome else {
        panic!("{outcome:?}");
    };
    assert!(is_hit(&mut tracer, &stop, id, function));
    assert!(kill(pid, libc::SIGTERM));
    let outcome = tracer.continue_call(stop, call).unwrap();
    let CallOutcome::Interrupted { event: Event::Stopped(stop), call } = outcome else {
        panic!("{outcome:?}");
    };
    assert_eq!(stop.reason(), StopReason::Signal(Signal::TERM));
    let stop = tracer.abandon_call(stop, call).unwrap();
    assert_eq!(stop.reason(), StopReason::Signal(Signal::TRAP), "as before the call");
    assert_eq!(stop.signal(), None);
    assert_eq!(tracer.registers(&stop).unwrap(), before);
    assert!(tracer.remove_breakpoint(pid, id).unwrap());
    assert_eq!(tracer.breakpoints(pid).unwrap().count(), 0);
    // The signal has not got lost.
    tracer.resume(stop, Resume::Continue).unwrap();
    let mut stop = next_stop(&mut tracer);
    assert_eq!(stop.reason(), StopReason::Signal(Signal::TERM));
    stop.set_signal(None).unwrap();
    tracer.write_memory(&stop, enough, &1_u64.to_ne_bytes()).unwrap();
    tracer.resume(stop, Resume::Continue).unwrap();
    assert_eq!(next_exit(&mut tracer).1, ExitStatus::Code(0));
}

/// How many calls of each kind are made at random stops.
fn rounds() -> usize {
    let rounds = std::env::var("TRAPLINE_CALLS").ok().and_then(|rounds| rounds.parse().ok());
    rounds.unwrap_or(if cfg!(target_os = "freebsd") { 30 } else { 150 })
}

/// Calls of both kinds, and what was seen meanwhile.
#[derive(Debug, Default)]
struct Calls {
    syscalls: usize,
    functions: usize,
    refused: usize,
    interrupted: usize,
}

impl Calls {
    /// Has a thread make a call of each kind, if it can, and runs it on.
    fn make(&mut self, tracer: &mut Tracer, mut stop: Stopped, function: u64) -> Option<Stopped> {
        let pid = i64::from(stop.pid().as_raw());
        match pid_of(tracer, &mut stop) {
            Some(got) => {
                assert_eq!(got, pid, "{stop:?}");
                self.syscalls += 1;
            }
            None => self.refused += 1,
        }
        let (reason, signal) = (stop.reason(), stop.signal());
        let before = tracer.registers(&stop).unwrap();
        let mut outcome = match tracer.call_function(stop, function, ARGS) {
            Ok(outcome) => outcome,
            Err(Error::NotStopped { .. }) => {
                self.refused += 1;
                return None; // the next wait gives it
            }
            Err(error) => panic!("{error} at {reason:?}"),
        };
        loop {
            match outcome {
                CallOutcome::Returned { stop, value } => {
                    assert_eq!(value, sum(ARGS));
                    assert_eq!((stop.reason(), stop.signal()), (reason, signal));
                    assert_same(reason, before, tracer.registers(&stop).unwrap());
                    self.functions += 1;
                    return Some(stop);
                }
                CallOutcome::Interrupted { event, call } => {
                    self.interrupted += 1;
                    outcome = tracer.continue_call(event, call).unwrap();
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

/// What a test of random stops has in its hands.
struct Caller {
    tracer: Tracer,
    pid: Pid,
    function: u64,
    calls: Calls,
    random: Box<dyn FnMut() -> Duration>,
    /// What could make no call is resumed without another try.
    refused: Option<Tid>,
}

impl Caller {
    /// A thread makes calls, if it can, and goes on.
    fn at(&mut self, stop: Stopped) {
        let tid = stop.tid();
        if self.refused.take() == Some(tid) {
            return self.tracer.resume(stop, Resume::Continue).unwrap();
        }
        match self.calls.make(&mut self.tracer, stop, self.function) {
            Some(stop) => self.tracer.resume(stop, Resume::Continue).unwrap(),
            None => self.refused = Some(tid),
        }
    }

    /// The same of any thread, while the others are at rest.
    fn at_any(&mut self, stop: Stopped) {
        let Ok(halted) = self.tracer.halt(stop) else { return };
        let mut threads = halted.threads;
        let any = (self.random)().as_nanos() as usize / 1000 % threads.len();
        let chosen = threads.swap_remove(any);
        if chosen.reason() == StopReason::Halted {
            self.at(chosen);
        } else {
            self.tracer.resume(chosen, Resume::Continue).unwrap();
        }
        for stop in threads {
            self.tracer.resume(stop, Resume::Continue).unwrap();
        }
    }
}

/// The program of 16 threads, signals and forks finds nothing amiss, however many calls are made.
fn m4_calls_at_random_stops() {
    let mut tracer = tracer(EventFlags::PROCESS | EventFlags::THREAD);
    let (stop, [function, enough], mut out) = called_upon(&mut tracer, 16);
    let pid = stop.pid();
    tracer.resume(stop, Resume::Continue).unwrap();
    let random = Box::new(random_pauses(7, 300));
    let calls = Calls::default();
    let mut caller = Caller { tracer, pid, function, calls, random, refused: None };
    let mut done = false;
    loop {
        let pause = (caller.random)();
        let event = match caller.tracer.wait_timeout(pause).unwrap() {
            Some(event) => event,
            None if caller.tracer.is_empty() => break,
            None if done => continue,
            None => {
                caller.tracer.interrupt(pid).unwrap();
                continue;
            }
        };
        match event {
            Event::Stopped(stop) if stop.pid() == pid && !done => {
                let Calls { syscalls, functions, .. } = caller.calls;
                if syscalls.min(functions) >= rounds() {
                    caller.tracer.write_memory(&stop, enough, &1_u64.to_ne_bytes()).unwrap();
                    caller.tracer.resume(stop, Resume::Continue).unwrap();
                    done = true;
                } else if stop.reason() == StopReason::Interrupted && pause.as_micros() % 2 == 0 {
                    caller.at_any(stop);
                } else {
                    caller.at(stop);
                }
            }
            Event::Exited { pid: ended, status, .. } if ended == caller.pid => {
                assert_eq!(status, ExitStatus::Code(0), "{:?}", caller.calls);
            }
            event => caller.tracer.resume(event, Resume::Continue).unwrap(),
        }
    }
    let mut told = String::new();
    out.read_to_string(&mut told).unwrap();
    println!("{:?}", caller.calls);
    assert_eq!(told.trim().parse(), Ok(caller.calls.functions), "{:?}", caller.calls);
}

/// A program that sends itself a signal: the call is left out, or sends another one, and what it
/// returns is changed. FreeBSD allows the last alone.
pub(crate) fn e7_a_call_is_skipped_or_changed() {
    let changes = cfg!(target_os = "linux");
    let signal = if changes { libc::SIGTERM } else { 0 };
    for skip in [true, false] {
        let mut tracer = tracer(EventFlags::PROCESS | EventFlags::SYSCALL);
        let script = format!("kill -{signal} $$ 2>/dev/null && exit 7; exit 8");
        let mut stop = spawned(&mut tracer, sh(&script));
        assert!(matches!(tracer.skip_syscall(&stop), Err(Error::NotStopped { .. })));
        assert!(matches!(tracer.set_syscall_result(&stop, Ok(0)), Err(Error::NotStopped { .. })));
        let mut changed = 0;
        let status = loop {
            tracer.resume(stop, Resume::Continue).unwrap();
            stop = match tracer.wait().unwrap().unwrap() {
                Event::Stopped(stop) => stop,
                Event::Exited { status, .. } => break status,
                other => panic!("{other:?}"),
            };
            let Ok(call) = tracer.syscall(&stop) else { continue };
            if call.number != cpu::KILL {
                continue;
            }
            let [pid, sent, a, b, c, d] = call.args;
            match stop.reason() {
                StopReason::SyscallEntry if !changes => {
                    let refused = tracer.skip_syscall(&stop);
                    assert!(matches!(refused, Err(Error::Unsupported { .. })), "{refused:?}");
                    let refused = tracer.set_syscall(&stop, cpu::KILL, call.args);
                    assert!(matches!(refused, Err(Error::Unsupported { .. })), "{refused:?}");
                }
                StopReason::SyscallEntry if skip => tracer.skip_syscall(&stop).unwrap(),
                StopReason::SyscallEntry => {
                    assert_eq!(sent, signal as u64);
                    tracer.set_syscall(&stop, cpu::KILL, [pid, 0, a, b, c, d]).unwrap();
                    assert_eq!(tracer.syscall(&stop).unwrap().args[1], 0);
                }
                StopReason::SyscallExit => {
                    changed += 1;
                    let result = if skip { Ok(0) } else { Err(libc::EPERM) };
                    tracer.set_syscall_result(&stop, result).unwrap();
                    if changes {
                        assert_eq!(tracer.syscall(&stop).unwrap().result, Some(result));
                    }
                }
                _ => {}
            }
        };
        assert_eq!((changed, status), (1, ExitStatus::Code(if skip { 7 } else { 8 })));
    }
}
