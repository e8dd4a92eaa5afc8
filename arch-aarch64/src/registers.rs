//! The general registers.

use std::fmt;

use crate::Pstate;

/// The general registers of a thread, the same type on every system: X0 to X30, the stack pointer,
/// the program counter and the processor state.
///
/// **Available:** aarch64.
///
/// ```
/// use trapline_arch_aarch64::Registers;
/// let mut registers = Registers::default();
/// assert!(registers.set("pc", 0x401000));
/// assert_eq!(registers.pc(), 0x401000);
/// assert_eq!(registers.get("v0"), None);
/// for (name, value) in registers.iter() {
///     println!("{name:8} {value:#018x}");
/// }
/// ```
///
/// # Platform notes
///
/// The set is that of Linux's `struct user_pt_regs`, with its order. The thread pointer
/// (`TPIDR_EL0`) is in the [`ExtendedState`](crate::ExtendedState).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Registers {
    /// X0 to X30. X0 to X7 have the arguments of a function or a system call and X0 its result, X8
    /// the number of a Linux system call; X29 is the frame pointer and X30 the link register.
    pub x: [u64; 31],
    /// The stack pointer.
    pub sp: u64,
    /// The program counter.
    pub pc: u64,
    /// The processor state; [`Registers::flags`] takes it apart.
    ///
    /// # Platform notes
    ///
    /// [`Pstate::SS`], with which a kernel does a single step, is never set in it.
    pub pstate: u64,
}

const SP: usize = 31;
const PC: usize = 32;
const PSTATE: usize = 33;

impl Registers {
    /// The names of all registers, in the order of the fields.
    pub const NAMES: &'static [&'static str] = &[
        "x0", "x1", "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13",
        "x14", "x15", "x16", "x17", "x18", "x19", "x20", "x21", "x22", "x23", "x24", "x25", "x26",
        "x27", "x28", "x29", "x30", "sp", "pc", "pstate",
    ];

    fn at(&self, index: usize) -> Option<u64> {
        match index {
            SP => Some(self.sp),
            PC => Some(self.pc),
            PSTATE => Some(self.pstate),
            _ => self.x.get(index).copied(),
        }
    }

    fn index_of(name: &str) -> Option<usize> {
        Self::NAMES.iter().position(|known| *known == name)
    }

    /// The register of this name; `None` if there is none.
    ///
    /// ```
    /// use trapline_arch_aarch64::Registers;
    ///
    /// let mut registers = Registers::default();
    /// registers.set_pc(0x40_1000);
    /// assert_eq!(registers.get("pc"), Some(0x40_1000));
    /// assert_eq!(registers.get("no register"), None);
    /// ```
    pub fn get(&self, name: &str) -> Option<u64> {
        Self::index_of(name).and_then(|index| self.at(index))
    }

    /// Sets the register of this name, and says whether there is one.
    ///
    /// ```
    /// use trapline_arch_aarch64::Registers;
    ///
    /// let mut registers = Registers::default();
    /// assert!(registers.set("sp", 0x7fff_0000));
    /// assert!(!registers.set("no register", 0));
    /// ```
    #[must_use = "false says that there is no such register"]
    pub fn set(&mut self, name: &str, value: u64) -> bool {
        let Some(index) = Self::index_of(name) else { return false };
        let register = match index {
            SP => &mut self.sp,
            PC => &mut self.pc,
            PSTATE => &mut self.pstate,
            _ => match self.x.get_mut(index) {
                Some(register) => register,
                None => return false,
            },
        };
        *register = value;
        true
    }

    /// Names and values, in the order of the fields.
    ///
    /// ```
    /// use trapline_arch_aarch64::Registers;
    ///
    /// for (name, value) in Registers::default().iter() {
    ///     println!("{name:8} {value:#018x}");
    /// }
    /// ```
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
        let registers = *self;
        let value = move |index| registers.at(index).unwrap_or(0);
        Self::NAMES.iter().enumerate().map(move |(index, name)| (*name, value(index)))
    }

    /// The program counter. Every CPU's registers have this and what follows here.
    ///
    /// ```
    /// use trapline_arch_aarch64::Registers;
    ///
    /// let registers = Registers { pc: 0x40_1000, ..Registers::default() };
    /// assert_eq!(registers.pc(), 0x40_1000);
    /// ```
    pub fn pc(&self) -> u64 {
        self.pc
    }

    /// Moves the program counter, as [`Arch::set_pc`](trapline_core::Arch::set_pc) does.
    ///
    /// ```
    /// use trapline_arch_aarch64::Registers;
    ///
    /// let mut registers = Registers::default();
    /// registers.set_pc(0x40_1000);
    /// assert_eq!(registers.pc(), 0x40_1000);
    /// ```
    pub fn set_pc(&mut self, pc: u64) {
        <crate::AArch64 as trapline_core::Arch>::set_pc(self, pc);
    }

    /// The stack pointer.
    ///
    /// ```
    /// use trapline_arch_aarch64::Registers;
    ///
    /// let registers = Registers { sp: 0x7fff_0000, ..Registers::default() };
    /// assert_eq!(registers.sp(), 0x7fff_0000);
    /// ```
    pub fn sp(&self) -> u64 {
        self.sp
    }

    /// An integer argument at the entry of a function, the first being 0: X0 to X7 (AAPCS64, 6.8.2).
    /// `None` for those that are not in registers.
    ///
    /// ```
    /// use trapline_arch_aarch64::Registers;
    ///
    /// let mut registers = Registers::default();
    /// assert!(registers.set_argument(1, 5));
    /// assert_eq!(registers.argument(1), Some(5));
    /// assert_eq!(registers.argument(20), None);
    /// ```
    pub fn argument(&self, n: usize) -> Option<u64> {
        self.x.get(n).copied().filter(|_| n < 8)
    }

    /// Sets one of those, and says whether there is one of this number.
    ///
    /// ```
    /// use trapline_arch_aarch64::Registers;
    ///
    /// let mut registers = Registers::default();
    /// assert!(registers.set_argument(0, 5));
    /// assert!(!registers.set_argument(20, 5));
    /// ```
    #[must_use = "false says that there is no such register"]
    pub fn set_argument(&mut self, n: usize, value: u64) -> bool {
        let Some(register) = self.x.iter_mut().take(8).nth(n) else { return false };
        *register = value;
        true
    }

    /// Where a function returns to that the thread has just entered, so that nothing of it has run: its
    /// caller. `read` reads a word of the program's memory.
    ///
    /// ```
    /// use trapline_arch_aarch64::Registers;
    ///
    /// let mut registers = Registers::default();
    /// registers.x[30] = 0x40_1234;
    /// assert_eq!(registers.return_address(|_| Err("nothing is there")), Ok(0x40_1234));
    /// ```
    ///
    /// # Errors
    ///
    /// What `read` returns.
    ///
    /// # Platform notes
    ///
    /// On x86-64 it is on top of the stack; on aarch64 it is in X30, and nothing is read.
    pub fn return_address<E>(&self, _read: impl FnOnce(u64) -> Result<u64, E>) -> Result<u64, E> {
        let [.., link] = self.x;
        Ok(link)
    }

    /// The integer result of a function at its return, or of a system call at its exit: X0.
    ///
    /// ```
    /// use trapline_arch_aarch64::Registers;
    ///
    /// let mut registers = Registers::default();
    /// registers.set_result(3);
    /// assert_eq!(registers.result(), 3);
    /// ```
    ///
    /// # Platform notes
    ///
    /// A system call that failed returns `-errno` (-4095 to -1) on Linux; on FreeBSD it returns
    /// `errno` and sets [`Pstate::C`].
    pub fn result(&self) -> u64 {
        let [result, ..] = self.x;
        result
    }

    /// Sets the result: what a function that is about to return gives, or a system call at its exit.
    ///
    /// ```
    /// use trapline_arch_aarch64::Registers;
    ///
    /// /// Has a function return 0 where it is just returning.
    /// fn succeed(registers: &mut Registers) {
    ///     registers.set_result(0);
    /// }
    /// ```
    pub fn set_result(&mut self, value: u64) {
        let [result, ..] = &mut self.x;
        *result = value;
    }

    /// The processor state, by name.
    ///
    /// ```
    /// use trapline_arch_aarch64::{Pstate, Registers};
    ///
    /// let registers = Registers { pstate: 1 << 30, ..Registers::default() };
    /// assert!(registers.flags().contains(Pstate::Z));
    /// ```
    pub fn flags(&self) -> Pstate {
        Pstate::from_bits_retain(self.pstate)
    }
}

