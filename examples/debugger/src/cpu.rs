//! The one choice of the CPU: what DWARF calls its registers, how to unwind from them, and what its
//! instructions are called.

use framehop::UnwindRegsNative;
use trapline::{Reader, Registers};

use crate::Outcome;

cfg_if::cfg_if! {
    if #[cfg(target_arch = "x86_64")] {
        /// The registers in DWARF's order (System V ABI for AMD64, 3.6.2).
        const NAMES: [&str; 17] = [
            "rax", "rdx", "rcx", "rbx", "rsi", "rdi", "rbp", "rsp", "r8", "r9", "r10", "r11", "r12",
            "r13", "r14", "r15", "rip",
        ];

        pub(crate) fn unwind_registers(registers: &Registers) -> UnwindRegsNative {
            UnwindRegsNative::new(registers.rip, registers.rsp, registers.rbp)
        }

        /// A register of a frame, by its number in DWARF, as far as an unwinder knows it.
        pub(crate) fn kept(registers: &UnwindRegsNative, number: u16) -> Option<u64> {
            match number {
                6 => Some(registers.bp()),
                7 => Some(registers.sp()),
                16 => Some(registers.ip()),
                _ => None,
            }
        }

        /// Instructions, each with its address.
        fn instructions(code: &[u8], at: u64) -> Vec<(u64, String)> {
            use iced_x86::{Decoder, DecoderOptions, Formatter, GasFormatter};
            let mut formatter = GasFormatter::new();
            let decoder = Decoder::with_ip(64, code, at, DecoderOptions::NONE);
            let lines = decoder.into_iter().take_while(|instruction| !instruction.is_invalid());
            let line = |instruction: iced_x86::Instruction| {
                let mut text = String::new();
                formatter.format(&instruction, &mut text);
                (instruction.ip(), text)
            };
            lines.map(line).collect()
        }
    } else {
        /// The registers in DWARF's order (DWARF for the Arm 64-bit Architecture).
        const NAMES: [&str; 32] = [
            "x0", "x1", "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13",
            "x14", "x15", "x16", "x17", "x18", "x19", "x20", "x21", "x22", "x23", "x24", "x25",
            "x26", "x27", "x28", "x29", "x30", "sp",
        ];

        pub(crate) fn unwind_registers(registers: &Registers) -> UnwindRegsNative {
            UnwindRegsNative::new(registers.x[30], registers.sp, registers.x[29])
        }

        /// A register of a frame, by its number in DWARF, as far as an unwinder knows it.
        pub(crate) fn kept(registers: &UnwindRegsNative, number: u16) -> Option<u64> {
            match number {
                29 => Some(registers.fp()),
                30 => Some(registers.lr()),
                31 => Some(registers.sp()),
                _ => None,
            }
        }

        /// Instructions, each with its address: the bare words.
        fn instructions(code: &[u8], at: u64) -> Vec<(u64, String)> {
            let word = |(n, word): (usize, &[u8])| {
                let word = word.iter().rev().map(|byte| format!("{byte:02x}")).collect::<String>();
                (at + 4 * n as u64, format!(".inst 0x{word}"))
            };
            code.chunks_exact(4).enumerate().map(word).collect()
        }
    }
}

/// A register of a stopped thread, by its number in DWARF.
pub(crate) fn register(registers: &Registers, number: u16) -> Option<u64> {
    registers.get(NAMES.get(usize::from(number))?)
}

/// The instructions at an address, each with its own.
pub(crate) fn disassemble(thread: Reader<'_>, at: u64) -> Outcome<Vec<(u64, String)>> {
    let mut code = [0; 64];
    let read = thread.read_memory(at, &mut code)?;
    Ok(instructions(&code[..read], at))
}
