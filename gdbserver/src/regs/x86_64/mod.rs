//! x86-64 with SSE, AVX where there is one, and what the system adds; and what of it 32-bit programs
//! have. The order is that of the description's features (gdb's manual, "i386 Features").

pub(super) mod types;
mod x87;

use std::sync::OnceLock;

use trapline::x86_64::{ExtendedState, FpRegisters, RFlags, Registers};
use trapline::{Error, Result, Stopped, Tracer};

use super::{List, Register};
use crate::system;

/// Which registers a client is shown: those of a 64-bit program or of a 32-bit one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) narrow: bool,
    pub(crate) avx: bool,
}

/// Where the value of a register is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// A general one, by trapline's name.
    General(&'static str),
    St(usize),
    X87(Control),
    Xmm(usize),
    Mxcsr,
    /// The upper half of a YMM register.
    YmmHigh(usize),
}

/// What controls the x87.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Control {
    Word,
    Status,
    Tags,
    InstructionSegment,
    Instruction,
    OperandSegment,
    Operand,
    Opcode,
}

const GENERAL: &[&str] = &[
    "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp", "r8", "r9", "r10", "r11", "r12", "r13",
    "r14", "r15",
];
const NARROW: &[(&str, &str)] = &[
    ("eax", "rax"),
    ("ecx", "rcx"),
    ("edx", "rdx"),
    ("ebx", "rbx"),
    ("esp", "rsp"),
    ("ebp", "rbp"),
    ("esi", "rsi"),
    ("edi", "rdi"),
];
const SEGMENTS: &[&str] = &["cs", "ss", "ds", "es", "fs", "gs"];
const CONTROL: &[(&str, Control)] = &[
    ("fctrl", Control::Word),
    ("fstat", Control::Status),
    ("ftag", Control::Tags),
    ("fiseg", Control::InstructionSegment),
    ("fioff", Control::Instruction),
    ("foseg", Control::OperandSegment),
    ("fooff", Control::Operand),
    ("fop", Control::Opcode),
];

impl Layout {
    /// The layout of a program: by the length of its auxiliary vector's entries for program headers,
    /// and by what the CPU has.
    pub(crate) fn of(auxv: &[(u64, u64)], vectors: Option<&Vectors>) -> Layout {
        const AT_PHENT: u64 = 4;
        const NARROW: u64 = 32;
        let avx = vectors.is_some_and(|vectors| vectors.ymm_high(0).is_some());
        Layout { narrow: auxv.contains(&(AT_PHENT, NARROW)), avx }
    }

    /// The CPU has what it had.
    pub(crate) fn take_cpu_from(&mut self, other: Layout) {
        self.avx = other.avx;
    }

    /// How long an address is.
    pub(crate) fn word(self) -> usize {
        if self.narrow { 4 } else { 8 }
    }

