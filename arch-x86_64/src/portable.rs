//! The names that the registers of every CPU have, for code that needs no others.

use trapline_core::Arch;

use crate::{Registers, X86_64};

impl Registers {
    /// The program counter. Every CPU's registers have this and what follows here.
    ///
    /// ```
    /// use trapline_arch_x86_64::Registers;
    ///
    /// let registers = Registers { rip: 0x40_1000, ..Registers::default() };
    /// assert_eq!(registers.pc(), 0x40_1000);
    /// ```
    pub fn pc(&self) -> u64 {
        self.rip
    }

    /// Moves the program counter, as [`Arch::set_pc`] does.
    ///
    /// ```
    /// use trapline_arch_x86_64::Registers;
    ///
    /// let mut registers = Registers::default();
    /// registers.set_pc(0x40_1000);
    /// assert_eq!(registers.pc(), 0x40_1000);
    /// ```
    pub fn set_pc(&mut self, pc: u64) {
        X86_64::set_pc(self, pc);
    }

    /// The stack pointer.
    ///
    /// ```
    /// use trapline_arch_x86_64::Registers;
    ///
    /// let registers = Registers { rsp: 0x7fff_0000, ..Registers::default() };
    /// assert_eq!(registers.sp(), 0x7fff_0000);
    /// ```
    pub fn sp(&self) -> u64 {
        self.rsp
    }

    /// An integer argument at the entry of a function, the first being 0: those of
    /// [`function_args`](Registers::function_args). `None` for those that are not in registers.
    ///
    /// ```
    /// use trapline_arch_x86_64::Registers;
    ///
    /// let mut registers = Registers::default();
    /// assert!(registers.set_argument(1, 5));
    /// assert_eq!(registers.argument(1), Some(5));
    /// assert_eq!(registers.argument(20), None);
    /// ```
    pub fn argument(&self, n: usize) -> Option<u64> {
        self.function_args().get(n).copied()
    }

    /// Sets one of those, and says whether there is one of this number.
    ///
    /// ```
    /// use trapline_arch_x86_64::Registers;
    ///
    /// let mut registers = Registers::default();
    /// assert!(registers.set_argument(0, 5));
    /// assert!(!registers.set_argument(20, 5));
    /// ```
    #[must_use = "false says that there is no such register"]
    pub fn set_argument(&mut self, n: usize, value: u64) -> bool {
        let Registers { rdi, rsi, rdx, rcx, r8, r9, .. } = self;
        let Some(register) = [rdi, rsi, rdx, rcx, r8, r9].into_iter().nth(n) else { return false };
        *register = value;
        true
    }

    /// Where a function returns to that the thread has just entered, so that nothing of it has run: its
    /// caller. `read` reads a word of the program's memory.
    ///
    /// ```
    /// use trapline_arch_x86_64::Registers;
    ///
    /// let registers = Registers { rsp: 0x7000, ..Registers::default() };
    /// let memory = |addr| if addr == 0x7000 { Ok(0x40_1234) } else { Err("nothing is there") };
    /// assert_eq!(registers.return_address(memory), Ok(0x40_1234));
    /// ```
    ///
    /// # Errors
    ///
    /// What `read` returns.
    ///
    /// # Platform notes
    ///
    /// On x86-64 it is on top of the stack; on aarch64 it is in X30, and nothing is read.
    pub fn return_address<E>(&self, read: impl FnOnce(u64) -> Result<u64, E>) -> Result<u64, E> {
        read(self.rsp)
    }

    /// The integer result of a function at its return, or of a system call at its exit; see
    /// [`return_value`](Registers::return_value).
    ///
    /// ```
    /// use trapline_arch_x86_64::Registers;
    ///
    /// let mut registers = Registers::default();
    /// registers.set_result(3);
    /// assert_eq!(registers.result(), 3);
    /// ```
    pub fn result(&self) -> u64 {
        self.return_value()
    }

    /// Sets the result: what a function that is about to return gives, or a system call at its exit.
    ///
    /// ```
    /// use trapline_arch_x86_64::Registers;
    ///
    /// /// Has a function return 0 where it is just returning.
    /// fn succeed(registers: &mut Registers) {
    ///     registers.set_result(0);
    /// }
    /// ```
    pub fn set_result(&mut self, value: u64) {
        self.rax = value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_every_cpu() {
        let mut registers =
            Registers { rip: 1, rsp: 2, rdi: 3, r9: 4, rax: 5, ..Registers::default() };
        assert_eq!((registers.pc(), registers.sp(), registers.result()), (1, 2, 5));
        assert_eq!([0, 5, 6].map(|n| registers.argument(n)), [Some(3), Some(4), None]);
        registers.set_pc(7);
        registers.set_result(8);
        assert_eq!((registers.rip, registers.rax), (7, 8));
        for n in 0..6 {
            assert!(registers.set_argument(n, n as u64 + 10));
        }
        assert_eq!(registers.function_args(), [10, 11, 12, 13, 14, 15]);
        assert!(!registers.set_argument(6, 0));
        assert_eq!(registers.return_address(|addr| Ok::<_, ()>(addr + 100)), Ok(102));
        assert_eq!(registers.return_address(Err), Err(2));
    }
}
