//! The tables of threads and processes.

use std::cell::RefCell;
use std::process::Child;
use std::rc::{Rc, Weak};
use std::sync::atomic::{AtomicU32, Ordering};

use rustc_hash::FxHashMap;

use crate::backend::{RawReason, Run, Setup, Thread};
use crate::stopped::Place;
use crate::{CpuSet, EventFlags, ExitStatus, InheritDebug, Pid, Signal, StopReason, Syscall, Tid};

use super::hardware::{ProcessDebug, ThreadDebug};

use super::software::Soft;
use super::software::image::Shared;
use super::software::inherit::Heritage;

/// What the engine knows of a thread.
pub(super) struct Slot {
    pub(super) generation: u32,
    pub(super) thread: Thread,
    /// Index of its process.
    pub(super) process: u32,
    pub(super) state: State,
    /// Stopped, and killed since: the kernel has already told its end.
    pub(super) dead: bool,
    /// A stop that the kernel has reported behind the one that is being shown.
    pub(super) next: Option<RawReason>,
    /// What it was doing when it came to a stop that is taken in again.
    pub(super) before: Option<State>,
    /// An interrupt is on its way to it.
    pub(super) interrupt: Interrupt,
    /// Its stop is a group-stop, which a resumption must not end.
    pub(super) group_stopped: bool,
    /// At rest because it was told to stay.
    pub(super) stays: bool,
    /// Kept from running for another one to run alone, and not free again.
    pub(super) suspended: bool,
    /// A signal that it is to get when it next runs: it had to stay with it.
    pub(super) kept: Option<Signal>,
    /// The kernel does not have that signal any more.
    pub(super) resends: bool,
    /// Signals that the tracer has sent it, for which no stop is reported.
    pub(super) injected: Vec<Signal>,
    /// How it was last resumed.
    pub(super) run: Run,
    /// Resumed by the user while another token of its process is out, where the kernel runs a
    /// process as a whole: what the last of them has to do for this one.
    pub(super) deferred: Option<(Run, Option<Signal>)>,
    /// On its way out, where the kernel does not tell of its end: that is its resumption.
    pub(super) leaves: bool,
    /// It is kept on its way out, and its end was told.
    pub(super) end_told: bool,
    /// What the kernel was last told of it.
    pub(super) applied: Option<Setup>,
    /// Its last stop was inside a system call, so that the next system-call stop is the exit.
    pub(super) in_syscall: bool,
    /// Its stop is near the end of a system call that has done its work: a fork, an exec. Where a
    /// stop stops one thread, the kernel takes the way out of it for a step.
    pub(super) ends_call: bool,
    /// It leaves such a call, to make a step then.
    pub(super) steps_out: bool,
    /// The system call that it has entered last, if it was asked for.
    pub(super) call: RefCell<Option<Box<Syscall>>>,
    /// It runs to the exit of a system call, which is an event whatever its process reports.
    pub(super) to_exit: bool,
    /// The process's first thread, whose birth and death are the process's.
    pub(super) first: bool,
    /// The user may know of it, so its end is an event.
    pub(super) known: bool,
    /// Where it would run without us, if that is not where the tracer would.
    pub(super) home: Option<Rc<CpuSet>>,
    /// Its debug registers, if they were ever used.
    pub(super) debug: Option<Box<ThreadDebug>>,
    /// What it has to do with breakpoints in memory.
    pub(super) soft: Soft,
}

/// Where a thread is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum State {
    /// Traced, and its first stop has not come.
    Announced,
    Running,
    /// In a group-stop that job control will end.
    Listening,
    /// Stopped at a fork, and its child's first stop has not come.
    Forking,
    /// Stopped; its event is in the queue.
    Queued(StopReason),
    /// Stopped; the user has the token.
    Given(StopReason),
    /// Stopped; a question about that has failed, and is asked again.
    Retrying(RawReason),
    /// Stopped without a token: halted, and told to stay.
    Resting,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Interrupt {
    None,
    /// The user asked; an event must follow.
    Asked,
    /// Ours, for a halt or a detach.
    Internal,
}

impl Slot {
    #[inline]
    pub(super) fn is_stopped(&self) -> bool {
        match self.state {
            State::Forking
            | State::Queued(_)
            | State::Given(_)
            | State::Retrying(_)
            | State::Resting => true,
            State::Announced | State::Running | State::Listening => false,
        }
    }

    /// Whether an event or a token still names it.
    #[inline]
    pub(super) fn is_held(&self) -> bool {
        matches!(self.state, State::Queued(_) | State::Given(_))
    }