    /// All registers, by the client's numbers.
    pub(crate) fn registers(self) -> &'static [Register] {
        static LISTS: [OnceLock<Vec<Register>>; 4] = [const { OnceLock::new() }; 4];
        let [wide, wide_avx, narrow, narrow_avx] = &LISTS;
        let list = match (self.narrow, self.avx) {
            (false, false) => wide,
            (false, true) => wide_avx,
            (true, false) => narrow,
            (true, true) => narrow_avx,
        };
        list.get_or_init(|| self.list())
    }

    fn list(self) -> Vec<Register> {
        let mut list = List::default();
        list.feature("org.gnu.gdb.i386.core");
        let (word, counter) = if self.narrow { (4, "eip") } else { (8, "rip") };
        if self.narrow {
            for (name, source) in NARROW {
                let pointer = matches!(*name, "esp" | "ebp");
                let kind = if pointer { "data_ptr" } else { "int32" };
                list.add(name, 4, kind, Source::General(source));
            }
        } else {
            for name in GENERAL {
                let pointer = matches!(*name, "rsp" | "rbp");
                let kind = if pointer { "data_ptr" } else { "int64" };
                list.add(name, 8, kind, Source::General(name));
            }
        }
        list.add(counter, word, "code_ptr", Source::General("rip"));
        list.add("eflags", 4, "i386_eflags", Source::General("rflags"));
        SEGMENTS.iter().for_each(|name| list.add(name, 4, "int32", Source::General(name)));
        (0..8).for_each(|i| list.add(&format!("st{i}"), 10, "i387_ext", Source::St(i)));
        for &(name, control) in CONTROL {
            list.grouped(name, 4, "int", Source::X87(control), "float");
        }
        list.feature("org.gnu.gdb.i386.sse");
        let vectors = if self.narrow { 8 } else { 16 };
        (0..vectors).for_each(|i| list.add(&format!("xmm{i}"), 16, "vec128", Source::Xmm(i)));
        list.grouped("mxcsr", 4, "i386_mxcsr", Source::Mxcsr, "vector");
        // gdb numbers registers in the order in which they come.
        let linux = |list: &mut List| {
            list.feature("org.gnu.gdb.i386.linux");
            let name = if self.narrow { "orig_eax" } else { "orig_rax" };
            list.grouped(name, word, "int", Source::General("orig_rax"), "system");
        };
        if !self.narrow {
            list.feature("org.gnu.gdb.i386.segments");
            list.add("fs_base", 8, "int", Source::General("fs_base"));
            list.add("gs_base", 8, "int", Source::General("gs_base"));
        }
        if system::KEEPS_CALL_NUMBER {
            linux(&mut list);
        }
        if self.avx {
            list.feature("org.gnu.gdb.i386.avx");
            let ymm = |i| (format!("ymm{i}h"), Source::YmmHigh(i));
            (0..vectors).map(ymm).for_each(|(name, from)| list.add(&name, 16, "uint128", from));
        }
        list.registers
    }

    /// The frame pointer, the stack pointer and the program counter.
    pub(crate) fn first_asked(self) -> [usize; 3] {
        if self.narrow { [5, 4, 8] } else { [6, 7, 16] }
    }

    /// Makes registers that a client has changed what it means by them.
    pub(super) fn complete(self, general: &mut Registers, before: Option<&Registers>) {
        let Some(before) = before else { return };
        if general.rip != before.rip {
            // RF belongs to the instruction that the thread stood at.
            general.rflags &= !RFlags::RF.bits();
        }
        // The result of a system call is a signed number: by it the kernel knows that a call is to
        // be made again.
        if self.narrow && general.rax != before.rax && general.orig_rax as i64 >= 0 {
            general.rax = i64::from(general.rax as i32) as u64;
        }
    }

    /// lldb's names for what registers are for.
    pub(crate) fn generic(name: &str) -> Option<&'static str> {
        Some(match name {
            "rip" | "eip" => "pc",
            "rsp" | "esp" => "sp",
            "rbp" | "ebp" => "fp",
            "eflags" => "flags",
            "rdi" => "arg1",
            "rsi" => "arg2",
            "rdx" => "arg3",
            "rcx" => "arg4",
            "r8" => "arg5",
            "r9" => "arg6",
            _ => return None,
        })
    }

    /// The numbers of registers in DWARF (System V ABI for AMD64, figure 3.36).
    pub(crate) fn dwarf(self, name: &str) -> Option<usize> {
        const WIDE: &[&str] = &[
            "rax", "rdx", "rcx", "rbx", "rsi", "rdi", "rbp", "rsp", "r8", "r9", "r10", "r11",
            "r12", "r13", "r14", "r15", "rip",
        ];
        const NARROW: &[&str] =
            &["eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi", "eip", "eflags"];
        let names = if self.narrow { NARROW } else { WIDE };
        names.iter().position(|known| *known == name)
    }
}

/// The x87, SSE and AVX registers, as far as the CPU has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Vectors {
    Extended(ExtendedState),
    /// On a CPU without XSAVE.
    Fp(Box<FpRegisters>),
}

impl Vectors {
    pub(crate) fn read(tracer: &mut Tracer, stop: &Stopped) -> Result<Vectors> {
        match tracer.extended_state(stop) {
            Ok(state) => Ok(Vectors::Extended(state)),
            Err(Error::Unsupported { .. }) => Ok(Vectors::Fp(Box::new(tracer.fp_registers(stop)?))),
            Err(error) => Err(error),
        }
    }

    pub(super) fn write(&self, tracer: &mut Tracer, stop: &Stopped) -> Result<()> {
        match self {
            Vectors::Extended(state) => tracer.set_extended_state(stop, state),
            Vectors::Fp(fp) => tracer.set_fp_registers(stop, fp),
        }
    }

    fn fp(&self) -> FpRegisters {
        match self {
            Vectors::Extended(state) => state.fp_registers(),
            Vectors::Fp(fp) => FpRegisters::clone(fp),
        }
    }

    fn set_fp(&mut self, fp: FpRegisters) {
        match self {
            Vectors::Extended(state) => state.set_fp_registers(&fp),
            Vectors::Fp(old) => **old = fp,
        }
    }

    fn ymm_high(&self, index: usize) -> Option<[u8; 16]> {
        let Vectors::Extended(state) = self else { return None };
        state.ymm(index)?.last_chunk().copied()
    }
}

impl Source {
    pub(super) fn is_general(self) -> bool {
        matches!(self, Source::General(_))
    }

    /// The value, least byte first; `None` if it is not known.
    pub(crate) fn get(self, general: &Registers, vectors: Option<&Vectors>) -> Option<Vec<u8>> {
        if let Source::General(name) = self {
            return general.get(name).map(|value| value.to_le_bytes().to_vec());
        }
        let vectors = vectors?;
        if let Source::YmmHigh(index) = self {
            return vectors.ymm_high(index).map(|half| half.to_vec());
        }
        let fp = vectors.fp();
        Some(match self {
            Source::General(_) | Source::YmmHigh(_) => return None,
            Source::St(index) => fp.st.get(index)?.get(..10)?.to_vec(),
            Source::X87(control) => control.get(&fp).to_le_bytes().to_vec(),
            Source::Xmm(index) => fp.xmm.get(index)?.to_le_bytes().to_vec(),
            Source::Mxcsr => fp.mxcsr.to_le_bytes().to_vec(),
        })
    }

