//! Tracing a running process.
//!
//! `PTRACE_SEIZE` waits for a lock that an exec of the process holds (`cred_guard_mutex`). If one
//! of its threads execs while we are at it, the exec waits until its other threads are gone, those
//! that we have seized already among them; and these are gone only when their tracer has waited
//! for them, which cannot, for it waits for the lock. So a second thread of ours watches: whenever
//! the first takes long it takes the ends of the threads that were seized, and the exec goes on.
//! For the same reason no thread of several is seized with `PTRACE_O_TRACEEXIT`, whose stop only
//! the tracer itself could end; the threads are stopped for a moment to set it.

use std::collections::HashSet;
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use trapline_core::backend::{RawAttach, RawKind, RawReason, RawStop, Run, Setup};
use trapline_core::{Error, EventFlags, Pid, Result, Tid};

use crate::process::{self, Status};
use crate::refused::{self, Refused};
use crate::sys::{Kernel, error, own_tid};
use crate::{Linux, decode};

/// After how long the watching thread looks for ends.
const WATCH: Duration = Duration::from_millis(20);
/// How long to wait for threads to stop. One that the kernel holds may take for ever.
const STOP: Duration = Duration::from_millis(200);
/// Between two looks at threads that are to stop.
const PAUSE: Duration = Duration::from_micros(200);

/// The threads that were seized so far, for the watching thread to look at.
type Seized = Mutex<Vec<Tid>>;

impl Linux {
    pub(crate) fn trace(&mut self, pid: Pid, setup: Setup) -> Result<RawAttach> {
        let kernel = &self.kernel;
        let status = process::status(kernel, pid.as_raw())?;
        if status.tgid != pid.as_raw() {
            return Err(refused::thread_of(pid, status.tgid));
        }
        let options = decode::options(setup) & !libc::PTRACE_O_TRACEEXIT;
        let seized = Seized::default();
        let (done, watch) = channel::<()>();
        let (result, mut meanwhile) = thread::scope(|scope| {
            // Without a second thread there is still the first.
            let watcher =
                thread::Builder::new().name("trapline-attach".into()).spawn_scoped(scope, {
                    let seized = &seized;
                    move || take_ends(seized, &watch)
                });
            let result = seize_all(kernel, pid, options, &seized);
            drop(done);
            let ends = watcher.ok().and_then(|watcher| watcher.join().ok());
            (result, ends.unwrap_or_default())
        });
        let threads = seized.into_inner().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = result {
            let_go(kernel, &threads);
            return Err(error);
        }
        if threads.is_empty() {
            // Each has ended.
            return Err(Error::Gone);
        }
        if setup.flags.contains(EventFlags::EXIT) {
            report_exits(kernel, &threads, setup, &mut meanwhile);
        }
        if !has_stop(&meanwhile) {
            stop_one(kernel, &threads)?;
        }
        Ok(RawAttach { threads, real_parent: Some(Pid::from_raw(status.ppid)), meanwhile })
    }
}

