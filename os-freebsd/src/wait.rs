//! Waiting for stops and ends.
//!
//! # What must not happen
//!
//! The exit status of a host's own child must not be taken (W2), and no wake-up be lost (W1).
//!
//! # What the kernel offers
//!
//! *Stops.* `wait6(P_ALL, WTRAPPED)` finds traced children alone, and does not look at ended ones
//! at all (`kern_wait6` and `proc_to_reap` in `kern_exit.c`).
//!
//! *Ends.* `wait6(P_ALL, WEXITED)` takes the first ended child, whoever's it is, and with WNOWAIT
//! it is blinded by that one; traced or not is no criterion, as an ending process is no longer
//! traced. So each traced process is watched with `EVFILT_PROC`, NOTE_EXIT, and when that is
//! reported, waited for by its pid. The kernel reports it with the lock held under which the
//! process becomes a zombie, so that wait finds it. If it does not, because the host ignores
//! SIGCHLD and the kernel has given the zombie away, the report has the status too.
//!
//! *Sleeping.* A wait6 that sleeps can do so for ever: "a child has changed" is one flag of the
//! process, P_STATCHILD, which any other thread that enters a wait clears, also when it waits for
//! another child. And it would see no ends and no waker. So a wait sleeps on the kqueue, for
//! `EVFILT_SIGNAL`, SIGCHLD, which counts every SIGCHLD sent, whether it is then ignored, blocked
//! or handled. Whatever happens after the last look at the children is reported by the next
//! sleep, at once; what happened before it, once too often, which costs one more look.
//!
//! *The net.* A host that has set SA_NOCLDSTOP gets no SIGCHLD for stops. A sleep therefore ends
//! after 100 ms, to look again. In such a host a [waiter thread](crate::waiter::Waiter) is started from
//! the start, or when that first finds a stop, so that no further stop waits for it.
//!
//! # In turn
//!
//! `wait6` goes through the children in their list's order, so a tracee that stops again and
//! again is found before all behind it. So every eighth time one process is looked at by its pid,
//! each in turn; and after 64 stops without a look at the kqueue, that is looked at.

use std::time::{Duration, Instant};

use trapline_core::backend::{
    NewTask, Patience, RawKind, RawReason, RawStop, Thread, TrapOrigin, Waited,
};
use trapline_core::{Error, Pid, Result, Signal, Tid};

use crate::decode::{self, EventMask, LwpFlags, SIGKILL, Status, hides_syscall_exit};
use crate::sys::{self, EndSignal, Errno, Event, Go};
use crate::system::FreeBsd;
use crate::tracee::{Origin, Tracee};

/// How long a sleep is at most.
pub(crate) const NET: Duration = Duration::from_millis(100);
/// Stops in the kernel's order, before one process's turn.
const ORDERLY: u32 = 8;
/// Stops in a row, before ends and wakers are looked at.
const STREAK: u32 = 64;
impl FreeBsd {
    /// The next stop or end.
    pub(crate) fn wait_for_any(&mut self, patience: Patience) -> Result<Waited> {
        let deadline = match patience {
            Patience::Brief => Some(Instant::now() + Patience::BRIEF),
            Patience::Until(deadline) => Some(deadline),
            Patience::Poll | Patience::Block => None,
        };
        let mut unread = self.take_unread();
        loop {
            if let Some(stop) = self.ready.pop_front() {
                return Ok(Waited::Stop(stop));
            }
            let full = self.turn.streak >= STREAK;
            if !full {
                if let Some(stop) = self.stop()? {
                    self.turn.streak += 1;
                    if self.turn.netted && sys::child_stops_are_silent() {
                        self.start_waiter();
                    }
                    return Ok(Waited::Stop(stop));
                }
                if self.tracees.is_empty() && !self.adopt_unreported()? {
                    // An event loop that watches the queue must not find the same again.
                    while self.sleep(Duration::ZERO)? {}
                    let woken = std::mem::take(&mut self.woken);
                    return Ok(if woken { Waited::Woken } else { Waited::NoTracees });
                }
            }
            self.turn.streak = 0;
            let until = [deadline, self.kill_again()].into_iter().flatten().min();
            let timeout = match (patience, until) {
                _ if full => Duration::ZERO,
                (Patience::Poll, _) => Duration::ZERO,
                (_, Some(until)) => until.saturating_duration_since(Instant::now()).min(NET),
                _ => NET,
            };
            if let Some(error) = unread.take_if(|_| !timeout.is_zero()) {
                return Err(error); // it was returned before, and a wait would sleep for ever
            }
            let woken = self.sleep(timeout)?;
            self.turn.netted = !woken && timeout == NET;
            self.wake_sleepers(None);
            if self.woken {
                self.woken = false;
                return Ok(Waited::Woken);
            }
            // What has woken it may be a stop that came after the look, and that nothing else
            // will tell of.
            let over = match (patience, deadline) {
                (Patience::Poll, _) => !woken,
                (_, Some(deadline)) => !woken && Instant::now() >= deadline,
                (_, None) => false,
            };
            if over && !full && self.ready.is_empty() {
                return Ok(Waited::Nothing);
            }
        }
    }

