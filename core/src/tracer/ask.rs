//! Questions about stopped threads and about processes.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::auxiliary;
use crate::backend::{Setup, Thread};
use crate::{
    Arch, Backend, CodeMode, Error, EventFlags, ExitStatus, Pid, Result, SignalInfo, StopReason,
    Stopped, Syscall, Tid,
};

use super::process::Process;
use super::thread::{Reported, State};
use super::{Ready, Tracer};

/// What is known about a traced process.
///
/// ```
/// fn describe(info: &trapline::ProcessInfo) -> String {
///     let program = info.executable.as_deref().unwrap_or("?".as_ref());
///     format!("{} {} with {} threads", info.pid, program.display(), info.threads.len())
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProcessInfo {
    /// The process.
    pub pid: Pid,
    /// Its real parent: the process whose child it is. Tracing does not make the tracer its parent.
    pub real_parent: Option<Pid>,
    /// The traced processes whose real parent it is.
    pub children: Vec<Pid>,
    /// Its threads, as the events that were given leave them: one whose start is still to be reported
    /// is not in it yet, and one whose end is still to be reported is.
    pub threads: Vec<Tid>,
    /// The program that it runs, if the kernel reports it.
    pub executable: Option<PathBuf>,
    /// The arguments of that program, its name first, if the kernel reports them.
    pub arguments: Option<Vec<OsString>>,
    /// How it ended, if it has: until the wait after its [`Event::Exited`](crate::Event::Exited).
    pub exit_status: Option<ExitStatus>,
}

impl<B: Backend> Tracer<B> {
    /// The thread behind a token, if questions about it can be answered.
    pub(super) fn asked(&self, stop: &Stopped) -> Result<Thread> {
        let slot = self.table.at(stop.place).ok_or(Error::Gone)?;
        match slot.state {
            State::DeadQueued(_) | State::DeadGiven(_) | State::Free => Err(Error::Gone),
            State::Given(_) | State::Queued(_) | State::Forking | State::Retrying(_) => {
                Ok(slot.thread)
            }
            State::Resting | State::Announced | State::Running | State::Listening => {
                Err(Error::NotStopped)
            }
        }
    }

