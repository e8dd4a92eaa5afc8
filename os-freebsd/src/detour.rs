//! A thread that does something else for its tracer, and then goes on as if nothing had been.

use trapline_arch_x86_64::{ExtendedState, FpRegisters, Registers};
use trapline_core::backend::Thread;
use trapline_core::{Arch, Backend, Error, Result, Signal, Tid};

use crate::decode::{LwpFlags, SigInfo, SignalSet};
use crate::ffi;
use crate::system::FreeBsd;

/// Where a thread was, and all that is to be put back.
#[derive(Debug)]
pub struct Detour {
    registers: Registers,
    extended: Extended,
    blocked: SignalSet,
    signal: Option<SigInfo>,
    hidden_exit: Option<Tid>,
}

#[derive(Debug)]
enum Extended {
    Whole(ExtendedState),
    /// What a CPU without XSAVE has.
    Floats(Box<FpRegisters>),
}

impl FreeBsd {
    /// Notes where a thread is. It can run what its registers say only from the boundary of the
    /// kernel: not from the entry of a system call, nor from a sleep in one.
    pub(crate) fn leave_for_detour(&mut self, thread: Thread) -> Result<Detour> {
        let info = self.info(thread)?;
        let threads = self.threads_of(thread.pid)?;
        let own = threads.iter().find(|other| other.tid == thread.tid.as_raw());
        let own = own.ok_or(Error::GONE)?;
        let inside = info.flags.intersects(LwpFlags::SCE | LwpFlags::VFORKED | LwpFlags::EXITED);
        if inside || own.on_sleep_queue {
            return Err(Error::NOT_STOPPED);
        }
        let registers = self.read_registers(thread)?;
        let extended = match self.read_extended_state(thread) {
            Ok(state) => Extended::Whole(state),
            Err(Error::Unsupported { .. }) => {
                Extended::Floats(Box::new(self.read_fp_registers(thread)?))
            }
            Err(error) => return Err(error),
        };
        let tracee = self.tracees.get_mut(&thread.pid.as_raw()).ok_or(Error::GONE)?;
        // The exit of that call is told after the return.
        let own = tracee.hidden_exit.filter(|&tid| tid == thread.tid);
        if own.is_some() {
            tracee.hidden_exit = None;
        }
        let (blocked, signal) = (info.blocked, info.siginfo);
        Ok(Detour { registers, extended, blocked, signal, hidden_exit: own })
    }

    /// Brings a thread back. What it was stopped for is what it says of itself until it runs.
    pub(crate) fn return_from_detour(
        &mut self,
        thread: Thread,
        detour: &Detour,
        kept: Option<Signal>,
    ) -> Result<()> {
        if let Some(signal) = kept {
            self.send_signal(thread, signal)?;
        }
        if self.info(thread)?.blocked != detour.blocked {
            self.restore_mask(thread, &detour.registers, detour.blocked)?;
        }
        self.write_registers(thread, &detour.registers)?;
        match &detour.extended {
            Extended::Whole(state) => self.write_extended_state(thread, state)?,
            Extended::Floats(registers) => self.write_fp_registers(thread, registers)?,
        }
        if let Some(tracee) = self.tracees.get_mut(&thread.pid.as_raw()) {
            tracee.hidden_exit = tracee.hidden_exit.or(detour.hidden_exit);
        }
        self.kept_signal = detour.signal.map(|info| (thread.tid, info));
        Ok(())
    }

    /// Sets the signals that a thread blocks, by a call of its own: there is no request for it. The
    /// set lies below the stack for that long.
    fn restore_mask(
        &mut self,
        thread: Thread,
        registers: &Registers,
        blocked: SignalSet,
    ) -> Result<()> {
        type Cpu = trapline_arch_x86_64::X86_64;
        /// More than what a function may use below its stack pointer.
        const BELOW: u64 = 512;
        let at = (Cpu::sp(registers).wrapping_sub(BELOW)) & !15;
        let mut bytes = Vec::with_capacity(16);
        blocked.0.iter().for_each(|word| bytes.extend(word.to_ne_bytes()));
        let mut before = [0; 16];
        let read = self.read(thread, at, &mut before)?;
        self.write(thread, at, &bytes)?;
        let set = self.inject(thread, ffi::SYS_SIGPROCMASK, &[libc::SIG_SETMASK as u64, at, 0]);
        if let Some(before) = before.get(..read) {
            self.write(thread, at, before)?;
        }
        match set? {
            Ok(_) => Ok(()),
            Err(errno) => Err(Error::os(
                "sigprocmask",
                thread.tid.as_raw(),
                std::io::Error::from_raw_os_error(errno),
            )),
        }
    }
}