    /// A stop of one process, if there is one now.
    pub(crate) fn look_at(&mut self, pid: i32) -> Result<Option<RawStop>> {
        if let Some(stop) = self.ready.pop_front() {
            return Ok(Some(stop));
        }
        let Some(tracee) = self.tracees.get(&pid) else { return Ok(None) };
        let how = tracee.end_signal;
        let requests = self.kernel.requests;
        match self.kernel.wait_stop_of(pid, how) {
            Ok(Some(status)) => {
                self.turn.streak += 1;
                self.take(pid, status)
            }
            // It has ended, which the kqueue will say.
            Ok(None) | Err(Errno::CHILD) => {
                self.kernel.requests = requests;
                Ok(None)
            }
            Err(errno) => Err(Error::os("wait6", pid, errno.into())),
        }
    }

    /// Sleeps until there is a reason to look again, which it says, or the time is over.
    pub(crate) fn sleep(&mut self, timeout: Duration) -> Result<bool> {
        if !timeout.is_zero() {
            if let Some(waiter) = &mut self.waiter {
                waiter.look();
            }
        }
        let mut found = std::mem::take(&mut self.found);
        let result = self.kernel.sleep(&self.queue, timeout, &mut found);
        let woken = !found.is_empty();
        for event in found.drain(..) {
            match event {
                Event::Ended(pid, status) => self.ended(pid, status)?,
                Event::Child | Event::Tick | Event::Line => {}
                Event::Helper => {
                    if let Some(waiter) = &mut self.waiter {
                        waiter.has_found();
                    }
                }
                Event::Readable => {
                    self.woken = true;
                    if let Some(pipe) = &self.wake_pipe {
                        pipe.drain();
                    }
                }
            }
        }
        self.found = found;
        match result {
            Ok(()) => Ok(woken),
            Err(Errno::INTR) => Ok(true), // a handler of the host's ran
            Err(errno) => Err(Error::os("kevent", -1, errno.into())),
        }
    }

    /// Takes the stops again that could not be read before; what keeps one from it.
    fn take_unread(&mut self) -> Option<Error> {
        let mut failed = None;
        for (pid, status) in std::mem::take(&mut self.unread) {
            match self.take(pid, status) {
                Ok(stop) => self.ready.extend(stop),
                Err(error) => failed = Some(error), // and it is kept
            }
        }
        failed
    }

    /// A stop that is to be reported, if there is one now.
    fn stop(&mut self) -> Result<Option<RawStop>> {
        while let Some((pid, status)) = self.next_status()? {
            if let Some(stop) = self.take(pid, status)? {
                return Ok(Some(stop));
            }
        }
        Ok(None)
    }

    /// The next wait status of a stop.
    pub(crate) fn next_status(&mut self) -> Result<Option<(i32, i32)>> {
        if self.turn.orderly >= ORDERLY && self.tracees.len() > 1 {
            self.turn.orderly = 0;
            if let Some(pid) = self.turn.next(&self.tracees) {
                let how =
                    self.tracees.get(&pid).map_or(EndSignal::Sigchld, |tracee| tracee.end_signal);
                if let Ok(Some(status)) = self.kernel.wait_stop_of(pid, how) {
                    return Ok(Some((pid, status)));
                }
            }
        }
        let mut found = self.wait_stop(EndSignal::Sigchld)?;
        // rfork(2) makes processes that a plain wait does not find. Nothing says so before the
        // first stop, so until then both ways are tried.
        let either = !self.pairs.awaited.is_empty() || self.with_other_signal > 0;
        if found.is_none() && (either || self.tracees.values().any(|t| !t.was_seen())) {
            found = self.wait_stop(EndSignal::Other)?;
            if let Some((pid, _)) = found {
                self.has_other_signal(pid)?;
            }
        }
        self.turn.orderly += 1;
        Ok(found)
    }

