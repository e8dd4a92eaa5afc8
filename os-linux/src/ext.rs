//! What only Linux has.

use trapline_core::backend::{Setup, Thread};
use trapline_core::{Backend, Error, Result, SpawnOptions, Spawned, Stopped, Tracer};

use crate::ffi::{PTRACE_SYSCALL_INFO_SECCOMP, Siginfo};
use crate::{Linux, decode, regs, sys};

/// Where a thread is and by which ABI it makes system calls.
///
/// **Available:** Linux.
///
/// ```
/// use trapline::os::linux::Abi;
///
/// fn is_x86_64(abi: &Abi) -> bool {
///     abi.audit_arch == 0xc000_003e
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Abi {
    /// The CPU and ABI, as `AUDIT_ARCH_*` of `linux/audit.h`: `0xc000003e` is x86-64 (and x32),
    /// `0x40000003` is 32-bit x86. In a system call it is that of the call, elsewhere that of the
    /// code which the thread executes.
    pub audit_arch: u32,
    /// The program counter.
    pub instruction_pointer: u64,
    /// The stack pointer.
    pub stack_pointer: u64,
}

/// An instruction of a seccomp filter: `struct sock_filter` of `linux/filter.h`, which crates that
/// make filters have too.
///
/// **Available:** Linux.
///
/// ```
/// use trapline::os::linux::BpfInstruction;
///
/// /// `SECCOMP_RET_TRACE` for every call.
/// const TRACE_ALL: [BpfInstruction; 1] = [BpfInstruction { code: 0x06, jt: 0, jf: 0, k: 0x7ff0_0000 }];
/// ```
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct BpfInstruction {
    /// What it does.
    pub code: u16,
    /// How many instructions to skip if a comparison is true.
    pub jt: u8,
    /// How many to skip if it is not.
    pub jf: u8,
    /// Its operand.
    pub k: u32,
}

/// Whose signals wait in a queue.
///
/// **Available:** Linux.
///
/// ```
/// use trapline::os::linux::{SignalQueue, TracerExt};
/// use trapline::{Result, Stopped, Tracer};
///
/// fn how_many(tracer: &Tracer, stop: &Stopped) -> Result<usize> {
///     Ok(tracer.queued_signals(stop, SignalQueue::Process)?.len())
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SignalQueue {
    /// Those of the thread.
    Thread,
    /// Those of its process, for any thread.
    Process,
}

/// What a [`Tracer`] can do on Linux and on no other system.
///
/// **Available:** Linux.
///
/// ```
/// use trapline::os::linux::TracerExt;
/// use trapline::{Result, Stopped, Tracer};
///
/// fn is_32_bit_call(tracer: &Tracer, stop: &Stopped) -> Result<bool> {
///     Ok(tracer.abi(stop)?.audit_arch & 0x8000_0000 == 0)
/// }
/// ```
pub trait TracerExt: sealed::Sealed {
    /// Starts a program with a seccomp filter, so that it stops at the system calls that the
    /// filter picks out (`SECCOMP_RET_TRACE`) and at no other one: with
    /// [`StopReason::SyscallEntry`](trapline_core::StopReason::SyscallEntry), whatever its event
    /// flags. [`Tracer::resume`] carries the call out and does not stop at its exit;
    /// [`resume_to_syscall_exit`](Self::resume_to_syscall_exit) does.
    ///
    /// Under [`EventFlags::SYSCALL`](trapline_core::EventFlags::SYSCALL) every call stops anyway,
    /// and none stops twice at its entry.
    ///
    /// ```no_run
    /// use std::process::Command;
    /// use trapline::os::linux::{BpfInstruction, TracerExt};
    /// use trapline::{EventFlags, Tracer};
    ///
    /// // Of the number of the call (offset 0): `umask`, which is 95 on x86-64, stops; all others run.
    /// let filter = [
    ///     BpfInstruction { code: 0x20, jt: 0, jf: 0, k: 0 },
    ///     BpfInstruction { code: 0x15, jt: 0, jf: 1, k: 95 },
    ///     BpfInstruction { code: 0x06, jt: 0, jf: 0, k: 0x7ff0_0000 },
    ///     BpfInstruction { code: 0x06, jt: 0, jf: 0, k: 0x7fff_0000 },
    /// ];
    /// let mut tracer = Tracer::builder().events(EventFlags::PROCESS).build()?;
    /// let mut command = Command::new("sh");
    /// command.args(["-c", "umask"]);
    /// tracer.spawn_filtered(command, &filter)?;
    /// # Ok::<(), trapline::Error>(())
    /// ```
    ///
    /// # Platform notes
    ///
    /// A filter cannot be removed, and the children of the program inherit it. Without a tracer,
    /// the calls that it picks out *fail* with `ENOSYS`. So neither the program nor a child of it
    /// works any more once it is detached: follow both sides of each fork
    /// ([`FollowFork::Both`](trapline_core::FollowFork::Both)).
    ///
    /// If the tracer lacks `CAP_SYS_ADMIN` the program gets `PR_SET_NO_NEW_PRIVS`, which changes
    /// nothing for a program that is traced without privileges.
    ///
    /// # Errors
    ///
    /// As [`Tracer::spawn`]; [`Error::Spawn`](trapline_core::Error::Spawn) with `EINVAL` for what
    /// is no filter.
    ///
    /// # References
    ///
    /// `seccomp(2)`; `PTRACE_EVENT_SECCOMP` in `ptrace(2)`.
    fn spawn_filtered(
        &mut self,
        options: impl Into<SpawnOptions>,
        filter: &[BpfInstruction],
    ) -> Result<Spawned>;

