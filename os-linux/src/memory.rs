//! The memory of tracees, in pieces of any length.
//!
//! There are three ways, and each is closed somewhere: `process_vm_readv(2)` and its like by seccomp
//! filters, by kernels without them, and for a process that has changed its user; `/proc/<pid>/mem` by the lack
//! of a fitting `/proc`, and it can be read-only; `PTRACE_PEEKDATA` for a process that may not be dumped. So
//! they are tried in this order, which is that of their speed, and what is closed for a process is
//! remembered until its exec.
//!
//! The file is the only way that stays open once it is: the kernel asks who we are when it is
//! opened, and not again (`mem_open` in `fs/proc/base.c`). So it is kept for whoever has something of
//! ours in its text, which is still to be taken out after the program has made itself undumpable or
//! has changed its user. A child that is born so is dealt with in `unlock.rs`.

use std::collections::HashMap;
use std::io;

use trapline_core::backend::Thread;
use trapline_core::{Error, Pid, Result};

use crate::refused;
use crate::sys::{self, Kernel, MOST_AT_ONCE};

mod file;
mod unlock;

use file::{Access, Opened};

/// How many files stay open of processes that have nothing of ours in their text. Few need one; a
/// debugger should not use up the host's descriptors.
const OPEN_FILES: usize = 64;
/// Which part of the descriptors that the host may have is for the others.
const KEPT_SHARE: usize = 2;

/// The ways to the memory of each process, as far as they are known.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    known: HashMap<Pid, Ways>,
    /// How many files are open, and how many of them are kept.
    open: usize,
    kept: usize,
}

/// What is known of the ways to a process's memory.
#[derive(Debug, Default)]
struct Ways {
    /// The error by which the system calls are closed.
    calls: Option<Closed>,
    file: Opened,
    /// The file does not write what the program itself cannot.
    file_respects_protection: bool,
    /// The file is not closed before the process is forgotten.
    keep: bool,
    /// It was tried to have the process open its memory up.
    unlocked: bool,
}

/// Why a way is closed.
#[derive(Debug, Clone, Copy)]
struct Closed {
    request: &'static str,
    errno: i32,
}

/// A piece of memory, and what is to be done with it.
enum Piece<'a> {
    Read(&'a mut [u8]),
    Write(&'a [u8]),
}

impl Piece<'_> {
    fn len(&self) -> usize {
        match self {
            Piece::Read(buf) => buf.len(),
            Piece::Write(data) => data.len(),
        }
    }

    fn access(&self) -> Access {
        match self {
            Piece::Read(_) => Access::Read,
            Piece::Write(_) => Access::Write,
        }
    }
}

/// What one way has made of a piece.
enum Moved {
    /// So many bytes, at least one.
    Some(usize),
    /// The way is open, and there is nothing at this address, or nothing that may be used so.
    Nothing,
    /// The way is closed.
    Closed(Closed),
}

impl Memory {
    /// Reads as much as there is; nothing at all is [`Error::BadAddress`].
    pub(crate) fn read(
        &mut self,
        kernel: &Kernel,
        thread: Thread,
        addr: u64,
        buf: &mut [u8],
    ) -> Result<usize> {
        self.transfer(kernel, thread, addr, Piece::Read(buf))
    }

    /// Reads several places, each as [`read`](Self::read) does: all by one call as far as that goes.
    pub(crate) fn read_each(
        &mut self,
        kernel: &Kernel,
        thread: Thread,
        places: &mut [(u64, &mut [u8])],
    ) -> Vec<Result<usize>> {
        let mut results = Vec::with_capacity(places.len());
        while results.len() < places.len() {
            let rest = places.get_mut(results.len()..).unwrap_or_default();
            let by_call = self.known.get(&thread.pid).is_none_or(|ways| ways.calls.is_none());
            // Why it stops where it does is for the single read to find out.
            let mut copied = match by_call && rest.len() > 1 {
                true => kernel.read_memory_each(thread.tid, rest).unwrap_or(0),
                false => 0,
            };
            let before = results.len();
            for (_, buf) in rest.iter() {
                let Some(left) = copied.checked_sub(buf.len()) else { break };
                if left == 0 && copied == 0 {
                    break;
                }
                copied = left;
                results.push(Ok(buf.len()));
            }
            if results.len() - before == MOST_AT_ONCE {
                continue;
            }
            if let Some((addr, buf)) = places.get_mut(results.len()) {
                results.push(self.read(kernel, thread, *addr, buf));
            }
        }
        results
    }

