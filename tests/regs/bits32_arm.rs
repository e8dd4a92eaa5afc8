//! 32-bit programs on aarch64, where its CPU and its kernel have them.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::Command;

use trapline::HardwareKind::{Execute, Write};
use trapline::{
    CodeMode, Error, Event, EventFlags, ExitStatus, ForkKind, HardwareBreakpoint, Pid, Resume,
    Signal, SoftwareBreakpoint, StopReason, Stopped, Syscall, SyscallAbi, Tracer,
};

use crate::common::*;

crate::tests![
    m3_the_registers_of_a_32_bit_program,
    m1_a_breakpoint_in_memory_of_32_bit_code_is_refused,
    d1_the_debug_registers_of_a_32_bit_program,
    e7_the_calls_of_a_32_bit_program,
    e2_a_32_bit_program_forks,
    f4_the_auxiliary_vector_of_a_32_bit_program,
    f3_a_32_bit_program_is_attached_to,
    e4_a_32_bit_program_has_threads_and_signals,
    e7_a_call_of_a_32_bit_program_is_made_again,
    e3_a_32_bit_program_runs_a_64_bit_one,
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

/// Where the second program has how long it sleeps, and what ends its sleeping.
const SPEC: u64 = ENTRY + 0xbc;
const GO: u64 = ENTRY + 0xc4;

/// Runs the program of its arguments. Without any, makes a thread, awaits its end, sleeps until `GO` is
/// set, and sends itself `SIGUSR1`. Exits with 0, or with what was wrong.
const LIVES: [u32; 51] = [
    0xe59d_6000, //  ldr r6, [sp]
    0xe356_0001, //  cmp r6, #1
    0xca00_0025, //  bgt PROGRAM
    0xe28f_50b0, //  adr r5, GO
    0xe3a0_0805, //  mov r0, #327680
    0xe380_0c0f, //  orr r0, r0, #3840
    0xe3a0_1000, //  mov r1, #0
    0xe3a0_2000, //  mov r2, #0
    0xe3a0_3000, //  mov r3, #0
    0xe3a0_4000, //  mov r4, #0
    0xe3a0_7078, //  mov r7, #120
    0xef00_0000, //  svc 0: clone
    0xe350_0000, //  cmp r0, #0
    0x0a00_0015, //  beq THREAD
    0xe3a0_709e, //  AWAIT: mov r7, #158
    0xef00_0000, //  svc 0: sched_yield
    0xe595_6004, //  ldr r6, [r5, #4]
    0xe356_0000, //  cmp r6, #0
    0x0aff_fffa, //  beq AWAIT
    0xe28f_0068, //  SLEEP: adr r0, SPEC
    0xe3a0_1000, //  mov r1, #0
    0xe3a0_70a2, //  mov r7, #162
    0xef00_0000, //  svc 0: nanosleep
    0xe350_0000, //  cmp r0, #0
    0x1a00_0008, //  bne OUT
    0xe595_6000, //  ldr r6, [r5]
    0xe356_0000, //  cmp r6, #0
    0x0aff_fff6, //  beq SLEEP
    0xe3a0_7014, //  mov r7, #20
    0xef00_0000, //  svc 0: getpid
    0xe3a0_100a, //  mov r1, #10
    0xe3a0_7025, //  mov r7, #37
    0xef00_0000, //  svc 0: kill
    0xe3a0_0000, //  mov r0, #0
    0xe3a0_70f8, //  OUT: mov r7, #248
    0xef00_0000, //  svc 0: exit_group
    0xe3a0_6001, //  THREAD: mov r6, #1
    0xe585_6004, //  str r6, [r5, #4]
    0xe3a0_0000, //  mov r0, #0
    0xe3a0_7001, //  mov r7, #1
    0xef00_0000, //  svc 0: exit
    0xe59d_0008, //  PROGRAM: ldr r0, [sp, #8]
    0xe28d_1008, //  add r1, sp, #8
    0xe3a0_2000, //  mov r2, #0
    0xe3a0_700b, //  mov r7, #11
    0xef00_0000, //  svc 0: execve
    0xeaff_fff2, //  b OUT
    0,           // SPEC
    20_000_000,
    0, // GO
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
    fn new(code: &[u32]) -> Program {
        let size = ENTRY as u32 - BASE + 4 * code.len() as u32;
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
        file.extend(code.iter().flat_map(|word| word.to_le_bytes()));
        let path = std::env::temp_dir().join(format!("trapline-arm-{}", std::process::id()));
        std::fs::write(&path, file).expect("a temporary file");
        let permissions = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(&path, permissions).expect("permissions");
        Program(path)
    }
}

const NONE: &str = "32-bit programs cannot be run here";

/// The first program, at its first instruction; ends the test where it cannot be run.
fn begun(flags: EventFlags) -> (Tracer, Program, Stopped) {
    begun_with(flags, &CODE, &[])
}

fn begun_with(flags: EventFlags, code: &[u32], arguments: &[&str]) -> (Tracer, Program, Stopped) {
    let program = Program::new(code);
    let mut tracer = tracer(flags);
    let mut command = Command::new(&program.0);
    command.args(arguments);
    let Ok(spawned) = tracer.spawn(command) else { skip(NONE) };
    let stop = next_stop(&mut tracer);
    // What the kernel does not know is taken for a script.
    if tracer.process_info(spawned.pid).unwrap().executable.as_deref() != Some(&*program.0) {
        tracer.kill(spawned.pid).unwrap();
        tracer.resume(stop, Resume::Continue).unwrap();
        while tracer.wait().unwrap().is_some() {}
        drop(program);
        skip(NONE);
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

fn f3_a_32_bit_program_is_attached_to() {
    let program = Program::new(&LIVES);
    let Ok(mut child) = Command::new(&program.0).spawn() else { skip(NONE) };
    let pid = Pid::new(child.id() as i32).unwrap();
    let mut tracer = tracer(EventFlags::PROCESS);
    tracer.attach(pid).unwrap();
    let stop = next_stop(&mut tracer);
    assert_eq!(stop.reason(), StopReason::Started);
    if tracer.process_info(pid).unwrap().executable.as_deref() != Some(&*program.0) {
        tracer.kill(pid).unwrap();
        drop((stop, tracer));
        let _ = child.wait();
        drop(program);
        skip(NONE);
    }
    assert_eq!(tracer.code_mode(&stop).unwrap(), CodeMode::Bits32);
    assert_eq!(tracer.registers(&stop).unwrap().sp() >> 32, 0);
    assert_eq!(tracer.write_memory(&stop, GO, &1_u32.to_le_bytes()).unwrap(), 4);
    tracer.detach(stop).unwrap();
    // Nobody keeps its own signal from it any more.
    assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGUSR1));
}

fn e4_a_32_bit_program_has_threads_and_signals() {
    let (mut tracer, _program, stop) = begun_with(EventFlags::THREAD, &LIVES, &[]);
    let (pid, mut seen) = (stop.pid(), Vec::new());
    tracer.resume(stop, Resume::Continue).unwrap();
    while let Some(mut event) = tracer.wait().unwrap() {
        match &mut event {
            Event::Stopped(stop) if stop.reason() == StopReason::ThreadStarted => {
                assert_eq!(tracer.code_mode(stop).unwrap(), CodeMode::Bits32);
                assert_eq!(tracer.threads(pid).unwrap().len(), 2);
                tracer.write_memory(stop, GO, &1_u32.to_le_bytes()).unwrap();
                seen.push("started".to_owned());
            }
            Event::Stopped(stop) => {
                assert_eq!(stop.reason(), StopReason::Signal(Signal::USR1));
                let info = tracer.signal_info(stop).unwrap();
                assert_eq!((info.signal, info.sender), (Signal::USR1, Some(pid)));
                stop.set_signal(None).unwrap();
                seen.push("signal".to_owned());
            }
            Event::ThreadExited { .. } => seen.push("exited".to_owned()),
            Event::Exited { status, .. } => seen.push(status.to_string()),
            other => panic!("{other:?}"),
        }
        tracer.resume(event, Resume::Continue).unwrap();
    }
    // The thread can take its time to end.
    seen.get_mut(1..3).expect("four of them").sort();
    assert_eq!(seen, ["started", "exited", "signal", "exit status 0"]);
}

fn e7_a_call_of_a_32_bit_program_is_made_again() {
    const NANOSLEEP: u64 = 162;
    const RESTART: u64 = 0;
    let (mut tracer, _program, mut stop) = begun_with(EventFlags::SYSCALL, &LIVES, &[]);
    let pid = stop.pid();
    // Longer than anybody waits for it.
    tracer.write_memory(&stop, SPEC, &1000_u32.to_le_bytes()).unwrap();
    let mut calls = Vec::new();
    loop {
        if stop.reason() == StopReason::SyscallEntry {
            let call = tracer.syscall(&stop).unwrap();
            assert_eq!(call.abi, SyscallAbi::Bits32);
            calls.push(call.number);
        }
        if calls.last() == Some(&RESTART) {
            break;
        }
        let sleeps = calls.last() == Some(&NANOSLEEP) && stop.reason() == StopReason::SyscallEntry;
        tracer.resume(stop, Resume::Continue).unwrap();
        if sleeps {
            tracer.interrupt(pid).unwrap();
        }
        stop = match tracer.wait().unwrap().expect("an event") {
            Event::Stopped(stop) => stop,
            other => panic!("{other:?}, after the calls {calls:?}"),
        };
    }
    assert!(calls.ends_with(&[NANOSLEEP, RESTART]), "{calls:?}");
    tracer.kill(pid).unwrap();
    tracer.resume(stop, Resume::Continue).unwrap();
    assert_eq!(next_exit(&mut tracer), (pid, killed_by(Signal::KILL)));
}

fn e3_a_32_bit_program_runs_a_64_bit_one() {
    let (mut tracer, _program, stop) = begun_with(EventFlags::PROCESS, &LIVES, &["/bin/true"]);
    assert_eq!(tracer.code_mode(&stop).unwrap(), CodeMode::Bits32);
    let mut execs = Vec::new();
    assert_eq!(
        ends(&mut tracer, stop, |tracer, event| match event {
            Event::Stopped(stop) if matches!(stop.reason(), StopReason::Execed { .. }) => {
                execs.push(tracer.code_mode(stop).unwrap());
            }
            other => panic!("{other:?}"),
        }),
        1
    );
    assert_eq!(execs, [CodeMode::Bits64]);
}
