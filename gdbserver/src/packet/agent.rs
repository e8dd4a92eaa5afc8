//! Agent expressions: the programs that a client sends for conditions and commands of breakpoints
//! (gdb's manual, "The GDB Agent Expression Mechanism").

use super::Malformed;

/// How deep the stack of one can be.
const DEEPEST: usize = 100;
/// How many of its instructions are carried out, at most: it can have loops.
const LONGEST: u32 = 1_000_000;

/// A program for the server to carry out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expression(Vec<u8>);

/// What an expression can look at.
pub trait Machine {
    /// A register, by the client's number of it; `None` if it cannot be read here.
    fn register(&mut self, number: u16) -> Option<u64>;

    /// Fills this with memory of the program; whether all of it could be read.
    fn read(&mut self, addr: u64, buf: &mut [u8]) -> bool;

    /// Prints something, for a command.
    fn print(&mut self, format: &[u8], arguments: &[u64]);
}

/// What came of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The value on top of the stack at its end.
    Value(u64),
    /// It could not be carried out.
    Failed,
}

impl Outcome {
    /// Whether a breakpoint with this condition stops: also if nobody knows.
    pub fn holds(self) -> bool {
        self != Outcome::Value(0)
    }
}

/// One that is carried out.
struct Run<'a, M> {
    code: &'a [u8],
    at: usize,
    stack: Vec<u64>,
    machine: &'a mut M,
}

impl Expression {
    /// One of these bytes.
    pub fn new(code: Vec<u8>) -> Self {
        Expression(code)
    }

    /// Carries it out.
    pub fn evaluate(&self, machine: &mut impl Machine) -> Outcome {
        let mut run = Run { code: &self.0, at: 0, stack: Vec::new(), machine };
        for _ in 0..LONGEST {
            match run.step() {
                Ok(true) => {}
                Ok(false) => {
                    return run.stack.last().map_or(Outcome::Failed, |&top| Outcome::Value(top));
                }
                Err(Malformed) => return Outcome::Failed,
            }
        }
        Outcome::Failed
    }
}

type Step<T> = Result<T, Malformed>;

