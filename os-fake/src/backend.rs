//! The list of what the back end can do, in the order of the trait.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use trapline_core::backend::{
    DebugRoom, DebugSlots, DebugStatus, Disposition, Listed, NewTask, Patience, RawAttach,
    RawReason, RawSpawn, RawStop, Run, Setup, StopScope, Thread, TrapOrigin, Waited, Wake,
};
use trapline_core::{
    Backend, CodeMode, CpuSet, Error, MemoryRegion, PendingSignals, Pid, Result, Signal,
    SignalInfo, SignalSet, Syscall, ThreadInfo, ThreadState, Tid,
};

use crate::arch::FakeRegisters;
use crate::detour::Detour;
use crate::faults::Fault;
use crate::kernel::Kernel;
use crate::model::{State, all_cpus};
use crate::rules::Rules;
use crate::system::Fake;

/// Where every program begins; a test maps code there, if it is to be executed.
pub const ENTRY_POINT: u64 = 0x4000;
/// Where each program of the model is told that its two program headers are, of 56 bytes each.
pub const PROGRAM_HEADERS: u64 = 0x4040_0040;

impl<R: Rules> trapline_core::private::Sealed for Fake<R> {}

impl<R: Rules> Backend for Fake<R> {
    type Arch = R::Cpu;
    const SYSTEM: &'static str = R::RULES.system;
    const STOP_SCOPE: StopScope = R::RULES.scope;
    const INHERITS_SETUP: bool = R::RULES.inherits_setup;
    const VDSO: u64 = 33;

    /// The back end of a kernel of its own.
    fn open() -> Result<Self> {
        Ok(Kernel::new().backend())
    }

    fn first_thread(pid: Pid) -> Option<Tid> {
        R::RULES.led_by_pid.then(|| Tid::from_raw(pid.as_raw()))
    }

    fn process_led_by(tid: Tid) -> Option<Pid> {
        R::RULES.led_by_pid.then(|| Pid::from_raw(tid.as_raw()))
    }

    fn spawn(&mut self, command: Command, setup: Setup) -> Result<RawSpawn> {
        let meanwhile = self.meanwhile();
        let fails = self.kernel.take_failing_spawn();
        let killed = self.kernel.take_killed_spawn();
        let program = command.get_program().to_string_lossy().into_owned();
        let (pid, stop) = self.call("spawn", -1, |model| match fails {
            Some(kind) => Err(Error::Spawn(kind.into())),
            None => Ok(model.spawn(&program, setup, killed)),
        })?;
        Ok(RawSpawn { pid, child: None, stop, meanwhile })
    }

    fn randomize_addresses(&mut self, _: bool) {}

    fn attach(&mut self, pid: Pid, setup: Setup) -> Result<RawAttach> {
        let meanwhile = self.meanwhile();
        let (threads, real_parent) = self.call("attach", pid.as_raw(), |model| {
            model.check_attach(pid)?;
            Ok((model.attach(pid, setup), model.visible_parent(pid)?))
        })?;
        Ok(RawAttach { threads, real_parent, meanwhile })
    }

    fn late_threads(&mut self, pid: Pid) -> Result<Vec<Tid>> {
        if self.kernel.model().late(pid).is_empty() {
            return Ok(Vec::new());
        }
        self.call("late_threads", pid.as_raw(), |model| Ok(model.trace_late(pid)))
    }

    fn trace_late_threads(&mut self, thread: Thread) -> Result<()> {
        if self.kernel.model().late(thread.pid).is_empty() {
            return Ok(());
        }
        self.call("trace_late_threads", thread.tid.as_raw(), |model| {
            for late in model.trace_late(thread.pid) {
                model.stop(late, RawReason::ThreadStarted);
            }
            Ok(())
        })
    }

    const YIELDS: u32 = 1;

    fn wait(&mut self, patience: Patience) -> Result<Waited> {
        self.wait_for(patience)
    }

    fn look(&mut self, thread: Thread) -> Result<Option<RawStop>> {
        self.look_at(thread)
    }

    fn has_tracees(&mut self) -> Result<bool> {
        self.call("has_tracees", -1, |model| {
            Ok(model.tasks.values().any(|task| task.setup.is_some()))
        })
    }

    fn waker(&mut self) -> Result<Arc<dyn Wake>> {
        Ok(Arc::clone(&self.woken) as Arc<dyn Wake>)
    }