    /// Sets whether a program also stops at the calls that its *own* seccomp filter picks out with
    /// `SECCOMP_RET_TRACE` (`PTRACE_O_TRACESECCOMP`). It holds for programs started or attached to
    /// from now on, and for their children. It is off at first, and
    /// [`spawn_filtered`](Self::spawn_filtered) turns it on. While it is off, such a call fails
    /// with `ENOSYS`, as without a tracer.
    ///
    /// ```
    /// use trapline::Tracer;
    /// use trapline::os::linux::TracerExt;
    ///
    /// fn stop_at_own_filters(tracer: &mut Tracer) {
    ///     tracer.set_filter_stops(true);
    /// }
    /// ```
    fn set_filter_stops(&mut self, on: bool);

    /// Runs a thread to the exit of the system call that it is in, whatever its event flags: a
    /// stop with [`StopReason::SyscallExit`](trapline_core::StopReason::SyscallExit), unless
    /// another event comes first, such as that of a fork or an exec. From where it is in no call
    /// it runs to the exit of the next one.
    ///
    /// ```
    /// use trapline::os::linux::TracerExt;
    /// use trapline::{Result, StopReason, Stopped, Tracer};
    ///
    /// /// From the entry of a call that a filter has picked out to its exit.
    /// fn finish_call(tracer: &mut Tracer, stop: Stopped) -> Result<()> {
    ///     assert_eq!(stop.reason(), StopReason::SyscallEntry);
    ///     tracer.resume_to_syscall_exit(stop)
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Tracer::resume`].
    fn resume_to_syscall_exit(&mut self, stop: Stopped) -> Result<()>;

    /// Suspends the seccomp filters of a stopped thread, or puts them in force again. While they
    /// are suspended the kernel does not ask them, neither for the thread's own calls nor for those
    /// that it [is made to make](Tracer::call_syscall). The suspension ends when the thread is no
    /// longer traced, and tasks that the thread makes inherit it.
    ///
    /// ```
    /// use trapline::os::linux::TracerExt;
    /// use trapline::{Result, Stopped, Tracer};
    ///
    /// fn ignore_filters(tracer: &mut Tracer, stop: &Stopped) -> Result<()> {
    ///     tracer.suspend_seccomp(stop, true)
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Os`](trapline_core::Error::Os) with `EPERM` without `CAP_SYS_ADMIN`, or if the tracer
    /// has a filter itself; with `EINVAL` for a kernel without `CONFIG_CHECKPOINT_RESTORE`.
    ///
    /// # References
    ///
    /// `PTRACE_O_SUSPEND_SECCOMP` in `ptrace(2)`.
    fn suspend_seccomp(&mut self, stop: &Stopped, suspend: bool) -> Result<()>;

    /// The ABI by which a stopped thread makes system calls; see [`Linux::abi`].
    ///
    /// ```
    /// use trapline::os::linux::TracerExt;
    /// use trapline::{Result, Stopped, Tracer};
    ///
    /// fn program_counter(tracer: &Tracer, stop: &Stopped) -> Result<u64> {
    ///     Ok(tracer.abi(stop)?.instruction_pointer)
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Gone`](trapline_core::Error::Gone) if it was killed.
    fn abi(&self, stop: &Stopped) -> Result<Abi>;

    /// The whole `siginfo_t` of a signal stop; see [`Linux::siginfo`].
    ///
    /// ```
    /// use trapline::os::linux::TracerExt;
    /// use trapline::{Result, Stopped, Tracer};
    ///
    /// /// `si_signo`, the first of its fields.
    /// fn number(tracer: &Tracer, stop: &Stopped) -> Result<u8> {
    ///     Ok(tracer.siginfo(stop)?[0])
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Linux::siginfo`].
    fn siginfo(&self, stop: &Stopped) -> Result<[u8; 128]>;

    /// Changes the `siginfo_t` that the program will see; see [`Linux::set_siginfo`].
    ///
    /// ```
    /// use trapline::os::linux::TracerExt;
    /// use trapline::{Result, Stopped, Tracer};
    ///
    /// /// Clears `si_errno`.
    /// fn clear_errno(tracer: &mut Tracer, stop: &Stopped) -> Result<()> {
    ///     let mut info = tracer.siginfo(stop)?;
    ///     info[4..8].fill(0);
    ///     tracer.set_siginfo(stop, &info)
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Linux::siginfo`].
    fn set_siginfo(&mut self, stop: &Stopped, info: &[u8; 128]) -> Result<()>;

    /// The `siginfo_t` of each signal that waits for a stopped thread or its process, in the order in
    /// which they were sent. [`Tracer::pending_signals`] has their numbers.
    ///
    /// ```
    /// use trapline::os::linux::{SignalQueue, TracerExt};
    /// use trapline::{Result, Stopped, Tracer};
    ///
    /// /// The numbers of the signals that wait for a thread, as often as they were sent.
    /// fn numbers(tracer: &Tracer, stop: &Stopped) -> Result<Vec<u8>> {
    ///     let waiting = tracer.queued_signals(stop, SignalQueue::Thread)?;
    ///     Ok(waiting.iter().map(|info| info[0]).collect())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Gone`](trapline_core::Error::Gone) if it was killed.
    ///
    /// # References
    ///
    /// `PTRACE_PEEKSIGINFO` in `ptrace(2)`.
    fn queued_signals(&self, stop: &Stopped, queue: SignalQueue) -> Result<Vec<[u8; 128]>>;

