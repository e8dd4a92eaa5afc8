//! What a process has of hardware breakpoints.

use std::rc::Rc;

use crate::backend::{DebugRoom, DebugSlots};
use crate::{BreakpointId, BreakpointSet, HardwareBreakpoint, HardwareKind};

/// How many removed breakpoints are remembered: twice as many as there can be.
const REMOVED_MOST: usize = 2 * BreakpointSet::MOST;

/// The hardware breakpoints of a process.
#[derive(Default, Clone)]
pub(crate) struct ProcessDebug {
    /// In the order in which they were inserted.
    pub(crate) breakpoints: Vec<Inserted>,
    /// Those that were removed lately: a hit may wait to be given, and they may be inserted again.
    removed: Vec<Inserted>,
    /// What its threads are to watch for that.
    pub(crate) slots: Rc<DebugSlots>,
    /// Its first thread may have what the kernel has copied.
    pub(crate) unsure: bool,
    /// Which registers its program can use, once that was asked.
    pub(crate) room: Option<DebugRoom>,
}

#[derive(Clone)]
pub(crate) struct Inserted {
    pub(crate) id: BreakpointId,
    pub(crate) breakpoint: HardwareBreakpoint,
    /// How many times it was inserted.
    pub(crate) count: u32,
    /// For a watch for changes, its bytes as they were seen last.
    pub(crate) value: Vec<u8>,
    /// The same of one that was removed before, for a hit that is older than this one.
    pub(crate) before: Option<Vec<u8>>,
}

impl ProcessDebug {
    /// The same for a process whose first thread may have what the kernel has copied.
    pub(crate) fn unsure(self) -> Self {
        ProcessDebug { unsure: true, ..self }
    }

    pub(crate) fn find(&mut self, breakpoint: HardwareBreakpoint) -> Option<&mut Inserted> {
        self.breakpoints.iter_mut().find(|known| known.breakpoint == breakpoint)
    }

    /// A breakpoint is removed.
    pub(crate) fn note_removed(&mut self, removed: Inserted) {
        if self.removed.len() >= REMOVED_MOST {
            self.removed.remove(0);
        }
        self.removed.push(removed);
    }

    /// What the last one of this kind that was removed has seen last.
    pub(crate) fn seen_before(&self, breakpoint: &HardwareBreakpoint) -> Option<Vec<u8>> {
        let same = |removed: &&Inserted| removed.breakpoint == *breakpoint;
        let last = self.removed.iter().rev().find(same)?;
        Some(last.before.as_ref().unwrap_or(&last.value).clone())
    }

    /// The breakpoint that had this id when it was hit, if it is still there, or is again.
    pub(crate) fn current(&self, id: BreakpointId) -> Option<BreakpointId> {
        let known = |id| self.breakpoints.iter().find(|known| known.id == id);
        let again = || {
            let removed = self.removed.iter().find(|removed| removed.id == id)?;
            self.breakpoints.iter().find(|known| known.breakpoint == removed.breakpoint)
        };
        known(id).or_else(again).map(|known| known.id)
    }

    pub(crate) fn room(&self) -> DebugRoom {
        self.room.unwrap_or(DebugRoom::ALL)
    }

    /// Whether any of them is about data.
    pub(crate) fn watches_data(&self) -> bool {
        self.breakpoints.iter().any(|known| known.breakpoint.kind != HardwareKind::Execute)
    }

    /// All breakpoints, with one more.
    pub(crate) fn wanted(&self, more: Option<HardwareBreakpoint>) -> Vec<HardwareBreakpoint> {
        self.breakpoints.iter().map(|known| known.breakpoint).chain(more).collect()
    }
}
