//! Hardware breakpoints: what a hit costs beside a loop by hand, and what it costs to arm and
//! disarm one on so many threads at rest. How many requests the latter took is printed, beside the
//! least that the kernel would need.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion};
use trapline::{Event, EventFlags, Halted, HardwareBreakpoint, HardwareKind, Pid, Resume, Tracer};

use trapline_benches::traced::tracer;
use trapline_benches::tracee::command_with;
use trapline_benches::{Kind, cpu, loops};

fn hits(c: &mut Criterion) {
    let cpu = Some(cpu::shared());
    for kind in [Kind::Hardware, Kind::Watch] {
        let mut group = c.benchmark_group(format!("hit/{}", kind.name()));
        for (who, mut run) in loops(kind, cpu) {
            group.bench_function(who, |b| b.iter_custom(&mut run));
        }
        group.finish();
    }
}

/// A process of so many threads, all at rest.
struct Crowd {
    tracer: Tracer,
    pid: Pid,
    addr: u64,
    _halted: Halted,
}

impl Crowd {
    fn new(threads: u64) -> Self {
        let mut tracer = tracer(EventFlags::empty(), Some(cpu::shared()));
        let mut command = command_with("idle-threads", threads);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let spawned = tracer.spawn(command).expect("spawn");
        let mut output = BufReader::new(spawned.stdout.expect("piped"));
        let waker = tracer.waker().expect("a waker");
        let reader = std::thread::spawn(move || {
            let mut line = String::new();
            let _ = output.read_line(&mut line);
            waker.wake();
        });
        while !reader.is_finished() {
            if let Some(event) = tracer.wait().expect("wait") {
                let woken = matches!(event, Event::Woken);
                tracer.resume(event, Resume::Continue).expect("resume");
                if woken {
                    break;
                }
            }
        }
        let _ = reader.join();
        tracer.interrupt(spawned.pid).expect("interrupt");
        let Ok(Some(Event::Stopped(stop))) = tracer.wait() else { panic!("no stop") };
        let addr = tracer.registers(&stop).expect("registers").sp() & !7;
        let halted = tracer.halt(stop).expect("halt");
        assert_eq!(halted.threads.len() as u64, threads);
        Crowd { tracer, pid: spawned.pid, addr, _halted: halted }
    }

    /// The time that this many armings and disarmings take, each by itself.
    fn run(&mut self, n: u64) -> (Duration, Duration) {
        let (mut arming, mut disarming) = (Duration::ZERO, Duration::ZERO);
        let breakpoint = HardwareBreakpoint { addr: self.addr, len: 8, kind: HardwareKind::Write };
        for _ in 0..n {
            let start = Instant::now();
            let id = self.tracer.insert_breakpoint(self.pid, breakpoint).expect("insert");
            let armed = Instant::now();
            self.tracer.remove_breakpoint(self.pid, id).expect("remove");
            arming += armed - start;
            disarming += armed.elapsed();
        }
        (arming, disarming)
    }

    /// How many requests each takes.
    fn requests(&mut self) -> (u64, u64) {
        let breakpoint = HardwareBreakpoint { addr: self.addr, len: 8, kind: HardwareKind::Write };
        let before = self.tracer.requests();
        let id = self.tracer.insert_breakpoint(self.pid, breakpoint).expect("insert");
        let armed = self.tracer.requests();
        self.tracer.remove_breakpoint(self.pid, id).expect("remove");
        (armed - before, self.tracer.requests() - armed)
    }
}

fn arming(c: &mut Criterion) {
    let mut arm = c.benchmark_group("arm");
    arm.sample_size(10);
    for threads in [1, 16, 256, 1000] {
        let mut crowd = Crowd::new(threads);
        let first = crowd.requests();
        let later = crowd.requests();
        // An address and the control register; the control register. FreeBSD: the whole set.
        let least = if cfg!(target_os = "linux") { (2, 1) } else { (1, 1) };
        println!(
            "{threads} threads: armed by {} requests the first time, by {} later (least {}); \
             disarmed by {} (least {})",
            first.0,
            later.0,
            least.0 * threads,
            later.1,
            least.1 * threads
        );
        arm.bench_function(BenchmarkId::new("arm", threads), |b| {
            b.iter_custom(|n| crowd.run(n).0);
        });
        arm.bench_function(BenchmarkId::new("disarm", threads), |b| {
            b.iter_custom(|n| crowd.run(n).1);
        });
    }
    arm.finish();
}

fn main() {
    trapline_benches::tracee::run_if_asked();
    let mut criterion = Criterion::default().without_plots().configure_from_args();
    hits(&mut criterion);
    arming(&mut criterion);
    criterion.final_summary();
}
