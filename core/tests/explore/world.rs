//! A world that takes one way through all that may happen.

mod failures;
mod program;
mod user;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;
use std::time::Duration;

use trapline_core::backend::{RawKind, RawReason};
use trapline_core::{ForkKind, Pid, Resume, SoftwareBreakpoint, Stopped, Tid, Tracer};
use trapline_fake::{Fake, Kernel, Report, Rules};

use crate::breaks::{Breaks, CODE};
use crate::ledger::{Ledger, Life};
use crate::path::Path;
use crate::scenario::{Move, Scenario, User};
use failures::Failures;
use user::Kept;

/// What passes in one go is not told further: the tracer spins.
const MOST_TOLD: usize = 200;

/// No way needs more requests: the tracer spins.
const MOST_REQUESTS: u64 = 200_000;

/// No breakpoint has to be removed more often than the user can insert it.
const MOST_REMOVALS: usize = 100;

/// What can be done next.
#[derive(Debug, Clone, Copy)]
enum Act {
    Wait,
    Step(Move, Pid, Tid),
    Die(Tid),
    Resume(usize),
    Whim(User, usize),
}

pub(crate) struct World<'a, R: Rules> {
    scenario: &'a Scenario,
    path: Path,
    pub(crate) kernel: Kernel<R>,
    tracer: Option<Tracer<Fake<R>>>,
    ledger: Ledger,
    breaks: Rc<RefCell<Breaks>>,
    kept: Vec<Kept>,
    /// Reports that waits have taken and nobody has looked at.
    taken: Rc<RefCell<Vec<Report>>>,
    /// Children whose creators have reported them.
    heard: BTreeSet<Pid>,
    /// The last fork of each thread, as long as it was not reported.
    forks: BTreeMap<Tid, Pid>,
    /// Whether a wait may say something new.
    news: bool,
    steps: usize,
    whims: usize,
    ambushes: Rc<RefCell<usize>>,
    dashes: Rc<RefCell<usize>>,
    failures: Rc<RefCell<Failures>>,
    /// Threads that the tracer has sent a signal, which they have not reported.
    sent: Rc<RefCell<Vec<Tid>>>,
    /// A digest of what the user did.
    deeds: u64,
    /// What programs did, deaths and reports.
    pub(crate) kernel_steps: usize,
    /// Most threads at once, of all processes.
    pub(crate) most_tasks: usize,
    /// What happened, for a message.
    pub(crate) story: Vec<String>,
    tells: bool,
    told: usize,
}

impl<'a, R: Rules> World<'a, R> {
    pub(crate) fn new(scenario: &'a Scenario, path: Path) -> Self {
        let kernel = Kernel::<R>::new();
        let mut tracer = Tracer::builder()
            .events(scenario.flags)
            .follow_fork(scenario.follow)
            .half_patience(Duration::ZERO)
            .step_over(scenario.step_over)
            .build_on(kernel.backend());
        if !scenario.code.is_empty() {
            kernel.map_programs(CODE, scenario.code);
        }
        let pid = kernel.start();
        for _ in 1..scenario.threads {
            kernel.thread(kernel.leader(pid));
        }
        tracer.attach(pid).expect("it can be traced");
        let mut ledger = Ledger::new(scenario.flags);
        let others = kernel.threads(pid).into_iter().filter(|&tid| tid != kernel.leader(pid));
        ledger.start(pid, others.collect());
        let started = tracer.wait().expect("an attach").expect("has a first stop");
        let mut breaks = Breaks::new(scenario.code, scenario.follow);
        breaks.start(pid, &kernel);
        for addr in scenario.spots.iter().filter(|_| scenario.set).map(|spot| CODE + spot) {
            let id =
                tracer.insert_breakpoint(pid, SoftwareBreakpoint { addr }).expect("it is mapped");
            breaks.inserted(pid, addr, id).expect("the first");
        }
        kernel.set_slow_deaths(true);
        if let Some(fault) = scenario.fault {
            kernel.seed(fault);
        }
        tracer.resume(started, Resume::Continue).expect("it runs on");
        let ambushes = Rc::new(RefCell::new(0));
        let mut world = World {
            scenario,
            path,
            kernel,
            tracer: Some(tracer),
            ledger,
            breaks: Rc::new(RefCell::new(breaks)),
            kept: Vec::new(),
            taken: Rc::default(),
            heard: BTreeSet::new(),
            forks: BTreeMap::new(),
            news: false,
            steps: scenario.steps,
            whims: scenario.whims,
            ambushes,
            dashes: Rc::default(),
            failures: Rc::default(),
            sent: Rc::default(),
            deeds: 0,
            kernel_steps: 0,
            most_tasks: 0,
            story: Vec::new(),
            tells: false,
            told: 0,
        };
        world.script();
        world
    }

