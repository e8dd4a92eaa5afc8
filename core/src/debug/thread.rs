//! What the debug registers of a thread were told.

use std::rc::Rc;

use crate::Change;
use crate::backend::{DebugSlot, DebugSlots, DebugStatus, NO_SLOTS};

use super::standing::Standing;
use super::{any, changed, used};

/// The debug registers of a thread.
pub(crate) struct ThreadDebug {
    /// What they watch; `None` where the kernel or somebody else may have left something.
    pub(crate) armed: Option<Rc<DebugSlots>>,
    /// What registers watched that were disarmed, and whose hits may still show.
    pub(crate) stale: Option<Box<DebugSlots>>,
    /// What was read of the status before it was time to report it.
    pub(crate) carried: Carried,
    /// The trap that is being shown is the program's own as well.
    pub(crate) owed: bool,
    /// What the watches for changes among the causes of the last trap have found.
    pub(crate) changes: Vec<Change>,
    /// Where it stands, if that has to be passed by a step.
    pub(crate) standing: Standing,
}

#[derive(Clone, Default)]
pub(crate) struct Carried {
    pub(crate) hits: Vec<Hit>,
    /// A trap of ours is on its way, of which nobody wants to hear.
    pub(crate) gone: bool,
    pub(crate) single_step: bool,
}

impl Carried {
    fn is_empty(&self) -> bool {
        self.hits.is_empty() && !self.gone && !self.single_step
    }
}

/// What a register watched that was hit.
#[derive(Clone, Copy, PartialEq)]
pub(crate) struct Hit {
    pub(crate) slot: DebugSlot,
    /// It was disarmed since.
    pub(crate) before: bool,
}

impl ThreadDebug {
    /// One of which nothing is known.
    pub(crate) fn boxed() -> Box<Self> {
        Box::new(ThreadDebug {
            armed: None,
            stale: None,
            carried: Carried::default(),
            owed: false,
            changes: Vec::new(),
            standing: Standing::default(),
        })
    }

    /// Whether a trap can be for us.
    pub(crate) fn may_trap(&self) -> bool {
        let armed = self.armed.as_deref().is_some_and(any);
        armed || self.stale.is_some() || !self.carried.is_empty() || self.standing.may_trap()
    }

    /// Keeps what the status said, before registers get another meaning.
    pub(crate) fn carry(&mut self, status: DebugStatus) {
        self.carried.single_step |= status.single_step;
        self.carried.hits = self.take_hits(status, None);
    }

    /// What has been hit, by this status and those before. Registers count that are armed, with
    /// `slots` if it is not known with what, and those that were disarmed and not looked at since.
    pub(crate) fn take_hits(
        &mut self,
        status: DebugStatus,
        slots: Option<&DebugSlots>,
    ) -> Vec<Hit> {
        let mut hits = std::mem::take(&mut self.carried.hits);
        let stale = self.stale.take();
        let armed = self.armed.as_deref().or(slots);
        let watched = |by: Option<&DebugSlots>, at: usize| by?.get(at).copied().flatten();
        let mut left = status.hits;
        while left != 0 {
            let at = left.trailing_zeros() as usize;
            left &= left - 1;
            let hit = match (watched(armed, at), watched(stale.as_deref(), at)) {
                (_, Some(slot)) => Hit { slot, before: true },
                (Some(slot), None) => Hit { slot, before: false },
                (None, None) => continue,
            };
            if !hits.contains(&hit) {
                hits.push(hit);
            }
        }
        hits
    }

    /// The registers watch something else from now on; `read` says that their status was.
    pub(crate) fn change(&mut self, to: &DebugSlots, read: bool) {
        for hit in &mut self.carried.hits {
            hit.before |= !to.contains(&Some(hit.slot));
        }
        let Some(armed) = self.armed.as_deref().filter(|_| !read) else { return };
        if changed(armed, to) & used(armed) == 0 {
            return;
        }
        let stale = self.stale.get_or_insert_with(|| Box::new(NO_SLOTS));
        for ((armed, to), stale) in armed.iter().zip(to).zip(stale.iter_mut()) {
            if armed != to {
                *stale = armed.or(*stale);
            }
        }
    }
}
