//! On which CPUs a tracer and its tracees run.
//!
//! What is placed remembers nothing itself: a new thread or process starts where its maker was
//! put, by the kernel's own rule. So all that is kept is where each would be without us, its
//! *home*. The home of a spawned process is the tracer's own; that of an attached process is read from
//! the kernel. Children inherit it.

use std::rc::Rc;

use rustc_hash::FxHashSet;

use crate::backend::Thread;
use crate::error::unless_gone;
use crate::{Backend, CpuSet, Error, Pid, Placement, Result, Tid};

use super::{Engine, ProcessHandle};

/// More CPUs than any kernel knows.
const CPUS: u32 = 1 << 20;

/// What a tracer knows of where things run.
#[derive(Debug, Default)]
pub(super) struct Placing {
    placement: Placement,
    placed: Option<Placed>,
}

/// The tracer's thread was put on a CPU.
#[derive(Debug)]
struct Placed {
    shared: CpuSet,
    /// Where the tracer's thread was before, and what it spawns would be.
    own: Rc<CpuSet>,
    /// Homes of children that are to be detached at their first stop.
    leaving: Vec<(Pid, Rc<CpuSet>)>,
}

impl Placing {
    pub(super) fn new(placement: Placement) -> Self {
        Placing { placement, placed: None }
    }
}

impl<B: Backend> Engine<B> {
    /// Puts the tracer's thread on its CPU, before there is a tracee: what it spawns, and the
    /// threads that a back end makes for itself, start there.
    pub(super) fn place_tracer(&mut self) -> Result<()> {
        if self.placing.placement == Placement::LeaveAlone || self.placing.placed.is_some() {
            return Ok(());
        }
        let own = self.backend.get_mut().cpus(None)?;
        let cpu = match self.placing.placement {
            Placement::ShareCpuOf(cpu) if cpu < CPUS => cpu,
            Placement::ShareCpuOf(_) => {
                let what = "a CPU of so high a number";
                return Err(Error::unsupported(what, B::SYSTEM));
            }
            _ => self.backend.get_mut().current_cpu()?,
        };
        let shared = CpuSet::one(cpu);
        self.backend.get_mut().set_cpus(None, &shared)?;
        self.placing.placed = Some(Placed { shared, own: Rc::new(own), leaving: Vec::new() });
        Ok(())
    }

    /// Puts a process on the CPU that was attached to. One that the kernel does not let us move,
    /// for lack of privileges or because its cpuset is another, stays where it is.
    pub(super) fn place_attached(&mut self, process: ProcessHandle) {
        let Some(Placed { shared, own, .. }) = &self.placing.placed else { return };
        let (shared, mut last) = (shared.clone(), Rc::clone(own));
        let pid = self.table.process(process).pid;
        let mut done: FxHashSet<Tid> = FxHashSet::default();
        // A thread that another one makes meanwhile starts where that one was. (One that is being
        // made at the very moment can still be missed; it runs elsewhere, and is not harmed.)
        while let Ok(threads) = self.backend.get_mut().threads(pid) {
            let new: Vec<Tid> = threads.into_iter().filter(|tid| !done.contains(tid)).collect();
            if new.is_empty() {
                break;
            }
            for tid in new {
                done.insert(tid);
                let thread = Thread { pid, tid };
                let Ok(home) = self.backend.get_mut().cpus(Some(thread)) else { continue };
                if home == shared || self.backend.get_mut().set_cpus(Some(thread), &shared).is_err()
                {
                    continue;
                }
                if home != *last {
                    last = Rc::new(home);
                }
                if let Some(index) = self.table.find_thread_of(pid, tid) {
                    self.table.slot_mut(index).home = Some(Rc::clone(&last));
                }
            }
        }
    }

    /// The home of a process: that of any thread of it that has one.
    pub(super) fn home_of(&self, process: ProcessHandle) -> Option<Rc<CpuSet>> {
        self.placing.placed.as_ref()?;
        let threads = &self.table.process(process).threads;
        threads.iter().find_map(|&i| self.table.slot(i).home.clone())
    }

    /// The home of what a process makes.
    pub(super) fn home_under(&self, parent: Option<Pid>) -> Option<Rc<CpuSet>> {
        self.placing.placed.as_ref()?;
        self.home_of(self.table.find_process(parent?)?)
    }

    /// A child is to be detached, and its parent perhaps before it.
    pub(super) fn keep_home(&mut self, child: Pid, parent: Pid) {
        let home = self.home_under(Some(parent));
        if let (Some(placed), Some(home)) = (&mut self.placing.placed, home) {
            placed.leaving.push((child, home));
        }
    }

    /// Puts a process back to where it would be without us, which is about to be detached: on Linux
    /// one thread of it. What has moved itself meanwhile stays there.
    pub(super) fn put_back(&mut self, thread: Thread) {
        let Some(Placed { shared, own, leaving }) = &mut self.placing.placed else { return };
        let (shared, own) = (shared.clone(), Rc::clone(own));
        let left = leaving.iter().position(|&(pid, _)| pid == thread.pid);
        let left = left.map(|at| leaving.swap_remove(at).1);
        let process = self.table.find_process(thread.pid);
        let mut default = None; // it takes a look at all threads, and mostly is not needed
        for tid in self.placed_with(thread) {
            let thread = Thread { pid: thread.pid, tid };
            let slot = self.table.find_thread_of(thread.pid, tid);
            let home = slot.and_then(|index| self.table.slot(index).home.clone());
            let home = home.unwrap_or_else(|| {
                let others = || left.clone().or_else(|| self.home_of(process?));
                let default = default.get_or_insert_with(|| others().unwrap_or(Rc::clone(&own)));
                Rc::clone(default)
            });
            if self.backend.get_mut().cpus(Some(thread)).is_ok_and(|cpus| cpus == shared) {
                // Gone, or not to be moved any more: nothing that the user could do about it.
                let _ = unless_gone(self.backend.get_mut().set_cpus(Some(thread), &home));
            }
        }
    }

    /// Puts the tracer's thread back, unless the host has moved it meanwhile.
    pub(super) fn put_back_tracer(&mut self) {
        let Some(placed) = self.placing.placed.take() else { return };
        if self.backend.get_mut().cpus(None).is_ok_and(|cpus| cpus == placed.shared) {
            let _ = self.backend.get_mut().set_cpus(None, &placed.own);
        }
    }
}