    /// The choices that are made inside of waits and before requests.
    fn script(&mut self) {
        let path = self.path.clone();
        self.find(move |many| path.choose(many));
        *self.ambushes.borrow_mut() = self.scenario.ambushes;
        let (path, failures) = (self.path.clone(), Rc::clone(&self.failures));
        let sent = Rc::clone(&self.sent);
        failures.borrow_mut().left = self.scenario.failures;
        self.kernel.fail_requests(move |_, call| {
            if failures.borrow().left == 0 || path.choose(2) == 0 {
                return false;
            }
            failures.borrow_mut().fail(call);
            if call.name == "send_signal" {
                sent.borrow_mut().pop(); // just now
            }
            true
        });
        let (path, left) = (self.path.clone(), Rc::clone(&self.ambushes));
        let (breaks, dashes) = (Rc::clone(&self.breaks), Rc::clone(&self.dashes));
        let (late, sent) = (self.scenario.late, Rc::clone(&self.sent));
        *dashes.borrow_mut() = self.scenario.dashes;
        self.kernel.before_requests(move |kernel, call| {
            assert!(call.number < MOST_REQUESTS, "the tracer spins");
            breaks.borrow_mut().before(kernel, call.name, call.id);
            if call.name == "send_signal" {
                sent.borrow_mut().push(Tid::from_raw(call.id));
            }
            if *dashes.borrow() > 0 {
                let runners = runners(kernel);
                let chosen = path.choose(runners.len() + 1);
                if let Some(&runner) = chosen.checked_sub(1).and_then(|at| runners.get(at)) {
                    *dashes.borrow_mut() -= 1;
                    program::run(kernel, &breaks, runner, late);
                }
            }
            if *left.borrow() == 0 || matches!(call.name, "wait" | "kill" | "has_tracees") {
                return;
            }
            let victims: Vec<Pid> = victims(kernel);
            let chosen = path.choose(victims.len() + 1);
            if let Some(&victim) = chosen.checked_sub(1).and_then(|at| victims.get(at)) {
                *left.borrow_mut() -= 1;
                kernel.kill(victim);
            }
        });
    }

    /// Chooses what waits find, and notes it down.
    fn find(&mut self, choose: impl Fn(usize) -> usize + 'static) {
        let (taken, breaks) = (Rc::clone(&self.taken), Rc::clone(&self.breaks));
        self.kernel.choose(move |reports| {
            let chosen = choose(reports.len());
            taken.borrow_mut().push(reports[chosen]);
            breaks.borrow_mut().takes(reports[chosen]);
            Some(chosen)
        });
    }

    fn tracer(&mut self) -> &mut Tracer<Fake<R>> {
        self.tracer.as_mut().expect("there until the end")
    }

    /// The user did something. What it was given needs no noting: that follows from what passed
    /// between tracer and kernel.
    fn did(&mut self, deed: u32, tell: impl FnOnce() -> String) {
        let mut hasher = DefaultHasher::new();
        (self.deeds, deed, self.kernel.talk()).hash(&mut hasher);
        self.deeds = hasher.finish();
        self.tell(tell);
    }

    fn tell(&mut self, tell: impl FnOnce() -> String) {
        if self.tells {
            self.story.push(tell());
        }
    }

    /// Tells a story from now on, with all that passes between tracer and kernel.
    pub(crate) fn tell_story(&mut self) {
        self.tells = true;
        self.kernel.keep_log();
    }

    /// What has passed between tracer and kernel meanwhile.
    pub(crate) fn tell_log(&mut self) {
        if self.tells {
            let log = self.kernel.log();
            let new = log.iter().skip(self.told).take(MOST_TOLD);
            self.story.extend(new.map(|line| format!("    {line}")));
            self.told = log.len();
        }
    }

    /// Goes the whole way.
    pub(crate) fn run(&mut self, seen: &mut HashSet<u64>) -> Result<(), String> {
        let mut turns = 0;
        loop {
            self.check()?;
            if self.path.is_new() && !seen.insert(self.key()) {
                return Ok(()); // so is what follows
            }
            let acts = self.acts();
            if acts.is_empty() {
                break;
            }
            let act = acts[self.path.choose(acts.len())];
            self.act(act)?;
            turns += 1;
            if turns > 500 {
                return Err("no end of events".to_string());
            }
        }
        self.find(|_| 0);
        self.finish()
    }

    fn key(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        let failures = self.failures.borrow().clone();
        let ambushes = (*self.ambushes.borrow(), *self.dashes.borrow(), failures);
        (self.kernel.digest(), self.deeds, self.steps, self.whims, ambushes).hash(&mut hasher);
        if !self.breaks.borrow().is_off() {
            self.breaks.borrow().hash(&mut hasher);
        }
        (self.kept.len(), self.news).hash(&mut hasher);
        hasher.finish()
    }

