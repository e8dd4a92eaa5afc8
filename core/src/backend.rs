//! What an operating system must provide.
//!
//! A back end is a thin, honest layer: typed requests, raw stops. What is policy (pairing the
//! halves of a fork, following, real parents, halting, which events are shown) is in the engine,
//! once.

pub(crate) mod logged;
mod near;
mod report;
mod request;

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

pub use crate::cpus::CpuSet;
pub use crate::debug::{
    DEBUG_SLOTS, DebugAlignment, DebugHits, DebugKind, DebugPool, DebugRoom, DebugSlot, DebugSlots,
    DebugStatus, MemoryAccess, NO_SLOTS,
};
use crate::private::Sealed;
use crate::{
    Arch, CodeMode, MemoryRegion, PendingSignals, Pid, Result, Signal, SignalSet, ThreadInfo, Tid,
};
pub use near::pages_near;
pub use report::{
    Listed, NewTask, RawAttach, RawKind, RawReason, RawSpawn, RawStop, SignalInfo, Syscall,
    SyscallAbi, TrapOrigin, Waited,
};
pub use request::{Disposition, OnExit, Patience, Run, Setup, StopScope, Thread, Wake};

/// The requests of one kernel.
///
/// The trait is sealed: only the crates of trapline implement it, and what it has may change in any
/// release. As a bound it is stable: code that takes a `Tracer<B>` for any `B: Backend` runs on every
/// system and on the model kernel.
///
/// # The contract
///
/// 1. *Raw.* A stop is reported as the kernel tells it, at once and once, and nothing is asked
///    for that the stop does not need. What the kernel gives without a request is `Some`; for `None` the
///    engine asks, and only if it needs it.
/// 2. *Nothing swallowed.* Every wait status and every kernel flag becomes a [`RawStop`]; the
///    unknown is [`RawReason::Unknown`].
/// 3. *Only tracees.* A wait takes stops and ends of the tracees of this back end, never the exit
///    status of another child of the host.
/// 4. *Gone.* A request for a thread that the engine knows to be stopped, and that the kernel
///    refuses because the thread was killed meanwhile, is [`Error::Gone`](crate::Error::Gone). No
///    other failure is.
/// 5. *No policy.* A back end keeps no table of tracees; what it keeps is a cache (an open file)
///    that [`forget`](Backend::forget) empties.
/// 6. *The host is left alone.* No signal handler, no signal mask, no child and no file
///    descriptor of the host is touched.
/// 7. *No panic,* whatever the kernel answers.
/// 8. *SIGKILL is no stop.* A kernel that reports it as one is answered by the back end, which
///    passes it on.
/// 9. *Scope.* With [`StopScope::Thread`] a stop stops one thread, and every request names one;
///    with [`StopScope::Process`] a stop stops all threads of the process, and to resume one runs
///    all that are not [suspended](Backend::suspend).
/// 10. *Memory is text, too.* It is read and written past its protection; a change of text is seen
///     by all threads and processes that share the memory, and by nobody else.
/// 11. *Traps on the way.* With [`StopScope::Process`] a [detach](Backend::detach) takes out the
///     traps of threads that are still to be reported, and detaches the children of forks that are,
///     [clean](Backend::clean_children); with [`StopScope::Thread`] the engine does, by
///     [`has_pending_trap`](Backend::has_pending_trap).
pub trait Backend: Sized + Sealed {
    /// The CPU.
    type Arch: Arch;

    /// The system's name, for messages.
    const SYSTEM: &'static str;

    /// What one stop stops.
    const STOP_SCOPE: StopScope;

    /// Whether a new process starts with its parent's [`Setup`]; if not, the engine sets it up.
    const INHERITS_SETUP: bool;

    /// The type of the entry of the [auxiliary vector](Backend::auxiliary_vector) that says where the
    /// kernel's own code is in the memory of a program, as an ELF file.
    const VDSO: u64;

    /// A back end without tracees.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`](crate::Error::Unsupported) where one process can have only one, and
    /// has it.
    fn open() -> Result<Self>;

