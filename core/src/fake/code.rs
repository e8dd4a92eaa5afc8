//! What programs execute: an instruction is a byte in memory. Where nothing is mapped a thread
//! waits, as it does for ever in a model without time.

use crate::backend::{RawReason, Run, TrapOrigin};
use crate::{EventFlags, ExitStatus, Pid, Signal, Tid};

use super::arch::{BREAKPOINT, CALL, HALT, REPEAT};
use super::kernel::{Execution, Kernel};
use super::model::Model;
use super::rules::Rules;

/// No program of a test executes more instructions at a time.
const MOST: u32 = 100_000;

impl<R: Rules> Kernel<R> {
    /// A thread goes to an address, and executes what is there: `0x05` makes a system call, in 64-bit
    /// code, which blocks until [`finish_call`](Kernel::finish_call); `0xf3` counts `value` down, one at a step;
    /// `0xf4`, and where nothing is mapped, waits; `0xcc` traps; anything else does nothing.
    pub fn jump(&self, tid: Tid, addr: u64) {
        let mut model = self.act(tid, "jump");
        model.leave_call(tid);
        model.set_pc(tid, addr);
        model.execute(tid);
    }

    /// The same, but a trap that the thread runs into is not reported yet: it is when a wait finds
    /// nothing else.
    pub fn run_into(&self, tid: Tid, addr: u64) {
        let mut model = self.act(tid, "jump");
        model.leave_call(tid);
        model.set_pc(tid, addr);
        model.slow_traps = true;
        model.execute(tid);
        model.slow_traps = false;
    }

    /// A thread has a code segment of 32-bit code from now on, or of 64-bit code again.
    pub fn set_code_segment(&self, tid: Tid, narrow: bool) {
        if let Some(task) = self.model().tasks.get_mut(&tid) {
            task.registers.narrow = narrow;
        }
    }

    /// The system call that a thread is in returns.
    pub fn finish_call(&self, tid: Tid) {
        let mut model = self.act(tid, "return from a system call");
        if model.leave_call(tid) {
            model.execute(tid);
        }
    }

    /// Whether a thread is in a system call.
    pub fn is_in_call(&self, tid: Tid) -> bool {
        self.model().tasks.get(&tid).is_some_and(|task| task.in_call)
    }

    /// How many times the instruction at an address was executed in a process.
    pub fn executed(&self, pid: Pid, addr: u64) -> usize {
        let executed = &self.model().records.executed;
        let there = |what: &&Execution| (what.pid, what.addr, what.trapped) == (pid, addr, false);
        executed.iter().filter(there).count()
    }

    /// What was executed, but for the first `from` instructions; breakpoint instructions, too.
    pub fn executions(&self, from: usize) -> Vec<Execution> {
        self.model().records.executed.get(from..).unwrap_or_default().to_vec()
    }

    /// Whether a thread has executed a breakpoint instruction, and has not stopped for that yet.
    pub fn has_trapped(&self, tid: Tid) -> bool {
        self.model().tasks.get(&tid).is_some_and(|task| task.trapped)
    }

    /// Which exec's program a process runs: that of its maker, until its own exec.
    pub fn image(&self, pid: Pid) -> Option<u32> {
        self.model().processes.get(&pid).map(|process| process.image)
    }

    /// All processes that have the memory of this one, itself among them.
    pub fn sharers(&self, pid: Pid) -> Vec<Pid> {
        let model = self.model();
        let Some(space) = model.processes.get(&pid).map(|process| process.memory) else {
            return Vec::new();
        };
        let living = model.processes.iter().filter(|(_, process)| process.over.is_none());
        living.filter(|(_, process)| process.memory == space).map(|(&pid, _)| pid).collect()
    }

    /// What is in memory, breakpoints and all.
    pub fn memory(&self, pid: Pid, addr: u64, len: usize) -> Vec<u8> {
        let model = self.model();
        let mut bytes = vec![0; len];
        let space = model.processes.get(&pid).map(|process| process.memory);
        let read = space.map_or(0, |space| model.memory.read(space, addr, &mut bytes).unwrap_or(0));
        bytes.truncate(read);
        bytes
    }
}

