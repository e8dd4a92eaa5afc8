//! How an instruction is executed away from its place: what [`Arch`](crate::Arch) says about it.

/// The mode in which the CPU executes an instruction. The same bytes mean another instruction in each.
///
/// ```
/// use trapline::{Backend, CodeMode, Result, Stopped, TracerOn};
///
/// /// How wide a pointer of the code is that a thread executes.
/// fn pointer_width<B: Backend>(tracer: &TracerOn<B>, stop: &Stopped) -> Result<usize> {
///     Ok(match tracer.code_mode(stop)? {
///         CodeMode::Bits64 => 8,
///         CodeMode::Bits32 => 4,
///         CodeMode::Bits16 => 2,
///     })
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum CodeMode {
    /// 64-bit code.
    #[default]
    Bits64,
    /// 32-bit code.
    Bits32,
    /// 16-bit code (x86 only).
    Bits16,
}

/// How an instruction can be executed away from its place.
///
/// `E` is [`Arch::Emulated`](crate::Arch::Emulated).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Relocation<E> {
    /// A copy of it runs in a slot: see [`Arch::place`](crate::Arch::place).
    Copy {
        /// How many bytes the original instruction has.
        length: u8,
    },
    /// It can be carried out on the registers and the memory, without a slot: see
    /// [`Arch::emulate`](crate::Arch::emulate).
    Emulate(E),
    /// It must be executed in place.
    Refused,
}

/// What is written into a slot: an instruction, adapted to its new address, and a jump back to
/// what follows the original.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SlotCode {
    bytes: [u8; SlotCode::MOST],
    len: u8,
    done: u8,
    length: u8,
}

impl SlotCode {
    /// How many bytes it can have.
    pub const MOST: usize = 48;

    /// The code for an instruction that has `length` bytes at its own place; it has been executed
    /// from the offset `done` on.
    ///
    /// `None` if there are more than [`MOST`](Self::MOST) bytes, or if `done` lies behind them.
    pub fn new(code: &[u8], done: u8, length: u8) -> Option<Self> {
        let mut bytes = [0; Self::MOST];
        bytes.get_mut(..code.len())?.copy_from_slice(code);
        let len = u8::try_from(code.len()).ok()?;
        (done <= len).then_some(Self { bytes, len, done, length })
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }

    /// The offset from which on the original instruction has been executed: a thread whose program
    /// counter is there or further only has to get back.
    pub fn done(&self) -> u8 {
        self.done
    }

    /// How many bytes the original instruction has.
    pub fn length(&self) -> u8 {
        self.length
    }
}

/// Memory as an emulated instruction sees it.
///
/// The accesses are the program's own: one that the program may not make has to fail, although a
/// tracer could. It is then executed in place, and faults as it should.
pub trait EmulatedMemory {
    /// Fills `buf` from `addr` on, and says whether that worked as a whole.
    fn read(&mut self, addr: u64, buf: &mut [u8]) -> bool;

    /// Writes `data` from `addr` on, and says whether that worked as a whole.
    fn write(&mut self, addr: u64, data: &[u8]) -> bool;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slot_code_is_what_was_put_in() {
        let code = SlotCode::new(&[0x90, 0xe9, 1, 2, 3, 4], 1, 1).unwrap();
        assert_eq!(code.bytes(), [0x90, 0xe9, 1, 2, 3, 4]);
        assert_eq!((code.done(), code.length()), (1, 1));
        assert!(SlotCode::new(&[0; SlotCode::MOST], 48, 15).is_some());
    }

    #[test]
    fn slot_code_that_does_not_fit_is_none() {
        assert_eq!(SlotCode::new(&[0; SlotCode::MOST + 1], 0, 1), None);
        assert_eq!(SlotCode::new(&[0; 4], 5, 1), None);
    }
}
