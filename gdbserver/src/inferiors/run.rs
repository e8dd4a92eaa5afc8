//! Resuming, stopping, and bringing to rest for a question.

use std::task::Poll;
use std::time::Duration;

use trapline::{Error, Event, Next, Pid, Result, Resume, StopReason, Tid};

use super::events::unless_gone;
use super::{Inferiors, Process, Stop, Wants};
use crate::packet::{Action, ThreadAction};
use crate::system::{STOPS_THREADS, signals};

/// How long it may take until a process that was asked to stop has stopped, if nothing else happens.
const LONGEST_STOP: Duration = Duration::from_secs(10);

impl Inferiors {
    /// Carries out `vCont`: for each thread the first action that is for it. In all-stop mode those
    /// that none is for stay. In non-stop mode the client does not mean those of whose stop it has
    /// not heard, nor children that it has not heard of: they are in `unheard`.
    pub(crate) fn resume(
        &mut self,
        actions: &[ThreadAction],
        unheard: &[(Pid, Option<Tid>)],
    ) -> Result<()> {
        let non_stop = self.wishes.non_stop;
        let mut stops: Vec<(Pid, Tid)> = Vec::new();
        for process in self.all.iter_mut().filter(|process| process.is_known) {
            let pid = process.pid;
            for thread in &mut process.threads {
                let tid = thread.tid;
                let meant = |action: &&ThreadAction| {
                    let by_process = action.thread.process.is_none_or(|id| id.covers(pid.as_raw()));
                    by_process && action.thread.thread.covers(tid.as_raw())
                };
                let Some(action) = actions.iter().find(meant) else { continue };
                if unheard.contains(&(pid, None)) || unheard.contains(&(pid, Some(tid))) {
                    continue;
                }
                let is_at_rest = thread.wants == Wants::Nothing;
                let signal = match &action.action {
                    Action::Continue(signal) | Action::Step(signal) => *signal,
                    Action::StepWithin(_) | Action::Stop => None,
                };
                let wants = match &action.action {
                    Action::Continue(_) => Wants::Continue,
                    Action::Step(_) => Wants::Step,
                    Action::StepWithin(range) => Wants::StepWithin(range.clone()),
                    Action::Stop => {
                        if !is_at_rest && thread.pending.is_none() {
                            stops.push((pid, tid));
                        }
                        continue;
                    }
                };
                // One that runs already goes on as it does.
                if is_at_rest || !non_stop {
                    thread.wants = wants;
                    thread.signals.extend(signal.and_then(signals::from_client));
                }
            }
        }
        self.forget_stale_stops();
        if !non_stop && self.has_news() {
            return Ok(()); // it is told before anything runs
        }
        for pid in self.pids() {
            self.run_process(pid)?;
        }
        for (pid, tid) in stops {
            self.stop_thread(pid, tid, Stop::Quiet)?;
        }
        Ok(())
    }

    fn pids(&self) -> Vec<Pid> {
        self.all.iter().map(|process| process.pid).collect()
    }

    /// A breakpoint that is not there any more when its thread is to run was not hit; nor was one that
    /// the thread has been moved away from. That of a thread which stays may be away for a moment. And
    /// a client that has a thread run on does not expect the end of the step before.
    fn forget_stale_stops(&mut self) {
        for process in &mut self.all {
            let (threads, points) = (&mut process.threads, &process.points);
            for thread in threads.iter_mut().filter(|thread| thread.wants != Wants::Nothing) {
                let addr = match thread.pending {
                    Some(Stop::SoftwareBreakpoint { addr } | Stop::HardwareBreakpoint { addr }) => {
                        addr
                    }
                    Some(Stop::Stepped) if !thread.steps() => {
                        thread.pending = None;
                        continue;
                    }
                    _ => continue,
                };
                let moved = thread.known.general.is_some_and(|general| general.pc() != addr);
                if moved || !points.iter().any(|point| point.addr == addr) {
                    thread.pending = None;
                }
            }
        }
    }

    /// Runs the threads of a process that are to run and have nothing to tell.
    pub(super) fn run_process(&mut self, pid: Pid) -> Result<()> {
        let Some(at) = self.at(pid) else { return Ok(()) };
        let process = &mut self.all[at];
        process.borrowed = false;
        let next = |process: &Process, tid: Tid| {
            let waits = process.waits_for_vfork.is_some_and(|other| other != tid);
            let thread = process.thread(tid).filter(|_| !waits);
            thread.map_or(Next::Stay, super::Thread::next)
        };
        let tids: Vec<Tid> = process.threads.iter().map(|thread| thread.tid).collect();
        let plan: Vec<(Tid, Next)> =
            tids.into_iter().map(|tid| (tid, next(process, tid))).collect();
        let runs = |tid: Tid| {
            plan.iter().find(|(other, _)| *other == tid).map_or(Next::Stay, |&(_, next)| next)
        };
        if plan.iter().all(|&(_, next)| next == Next::Stay) {
            return Ok(());
        }
        let by_itself = self.wishes.non_stop && STOPS_THREADS;
        let mut tokens = Vec::new();
        let keeps = by_itself || process.halted.is_none();
        for thread in &mut process.threads {
            let next = runs(thread.tid);
            if keeps && next == Next::Stay {
                continue;
            }
            let Some(mut stop) = thread.stop.take() else { continue };
            // What the client has not been told of stays as it is.
            if next != Next::Stay {
                let mut signals = std::mem::take(&mut thread.signals).into_iter();
                if matches!(stop.reason(), StopReason::Signal(_)) && thread.decides {
                    stop.set_signal(signals.next())?;
                }
                for signal in signals {
                    // What the system does not take must not keep the thread.
                    if let Err(error) = unless_gone(self.tracer.send_signal(&stop, signal)) {
                        crate::say(format_args!("{signal} is not sent: {error}"));
                    }
                }
            }
            thread.leave();
            tokens.push(stop);
        }
        match process.halted.take() {
            Some(mut halted) if !keeps => {
                halted.threads = tokens;
                self.tracer.resume_halted(halted, |stop| runs(stop.tid()))
            }
            // With it ends the halt, and what rests without a token runs.
            _halted => {
                for stop in tokens {
                    let how = match runs(stop.tid()) {
                        Next::Step => Resume::Step,
                        _ => Resume::Continue,
                    };
                    self.tracer.resume(stop, how)?;
                }
                Ok(())
            }
        }
    }

