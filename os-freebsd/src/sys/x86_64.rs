//! ptrace(2), the requests for the registers of amd64.

use super::{Errno, Kernel, Result};
use crate::ffi;

impl Kernel {
    /// `PT_GETREGS`
    pub(crate) fn registers(&mut self, tid: i32) -> Result<libc::reg> {
        // SAFETY: all its parts are integers.
        let mut regs: libc::reg = unsafe { std::mem::zeroed() };
        // SAFETY: the request writes one `struct reg`.
        unsafe { self.ptrace_with(libc::PT_GETREGS, tid, &mut regs) }?;
        Ok(regs)
    }

    /// `PT_SETREGS`
    pub(crate) fn set_registers(&mut self, tid: i32, mut regs: libc::reg) -> Result<()> {
        // SAFETY: the request reads one `struct reg`.
        unsafe { self.ptrace_with(libc::PT_SETREGS, tid, &mut regs) }
    }

    /// Both bases: by `PT_GETREGSET`, where the kernel has that (FreeBSD 14), or `PT_GETFSBASE` and
    /// `PT_GETGSBASE`.
    pub(crate) fn bases(&mut self, tid: i32) -> Result<(u64, u64)> {
        let mut bases = ffi::SegBases::default();
        let mut vec =
            libc::iovec { iov_base: (&raw mut bases).cast(), iov_len: size_of::<ffi::SegBases>() };
        // SAFETY: the request reads and writes the `iovec` and, through it, writes at most the two
        // numbers of `bases`, which lives until it returns.
        let got = unsafe {
            let vec = (&raw mut vec).cast();
            self.ptrace(libc::PT_GETREGSET, tid, vec, ffi::NT_X86_SEGBASES)
        };
        match got {
            Ok(_) => return Ok((bases.r_fsbase, bases.r_gsbase)),
            Err(super::Errno::INVAL) => {}
            Err(error) => return Err(error),
        }
        let (mut fs, mut gs) = (0_u64, 0_u64);
        // SAFETY: the request writes one register.
        unsafe { self.ptrace_with(ffi::PT_GETFSBASE, tid, &mut fs) }?;
        // SAFETY: the request writes one register.
        unsafe { self.ptrace_with(ffi::PT_GETGSBASE, tid, &mut gs) }?;
        Ok((fs, gs))
    }

    /// `PT_SETFSBASE`
    pub(crate) fn set_fs_base(&mut self, tid: i32, mut base: u64) -> Result<()> {
        // SAFETY: the request reads one register.
        unsafe { self.ptrace_with(ffi::PT_SETFSBASE, tid, &mut base) }
    }

    /// `PT_SETGSBASE`
    pub(crate) fn set_gs_base(&mut self, tid: i32, mut base: u64) -> Result<()> {
        // SAFETY: the request reads one register.
        unsafe { self.ptrace_with(ffi::PT_SETGSBASE, tid, &mut base) }
    }

    /// `PT_GETFPREGS`
    pub(crate) fn fp_registers(&mut self, tid: i32) -> Result<[u8; 512]> {
        let mut image = ffi::FpReg([0; 512]);
        // SAFETY: the request writes one `struct fpreg`, which is 512 bytes.
        unsafe { self.ptrace_with(libc::PT_GETFPREGS, tid, &mut image) }?;
        Ok(image.0)
    }

    /// `PT_SETFPREGS`
    pub(crate) fn set_fp_registers(&mut self, tid: i32, image: [u8; 512]) -> Result<()> {
        let mut image = ffi::FpReg(image);
        // SAFETY: the request reads one `struct fpreg`, which is 512 bytes.
        unsafe { self.ptrace_with(libc::PT_SETFPREGS, tid, &mut image) }
    }

    /// `PT_GETXSTATE_INFO`: the length of an XSAVE area, and XCR0. The same for all threads, so it
    /// is asked once. EOPNOTSUPP on a CPU without XSAVE.
    pub(crate) fn xstate_info(&mut self, tid: i32) -> Result<(usize, u64)> {
        if let Some(known) = self.xstate {
            return Ok(known);
        }
        let mut info = ffi::XstateInfo::default();
        // SAFETY: the request writes one `struct ptrace_xstate_info`, and checks its size.
        unsafe { self.ptrace_with(ffi::PT_GETXSTATE_INFO, tid, &mut info) }?;
        let known = (info.xsave_len as usize, info.xsave_mask);
        self.xstate = Some(known);
        Ok(known)
    }

    /// `PT_GETXSTATE`
    pub(crate) fn xstate(&mut self, tid: i32) -> Result<Vec<u8>> {
        let (len, _) = self.xstate_info(tid)?;
        let mut area = vec![0_u8; len];
        let data = i32::try_from(len).unwrap_or(i32::MAX);
        // SAFETY: the request writes as much as PT_GETXSTATE_INFO says, whatever the data; the
        // area has that.
        unsafe { self.ptrace(ffi::PT_GETXSTATE, tid, area.as_mut_ptr().cast(), data) }?;
        Ok(area)
    }

    /// `PT_SETXSTATE`
    pub(crate) fn set_xstate(&mut self, tid: i32, area: &[u8]) -> Result<()> {
        let len = i32::try_from(area.len()).map_err(|_| Errno::INVAL)?;
        // SAFETY: the request reads as many bytes as the data says.
        unsafe { self.ptrace(ffi::PT_SETXSTATE, tid, area.as_ptr().cast_mut().cast(), len) }
            .map(|_| ())
    }

    /// `PT_GETDBREGS`: DR0 to DR7, DR4 and DR5 zero.
    pub(crate) fn debug_registers(&mut self, tid: i32) -> Result<[u64; 8]> {
        let mut regs = ffi::DbReg::default();
        // SAFETY: the request writes one `struct dbreg`.
        unsafe { self.ptrace_with(libc::PT_GETDBREGS, tid, &mut regs) }?;
        Ok(std::array::from_fn(|i| regs.dr[i]))
    }

    /// `PT_SETDBREGS`
    pub(crate) fn set_debug_registers(&mut self, tid: i32, values: [u64; 8]) -> Result<()> {
        let mut regs = ffi::DbReg::default();
        regs.dr[..8].copy_from_slice(&values);
        // SAFETY: the request reads one `struct dbreg`.
        unsafe { self.ptrace_with(libc::PT_SETDBREGS, tid, &mut regs) }
    }
}
