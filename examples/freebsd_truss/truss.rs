//! The loop.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Parser;
use trapline::os::freebsd::{Protection, TracerExt};
use trapline::{Builder, Event, EventFlags, FollowFork, Resume, StopReason, Stopped, Tracer};

use crate::names::NAMES;
use crate::syscalls::arguments::{show, show_words};
use crate::syscalls::lines::Lines;
use crate::syscalls::names::Names;
use crate::syscalls::program::{self, Failure, failed, not_started, wrong};

/// Show the system calls of a program: a line for each, once it has returned.
///
/// Exits as the program does, or with 128+N if signal N killed it.
#[derive(Debug, Parser)]
#[command(name = "freebsd_truss")]
struct Options {
    /// Follow the processes that the program starts, too.
    #[arg(short)]
    follow: bool,

    /// Show the memory of each program that is exec'ed.
    #[arg(short)]
    map: bool,

    /// Write to FILE, not to standard error.
    #[arg(short, value_name = "FILE")]
    output: Option<PathBuf>,

    /// The program to run, and its arguments.
    #[arg(value_name = "PROGRAM", trailing_var_arg = true, required = true)]
    program: Vec<OsString>,
}

pub(crate) fn main() {
    program::end("freebsd_truss", run(&Options::parse()))
}

fn run(options: &Options) -> Result<i32, Failure> {
    let mut truss = Truss {
        lines: Lines::new(options.output.as_deref(), options.follow).map_err(wrong)?,
        names: Names::read(NAMES),
        map: options.map,
    };
    let follow = if options.follow { FollowFork::Both } else { FollowFork::Parent };
    let mut tracer = Builder::new()
        .events(EventFlags::PROCESS | EventFlags::SYSCALL)
        .follow_fork(follow)
        .build()
        .map_err(failed)?;
    let command = program::command(&options.program);
    let spawned = tracer.spawn(command).map_err(|error| not_started(&options.program, error))?;
    program::leave_ctrl_c_to_the_program()?;
    let mut status = 0;
    while let Some(event) = tracer.wait().map_err(failed)? {
        match &event {
            // Killed meanwhile, its end says the rest.
            Event::Stopped(stop) => match truss.stopped(&mut tracer, stop) {
                Err(error) if !error.is_gone() => return Err(failed(error)),
                _ => {}
            },
            Event::Exited { pid, status: ended, .. } => {
                truss.lines.ended(*pid, &ended.to_string());
                if *pid == spawned.pid {
                    status = program::as_shell(*ended);
                }
            }
            _ => {}
        }
        tracer.resume(event, Resume::Continue).map_err(failed)?;
    }
    Ok(status)
}

struct Truss {
    lines: Lines,
    names: Names,
    map: bool,
}

impl Truss {
    fn stopped(&mut self, tracer: &mut Tracer, stop: &Stopped) -> trapline::Result<()> {
        let (pid, tid) = (stop.pid(), stop.tid());
        match stop.reason() {
            StopReason::SyscallEntry => {
                // The portable `Tracer::syscall` has six arguments, and not how many there are.
                let info = tracer.lwp_info(stop)?;
                let args = tracer.syscall_args(stop)?;
                let args = &args[..args.len().min(info.syscall_args as usize)];
                let abi = tracer.syscall(stop)?.abi;
                let call = match self.names.name(info.syscall.into()) {
                    Some(name) => show(tracer, stop, name, abi, args),
                    None => show(tracer, stop, &format!("#{}", info.syscall), abi, args),
                };
                self.lines.entered(pid, tid, call);
            }
            StopReason::SyscallExit => {
                let left = tracer.syscall_return(stop)?;
                let result = match left.error {
                    0 => Ok(left.values[0]),
                    EJUSTRETURN => Ok(0),
                    error => Err(error),
                };
                self.lines.left(tid, result);
            }
            StopReason::Execed { .. } => {
                self.lines.execed(pid, tid, tid);
                if !self.lines.is_inside(tid) {
                    // The first exec, which began before there was an event.
                    let words = tracer.process_info(pid)?.arguments.unwrap_or_default();
                    self.lines.entered(pid, tid, format!("execve({})", show_words(&words)));
                }
                if self.map {
                    self.show_map(tracer, stop)?;
                }
            }
            StopReason::Signal(signal) => self.lines.note(pid, &signal.to_string()),
            _ => {}
        }
        Ok(())
    }

    fn show_map(&mut self, tracer: &mut Tracer, stop: &Stopped) -> trapline::Result<()> {
        for entry in tracer.vm_entries(stop)? {
            let may = |what, letter| if entry.protection.contains(what) { letter } else { '-' };
            let line = format!(
                "    {:#014x}-{:#014x} {}{}{} {}",
                entry.start,
                entry.end,
                may(Protection::READ, 'r'),
                may(Protection::WRITE, 'w'),
                may(Protection::EXECUTE, 'x'),
                entry.path.as_deref().unwrap_or("".as_ref()).display(),
            );
            self.lines.write(stop.pid(), line.trim_end());
        }
        Ok(())
    }
}

/// What the kernel says of a call that has set the program's registers itself, as an exec does
/// (`sys/errno.h`).
const EJUSTRETURN: i32 = -2;
