//! The filter: a program of the kernel's packet filter, which gets a `struct seccomp_data`
//! (`linux/seccomp.h`, `linux/filter.h`).

use trapline::os::linux::BpfInstruction;

use super::names::{ABIS, Names};

/// `BPF_LD | BPF_W | BPF_ABS`: reads a word of the structure.
const LOAD: u16 = 0x20;
/// `BPF_JMP | BPF_JEQ | BPF_K`: skips so many instructions if the word is this, and so many if not.
const IS: u16 = 0x15;
/// `BPF_JMP | BPF_JA`: skips as many as its operand says.
const SKIP: u16 = 0x05;
/// `BPF_RET | BPF_K`: the end, with its verdict.
const RETURN: u16 = 0x06;

/// Where the number of the call is in the structure, and the ABI.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;

const STOP: u32 = 0x7ff0_0000; // SECCOMP_RET_TRACE
const PASS: u32 = 0x7fff_0000; // SECCOMP_RET_ALLOW

fn instruction(code: u16, jt: u8, jf: u8, k: u32) -> BpfInstruction {
    BpfInstruction { code, jt, jf, k }
}

/// Stops at the calls of these names, by whichever ABI they are made, and lets all others through.
pub(crate) fn stop_at(names: Names, calls: &[String]) -> Vec<BpfInstruction> {
    let mut program = Vec::new();
    for abi in ABIS {
        let (Some(arch), numbers) = (names.audit_arch(abi), names.numbers(abi, calls)) else {
            continue;
        };
        let mut part = vec![instruction(LOAD, 0, 0, NUMBER)];
        for number in numbers {
            part.push(instruction(IS, 0, 1, number));
            part.push(instruction(RETURN, 0, 0, STOP));
        }
        part.push(instruction(RETURN, 0, 0, PASS));
        program.push(instruction(LOAD, 0, 0, ARCH));
        program.push(instruction(IS, 1, 0, arch));
        program.push(instruction(SKIP, 0, 0, part.len() as u32));
        program.append(&mut part);
    }
    program.push(instruction(RETURN, 0, 0, PASS));
    program
}