    fn check(&mut self) -> Result<(), String> {
        self.tell_log();
        let processes = self.kernel.processes();
        let tasks = processes.into_iter().map(|pid| self.kernel.threads(pid).len()).sum();
        self.most_tasks = self.most_tasks.max(tasks);
        let mut breaks = self.breaks.borrow_mut();
        breaks.give_up_if_misled(&self.kernel);
        if let (Some(tracer), false) = (&self.tracer, breaks.is_off()) {
            breaks.meet(&self.kernel, tracer)?;
            breaks.look(&self.kernel)?;
            breaks.at_any_time(&self.kernel)?;
        }
        breaks.told(&self.kernel);
        for report in self.taken.borrow_mut().drain(..) {
            self.kernel_steps += 1;
            let again = match report.kind {
                RawKind::Stop(RawReason::Signal {
                    signal: trapline_core::Signal::USR1, ..
                }) => {
                    let mut sent = self.sent.borrow_mut();
                    let at = sent.iter().position(|&tid| tid == report.tid);
                    at.map(|at| sent.swap_remove(at)).is_some()
                }
                _ => false,
            };
            self.ledger.reported(report, again);
            if let RawKind::Stop(RawReason::Forked { .. }) = report.kind {
                self.heard.extend(self.forks.remove(&report.tid));
            }
        }
        drop(breaks);
        self.ledger.excuse(&self.kernel);
        if let Some(violation) = self.kernel.violations().first() {
            return Err(violation.clone());
        }
        let runs = |stop: &&Stopped| self.is_live(stop) && self.kernel.acts(stop.tid());
        match self.kept.iter().flat_map(Kept::tokens).find(runs) {
            Some(stop) => Err(format!("W4: {stop:?} runs")),
            None => Ok(()),
        }
    }

    /// All that can be done now; what comes first is the shortest way to the end.
    fn acts(&self) -> Vec<Act> {
        let mut acts = Vec::new();
        let full = self.kept.len() > self.scenario.kept;
        if !full && (self.news || !self.kernel.reports().is_empty()) {
            acts.push(Act::Wait);
        }
        let last_resort = acts.is_empty() && self.steps == 0;
        for at in 0..self.kept.len() {
            acts.push(Act::Resume(at));
            if (last_resort || self.scenario.kept == 0) && self.whims == 0 {
                break; // nothing else will happen: the order is of no interest
            }
        }
        if self.whims > 0 {
            for at in 0..self.kept.len() {
                acts.extend(self.scenario.user.iter().map(|&whim| Act::Whim(whim, at)));
            }
        }
        if full {
            return acts;
        }
        for pid in self.kernel.processes() {
            if !self.ledger.lives.contains_key(&pid) {
                continue;
            }
            for tid in self.kernel.threads(pid) {
                if self.kernel.is_doomed(tid) {
                    if self.kernel.state(tid).starts_with("Dying") {
                        acts.push(Act::Die(tid));
                    }
                } else if self.steps > 0 && self.kernel.acts(tid) && self.kernel.is_traced(pid) {
                    let room = self.ledger.lives.len() < self.scenario.processes;
                    let makes = |m| matches!(m, Move::Fork | Move::Vfork | Move::Sibling);
                    let possible = self.scenario.moves.iter().filter(|&&m| room || !makes(m));
                    let of_thread = possible.filter(|&&m| m != Move::Kill);
                    let of_thread =
                        of_thread.filter(|&&m| program::is_possible(&self.kernel, m, tid));
                    acts.extend(of_thread.map(|&m| Act::Step(m, pid, tid)));
                }
            }
            let killable = self.kernel.fate(pid).is_none() && self.kernel.is_traced(pid);
            if self.steps > 0 && killable && self.scenario.moves.contains(&Move::Kill) {
                acts.push(Act::Step(Move::Kill, pid, self.kernel.leader(pid)));
            }
        }
        acts
    }

    fn act(&mut self, act: Act) -> Result<(), String> {
        match act {
            Act::Wait => self.wait(),
            Act::Step(what, pid, tid) => {
                self.steps -= 1;
                self.kernel_steps += 1;
                self.step(what, pid, tid);
                Ok(())
            }
            Act::Die(tid) => {
                self.kernel_steps += 1;
                self.tell(|| format!("{tid} dies"));
                self.kernel.die(tid);
                Ok(())
            }
            Act::Resume(at) => {
                self.did(100 + at as u32, String::new);
                let kept = self.kept.remove(at);
                self.resume(kept)
            }
            Act::Whim(whim, at) => {
                self.did(100 + at as u32, String::new);
                self.whims -= 1;
                let kept = self.kept.remove(at);
                self.whim(whim, kept)
            }
        }
    }

