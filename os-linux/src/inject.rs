//! System calls that a tracee makes for its tracer.

use trapline_core::backend::{Thread, pages_near};
use trapline_core::{Arch, Result};

use crate::detour::refused;
use crate::{Linux, process, regs};

/// `MAP_FIXED_NOREPLACE` (Linux 4.17); an older kernel takes the address for a wish.
const FIXED_NOREPLACE: u64 = 0x10_0000;

/// How much of the vDSO is searched for the instruction that makes a system call.
const VDSO_LENGTH: usize = 8192;

impl Linux {
    /// Memory for code, as near to an address as can be.
    pub(crate) fn map_near(&mut self, thread: Thread, near: u64, len: u64) -> Result<u64> {
        const REACH: u64 = <regs::Cpu as Arch>::SLOT_REACH;
        let protection = (libc::PROT_READ | libc::PROT_EXEC) as u64;
        let flags = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS) as u64 | FIXED_NOREPLACE;
        let what = "memory near the program's code";
        for wish in pages_near(near, REACH) {
            let args = [wish, len, protection, flags, u64::MAX, 0];
            let start = match self.inject(thread, libc::SYS_mmap as u64, &args)? {
                Ok(start) => start,
                Err(libc::EEXIST | libc::EINVAL | libc::EPERM) => continue,
                Err(_) => return Err(refused(what)),
            };
            if start.abs_diff(near) < REACH {
                return Ok(start);
            }
            self.unmap(thread, start, len)?;
        }
        Err(refused(what))
    }

    pub(crate) fn unmap(&mut self, thread: Thread, addr: u64, len: u64) -> Result<()> {
        match self.inject(thread, libc::SYS_munmap as u64, &[addr, len])? {
            Ok(_) => Ok(()),
            Err(_) => Err(refused("to give memory back")),
        }
    }

    /// Has a stopped thread make a system call that returns to where it was made, and brings the
    /// thread back to where it was. The result is the call's.
    pub(crate) fn inject(
        &mut self,
        thread: Thread,
        number: u64,
        args: &[u64],
    ) -> Result<std::result::Result<u64, i32>> {
        let mut all = [0; 6];
        let Some(given) = all.get_mut(..args.len()) else {
            return Err(refused("a system call with more than six arguments"));
        };
        given.copy_from_slice(args);
        if regs::goes_elsewhere(number) {
            return Err(refused("a system call that does not return to where it was made"));
        }
        self.may_call(thread)?;
        self.call_on_the_way(thread, number, all)
    }

    /// Whether nothing forbids a thread any system call.
    fn may_call(&mut self, thread: Thread) -> Result<()> {
        let tid = thread.tid;
        let status = process::status(&self.kernel, tid.as_raw())?;
        let filtered = status.and_then(|status| status.seccomp) != Some(0);
        if filtered && !self.kernel.suspends_seccomp(tid) {
            return Err(refused("a system call that a seccomp filter may forbid"));
        }
        if !regs::is_native(&self.kernel.registers(tid)?) {
            return Err(refused("a system call in a 32-bit program"));
        }
        Ok(())
    }

    /// Where a process has the instruction that makes a system call: in the vDSO.
    pub(crate) fn syscall_instruction(&mut self, thread: Thread) -> Result<u64> {
        const AT_SYSINFO_EHDR: u64 = 33;
        if let Some(&at) = self.call_instructions.get(&thread.pid) {
            return Ok(at);
        }
        let nowhere = refused("a system call without a vDSO");
        let vector = process::auxiliary_vector(&self.kernel, thread.pid)?;
        let word = |bytes: &[u8]| bytes.try_into().ok().map(u64::from_ne_bytes);
        let start = vector.chunks_exact(16).find_map(|pair| {
            let (key, value) = pair.split_at(8);
            (word(key)? == AT_SYSINFO_EHDR).then(|| word(value))?
        });
        let Some(start) = start.filter(|&start| start != 0) else { return Err(nowhere) };
        let mut code = vec![0; VDSO_LENGTH];
        let read = self.memory.read(&self.kernel, thread, start, &mut code)?;
        code.truncate(read);
        let at = code.windows(regs::SYSCALL.len()).position(|code| code == regs::SYSCALL);
        let at = at.map(|at| start + at as u64).ok_or(nowhere)?;
        self.call_instructions.insert(thread.pid, at);
        Ok(at)
    }
}
