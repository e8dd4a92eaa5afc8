//! The list of what the back end can do, in the order of the trait.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use trapline_arch_x86_64::{ExtendedState, FpRegisters, Registers, X86_64};
use trapline_core::backend::{
    DebugRoom, DebugSlots, DebugStatus, Disposition, Listed, NewTask, Patience, RawAttach,
    RawSpawn, RawStop, Run, Setup, StopScope, Thread, TrapOrigin, Waited, Wake,
};
use trapline_core::{
    Backend, CodeMode, CpuSet, Error, MemoryRegion, PendingSignals, Pid, Result, Signal,
    SignalInfo, SignalSet, Syscall, ThreadInfo, Tid,
};

use crate::decode::EventMask;
use crate::detour::Detour;
use crate::sys::{self, Process};
use crate::system::FreeBsd;
use crate::{decode, regs};

impl trapline_core::private::Sealed for FreeBsd {}

impl Backend for FreeBsd {
    type Arch = X86_64;
    const SYSTEM: &'static str = "FreeBSD";
    const STOP_SCOPE: StopScope = StopScope::Process;
    const INHERITS_SETUP: bool = false;
    /// `AT_KPRELOAD` of `sys/elf_common.h`.
    const VDSO: u64 = 34;

    fn open() -> Result<Self> {
        FreeBsd::new()
    }

    fn first_thread(_: Pid) -> Option<Tid> {
        None
    }

    fn process_led_by(_: Tid) -> Option<Pid> {
        None
    }

    fn spawn(&mut self, command: Command, setup: Setup) -> Result<RawSpawn> {
        self.start(command, setup)
    }

    fn randomize_addresses(&mut self, random: bool) {
        self.fixed_addresses = !random;
    }

    fn attach(&mut self, pid: Pid, setup: Setup) -> Result<RawAttach> {
        self.attach_to(pid, setup)
    }

    /// A look that finds nothing costs more with many processes, so there are few.
    const YIELDS: u32 = 2;

    fn wait(&mut self, patience: Patience) -> Result<Waited> {
        self.forget_registers();
        self.wait_for_any(patience)
    }

    fn look(&mut self, thread: Thread) -> Result<Option<RawStop>> {
        self.forget_registers();
        self.look_at(thread.pid.as_raw())
    }

    fn has_tracees(&mut self) -> Result<bool> {
        Ok(!self.tracees.is_empty() || self.adopt_unreported()?)
    }

    fn waker(&mut self) -> Result<Arc<dyn Wake>> {
        self.wake_pipe().map(|pipe| pipe as Arc<dyn Wake>)
    }

    fn readiness(&mut self) -> Result<OwnedFd> {
        self.readiness_descriptor()
    }

    fn watch(&mut self, time: Option<Duration>) -> Result<()> {
        self.watch_for(time)
    }

    fn resume(&mut self, thread: Thread, run: Run, signal: Option<Signal>) -> Result<()> {
        self.run(thread, run, signal)
    }

    fn listen(&mut self, _thread: Thread) -> Result<()> {
        // There are no group-stops: a traced process does nothing on a stop signal.
        Err(Error::unsupported("job control of a traced process", Self::SYSTEM))
    }

    fn interrupt(&mut self, thread: Thread) -> Result<()> {
        self.ask_to_stop(thread.pid)
    }

    fn suspend(&mut self, thread: Thread, suspended: bool) -> Result<()> {
        let request = if suspended { "PT_SUSPEND" } else { "PT_RESUME" };
        let result = self.kernel.suspend(thread.tid.as_raw(), suspended);
        self.checked(request, thread, result)
    }

    fn detach(&mut self, thread: Thread, signal: Option<Signal>) -> Result<()> {
        self.detach_process(thread, signal)
    }

    fn clean_children(&mut self, pid: Pid, code: Vec<(u64, Vec<u8>)>) {
        if let Some(tracee) = self.tracees.get_mut(&pid.as_raw()) {
            tracee.original_code = code;
        }
    }

    fn kill(&mut self, pid: Pid, stopped: Option<Tid>) -> Result<()> {
        self.kill_process(pid, stopped.is_some())
    }

