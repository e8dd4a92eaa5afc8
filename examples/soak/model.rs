//! What must come.

use std::collections::{BTreeMap, BTreeSet};

use trapline::{Event, ExitStatus, ForkKind, ForkSide, Pid, Signal, StopReason, Stopped, Tid};

use crate::program::{FORKS, WRONG_CHILD, WRONG_SIGNAL, right};

#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) processes: u64,
    pub(crate) forks: u64,
    pub(crate) execs: u64,
    pub(crate) threads: u64,
    pub(crate) killed: u64,
    pub(crate) let_go: u64,
    pub(crate) survivors: u64,
    pub(crate) deviations: u64,
}

/// A process, from its first event to its last.
#[derive(Default)]
struct Process {
    /// `None` if the kernel could not say.
    maker: Option<Pid>,
    /// It may have been made by `vfork`, and then has run one program more.
    perhaps_vforked: bool,
    forks: i32,
    vforks: u32,
    vforks_done: u32,
    /// Without the one that started it.
    execs: i32,
    threads: BTreeSet<Tid>,
    /// It runs another program soon, which does not count: it was spawned, here or by a program,
    /// which then is a vfork.
    starting: bool,
    killed: bool,
    /// When it was killed, it had threads, or was making some.
    killed_in_threads: bool,
    /// A child of it has survived that.
    has_survivor: bool,
    let_go: bool,
    /// What came of it, for a message.
    history: Vec<String>,
}

/// An end that must come, within so many events.
struct Owed {
    maker: Pid,
    why: String,
    events: u32,
}

/// All that are traced, or were detached.
#[derive(Default)]
pub(crate) struct Model {
    processes: BTreeMap<Pid, Process>,
    killed_early: BTreeSet<Pid>,
    owed: Vec<Owed>,
    /// One that was killed has ended; for so many events its children may still come.
    since_killed: u32,
    pub(crate) counts: Counts,
}

impl Model {
    pub(crate) fn deviates(&mut self, what: String) {
        self.counts.deviations += 1;
        println!("deviation: {what}");
    }

    pub(crate) fn starts(&mut self, pid: Pid) {
        let maker = Some(Pid::this());
        self.begins(pid, Process { maker, starting: true, ..Process::default() });
    }

    fn begins(&mut self, pid: Pid, mut process: Process) {
        process.killed |= self.killed_early.remove(&pid);
        self.counts.processes += 1;
        match self.processes.insert(pid, process) {
            Some(old) if !old.let_go => self.deviates(format!("{pid} begins twice")),
            _ => {}
        }
    }

    pub(crate) fn kills(&mut self, pid: Pid, how: &str) {
        match self.processes.get_mut(&pid) {
            Some(process) if !process.let_go => {
                process.history.push(format!("killed {how}"));
                self.counts.killed += u64::from(!process.killed);
                process.killed = true;
                process.killed_in_threads |= !process.threads.is_empty();
            }
            // The tracer knows of it, and its first event is in the queue.
            _ => drop(self.killed_early.insert(pid)),
        }
    }

    pub(crate) fn lets_go(&mut self, pid: Pid) {
        if let Some(process) = self.processes.get_mut(&pid) {
            self.counts.let_go += u64::from(!process.let_go);
            process.let_go = true;
        }
    }

    /// The process that an event is about, if it can be about that.
    fn of(&mut self, pid: Pid, event: &Event) -> Option<&mut Process> {
        let wrong = match self.processes.get(&pid) {
            None => "an unknown process",
            Some(process) if process.let_go => "a process that was detached",
            Some(_) => return self.processes.get_mut(&pid),
        };
        self.deviates(format!("{event:?} of {wrong}"));
        None
    }

