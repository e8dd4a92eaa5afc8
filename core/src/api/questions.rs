//! Questions about stopped threads.

use std::ffi::OsString;

use crate::error::About;
use crate::{Arch, Backend, CodeMode, Result, SignalInfo, Stopped, Syscall};

use super::Tracer;

impl<B: Backend> Tracer<B> {
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
    /// [`Error::Gone`](crate::Error::Gone) if the thread was killed before its registers were first
    /// read at this stop.
    pub fn registers(&self, stop: &Stopped) -> Result<<B::Arch as Arch>::Registers> {
        self.engine.registers(stop).about(stop.pid())
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
    /// [`Error::Gone`](crate::Error::Gone) if the thread was killed;
    /// [`Error::Os`](crate::Error::Os) for values that the kernel refuses, such as a segment of the
    /// kernel's.
    pub fn set_registers(
        &mut self,
        stop: &Stopped,
        registers: &<B::Arch as Arch>::Registers,
    ) -> Result<()> {
        self.engine.set_registers(stop, registers).about(stop.pid())
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
        self.engine.fp_registers(stop).about(stop.pid())
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
        self.engine.set_fp_registers(stop, registers).about(stop.pid())
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
    /// As [`registers`](Tracer::registers); [`Error::Unsupported`](crate::Error::Unsupported) on a
    /// CPU without it.
    pub fn extended_state(&self, stop: &Stopped) -> Result<<B::Arch as Arch>::ExtendedState> {
        self.engine
            .question(stop, |backend, thread| backend.extended_state(thread))
            .about(stop.pid())
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
        self.engine
            .question(stop, |backend, thread| backend.set_extended_state(thread, state))
            .about(stop.pid())
    }

    /// What the kernel knows about the signal of a signal stop: who sent it, or which address
    /// faulted. At a [`StopReason::Trap`](crate::StopReason::Trap) it is the `SIGTRAP` by which the
    /// kernel reported the trap.
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
    /// [`Error::NotSignalStop`](crate::Error::NotSignalStop) at any other stop;
    /// [`Error::Gone`](crate::Error::Gone) if the thread was killed.
    ///
    /// # References
    ///
    /// `PTRACE_GETSIGINFO` in `ptrace(2)` (Linux); `pl_siginfo` of `PT_LWPINFO` in `ptrace(2)`
    /// (FreeBSD).
    pub fn signal_info(&self, stop: &Stopped) -> Result<SignalInfo> {
        self.engine.signal_info(stop).about(stop.pid())
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
    /// [`Error::Gone`](crate::Error::Gone) if the thread was killed.
    pub fn syscall(&self, stop: &Stopped) -> Result<Syscall> {
        self.engine.syscall(stop).about(stop.pid())
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
    /// [`Error::BadAddress`](crate::Error::BadAddress) if not even the first byte could be read;
    /// [`Error::Gone`](crate::Error::Gone) if the process was killed.
    pub fn read_memory(&self, stop: &Stopped, addr: u64, buf: &mut [u8]) -> Result<usize> {
        self.engine.read_memory(stop, addr, buf).about(stop.pid())
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
        self.engine.write_memory(stop, addr, data).about(stop.pid())
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
    /// [`Error::Gone`](crate::Error::Gone) if the thread was killed.
    ///
    /// # Platform notes
    ///
    /// At most 15 bytes on Linux (`PR_SET_NAME` in `prctl(2)`), 19 on FreeBSD
    /// (`thr_set_name(2)`).
    pub fn thread_name(&self, stop: &Stopped) -> Result<OsString> {
        self.engine.question(stop, |backend, thread| backend.thread_name(thread)).about(stop.pid())
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
