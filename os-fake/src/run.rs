//! Requests that run, stop and detach.

use trapline_core::backend::{NewTask, RawReason, Run, Setup, Thread, TrapOrigin};
use trapline_core::{Error, EventFlags, Pid, Result, Signal, Tid};

use crate::arch::BREAKPOINT;
use crate::model::{Model, State, Task};
use crate::report::Swallowed;

impl Model {
    /// The thread of a request that needs it stopped, by a stop that was waited for. A tracer that
    /// could know better is noted.
    pub(crate) fn stopped(&mut self, thread: Thread, request: &str) -> Result<&mut Task> {
        let Thread { pid, tid } = thread;
        let whole_process = match self.processes.get(&pid) {
            Some(process) if self.by_process() => Some((process.reported, process.over)),
            _ => None,
        };
        let why = match (self.tasks.get(&tid), whole_process) {
            (None, _) if self.told.contains(&tid) => "which is known to have ended",
            (None, _) => return Err(Error::GONE),
            (Some(task), _) if task.pid != pid => "with the pid of another process",
            (Some(task), _) if task.setup.is_none() => "which is not traced",
            (Some(_), Some((_, Some(_)))) => return Err(Error::GONE),
            (Some(_), Some((None, _))) => "which runs",
            (Some(_), Some(_)) => "",
            (Some(task), None) => match &task.state {
                State::Dying | State::Dead(..) => return Err(Error::GONE),
                State::Stopped(stop) if stop.reported || task.overtaken => "",
                State::Stopped(_) => "whose stop was not waited for",
                State::Runs | State::Listens => "which runs",
            },
        };
        if !why.is_empty() {
            self.violation(format!("{request} of thread {tid} of process {pid}, {why}"));
            return Err(Error::NOT_STOPPED);
        }
        self.tasks.get_mut(&tid).ok_or(Error::GONE)
    }

    pub(crate) fn resume(
        &mut self,
        thread: Thread,
        run: Run,
        signal: Option<Signal>,
    ) -> Result<()> {
        self.stopped(thread, "resume")?;
        if self.by_process() {
            self.resume_process(thread, run, signal);
        } else {
            self.resume_thread(thread, run, signal);
        }
        Ok(())
    }

    fn resume_thread(&mut self, Thread { pid, tid }: Thread, run: Run, mut signal: Option<Signal>) {
        let Some(task) = self.tasks.get_mut(&tid) else { return };
        task.run = run;
        let mut ends_call = false;
        if let State::Stopped(stop) = &task.state {
            let reason = stop.reason;
            let reported = stop.reported;
            ends_call = reported
                && matches!(
                    reason,
                    RawReason::Execed { .. } | RawReason::Forked { .. } | RawReason::VforkDone
                );
            if !reported {
                // The kernel does not mind that nobody has seen this stop.
                self.records.swallowed.push(Swallowed { pid, tid, reason });
                signal = None;
            }
            if matches!(reason, RawReason::GroupStop(_)) && !task.notify {
                if reported && task.trapped {
                    // It does not get far, and is in the group-stop again after that.
                    task.state = State::Runs;
                    return self.land(tid);
                }
                self.violation(format!("thread {tid} was run out of its group-stop"));
            }
            if reported && signal.is_some() && !matches!(reason, RawReason::Signal { .. }) {
                self.violation(format!("a signal for thread {tid}, at no signal stop"));
            }
        }
        let Some(task) = self.tasks.get_mut(&tid) else { return };
        task.overtaken = false;
        task.notify = false;
        if let Some(status) = task.leaving {
            return self.leave(tid, status);
        }
        task.state = State::Runs;
        if let Some(signal) = signal {
            self.deliver(tid, signal);
        }
        if self.tasks.get(&tid).is_some_and(|task| task.state == State::Runs) {
            self.go_on(tid);
        }
        // The way out of the call, which no instruction of the program belongs to. Where calls are
        // traced, the test says which there are.
        let runs = |task: &Task| {
            let traced = task.setup.is_some_and(|setup| setup.flags.contains(EventFlags::SYSCALL));
            matches!(&task.state, State::Runs) && task.held.is_none() && !traced
        };
        if ends_call && run == Run::Syscall && self.tasks.get(&tid).is_some_and(runs) {
            self.stop(tid, RawReason::Syscall);
        }
    }

