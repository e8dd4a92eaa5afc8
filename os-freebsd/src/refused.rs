//! Why a process cannot be traced, and what to do about it.

use std::borrow::Cow;

use trapline_core::{Error, Pid};

use crate::sys::Errno;
use crate::system::FreeBsd;

impl FreeBsd {
    /// What kept a stop from being read: somebody has taken the right to trace away.
    pub(crate) fn not_read(&mut self, pid: i32, errno: Errno) -> Error {
        match errno {
            Errno::PERM | Errno::NOSYS => self.refused(Pid::from_raw(pid), errno),
            errno => Error::os("PT_LWPINFO", pid, errno.into()),
        }
    }

    /// What `PT_ATTACH` says, or would say, in words.
    pub(crate) fn refused(&mut self, pid: Pid, errno: Errno) -> Error {
        let denied = |advice: Cow<'static, str>| Error::NotPermitted { pid, advice };
        match errno {
            Errno::SRCH => Error::GONE,
            Errno::BUSY => match self.kernel.process(pid.as_raw()) {
                Ok(Some(process)) if process.tracer != 0 => {
                    denied(format!("process {} traces it already", process.tracer).into())
                }
                Ok(Some(process)) if !process.zombie => {
                    denied("it is in the middle of an exec; try again".into())
                }
                _ => Error::GONE,
            },
            Errno::PERM => denied(
                "it belongs to another user or jail, has changed its user or group since its \
                 last exec, or forbids tracing (procctl PROC_TRACE_CTL); be root, or see to it \
                 that the sysctl security.bsd.unprivileged_proc_debug is 1"
                    .into(),
            ),
            Errno::INVAL => denied(
                "no process can trace itself, a process of the kernel, or, while it is traced \
                 itself, an ancestor of its own"
                    .into(),
            ),
            Errno::NOSYS => {
                denied("ptrace is disabled; set the sysctl security.bsd.allow_ptrace to 1".into())
            }
            errno => Error::os("PT_ATTACH", pid.as_raw(), errno.into()),
        }
    }
}