impl<M: Machine> Run<'_, M> {
    fn byte(&mut self) -> Step<u8> {
        let byte = self.code.get(self.at).copied().ok_or(Malformed);
        self.at += 1;
        byte
    }

    /// An operand of so many bytes, the highest first.
    fn operand(&mut self, len: u32) -> Step<u64> {
        (0..len).try_fold(0, |value, _| Ok(value << 8 | u64::from(self.byte()?)))
    }

    fn short(&mut self) -> Step<u16> {
        u16::try_from(self.operand(2)?).map_err(|_| Malformed)
    }

    fn pop(&mut self) -> Step<u64> {
        self.stack.pop().ok_or(Malformed)
    }

    fn push(&mut self, value: u64) -> Step<()> {
        if self.stack.len() == DEEPEST {
            return Err(Malformed);
        }
        self.stack.push(value);
        Ok(())
    }

    fn one(&mut self, of: impl FnOnce(u64) -> u64) -> Step<()> {
        let value = self.pop()?;
        self.push(of(value))
    }

    fn two(&mut self, of: impl FnOnce(u64, u64) -> Option<u64>) -> Step<()> {
        let (right, left) = (self.pop()?, self.pop()?);
        self.push(of(left, right).ok_or(Malformed)?)
    }

    fn signed(&mut self, of: impl FnOnce(i64, i64) -> Option<i64>) -> Step<()> {
        self.two(|left, right| Some(of(left as i64, right as i64)? as u64))
    }

    fn read(&mut self, len: usize) -> Step<()> {
        let addr = self.pop()?;
        let mut bytes = [0; 8];
        let part = bytes.get_mut(..len).ok_or(Malformed)?;
        if !self.machine.read(addr, part) {
            return Err(Malformed);
        }
        self.push(u64::from_le_bytes(bytes))
    }

    fn go(&mut self, to: u16) {
        self.at = to.into();
    }

    /// One instruction; whether there is another one.
    fn step(&mut self) -> Step<bool> {
        match self.byte()? {
            0x02 => self.two(|left, right| Some(left.wrapping_add(right)))?,
            0x03 => self.two(|left, right| Some(left.wrapping_sub(right)))?,
            0x04 => self.two(|left, right| Some(left.wrapping_mul(right)))?,
            0x05 => self.signed(i64::checked_div)?,
            0x06 => self.two(u64::checked_div)?,
            0x07 => self.signed(i64::checked_rem)?,
            0x08 => self.two(u64::checked_rem)?,
            0x09 => self.two(|left, right| Some(shift(left, right, u64::checked_shl)))?,
            0x0a => {
                self.signed(|left, right| {
                    Some(left >> u32::try_from(right).unwrap_or(63).min(63))
                })?;
            }
            0x0b => self.two(|left, right| Some(shift(left, right, u64::checked_shr)))?,
            // What a tracepoint would collect.
            0x0c => {
                self.pop()?;
                self.pop()?;
            }
            0x0d => drop(self.byte()?),
            0x0e => self.one(|value| u64::from(value == 0))?,
            0x0f => self.two(|left, right| Some(left & right))?,
            0x10 => self.two(|left, right| Some(left | right))?,
            0x11 => self.two(|left, right| Some(left ^ right))?,
            0x12 => self.one(|value| !value)?,
            0x13 => self.two(|left, right| Some((left == right).into()))?,
            0x14 => self.signed(|left, right| Some((left < right).into()))?,
            0x15 => self.two(|left, right| Some((left < right).into()))?,
            0x16 => {
                let bits = self.byte()?.into();
                self.one(|value| extended(value, bits))?;
            }
            0x17 => self.read(1)?,
            0x18 => self.read(2)?,
            0x19 => self.read(4)?,
            0x1a => self.read(8)?,
            0x20 => {
                let to = self.short()?;
                if self.pop()? != 0 {
                    self.go(to);
                }
            }
            0x21 => {
                let to = self.short()?;
                self.go(to);
            }
            0x22 => self.constant(1)?,
            0x23 => self.constant(2)?,
            0x24 => self.constant(4)?,
            0x25 => self.constant(8)?,
            0x26 => {
                let number = self.short()?;
                let value = self.machine.register(number).ok_or(Malformed)?;
                self.push(value)?;
            }
            0x27 => return Ok(false),
            0x28 => {
                let top = self.pop()?;
                self.push(top)?;
                self.push(top)?;
            }
            0x29 => drop(self.pop()?),
            0x2a => {
                let bits: u32 = self.byte()?.into();
                self.one(|value| value & 1_u64.checked_shl(bits).map_or(u64::MAX, |bit| bit - 1))?;
            }
            0x2b => {
                let (top, below) = (self.pop()?, self.pop()?);
                self.push(top)?;
                self.push(below)?;
            }
            0x32 => {
                let depth: usize = self.byte()?.into();
                let at = self.stack.len().checked_sub(depth + 1).ok_or(Malformed)?;
                let value = self.stack.get(at).copied().ok_or(Malformed)?;
                self.push(value)?;
            }
            0x33 => {
                let (c, b, a) = (self.pop()?, self.pop()?, self.pop()?);
                self.push(c)?;
                self.push(a)?;
                self.push(b)?;
            }
            0x34 => self.print()?,
            _ => return Err(Malformed),
        }
        Ok(true)
    }

    fn constant(&mut self, len: u32) -> Step<()> {
        let value = self.operand(len)?;
        self.push(value)
    }

    /// The function and the channel that C would print with are on the stack, too.
    fn print(&mut self) -> Step<()> {
        let count = self.byte()?;
        let len = usize::from(self.short()?);
        let format = self.code.get(self.at..self.at + len).ok_or(Malformed)?;
        self.at += len;
        self.pop()?;
        self.pop()?;
        let arguments: Vec<u64> = (0..count).map(|_| self.pop()).collect::<Step<_>>()?;
        self.machine.print(format.strip_suffix(&[0]).ok_or(Malformed)?, &arguments);
        // What is left is the value, if anything is.
        if self.stack.is_empty() { self.push(0) } else { Ok(()) }
    }
}

fn shift(value: u64, by: u64, shift: impl FnOnce(u64, u32) -> Option<u64>) -> u64 {
    u32::try_from(by).ok().and_then(|by| shift(value, by)).unwrap_or(0)
}

