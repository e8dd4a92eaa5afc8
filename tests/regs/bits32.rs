//! 32-bit programs, and 64-bit programs that run 32-bit code. What counts is the code segment of a
//! thread at the moment, not the program that it is in.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use trapline::HardwareKind::{Change, Execute, ReadWrite, Write};
use trapline::{
    BreakpointId, CodeMode, Event, EventFlags, ExitStatus, ForkKind, HardwareBreakpoint,
    HardwareKind, Pid, Resume, Signal, SoftwareBreakpoint, Spawned, StopReason, Stopped, Syscall,
    SyscallAbi, Tracer,
};

use crate::common::*;
use crate::regs::machine::{Program, Width};

crate::tests![
    m1_32_bit_code_is_read_as_such,
    m1_32_bit_code_is_stepped,
    m1_a_step_over_pushf_in_32_bit_code_leaves_nothing_behind,
    m1_steps_through_either_kind_of_code,
    m1_the_same_code_is_read_in_either_way,
    m1_a_32_bit_call_that_is_made_again_is_no_new_arrival,
    #[cfg(target_os = "linux")]
    m1_the_way_into_the_kernel_that_it_offers,
    e2_a_32_bit_program_forks,
    m3_the_mode_of_a_thread_is_that_of_its_code_segment,
    m3_the_mode_of_a_thread_changes,
    m3_registers_of_a_32_bit_program_are_set,
    d1_the_debug_registers_of_a_32_bit_program,
    d1_a_debug_register_is_for_either_kind_of_code,
    e7_the_calls_of_a_32_bit_program,
    #[cfg(target_os = "linux")]
    e7_a_32_bit_call_of_64_bit_code,
    #[cfg(target_os = "linux")]
    e3_a_32_bit_program_execs_a_64_bit_one,
    f4_the_auxiliary_vector_of_a_32_bit_program,
    #[cfg(target_os = "linux")]
    e7_the_abi_of_a_thread_is_that_of_its_code_or_its_call,
    #[cfg(target_os = "linux")]
    e7_chosen_calls_by_the_names_of_either_table,
];

/// Starts a program; ends the test where this kernel does not run it.
fn started(tracer: &mut Tracer, program: &Program, command: Command) -> (Spawned, Stopped) {
    let none = "32-bit programs cannot be run here";
    let Ok(spawned) = tracer.spawn(command) else { skip(none) };
    let stop = next_stop(tracer);
    // What the kernel does not know is taken for a script.
    if tracer.process_info(spawned.pid).unwrap().executable.as_deref() != Some(&*program.path) {
        tracer.kill(spawned.pid).unwrap();
        tracer.resume(stop, Resume::Continue).unwrap();
        while tracer.wait().unwrap().is_some() {}
        skip(none);
    }
    (spawned, stop)
}

fn begun(name: &str, width: Width, flags: EventFlags) -> (Tracer, Program, Stopped) {
    let program = Program::new(name, width);
    let mut tracer = tracer(flags);
    let command = Command::new(&program.path);
    let (_, stop) = started(&mut tracer, &program, command);
    (tracer, program, stop)
}

/// A 64-bit program that runs 32-bit code. Ends the test where the system does not let it.
fn changing(flags: EventFlags) -> (Tracer, Program, Stopped) {
    let program = Program::new("changes", Width::Bits64);
    let mut child = Command::new(&program.path).spawn().unwrap();
    let until = Instant::now() + Duration::from_secs(10);
    let status = loop {
        match child.try_wait().unwrap() {
            None if Instant::now() < until => std::thread::sleep(Duration::from_millis(2)),
            status => break status,
        }
    };
    if status.is_none_or(|status| !status.success()) {
        let _ = child.kill();
        let _ = child.wait();
        drop(program);
        skip("64-bit programs cannot run 32-bit code here");
    }
    drop(program);
    begun("changes", Width::Bits64, flags)
}

fn watch(tracer: &mut Tracer, pid: Pid, addr: u64, len: u64, kind: HardwareKind) -> BreakpointId {
    tracer.insert_breakpoint(pid, HardwareBreakpoint { addr, len, kind }).unwrap()
}

fn put(tracer: &mut Tracer, pid: Pid, addr: u64) -> BreakpointId {
    tracer.insert_breakpoint(pid, SoftwareBreakpoint { addr }).unwrap()
}

