//! What takes threads away: exec, the end of a thread, the end of a process.

use crate::backend::RawStop;
use crate::event_queue::Ready;
use crate::{Backend, Error, EventFlags, ExitStatus, FollowExec, Pid, Result, StopReason, Tid};

use super::process::{End, First, Start};
use super::thread::{CallSide, Intent, Interrupt, Reported, State};
use super::unannounced::Moment;
use super::{Engine, ProcessHandle};

impl<B: Backend> Engine<B> {
    /// A thread has exec'ed: it is the only one of its process now, and on Linux has the
    /// process's own id. The others are gone, not all of them with an end that a wait has seen.
    pub(super) fn execed(&mut self, index: u32, former: Option<Tid>) -> Result<()> {
        let thread = self.table.slot(index).thread;
        let process = self.table.slot(index).process;
        let flags = self.table.process(process).setup.flags;
        let mut setup = self.table.process(process).setup;
        for &other in &self.table.process(process).threads {
            setup.flags |= self.table.slot(other).applied.map_or(flags, |applied| applied.flags);
        }
        let former = match former {
            Some(former) => former,
            None => match self.backend.get_mut().former_tid(thread, setup) {
                Ok(former) => former,
                Err(Error::Gone { .. }) => thread.tid, // killed since: its end follows
                Err(error) => return Err(error),
            },
        };
        // On FreeBSD a thread keeps its id; on Linux it has taken that of the first thread.
        let caller =
            self.table.find_thread(former).filter(|&i| self.table.slot(i).process == process);
        let former_tid = match caller {
            Some(caller) if caller != index => Some(former),
            Some(caller) if !self.table.is_first(caller) => Some(former),
            // A thread that nobody had announced.
            None if former != thread.tid => Some(former),
            _ => None,
        };
        let threads = self.table.process(process).threads.iter();
        // The one that was asked to stop may be the one that made the exec, or have been taken away
        // by it.
        let interrupted =
            threads.clone().any(|&i| self.table.slot(i).interrupt == Interrupt::Asked);
        if let Some(caller) = caller.filter(|&caller| caller != index) {
            let call = self.table.slot(caller).call.take();
            self.table.slot(index).call.replace(call);
        }
        let threads = self.table.process(process).threads.clone();
        for &other in &threads {
            let slot = self.table.slot(other);
            let (tid, told) = (slot.thread.tid, slot.reported);
            if !self.table.is_first(other) && told == Reported::Birth {
                let told = self.table.process(process).reports();
                self.queue_thread_exit(told, thread.pid, tid);
            }
        }
        self.leaves_children(process, false);
        for other in threads.into_iter().rev().filter(|&other| other != index) {
            self.table.remove_thread(other); // the last one is quickly found
        }
        self.backend.get_mut().forget(thread.pid);
        self.forget_code(thread.pid);
        self.leave_space(process);
        let slot = self.table.run(index);
        slot.next = None;
        slot.interrupt = Interrupt::None;
        slot.soft = super::software::Soft::default();
        // The call is not over: under SYSCALL its exit follows.
        slot.call_side = CallSide::Inside;
        slot.stop = Self::kind_of_exec();
        if slot.intent == Intent::StepBehindCall {
            slot.intent = Intent::Event;
        }
        // What the kernel was told of this thread may be what it was told of another one.
        if former_tid.is_some() && Self::execs_change_setups() {
            slot.applied = None;
        }
        self.execed_hardware(index);
        let unseen = self.is_unseen(thread.pid);
        let process = self.table.process_mut(process);
        process.first = First::This(thread.tid);
        let start = process.take_start();
        if unseen {
            process.begin_detach(); // it has its own memory
        }
        if process.detaches_at_stops() {
            return self.detach_at_stop(index, crate::backend::RawReason::Execed { former_tid });
        }
        if start != Start::Spawning && self.settings.follow_exec == FollowExec::Detach {
            // First, for it may be killed while it is detached, and that is told later.
            if flags.contains(EventFlags::EXEC) {
                self.ready.push(Ready::Detached { pid: thread.pid });
            }
            self.detach_silently(index, None);
            return Ok(());
        }
        self.meet_linker(index);
        if start == Start::Spawning || flags.contains(EventFlags::EXEC) {
            self.queue(index, StopReason::Execed { former_tid });
        } else if start == Start::Attaching {
            self.queue(index, StopReason::Started);
        } else if interrupted {
            self.queue(index, StopReason::Interrupted);
        } else {
            self.run_silently(index)?;
        }
        Ok(())
    }