    fn send_signal(&mut self, thread: Thread, signal: Signal) -> Result<()> {
        let (pid, tid) = (thread.pid.as_raw(), thread.tid.as_raw());
        let result = self.kernel.kill_thread(pid, tid, signal.as_raw());
        self.checked("thr_kill2", thread, result)
    }

    fn set_up(&mut self, thread: Thread, setup: Setup) -> Result<()> {
        self.set_mask(thread, EventMask::of(setup.flags))
    }

    fn new_task(&mut self, parent: Thread, _setup: Setup) -> Result<NewTask> {
        match self.info(parent)?.child {
            Some(pid) => Ok(NewTask::Process { pid, sibling: false }),
            None => Err(self.nothing_there("PT_LWPINFO", parent)),
        }
    }

    fn former_tid(&mut self, thread: Thread, _setup: Setup) -> Result<Tid> {
        Ok(thread.tid) // an exec does not change it
    }

    fn trap_origin(&mut self, thread: Thread) -> Result<TrapOrigin> {
        let info = self.info(thread)?.siginfo.unwrap_or_default();
        Ok(decode::trap_origin(info.code))
    }

    fn stepped_to(&self, thread: Thread) -> Option<u64> {
        self.last_step.filter(|&(tid, _)| tid == thread.tid).map(|(_, pc)| pc)
    }

    fn signal_info(&mut self, thread: Thread) -> Result<SignalInfo> {
        let kept = self.kept_signal.filter(|&(tid, _)| tid == thread.tid).map(|(_, info)| info);
        let info = kept.or(self.info(thread)?.siginfo);
        match info.as_ref().and_then(decode::signal_info) {
            Some(info) => Ok(info),
            None => Err(self.nothing_there("PT_LWPINFO", thread)),
        }
    }

    fn signal_mask(&mut self, thread: Thread) -> Result<SignalSet> {
        Ok(self.info(thread)?.blocked.portable())
    }

    fn set_signal_mask(&mut self, thread: Thread, mask: SignalSet) -> Result<()> {
        self.have_mask_set(thread, mask)
    }

    fn pending_signals(&mut self, thread: Thread) -> Result<PendingSignals> {
        let own = self.info(thread)?.pending.portable();
        Ok(PendingSignals::new(own, self.known(thread.pid.as_raw())?.pending.portable()))
    }

    fn syscall(&mut self, thread: Thread) -> Result<Syscall> {
        self.system_call(thread)
    }

    fn registers(&mut self, thread: Thread) -> Result<Registers> {
        self.read_registers(thread)
    }

    fn set_registers(&mut self, thread: Thread, registers: &Registers) -> Result<()> {
        self.write_registers(thread, registers)
    }

    fn fp_registers(&mut self, thread: Thread) -> Result<FpRegisters> {
        self.read_fp_registers(thread)
    }

    fn set_fp_registers(&mut self, thread: Thread, registers: &FpRegisters) -> Result<()> {
        self.write_fp_registers(thread, registers)
    }

    fn extended_state(&mut self, thread: Thread) -> Result<ExtendedState> {
        self.read_extended_state(thread)
    }

    fn set_extended_state(&mut self, thread: Thread, state: &ExtendedState) -> Result<()> {
        self.write_extended_state(thread, state)
    }

    fn read_memory(&mut self, thread: Thread, addr: u64, buf: &mut [u8]) -> Result<usize> {
        self.read(thread, addr, buf)
    }

    fn write_memory(&mut self, thread: Thread, addr: u64, data: &[u8]) -> Result<usize> {
        self.write(thread, addr, data)
    }

    fn code_mode(registers: &Registers) -> CodeMode {
        regs::code_mode(registers.cs)
    }

    fn write_data(&mut self, thread: Thread, addr: u64, data: &[u8]) -> Result<usize> {
        self.write(thread, addr, data)
    }

    const CODE_AREA: u64 = 1 << 20;

    fn map_code(&mut self, thread: Thread, near: u64, len: u64) -> Result<u64> {
        self.map_near(thread, near, len)
    }

    fn unmap_code(&mut self, thread: Thread, addr: u64, len: u64) -> Result<()> {
        self.unmap(thread, addr, len)
    }