    fn wait_stop(&mut self, signal: EndSignal) -> Result<Option<(i32, i32)>> {
        match self.kernel.wait_stop(signal) {
            Ok(found) => Ok(found),
            Err(Errno::CHILD) => Ok(None),
            Err(errno) => Err(Error::os("wait6", -1, errno.into())),
        }
    }

    /// Makes a raw stop of a wait status; `None` if it is not to be reported.
    pub(crate) fn take(&mut self, pid: i32, status: i32) -> Result<Option<RawStop>> {
        let Status::Stopped(signal) = decode::status(status) else {
            return Ok(None); // not asked for, so never found
        };
        self.turn.has_stopped(pid);
        if signal == SIGKILL {
            // Not for the tracer to decide. The process runs on to its end. The signal is now that
            // of the thread that stopped, and gone if that ends first (`tdsigcleanup` in
            // `kern_sig.c`), while the kernel takes the process for killed; so there is another.
            let _ = self.kernel.go(Go::Continue, pid, SIGKILL);
            let _ = self.kernel.kill(pid, SIGKILL);
            return Ok(None);
        }
        let info = match self.kernel.lwp_info(pid) {
            Ok(info) => info,
            Err(Errno::SRCH | Errno::BUSY) => return Ok(None), // killed meanwhile: its end follows
            Err(errno) => {
                self.unread.push((pid, status));
                let (pid, error) = (Pid::from_raw(pid), Box::new(self.not_read(pid, errno)));
                return Err(Error::Tracee { pid, error });
            }
        };
        if info.flags.contains(LwpFlags::CHILD) {
            self.pairs.child(pid);
        }
        let Some(tracee) = self.adopt(pid)? else {
            return Ok(None);
        };
        if tracee.is_duplicate(&info) {
            let thread = Thread { pid: Pid::from_raw(pid), tid: info.tid };
            if let Some(signal) = Signal::from_raw(signal) {
                self.delivers(thread, signal); // the next sleep may be the same
            }
            let _ = self.kernel.go(Go::Continue, info.tid.as_raw(), signal);
            return Ok(None);
        }
        if tracee.takes_wakeup(&info) {
            let _ = self.kernel.go(Go::Continue, pid, 0);
            return Ok(None);
        }
        let setup = tracee.has_stopped();
        let Some(reason) = tracee.expected.reason(signal, &info) else {
            let _ = self.kernel.go(Go::Continue, pid, 0);
            return Ok(None);
        };
        tracee.hidden_exit = hides_syscall_exit(reason).then_some(info.tid);
        if let RawReason::Execed { .. } = reason {
            tracee.steps.clear();
        }
        if let RawReason::Signal { trap: Some(TrapOrigin::Step), .. } = reason {
            let thread = Thread { pid: Pid::from_raw(pid), tid: info.tid };
            if self.is_step_taken_back(thread) {
                let _ = self.kernel.go(Go::Continue, pid, 0);
                return Ok(None);
            }
        }
        if let (RawReason::Signal { trap: Some(TrapOrigin::Step), .. }, Some(trap)) =
            (reason, info.siginfo)
        {
            self.last_step = Some((info.tid, trap.addr));
        }
        if let Some(setup) = setup {
            let mask = EventMask::of(setup.flags);
            if self.kernel.set_event_mask(pid, mask).is_ok() {
                if let Some(tracee) = self.tracees.get_mut(&pid) {
                    (tracee.mask, tracee.wanted) = (mask, mask);
                }
            }
        }
        if let RawReason::Forked { task: Some(NewTask::Process { pid, .. }), .. } = reason {
            self.pairs.parent(pid.as_raw());
        }
        Ok(Some(stopped(pid, info.tid, reason)))
    }

    /// Remembers a process whose tracing has begun, and has its end reported. `None` if it has
    /// ended and is reaped.
    pub(crate) fn adopt(&mut self, pid: i32) -> Result<Option<&mut Tracee>> {
        if !self.tracees.contains_key(&pid) {
            match self.kernel.watch_end(&self.queue, pid) {
                Ok(()) => {}
                Err(Errno::SRCH) => return Ok(None),
                Err(errno) => {
                    return Err(Error::os("kevent", pid, errno.into()));
                }
            }
        }
        Ok(Some(self.tracees.entry(pid).or_insert_with(Tracee::new)))
    }