    pub(crate) fn takes(&mut self, event: &Event) {
        self.since_killed = self.since_killed.saturating_sub(1);
        self.owed.iter_mut().for_each(|owed| owed.events = owed.events.saturating_sub(1));
        if let Some(at) = self.owed.iter().position(|owed| owed.events == 0) {
            let Owed { why, .. } = self.owed.swap_remove(at);
            self.deviates(why);
        }
        let forked = match event {
            Event::Forked(fork) => Some(fork.child_pid),
            _ => None,
        };
        for pid in event.pid().into_iter().chain(forked) {
            if let Some(process) = self.processes.get_mut(&pid) {
                process.history.push(format!("{event:?}"));
            }
        }
        match event {
            Event::Stopped(stop) => self.stops(stop, event),
            Event::Forked(fork) => {
                self.counts.forks += 1;
                let maker = fork.parent_pid;
                if let Some(process) = maker.and_then(|pid| self.processes.get_mut(&pid)) {
                    process.forks += 1;
                    process.vforks += u32::from(fork.kind == ForkKind::Vfork);
                }
                let excused = |model: &Model| {
                    model.since_killed > 0 || model.processes.values().any(|p| p.killed)
                };
                match maker {
                    Some(pid) if !self.processes.contains_key(&pid) => {
                        self.deviates(format!("{event:?} by an unknown process"));
                    }
                    // A thread of a killed process may have been the creator.
                    None if !excused(self) => self.deviates(format!("{event:?} by nobody")),
                    _ => {}
                }
                if let (ForkSide::Gone, Some(pid)) = (&fork.parent, maker) {
                    if self.processes.get(&pid).is_some_and(|p| !p.killed && !p.let_go) {
                        self.deviates(format!("{event:?}, and nobody has killed the parent"));
                    }
                }
                let early = self.killed_early.contains(&fork.child_pid);
                if matches!(fork.child, ForkSide::Gone) && !early {
                    self.deviates(format!("{event:?}, and nobody has killed the child"));
                }
                let maker = fork.parent_pid;
                let starting = fork.kind == ForkKind::Vfork;
                // A creator that was killed may not have said how, nor one whose own stop is late, as it
                // is on FreeBSD, where the child of a vfork comes first.
                let perhaps_vforked = !matches!(fork.parent, ForkSide::Stopped(_));
                // The tracer knew of it before this was told.
                let let_go = matches!(fork.child, ForkSide::Detached);
                let history = vec![format!("{event:?}")];
                let new = Process {
                    maker,
                    starting,
                    perhaps_vforked,
                    let_go,
                    history,
                    ..Process::default()
                };
                self.begins(fork.child_pid, new);
            }
            Event::ThreadExited { pid, tid } => {
                let Some(process) = self.of(*pid, event) else { return };
                if !process.threads.remove(tid) {
                    self.deviates(format!("{event:?} of a thread that never began"));
                }
            }
            Event::Exited { pid, status, real_parent } => self.ends(*pid, *status, *real_parent),
            Event::Reparented { pid, .. } => drop(self.of(*pid, event)),
            other => self.deviates(format!("{other:?}")),
        }
    }

    fn stops(&mut self, stop: &Stopped, event: &Event) {
        let counts = &mut self.counts;
        let (tid, reason) = (stop.tid(), stop.reason());
        match reason {
            StopReason::ThreadStarted => counts.threads += 1,
            StopReason::Execed { .. } => counts.execs += 1,
            _ => {}
        }
        let Some(process) = self.of(stop.pid(), event) else { return };
        let wrong = match reason {
            StopReason::ThreadStarted => {
                process.killed_in_threads |= process.killed;
                (!process.threads.insert(tid)).then_some("twice")
            }
            StopReason::Execed { former_tid } => {
                let first = std::mem::take(&mut process.starting);
                process.execs += i32::from(!first);
                // Of a vfork child it is the first of its image, and by its only thread.
                let left = (!process.threads.is_empty()).then_some("before the ends of threads");
                left.or((first && former_tid.is_some()).then_some("of a thread at the start"))
            }
            StopReason::VforkDone => {
                process.vforks_done += 1;
                (process.vforks_done > process.vforks).then_some("without a vfork")
            }
            StopReason::Signal(Signal::KILL) => Some("which is no stop"),
            StopReason::Signal(Signal::USR1 | Signal::CHLD) => None,
            StopReason::Signal(_) | StopReason::Trap(_) | StopReason::Unknown { .. } => {
                Some("out of nowhere")
            }
            _ => None,
        };
        if let Some(wrong) = wrong {
            self.deviates(format!("{event:?} {wrong}"));
        }
    }

