//! M2, M3: memory and registers.

use trapline::{Error, EventFlags, ExitStatus, Resume, Signal, StopReason};

use crate::common::*;
use crate::fixtures::{cpu, fixture};

crate::tests![
    m3_registers_are_converted_into_a_type_of_the_hosts,
    m2_text_can_be_read_and_written,
    m2_a_short_read_says_how_much_it_got,
    m2_many_places_are_read_at_once,
    m2_after_an_exec_it_is_the_new_image,
    m3_registers_by_value,
    m3_registers_are_those_of_this_stop,
];

/// Registers that mean nothing to a program that has just started, of either CPU.
const KEPT: [&str; 6] = ["r12", "r13", "rbx", "x19", "x20", "x21"];

/// A host's own registers. That this compiles is part of M3: [`trapline::Registers`] is a type, not a
/// projection of the back end's, of which the compiler would not know that it is no `Own`.
#[derive(Debug, PartialEq, Eq)]
struct Own {
    pc: u64,
}

impl From<trapline::Registers> for Own {
    fn from(registers: trapline::Registers) -> Self {
        Own { pc: registers.pc() }
    }
}

fn m3_registers_are_converted_into_a_type_of_the_hosts() {
    let mut tracer = tracer(EventFlags::PROCESS);
    let stop = spawned(&mut tracer, fixture("exit", &["0"]));
    let registers = tracer.registers(&stop).unwrap();
    assert_eq!(Own::from(registers), Own { pc: registers.pc() });
    tracer.resume(stop, Resume::Continue).unwrap();
    assert_eq!(next_exit(&mut tracer).1, ExitStatus::Code(0));
}

fn m2_text_can_be_read_and_written() {
    let mut tracer = tracer(EventFlags::PROCESS);
    let stop = spawned(&mut tracer, fixture("exit", &["0"]));
    let pc = tracer.registers(&stop).unwrap().pc();
    let mut text = [0u8; 64];
    assert_eq!(tracer.read_memory(&stop, pc, &mut text).unwrap(), 64);
    assert_ne!(text, [0; 64]);
    let traps = [0xcc; 64];
    assert_eq!(tracer.write_memory(&stop, pc, &traps).unwrap(), 64);
    let mut read = [0u8; 64];
    assert_eq!(tracer.read_memory(&stop, pc, &mut read).unwrap(), 64);
    assert_eq!(read, traps);
    assert_eq!(tracer.write_memory(&stop, pc, &text).unwrap(), 64);
    tracer.resume(stop, Resume::Continue).unwrap();
    assert_eq!(next_exit(&mut tracer).1, ExitStatus::Code(0));
}

fn m2_a_short_read_says_how_much_it_got() {
    let mut tracer = tracer(EventFlags::PROCESS);
    let stop = spawned(&mut tracer, fixture("exit", &["0"]));
    let sp = tracer.registers(&stop).unwrap().sp();
    // Up from the stack pointer to the end of the stack, and on.
    let mut all = vec![0u8; 64 << 20];
    let got = tracer.read_memory(&stop, sp, &mut all).unwrap();
    assert!(got > 0 && got < all.len(), "{got}");
    assert_eq!((sp + got as u64) % 4096, 0, "it ends with a page");
    // The program's environment lies there.
    let needle = b"TRAPLINE_FIXTURE=exit";
    assert!(all[..got].windows(needle.len()).any(|w| w == needle));
    for addr in [0, 8, u64::MAX - 8, 0xffff_8000_0000_0000] {
        let error = tracer.read_memory(&stop, addr, &mut [0; 4]).unwrap_err();
        assert!(matches!(error, Error::BadAddress { addr: a, .. } if a == addr), "{error:?}");
        let error = tracer.write_memory(&stop, addr, &[0; 4]).unwrap_err();
        assert!(matches!(error, Error::BadAddress { .. }), "{error:?}");
    }
    assert_eq!(tracer.read_memory(&stop, 0, &mut []).unwrap(), 0);
    tracer.resume(stop, Resume::Continue).unwrap();
    assert_eq!(next_exit(&mut tracer).1, ExitStatus::Code(0));
}

fn m2_many_places_are_read_at_once() {
    let mut tracer = tracer(EventFlags::PROCESS);
    let stop = spawned(&mut tracer, fixture("exit", &["0"]));
    let pid = stop.pid();
    let pc = tracer.registers(&stop).unwrap().pc();
    let mut text = [0; 256];
    tracer.at(&stop).read_exactly(pc & !0xff, &mut text).unwrap();
    // More than one call takes, with some that are not there or end where nothing is mapped.
    let mut words = vec![[0; 16]; 2500];
    let at = |n: usize| match n {
        7 | 1500 | 1501 => 16 * n as u64,
        n => (pc & !0xff) + (n % 241) as u64,
    };
    let mut places: Vec<(u64, &mut [u8])> =
        words.iter_mut().enumerate().map(|(n, word)| (at(n), &mut word[..n % 17])).collect();
    let before = tracer.requests();
    let results = tracer.at(&stop).read_each(&mut places);
    let requests = tracer.requests() - before;
    assert_eq!(results.len(), words.len());
    for (n, (result, word)) in results.iter().zip(&words).enumerate() {
        let (len, offset) = (n % 17, n % 241);
        match n {
            7 | 1500 | 1501 if len > 0 => {
                assert_eq!(
                    *result,
                    Err(Error::BadAddress { addr: 16 * n as u64, pid: Some(pid) }),
                    "{n}"
                );
            }
            _ => {
                assert_eq!(*result, Ok(len), "{n}");
                assert_eq!(word[..len], text[offset..offset + len], "{n}");
            }
        }
    }
    if cfg!(target_os = "linux") {
        // Three calls, and what it takes to find out what is not there.
        assert!(requests < 30, "{requests}");
    }
    assert_eq!(tracer.at(&stop).read_each(&mut []), []);
    assert_eq!(tracer.at(&stop).read_each(&mut [(0, &mut []), (pc, &mut [])]), [Ok(0), Ok(0)]);
    tracer.kill(stop.pid()).unwrap();
    until(|| {
        tracer.at(&stop).read_each(&mut [(pc, &mut [0])]) == [Err(Error::Gone { pid: Some(pid) })]
    });
    tracer.resume(stop, Resume::Continue).unwrap();
    run(&mut tracer);
}

