//! The frames of a stack.

use framehop::{CacheNative, FrameAddress, UnwindRegsNative, Unwinder};
use trapline::{Reader, Result};

use crate::cpu;
use crate::modules::Modules;

/// No stack that makes sense has more.
const MOST: usize = 10_000;

pub(crate) struct Frame {
    /// Where it goes on: of the innermost one the program counter, of the others what is returned to.
    pub(crate) pc: u64,
    /// An address in the instruction that it is at: of the others the call.
    pub(crate) lookup: u64,
    /// The stack pointer before the call that made this frame: it tells frames of one function apart.
    /// `None` of the outermost one.
    pub(crate) cfa: Option<u64>,
    registers: UnwindRegsNative,
    innermost: Option<trapline::Registers>,
}

impl Frame {
    /// A register, by its number in DWARF, if it is known in this frame.
    pub(crate) fn register(&self, number: u16) -> Option<u64> {
        match &self.innermost {
            Some(registers) => cpu::register(registers, number),
            None => cpu::kept(&self.registers, number),
        }
    }
}

/// The frames of a stopped thread, the innermost one first, and no more than so many.
pub(crate) fn frames(thread: Reader<'_>, modules: &Modules, most: usize) -> Result<Vec<Frame>> {
    let registers = thread.registers()?;
    let mut read = |addr| thread.read_value::<u64>(addr).map_err(|_| ());
    let mut cache = CacheNative::<_>::new();
    let mut own = cpu::unwind_registers(&registers);
    let mut at = FrameAddress::from_instruction_pointer(registers.pc());
    let mut frames = Vec::new();
    while frames.len() < most.min(MOST) {
        let mut next = own;
        let caller = modules.unwinder.unwind_frame(at, &mut next, &mut cache, &mut read);
        let caller = caller.ok().flatten();
        frames.push(Frame {
            pc: at.address(),
            lookup: at.address_for_lookup(),
            cfa: caller.map(|_| next.sp()),
            registers: own,
            innermost: frames.is_empty().then_some(registers),
        });
        let Some(back) = caller.and_then(FrameAddress::from_return_address) else { break };
        (own, at) = (next, back);
    }
    Ok(frames)
}
