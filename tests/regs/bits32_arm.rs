//! 32-bit programs on aarch64, where its CPU and its kernel have them.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use trapline::HardwareKind::{Execute, Write};
use trapline::{
    CodeMode, Error, Event, EventFlags, ExitStatus, ForkKind, HardwareBreakpoint, Resume, Signal,
    SoftwareBreakpoint, StopReason, Stopped, Syscall, SyscallAbi, Tracer,
};

use crate::common::*;

crate::tests![
    m3_the_registers_of_a_32_bit_program,
    m1_a_breakpoint_in_memory_of_32_bit_code_is_refused,
    d1_the_debug_registers_of_a_32_bit_program,
    e7_the_calls_of_a_32_bit_program,
    e2_a_32_bit_program_forks,
    f4_the_auxiliary_vector_of_a_32_bit_program,
];

/// Where the file is mapped, and its code begins there.
const BASE: u32 = 0x1_0000;
const ENTRY: u64 = BASE as u64 + 0x80;

/// The places in the code.
const ROUND: u64 = ENTRY + 0x8;
const AFTER: u64 = ENTRY + 0xc;
const MESSAGE: u64 = ENTRY + 0x40;
const DATA: u64 = ENTRY + 0x50;

/// Writes 3, 2 and 1 to its data, says hello, and makes a process; both exit with 0.
const CODE: [u32; 22] = [
    0xe3a0_4003, //  mov r4, #3
    0xe28f_5044, //  adr r5, DATA
    0xe585_4000, //  ROUND: str r4, [r5]
    0xe595_6000, //  AFTER: ldr r6, [r5]
    0xe254_4001, //  subs r4, r4, #1
    0x1aff_fffb, //  bne ROUND
    0xe3a0_0001, //  mov r0, #1
    0xe28f_101c, //  adr r1, MESSAGE
    0xe3a0_200e, //  mov r2, #14
    0xe3a0_7004, //  mov r7, #4
    0xef00_0000, //  svc 0: write
    0xe3a0_7002, //  mov r7, #2
    0xef00_0000, //  svc 0: fork
    0xe3a0_0000, //  mov r0, #0
    0xe3a0_7001, //  mov r7, #1
    0xef00_0000, //  svc 0: exit
    u32::from_le_bytes(*b"hell"),
    u32::from_le_bytes(*b"o, w"),
    u32::from_le_bytes(*b"orld"),
    u32::from_le_bytes(*b"!\n\0\0"),
    0,
    0,
];

/// The program's file, which is gone when this is dropped.
struct Program(PathBuf);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Program {
    fn new() -> Program {
        let size = ENTRY as u32 - BASE + 4 * CODE.len() as u32;
        // An executable for the system interface of the fifth version, with one segment that may be
        // read, written and executed.
        let mut file = b"\x7fELF\x01\x01\x01".to_vec();
        file.resize(16, 0);
        file.extend([2_u16, 40].iter().flat_map(|half| half.to_le_bytes()));
        let words = [1, ENTRY as u32, 52, 0, 0x0500_0000];
        file.extend(words.iter().flat_map(|word: &u32| word.to_le_bytes()));
        file.extend([52_u16, 32, 1, 0, 0, 0].iter().flat_map(|half| half.to_le_bytes()));
        let segment = [1, 0, BASE, BASE, size, size, 7, 0x1_0000];
        file.extend(segment.iter().flat_map(|word: &u32| word.to_le_bytes()));
        file.resize((ENTRY as u32 - BASE) as usize, 0);
        file.extend(CODE.iter().flat_map(|word| word.to_le_bytes()));
        let path = std::env::temp_dir().join(format!("trapline-arm-{}", std::process::id()));
        std::fs::write(&path, file).expect("a temporary file");
        let permissions = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(&path, permissions).expect("permissions");
        Program(path)
    }
}

/// The program, at its first instruction; ends the test where it cannot be run.
fn begun(flags: EventFlags) -> (Tracer, Program, Stopped) {
    let program = Program::new();
    let mut tracer = tracer(flags);
    let none = "32-bit programs cannot be run here";
    let Ok(spawned) = tracer.spawn(Command::new(&program.0)) else { skip(none) };
    let stop = next_stop(&mut tracer);
    // What the kernel does not know is taken for a script.
    if tracer.process_info(spawned.pid).unwrap().executable.as_deref() != Some(&*program.0) {
        tracer.kill(spawned.pid).unwrap();
        tracer.resume(stop, Resume::Continue).unwrap();
        while tracer.wait().unwrap().is_some() {}
        drop(program);
        skip(none);
    }
    (tracer, program, stop)
}

/// Runs all to their ends, which are good ones, with a look at each event.
fn ends(tracer: &mut Tracer, stop: Stopped, mut each: impl FnMut(&mut Tracer, &Event)) -> usize {
    let mut ends = 0;
    tracer.resume(stop, Resume::Continue).unwrap();
    while let Some(event) = tracer.wait().unwrap() {
        match &event {
            Event::Exited { status, .. } => {
                assert_eq!(*status, ExitStatus::Code(0));
                ends += 1;
            }
            Event::Stopped(stop) if stop.reason() == StopReason::Signal(Signal::CHLD) => {}
            _ => each(tracer, &event),
        }
        tracer.resume(event, Resume::Continue).unwrap();
    }
    ends
}

