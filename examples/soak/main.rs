//! `soak`: programs fork, vfork, make threads and daemons, exec from threads and signal themselves
//! at random; the tracer kills and detaches at random; and a model says what must come.
//!
//! `cargo run --release --example soak -- --minutes 10 --seed 1`: prints each deviation and at the
//! end the events per second; the exit status is 1 if there was any deviation.

#[path = "../child_signals/mod.rs"]
mod child_signals;
/// Lists of processes, as the tests have them.
#[allow(unreachable_pub, reason = "the tests use it too")]
#[path = "../../tests/common/group.rs"]
mod group;
mod model;
mod program;
mod random;

use std::collections::BTreeSet;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use trapline::{Builder, Event, EventFlags, ForkSide, Pid, Result, Resume, Stopped, Tracer};

use model::Model;
use random::Random;

/// Trace random programs, and compare what comes with what must come.
#[derive(Debug, Parser)]
#[command(name = "soak", version)]
struct Options {
    /// How long.
    #[arg(long, default_value_t = 0)]
    minutes: u64,

    /// How long, in addition.
    #[arg(long, default_value_t = 0)]
    seconds: u64,

    /// Where the random numbers start.
    #[arg(long, default_value_t = 1)]
    seed: u64,

    /// How many programs at once.
    #[arg(long, default_value_t = 4)]
    programs: usize,
}

/// How long nothing may happen while programs run.
const QUIET: Duration = Duration::from_secs(60);

fn main() {
    program::run_if_asked();
    child_signals::survive().expect("handlers of signals");
    let options = Options::parse();
    // It leads the group of all programs, so that none is overlooked, and ends with this one.
    let mut leader = Command::new("cat");
    let leader = leader.stdin(Stdio::piped()).stdout(Stdio::null()).process_group(0).spawn();
    let mut soak = Soak {
        leader: leader.expect("cat"),
        random: Random::new(options.seed),
        model: Model::default(),
        roots: BTreeSet::new(),
        leaving: Vec::new(),
        detached: Vec::new(),
        events: 0,
    };
    let begin = Instant::now();
    let for_long = Duration::from_secs(60 * options.minutes + options.seconds);
    if let Err(error) = soak.run(begin + for_long, options.programs) {
        soak.model.deviates(format!("the tracer says: {error}"));
    }
    let spent = begin.elapsed().as_secs_f64();
    soak.clean_up();
    let Soak { model, events, .. } = soak;
    println!(
        "{events} events in {spent:.1} s: {:.0} per second; {} processes, {} forks, {} execs, \
         {} threads, {} killed, {} detached, {} deviations{}",
        events as f64 / spent,
        model.counts.processes,
        model.counts.forks,
        model.counts.execs,
        model.counts.threads,
        model.counts.killed,
        model.counts.let_go,
        model.counts.deviations,
        match model.counts.survivors {
            0 => String::new(),
            n => format!("; {n} survived SIGKILL by an exec, which the kernel allows"),
        }
    );
    std::process::exit(i32::from(model.counts.deviations > 0));
}

/// Wakes the tracer now and then, and ends this program if that does not come back.
#[derive(Default)]
struct Clock {
    stopped: AtomicBool,
    /// How many turns the tracer's loop has taken.
    turns: AtomicU64,
}

impl Clock {
    fn run(&self, wake: impl Fn()) {
        let mut last = (0, Instant::now());
        while !self.stopped.load(Ordering::SeqCst) {
            wake();
            std::thread::sleep(Duration::from_millis(500));
            let turns = self.turns.load(Ordering::SeqCst);
            if turns != last.0 {
                last = (turns, Instant::now());
            } else if last.1.elapsed() > QUIET {
                println!("the tracer does not come back from a call");
                std::process::exit(1);
            }
        }
    }
}

struct Soak {
    leader: Child,
    random: Random,
    model: Model,
    /// The programs that this has started, and that are traced.
    roots: BTreeSet<Pid>,
    /// Those that were detached, and whose children are still to be taken.
    leaving: Vec<Pid>,
    /// The same, as ordinary children.
    detached: Vec<Child>,
    events: u64,
}

impl Soak {
    fn group(&self) -> i32 {
        self.leader.id() as i32
    }

    fn run(&mut self, until: Instant, programs: usize) -> Result<()> {
        let flags = EventFlags::all() - EventFlags::SYSCALL - EventFlags::MODULES;
        let mut tracer = Builder::new().events(flags).build()?;
        let waker = tracer.waker()?;
        let clock = Arc::new(Clock::default());
        let ticking = Arc::clone(&clock);
        let ticks = std::thread::spawn(move || ticking.run(|| waker.wake()));
        let mut last = Instant::now();
        loop {
            clock.turns.fetch_add(1, Ordering::SeqCst);
            while Instant::now() < until && self.roots.len() < programs {
                let seed = self.random.next();
                let pid = tracer.spawn(program::command(seed, self.group()))?.pid;
                self.roots.insert(pid);
                self.model.starts(pid);
            }
            let Some(event) = tracer.wait()? else { break };
            if matches!(event, Event::Woken) {
                self.takes_children(&mut tracer);
                if last.elapsed() > QUIET {
                    let left: Vec<Pid> = tracer.processes().collect();
                    self.model.deviates(format!("nothing comes any more of {left:?}"));
                    break;
                }
                continue;
            }
            last = Instant::now();
            self.events += 1;
            self.model.takes(&event);
            if let Event::Exited { pid, .. } = event {
                self.roots.remove(&pid);
            }
            self.answers(&mut tracer, event)?;
        }
        self.takes_children(&mut tracer);
        clock.stopped.store(true, Ordering::SeqCst);
        let _ = ticks.join();
        Ok(())
    }

