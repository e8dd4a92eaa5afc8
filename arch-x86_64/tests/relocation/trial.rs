//! One instruction with registers and memory by chance that let it get somewhere.

use iced_x86::{Instruction, Mnemonic, OpKind, Register};
use trapline_arch_x86_64::{RFlags, Registers};
use trapline_core::CodeMode;

use crate::cpu::{DATA, DATA_LEN, PLACE, PLACE_LEN};
use crate::instructions::{decode, distance};
use crate::random::Random;

/// The selectors of 32-bit code and of its data, on each Linux.
const CODE_32: u64 = 0x23;
const DATA_32: u64 = 0x2b;

/// One instruction and what it starts with.
pub(crate) struct Trial {
    pub(crate) instruction: Instruction,
    pub(crate) code: Vec<u8>,
    pub(crate) mode: CodeMode,
    pub(crate) from: u64,
    pub(crate) registers: Registers,
    pub(crate) state: Vec<u8>,
}

/// Whether an instruction does the same each time, and harms nobody.
pub(crate) fn is_repeatable(instruction: &Instruction) -> bool {
    use Mnemonic::*;
    let info = instruction.mnemonic();
    !matches!(
        info,
        // Time, chance, the number of the CPU
        Rdtsc | Rdtscp | Rdrand | Rdseed | Rdpmc | Rdpid | Cpuid | Lsl | Sgdt | Sidt | Sldt | Str
            | Smsw
            // What is in use of the extended state depends on when the kernel has saved it.
            | Xsave | Xsave64 | Xsavec | Xsavec64 | Xsaveopt | Xsaveopt64 | Xsaves | Xsaves64
            | Xrstor | Xrstor64 | Xgetbv
            // Access to memory, waiting, devices
            | Wrpkru | Monitor | Monitorx | Mwait | Mwaitx | Umonitor | Umwait | Tpause | Enqcmd
            | Movdir64b
    )
}

impl Trial {
    /// One of the instruction that `bytes` begin with; `start` and `state` are what a child starts
    /// with.
    pub(crate) fn new(
        bytes: &[u8],
        mode: CodeMode,
        start: &Registers,
        state: Vec<u8>,
        random: &mut Random,
    ) -> Self {
        let from = PLACE + 16 + random.below(PLACE_LEN - 64);
        let mut code = bytes[..decode(bytes, from, mode).len()].to_vec();
        if let Some(range) = distance(&code, from, mode) {
            let instruction = decode(&code, from, mode);
            let mut new = random.next();
            if instruction.is_ip_rel_memory_operand() {
                new = data(random).wrapping_sub(instruction.next_ip());
            }
            let len = range.len();
            code[range].copy_from_slice(&new.to_le_bytes()[..len]);
        }
        let instruction = decode(&code, from, mode);
        let mut trial = Self { instruction, code, mode, from, registers: *start, state };
        trial.choose_registers(random);
        trial.choose_operand(random);
        trial.make_harmless(random);
        trial
    }

    fn choose_registers(&mut self, random: &mut Random) {
        for number in 0..16 {
            let value = any_value(random);
            self.set(Register::RAX + number, value);
        }
        if random.chance(90) {
            let top = data(random);
            self.set(Register::RSP, top);
        }
        let registers = &mut self.registers;
        registers.rip = self.from;
        registers.orig_rax = Registers::NO_SYSCALL;
        (registers.fs_base, registers.gs_base) = (data(random), data(random));
        let mut flags = RFlags::ONE | RFlags::IF;
        for flag in [RFlags::CF, RFlags::PF, RFlags::AF, RFlags::ZF, RFlags::SF, RFlags::OF] {
            flags.set(flag, random.chance(50));
        }
        flags.set(RFlags::DF, random.chance(25));
        flags.set(RFlags::RF, random.chance(25));
        flags.set(RFlags::AC, random.chance(3));
        registers.rflags = flags.bits();
        if self.mode == CodeMode::Bits32 {
            (registers.cs, registers.ds, registers.es) = (CODE_32, DATA_32, DATA_32);
            (registers.fs, registers.gs) = (0, 0);
        }
    }

