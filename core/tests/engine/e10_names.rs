//! E10: the error of a call names the process that the call is about. Each method is called as often
//! as it makes requests, with another one of them failing each time, and then with what is another
//! tracer's.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use trapline_core::{
    CallOutcome, Error, Event, EventFlags, HardwareBreakpoint, HardwareKind, InheritDebug, Next,
    Only, Pid, Result, Resume, Signal, SignalSet, SoftwareBreakpoint, Stopped, Tracer,
};
use trapline_fake::{Fake, Rules};

use crate::common::*;
use crate::e10_failures::{fail_one, run_out};
use crate::m4_calls::{FUNCTION, world};

both![e10_an_error_names_its_process,];

/// No method makes more requests.
const MOST: u64 = 200;

/// Those that are about no process, or none yet, or about whichever has something to report.
const OTHERS: [&str; 6] = ["spawn", "waker", "readiness", "wait", "try_wait", "wait_timeout"];

/// Former names of others.
const FORMER: [&str; 3] = ["insert", "remove", "process"];

struct Method<R: Rules> {
    name: &'static str,
    call: fn(&mut Tracer<Fake<R>>, Stopped) -> Result<()>,
}

macro_rules! methods {
    ($($name:literal => |$tracer:ident, $stop:ident| $call:expr;)*) => {
        vec![$(Method {
            name: $name,
            call: |$tracer, mut $stop| {
                let _ = &mut $stop;
                $call.map(drop)
            },
        }),*]
    };
}

fn addr() -> SoftwareBreakpoint {
    SoftwareBreakpoint { addr: FUNCTION + 1 }
}

/// Calls a function that is interrupted by a breakpoint.
fn interrupted<R: Rules>(
    tracer: &mut Tracer<Fake<R>>,
    stop: Stopped,
) -> Result<(Stopped, trapline_core::FunctionCall<Fake<R>>)> {
    let pid = stop.pid();
    tracer.insert_breakpoint(pid, addr())?;
    match tracer.call_function(stop, FUNCTION, [])? {
        CallOutcome::Interrupted { event: Event::Stopped(stop), call } => Ok((stop, call)),
        other => panic!("{other:?}"),
    }
}

