/*
 * Checks src/ffi.rs, src/decode.rs and what src/sys takes from the libc crate against FreeBSD's own
 * headers. Nothing is run; that it compiles is the test:
 *
 *     python3 -m ziglang cc -target x86_64-freebsd -c -o /dev/null tests/headers.c
 *
 * with the headers of FreeBSD that ziglang brings, or on FreeBSD: cc -c -o /dev/null tests/headers.c
 */
#include <sys/types.h>
#include <sys/event.h>
#include <sys/proc.h>
#include <sys/procctl.h>
#include <sys/ptrace.h>
#include <sys/elf_common.h>
#include <sys/signal.h>
#include <sys/syscall.h>
#include <sys/sysctl.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <machine/reg.h>
#include <stddef.h>

#define VALUE(name, value) _Static_assert((name) == (value), #name)
#define SIZE(type, size) _Static_assert(sizeof(type) == (size), #type)
#define FIELD(type, field, offset, size)                                    \
	_Static_assert(offsetof(type, field) == (offset), #type "." #field);   \
	_Static_assert(sizeof(((type *)0)->field) == (size), #type "." #field " size")

/* src/ffi.rs: constants */
VALUE((int)WLINUXCLONE, (int)0x80000000);
#ifdef PID_MAX
VALUE(PID_MAX, 99999);
#endif
VALUE(TDF_SINTR, 0x8);
VALUE(KERN_PROC_VMMAP, 32);
VALUE(SYS_exit, 1);
VALUE(SYS_fork, 2);
VALUE(SYS_execve, 59);
VALUE(SYS_vfork, 66);
VALUE(SYS_rfork, 251);
VALUE(SYS_sigprocmask, 340);
VALUE(SYS_thr_exit, 431);
VALUE(SYS_thr_new, 455);
VALUE(SYS_fexecve, 492);
VALUE(SYS_pdfork, 518);
VALUE(KVME_TYPE_VNODE, 2);
VALUE(KVME_FLAG_COW, 0x1);
VALUE(KVME_FLAG_NEEDS_COPY, 0x2);
VALUE(KVME_FLAG_SYSVSHM, 0x80);
VALUE(KVME_FLAG_POSIXSHM, 0x100);
FIELD(struct kinfo_vmentry, kve_structsize, 0, 4);
FIELD(struct kinfo_vmentry, kve_type, 4, 4);
FIELD(struct kinfo_vmentry, kve_start, 8, 8);
FIELD(struct kinfo_vmentry, kve_end, 16, 8);
FIELD(struct kinfo_vmentry, kve_offset, 24, 8);
FIELD(struct kinfo_vmentry, kve_vn_fileid, 32, 8);
FIELD(struct kinfo_vmentry, kve_flags, 44, 4);
FIELD(struct kinfo_vmentry, kve_protection, 56, 4);
FIELD(struct kinfo_vmentry, kve_vn_fsid, 88, 8);
_Static_assert(offsetof(struct kinfo_vmentry, kve_path) == 136, "kve_path");
VALUE(PT_GETXSTATE_INFO, 68);
VALUE(PT_GETXSTATE, 69);
VALUE(PT_SETXSTATE, 70);
VALUE(PT_GETFSBASE, 71);
VALUE(PT_SETFSBASE, 72);
VALUE(PT_GETGSBASE, 73);
VALUE(PT_SETGSBASE, 74);

/* src/ffi.rs: structures */
SIZE(struct ptrace_xstate_info, 16);
FIELD(struct ptrace_xstate_info, xsave_mask, 0, 8);
FIELD(struct ptrace_xstate_info, xsave_len, 8, 4);
SIZE(struct fpreg, 512);
SIZE(struct dbreg, 128);
FIELD(struct dbreg, dr, 0, 128);
SIZE(struct ptrace_sc_remote, 40);
FIELD(struct ptrace_sc_remote, pscr_ret, 0, 24);
FIELD(struct ptrace_sc_remote, pscr_syscall, 24, 4);
FIELD(struct ptrace_sc_remote, pscr_nargs, 28, 4);
FIELD(struct ptrace_sc_remote, pscr_args, 32, 8);
SIZE(struct segbasereg, 16);
FIELD(struct segbasereg, r_fsbase, 0, 8);
FIELD(struct segbasereg, r_gsbase, 8, 8);
VALUE(NT_X86_SEGBASES, 0x200);
VALUE(SYS_munmap, 73);
VALUE(SYS_sigreturn, 417);
VALUE(SYS_mmap, 477);
SIZE(struct ptrace_sc_ret, 24);
FIELD(struct ptrace_sc_ret, sr_retval, 0, 16);
FIELD(struct ptrace_sc_ret, sr_error, 16, 4);
SIZE(struct procctl_reaper_status, 80);
FIELD(struct procctl_reaper_status, rs_flags, 0, 4);
FIELD(struct procctl_reaper_status, rs_children, 4, 4);
FIELD(struct procctl_reaper_status, rs_descendants, 8, 4);
FIELD(struct procctl_reaper_status, rs_reaper, 12, 4);
FIELD(struct procctl_reaper_status, rs_pid, 16, 4);
FIELD(struct procctl_reaper_status, rs_pad0, 20, 60);
SIZE(idtype_t, 4);
SIZE(id_t, 8);
SIZE(union sigval, 8);

/* src/decode.rs */
VALUE(SIGILL, 4);
VALUE(SIGTRAP, 5);
VALUE(SIGFPE, 8);
VALUE(SIGKILL, 9);
VALUE(SIGBUS, 10);
VALUE(SIGSEGV, 11);
VALUE(SIGSTOP, 17);
VALUE(TRAP_BRKPT, 1);
VALUE(TRAP_TRACE, 2);
VALUE(SI_USER, 0x10001);
VALUE(SI_QUEUE, 0x10002);
VALUE(SI_TIMER, 0x10003);
VALUE(SI_ASYNCIO, 0x10004);
VALUE(SI_MESGQ, 0x10005);
VALUE(SI_LWP, 0x10007);
VALUE(PL_EVENT_SIGNAL, 1);
VALUE(PL_FLAG_SCE, 0x04);
VALUE(PL_FLAG_SCX, 0x08);
VALUE(PL_FLAG_EXEC, 0x10);
VALUE(PL_FLAG_SI, 0x20);
VALUE(PL_FLAG_FORKED, 0x40);
VALUE(PL_FLAG_CHILD, 0x80);
VALUE(PL_FLAG_BORN, 0x100);
VALUE(PL_FLAG_EXITED, 0x200);
VALUE(PL_FLAG_VFORKED, 0x400);
VALUE(PL_FLAG_VFORK_DONE, 0x800);
VALUE(PTRACE_EXEC, 0x01);
VALUE(PTRACE_SCE, 0x02);
VALUE(PTRACE_SCX, 0x04);
VALUE(PTRACE_FORK, 0x08);
VALUE(PTRACE_LWP, 0x10);
VALUE(PTRACE_VFORK, 0x20);
VALUE(PTRACE_DEFAULT, PTRACE_EXEC);

/* A wait status. */
VALUE(WSTOPSIG(0x057f), SIGTRAP);
_Static_assert(WIFSTOPPED(0x057f), "stopped");
VALUE(WEXITSTATUS(0x0700), 7);
_Static_assert(WIFEXITED(0x0700), "exited");
VALUE(WTERMSIG(0x0086), 6);
_Static_assert(WIFSIGNALED(0x0086), "killed");
_Static_assert(WCOREDUMP(0x0086), "core dumped");

/* The libc crate: what src/sys uses of it. */
VALUE(PT_TRACE_ME, 0);
VALUE(PT_CONTINUE, 7);
VALUE(PT_KILL, 8);
VALUE(PT_STEP, 9);
VALUE(PT_ATTACH, 10);
VALUE(PT_DETACH, 11);
VALUE(PT_IO, 12);
VALUE(PT_LWPINFO, 13);
VALUE(PT_GETNUMLWPS, 14);
VALUE(PT_GETLWPLIST, 15);
VALUE(PT_CLEARSTEP, 16);
VALUE(PT_SETSTEP, 17);
VALUE(PT_SUSPEND, 18);
VALUE(PT_RESUME, 19);
VALUE(PT_GET_EVENT_MASK, 25);
VALUE(PT_SET_EVENT_MASK, 26);
VALUE(PT_GET_SC_ARGS, 27);
VALUE(PT_GET_SC_RET, 28);
VALUE(PT_GETREGS, 33);
VALUE(PT_SETREGS, 34);
VALUE(PT_GETFPREGS, 35);
VALUE(PT_SETFPREGS, 36);
VALUE(PT_GETDBREGS, 37);
VALUE(PT_SETDBREGS, 38);
VALUE(PT_VM_ENTRY, 41);
VALUE(PIOD_READ_D, 1);
VALUE(PIOD_WRITE_D, 2);
VALUE(PIOD_READ_I, 3);
VALUE(PIOD_WRITE_I, 4);
VALUE(WNOHANG, 1);
VALUE(WNOWAIT, 8);
VALUE(WEXITED, 16);
VALUE(WTRAPPED, 32);
VALUE(P_PID, 0);
VALUE(P_ALL, 7);
VALUE(P_PPWAIT, 0x10);
VALUE(P_WKILLED, 0x8000);
VALUE(SSLEEP, 3);
VALUE(SZOMB, 5);
VALUE(PROC_REAP_STATUS, 4);
VALUE(PROC_TRACE_STATUS, 8);
VALUE(CTL_KERN, 1);
VALUE(KERN_PROC, 14);
VALUE(KERN_PROC_PID, 1);
VALUE(KERN_PROC_ARGS, 7);
VALUE(KERN_PROC_PROC, 8);
VALUE(KERN_PROC_PATHNAME, 12);
VALUE(KERN_PROC_INC_THREAD, 0x10);
VALUE(EVFILT_READ, -1);
VALUE(EVFILT_PROC, -5);
VALUE(EVFILT_SIGNAL, -6);
VALUE(EVFILT_USER, -11);
VALUE(NOTE_EXIT, 0x80000000);
VALUE(NOTE_TRIGGER, 0x01000000);
VALUE(SA_NOCLDSTOP, 0x8);

SIZE(sigset_t, 16);
FIELD(sigset_t, __bits, 0, 16);

SIZE(siginfo_t, 80);
FIELD(siginfo_t, si_signo, 0, 4);
FIELD(siginfo_t, si_errno, 4, 4);
FIELD(siginfo_t, si_code, 8, 4);
FIELD(siginfo_t, si_pid, 12, 4);
FIELD(siginfo_t, si_uid, 16, 4);
FIELD(siginfo_t, si_addr, 24, 8);
FIELD(siginfo_t, si_value, 32, 8);

SIZE(struct ptrace_lwpinfo, 160);
FIELD(struct ptrace_lwpinfo, pl_lwpid, 0, 4);
FIELD(struct ptrace_lwpinfo, pl_event, 4, 4);
FIELD(struct ptrace_lwpinfo, pl_flags, 8, 4);
FIELD(struct ptrace_lwpinfo, pl_sigmask, 12, 16);
FIELD(struct ptrace_lwpinfo, pl_siglist, 28, 16);
FIELD(struct ptrace_lwpinfo, pl_siginfo, 48, 80);
FIELD(struct ptrace_lwpinfo, pl_tdname, 128, 20);
FIELD(struct ptrace_lwpinfo, pl_child_pid, 148, 4);
FIELD(struct ptrace_lwpinfo, pl_syscall_code, 152, 4);
FIELD(struct ptrace_lwpinfo, pl_syscall_narg, 156, 4);

SIZE(struct ptrace_io_desc, 32);
FIELD(struct ptrace_io_desc, piod_op, 0, 4);
FIELD(struct ptrace_io_desc, piod_offs, 8, 8);
FIELD(struct ptrace_io_desc, piod_addr, 16, 8);
FIELD(struct ptrace_io_desc, piod_len, 24, 8);

SIZE(struct ptrace_vm_entry, 64);
FIELD(struct ptrace_vm_entry, pve_entry, 0, 4);
FIELD(struct ptrace_vm_entry, pve_timestamp, 4, 4);
FIELD(struct ptrace_vm_entry, pve_start, 8, 8);
FIELD(struct ptrace_vm_entry, pve_end, 16, 8);
FIELD(struct ptrace_vm_entry, pve_offset, 24, 8);
FIELD(struct ptrace_vm_entry, pve_prot, 32, 4);
FIELD(struct ptrace_vm_entry, pve_pathlen, 36, 4);
FIELD(struct ptrace_vm_entry, pve_fileid, 40, 8);
FIELD(struct ptrace_vm_entry, pve_fsid, 48, 4);
FIELD(struct ptrace_vm_entry, pve_path, 56, 8);

SIZE(struct reg, 176);
FIELD(struct reg, r_r15, 0, 8);
FIELD(struct reg, r_rdi, 64, 8);
FIELD(struct reg, r_rax, 112, 8);
FIELD(struct reg, r_trapno, 120, 4);
FIELD(struct reg, r_fs, 124, 2);
FIELD(struct reg, r_gs, 126, 2);
FIELD(struct reg, r_err, 128, 4);
FIELD(struct reg, r_es, 132, 2);
FIELD(struct reg, r_ds, 134, 2);
FIELD(struct reg, r_rip, 136, 8);
FIELD(struct reg, r_cs, 144, 8);
FIELD(struct reg, r_rflags, 152, 8);
FIELD(struct reg, r_rsp, 160, 8);
FIELD(struct reg, r_ss, 168, 8);

SIZE(struct kinfo_proc, 1088);
FIELD(struct kinfo_proc, ki_pid, 72, 4);
FIELD(struct kinfo_proc, ki_ppid, 76, 4);
FIELD(struct kinfo_proc, ki_siglist, 104, 16);
FIELD(struct kinfo_proc, ki_flag, 368, 8);
FIELD(struct kinfo_proc, ki_stat, 388, 1);
FIELD(struct kinfo_proc, ki_tracer, 576, 4);
FIELD(struct kinfo_proc, ki_tid, 600, 4);
FIELD(struct kinfo_proc, ki_tdflags, 1080, 8);

SIZE(struct kevent, 64);
FIELD(struct kevent, ident, 0, 8);
FIELD(struct kevent, filter, 8, 2);
FIELD(struct kevent, flags, 10, 2);
FIELD(struct kevent, fflags, 12, 4);
FIELD(struct kevent, data, 16, 8);
FIELD(struct kevent, udata, 24, 8);
FIELD(struct kevent, ext, 32, 32);