impl Model {
    fn set_pc(&mut self, tid: Tid, addr: u64) {
        if let Some(task) = self.tasks.get_mut(&tid) {
            task.registers.pc = addr;
        }
    }

    /// Says whether it was in one.
    fn leave_call(&mut self, tid: Tid) -> bool {
        self.tasks.get_mut(&tid).is_some_and(|task| std::mem::take(&mut task.in_call))
    }

    /// What a thread is about to execute.
    pub(super) fn instruction(&self, tid: Tid) -> Option<u8> {
        let task = self.tasks.get(&tid)?;
        let space = self.processes.get(&task.pid)?.memory;
        let mut byte = [0];
        self.memory.read(space, task.registers.pc, &mut byte).ok()?;
        Some(byte[0])
    }

    /// A thread executes until something stops it.
    pub(super) fn execute(&mut self, tid: Tid) {
        for _ in 0..MOST {
            let instruction = self.instruction(tid);
            let Some(task) = self.tasks.get_mut(&tid) else { return };
            if task.in_call || task.suspended {
                return;
            }
            let (run, addr) = (task.run, task.registers.pc);
            let traced = task.setup.filter(|_| !task.bare);
            match instruction {
                None | Some(HALT) => return,
                Some(BREAKPOINT) => {
                    task.registers.pc += 1;
                    task.trapped = true;
                    self.note(tid, addr, true);
                    if !self.slow_traps || traced.is_none() {
                        self.land(tid);
                    }
                    return;
                }
                Some(CALL) if !task.registers.narrow => {
                    task.registers.pc += 1;
                    task.in_call = true;
                    self.note(tid, addr, false);
                    let flagged = traced.is_some_and(|s| s.flags.contains(EventFlags::SYSCALL));
                    if traced.is_some() && (run == Run::Syscall || (self.by_process() && flagged)) {
                        let reason = match self.by_process() {
                            true => RawReason::SyscallEntry,
                            false => RawReason::Syscall,
                        };
                        self.stop(tid, reason);
                    }
                    return;
                }
                Some(REPEAT) if task.registers.value > 0 => task.registers.value -= 1,
                Some(_) => {
                    task.registers.pc += 1;
                    self.note(tid, addr, false);
                }
            }
            if run == Run::Step && traced.is_some() {
                return self.step(tid);
            }
        }
        self.violation(format!("thread {tid} executes for ever"));
    }

    fn note(&mut self, tid: Tid, addr: u64, trapped: bool) {
        let Some(pid) = self.tasks.get(&tid).map(|task| task.pid) else { return };
        let Some(image) = self.processes.get(&pid).map(|process| process.image) else { return };
        self.records.executed.push(Execution { pid, tid, addr, image, trapped });
    }

    /// A thread gets to the trap of a breakpoint instruction that it has executed.
    pub(super) fn land(&mut self, tid: Tid) {
        let Some(task) = self.tasks.get_mut(&tid) else { return };
        if !std::mem::take(&mut task.trapped) {
            return;
        }
        if task.setup.is_some() {
            return self.stop_for(tid, Signal::TRAP, TrapOrigin::Breakpoint);
        }
        let pid = task.pid;
        let status = ExitStatus::Killed { signal: Signal::TRAP, core_dumped: true };
        self.end_by(pid, status);
    }

    /// All that have executed one, and are free to.
    pub(super) fn land_all(&mut self) {
        let trapped = self.tasks.iter().filter(|(_, task)| task.trapped).map(|(&tid, _)| tid);
        for tid in trapped.collect::<Vec<_>>() {
            if self.acts(tid) && !self.held_back.contains(&tid) {
                self.land(tid);
            }
        }
    }

    /// The back end takes out a trap that is on the way, of an instruction that is gone.
    pub(super) fn take_out_trap(&mut self, tid: Tid) {
        let Some(task) = self.tasks.get_mut(&tid) else { return };
        if task.trapped {
            task.registers.pc -= 1;
            if self.instruction(tid) == Some(BREAKPOINT) {
                self.set_pc_behind(tid);
            } else if let Some(task) = self.tasks.get_mut(&tid) {
                task.trapped = false;
            }
        }
    }

    fn set_pc_behind(&mut self, tid: Tid) {
        if let Some(task) = self.tasks.get_mut(&tid) {
            task.registers.pc += 1;
        }
    }
}