    fn call_syscall(
        &mut self,
        thread: Thread,
        number: u64,
        args: &[u64],
    ) -> Result<std::result::Result<u64, i32>> {
        self.call(thread, number, args)
    }

    fn change_syscall(&mut self, _: Thread, _: u64, _: [u64; 6]) -> Result<()> {
        // The kernel would read registers again that were written (`syscallenter` in
        // `subr_syscall.c`), but the resumption has it forget that they were (`TDB_USERWR` in
        // `kern_ptrace`).
        Err(Error::unsupported("to change a system call at its entry", Self::SYSTEM))
    }

    fn skip_syscall(&mut self, _: Thread) -> Result<()> {
        Err(Error::unsupported("to skip a system call", Self::SYSTEM))
    }

    fn set_syscall_result(
        &mut self,
        thread: Thread,
        result: std::result::Result<u64, i32>,
    ) -> Result<()> {
        self.set_call_result(thread, result)
    }

    type Detour = Detour;

    fn leave_place(&mut self, thread: Thread) -> Result<Detour> {
        self.leave_for_detour(thread)
    }

    fn return_to_place(
        &mut self,
        thread: Thread,
        detour: &Detour,
        kept: Option<Signal>,
    ) -> Result<()> {
        self.return_from_detour(thread, detour, kept)
    }

    fn has_shadow_stack(&mut self, _: Thread) -> Result<bool> {
        Ok(false) // programs have none on FreeBSD
    }

    fn disposition(&mut self, thread: Thread, signal: Signal) -> Result<Disposition> {
        self.disposition_of(thread, signal)
    }

    fn ends_handler(&mut self, thread: Thread, _: &Registers) -> Result<bool> {
        Ok(self.info(thread)?.syscall == crate::ffi::SYS_SIGRETURN as u32)
    }

    fn shares_memory(&mut self, one: Thread, other: Thread) -> Result<Option<bool>> {
        let one = self.known(one.pid.as_raw())?.memory;
        let other = self.known(other.pid.as_raw())?.memory;
        // A kernel that keeps its addresses to itself tells none.
        Ok((one != 0 && other != 0).then_some(one == other))
    }

    fn restarted(_: &Registers) -> Option<Registers> {
        // By the time that such a thread stops it has gone back (`cpu_set_syscall_retval`).
        None
    }

    const PASSES_BREAKPOINTS: bool = false;

    fn set_watched(
        &mut self,
        thread: Thread,
        from: Option<&DebugSlots>,
        to: &DebugSlots,
    ) -> Result<()> {
        self.watch_slots(thread, from, to)
    }

    fn debug_room(&mut self, thread: Thread) -> Result<DebugRoom> {
        self.debug_room_of(thread)
    }

    fn take_debug_status(&mut self, thread: Thread) -> Result<DebugStatus> {
        self.take_status(thread)
    }

    fn has_pending_trap(&mut self, _thread: Thread) -> Result<bool> {
        Ok(false) // a detach waits for all that is on its way
    }

    fn process_of(&mut self, tid: Tid) -> Result<(Pid, Option<Pid>)> {
        let process = self.known(tid.as_raw())?;
        Ok((Pid::from_raw(process.pid), Some(Pid::from_raw(process.parent))))
    }

    fn was_vforked(&mut self, child: Thread) -> Result<Option<bool>> {
        Ok(Some(self.known(child.pid.as_raw())?.in_vfork))
    }

    fn is_unkillable(&mut self, pid: Pid) -> Result<bool> {
        // `ptracestop` in `kern_sig.c` does not stop such a one; `ast_vfork` in `kern_fork.c`, which
        // comes before the signals, heeds none.
        Ok(self.known(pid.as_raw())?.killed)
    }

    fn real_parent(&mut self, pid: Pid) -> Result<Option<Pid>> {
        Ok(Some(Pid::from_raw(self.known(pid.as_raw())?.parent)))
    }

    fn parent_at_end(&mut self, pid: Pid, known: Pid) -> Result<Option<Pid>> {
        let parent = self.parents_at_end.get(&pid.as_raw());
        Ok(Some(parent.map_or(known, |&parent| Pid::from_raw(parent))))
    }

    fn processes(&mut self) -> Result<Vec<Listed>> {
        self.listed()
    }

