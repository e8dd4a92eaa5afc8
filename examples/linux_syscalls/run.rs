//! From the command line to the exit status.

mod filter;
mod names;
#[path = "../syscalls/mod.rs"]
mod syscalls;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Parser;
use trapline::os::linux::TracerExt;
use trapline::{Builder, Event, EventFlags, Pid, Resume, StopReason, Stopped, Tracer};

use names::Names;
use syscalls::arguments::{show, show_words};
use syscalls::lines::Lines;
use syscalls::program::{self, Failure, failed, not_started, wrong};

/// Show chosen system calls of a program: a line for each, once it has returned.
///
/// Exits as the program does, or with 128+N if signal N killed it.
#[derive(Debug, Parser)]
#[command(name = "linux_syscalls")]
struct Options {
    /// Show the calls of the processes that the program starts, too.
    #[arg(short)]
    follow: bool,

    /// The calls to show. Without it all are, and the program stops twice at each.
    #[arg(short = 'e', value_name = "NAME", value_delimiter = ',')]
    calls: Vec<String>,

    /// Write to FILE, not to standard error.
    #[arg(short, value_name = "FILE")]
    output: Option<PathBuf>,

    /// The program to run, and its arguments.
    #[arg(value_name = "PROGRAM", trailing_var_arg = true, required = true)]
    program: Vec<OsString>,
}

/// Does what a command line says, the name of the program first, and ends with its status.
pub(crate) fn run(args: impl IntoIterator<Item = OsString>) -> ! {
    program::end("linux_syscalls", trace(&Options::parse_from(args)))
}

fn trace(options: &Options) -> Result<i32, Failure> {
    let names = Names::here();
    if let Some(name) = options.calls.iter().find(|name| !names.has(name)) {
        return Err(wrong(format!("there is no system call {name}")));
    }
    let lines = Lines::new(options.output.as_deref(), options.follow).map_err(wrong)?;

    // The children of the program have its filter, and must be traced: without a tracer the calls
    // that it picks out fail. So all are followed, and -f says only whose calls are shown.
    let mut events = EventFlags::PROCESS;
    events.set(EventFlags::SYSCALL, options.calls.is_empty());
    let mut tracer = Builder::new().events(events).build().map_err(failed)?;
    let command = program::command(&options.program);
    let spawned = if options.calls.is_empty() {
        tracer.spawn(command)
    } else {
        tracer.spawn_filtered(command, &filter::stop_at(names, &options.calls))
    };
    let program = spawned.map_err(|error| not_started(&options.program, error))?.pid;
    program::leave_ctrl_c_to_the_program()?;

    let only = (!options.follow).then_some(program);
    let shows_execs = options.calls.is_empty() || options.calls.iter().any(|c| c == "execve");
    let mut trace = Trace { lines, names, only, shows_execs };
    let mut status = 0;
    while let Some(event) = tracer.wait().map_err(failed)? {
        match &event {
            // Killed meanwhile, its end says the rest.
            Event::Stopped(stop) if trace.shows(stop.pid()) => {
                match trace.stopped(&mut tracer, stop) {
                    Err(error) if !error.is_gone() => return Err(failed(error)),
                    _ => {}
                }
            }
            Event::Exited { pid, status: ended, .. } => {
                if trace.shows(*pid) {
                    trace.lines.ended(*pid, &ended.to_string());
                }
                if *pid == program {
                    status = program::as_shell(*ended);
                }
            }
            _ => {}
        }
        for stop in event.into_stops() {
            // In a call whose result is still to be shown, whatever came in between.
            if trace.lines.is_inside(stop.tid()) {
                tracer.resume_to_syscall_exit(stop).map_err(failed)?;
            } else {
                tracer.resume(stop, Resume::Continue).map_err(failed)?;
            }
        }
    }
    Ok(status)
}

struct Trace {
    lines: Lines,
    names: Names,
    /// The process whose calls are shown, if not all are.
    only: Option<Pid>,
    shows_execs: bool,
}

impl Trace {
    fn shows(&self, pid: Pid) -> bool {
        self.only.is_none_or(|only| only == pid)
    }

    fn stopped(&mut self, tracer: &mut Tracer, stop: &Stopped) -> trapline::Result<()> {
        let (pid, tid) = (stop.pid(), stop.tid());
        match stop.reason() {
            StopReason::SyscallEntry => {
                let call = tracer.syscall(stop)?;
                let shown = match self.names.name(call.abi, call.number) {
                    Some(name) => show(tracer, stop, name, call.abi, &call.args),
                    None => show(tracer, stop, &format!("#{}", call.number), call.abi, &call.args),
                };
                self.lines.entered(pid, tid, shown);
            }
            StopReason::SyscallExit => {
                if let Some(result) = tracer.syscall(stop)?.result {
                    self.lines.left(tid, result);
                }
            }
            StopReason::Execed { former_tid } => {
                self.lines.execed(pid, former_tid.unwrap_or(tid), tid);
                if self.shows_execs && !self.lines.is_inside(tid) {
                    // The first exec, which began before there was an event.
                    let words = tracer.process_info(pid)?.arguments.unwrap_or_default();
                    self.lines.entered(pid, tid, format!("execve({})", show_words(&words)));
                }
            }
            StopReason::Signal(signal) => self.lines.note(pid, &signal.to_string()),
            _ => {}
        }
        Ok(())
    }
}
