//! Detaching and killing.

use crate::backend::RawReason;
use crate::error::unless_gone;
use crate::{Backend, Event, Pid, Result, Signal, StopReason, Stopped};

use super::thread::{Slot, State};
use super::{Ready, Side, Tracer};

impl<B: Backend> Tracer<B> {
    /// Detaches the processes of an event (or a token), as if they had never been traced. A signal
    /// that a thread is stopped for is delivered. A child whose fork was not reported yet is
    /// detached as well. Nothing of the tracer's stays behind.
    ///
    /// A spawned program becomes an ordinary child again; [`take_child`](Tracer::take_child) gives
    /// it. There are no further events of these processes, unless one is killed before it can be
    /// detached: then its [`Event::Exited`] follows. Detaching what is gone is `Ok`.
    ///
    /// ```
    /// # use trapline::fake::{Kernel, LinuxRules};
    /// # use trapline::{Event, TracerOn};
    /// # let kernel = Kernel::<LinuxRules>::new();
    /// # let pid = kernel.start();
    /// # let mut tracer = TracerOn::builder().build_on(kernel.backend());
    /// # tracer.attach(pid)?;
    /// let Some(Event::Stopped(stop)) = tracer.wait()? else { panic!("no stop") };
    /// tracer.detach(stop)?;
    /// assert!(tracer.is_empty());
    /// # assert!(!kernel.is_traced(pid));
    /// # Ok::<(), trapline::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::NotPermitted`](crate::Error::NotPermitted) if a breakpoint cannot be taken out of
    /// the memory of a process. The process stays traced, because it would die of the breakpoint.
    /// [`Error::Os`](crate::Error::Os) for an unexpected answer of the kernel. If nothing was
    /// detached yet, the next wait gives the stop again; a detach that has begun is completed by
    /// the following waits. [`Error::Gone`](crate::Error::Gone) for the token of another tracer.
    ///
    /// # Platform notes
    ///
    /// On Linux every thread has to be stopped to be detached, so a sleeping system call may return
    /// `EINTR` where the kernel does not restart it. If the kernel holds a thread, say in `vfork`,
    /// a later wait detaches it. If the first thread of a process has ended before the others, the
    /// kernel reports the end of the process to the tracer first, and to the parent only after
    /// that. A later wait takes that report, and gives the [`Event::Exited`] if the program was
    /// spawned.
    ///
    /// On FreeBSD a signal that a thread is stopped for, or has yet to report, is sent again. Its
    /// handler then sees the tracer as the sender. A value that was queued with the signal is kept.
    ///
    /// # References
    ///
    /// `PTRACE_DETACH` (Linux) and `PT_DETACH` (FreeBSD) in `ptrace(2)`.
    pub fn detach(&mut self, event: impl Into<Event>) -> Result<()> {
        let live = |slot: &Slot| slot.is_given();
        let mut stops = Vec::new();
        let event = event.into();
        let of_two = matches!(event, Event::Forked(_));
        for stop in event.into_stops() {
            self.own(&stop)?; // another tracer's is given again by that one
            let process = self.table.at(stop.place).filter(|slot| live(slot)).map(|s| s.process);
            if let Some(process) = process {
                // All at once, for while one is detached, an exec can take the token of another.
                self.table.process_mut(process).begin_detach();
                self.silence(stop.pid);
            }
            stops.push((stop, process));
        }
        let mut result = Ok(());
        for (stop, process) in stops {
            let pid = stop.pid;
            let detached = if self.table.at(stop.place).is_some_and(live) {
                self.detach_stopped(stop)
            } else {
                self.discard(stop);
                match process.filter(|_| self.table.find_process(pid) == process) {
                    Some(process) => self.detach_running(process),
                    None => Ok(()),
                }
            };
            let named = |error: crate::Error| if of_two { error.of_one(pid) } else { error };
            result = result.and(detached.map_err(named));
        }
        result?;
        self.step_over_queued()
    }

    /// Detaches a process at a stop of which the user has the token. As long as nothing is detached,
    /// an error leaves the user the stop.
    fn detach_stopped(&mut self, stop: Stopped) -> Result<()> {
        let (place, pid) = (stop.place, stop.pid);
        let process = self.table.slot(place.index).process;
        self.table.slot_mut(place.index).state = State::Resting;
        match self.prepare_detach(place.index) {
            Ok(true) => {
                // The token's signal counts, also if it is none.
                let (_, signal) = stop.consume();
                self.leave(place.index, signal)
            }
            Ok(false) => {
                stop.consume();
                self.await_children()
            }
            Err(error) => {
                if self.traced(pid).ok() == Some(process) {
                    self.table.process_mut(process).give_up_detach();
                    self.failures.retry(pid); // who was brought to rest runs on
                }
                if self.table.at(place).is_some_and(|slot| slot.rests()) {
                    self.table.slot_mut(place.index).state = State::Given(stop.reason);
                }
                Err(error)
            }
        }
    }