    /// The id of a new process's first thread, where the system's numbering says it.
    fn first_thread(pid: Pid) -> Option<Tid>;

    /// The process that a thread of this id would be the first of, where the numbering says it.
    fn process_led_by(tid: Tid) -> Option<Pid>;

    // Starting.

    /// Starts a program that is traced from before its first instruction, and waits until the
    /// exec has succeeded, has failed, or the process was killed on the way. Stop signals that
    /// arrive before the exec are kept and sent again after it.
    ///
    /// # Errors
    ///
    /// [`Error::Spawn`](crate::Error::Spawn) with what `Command::spawn` says.
    fn spawn(&mut self, command: Command, setup: Setup) -> Result<RawSpawn>;

    /// Whether the kernel lays out programs that are started from now on at random, as it does at
    /// first if it does so at all.
    fn randomize_addresses(&mut self, random: bool);

    /// Traces a running process, with all its threads, and has one of them stop. Threads that are
    /// born meanwhile are traced as well, and may be reported twice or not at all.
    fn attach(&mut self, pid: Pid, setup: Setup) -> Result<RawAttach>;

    /// Threads of a process that was attached to that were being made at that moment, and are traced
    /// from now on, running. Asked when all those that the engine knows have stopped since. Those
    /// that are found before begin with [`RawReason::ThreadStarted`].
    fn late_threads(&mut self, _pid: Pid) -> Result<Vec<Tid>> {
        Ok(Vec::new())
    }

    /// Has all such threads traced that have the memory of a stopped one, before a breakpoint
    /// instruction is put into it: that would kill one that is not traced. It waits for threads that
    /// run until they can make no more of them.
    fn trace_late_threads(&mut self, _thread: Thread) -> Result<()> {
        Ok(())
    }

    // Waiting.

    /// How often a wait may yield the CPU and [look](Backend::look) again before it sleeps.
    const YIELDS: u32;

    /// The next stop or end of a tracee.
    fn wait(&mut self, patience: Patience) -> Result<Waited>;

    /// Whether this thread (or, by scope, its process) has stopped or ended: `None` if it has not,
    /// or not yet. What this takes no wait gives again. It costs the same however many tracees
    /// there are.
    ///
    /// A thread that is dying, or that is not there any more, is `None`; its end comes by a
    /// [`wait`](Backend::wait).
    fn look(&mut self, thread: Thread) -> Result<Option<RawStop>>;

    /// Whether there is any tracee at all, also one that the engine has not heard of: a process
    /// whose parent was killed before it could report the fork.
    fn has_tracees(&mut self) -> Result<bool>;

    /// A way to end a blocked [`wait`](Backend::wait) from any thread and any signal handler.
    fn waker(&mut self) -> Result<Arc<dyn Wake>>;

    /// A descriptor that is readable when a [`wait`](Backend::wait) may find something, from the
    /// next [`watch`](Backend::watch) on. It is asked for once.
    fn readiness(&mut self) -> Result<OwnedFd>;

    /// After a wait that found nothing: the [readiness](Backend::readiness) is not readable any
    /// more, until there is something that this wait has not found, or the time is over, and then
    /// at once.
    fn watch(&mut self, time: Option<Duration>) -> Result<()>;

    // Running. The thread is at a stop that was waited for.

    /// Runs a thread (or, by scope, its process), delivering `signal`.
    fn resume(&mut self, thread: Thread, run: Run, signal: Option<Signal>) -> Result<()>;

    /// Leaves a thread in its group-stop, as job control wants it, and waits for what ends that.
    fn listen(&mut self, thread: Thread) -> Result<()>;

    /// Asks a running thread (or, by scope, its process) to stop with [`RawReason::Paused`]; any
    /// stop that it makes first takes the place of that one. A first thread that has ended before
    /// the others may be asked, and never answers.
    fn interrupt(&mut self, thread: Thread) -> Result<()>;

