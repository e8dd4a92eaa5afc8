//! Starting a program.
//!
//! std's `Command::spawn` returns when the exec has succeeded or failed. The child asks to be
//! traced last before the exec, so that from then on every signal stops it, and somebody must
//! answer while that call blocks: it is made on a thread of its own, the spawner, and the caller
//! answers.
//!
//! Nothing tells the child's pid before that. It is not needed: a stop of an unknown process
//! that is not the first of a fork is the new child's, and no other's, as one is started at a
//! time.
//!
//! A child that has asked to be traced by a process that may not do so stands still for ever: no request is
//! allowed, and SIGKILL does nothing to it. So before it asks, it has the tracer find out (the
//! [`Line`]).

use std::io;
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::time::Duration;

use trapline_core::backend::{RawKind, RawReason, RawSpawn, RawStop, Setup};
use trapline_core::{Error, ExitStatus, Pid, Result, Signal, Tid};

use crate::decode::{self, EventMask, LwpFlags, SIGKILL, Status};
use crate::sys::{self, EndSignal, Errno, Go, Line, Mask, Queue};
use crate::system::FreeBsd;
use crate::tracee::{Origin, Phase};
use crate::wait::stopped;

/// A sleep between two looks.
const SLEEP: Duration = Duration::from_millis(100);

/// The thread that starts programs. It lives as long as the tracer.
#[derive(Debug)]
pub(crate) struct Spawner {
    commands: Sender<(Command, Mask)>,
    children: Receiver<io::Result<Child>>,
}

impl Spawner {
    fn new(queue: &Arc<Queue>) -> io::Result<Spawner> {
        let queue = Arc::clone(queue);
        let (commands, todo) = channel::<(Command, Mask)>();
        let (done, children) = channel();
        let work = move || {
            Mask::full().set(); // the host's handlers run on its own threads
            while let Ok((mut command, mask)) = todo.recv() {
                mask.set(); // the child inherits it
                let child = command.spawn();
                Mask::full().set();
                if done.send(child).is_err() {
                    return;
                }
                let _ = queue.notify();
            }
        };
        std::thread::Builder::new().name("trapline-spawner".into()).spawn(work)?;
        Ok(Spawner { commands, children })
    }
}

/// What is known of the child that is being started.
#[derive(Debug, Default)]
struct Newborn {
    child: Option<Child>,
    pid: Option<i32>,
    /// Its LWP, once it has exec'ed.
    execed: Option<Tid>,
    /// Stop signals, which do nothing to a traced process, for after the exec.
    kept: Vec<i32>,
    /// The last signal that it was given.
    passed: Option<Signal>,
    /// Its pid, once it has asked whether it may be traced.
    asks: Option<i32>,
    /// It has reported that it may not be traced, or the kernel has said so.
    refused: Option<Error>,
}

impl FreeBsd {
    /// Starts a program.
    pub(crate) fn start(&mut self, mut command: Command, setup: Setup) -> Result<RawSpawn> {
        if self.fixed_addresses {
            sys::fix_addresses(&mut command);
        }
        let (line, child_end) = Line::new().map_err(Error::Spawn)?;
        self.queue.watch_line(line.fd()).map_err(|errno| Error::Spawn(errno.into()))?;
        sys::trace_me_on_exec(&mut command, child_end);
        let spawner = match self.spawner.take() {
            Some(spawner) => spawner,
            None => Spawner::new(&self.queue).map_err(Error::Spawn)?,
        };
        if spawner.commands.send((command, Mask::current())).is_err() {
            return Err(Error::Spawn(io::Error::other("the spawner thread has ended")));
        }
        let mut newborn = Newborn::default();
        let mut meanwhile = Vec::new();
        let result = self.bring_up(&spawner, &line, &mut newborn, &mut meanwhile);
        if matches!(result, Ok(()) | Err(Error::Spawn(_) | Error::NotPermitted { .. })) {
            self.spawner = Some(spawner); // it has no unfinished work
        }
        let (Ok(()), Some(child)) = (&result, newborn.child) else {
            // Those stops are not lost with the error.
            for stop in meanwhile.into_iter().rev() {
                self.ready.push_front(stop);
            }
            let ended = || Error::Spawn(io::Error::other("the child is not there"));
            return Err(result.err().unwrap_or_else(ended));
        };
        let pid = child.id() as i32;
        let mut stop = None;
        if let Some(tid) = newborn.execed {
            let mask = EventMask::of(setup.flags);
            let told = self.kernel.set_event_mask(pid, mask).is_ok();
            if let Some(tracee) = self.tracees.get_mut(&pid) {
                tracee.wanted = mask;
                if told {
                    tracee.mask = mask;
                }
                tracee.hidden_exit = Some(tid);
                tracee.phase = Phase::Seen;
                tracee.origin = Origin::Spawned;
            }
            for signal in newborn.kept {
                let _ = self.kernel.kill(pid, signal);
            }
            stop = Some(stopped(pid, tid, RawReason::Execed { former_tid: Some(tid) }));
        }
        Ok(RawSpawn { pid: Pid::from_raw(pid), child: Some(child), stop, meanwhile })
    }

