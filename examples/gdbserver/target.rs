//! The debuggee as gdbstub wants it: what it can do, and the registers and memory of its threads.

use gdbstub::arch::Registers as _;
use gdbstub::common::{Pid as GdbPid, Tid as GdbTid};
use gdbstub::target::ext::base::BaseOps;
use gdbstub::target::ext::base::multithread::{MultiThreadBase, MultiThreadResumeOps};
use gdbstub::target::ext::base::single_register_access::{
    SingleRegisterAccess, SingleRegisterAccessOps,
};
use gdbstub::target::ext::target_description_xml_override::TargetDescriptionXmlOverrideOps;
use gdbstub::target::ext::thread_extra_info::ThreadExtraInfoOps;
use gdbstub::target::ext::{auxv, breakpoints, exec_file, extended_mode, host_io};
use gdbstub::target::{Target, TargetError, TargetResult};
use trapline::{Error, Pid, Result, Tid};

use super::amd64::{Amd64, Frame, Register};
use super::debuggee::Debuggee;
use super::frame;

/// gdb's name for a thread. Ids are positive on both systems.
pub(crate) fn gdb_tid(tid: Tid) -> GdbTid {
    GdbTid::new(tid.as_raw().unsigned_abs() as usize).unwrap_or(GdbTid::MIN)
}

/// gdb's name for a process.
pub(crate) fn gdb_pid(pid: Pid) -> GdbPid {
    GdbPid::new(pid.as_raw().unsigned_abs() as usize).unwrap_or(GdbPid::MIN)
}

/// The thread that gdb means.
pub(crate) fn tid(tid: GdbTid) -> Option<Tid> {
    i32::try_from(tid.get()).ok().map(Tid::from_raw)
}

/// What gdb is told of a request that failed: an error number, which it prints.
pub(crate) fn refused(error: Error) -> TargetError<Error> {
    const ESRCH: u8 = 3;
    const EFAULT: u8 = 14;
    const EINVAL: u8 = 22;
    match error {
        Error::Gone | Error::NotStopped => TargetError::Errno(ESRCH),
        Error::BadAddress { .. } => TargetError::Errno(EFAULT),
        Error::Os { source, .. } => TargetError::Io(source),
        Error::Spawn(source) => TargetError::Io(source),
        Error::NotPermitted { .. } => TargetError::Errno(1),
        _ => TargetError::Errno(EINVAL),
    }
}

impl Target for Debuggee {
    type Arch = Amd64;
    type Error = Error;

    fn base_ops(&mut self) -> BaseOps<'_, Amd64, Error> {
        BaseOps::MultiThread(self)
    }

    // gdbstub would name the child by its parent's process, and cannot tell which of the two gdb
    // detaches from; so children are let go without a word, and gdb is not offered the events.
    fn use_fork_stop_reason(&self) -> bool {
        false
    }

    fn use_vfork_stop_reason(&self) -> bool {
        false
    }

    fn use_vforkdone_stop_reason(&self) -> bool {
        false
    }

    fn support_breakpoints(&mut self) -> Option<breakpoints::BreakpointsOps<'_, Self>> {
        Some(self)
    }

    fn support_extended_mode(&mut self) -> Option<extended_mode::ExtendedModeOps<'_, Self>> {
        Some(self)
    }

    fn support_target_description_xml_override(
        &mut self,
    ) -> Option<TargetDescriptionXmlOverrideOps<'_, Self>> {
        Some(self)
    }

    fn support_host_io(&mut self) -> Option<host_io::HostIoOps<'_, Self>> {
        Some(self)
    }

    fn support_exec_file(&mut self) -> Option<exec_file::ExecFileOps<'_, Self>> {
        Some(self)
    }

    fn support_auxv(&mut self) -> Option<auxv::AuxvOps<'_, Self>> {
        Some(self)
    }
}

impl MultiThreadBase for Debuggee {
    fn read_registers(&mut self, regs: &mut Frame, tid: GdbTid) -> TargetResult<(), Self> {
        *regs = self.frame(tid).map_err(refused)?;
        Ok(())
    }

