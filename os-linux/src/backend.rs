//! The list of what the back end can do, in the order of the trait.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use trapline_core::backend::{
    Backend, DebugRoom, DebugSlots, DebugStatus, Disposition, Listed, NewTask, Patience, RawAttach,
    RawSpawn, RawStop, Run, Setup, StopScope, Thread, TrapOrigin, Waited, Wake,
};
use trapline_core::{
    Arch, CodeMode, CpuSet, Error, MemoryRegion, PendingSignals, Pid, Result, Signal, SignalInfo,
    SignalSet, Syscall, ThreadInfo, Tid,
};

use crate::detour::Detour;
use crate::ext::SignalQueue;
use crate::regs::{self, Cpu};
use crate::sys::own_tid;
use crate::{Linux, decode, maps, proc, process};

impl trapline_core::private::Sealed for Linux {}

impl Backend for Linux {
    type Arch = Cpu;
    const SYSTEM: &'static str = "Linux";
    const STOP_SCOPE: StopScope = StopScope::Thread;
    const INHERITS_SETUP: bool = true;
    /// `AT_SYSINFO_EHDR` of `getauxval(3)`.
    const VDSO: u64 = 33;

    fn open() -> Result<Self> {
        Linux::new()
    }

    fn first_thread(pid: Pid) -> Option<Tid> {
        Some(Tid::from_raw(pid.as_raw()))
    }

    fn process_led_by(tid: Tid) -> Option<Pid> {
        Some(Pid::from_raw(tid.as_raw()))
    }

    fn spawn(&mut self, command: Command, setup: Setup) -> Result<RawSpawn> {
        self.start(command, setup)
    }

    fn randomize_addresses(&mut self, random: bool) {
        self.fixed_addresses = !random;
    }

    fn attach(&mut self, pid: Pid, setup: Setup) -> Result<RawAttach> {
        self.trace(pid, setup)
    }

    fn late_threads(&mut self, pid: Pid) -> Result<Vec<Tid>> {
        self.take_late(pid)
    }

    fn trace_late_threads(&mut self, thread: Thread) -> Result<()> {
        self.settle_memory(thread)
    }

    const YIELDS: u32 = 12;

    fn wait(&mut self, patience: Patience) -> Result<Waited> {
        match self.early.pop_front() {
            Some(stop) => Ok(Waited::Stop(stop)),
            None if std::mem::take(&mut self.woken) => Ok(Waited::Woken),
            None => self.wait_for(patience),
        }
    }

    fn look(&mut self, thread: Thread) -> Result<Option<RawStop>> {
        self.look_at(thread.tid)
    }

    fn has_tracees(&mut self) -> Result<bool> {
        self.any_tracees()
    }

    fn waker(&mut self) -> Result<Arc<dyn Wake>> {
        Ok(self.wake_helper()?.waker())
    }

    fn readiness(&mut self) -> Result<OwnedFd> {
        self.readiness_descriptor()
    }

    fn watch(&mut self, time: Option<Duration>) -> Result<()> {
        self.watch_for(time)
    }

    fn resume(&mut self, thread: Thread, run: Run, signal: Option<Signal>) -> Result<()> {
        self.last_step = None;
        if !self.left_calls.is_empty() && self.takes_left_call(thread.tid, run) {
            return Ok(());
        }
        self.kernel.resume(thread.tid, run, signal)
    }

    fn listen(&mut self, thread: Thread) -> Result<()> {
        self.kernel.listen(thread.tid)
    }

    fn interrupt(&mut self, thread: Thread) -> Result<()> {
        self.kernel.interrupt(thread.tid)
    }

    fn suspend(&mut self, _: Thread, _: bool) -> Result<()> {
        Err(Error::unsupported("to suspend one thread of a stopped process", Self::SYSTEM))
    }

    fn detach(&mut self, thread: Thread, signal: Option<Signal>) -> Result<()> {
        self.kernel.detach(thread.tid, signal)
    }

    fn kill(&mut self, pid: Pid, _: Option<Tid>) -> Result<()> {
        self.kernel.kill(pid, Signal::KILL)
    }

    fn send_signal(&mut self, thread: Thread, signal: Signal) -> Result<()> {
        self.kernel.kill_thread(thread, signal)
    }

    fn set_up(&mut self, thread: Thread, setup: Setup) -> Result<()> {
        self.kernel.set_options(thread.tid, decode::options(setup))
    }

