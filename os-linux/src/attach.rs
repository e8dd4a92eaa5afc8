//! Tracing a running process.
//!
//! `PTRACE_SEIZE` waits for a lock that an exec of the process holds (`cred_guard_mutex`). If one
//! of its threads execs while we are at it, the exec waits until its other threads are gone, those
//! that we have seized already among them; and these are gone only when their tracer has waited
//! for them, which cannot, for it waits for the lock. So a second thread of ours watches: whenever
//! the first takes long it takes the ends of the threads that were seized, and the exec goes on.
//! For the same reason `PTRACE_O_TRACEEXIT`, whose stop only the tracer itself could end, is set
//! when all threads are seized.
//!
//! A thread that was in the middle of a `clone` when it was seized makes a thread that is not
//! traced (`kernel_clone` in `kernel/fork.c` asks for the options first), at any time later. One
//! that has stopped since, or sleeps, is in the middle of none. So the threads are stopped for a
//! moment, and looked for again, until there are no new ones. With many threads that would be most
//! of the work, and disturb them: of a process that makes none just now one is stopped, and the
//! others are looked at before somebody relies on all of them (`settle.rs`), as are those that the
//! kernel holds.

use std::collections::HashSet;
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use trapline_core::backend::{RawAttach, RawKind, RawReason, RawStop, Run, Setup};
use trapline_core::{Error, EventFlags, Pid, Result, Tid};

use crate::process::{self, Status};
use crate::refused::{self, Refused};
use crate::settle::Unsettled;
use crate::sys::{Kernel, error, own_tid};
use crate::{Linux, decode};

/// After how long the watching thread looks for ends.
const WATCH: Duration = Duration::from_millis(20);
/// How long to wait for a thread that the kernel holds, and for any.
const HELD: Duration = Duration::from_millis(10);
const STOP: Duration = Duration::from_secs(2);
/// Between two looks at threads that are to stop: at first and at last.
const PAUSES: [Duration; 2] = [Duration::from_micros(20), Duration::from_millis(1)];

/// A process of no more threads has all of them stopped.
const FEW: usize = 32;

/// What the watching thread shares.
type Seized = Mutex<Watched>;

#[derive(Debug, Default)]
struct Watched {
    /// The threads that were seized so far.
    threads: Vec<Tid>,
    /// The ends of some of them.
    ends: Vec<RawStop>,
    /// The attach is over.
    is_over: bool,
}

impl Watched {
    fn over() -> Self {
        Watched { is_over: true, ..Watched::default() }
    }
}

impl Linux {
    pub(crate) fn trace(&mut self, pid: Pid, setup: Setup) -> Result<RawAttach> {
        let kernel = &self.kernel;
        let status = process::status(kernel, pid.as_raw())?;
        let leads = match status {
            Some(status) => status.tgid == pid.as_raw(),
            None => kernel.is_thread_of(pid, Tid::from_raw(pid.as_raw())),
        };
        if !leads {
            return Err(refused::thread_of(pid, status.map(|status| status.tgid)));
        }
        let mut attach = Attach {
            kernel,
            pid,
            options: decode::options(setup) & !libc::PTRACE_O_TRACEEXIT,
            // That option needs each of them stopped.
            stops_all: setup.flags.contains(EventFlags::EXIT),
            seen: HashSet::new(),
            stops: Vec::new(),
        };
        let seized = Arc::new(Seized::default());
        let (done, watch) = channel::<()>();
        let watcher = thread::Builder::new().name("trapline-attach".into());
        let watched = Arc::clone(&seized);
        // Without a second thread there is still the first.
        let _ = watcher.spawn(move || take_ends(&watched, &watch));
        let result = attach.seize_all(&seized);
        drop(done);
        // It ends by itself, and takes nothing any more: to wait for it would be to wait for its turn.
        let Watched { threads, ends, .. } = std::mem::replace(&mut *lock(&seized), Watched::over());
        let Attach { options, seen, mut stops, .. } = attach;
        stops.retain(|stop| ends.iter().all(|end| end.tid != stop.tid));
        let suspects = match result {
            Ok(suspects) => suspects,
            Err(error) => {
                let_go(kernel, &threads, stops);
                return Err(error);
            }
        };
        if threads.is_empty() {
            // Each has ended.
            return Err(Error::GONE);
        }
        let (mut meanwhile, failed) = run_all_but_one(kernel, stops, setup);
        if let Some(error) = failed {
            let_go(kernel, &threads, meanwhile);
            return Err(error);
        }
        meanwhile.extend(ends);
        if !suspects.is_empty() {
            self.unsettled.push(Unsettled::new(pid, options, seen, suspects));
        }
        let real_parent = status.and_then(|status| process::parent(status.ppid));
        Ok(RawAttach { threads, real_parent, meanwhile })
    }
}

