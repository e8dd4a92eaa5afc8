//! How threads stop, go on and end, and what a wait finds of it.

use trapline_core::backend::{NewTask, RawKind, RawReason, RawStop, StopScope, TrapOrigin};
use trapline_core::{EventFlags, ExitStatus, Pid, Signal, Tid};

use crate::model::{Held, INIT, Model, Moment, State, Stop};
use crate::report::Report;

/// How a thread ends that its process takes along.
pub(crate) const KILLED: ExitStatus =
    ExitStatus::Killed { signal: Signal::KILL, core_dumped: false };

impl Model {
    /// A thread stops, for the tracer to see.
    pub(crate) fn stop(&mut self, tid: Tid, reason: RawReason) {
        self.stop_with(tid, reason, None, None);
    }

    pub(crate) fn stop_with(
        &mut self,
        tid: Tid,
        reason: RawReason,
        made: Option<NewTask>,
        former: Option<Tid>,
    ) {
        let since = self.tick();
        let Some(task) = self.tasks.get_mut(&tid) else { return };
        // Any trap takes the place of one that was asked for.
        task.interrupt = false;
        let unwinds = self.rules.scope == StopScope::Thread
            && matches!(reason, RawReason::Paused | RawReason::GroupStop(_))
            || matches!(reason, RawReason::Signal { .. });
        if unwinds && std::mem::take(&mut task.in_call) {
            // Made again, from its first instruction, where nothing else comes before.
            task.registers.interrupted = true;
            if self.rules.scope == StopScope::Process {
                task.registers.interrupted = false;
                task.registers.pc -= 1;
            }
        }
        let origin = TrapOrigin::Sent;
        let stop = Stop { reason, made, former, origin, reported: false, since };
        task.state = State::Stopped(stop);
    }

    /// What a thread does that is free to run: the next thing that stops it, if there is one.
    pub(crate) fn go_on(&mut self, tid: Tid) {
        let Some(task) = self.tasks.get_mut(&tid) else { return };
        let pid = task.pid;
        task.state = State::Runs;
        task.returned = false;
        let Some(process) = self.processes.get(&pid) else { return };
        let group_stop = process.group_stop;
        let replaced = process.execing.is_some_and(|caller| caller != tid);
        let ending = process.ending.or(replaced.then_some(KILLED));
        if let (Some(status), None) = (ending, task.held) {
            return self.leave(tid, status);
        }
        if let Some(child) = task.vforked.take() {
            if self.processes.get(&child).is_some_and(|p| p.vfork_parent == Some(tid)) {
                task.held = Some(Held::Vfork);
                return;
            }
            if task.setup.is_some() && !task.bare {
                return self.stop(tid, RawReason::VforkDone);
            }
        }
        if task.setup.is_none() {
            let signals = std::mem::take(&mut task.signals);
            if group_stop.is_some() {
                task.state = State::Listens;
            }
            if self.take_pending_trap(tid).is_some() {
                self.deliver(tid, Signal::TRAP);
            }
            for signal in signals {
                self.deliver(tid, signal);
            }
            if self.tasks.get(&tid).is_some_and(|task| task.state == State::Runs) {
                self.land(tid);
                self.does_at_last(tid);
                self.resume_code(tid);
            }
        } else if let Some(signal) = group_stop {
            self.stop(tid, RawReason::GroupStop(signal));
        } else if task.interrupt {
            self.stop(tid, RawReason::Paused);
        } else if let Some(origin) = task.debug.pending.take() {
            self.stop_for(tid, Signal::TRAP, origin);
        } else if task.trapped && !task.suspended {
            self.land(tid);
        } else if let Some(signal) = task.signals.pop_front() {
            self.stop_for(tid, signal, TrapOrigin::Sent);
        } else if !task.in_call && self.is_stepped(tid) && self.instruction(tid).is_none() {
            self.step(tid);
        } else if !self.does_at_last(tid) {
            self.resume_code(tid);
        }
    }

    /// A thread goes on where it was; a system call that was interrupted is made again.
    fn resume_code(&mut self, tid: Tid) {
        if self.tasks.get(&tid).is_some_and(|task| task.in_return) {
            let traced = self.traces_calls(tid);
            self.return_from_handler(tid, traced);
            if traced {
                return;
            }
        }
        if let Some(task) = self.tasks.get_mut(&tid) {
            if std::mem::take(&mut task.registers.interrupted) {
                task.registers.pc -= 1;
            }
        }
        self.execute(tid);
    }

