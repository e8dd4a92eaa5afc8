//! What the libc crate lacks, checked against FreeBSD's own headers by `tests/headers.c`, which
//! has the same list: change both.

use libc::{c_int, c_uint, c_void, id_t, idtype_t, pid_t, siginfo_t, sigval};

/// `sys/wait.h`: also children whose end is told by another signal than SIGCHLD (`rfork(2)` with
/// RFTSIGZMB); no others.
pub(crate) const WLINUXCLONE: c_int = 0x8000_0000_u32.cast_signed();

/// `sys/proc.h`: ids above it are LWPs'.
pub(crate) const PID_MAX: pid_t = 99_999;

/// `sys/proc.h`, of `ki_tdflags`: the sleep can be interrupted.
pub(crate) const TDF_SINTR: i64 = 0x8;

/// `sys/user.h`: the length of `struct kinfo_proc` on amd64, of all versions.
pub(crate) const KINFO_PROC_SIZE: usize = 1088;

// machine/ptrace.h
pub(crate) const PT_GETXSTATE_INFO: c_int = 68;
pub(crate) const PT_GETXSTATE: c_int = 69;
pub(crate) const PT_SETXSTATE: c_int = 70;
pub(crate) const PT_GETFSBASE: c_int = 71;
pub(crate) const PT_SETFSBASE: c_int = 72;
pub(crate) const PT_GETGSBASE: c_int = 73;
pub(crate) const PT_SETGSBASE: c_int = 74;

/// `machine/ptrace.h`, `struct ptrace_xstate_info`
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct XstateInfo {
    pub(crate) xsave_mask: u64,
    pub(crate) xsave_len: u32,
}

/// `machine/reg.h`, `struct fpreg`: the image that FXSAVE writes.
#[repr(C, align(8))]
#[derive(Debug, Clone, Copy)]
pub(crate) struct FpReg(pub(crate) [u8; 512]);

/// `machine/reg.h`, `struct dbreg`
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct DbReg {
    pub(crate) dr: [u64; 16],
}

/// `sys/ptrace.h`, `struct ptrace_sc_ret`; libc has it, with the wrong signedness for values.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ScRet {
    pub(crate) sr_retval: [u64; 2],
    pub(crate) sr_error: c_int,
}

/// `sys/procctl.h`, `struct procctl_reaper_status`
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ReaperStatus {
    pub(crate) rs_flags: c_uint,
    pub(crate) rs_children: c_uint,
    pub(crate) rs_descendants: c_uint,
    pub(crate) rs_reaper: pid_t,
    pub(crate) rs_pid: pid_t,
    pub(crate) rs_pad0: [c_uint; 15],
}

unsafe extern "C" {
    /// wait6(2). The resource usage is not asked for, so its type is left out.
    pub(crate) fn wait6(
        idtype: idtype_t,
        id: id_t,
        status: *mut c_int,
        options: c_int,
        wrusage: *mut c_void,
        infop: *mut siginfo_t,
    ) -> pid_t;

    /// sigqueue(2)
    pub(crate) fn sigqueue(pid: pid_t, signo: c_int, value: sigval) -> c_int;
}
