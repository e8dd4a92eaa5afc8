//! What is made of each event: the model is brought up to date, and each output told.

use std::os::unix::process::ExitStatusExt;
use std::process::Child;
use std::time::{Duration, Instant};

use nix::sys::signal;
use trapline::{
    Event, ExitStatus, FollowFork, ForkSide, Forked, Pid, Resume, Signal, StopReason, Stopped, Tid,
    Tracer,
};

use super::human::Human;
use super::json::Json;
use super::model::{End, Origin, Processes, Record, What};
use super::options::Options;
use super::output::Output;
use super::signals::Caught;
use super::timeline::Timeline;
use super::{Failure, failed};

pub(crate) struct Session {
    start: Instant,
    processes: Processes,
    signals: bool,
    threads: bool,
    follow: FollowFork,
    /// Those to attach to.
    attached: Vec<Pid>,
    /// The program that was started.
    program: Option<Pid>,
    /// The same as an ordinary child, once it was detached.
    child: Option<Child>,
    /// Its exit status, as a shell sees it.
    status: Option<i32>,
    leaving: Leaving,
    human: Option<Human>,
    json: Option<Json>,
    timeline: Option<Timeline>,
}

/// The processes that are to be detached at their next events.
#[derive(Clone, Copy, PartialEq)]
enum Leaving {
    Nobody,
    /// What was attached to, and all that it has started.
    Attached,
    All,
}

impl Session {
    pub(crate) fn new(options: &Options) -> Session {
        Session {
            start: Instant::now(),
            processes: Processes::default(),
            signals: options.signals,
            threads: options.threads,
            follow: options.follow.into(),
            attached: Vec::new(),
            program: None,
            child: None,
            status: None,
            leaving: Leaving::Nobody,
            human: None,
            json: None,
            timeline: None,
        }
    }

    /// Notes a process to attach to; false if it was named before.
    pub(crate) fn attaches(&mut self, pid: Pid) -> bool {
        let new = !self.attached.contains(&pid);
        if new {
            self.attached.push(pid);
        }
        new
    }

    /// Notes the program.
    pub(crate) fn spawned(&mut self, pid: Pid) {
        let us = Pid::this();
        self.processes.add(pid, Origin::Spawned, None, Some(us), Duration::ZERO);
        self.program = Some(pid);
    }

    pub(crate) fn write_to(
        &mut self,
        lines: Output,
        json: Option<Output>,
        timeline: Option<Output>,
    ) {
        self.human = Some(Human::new(lines));
        self.json = json.map(Json::new);
        self.timeline = timeline.map(Timeline::new);
    }

    /// Traces to the end; returns the exit status.
    pub(crate) fn follow(mut self, tracer: &mut Tracer) -> Result<i32, Failure> {
        let waker = tracer.waker().map_err(failed)?;
        let caught = Caught::start(waker).map_err(failed)?;
        let traced = self.trace(tracer, &caught);
        if let Some(human) = &self.human {
            human.finish(&self.processes);
        }
        if let Some(timeline) = &self.timeline {
            timeline.finish();
        }
        traced?;
        self.outlast(tracer, &caught)
    }

    fn trace(&mut self, tracer: &mut Tracer, caught: &Caught) -> Result<(), Failure> {
        while let Some(event) = tracer.wait().map_err(failed)? {
            if let Event::Woken = event {
                for signal in caught.signals.try_iter() {
                    if self.leaving == Leaving::All {
                        return Ok(()); // asked twice: the tracer's end detaches all
                    }
                    self.told(tracer, signal)?;
                }
                continue;
            }
            self.take_in(tracer, &event);
            if event.pid().is_some_and(|pid| self.leaves(pid)) {
                self.let_go(tracer, event)?;
            } else {
                tracer.resume(event, Resume::Continue).map_err(failed)?;
            }
        }
        Ok(())
    }

    /// A signal was sent to us.
    fn told(&mut self, tracer: &mut Tracer, signal: Signal) -> Result<(), Failure> {
        self.look_after(tracer)?;
        match self.program.filter(|_| self.status.is_none()) {
            Some(program) => {
                pass_on(signal, program);
                self.leaving = Leaving::Attached;
            }
            None => self.leaving = Leaving::All,
        }
        let leaving: Vec<Pid> = tracer.processes().filter(|&pid| self.leaves(pid)).collect();
        for pid in leaving {
            // An event of it follows, at which it is detached. One that ends first is fine too.
            match tracer.interrupt(pid) {
                Err(error) if !error.is_gone() => return Err(failed(error)),
                _ => {}
            }
        }
        Ok(())
    }

