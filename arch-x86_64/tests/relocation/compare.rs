//! In place and away from it.

use std::collections::HashMap;

use iced_x86::Mnemonic;
use trapline_arch_x86_64::debug::USER_END;
use trapline_arch_x86_64::{Emulated, RFlags, Registers, X86_64};
use trapline_core::{Arch, CodeMode, EmulatedMemory, Relocation};

use crate::cpu::{Cpu, DATA, DATA_LEN, FAR, Go, NEAR, vector_parts};
use crate::instructions::decode;
use crate::random::Random;
use crate::trial::{Trial, any_data, any_state, is_repeatable};

/// What an instruction has done.
#[derive(Debug, PartialEq)]
struct Outcome {
    signal: i32,
    registers: Registers,
    state: Vec<u8>,
    /// The data, if it has changed.
    data: Option<Vec<u8>>,
}

/// A CPU, and what each trial starts with.
pub(crate) struct Bench {
    cpu: Cpu,
    start: Registers,
    state: Vec<u8>,
    parts: Vec<(usize, usize)>,
    data: Vec<u8>,
}

/// How an instruction was executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum How {
    Copied,
    CopiedAndFaults,
    Emulated,
    LeftToTheCpu,
}

/// Executes all of these so many times, and counts.
pub(crate) fn execute(all: Vec<&[u8]>, mode: CodeMode, rounds: usize) -> HashMap<How, usize> {
    let (mut bench, mut random) = (Bench::new(), Random(2));
    let mut counts = HashMap::new();
    for bytes in all {
        if !is_repeatable(&decode(bytes, 0, mode)) {
            continue;
        }
        for _ in 0..rounds {
            *counts.entry(bench.try_one(bytes, mode, &mut random)).or_default() += 1;
        }
    }
    counts
}

impl Bench {
    pub(crate) fn new() -> Self {
        let cpu = Cpu::start();
        let data = any_data(&mut Random(1));
        let (start, state) = (cpu.registers(), cpu.state());
        let mut bench = Self { cpu, start, state, parts: vector_parts(), data };
        bench.cpu.write(DATA, &bench.data);
        bench
    }

    /// Executes an instruction both ways, with what comes by chance.
    pub(crate) fn try_one(&mut self, bytes: &[u8], mode: CodeMode, random: &mut Random) -> How {
        let state = any_state(&self.state, &self.parts, random);
        let trial = Trial::new(bytes, mode, &self.start, state, random);
        self.compare(&trial, random.below(64) * X86_64::SLOT_LENGTH as u64)
    }

    /// `slot` is where it has its slot among the others.
    fn compare(&mut self, trial: &Trial, slot: u64) -> How {
        match X86_64::relocate(&trial.code, trial.from, trial.mode) {
            Relocation::Copy { length } => self.compare_copy(trial, length, slot),
            Relocation::Emulate(emulated) => self.compare_emulated(trial, &emulated),
            Relocation::Refused => panic!("{} is refused", trial.instruction),
        }
    }

    fn compare_copy(&mut self, trial: &Trial, length: u8, slot: u64) -> How {
        let from = trial.from;
        let end = from + u64::from(length);
        self.cpu.write(from, &trial.code);
        self.cpu.write(end, X86_64::BREAKPOINT);
        let mut expected = self.run(&trial.registers, &trial.state, Go::Continue);
        arrive(&mut expected, end);
        self.cpu.write(from, &vec![0xcc; trial.code.len()]);

        let far = (trial.mode == CodeMode::Bits64).then_some(FAR + slot);
        for to in [Some(NEAR + slot), far].into_iter().flatten() {
            let Some(code) = X86_64::place(&trial.code, from, to, trial.mode) else {
                assert!(to >= FAR && trial.instruction.is_ip_rel_memory_operand());
                continue;
            };
            self.cpu.write(to, code.bytes());
            let mut registers = trial.registers;
            X86_64::enter_slot(to, &mut registers);
            let mut outcome = self.run(&registers, &trial.state, Go::Continue);
            arrive(&mut outcome, end);
            X86_64::leave_slot(&code, from, to, &mut outcome.registers);
            outcome.mend_x87(from, to);
            self.assert_same(trial, &expected, &outcome);
            if steps_once(trial) {
                let mut outcome = self.run(&registers, &trial.state, Go::Step);
                X86_64::leave_slot(&code, from, to, &mut outcome.registers);
                outcome.mend_x87(from, to);
                if trial.instruction.mnemonic() == Mnemonic::Syscall {
                    outcome.registers.r11 = expected.registers.r11; // it has the flag of the step
                }
                outcome.registers.orig_rax = expected.registers.orig_rax;
                self.assert_same(trial, &expected, &outcome);
            }
        }
        self.cpu.write(end, &[0xcc]);
        if expected.signal == libc::SIGTRAP { How::Copied } else { How::CopiedAndFaults }
    }

