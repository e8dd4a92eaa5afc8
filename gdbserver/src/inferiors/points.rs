//! Breakpoints and watchpoints, as a client names them.

use std::cell::RefCell;
use std::rc::Rc;

use trapline::{
    Breakpoint, BreakpointHit, BreakpointId, Error, ForkKind, HardwareBreakpoint, HardwareKind,
    Pid, Registers, Result, SoftwareBreakpoint, Stopped,
};

use super::Inferiors;
use crate::packet::{Expression, Machine, Point, PointKind};
use crate::regs::Layout;

/// One that is inserted.
#[derive(Debug, Clone)]
pub(crate) struct Inserted {
    pub(crate) id: BreakpointId,
    pub(crate) kind: PointKind,
    pub(crate) addr: u64,
    pub(crate) len: u64,
    /// The same for the child of a fork, until the client says otherwise.
    rules: Rc<RefCell<Rules>>,
}

/// When it stops, and what is done at it instead.
#[derive(Debug, Clone, Default)]
struct Rules {
    conditions: Vec<Expression>,
    commands: Vec<Expression>,
}

impl Rules {
    fn of(point: &Point) -> Self {
        Rules { conditions: point.conditions.clone(), commands: point.commands.clone() }
    }

    fn are_none(&self) -> bool {
        self.conditions.is_empty() && self.commands.is_empty()
    }

    /// Whether it stops here; commands are carried out.
    fn stops(&self, machine: &mut impl Machine) -> bool {
        let holds = self.conditions.is_empty()
            || self.conditions.iter().any(|condition| condition.evaluate(machine).holds());
        if holds && !self.commands.is_empty() {
            for command in &self.commands {
                command.evaluate(machine);
            }
            return false;
        }
        holds
    }
}

/// What an expression sees of a thread that stands at a breakpoint.
struct There<'a, F> {
    layout: Layout,
    registers: &'a Registers,
    read: F,
}

impl<F: FnMut(u64, &mut [u8]) -> Result<usize>> Machine for There<'_, F> {
    fn register(&mut self, number: u16) -> Option<u64> {
        let register = self.layout.registers().get(usize::from(number))?;
        let value = register.source.get(self.registers, None)?;
        let value = value.iter().take(register.len().min(8)).rev();
        Some(value.fold(0, |number, &byte| number << 8 | u64::from(byte)))
    }

    fn read(&mut self, addr: u64, buf: &mut [u8]) -> bool {
        (self.read)(addr, buf).is_ok_and(|read| read == buf.len())
    }

    fn print(&mut self, format: &[u8], arguments: &[u64]) {
        let mut string = |addr| {
            let mut text = Vec::new();
            let mut byte = [0];
            while text.len() < 1000
                && (self.read)(addr + text.len() as u64, &mut byte).is_ok_and(|read| read == 1)
                && byte[0] != 0
            {
                text.push(byte[0]);
            }
            text
        };
        let text = formatted(format, arguments, &mut string);
        // As the program's own output would come.
        let _ = std::io::Write::write_all(&mut std::io::stderr(), &text);
    }
}

/// What `printf` would make of it.
fn formatted(format: &[u8], arguments: &[u64], string: &mut dyn FnMut(u64) -> Vec<u8>) -> Vec<u8> {
    let mut out = Vec::new();
    let mut arguments = arguments.iter().copied();
    let mut rest = format.iter().copied();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let mut longs = 0;
        let conversion = loop {
            match rest.next() {
                Some(b'l' | b'z' | b'j' | b't') => longs += 1,
                Some(b'0'..=b'9' | b'.' | b'-' | b'+' | b' ' | b'#' | b'h') => {}
                conversion => break conversion,
            }
        };
        let mut value = || arguments.next().unwrap_or(0);
        let short = |value: u64| if longs == 0 { value & 0xffff_ffff } else { value };
        match conversion {
            Some(b'%') => out.push(b'%'),
            Some(b'd' | b'i') if longs == 0 => out.extend((value() as i32).to_string().bytes()),
            Some(b'd' | b'i') => out.extend((value() as i64).to_string().bytes()),
            Some(b'u') => out.extend(short(value()).to_string().bytes()),
            Some(b'x') => out.extend(format!("{:x}", short(value())).bytes()),
            Some(b'X') => out.extend(format!("{:X}", short(value())).bytes()),
            Some(b'o') => out.extend(format!("{:o}", short(value())).bytes()),
            Some(b'p') => out.extend(format!("{:#x}", value()).bytes()),
            Some(b'c') => out.push(value() as u8),
            Some(b's') => out.extend(string(value())),
            Some(_) | None => {}
        }
    }
    out
}

impl Inferiors {
    fn find(&self, pid: Pid, point: &Point) -> Option<usize> {
        let process = self.get(pid).ok()?;
        process.points.iter().position(|inserted| {
            (inserted.kind, inserted.addr) == (point.kind, point.addr)
                && (inserted.kind == PointKind::Software || inserted.len == point.len)
        })
    }