    fn write_registers(&mut self, regs: &Frame, tid: GdbTid) -> TargetResult<(), Self> {
        self.set_frame(tid, regs).map_err(refused)
    }

    fn support_single_register_access(
        &mut self,
    ) -> Option<SingleRegisterAccessOps<'_, GdbTid, Self>> {
        Some(self)
    }

    fn read_addrs(&mut self, addr: u64, data: &mut [u8], _: GdbTid) -> TargetResult<usize, Self> {
        self.read(addr, data).map_err(refused)
    }

    fn write_addrs(&mut self, addr: u64, data: &[u8], _: GdbTid) -> TargetResult<(), Self> {
        self.write(addr, data).map_err(refused)
    }

    fn list_active_threads(&mut self, each: &mut dyn FnMut(GdbTid)) -> Result<()> {
        self.name_threads();
        let halted = self.inferior.as_ref().and_then(|inferior| inferior.halted.as_ref());
        if let Some(halted) = halted {
            let mut tids: Vec<Tid> = halted.threads.iter().map(|stop| stop.tid()).collect();
            tids.extend(&halted.blocked);
            tids.sort();
            tids.into_iter().for_each(|tid| each(gdb_tid(tid)));
        }
        Ok(())
    }

    fn support_resume(&mut self) -> Option<MultiThreadResumeOps<'_, Self>> {
        Some(self)
    }

    fn support_thread_extra_info(&mut self) -> Option<ThreadExtraInfoOps<'_, Self>> {
        Some(self)
    }
}

impl SingleRegisterAccess<GdbTid> for Debuggee {
    fn read_register(
        &mut self,
        tid: GdbTid,
        register: Register,
        buf: &mut [u8],
    ) -> TargetResult<usize, Self> {
        let bytes = self.frame(tid).map_err(refused)?.bytes();
        let place = register.place(self.layout.get());
        let value = place.and_then(|place| bytes.get(place)).ok_or(TargetError::NonFatal)?;
        let buf = buf.get_mut(..value.len()).ok_or(TargetError::NonFatal)?;
        buf.copy_from_slice(value);
        Ok(value.len())
    }

    fn write_register(
        &mut self,
        tid: GdbTid,
        register: Register,
        value: &[u8],
    ) -> TargetResult<(), Self> {
        let mut frame = self.frame(tid).map_err(refused)?;
        let mut bytes = frame.bytes();
        let place = register.place(frame.layout).and_then(|place| bytes.get_mut(place));
        let place = place.filter(|place| place.len() == value.len());
        place.ok_or(TargetError::NonFatal)?.copy_from_slice(value);
        frame.gdb_deserialize(&bytes)?;
        self.set_frame(tid, &frame).map_err(refused)
    }
}

impl Debuggee {
    /// The registers of a thread.
    pub(crate) fn frame(&mut self, gdb: GdbTid) -> Result<Frame> {
        let stop = Self::token(&self.inferior, tid(gdb).ok_or(Error::Gone)?)?;
        let general = self.tracer.registers(stop)?;
        let vectors = Self::vectors(&mut self.tracer, stop)?;
        Ok(frame::to_gdb(&general, &vectors, self.layout.get()))
    }

    /// Sets those registers of a thread that are to change.
    fn set_frame(&mut self, gdb: GdbTid, wanted: &Frame) -> Result<()> {
        let stop = Self::token(&self.inferior, tid(gdb).ok_or(Error::Gone)?)?;
        let before = self.tracer.registers(stop)?;
        let old = Self::vectors(&mut self.tracer, stop)?;
        let shown = frame::to_gdb(&before, &old, wanted.layout);
        let wanted = &wanted.completed(&shown);
        let general = frame::general(wanted, &before);
        if general != before {
            self.tracer.set_registers(stop, &general)?;
        }
        let new = frame::vectors(wanted, &shown, &old);
        match new {
            new if new == old => Ok(()),
            frame::Vectors::Extended(state) => self.tracer.set_extended_state(stop, &state),
            frame::Vectors::Fp(fp) => self.tracer.set_fp_registers(stop, &fp),
        }
    }
}