    /// Whether an event of it is out or to come, so that its stop must not be ended yet.
    #[inline]
    pub(super) fn is_shown(&self) -> bool {
        self.is_held() || matches!(self.state, State::Forking | State::Retrying(_))
    }
}

/// What the engine knows of a process.
pub(super) struct Process {
    pub(super) pid: Pid,
    /// Indices of its threads.
    pub(super) threads: Vec<u32>,
    /// It has or had a thread, so that those to come are not its first.
    pub(super) peopled: bool,
    pub(super) real_parent: Option<Pid>,
    /// How many traced processes have it as their real parent.
    pub(super) children: u32,
    /// No other task than its threads of now can have made a child of it: it has had no other child,
    /// which may have made a sibling, and has lost no thread.
    pub(super) sole_maker: bool,
    pub(super) setup: Setup,
    /// Attached to, and its first stop has not been shown.
    pub(super) starting: bool,
    /// Spawned, and its exec has not been shown.
    pub(super) spawning: bool,
    /// A halt is under way or a `Halted` is out: what pauses rests.
    pub(super) halted: Option<Weak<()>>,
    /// How many requests want it at rest for a moment, and see to it that it runs again.
    pub(super) quiet: u32,
    /// Being detached: whatever stops is let go.
    pub(super) letting_go: bool,
    /// At least one of its threads has been.
    pub(super) released: bool,
    /// Killed by the user, where a killed process does not stop any more.
    pub(super) killed: bool,
    /// Its end, once the kernel told it.
    pub(super) ended: Option<ExitStatus>,
    /// Its `Exited` is in the queue or was given.
    pub(super) exit_queued: bool,
    /// For a spawned one, what std knows of it.
    pub(super) child: Option<Child>,
    /// Its hardware breakpoints, if it ever had any.
    pub(super) debug: Option<Box<ProcessDebug>>,
    /// Who inherits those.
    pub(super) inherit: InheritDebug,
    /// The breakpoints in its memory; `None` if there never were any.
    pub(super) image: Option<Shared>,
    /// Whose memory it may have, as long as that could not be found out.
    pub(super) heritage: Option<Box<Heritage>>,
    /// They were taken out, for it is let go.
    pub(super) stripped: bool,
    /// Whether the kernel tells of the births of its threads, where one stop stops the process;
    /// `None` before it was told what to report.
    pub(super) tells_births: Option<bool>,
    /// Nobody has told who made it: it may have anybody's memory, until it execs.
    pub(super) unannounced: bool,
}

impl Process {
    pub(super) fn new(pid: Pid, real_parent: Option<Pid>, setup: Setup) -> Self {
        Process {
            pid,
            threads: Vec::new(),
            peopled: false,
            real_parent,
            children: 0,
            sole_maker: true,
            setup,
            starting: false,
            spawning: false,
            halted: None,
            quiet: 0,
            letting_go: false,
            released: false,
            killed: false,
            ended: None,
            exit_queued: false,
            child: None,
            debug: None,
            inherit: InheritDebug::default(),
            image: None,
            heritage: None,
            stripped: false,
            tells_births: None,
            unannounced: false,
        }
    }

    /// The events that the user is told: of one that is being let go its end alone.
    #[inline]
    pub(super) fn told(&self) -> EventFlags {
        if self.letting_go { EventFlags::empty() } else { self.setup.flags }
    }

    #[inline]
    pub(super) fn is_halted(&self) -> bool {
        self.quiet > 0 || self.is_kept()
    }

    /// Whether whatever stops is let go; not while what has to happen before is on the way.
    #[inline]
    pub(super) fn is_let_go(&self) -> bool {
        self.letting_go && self.quiet == 0 && (self.stripped || self.image.is_none())
    }

    /// Whether it is on its way to being let go.
    #[inline]
    pub(super) fn is_leaving(&self) -> bool {
        self.letting_go && self.quiet > 0
    }

    /// Whether a `Halted` is out.
    #[inline]
    pub(super) fn is_kept(&self) -> bool {
        self.halted.as_ref().is_some_and(|lease| lease.strong_count() > 0)
    }
}

/// How many tables there were in this process.
static TABLES: AtomicU32 = AtomicU32::new(0);

/// Both tables. Indices are stable; the places of what is gone are used again.
pub(super) struct Table {
    /// Tells the places of this table from those of another tracer's.
    number: u32,
    slots: Vec<Slot>,
    free_slots: Vec<u32>,
    by_tid: FxHashMap<Tid, u32>,
    processes: Vec<Option<Process>>,
    free_processes: Vec<u32>,
    by_pid: FxHashMap<Pid, u32>,
}