    /// Keeps one thread of a stopped process from running, or no longer (process scope only).
    fn suspend(&mut self, thread: Thread, suspended: bool) -> Result<()>;

    /// Lets a stopped thread (or, by scope, its process) go, delivering `signal`.
    fn detach(&mut self, thread: Thread, signal: Option<Signal>) -> Result<()>;

    /// What the program has at some addresses, where breakpoint instructions are in its memory or
    /// were: the [detach](Backend::detach) of this process that comes next puts it into the copies
    /// that children have whose forks were not reported, and that it detaches as well. For
    /// [`StopScope::Process`] alone; with the other one every fork is reported before.
    fn clean_children(&mut self, _pid: Pid, _code: Vec<(u64, Vec<u8>)>) {}

    /// Kills a process. `stopped` names a thread of it that is stopped, for kernels that kill a
    /// stopped process only through its resumption.
    fn kill(&mut self, pid: Pid, stopped: Option<Tid>) -> Result<()>;

    /// Sends a signal to one thread, running or stopped.
    fn send_signal(&mut self, thread: Thread, signal: Signal) -> Result<()>;

    /// Sets what a stopped thread (or, by scope, its process) reports, and what becomes of it
    /// when the tracer ends.
    fn set_up(&mut self, thread: Thread, setup: Setup) -> Result<()>;

    // Asking. The thread is at a stop that was waited for.

    /// What the thread has just made, at a [`RawReason::Forked`] that did not say.
    fn new_task(&mut self, parent: Thread, setup: Setup) -> Result<NewTask>;

    /// The id that the thread had before its exec, at a [`RawReason::Execed`] that did not say.
    fn former_tid(&mut self, thread: Thread, setup: Setup) -> Result<Tid>;

    /// Where a `SIGTRAP` comes from, at a [`RawReason::Signal`] that did not say.
    fn trap_origin(&mut self, thread: Thread) -> Result<TrapOrigin>;

    /// Where a thread's last step has ended, if the answer to [`trap_origin`](Backend::trap_origin)
    /// has told; it makes no request.
    fn stepped_to(&self, _thread: Thread) -> Option<u64> {
        None
    }

    /// What is known about the signal of a signal stop.
    fn signal_info(&mut self, thread: Thread) -> Result<SignalInfo>;

    /// The signals that a thread blocks.
    fn signal_mask(&mut self, thread: Thread) -> Result<SignalSet>;

    /// Has a thread block these signals, and no others.
    ///
    /// # Errors
    ///
    /// [`Error::NotStopped`](crate::Error::NotStopped) if it cannot be at this stop, but may at another.
    fn set_signal_mask(&mut self, thread: Thread, mask: SignalSet) -> Result<()>;

    /// The signals that wait for a thread and for its process.
    fn pending_signals(&mut self, thread: Thread) -> Result<PendingSignals>;

    /// The system call that the thread is in.
    fn syscall(&mut self, thread: Thread) -> Result<Syscall>;

    /// The general registers.
    fn registers(&mut self, thread: Thread) -> Result<<Self::Arch as Arch>::Registers>;

    /// Sets the general registers.
    fn set_registers(
        &mut self,
        thread: Thread,
        registers: &<Self::Arch as Arch>::Registers,
    ) -> Result<()>;

    /// The floating-point registers.
    fn fp_registers(&mut self, thread: Thread) -> Result<<Self::Arch as Arch>::FpRegisters>;

    /// Sets the floating-point registers.
    fn set_fp_registers(
        &mut self,
        thread: Thread,
        registers: &<Self::Arch as Arch>::FpRegisters,
    ) -> Result<()>;

    /// The extended state.
    fn extended_state(&mut self, thread: Thread) -> Result<<Self::Arch as Arch>::ExtendedState>;

    /// Sets the extended state.
    fn set_extended_state(
        &mut self,
        thread: Thread,
        state: &<Self::Arch as Arch>::ExtendedState,
    ) -> Result<()>;