    /// Does something with an event, mostly what everybody does.
    fn answers(&mut self, tracer: &mut Tracer, event: Event) -> Result<()> {
        let pid = event.pid();
        match self.random.below(400) {
            0 | 1 => {
                if let Some(pid) = pid.filter(|&pid| self.model.is_traced(pid)) {
                    self.model.kills(pid, "by the tracer");
                    tracer.kill(pid)?;
                }
            }
            2 | 3 => {
                if let Some(pid) = pid.filter(|&pid| self.model.is_traced(pid)) {
                    // From outside, which can hit it anywhere.
                    self.model.kills(pid, "from outside");
                    program::kill(pid);
                }
            }
            4 => {
                let pids: Vec<Pid> = tracer.processes().collect();
                if let Some(&pid) = pids.get(self.random.below(pids.len().max(1))) {
                    self.model.kills(pid, "from outside");
                    program::kill(pid);
                }
            }
            5 => return self.lets_go(tracer, event),
            6 => {
                let pids: Vec<Pid> = tracer.processes().collect();
                if let Some(&pid) = pids.get(self.random.below(pids.len().max(1))) {
                    self.leaves(pid);
                    tracer.resume(event, Resume::Continue)?;
                    tracer.detach_process(pid)?;
                    return Ok(());
                }
            }
            7..=12 => {
                if let Some(pid) = pid {
                    let _ = tracer.interrupt(pid); // it may have ended
                }
            }
            13..=20 => {
                if let Event::Forked(fork) = event {
                    // The parent first, or one of them much later.
                    let halves = [fork.parent, fork.child];
                    for stop in halves.into_iter().filter_map(ForkSide::into_stopped) {
                        tracer.resume(stop, Resume::Continue)?;
                    }
                    return Ok(());
                }
            }
            _ => {}
        }
        tracer.resume(event, Resume::Continue)
    }

    fn lets_go(&mut self, tracer: &mut Tracer, event: Event) -> Result<()> {
        let pids: Vec<Pid> = match &event {
            Event::Stopped(stop) => vec![stop.pid()],
            Event::Forked(fork) => {
                let halves = [&fork.parent, &fork.child];
                halves.into_iter().filter_map(ForkSide::stopped).map(Stopped::pid).collect()
            }
            _ => Vec::new(),
        };
        for &pid in &pids {
            self.leaves(pid);
        }
        tracer.detach(event)
    }

    fn leaves(&mut self, pid: Pid) {
        self.model.lets_go(pid);
        if self.roots.remove(&pid) {
            self.leaving.push(pid);
        }
    }

    /// What the kernel holds is detached by a later wait, and its child is there then.
    fn takes_children(&mut self, tracer: &mut Tracer) {
        let detached = &mut self.detached;
        self.leaving.retain(|&pid| match tracer.take_child(pid) {
            Some(child) => {
                detached.push(child);
                false
            }
            None => true,
        });
    }

    /// All that was detached ends by itself; nobody is left stopped, and no zombie of ours.
    fn clean_up(&mut self) {
        self.model.is_over();
        let us = std::process::id() as i32;
        let until = Instant::now() + QUIET;
        for mut child in std::mem::take(&mut self.detached) {
            match wait_until(&mut child, until) {
                Ok(Some(status)) => self.model.ends_untraced(child.id(), status),
                Ok(None) => {
                    let left = group::described(&BTreeSet::from([child.id() as i32]));
                    self.model.deviates(format!("detached, and does not end: {left:?}"));
                    let _ = child.kill();
                    let _ = child.wait();
                }
                Err(error) => self.model.deviates(format!("wait for {}: {error}", child.id())),
            }
        }
        loop {
            let mut living = group::living_in(self.group());
            living.remove(&self.group());
            if living.is_empty() {
                break;
            }
            if Instant::now() > until {
                self.model.deviates(format!("left: {:?}", group::described(&living)));
                living.into_iter().for_each(|pid| program::kill(Pid::from_raw(pid)));
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let _ = self.leader.kill();
        let _ = self.leader.wait();
        let zombies = group::zombies_of(us);
        if !zombies.is_empty() {
            self.model.deviates(format!("zombies: {zombies:?}"));
        }
    }
}

fn wait_until(child: &mut Child, until: Instant) -> std::io::Result<Option<ExitStatus>> {
    loop {
        let status = child.try_wait()?;
        if status.is_some() || Instant::now() > until {
            return Ok(status);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A command that runs this program again.
fn again() -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.env("RUST_BACKTRACE", "0");
    command
}
