//! Why a thread has stopped, or a process has ended, in the client's words (gdb's manual, "Stop Reply
//! Packets").

use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;

use trapline::{ExitStatus, ForkKind, Pid, Signal, Tid};

use crate::inferiors::Stop;
use crate::options::Disabled;
use crate::packet::{PointKind, hex};
use crate::system::{self, signals};

use super::session::Session;

impl Session<'_> {
    /// What is said of a thread that has stopped.
    pub(super) fn stop_reply(&mut self, pid: Pid, tid: Tid, stop: &Stop) -> String {
        let signal = match stop {
            Stop::Signal(signal) => signals::to_client(*signal),
            Stop::Interrupted => signals::to_client(Signal::INT),
            Stop::Quiet => signals::NONE,
            _ => signals::to_client(Signal::TRAP),
        };
        if self.disables(Disabled::StopReasons) {
            return format!("S{signal:02x}");
        }
        let mut reply = format!("T{signal:02x}");
        // Writing to a string cannot fail.
        let _ = self.write_reason(&mut reply, stop);
        self.write_registers(&mut reply, pid, tid);
        if !self.disables(Disabled::StopThread) {
            let _ = write!(reply, "thread:{};", self.name(pid, tid));
        }
        if let Some(core) = system::core(pid, tid) {
            let _ = write!(reply, "core:{core:x};");
        }
        if self.lists_threads {
            match stop {
                Stop::Execed(_) => reply.push_str("reason:exec;"),
                Stop::VforkDone => reply.push_str("reason:vforkdone;"),
                _ => {}
            }
            let _ = self.write_threads(&mut reply, pid);
        }
        reply
    }

    fn write_reason(&self, reply: &mut String, stop: &Stop) -> std::fmt::Result {
        match stop {
            Stop::SoftwareBreakpoint { .. } if self.software_reason => write!(reply, "swbreak:;"),
            Stop::HardwareBreakpoint { .. } if self.hardware_reason => write!(reply, "hwbreak:;"),
            Stop::Watchpoint { kind, addr } => {
                let word = match kind {
                    PointKind::Access => "awatch",
                    PointKind::Read => "rwatch",
                    _ => "watch",
                };
                write!(reply, "{word}:{addr:x};")
            }
            Stop::Forked { kind, child, child_tid } => {
                let word = if *kind == ForkKind::Vfork { "vfork" } else { "fork" };
                write!(reply, "{word}:{};", self.name(*child, *child_tid))
            }
            Stop::VforkDone => write!(reply, "vforkdone:;"),
            Stop::Execed(path) => {
                write!(reply, "exec:{};", hex(path.as_os_str().as_bytes()))
            }
            Stop::ThreadStarted => write!(reply, "create:;"),
            Stop::SyscallEntry(number) => write!(reply, "syscall_entry:{number:x};"),
            Stop::SyscallReturn(number) => write!(reply, "syscall_return:{number:x};"),
            _ => Ok(()),
        }
    }

    /// The registers that a client asks for first.
    fn write_registers(&mut self, reply: &mut String, pid: Pid, tid: Tid) {
        let inferiors = &mut self.server.inferiors;
        let Some(general) = inferiors.known_general(pid, tid) else { return };
        let layout = inferiors.layout(pid);
        for number in layout.first_asked() {
            let Some(register) = layout.registers().get(number) else { continue };
            let Some(mut value) = register.source.get(&general, None) else { continue };
            value.truncate(register.len());
            let _ = write!(reply, "{number:02x}:{};", hex(&value));
        }
    }

    /// lldb: all threads, and where each stands.
    fn write_threads(&mut self, reply: &mut String, pid: Pid) -> std::fmt::Result {
        let Ok(process) = self.server.inferiors.get(pid) else { return Ok(()) };
        let tids: Vec<Tid> = process.threads.iter().map(|thread| thread.tid).collect();
        let names: Vec<String> = tids.iter().map(|&tid| self.name(pid, tid)).collect();
        let counters: Vec<String> = tids
            .iter()
            .filter_map(|&tid| self.server.inferiors.known_general(pid, tid))
            .map(|general| format!("{:x}", general.pc()))
            .collect();
        write!(reply, "threads:{};", names.join(","))?;
        if counters.len() == tids.len() {
            write!(reply, "thread-pcs:{};", counters.join(","))?;
        }
        Ok(())
    }

    /// What is said of a process that has ended.
    pub(super) fn end_reply(&self, pid: Pid, status: ExitStatus) -> String {
        let mut reply = match status {
            ExitStatus::Code(code) => {
                crate::say(format_args!("\nChild exited with status {code}"));
                format!("W{:02x}", code & 0xff)
            }
            ExitStatus::Killed { signal, .. } => {
                crate::say(format_args!("\nChild terminated with signal = {signal}"));
                format!("X{:02x}", signals::to_client(signal))
            }
        };
        if self.multiprocess {
            let _ = write!(reply, ";process:{:x}", pid.as_raw());
        }
        reply
    }
}
