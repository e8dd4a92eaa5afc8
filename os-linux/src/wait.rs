//! Waiting for tracees.

use std::thread;
use std::time::Duration;

use trapline_core::Result;
use trapline_core::backend::{Patience, RawKind, RawReason, Waited};

use crate::sys::error;
use crate::{Linux, decode};

/// Between the looks of a brief wait: at first another thread may run, then the time doubles, to
/// about a millisecond in all.
const PAUSES: [Duration; 5] = [
    Duration::ZERO,
    Duration::from_micros(50),
    Duration::from_micros(100),
    Duration::from_micros(200),
    Duration::from_micros(500),
];

impl Linux {
    pub(crate) fn wait_for(&mut self, patience: Patience) -> Result<Waited> {
        match patience {
            Patience::Block => self.look(true),
            Patience::Poll => self.look(false),
            Patience::Brief => {
                for pause in PAUSES {
                    match self.look(false)? {
                        Waited::Nothing if pause.is_zero() => thread::yield_now(),
                        Waited::Nothing => thread::sleep(pause),
                        found => return Ok(found),
                    }
                }
                self.look(false)
            }
        }
    }

    fn look(&mut self, block: bool) -> Result<Waited> {
        loop {
            let (tid, status) = match self.kernel.wait_any(block) {
                Ok(Some(found)) => found,
                Ok(None) => return Ok(Waited::Nothing),
                Err(e) if e.raw_os_error() == Some(libc::ECHILD) => return Ok(Waited::NoTracees),
                Err(e) => return Err(error("wait4", -1, e)),
            };
            let stop = decode::stop(tid, status);
            if self.bell.as_ref().is_some_and(|bell| bell.is(tid)) {
                if self.answer_bell(stop.kind)? {
                    return Ok(Waited::Woken);
                }
                continue;
            }
            if let RawKind::Stop(RawReason::Forked { kind, .. }) = stop.kind {
                self.last_fork = Some((tid, kind));
            }
            return Ok(Waited::Stop(stop));
        }
    }

    /// Whether this thread traces anything but the doorbell, which is taken down meanwhile: the
    /// kernel says that there are no tracees, not how many.
    pub(crate) fn any_tracees(&mut self) -> Result<bool> {
        if let Some(bell) = &self.bell {
            bell.take_down(&self.kernel);
        }
        let any = self.kernel.any_tracees();
        if let Some(bell) = &mut self.bell {
            if let Err(error) = bell.hang_again(&self.kernel) {
                self.bell = None;
                return Err(error);
            }
            bell.ring_again();
        }
        any
    }

    /// Whether the doorbell's stop or end was a wake.
    fn answer_bell(&mut self, kind: RawKind) -> Result<bool> {
        let Some(bell) = &mut self.bell else {
            return Ok(false);
        };
        match kind {
            RawKind::Stop(_) => bell.quiet(&self.kernel)?,
            RawKind::Ended(status) => {
                if let Err(error) = bell.replace(&self.kernel, status) {
                    // The next call of `waker` makes a new one.
                    self.bell = None;
                    return Err(error);
                }
            }
        }
        Ok(bell.was_rung())
    }
}