    fn new_task(&mut self, parent: Thread, setup: Setup) -> Result<NewTask> {
        self.task_of(parent, setup)
    }

    fn former_tid(&mut self, thread: Thread, setup: Setup) -> Result<Tid> {
        self.tid_before_exec(thread, setup)
    }

    fn trap_origin(&mut self, thread: Thread) -> Result<TrapOrigin> {
        let info = self.kernel.siginfo(thread.tid)?;
        let origin = regs::trap_origin(&info);
        self.last_step = (origin == TrapOrigin::Step)
            .then(|| Some((thread.tid, decode::signal_info(&info)?.addr?)))
            .flatten();
        Ok(origin)
    }

    fn stepped_to(&self, thread: Thread) -> Option<u64> {
        self.last_step.filter(|&(tid, _)| tid == thread.tid).map(|(_, pc)| pc)
    }

    fn signal_info(&mut self, thread: Thread) -> Result<SignalInfo> {
        let info = self.kernel.siginfo(thread.tid)?;
        decode::signal_info(&info)
            .ok_or_else(|| unusable("PTRACE_GETSIGINFO", thread.tid, libc::EINVAL))
    }

    fn signal_mask(&mut self, thread: Thread) -> Result<SignalSet> {
        Ok(SignalSet::from_bits(self.kernel.signal_mask(thread.tid)?.into()))
    }

    fn set_signal_mask(&mut self, thread: Thread, mask: SignalSet) -> Result<()> {
        // The kernel has 64 signals.
        self.kernel.set_signal_mask(thread.tid, mask.bits() as u64)
    }

    fn pending_signals(&mut self, thread: Thread) -> Result<PendingSignals> {
        let mut sets = [SignalSet::EMPTY; 2];
        for (set, queue) in sets.iter_mut().zip([SignalQueue::Thread, SignalQueue::Process]) {
            let waiting = self.kernel.queued(thread.tid, queue)?;
            *set = waiting.iter().filter_map(|i| Signal::from_raw(decode::signal_of(i))).collect();
        }
        let [own, process] = sets;
        Ok(PendingSignals::new(own, process))
    }

    fn syscall(&mut self, thread: Thread) -> Result<Syscall> {
        let info = self.kernel.syscall_info(thread.tid)?;
        if let Some(call) = regs::syscall_at_entry(&info) {
            return Ok(call);
        }
        regs::syscall(&self.kernel, thread, &info)?
            .ok_or_else(|| unusable("PTRACE_GET_SYSCALL_INFO", thread.tid, libc::EINVAL))
    }

    fn registers(&mut self, thread: Thread) -> Result<<Cpu as Arch>::Registers> {
        let registers = self.kernel.registers(thread.tid)?;
        Ok(regs::from_kernel(&registers))
    }

    fn set_registers(
        &mut self,
        thread: Thread,
        registers: &<Cpu as Arch>::Registers,
    ) -> Result<()> {
        self.last_step = None;
        let registers = regs::to_kernel(registers);
        self.kernel.set_registers(thread.tid, &registers)
    }

    fn fp_registers(&mut self, thread: Thread) -> Result<<Cpu as Arch>::FpRegisters> {
        regs::fp_registers(&self.kernel, thread.tid)
    }

    fn set_fp_registers(
        &mut self,
        thread: Thread,
        registers: &<Cpu as Arch>::FpRegisters,
    ) -> Result<()> {
        regs::set_fp_registers(&self.kernel, thread.tid, registers)
    }

    fn extended_state(&mut self, thread: Thread) -> Result<<Cpu as Arch>::ExtendedState> {
        regs::extended_state(&self.kernel, thread.tid)
    }

    fn set_extended_state(
        &mut self,
        thread: Thread,
        state: &<Cpu as Arch>::ExtendedState,
    ) -> Result<()> {
        regs::set_extended_state(&self.kernel, thread.tid, state)
    }

    fn read_memory(&mut self, thread: Thread, addr: u64, buf: &mut [u8]) -> Result<usize> {
        self.memory.read(&self.kernel, thread, addr, buf)
    }

    fn read_memory_each(
        &mut self,
        thread: Thread,
        places: &mut [(u64, &mut [u8])],
    ) -> Vec<Result<usize>> {
        self.memory.read_each(&self.kernel, thread, places)
    }

