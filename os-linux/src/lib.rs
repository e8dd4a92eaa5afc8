//! The Linux back end of trapline: `ptrace(2)` with `PTRACE_SEIZE`, on x86-64
//! and aarch64.
//!
//! Users take the facade crate, `trapline`. Needs Linux 5.4 or later (`pidfd_open`,
//! `PTRACE_GET_SYSCALL_INFO`, `waitid` with `P_PIDFD`) and a `/proc`.
//!
//! # What the host sees of it
//!
//! - A tracee belongs to the *thread* that traces it, so there is one [`Linux`] per thread, and it
//!   stays there. When that thread ends, the kernel lets its tracees go or kills them.
//! - Waits find tracees, and of the host's children only those that are tracees or were made by
//!   `clone` with an exit signal other than SIGCHLD. The host must not wait for a tracee itself,
//!   nor for everybody (`waitpid(-1)`), on any thread: `wait` of one thread takes what another
//!   thread traces. Tracees send SIGCHLD like children.
//! - A thread starts programs, from the first spawn on.
//! - A *doorbell* exists once a [waker](Backend::waker) or a time limit was asked for: a process
//!   that sleeps, shares the host's memory and nothing else, and is killed with the tracer. It is a
//!   tracee like others.
//! - A thread that looks for stops exists once a [readiness](Backend::readiness) was asked for.
//! - A thread may exist for as long as an attach takes.

#![cfg(target_os = "linux")]
#![deny(unsafe_code)]

mod attach;
mod decode;
mod ext;
mod ffi;
mod memory;
mod process;
mod readiness;
mod refused;
mod regs;
mod spawn;
#[allow(unsafe_code)]
mod sys;
mod task;
mod wait;
mod waker;

use std::cell::Cell;
use std::ffi::OsString;
use std::marker::PhantomData;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use trapline_core::backend::{
    Activity, Backend, DebugRoom, DebugSlots, DebugStatus, Listed, NewTask, Patience, RawAttach,
    RawSpawn, RawStop, Run, Setup, StopScope, Thread, TrapOrigin, Waited, Wake,
};
use trapline_core::{
    Arch, CodeMode, CpuSet, Error, ForkKind, Pid, Result, Signal, SignalInfo, Syscall, Tid,
};

pub use ext::{Abi, BpfInstruction, TracerExt};

use memory::Memory;
use readiness::Lookout;
use regs::Cpu;
use spawn::Spawner;
use sys::{Kernel, own_tid};
use waker::Bell;

thread_local! {
    /// Whether this thread has a back end.
    static IN_USE: Cell<bool> = const { Cell::new(false) };
}

/// The tracees of one thread.
///
/// When it is dropped its threads and its doorbell end; its tracees stay as they are until the
/// thread itself ends.
#[derive(Debug)]
pub struct Linux {
    kernel: Kernel,
    memory: Memory,
    spawner: Option<Spawner>,
    /// For the next program that is started.
    filter: Option<Vec<BpfInstruction>>,
    /// Programs are not laid out at random.
    fixed_addresses: bool,
    bell: Option<Bell>,
    lookout: Option<Lookout>,
    /// The last fork that a wait has told of, for [`Backend::new_task`] to ask the right question
    /// first.
    last_fork: Option<(Tid, ForkKind)>,
    /// The process that made it: a fork of the host has a copy, and must not act on it.
    owner: u32,
    /// ptrace takes requests from the tracer's thread alone.
    not_send: PhantomData<*const ()>,
}

impl Drop for Linux {
    fn drop(&mut self) {
        // It may be dropped while the thread's own data is, and then there is no next one.
        let _ = IN_USE.try_with(|in_use| in_use.set(false));
        if self.owner != std::process::id() {
            return;
        }
        readiness::TRACERS.fetch_sub(1, Ordering::Relaxed);
        if let Some(lookout) = self.lookout.take() {
            lookout.end(|| self.bell.as_ref().is_some_and(Bell::ring));
        }
        if let Some(bell) = self.bell.take() {
            bell.end(&self.kernel);
        }
        if let Some(spawner) = self.spawner.take() {
            spawner.end();
        }
    }
}

impl Backend for Linux {
    type Arch = Cpu;

    const SYSTEM: &'static str = "Linux";
    const STOP_SCOPE: StopScope = StopScope::Thread;
    const INHERITS_SETUP: bool = true;