    /// What a seccomp filter has given along with `SECCOMP_RET_TRACE`, its lower 16 bits, at the stop
    /// at the entry of a system call that the filter asked for. `None` at any other stop: under
    /// [`EventFlags::SYSCALL`](trapline_core::EventFlags::SYSCALL) a call stops before its filter is
    /// asked.
    ///
    /// ```
    /// use trapline::os::linux::TracerExt;
    /// use trapline::{Result, Stopped, Tracer};
    ///
    /// /// Which of its rules a filter has stopped a call by.
    /// fn rule(tracer: &Tracer, stop: &Stopped) -> Result<Option<u16>> {
    ///     tracer.seccomp_data(stop)
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Gone`](trapline_core::Error::Gone) if it was killed;
    /// [`Error::Unsupported`](trapline_core::Error::Unsupported) before Linux 5.3.
    ///
    /// # References
    ///
    /// `SECCOMP_RET_TRACE` in `seccomp(2)`; `PTRACE_GET_SYSCALL_INFO` in `ptrace(2)`.
    fn seccomp_data(&self, stop: &Stopped) -> Result<Option<u16>>;

    /// A set of registers of a stopped thread by its number, as the kernel has it: `NT_*` of `elf.h`,
    /// such as `NT_X86_SHSTK` (0x204), `NT_ARM_SVE` (0x405) or `NT_ARM_PAC_MASK` (0x406). Which there
    /// are depends on the CPU and the kernel.
    ///
    /// ```
    /// use trapline::os::linux::TracerExt;
    /// use trapline::{Result, Stopped, Tracer};
    ///
    /// /// The pointer of a thread's shadow stack (x86-64).
    /// fn shadow_stack(tracer: &Tracer, stop: &Stopped) -> Result<Option<u64>> {
    ///     const NT_X86_SHSTK: u32 = 0x204;
    ///     let set = tracer.register_set(stop, NT_X86_SHSTK)?;
    ///     Ok(set.first_chunk().map(|bytes| u64::from_ne_bytes(*bytes)))
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Gone`](trapline_core::Error::Gone) if it was killed;
    /// [`Error::Os`](trapline_core::Error::Os) with `EINVAL` or `ENODEV` for a set that the CPU, the
    /// kernel or the program does not have; [`Error::Unsupported`](trapline_core::Error::Unsupported)
    /// for the general registers (`NT_PRSTATUS`), which only [`Tracer::registers`] shows as the program
    /// has them.
    ///
    /// # References
    ///
    /// `PTRACE_GETREGSET` in `ptrace(2)`.
    fn register_set(&self, stop: &Stopped, set: u32) -> Result<Vec<u8>>;

    /// Changes a set of registers; see [`register_set`](Self::register_set).
    ///
    /// ```
    /// use trapline::os::linux::TracerExt;
    /// use trapline::{Result, Stopped, Tracer};
    ///
    /// /// Has one thread have the set of another one.
    /// fn copy(tracer: &mut Tracer, set: u32, from: &Stopped, to: &Stopped) -> Result<()> {
    ///     let bytes = tracer.register_set(from, set)?;
    ///     tracer.set_register_set(to, set, &bytes)
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # References
    ///
    /// `PTRACE_SETREGSET` in `ptrace(2)`.
    fn set_register_set(&mut self, stop: &Stopped, set: u32, bytes: &[u8]) -> Result<()>;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for trapline_core::Tracer<crate::Linux> {}
}