    /// A descriptor that is never readable: a test asks what was [watched
    /// for](Kernel::watches) instead.
    fn readiness(&mut self) -> Result<OwnedFd> {
        let pair = UnixStream::pair();
        let (ours, theirs) = pair.map_err(|source| Error::os("readiness", -1, source))?;
        self.kept_open = Some(ours);
        Ok(theirs.into())
    }

    fn watch(&mut self, time: Option<Duration>) -> Result<()> {
        self.kernel.model().records.watches.push(time);
        Ok(())
    }

    fn resume(&mut self, thread: Thread, run: Run, signal: Option<Signal>) -> Result<()> {
        if let Some(log) = &mut self.kernel.model().records.log {
            log.push(format!("{run:?}, {signal:?}:"));
        }
        self.call("resume", thread.tid.as_raw(), |model| model.faulty_resume(thread, run, signal))
    }

    fn listen(&mut self, thread: Thread) -> Result<()> {
        self.call("listen", thread.tid.as_raw(), |model| model.listen(thread))
    }

    fn interrupt(&mut self, thread: Thread) -> Result<()> {
        self.call("interrupt", thread.tid.as_raw(), |model| model.interrupt(thread))
    }

    fn suspend(&mut self, thread: Thread, suspended: bool) -> Result<()> {
        self.call("suspend", thread.tid.as_raw(), |model| model.suspend(thread, suspended))
    }

    fn detach(&mut self, thread: Thread, signal: Option<Signal>) -> Result<()> {
        self.call("detach", thread.tid.as_raw(), |model| model.detach(thread, signal))
    }

    fn clean_children(&mut self, pid: Pid, code: Vec<(u64, Vec<u8>)>) {
        self.kernel.model().clean.insert(pid, code);
    }

    fn kill(&mut self, pid: Pid, stopped: Option<Tid>) -> Result<()> {
        self.call("kill", pid.as_raw(), |model| model.kill_request(pid, stopped))
    }

    fn send_signal(&mut self, thread: Thread, signal: Signal) -> Result<()> {
        self.call("send_signal", thread.tid.as_raw(), |model| model.send(thread, signal))
    }

    fn set_up(&mut self, thread: Thread, setup: Setup) -> Result<()> {
        self.call("set_up", thread.tid.as_raw(), |model| model.set_up(thread, setup))
    }

    fn new_task(&mut self, parent: Thread, setup: Setup) -> Result<NewTask> {
        self.call("new_task", parent.tid.as_raw(), |model| {
            model.check_told(parent, setup);
            let task = model.new_task(parent)?;
            Ok(model.mix_up(task))
        })
    }

    fn former_tid(&mut self, thread: Thread, setup: Setup) -> Result<Tid> {
        self.call("former_tid", thread.tid.as_raw(), |model| {
            model.check_told(thread, setup);
            model.former_tid(thread)
        })
    }

    fn trap_origin(&mut self, thread: Thread) -> Result<TrapOrigin> {
        self.call("trap_origin", thread.tid.as_raw(), |model| model.trap_origin(thread))
    }

    fn signal_info(&mut self, thread: Thread) -> Result<SignalInfo> {
        self.call("signal_info", thread.tid.as_raw(), |model| model.signal_info(thread))
    }

    fn signal_mask(&mut self, thread: Thread) -> Result<SignalSet> {
        self.call("signal_mask", thread.tid.as_raw(), |model| Ok(model.inspected(thread)?.blocked))
    }

    fn set_signal_mask(&mut self, thread: Thread, mask: SignalSet) -> Result<()> {
        self.call("set_signal_mask", thread.tid.as_raw(), |model| {
            model.inspected(thread)?.blocked = mask;
            Ok(())
        })
    }

    fn pending_signals(&mut self, thread: Thread) -> Result<PendingSignals> {
        self.call("pending_signals", thread.tid.as_raw(), |model| {
            let waiting = model.inspected(thread)?.signals.iter().copied().collect();
            Ok(PendingSignals::new(waiting, SignalSet::EMPTY))
        })
    }

    fn syscall(&mut self, thread: Thread) -> Result<Syscall> {
        self.call("syscall", thread.tid.as_raw(), |model| model.syscall(thread))
    }

    fn registers(&mut self, thread: Thread) -> Result<FakeRegisters> {
        let id = thread.tid.as_raw();
        self.call("registers", id, |model| Ok(model.inspected(thread)?.registers))
    }