    fn open() -> Result<Self> {
        if IN_USE.replace(true) {
            return Err(Error::Unsupported {
                what: "a second tracer on one thread",
                on: Self::SYSTEM,
            });
        }
        readiness::TRACERS.fetch_add(1, Ordering::Relaxed);
        Ok(Self {
            kernel: Kernel::default(),
            memory: Memory::default(),
            spawner: None,
            filter: None,
            fixed_addresses: false,
            bell: None,
            lookout: None,
            last_fork: None,
            owner: std::process::id(),
            not_send: PhantomData,
        })
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

    fn wait(&mut self, patience: Patience) -> Result<Waited> {
        self.wait_for(patience)
    }

    const YIELDS: u32 = 12;

    fn look(&mut self, thread: Thread) -> Result<Option<RawStop>> {
        self.look_at(thread.tid)
    }

    fn has_tracees(&mut self) -> Result<bool> {
        self.any_tracees()
    }

    fn waker(&mut self) -> Result<Arc<dyn Wake>> {
        Ok(self.bell()?.waker())
    }

    fn readiness(&mut self) -> Result<OwnedFd> {
        self.bell()?; // so that the lookout always has something to wait for
        let lookout = match self.lookout.take() {
            Some(lookout) => lookout,
            None => Lookout::new(&self.kernel)?,
        };
        self.lookout.insert(lookout).readiness()
    }

    fn watch(&mut self, time: Option<Duration>) -> Result<()> {
        if let Some(time) = time {
            let deadline = Instant::now() + time;
            self.bell()?;
            if let Some(bell) = &mut self.bell {
                bell.stop_by(&self.kernel, deadline)?;
            }
        }
        if let Some(lookout) = &self.lookout {
            lookout.look();
        }
        Ok(())
    }

    fn resume(&mut self, thread: Thread, run: Run, signal: Option<Signal>) -> Result<()> {
        self.kernel.resume(thread.tid, run, signal)
    }

    fn listen(&mut self, thread: Thread) -> Result<()> {
        self.kernel.listen(thread.tid)
    }

    fn interrupt(&mut self, thread: Thread) -> Result<()> {
        self.kernel.interrupt(thread.tid)
    }

    fn suspend(&mut self, _: Thread, _: bool) -> Result<()> {
        Err(Error::Unsupported {
            what: "to suspend one thread of a stopped process",
            on: Self::SYSTEM,
        })
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
        Ok(regs::trap_origin(&self.kernel.siginfo(thread.tid)?))
    }

    fn signal_info(&mut self, thread: Thread) -> Result<SignalInfo> {
        let info = self.kernel.siginfo(thread.tid)?;
        decode::signal_info(&info)
            .ok_or_else(|| unusable("PTRACE_GETSIGINFO", thread.tid, libc::EINVAL))
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

    fn write_memory(&mut self, thread: Thread, addr: u64, data: &[u8]) -> Result<usize> {
        self.memory.write(&self.kernel, thread, addr, data)
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
        Ok(process::status(&self.kernel, thread.tid.as_raw())?.has_pending(Signal::TRAP))
    }

    fn code_mode(registers: &<Cpu as Arch>::Registers) -> CodeMode {
        regs::code_mode(registers)
    }

    fn write_text(&mut self, thread: Thread, addr: u64, data: &[u8]) -> Result<()> {
        self.memory.write_text(&self.kernel, thread, addr, data)
    }

    fn shares_memory(&mut self, one: Thread, other: Thread) -> Result<Option<bool>> {
        self.kernel.shares_memory(one.tid, other.tid)
    }

    fn restarted(registers: &<Cpu as Arch>::Registers) -> Option<<Cpu as Arch>::Registers> {
        regs::restarted(registers)
    }

    fn process_of(&mut self, tid: Tid) -> Result<(Pid, Pid)> {
        let status = process::status(&self.kernel, tid.as_raw())?;
        Ok((Pid::from_raw(status.tgid), Pid::from_raw(status.ppid)))
    }

    fn was_vforked(&mut self, _child: Thread) -> Result<Option<bool>> {
        Ok(None)
    }

    fn is_mute(&mut self, _pid: Pid) -> Result<bool> {
        Ok(false) // a killed parent does not wait in `vfork` (`wait_for_vfork_done` in `fork.c`)
    }

    fn real_parent(&mut self, pid: Pid) -> Result<Pid> {
        let status = process::status(&self.kernel, pid.as_raw())?;
        Ok(Pid::from_raw(status.ppid))
    }

    fn parent_at_end(&mut self, pid: Pid, known: Pid) -> Result<Pid> {
        process::parent_at_end(&self.kernel, pid, known)
    }

    fn processes(&mut self) -> Result<Vec<Listed>> {
        process::all(&self.kernel)
    }

    fn is_traced(&mut self, pid: Pid) -> Result<bool> {
        Ok(process::status(&self.kernel, pid.as_raw())?.tracer == own_tid())
    }

    fn threads(&mut self, pid: Pid) -> Result<Vec<Tid>> {
        process::threads(&self.kernel, pid)
    }

    fn is_held(&mut self, thread: Thread) -> Result<bool> {
        match process::state(&self.kernel, thread.tid)? {
            // A first thread that has ended before the others.
            b'Z' | b'X' => Err(Error::Gone),
            // A parent in vfork and an exec that waits for the other threads sleep so too.
            state => Ok(state == b'D'),
        }
    }

    fn activity(&mut self, thread: Thread) -> Result<Activity> {
        process::activity(&self.kernel, thread.tid)
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

    fn thread_name(&mut self, thread: Thread) -> Result<OsString> {
        process::thread_name(&self.kernel, thread)
    }

    fn forget(&mut self, pid: Pid) {
        self.memory.forget(pid);
    }

    fn requests(&self) -> u64 {
        self.kernel.requests()
    }
}

/// An answer of the kernel that does not answer the question.
pub(crate) fn unusable(request: &'static str, tid: Tid, errno: i32) -> Error {
    Error::Os { request, id: tid.as_raw(), source: std::io::Error::from_raw_os_error(errno) }
}