impl fmt::Debug for Registers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Registers");
        for (name, value) in self.iter() {
            out.field(name, &format_args!("{value:#x}"));
        }
        out.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered() -> Registers {
        let mut registers = Registers::default();
        for (value, name) in (1..).zip(Registers::NAMES) {
            assert!(registers.set(name, value));
        }
        registers
    }

    #[test]
    fn each_name_is_its_own_register() {
        let registers = numbered();
        assert_eq!((registers.x[0], registers.x[30]), (1, 31));
        assert_eq!((registers.sp, registers.pc, registers.pstate), (32, 33, 34));
        assert!(registers.iter().map(|(_, value)| value).eq(1..=34));
        for (name, value) in registers.iter() {
            assert_eq!(registers.get(name), Some(value));
        }
    }

    #[test]
    fn a_name_that_is_none_changes_nothing() {
        let mut registers = numbered();
        for name in ["", "X0", "w0", "x31", "pc "] {
            assert_eq!(registers.get(name), None);
            assert!(!registers.set(name, 0));
        }
        assert_eq!(registers, numbered());
    }

    #[test]
    fn arguments_are_where_the_abi_has_them() {
        let registers = numbered();
        assert_eq!(registers.argument(0), Some(1));
        assert_eq!(registers.argument(7), Some(8));
        assert_eq!(registers.argument(8), None);
        assert_eq!(registers.return_address(Err), Ok(31), "nothing is read");
        assert_eq!((registers.result(), registers.sp(), registers.pc()), (1, 32, 33));
    }

    #[test]
    fn arguments_and_the_result_can_be_set() {
        let mut registers = numbered();
        assert!(registers.set_argument(7, 70) && !registers.set_argument(8, 80));
        registers.set_result(90);
        assert_eq!((registers.x[0], registers.x[7], registers.x[8]), (90, 70, 9));
    }
}