fn m2_after_an_exec_it_is_the_new_image() {
    let mut tracer = tracer(EventFlags::PROCESS);
    let stop = spawned(&mut tracer, sh("exec /bin/echo hello >/dev/null"));
    let sp = tracer.registers(&stop).unwrap().sp();
    tracer.read_memory(&stop, sp, &mut [0; 8]).unwrap();
    // A write opens the memory of the old image.
    let pc = tracer.registers(&stop).unwrap().pc();
    let mut byte = [0];
    tracer.read_memory(&stop, pc, &mut byte).unwrap();
    tracer.write_memory(&stop, pc, &byte).unwrap();
    tracer.resume(stop, Resume::Continue).unwrap();
    let stop = next_stop(&mut tracer);
    let sp = tracer.registers(&stop).unwrap().sp();
    let mut stack = vec![0u8; 1 << 20];
    let got = tracer.read_memory(&stop, sp, &mut stack).unwrap();
    assert!(stack[..got].windows(6).any(|w| w == b"hello\0"));
    let pc = tracer.registers(&stop).unwrap().pc();
    tracer.read_memory(&stop, pc, &mut byte).unwrap();
    tracer.write_memory(&stop, pc, &byte).unwrap();
    tracer.resume(stop, Resume::Continue).unwrap();
    assert_eq!(next_exit(&mut tracer).1, ExitStatus::Code(0));
}

fn m3_registers_by_value() {
    let mut tracer = tracer(EventFlags::PROCESS);
    let stop = spawned(&mut tracer, fixture("exit", &["0"]));
    let old = tracer.registers(&stop).unwrap();
    let mut new = old;
    for (name, _) in old.iter().filter(|(name, _)| KEPT.contains(name)) {
        assert!(new.set(name, 0x1122_3344_5566_7788));
    }
    assert_ne!(new, old);
    tracer.set_registers(&stop, &new).unwrap();
    assert_eq!(tracer.registers(&stop).unwrap(), new);
    tracer.set_registers(&stop, &old).unwrap();
    assert_eq!(tracer.registers(&stop).unwrap(), old);

    let old = tracer.fp_registers(&stop).unwrap();
    let mut new = old.clone();
    *cpu::vector(&mut new, 3) = 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef;
    tracer.set_fp_registers(&stop, &new).unwrap();
    let mut now = tracer.fp_registers(&stop).unwrap();
    for index in 0..16 {
        assert_eq!(cpu::vector(&mut now, index), cpu::vector(&mut new, index));
    }
    tracer.set_fp_registers(&stop, &old).unwrap();

    match tracer.extended_state(&stop) {
        Ok(mut state) => {
            let before = state.clone();
            if let Some(changed) = cpu::change_extended(&mut state) {
                tracer.set_extended_state(&stop, &state).unwrap();
                let again = tracer.extended_state(&stop).unwrap();
                assert_eq!(cpu::read_extended(&again), Some(changed));
                tracer.set_extended_state(&stop, &before).unwrap();
            }
        }
        Err(Error::Unsupported { .. }) => {}
        Err(error) => panic!("{error}"),
    }
    tracer.resume(stop, Resume::Continue).unwrap();
    assert_eq!(next_exit(&mut tracer).1, ExitStatus::Code(0));
}

// A stop may be told before the thread has left its CPU, which then still has them.
fn m3_registers_are_those_of_this_stop() {
    let mut tracer = tracer(EventFlags::PROCESS);
    let stop = spawned(&mut tracer, fixture("counts-in-vector", &["1000"]));
    tracer.resume(stop, Resume::Continue).unwrap();
    for i in 0..1000 {
        let mut stop = next_stop(&mut tracer);
        assert_eq!(stop.reason(), StopReason::Signal(Signal::TRAP));
        stop.set_signal(None).unwrap();
        pass_own_breakpoint(&mut tracer, &stop);
        let mut registers = tracer.fp_registers(&stop).unwrap();
        assert_eq!(*cpu::vector(&mut registers, 5), i);
        *cpu::vector(&mut registers, 5) += 1_000;
        tracer.set_fp_registers(&stop, &registers).unwrap();
        tracer.resume(stop, Resume::Continue).unwrap();
    }
    assert_eq!(next_exit(&mut tracer).1, ExitStatus::Code(0));
}