fn methods<R: Rules>() -> Vec<Method<R>> {
    methods![
        "insert_breakpoint" => |t, stop| t.insert_breakpoint(stop.pid(), addr());
        "insert_breakpoint" => |t, stop| t.insert_breakpoint(
            stop.pid(),
            HardwareBreakpoint { addr: 0x4000, len: 8, kind: HardwareKind::Write },
        );
        "remove_breakpoint" => |t, stop| {
            let id = t.insert_breakpoint(stop.pid(), addr())?;
            t.remove_breakpoint(stop.pid(), id)
        };
        "breakpoints" => |t, stop| t.breakpoints(stop.pid()).map(Iterator::count);
        "insert_breakpoints" => |t, stop| {
            let unmapped = SoftwareBreakpoint { addr: 8 };
            let each = t.insert_breakpoints(stop.pid(), [addr(), unmapped])?;
            each.into_iter().find(Result::is_err).expect("nothing is mapped there")
        };
        "remove_breakpoints" => |t, stop| {
            let id = t.insert_breakpoint(stop.pid(), addr())?;
            t.remove_breakpoints(stop.pid(), [id])
        };
        "watch_changes" => |t, stop| t.watch_changes(&stop).map(<[_]>::len);
        "set_inherit_debug" => |t, stop| t.set_inherit_debug(stop.pid(), InheritDebug::default());
        "setup_of" => |t, stop| t.setup_of(&stop);
        "call_syscall" => |t, stop| t.call_syscall(&mut stop, 39, []);
        "set_syscall" => |t, stop| t.set_syscall(&stop, 39, [0; 6]);
        "skip_syscall" => |t, stop| t.skip_syscall(&stop);
        "set_syscall_result" => |t, stop| t.set_syscall_result(&stop, Ok(0));
        "detach" => |t, stop| t.detach(stop);
        "detach_process" => |t, stop| t.detach_process(stop.pid());
        "detach_halted" => |t, stop| {
            let halted = t.halt(stop)?;
            t.detach_halted(halted)
        };
        "kill" => |t, stop| t.kill(stop.pid());
        "call_function" => |t, stop| t.call_function(stop, FUNCTION, []);
        "continue_call" => |t, stop| {
            let (stop, call) = interrupted(t, stop)?;
            t.continue_call(stop, call)
        };
        "abandon_call" => |t, stop| {
            let (stop, call) = interrupted(t, stop)?;
            t.abandon_call(stop, call)
        };
        "halt" => |t, stop| t.halt(stop);
        "resume_halted" => |t, stop| {
            let halted = t.halt(stop)?;
            t.resume_halted(halted, |_| Next::Continue)
        };
        "modules" => |t, stop| t.modules(stop.pid());
        "threads" => |t, stop| t.threads(stop.pid());
        "auxiliary_vector" => |t, stop| t.auxiliary_vector(stop.pid());
        "auxiliary_entries" => |t, stop| t.auxiliary_entries(stop.pid());
        "events" => |t, stop| t.events(stop.pid());
        "set_events" => |t, stop| t.set_events(stop.pid(), EventFlags::all());
        "real_parent" => |t, stop| t.real_parent(stop.pid());
        "process_info" => |t, stop| t.process_info(stop.pid());
        "memory_map" => |t, stop| t.memory_map(stop.pid());
        "auxv" => |t, stop| t.auxv(stop.pid(), 9);
        "thread_info" => |t, stop| t.thread_info(stop.pid(), stop.tid());
        "thread_pointer" => |t, stop| t.thread_pointer(&stop);
        "registers" => |t, stop| t.registers(&stop);
        "set_registers" => |t, stop| {
            let registers = t.registers(&stop)?;
            t.set_registers(&stop, &registers)
        };
        "fp_registers" => |t, stop| t.fp_registers(&stop);
        "set_fp_registers" => |t, stop| {
            let registers = t.fp_registers(&stop)?;
            t.set_fp_registers(&stop, &registers)
        };
        "extended_state" => |t, stop| t.extended_state(&stop);
        "set_extended_state" => |t, stop| {
            let state = t.extended_state(&stop)?;
            t.set_extended_state(&stop, &state)
        };
        "signal_info" => |t, stop| t.signal_info(&stop);
        "syscall" => |t, stop| t.syscall(&stop);
        "read_memory" => |t, stop| t.read_memory(&stop, FUNCTION, &mut [0; 4]);
        "write_memory" => |t, stop| t.write_memory(&stop, FUNCTION, &[0; 4]);
        "thread_name" => |t, stop| t.thread_name(&stop);
        "code_mode" => |t, stop| t.code_mode(&stop);
        "ask" => |t, stop| t.ask(&stop, trapline_core::Backend::thread_name);
        "thread" => |t, stop| t.thread(&stop);
        "resume" => |t, stop| t.resume(stop, Resume::Step);
        "run_to_syscall_exit" => |t, stop| t.run_to_syscall_exit(stop);
        "interrupt" => |t, stop| {
            let pid = stop.pid();
            t.resume(stop, Resume::Continue)?;
            t.interrupt(pid)
        };
        "send_signal" => |t, stop| t.send_signal(&stop, Signal::USR2);
        "signal_mask" => |t, stop| t.signal_mask(&stop);
        "set_signal_mask" => |t, stop| t.set_signal_mask(&stop, SignalSet::default());
        "pending_signals" => |t, stop| t.pending_signals(&stop);
        "attach" => |t, stop| t.attach(stop.pid());
        "attach_tree" => |t, stop| t.attach_tree(stop.pid());
        "run_to" => |t, stop| t.run_to(stop, [FUNCTION]);
        "step_range" => |t, stop| t.step_range(stop, FUNCTION..FUNCTION + 1);
        "interrupt_thread" => |t, stop| {
            let tid = stop.tid();
            t.resume(stop, Resume::Continue)?;
            t.interrupt_thread(tid)
        };
        "wait_for" => |t, stop| t.wait_for(Only::Process(stop.pid()));
        "at_any" => |t, stop| t.at_any(stop.pid()).map(|reader| reader.pid());
        "Reader::registers" => |t, stop| t.at(&stop).registers();
        "Reader::fp_registers" => |t, stop| t.at(&stop).fp_registers();
        "Reader::extended_state" => |t, stop| t.at(&stop).extended_state();
        "Reader::signal_info" => |t, stop| t.at(&stop).signal_info();
        "Reader::syscall" => |t, stop| t.at(&stop).syscall();
        "Reader::thread_name" => |t, stop| t.at(&stop).thread_name();
        "Reader::read_memory" => |t, stop| t.at(&stop).read_memory(8, &mut [0]);
        "Reader::read_exactly" => |t, stop| t.at(&stop).read_exactly(8, &mut [0]);
        "Reader::read_value" => |t, stop| t.at(&stop).read_value::<u64>(8);
        "Reader::read_c_string" => |t, stop| t.at(&stop).read_c_string(8, 10);
        "Reader::thread_pointer" => |t, stop| t.at(&stop).thread_pointer();
        "Reader::modules" => |t, stop| t.at(&stop).modules();
        "Reader::read_each" => |t, stop| {
            let mut bytes = [0; 4];
            let read = t.at(&stop).read_each(&mut [(8, &mut bytes[..])]);
            read.into_iter().next().expect("one place was asked for")
        };
        "Stopped::set_signal" => |t, stop| {
            let _ = t;
            stop.set_signal(None)
        };
    ]
}