    /// A thread stops for a signal.
    pub(crate) fn stop_for(&mut self, tid: Tid, signal: Signal, origin: TrapOrigin) {
        let trap = (self.rules.tells_ids && signal == Signal::TRAP).then_some(origin);
        self.stop(tid, RawReason::Signal { signal, trap });
        if let Some(State::Stopped(stop)) = self.tasks.get_mut(&tid).map(|t| &mut t.state) {
            stop.origin = origin;
        }
    }

    /// A thread that was killed gets to its end.
    pub(crate) fn die(&mut self, tid: Tid) {
        let Some(task) = self.tasks.get(&tid) else { return };
        if task.state != State::Dying || task.held == Some(Held::Sleep) {
            return;
        }
        let ending = self.processes.get(&task.pid).and_then(|process| process.ending);
        self.leave(tid, ending.unwrap_or(KILLED));
    }

    /// All that are being killed get there.
    pub(crate) fn die_all(&mut self) {
        let dying = |(&tid, task): (&Tid, &crate::model::Task)| {
            (task.state == State::Dying && !self.held_back.contains(&tid)).then_some(tid)
        };
        let tids: Vec<Tid> = self.tasks.iter().filter_map(dying).collect();
        for tid in tids {
            self.die(tid);
        }
    }

    /// A thread is on its way out, and may stop there once more.
    pub(crate) fn leave(&mut self, tid: Tid, status: ExitStatus) {
        let alone = |pid| self.living(pid).len() <= 1;
        let Some(task) = self.tasks.get(&tid) else { return };
        let wanted = task.setup.filter(|_| !task.bare).is_some_and(|setup| {
            match self.by_process() {
                // A birth and a death of an LWP are one flag; the last one's is the process's.
                true => {
                    setup.flags.intersects(EventFlags::THREAD | EventFlags::EXIT)
                        && !alone(task.pid)
                }
                false => setup.flags.contains(EventFlags::EXIT),
            }
        });
        let killed = self.processes.get(&task.pid).is_some_and(|process| process.kill_waits);
        let stops = wanted && !killed && task.leaving.is_none();
        let Some(task) = self.tasks.get_mut(&tid) else { return };
        task.leaving = Some(status);
        task.held = None;
        task.vforked = None;
        if stops {
            self.stop(tid, RawReason::ThreadExiting);
        } else {
            self.finish(tid, status);
        }
    }

    /// A thread has ended.
    fn finish(&mut self, tid: Tid, status: ExitStatus) {
        let since = self.tick();
        let Some(task) = self.tasks.get_mut(&tid) else { return };
        let (pid, traced) = (task.pid, task.setup.is_some());
        let leader = self.processes.get(&pid).is_some_and(|process| process.leader == tid);
        task.state = State::Dead(status, since);
        if !self.living(pid).is_empty() {
            let seen = self.rules.ends_by_thread && (traced || leader);
            if !seen {
                self.tasks.remove(&tid);
            }
            return self.others_ended(pid);
        }
        if !self.rules.ends_by_thread {
            self.tasks.retain(|&other, task| task.pid != pid || other == tid);
        } else if !traced && !leader {
            self.tasks.remove(&tid);
        }
        self.process_over(pid, status, since);
    }

    /// The last thread of a process has ended.
    fn process_over(&mut self, pid: Pid, last: ExitStatus, since: Moment) {
        let Some(process) = self.processes.get(&pid) else { return };
        // The status is that of the leader, whenever it ended.
        let own = self.tasks.get(&process.leader).map(|leader| &leader.state);
        let status = match (process.ending, own) {
            (Some(status), _) => status,
            (None, Some(&State::Dead(status, _))) => status,
            (None, _) => last,
        };
        let parent = process.parent;
        self.share_no_more(pid);
        let mut heir = INIT;
        let mut up = parent;
        while self.rules.subreapers && up != INIT {
            let Some(ancestor) = self.processes.get(&up) else { break };
            if ancestor.subreaper && ancestor.over.is_none() {
                heir = up;
                break;
            }
            up = ancestor.parent;
        }
        for orphan in self.processes.values_mut().filter(|process| process.parent == pid) {
            orphan.parent = heir;
        }
        if let Some(process) = self.processes.get_mut(&pid) {
            process.over = Some((status, since));
            process.reported = None;
        }
        if !self.is_traced(pid) {
            self.reap(pid);
        }
    }