    fn is_traced(&mut self, pid: Pid) -> Result<bool> {
        Ok(u32::try_from(self.known(pid.as_raw())?.tracer) == Ok(std::process::id()))
    }

    fn threads(&mut self, pid: Pid) -> Result<Vec<Tid>> {
        Ok(self.threads_of(pid)?.iter().map(|thread| Tid::from_raw(thread.tid)).collect())
    }

    fn is_uninterruptible(&mut self, thread: Thread) -> Result<bool> {
        let threads = self.threads_of(thread.pid)?;
        let held = |t: &Process| t.in_vfork || t.uninterruptible;
        Ok(threads.iter().filter(|t| t.tid == thread.tid.as_raw()).any(held))
    }

    fn is_asleep(&mut self, thread: Thread) -> Result<bool> {
        let threads = self.threads_of(thread.pid)?;
        let found = threads.iter().find(|t| t.tid == thread.tid.as_raw());
        found.map(|t| t.asleep).ok_or(Error::GONE)
    }

    fn cpus(&mut self, thread: Option<Thread>) -> Result<CpuSet> {
        let result = self.kernel.cpus(thread.map(|thread| thread.tid.as_raw()));
        placed("cpuset_getaffinity", thread, result)
    }

    fn set_cpus(&mut self, thread: Option<Thread>, cpus: &CpuSet) -> Result<()> {
        let result = self.kernel.set_cpus(thread.map(|thread| thread.tid.as_raw()), cpus);
        placed("cpuset_setaffinity", thread, result)
    }

    fn current_cpu(&mut self) -> Result<u32> {
        placed("sched_getcpu", None, self.kernel.current_cpu())
    }

    fn executable(&mut self, pid: Pid) -> Result<PathBuf> {
        self.executable_of(pid)
    }

    fn arguments(&mut self, pid: Pid) -> Result<Vec<OsString>> {
        self.arguments_of(pid)
    }

    fn auxiliary_vector(&mut self, pid: Pid) -> Result<Vec<u8>> {
        let found = self.kernel.auxiliary_vector(pid.as_raw());
        self.answered("kern.proc.auxv", pid, pid.as_raw(), found)
    }

    fn memory_map(&mut self, pid: Pid) -> Result<Vec<MemoryRegion>> {
        let found = self.kernel.memory_map(pid.as_raw());
        let entries = self.answered("kern.proc.vmmap", pid, pid.as_raw(), found)?;
        Ok(decode::map::regions(&entries))
    }

    fn thread_info(&mut self, thread: Thread) -> Result<ThreadInfo> {
        let threads = self.threads_of(thread.pid)?;
        let found = threads.iter().find(|other| other.tid == thread.tid.as_raw());
        let (state, cpu) = found.map(|thread| (thread.state, thread.cpu)).ok_or(Error::GONE)?;
        let name = self.thread_name(thread)?;
        Ok(ThreadInfo::new(thread.tid, name, state, cpu))
    }

    fn thread_pointer(&mut self, thread: Thread) -> Result<u64> {
        Ok(self.read_registers(thread)?.fs_base)
    }

    fn thread_name(&mut self, thread: Thread) -> Result<OsString> {
        let found = self.kernel.thread_name(thread.pid.as_raw(), thread.tid.as_raw());
        let name = self.checked("kern.proc.pid", thread, found)?;
        name.map(OsString::from_vec).ok_or(Error::GONE)
    }

    fn forget(&mut self, pid: Pid) {
        // No file is kept open. What is remembered of a tracee goes with its end or detach, and
        // its event mask outlives an exec.
        self.parents_at_end.remove(&pid.as_raw());
        if let Some(tracee) = self.tracees.get_mut(&pid.as_raw()) {
            tracee.abi = None;
        }
    }

    fn requests(&self) -> u64 {
        self.kernel.requests
    }
}

/// What an answer about CPUs means: these questions need no stopped thread.
fn placed<T>(request: &'static str, thread: Option<Thread>, result: sys::Result<T>) -> Result<T> {
    result.map_err(|errno| match thread {
        Some(_) if errno == sys::Errno::SRCH => Error::GONE,
        _ => {
            let id = thread.map_or(0, |thread| thread.tid.as_raw());
            Error::os(request, id, errno.into())
        }
    })
}