fn check(error: &Error, pid: Pid, name: &str) {
    assert_eq!(error.pid(), Some(pid), "{name}: {error:?}");
    let text = error.to_string();
    assert_eq!(text.matches(&format!("process {pid}")).count(), 1, "{name}: {text}");
}

fn e10_an_error_names_its_process<R: Rules>() {
    for method in methods::<R>() {
        let mut errors = 0;
        for at in 0.. {
            let (mut world, pid) = world::<R>(EventFlags::PROCESS);
            world.tracer().interrupt(pid).unwrap();
            let stop = world.stop();
            let failed = fail_one(&world.kernel, at);
            let result = (method.call)(world.tracer(), stop);
            world.kernel.fail_requests(|_, _| false);
            if let Err(error) = result {
                check(&error, pid, method.name);
                errors += 1;
            }
            for error in run_out(&mut world).1 {
                check(&error, pid, method.name);
            }
            if !failed.get() {
                break;
            }
            assert!(at < MOST, "{} has no end of requests", method.name);
        }
        let (mut ours, _) = world::<R>(EventFlags::PROCESS);
        let (mut theirs, _) = world::<R>(EventFlags::PROCESS);
        let pid = theirs.attach(); // a number that is none of ours
        theirs.tracer().interrupt(pid).unwrap();
        let stop = theirs.stop();
        if let Err(error) = (method.call)(ours.tracer(), stop) {
            check(&error, pid, method.name);
            errors += 1;
        }
        assert!(errors > 0, "{} has never failed", method.name);
    }
}

/// The methods that return a `Result`, by the sources.
fn listed() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/api");
    for file in fs::read_dir(folder).expect("the sources are there") {
        let text = fs::read_to_string(file.expect("a file").path()).expect("text");
        let mut of = None;
        for item in text.split("\n    }\n") {
            for line in item.lines() {
                of = match line {
                    "impl<B: Backend> Tracer<B> {" => Some(""),
                    "impl<B: Backend> Reader<'_, B> {" => Some("Reader::"),
                    line if line.starts_with("impl") => None,
                    _ => of,
                };
            }
            let (Some(of), Some((_, method))) = (of, item.split_once("\n    pub fn ")) else {
                continue;
            };
            let head = method.split(" {\n").next().unwrap_or_default();
            let name: String =
                method.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            if head.contains("-> Result<") || head.contains("-> Vec<Result<") {
                names.insert(format!("{of}{name}"));
            }
        }
    }
    names
}

#[test]
fn e10_no_method_is_left_out() {
    let listed = listed();
    assert!(listed.len() > 60, "{listed:?}");
    let called: BTreeSet<String> = methods::<trapline_fake::LinuxRules>()
        .iter()
        .map(|method| method.name.to_string())
        .chain(OTHERS.iter().chain(&FORMER).map(|name| name.to_string()))
        .collect();
    let left: Vec<_> = listed.difference(&called).collect();
    assert!(left.is_empty(), "{left:?}");
}
