//! Questions about stopped threads.

use std::ffi::OsString;

use crate::backend::Thread;
use crate::{Arch, Backend, CodeMode, Error, Result, SignalInfo, StopReason, Stopped, Syscall};

use super::Tracer;
use super::thread::State;

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

    /// Keeps the call that a thread is at the entry of for its exit, where the registers do not say it any
    /// more, if the user has asked about calls at all.
    pub(super) fn keep_entered_call(&self, index: u32) -> Result<()> {
        let known = self.table.slot(index).call.borrow().is_some();
        if self.asks_calls.get() && !known {
            self.note_call(index)?;
        }
        Ok(())
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
}