    /// Writes as much as can be; nothing at all is [`Error::BadAddress`].
    pub(crate) fn write(
        &mut self,
        kernel: &Kernel,
        thread: Thread,
        addr: u64,
        data: &[u8],
    ) -> Result<usize> {
        self.transfer(kernel, thread, addr, Piece::Write(data))
    }

    /// Writes as the program itself could, where the kernel has a call for that.
    pub(crate) fn write_data(
        &mut self,
        kernel: &Kernel,
        thread: Thread,
        addr: u64,
        data: &[u8],
    ) -> Result<usize> {
        match kernel.write_memory(thread.tid, addr, data) {
            Ok(0) => Err(Error::bad_address(addr)),
            Ok(done) => Ok(done),
            Err(e) => match e.raw_os_error() {
                Some(libc::EFAULT) => Err(Error::bad_address(addr)),
                Some(libc::ESRCH) => Err(Error::GONE),
                _ => self.write(kernel, thread, addr, data),
            },
        }
    }

    /// Writes all of it, by the file at once: text is where the system call does not write.
    pub(crate) fn write_text(
        &mut self,
        kernel: &Kernel,
        thread: Thread,
        addr: u64,
        data: &[u8],
    ) -> Result<()> {
        let may_keep = self.kept < (sys::most_descriptors() / KEPT_SHARE).max(OPEN_FILES);
        let written = self.with_ways(thread.pid, |ways| {
            // Now, for it may be too late when the text is to be as it was again.
            ways.keep |= may_keep;
            if ways.file_respects_protection {
                ways.file.open(kernel, thread)?;
                return Ok(Moved::Nothing);
            }
            ways.by_file(kernel, thread, addr, &mut Piece::Write(data))
        })?;
        if matches!(written, Moved::Some(moved) if moved == data.len()) {
            return Ok(());
        }
        match self.write(kernel, thread, addr, data)? {
            done if done < data.len() => Err(Error::bad_address(addr.wrapping_add(done as u64))),
            _ => Ok(()),
        }
    }

    /// Closes the file of a process, and forgets what is known of its ways.
    pub(crate) fn forget(&mut self, pid: Pid) {
        if let Some(ways) = self.known.remove(&pid) {
            self.open = self.open.saturating_sub(ways.file.is_open().into());
            self.kept = self.kept.saturating_sub(ways.is_kept().into());
        }
    }

    /// Has something done with the ways of a process, and sees that few files are open.
    fn with_ways<T>(&mut self, pid: Pid, act: impl FnOnce(&mut Ways) -> T) -> T {
        let was_open = self.known.get(&pid).is_some_and(|ways| ways.file.is_open());
        if !was_open && self.open.saturating_sub(self.kept) >= OPEN_FILES {
            self.known.retain(|_, ways| ways.is_kept() || !ways.file.is_open());
            self.open = self.kept;
        }
        let ways = self.known.entry(pid).or_default();
        let was_kept = ways.is_kept();
        let result = act(ways);
        self.open += usize::from(ways.file.is_open() && !was_open);
        self.kept += usize::from(ways.is_kept() && !was_kept);
        result
    }

    /// Moves a piece, by the system calls as far as they go, by the file where they stop (which also
    /// reaches what the program itself may not read or write), and by words where that does.
    fn transfer(
        &mut self,
        kernel: &Kernel,
        thread: Thread,
        addr: u64,
        mut piece: Piece<'_>,
    ) -> Result<usize> {
        let total = piece.len();
        let mut done = 0;
        while done < total {
            let Some(at) = addr.checked_add(done as u64) else { break };
            let mut rest = match &mut piece {
                Piece::Read(buf) => Piece::Read(buf.get_mut(done..).unwrap_or_default()),
                Piece::Write(data) => Piece::Write(data.get(done..).unwrap_or_default()),
            };
            match self.with_ways(thread.pid, |ways| ways.step(kernel, thread, at, &mut rest)) {
                Ok(0) => break,
                Ok(moved) => done += moved,
                Err(_) if done > 0 => break,
                Err(error) => return Err(error),
            }
        }
        if done == 0 && total != 0 {
            return Err(Error::bad_address(addr));
        }
        Ok(done)
    }
}