    /// Reads memory; a short read says how much it got, and is
    /// [`Error::BadAddress`](crate::Error::BadAddress) if that is nothing.
    fn read_memory(&mut self, thread: Thread, addr: u64, buf: &mut [u8]) -> Result<usize>;

    /// Reads several places, each as [`read_memory`](Backend::read_memory) does; a result for each,
    /// in their order. By one request where the system has that.
    fn read_memory_each(
        &mut self,
        thread: Thread,
        places: &mut [(u64, &mut [u8])],
    ) -> Vec<Result<usize>> {
        places.iter_mut().map(|(addr, buf)| self.read_memory(thread, *addr, buf)).collect()
    }

    /// Writes memory, read-only text too; a short write says how much was written.
    fn write_memory(&mut self, thread: Thread, addr: u64, data: &[u8]) -> Result<usize>;

    /// Writes text, all of it: the same as [`write_memory`](Backend::write_memory) by the way that
    /// is the shortest there.
    fn write_text(&mut self, thread: Thread, addr: u64, data: &[u8]) -> Result<()> {
        match self.write_memory(thread, addr, data)? {
            done if done < data.len() => {
                Err(crate::Error::bad_address(addr.wrapping_add(done as u64)))
            }
            _ => Ok(()),
        }
    }

    /// In which mode a thread with these registers executes code: what its code segment says, which
    /// can change with any jump. Each system has its own numbers of segments.
    fn code_mode(registers: &<Self::Arch as Arch>::Registers) -> CodeMode;

    /// Writes memory as the program itself could: not past its protection.
    fn write_data(&mut self, thread: Thread, addr: u64, data: &[u8]) -> Result<usize>;

    /// How much memory is [mapped for code](Backend::map_code) at a time.
    const CODE_AREA: u64;

    /// Has a stopped thread map memory that can be executed, `len` bytes of it, as near to an address
    /// as there is room. Nothing else about the thread changes, whatever stop it is at.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`](crate::Error::Unsupported) where that cannot be or might harm the
    /// program, as when it has forbidden itself the system call;
    /// [`Error::NotStopped`](crate::Error::NotStopped) if it cannot be at this stop, but may at another.
    fn map_code(&mut self, thread: Thread, near: u64, len: u64) -> Result<u64>;

    /// Has a stopped thread give memory back that it was made to [map](Backend::map_code).
    fn unmap_code(&mut self, thread: Thread, addr: u64, len: u64) -> Result<()>;

    /// Has a stopped thread make a system call: what it returned, or its error number. Nothing else
    /// about the thread changes, whatever stop it is at, and what others do meanwhile is reported by
    /// the waits that follow.
    ///
    /// # Errors
    ///
    /// [`Error::NotStopped`](crate::Error::NotStopped) at a stop at which the thread can execute
    /// nothing; [`Error::Unsupported`](crate::Error::Unsupported) for a call that does not return to
    /// where it was made, and where it may be forbidden.
    fn call_syscall(
        &mut self,
        thread: Thread,
        number: u64,
        args: &[u64],
    ) -> Result<std::result::Result<u64, i32>>;

    /// Changes the system call that a thread is at the entry of.
    fn change_syscall(&mut self, thread: Thread, number: u64, args: [u64; 6]) -> Result<()>;

    /// Has a thread at the entry of a system call not carry it out; it still comes to the exit.
    fn skip_syscall(&mut self, thread: Thread) -> Result<()>;

    /// Sets what the system call returns that a thread is at the exit of.
    fn set_syscall_result(
        &mut self,
        thread: Thread,
        result: std::result::Result<u64, i32>,
    ) -> Result<()>;

    /// Where a thread was, and what it had there.
    type Detour: std::fmt::Debug;

    /// Has a stopped thread be where it executes whatever its registers are set to, once it is
    /// resumed without a signal: outside of any system call, and past the signal that it is stopped
    /// for. Returns all that is needed to bring it back.
    ///
    /// # Errors
    ///
    /// [`Error::NotStopped`](crate::Error::NotStopped) at a stop at which the thread can execute
    /// nothing.
    fn leave_place(&mut self, thread: Thread) -> Result<Self::Detour>;