    fn leaves(&self, pid: Pid) -> bool {
        match (self.leaving, self.processes.find(pid)) {
            (Leaving::Nobody, _) => false,
            (Leaving::All, _) => true,
            (Leaving::Attached, None) => self.attached.contains(&pid),
            (Leaving::Attached, Some(mut at)) => {
                while let Some(maker) = self.processes.get(at).maker {
                    at = maker;
                }
                self.processes.get(at).origin == Origin::Attached
            }
        }
    }

    fn let_go(&mut self, tracer: &mut Tracer, event: Event) -> Result<(), Failure> {
        let (t, tids) = (self.start.elapsed(), stopped(&event));
        tracer.detach(event).map_err(failed)?;
        for (pid, tid) in tids {
            self.gone(t, pid, Some(tid));
        }
        Ok(())
    }

    /// Looks whether the program has ended that was detached: at its first fork, to follow the child.
    fn look_after(&mut self, tracer: &mut Tracer) -> Result<(), Failure> {
        if let (None, Some(program)) = (&self.child, self.program) {
            self.child = tracer.take_child(program);
        }
        if let (Some(child), None) = (&mut self.child, self.status) {
            let status = child.try_wait().map_err(failed)?;
            let shell = |s: std::process::ExitStatus| s.code().or(s.signal().map(|n| 128 + n));
            self.status = status.and_then(shell);
        }
        Ok(())
    }

    /// Waits for the program, if it is not traced any more; returns the exit status.
    fn outlast(&mut self, tracer: &mut Tracer, caught: &Caught) -> Result<i32, Failure> {
        loop {
            self.look_after(tracer)?;
            match (self.status, &self.child) {
                (Some(status), _) => return Ok(status),
                (None, None) => return Ok(0),
                (None, Some(child)) => {
                    if let Ok(signal) = caught.signals.recv_timeout(Duration::from_millis(20)) {
                        pass_on(signal, child.into());
                    }
                }
            }
        }
    }

    /// Notes an event, and tells the outputs.
    fn take_in(&mut self, tracer: &mut Tracer, event: &Event) {
        let t = self.start.elapsed();
        match event {
            Event::Stopped(stop) => {
                self.meet(tracer, t, stop.pid(), Some(stop.tid()));
                self.stopped(tracer, t, stop);
            }
            Event::Forked(fork) => {
                if let Some(parent) = fork.parent_pid {
                    self.meet(tracer, t, parent, fork.parent_tid);
                }
                self.forked(tracer, t, fork);
            }
            Event::ThreadExited { pid, tid } => self.tell(t, *pid, Some(*tid), What::ThreadExit),
            Event::Reparented { pid, from, to } => {
                if let Some(at) = self.processes.find(*pid) {
                    let process = self.processes.get_mut(at);
                    process.parent = *to;
                    process.adopted_by = *to;
                }
                self.tell(t, *pid, None, What::Reparented { from: *from, to: *to });
            }
            Event::Exited { pid, status, real_parent } => {
                if self.program == Some(*pid) {
                    self.status = Some(as_shell(*status));
                }
                let at = self.meet(tracer, t, *pid, None);
                self.processes.parent_is(at, *real_parent);
                self.announce_spawn(at);
                self.processes.end(at, t, End::Exited(*status));
                let what = What::Exit { status: *status, real_parent: *real_parent };
                self.tell_at(t, *pid, self.processes.get(at).tid, Some(at), what);
            }
            _ => {}
        }
    }

    fn stopped(&mut self, tracer: &mut Tracer, t: Duration, stop: &Stopped) {
        let (pid, tid) = (stop.pid(), Some(stop.tid()));
        match stop.reason() {
            StopReason::Execed { former_tid } => self.execed(tracer, t, stop, former_tid),
            StopReason::ThreadStarted => self.tell(t, pid, tid, What::Thread),
            StopReason::VforkDone => self.tell(t, pid, tid, What::VforkDone),
            StopReason::Signal(signal) if self.signals => {
                let info = tracer.signal_info(stop).ok();
                self.tell(t, pid, tid, What::Signal { signal, info });
            }
            StopReason::GroupStop(signal) if self.signals => {
                self.tell(t, pid, tid, What::GroupStop(signal));
            }
            _ => {}
        }
    }

    /// The place of a process. One that was not seen before was attached to.
    fn meet(&mut self, tracer: &mut Tracer, t: Duration, pid: Pid, tid: Option<Tid>) -> usize {
        if let Some(at) = self.processes.find(pid) {
            return at;
        }
        let info = tracer.process_info(pid).ok();
        let parent = info.as_ref().and_then(|info| info.real_parent);
        let at = self.processes.add(pid, Origin::Attached, None, parent, t);
        self.processes.get_mut(at).tid = tid;
        self.processes.runs(at, info.as_ref());
        self.tell_at(t, pid, tid, Some(at), What::Attach);
        if self.threads {
            let threads = info.iter().flat_map(|info| &info.threads);
            for &thread in threads.filter(|&&thread| Some(thread) != tid) {
                self.tell_at(t, pid, Some(thread), Some(at), What::Thread);
            }
        }
        at
    }

