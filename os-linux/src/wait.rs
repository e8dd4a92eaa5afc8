//! Waiting for tracees.

use std::thread;
use std::time::{Duration, Instant};

use trapline_core::backend::{Patience, RawKind, RawReason, RawStop, Waited};
use trapline_core::{Result, Tid};

use crate::sys::error;
use crate::waker::WakeHelper;
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
            Patience::Block | Patience::Until(_) if self.is_unsettled() => {
                match self.settle_first(patience)? {
                    Waited::Nothing if !self.is_unsettled() => self.wait_for(patience),
                    found => Ok(found), // or the time is over
                }
            }
            Patience::Block => self.sleep(None),
            Patience::Until(deadline) => match self.poll()? {
                Waited::Nothing => self.sleep(Some(deadline)),
                found => Ok(found),
            },
            Patience::Poll => {
                let found = self.poll()?;
                if found == Waited::Nothing && self.is_unsettled() {
                    self.settle()?;
                }
                Ok(found)
            }
            Patience::Brief => {
                for pause in PAUSES {
                    match self.poll()? {
                        Waited::Nothing if pause.is_zero() => thread::yield_now(),
                        Waited::Nothing => thread::sleep(pause),
                        found => return Ok(found),
                    }
                }
                self.poll()
            }
        }
    }

    /// Looks after what was attached to, before the tracer sleeps.
    fn settle_first(&mut self, patience: Patience) -> Result<Waited> {
        let mut found = self.poll()?;
        while found == Waited::Nothing && self.is_unsettled() {
            if matches!(patience, Patience::Until(deadline) if Instant::now() >= deadline) {
                break;
            }
            self.settle()?;
            if self.is_unsettled() {
                found = self.wait_for(Patience::Brief)?;
            }
        }
        Ok(found)
    }

    /// What there is now.
    fn poll(&mut self) -> Result<Waited> {
        loop {
            match self.kernel.wait_any(false) {
                Ok(Some((tid, status))) => {
                    if let Some(found) = self.told(tid, status)? {
                        return Ok(found);
                    }
                }
                Ok(None) => return Ok(Waited::Nothing),
                Err(e) => return nobody(e),
            }
        }
    }

    /// What there is, or will be. At the deadline the wake helper stops.
    fn sleep(&mut self, deadline: Option<Instant>) -> Result<Waited> {
        loop {
            if let Some(deadline) = deadline {
                if Instant::now() >= deadline {
                    return Ok(Waited::Nothing);
                }
                self.wake_helper()?;
                if let Some(helper) = &mut self.wake_helper {
                    helper.stop_by(&self.kernel, deadline)?;
                }
            }
            match self.kernel.wait_any(true) {
                Ok(Some((tid, status))) => {
                    if let Some(found) = self.told(tid, status)? {
                        return Ok(found);
                    }
                }
                Ok(None) => {} // does not happen to a wait that blocks
                Err(e) => return nobody(e),
            }
        }
    }

    /// What a wait status says; `None` for a stop of the wake helper that is no wake.
    pub(crate) fn told(&mut self, tid: Tid, status: i32) -> Result<Option<Waited>> {
        let Some(stop) = self.heard(tid, status) else { return Ok(None) };
        if self.wake_helper.as_ref().is_some_and(|helper| helper.is(tid)) {
            return Ok(self.answer_bell(stop.kind)?.then_some(Waited::Woken));
        }
        Ok(Some(Waited::Stop(stop)))
    }

    /// A stop or an end of one thread, if the kernel has it ready. One that is dying may not be;
    /// one whose id an exec has taken away is not found at all. Neither is reported here.
    pub(crate) fn look_at(&mut self, tid: Tid) -> Result<Option<RawStop>> {
        if let Some(at) = self.early.iter().position(|stop| stop.tid == Some(tid)) {
            return Ok(self.early.remove(at));
        }
        match self.kernel.look(tid) {
            Ok(Some(status)) => Ok(self.heard(tid, status)),
            Ok(None) => Ok(None),
            Err(e) if e.raw_os_error() == Some(libc::ECHILD) => Ok(None),
            Err(e) => Err(error("wait4", tid.as_raw(), e)),
        }
    }

    /// What a wait status says, unless it is of a thread that nobody knows.
    fn heard(&mut self, tid: Tid, status: i32) -> Option<RawStop> {
        let mut stop = decode::stop(tid, status);
        let looked_after = !self.unsettled.is_empty() || !self.late.is_empty();
        if looked_after && !self.settled(tid, &mut stop) {
            return None;
        }
        if let RawKind::Stop(RawReason::Forked { kind, .. }) = stop.kind {
            self.last_fork = Some((tid, kind));
        }
        Some(stop)
    }

    /// Whether this thread traces anything but the wake helper, which is ended meanwhile: the
    /// kernel says that there are no tracees, not how many.
    pub(crate) fn any_tracees(&mut self) -> Result<bool> {
        let ended = self.wake_helper.as_ref().is_some_and(|helper| helper.stop(&self.kernel));
        let any = self.kernel.any_tracees();
        if let Some(helper) = &mut self.wake_helper {
            if let Err(error) = helper.restart(&self.kernel, ended) {
                self.wake_helper = None;
                return Err(error);
            }
            helper.repeat_wake();
        }
        any
    }

    /// The wake helper, which is made if there is none.
    pub(crate) fn wake_helper(&mut self) -> Result<&WakeHelper> {
        let helper = match self.wake_helper.take() {
            Some(helper) => helper,
            None => WakeHelper::new(&self.kernel)?,
        };
        Ok(self.wake_helper.insert(helper))
    }

    /// Whether the wake helper's stop or end was a wake.
    fn answer_bell(&mut self, kind: RawKind) -> Result<bool> {
        let Some(helper) = &mut self.wake_helper else {
            return Ok(false);
        };
        match kind {
            RawKind::Stop(_) => helper.resume(&self.kernel)?,
            RawKind::Ended(status) => {
                if let Err(error) = helper.replace(&self.kernel, status) {
                    // The next call of `waker` makes a new one.
                    self.wake_helper = None;
                    return Err(error);
                }
            }
        }
        Ok(helper.take_wake())
    }
}

/// What a wait that failed says: there are no tracees, or it is an error.
fn nobody(e: std::io::Error) -> Result<Waited> {
    match e.raw_os_error() {
        Some(libc::ECHILD) => Ok(Waited::NoTracees),
        _ => Err(error("wait4", -1, e)),
    }
}