/// An attach on its way.
struct Attach<'a> {
    kernel: &'a Kernel,
    pid: Pid,
    options: i32,
    /// All threads are to be stopped, not one of them.
    stops_all: bool,
    /// The threads that were seized, or were found to have ended.
    seen: HashSet<Tid>,
    stops: Vec<RawStop>,
}

impl Attach<'_> {
    /// Seizes the threads of a process until there are no new ones, and stops all of them or one.
    /// Says which of them can still make one that is not traced. One that is born of a seized
    /// thread is traced from the start.
    fn seize_all(&mut self, seized: &Seized) -> Result<Vec<Tid>> {
        let (kernel, pid) = (self.kernel, self.pid);
        let first = Tid::from_raw(pid.as_raw());
        // Those that have not stopped, and those of them that the kernel holds.
        let (mut running, mut held) = (Vec::new(), Vec::new());
        let mut tries = TRIES;
        // How many more lists have to show nothing new, and how many are made for that at most.
        let (mut lists, mut left) = (0, MOST_LISTS);
        loop {
            let listed = match process::threads(kernel, pid) {
                Ok(listed) => listed,
                // It has ended meanwhile: what was seized tells of it.
                Err(Error::Gone { .. }) => break,
                Err(error) => return Err(error),
            };
            let known = running.len();
            for &tid in &listed {
                if !self.seen.insert(tid) {
                    continue;
                }
                if seize(kernel, tid, self.options)? {
                    lock(seized).threads.push(tid);
                    running.push(tid);
                } else {
                    // It may have made another one, which does the same; and a list that is made while
                    // threads end can leave some out.
                    lists = LISTS + 1;
                }
            }
            if running.len() > known {
                self.stops_all |= known > 0; // they make threads just now
                if running.len() > FEW && !self.stops_all {
                    continue;
                }
            }
            if !running.is_empty() && (self.stops_all || running.len() <= FEW) {
                self.stops_all = true;
                let (stops, others) = stop_all(kernel, &running);
                self.stops.extend(stops);
                held.extend(others);
                running.clear();
                continue;
            }
            if lists > 1 && left > 0 {
                (lists, left) = (lists - 1, left - 1);
                continue;
            }
            if !running.is_empty() && self.stops.is_empty() {
                self.stop_one(&mut running);
                if process::thread_count(kernel, pid) != Some(listed.len()) {
                    self.stops_all = true; // the others had time to run, and have made one
                    continue;
                }
            }
            // A thread that has exec'ed meanwhile has become the first, by its id too.
            match standing(kernel, first) {
                Ok(Standing::Traced) => {
                    let listed: HashSet<Tid> = listed.into_iter().collect();
                    let threads = &mut lock(seized).threads;
                    threads.retain(|tid| listed.contains(tid) && *tid != first);
                    threads.insert(0, first);
                    break;
                }
                Ok(Standing::Lives { .. }) => drop(self.seen.remove(&first)),
                Ok(Standing::Unknown) if tries > 0 => {
                    tries -= 1;
                    self.seen.remove(&first);
                }
                Ok(Standing::Ended | Standing::Unknown) | Err(Error::Gone { .. }) => break,
                Err(error) => return Err(error),
            }
        }
        running.extend(held);
        Ok(running)
    }

    /// Stops one of many threads; the others if the kernel holds that one, or it has ended.
    fn stop_one(&mut self, running: &mut Vec<Tid>) {
        let Some((&one, others)) = running.split_first() else { return };
        self.stops.extend(stop_all(self.kernel, &[one]).0);
        if !self.stops.iter().any(|stop| matches!(stop.kind, RawKind::Stop(_))) {
            self.stops.extend(stop_all(self.kernel, others).0);
        }
        let stopped: HashSet<Option<Tid>> = self.stops.iter().map(|stop| stop.tid).collect();
        running.retain(|&tid| !stopped.contains(&Some(tid)));
    }
}