    fn write_memory(&mut self, thread: Thread, addr: u64, data: &[u8]) -> Result<usize> {
        self.memory.write(&self.kernel, thread, addr, data)
    }

    fn write_text(&mut self, thread: Thread, addr: u64, data: &[u8]) -> Result<()> {
        self.memory.write_text(&self.kernel, thread, addr, data)
    }

    fn code_mode(registers: &<Cpu as Arch>::Registers) -> CodeMode {
        regs::code_mode(registers)
    }

    fn write_data(&mut self, thread: Thread, addr: u64, data: &[u8]) -> Result<usize> {
        self.memory.write_data(&self.kernel, thread, addr, data)
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
        self.inject(thread, number, args)
    }

    fn change_syscall(&mut self, thread: Thread, number: u64, args: [u64; 6]) -> Result<()> {
        let mut info = self.kernel.syscall_info(thread.tid)?;
        for (to, value) in info.data.iter_mut().zip([number].into_iter().chain(args)) {
            *to = value;
        }
        // Linux 6.16 has a request for it. What is no call, or has no such words, is for the other way.
        match self.kernel.set_syscall_info(thread.tid, &info)? {
            true => Ok(()),
            false => regs::change_call(&self.kernel, thread.tid, number, args),
        }
    }

    fn skip_syscall(&mut self, thread: Thread) -> Result<()> {
        let registers = self.kernel.registers(thread.tid)?;
        regs::skip_call(&self.kernel, thread.tid, &registers)
    }