    fn compare_emulated(&mut self, trial: &Trial, emulated: &Emulated) -> How {
        self.cpu.write(trial.from, &trial.code);
        // Some flags cannot be set from outside: they are as `popf` has left them.
        self.cpu.set_registers(&trial.registers);
        let before = self.cpu.registers();
        let mut expected = self.run(&before, &trial.state, Go::Step);
        self.cpu.write(trial.from, &vec![0xcc; trial.code.len()]);
        // After a step of `popf`, Linux takes its own flag for the program's in the next one.
        expected.registers.rflags &= !RFlags::TF.bits();

        let mut registers = before;
        let mut memory = Data(self.data.clone());
        let done = X86_64::emulate(emulated, &mut registers, &mut memory);
        let outcome = Outcome {
            signal: libc::SIGTRAP,
            registers,
            state: std::mem::take(&mut expected.state),
            data: (memory.0 != self.data).then_some(memory.0),
        };
        if done {
            expected.state.clone_from(&outcome.state);
            self.assert_same(trial, &expected, &outcome);
            return How::Emulated;
        }
        assert_eq!((outcome.registers, outcome.data), (before, None));
        let has_to = expected.signal != libc::SIGTRAP
            || expected.registers.rip >= USER_END
            || matches!(trial.instruction.mnemonic(), Mnemonic::Popfq | Mnemonic::Popfd);
        assert!(has_to, "{} could have been emulated:\n{before:?}", trial.instruction);
        How::LeftToTheCpu
    }

    /// Runs the child until it stops, and has the data as it was.
    fn run(&mut self, registers: &Registers, state: &[u8], how: Go) -> Outcome {
        self.cpu.set_state(state);
        self.cpu.set_registers(registers);
        let signal = self.cpu.go(how);
        let mut state = self.cpu.state();
        state[512..576].fill(0); // which parts are in use
        let data = self.cpu.memory(DATA, DATA_LEN as usize);
        let data = (data != self.data).then(|| data.to_vec());
        if data.is_some() {
            self.cpu.write(DATA, &self.data);
        }
        Outcome { signal, registers: self.cpu.registers(), state, data }
    }

    fn assert_same(&self, trial: &Trial, expected: &Outcome, outcome: &Outcome) {
        if expected == outcome {
            return;
        }
        let differences = |a: &[u8], b: &[u8]| -> Vec<_> {
            let pairs = a.iter().zip(b).enumerate();
            pairs.filter(|(_, (a, b))| a != b).map(|(i, (a, b))| (i, *a, *b)).collect()
        };
        let data = |outcome: &Outcome| outcome.data.clone().unwrap_or_else(|| self.data.clone());
        panic!(
            "{} ({:x?}), with\n{:?}\nin place: signal {},\n{:?}\nhere: signal {},\n{:?}\n\
             state {:x?}\ndata {:x?}",
            trial.instruction,
            trial.code,
            trial.registers,
            expected.signal,
            expected.registers,
            outcome.signal,
            outcome.registers,
            differences(&expected.state, &outcome.state),
            differences(&data(expected), &data(outcome)),
        );
    }
}

/// At the breakpoint behind the instruction.
fn arrive(outcome: &mut Outcome, end: u64) {
    let advance = X86_64::BREAKPOINT_ADVANCE;
    if outcome.signal == libc::SIGTRAP && outcome.registers.rip == end + advance {
        outcome.registers.rip = end;
    }
}

/// Whether a step executes the whole of it, and does not show in what it does.
fn steps_once(trial: &Trial) -> bool {
    let instruction = &trial.instruction;
    let repeats = instruction.has_rep_prefix() || instruction.has_repne_prefix();
    let pushes_flags =
        matches!(instruction.mnemonic(), Mnemonic::Pushf | Mnemonic::Pushfd | Mnemonic::Pushfq);
    !(pushes_flags || repeats && instruction.is_string_instruction())
}

impl Outcome {
    /// The x87 unit remembers where its last instruction was.
    fn mend_x87(&mut self, from: u64, to: u64) {
        let place = &mut self.state[8..16];
        if *place == to.to_le_bytes() {
            place.copy_from_slice(&from.to_le_bytes());
        }
    }
}

/// The child's data, as an emulated instruction has it.
struct Data(Vec<u8>);

impl Data {
    fn at(&mut self, addr: u64, len: usize) -> Option<&mut [u8]> {
        let offset = usize::try_from(addr.checked_sub(DATA)?).ok()?;
        self.0.get_mut(offset..)?.get_mut(..len)
    }
}

impl EmulatedMemory for Data {
    fn read(&mut self, addr: u64, buf: &mut [u8]) -> bool {
        self.at(addr, buf.len()).map(|from| buf.copy_from_slice(from)).is_some()
    }

    fn write(&mut self, addr: u64, data: &[u8]) -> bool {
        self.at(addr, data.len()).map(|to| to.copy_from_slice(data)).is_some()
    }
}
