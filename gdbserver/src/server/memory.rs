//! Registers and memory.

use trapline::{Error, Pid};

use crate::packet::hex;
use crate::wire::{LONGEST, escape};

use super::answers::Answer;
use super::session::Session;

/// Digits of bytes, `xx` for those that nobody knows.
fn digits(bytes: &[Option<u8>]) -> String {
    bytes.iter().map(|byte| byte.map_or("xx".to_string(), |byte| hex(&[byte]))).collect()
}

/// How much memory is searched, or summed up, at most at once.
const PIECE: usize = 0x1_0000;

impl Session<'_> {
    pub(super) fn read_registers(&mut self) -> Answer {
        let Some((pid, tid)) = self.current() else { return Answer::error() };
        match self.server.inferiors.registers(pid, tid) {
            Ok(bytes) => digits(&bytes).into(),
            Err(error) => error.into(),
        }
    }

    pub(super) fn read_register(&mut self, number: usize) -> Answer {
        let Some((pid, tid)) = self.current() else { return Answer::error() };
        let layout = self.server.inferiors.layout(pid);
        let Some(register) = layout.registers().get(number) else { return Answer::error() };
        match self.server.inferiors.register(pid, tid, register) {
            Ok(bytes) => digits(&bytes).into(),
            Err(error) => error.into(),
        }
    }

    pub(super) fn write_all_registers(&mut self, data: &[u8]) -> Answer {
        let Some((pid, tid)) = self.current() else { return Answer::error() };
        let layout = self.server.inferiors.layout(pid);
        let registers = layout.registers().iter().enumerate();
        let values: Vec<(usize, &[u8])> = registers
            .filter_map(|(number, register)| Some((number, data.get(register.place.clone())?)))
            .collect();
        self.server.inferiors.write_registers(pid, tid, &values).into()
    }

    pub(super) fn write_register(&mut self, number: usize, value: &[u8]) -> Answer {
        let Some((pid, tid)) = self.current() else { return Answer::error() };
        let layout = self.server.inferiors.layout(pid);
        let register = layout.registers().get(number);
        if register.is_none_or(|register| register.len() != value.len()) {
            return Answer::error();
        }
        self.server.inferiors.write_registers(pid, tid, &[(number, value)]).into()
    }

    /// As much memory as there is, and as fits.
    fn some_memory(&mut self, addr: u64, len: u64, longest: usize) -> Result<Vec<u8>, Answer> {
        let pid = self.current_process().ok_or_else(Answer::error)?;
        let len = usize::try_from(len).unwrap_or(usize::MAX).min(longest);
        self.server.inferiors.read(pid, addr, len).map_err(Answer::from)
    }

    pub(super) fn read_memory(&mut self, addr: u64, len: u64) -> Answer {
        match self.some_memory(addr, len, LONGEST / 2 - 8) {
            Ok(data) => hex(&data).into(),
            Err(answer) => answer,
        }
    }

    pub(super) fn read_binary(&mut self, addr: u64, len: u64) -> Answer {
        if len == 0 {
            return Answer::ok(); // lldb asks so whether it can ask
        }
        match self.some_memory(addr, len, LONGEST / 2 - 8) {
            Ok(data) => Answer::Bytes(escape(&data)),
            Err(answer) => answer,
        }
    }

    pub(super) fn write_memory(&mut self, addr: u64, data: &[u8]) -> Answer {
        match self.current_process() {
            // gdb asks so whether it can ask.
            _ if data.is_empty() => Answer::ok(),
            Some(pid) => self.server.inferiors.write(pid, addr, data).into(),
            None => Answer::error(),
        }
    }

    pub(super) fn search(&mut self, addr: u64, len: u64, pattern: &[u8]) -> Answer {
        let Some(pid) = self.current_process() else { return Answer::error() };
        match self.find(pid, addr, len, pattern) {
            Ok(Some(found)) => format!("1,{found:x}").into(),
            Ok(None) => Answer::Text("0".to_string()),
            Err(error) => error.into(),
        }
    }

    fn find(
        &mut self,
        pid: Pid,
        addr: u64,
        len: u64,
        pattern: &[u8],
    ) -> Result<Option<u64>, Error> {
        if pattern.is_empty() {
            return Ok(None);
        }
        // What came last could be the start of it.
        let overlap = pattern.len() - 1;
        let (mut at, mut kept) = (0, Vec::new());
        while at < len {
            let wanted = usize::try_from(len - at).unwrap_or(PIECE).min(PIECE);
            let piece = self.server.inferiors.read_all(pid, addr.wrapping_add(at), wanted)?;
            let start = at - kept.len() as u64;
            kept.extend_from_slice(&piece);
            if let Some(found) = kept.windows(pattern.len()).position(|part| part == pattern) {
                return Ok(Some(addr.wrapping_add(start + found as u64)));
            }
            at += piece.len() as u64;
            kept.drain(..kept.len().saturating_sub(overlap));
        }
        Ok(None)
    }

    pub(super) fn checksum(&mut self, addr: u64, len: u64) -> Answer {
        let Some(pid) = self.current_process() else { return Answer::error() };
        let (mut at, mut sum) = (0, u32::MAX);
        while at < len {
            let wanted = usize::try_from(len - at).unwrap_or(PIECE).min(PIECE);
            match self.server.inferiors.read_all(pid, addr.wrapping_add(at), wanted) {
                Ok(piece) => {
                    sum = crc(sum, &piece);
                    at += piece.len() as u64;
                }
                Err(error) => return error.into(),
            }
        }
        format!("C{sum:x}").into()
    }
}

/// gdb's: polynomial 0x04c11db7, the highest bit first, not inverted at the end.
fn crc(sum: u32, data: &[u8]) -> u32 {
    data.iter().fold(sum, |sum, &byte| {
        (0..8).fold(sum ^ u32::from(byte) << 24, |sum, _| {
            sum << 1 ^ if sum >> 31 == 1 { 0x04c1_1db7 } else { 0 }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums() {
        // The check value of CRC-32/MPEG-2.
        assert_eq!(crc(u32::MAX, b"123456789"), 0x0376_e6e7);
    }

    #[test]
    fn unknown_bytes() {
        assert_eq!(digits(&[Some(10), None]), "0axx");
    }
}