/// Runs a program to its end, which is a good one; counts the hits of a breakpoint in memory, each
/// of which is at its address.
fn hits(tracer: &mut Tracer, stop: Stopped, id: BreakpointId, addr: u64, how: Resume) -> usize {
    let mut hits = 0;
    tracer.resume(stop, how).unwrap();
    while let Some(event) = tracer.wait().unwrap() {
        match &event {
            Event::Stopped(stop) => match stop.reason() {
                StopReason::Trap(causes) => {
                    if causes.software == Some(id) {
                        assert_eq!(tracer.registers(stop).unwrap().rip, addr);
                        hits += 1;
                    }
                }
                other => panic!("{other:?}"),
            },
            Event::Exited { status, .. } => assert_eq!(*status, ExitStatus::Code(0)),
            other => panic!("{other:?}"),
        }
        tracer.resume(event, how).unwrap();
    }
    hits
}

/// The same for a hardware breakpoint: where the thread was at each hit.
fn hardware_hits(tracer: &mut Tracer, stop: Stopped, id: BreakpointId) -> Vec<u64> {
    let mut hits = Vec::new();
    tracer.resume(stop, Resume::Continue).unwrap();
    while let Some(event) = tracer.wait().unwrap() {
        match &event {
            Event::Stopped(stop) => match stop.reason() {
                StopReason::Trap(causes) if causes.hardware.contains(id) => {
                    hits.push(tracer.registers(stop).unwrap().rip);
                }
                other => panic!("{other:?}"),
            },
            Event::Exited { status, .. } => assert_eq!(*status, ExitStatus::Code(0)),
            other => panic!("{other:?}"),
        }
        tracer.resume(event, Resume::Continue).unwrap();
    }
    hits
}

/// A program that reads a byte and exits with it: it comes to the first of the places that have
/// breakpoints, and waits in the kernel; being interrupted there brings it to none of them.
fn reads_a_byte(name: &str, places: impl FnOnce(&mut Tracer, &Stopped, &Program) -> Vec<u64>) {
    let program = Program::new(name, Width::Bits32);
    let mut tracer = tracer(EventFlags::PROCESS);
    let mut command = Command::new(&program.path);
    command.stdin(Stdio::piped());
    let (spawned, stop) = started(&mut tracer, &program, command);
    let (pid, mut input) = (spawned.pid, spawned.stdin.unwrap());
    let places = places(&mut tracer, &stop, &program);
    let ids: Vec<_> = places.iter().map(|&addr| put(&mut tracer, pid, addr)).collect();
    tracer.resume(stop, Resume::Continue).unwrap();
    let stop = next_stop(&mut tracer);
    assert!(is_hit(&mut tracer, &stop, ids[0], places[0]), "{stop:?}, {places:x?}");
    tracer.resume(stop, Resume::Continue).unwrap();
    for _ in 0..5 {
        tracer.interrupt(pid).unwrap();
        let stop = next_stop(&mut tracer);
        assert_eq!(stop.reason(), StopReason::Interrupted);
        tracer.resume(stop, Resume::Continue).unwrap();
    }
    std::io::Write::write_all(&mut input, &[7]).unwrap();
    assert_eq!(next_exit(&mut tracer).1, ExitStatus::Code(7));
    assert!(tracer.wait().unwrap().is_none());
}

/// The system calls of a program, in order, each from its entry and from its exit, up to its end.
fn calls(tracer: &mut Tracer, stop: Stopped) -> Vec<Syscall> {
    let mut calls = Vec::new();
    tracer.resume(stop, Resume::Continue).unwrap();
    while let Some(event) = tracer.wait().unwrap() {
        match &event {
            Event::Stopped(stop) => match stop.reason() {
                StopReason::SyscallEntry | StopReason::SyscallExit => {
                    calls.push(tracer.syscall(stop).unwrap());
                }
                StopReason::Execed { .. } => {}
                other => panic!("{other:?}"),
            },
            Event::Exited { status, .. } => assert_eq!(*status, ExitStatus::Code(0)),
            other => panic!("{other:?}"),
        }
        tracer.resume(event, Resume::Continue).unwrap();
    }
    calls
}

fn m1_32_bit_code_is_read_as_such() {
    for place in ["incs", "pushes", "here"] {
        let (mut tracer, program, stop) = begun("counts", Width::Bits32, EventFlags::PROCESS);
        let addr = program.at(place);
        let id = put(&mut tracer, stop.pid(), addr);
        assert_eq!(hits(&mut tracer, stop, id, addr, Resume::Continue), 1, "{place}");
    }
}

fn m1_32_bit_code_is_stepped() {
    let (mut tracer, program, stop) = begun("stores", Width::Bits32, EventFlags::PROCESS);
    let addr = program.at("round");
    let id = put(&mut tracer, stop.pid(), addr);
    assert_eq!(hits(&mut tracer, stop, id, addr, Resume::Step), 3);
}