    /// Mostly has a memory operand lie within the data.
    fn choose_operand(&mut self, random: &mut Random) {
        let instruction = self.instruction;
        let in_memory = instruction.op_kinds().any(|kind| kind == OpKind::Memory);
        if !in_memory || instruction.is_ip_rel_memory_operand() || random.chance(5) {
            return;
        }
        let (base, index) = (instruction.memory_base(), instruction.memory_index());
        let mut rest = data(random).wrapping_sub(instruction.memory_displacement64());
        if index.is_gpr() && index != base {
            let value = random.below(16);
            self.set(index.full_register(), value);
            rest = rest.wrapping_sub(value * u64::from(instruction.memory_index_scale()));
        }
        let segment = match instruction.memory_segment() {
            Register::FS => &mut self.registers.fs_base,
            Register::GS => &mut self.registers.gs_base,
            _ if base.is_gpr() => return self.set(base.full_register(), rest),
            _ => return,
        };
        if base.is_gpr() {
            rest = rest.wrapping_sub(*segment);
            self.set(base.full_register(), rest);
        } else {
            *segment = rest % (1 << 47);
        }
    }

    fn make_harmless(&mut self, random: &mut Random) {
        let instruction = self.instruction;
        if instruction.is_string_instruction() {
            (self.registers.rsi, self.registers.rdi) = (data(random), data(random));
            if random.chance(85) {
                self.registers.rcx = random.below(9);
            }
        }
        match instruction.mnemonic() {
            Mnemonic::Syscall => self.registers.rax = libc::SYS_getpid as u64,
            Mnemonic::Int => self.registers.rax = 20, // getpid, of 32 bits
            Mnemonic::Xlatb => self.registers.rbx = data(random),
            Mnemonic::Maskmovq | Mnemonic::Maskmovdqu | Mnemonic::Vmaskmovdqu => {
                self.registers.rdi = data(random);
            }
            Mnemonic::Leave if random.chance(90) => self.registers.rbp = data(random),
            _ => {}
        }
    }

    fn set(&mut self, register: Register, value: u64) {
        let value = if self.mode == CodeMode::Bits32 { value & 0xffff_ffff } else { value };
        let name = format!("{register:?}").to_lowercase();
        assert!(self.registers.set(&name, value), "{name}");
    }
}

/// An address within the data, mostly aligned.
fn data(random: &mut Random) -> u64 {
    let addr = DATA + 0x1000 + random.below(DATA_LEN - 0x2000);
    if random.chance(75) { addr & !63 } else { addr }
}

fn any_value(random: &mut Random) -> u64 {
    match random.below(10) {
        0..5 => data(random),
        5..8 => random.below(200),
        _ => random.next(),
    }
}

/// What is in the data: often something that can be an address.
pub(crate) fn any_data(random: &mut Random) -> Vec<u8> {
    let words = (0..DATA_LEN / 8).flat_map(|_| {
        let value = match random.below(10) {
            0..7 => random.next() >> 17,
            7..9 => random.below(0x1_0000),
            _ => random.next(),
        };
        value.to_le_bytes()
    });
    words.collect()
}

/// The extended state by chance: x87, SSE, and the parts that are named.
pub(crate) fn any_state(start: &[u8], parts: &[(usize, usize)], random: &mut Random) -> Vec<u8> {
    let mut state = start.to_vec();
    state[4] = random.next() as u8; // which x87 registers have a value
    for register in state[32..160].chunks_mut(16) {
        random.fill(&mut register[..10]);
    }
    // As indices of a gather or scatter, all must be small.
    let small = random.chance(30);
    for (start, len) in parts.iter().copied().chain([(160, 256)]) {
        let Some(part) = state.get_mut(start..start + len) else { continue };
        random.fill(part);
        if small {
            part.chunks_mut(8).for_each(|lane| lane[1..].fill(0));
        }
    }
    state[512] |= 0xe7; // what is in use
    state[512] &= state[464]; // what the system has enabled
    state
}
