//! What trapline reports, judged: whom it concerns, and whether the client is told.

use std::path::PathBuf;

use trapline::{
    Error, Event, EventFlags, ForkKind, ForkSide, Forked, Pid, Result, Resume, Signal, StopReason,
    Stopped, Tid, TrapCauses,
};

use super::{Inferiors, News, Process, Stop, Wants};
use crate::packet::PointKind;
use crate::system::{STOPS_THREADS, signals};

/// What is done with a stop.
#[derive(Debug)]
enum Verdict {
    /// The client is told.
    Tell(Stop),
    /// The thread goes on as it was going.
    Silent,
    /// It goes on, and with it the others, which have stayed.
    Together,
}

/// A result without the error that only says that somebody was killed: that comes as an event.
pub(super) fn unless_gone<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(Error::Gone { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

impl Inferiors {
    /// Takes in one event.
    pub(super) fn absorb(&mut self, event: Event) -> Result<()> {
        self.note(format_args!("event: {event:?}"));
        match event {
            Event::Stopped(stop) => self.stopped(stop),
            Event::Forked(forked) => self.forked(forked),
            Event::ThreadExited { pid, tid } => {
                self.thread_exited(pid, tid);
                Ok(())
            }
            Event::Exited { pid, status, .. } => {
                self.gave_memory_back(pid);
                if let Some(at) = self.at(pid) {
                    let process = self.all.remove(at);
                    if process.is_known {
                        self.ends.push_back(News::Exited { pid, status });
                    }
                }
                Ok(())
            }
            Event::Woken => {
                self.woken = true;
                Ok(())
            }
            other => self.tracer.resume(other, Resume::Continue),
        }
    }

    /// A process has ended, or has other memory now: who waited for that in vfork runs on.
    fn gave_memory_back(&mut self, child: Pid) {
        for thread in self.all.iter_mut().flat_map(|process| &mut process.threads) {
            if thread.in_vfork == Some(child) {
                thread.in_vfork = None;
            }
        }
    }

    fn thread_exited(&mut self, pid: Pid, tid: Tid) {
        let tells = self.wishes.threads;
        let Ok(process) = self.get_mut(pid) else { return };
        let before = process.threads.len();
        process.threads.retain(|thread| thread.tid != tid);
        let was_known = process.is_known && process.threads.len() < before;
        if tells && was_known {
            self.ends.push_back(News::ThreadExited { pid, tid });
        }
    }

    fn stopped(&mut self, stop: Stopped) -> Result<()> {
        let (pid, tid) = (stop.pid(), stop.tid());
        let Some(at) = self.at(pid) else {
            // Nobody has asked for it.
            return self.tracer.detach(stop);
        };
        match self.judge(at, &stop)? {
            Verdict::Tell(why) => {
                self.count += 1;
                let order = self.count;
                let thread = self.all[at].add_thread(tid);
                thread.known = Default::default();
                thread.pending = Some(why);
                thread.order = order;
                self.hold(stop)
            }
            Verdict::Together => {
                self.hold(stop)?;
                if self.stopping { Ok(()) } else { self.run_process(pid) }
            }
            Verdict::Silent => {
                let process = &mut self.all[at];
                let stays = process.halted.is_some() || process.borrowed;
                let thread = process.add_thread(tid);
                let how = match thread.wants {
                    Wants::Step | Wants::StepWithin(_) => Resume::Step,
                    Wants::Continue | Wants::Nothing => Resume::Continue,
                };
                if self.stopping || stays {
                    return self.hold(stop);
                }
                if thread.wants == Wants::Nothing {
                    self.hold(stop)?;
                    return self.run_process(pid);
                }
                thread.known = Default::default();
                self.tracer.resume(stop, how)
            }
        }
    }

    /// Keeps the token of a thread; with it come those of the others of its process, unless each
    /// thread is by itself.
    pub(super) fn hold(&mut self, stop: Stopped) -> Result<()> {
        let (pid, tid) = (stop.pid(), stop.tid());
        let by_itself = self.wishes.non_stop && STOPS_THREADS && !self.stopping;
        let Some(at) = self.at(pid) else { return self.tracer.detach(stop) };
        let process = &mut self.all[at];
        if process.halted.is_some() || by_itself && !process.borrowed {
            process.add_thread(tid).stop = Some(stop);
            return Ok(());
        }
        let mut halted = match self.tracer.halt(stop) {
            Ok(halted) => halted,
            Err(Error::Gone { .. }) => return Ok(()), // its end follows
            Err(error) => return Err(error),
        };
        let process = &mut self.all[at];
        let tokens = std::mem::take(&mut halted.threads);
        let is_there =
            |tid: Tid| tokens.iter().any(|stop| stop.tid() == tid) || halted.blocked.contains(&tid);
        // Those that have ended without a word.
        process.threads.retain(|thread| thread.stop.is_some() || is_there(thread.tid));
        for &tid in &halted.blocked {
            process.add_thread(tid);
        }
        for token in tokens {
            let thread = process.add_thread(token.tid());
            // Its own event may still be on the way, and brings a better one.
            if thread.stop.is_none() {
                thread.stop = Some(token);
            }
        }
        process.halted = Some(halted);
        Ok(())
    }

    fn judge(&mut self, at: usize, stop: &Stopped) -> Result<Verdict> {
        let process = &self.all[at];
        let tid = stop.tid();
        let wants = process.thread(tid).map(|thread| thread.wants.clone()).unwrap_or_default();
        Ok(match stop.reason() {
            StopReason::Signal(signal) => {
                let passed = self.wishes.passed.contains(&signals::to_client(signal));
                let steps = matches!(wants, Wants::Step | Wants::StepWithin(_));
                match passed && !steps {
                    true => Verdict::Silent,
                    false => Verdict::Tell(Stop::Signal(signal)),
                }
            }
            StopReason::Trap(causes) => self.judge_trap(at, stop, causes, &wants)?,
            StopReason::Execed { .. } => {
                let path = self.execed(at, tid);
                match self.wishes.execs {
                    true => Verdict::Tell(Stop::Execed(path)),
                    false => Verdict::Tell(Stop::Trap),
                }
            }
            StopReason::VforkDone => {
                let process = &mut self.all[at];
                let others_stay = process.waits_for_vfork.take().is_some();
                if let Some(thread) = process.thread_mut(tid) {
                    thread.in_vfork = None;
                }
                match (self.wishes.vforks, others_stay) {
                    (true, _) => Verdict::Tell(Stop::VforkDone),
                    (false, true) => Verdict::Together,
                    (false, false) => Verdict::Silent,
                }
            }
            StopReason::ThreadStarted if self.wishes.threads => Verdict::Tell(Stop::ThreadStarted),
            StopReason::SyscallEntry | StopReason::SyscallExit => {
                let number = match &process.syscalls {
                    Some(wanted) => unless_gone(self.tracer.syscall(stop))?
                        .map(|call| call.number)
                        .filter(|number| wanted.is_empty() || wanted.contains(number)),
                    None => None,
                };
                match (number, stop.reason()) {
                    (Some(number), StopReason::SyscallEntry) => {
                        Verdict::Tell(Stop::SyscallEntry(number))
                    }
                    (Some(number), _) => Verdict::Tell(Stop::SyscallReturn(number)),
                    (None, _) => Verdict::Silent,
                }
            }
            _ => Verdict::Silent,
        })
    }

    fn judge_trap(
        &mut self,
        at: usize,
        stop: &Stopped,
        causes: TrapCauses,
        wants: &Wants,
    ) -> Result<Verdict> {
        let steps = matches!(wants, Wants::Step | Wants::StepWithin(_));
        let points = &self.all[at].points;
        let of_id = |id| points.iter().position(|point| point.id == id);
        if let Some(point) = causes.software.and_then(of_id) {
            return Ok(Verdict::Tell(Stop::SoftwareBreakpoint { addr: points[point].addr }));
        }
        let hit = causes.hardware.iter().find_map(of_id);
        if let Some(point) = hit {
            let kind = points[point].kind;
            let addr = points[point].addr;
            if !steps && !self.conditions_hold(at, point, stop)? {
                return Ok(Verdict::Silent);
            }
            return Ok(Verdict::Tell(match kind {
                PointKind::Hardware => Stop::HardwareBreakpoint { addr },
                kind => Stop::Watchpoint { kind, addr },
            }));
        }
        if causes.single_step {
            if let Wants::StepWithin(range) = wants {
                let registers = unless_gone(self.tracer.registers(stop))?;
                if registers.is_some_and(|registers| range.contains(&registers.pc())) {
                    return Ok(Verdict::Silent);
                }
            }
            return Ok(if steps { Verdict::Tell(Stop::Stepped) } else { Verdict::Silent });
        }
        // One that was removed meanwhile is none.
        let is_stale = causes.software.is_some() || !causes.hardware.is_empty();
        Ok(if is_stale { Verdict::Silent } else { Verdict::Tell(Stop::Trap) })
    }

    /// The process runs another program now, with one thread; its path.
    fn execed(&mut self, at: usize, tid: Tid) -> PathBuf {
        let process = &mut self.all[at];
        process.points.clear();
        process.symbols.clear();
        process.waits_for_vfork = None;
        process.halted = None;
        let wants = process.threads.iter().map(|thread| thread.wants.clone());
        let wants = wants.into_iter().find(|wants| *wants != Wants::Nothing);
        process.threads.retain(|thread| thread.tid == tid);
        let thread = process.add_thread(tid);
        thread.stop = None;
        thread.in_vfork = None;
        thread.pending = None;
        thread.known = Default::default();
        thread.wants = wants.unwrap_or(Wants::Continue);
        let pid = process.pid;
        self.gave_memory_back(pid);
        self.look(pid, None);
        self.get(pid).map(|process| process.program.executable.clone()).unwrap_or_default()
    }

    fn forked(&mut self, forked: Forked) -> Result<()> {
        let Forked { kind, parent_pid, child_pid, parent, child, .. } = forked;
        let tells = match kind {
            ForkKind::Vfork => self.wishes.vforks,
            _ => self.wishes.forks,
        };
        let parent = parent.into_stopped();
        let at = parent_pid.and_then(|pid| self.at(pid));
        let (Some(at), ForkSide::Stopped(child)) = (at, child) else {
            // The child is gone, or runs; or nobody knows whose it is.
            return match parent {
                Some(parent) => self.go_on(parent),
                None => Ok(()),
            };
        };
        let parent = match parent {
            Some(parent) if tells => parent,
            parent => return self.forked_silently(at, kind, parent, child),
        };
        let (pid, tid) = (parent.pid(), parent.tid());
        let child_tid = child.tid();
        let process = &self.all[at];
        let mut new = Process::new(child_pid, process.origin);
        new.is_known = false;
        new.program = process.program.clone();
        new.syscalls.clone_from(&process.syscalls);
        new.add_thread(child_tid);
        let points = process.points.clone();
        self.all.push(new);
        self.hold_new(child)?;
        self.inherit_points(child_pid, points, kind)?;
        self.count += 1;
        let order = self.count;
        let Ok(process) = self.get_mut(pid) else { return Ok(()) };
        let thread = process.add_thread(tid);
        thread.in_vfork = (kind == ForkKind::Vfork).then_some(child_pid);
        thread.pending = Some(Stop::Forked { kind, child: child_pid, child_tid });
        thread.order = order;
        self.hold(parent)
    }

    /// The first stop of a process: all of it is at rest.
    pub(super) fn hold_new(&mut self, stop: Stopped) -> Result<()> {
        let pid = stop.pid();
        let by_itself = std::mem::replace(&mut self.stopping, true);
        let held = self.hold(stop);
        self.stopping = by_itself;
        held?;
        let by_itself = self.wishes.non_stop && STOPS_THREADS;
        if let Ok(process) = self.get_mut(pid) {
            process.wants_nothing();
            if by_itself {
                process.halted = None; // the tokens are enough
            }
        }
        Ok(())
    }

    /// A client that does not want to hear of children: they are let go.
    fn forked_silently(
        &mut self,
        at: usize,
        kind: ForkKind,
        parent: Option<Stopped>,
        child: Stopped,
    ) -> Result<()> {
        let child_pid = child.pid();
        self.tracer.detach(child)?;
        let Some(parent) = parent else { return Ok(()) };
        if kind != ForkKind::Vfork {
            return self.go_on(parent);
        }
        // Nobody may run past a breakpoint that is not in the memory meanwhile.
        let pid = parent.pid();
        let process = &mut self.all[at];
        process.waits_for_vfork = Some(parent.tid());
        process.add_thread(parent.tid()).in_vfork = Some(child_pid);
        let was_halted = process.halted.is_some();
        self.hold(parent)?;
        if self.stopping || was_halted { Ok(()) } else { self.run_process(pid) }
    }

    /// Runs a thread on from a stop that is not shown.
    fn go_on(&mut self, stop: Stopped) -> Result<()> {
        let pid = stop.pid();
        let Ok(process) = self.get_mut(pid) else {
            return self.tracer.detach(stop);
        };
        let wants = process.add_thread(stop.tid()).wants.clone();
        if self.stopping || self.get(pid).is_ok_and(|process| process.halted.is_some()) {
            return self.hold(stop);
        }
        let how = match wants {
            Wants::Step | Wants::StepWithin(_) => Resume::Step,
            Wants::Continue | Wants::Nothing => Resume::Continue,
        };
        self.tracer.resume(stop, how)
    }

    /// Which events a process has to report for what the client wants to see.
    pub(crate) fn set_events(&mut self, pid: Pid) -> Result<()> {
        let mut flags = EventFlags::PROCESS | EventFlags::VFORK_DONE;
        flags.set(EventFlags::THREAD, self.wishes.threads);
        flags.set(EventFlags::SYSCALL, self.get(pid)?.syscalls.is_some());
        self.tracer.set_events(pid, flags)
    }

    /// A signal that a client may see at its letting go of a process.
    pub(super) fn passes_at_detach(&self, signal: Signal) -> bool {
        let number = signals::to_client(signal);
        self.wishes.program.as_ref().is_none_or(|wanted| wanted.contains(&number))
    }
}