impl Default for Table {
    fn default() -> Self {
        Table {
            number: TABLES.fetch_add(1, Ordering::Relaxed),
            slots: Vec::new(),
            free_slots: Vec::new(),
            by_tid: FxHashMap::default(),
            processes: Vec::new(),
            free_processes: Vec::new(),
            by_pid: FxHashMap::default(),
        }
    }
}

/// Lets a list grow by a quarter where it would double: of many idle tracees it is most of what
/// they take.
fn make_room<T>(list: &mut Vec<T>) {
    if list.len() == list.capacity() {
        list.reserve_exact(list.len() / 4 + 8);
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
    pub(super) fn find_process(&self, pid: Pid) -> Option<u32> {
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

    /// The process with an index that a slot or a look-up gave.
    #[inline]
    pub(super) fn process(&self, index: u32) -> &Process {
        self.processes[index as usize].as_ref().expect("a process lives as long as its threads")
    }

    #[inline]
    pub(super) fn process_mut(&mut self, index: u32) -> &mut Process {
        self.processes[index as usize].as_mut().expect("a process lives as long as its threads")
    }

    #[inline]
    pub(super) fn process_of(&self, slot: u32) -> &Process {
        self.process(self.slot(slot).process)
    }

    pub(super) fn processes(&self) -> impl Iterator<Item = (u32, &Process)> {
        self.processes.iter().enumerate().filter_map(|(i, p)| Some((i as u32, p.as_ref()?)))
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
    pub(super) fn add_process(&mut self, process: Process) -> u32 {
        let pid = process.pid;
        if let Some(parent) = process.real_parent.and_then(|p| self.find_process(p)) {
            let parent = self.process_mut(parent);
            (parent.children, parent.sole_maker) = (parent.children + 1, false);
        }
        let index = match self.free_processes.pop() {
            Some(index) => {
                self.processes[index as usize] = Some(process);
                index
            }
            None => {
                make_room(&mut self.processes);
                self.processes.push(Some(process));
                (self.processes.len() - 1) as u32
            }
        };
        self.by_pid.insert(pid, index);
        index
    }

    pub(super) fn set_real_parent(&mut self, process: u32, to: Option<Pid>) {
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
            (new.children, new.sole_maker) = (new.children + 1, false);
        }
        self.process_mut(process).real_parent = to;
    }

    /// Takes a process out, with the threads that are left of it.
    pub(super) fn remove_process(&mut self, index: u32) -> Option<Process> {
        self.set_real_parent(index, None);
        for slot in std::mem::take(&mut self.process_mut(index).threads) {
            self.retire(slot);
        }
        let process = self.processes[index as usize].take()?;
        self.free_processes.push(index);
        if self.by_pid.get(&process.pid) == Some(&index) {
            self.by_pid.remove(&process.pid);
        }
        Some(process)
    }

    /// A pid may be used again as soon as its end was waited for, though the end may still have
    /// to be shown.
    pub(super) fn release_pid(&mut self, index: u32) {
        let pid = self.process(index).pid;
        if self.by_pid.get(&pid) == Some(&index) {
            self.by_pid.remove(&pid);
        }
    }

    pub(super) fn add_thread(&mut self, process: u32, tid: Tid, state: State) -> u32 {
        let thread = Thread { pid: self.process(process).pid, tid };
        // It begins where its maker is.
        let image = self.process(process).image.as_ref();
        let in_slot = image.is_some_and(|image| image.borrow().has_slots());
        let mut slot = Slot {
            generation: 0,
            thread,
            process,
            state,
            dead: false,
            next: None,
            before: None,
            interrupt: Interrupt::None,
            group_stopped: false,
            deferred: None,
            leaves: false,
            end_told: false,
            stays: false,
            suspended: false,
            kept: None,
            resends: false,
            injected: Vec::new(),
            run: Run::Continue,
            applied: None,
            in_syscall: false,
            ends_call: false,
            steps_out: false,
            call: RefCell::default(),
            to_exit: false,
            first: !std::mem::replace(&mut self.process_mut(process).peopled, true),
            known: false,
            home: None,
            debug: None,
            soft: Soft::starting(in_slot),
        };
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
        self.process_mut(process).sole_maker = false;
        self.retire(index);
    }

    fn retire(&mut self, index: u32) {
        self.release_tid(index);
        let slot = self.slot_mut(index);
        slot.generation = slot.generation.wrapping_add(1);
        slot.state = State::Running;
        slot.dead = true;
        slot.soft = Soft::default();
        self.free_slots.push(index);
    }

    /// Makes the tokens that are out for a thread stale.
    #[inline]
    pub(super) fn revoke(&mut self, index: u32) {
        let slot = self.slot_mut(index);
        slot.generation = slot.generation.wrapping_add(1);
    }
}