/// Seizes the threads of a process until there are no new ones. One that was born of a seized
/// thread is traced from the start.
fn seize_all(kernel: &Kernel, pid: Pid, options: i32, seized: &Seized) -> Result<()> {
    let first = Tid::from_raw(pid.as_raw());
    let mut seen = HashSet::new();
    loop {
        let listed = match process::threads(kernel, pid) {
            Ok(listed) => listed,
            // It has ended meanwhile: what was seized tells of it.
            Err(Error::Gone) => return Ok(()),
            Err(error) => return Err(error),
        };
        let before = lock(seized).len();
        for &tid in &listed {
            if seen.insert(tid) && seize(kernel, tid, options)? {
                lock(seized).push(tid);
            }
        }
        if lock(seized).len() > before {
            continue;
        }
        // A thread that has exec'ed meanwhile has become the first, by its id too.
        match process::status(kernel, pid.as_raw()) {
            Ok(status) if status.tracer == own_tid() => {
                let mut seized = lock(seized);
                seized.retain(|tid| listed.contains(tid) && *tid != first);
                seized.insert(0, first);
                return Ok(());
            }
            Ok(status) if !status.has_ended() => drop(seen.remove(&first)),
            Ok(_) | Err(Error::Gone) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

/// How often a refusal that nothing explains is tried again: what was refused may have been the
/// old first thread of a process that has exec'ed since.
const TRIES: usize = 10;

/// Whether the thread is traced now; if not, it has ended.
fn seize(kernel: &Kernel, tid: Tid, options: i32) -> Result<bool> {
    let mut tries = TRIES;
    loop {
        let refusal = match kernel.seize(tid, options) {
            Ok(()) => return Ok(true),
            Err(e) => e,
        };
        tries -= 1;
        match refusal.raw_os_error() {
            Some(libc::ESRCH) => return Ok(false),
            Some(libc::EPERM) => match process::status(kernel, tid.as_raw()) {
                Ok(status) if status.tracer == own_tid() => return Ok(true),
                Ok(status) if status.has_ended() => return Ok(false),
                Ok(status) if status.tracer == 0 && tries > 0 => {}
                Ok(_) => return Err(self::refusal(kernel, tid, refusal)),
                Err(Error::Gone) => return Ok(false),
                Err(error) => return Err(error),
            },
            _ => return Err(error("PTRACE_SEIZE", tid.as_raw(), refusal)),
        }
    }
}

/// Runs on the watching thread.
fn take_ends(seized: &Seized, done: &Receiver<()>) -> Vec<RawStop> {
    let kernel = Kernel::default();
    let mut ends = Vec::new();
    while let Err(RecvTimeoutError::Timeout) = done.recv_timeout(WATCH) {
        for &tid in &*lock(seized) {
            if let Ok(Some(status)) = kernel.take_end(tid) {
                ends.push(decode::stop(tid, status));
            }
        }
    }
    ends
}

fn lock(seized: &Seized) -> std::sync::MutexGuard<'_, Vec<Tid>> {
    seized.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Has one thread stop, the first if it can. One that job control has stopped does by itself.
fn stop_one(kernel: &Kernel, threads: &[Tid]) -> Result<()> {
    for &tid in threads {
        match process::state(kernel, tid) {
            Ok(b'Z' | b'X' | b'x') | Err(Error::Gone) => continue,
            Ok(b'T' | b't') => return Ok(()),
            Ok(_) => {}
            Err(error) => return Err(error),
        }
        match kernel.interrupt(tid) {
            Ok(()) => return Ok(()),
            Err(Error::Gone) => {}
            Err(error) => return Err(error),
        }
    }
    // All have ended, and say so at the next wait.
    Ok(())
}

/// Sets all options, that for exit stops among them, at a short stop of each thread. One thread
/// stays stopped, and each that has something else to say; these stops go to `meanwhile`.
fn report_exits(kernel: &Kernel, threads: &[Tid], setup: Setup, meanwhile: &mut Vec<RawStop>) {
    let options = decode::options(setup);
    stop_each(kernel, threads, |tid, stop| {
        // An error says that it is gone; its end comes by itself.
        let is_set = kernel.set_options(tid, options).is_ok();
        if is_set && stop.kind == PAUSED && has_stop(meanwhile) {
            let _ = kernel.resume(tid, Run::Continue, None);
        } else {
            meanwhile.push(stop);
        }
    });
}

fn has_stop(stops: &[RawStop]) -> bool {
    stops.iter().any(|stop| matches!(stop.kind, RawKind::Stop(_)))
}

/// Lets threads go that were seized in vain.
fn let_go(kernel: &Kernel, threads: &[Tid]) {
    stop_each(kernel, threads, |tid, stop| {
        let signal = match stop.kind {
            RawKind::Stop(RawReason::Signal { signal, .. }) => Some(signal),
            _ => None,
        };
        let _ = kernel.detach(tid, signal);
    });
}

const PAUSED: RawKind = RawKind::Stop(RawReason::Paused);

/// Stops running threads and gives each stop, or end, as it comes. A thread that the kernel holds
/// is left out.
fn stop_each(kernel: &Kernel, threads: &[Tid], mut then: impl FnMut(Tid, RawStop)) {
    let mut waiting = threads.to_vec();
    // A thread in a group-stop needs no interrupt, and would keep it for later.
    waiting.retain(|&tid| {
        matches!(process::state(kernel, tid), Ok(b'T' | b't')) || kernel.interrupt(tid).is_ok()
    });
    let deadline = Instant::now() + STOP;
    loop {
        waiting.retain(|&tid| match kernel.try_wait(tid) {
            Ok(None) => true,
            Ok(Some(status)) => {
                then(tid, decode::stop(tid, status));
                false
            }
            Err(_) => false,
        });
        if waiting.is_empty() || Instant::now() >= deadline {
            return;
        }
        thread::sleep(PAUSE);
    }
}

/// What to tell about a refused `PTRACE_SEIZE`.
pub(crate) fn refusal(kernel: &Kernel, tid: Tid, refusal: io::Error) -> Error {
    if refusal.raw_os_error() != Some(libc::EPERM) {
        return error("PTRACE_SEIZE", tid.as_raw(), refusal);
    }
    let own = std::process::id() as i32;
    let (theirs, ours) = match (process::status(kernel, tid.as_raw()), process::status(kernel, own))
    {
        (Ok(theirs), Ok(ours)) => (theirs, ours),
        _ => return Error::Gone,
    };
    if theirs.has_ended() {
        return Error::Gone;
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
        user: theirs.user,
        own_user: ours.user,
        own_capabilities: ours.capabilities,
        yama: process::yama(kernel),
    }
    .error()
}
