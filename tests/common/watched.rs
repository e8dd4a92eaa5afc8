//! A traced program whose places in memory are known, at rest before it does anything with them.

use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};

use trapline::{
    BreakpointId, Builder, Event, EventFlags, ExitStatus, HardwareBreakpoint, HardwareKind, Pid,
    Resume, Signal, StopReason, Stopped, Tracer, TrapCauses,
};

use super::events::next_stop;
use crate::fixtures::fixture;

/// The program, and where its places are.
pub struct Watched {
    pub tracer: Tracer,
    pub pid: Pid,
    /// 128 bytes, at a multiple of 64.
    pub data: u64,
    /// A function, and its second instruction.
    pub marked: u64,
    pub second: u64,
    /// A system call instruction.
    pub syscall: u64,
    /// A handler of signals.
    pub handler: u64,
    /// The program's output.
    pub output: Option<BufReader<ChildStdout>>,
    pub input: ChildStdin,
}

/// A hit: the process, and the causes.
pub type Hit = (Pid, TrapCauses);

impl Watched {
    pub fn new(words: &str) -> (Self, Stopped) {
        Self::built(words, |builder| builder.events(EventFlags::PROCESS))
    }

    pub fn built(words: &str, settings: impl FnOnce(Builder) -> Builder) -> (Self, Stopped) {
        let words: Vec<&str> = words.split_whitespace().collect();
        Self::of(fixture("watched", &words), settings)
    }

    pub fn of(mut command: Command, settings: impl FnOnce(Builder) -> Builder) -> (Self, Stopped) {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut tracer = settings(Tracer::builder()).build().expect("a tracer");
        let spawned = tracer.spawn(command).expect("spawn");
        let mut output = BufReader::new(spawned.stdout.expect("piped"));
        let stop = loop {
            let stop = next_stop(&mut tracer);
            match stop.reason() {
                StopReason::Signal(Signal::USR1) => break stop,
                _ => tracer.resume(stop, Resume::Continue).expect("resume"),
            }
        };
        let places = places(&mut output);
        let watched = Watched {
            tracer,
            pid: spawned.pid,
            data: places[0],
            marked: places[1],
            second: places[2],
            syscall: places[3],
            handler: places[4],
            output: Some(output),
            input: spawned.stdin.expect("piped"),
        };
        (watched, ready(stop))
    }

    /// Watches bytes of the data.
    pub fn watch(&mut self, offset: u64, len: u64, kind: HardwareKind) -> BreakpointId {
        let addr = self.data + offset;
        self.tracer
            .insert_breakpoint(self.pid, HardwareBreakpoint { addr, len, kind })
            .expect("insert")
    }

    /// A breakpoint at an instruction.
    pub fn execute(&mut self, addr: u64) -> BreakpointId {
        let breakpoint = HardwareBreakpoint { addr, len: 1, kind: HardwareKind::Execute };
        self.tracer.insert_breakpoint(self.pid, breakpoint).expect("insert")
    }

    pub fn go(&mut self, event: impl Into<Event>) {
        self.tracer.resume(event, Resume::Continue).expect("resume");
    }

    pub fn step(&mut self, event: impl Into<Event>) {
        self.tracer.resume(event, Resume::Step).expect("resume");
    }

    /// Has the program run until it has printed so many lines; it reports nothing meanwhile.
    pub fn wait_for_lines(&mut self, many: usize) {
        let output = self.output.take().expect("not taken");
        let waker = self.tracer.waker().expect("a waker");
        let reader = std::thread::spawn(move || {
            let lines: Vec<_> = output.lines().take(many).collect();
            waker.wake();
            lines.len()
        });
        match self.tracer.wait().expect("wait") {
            Some(Event::Woken) => assert_eq!(reader.join().expect("the reader"), many),
            other => panic!("expected nothing, not {other:?}"),
        }
    }

    /// Sends the program lines.
    pub fn say(&mut self, lines: &str) {
        self.input.write_all(lines.as_bytes()).expect("write");
    }

    /// The next stop, for a trap.
    pub fn trap(&mut self) -> (Stopped, TrapCauses) {
        let stop = next_stop(&mut self.tracer);
        match stop.reason() {
            StopReason::Trap(causes) => (stop, causes),
            other => panic!("not a trap: {other:?}"),
        }
    }

    /// Runs everything to its end; says what was hit by whom. The first process ends well.
    pub fn hits(&mut self) -> Vec<Hit> {
        self.hits_with(|_, _| {})
    }

    /// The same, with a look at each stop.
    pub fn hits_with(&mut self, mut each: impl FnMut(&mut Tracer, &Stopped)) -> Vec<Hit> {
        let mut hits = Vec::new();
        while let Some(event) = self.tracer.wait().expect("wait") {
            let event = match event {
                Event::Stopped(stop) => {
                    each(&mut self.tracer, &stop);
                    if let StopReason::Trap(causes) = stop.reason() {
                        hits.push((stop.pid(), causes));
                    }
                    if stop.reason() == StopReason::Signal(Signal::TRAP) {
                        tell_trap(&mut self.tracer, &stop); // seen if the test fails
                    }
                    match stop.reason() {
                        StopReason::Signal(Signal::USR1) => Event::from(ready(stop)),
                        _ => Event::from(stop),
                    }
                }
                Event::Exited { pid, status, real_parent } => {
                    assert_eq!(status, ExitStatus::Code(0), "the end of {pid}");
                    Event::Exited { pid, status, real_parent }
                }
                other => other,
            };
            self.tracer.resume(event, Resume::Continue).expect("resume");
        }
        hits
    }

    /// How many of the hits are of this breakpoint.
    pub fn count(hits: &[Hit], id: BreakpointId) -> usize {
        hits.iter().filter(|(_, causes)| causes.hardware.contains(id)).count()
    }
}

/// Prints what is known of a trap that counts as the program's own.
fn tell_trap(tracer: &mut Tracer, stop: &Stopped) {
    let rip = tracer.registers(stop).map(|registers| registers.pc());
    eprintln!("a trap of the program's: {:?}, at {rip:x?}", tracer.signal_info(stop));
    #[cfg(target_os = "freebsd")]
    if let Ok(thread) = tracer.thread(stop) {
        let registers = tracer.on_backend(|backend| backend.debug_registers(thread));
        eprintln!("{:?}, {registers:x?}", tracer.on_backend(|backend| backend.lwp_info(thread)));
    }
}

/// The addresses in the next line of output.
pub fn places(output: &mut impl BufRead) -> Vec<u64> {
    let mut line = String::new();
    output.read_line(&mut line).expect("a line");
    line.split_whitespace().map(|word| u64::from_str_radix(word, 16).expect("an address")).collect()
}

/// The stop at which a program says that it is ready, without the signal for it.
pub fn ready(mut stop: Stopped) -> Stopped {
    stop.set_signal(None).expect("a signal stop");
    stop
}
