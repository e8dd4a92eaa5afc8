//! The back end: what it keeps from one request to the next.

use std::cell::Cell;
use std::collections::{HashMap, VecDeque};
use std::marker::PhantomData;
use std::sync::atomic::Ordering;

use trapline_core::backend::{Backend, RawStop};
use trapline_core::{Error, ForkKind, Pid, Result, Tid};

use crate::ext::BpfInstruction;
use crate::memory::Memory;
use crate::settle::Unsettled;
use crate::spawn::Spawner;
use crate::sys::Kernel;
use crate::waiter::{self, Waiter};
use crate::waker::WakeHelper;

thread_local! {
    /// Whether this thread has a back end.
    static IN_USE: Cell<bool> = const { Cell::new(false) };
}

/// The tracees of one thread.
///
/// When it is dropped its threads and its wake helper end; its tracees stay as they are until the
/// thread itself ends.
#[derive(Debug)]
pub struct Linux {
    pub(crate) kernel: Kernel,
    pub(crate) memory: Memory,
    pub(crate) spawner: Option<Spawner>,
    /// For the next program that is started.
    pub(crate) filter: Option<Vec<BpfInstruction>>,
    /// Programs are not laid out at random.
    pub(crate) fixed_addresses: bool,
    /// What was waited for while a tracee made a system call for the tracer.
    pub(crate) early: VecDeque<RawStop>,
    /// A waker has called meanwhile.
    pub(crate) woken: bool,
    /// Threads whose stop is inside a system call that they have left since, and whose exit is still
    /// to be told if it is asked for.
    pub(crate) left_calls: Vec<Tid>,
    /// Where each process has the instruction that makes a system call.
    pub(crate) call_instructions: HashMap<Pid, u64>,
    pub(crate) wake_helper: Option<WakeHelper>,
    pub(crate) waiter: Option<Waiter>,
    /// The last fork that a wait has reported, for [`Backend::new_task`] to ask the right question
    /// first.
    pub(crate) last_fork: Option<(Tid, ForkKind)>,
    /// The thread that was asked about last, if it had made a step, and where that has ended.
    pub(crate) last_step: Option<(Tid, u64)>,
    /// Processes that were attached to, and may have threads that are not traced.
    pub(crate) unsettled: Vec<Unsettled>,
    /// Such threads, until their first stop.
    pub(crate) late: Vec<(Tid, Pid)>,
    /// The process that made it: a fork of the host has a copy, and must not act on it.
    owner: u32,
    /// ptrace takes requests from the tracer's thread alone.
    not_send: PhantomData<*const ()>,
}

impl Linux {
    /// The back end of this thread.
    pub(crate) fn new() -> Result<Self> {
        if IN_USE.replace(true) {
            return Err(Error::unsupported("a second tracer on one thread", Linux::SYSTEM));
        }
        waiter::TRACERS.fetch_add(1, Ordering::Relaxed);
        Ok(Self {
            kernel: Kernel::open(),
            memory: Memory::default(),
            spawner: None,
            filter: None,
            fixed_addresses: false,
            early: VecDeque::new(),
            woken: false,
            left_calls: Vec::new(),
            call_instructions: HashMap::new(),
            wake_helper: None,
            waiter: None,
            last_fork: None,
            last_step: None,
            unsettled: Vec::new(),
            late: Vec::new(),
            owner: std::process::id(),
            not_send: PhantomData,
        })
    }
}

impl Drop for Linux {
    fn drop(&mut self) {
        // It may be dropped while the thread's own data is, and then there is no next one.
        let _ = IN_USE.try_with(|in_use| in_use.set(false));
        if self.owner != std::process::id() {
            return;
        }
        waiter::TRACERS.fetch_sub(1, Ordering::Relaxed);
        if let Some(waiter) = self.waiter.take() {
            waiter.end(|| {
                self.wake_helper.as_ref().is_some_and(|helper| helper.expire(&self.kernel))
            });
        }
        if let Some(helper) = self.wake_helper.take() {
            helper.end(&self.kernel);
        }
        if let Some(spawner) = self.spawner.take() {
            spawner.end();
        }
    }
}
