//! The back end: what it keeps from one request to the next.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use trapline_core::backend::RawStop;
use trapline_core::{Backend, Error, Result, Tid};

use crate::decode::SigInfo;
use crate::pairs::Pairs;
use crate::regs::KnownRegisters;
use crate::run::Killed;
use crate::spawn::Spawner;
use crate::sys::{self, Event, Kernel, Queue};
use crate::tracee::Tracee;
use crate::turn::Turn;
use crate::waiter::Waiter;
use crate::waker::WakePipe;

/// The requests of FreeBSD's kernel.
///
/// # Platform notes
///
/// * FreeBSD traces for a process, not for a thread, so there is one in a process.
/// * The host may block SIGCHLD, or ask for none when a child stops; none of that matters. One that
///   ignores it, or wants no zombies, gets all events too, but the kernel then gives the zombies of
///   its tracees to their reaper, so that their real parents wait in vain, and may do so for ever.
/// * The host must not wait for a tracee itself, nor for everybody: that takes our stops.
/// * A process that was stopped by a signal runs on when it is attached to.
/// * The real parent of a detached process may hear that it continues; one that wants no
///   zombies gets those of its traced children all the same; and a reaper that has got a traced
///   process waits for it in vain (ECHILD) until its tracer has seen its end.
/// * A process whose end is reported by another signal than SIGCHLD (`rfork(2)`, RFTSIGZMB) sends that
///   to its tracer, which the host then has to ignore or to handle.
/// * An exec under [`EventFlags::EXIT`](trapline_core::EventFlags::EXIT) or the end of a
///   process has no stop of its own; LWPs that end before the last one have.
/// * A process that is killed while one of its threads execs may survive it (`exit1` in
///   `kern_exit.c` gives way to `post_execve` in `kern_exec.c`, traced or not). The kernel takes
///   it for killed, so that it heeds no signal and stops no more: nothing is reported of it but
///   its end, and what it makes is not traced.
/// * `is_uninterruptible` is asked of `kern.proc`, which says only what is so at that moment.
#[derive(Debug)]
pub struct FreeBsd {
    /// The registers that were read or written last, until a process runs.
    pub(crate) known_registers: Option<KnownRegisters>,
    /// Where the last step has ended.
    pub(crate) last_step: Option<(Tid, u64)>,
    /// What a thread was stopped for that was brought back from a detour.
    pub(crate) kept_signal: Option<(Tid, SigInfo)>,
    pub(crate) kernel: Kernel,
    pub(crate) queue: Arc<Queue>,
    pub(crate) tracees: BTreeMap<i32, Tracee>,
    /// How many of them have ends that are reported by another signal than SIGCHLD, and so take other
    /// waits.
    pub(crate) with_other_signal: usize,
    /// What was found on the way to something else, or is owed.
    pub(crate) ready: VecDeque<RawStop>,
    /// Stops that the kernel has not let us ask about, as pids and wait statuses.
    pub(crate) unread: Vec<(i32, i32)>,
    /// New processes of which only one of the two reports has come.
    pub(crate) pairs: Pairs,
    /// The real parents that processes had when they ended, until the engine forgets them.
    pub(crate) parents_at_end: BTreeMap<i32, i32>,
    pub(crate) turn: Turn,
    /// Those that were killed, and have not ended.
    pub(crate) killed: Vec<Killed>,
    /// A buffer.
    pub(crate) found: Vec<Event>,
    pub(crate) wake_pipe: Option<Arc<WakePipe>>,
    /// A waker has written to it, and no wait has reported that yet.
    pub(crate) woken: bool,
    pub(crate) waiter: Option<Waiter>,
    pub(crate) spawner: Option<Spawner>,
    /// Programs are not laid out at random.
    pub(crate) fixed_addresses: bool,
    /// The process that made it.
    owner: u32,
    _only: OnlyOne,
}

impl FreeBsd {
    /// The back end of this process. A second is refused: all stops go to the process, so that two
    /// would take each other's.
    pub(crate) fn new() -> Result<Self> {
        let only = OnlyOne::take()
            .ok_or(Error::unsupported("a second tracer in one process", FreeBsd::SYSTEM))?;
        let queue = Queue::new().map_err(|source| Error::os("kqueue", -1, source))?;
        let mut freebsd = FreeBsd {
            kernel: Kernel::default(),
            queue: Arc::new(queue),
            known_registers: None,
            last_step: None,
            kept_signal: None,
            tracees: BTreeMap::new(),
            with_other_signal: 0,
            ready: VecDeque::new(),
            unread: Vec::new(),
            pairs: Pairs::default(),
            parents_at_end: BTreeMap::new(),
            turn: Turn::default(),
            killed: Vec::new(),
            found: Vec::new(),
            wake_pipe: None,
            woken: false,
            waiter: None,
            spawner: None,
            fixed_addresses: false,
            owner: std::process::id(),
            _only: only,
        };
        if sys::child_stops_are_silent() {
            freebsd.start_waiter();
        }
        Ok(freebsd)
    }
}

impl Drop for FreeBsd {
    fn drop(&mut self) {
        if self.owner != std::process::id() {
            // A fork of the host has a copy, but no queue: its number may be another file's.
            std::mem::forget(Arc::clone(&self.queue));
        }
    }
}

/// The right to be the one tracer of this process.
#[derive(Debug)]
struct OnlyOne;

static TAKEN: AtomicBool = AtomicBool::new(false);

impl OnlyOne {
    fn take() -> Option<OnlyOne> {
        (!TAKEN.swap(true, Ordering::AcqRel)).then_some(OnlyOne)
    }
}

impl Drop for OnlyOne {
    fn drop(&mut self) {
        TAKEN.store(false, Ordering::Release);
    }
}
