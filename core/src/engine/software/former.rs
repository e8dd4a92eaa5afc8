//! Breakpoints of processes that have ended, exec'ed or been detached. A child forked just before may
//! still have them in its memory.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Instant;

use crate::address_space::Shared;
use crate::backend::Thread;
use crate::limits::{BORN_WITHIN, REMEMBERED};
use crate::{Backend, ForkKind, Pid};

use super::super::{Engine, ProcessHandle};

/// The memory of a process that does not have it any more, or is not traced.
pub(super) struct Former {
    pid: Pid,
    /// A thread that it had, if any was left.
    thread: Option<Thread>,
    /// If it had any breakpoints.
    space: Option<Shared>,
    detached: bool,
    since: Instant,
}

impl<B: Backend> Engine<B> {
    /// A process is about to lose its memory, or to be detached.
    pub(in crate::engine) fn keep_former_image(&mut self, process: ProcessHandle, detached: bool) {
        let entry = self.table.process(process);
        let first = entry.threads.first().map(|&index| self.table.slot(index).thread);
        let leader = || B::first_thread(entry.pid).map(|tid| Thread { pid: entry.pid, tid });
        let thread = first.or_else(leader);
        let space = entry.space.as_ref().filter(|space| !space.borrow().is_empty());
        // As it is now, for it is given up soon.
        let space = space.map(|space| Rc::new(RefCell::new(space.borrow().clone())));
        if space.is_none() && !detached {
            return;
        }
        let former = &mut self.software.former;
        former.retain(|former| former.since.elapsed() < BORN_WITHIN);
        if former.len() == REMEMBERED {
            former.remove(0);
        }
        former.push(Former { pid: entry.pid, thread, space, detached, since: Instant::now() });
    }

    /// The breakpoints of those processes.
    pub(in crate::engine) fn former_spaces(&mut self) -> Vec<(Pid, Shared)> {
        let former = &mut self.software.former;
        former.retain(|former| former.since.elapsed() < BORN_WITHIN);
        former.iter().filter_map(|former| Some((former.pid, former.space.clone()?))).collect()
    }

    /// A process whose memory a child has that its maker did not tell of, and that is detached or on its
    /// way to being so.
    pub(in crate::engine) fn lent_by_detached(
        &mut self,
        child: Thread,
        kind: ForkKind,
    ) -> Option<Pid> {
        let detached = self.software.former.iter().filter(|former| former.detached);
        let mut makers: Vec<Thread> = detached.filter_map(|former| former.thread).collect();
        let leaving = self.table.processes().filter(|(_, process)| process.is_detaching());
        let leaving = leaving.filter_map(|(_, process)| process.threads.first());
        makers.extend(leaving.map(|&index| self.table.slot(index).thread));
        for maker in makers {
            let shares = match self.backend.get_mut().shares_memory(maker, child) {
                Err(error) => {
                    self.failures.note(child.pid, error);
                    None
                }
                Ok(shares) => shares,
            };
            if kind == ForkKind::Vfork || shares == Some(true) {
                return Some(maker.pid);
            }
        }
        None
    }
}
