//! What programs do.

use trapline_core::backend::{NewTask, RawReason, Run, Setup};
use trapline_core::{EventFlags, ExitStatus, ForkKind, Pid, Tid};

use crate::debug::DebugRegisters;
use crate::model::{Held, Model, Process, State};
use crate::stops::KILLED;

impl Model {
    /// A thread makes a process.
    pub(crate) fn fork(&mut self, tid: Tid, kind: ForkKind, sibling: bool) -> Option<Pid> {
        let task = self.tasks.get(&tid)?.clone();
        let creator = self.processes.get(&task.pid)?.clone();
        let sibling = sibling && self.rules.siblings;
        let parent = if sibling { creator.parent } else { task.pid };
        let child = self.add_process(parent, &creator.program);
        let memory = match kind {
            ForkKind::Vfork => creator.memory,
            _ => self.memory.copy(creator.memory),
        };
        let process = self.processes.get_mut(&child)?;
        process.memory = memory;
        process.image = creator.image;
        process.fatal.clone_from(&creator.fatal);
        process.handlers.clone_from(&creator.handlers);
        process.vfork_parent = (kind == ForkKind::Vfork).then_some(tid);
        let first = process.leader;
        let born = self.tasks.get_mut(&first)?;
        (born.registers, born.cpus) = (task.registers, task.cpus.clone());
        born.frames.clone_from(&task.frames);
        born.debug = task.debug.inherited(self.rules.forks_copy_debug);
        if kind == ForkKind::Vfork {
            self.tasks.get_mut(&tid)?.vforked = Some(child);
        }
        match task.setup.filter(|_| !task.bare) {
            Some(setup) => {
                let made = NewTask::Process { pid: child, sibling };
                let task = self.rules.tells_ids.then_some(made);
                self.stop_with(tid, RawReason::Forked { kind, task }, Some(made), None);
                self.trace_new(first, setup);
                self.stop(first, RawReason::Paused);
            }
            // Nobody hears of it; for vfork the wait begins.
            None => self.go_on(tid),
        }
        Some(child)
    }

    /// A new process has the memory of its creator.
    pub(crate) fn share_memory(&mut self, creator: Tid, child: Pid) {
        let creator = self.tasks.get(&creator).and_then(|task| self.processes.get(&task.pid));
        let Some(memory) = creator.map(|process| process.memory) else { return };
        if let Some(child) = self.processes.get_mut(&child) {
            child.memory = memory;
        }
    }

    /// A new process is traced for its parent's sake.
    fn trace_new(&mut self, tid: Tid, setup: Setup) {
        let inherits = self.rules.inherits_setup;
        if let Some(task) = self.tasks.get_mut(&tid) {
            task.bare = !inherits;
            task.fresh = true;
            task.setup = Some(match inherits {
                true => setup,
                false => Setup { flags: EventFlags::empty(), ..setup },
            });
        }
    }

    /// A thread makes another one.
    pub(crate) fn new_thread(&mut self, tid: Tid) -> Option<Tid> {
        let creator = self.tasks.get(&tid)?.clone();
        let new = self.new_late_thread(tid)?;
        let task = self.tasks.get_mut(&new)?;
        task.bare = creator.bare;
        task.setup = creator.setup;
        let Some(setup) = creator.setup else { return Some(new) };
        if self.by_process() {
            let told = setup.flags.intersects(EventFlags::THREAD | EventFlags::EXIT);
            if told && !creator.bare {
                self.stop(new, RawReason::ThreadStarted);
            }
        } else {
            let made = NewTask::Thread(new);
            let reason = RawReason::Forked { kind: ForkKind::Clone, task: None };
            self.stop_with(tid, reason, Some(made), None);
            self.stop(new, RawReason::Paused);
        }
        Some(new)
    }

    /// The same, without any trace of it.
    pub(crate) fn new_late_thread(&mut self, tid: Tid) -> Option<Tid> {
        let creator = self.tasks.get(&tid)?.clone();
        let new = self.add_task(creator.pid);
        let task = self.tasks.get_mut(&new)?;
        task.registers = creator.registers;
        task.cpus = creator.cpus;
        task.debug = creator.debug.inherited(self.rules.threads_copy_debug);
        Some(new)
    }

    /// A process shares its memory with its vfork parent no longer, which goes on.
    pub(crate) fn share_no_more(&mut self, pid: Pid) {
        let Some(process) = self.processes.get_mut(&pid) else { return };
        let Some(parent) = process.vfork_parent.take() else { return };
        let Some(task) = self.tasks.get_mut(&parent) else { return };
        if task.held != Some(Held::Vfork) {
            return;
        }
        task.held = None;
        if task.state != State::Runs {
            return; // killed
        }
        let (traced, parent_pid) = (task.setup.is_some() && !task.bare, task.pid);
        let doomed = self.processes.get(&parent_pid).is_some_and(|p| p.ending.is_some());
        if doomed && self.by_process() {
            self.killed_if_free(parent_pid);
            let stays = |p: &Process| p.reported.is_some() || p.kill_waits;
            if !self.processes.get(&parent_pid).is_none_or(stays) {
                self.go_on(parent); // out of the way of an exit
            }
        } else if traced && !doomed {
            self.stop(parent, RawReason::VforkDone);
        } else {
            self.go_on(parent);
        }
    }

