//! Steps: of an instruction, of a line, over and out of functions.

use std::io::Write;

use trapline::{Event, Next, Only, Resume, SoftwareBreakpoint, StopReason, Stopped, TrapCauses};

use crate::Outcome;
use crate::events::{Debugger, QUIET};
use crate::lines::{begins_statement, behind_prologue};
use crate::scope::{Place, result_type};
use crate::types::show;

/// Where a thread is, for a step of a line.
struct Here {
    pc: u64,
    line: Option<(String, u32)>,
    /// Which activation of the function.
    cfa: Option<u64>,
    /// Where it returns to.
    back: Option<u64>,
}

impl<W: Write> Debugger<W> {
    fn here(&self) -> Outcome<Here> {
        let frames = self.frames(2)?;
        let first = frames.first().ok_or("there is no frame")?;
        let (_, modules) = self.stop()?;
        let line = modules.line(first.pc).map(|(path, line)| (path.to_string(), line));
        let back = frames.get(1).map(|frame| frame.pc);
        Ok(Here { pc: first.pc, line, cfa: first.cfa, back })
    }

    /// Runs one instruction of the thread, while the others rest. False if something else has come, which
    /// was told.
    fn step_instruction(&mut self) -> Outcome<bool> {
        let focus = self.focus.take().ok_or("nothing is stopped")?;
        let (pid, tid) = (focus.halted.pid, focus.tid);
        let next = |stop: &Stopped| if stop.tid() == tid { Next::Step } else { Next::Stay };
        self.tracer.resume_halted(focus.halted, next)?;
        while let Some(event) = self.tracer.wait_for(Only::Thread(pid, tid))? {
            let reason = match &event {
                Event::Stopped(stop) => stop.reason(),
                _ => StopReason::Halted,
            };
            match reason {
                StopReason::Trap(TrapCauses {
                    single_step: true,
                    software: None,
                    hardware,
                    ..
                }) if hardware.is_empty() => {
                    self.reached = true; // nothing is shown of a step on the way
                    let taken = self.take(event);
                    self.reached = false;
                    return taken;
                }
                StopReason::Signal(signal) if QUIET.contains(&signal) => {
                    self.tracer.resume(event, Resume::Step)?;
                    continue;
                }
                _ => {}
            }
            if self.take(event)? {
                return Ok(false);
            }
        }
        self.wait()?;
        Ok(false)
    }

    /// Runs the process until the thread comes to an address, with its stack no deeper than this. False
    /// if something else has come, which was told.
    fn run_to(&mut self, addr: u64, sp: u64) -> Outcome<bool> {
        let (stop, _) = self.stop()?;
        let (pid, tid) = (stop.pid(), stop.tid());
        let there = SoftwareBreakpoint::at(addr)
            .thread(tid)
            .when(move |hit: &trapline::BreakpointHit<'_>| hit.registers().sp() >= sp);
        let id = self.tracer.insert_breakpoint(pid, there)?;
        self.own = Some((pid, id));
        let ran = self.go_on();
        if self.own.take().is_some() {
            self.tracer.remove_breakpoint(pid, id)?;
        }
        ran?;
        Ok(std::mem::take(&mut self.reached))
    }

    /// Runs to the next line; `into` functions that have lines, or over all calls.
    pub(crate) fn step_line(&mut self, into: bool) -> Outcome<()> {
        let start = self.here()?;
        loop {
            if !self.step_instruction()? {
                return Ok(());
            }
            let now = self.here()?;
            // Stacks grow down: a smaller address is an inner frame.
            let called = now.cfa.zip(start.cfa).is_some_and(|(now, start)| now < start);
            if called && into && now.line.is_some() {
                let (_, modules) = self.stop()?;
                let (module, own) = modules.find(now.pc).ok_or("there is a line")?;
                let function = module.file.function(own).ok_or("it is in no function")?;
                let behind = behind_prologue(&module.file, function.at, function.size);
                let there = behind.wrapping_add(module.bias);
                return match there == now.pc || self.run_to(there, 0)? {
                    true => self.show_place(),
                    false => Ok(()),
                };
            }
            // Over what was called, and out of what has no lines.
            let is_out = called || now.line.is_none();
            match now.back.zip(now.cfa).filter(|_| is_out) {
                Some((back, cfa)) if !self.run_to(back, cfa)? => return Ok(()),
                Some(_) => continue,
                None if now.line.is_none() => return self.go_on(),
                None => {}
            }
            let elsewhere = now.line != start.line || now.cfa != start.cfa;
            if elsewhere && begins_statement(self.stop()?.1, now.pc) {
                return self.show_place();
            }
        }
    }

    /// Runs one instruction, and shows where that was.
    pub(crate) fn step_one(&mut self) -> Outcome<()> {
        match self.step_instruction()? {
            true => self.show_place(),
            false => Ok(()),
        }
    }

    /// Runs until the function of the frame returns, and shows what.
    pub(crate) fn finish(&mut self) -> Outcome<()> {
        let chosen = self.focus.as_ref().map_or(0, |focus| focus.frame);
        let frames = self.frames(chosen + 2)?;
        let (frame, caller) = (frames.get(chosen), frames.get(chosen + 1));
        let (cfa, caller) =
            frame.and_then(|frame| frame.cfa).zip(caller).ok_or("it does not return")?;
        let start = frame.map_or(0, |frame| frame.lookup);
        if !self.run_to(caller.pc, cfa)? {
            return Ok(());
        }
        let result = self.tracer.at(self.stop()?.0).registers()?.result();
        self.say_returned(start, result)?;
        self.show_place()
    }

    /// Shows what the function at an address has returned.
    pub(crate) fn say_returned(&mut self, function: u64, result: u64) -> Outcome<()> {
        let (stop, modules) = self.stop()?;
        let value = match result_type(modules, function).filter(|ty| !ty.is_structure()) {
            Some(ty) => {
                let bytes = Place::Known(result.to_le_bytes().to_vec());
                show(self.tracer.at(stop), Some(ty), &bytes)
            }
            None => format!("{result:#x}"),
        };
        self.say(format_args!("returned {value}"))
    }
}