    /// Brings a thread back from where it is stopped now to a stop like the one that it has
    /// [left](Backend::leave_place), with all its registers, its signal mask, and the signal that it
    /// was stopped for. A signal that it is stopped for now, and that is `kept`, comes again.
    fn return_to_place(
        &mut self,
        thread: Thread,
        detour: &Self::Detour,
        kept: Option<Signal>,
    ) -> Result<()>;

    /// Whether the CPU keeps a second copy of a thread's return addresses.
    fn has_shadow_stack(&mut self, thread: Thread) -> Result<bool>;

    /// Sets what a fault is about, of the signal that a thread is stopped for: `si_addr`. Where a
    /// kernel has no request for that the program is told what it said.
    fn set_signal_addr(&mut self, _thread: Thread, _addr: u64) -> Result<()> {
        Ok(())
    }

    /// What a signal does to the process of a thread when it is delivered.
    fn disposition(&mut self, thread: Thread, signal: Signal) -> Result<Disposition>;

    /// Whether the system call at whose exit a thread has stopped with these registers is the one
    /// that ends the handler of a signal.
    fn ends_handler(
        &mut self,
        thread: Thread,
        registers: &<Self::Arch as Arch>::Registers,
    ) -> Result<bool>;

    /// Whether two processes have the same memory, not copies of it: after a `vfork`, or a `clone`
    /// that says so. `None` if the kernel does not tell. Neither need be stopped.
    fn shares_memory(&mut self, one: Thread, other: Thread) -> Result<Option<bool>>;

    /// What the registers of a thread that was interrupted in a system call will be when it is run
    /// without a signal, if the kernel then goes back to make the call again; `None` if it does
    /// not, or has gone back already.
    fn restarted(
        registers: &<Self::Arch as Arch>::Registers,
    ) -> Option<<Self::Arch as Arch>::Registers>;

    // Debug registers. The thread is at a stop that was waited for.

    /// Whether the kernel lets a thread pass the execute breakpoint that it has stopped at (x86:
    /// sets its resume flag); if not, the engine does.
    const PASSES_BREAKPOINTS: bool;

    /// Has the debug registers of a thread watch `to`. `from` is what they were set to last; `None`
    /// is whatever a kernel or somebody else has left there, and then the status is cleared as
    /// well. If it is known, what has happened before is kept in the status.
    ///
    /// What differs is written, in the order disable, addresses, enable. On an error the registers
    /// are as they were.
    ///
    /// # Errors
    ///
    /// [`Error::NoFreeSlot`](crate::Error::NoFreeSlot) where somebody else holds the CPU's
    /// registers; [`Error::BadAddress`](crate::Error::BadAddress) for an address that this kernel
    /// does not allow.
    fn set_watched(
        &mut self,
        thread: Thread,
        from: Option<&DebugSlots>,
        to: &DebugSlots,
    ) -> Result<()>;

    /// Which of the CPU's debug registers the program of a thread can use, and how many bytes one of
    /// them can watch, at most: one of the CPU's lengths. Kernels may allow a 32-bit program less
    /// than the CPU can. Asked once for each program.
    fn debug_room(&mut self, thread: Thread) -> Result<DebugRoom>;

    /// Why the CPU says that a thread has trapped, since that was asked last; the kernel is asked
    /// once, and once more to clear what was found. With [`DebugHits::Address`] it is what the stop
    /// that the thread is at says.
    fn take_debug_status(&mut self, thread: Thread) -> Result<DebugStatus>;

    /// Whether a trap of a thread is on its way to being reported, behind the stop that it is at
    /// now. Where a stop stops a process, [`detach`](Backend::detach) sees to those by itself, and
    /// this is `false`.
    fn has_pending_trap(&mut self, thread: Thread) -> Result<bool>;

    // Asking about a process, stopped or not, traced or not.