    /// A plain wait does not find this one.
    fn has_other_signal(&mut self, pid: i32) -> Result<()> {
        if let Some(tracee) = self.adopt(pid)? {
            if std::mem::replace(&mut tracee.end_signal, EndSignal::Other) == EndSignal::Sigchld {
                self.with_other_signal += 1;
            }
        }
        Ok(())
    }

    /// Remembers no longer a process that is not traced any more.
    pub(crate) fn disown(&mut self, pid: i32) {
        if let Some(tracee) = self.tracees.remove(&pid) {
            self.with_other_signal -= usize::from(tracee.end_signal == EndSignal::Other);
            let _ = self.kernel.ignore_end(&self.queue, pid);
        }
        self.ready.retain(|stop| stop.pid != Some(Pid::from_raw(pid)));
    }

    /// Looks for traced processes that nothing was heard of, and says whether there are any: when
    /// a process ends while one of its threads forks, the fork is not reported, and the child may
    /// be on its way to its first stop (`ptracestop` under P_SINGLE_EXIT).
    pub(crate) fn adopt_unreported(&mut self) -> Result<bool> {
        let us = i32::try_from(std::process::id()).unwrap_or(-1);
        let traced = self.kernel.all_processes().unwrap_or_default();
        for process in traced.iter().filter(|p| p.tracer == us) {
            self.adopt(process.pid)?;
        }
        Ok(!self.tracees.is_empty())
    }

    /// A watched process has ended.
    pub(crate) fn ended(&mut self, pid: i32, told: i32) -> Result<()> {
        let Some(tracee) = self.tracees.remove(&pid) else {
            return Ok(()); // detached meanwhile
        };
        self.with_other_signal -= usize::from(tracee.end_signal == EndSignal::Other);
        self.unread.retain(|&(other, _)| other != pid);
        self.ready.retain(|stop| stop.pid != Some(Pid::from_raw(pid)));
        let how = tracee.end_signal;
        // The wait may be what buries it.
        let parent = match tracee.origin {
            Origin::Spawned => None,
            Origin::Elsewhere => {
                self.kernel.process(pid).ok().flatten().map(|process| process.parent)
            }
        };
        let found = self.kernel.wait_end_of(pid, how);
        if let (Ok(Some(_)), Some(parent)) = (&found, parent) {
            self.parents_at_end.insert(pid, parent);
        }
        let status = match found {
            Ok(Some(status)) => status,
            // A fork that never stopped, so that the signal of its end is not known.
            Err(Errno::CHILD) if !tracee.was_seen() => {
                match self.kernel.wait_end_of(pid, EndSignal::Other) {
                    Ok(Some(status)) => status,
                    _ => told,
                }
            }
            _ => told,
        };
        if let Status::Ended(status) = decode::status(status) {
            let pid = Some(Pid::from_raw(pid));
            self.ready.push_back(RawStop { pid, tid: None, kind: RawKind::Ended(status) });
        }
        Ok(())
    }

    /// Waits for a stop of one process alone, for so long. [`Error::Gone`] if it ends instead.
    pub(crate) fn wait_for_one(&mut self, pid: i32, limit: Duration) -> Result<Option<i32>> {
        let deadline = Instant::now() + limit;
        loop {
            let Some(tracee) = self.tracees.get(&pid) else {
                return Err(Error::GONE);
            };
            let seen = tracee.was_seen();
            let how = tracee.end_signal;
            match self.kernel.wait_stop_of(pid, how) {
                Ok(None) => {}
                Err(Errno::CHILD) if !seen => {
                    // Either its end has another signal, or it has ended.
                    if let Ok(Some(status)) = self.kernel.wait_stop_of(pid, EndSignal::Other) {
                        self.has_other_signal(pid)?;
                        return Ok(Some(status));
                    }
                }
                Err(Errno::CHILD) => {} // it has ended, which the kqueue will say
                Ok(found) => return Ok(found),
                Err(errno) => {
                    return Err(Error::os("wait6", pid, errno.into()));
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            // Others' SIGCHLD are used up here, but not their stops: a wait looks before it sleeps.
            self.sleep(left.min(NET / 10))?;
            self.wake_sleepers(Some(pid));
        }
    }
}

pub(crate) fn stopped(pid: i32, tid: Tid, reason: RawReason) -> RawStop {
    RawStop { pid: Some(Pid::from_raw(pid)), tid: Some(tid), kind: RawKind::Stop(reason) }
}
