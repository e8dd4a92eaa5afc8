//! Beginning to trace a process that runs.

use std::time::Duration;

use trapline_core::backend::{RawAttach, Setup};
use trapline_core::{Error, Pid, Result, Tid};

use crate::decode::{EventMask, Expected};
use crate::ffi::PID_MAX;
use crate::sys::{self, Errno};
use crate::system::FreeBsd;
use crate::tracee::Phase;

impl FreeBsd {
    /// Begins to trace a process. Its first stop is for a later wait, as it may take its time: in
    /// a sleep that nothing interrupts, or in a vfork child.
    pub(crate) fn attach_to(&mut self, pid: Pid, setup: Setup) -> Result<RawAttach> {
        let raw = pid.as_raw();
        if let Err(errno) = self.try_attach(raw) {
            return Err(self.refused(pid, errno));
        }
        let Some(tracee) = self.adopt(raw)? else {
            return Err(Error::GONE);
        };
        tracee.expected = Expected::attach();
        tracee.wanted = EventMask::of(setup.flags);
        tracee.phase = Phase::Attached(setup);
        // If it has ended already, its end is reported.
        let threads = self.threads_of(pid).unwrap_or_default();
        let tids: Vec<Tid> = threads.iter().map(|thread| Tid::from_raw(thread.tid)).collect();
        if let Some(tracee) = self.tracees.get_mut(&raw) {
            tracee.signals.were_inside.clone_from(&tids);
        }
        Ok(RawAttach {
            threads: tids,
            real_parent: threads.first().map(|thread| Pid::from_raw(thread.parent)),
            meanwhile: Vec::new(),
        })
    }

    fn try_attach(&mut self, pid: i32) -> sys::Result<()> {
        if pid <= 0 || pid > PID_MAX {
            return Err(Errno::SRCH); // the kernel would take an LWP's id too
        }
        for _ in 0..10 {
            match self.kernel.attach(pid) {
                Err(Errno::BUSY) => {}
                result => return result,
            }
            // Traced already, or in the middle of an exec, which does not take long.
            match self.kernel.process(pid) {
                Ok(Some(process)) if process.tracer == 0 => {
                    std::thread::sleep(Duration::from_millis(1));
                }
                _ => break,
            }
        }
        Err(Errno::BUSY)
    }
}