    /// The process of a thread that has shown up unannounced, and its real parent; `None` for one
    /// that the tracer cannot name (it is in another pid namespace), or whose parent the system does
    /// not tell.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`](crate::Error::Unsupported) if nobody tells of the process, either.
    fn process_of(&mut self, tid: Tid) -> Result<(Pid, Option<Pid>)>;

    /// Whether a process that is at its first stop was made by `vfork`; `None` if the kernel does
    /// not tell.
    fn was_vforked(&mut self, child: Thread) -> Result<Option<bool>>;

    /// Whether a process that has not ended stops no more, not even for what it has done already:
    /// it was killed, but waits for something that no signal ends, as for a child in `vfork`.
    fn is_unkillable(&mut self, pid: Pid) -> Result<bool>;

    /// The real parent of a process, whoever traces it; `None` for one that the tracer cannot name.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`](crate::Error::Unsupported) if nobody tells.
    fn real_parent(&mut self, pid: Pid) -> Result<Option<Pid>>;

    /// The real parent that a process had when it ended, asked just after its end was waited for;
    /// `known` is the one that it had before, which may itself have ended, unwaited for.
    fn parent_at_end(&mut self, pid: Pid, known: Pid) -> Result<Option<Pid>>;

    /// All processes that can be seen and have not ended. One that exists as long as this takes is
    /// among them.
    fn processes(&mut self) -> Result<Vec<Listed>>;

    /// Whether this tracer traces a process by the kernel's word, be it that the engine has not
    /// heard of it yet.
    fn is_traced(&mut self, pid: Pid) -> Result<bool>;

    /// The threads of a process.
    fn threads(&mut self, pid: Pid) -> Result<Vec<Tid>>;

    /// Whether the kernel holds a running thread where it cannot stop: in `vfork`, in an exec
    /// that waits for the other threads, in an uninterruptible sleep. A first thread that has ended
    /// before the others is gone.
    fn is_uninterruptible(&mut self, thread: Thread) -> Result<bool>;

    /// Whether a thread that was resumed sleeps in the kernel. If it has stopped since, it does not.
    fn is_asleep(&mut self, thread: Thread) -> Result<bool>;

    /// The CPUs that a thread may run on, stopped or not; without one, the calling thread.
    fn cpus(&mut self, thread: Option<Thread>) -> Result<CpuSet>;

    /// Sets the CPUs that a thread may run on, stopped or not, and with it those of the threads
    /// and processes that it makes from then on.
    fn set_cpus(&mut self, thread: Option<Thread>, cpus: &CpuSet) -> Result<()>;

    /// The CPU that the calling thread runs on just now.
    fn current_cpu(&mut self) -> Result<u32>;

    /// The program that a process runs.
    fn executable(&mut self, pid: Pid) -> Result<PathBuf>;

    /// The arguments of that program, its name first.
    fn arguments(&mut self, pid: Pid) -> Result<Vec<OsString>>;

    /// The auxiliary vector that the kernel has given the program of a process.
    fn auxiliary_vector(&mut self, pid: Pid) -> Result<Vec<u8>>;

    /// What the memory of a process is, in the order of addresses.
    fn memory_map(&mut self, pid: Pid) -> Result<Vec<MemoryRegion>>;

    /// What is known of a thread, running or stopped.
    fn thread_info(&mut self, thread: Thread) -> Result<ThreadInfo>;

    /// Where the data of a stopped thread's own begin.
    fn thread_pointer(&mut self, thread: Thread) -> Result<u64>;

    /// What a thread is called: the program gave it the name, or it is the program's.
    fn thread_name(&mut self, thread: Thread) -> Result<OsString>;

    /// A process has ended, has been detached or has exec'ed: what is kept about it is stale.
    fn forget(&mut self, pid: Pid);

    /// How many requests were made of the kernel so far: every `ptrace` and wait call, and every
    /// call that a question above took; but for [looks](Backend::look) that found nothing, which
    /// take the place of time asleep.
    fn requests(&self) -> u64;
}