    /// A thread or a process has ended.
    pub(super) fn take_end(&mut self, raw: RawStop, status: ExitStatus) -> Result<()> {
        let slot = raw.tid.and_then(|tid| self.table.find_thread(tid));
        let (pid, process) = match (raw.pid, slot) {
            (_, Some(slot)) => {
                let process = self.table.slot(slot).process;
                (self.table.process(process).pid, Some(process))
            }
            (Some(pid), None) => (pid, self.table.find_process(pid)),
            (None, None) => return self.child_seen(raw),
        };
        let Some(process) = process else { return self.child_seen(raw) };
        match slot {
            Some(slot) => {
                let thread = self.table.slot(slot).thread;
                let entry = self.table.process(process);
                let (last, released) = (entry.threads.len() == 1, entry.is_partly_detached());
                if B::first_thread(pid) == Some(thread.tid) || (last && !released) {
                    self.end_process(process, status);
                } else {
                    self.table.release_tid(slot);
                    self.thread_ended(slot);
                    if last {
                        self.forget_process(process); // its other threads were detached
                    }
                }
            }
            None => self.end_process(process, status),
        }
        Ok(())
    }

    /// A thread has ended, and its process lives on.
    pub(super) fn thread_ended(&mut self, index: u32) {
        let slot = self.table.slot(index);
        if slot.is_held() && !slot.is_dead() && Self::tokens_outlive_threads() {
            // The user has its token, or is about to get it; its end comes after that.
            self.table.slot_mut(index).died();
            return;
        }
        let (thread, told, interrupt) = (slot.thread, slot.reported, slot.interrupt);
        let process = self.table.process_of(index);
        let flags = process.setup.flags;
        let is_event =
            !self.table.is_first(index) && !process.is_detaching() && told != Reported::End;
        let last = is_event && self.leaves_a_standstill(index);
        self.forks.spoke(thread);
        self.table.remove_thread(index);
        if last {
            self.queue_thread_exit(EventFlags::THREAD, thread.pid, thread.tid);
        } else if is_event && told == Reported::Birth {
            self.queue_thread_exit(flags, thread.pid, thread.tid);
        }
        if interrupt == Interrupt::Asked {
            // The event that was asked for has to come from another thread.
            self.interrupt_another(thread.pid);
        }
    }

    /// A process has ended. What is held of it, tokens and events in the queue, comes before its
    /// `Exited`.
    pub(super) fn end_process(&mut self, process: ProcessHandle, status: ExitStatus) {
        self.note_seen_parents();
        let entry = self.table.process_mut(process);
        if entry.has_ended() {
            return;
        }
        entry.end = End::Ended(status);
        entry.halted = None;
        let (pid, flags) = (entry.pid, entry.reports());
        let us = Pid::this();
        // Its parent may have ended too, and that not have been told yet.
        if let Some(known) = entry.real_parent.filter(|&parent| parent != us) {
            if let Ok(parent) = self.backend.get_mut().parent_at_end(pid, known) {
                self.table.set_real_parent(process, parent);
                if parent != Some(known) {
                    self.queue_reparented(flags, pid, known, parent);
                }
            }
        }
        self.backend.get_mut().forget(pid);
        self.ends_vfork(process);
        self.forks.gone(pid);
        self.leaves_children(process, false);
        let mut gone = Vec::new();
        for index in self.table.process(process).threads.clone() {
            let slot = self.table.slot(index);
            let (tid, told, held) = (slot.thread.tid, slot.reported, slot.is_held());
            if told == Reported::Birth && !self.table.is_first(index) {
                self.queue_thread_exit(flags, pid, tid);
            }
            self.table.release_tid(index);
            if held {
                let slot = self.table.slot_mut(index);
                slot.died();
                slot.reported = Reported::Nothing;
            } else {
                gone.push(index);
            }
        }
        for index in gone.into_iter().rev() {
            self.table.remove_thread(index); // the last one is quickly found
        }
        self.leave_space(process);
        let orphans = self.table.process(process).children > 0;
        self.table.release_pid(process);
        let moved = if orphans { self.reparent(pid) } else { Vec::new() };
        if self.forks.is_watching() {
            if let Err(error) = self.settle_unannounced(Moment::End) {
                self.failures.note(pid, error);
            }
        }
        self.queue_exit(process);
        for (flags, child, to) in moved {
            self.queue_reparented(flags, child, pid, to);
        }
    }