    fn resume_process(&mut self, Thread { pid, tid }: Thread, run: Run, signal: Option<Signal>) {
        let Some(process) = self.processes.get_mut(&pid) else { return };
        let reported = process.reported.take();
        for other in self.living(pid) {
            if let Some(task) = self.tasks.get_mut(&other) {
                // System calls are traced for all of a process or none.
                task.run = if other == tid || run == Run::Syscall { run } else { Run::Continue };
            }
        }
        if let Some(signal) = signal {
            self.deliver(reported.unwrap_or(tid), signal);
        }
        self.killed_if_free(pid);
        if let Some(task) = reported.and_then(|tid| self.tasks.get_mut(&tid)) {
            task.state = State::Runs;
        }
        for other in self.living(pid) {
            let Some(task) = self.tasks.get(&other) else { continue };
            match (&task.state, task.leaving) {
                (State::Runs, Some(status)) if !task.suspended => {
                    self.told.insert(other);
                    self.leave(other, status);
                }
                // It stays on its way out (`ptracestop` in `kern_sig.c`), unless they all leave.
                (State::Runs, Some(status)) if self.leave_all(pid) => self.leave(other, status),
                // A suspended thread leaves with the others (`thread_suspend_check` in
                // `kern_thread.c`).
                (State::Runs, None)
                    if task.held.is_none() && (!task.suspended || self.leave_all(pid)) =>
                {
                    self.go_on(other);
                }
                _ => {}
            }
        }
    }

    /// Whether all threads of a process, or all but one, are made to end.
    fn leave_all(&self, pid: Pid) -> bool {
        let process = self.processes.get(&pid);
        process.is_some_and(|process| process.ending.is_some() || process.execing.is_some())
    }

    pub(crate) fn listen(&mut self, thread: Thread) -> Result<()> {
        let task = self.stopped(thread, "listen")?;
        let State::Stopped(stop) = &task.state else { return Ok(()) };
        if !stop.reported {
            return Err(Error::GONE); // killed, and at its exit stop
        }
        let in_group_stop = matches!(stop.reason, RawReason::GroupStop(_));
        if in_group_stop && task.notify {
            task.notify = false;
            self.stop(thread.tid, RawReason::Paused);
        } else if in_group_stop {
            task.state = State::Listens;
        } else {
            self.violation(format!("listen of thread {}, in no group-stop", thread.tid));
        }
        Ok(())
    }

    pub(crate) fn interrupt(&mut self, Thread { pid, tid }: Thread) -> Result<()> {
        let Some(process) = self.processes.get(&pid) else { return Err(Error::GONE) };
        let (reported, group_stop) = (process.reported, process.group_stop);
        let first = process.leader == tid;
        let free = self.acts(tid);
        let by_process = self.by_process();
        let Some(task) = self.tasks.get_mut(&tid) else { return Err(Error::GONE) };
        if task.setup.is_none() {
            self.violation(format!("interrupt of thread {tid}, which is not traced"));
            return Err(Error::GONE);
        }
        match &task.state {
            // What is left of a first thread is asked in vain.
            State::Dead(..) if first && !by_process => {}
            State::Dying | State::Dead(..) => return Err(Error::GONE),
            State::Stopped(stop) if stop.reported => {
                self.violation(format!("interrupt of thread {tid}, which is stopped"));
            }
            _ if reported.is_some() => {
                self.violation(format!("interrupt of process {pid}, which is stopped"));
            }
            // A stop of this thread is on its way already; on Linux another one follows.
            State::Stopped(_) => task.interrupt = !by_process,
            State::Listens => match group_stop {
                Some(signal) => self.stop(tid, RawReason::GroupStop(signal)),
                None => self.stop(tid, RawReason::Paused),
            },
            State::Runs if by_process => self.interrupt_process(pid, tid),
            State::Runs if free => self.stop(tid, RawReason::Paused),
            State::Runs => task.interrupt = true,
        }
        Ok(())
    }

    /// Any thread that can stops for the process, unless one has done so already.
    fn interrupt_process(&mut self, pid: Pid, tid: Tid) {
        let living = self.living(pid);
        let stopping = |tid: &Tid| {
            self.tasks.get(tid).is_some_and(|task| matches!(task.state, State::Stopped(_)))
        };
        if living.iter().any(stopping) {
            return;
        }
        match living.iter().copied().find(|&tid| self.acts(tid)) {
            Some(tid) => self.stop(tid, RawReason::Paused),
            None => {
                if let Some(task) = self.tasks.get_mut(&tid) {
                    task.interrupt = true;
                }
            }
        }
    }

    pub(crate) fn suspend(&mut self, thread: Thread, suspended: bool) -> Result<()> {
        if !self.by_process() {
            self.violation("suspend, where each thread is run by itself".to_string());
            return Ok(());
        }
        self.stopped(thread, "suspend")?.suspended = suspended;
        Ok(())
    }