impl Ways {
    /// Whether its file is open and stays so.
    fn is_kept(&self) -> bool {
        self.keep && self.file.is_open()
    }

    /// Moves the beginning of a piece, by the first way that does it; 0 is no such address.
    fn step(
        &mut self,
        kernel: &Kernel,
        thread: Thread,
        at: u64,
        piece: &mut Piece<'_>,
    ) -> Result<usize> {
        let mut last = None;
        let mut open = false;
        for way in [Self::by_call, Self::by_file, Self::by_word] {
            match way(self, kernel, thread, at, piece)? {
                Moved::Some(moved) => return Ok(moved),
                Moved::Nothing => open = true,
                Moved::Closed(closed) => last = Some(closed),
            }
        }
        let Some(closed) = last.filter(|_| !open) else { return Ok(0) };
        if closed.lasts() && !self.unlocked {
            self.unlocked = true;
            unlock::unlock(kernel, thread, &mut self.file)?;
            if self.file.is_open() {
                return self.step(kernel, thread, at, piece);
            }
        }
        Err(closed.error(thread))
    }

    fn by_call(
        &mut self,
        kernel: &Kernel,
        thread: Thread,
        at: u64,
        piece: &mut Piece<'_>,
    ) -> Result<Moved> {
        if let Some(closed) = self.calls {
            return Ok(Moved::Closed(closed));
        }
        let (request, moved) = match piece {
            Piece::Read(buf) => ("process_vm_readv", kernel.read_memory(thread.tid, at, buf)),
            Piece::Write(data) => ("process_vm_writev", kernel.write_memory(thread.tid, at, data)),
        };
        let moved = judge(request, moved)?;
        match moved {
            // Others may be of this moment alone.
            Moved::Closed(closed) if closed.lasts() => self.calls = Some(closed),
            _ => {}
        }
        Ok(moved)
    }

    fn by_file(
        &mut self,
        kernel: &Kernel,
        thread: Thread,
        at: u64,
        piece: &mut Piece<'_>,
    ) -> Result<Moved> {
        self.file.open(kernel, thread)?;
        let file = match self.file.get(piece.access()) {
            Ok(file) => file,
            Err(errno) => return Ok(Moved::Closed(Closed { request: "/proc/<pid>/mem", errno })),
        };
        kernel.count();
        let moved = match piece {
            Piece::Read(buf) => file.read(buf, at),
            Piece::Write(data) => file.write(data, at),
        };
        judge("/proc/<pid>/mem", moved)
    }

    /// `PTRACE_PEEKDATA` and `PTRACE_POKEDATA`, by words that lie within a page each.
    fn by_word(
        &mut self,
        kernel: &Kernel,
        thread: Thread,
        at: u64,
        piece: &mut Piece<'_>,
    ) -> Result<Moved> {
        let mut done = 0;
        while done < piece.len() {
            let Some(from) = at.checked_add(done as u64) else { break };
            match word(kernel, thread, from, piece, done) {
                Ok(moved) => done += moved,
                Err(e) if e.raw_os_error() == Some(libc::ESRCH) => return Err(Error::GONE),
                Err(_) if done > 0 => break,
                Err(e) => return self.no_word(kernel, thread, e),
            }
            if done >= MOST_BY_WORDS {
                break; // the other ways may do the rest
            }
        }
        if matches!(piece, Piece::Write(_)) && self.file.get(Access::Write).is_ok() {
            self.file_respects_protection = true;
        }
        Ok(Moved::Some(done))
    }

    /// Why there was no word. The kernel says EIO for an address that is not there and for a process
    /// whose memory we may not have (`ptrace_access_vm` in `kernel/ptrace.c`); where the program
    /// counter is there is memory.
    fn no_word(&self, kernel: &Kernel, thread: Thread, e: io::Error) -> Result<Moved> {
        let errno = e.raw_os_error().unwrap_or(libc::EIO);
        let closed = Moved::Closed(Closed { request: "PTRACE_PEEKDATA", errno });
        if !matches!(errno, libc::EIO | libc::EFAULT) {
            return Ok(closed);
        }
        if self.calls.is_none() {
            return Ok(Moved::Nothing);
        }
        let pc = crate::regs::pc(&kernel.registers(thread.tid)?);
        Ok(if kernel.peek_word(thread.tid, pc & !7).is_ok() {
            Moved::Nothing
        } else {
            Moved::Closed(Closed { request: "PTRACE_PEEKDATA", errno: libc::EPERM })
        })
    }
}