    /// A process has ended, exec'ed or been detached, and may have made children just before of which
    /// nobody will tell.
    pub(super) fn leaves_children(&mut self, process: ProcessHandle, detached: bool) {
        self.keep_former_image(process, detached);
        self.forks.has_left(self.table.process(process).setup);
    }

    /// Asks who the parent of a dead process's children is now.
    fn reparent(&mut self, dead: Pid) -> Vec<(EventFlags, Pid, Option<Pid>)> {
        let mut moved = Vec::new();
        let children = self.table.living().filter(|(_, p)| p.real_parent == Some(dead));
        let children: Vec<ProcessHandle> = children.map(|(child, _)| child).collect();
        for child in children {
            let pid = self.table.process(child).pid;
            let to = match self.backend.get_mut().real_parent(pid) {
                Ok(to) => to,
                Err(Error::Gone { .. }) => continue,
                Err(_) => None, // nobody tells; it is not the dead one
            };
            self.table.set_real_parent(child, to);
            if to != Some(dead) {
                moved.push((self.table.process(child).reports(), pid, to));
            }
        }
        moved
    }

    fn queue_reparented(&mut self, flags: EventFlags, pid: Pid, from: Pid, to: Option<Pid>) {
        if flags.contains(EventFlags::REPARENT) {
            self.ready.push(Ready::Reparented { pid, from, to });
        }
    }

    /// Queues the `Exited` of a process, once nothing else of it is left.
    pub(super) fn queue_exit(&mut self, process: ProcessHandle) {
        let entry = self.table.process(process);
        let End::Ended(status) = entry.end else { return };
        // The event of a fork that it has told of comes first.
        if !entry.threads.is_empty() || self.forks.awaits_child_of(entry.pid) {
            if !self.held_exits.contains(&process) {
                self.held_exits.push(process);
            }
            return;
        }
        self.held_exits.retain(|&held| held != process);
        if self.is_unseen(entry.pid) {
            self.is_seen_again(entry.pid);
            self.table.remove_process(process);
            return;
        }
        self.table.process_mut(process).end = End::Reported(status);
        let pid = self.table.process(process).pid;
        self.ready.push(Ready::Exited { process, pid });
    }

    /// Looks again after the ends that had to wait.
    pub(super) fn queue_held_exits(&mut self) {
        for at in (0..self.held_exits.len()).rev() {
            if let Some(&process) = self.held_exits.get(at) {
                self.queue_exit(process);
            }
        }
    }

    /// The token of a thread that is dead was resumed, detached or dropped.
    pub(super) fn release_dead(&mut self, index: u32) {
        let process = self.table.slot(index).process;
        self.table.slot_mut(index).state = State::Running;
        if self.table.process(process).has_ended() {
            self.table.remove_thread(index);
            self.queue_exit(process);
        } else {
            self.thread_ended(index);
        }
    }

    /// No child that was announced will come any more: somebody else in this host has waited for
    /// it. What was held back for it is told. Says whether there was any.
    pub(super) fn settle_awaited(&mut self) -> bool {
        let any = self.forks.clear();
        self.queue_held_exits();
        any
    }

    /// The kernel has no tracee left. What the table still has of living processes has ended
    /// unseen: somebody else in this host has waited for it, which is an error, once. Says whether an
    /// event is left.
    pub(super) fn settle_vanished(&mut self) -> Result<bool> {
        self.settle_awaited();
        self.forks.has_left_nothing();
        let mut taken = None;
        for process in self.table.all_living() {
            if self.table.process(process).is_partly_detached() {
                self.forget_process(process); // the last of its threads were detached
                continue;
            }
            taken = self.table.remove_process(process).map(|process| process.pid).or(taken);
        }
        self.queue_held_exits();
        match taken {
            Some(pid) => Err(Error::Taken { pid }),
            None => Ok(!self.ready.is_empty()),
        }
    }
}
