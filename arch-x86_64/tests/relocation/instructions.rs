//! What instructions there are, and whether the code for their slots is right as it stands.

use std::collections::{BTreeMap, HashMap};

use iced_x86::{Decoder, DecoderOptions, Instruction, Mnemonic, OpKind};
use trapline_arch_x86_64::X86_64;
use trapline_core::{Arch, CodeMode, Relocation};

use crate::modules::Module;

/// Where modules of 64 bits are loaded.
const LOADED: u64 = 0x5555_5555_0000;

/// Instructions, each once.
#[derive(Default)]
pub(crate) struct Instructions {
    /// How many were looked at.
    pub(crate) places: usize,
    /// What must be executed in place, and how many times it was met.
    pub(crate) refusals: BTreeMap<String, usize>,
    /// Those that differ in more than how far something is away.
    pub(crate) unique: BTreeMap<Vec<u8>, iced_x86::Code>,
}

impl Instructions {
    pub(crate) fn refused(&self) -> usize {
        self.refusals.values().sum()
    }

    pub(crate) fn add(&mut self, module: &Module, addr: u64) {
        let Some(code) = module.code_at(addr) else { return };
        let mode = module.mode;
        let loaded = if mode == CodeMode::Bits64 { LOADED } else { 0 };
        let from = addr + loaded;
        self.places += 1;
        let instruction = decode(code, from, mode);
        match X86_64::relocate(code, from, mode) {
            Relocation::Refused => {
                *self.refusals.entry(format!("{:?}", instruction.mnemonic())).or_default() += 1;
                return;
            }
            Relocation::Copy { length } => {
                assert_eq!(usize::from(length), instruction.len());
                check_slot(
                    code,
                    &instruction,
                    (module.end + loaded).next_multiple_of(0x1000),
                    mode,
                );
            }
            Relocation::Emulate(_) => {}
        }
        self.unique.insert(without_distances(code, &instruction, mode), instruction.code());
    }

    /// So many of them at most, with as many kinds as there can be.
    pub(crate) fn sample(&self, most: usize) -> Vec<&[u8]> {
        let mut kinds: HashMap<iced_x86::Code, Vec<&[u8]>> = HashMap::new();
        for (bytes, code) in &self.unique {
            kinds.entry(*code).or_default().push(bytes);
        }
        let mut share = most;
        // The largest share of each kind with which it is not too many.
        while share > 1 && kinds.values().map(|all| all.len().min(share)).sum::<usize>() > most {
            share = share * 7 / 8;
        }
        let of_each = kinds.into_values().flat_map(|all| {
            let step = all.len().div_ceil(share.min(all.len()));
            all.into_iter().step_by(step)
        });
        let mut sample: Vec<_> = of_each.collect();
        sample.sort_unstable();
        sample
    }
}

pub(crate) fn decode(code: &[u8], addr: u64, mode: CodeMode) -> Instruction {
    decoder(code, addr, mode).decode()
}

fn decoder(code: &[u8], addr: u64, mode: CodeMode) -> Decoder<'_> {
    let bits = if mode == CodeMode::Bits64 { 64 } else { 32 };
    let code = &code[..code.len().min(X86_64::LONGEST_INSTRUCTION)];
    Decoder::with_ip(bits, code, addr, DecoderOptions::NONE)
}

/// Where an instruction says how far away something is: an operand in memory, or a branch's target.
pub(crate) fn distance(code: &[u8], addr: u64, mode: CodeMode) -> Option<std::ops::Range<usize>> {
    let mut decoder = decoder(code, addr, mode);
    let instruction = decoder.decode();
    let offsets = decoder.get_constant_offsets(&instruction);
    if instruction.is_ip_rel_memory_operand() {
        let start = offsets.displacement_offset();
        return Some(start..start + offsets.displacement_size());
    }
    let start = offsets.immediate_offset();
    matches!(instruction.op0_kind(), OpKind::NearBranch32 | OpKind::NearBranch64)
        .then_some(start..start + offsets.immediate_size())
}

fn without_distances(code: &[u8], instruction: &Instruction, mode: CodeMode) -> Vec<u8> {
    let mut bytes = code[..instruction.len()].to_vec();
    if let Some(range) = distance(&bytes, instruction.ip(), mode) {
        bytes[range].fill(0);
    }
    bytes
}

/// The code for a slot behind its module: the instruction, the same operand, and the way back.
fn check_slot(code: &[u8], original: &Instruction, to: u64, mode: CodeMode) {
    let from = original.ip();
    let slot = X86_64::place(code, from, to, mode)
        .unwrap_or_else(|| panic!("{original} at {from:x} has no slot at {to:x}"));
    let mut decoder = decoder(slot.bytes(), to, mode);
    let copy = decoder.decode();
    assert_eq!(copy.len(), original.len());
    assert_eq!(copy.ip_rel_memory_address(), original.ip_rel_memory_address(), "{original}");
    // All but the displacement is the same.
    let (here, there) = (&code[..original.len()], &slot.bytes()[..original.len()]);
    let differs = |range: std::ops::Range<usize>| here[range.clone()] != there[range];
    match distance(here, from, mode) {
        Some(range) => {
            assert!(!differs(0..range.start) && !differs(range.end..here.len()), "{original}");
        }
        None => assert!(!differs(0..here.len()), "{original}"),
    }
    let mut rest = self::decoder(&slot.bytes()[original.len()..], copy.next_ip(), mode);
    let mut back = rest.decode();
    if original.mnemonic() == Mnemonic::Syscall {
        assert_eq!(back.immediate64(), original.next_ip());
        back = rest.decode();
    }
    assert!(back.code().is_jmp_short_or_near(), "{original}");
    assert_eq!(back.near_branch_target(), original.next_ip(), "{original}");
}
