//! The registers of threads that were killed at a stop, as they were read before.
//!
//! A kernel has no registers of the dead. But a debugger that stands at a stop goes on asking, and what it
//! was told at that stop is what the thread had last: nothing has run since.

use crate::stopped::Place;
use crate::{Arch, Error, Result};

/// What was read of a thread at its stop.
struct Known<A: Arch> {
    place: Place,
    general: Option<A::Registers>,
    fp: Option<A::FpRegisters>,
}

/// By the places of the threads in the table.
pub(crate) struct LastKnown<A: Arch>(Vec<Option<Box<Known<A>>>>);

impl<A: Arch> Default for LastKnown<A> {
    fn default() -> Self {
        LastKnown(Vec::new())
    }
}

impl<A: Arch> LastKnown<A> {
    /// What is known of a thread at this stop.
    fn at(&mut self, place: Place) -> Option<&mut Known<A>> {
        self.0.get_mut(place.index as usize)?.as_deref_mut().filter(|known| known.place == place)
    }

    /// The same, to be added to.
    fn noted(&mut self, place: Place) -> Option<&mut Known<A>> {
        let at = place.index as usize;
        if self.0.len() <= at {
            self.0.resize_with(at + 1, || None);
        }
        let known = self.0.get_mut(at)?;
        let new = || Box::new(Known { place, general: None, fp: None });
        let known = known.get_or_insert_with(new);
        if known.place != place {
            **known = Known { place, general: None, fp: None };
        }
        Some(known)
    }

    /// The answer to a question about the general registers: that of the kernel, or the last one at
    /// this stop if the thread is gone.
    pub(crate) fn general(
        &mut self,
        place: Place,
        answer: Result<A::Registers>,
    ) -> Result<A::Registers> {
        match answer {
            Ok(registers) => {
                self.set_general(place, registers);
                Ok(registers)
            }
            Err(Error::Gone { .. }) => {
                self.at(place).and_then(|known| known.general).ok_or(Error::GONE)
            }
            Err(error) => Err(error),
        }
    }

    pub(crate) fn set_general(&mut self, place: Place, registers: A::Registers) {
        if let Some(known) = self.noted(place) {
            known.general = Some(registers);
        }
    }

    /// The same for the floating-point registers.
    pub(crate) fn fp(
        &mut self,
        place: Place,
        answer: Result<A::FpRegisters>,
    ) -> Result<A::FpRegisters> {
        match answer {
            Ok(registers) => {
                self.set_fp(place, &registers);
                Ok(registers)
            }
            Err(Error::Gone { .. }) => {
                self.at(place).and_then(|known| known.fp.clone()).ok_or(Error::GONE)
            }
            Err(error) => Err(error),
        }
    }

    pub(crate) fn set_fp(&mut self, place: Place, registers: &A::FpRegisters) {
        if let Some(known) = self.noted(place) {
            known.fp = Some(registers.clone());
        }
    }
}
