//! What lldb asks for and gdb does not (lldb's `docs/resources/lldbgdbremote.md`).

use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;

use trapline::{MemoryRegion, Pid};

use crate::inferiors::Stop;
use crate::packet::{LldbRequest, ThreadId, hex};
use crate::regs::Layout;
use crate::system::{self, signals};

use super::answers::Answer;
use super::session::Session;
use super::text;

impl Session<'_> {
    pub(super) fn lldb(&mut self, request: LldbRequest) -> Answer {
        match request {
            LldbRequest::HostInfo => self.host_info().into(),
            LldbRequest::ProcessInfo => match self.current_process() {
                Some(pid) => self.process_info(pid).into(),
                None => Answer::error(),
            },
            LldbRequest::ProcessInfoOf(pid) => {
                match Pid::new(pid).filter(|&pid| self.server.inferiors.get(pid).is_ok()) {
                    Some(pid) => self.process_info(pid).into(),
                    None => Answer::error(),
                }
            }
            LldbRequest::WorkingDirectory => {
                let directory = self.server.inferiors.launch.directory.clone();
                match directory.or_else(|| std::env::current_dir().ok()) {
                    Some(path) => hex(path.as_os_str().as_bytes()).into(),
                    None => Answer::error(),
                }
            }
            LldbRequest::ServerPid => format!("pid:{:x};", std::process::id()).into(),
            LldbRequest::RegisterInfo(number) => self.register_info(number),
            LldbRequest::MemoryRegion(None) => Answer::ok(),
            LldbRequest::MemoryRegion(Some(addr)) => self.memory_region(addr),
            LldbRequest::ThreadStop(thread) => self.thread_stop(thread),
            LldbRequest::Watchpoints => Answer::Text("num:4;".to_string()),
            LldbRequest::LibraryList => self.library_list(),
            LldbRequest::Echo(text) => Answer::Bytes(crate::wire::escape(&text)),
            LldbRequest::ThreadsInfo => self.threads_info(),
            // Who has it is taken for lldb's own server, whose signals have the numbers of its system
            // and not the protocol's.
            LldbRequest::ThreadSuffix => Answer::unknown(),
            LldbRequest::ListThreads => {
                self.lists_threads = true;
                // It has no feature for them, and takes a new program for the old one if it is not told.
                self.server.inferiors.wishes.execs = true;
                Answer::ok()
            }
            LldbRequest::DetachOnError(on) => {
                use crate::options::OnDisconnect;
                self.server.options.on_disconnect =
                    Some(if on { OnDisconnect::Detach } else { OnDisconnect::Kill });
                Answer::ok()
            }
            LldbRequest::LaunchSuccess => match self.current_process() {
                Some(_) => Answer::ok(),
                None => Answer::error(),
            },
            // The program itself can be made to map memory instead; text is no number.
            LldbRequest::Allocation | LldbRequest::ErrorStrings => Answer::unknown(),
        }
    }

    fn triple(narrow: bool) -> String {
        let cpu = match (std::env::consts::ARCH, narrow) {
            ("x86_64", true) => "i386",
            (cpu, _) => cpu,
        };
        let (vendor, environment) =
            if system::OS_TYPE == "linux" { ("pc", "-gnu") } else { ("unknown", "") };
        format!("{cpu}-{vendor}-{}{environment}", system::OS_TYPE)
    }

    fn host_info(&mut self) -> String {
        let triple = hex(Self::triple(false).as_bytes());
        format!("triple:{triple};ptrsize:8;endian:little;ostype:{};", system::OS_TYPE)
    }

    fn process_info(&mut self, pid: Pid) -> String {
        let word = self.server.inferiors.layout(pid).word();
        let triple = hex(Self::triple(word == 4).as_bytes());
        let parent = self.server.inferiors.tracer.real_parent(pid).ok().flatten();
        let mut info = format!("pid:{:x};", pid.as_raw());
        if let Some(parent) = parent {
            // Writing to a string cannot fail.
            let _ = write!(info, "parent-pid:{:x};", parent.as_raw());
        }
        let _ = write!(
            info,
            "triple:{triple};ostype:{};endian:little;ptrsize:{word};",
            system::OS_TYPE
        );
        info
    }

    fn register_info(&mut self, number: usize) -> Answer {
        let layout = self.current_process().map(|pid| self.server.inferiors.layout(pid));
        let layout: Layout = layout.unwrap_or_default();
        let Some(register) = layout.registers().get(number) else {
            return Answer::Text("E45".to_string());
        };
        let (encoding, format) = match register.len() {
            10 | 16 => ("vector", "vector-uint8"),
            _ => ("uint", "hex"),
        };
        let set = if register.source.get(&Default::default(), None).is_some() {
            "General Purpose Registers"
        } else {
            "Floating Point Registers"
        };
        let mut info = format!(
            "name:{};bitsize:{};offset:{};encoding:{encoding};format:{format};set:{set};",
            register.name,
            8 * register.len(),
            register.place.start
        );
        if let Some(number) = layout.dwarf(&register.name) {
            // Writing to a string cannot fail.
            let _ = write!(info, "ehframe:{number};dwarf:{number};");
        }
        if let Some(generic) = Layout::generic(&register.name) {
            let _ = write!(info, "generic:{generic};");
        }
        info.into()
    }

    fn memory_region(&mut self, addr: u64) -> Answer {
        let Some(pid) = self.current_process() else { return Answer::error() };
        let inferiors = &mut self.server.inferiors;
        let Ok(regions) = inferiors.with_any(pid, |tracer, _| tracer.memory_map(pid)) else {
            return Answer::unknown();
        };
        match regions.iter().find(|region| region.contains(addr)) {
            Some(region) => described(region).into(),
            None => {
                let below = regions.iter().filter(|region| region.end <= addr);
                let start = below.map(|region| region.end).max().unwrap_or(0);
                let above = regions.iter().filter(|region| region.start > addr);
                let end = above.map(|region| region.start).min().unwrap_or(u64::MAX);
                format!("start:{start:x};size:{:x};", end - start).into()
            }
        }
    }

    fn thread_stop(&mut self, thread: ThreadId) -> Answer {
        let Some((pid, tid)) = self.find_thread(thread) else { return Answer::error() };
        let told = self.server.inferiors.thread(pid, tid).ok().and_then(|t| t.told.clone());
        self.stop_reply(pid, tid, &told.unwrap_or(Stop::Quiet)).into()
    }

    fn library_list(&mut self) -> Answer {
        let Some(pid) = self.current_process() else { return Answer::error() };
        match self.place_of_debug(pid) {
            Ok(0) => Answer::error(),
            Ok(at) => format!("{at:x}").into(),
            Err(error) => error.into(),
        }
    }

    /// All threads, with why each has stopped.
    fn threads_info(&mut self) -> Answer {
        let mut list = Vec::new();
        for (pid, tid) in self.all_threads() {
            let name = self.thread_name(pid, tid);
            let told = self.server.inferiors.thread(pid, tid).ok().and_then(|t| t.told.clone());
            let (reason, signal) = match told {
                Some(Stop::Signal(signal)) => ("signal", signals::to_client(signal)),
                Some(Stop::SoftwareBreakpoint { .. } | Stop::HardwareBreakpoint { .. }) => {
                    ("breakpoint", 5)
                }
                Some(Stop::Watchpoint { .. }) => ("watchpoint", 5),
                Some(Stop::Trap | Stop::Stepped) => ("trace", 5),
                Some(Stop::Interrupted) => ("signal", 2),
                Some(_) => ("none", 5),
                None => ("none", 0),
            };
            list.push(format!(
                "{{\"tid\":{tid},\"name\":{},\"reason\":\"{reason}\",\"signal\":{signal}}}",
                text::json(&name)
            ));
        }
        let text = format!("[{}]", list.join(","));
        Answer::Bytes(crate::wire::escape(text.as_bytes()))
    }
}

fn described(region: &MemoryRegion) -> String {
    let mut text =
        format!("start:{:x};size:{:x};permissions:", region.start, region.end - region.start);
    for (is, letter) in [(region.read, 'r'), (region.write, 'w'), (region.execute, 'x')] {
        if is {
            text.push(letter);
        }
    }
    text.push(';');
    if let Some(path) = &region.path {
        // Writing to a string cannot fail.
        let _ = write!(text, "name:{};", hex(path.as_os_str().as_bytes()));
    }
    text
}