    fn ends(&mut self, pid: Pid, status: ExitStatus, real_parent: Option<Pid>) {
        let Some(process) = self.processes.remove(&pid) else {
            self.deviates(format!("the end of {pid}, which is unknown"));
            return;
        };
        self.owed.retain(|owed| owed.maker != pid);
        if process.killed {
            self.since_killed = 2000;
        }
        if process.let_go {
            return; // it has ended before it could be detached
        }
        if !process.threads.is_empty() {
            self.deviates(format!("{pid} ends before its threads {:?}", process.threads));
        }
        // FreeBSD: an exec of a thread that is under way wins over a SIGKILL; nothing is reported
        // after that, and no signal heeded.
        let may_survive = cfg!(target_os = "freebsd") && process.killed_in_threads;
        match status {
            ExitStatus::Code(WRONG_SIGNAL) if may_survive || process.has_survivor => {
                self.counts.survivors += u64::from(may_survive);
                let maker = process.maker.and_then(|maker| self.processes.get_mut(&maker));
                if let Some(maker) = maker {
                    maker.has_survivor = true; // and says the same
                }
            }
            ExitStatus::Code(code) if code >= WRONG_CHILD => {
                let history = &process.history;
                self.deviates(format!("{pid} says that something is wrong: {code}: {history:#?}"));
            }
            ExitStatus::Code(code) => {
                let of = |execs| FORKS * execs + process.forks;
                let other = process.execs - i32::from(process.perhaps_vforked);
                if may_survive && code / FORKS > process.execs {
                    self.counts.survivors += 1;
                } else if code != of(process.execs) && code != of(other) {
                    let (forks, execs) = (process.forks, process.execs);
                    self.deviates(format!(
                        "{pid} says {} forks and {} execs; {forks} and {execs} came: {:#?}",
                        code % FORKS,
                        code / FORKS,
                        process.history
                    ));
                }
                if process.vforks_done != process.vforks && !process.killed {
                    let (done, vforks) = (process.vforks_done, process.vforks);
                    self.deviates(format!("{pid}: {done} of {vforks} vforks done"));
                }
            }
            ExitStatus::Killed { signal, .. } => {
                if signal != Signal::KILL || !process.killed {
                    self.deviates(format!("{pid} ends: {status}"));
                }
            }
        }
        let us = Pid::this();
        let Some(maker) = process.maker else { return };
        // A process that has ended, or was detached, may have ended before its child.
        let maker_lives =
            maker == us || self.processes.get(&maker).is_some_and(|p| !p.let_go && !p.killed);
        if maker_lives && real_parent != Some(maker) {
            // That creator has ended too, then, and the news of that is on the way.
            let why = format!("{pid}: parent {real_parent:?}, and not {maker}");
            self.owed.push(Owed { maker, why, events: 2000 });
        }
    }

    pub(crate) fn is_traced(&self, pid: Pid) -> bool {
        self.processes.get(&pid).is_some_and(|process| !process.let_go)
    }

    /// A process that was detached has ended.
    pub(crate) fn ends_untraced(&mut self, pid: u32, status: std::process::ExitStatus) {
        if right(status) != 0 {
            self.deviates(format!("{pid}, which was detached, ends with {status}"));
        }
    }

    /// Nothing more will come.
    pub(crate) fn is_over(&mut self) {
        for Owed { why, .. } in std::mem::take(&mut self.owed) {
            self.deviates(why);
        }
        for (pid, process) in std::mem::take(&mut self.processes) {
            if !process.let_go {
                self.deviates(format!("{pid} never ended"));
            }
        }
    }
}
