//! What a process has of hardware breakpoints, and who inherits that.

use std::rc::Rc;

use crate::backend::{DebugRoom, DebugSlots, NO_SLOTS, Setup};
use crate::debug::plan;
use crate::{
    Backend, BreakpointId, BreakpointSet, EventFlags, ForkKind, HardwareBreakpoint, HardwareKind,
    Inherit, Pid,
};

use super::super::Engine;
use super::thread::ThreadDebug;

/// How many removed breakpoints are remembered: twice as many as there can be.
const REMOVED_MOST: usize = 2 * BreakpointSet::MOST;

/// The hardware breakpoints of a process.
#[derive(Default, Clone)]
pub(in super::super) struct ProcessDebug {
    /// In the order in which they were inserted.
    pub(super) breakpoints: Vec<Inserted>,
    /// Those that were removed lately: a hit may wait to be given, and they may be inserted again.
    removed: Vec<Inserted>,
    /// What its threads are to watch for that.
    pub(super) slots: Rc<DebugSlots>,
    /// Its first thread may have what the kernel has copied.
    pub(super) unsure: bool,
    /// Which registers its program can use, once that was asked.
    pub(super) room: Option<DebugRoom>,
}

#[derive(Clone)]
pub(super) struct Inserted {
    pub(super) id: BreakpointId,
    pub(super) breakpoint: HardwareBreakpoint,
    /// How many times it was inserted.
    pub(super) count: u32,
    /// For a watch for changes, its bytes as they were seen last.
    pub(super) value: Vec<u8>,
    /// The same of one that was removed before, for a hit that is older than this one.
    pub(super) before: Option<Vec<u8>>,
}

impl ProcessDebug {
    pub(super) fn find(&mut self, breakpoint: HardwareBreakpoint) -> Option<&mut Inserted> {
        self.breakpoints.iter_mut().find(|known| known.breakpoint == breakpoint)
    }

    /// A breakpoint is removed.
    pub(super) fn note_removed(&mut self, removed: Inserted) {
        if self.removed.len() >= REMOVED_MOST {
            self.removed.remove(0);
        }
        self.removed.push(removed);
    }

    /// What the last one of this kind that was removed has seen last.
    pub(super) fn seen_before(&self, breakpoint: &HardwareBreakpoint) -> Option<Vec<u8>> {
        let same = |removed: &&Inserted| removed.breakpoint == *breakpoint;
        let last = self.removed.iter().rev().find(same)?;
        Some(last.before.as_ref().unwrap_or(&last.value).clone())
    }

    /// The breakpoint that had this id when it was hit, if it is still there, or is again.
    pub(in super::super) fn current(&self, id: BreakpointId) -> Option<BreakpointId> {
        let known = |id| self.breakpoints.iter().find(|known| known.id == id);
        let again = || {
            let removed = self.removed.iter().find(|removed| removed.id == id)?;
            self.breakpoints.iter().find(|known| known.breakpoint == removed.breakpoint)
        };
        known(id).or_else(again).map(|known| known.id)
    }

    pub(super) fn room(&self) -> DebugRoom {
        self.room.unwrap_or(DebugRoom::ALL)
    }

    /// Whether any of them is about data.
    pub(in super::super) fn watches_data(&self) -> bool {
        self.breakpoints.iter().any(|known| known.breakpoint.kind != HardwareKind::Execute)
    }

    /// All breakpoints, with one more.
    pub(super) fn wanted(&self, more: Option<HardwareBreakpoint>) -> Vec<HardwareBreakpoint> {
        self.breakpoints.iter().map(|known| known.breakpoint).chain(more).collect()
    }
}

impl<B: Backend> Engine<B> {
    /// A new process: has it inherit what it is to inherit of its parent, and remembers that its
    /// registers may be what the kernel has copied.
    pub(in super::super) fn inherit_hardware(
        &mut self,
        child: u32,
        parent: Option<Pid>,
        kind: ForkKind,
    ) {
        let living = parent.and_then(|pid| self.table.find_process(pid));
        let dead = || {
            let is = |p: &super::super::process::Process| Some(p.pid) == parent;
            self.table.processes().find(|&(i, p)| i != child && is(p)).map(|(i, _)| i)
        };
        let parent = match living {
            None if self.watches => dead(),
            living => living,
        };
        let mut inherit = self.settings.inherit;
        let mut debug = parent.is_none().then(ProcessDebug::default);
        if let Some(parent) = parent {
            let parent = self.table.process(parent);
            inherit = parent.inherit;
            let copies = match kind {
                ForkKind::Fork | ForkKind::Clone => inherit.fork,
                ForkKind::Vfork => inherit.vfork,
            };
            debug = parent.debug.as_ref().map(|debug| match copies {
                Inherit::Copy => ProcessDebug::clone(debug),
                Inherit::Clear => ProcessDebug::default(),
            });
        }
        let child = self.table.process_mut(child);
        child.inherit = inherit;
        if self.watches {
            child.debug = debug.map(|debug| Box::new(ProcessDebug { unsure: true, ..debug }));
        }
    }

    /// A process has exec'ed, and `index` is its one thread. The kernel has cleared its debug
    /// registers, which is not relied upon.
    pub(in super::super) fn execed_hardware(&mut self, index: u32) {
        let slot = self.table.slot_mut(index);
        let (process, thread) = (slot.process, slot.thread);
        if slot.debug.take().is_none() && self.table.process(process).debug.is_none() {
            return;
        }
        self.table.slot_mut(index).debug = Some(Box::new(ThreadDebug::unknown()));
        let inherit = self.table.process(process).inherit.exec;
        let Some(debug) = &mut self.table.process_mut(process).debug else { return };
        debug.room = None;
        if inherit == Inherit::Clear {
            (debug.breakpoints, debug.slots) = (Vec::new(), Rc::default());
            return;
        }
        for known in &mut debug.breakpoints {
            known.count = known.count.max(1);
        }
        if !debug.breakpoints.is_empty() {
            // The new program may be allowed less than the old one. Where its registers do not
            // suffice the kernel says so.
            let room = match self.backend.get_mut().debug_room(thread) {
                Ok(room) => room,
                Err(error) => {
                    self.failures.note(thread.pid, error);
                    DebugRoom::ALL
                }
            };
            let Some(debug) = &mut self.table.process_mut(process).debug else { return };
            debug.room = Some(room);
            if let Ok(slots) = plan::<B::Arch>(&debug.wanted(None), &debug.slots, room) {
                debug.slots = Rc::new(slots);
            }
        }
        self.read_again(process, thread);
    }

    /// What a process reports, as the kernel is to be told: new threads have to stop at their
    /// birth for their debug registers to be set. (Where one stop stops one thread they always
    /// do.)
    pub(in super::super) fn wanted_setup(&self, process: u32) -> Setup {
        let process = self.table.process(process);
        let mut setup = process.setup;
        if !Self::makers_announce_threads() && process.debug.is_some() {
            let armed = process.debug.as_ref().is_some_and(|debug| *debug.slots != NO_SLOTS);
            setup.flags.set(EventFlags::THREAD, armed || setup.flags.contains(EventFlags::THREAD));
        }
        setup
    }
}