    /// Brings everything to rest.
    pub(crate) fn stop_all(&mut self) -> Result<()> {
        let before = std::mem::replace(&mut self.stopping, true);
        let result = self.stop_those(|_| true);
        self.stopping = before;
        result
    }

    fn stop_those(&mut self, which: impl Fn(&Process) -> bool) -> Result<()> {
        let mut asked: Vec<Pid> = Vec::new();
        loop {
            let running = self
                .all
                .iter()
                .filter(|process| process.halted.is_none() && process.can_stop() && which(process));
            let running: Vec<Pid> = running.map(|process| process.pid).collect();
            if running.is_empty() {
                break;
            }
            for &pid in &running {
                if !asked.contains(&pid) {
                    unless_gone(self.tracer.interrupt(pid))?;
                    asked.push(pid);
                }
            }
            match self.tracer.wait_timeout(LONGEST_STOP) {
                Ok(Some(event)) => self.absorb(event)?,
                Ok(None) => break,
                Err(error) => self.failed(error)?,
            }
        }
        // What the others had to say is known from now on, too.
        loop {
            match self.tracer.try_wait() {
                Ok(Poll::Ready(Some(Event::Woken))) => self.woken = true,
                Ok(Poll::Ready(Some(event))) => self.absorb(event)?,
                Ok(Poll::Ready(None) | Poll::Pending) => return Ok(()),
                Err(error) => self.failed(error)?,
            }
        }
    }

    /// Brings a process to rest, for a question; [`give_back`](Self::give_back) runs it on.
    pub(super) fn borrow(&mut self, pid: Pid) -> Result<()> {
        let process = self.get_mut(pid)?;
        if process.halted.is_some() {
            return Ok(());
        }
        if !process.can_stop() {
            return Err(Error::NotStopped { pid: Some(pid) });
        }
        process.borrowed = true;
        let before = std::mem::replace(&mut self.stopping, true);
        let result = self.stop_those(|process| process.pid == pid);
        self.stopping = before;
        result
    }

    /// Runs on what was brought to rest for a question.
    pub(crate) fn give_back(&mut self) -> Result<()> {
        for process in &mut self.all {
            process.borrowed = false;
        }
        self.run_on()
    }

    /// Runs what has come to rest for something that the client is not told now.
    pub(super) fn run_on(&mut self) -> Result<()> {
        for pid in self.pids() {
            let process = self.get(pid)?;
            if process.halted.is_some() && !process.borrowed {
                self.run_process(pid)?;
            }
        }
        Ok(())
    }

    /// Has a thread that runs stop, in non-stop mode.
    fn stop_thread(&mut self, pid: Pid, tid: Tid, why: Stop) -> Result<()> {
        self.borrow(pid)?;
        self.set_pending(pid, tid, why);
        Ok(())
    }

    /// Ctrl-C: in all-stop mode the next news is at the latest this one, in non-stop mode one thread
    /// stops. A thread of the preferred process, if one of it runs.
    pub(crate) fn interrupt(&mut self, preferred: Option<Pid>) -> Result<()> {
        if !self.wishes.non_stop {
            self.interrupted = Some(preferred);
            return Ok(());
        }
        if let Some((pid, tid)) = self.to_interrupt(preferred, Process::can_stop) {
            self.stop_thread(pid, tid, Stop::Interrupted)?;
        }
        self.give_back()
    }

    /// The thread that a Ctrl-C is for, of one of these processes.
    fn to_interrupt(
        &self,
        preferred: Option<Pid>,
        which: impl Fn(&Process) -> bool,
    ) -> Option<(Pid, Tid)> {
        let threads = self
            .known()
            .filter(|process| which(process))
            .flat_map(|process| process.threads.iter().map(move |thread| (process.pid, thread)));
        let running = threads.filter(|(_, thread)| thread.can_be_interrupted());
        let (pid, thread) = running.min_by_key(|&(pid, _)| Some(pid) != preferred)?;
        Some((pid, thread.tid))
    }

    /// Ctrl-C, with everything at rest that can be: it is the news if there is no other.
    pub(super) fn answer_interrupt(&mut self) {
        let Some(preferred) = self.interrupted.filter(|_| !self.has_news()) else { return };
        if let Some((pid, tid)) = self.to_interrupt(preferred, |process| process.halted.is_some()) {
            self.set_pending(pid, tid, Stop::Interrupted);
        }
    }

    fn set_pending(&mut self, pid: Pid, tid: Tid, stop: Stop) {
        self.count += 1;
        let order = self.count;
        if let Ok(thread) = self.thread_mut(pid, tid) {
            if thread.pending.is_none() {
                thread.pending = Some(stop);
                thread.order = order;
            }
        }
    }

    /// Turns the mode in which each thread is by itself on or off; everything is at rest then.
    pub(crate) fn set_non_stop(&mut self, on: bool) -> Result<()> {
        if self.wishes.non_stop == on {
            return Ok(());
        }
        self.stop_all()?;
        self.wishes.non_stop = on;
        self.all.iter_mut().for_each(Process::wants_nothing);
        Ok(())
    }
}