    /// Whether a token is still good, so that the tracer acts on it.
    fn is_live(&self, stop: &Stopped) -> bool {
        self.tracer.as_ref().is_some_and(|tracer| tracer.thread(stop).is_ok())
    }

    /// Lets everything run, and then die.
    fn finish(&mut self) -> Result<(), String> {
        *self.ambushes.borrow_mut() = 0;
        *self.dashes.borrow_mut() = 0;
        self.failures.borrow_mut().left = 0;
        self.drain()?;
        // A thread in `vfork` is detached when its child has ended.
        while let Some(tid) = self.holding_up() {
            self.tell(|| format!("{tid} ends"));
            self.kernel.exit(tid, 3);
            self.news = true;
            self.drain()?;
        }
        self.failures.borrow().are_told()?;
        let wrong = self.kernel.check_idle(&[]);
        if let Some(wrong) = wrong.first() {
            return Err(wrong.clone());
        }
        self.ledger.settled(&self.kernel)?;
        self.remove_all()?;
        self.tell(|| "everybody is killed".to_string());
        self.kernel.set_slow_deaths(false);
        for pid in self.kernel.processes() {
            self.kernel.kill(pid);
        }
        self.drain()?;
        let last = self.tracer().wait().map_err(|error| format!("the last wait: {error}"))?;
        if let Some(event) = last {
            return Err(format!("{event:?}, and nobody is left"));
        }
        self.check()?;
        let (heard, lives) = (&self.heard, &self.ledger.lives);
        self.ledger.over(|pid| lives.contains_key(&pid) && !heard.contains(&pid))?;
        if !self.tracer.as_ref().is_some_and(Tracer::is_empty) {
            return Err("the tracer is not empty".to_string());
        }
        // Of a process that was detached, a first thread that had ended before stays a zombie until
        // the tracer waits for something else, or ends.
        let excused = |pid| self.ledger.lives.get(pid).is_some_and(|life| life.let_go);
        if self.kernel.reports().iter().any(|report| !excused(&report.pid)) {
            return Err(format!("left over: {:?}", self.kernel.reports()));
        }
        Ok(())
    }

    /// Nothing of the breakpoints is left when all are removed.
    fn remove_all(&mut self) -> Result<(), String> {
        let breaks = Rc::clone(&self.breaks);
        let Some(tracer) = self.tracer.as_ref().filter(|_| !breaks.borrow().is_off()) else {
            return Ok(());
        };
        breaks.borrow_mut().settled(&self.kernel, tracer)?;
        for pid in self.kernel.processes() {
            for _ in 0..MOST_REMOVALS {
                let first = breaks.borrow().of(pid).first().copied();
                let Some((addr, id)) = first else { break };
                self.remove(pid, addr, id)?;
            }
        }
        self.news = true;
        self.drain()?;
        breaks.borrow().all_removed(&self.kernel)
    }

    /// A vfork child that can act, and holds up one that was detached, or is not traced itself.
    fn holding_up(&self) -> Option<Tid> {
        let lives = &self.ledger.lives;
        let leaves = |pid: Pid| lives.get(&pid).is_some_and(|life| life.let_go);
        let holds = |pid: Pid, life: &Life| match life.made {
            Some((maker, _, ForkKind::Vfork)) => leaves(maker) || !self.kernel.is_traced(pid),
            _ => false,
        };
        let mut pids = lives.iter().filter(|&(&pid, life)| holds(pid, life)).map(|(&pid, _)| pid);
        pids.find_map(|pid| self.kernel.threads(pid).into_iter().find(|&t| self.kernel.acts(t)))
    }

    fn drain(&mut self) -> Result<(), String> {
        for _ in 0..200 {
            while !self.kept.is_empty() {
                let kept = self.kept.remove(0);
                self.resume(kept)?;
                self.check()?;
            }
            self.wait()?;
            if self.kept.is_empty() && !self.news {
                return Ok(());
            }
        }
        Err("no end of events".to_string())
    }
}

impl<R: Rules> Drop for World<'_, R> {
    fn drop(&mut self) {
        self.kernel.vanish();
        self.kept.clear();
        self.tracer = None;
    }
}

/// The threads that can run its code.
fn runners<R: Rules>(kernel: &Kernel<R>) -> Vec<Tid> {
    let pids = kernel.processes().into_iter().filter(|&pid| kernel.is_traced(pid));
    let mut tids: Vec<Tid> = pids.flat_map(|pid| kernel.threads(pid)).collect();
    tids.retain(|&tid| kernel.acts(tid) && program::is_possible(kernel, Move::Run, tid));
    tids
}

/// Whom an ambush can kill.
fn victims<R: Rules>(kernel: &Kernel<R>) -> Vec<Pid> {
    let mut pids = kernel.processes();
    pids.retain(|&pid| kernel.is_traced(pid) && kernel.fate(pid).is_none());
    pids
}