    fn set_registers(&mut self, thread: Thread, registers: &FakeRegisters) -> Result<()> {
        self.call("set_registers", thread.tid.as_raw(), |model| {
            let lost = model.fault == Some(Fault::LosesRegisters);
            let task = model.inspected(thread)?;
            if !lost {
                task.debug.is_moved(task.registers.pc != registers.pc);
                task.registers = *registers;
            }
            Ok(())
        })
    }

    fn fp_registers(&mut self, thread: Thread) -> Result<Vec<u8>> {
        let id = thread.tid.as_raw();
        self.call("fp_registers", id, |model| Ok(model.inspected(thread)?.fp.clone()))
    }

    fn set_fp_registers(&mut self, thread: Thread, registers: &Vec<u8>) -> Result<()> {
        self.call("set_fp_registers", thread.tid.as_raw(), |model| {
            model.inspected(thread)?.fp.clone_from(registers);
            Ok(())
        })
    }

    fn extended_state(&mut self, thread: Thread) -> Result<Vec<u8>> {
        let id = thread.tid.as_raw();
        self.call("extended_state", id, |model| Ok(model.inspected(thread)?.fp.clone()))
    }

    fn set_extended_state(&mut self, thread: Thread, state: &Vec<u8>) -> Result<()> {
        self.set_fp_registers(thread, state)
    }

    fn read_memory(&mut self, thread: Thread, addr: u64, buf: &mut [u8]) -> Result<usize> {
        self.call("read_memory", thread.tid.as_raw(), |model| {
            let space = model.space(thread)?;
            model.memory.read(space, addr, buf)
        })
    }

    fn write_memory(&mut self, thread: Thread, addr: u64, data: &[u8]) -> Result<usize> {
        self.call("write_memory", thread.tid.as_raw(), |model| {
            if model.fault == Some(Fault::LosesWrites) {
                return model.space(thread).map(|_| data.len());
            }
            model.write_memory(thread, addr, data)
        })
    }

    fn code_mode(registers: &FakeRegisters) -> CodeMode {
        match registers.narrow {
            true => CodeMode::Bits32,
            false => CodeMode::Bits64,
        }
    }

    fn write_data(&mut self, thread: Thread, addr: u64, data: &[u8]) -> Result<usize> {
        self.write_memory(thread, addr, data)
    }

    const CODE_AREA: u64 = 256;

    fn map_code(&mut self, thread: Thread, _: u64, len: u64) -> Result<u64> {
        self.call("map_code", thread.tid.as_raw(), |model| model.map_code(thread, len))
    }

    fn unmap_code(&mut self, thread: Thread, addr: u64, len: u64) -> Result<()> {
        self.call("unmap_code", thread.tid.as_raw(), |model| model.unmap_code(thread, addr, len))
    }

    /// The sum of the number and the arguments; no call has the number 0.
    fn call_syscall(
        &mut self,
        thread: Thread,
        number: u64,
        args: &[u64],
    ) -> Result<std::result::Result<u64, i32>> {
        const NO_SUCH_CALL: i32 = 38;
        self.call("call_syscall", thread.tid.as_raw(), |model| {
            model.check_free(thread)?;
            let sum = args.iter().fold(number, |sum, &arg| sum.wrapping_add(arg));
            Ok(if number == 0 { Err(NO_SUCH_CALL) } else { Ok(sum) })
        })
    }

    fn change_syscall(&mut self, thread: Thread, number: u64, args: [u64; 6]) -> Result<()> {
        self.call("change_syscall", thread.tid.as_raw(), |model| {
            model.inspected(thread)?.changed_call = Some((number, args));
            Ok(())
        })
    }

    /// A call that is left out fails.
    fn skip_syscall(&mut self, thread: Thread) -> Result<()> {
        const NO_SUCH_CALL: i32 = 38;
        self.set_syscall_result(thread, Err(NO_SUCH_CALL))
    }

    fn set_syscall_result(
        &mut self,
        thread: Thread,
        result: std::result::Result<u64, i32>,
    ) -> Result<()> {
        self.call("set_syscall_result", thread.tid.as_raw(), |model| {
            model.inspected(thread)?.changed_result = Some(result);
            Ok(())
        })
    }

    type Detour = Detour;

    fn leave_place(&mut self, thread: Thread) -> Result<Detour> {
        self.call("leave_place", thread.tid.as_raw(), |model| model.leave_place(thread))
    }

