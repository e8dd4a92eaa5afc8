//! The tables of threads and processes.

use std::cell::RefCell;
use std::sync::atomic::{AtomicU32, Ordering};

use rustc_hash::FxHashMap;

use crate::arena::{Arena, OfProcess, ProcessHandle, make_room};
use crate::backend::{Run, Thread};
use crate::stopped::Place;
use crate::{Pid, SignalSet, Tid};

use super::process::{First, Process};
use super::software::Soft;
use super::thread::{CallSide, Delivery, Hold, Intent, Interrupt, Reported, Slot, State, StopKind};

/// How many tables there were in this process.
static TABLES: AtomicU32 = AtomicU32::new(0);

/// Both tables. Indices are stable; the places of what is gone are used again.
pub(super) struct Table {
    /// Tells the places of this table from those of another tracer's.
    number: u32,
    slots: Vec<Slot>,
    free_slots: Vec<u32>,
    by_tid: FxHashMap<Tid, u32>,
    processes: Arena<Process, OfProcess>,
    by_pid: FxHashMap<Pid, ProcessHandle>,
}

impl Default for Table {
    fn default() -> Self {
        Table {
            number: TABLES.fetch_add(1, Ordering::Relaxed),
            slots: Vec::new(),
            free_slots: Vec::new(),
            by_tid: FxHashMap::default(),
            processes: Arena::default(),
            by_pid: FxHashMap::default(),
        }
    }
}

impl Table {
    #[inline]
    pub(super) fn find_thread(&self, tid: Tid) -> Option<u32> {
        self.by_tid.get(&tid).copied()
    }

    /// The same, if it is a thread of this process. An id can be another thread's already, while
    /// the end of the process that had it before is still to be reported (FreeBSD).
    #[inline]
    pub(super) fn find_thread_of(&self, pid: Pid, tid: Tid) -> Option<u32> {
        self.find_thread(tid).filter(|&index| self.slot(index).thread.pid == pid)
    }

    #[inline]
    pub(super) fn find_process(&self, pid: Pid) -> Option<ProcessHandle> {
        self.by_pid.get(&pid).copied()
    }

    /// The slot of a thread; the index is one that a table look-up gave.
    #[inline]
    pub(super) fn slot(&self, index: u32) -> &Slot {
        &self.slots[index as usize]
    }

    #[inline]
    pub(super) fn slot_mut(&mut self, index: u32) -> &mut Slot {
        &mut self.slots[index as usize]
    }

    /// The slot at a place, if its thread is still the same and at the same stop.
    #[inline]
    pub(super) fn at(&self, place: Place) -> Option<&Slot> {
        let slot = self.slots.get(place.index as usize).filter(|_| self.owns(place));
        slot.filter(|slot| slot.generation == place.generation)
    }

    /// Whether a place is one of this table at all.
    #[inline]
    pub(super) fn owns(&self, place: Place) -> bool {
        place.tracer == self.number
    }

    #[inline]
    pub(super) fn place(&self, index: u32) -> Place {
        Place { tracer: self.number, index, generation: self.slot(index).generation }
    }

    /// A process that is known to be in the table, as it is as long as it has threads.
    #[inline]
    pub(super) fn process(&self, process: ProcessHandle) -> &Process {
        self.processes.get(process).expect("a process lives as long as its threads")
    }

    #[inline]
    pub(super) fn process_mut(&mut self, process: ProcessHandle) -> &mut Process {
        self.processes.get_mut(process).expect("a process lives as long as its threads")
    }

    /// Whether a process has not ended, and was not detached. It may do either while anything is
    /// asked of the kernel.
    #[inline]
    pub(super) fn is_there(&self, process: ProcessHandle) -> bool {
        self.processes.get(process).is_some_and(|process| !process.has_ended())
    }

    /// Whether a thread is its process's first, whose birth and death are the process's.
    #[inline]
    pub(super) fn is_first(&self, index: u32) -> bool {
        let slot = self.slot(index);
        self.process(slot.process).first == First::This(slot.thread.tid)
    }

    #[inline]
    pub(super) fn process_of(&self, slot: u32) -> &Process {
        self.process(self.slot(slot).process)
    }

    pub(super) fn processes(&self) -> impl Iterator<Item = (ProcessHandle, &Process)> {
        self.processes.iter()
    }

    /// Those that have not ended.
    pub(super) fn living(&self) -> impl Iterator<Item = (ProcessHandle, &Process)> {
        self.processes.iter().filter(|(_, process)| !process.has_ended())
    }

    /// The same, for what may change the table.
    pub(super) fn all_living(&self) -> Vec<ProcessHandle> {
        self.living().map(|(process, _)| process).collect()
    }

    /// How many threads there are.
    #[inline]
    pub(super) fn threads(&self) -> usize {
        self.by_tid.len()
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.by_pid.is_empty()
    }

    /// Adds a process; one that had the same pid has ended, and is only still being shown.
    pub(super) fn add_process(&mut self, process: Process) -> ProcessHandle {
        let pid = process.pid;
        if let Some(parent) = process.real_parent.and_then(|p| self.find_process(p)) {
            let parent = self.process_mut(parent);
            (parent.children, parent.other_candidates) =
                (parent.children + 1, parent.other_candidates.saturating_add(1));
        }
        let handle = self.processes.insert(process);
        self.by_pid.insert(pid, handle);
        handle
    }