/// The lowest bits, as a signed number.
fn extended(value: u64, bits: u32) -> u64 {
    match 64_u32.checked_sub(bits) {
        Some(unused) if unused < 64 => ((value << unused) as i64 >> unused) as u64,
        _ => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Register n is 100 n; a byte of memory is its address; nothing is below 16.
    #[derive(Default)]
    struct Model(Vec<(Vec<u8>, Vec<u64>)>);

    impl Machine for Model {
        fn register(&mut self, number: u16) -> Option<u64> {
            (number < 8).then(|| u64::from(number) * 100)
        }

        fn read(&mut self, addr: u64, buf: &mut [u8]) -> bool {
            buf.iter_mut().zip(addr..).for_each(|(byte, addr)| *byte = addr as u8);
            addr >= 16
        }

        fn print(&mut self, format: &[u8], arguments: &[u64]) {
            self.0.push((format.to_vec(), arguments.to_vec()));
        }
    }

    fn value(code: &[u8]) -> Outcome {
        Expression::new(code.to_vec()).evaluate(&mut Model::default())
    }

    #[test]
    fn arithmetic() {
        let five = Outcome::Value(5);
        assert_eq!(value(&[0x22, 2, 0x22, 3, 0x02, 0x27]), five);
        assert_eq!(value(&[0x22, 8, 0x22, 3, 0x03, 0x27]), five);
        assert_eq!(value(&[0x22, 0xff, 0x16, 8, 0x27]), Outcome::Value(u64::MAX));
        assert_eq!(value(&[0x23, 1, 5, 0x2a, 8, 0x27]), five);
        assert_eq!(value(&[0x22, 0xfb, 0x16, 8, 0x22, 2, 0x14, 0x27]), Outcome::Value(1));
        assert_eq!(value(&[0x22, 0xfb, 0x16, 8, 0x22, 2, 0x15, 0x27]), Outcome::Value(0));
        assert_eq!(value(&[0x22, 1, 0x22, 64, 0x09, 0x27]), Outcome::Value(0));
        assert_eq!(value(&[0x22, 1, 0x22, 2, 0x22, 3, 0x32, 2, 0x27]), Outcome::Value(1));
        assert_eq!(value(&[0x22, 1, 0x22, 2, 0x22, 3, 0x33, 0x27]), Outcome::Value(2));
    }

    #[test]
    fn registers_memory_and_jumps() {
        assert_eq!(value(&[0x26, 0, 3, 0x27]), Outcome::Value(300));
        assert_eq!(value(&[0x22, 0x20, 0x18, 0x27]), Outcome::Value(0x2120));
        assert_eq!(value(&[0x22, 1, 0x20, 0, 7, 0x27, 0x27, 0x22, 9, 0x27]), Outcome::Value(9));
    }

    #[test]
    fn what_cannot_be_carried_out_fails_and_holds() {
        for code in [
            &[0x02, 0x27][..],               // nothing on the stack
            &[],                             // no end
            &[0x22],                         // no operand
            &[0x22, 1, 0x22, 0, 0x05, 0x27], // a division by zero
            &[0x25, 0x80, 0, 0, 0, 0, 0, 0, 0, 0x22, 0xff, 0x16, 8, 0x05, 0x27],
            &[0x22, 1, 0x17, 0x27], // no memory
            &[0x26, 0, 9, 0x27],    // no such register
            &[0x21, 0, 0],          // no end, either
            &[0x21, 0xff, 0xff],
            &[0x22, 1, 0x28, 0x21, 0, 2], // no room
            &[0x34, 9, 0xff, 0xff, 1],
            &[0xff],
        ] {
            assert_eq!(value(code), Outcome::Failed, "{code:x?}");
            assert!(value(code).holds());
        }
    }

    #[test]
    fn commands_print() {
        let mut model = Model::default();
        let code = [0x22, 7, 0x22, 0, 0x22, 0, 0x34, 1, 0, 3, b'%', b'd', 0, 0x27];
        Expression::new(code.to_vec()).evaluate(&mut model);
        assert_eq!(model.0, [(b"%d".to_vec(), vec![7])]);
    }
}