    /// The tracer has waited for a process, or it had none; its parent gets the status.
    pub(crate) fn reap(&mut self, pid: Pid) {
        let Some(process) = self.processes.remove(&pid) else { return };
        self.tasks.retain(|_, task| task.pid != pid);
        if let Some((status, _)) = process.over {
            self.records.statuses.push((process.parent, pid, status));
        }
    }

    /// Whoever waits for the other threads of a process to end looks again.
    pub(crate) fn others_ended(&mut self, pid: Pid) {
        let Some(process) = self.processes.get(&pid) else { return };
        let (leader, execing, ending) = (process.leader, process.execing, process.ending);
        if let Some(caller) = execing {
            // Of the others, only a leader may still be there, as a zombie.
            let left = |tid: &Tid| match self.tasks.get(tid).map(|task| &task.state) {
                Some(State::Dead(..)) => *tid != leader,
                _ => *tid != caller,
            };
            if !self.threads(pid).iter().any(left) {
                self.exec_done(caller);
            }
        } else if let (Some(status), [last]) = (ending, &self.living(pid)[..]) {
            let last = *last;
            if self.tasks.get(&last).is_some_and(|task| task.held == Some(Held::Others)) {
                self.leave(last, status);
            }
        }
    }

    /// What a wait can report now, the oldest first.
    pub(crate) fn reports(&self) -> Vec<Report> {
        let mut found = Vec::new();
        for (&tid, task) in &self.tasks {
            let Some(process) = self.processes.get(&task.pid) else { continue };
            if task.setup.is_none() || self.held_back.contains(&tid) {
                continue;
            }
            let (kind, since) = match &task.state {
                State::Stopped(stop) if !stop.reported && process.reported.is_none() => {
                    (RawKind::Stop(stop.reason), stop.since)
                }
                State::Dead(status, since) if self.rules.ends_by_thread => {
                    match (tid == process.leader, process.over) {
                        (false, _) => (RawKind::Ended(*status), *since),
                        (true, Some((status, since))) if self.threads(task.pid).len() == 1 => {
                            (RawKind::Ended(status), since)
                        }
                        (true, _) => continue,
                    }
                }
                State::Dead(..) => match process.over {
                    Some((status, since)) => (RawKind::Ended(status), since),
                    None => continue,
                },
                _ => continue,
            };
            found.push((since, Report { pid: task.pid, tid, kind }));
        }
        found.sort_by_key(|&(since, _)| since);
        found.into_iter().map(|(_, report)| report).collect()
    }

    /// A wait takes a report.
    pub(crate) fn report(&mut self, report: Report) -> RawStop {
        let Report { pid, tid, kind } = report;
        let by_process = self.by_process();
        match kind {
            RawKind::Stop(_) => {
                let Some(task) = self.tasks.get_mut(&tid) else { return self.raw(report) };
                task.overtaken = false;
                task.fresh = false;
                if let State::Stopped(stop) = &mut task.state {
                    stop.reported = true;
                    self.told.extend(stop.former.filter(|&former| former != tid));
                }
                if let (true, Some(process)) = (by_process, self.processes.get_mut(&pid)) {
                    process.reported = Some(tid);
                }
            }
            RawKind::Ended(_) => {
                let leader = self.processes.get(&pid).is_some_and(|p| p.leader == tid);
                let raw = self.raw(report);
                if by_process || leader {
                    self.told.extend(self.threads(pid));
                    self.reap(pid);
                } else {
                    self.tasks.remove(&tid);
                    self.told.insert(tid);
                    let over = self.processes.get(&pid).is_some_and(|p| p.over.is_some());
                    match over && !self.is_traced(pid) {
                        true => self.reap(pid),
                        false => self.others_ended(pid),
                    }
                }
                return raw;
            }
        }
        self.raw(report)
    }

    /// A report in the kernel's words.
    fn raw(&self, Report { pid, tid, kind }: Report) -> RawStop {
        match (self.rules.ends_by_thread, kind) {
            (true, _) => RawStop { pid: None, tid: Some(tid), kind },
            (false, RawKind::Stop(_)) => RawStop { pid: Some(pid), tid: Some(tid), kind },
            (false, RawKind::Ended(_)) => RawStop { pid: Some(pid), tid: None, kind },
        }
    }
}
