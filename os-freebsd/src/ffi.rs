//! What the libc crate lacks, checked against FreeBSD's own headers by `tests/headers.c`, which
//! has the same list: change both.

use libc::{c_int, c_uint, c_void, id_t, idtype_t, pid_t, siginfo_t, sigval};

/// `sys/wait.h`: also children whose end is reported by another signal than SIGCHLD (`rfork(2)` with
/// RFTSIGZMB); no others.
pub(crate) const WLINUXCLONE: c_int = 0x8000_0000_u32 as c_int;

/// `sys/proc.h`: ids above it are LWPs'.
pub(crate) const PID_MAX: pid_t = 99_999;

/// `sys/proc.h`, of `ki_tdflags`: the sleep can be interrupted.
pub(crate) const TDF_SINTR: i64 = 0x8;

// sys/sysctl.h
pub(crate) const KERN_PROC_VMMAP: c_int = 32;

// sys/syscall.h
pub(crate) const SYS_EXIT: c_int = 1;
pub(crate) const SYS_FORK: c_int = 2;
pub(crate) const SYS_EXECVE: c_int = 59;
pub(crate) const SYS_VFORK: c_int = 66;
pub(crate) const SYS_MUNMAP: c_int = 73;
pub(crate) const SYS_RFORK: c_int = 251;
pub(crate) const SYS_SIGPROCMASK: c_int = 340;
pub(crate) const SYS_SIGRETURN: c_int = 417;
pub(crate) const SYS_THR_EXIT: c_int = 431;
pub(crate) const SYS_THR_NEW: c_int = 455;
pub(crate) const SYS_MMAP: c_int = 477;
pub(crate) const SYS_FEXECVE: c_int = 492;
pub(crate) const SYS_PDFORK: c_int = 518;

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

/// `sys/ptrace.h`, `struct ptrace_sc_remote`
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub(crate) struct ScRemote {
    pub(crate) pscr_ret: ScRet,
    pub(crate) pscr_syscall: c_uint,
    pub(crate) pscr_nargs: c_uint,
    pub(crate) pscr_args: *const u64,
}

/// `x86/include/reg.h`, `struct segbasereg`
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SegBases {
    pub(crate) r_fsbase: u64,
    pub(crate) r_gsbase: u64,
}

/// `sys/elf_common.h`: the set of registers that [`SegBases`] is.
pub(crate) const NT_X86_SEGBASES: c_int = 0x200;

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

/// The layout of a structure, as `tests/headers.c` has it too.
macro_rules! layout {
    ($type:ty, $size:literal $(, $field:ident: $offset:literal)* $(,)?) => {
        const _: () = {
            assert!(size_of::<$type>() == $size);
            $(assert!(std::mem::offset_of!($type, $field) == $offset);)*
        };
    };
}

layout!(XstateInfo, 16, xsave_mask: 0, xsave_len: 8);
layout!(FpReg, 512);
layout!(DbReg, 128, dr: 0);
layout!(ScRemote, 40, pscr_ret: 0, pscr_syscall: 24, pscr_nargs: 28, pscr_args: 32);
layout!(SegBases, 16, r_fsbase: 0, r_gsbase: 8);
layout!(ScRet, 24, sr_retval: 0, sr_error: 16);
layout!(
    ReaperStatus, 80, rs_flags: 0, rs_children: 4, rs_descendants: 8, rs_reaper: 12, rs_pid: 16,
    rs_pad0: 20,
);
layout!(idtype_t, 4);
layout!(id_t, 8);
layout!(sigval, 8);
layout!(libc::sigset_t, 16);
layout!(
    siginfo_t, 80, si_signo: 0, si_errno: 4, si_code: 8, si_pid: 12, si_uid: 16, si_addr: 24,
    si_value: 32,
);
layout!(
    libc::ptrace_lwpinfo, 160, pl_lwpid: 0, pl_event: 4, pl_flags: 8, pl_sigmask: 12,
    pl_siglist: 28, pl_siginfo: 48, pl_tdname: 128, pl_child_pid: 148, pl_syscall_code: 152,
    pl_syscall_narg: 156,
);
layout!(libc::ptrace_io_desc, 32, piod_op: 0, piod_offs: 8, piod_addr: 16, piod_len: 24);
layout!(
    libc::ptrace_vm_entry, 64, pve_entry: 0, pve_timestamp: 4, pve_start: 8, pve_end: 16,
    pve_offset: 24, pve_prot: 32, pve_pathlen: 36, pve_fileid: 40, pve_fsid: 48, pve_path: 56,
);
layout!(
    libc::reg, 176, r_r15: 0, r_rdi: 64, r_rax: 112, r_trapno: 120, r_fs: 124, r_gs: 126,
    r_err: 128, r_es: 132, r_ds: 134, r_rip: 136, r_cs: 144, r_rflags: 152, r_rsp: 160, r_ss: 168,
);
layout!(
    libc::kinfo_proc, 1088, ki_pid: 72, ki_ppid: 76, ki_siglist: 104, ki_flag: 368, ki_stat: 388,
    ki_tracer: 576, ki_tid: 600, ki_tdflags: 1080,
);
layout!(
    libc::kevent, 64, ident: 0, filter: 8, flags: 10, fflags: 12, data: 16, udata: 24, ext: 32,
);
