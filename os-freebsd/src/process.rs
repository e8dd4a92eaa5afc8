//! Questions about processes, and what error numbers mean.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use trapline_core::backend::{Listed, Thread};
use trapline_core::{Error, Pid, Result, Syscall, SyscallAbi};

use crate::decode::{self, LwpFlags, LwpInfo};
use crate::ext::SyscallReturn;
use crate::sys::{self, Errno, Process};
use crate::system::FreeBsd;

impl FreeBsd {
    /// The answer to a request about a stopped thread.
    pub(crate) fn checked<T>(
        &mut self,
        request: &'static str,
        thread: Thread,
        result: sys::Result<T>,
    ) -> Result<T> {
        self.answered(request, thread.pid, thread.tid.as_raw(), result)
    }

    /// The answer to a request.
    ///
    /// ESRCH says that the process or the LWP is not there, or ending (P_WEXIT); EBUSY that it is
    /// not stopped, not waited for, not ours, or in the middle of an exec (`proc_can_ptrace` and
    /// `p_candebug`). EPERM would say that it is not traced at all.
    pub(crate) fn answered<T>(
        &mut self,
        request: &'static str,
        pid: Pid,
        id: i32,
        result: sys::Result<T>,
    ) -> Result<T> {
        match result {
            Ok(value) => Ok(value),
            Err(Errno::SRCH) => Err(Error::GONE),
            Err(Errno::BUSY) => match self.kernel.process(pid.as_raw()) {
                Ok(Some(process)) if !process.zombie => Err(Error::NOT_STOPPED),
                _ => Err(Error::GONE),
            },
            Err(errno) => Err(Error::os(request, id, errno.into())),
        }
    }

    /// For a question that has no answer at this stop.
    pub(crate) fn nothing_there(&self, request: &'static str, thread: Thread) -> Error {
        Error::os(request, thread.tid.as_raw(), Errno::NOENT.into())
    }

    /// `PT_LWPINFO` of a stopped thread.
    pub(crate) fn info(&mut self, thread: Thread) -> Result<LwpInfo> {
        let result = self.kernel.lwp_info(thread.tid.as_raw());
        self.checked("PT_LWPINFO", thread, result)
    }

    /// A process that must be there.
    pub(crate) fn known(&mut self, id: i32) -> Result<Process> {
        let found = self.kernel.process(id);
        self.answered("kern.proc.pid", Pid::from_raw(id), id, found)?.ok_or(Error::GONE)
    }

    /// The threads of a process that must be there.
    pub(crate) fn threads_of(&mut self, pid: Pid) -> Result<Vec<Process>> {
        let found = self.kernel.threads(pid.as_raw());
        let threads = self.answered("kern.proc.pid", pid, pid.as_raw(), found)?;
        if threads.is_empty() || threads.iter().any(|thread| thread.zombie) {
            return Err(Error::GONE);
        }
        Ok(threads)
    }

    /// All processes that have not ended.
    pub(crate) fn listed(&mut self) -> Result<Vec<Listed>> {
        let found = self.kernel.all_processes();
        let all = found.map_err(|errno| Error::os("kern.proc.proc", -1, errno.into()))?;
        let mut listed = Vec::new();
        for process in all.iter().filter(|process| !process.zombie) {
            listed.push(Listed {
                pid: Pid::from_raw(process.pid),
                parent: Pid::from_raw(process.parent),
                image: self.image_of(process.pid),
            });
        }
        Ok(listed)
    }

    /// Where the kernel has put `struct ps_strings`, at the end of the stack: random at each exec,
    /// unless address space layout randomisation is off, and copied by a fork.
    fn image_of(&mut self, pid: i32) -> Option<u64> {
        let address = self.kernel.ps_strings(pid).ok()?;
        address.try_into().ok().map(u64::from_ne_bytes)
    }

    pub(crate) fn executable_of(&mut self, pid: Pid) -> Result<PathBuf> {
        let found = self.kernel.executable(pid.as_raw());
        let mut path = self.answered("kern.proc.pathname", pid, pid.as_raw(), found)?;
        if path.last() == Some(&0) {
            path.pop();
        }
        Ok(PathBuf::from(OsString::from_vec(path)))
    }

    pub(crate) fn arguments_of(&mut self, pid: Pid) -> Result<Vec<OsString>> {
        let found = self.kernel.arguments(pid.as_raw());
        let bytes = self.answered("kern.proc.args", pid, pid.as_raw(), found)?;
        let arguments = bytes.split_inclusive(|&byte| byte == 0);
        let word = |word: &[u8]| word.strip_suffix(&[0]).unwrap_or(word).to_vec();
        Ok(arguments.map(|argument| OsString::from_vec(word(argument))).collect())
    }

    /// The system call that a thread is in, with its result if it is leaving.
    pub(crate) fn system_call(&mut self, thread: Thread) -> Result<Syscall> {
        let info = self.info(thread)?;
        // What it was in last is known at other stops too, but is not what is asked.
        if !info.flags.intersects(LwpFlags::SCE | LwpFlags::SCX | LwpFlags::VFORK_DONE) {
            return Err(self.nothing_there("PT_GET_SC_ARGS", thread));
        }
        let tid = thread.tid.as_raw();
        let result = self.kernel.syscall_args(tid);
        let args = self.checked("PT_GET_SC_ARGS", thread, result)?;
        let result = if info.flags.intersects(LwpFlags::SCX | LwpFlags::VFORK_DONE) {
            let left = self.left_by_call(thread, info)?;
            Some(decode::syscall_result(left.error, left.values[0]))
        } else {
            None
        };
        let [a, b, c, d, e, f, ..] = args;
        let abi = self.abi_of(thread.pid)?;
        Ok(Syscall::new(abi, info.syscall.into(), [a, b, c, d, e, f], result))
    }

    /// The ABI of a program's system calls, whatever instruction makes them (`ia32_syscall` in
    /// `sys/amd64/ia32/ia32_syscall.c`). Asked once for each program.
    pub(crate) fn abi_of(&mut self, pid: Pid) -> Result<SyscallAbi> {
        let known = self.tracees.get(&pid.as_raw()).and_then(|tracee| tracee.abi);
        if let Some(abi) = known {
            return Ok(abi);
        }
        let narrow = self.known(pid.as_raw())?.narrow;
        let abi = if narrow { SyscallAbi::Bits32 } else { SyscallAbi::Bits64 };
        if let Some(tracee) = self.tracees.get_mut(&pid.as_raw()) {
            tracee.abi = Some(abi);
        }
        Ok(abi)
    }

    /// What a call left, at its exit. After the end of a vfork the registers have it, and the
    /// kernel no longer does.
    pub(crate) fn left_by_call(&mut self, thread: Thread, info: LwpInfo) -> Result<SyscallReturn> {
        if info.flags.contains(LwpFlags::VFORK_DONE) {
            return Ok(match self.returned(thread)? {
                Ok(value) => SyscallReturn { error: 0, values: [value, 0] },
                Err(error) => SyscallReturn { error, values: [0; 2] },
            });
        }
        let result = self.kernel.syscall_return(thread.tid.as_raw());
        let result = self.checked("PT_GET_SC_RET", thread, result)?;
        Ok(SyscallReturn { error: result.sr_error, values: result.sr_retval })
    }
}