fn m1_a_step_over_pushf_in_32_bit_code_leaves_nothing_behind() {
    let (mut tracer, program, stop) = begun("counts", Width::Bits32, EventFlags::PROCESS);
    let addr = program.at("pushes");
    let id = put(&mut tracer, stop.pid(), addr);
    assert_eq!(hits(&mut tracer, stop, id, addr, Resume::Step), 1);
}

fn m1_steps_through_either_kind_of_code() {
    let (mut tracer, program, stop) = changing(EventFlags::PROCESS);
    let addr = program.at("shared");
    let id = put(&mut tracer, stop.pid(), addr);
    assert_eq!(hits(&mut tracer, stop, id, addr, Resume::Step), 4);
}

fn m1_the_same_code_is_read_in_either_way() {
    let (mut tracer, program, stop) = changing(EventFlags::PROCESS);
    let addr = program.at("shared");
    let id = put(&mut tracer, stop.pid(), addr);
    assert_eq!(hits(&mut tracer, stop, id, addr, Resume::Continue), 4);
}

fn m1_a_32_bit_call_that_is_made_again_is_no_new_arrival() {
    reads_a_byte("reads", |_, _, program| vec![program.at("call")]);
}

#[cfg(target_os = "linux")]
fn m1_the_way_into_the_kernel_that_it_offers() {
    const AT_SYSINFO: u64 = 32;
    // `sysenter` or `syscall`, by the CPU, behind which the kernel goes on as if it had been the
    // `int 0x80` that follows.
    reads_a_byte("asks", |tracer, stop, _| {
        let entries = tracer.auxiliary_entries(stop.pid()).unwrap();
        let Some(&(_, function)) = entries.iter().find(|entry| entry.0 == AT_SYSINFO) else {
            panic!("no AT_SYSINFO in {entries:x?}");
        };
        let mut code = [0; 32];
        assert_eq!(tracer.read_memory(stop, function, &mut code).unwrap(), code.len());
        let calls = [[0x0f, 0x34], [0x0f, 0x05], [0xcd, 0x80]];
        let places = code.windows(2).zip(function..).filter(|(c, _)| calls.iter().any(|x| c == x));
        places.map(|(_, at)| at).collect()
    });
}

fn e2_a_32_bit_program_forks() {
    let (mut tracer, program, stop) = begun("forks", Width::Bits32, EventFlags::PROCESS);
    let addr = program.at("both");
    let (parent, id) = (stop.pid(), put(&mut tracer, stop.pid(), addr));
    tracer.resume(stop, Resume::Continue).unwrap();
    let (mut hits, mut ends, mut forks) = (Vec::new(), 0, Vec::new());
    while let Some(event) = tracer.wait().unwrap() {
        match &event {
            Event::Forked(fork) => forks.push((fork.parent_pid, fork.kind)),
            // The child may have ended before its parent runs.
            Event::Stopped(stop) if stop.reason() == StopReason::Signal(Signal::CHLD) => {}
            Event::Stopped(stop) => {
                assert!(is_hit(&mut tracer, stop, id, addr), "{stop:?}");
                hits.push(stop.pid());
            }
            Event::Exited { status, .. } => {
                assert_eq!(*status, ExitStatus::Code(0));
                ends += 1;
            }
            other => panic!("{other:?}"),
        }
        tracer.resume(event, Resume::Continue).unwrap();
    }
    assert_eq!(forks, [(Some(parent), ForkKind::Fork)]);
    assert_eq!((hits.len(), ends), (2, 2));
    assert_ne!(hits[0], hits[1], "each once");
}

fn m3_the_mode_of_a_thread_is_that_of_its_code_segment() {
    let (mut tracer, program, stop) = begun("counts", Width::Bits32, EventFlags::PROCESS);
    assert_eq!(tracer.code_mode(&stop).unwrap(), CodeMode::Bits32);
    let registers = tracer.registers(&stop).unwrap();
    assert_eq!((registers.rip, registers.rsp >> 32), (program.entry(), 0));
    tracer.resume(stop, Resume::Continue).unwrap();
    assert_eq!(next_exit(&mut tracer).1, ExitStatus::Code(0));
}

fn m3_the_mode_of_a_thread_changes() {
    let (mut tracer, program, stop) = changing(EventFlags::PROCESS);
    assert_eq!(tracer.code_mode(&stop).unwrap(), CodeMode::Bits64);
    let addr = program.at("in32");
    let id = put(&mut tracer, stop.pid(), addr);
    tracer.resume(stop, Resume::Continue).unwrap();
    let stop = next_stop(&mut tracer);
    assert!(is_hit(&mut tracer, &stop, id, addr));
    assert_eq!(tracer.code_mode(&stop).unwrap(), CodeMode::Bits32);
    assert_eq!(hits(&mut tracer, stop, id, addr, Resume::Continue), 1);
}

