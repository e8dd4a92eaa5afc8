//! The causes of traps that wait to be given.
//!
//! Between a trap and its event the user may remove the breakpoint that it is for, or, as debuggers do
//! at every stop, remove and insert it again. So an event has the causes that hold when it is given:
//! a hit is dropped if its breakpoint has been removed, and counts for the new one if that was inserted
//! again.

use crate::event_queue::Ready;
use crate::stopped::Place;
use crate::{Backend, Result, StopReason, TrapCauses};

use super::Engine;
use super::thread::State;

impl<B: Backend> Engine<B> {
    /// Brings the causes of a queued stop up to date. Runs the thread if nothing is left of them;
    /// says whether the stop is still one.
    pub(super) fn renew_causes(&mut self, place: Place) -> Result<bool> {
        let Some(slot) = self.table.at(place) else { return Ok(false) };
        let (State::Queued(StopReason::Trap(causes)) | State::DeadQueued(StopReason::Trap(causes))) =
            slot.state
        else {
            return Ok(true);
        };
        let dead = slot.is_dead();
        let now = self.causes_now(place.index, causes);
        if dead {
            self.table.slot_mut(place.index).state = State::DeadQueued(StopReason::Trap(now));
            return Ok(true);
        }
        if now.is_empty() && !causes.is_empty() {
            if let Err(error) = self.run_silently(place.index) {
                self.ready.put_back(Ready::Stop(place));
                return Err(error);
            }
            return Ok(false);
        }
        self.table.slot_mut(place.index).state = State::Queued(StopReason::Trap(now));
        Ok(true)
    }

    fn causes_now(&self, index: u32, causes: TrapCauses) -> TrapCauses {
        let debug = self.table.process_of(index).debug.as_deref();
        let current = |id| match debug {
            Some(debug) => debug.current(id),
            None => None,
        };
        let hardware = match causes.hardware.iter().all(|id| current(id) == Some(id)) {
            true => causes.hardware,
            false => causes.hardware.iter().filter_map(current).collect(),
        };
        let software = causes.software.and_then(|id| self.current_breakpoint(index, id));
        TrapCauses { software, hardware, ..causes }
    }
}