    /// The general registers.
    ///
    /// If the thread was killed since it stopped, this returns the registers that the last such
    /// question at the same stop returned.
    ///
    /// ```
    /// use trapline::{Backend, Result, Stopped, TracerOn, Arch};
    ///
    /// /// Where a thread is.
    /// fn place<B: Backend>(tracer: &TracerOn<B>, stop: &Stopped) -> Result<u64> {
    ///     Ok(B::Arch::pc(&tracer.registers(stop)?))
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Gone`] if the thread was killed before its registers were first read at this stop.
    pub fn registers(&self, stop: &Stopped) -> Result<<B::Arch as Arch>::Registers> {
        let answer = self.asked(stop).and_then(|_| self.shown_registers(stop.place.index));
        match self.table.at(stop.place) {
            Some(_) => self.last_known.borrow_mut().general(stop.place, answer),
            None => answer,
        }
    }

    /// Sets the general registers.
    ///
    /// ```
    /// use trapline::{Arch, Backend, Result, Stopped, TracerOn};
    ///
    /// /// Has a thread go on elsewhere.
    /// fn jump<B: Backend>(tracer: &mut TracerOn<B>, stop: &Stopped, addr: u64) -> Result<()> {
    ///     let mut registers = tracer.registers(stop)?;
    ///     B::Arch::set_pc(&mut registers, addr);
    ///     tracer.set_registers(stop, &registers)
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Gone`] if the thread was killed; [`Error::Os`] for values that the kernel refuses,
    /// such as a segment of the kernel's.
    pub fn set_registers(
        &mut self,
        stop: &Stopped,
        registers: &<B::Arch as Arch>::Registers,
    ) -> Result<()> {
        self.asked(stop)?;
        self.set_shown_registers(stop.place.index, registers)?;
        self.last_known.get_mut().set_general(stop.place, *registers);
        if stop.reason == StopReason::SyscallEntry {
            self.table.slot(stop.place.index).call.take(); // it may be another one now
        }
        self.moved_from_hardware(stop.place.index, <B::Arch as Arch>::pc(registers));
        Ok(())
    }

    /// The floating-point registers.
    ///
    /// ```
    /// use trapline::{Backend, Result, Stopped, TracerOn};
    ///
    /// fn print<B: Backend>(tracer: &TracerOn<B>, stop: &Stopped) -> Result<()> {
    ///     println!("{:?}", tracer.fp_registers(stop)?);
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`registers`](Tracer::registers).
    pub fn fp_registers(&self, stop: &Stopped) -> Result<<B::Arch as Arch>::FpRegisters> {
        let answer = self.asked(stop);
        let answer = answer.and_then(|thread| self.backend.borrow_mut().fp_registers(thread));
        match self.table.at(stop.place) {
            Some(_) => self.last_known.borrow_mut().fp(stop.place, answer),
            None => answer,
        }
    }

    /// Sets the floating-point registers.
    ///
    /// ```
    /// use trapline::{Backend, Result, Stopped, TracerOn};
    ///
    /// /// Gives one thread the floating-point registers of another one.
    /// fn copy<B: Backend>(tracer: &mut TracerOn<B>, from: &Stopped, to: &Stopped) -> Result<()> {
    ///     let registers = tracer.fp_registers(from)?;
    ///     tracer.set_fp_registers(to, &registers)
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`set_registers`](Tracer::set_registers).
    pub fn set_fp_registers(
        &mut self,
        stop: &Stopped,
        registers: &<B::Arch as Arch>::FpRegisters,
    ) -> Result<()> {
        let thread = self.asked(stop)?;
        self.backend.get_mut().set_fp_registers(thread, registers)?;
        self.last_known.get_mut().set_fp(stop.place, registers);
        Ok(())
    }

    /// The extended state: on x86-64 the XSAVE area, with AVX and what came after it.
    ///
    /// ```
    /// use trapline::{Backend, Result, Stopped, TracerOn};
    ///
    /// fn print<B: Backend>(tracer: &TracerOn<B>, stop: &Stopped) -> Result<()> {
    ///     println!("{:?}", tracer.extended_state(stop)?);
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`registers`](Tracer::registers); [`Error::Unsupported`] on a CPU without it.
    pub fn extended_state(&self, stop: &Stopped) -> Result<<B::Arch as Arch>::ExtendedState> {
        let thread = self.asked(stop)?;
        self.backend.borrow_mut().extended_state(thread)
    }

    /// Sets the extended state.
    ///
    /// ```
    /// use trapline::{Backend, Result, Stopped, TracerOn};
    ///
    /// /// Gives one thread the vector registers of another one.
    /// fn copy<B: Backend>(tracer: &mut TracerOn<B>, from: &Stopped, to: &Stopped) -> Result<()> {
    ///     let state = tracer.extended_state(from)?;
    ///     tracer.set_extended_state(to, &state)
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`set_registers`](Tracer::set_registers).
    pub fn set_extended_state(
        &mut self,
        stop: &Stopped,
        state: &<B::Arch as Arch>::ExtendedState,
    ) -> Result<()> {
        let thread = self.asked(stop)?;
        self.backend.get_mut().set_extended_state(thread, state)
    }

    /// What the kernel knows about the signal of a signal stop: who sent it, or which address
    /// faulted. At a [`StopReason::Trap`] it is the `SIGTRAP` by which the kernel reported the trap.
    ///
    /// ```
    /// use trapline::{Backend, Result, Signal, StopReason, Stopped, TracerOn};
    ///
    /// /// The address that a segmentation fault is about.
    /// fn fault<B: Backend>(tracer: &TracerOn<B>, stop: &Stopped) -> Result<Option<u64>> {
    ///     match stop.reason() {
    ///         StopReason::Signal(Signal::SEGV) => Ok(tracer.signal_info(stop)?.addr),
    ///         _ => Ok(None),
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::NotSignalStop`] at any other stop; [`Error::Gone`] if the thread was killed.
    ///
    /// # References
    ///
    /// `PTRACE_GETSIGINFO` in `ptrace(2)` (Linux); `pl_siginfo` of `PT_LWPINFO` in `ptrace(2)`
    /// (FreeBSD).
    pub fn signal_info(&self, stop: &Stopped) -> Result<SignalInfo> {
        let thread = self.asked(stop)?;
        if !matches!(stop.reason(), StopReason::Signal(_) | StopReason::Trap(_)) {
            return Err(Error::NotSignalStop);
        }
        let mut info = self.backend.borrow_mut().signal_info(thread)?;
        if let Some(addr) = &mut info.addr {
            *addr = self.shown_address(stop.place.index, *addr);
        }
        Ok(info)
    }

    /// The system call that a thread is in, at a
    /// [`SyscallEntry`](crate::StopReason::SyscallEntry) or
    /// [`SyscallExit`](crate::StopReason::SyscallExit). At the exit, number and arguments are those
    /// of the entry, also where the call has replaced the registers, as an exec and the return from
    /// a signal handler do.
    ///
    /// On Linux the first question at a stop takes one request at an entry and two at an exit.
    /// Asking again takes none. Once a tracer has asked about a call, each entry where it does not
    /// ask takes that request too, because at the exit it would be too late.
    ///
    /// ```no_run
    /// use std::process::Command;
    /// use trapline::{Event, EventFlags, Resume, StopReason, Tracer};
    ///
    /// let mut tracer = Tracer::builder().events(EventFlags::SYSCALL).build()?;
    /// tracer.spawn(Command::new("date"))?;
    /// while let Some(event) = tracer.wait()? {
    ///     if let Event::Stopped(stop) = &event {
    ///         if stop.reason() == StopReason::SyscallExit {
    ///             let call = tracer.syscall(stop)?;
    ///             println!("{} {:x?} = {:?}", call.number, call.args, call.result);
    ///         }
    ///     }
    ///     tracer.resume(event, Resume::Continue)?;
    /// }
    /// # Ok::<(), trapline::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Gone`] if the thread was killed.
    pub fn syscall(&self, stop: &Stopped) -> Result<Syscall> {
        let thread = self.asked(stop)?;
        self.asks_calls.set(true);
        let index = stop.place.index;
        let known = self.table.slot(index).call.borrow().as_deref().copied();
        match (stop.reason, known) {
            (StopReason::SyscallEntry, Some(call)) => Ok(call),
            (StopReason::SyscallEntry, None) => self.note_call(index),
            (StopReason::SyscallExit, known) => {
                let left = self.backend.borrow_mut().syscall(thread)?;
                // Of one that was killed in this stop there is no result any more.
                let result = Some(left.result.ok_or(Error::Gone)?);
                Ok(Syscall { result, ..known.unwrap_or(left) })
            }
            _ => self.backend.borrow_mut().syscall(thread),
        }
    }

    /// Asks for the call that a thread is about to make.
    fn note_call(&self, index: u32) -> Result<Syscall> {
        let slot = self.table.slot(index);
        let call = self.backend.borrow_mut().syscall(slot.thread)?;
        slot.call.replace(Some(Box::new(call)));
        Ok(call)
    }

    /// A thread is about to make a call of which the user may ask when it is over.
    pub(super) fn keep_call(&mut self, index: u32) {
        let slot = self.table.slot(index);
        let at_entry = slot.state == State::Given(StopReason::SyscallEntry);
        if self.asks_calls.get() && at_entry && slot.call.borrow().is_none() {
            let pid = slot.thread.pid;
            if let Err(error) = self.note_call(index) {
                self.failures.note(pid, error);
            }
        }
    }

    /// Reads memory of the process: any length, whatever its protection. Returns how many bytes
    /// were read, which is less than `buf` where the next byte cannot be.
    ///
    /// ```
    /// # use trapline::fake::{Kernel, LinuxRules};
    /// # use trapline::{Event, TracerOn};
    /// # let kernel = Kernel::<LinuxRules>::new();
    /// # let pid = kernel.start();
    /// # kernel.map(pid, 0x1000, b"text");
    /// # let mut tracer = TracerOn::builder().build_on(kernel.backend());
    /// # tracer.attach(pid)?;
    /// # let Some(Event::Stopped(stop)) = tracer.wait()? else { panic!() };
    /// let mut bytes = [0; 4];
    /// assert_eq!(tracer.read_memory(&stop, 0x1000, &mut bytes)?, 4);
    /// assert_eq!(&bytes, b"text");
    /// // Where the next page is not mapped, less is read.
    /// assert_eq!(tracer.read_memory(&stop, 0x1002, &mut bytes)?, 2);
    /// # Ok::<(), trapline::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::BadAddress`] if not even the first byte could be read; [`Error::Gone`] if the
    /// process was killed.
    pub fn read_memory(&self, stop: &Stopped, addr: u64, buf: &mut [u8]) -> Result<usize> {
        let thread = self.asked(stop)?;
        if buf.is_empty() {
            return Ok(0);
        }
        self.read_as_program(thread, addr, buf)
    }

    /// Writes memory of the process: any length, into read-only text too. Returns how many bytes
    /// were written.
    ///
    /// ```
    /// # use trapline::fake::{Kernel, LinuxRules};
    /// # use trapline::{Event, TracerOn};
    /// # let kernel = Kernel::<LinuxRules>::new();
    /// # let pid = kernel.start();
    /// # kernel.map(pid, 0x1000, b"text");
    /// # let mut tracer = TracerOn::builder().build_on(kernel.backend());
    /// # tracer.attach(pid)?;
    /// # let Some(Event::Stopped(stop)) = tracer.wait()? else { panic!() };
    /// assert_eq!(tracer.write_memory(&stop, 0x1000, b"next")?, 4);
    /// assert_eq!(tracer.at(&stop).read_value::<[u8; 4]>(0x1000)?, *b"next");
    /// # Ok::<(), trapline::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`read_memory`](Tracer::read_memory).
    pub fn write_memory(&mut self, stop: &Stopped, addr: u64, data: &[u8]) -> Result<usize> {
        let thread = self.asked(stop)?;
        if data.is_empty() {
            return Ok(0);
        }
        self.write_as_program(thread, addr, data)
    }

    /// The name of a thread. A program can name its threads; those that it does not name have the
    /// name of the program.
    ///
    /// ```
    /// use trapline::{Backend, Result, Stopped, TracerOn};
    ///
    /// fn describe<B: Backend>(tracer: &TracerOn<B>, stop: &Stopped) -> Result<String> {
    ///     Ok(format!("Thread {} \"{}\"", stop.tid(), tracer.thread_name(stop)?.to_string_lossy()))
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Gone`] if the thread was killed.
    ///
    /// # Platform notes
    ///
    /// At most 15 bytes on Linux (`PR_SET_NAME` in `prctl(2)`), 19 on FreeBSD
    /// (`thr_set_name(2)`).
    pub fn thread_name(&self, stop: &Stopped) -> Result<OsString> {
        let thread = self.asked(stop)?;
        self.backend.borrow_mut().thread_name(thread)
    }

    /// The threads of a process as the kernel lists them now, running or stopped. The start or end of
    /// some may still be to be reported; [`ProcessInfo::threads`] is the list by the events.
    ///
    /// ```
    /// use trapline::{Backend, Pid, Result, TracerOn};
    ///
    /// fn print_threads<B: Backend>(tracer: &TracerOn<B>, pid: Pid) -> Result<()> {
    ///     for tid in tracer.threads(pid)? {
    ///         println!("{tid}");
    ///     }
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Gone`] if it is not traced, or was killed.
    ///
    /// # References
    ///
    /// `/proc/pid/task` in `proc(5)` (Linux); `PT_GETLWPLIST` in `ptrace(2)` (FreeBSD).
    pub fn threads(&self, pid: Pid) -> Result<Vec<Tid>> {
        self.traced(pid)?;
        self.backend.borrow_mut().threads(pid)
    }

    /// The mode in which a thread executes code. The program can change it at any time: 64-bit
    /// programs can run 32-bit code, and the other way round.
    ///
    /// ```
    /// use trapline::{Backend, CodeMode, Result, Stopped, TracerOn};
    ///
    /// fn is_64_bit<B: Backend>(tracer: &TracerOn<B>, stop: &Stopped) -> Result<bool> {
    ///     Ok(tracer.code_mode(stop)? == CodeMode::Bits64)
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`registers`](Tracer::registers).
    pub fn code_mode(&self, stop: &Stopped) -> Result<CodeMode> {
        Ok(B::code_mode(&self.registers(stop)?))
    }

    /// The auxiliary vector that the kernel has given to the program of a process at its start, as
    /// bytes in the program's own format. An entry has two words, of 8 bytes each in a 64-bit program,
    /// of 4 in a 32-bit one. [`auxiliary_entries`](Tracer::auxiliary_entries) takes it apart.
    ///
    /// ```
    /// use trapline::{Backend, Pid, Result, TracerOn};
    ///
    /// /// What `/proc/self/auxv` would be to the program, for a debugger that wants the bytes.
    /// fn bytes<B: Backend>(tracer: &TracerOn<B>, pid: Pid) -> Result<Vec<u8>> {
    ///     tracer.auxiliary_vector(pid)
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Gone`] if it is not traced, or was killed.
    ///
    /// # References
    ///
    /// `getauxval(3)`, `/proc/pid/auxv` in `proc(5)` (Linux); `elf_aux_info(3)`,
    /// `KERN_PROC_AUXV` in `sysctl(3)` (FreeBSD).
    pub fn auxiliary_vector(&self, pid: Pid) -> Result<Vec<u8>> {
        self.traced(pid)?;
        self.backend.borrow_mut().auxiliary_vector(pid)
    }

    /// The types (`AT_ENTRY` and so on, in `elf.h`) and the values in the
    /// [auxiliary vector](Tracer::auxiliary_vector) of a process, whatever the width of its program.
    ///
    /// ```
    /// use trapline::{Backend, Pid, Result, TracerOn};
    ///
    /// const AT_ENTRY: u64 = 9;
    ///
    /// /// The first instruction of a program, behind that of the dynamic linker.
    /// fn entry_point<B: Backend>(tracer: &TracerOn<B>, pid: Pid) -> Result<Option<u64>> {
    ///     let entries = tracer.auxiliary_entries(pid)?;
    ///     Ok(entries.into_iter().find(|&(kind, _)| kind == AT_ENTRY).map(|(_, value)| value))
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`auxiliary_vector`](Tracer::auxiliary_vector).
    pub fn auxiliary_entries(&self, pid: Pid) -> Result<Vec<(u64, u64)>> {
        Ok(auxiliary::entries(&self.auxiliary_vector(pid)?))
    }

    /// Which events a process reports.
    ///
    /// ```
    /// use trapline::{Backend, EventFlags, Pid, Result, TracerOn};
    ///
    /// fn reports_syscalls<B: Backend>(tracer: &TracerOn<B>, pid: Pid) -> Result<bool> {
    ///     Ok(tracer.events(pid)?.contains(EventFlags::SYSCALL))
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Gone`] if it is not traced.
    pub fn events(&self, pid: Pid) -> Result<EventFlags> {
        Ok(self.table.process(self.traced(pid)?).setup.flags)
    }

    /// Sets which events a process reports, for all its threads; its later children inherit it.
    ///
    /// It holds at once, except that [`EventFlags::EXIT`] and [`EventFlags::SYSCALL`] (and on FreeBSD
    /// [`EventFlags::THREAD`]) hold for each thread from its next resume. A [`halt`](Tracer::halt) and
    /// a resume of all threads make that now.
    ///
    /// ```
    /// use trapline::{Backend, EventFlags, Pid, Result, TracerOn};
    ///
    /// /// Has a process report its system calls from now on.
    /// fn report_syscalls<B: Backend>(tracer: &mut TracerOn<B>, pid: Pid) -> Result<()> {
    ///     let flags = tracer.events(pid)?;
    ///     tracer.set_events(pid, flags | EventFlags::SYSCALL)
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Gone`] if it is not traced.
    pub fn set_events(&mut self, pid: Pid, flags: EventFlags) -> Result<()> {
        let process = self.traced(pid)?;
        let setup = self.table.process(process).setup;
        self.table.process_mut(process).setup = Setup { flags, ..setup };
        Ok(())
    }

    /// The processes that are traced.
    ///
    /// ```
    /// use trapline::fake::{FreeBsdRules, Kernel};
    /// use trapline::TracerOn;
    ///
    /// let kernel = Kernel::<FreeBsdRules>::new();
    /// let pid = kernel.start();
    /// let mut tracer = TracerOn::builder().build_on(kernel.backend());
    /// tracer.attach(pid)?;
    /// assert_eq!(tracer.processes().collect::<Vec<_>>(), [pid]);
    /// # Ok::<(), trapline::Error>(())
    /// ```
    pub fn processes(&self) -> impl Iterator<Item = Pid> + '_ {
        self.table.processes().filter(|(_, p)| !p.has_ended()).map(|(_, p)| p.pid)
    }

    /// The real parent of a traced process, as far as the tracer knows; it makes no request.
    /// [`process_info`](Tracer::process_info) asks the kernel again if the parent is not traced.
    ///
    /// ```
    /// use trapline::fake::{Kernel, LinuxRules};
    /// use trapline::{ForkKind, TracerOn};
    ///
    /// let kernel = Kernel::<LinuxRules>::new();
    /// let zombie_leader = kernel.start();
    /// let child = kernel.fork(kernel.leader(zombie_leader), ForkKind::Fork);
    /// let mut tracer = TracerOn::builder().build_on(kernel.backend());
    /// tracer.attach(child)?;
    /// assert_eq!(tracer.real_parent(child)?, Some(zombie_leader));
    /// # Ok::<(), trapline::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Gone`] if it is not traced.
    pub fn real_parent(&self, pid: Pid) -> Result<Option<Pid>> {
        let index = self.table.find_process(pid).ok_or(Error::Gone)?;
        let seen = self.seen_parents.borrow();
        let seen = seen.iter().rfind(|&&(asked, _)| asked == pid).map(|&(_, parent)| parent);
        Ok(seen.unwrap_or(self.table.process(index).real_parent))
    }

    /// Notes the real parents that were told in answer to a question: they are no news any more.
    pub(super) fn note_seen_parents(&mut self) {
        for (pid, parent) in std::mem::take(self.seen_parents.get_mut()) {
            if let Some(process) = self.table.find_process(pid) {
                self.table.set_real_parent(process, parent);
            }
        }
    }

    /// What is known about a traced process, running or stopped, or about one whose end was the
    /// last event.
    ///
    /// ```
    /// use trapline::{Backend, Pid, Result, TracerOn};
    ///
    /// fn program<B: Backend>(tracer: &TracerOn<B>, pid: Pid) -> Result<String> {
    ///     let executable = tracer.process_info(pid)?.executable;
    ///     Ok(executable.map_or("?".into(), |path| path.display().to_string()))
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Gone`] if it is not traced.
    pub fn process_info(&self, pid: Pid) -> Result<ProcessInfo> {
        let departed = self.departed.filter(|&i| self.table.process(i).pid == pid);
        let index = self.table.find_process(pid).or(departed).ok_or(Error::Gone)?;
        let process = self.table.process(index);
        let alive = !process.has_ended();
        let parent_traced =
            process.real_parent.is_some_and(|p| self.table.find_process(p).is_some());
        let threads = self.threads_reported(index);
        let exit_status = process.exit_status();
        let mut real_parent = process.real_parent;
        if alive && !parent_traced {
            // Nobody tells when a parent that is not traced ends.
            real_parent = self.backend.borrow_mut().real_parent(pid).unwrap_or(real_parent);
            let mut seen = self.seen_parents.borrow_mut();
            seen.retain(|&(asked, _)| asked != pid);
            seen.push((pid, real_parent));
        }
        let children = self
            .table
            .processes()
            .filter(|(_, p)| p.real_parent == Some(pid) && !p.has_ended())
            .map(|(_, p)| p.pid)
            .collect();
        Ok(ProcessInfo {
            pid,
            real_parent,
            children,
            threads,
            executable: if alive { self.backend.borrow_mut().executable(pid).ok() } else { None },
            arguments: if alive { self.backend.borrow_mut().arguments(pid).ok() } else { None },
            exit_status,
        })
    }

    /// [`process_info`](Tracer::process_info), under its former name.
    ///
    /// # Errors
    ///
    /// As there.
    #[doc(hidden)]
    #[deprecated(note = "use `process_info`")]
    pub fn process(&self, pid: Pid) -> Result<ProcessInfo> {
        self.process_info(pid)
    }

    /// The threads of a process as the events that were given leave them.
    fn threads_reported(&self, process: u32) -> Vec<Tid> {
        let Process { pid, threads, .. } = self.table.process(process);
        let told = threads.iter().filter(|&&i| {
            let slot = self.table.slot(i);
            let to_be_told = slot.state == State::Queued(StopReason::ThreadStarted);
            self.table.is_first(i) || slot.reported == Reported::Birth && !to_be_told
        });
        let mut told: Vec<Tid> = told.map(|&i| self.table.slot(i).thread.tid).collect();
        for ready in &self.ready {
            match ready {
                Ready::ThreadExited { pid: of, tid } if of == pid && !told.contains(tid) => {
                    told.push(*tid);
                }
                _ => {}
            }
        }
        told
    }
}