    fn return_to_place(
        &mut self,
        thread: Thread,
        detour: &Detour,
        kept: Option<Signal>,
    ) -> Result<()> {
        self.call("return_to_place", thread.tid.as_raw(), |model| {
            model.return_to_place(thread, detour, kept)
        })
    }

    fn has_shadow_stack(&mut self, _: Thread) -> Result<bool> {
        Ok(false)
    }

    fn disposition(&mut self, thread: Thread, signal: Signal) -> Result<Disposition> {
        let id = thread.tid.as_raw();
        self.call("disposition", id, |model| model.disposition(thread.pid, signal))
    }

    fn ends_handler(&mut self, thread: Thread, _: &FakeRegisters) -> Result<bool> {
        let id = thread.tid.as_raw();
        self.call("ends_handler", id, |model| Ok(model.inspected(thread)?.returned))
    }

    fn shares_memory(&mut self, one: Thread, other: Thread) -> Result<Option<bool>> {
        self.call("shares_memory", one.tid.as_raw(), |model| {
            let space = |pid| model.processes.get(&pid).map(|process| process.memory);
            let one = space(one.pid).ok_or(Error::GONE)?;
            Ok(Some(one == space(other.pid).ok_or(Error::GONE)?))
        })
    }

    fn restarted(registers: &FakeRegisters) -> Option<FakeRegisters> {
        registers.interrupted.then(|| FakeRegisters {
            pc: registers.pc.wrapping_sub(1),
            interrupted: false,
            ..*registers
        })
    }

    const PASSES_BREAKPOINTS: bool = R::RULES.passes_breakpoints;

    fn set_watched(
        &mut self,
        thread: Thread,
        from: Option<&DebugSlots>,
        to: &DebugSlots,
    ) -> Result<()> {
        self.call("set_watched", thread.tid.as_raw(), |model| model.watch(thread, from, to))
    }

    fn debug_room(&mut self, thread: Thread) -> Result<DebugRoom> {
        self.call("debug_room", thread.tid.as_raw(), |model| {
            let pid = model.inspected(thread)?.pid;
            Ok(DebugRoom { longest: model.longest_watch(pid), ..DebugRoom::ALL })
        })
    }

    fn take_debug_status(&mut self, thread: Thread) -> Result<DebugStatus> {
        let id = thread.tid.as_raw();
        let status = self.call("debug_status", id, |model| model.take_debug_status(thread))?;
        if status != DebugStatus::default() {
            self.kernel.model().records.requests += 1;
        }
        Ok(status)
    }

    fn has_pending_trap(&mut self, thread: Thread) -> Result<bool> {
        self.call("pending_trap", thread.tid.as_raw(), |model| {
            let task = model.inspected(thread)?;
            Ok(task.debug.pending.is_some() || task.trapped)
        })
    }

    fn process_of(&mut self, tid: Tid) -> Result<(Pid, Option<Pid>)> {
        self.call("process_of", tid.as_raw(), |model| model.process_of(tid))
    }

    fn was_vforked(&mut self, child: Thread) -> Result<Option<bool>> {
        self.call("was_vforked", child.tid.as_raw(), |model| model.was_vforked(child.pid))
    }

    fn is_unkillable(&mut self, pid: Pid) -> Result<bool> {
        self.call("is_unkillable", pid.as_raw(), |model| model.is_unkillable(pid))
    }

    fn real_parent(&mut self, pid: Pid) -> Result<Option<Pid>> {
        self.call("real_parent", pid.as_raw(), |model| model.visible_parent(pid))
    }

    fn parent_at_end(&mut self, pid: Pid, known: Pid) -> Result<Option<Pid>> {
        self.call("parent_at_end", pid.as_raw(), |model| {
            let mut ends = model.records.statuses.iter().rev();
            let end = ends.find(|(_, child, _)| *child == pid);
            Ok(Some(end.map_or(known, |&(parent, _, _)| parent)))
        })
    }

    fn processes(&mut self) -> Result<Vec<Listed>> {
        self.call("processes", -1, |model| Ok(model.listed()))
    }

    fn is_traced(&mut self, pid: Pid) -> Result<bool> {
        self.call("is_traced", pid.as_raw(), |model| model.is_listed_traced(pid))
    }

    fn threads(&mut self, pid: Pid) -> Result<Vec<Tid>> {
        self.call("threads", pid.as_raw(), |model| model.threads_of(pid))
    }

    fn is_uninterruptible(&mut self, thread: Thread) -> Result<bool> {
        self.call("is_uninterruptible", thread.tid.as_raw(), |model| {
            model.is_uninterruptible(thread)
        })
    }