    pub(super) fn set_real_parent(&mut self, process: ProcessHandle, to: Option<Pid>) {
        let from = self.process(process).real_parent;
        if from == to {
            return;
        }
        if let Some(old) = from.and_then(|p| self.find_process(p)) {
            let children = &mut self.process_mut(old).children;
            *children = children.saturating_sub(1);
        }
        if let Some(new) = to.and_then(|p| self.find_process(p)) {
            let new = self.process_mut(new);
            (new.children, new.other_candidates) =
                (new.children + 1, new.other_candidates.saturating_add(1));
        }
        self.process_mut(process).real_parent = to;
    }

    /// Takes a process out, with the threads that are left of it.
    pub(super) fn remove_process(&mut self, process: ProcessHandle) -> Option<Process> {
        self.set_real_parent(process, None);
        for slot in std::mem::take(&mut self.process_mut(process).threads) {
            self.retire(slot);
        }
        self.release_pid(process);
        self.processes.remove(process)
    }

    /// A pid may be used again as soon as its end was waited for, though the end may still have
    /// to be shown.
    pub(super) fn release_pid(&mut self, process: ProcessHandle) {
        let pid = self.process(process).pid;
        if self.by_pid.get(&pid) == Some(&process) {
            self.by_pid.remove(&pid);
        }
    }

    pub(super) fn add_thread(&mut self, process: ProcessHandle, tid: Tid, state: State) -> u32 {
        let thread = Thread { pid: self.process(process).pid, tid };
        // It begins where its maker is.
        let space = self.process(process).space.as_ref();
        let in_slot = space.is_some_and(|space| space.borrow().has_slots());
        let mut slot = Slot {
            generation: 0,
            thread,
            process,
            state,
            stop: StopKind::Other,
            made: None,
            next: None,
            before: None,
            interrupt: Interrupt::None,
            hold: Hold::Free,
            kept: None,
            delivery: Delivery::Kernel,
            injected: SignalSet::default(),
            run: Run::Continue,
            intent: Intent::Event,
            deferred: None,
            applied: None,
            call_side: CallSide::Outside,
            call: RefCell::default(),
            reported: Reported::Nothing,
            home: None,
            debug: None,
            soft: Soft::starting(in_slot),
        };
        let entry = self.process_mut(process);
        if entry.first == First::ToCome {
            entry.first = First::This(tid);
        }
        let index = match self.free_slots.pop() {
            Some(index) => {
                let old = &mut self.slots[index as usize];
                slot.generation = old.generation.wrapping_add(1);
                *old = slot;
                index
            }
            None => {
                make_room(&mut self.slots);
                self.slots.push(slot);
                (self.slots.len() - 1) as u32
            }
        };
        self.by_tid.insert(tid, index);
        self.process_mut(process).threads.push(index);
        index
    }

    /// A tid may be used again as soon as the thread's end was waited for.
    pub(super) fn release_tid(&mut self, index: u32) {
        let tid = self.slot(index).thread.tid;
        if self.by_tid.get(&tid) == Some(&index) {
            self.by_tid.remove(&tid);
        }
    }

    /// Takes a thread out of its process and of the table.
    pub(super) fn remove_thread(&mut self, index: u32) {
        let process = self.slot(index).process;
        let threads = &mut self.process_mut(process).threads;
        if let Some(at) = threads.iter().rposition(|&i| i == index) {
            threads.remove(at);
        }
        let first = self.is_first(index);
        let entry = self.process_mut(process);
        entry.other_candidates = entry.other_candidates.saturating_add(1);
        if first {
            entry.first = First::Gone;
        }
        self.retire(index);
    }

    fn retire(&mut self, index: u32) {
        self.release_tid(index);
        let slot = self.slot_mut(index);
        slot.generation = slot.generation.wrapping_add(1);
        slot.state = State::Free;
        slot.soft = Soft::default();
        self.free_slots.push(index);
    }

    /// A thread is stopped, without an event or a token from now on.
    pub(super) fn rest(&mut self, index: u32) -> &mut Slot {
        self.revoke(index);
        let slot = self.slot_mut(index);
        slot.state = State::Resting;
        slot
    }

    /// A thread runs, or is as one that does; its tokens are stale.
    pub(super) fn run(&mut self, index: u32) -> &mut Slot {
        self.revoke(index);
        let slot = self.slot_mut(index);
        slot.state = State::Running;
        slot
    }

    /// Does something to each thread of a process.
    pub(super) fn for_threads_of(
        &mut self,
        process: ProcessHandle,
        mut change: impl FnMut(u32, &mut Slot),
    ) {
        let Some(process) = self.processes.get(process) else { return };
        for &index in &process.threads {
            change(index, &mut self.slots[index as usize]);
        }
    }

    /// A thread of a process that the kernel answers requests about.
    pub(super) fn stopped_in(&self, process: ProcessHandle) -> Option<u32> {
        let mut threads = self.process(process).threads.iter().copied();
        threads.find(|&index| self.slot(index).can_be_asked())
    }

    /// A process is wanted stopped for a moment: what stops of it rests until the end of that.
    pub(super) fn begin_all_stop(&mut self, process: ProcessHandle) {
        self.process_mut(process).all_stops += 1;
    }

    pub(super) fn end_all_stop(&mut self, process: ProcessHandle) {
        if let Some(process) = self.processes.get_mut(process) {
            process.all_stops = process.all_stops.saturating_sub(1);
        }
    }

    /// Makes the tokens that are out for a thread stale.
    #[inline]
    pub(super) fn revoke(&mut self, index: u32) {
        let slot = self.slot_mut(index);
        slot.generation = slot.generation.wrapping_add(1);
    }
}