    /// Answers the child's stops until it has exec'ed or ended.
    fn bring_up(
        &mut self,
        spawner: &Spawner,
        line: &Line,
        newborn: &mut Newborn,
        meanwhile: &mut Vec<RawStop>,
    ) -> Result<()> {
        loop {
            while let Some((pid, status)) = self.next_status()? {
                let known = self.tracees.contains_key(&pid) && newborn.pid != Some(pid);
                if known || !self.before_exec(pid, status, newborn)? {
                    meanwhile.extend(self.take(pid, status)?);
                }
            }
            self.answer(line, newborn);
            if newborn.child.is_none() {
                match spawner.children.try_recv() {
                    Ok(Ok(child)) => self.born(child, newborn)?,
                    Ok(Err(error)) => {
                        self.answer(line, newborn); // it may have said why
                        self.bury_failed();
                        return Err(newborn.refused.take().unwrap_or(Error::Spawn(error)));
                    }
                    Err(TryRecvError::Empty) => {}
                    Err(TryRecvError::Disconnected) => {
                        return Err(Error::Spawn(io::Error::other("std has panicked")));
                    }
                }
            }
            if let (Some(_), Some(pid)) = (&newborn.child, newborn.pid) {
                if newborn.execed.is_some() || !self.tracees.contains_key(&pid) {
                    return Ok(());
                }
                // Its stop may have come just now.
                self.sleep(Duration::from_millis(1))?;
            } else {
                self.sleep(SLEEP)?;
            }
        }
    }

    /// Hears what the child has to ask and to tell.
    fn answer(&mut self, line: &Line, newborn: &mut Newborn) {
        while let Some(number) = line.heard() {
            match newborn.asks {
                None => {
                    newborn.asks = Some(number);
                    let refused = self.may_trace(number).err();
                    line.answer(refused.map_or(0, |_| libc::EPERM));
                    newborn.refused =
                        refused.map(|errno| self.refused(Pid::from_raw(number), errno));
                }
                Some(pid) if [libc::ENOSYS, libc::EPERM].contains(&number) => {
                    newborn.refused = Some(self.refused(Pid::from_raw(pid), Errno(number)));
                }
                Some(_) => {}
            }
        }
    }

    /// Whether a child that is about to exec may be traced then. Which users it has become since
    /// its last exec does not count by then.
    fn may_trace(&mut self, pid: i32) -> sys::Result<()> {
        match self.kernel.may_debug(pid) {
            Err(Errno::PERM | Errno::SRCH) => {}
            _ => return Ok(()),
        }
        let changed = self.kernel.process(pid).ok().flatten().is_some_and(|p| p.changed_ids);
        if changed && self.kernel.may_debug_unprivileged() {
            return Ok(());
        }
        Err(Errno::PERM)
    }

    /// A stop of the new child; false if it is another's.
    fn before_exec(&mut self, pid: i32, status: i32, newborn: &mut Newborn) -> Result<bool> {
        let Status::Stopped(number) = decode::status(status) else {
            return Ok(false);
        };
        if number == SIGKILL {
            newborn.passed = Some(Signal::KILL);
            let _ = self.kernel.go(Go::Continue, pid, SIGKILL);
            return Ok(true);
        }
        let info = match self.kernel.lwp_info(pid) {
            Ok(info) => info,
            Err(Errno::SRCH | Errno::BUSY) => return Ok(true), // killed meanwhile
            Err(errno) => {
                let _ = self.kernel.kill_stopped(pid);
                let _ = self.kernel.kill(pid, SIGKILL);
                return Err(self.refused(Pid::from_raw(pid), errno));
            }
        };
        if info.flags.contains(LwpFlags::CHILD) {
            return Ok(false);
        }
        newborn.pid = Some(pid);
        if info.siginfo.is_none() && info.flags.contains(LwpFlags::EXEC) {
            newborn.execed = self.adopt(pid)?.map(|_| info.tid);
            return Ok(true);
        }
        let signal = Signal::from_raw(number).filter(|_| info.siginfo.is_some());
        let pass = match signal {
            Some(signal) if signal.stops() => {
                newborn.kept.push(number);
                0
            }
            Some(signal) => {
                newborn.passed = Some(signal);
                number
            }
            None => 0,
        };
        let _ = self.kernel.go(Go::Continue, pid, pass);
        Ok(true)
    }

    /// std says that the exec has succeeded. What it knows is that its pipe to the child was
    /// closed, so the child may have been killed as well.
    fn born(&mut self, child: Child, newborn: &mut Newborn) -> Result<()> {
        let pid = child.id() as i32;
        newborn.pid = Some(pid);
        newborn.child = Some(child);
        if newborn.execed.is_none() && self.adopt(pid)?.is_none() {
            // Killed, and as the host ignores SIGCHLD, gone without a trace.
            let signal = newborn.passed.unwrap_or(Signal::KILL);
            let end = ExitStatus::Killed { signal, core_dumped: false };
            let pid = Some(Pid::from_raw(pid));
            self.ready.push_back(RawStop { pid, tid: None, kind: RawKind::Ended(end) });
        }
        Ok(())
    }

    /// After a failed exec std waits for the child, which is traced: a signal just then stops it,
    /// and std takes the stop for its end and leaves it there.
    fn bury_failed(&mut self) {
        let us = std::process::id() as i32;
        let processes = self.kernel.all_processes().unwrap_or_default();
        for process in processes.iter().filter(|p| p.tracer == us && p.parent == us) {
            let pid = process.pid;
            if self.tracees.contains_key(&pid) {
                continue;
            }
            if self.kernel.kill_stopped(pid).is_err() {
                let _ = self.kernel.kill(pid, SIGKILL);
            }
            for _ in 0..1000 {
                match self.kernel.wait_end_of(pid, EndSignal::Sigchld) {
                    Ok(None) => std::thread::sleep(Duration::from_millis(1)),
                    _ => break,
                }
                if let Ok(Some(_)) = self.kernel.wait_stop_of(pid, EndSignal::Sigchld) {
                    let _ = self.kernel.kill_stopped(pid);
                }
            }
        }
    }
}