    /// Detaches a process, running or stopped, as [`detach`](Tracer::detach) does. Tokens of its
    /// threads become stale, wherever they are. To detach what is gone is `Ok`.
    ///
    /// ```
    /// use trapline::{Backend, Pid, Result, TracerOn};
    ///
    /// /// Detaches all that is traced.
    /// fn detach_all<B: Backend>(tracer: &mut TracerOn<B>) -> Result<()> {
    ///     let all: Vec<Pid> = tracer.processes().collect();
    ///     all.into_iter().try_for_each(|pid| tracer.detach_process(pid))
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`detach`](Tracer::detach).
    pub fn detach_process(&mut self, pid: Pid) -> Result<()> {
        match self.traced(pid) {
            Ok(process) => {
                self.silence(pid);
                self.detach_running(process)?;
                self.step_over_queued()
            }
            Err(_) => Ok(()),
        }
    }

    /// Takes back what is queued of a process that is detached, but for its stops and forks, which
    /// go their own ways. One that had this id before, and whose end is in the queue, is told of.
    fn silence(&mut self, pid: Pid) {
        let of_older = |ready: &Ready| match ready {
            Ready::Exited { process } => self.table.process(*process).pid == pid,
            _ => false,
        };
        let older = self.ready.iter().rposition(of_older).map_or(0, |at| at + 1);
        for ready in &mut self.ready {
            // Its making is still to be told of.
            match ready {
                Ready::Fork(pair) if pair.child_pid == pid => {
                    if let Side::Stopped(_) = pair.child {
                        pair.child = Side::Detached;
                    }
                }
                _ => {}
            }
        }
        let mut at = 0;
        self.ready.retain(|ready| {
            at += 1;
            let of_it = matches!(ready, Ready::ThreadExited { pid: of, .. }
                | Ready::Reparented { pid: of, .. } if *of == pid);
            at <= older || !of_it
        });
    }

    /// Detaches a halted process, as [`detach`](Tracer::detach) does.
    ///
    /// ```
    /// use trapline::{Backend, Result, Stopped, TracerOn};
    ///
    /// /// Looks at all threads of a process once, and detaches it.
    /// fn look<B: Backend>(tracer: &mut TracerOn<B>, stop: Stopped) -> Result<()> {
    ///     let halted = tracer.halt(stop)?;
    ///     for stop in &halted {
    ///         println!("{}: {:?}", stop.tid(), tracer.registers(stop)?);
    ///     }
    ///     tracer.detach_halted(halted)
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`detach`](Tracer::detach).
    pub fn detach_halted(&mut self, halted: super::Halted) -> Result<()> {
        if let Some(process) = self.table.find_process(halted.pid) {
            self.end_halt(process, &halted.lease);
        }
        let mut threads = halted.threads.into_iter();
        let Some(first) = threads.next() else { return Ok(()) };
        let rest: Vec<Stopped> = threads.collect();
        self.detach(first)?;
        for stop in rest {
            self.detach(stop)?; // of no effect, unless the first one was stale
        }
        Ok(())
    }

    /// Kills a process. Its [`Event::Exited`] comes once every token of it is resumed, detached or
    /// dropped. To kill what is gone is `Ok`.
    ///
    /// ```
    /// # use trapline::fake::{Kernel, LinuxRules};
    /// # use trapline::{Event, Resume, TracerOn};
    /// # let kernel = Kernel::<LinuxRules>::new();
    /// # let pid = kernel.start();
    /// # let mut tracer = TracerOn::builder().build_on(kernel.backend());
    /// # tracer.attach(pid)?;
    /// let Some(Event::Stopped(stop)) = tracer.wait()? else { panic!("no stop") };
    /// tracer.kill(stop.pid())?;
    /// tracer.resume(stop, Resume::Continue)?;
    /// let Some(Event::Exited { status, .. }) = tracer.wait()? else { panic!("no end") };
    /// assert_eq!(status.to_string(), "killed by SIGKILL");
    /// # Ok::<(), trapline::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Os`](crate::Error::Os) for an unexpected answer of the kernel, for example that
    /// this user may not.
    pub fn kill(&mut self, pid: Pid) -> Result<()> {
        let Ok(process) = self.traced(pid) else { return Ok(()) };
        let threads = &self.table.process(process).threads;
        let at_stop = |slot: &Slot| slot.can_be_asked();
        let stopped = threads.iter().find(|&&i| at_stop(self.table.slot(i)));
        let stopped = stopped.map(|&i| self.table.slot(i).thread.tid);
        unless_gone(self.backend.get_mut().kill(pid, stopped))?;
        self.runs_to_its_end(process);
        Ok(())
    }

    /// Detaches a process at a stop of one of its threads, which nobody has asked for in so many
    /// words.
    pub(super) fn detach_silently(&mut self, index: u32, signal: Option<Signal>) {
        let pid = self.table.slot(index).thread.pid;
        if let Err(error) = self.detach_here(index, signal) {
            self.failures.note_and_retry(pid, error);
        }
    }

    /// Detaches a process at a stop of one of its threads. What fails is done again by the waits
    /// that follow.
    pub(super) fn detach_here(&mut self, index: u32, signal: Option<Signal>) -> Result<()> {
        // It has no token any more, so its end, should it come now, need not wait for one.
        self.table.slot_mut(index).state = State::Resting;
        match self.prepare_detach(index) {
            Ok(true) => self.leave(index, signal),
            Ok(false) => self.await_children(),
            Err(error) => {
                self.detach_later(index, signal);
                Err(error)
            }
        }
    }

    /// A process is to be detached at a stop of this thread, but not yet.
    pub(super) fn detach_later(&mut self, index: u32, signal: Option<Signal>) {
        let slot = self.table.slot_mut(index);
        if let (State::Resting, Some(signal)) = (slot.state, signal) {
            slot.kept = Some(signal);
        }
        let pid = slot.thread.pid;
        self.failures.retry(pid);
    }

    /// Takes out of a process what must not be left in it; says whether it can then be detached at
    /// this thread.
    fn prepare_detach(&mut self, index: u32) -> Result<bool> {
        let process = self.table.slot(index).process;
        let pid = self.table.process(process).pid;
        self.table.process_mut(process).begin_detach();
        if self.has_space(process)? {
            let place = self.table.place(index);
            self.remove_all_breakpoints(process)?;
            if self.traced(pid).ok() != Some(process) {
                return Ok(false);
            }
            if self.table.at(place).is_none() {
                self.detach_running(process)?; // its thread is gone, or has stopped again
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Detaches a process that has nothing of ours in its memory any more.
    fn leave(&mut self, index: u32, signal: Option<Signal>) -> Result<()> {
        let (place, pid) = (self.table.place(index), self.table.slot(index).thread.pid);
        let result = self.finish_detach_at(index, signal);
        if result.is_err() {
            match self.table.at(place) {
                Some(_) => self.detach_later(index, signal),
                None => self.failures.retry(pid),
            }
        }
        result
    }

    fn finish_detach_at(&mut self, index: u32, signal: Option<Signal>) -> Result<()> {
        let process = self.table.slot(index).process;
        let pid = self.table.process(process).pid;
        let place = self.table.place(index);
        self.detach_unreported_children(pid)?;
        if self.table.find_process(pid) == Some(process) {
            if self.table.at(place).is_some() {
                self.detach_at(index, signal)?;
            }
            self.detach_rest(pid, process)?;
        }
        self.await_children()
    }

    /// The signal that a stopped thread has yet to get.
    pub(super) fn kept_signal(&self, index: u32) -> Option<Signal> {
        let slot = self.table.slot(index);
        if let Some((_, signal)) = slot.deferred {
            return signal;
        }
        if slot.kept.is_some() {
            return slot.kept;
        }
        match (slot.state, slot.next) {
            (State::Queued(StopReason::Signal(signal)), _)
            | (State::Given(StopReason::Signal(signal)), _)
            | (_, Some(RawReason::Signal { signal, .. })) => Some(signal),
            _ => None,
        }
    }

    /// A process is not traced any more.
    pub(super) fn forget_process(&mut self, process: u32) {
        self.leaves_children(process, true);
        let Some(entry) = self.table.remove_process(process) else { return };
        self.forks.gone(entry.pid);
        self.forks.was_detached(entry.pid);
        self.backend.get_mut().forget(entry.pid);
        self.detached.extend(entry.child);
    }

    /// Detaches a process that may be running altogether.
    pub(super) fn detach_running(&mut self, process: u32) -> Result<()> {
        let pid = self.table.process(process).pid;
        self.has_space(process)?;
        if let Err(error) = self.remove_all_breakpoints(process) {
            if self.traced(pid).ok() == Some(process) {
                self.table.process_mut(process).give_up_detach();
                self.failures.retry(pid); // who was brought to rest runs on
            }
            return Err(error);
        }
        if self.traced(pid).ok() != Some(process) {
            return self.await_children();
        }
        let threads = self.table.process(process).threads.clone();
        let stopped = threads.iter().find(|&&i| {
            let slot = self.table.slot(i);
            slot.can_be_asked() && !matches!(slot.state, State::Retrying(_))
        });
        if let Some(&index) = stopped {
            return self.detach_here(index, self.kept_signal(index));
        }
        self.table.process_mut(process).begin_detach();
        self.interrupt_running(process)?;
        self.await_detached(pid, process)?;
        self.await_children()
    }
}
