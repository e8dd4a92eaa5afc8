//! Registers and memory, of threads at rest or of processes that are brought to rest for it.

use trapline::{Error, Pid, Result, Stopped, Tid};

use super::Inferiors;
use crate::regs::{Layout, Register};

impl Inferiors {
    /// Sees that a thread has a token, or that what is known of it is kept.
    fn need(&mut self, pid: Pid, tid: Tid) -> Result<()> {
        let thread = self.thread(pid, tid)?;
        let rests =
            thread.stop.is_some() || thread.in_vfork.is_some() && thread.known.general.is_some();
        // Where the process runs as a whole, the registers of a thread that stays are kept.
        let kept = thread.wants == super::Wants::Nothing && thread.known.general.is_some();
        if rests || kept { Ok(()) } else { self.borrow(pid) }
    }

    /// Sees that the process has a token; a child of a vfork stands for a parent that waits for it.
    fn need_any(&mut self, pid: Pid) -> Result<()> {
        match self.get(pid)?.any_stop() {
            Some(_) => Ok(()),
            None => self.borrow(pid),
        }
    }

    pub(crate) fn layout(&self, pid: Pid) -> Layout {
        self.get(pid).map(|process| process.program.layout).unwrap_or_default()
    }

    /// All registers of a thread; `None` for bytes that nobody knows.
    pub(crate) fn registers(&mut self, pid: Pid, tid: Tid) -> Result<Vec<Option<u8>>> {
        self.need(pid, tid)?;
        let layout = self.layout(pid);
        let (thread, tracer) = self.thread_and_tracer(pid, tid)?;
        thread.known.all(tracer, thread.stop.as_ref(), layout)
    }

    /// One of them.
    pub(crate) fn register(
        &mut self,
        pid: Pid,
        tid: Tid,
        register: &Register,
    ) -> Result<Vec<Option<u8>>> {
        self.need(pid, tid)?;
        let (thread, tracer) = self.thread_and_tracer(pid, tid)?;
        thread.known.one(tracer, thread.stop.as_ref(), register)
    }

    /// The general registers of a thread at rest, without stopping anybody.
    pub(crate) fn known_general(&mut self, pid: Pid, tid: Tid) -> Option<trapline::Registers> {
        let (thread, tracer) = self.thread_and_tracer(pid, tid).ok()?;
        thread.known.general(tracer, thread.stop.as_ref()).ok()
    }

    /// Writes registers by their numbers.
    pub(crate) fn write_registers(
        &mut self,
        pid: Pid,
        tid: Tid,
        values: &[(usize, &[u8])],
    ) -> Result<()> {
        if self.thread(pid, tid)?.stop.is_none() {
            self.borrow(pid)?;
        }
        let layout = self.layout(pid);
        let (thread, tracer) = self.thread_and_tracer(pid, tid)?;
        let Some(stop) = &thread.stop else { return Err(Error::NotStopped { pid: Some(pid) }) };
        thread.known.write(tracer, stop, layout, values)
    }

    fn thread_and_tracer(
        &mut self,
        pid: Pid,
        tid: Tid,
    ) -> Result<(&mut super::Thread, &mut trapline::Tracer)> {
        let process = self
            .all
            .iter_mut()
            .find(|process| process.pid == pid)
            .ok_or(Error::Gone { pid: Some(pid) })?;
        let thread = process.thread_mut(tid).ok_or(Error::Gone { pid: Some(pid) })?;
        Ok((thread, &mut self.tracer))
    }

    /// Asks something that any thread of a process can answer.
    pub(crate) fn with_any<T>(
        &mut self,
        pid: Pid,
        ask: impl FnOnce(&mut trapline::Tracer, &Stopped) -> Result<T>,
    ) -> Result<T> {
        self.need_any(pid)?;
        let process = self
            .all
            .iter()
            .find(|process| process.pid == pid)
            .ok_or(Error::Gone { pid: Some(pid) })?;
        ask(&mut self.tracer, process.any_stop().ok_or(Error::NotStopped { pid: Some(pid) })?)
    }

    /// Asks something about one thread.
    pub(crate) fn with_thread<T>(
        &mut self,
        pid: Pid,
        tid: Tid,
        ask: impl FnOnce(&mut trapline::Tracer, &Stopped) -> Result<T>,
    ) -> Result<T> {
        if self.thread(pid, tid)?.stop.is_none() {
            self.borrow(pid)?;
        }
        let (thread, tracer) = self.thread_and_tracer(pid, tid)?;
        ask(tracer, thread.stop.as_ref().ok_or(Error::NotStopped { pid: Some(pid) })?)
    }

    /// Reads as much as there is, up to this length.
    pub(crate) fn read(&mut self, pid: Pid, addr: u64, len: usize) -> Result<Vec<u8>> {
        let mut data = vec![0; len];
        let read = self.with_any(pid, |tracer, stop| tracer.read_memory(stop, addr, &mut data))?;
        data.truncate(read);
        Ok(data)
    }

    /// Reads all of it or none.
    pub(crate) fn read_all(&mut self, pid: Pid, addr: u64, len: usize) -> Result<Vec<u8>> {
        let data = self.read(pid, addr, len)?;
        match data.len() == len {
            true => Ok(data),
            false => Err(Error::BadAddress {
                addr: addr.saturating_add(data.len() as u64),
                pid: Some(pid),
            }),
        }
    }

    /// Reads a number of so many bytes.
    pub(crate) fn read_number(&mut self, pid: Pid, addr: u64, len: usize) -> Result<u64> {
        let data = self.read_all(pid, addr, len.min(8))?;
        Ok(data.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte)))
    }

    /// Reads a string, up to its zero.
    pub(crate) fn read_string(&mut self, pid: Pid, addr: u64, longest: usize) -> Result<Vec<u8>> {
        const PIECE: usize = 256;
        let mut text = Vec::new();
        while text.len() < longest {
            let at = addr.saturating_add(text.len() as u64);
            let piece = match self.read(pid, at, PIECE) {
                Ok(piece) => piece,
                Err(_) if !text.is_empty() => break,
                Err(error) => return Err(error),
            };
            let end = piece.iter().position(|&byte| byte == 0);
            text.extend_from_slice(piece.get(..end.unwrap_or(piece.len())).unwrap_or_default());
            if end.is_some() || piece.is_empty() {
                break;
            }
        }
        Ok(text)
    }

    /// Writes all of it, or says where it could not.
    pub(crate) fn write(&mut self, pid: Pid, addr: u64, data: &[u8]) -> Result<()> {
        let written = self.with_any(pid, |tracer, stop| tracer.write_memory(stop, addr, data))?;
        match written == data.len() {
            true => Ok(()),
            false => {
                Err(Error::BadAddress { addr: addr.saturating_add(written as u64), pid: Some(pid) })
            }
        }
    }

    /// Where a thread's own data are, as the system's C library counts them.
    pub(crate) fn thread_pointer(&mut self, pid: Pid, tid: Tid) -> Result<Option<u64>> {
        self.need(pid, tid)?;
        let (thread, tracer) = self.thread_and_tracer(pid, tid)?;
        let general = thread.known.general(tracer, thread.stop.as_ref())?;
        Ok(general.get("fs_base"))
    }
}
