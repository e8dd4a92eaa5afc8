//! What programs execute: an instruction is a byte in memory. Where nothing is mapped a thread
//! waits, as it does for ever in a model without time.

mod programs;

use trapline_core::backend::{RawReason, Run, Thread, TrapOrigin};
use trapline_core::{Error, EventFlags, ExitStatus, Result, Signal, Tid};

use crate::arch::{BREAKPOINT, CALL, HALT, JUMP, REPEAT, RETURN, SKIP};
use crate::model::Model;
use crate::report::Execution;

/// Where memory for slots is mapped.
const SLOTS: u64 = 0x4000_0000;

/// No program of a test executes more instructions at a time.
const MOST: u32 = 100_000;

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
    pub(crate) fn instruction(&self, tid: Tid) -> Option<u8> {
        let task = self.tasks.get(&tid)?;
        let space = self.processes.get(&task.pid)?.memory;
        let mut byte = [0];
        self.memory.read(space, task.registers.pc, &mut byte).ok()?;
        Some(byte[0])
    }

    /// A thread executes until something stops it.
    pub(crate) fn execute(&mut self, tid: Tid) {
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
                    if self.traces_calls(tid) {
                        self.stop_at_call(tid, true);
                    }
                    return;
                }
                Some(RETURN) => {
                    task.registers.pc += 1;
                    task.in_return = true;
                    self.note(tid, addr, false);
                    if self.traces_calls(tid) {
                        return self.stop_at_call(tid, true);
                    }
                    self.return_from_handler(tid, false);
                    continue;
                }
                Some(JUMP) => {
                    let target = self.jump_at(tid, addr);
                    self.set_pc(tid, target.unwrap_or(addr));
                    continue;
                }
                Some(SKIP) => {
                    task.registers.pc += 2;
                    self.note(tid, addr, false);
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

    /// Whether the system calls of a thread are traced as it runs now.
    pub(crate) fn traces_calls(&self, tid: Tid) -> bool {
        let Some(task) = self.tasks.get(&tid) else { return false };
        let Some(setup) = task.setup.filter(|_| !task.bare) else { return false };
        task.run == Run::Syscall || self.by_process() && setup.flags.contains(EventFlags::SYSCALL)
    }

    /// A stop at the entry or the exit of a system call.
    fn stop_at_call(&mut self, tid: Tid, entry: bool) {
        let reason = match (self.by_process(), entry) {
            (true, true) => RawReason::SyscallEntry,
            (true, false) => RawReason::SyscallExit,
            (false, _) => RawReason::Syscall,
        };
        self.stop(tid, reason);
    }

    /// The call that ends a handler does its work; at its exit there is a stop if it is traced.
    pub(crate) fn return_from_handler(&mut self, tid: Tid, traced: bool) {
        let Some(task) = self.tasks.get_mut(&tid) else { return };
        task.in_return = false;
        if let Some(frame) = task.frames.pop() {
            task.registers = frame;
        }
        if traced {
            self.stop_at_call(tid, false);
            if let Some(task) = self.tasks.get_mut(&tid) {
                task.returned = true;
            }
        }
    }

    /// Where the jump at an address goes.
    fn jump_at(&self, tid: Tid, addr: u64) -> Option<u64> {
        let space = self.processes.get(&self.tasks.get(&tid)?.pid)?.memory;
        let mut target = [0; 8];
        (self.memory.read(space, addr + 1, &mut target).ok()? == 8)
            .then(|| u64::from_le_bytes(target))
    }

    /// The place in the program of what is executed at an address: a copy of an instruction is
    /// followed by the jump back.
    fn place_of(&self, tid: Tid, addr: u64) -> u64 {
        let next = || {
            let space = self.processes.get(&self.tasks.get(&tid)?.pid)?.memory;
            let mut byte = [0];
            self.memory.read(space, addr + 1, &mut byte).ok()?;
            (byte == [JUMP]).then(|| self.jump_at(tid, addr + 1))?
        };
        next().map_or(addr, |behind| behind - 1)
    }

    pub(crate) fn map_code(&mut self, thread: Thread, len: u64) -> Result<u64> {
        let space = self.space(thread)?;
        if self.codeless.contains(&thread.pid) {
            return Err(Error::unsupported("memory for code", "a model"));
        }
        let addr = SLOTS + u64::from(self.mapped) * 0x1000;
        self.mapped += 1;
        self.memory.map(space, addr, &vec![0; usize::try_from(len).unwrap_or(0)]);
        Ok(addr)
    }

    pub(crate) fn unmap_code(&mut self, thread: Thread, addr: u64, len: u64) -> Result<()> {
        let space = self.space(thread)?;
        self.check_unused(space, addr, len, "unmapped");
        self.memory.unmap(space, addr, len);
        Ok(())
    }

    /// Writes memory; that for slots must not change under a thread.
    pub(crate) fn write_memory(&mut self, thread: Thread, addr: u64, data: &[u8]) -> Result<usize> {
        let space = self.space(thread)?;
        if addr >= SLOTS {
            self.check_unused(space, addr, data.len() as u64, "written");
        }
        self.memory.write(space, addr, data)
    }

    fn check_unused(&mut self, space: u32, addr: u64, len: u64, is: &str) {
        for (&tid, task) in &self.tasks {
            let shares = self.processes.get(&task.pid).is_some_and(|p| p.memory == space);
            let runs = shares && !self.is_doomed(tid);
            if runs && (addr..addr + len).contains(&task.registers.pc) {
                let what = format!("code of process {} is {is} under a thread", task.pid);
                self.records.violations.push(what);
            }
        }
    }

    fn note(&mut self, tid: Tid, addr: u64, trapped: bool) {
        let addr = self.place_of(tid, addr);
        let Some(pid) = self.tasks.get(&tid).map(|task| task.pid) else { return };
        let Some(image) = self.processes.get(&pid).map(|process| process.image) else { return };
        self.records.executed.push(Execution { pid, tid, addr, image, trapped });
    }

    /// A thread gets to the trap of a breakpoint instruction that it has executed.
    pub(crate) fn land(&mut self, tid: Tid) {
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
    pub(crate) fn land_all(&mut self) {
        let trapped = self.tasks.iter().filter(|(_, task)| task.trapped).map(|(&tid, _)| tid);
        for tid in trapped.collect::<Vec<_>>() {
            if self.acts(tid) && !self.held_back.contains(&tid) {
                self.land(tid);
            }
        }
    }

    /// The back end takes out a trap that is on the way, of an instruction that is gone.
    pub(crate) fn take_out_trap(&mut self, tid: Tid) {
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