/// What a thread is to us.
pub(crate) enum Standing {
    /// This thread traces it.
    Traced,
    /// It has ended.
    Ended,
    /// Neither.
    Lives {
        /// Somebody else traces it.
        traced: bool,
    },
    /// It is not traced by us, and there is nobody to tell more.
    Unknown,
}

pub(crate) fn standing(kernel: &Kernel, tid: Tid) -> Result<Standing> {
    let status = match process::status(kernel, tid.as_raw())? {
        Some(status) => status,
        None if kernel.has_ended(tid)?.is_some() => return Ok(Standing::Traced),
        None => return Ok(Standing::Unknown),
    };
    Ok(match status {
        _ if status.tracer == own_tid() => Standing::Traced,
        _ if status.has_ended() => Standing::Ended,
        _ => Standing::Lives { traced: status.tracer != 0 },
    })
}

/// How many lists of threads in a row have to show nothing new where threads end meanwhile.
const LISTS: usize = 2;
/// How many lists are made, unless threads are found that could not be traced before.
const MOST_LISTS: usize = 200;

/// How often a refusal that nothing explains is tried again: what was refused may have been the
/// old first thread of a process that has exec'ed since.
const TRIES: usize = 10;

/// Whether the thread is traced now; if not, it has ended.
pub(crate) fn seize(kernel: &Kernel, tid: Tid, options: i32) -> Result<bool> {
    let mut tries = TRIES;
    loop {
        let refusal = match kernel.seize(tid, options) {
            Ok(()) => return Ok(true),
            Err(e) => e,
        };
        tries -= 1;
        match refusal.raw_os_error() {
            Some(libc::ESRCH) => return Ok(false),
            Some(libc::EPERM) => match standing(kernel, tid) {
                Ok(Standing::Traced) => return Ok(true),
                Ok(Standing::Ended) => return Ok(false),
                Ok(Standing::Lives { traced: false } | Standing::Unknown) if tries > 0 => {}
                Ok(_) => return Err(self::refusal(kernel, tid, refusal)),
                Err(Error::Gone { .. }) => return Ok(false),
                Err(error) => return Err(error),
            },
            _ => return Err(error("PTRACE_SEIZE", tid.as_raw(), refusal)),
        }
    }
}

/// Runs on the watching thread.
fn take_ends(seized: &Seized, done: &Receiver<()>) {
    let kernel = Kernel::default();
    while let Err(RecvTimeoutError::Timeout) = done.recv_timeout(WATCH) {
        let threads = lock(seized).threads.clone();
        for tid in threads {
            let mut watched = lock(seized);
            if watched.is_over {
                return;
            }
            if let Ok(Some(status)) = kernel.take_end(tid) {
                watched.ends.push(decode::stop(tid, status));
            }
        }
    }
}

fn lock(seized: &Seized) -> MutexGuard<'_, Watched> {
    seized.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sets the options of stopped threads, that for exit stops among them now, and runs all that have