    /// Sets it, as far as there is such a register.
    pub(super) fn set(
        self,
        general: &mut Registers,
        vectors: Option<&mut Vectors>,
        value: &[u8],
        layout: Layout,
    ) {
        let number = |value: &[u8]| {
            value.iter().take(8).rev().fold(0, |number, &byte| number << 8 | u64::from(byte))
        };
        if let Source::General(name) = self {
            let mut number = number(value);
            if layout.narrow && name == "orig_rax" {
                number = i64::from(number as i32) as u64;
            }
            let _ = general.set(name, number); // they are all there
            return;
        }
        let Some(vectors) = vectors else { return };
        if let (Source::YmmHigh(index), Vectors::Extended(state)) = (self, &mut *vectors) {
            if let (Some(mut ymm), Ok(half)) = (state.ymm(index), <[u8; 16]>::try_from(value)) {
                ymm[16..].copy_from_slice(&half);
                let _ = state.set_ymm(index, &ymm); // there is one
            }
            return;
        }
        let mut fp = vectors.fp();
        match self {
            Source::General(_) | Source::YmmHigh(_) => return,
            Source::St(index) => {
                if let Some(st) = fp.st.get_mut(index) {
                    st.iter_mut().zip(value.iter().take(10)).for_each(|(to, from)| *to = *from);
                }
            }
            Source::X87(control) => control.set(&mut fp, number(value) as u32),
            Source::Xmm(index) => {
                if let (Some(xmm), Ok(value)) = (fp.xmm.get_mut(index), value.try_into()) {
                    *xmm = u128::from_le_bytes(value);
                }
            }
            Source::Mxcsr => fp.mxcsr = number(value) as u32,
        }
        vectors.set_fp(fp);
    }
}

impl Control {
    fn get(self, fp: &FpRegisters) -> u32 {
        match self {
            Control::Word => fp.fcw.into(),
            Control::Status => fp.fsw.into(),
            Control::Tags => x87::full(fp.ftw, fp.fsw, &fp.st).into(),
            Control::InstructionSegment => (fp.fip >> 32) as u16 as u32,
            Control::Instruction => fp.fip as u32,
            Control::OperandSegment => (fp.fdp >> 32) as u16 as u32,
            Control::Operand => fp.fdp as u32,
            Control::Opcode => (fp.fop & 0x7ff).into(),
        }
    }

    fn set(self, fp: &mut FpRegisters, value: u32) {
        let low = |whole: u64| whole & 0xffff_ffff;
        let high = |whole: u64| whole & !0xffff_ffff;
        match self {
            Control::Word => fp.fcw = value as u16,
            Control::Status => fp.fsw = value as u16,
            Control::Tags => fp.ftw = x87::abridged(value as u16),
            Control::InstructionSegment => fp.fip = u64::from(value) << 32 | low(fp.fip),
            Control::Instruction => fp.fip = high(fp.fip) | u64::from(value),
            Control::OperandSegment => fp.fdp = u64::from(value) << 32 | low(fp.fdp),
            Control::Operand => fp.fdp = high(fp.fdp) | u64::from(value),
            Control::Opcode => fp.fop = value as u16,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_that_of_gdb() {
        let wide = Layout { narrow: false, avx: true };
        let number = |layout: Layout, name: &str| {
            layout.registers().iter().position(|register| register.name == name)
        };
        for (name, at) in [("rip", 16), ("st0", 24), ("xmm0", 40), ("mxcsr", 56), ("fs_base", 57)] {
            assert_eq!(number(wide, name), Some(at), "{name}");
        }
        let narrow = Layout { narrow: true, avx: false };
        for (name, at) in [("eip", 8), ("st0", 16), ("xmm0", 32), ("mxcsr", 40)] {
            assert_eq!(number(narrow, name), Some(at), "{name}");
        }
        assert_eq!(wide.registers()[40].place, 0x114..0x124);
    }

    #[test]
    fn a_value_comes_back() {
        let layout = Layout { narrow: false, avx: false };
        let mut general = Registers::default();
        let image = [0; 512];
        let mut vectors = Vectors::Fp(Box::new(FpRegisters::from_fxsave(&image)));
        for register in layout.registers() {
            let value: Vec<u8> = (1..=register.len() as u8).collect();
            register.source.set(&mut general, Some(&mut vectors), &value, layout);
            let mut back = register.source.get(&general, Some(&vectors)).unwrap();
            back.truncate(register.len());
            let short = matches!(register.source, Source::X87(_));
            assert!(short || back == value, "{}", register.name);
        }
    }
}