impl TracerExt for Tracer<Linux> {
    fn spawn_filtered(
        &mut self,
        options: impl Into<SpawnOptions>,
        filter: &[BpfInstruction],
    ) -> Result<Spawned> {
        self.set_filter_stops(true);
        self.on_backend(|backend| backend.filter = Some(filter.to_vec()));
        let spawned = self.spawn(options);
        self.on_backend(|backend| backend.filter = None);
        spawned
    }

    fn set_filter_stops(&mut self, on: bool) {
        self.on_backend(|backend| backend.kernel.set_filter_stops(on));
    }

    // Compiled by those who call it, like the engine.
    #[inline]
    fn resume_to_syscall_exit(&mut self, stop: Stopped) -> Result<()> {
        self.run_to_syscall_exit(stop)
    }

    fn suspend_seccomp(&mut self, stop: &Stopped, suspend: bool) -> Result<()> {
        let setup = self.setup_of(stop)?;
        self.ask(stop, |backend, thread| backend.suspend_seccomp(thread, setup, suspend))
    }

    fn abi(&self, stop: &Stopped) -> Result<Abi> {
        self.ask(stop, |backend, thread| backend.abi(thread))
    }

    fn siginfo(&self, stop: &Stopped) -> Result<[u8; 128]> {
        self.ask(stop, |backend, thread| backend.siginfo(thread))
    }

    fn set_siginfo(&mut self, stop: &Stopped, info: &[u8; 128]) -> Result<()> {
        self.ask(stop, |backend, thread| backend.set_siginfo(thread, info))
    }

    fn queued_signals(&self, stop: &Stopped, queue: SignalQueue) -> Result<Vec<[u8; 128]>> {
        let queued = self.ask(stop, |backend, thread| backend.kernel.queued(thread.tid, queue))?;
        Ok(queued.into_iter().map(|Siginfo(bytes)| bytes).collect())
    }