/// nothing to report but that they were stopped. One of these is left for the caller, who gets what
/// the others say as well; with an error, those that are stopped are still.
fn run_all_but_one(
    kernel: &Kernel,
    stops: Vec<RawStop>,
    setup: Setup,
) -> (Vec<RawStop>, Option<Error>) {
    let options = decode::options(setup);
    let mut told = Vec::new();
    let (mut is_paused, mut failed) = (false, None);
    for stop in stops {
        if let (Some(tid), RawKind::Stop(reason)) = (stop.tid, stop.kind) {
            let runs = reason == RawReason::Paused && is_paused;
            let mut done = Ok(());
            if setup.flags.contains(EventFlags::EXIT) {
                done = kernel.set_options(tid, options);
            }
            if runs && done.is_ok() {
                done = kernel.resume(tid, Run::Continue, None);
            }
            match done {
                Ok(()) | Err(Error::Gone { .. }) if runs => continue, // an end comes by itself
                Ok(()) | Err(Error::Gone { .. }) => is_paused |= reason == RawReason::Paused,
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        told.push(stop);
    }
    (told, failed)
}

/// Lets threads go that were seized in vain.
fn let_go(kernel: &Kernel, threads: &[Tid], mut stops: Vec<RawStop>) {
    let mut running = threads.to_vec();
    running.retain(|&tid| stops.iter().all(|stop| stop.tid != Some(tid)));
    stops.extend(stop_all(kernel, &running).0);
    for stop in stops {
        let signal = match stop.kind {
            RawKind::Stop(RawReason::Signal { signal, .. }) => Some(signal),
            _ => None,
        };
        if let Some(tid) = stop.tid {
            // An error says that it has ended.
            let _ = kernel.detach(tid, signal);
        }
    }
}

/// Stops running threads, and gives the stop or the end of each. A thread that the kernel holds is
/// left out, and stops later; they are given, too. One that is the first, and has ended before the
/// others, is neither.
fn stop_all(kernel: &Kernel, threads: &[Tid]) -> (Vec<RawStop>, Vec<Tid>) {
    let (mut stops, mut held) = (Vec::new(), Vec::new());
    let mut waiting = threads.to_vec();
    // A thread in a group-stop is there already, and would keep an interrupt for later.
    waiting.retain(|&tid| match kernel.look(tid) {
        Ok(Some(status)) => {
            stops.push(decode::stop(tid, status));
            false
        }
        _ => kernel.interrupt(tid).is_ok(),
    });
    let begin = Instant::now();
    let [mut pause, longest] = PAUSES;
    let mut states = HELD;
    loop {
        waiting.retain(|&tid| match kernel.look(tid) {
            Ok(None) => true,
            Ok(Some(status)) => {
                stops.push(decode::stop(tid, status));
                false
            }
            Err(_) => false,
        });
        let spent = begin.elapsed();
        if spent > states {
            states = 2 * spent; // each is a file
            waiting.retain(|&tid| match process::state(kernel, tid) {
                Ok(Some(b'D')) => {
                    held.push(tid);
                    false
                }
                state => !matches!(state, Ok(Some(b'Z' | b'X'))),
            });
        }
        if waiting.is_empty() || spent > STOP {
            held.extend(waiting);
            return (stops, held);
        }
        thread::sleep(pause);
        pause = longest.min(2 * pause);
    }
}

/// What to tell about a refused `PTRACE_SEIZE`.
pub(crate) fn refusal(kernel: &Kernel, tid: Tid, refusal: io::Error) -> Error {
    match refusal.raw_os_error() {
        Some(libc::EPERM | libc::EACCES | libc::ENOSYS) if kernel.is_ptrace_refused() => {
            return refused::by_filter(Pid::from_raw(tid.as_raw()));
        }
        Some(libc::EPERM | libc::EACCES) => {}
        _ => return error("PTRACE_SEIZE", tid.as_raw(), refusal),
    }
    let (pid, own) = (Pid::from_raw(tid.as_raw()), std::process::id() as i32);
    let theirs = match process::status(kernel, tid.as_raw()) {
        Ok(Some(theirs)) => theirs,
        Ok(None) => return refused::unexplained(pid),
        Err(error) => return error,
    };
    let Ok(Some(ours)) = process::status(kernel, own) else {
        return refused::unexplained(pid);
    };
    if theirs.has_ended() {
        return Error::GONE;
    }
    let tracer = |status: &Status| {
        let name = process::name(kernel, status.tracer).unwrap_or_default();
        (status.tracer, name)
    };
    Refused {
        pid: theirs.tgid,
        own,
        tracer: (theirs.tracer != 0).then(|| tracer(&theirs)),
        is_kernel_thread: process::is_kernel_thread(kernel, tid.as_raw()),
        by_module: refusal.raw_os_error() == Some(libc::EACCES),
        user: theirs.user,
        own_user: ours.user,
        own_capabilities: ours.capabilities,
        yama: process::yama(kernel),
    }
    .error()
}
