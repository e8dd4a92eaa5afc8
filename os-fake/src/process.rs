//! Questions.

use trapline_core::backend::{Listed, NewTask, RawReason, Setup, Thread, TrapOrigin};
use trapline_core::{Error, EventFlags, Pid, Result, SignalInfo, Syscall, SyscallAbi, Tid};

use crate::model::{Held, Model, Process, State, Stop, Task};

impl Model {
    /// The stop that a question is about.
    fn stop_of(&mut self, thread: Thread, question: &str) -> Result<Stop> {
        match &self.stopped(thread, question)?.state {
            State::Stopped(stop) => Ok(stop.clone()),
            // With process scope a thread may be at rest for another one's stop.
            _ => Err(Error::NOT_STOPPED),
        }
    }

    /// An event's message can be an exit code only if the kernel was told to report exits; so
    /// whoever asks has to know whether it was.
    pub(crate) fn check_told(&mut self, thread: Thread, setup: Setup) {
        let told = self.tasks.get(&thread.tid).and_then(|task| task.setup);
        let exits = |setup: Setup| setup.flags.contains(EventFlags::EXIT);
        if told.is_some_and(exits) && !exits(setup) {
            self.violation(format!("thread {} is asked as if it did not report exits", thread.tid));
        }
    }

    pub(crate) fn new_task(&mut self, thread: Thread) -> Result<NewTask> {
        let stop = self.stop_of(thread, "new_task")?;
        match (stop.made, stop.reason) {
            (Some(made), _) => Ok(made),
            // Killed meanwhile: the message is an exit code by now, or another thread's former id.
            (None, RawReason::ThreadExiting | RawReason::Execed { .. }) if !stop.reported => {
                Err(Error::GONE)
            }
            (None, _) => {
                self.violation(format!("new_task of thread {}, which made none", thread.tid));
                Err(Error::GONE)
            }
        }
    }

    pub(crate) fn former_tid(&mut self, thread: Thread) -> Result<Tid> {
        let stop = self.stop_of(thread, "former_tid")?;
        match (stop.former, stop.reason) {
            (Some(former), _) => Ok(former),
            (None, RawReason::ThreadExiting) if !stop.reported => Err(Error::GONE),
            (None, _) => {
                self.violation(format!("former_tid of thread {}, at no exec", thread.tid));
                Err(Error::GONE)
            }
        }
    }

    pub(crate) fn trap_origin(&mut self, thread: Thread) -> Result<TrapOrigin> {
        Ok(self.stop_of(thread, "trap_origin")?.origin)
    }

    pub(crate) fn signal_info(&mut self, thread: Thread) -> Result<SignalInfo> {
        let stop = self.stop_of(thread, "signal_info")?;
        let RawReason::Signal { signal, .. } = stop.reason else { return Err(Error::GONE) };
        let sent = stop.origin == TrapOrigin::Sent;
        let mut info = SignalInfo::new(signal, if sent { 0 } else { 2 });
        info.sender = sent.then_some(crate::model::INIT);
        info.sender_uid = sent.then_some(0);
        Ok(info)
    }

    pub(crate) fn syscall(&mut self, thread: Thread) -> Result<Syscall> {
        let stop = self.stop_of(thread, "syscall")?;
        let Some(task) = self.tasks.get(&thread.tid) else { return Err(Error::GONE) };
        let exit = match stop.reason {
            RawReason::SyscallExit => true,
            RawReason::Syscall => !task.entered,
            _ => false,
        };
        let result = exit.then(|| task.changed_result.unwrap_or(Ok(0)));
        let (number, args) = match task.replaced {
            true => (u64::MAX, [0; 6]),
            false => task.changed_call.unwrap_or((39, [1, 2, 3, 4, 5, 6])),
        };
        Ok(Syscall::new(SyscallAbi::Bits64, number, args, result))
    }

    /// A thread whose registers are asked for or set.
    pub(crate) fn inspected(&mut self, thread: Thread) -> Result<&mut Task> {
        self.stopped(thread, "a question")
    }