    fn execed(&mut self, tracer: &mut Tracer, t: Duration, stop: &Stopped, former: Option<Tid>) {
        let (pid, tid) = (stop.pid(), Some(stop.tid()));
        let Some(at) = self.processes.find(pid) else { return };
        // None if it was killed meanwhile.
        let info = tracer.process_info(pid).ok();
        self.processes.get_mut(at).tid = tid;
        self.processes.parent_is(at, info.as_ref().and_then(|info| info.real_parent));
        self.announce_spawn(at);
        self.processes.runs(at, info.as_ref());
        self.processes.counts.execs += 1;
        let what = What::Exec { info: info.as_ref(), former_tid: former };
        self.tell_at(t, pid, tid, Some(at), what);
    }

    /// The program has started, which nothing but its first event says.
    fn announce_spawn(&mut self, at: usize) {
        let process = self.processes.get(at);
        if process.origin == Origin::Spawned && process.programs.is_empty() {
            let (pid, tid) = (process.pid, process.tid);
            self.tell_at(Duration::ZERO, pid, tid, Some(at), What::Spawn);
        }
    }

    fn forked(&mut self, tracer: &Tracer, t: Duration, fork: &Forked) {
        let maker = fork.parent_pid.and_then(|pid| self.processes.find(pid));
        let child = fork.child_pid;
        // Not the creator, for a child made with CLONE_PARENT.
        let parent = tracer.real_parent(child).ok().flatten().or(fork.parent_pid);
        let at = self.processes.add(child, Origin::Made(fork.kind), maker, parent, t);
        self.processes.get_mut(at).tid = fork.child.stopped().map(Stopped::tid);
        self.processes.counts.forks += 1;
        let what = What::Fork { kind: fork.kind, child };
        self.tell_at(t, fork.parent_pid, fork.parent_tid, maker, what);
        match (self.follow, &fork.parent, &fork.child, fork.parent_pid) {
            (FollowFork::Parent, _, ForkSide::Detached, _) => self.gone(t, child, None),
            (FollowFork::Child, ForkSide::Detached, _, Some(pid)) => {
                self.gone(t, pid, fork.parent_tid)
            }
            _ => {}
        }
    }

    /// A process is not traced any more, and lives on.
    fn gone(&mut self, t: Duration, pid: Pid, tid: Option<Tid>) {
        if let Some(at) = self.processes.find(pid) {
            self.processes.end(at, t, End::LetGo);
        }
        self.tell(t, pid, tid, What::Detach);
    }

    fn tell(&mut self, t: Duration, pid: Pid, tid: Option<Tid>, what: What) {
        self.tell_at(t, pid, tid, self.processes.find(pid), what);
    }

    fn tell_at(
        &mut self,
        t: Duration,
        pid: impl Into<Option<Pid>>,
        tid: Option<Tid>,
        at: Option<usize>,
        what: What,
    ) {
        let record = Record { t, pid: pid.into(), tid, at, what };
        if let Some(human) = &mut self.human {
            human.record(&record, &self.processes);
        }
        if let Some(json) = &mut self.json {
            json.record(&record);
        }
        if let Some(timeline) = &mut self.timeline {
            timeline.record(&record, &self.processes);
        }
    }
}

/// The processes that an event holds, with their threads.
fn stopped(event: &Event) -> Vec<(Pid, Tid)> {
    let of = |stop: &Stopped| (stop.pid(), stop.tid());
    match event {
        Event::Stopped(stop) => vec![of(stop)],
        Event::Forked(fork) => {
            [&fork.child, &fork.parent].into_iter().filter_map(ForkSide::stopped).map(of).collect()
        }
        _ => Vec::new(),
    }
}

/// Sends the program a signal that was sent to us, unless the terminal has sent it to both.
fn pass_on(signal: Signal, program: Pid) {
    if ![Signal::INT, Signal::QUIT].contains(&signal) {
        let signal = signal::Signal::try_from(signal).ok();
        // If it has just ended, there is nothing to do.
        let _ = signal::kill(program.into(), signal);
    }
}

/// What a shell makes of the end of a program.
fn as_shell(status: ExitStatus) -> i32 {
    match status {
        ExitStatus::Code(code) => code,
        ExitStatus::Killed { signal, .. } => 128 + signal.as_raw(),
    }
}
