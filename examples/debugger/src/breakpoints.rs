//! Breakpoints and watchpoints of the user: what was asked for, and where that is in each process.

use std::io::Write;

use trapline::{
    BreakpointId, HardwareBreakpoint, HardwareKind, Pid, SoftwareBreakpoint, Stopped, TrapCauses,
};

use crate::Outcome;
use crate::events::Debugger;
use crate::lines::resolve;
use crate::types::unsigned;

pub(crate) struct Point {
    pub(crate) number: usize,
    pub(crate) what: String,
    pub(crate) kind: Kind,
    /// Where it is in memory or in the debug registers.
    pub(crate) ids: Vec<(Pid, BreakpointId)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Break,
    /// For one arrival.
    Temporary,
    /// These bytes.
    Watch {
        addr: u64,
        len: u64,
    },
}

impl<W: Write> Debugger<W> {
    /// Puts a breakpoint at a function or a line.
    pub(crate) fn add_break(&mut self, place: &str, kind: Kind) -> Outcome<()> {
        let pid = self.stop()?.0.pid();
        self.add(place, kind);
        let found = self.insert(pid, self.points.len() - 1)?;
        let number = self.points.len();
        match found {
            0 => self.say(format_args!("breakpoint {number}: there is no {place} yet")),
            places => self.say(format_args!("breakpoint {number} at {place}, places: {places}")),
        }
    }

    /// Watches a variable.
    pub(crate) fn add_watch(&mut self, what: &str, addr: u64, len: u64) -> Outcome<()> {
        let pid = self.stop()?.0.pid();
        self.add(what, Kind::Watch { addr, len });
        if let Err(error) = self.insert(pid, self.points.len() - 1) {
            self.points.pop();
            return Err(error);
        }
        self.say(format_args!("watchpoint {}: {what}", self.points.len()))
    }

    fn add(&mut self, what: &str, kind: Kind) {
        let number = self.points.len() + 1;
        self.points.push(Point { number, what: what.to_string(), kind, ids: Vec::new() });
    }

    pub(crate) fn delete(&mut self, number: usize) -> Outcome<()> {
        let point = self.points.iter_mut().find(|point| point.number == number);
        let ids = std::mem::take(&mut point.ok_or("there is no such breakpoint")?.ids);
        for (pid, id) in ids {
            self.tracer.remove_breakpoint(pid, id)?;
        }
        Ok(())
    }

    /// Puts those in that a process does not have, which has new files.
    pub(crate) fn insert_all(&mut self, pid: Pid) -> Outcome<()> {
        for at in 0..self.points.len() {
            let is_there = self.points[at].ids.iter().any(|&(of, _)| of == pid);
            if !is_there && !matches!(self.points[at].kind, Kind::Watch { .. }) {
                self.insert(pid, at)?;
            }
        }
        Ok(())
    }

    /// Puts one in; in how many places.
    fn insert(&mut self, pid: Pid, at: usize) -> Outcome<usize> {
        let Some(modules) = self.processes.get(&pid) else { return Ok(0) };
        let point = &mut self.points[at];
        if let Kind::Watch { addr, len } = point.kind {
            let breakpoint = HardwareBreakpoint { addr, len, kind: HardwareKind::Change };
            point.ids.push((pid, self.tracer.insert_breakpoint(pid, breakpoint)?));
            return Ok(1);
        }
        let places = resolve(modules, &point.what);
        for &addr in &places {
            point.ids.push((pid, self.tracer.insert_breakpoint(pid, SoftwareBreakpoint { addr })?));
        }
        Ok(places.len())
    }

    /// The child of a fork has its parent's breakpoints, under the same ids.
    pub(crate) fn inherit(&mut self, parent: Option<Pid>, child: Pid) {
        for point in self.points.iter_mut().filter(|p| !matches!(p.kind, Kind::Watch { .. })) {
            let of_parent = point.ids.iter().filter(|(of, _)| Some(*of) == parent);
            let ids: Vec<_> = of_parent.map(|&(_, id)| (child, id)).collect();
            point.ids.extend(ids);
        }
    }

    /// Tells which of them a thread has hit, if any.
    pub(crate) fn hit(&mut self, stop: &Stopped, causes: TrapCauses) -> Outcome<bool> {
        let changes: Vec<_> = self.tracer.watch_changes(stop)?.to_vec();
        let hit = |&(_, id): &(Pid, BreakpointId)| {
            causes.software == Some(id) || causes.hardware.contains(id)
        };
        let points = self.points.iter().filter(|point| point.ids.iter().any(hit));
        let mut lines = Vec::new();
        let mut over = Vec::new();
        for point in points {
            let Point { number, what, .. } = point;
            lines.push(match point.kind {
                Kind::Watch { .. } => format!("watchpoint {number}: {what}"),
                Kind::Break | Kind::Temporary => format!("breakpoint {number}, {what}"),
            });
            let changed = changes.iter().filter(|c| point.ids.iter().any(|&(_, id)| id == c.id));
            lines.extend(changed.map(|change| {
                let value = |bytes: &[u8]| format!("{:#x}", unsigned(bytes));
                format!("  from {} to {}", value(&change.old), value(&change.new))
            }));
            over.extend((point.kind == Kind::Temporary).then_some(*number));
        }
        for line in &lines {
            self.say(format_args!("{line}"))?;
        }
        for number in over {
            self.delete(number)?;
        }
        Ok(!lines.is_empty())
    }
}
