//! The commands.

use std::io::Write;

use trapline::{FollowFork, Signal};

use crate::breakpoints::Kind;
use crate::events::{Debugger, source_line};
use crate::expression::{evaluate, print};
use crate::scope::{Place, Variable};
use crate::types::{Type, show};
use crate::{Outcome, cpu};

const HELP: &str = "\
break PLACE, tbreak PLACE   stop at FILE:LINE or FUNCTION; tbreak once
watch VARIABLE              stop when its value changes
delete N                    remove a breakpoint or watchpoint
continue, step, next, stepi, finish
bt, frame N, up, down       the stack
locals, print EXPRESSION    variables: name, *p, p->x, a[1], &x, $register
call FUNCTION(ARGUMENTS)    what it returns
threads, thread N           all threads, choose one by its number
list, disas                 where the chosen frame is
signal NAME|0               go on with another signal, or with none
follow parent|child|both    which side of later forks stays here
detach, kill, quit";

impl<W: Write> Debugger<W> {
    /// Carries a command out; whether it was the last one.
    pub(crate) fn command(&mut self, line: &str) -> Outcome<bool> {
        let (name, rest) = line.split_once(' ').unwrap_or((line, ""));
        let rest = rest.trim();
        match name {
            "b" | "break" => self.add_break(rest, Kind::Break)?,
            "tb" | "tbreak" => self.add_break(rest, Kind::Temporary)?,
            "watch" => {
                let (addr, len) = self.in_frame(|scope| {
                    let value = evaluate(scope, rest)?;
                    let Place::Memory(at) = value.place else {
                        return Err("it is not in memory".into());
                    };
                    Ok((at, value.ty.and_then(Type::size).unwrap_or(8)))
                })?;
                self.add_watch(rest, addr, len)?;
            }
            "delete" => self.delete(rest.parse()?)?,
            "c" | "continue" => self.go_on()?,
            "s" | "step" => self.step_line(true)?,
            "n" | "next" => self.step_line(false)?,
            "si" | "stepi" => self.step_one()?,
            "finish" => self.finish()?,
            "bt" => self.backtrace()?,
            "frame" => self.choose_frame(rest.parse()?)?,
            "up" => self.choose_frame(self.chosen()? + 1)?,
            "down" => {
                self.choose_frame(self.chosen()?.checked_sub(1).ok_or("it is the innermost")?)?
            }
            "locals" => self.locals()?,
            "p" | "print" => {
                let value = self.in_frame(|scope| print(scope, rest))?;
                self.say(format_args!("{rest} = {value}"))?;
            }
            "call" => self.call(rest)?,
            "threads" => self.threads()?,
            "thread" => {
                let focus = self.focus.as_mut().ok_or("nothing is stopped")?;
                let tid = rest.parse::<trapline::Tid>()?;
                focus.halted.get(tid).ok_or("there is no such thread")?;
                (focus.tid, focus.frame) = (tid, 0);
                self.show_place()?;
            }
            "l" | "list" => self.list()?,
            "disas" => self.disassemble()?,
            "signal" => {
                let signal = if rest == "0" { None } else { Some(rest.parse::<Signal>()?) };
                let focus = self.focus.as_mut().ok_or("nothing is stopped")?;
                let stop = focus.halted.get_mut(focus.tid).ok_or("there is no such thread")?;
                match (stop.set_signal(signal), signal) {
                    (Err(_), Some(signal)) => self.tracer.send_signal(stop, signal)?,
                    (result, _) => result?,
                }
                self.go_on()?;
            }
            "follow" => self.tracer.set_follow_fork(match rest {
                "parent" => FollowFork::Parent,
                "child" => FollowFork::Child,
                "both" => FollowFork::Both,
                _ => return Err("follow parent, child or both".into()),
            }),
            "detach" => {
                let focus = self.focus.take().ok_or("nothing is stopped")?;
                self.processes.remove(&focus.halted.pid);
                self.tracer.detach_halted(focus.halted)?;
            }
            "kill" => {
                self.tracer.kill(self.stop()?.0.pid())?;
                self.go_on()?; // its end comes when nobody holds a stop of it
            }
            "q" | "quit" => return Ok(true),
            "" => {}
            _ => self.say(format_args!("{HELP}"))?,
        }
        Ok(false)
    }

    fn backtrace(&mut self) -> Outcome<()> {
        let frames = self.frames(100)?;
        for (n, frame) in frames.iter().enumerate() {
            let text = self.stop()?.1.describe(frame.lookup);
            self.say(format_args!("#{n} {:#018x} {text}", frame.pc))?;
        }
        Ok(())
    }

    fn chosen(&self) -> Outcome<usize> {
        Ok(self.focus.as_ref().ok_or("nothing is stopped")?.frame)
    }

    fn choose_frame(&mut self, frame: usize) -> Outcome<()> {
        let there = self.frames(frame + 1)?.len() > frame;
        let focus = self.focus.as_mut().filter(|_| there).ok_or("there is no such frame")?;
        focus.frame = frame;
        self.show_place()
    }

    fn locals(&mut self) -> Outcome<()> {
        let lines: Vec<String> = self.in_frame(|scope| {
            let line = |v: Variable<'_>| {
                let kind = if v.is_argument { "argument " } else { "" };
                format!("{kind}{} = {}", v.name, show(scope.thread, v.ty, &v.place))
            };
            Ok(scope.locals().into_iter().map(line).collect())
        })?;
        lines.iter().try_for_each(|line| self.say(format_args!("{line}")))
    }

    fn threads(&mut self) -> Outcome<()> {
        let focus = self.focus.as_ref().ok_or("nothing is stopped")?;
        let mut lines = Vec::new();
        for stop in &focus.halted {
            let mark = if stop.tid() == focus.tid { '*' } else { ' ' };
            let thread = self.tracer.at(stop);
            let name = thread.thread_name()?;
            let place = self.stop()?.1.describe(thread.registers()?.pc());
            lines.push(format!("{mark} {} {name:?} {place}", stop.tid()));
        }
        lines.extend(focus.halted.blocked.iter().map(|tid| format!("  {tid} is in the kernel")));
        lines.iter().try_for_each(|line| self.say(format_args!("{line}")))
    }

    fn list(&mut self) -> Outcome<()> {
        let (path, line) = self.in_frame(|scope| {
            let (path, line) = scope.modules.line(scope.frame.lookup).ok_or("it has no lines")?;
            Ok((path.to_string(), line))
        })?;
        for n in line.saturating_sub(4).max(1)..line + 5 {
            let Some(text) = source_line(&path, n) else { continue };
            self.say(format_args!("{}{n}\t{text}", if n == line { '>' } else { ' ' }))?;
        }
        Ok(())
    }

    fn disassemble(&mut self) -> Outcome<()> {
        let lines = self.in_frame(|scope| cpu::disassemble(scope.thread, scope.frame.pc))?;
        lines.iter().take(10).try_for_each(|(at, text)| self.say(format_args!("{at:#x}\t{text}")))
    }
}