    fn is_asleep(&mut self, thread: Thread) -> Result<bool> {
        self.call("is_asleep", thread.tid.as_raw(), |model| model.is_asleep(thread))
    }

    fn cpus(&mut self, thread: Option<Thread>) -> Result<CpuSet> {
        let id = thread.map_or(0, |thread| thread.tid.as_raw());
        self.call("cpus", id, |model| match thread {
            Some(thread) => Ok(model.living_task(thread)?.cpus.clone()),
            None => Ok(model.tracer_cpus.clone()),
        })
    }

    fn set_cpus(&mut self, thread: Option<Thread>, cpus: &CpuSet) -> Result<()> {
        let id = thread.map_or(0, |thread| thread.tid.as_raw());
        self.call("set_cpus", id, |model| {
            if !cpus.iter().any(|cpu| all_cpus().contains(cpu)) {
                let source = std::io::ErrorKind::InvalidInput.into();
                return Err(Error::os("set_cpus", id, source));
            }
            match thread {
                Some(thread) => model.living_task(thread)?.cpus.clone_from(cpus),
                None => model.tracer_cpus.clone_from(cpus),
            }
            Ok(())
        })
    }

    fn current_cpu(&mut self) -> Result<u32> {
        let own = self.view(|model| model.tracer_cpus.iter().last());
        Ok(own.unwrap_or(0))
    }

    fn executable(&mut self, pid: Pid) -> Result<PathBuf> {
        self.call("executable", pid.as_raw(), |model| {
            Ok(PathBuf::from(&model.processes.get(&pid).ok_or(Error::GONE)?.program))
        })
    }

    fn arguments(&mut self, pid: Pid) -> Result<Vec<OsString>> {
        self.call("arguments", pid.as_raw(), |model| {
            Ok(vec![model.processes.get(&pid).ok_or(Error::GONE)?.program.clone().into()])
        })
    }

    fn auxiliary_vector(&mut self, pid: Pid) -> Result<Vec<u8>> {
        self.call("auxiliary_vector", pid.as_raw(), |model| {
            model.processes.get(&pid).map(|_| auxiliary_vector()).ok_or(Error::GONE)
        })
    }

    fn memory_map(&mut self, pid: Pid) -> Result<Vec<MemoryRegion>> {
        self.call("memory_map", pid.as_raw(), |model| {
            let space = model.processes.get(&pid).ok_or(Error::GONE)?.memory;
            Ok(model.memory.regions(space))
        })
    }

    fn thread_info(&mut self, thread: Thread) -> Result<ThreadInfo> {
        self.call("thread_info", thread.tid.as_raw(), |model| {
            let state = match model.living_task(thread)?.state {
                State::Runs => ThreadState::Running,
                State::Stopped(_) | State::Listens => ThreadState::Stopped,
                State::Dying | State::Dead(..) => ThreadState::Ended,
            };
            let process = model.processes.get(&thread.pid).ok_or(Error::GONE)?;
            let name = process.program.clone().into();
            Ok(ThreadInfo::new(thread.tid, name, state, Some(0)))
        })
    }

    /// A thread's number.
    fn thread_pointer(&mut self, thread: Thread) -> Result<u64> {
        self.call("thread_pointer", thread.tid.as_raw(), |model| {
            model.inspected(thread)?;
            Ok(u64::try_from(thread.tid.as_raw()).unwrap_or(0))
        })
    }

    fn thread_name(&mut self, thread: Thread) -> Result<OsString> {
        self.call("thread_name", thread.tid.as_raw(), |model| {
            let process = model.processes.get(&thread.pid).ok_or(Error::GONE)?;
            Ok(process.program.clone().into())
        })
    }

    fn forget(&mut self, _: Pid) {}

    fn requests(&self) -> u64 {
        self.view(|model| model.records.requests)
    }
}

/// That of every program: where it begins, and where its two program headers would be.
fn auxiliary_vector() -> Vec<u8> {
    const AT_PHDR: u64 = 3;
    const AT_PHENT: u64 = 4;
    const AT_PHNUM: u64 = 5;
    const AT_ENTRY: u64 = 9;
    let entries =
        [AT_PHDR, PROGRAM_HEADERS, AT_PHENT, 56, AT_PHNUM, 2, AT_ENTRY, ENTRY_POINT, 0, 0];
    entries.into_iter().flat_map(u64::to_ne_bytes).collect()
}