    fn set_syscall_result(
        &mut self,
        thread: Thread,
        result: std::result::Result<u64, i32>,
    ) -> Result<()> {
        let mut registers = self.kernel.registers(thread.tid)?;
        let value = result.unwrap_or_else(|errno| i64::from(errno).wrapping_neg() as u64);
        regs::set_call_result(&mut registers, value);
        self.kernel.set_registers(thread.tid, &registers)
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

    fn has_shadow_stack(&mut self, thread: Thread) -> Result<bool> {
        regs::has_shadow_stack(&self.kernel, thread.tid)
    }

    fn set_signal_addr(&mut self, thread: Thread, addr: u64) -> Result<()> {
        let mut info = self.kernel.siginfo(thread.tid)?;
        decode::set_addr(&mut info, addr);
        self.kernel.set_siginfo(thread.tid, &info)
    }

    fn disposition(&mut self, thread: Thread, signal: Signal) -> Result<Disposition> {
        let status = process::status(&self.kernel, thread.tid.as_raw())?;
        // Without a word, as if there were a handler: then nobody misses its end.
        Ok(status.map_or(Disposition::Caught, |status| status.disposition(signal)))
    }

    fn ends_handler(
        &mut self,
        thread: Thread,
        registers: &<Cpu as Arch>::Registers,
    ) -> Result<bool> {
        regs::ends_handler(&self.kernel, thread.tid, registers)
    }

    fn shares_memory(&mut self, one: Thread, other: Thread) -> Result<Option<bool>> {
        self.kernel.shares_memory(one.tid, other.tid)
    }

    fn restarted(registers: &<Cpu as Arch>::Registers) -> Option<<Cpu as Arch>::Registers> {
        regs::restarted(registers)
    }

    const PASSES_BREAKPOINTS: bool = true;

    fn set_watched(
        &mut self,
        thread: Thread,
        from: Option<&DebugSlots>,
        to: &DebugSlots,
    ) -> Result<()> {
        regs::debug::watch(&self.kernel, thread.tid, from, to)
    }

    fn debug_room(&mut self, thread: Thread) -> Result<DebugRoom> {
        regs::debug::room(&self.kernel, thread.tid)
    }

    fn take_debug_status(&mut self, thread: Thread) -> Result<DebugStatus> {
        regs::debug::take_status(&self.kernel, thread.tid)
    }

    fn has_pending_trap(&mut self, thread: Thread) -> Result<bool> {
        if let Some(pending) = self.kernel.has_pending(thread.tid, Signal::TRAP)? {
            return Ok(pending);
        }
        let status = process::status(&self.kernel, thread.tid.as_raw())?;
        Ok(status.is_some_and(|status| status.has_pending(Signal::TRAP)))
    }

    fn process_of(&mut self, tid: Tid) -> Result<(Pid, Option<Pid>)> {
        let status = process::status(&self.kernel, tid.as_raw())?.ok_or_else(proc::silent);
        match status {
            Ok(status) => Ok((Pid::from_raw(status.tgid), process::parent(status.ppid))),
            // By its number it is the first of its process, or of another one.
            Err(silent) => {
                let pid = Pid::from_raw(tid.as_raw());
                if self.kernel.is_thread_of(pid, tid) { Ok((pid, None)) } else { Err(silent) }
            }
        }
    }

    fn was_vforked(&mut self, _child: Thread) -> Result<Option<bool>> {
        Ok(None)
    }

    fn is_unkillable(&mut self, _pid: Pid) -> Result<bool> {
        Ok(false) // a killed parent does not wait in `vfork` (`wait_for_vfork_done` in `fork.c`)
    }

    fn real_parent(&mut self, pid: Pid) -> Result<Option<Pid>> {
        let status = process::status(&self.kernel, pid.as_raw())?.ok_or_else(proc::silent)?;
        Ok(process::parent(status.ppid))
    }

    fn parent_at_end(&mut self, pid: Pid, known: Pid) -> Result<Option<Pid>> {
        process::parent_at_end(&self.kernel, pid, known)
    }

    fn processes(&mut self) -> Result<Vec<Listed>> {
        process::all(&self.kernel)
    }

    fn is_traced(&mut self, pid: Pid) -> Result<bool> {
        match process::status(&self.kernel, pid.as_raw())? {
            Some(status) => Ok(status.tracer == own_tid()),
            None => Ok(self.kernel.has_ended(Tid::from_raw(pid.as_raw()))?.is_some()),
        }
    }

    fn threads(&mut self, pid: Pid) -> Result<Vec<Tid>> {
        process::threads(&self.kernel, pid)
    }

    fn is_uninterruptible(&mut self, thread: Thread) -> Result<bool> {
        match process::state(&self.kernel, thread.tid)? {
            // A first thread that has ended before the others.
            Some(b'Z' | b'X') => Err(Error::GONE),
            // A parent in vfork and an exec that waits for the other threads sleep so too.
            Some(state) => Ok(state == b'D'),
            // Nobody tells how it sleeps; it is waited for as one that can stop.
            None if self.kernel.has_memory(thread.tid) => Ok(false),
            None => Err(Error::GONE),
        }
    }

    fn is_asleep(&mut self, thread: Thread) -> Result<bool> {
        // One of which nothing is known may still do anything.
        Ok(process::is_asleep(&self.kernel, thread.tid)?.unwrap_or(false))
    }

    fn cpus(&mut self, thread: Option<Thread>) -> Result<CpuSet> {
        self.kernel.cpus(thread.map(|thread| thread.tid))
    }

    fn set_cpus(&mut self, thread: Option<Thread>, cpus: &CpuSet) -> Result<()> {
        self.kernel.set_cpus(thread.map(|thread| thread.tid), cpus)
    }

    fn current_cpu(&mut self) -> Result<u32> {
        self.kernel.current_cpu()
    }

    fn executable(&mut self, pid: Pid) -> Result<PathBuf> {
        process::executable(&self.kernel, pid)
    }

    fn arguments(&mut self, pid: Pid) -> Result<Vec<OsString>> {
        process::arguments(&self.kernel, pid)
    }

    fn auxiliary_vector(&mut self, pid: Pid) -> Result<Vec<u8>> {
        process::auxiliary_vector(&self.kernel, pid)
    }

    fn memory_map(&mut self, pid: Pid) -> Result<Vec<MemoryRegion>> {
        maps::of(&self.kernel, pid)
    }

    fn thread_info(&mut self, thread: Thread) -> Result<ThreadInfo> {
        maps::thread(&self.kernel, thread)
    }

    fn thread_pointer(&mut self, thread: Thread) -> Result<u64> {
        regs::thread_pointer(&self.kernel, thread.tid)
    }

    fn thread_name(&mut self, thread: Thread) -> Result<OsString> {
        process::thread_name(&self.kernel, thread)
    }

    fn forget(&mut self, pid: Pid) {
        self.memory.forget(pid);
        self.call_instructions.remove(&pid);
        self.forget_unsettled(pid);
    }

    fn requests(&self) -> u64 {
        self.kernel.requests()
    }
}

/// An answer of the kernel that does not answer the question.
pub(crate) fn unusable(request: &'static str, tid: Tid, errno: i32) -> Error {
    Error::os(request, tid.as_raw(), std::io::Error::from_raw_os_error(errno))
}