    /// Inserts one, or gives one that is there other conditions.
    ///
    /// # Errors
    ///
    /// As [`trapline::Tracer::insert_breakpoint`].
    pub(crate) fn insert(&mut self, pid: Pid, point: &Point) -> Result<()> {
        let rules = Rules::of(point);
        if let Some(at) = self.find(pid, point) {
            let process = self.get_mut(pid)?;
            let Some(inserted) = process.points.get_mut(at) else { return Ok(()) };
            let same_kind = inserted.rules.borrow().are_none() == rules.are_none();
            if same_kind && Rc::strong_count(&inserted.rules) <= 2 {
                *inserted.rules.borrow_mut() = rules;
                return Ok(());
            }
            let inserted = process.points.remove(at);
            self.tracer.remove_breakpoint(pid, inserted.id)?;
        }
        let rules = Rc::new(RefCell::new(rules));
        let id = self.insert_new(pid, point.kind, point.addr, point.len, &rules)?;
        let inserted = Inserted { id, kind: point.kind, addr: point.addr, len: point.len, rules };
        self.get_mut(pid)?.points.push(inserted);
        Ok(())
    }

    fn insert_new(
        &mut self,
        pid: Pid,
        kind: PointKind,
        addr: u64,
        len: u64,
        rules: &Rc<RefCell<Rules>>,
    ) -> Result<BreakpointId> {
        let layout = self.layout(pid);
        let hardware = |kind, len| Breakpoint::Hardware(HardwareBreakpoint { addr, len, kind });
        let breakpoint = match kind {
            PointKind::Software if rules.borrow().are_none() => {
                Breakpoint::Software(SoftwareBreakpoint { addr })
            }
            PointKind::Software => {
                let rules = Rc::clone(rules);
                let condition = move |arrival: &BreakpointHit<'_>| {
                    let read = |addr, buf: &mut [u8]| arrival.read_memory(addr, buf);
                    let mut there = There { layout, registers: arrival.registers(), read };
                    rules.borrow().stops(&mut there)
                };
                return self
                    .tracer
                    .insert_breakpoint(pid, SoftwareBreakpoint::at(addr).when(condition));
            }
            PointKind::Hardware => hardware(HardwareKind::Execute, 1),
            PointKind::Write => hardware(HardwareKind::Write, len),
            PointKind::Access => hardware(HardwareKind::ReadWrite, len),
            PointKind::Read => {
                let (what, on) = ("a watchpoint for reads alone", std::env::consts::ARCH);
                return Err(Error::Unsupported { what, on, pid: Some(pid) });
            }
        };
        self.tracer.insert_breakpoint(pid, breakpoint)
    }

    /// Removes one. One that is not there is removed already: an exec has forgotten it.
    pub(crate) fn remove(&mut self, pid: Pid, point: &Point) -> Result<()> {
        let Some(at) = self.find(pid, point) else { return Ok(()) };
        let inserted = self.get_mut(pid)?.points.remove(at);
        self.tracer.remove_breakpoint(pid, inserted.id).map(drop)
    }

    /// Removes all of a process.
    pub(crate) fn remove_all(&mut self, pid: Pid) -> Result<()> {
        let points = std::mem::take(&mut self.get_mut(pid)?.points);
        for point in points {
            self.tracer.remove_breakpoint(pid, point.id)?;
        }
        Ok(())
    }

    /// Whether a watchpoint, or a breakpoint of a debug register, stops here.
    pub(super) fn conditions_hold(
        &mut self,
        at: usize,
        point: usize,
        stop: &Stopped,
    ) -> Result<bool> {
        let process = &self.all[at];
        let rules = Rc::clone(&process.points[point].rules);
        if rules.borrow().are_none() {
            return Ok(true);
        }
        let layout = process.program.layout;
        let registers = self.tracer.registers(stop)?;
        let tracer = &mut self.tracer;
        let read = |addr, buf: &mut [u8]| tracer.read_memory(stop, addr, buf);
        let mut there = There { layout, registers: &registers, read };
        Ok(rules.borrow().stops(&mut there))
    }

    /// What the child of a fork has of its parent's. That of a vfork passes its parent's, so that it
    /// gets its own.
    pub(super) fn inherit_points(
        &mut self,
        child: Pid,
        points: Vec<Inserted>,
        kind: ForkKind,
    ) -> Result<()> {
        let mut inherited = Vec::new();
        for mut point in points {
            if kind == ForkKind::Vfork && point.kind == PointKind::Software {
                let Inserted { kind, addr, len, .. } = point;
                match self.insert_new(child, kind, addr, len, &point.rules) {
                    Ok(id) => point.id = id,
                    Err(_) => continue, // the client will find out when it asks for it
                }
            }
            inherited.push(point);
        }
        self.get_mut(child)?.points = inherited;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed() {
        let mut string = |addr| format!("<{addr}>").into_bytes();
        let mut print = |format: &str, arguments: &[u64]| {
            String::from_utf8(formatted(format.as_bytes(), arguments, &mut string)).unwrap()
        };
        assert_eq!(print("a=%d, b=%lu %%\n", &[u64::MAX, 7]), "a=-1, b=7 %\n");
        assert_eq!(print("%s %c %05x %p", &[9, 65, 255, 16]), "<9> A ff 0x10");
        assert_eq!(print("%d %", &[]), "0 ");
    }
}
