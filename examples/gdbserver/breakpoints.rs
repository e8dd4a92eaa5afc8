//! Breakpoints and watchpoints.

use gdbstub::common::Tid as GdbTid;
use gdbstub::target::TargetResult;
use gdbstub::target::ext::breakpoints::{
    Breakpoints, HwBreakpoint, HwBreakpointOps, HwWatchpoint, HwWatchpointOps, SwBreakpoint,
    SwBreakpointOps, WatchKind,
};
use trapline::{
    Breakpoint, BreakpointId, Error, HardwareBreakpoint, HardwareKind, Result, Signal,
    SoftwareBreakpoint, TrapCauses,
};

use super::debuggee::{Debuggee, Inserted};
use super::running::Report;
use super::signals;
use super::target::refused;

/// How gdb watches a place.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Watched {
    pub(crate) kind: WatchKind,
    /// For [`WatchKind::Read`], the value that was last seen. The CPU cannot watch for reads
    /// alone, so a place that has changed was written.
    value: [u8; Watched::LONGEST],
}

impl Watched {
    /// More than the debug registers can watch.
    const LONGEST: usize = 32;
}

/// Where a breakpoint is.
pub(crate) fn address(breakpoint: &Breakpoint) -> u64 {
    match breakpoint {
        Breakpoint::Software(breakpoint) => breakpoint.addr,
        Breakpoint::Hardware(breakpoint) => breakpoint.addr,
        _ => 0,
    }
}

impl Debuggee {
    /// The place of what gdb has inserted: it names a breakpoint by what it is.
    fn find(
        inserted: &[Inserted],
        breakpoint: Breakpoint,
        kind: Option<WatchKind>,
    ) -> Option<usize> {
        inserted.iter().position(|inserted| {
            inserted.breakpoint == breakpoint && inserted.watched.map(|w| w.kind) == kind
        })
    }

    fn insert(&mut self, breakpoint: Breakpoint, kind: Option<WatchKind>) -> Result<bool> {
        let Some(inferior) = &mut self.inferior else { return Err(Error::Gone) };
        let id = match self.tracer.insert(inferior.pid, breakpoint) {
            Ok(id) => id,
            Err(Error::NoFreeSlot { .. } | Error::Unsupported { .. }) => return Ok(false),
            Err(error) => return Err(error),
        };
        match Self::find(&inferior.breakpoints, breakpoint, kind) {
            Some(at) => inferior.breakpoints[at].times += 1,
            None => {
                let watched = kind.map(|kind| Watched { kind, value: [0; Watched::LONGEST] });
                inferior.breakpoints.push(Inserted { id, breakpoint, watched, times: 1 });
            }
        }
        if kind == Some(WatchKind::Read) {
            self.is_changed(id)?;
        }
        Ok(true)
    }

    fn remove(&mut self, breakpoint: Breakpoint, kind: Option<WatchKind>) -> Result<bool> {
        let Some(inferior) = &mut self.inferior else { return Err(Error::Gone) };
        let Some(at) = Self::find(&inferior.breakpoints, breakpoint, kind) else {
            return Ok(inferior.stale.remove(&address(&breakpoint)));
        };
        let inserted = &mut inferior.breakpoints[at];
        let id = inserted.id;
        inserted.times -= 1;
        if inserted.times == 0 {
            inferior.breakpoints.remove(at);
        }
        self.tracer.remove(inferior.pid, id)?;
        Ok(true)
    }

    /// Whether a place that is watched for reads has another value than when it was last looked
    /// at.
    fn is_changed(&mut self, id: BreakpointId) -> Result<bool> {
        let reads = |inserted: &&mut Inserted| {
            inserted.id == id && inserted.watched.is_some_and(|w| w.kind == WatchKind::Read)
        };
        let mut value = [0; Watched::LONGEST];
        let place = self.inferior.as_mut().and_then(|i| i.breakpoints.iter_mut().find(reads));
        let Some(Breakpoint::Hardware(place)) = place.map(|inserted| inserted.breakpoint) else {
            return Ok(false);
        };
        let len = (place.len as usize).min(value.len());
        self.read(place.addr, &mut value[..len])?;
        let inserted = self.inferior.as_mut().and_then(|i| i.breakpoints.iter_mut().find(reads));
        let Some(watched) = inserted.and_then(|inserted| inserted.watched.as_mut()) else {
            return Ok(false);
        };
        Ok(std::mem::replace(&mut watched.value, value) != value)
    }