    /// A thread calls `execve`, and that will succeed once the other threads have ended.
    pub(crate) fn exec(&mut self, tid: Tid, program: &str) {
        let Some(task) = self.tasks.get_mut(&tid) else { return };
        task.held = Some(Held::Others);
        let pid = task.pid;
        if let Some(process) = self.processes.get_mut(&pid) {
            process.execing = Some(tid);
            process.program = program.to_string();
        }
        self.end_others(pid, tid);
        self.others_ended(pid);
    }

    /// The other threads of a process are made to end.
    fn end_others(&mut self, pid: Pid, caller: Tid) {
        for tid in self.living(pid) {
            if tid == caller {
                continue;
            }
            if self.rules.kills_stopped {
                self.doom(tid);
            } else if let Some(task) = self.tasks.get_mut(&tid) {
                task.suspended = false;
                // The stop at a birth that was not reported yet is swallowed.
                let unborn = matches!(&task.state, State::Stopped(stop)
                    if stop.reason == RawReason::ThreadStarted && !stop.reported);
                if (task.state == State::Runs || unborn) && task.held.is_none() {
                    let ending = self.processes.get(&pid).and_then(|process| process.ending);
                    self.leave(tid, ending.unwrap_or(KILLED));
                }
            }
        }
    }

    /// A thread is killed: it leaves any stop but the one on its way out.
    pub(crate) fn doom(&mut self, tid: Tid) {
        let Some(task) = self.tasks.get_mut(&tid) else { return };
        if task.leaving.is_some() || matches!(task.state, State::Dying | State::Dead(..)) {
            return;
        }
        task.overtaken = matches!(&task.state, State::Stopped(stop) if stop.reported);
        task.state = State::Dying;
        task.vforked = None;
        task.signals.clear();
        if task.held != Some(Held::Sleep) {
            task.held = None;
        }
    }

    /// The exec succeeds: the caller is the only thread, with the number of the process.
    pub(crate) fn exec_done(&mut self, caller: Tid) {
        let Some(mut task) = self.tasks.remove(&caller) else { return };
        let pid = task.pid;
        let fresh = self.fresh_memory();
        let Some(process) = self.processes.get_mut(&pid) else { return };
        process.execing = None;
        process.memory = fresh;
        process.image = fresh;
        process.handlers.clear();
        let old = process.leader;
        let tid = if self.rules.led_by_pid { old } else { caller };
        process.leader = tid;
        if let Some(leader) = self.tasks.remove(&old) {
            // To the tracer the leader's stop, which this thread has now, never ended.
            task.overtaken = leader.overtaken;
        }
        task.held = None;
        task.debug = DebugRegisters::default();
        (task.in_call, task.trapped, task.in_return) = (false, false, false);
        task.frames.clear();
        task.replaced = true;
        self.tasks.insert(tid, task);
        self.share_no_more(pid);
        if self.tasks.get(&tid).is_some_and(|task| task.setup.is_some()) {
            let told = self.rules.tells_ids.then_some(caller);
            self.stop_with(tid, RawReason::Execed { former_tid: told }, None, Some(caller));
        } else {
            self.go_on(tid);
        }
    }

    /// A thread ends, and its process with it if it is the last one.
    pub(crate) fn exit_thread(&mut self, tid: Tid, code: i32) {
        self.leave(tid, ExitStatus::Code(code));
    }

    /// A thread ends its process.
    pub(crate) fn exit(&mut self, tid: Tid, code: i32) {
        let Some(task) = self.tasks.get_mut(&tid) else { return };
        let pid = task.pid;
        let status = ExitStatus::Code(code);
        if let Some(process) = self.processes.get_mut(&pid) {
            process.ending = Some(status);
        }
        if self.rules.kills_stopped {
            self.end_others(pid, tid);
            return self.leave(tid, status);
        }
        task.held = Some(Held::Others);
        self.end_others(pid, tid);
        self.others_ended(pid);
    }

    /// A thread enters or leaves a system call, and stops if that is traced.
    pub(crate) fn system_call(&mut self, tid: Tid, entry: bool) {
        let Some(task) = self.tasks.get_mut(&tid) else { return };
        (task.entered, task.replaced) = (entry, task.replaced && !entry);
        if entry {
            (task.changed_call, task.changed_result) = (None, None);
        }
        let Some(task) = self.tasks.get(&tid) else { return };
        let flagged = task.setup.is_some_and(|s| s.flags.contains(EventFlags::SYSCALL));
        if self.by_process() {
            let reason = if entry { RawReason::SyscallEntry } else { RawReason::SyscallExit };
            if flagged && !task.bare {
                self.stop(tid, reason);
            }
        } else if task.run == Run::Syscall {
            self.stop(tid, RawReason::Syscall);
        }
    }
}