fn m3_registers_of_a_32_bit_program_are_set() {
    let (mut tracer, program, stop) = begun("counts", Width::Bits32, EventFlags::PROCESS);
    let addr = program.at("here");
    let id = put(&mut tracer, stop.pid(), addr);
    tracer.resume(stop, Resume::Continue).unwrap();
    let stop = next_stop(&mut tracer);
    assert!(is_hit(&mut tracer, &stop, id, addr));
    let mut registers = tracer.registers(&stop).unwrap();
    assert_eq!((registers.rax, registers.rbx), (1, 0x1ff));
    registers.rax = 5;
    tracer.set_registers(&stop, &registers).unwrap();
    assert_eq!(tracer.registers(&stop).unwrap(), registers);
    tracer.resume(stop, Resume::Continue).unwrap();
    assert_eq!(next_exit(&mut tracer).1, ExitStatus::Code(99), "it has seen the 5");
}

fn d1_the_debug_registers_of_a_32_bit_program() {
    for (place, offset, len, kind, expected) in [
        ("round", 0, 1, Execute, 3),
        ("data", 0, 1, Write, 3),
        ("data", 2, 2, Write, 3),
        ("data", 4, 4, Write, 3),
        ("data", 8, 8, Write, 3),
        ("data", 12, 4, Write, 3), // the upper half of a write of 8 bytes
        ("data", 0, 16, Write, 12),
        ("data", 16, 4, ReadWrite, 3),
        ("data", 24, 4, Change, 3),
        ("data", 8, 8, Change, 1),
        ("data", 20, 4, Write, 0),
    ] {
        let (mut tracer, program, stop) = begun("stores", Width::Bits32, EventFlags::PROCESS);
        let addr = program.at(place) + offset;
        let id = watch(&mut tracer, stop.pid(), addr, len, kind);
        let hits = hardware_hits(&mut tracer, stop, id);
        assert_eq!(hits.len(), expected, "{place}+{offset}, {len}, {kind:?}: {hits:x?}");
        if kind == Execute {
            assert!(hits.iter().all(|&pc| pc == addr), "{hits:x?}");
        }
    }
}

fn d1_a_debug_register_is_for_either_kind_of_code() {
    let (mut tracer, program, stop) = changing(EventFlags::PROCESS);
    let shared = program.at("shared");
    let id = watch(&mut tracer, stop.pid(), shared, 1, Execute);
    assert_eq!(hardware_hits(&mut tracer, stop, id), [shared; 4]);
    drop(tracer);

    let (mut tracer, program, stop) = changing(EventFlags::PROCESS);
    let id = watch(&mut tracer, stop.pid(), program.at("data"), 8, Write);
    assert_eq!(hardware_hits(&mut tracer, stop, id).len(), 2);
}

fn e7_the_calls_of_a_32_bit_program() {
    let (mut tracer, program, stop) =
        begun("hello", Width::Bits32, EventFlags::PROCESS | EventFlags::SYSCALL);
    let calls = calls(&mut tracer, stop);
    assert!(calls.iter().all(|call| call.abi == SyscallAbi::Bits32), "{calls:x?}");
    let write: Vec<_> = calls.iter().filter(|call| call.number == 4).collect();
    for call in &write {
        assert_eq!(call.args[..3], [1, program.at("message"), 14], "{call:x?}");
    }
    let results: Vec<_> = write.iter().map(|call| call.result).collect();
    assert_eq!(results, [None, Some(Ok(14))]);
    let last = calls.last().unwrap();
    assert_eq!((last.number, last.args[0], last.result), (1, 0, None));
}

#[cfg(target_os = "linux")]
fn e7_a_32_bit_call_of_64_bit_code() {
    let (mut tracer, program, stop) =
        begun("int80", Width::Bits64, EventFlags::PROCESS | EventFlags::SYSCALL);
    let pid = stop.pid();
    let calls = calls(&mut tracer, stop);
    let narrow: Vec<_> = calls.iter().filter(|c| c.abi == SyscallAbi::Bits32).collect();
    assert_eq!(narrow.len(), 2, "{calls:x?}");
    for call in &narrow {
        assert_eq!((call.number, call.args), (20, [1, 2, 3, 4, 5, 0xffff_fff6]), "{call:x?}");
    }
    assert_eq!(narrow[1].result, Some(Ok(pid.as_raw() as u64)));
    assert_eq!(calls.last().map(|call| (call.abi, call.number)), Some((SyscallAbi::Bits64, 60)));
    let _ = program;
}