fn m3_the_registers_of_a_32_bit_program() {
    let (mut tracer, _program, mut stop) = begun(EventFlags::PROCESS);
    assert_eq!(tracer.code_mode(&stop).unwrap(), CodeMode::Bits32);
    let registers = tracer.registers(&stop).unwrap();
    assert_eq!((registers.pc(), registers.sp() >> 32), (ENTRY, 0));
    assert_eq!(registers.x[13], registers.sp());
    for expected in [4, 8] {
        tracer.resume(stop, Resume::Step).unwrap();
        stop = next_stop(&mut tracer);
        assert!(matches!(stop.reason(), StopReason::Trap(causes) if causes.single_step));
        assert_eq!(tracer.registers(&stop).unwrap().pc(), ENTRY + expected);
    }
    let mut registers = tracer.registers(&stop).unwrap();
    assert_eq!((registers.x[4], registers.x[5]), (3, DATA));
    registers.x[4] = 1;
    tracer.set_registers(&stop, &registers).unwrap();
    assert_eq!(tracer.registers(&stop).unwrap(), registers);
    let mut fp = tracer.fp_registers(&stop).unwrap();
    fp.v[3] = 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef;
    tracer.set_fp_registers(&stop, &fp).unwrap();
    assert_eq!(tracer.fp_registers(&stop).unwrap(), fp);
    assert_eq!(ends(&mut tracer, stop, |_, event| assert!(matches!(event, Event::Forked(_)))), 2);
}

fn m1_a_breakpoint_in_memory_of_32_bit_code_is_refused() {
    let (mut tracer, _program, stop) = begun(EventFlags::PROCESS);
    let refused = tracer.insert_breakpoint(stop.pid(), SoftwareBreakpoint { addr: ROUND });
    assert!(matches!(refused, Err(Error::BadBreakpoint { .. })), "{refused:?}");
    let mut code = [0; 4];
    tracer.read_memory(&stop, ROUND, &mut code).unwrap();
    assert_eq!(u32::from_le_bytes(code), CODE[2]);
    assert_eq!(ends(&mut tracer, stop, |_, _| {}), 2);
}

fn d1_the_debug_registers_of_a_32_bit_program() {
    for (addr, len, kind, pc) in [(ROUND, 1, Execute, ROUND), (DATA, 4, Write, AFTER)] {
        let (mut tracer, _program, stop) = begun(EventFlags::PROCESS);
        let breakpoint = HardwareBreakpoint { addr, len, kind };
        let id = tracer.insert_breakpoint(stop.pid(), breakpoint).unwrap();
        let mut hits = Vec::new();
        ends(&mut tracer, stop, |tracer, event| {
            let Event::Stopped(stop) = event else { return };
            assert!(
                matches!(stop.reason(), StopReason::Trap(causes) if causes.hardware.contains(id)),
                "{stop:?}"
            );
            hits.push(tracer.registers(stop).unwrap().pc());
        });
        assert_eq!(hits, [pc; 3], "{kind:?}");
    }
}

fn e7_the_calls_of_a_32_bit_program() {
    let (mut tracer, _program, stop) = begun(EventFlags::PROCESS | EventFlags::SYSCALL);
    let first = stop.pid();
    let mut calls: Vec<Syscall> = Vec::new();
    ends(&mut tracer, stop, |tracer, event| match event {
        Event::Stopped(stop) if stop.pid() == first => {
            if matches!(stop.reason(), StopReason::SyscallEntry | StopReason::SyscallExit) {
                calls.push(tracer.syscall(stop).unwrap());
            }
        }
        _ => {}
    });
    // First the end of the exec that has made it, which is of neither width.
    calls.retain(|call| call.number < 100);
    assert!(calls.iter().all(|call| call.abi == SyscallAbi::Bits32), "{calls:?}");
    let numbers: Vec<u64> = calls.iter().map(|call| call.number).collect();
    assert_eq!(numbers, [4, 4, 2, 2, 1], "{calls:?}");
    for (at, result) in [(0, None), (1, Some(Ok(14)))] {
        assert_eq!((&calls[at].args[..3], calls[at].result), (&[1, MESSAGE, 14][..], result));
    }
}

fn e2_a_32_bit_program_forks() {
    let (mut tracer, _program, stop) = begun(EventFlags::PROCESS);
    let (parent, mut forks) = (stop.pid(), Vec::new());
    let ends = ends(&mut tracer, stop, |_, event| match event {
        Event::Forked(fork) => forks.push((fork.parent_pid, fork.kind)),
        other => panic!("{other:?}"),
    });
    assert_eq!((forks, ends), (vec![(Some(parent), ForkKind::Fork)], 2));
}

fn f4_the_auxiliary_vector_of_a_32_bit_program() {
    const AT_ENTRY: u64 = 9;
    let (mut tracer, _program, stop) = begun(EventFlags::PROCESS);
    let entries = tracer.auxiliary_entries(stop.pid()).unwrap();
    assert!(entries.contains(&(AT_ENTRY, ENTRY)), "{entries:x?}");
    assert_eq!(ends(&mut tracer, stop, |_, _| {}), 2);
}