    pub(crate) fn detach(&mut self, thread: Thread, signal: Option<Signal>) -> Result<()> {
        self.stopped(thread, "detach")?;
        let Thread { pid, tid } = thread;
        if !self.by_process() {
            self.let_go(tid);
            if let Some(status) = self.tasks.get(&tid).and_then(|task| task.leaving) {
                self.leave(tid, status);
                return Ok(());
            }
            if let Some(signal) = signal {
                self.deliver(tid, signal);
            }
            if self.tasks.get(&tid).is_some_and(|task| task.state == State::Runs) {
                self.go_on(tid);
            }
            return Ok(());
        }
        let reported = self.processes.get_mut(&pid).and_then(|p| p.reported.take());
        for other in self.living(pid) {
            // A back end takes out what was not reported, or it would kill the process.
            if Some(other) != reported {
                self.take_out(other);
            }
            self.let_go(other);
        }
        if let Some(signal) = signal {
            self.deliver(tid, signal);
        }
        self.killed_if_free(pid);
        for other in self.living(pid) {
            match self.tasks.get(&other).and_then(|task| task.leaving) {
                Some(status) => self.leave(other, status),
                None => self.go_on(other),
            }
        }
        Ok(())
    }

    /// What a thread has yet to report will not be: a signal reaches it later, and a new process
    /// is detached, unless its stop was reported and the tracer can do so itself.
    fn take_out(&mut self, tid: Tid) {
        self.take_out_trap(tid);
        let Some(task) = self.tasks.get_mut(&tid) else { return };
        let creator = task.pid;
        let State::Stopped(stop) = &task.state else { return };
        match (stop.reason, stop.made) {
            // The trap of a debug register, which is clear by now, or of a step that was asked for.
            (RawReason::Signal { signal: Signal::TRAP, .. }, _) if task.debug.has_hits() => {}
            (RawReason::Signal { .. }, _)
                if stop.origin == TrapOrigin::Step && !task.registers.steps => {}
            (RawReason::Signal { .. }, _) if stop.origin == TrapOrigin::Breakpoint => {
                task.trapped = true;
                self.take_out_trap(tid);
            }
            (RawReason::Signal { signal, .. }, _) => task.signals.push_front(signal),
            (_, Some(NewTask::Process { pid, .. })) => {
                for child in self.living(pid) {
                    let unseen =
                        |task: &Task| matches!(&task.state, State::Stopped(s) if !s.reported);
                    if self.tasks.get(&child).is_some_and(unseen) {
                        self.clean_child(creator, pid);
                        self.let_go(child);
                        self.go_on(child);
                    }
                }
            }
            _ => {}
        }
    }

    /// A child has none of the breakpoints that its creator had.
    fn clean_child(&mut self, creator: Pid, child: Pid) {
        let Some(space) = self.processes.get(&child).map(|process| process.memory) else { return };
        for (addr, own) in self.clean.get(&creator).cloned().unwrap_or_default() {
            let mut there = [0];
            if self.memory.read(space, addr, &mut there).is_ok() && there == [BREAKPOINT] {
                let _ = self.memory.write(space, addr, &own);
            }
        }
    }

    /// A thread is traced no more, and runs as job control lets it.
    pub(crate) fn let_go(&mut self, tid: Tid) {
        let Some(task) = self.tasks.get_mut(&tid) else { return };
        if matches!(task.state, State::Stopped(_) | State::Listens) {
            task.state = State::Runs;
        }
        task.setup = None;
        task.suspended = false;
        task.overtaken = false;
        task.interrupt = false;
        task.notify = false;
        task.run = Run::Continue;
    }

    pub(crate) fn kill_request(&mut self, pid: Pid, stopped: Option<Tid>) -> Result<()> {
        let Some(process) = self.processes.get(&pid) else { return Err(Error::GONE) };
        let reported = process.reported;
        if !self.is_traced(pid) {
            self.violation(format!("kill of process {pid}, which is not traced"));
        }
        if self.by_process() && reported.is_some() != stopped.is_some() {
            self.violation(format!("kill of process {pid}, with a wrong word about its stop"));
        }
        self.kill(pid);
        if let (true, Some(_), Some(tid)) = (self.by_process(), reported, stopped) {
            self.resume_process(Thread { pid, tid }, Run::Continue, None);
        }
        Ok(())
    }

    pub(crate) fn send(&mut self, thread: Thread, signal: Signal) -> Result<()> {
        if self.tasks.get(&thread.tid).is_none_or(|task| task.pid != thread.pid) {
            return Err(Error::GONE);
        }
        self.signal(thread.tid, signal);
        Ok(())
    }

    pub(crate) fn set_up(&mut self, thread: Thread, setup: Setup) -> Result<()> {
        self.stopped(thread, "set_up")?;
        let all = self.by_process();
        for (&tid, task) in &mut self.tasks {
            if tid == thread.tid || (all && task.pid == thread.pid) {
                task.setup = Some(setup);
                task.bare = false;
            }
        }
        Ok(())
    }
}