    /// Whether a trap is one of read watchpoints alone, whose values have all changed.
    pub(crate) fn is_only_written(&mut self, causes: TrapCauses) -> Result<bool> {
        let mut only = true;
        for id in causes.hardware.iter() {
            let inserted = self.inferior.iter().flat_map(|inferior| &inferior.breakpoints);
            let mut kinds = inserted.filter(|i| i.id == id).map(|i| i.watched.map(|w| w.kind));
            let reads_only = kinds.all(|kind| kind == Some(WatchKind::Read));
            only &= reads_only && self.is_changed(id)?;
        }
        Ok(only)
    }

    /// What gdb is told of a trap. If it has several causes, gdb finds out about the others.
    pub(crate) fn trap(&self, tid: GdbTid, causes: TrapCauses) -> Report {
        if causes.software.is_some() {
            return Report::SwBreak(tid);
        }
        let inserted = |id| {
            let mut inserted = self.inferior.iter().flat_map(|inferior| &inferior.breakpoints);
            inserted.find(|inserted| inserted.id == id)
        };
        let hit = causes.hardware.iter().find_map(inserted);
        match hit.map(|hit| (hit.watched, address(&hit.breakpoint))) {
            Some((Some(watched), addr)) => Report::Watch { tid, kind: watched.kind, addr },
            Some((None, _)) => Report::HwBreak(tid),
            None => Report::SignalWithThread { tid, signal: signals::to_gdb(Signal::TRAP) },
        }
    }
}

fn software(addr: u64) -> Breakpoint {
    SoftwareBreakpoint { addr }.into()
}

fn hardware(addr: u64) -> Breakpoint {
    HardwareBreakpoint { addr, len: 1, kind: HardwareKind::Execute }.into()
}

fn watch(addr: u64, len: u64, kind: WatchKind) -> Breakpoint {
    let kind = match kind {
        WatchKind::Write => HardwareKind::Write,
        WatchKind::Read | WatchKind::ReadWrite => HardwareKind::ReadWrite,
    };
    HardwareBreakpoint { addr, len, kind }.into()
}

impl Breakpoints for Debuggee {
    fn support_sw_breakpoint(&mut self) -> Option<SwBreakpointOps<'_, Self>> {
        Some(self)
    }

    fn support_hw_breakpoint(&mut self) -> Option<HwBreakpointOps<'_, Self>> {
        Some(self)
    }

    fn support_hw_watchpoint(&mut self) -> Option<HwWatchpointOps<'_, Self>> {
        Some(self)
    }
}

impl SwBreakpoint for Debuggee {
    fn add_sw_breakpoint(&mut self, addr: u64, _: usize) -> TargetResult<bool, Self> {
        self.insert(software(addr), None).map_err(refused)
    }

    fn remove_sw_breakpoint(&mut self, addr: u64, _: usize) -> TargetResult<bool, Self> {
        self.remove(software(addr), None).map_err(refused)
    }
}

impl HwBreakpoint for Debuggee {
    fn add_hw_breakpoint(&mut self, addr: u64, _: usize) -> TargetResult<bool, Self> {
        self.insert(hardware(addr), None).map_err(refused)
    }

    fn remove_hw_breakpoint(&mut self, addr: u64, _: usize) -> TargetResult<bool, Self> {
        self.remove(hardware(addr), None).map_err(refused)
    }
}

impl HwWatchpoint for Debuggee {
    fn add_hw_watchpoint(
        &mut self,
        addr: u64,
        len: u64,
        kind: WatchKind,
    ) -> TargetResult<bool, Self> {
        if len as usize > Watched::LONGEST {
            return Ok(false);
        }
        self.insert(watch(addr, len, kind), Some(kind)).map_err(refused)
    }

    fn remove_hw_watchpoint(
        &mut self,
        addr: u64,
        len: u64,
        kind: WatchKind,
    ) -> TargetResult<bool, Self> {
        self.remove(watch(addr, len, kind), Some(kind)).map_err(refused)
    }
}