#[cfg(target_os = "linux")]
fn e3_a_32_bit_program_execs_a_64_bit_one() {
    let program = Program::new("execs", Width::Bits32);
    let mut tracer = tracer(EventFlags::PROCESS | EventFlags::SYSCALL);
    let target = Program::new("int80", Width::Bits64);
    let mut command = Command::new(&program.path);
    command.arg(&target.path);
    let (_, stop) = started(&mut tracer, &program, command);
    let calls = calls(&mut tracer, stop);
    let abis: Vec<_> = calls.iter().map(|call| (call.abi, call.number)).collect();
    let exec = abis.iter().position(|call| *call == (SyscallAbi::Bits32, 11));
    assert!(exec.is_some(), "{abis:?}");
    assert_eq!(abis.last(), Some(&(SyscallAbi::Bits64, 60)), "{abis:?}");
}

fn f4_the_auxiliary_vector_of_a_32_bit_program() {
    const AT_PHDR: u64 = 3;
    const AT_PHENT: u64 = 4;
    const AT_ENTRY: u64 = 9;
    for (name, width, header) in [("counts", Width::Bits32, 32), ("changes", Width::Bits64, 56)] {
        let (mut tracer, program, stop) = begun(name, width, EventFlags::PROCESS);
        let entries = tracer.auxiliary_entries(stop.pid()).unwrap();
        let value = |kind| entries.iter().find(|entry| entry.0 == kind).map(|entry| entry.1);
        assert_eq!(value(AT_PHENT), Some(header), "{entries:x?}");
        assert_eq!(value(AT_ENTRY), Some(program.entry()), "{entries:x?}");
        assert!(value(AT_PHDR).is_some_and(|at| at < program.entry()), "{entries:x?}");
        tracer.kill(stop.pid()).unwrap();
        tracer.resume(stop, Resume::Continue).unwrap();
        while tracer.wait().unwrap().is_some() {}
    }
}

#[cfg(target_os = "linux")]
fn e7_the_abi_of_a_thread_is_that_of_its_code_or_its_call() {
    use trapline::os::linux::TracerExt;
    const I386: u32 = 0x4000_0003;
    const X86_64: u32 = 0xc000_003e;
    let flags = EventFlags::PROCESS | EventFlags::SYSCALL;
    let (mut tracer, program, stop) = changing(flags);
    let (shared, in32) = (program.at("shared"), program.at("in32"));
    let ids = [shared, in32].map(|addr| put(&mut tracer, stop.pid(), addr));
    tracer.resume(stop, Resume::Continue).unwrap();
    let mut seen = Vec::new();
    while let Some(event) = tracer.wait().unwrap() {
        if let Event::Stopped(stop) = &event {
            match stop.reason() {
                StopReason::Trap(_) => seen.push(tracer.abi(stop).unwrap().audit_arch),
                _ => assert_eq!(tracer.abi(stop).unwrap().audit_arch, X86_64),
            }
        }
        tracer.resume(event, Resume::Continue).unwrap();
    }
    assert_eq!(seen, [X86_64, I386, I386, X86_64, I386, I386], "{ids:?}");
}

#[cfg(target_os = "linux")]
fn e7_chosen_calls_by_the_names_of_either_table() {
    let shown = |calls: &str, program: &Program| {
        let path = program.path.to_str().unwrap();
        let output =
            crate::fixtures::fixture("linux-syscalls", &["-e", calls, path]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let (mut tracer, hello, stop) = begun("hello", Width::Bits32, EventFlags::PROCESS);
    tracer.resume(stop, Resume::Continue).unwrap(); // it can be run here
    while tracer.wait().unwrap().is_some() {}
    assert_eq!(
        shown("write,exit", &hello),
        "write(1, \"hello, world!\\n\", 14) = 14\nexit(0) = ?\n--- exit status 0 ---\n"
    );
    // Number 20 is `writev` of a 64-bit program, and 1 is `write`.
    let int80 = Program::new("int80", Width::Bits64);
    let text = shown("getpid,write,writev,exit", &int80);
    let (first, rest) = text.split_once(" = ").unwrap();
    assert_eq!(first, "getpid()");
    assert!(rest.ends_with("\nexit(0) = ?\n--- exit status 0 ---\n"), "{text}");
    assert_eq!(text.lines().count(), 3, "{text}");
}