    /// The address space of a stopped thread.
    pub(crate) fn space(&mut self, thread: Thread) -> Result<u32> {
        self.stopped(thread, "memory")?;
        Ok(self.processes.get(&thread.pid).ok_or(Error::GONE)?.memory)
    }

    pub(crate) fn process_of(&self, tid: Tid) -> Result<(Pid, Option<Pid>)> {
        let pid = self.tasks.get(&tid).ok_or(Error::GONE)?.pid;
        Ok((pid, self.visible_parent(pid)?))
    }

    /// The real parent, unless it is where the tracer sees nobody.
    pub(crate) fn visible_parent(&self, pid: Pid) -> Result<Option<Pid>> {
        Ok(Some(self.real_parent(pid)?).filter(|parent| parent.as_raw() > 0))
    }

    /// Told where the kernel knows processes, not threads.
    pub(crate) fn was_vforked(&self, child: Pid) -> Result<Option<bool>> {
        let process = self.processes.get(&child).ok_or(Error::GONE)?;
        Ok(self.by_process().then_some(process.vfork_parent.is_some()))
    }

    /// A killed process whose reports are given by then; its threads are all held.
    pub(crate) fn is_unkillable(&self, pid: Pid) -> Result<bool> {
        let process = self.processes.get(&pid).ok_or(Error::GONE)?;
        let stopped = |tid: &Tid| {
            self.tasks.get(tid).is_some_and(|task| matches!(task.state, State::Stopped(_)))
        };
        let stops = process.reported.is_some() || self.living(pid).iter().any(stopped);
        Ok(process.kill_waits && process.over.is_none() && !stops)
    }

    pub(crate) fn real_parent(&self, pid: Pid) -> Result<Pid> {
        Ok(self.processes.get(&pid).ok_or(Error::GONE)?.parent)
    }

    pub(crate) fn listed(&self) -> Vec<Listed> {
        let living = self.processes.iter().filter(|(_, process)| process.over.is_none());
        let listed = |(&pid, process): (&Pid, &Process)| Listed {
            pid,
            parent: process.parent,
            image: Some(process.image.into()),
        };
        living.map(listed).collect()
    }

    pub(crate) fn is_listed_traced(&self, pid: Pid) -> Result<bool> {
        if !self.processes.contains_key(&pid) {
            return Err(Error::GONE);
        }
        Ok(self.is_traced(pid))
    }

    pub(crate) fn threads_of(&self, pid: Pid) -> Result<Vec<Tid>> {
        match self.living(pid) {
            threads if threads.is_empty() => Err(Error::GONE),
            threads => Ok(threads),
        }
    }

    /// A thread that has not ended.
    pub(crate) fn living_task(&mut self, thread: Thread) -> Result<&mut Task> {
        let task = self.tasks.get_mut(&thread.tid).ok_or(Error::GONE)?;
        match task.state {
            State::Dead(..) => Err(Error::GONE),
            _ => Ok(task),
        }
    }

    pub(crate) fn is_uninterruptible(&self, thread: Thread) -> Result<bool> {
        let task = self.tasks.get(&thread.tid).ok_or(Error::GONE)?;
        match task.state {
            State::Dead(..) => Err(Error::GONE),
            State::Runs => Ok(task.held.is_some()),
            State::Dying => Ok(task.held == Some(Held::Sleep)),
            State::Stopped(_) | State::Listens => Ok(false),
        }
    }

    /// A running thread has done all that the test had it do, and waits for the next, unless it computes.
    pub(crate) fn is_asleep(&self, thread: Thread) -> Result<bool> {
        let task = self.tasks.get(&thread.tid).ok_or(Error::GONE)?;
        match task.state {
            State::Dead(..) => Err(Error::GONE),
            State::Runs | State::Listens => Ok(!self.busy.contains(&thread.tid)),
            State::Dying | State::Stopped(_) => Ok(false),
        }
    }
}