/// How many bytes are moved by words before the faster ways are tried again.
const MOST_BY_WORDS: usize = 4096;
const WORD: usize = size_of::<u64>();

/// Moves as much of a piece, from `done` on, as lies in the word of an address.
fn word(
    kernel: &Kernel,
    thread: Thread,
    from: u64,
    piece: &mut Piece<'_>,
    done: usize,
) -> io::Result<usize> {
    let (base, offset) = (from & !(WORD as u64 - 1), (from % WORD as u64) as usize);
    let length = (piece.len() - done).min(WORD - offset);
    let old = || kernel.peek_word(thread.tid, base).map(u64::to_ne_bytes);
    match piece {
        Piece::Read(buf) => {
            let bytes = old()?;
            let to = buf.iter_mut().skip(done).take(length);
            to.zip(bytes.iter().skip(offset)).for_each(|(to, byte)| *to = *byte);
        }
        Piece::Write(data) => {
            // The rest of a word is what it is now, also if a thread that runs is just writing it.
            let mut bytes = if length == WORD { [0; WORD] } else { old()? };
            let to = bytes.iter_mut().skip(offset).take(length);
            to.zip(data.iter().skip(done)).for_each(|(to, byte)| *to = *byte);
            kernel.poke_word(thread.tid, base, u64::from_ne_bytes(bytes))?;
        }
    }
    Ok(length)
}

/// What the answer of a way means: whether it is about the address, about the way or about the
/// thread.
fn judge(request: &'static str, answer: io::Result<usize>) -> Result<Moved> {
    let error = match answer {
        // A file of memory that nobody has any more.
        Ok(0) => return Ok(Moved::Nothing),
        Ok(moved) => return Ok(Moved::Some(moved)),
        Err(error) => error,
    };
    match error.raw_os_error() {
        Some(libc::ESRCH) => Err(Error::GONE),
        // EINVAL: an offset that is negative as a signed number.
        Some(libc::EFAULT | libc::EIO | libc::EINVAL | libc::EINTR) => Ok(Moved::Nothing),
        errno => Ok(Moved::Closed(Closed { request, errno: errno.unwrap_or(libc::EIO) })),
    }
}

impl Closed {
    fn lasts(self) -> bool {
        matches!(self.errno, libc::EPERM | libc::EACCES | libc::ENOSYS)
    }

    fn error(self, thread: Thread) -> Error {
        match self.errno {
            libc::EPERM | libc::EACCES => refused::memory_of(thread.pid),
            errno => {
                let source = io::Error::from_raw_os_error(errno);
                sys::error(self.request, thread.tid.as_raw(), source)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(errno: i32) -> Result<Moved> {
        judge("x", Err(io::Error::from_raw_os_error(errno)))
    }

    #[test]
    fn an_error_is_of_the_address_or_of_the_way_or_of_the_thread() {
        for errno in [libc::EFAULT, libc::EIO, libc::EINVAL, libc::EINTR] {
            assert!(matches!(judged(errno), Ok(Moved::Nothing)), "{errno}");
        }
        for errno in [libc::EPERM, libc::ENOSYS, libc::EACCES, libc::ENOMEM, libc::EROFS] {
            assert!(matches!(judged(errno), Ok(Moved::Closed(c)) if c.errno == errno), "{errno}");
        }
        assert!(judged(libc::ESRCH).is_err_and(|error| error.is_gone()));
        assert!(matches!(judge("x", Ok(0)), Ok(Moved::Nothing)));
        assert!(matches!(judge("x", Ok(7)), Ok(Moved::Some(7))));
    }

    #[test]
    fn a_refusal_says_what_to_do() {
        let thread = Thread { pid: Pid::from_raw(7), tid: trapline_core::Tid::from_raw(7) };
        let error = Closed { request: "x", errno: libc::EPERM }.error(thread);
        assert!(error.to_string().contains("CAP_SYS_PTRACE"), "{error}");
        let error = Closed { request: "x", errno: libc::ENOSYS }.error(thread);
        assert!(error.to_string().starts_with("x for 7: "), "{error}");
    }
}