    fn seccomp_data(&self, stop: &Stopped) -> Result<Option<u16>> {
        let info = self.ask(stop, |backend, thread| backend.kernel.syscall_info(thread.tid))?;
        let filtered = info.op == PTRACE_SYSCALL_INFO_SECCOMP;
        Ok(filtered.then_some(info.seccomp_data as u16))
    }

    fn register_set(&self, stop: &Stopped, set: u32) -> Result<Vec<u8>> {
        self.ask(stop, |backend, thread| backend.register_set(thread, set))
    }

    fn set_register_set(&mut self, stop: &Stopped, set: u32, bytes: &[u8]) -> Result<()> {
        self.ask(stop, |backend, thread| backend.set_register_set(thread, set, bytes))
    }
}

/// `elf.h`: the general registers.
const NT_PRSTATUS: u32 = 1;
/// No set is as long.
const LONGEST_SET: usize = 64 * 1024;

fn refuse_general(set: u32) -> Result<()> {
    match set {
        NT_PRSTATUS => Err(Error::unsupported("the general registers as a raw set", Linux::SYSTEM)),
        _ => Ok(()),
    }
}

impl Linux {
    fn register_set(&mut self, thread: Thread, set: u32) -> Result<Vec<u8>> {
        refuse_general(set)?;
        let mut bytes = vec![0; LONGEST_SET];
        let len = self
            .kernel
            .register_set(thread.tid, set, &mut bytes)
            .map_err(|e| sys::error("PTRACE_GETREGSET", thread.tid.as_raw(), e))?;
        bytes.truncate(len);
        Ok(bytes)
    }

    fn set_register_set(&mut self, thread: Thread, set: u32, bytes: &[u8]) -> Result<()> {
        refuse_general(set)?;
        self.kernel
            .set_register_set(thread.tid, set, bytes)
            .map_err(|e| sys::error("PTRACE_SETREGSET", thread.tid.as_raw(), e))
    }

    /// Has the kernel not ask the seccomp filters of a stopped thread, which reports `setup`, or ask
    /// them again (`PTRACE_O_SUSPEND_SECCOMP` of `ptrace(2)`).
    ///
    /// # Errors
    ///
    /// As [`TracerExt::suspend_seccomp`].
    pub fn suspend_seccomp(&mut self, thread: Thread, setup: Setup, suspend: bool) -> Result<()> {
        let tid = thread.tid;
        self.kernel.set_suspends_seccomp(tid, suspend);
        let set = self.kernel.set_options(tid, decode::options(setup));
        if set.is_err() {
            self.kernel.set_suspends_seccomp(tid, !suspend);
        }
        set
    }

    /// The ABI of a stopped thread (`PTRACE_GET_SYSCALL_INFO` of `ptrace(2)`).
    ///
    /// # Errors
    ///
    /// [`Error::Gone`](trapline_core::Error::Gone) if it was killed.
    pub fn abi(&mut self, thread: Thread) -> Result<Abi> {
        let info = self.kernel.syscall_info(thread.tid)?;
        let audit_arch = regs::audit_arch(&self.kernel, thread, &info)?;
        Ok(Abi {
            audit_arch,
            instruction_pointer: info.instruction_pointer,
            stack_pointer: info.stack_pointer,
        })
    }

    /// The whole `siginfo_t` of a thread that is stopped for a signal, or, at another stop, what
    /// the kernel made up for it (`PTRACE_GETSIGINFO` of `ptrace(2)`).
    ///
    /// # Errors
    ///
    /// [`Error::Gone`](trapline_core::Error::Gone) if it was killed;
    /// [`Error::Os`](trapline_core::Error::Os) with `EINVAL` at a group-stop, which has none.
    pub fn siginfo(&mut self, thread: Thread) -> Result<[u8; 128]> {
        Ok(self.kernel.siginfo(thread.tid)?.0)
    }

    /// Changes the `siginfo_t` that the program will see (`PTRACE_SETSIGINFO` of `ptrace(2)`), if
    /// the thread is resumed with the signal that it names.
    ///
    /// # Errors
    ///
    /// As [`siginfo`](Self::siginfo).
    pub fn set_siginfo(&mut self, thread: Thread, info: &[u8; 128]) -> Result<()> {
        self.kernel.set_siginfo(thread.tid, &Siginfo(*info))
    }
}
