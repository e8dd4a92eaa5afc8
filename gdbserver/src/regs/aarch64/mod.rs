//! aarch64: the general registers, and those for vectors.

pub(super) mod types;

use std::sync::OnceLock;

use trapline::aarch64::{FpRegisters, Registers};
use trapline::{Result, Stopped, Tracer};

use super::{List, Register};

/// Which registers a client is shown: there is one way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Layout;

/// Where the value of a register is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// A general one, by trapline's name.
    General(&'static str),
    V(usize),
    Fpsr,
    Fpcr,
}

impl Layout {
    /// The layout of a program.
    pub(crate) fn of(_: &[(u64, u64)], _: Option<&Vectors>) -> Layout {
        Layout
    }

    /// The CPU has what it had.
    pub(crate) fn take_cpu_from(&mut self, _: Layout) {}

    /// How long an address is.
    pub(crate) fn word(self) -> usize {
        8
    }

    /// All registers, by the client's numbers.
    pub(crate) fn registers(self) -> &'static [Register] {
        static LIST: OnceLock<Vec<Register>> = OnceLock::new();
        LIST.get_or_init(|| {
            let mut list = List::default();
            list.feature("org.gnu.gdb.aarch64.core");
            for name in Registers::NAMES {
                match *name {
                    "sp" => list.add(name, 8, "data_ptr", Source::General(name)),
                    "pc" => list.add(name, 8, "code_ptr", Source::General(name)),
                    "pstate" => list.add("cpsr", 4, "cpsr_flags", Source::General(name)),
                    _ => list.add(name, 8, "int", Source::General(name)),
                }
            }
            list.feature("org.gnu.gdb.aarch64.fpu");
            (0..32).for_each(|i| list.add(&format!("v{i}"), 16, "aarch64v", Source::V(i)));
            list.add("fpsr", 4, "int", Source::Fpsr);
            list.add("fpcr", 4, "int", Source::Fpcr);
            list.registers
        })
    }

    /// The frame pointer, the stack pointer and the program counter.
    pub(crate) fn first_asked(self) -> [usize; 3] {
        [29, 31, 32]
    }

    pub(super) fn complete(self, _: &mut Registers, _: Option<&Registers>) {}

    /// lldb's names for what registers are for.
    pub(crate) fn generic(name: &str) -> Option<&'static str> {
        const ARGUMENTS: [&str; 8] =
            ["arg1", "arg2", "arg3", "arg4", "arg5", "arg6", "arg7", "arg8"];
        match name {
            "pc" => Some("pc"),
            "sp" => Some("sp"),
            "x29" => Some("fp"),
            "x30" => Some("ra"),
            "cpsr" => Some("flags"),
            _ => {
                let number: usize = name.strip_prefix('x')?.parse().ok()?;
                ARGUMENTS.get(number).copied()
            }
        }
    }

    /// The numbers of registers in DWARF.
    pub(crate) fn dwarf(self, name: &str) -> Option<usize> {
        self.registers().iter().position(|known| known.name == name).filter(|&number| number < 33)
    }
}

/// The vector registers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Vectors(Box<FpRegisters>);

impl Vectors {
    pub(crate) fn read(tracer: &mut Tracer, stop: &Stopped) -> Result<Vectors> {
        Ok(Vectors(Box::new(tracer.fp_registers(stop)?)))
    }

    pub(super) fn write(&self, tracer: &mut Tracer, stop: &Stopped) -> Result<()> {
        tracer.set_fp_registers(stop, &self.0)
    }
}

impl Source {
    pub(super) fn is_general(self) -> bool {
        matches!(self, Source::General(_))
    }

    /// The value, least byte first; `None` if it is not known.
    pub(crate) fn get(self, general: &Registers, vectors: Option<&Vectors>) -> Option<Vec<u8>> {
        Some(match self {
            Source::General(name) => general.get(name)?.to_le_bytes().to_vec(),
            Source::V(index) => vectors?.0.v.get(index)?.to_le_bytes().to_vec(),
            Source::Fpsr => vectors?.0.fpsr.to_le_bytes().to_vec(),
            Source::Fpcr => vectors?.0.fpcr.to_le_bytes().to_vec(),
        })
    }

    /// Sets it, as far as there is such a register.
    pub(super) fn set(
        self,
        general: &mut Registers,
        vectors: Option<&mut Vectors>,
        value: &[u8],
        _: Layout,
    ) {
        let number =
            value.iter().take(8).rev().fold(0, |number, &byte| number << 8 | u64::from(byte));
        match (self, vectors) {
            (Source::General(name), _) => drop(general.set(name, number)),
            (Source::V(index), Some(vectors)) => {
                if let (Some(v), Ok(value)) = (vectors.0.v.get_mut(index), value.try_into()) {
                    *v = u128::from_le_bytes(value);
                }
            }
            (Source::Fpsr, Some(vectors)) => vectors.0.fpsr = number as u32,
            (Source::Fpcr, Some(vectors)) => vectors.0.fpcr = number as u32,
            (_, None) => {}
        }
    }
}
