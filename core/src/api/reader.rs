//! Questions about one stop, for a caller that has only a shared tracer.

use std::ffi::{CString, OsString};

use crate::error::About;
use crate::stopped::Place;
use crate::{Arch, Backend, Error, Pid, Result, SignalInfo, StopReason, Stopped, Syscall, Tid};

use super::Tracer;

/// How much memory is read at once for a string, so that it ends at the end of a page: what is behind
/// it may not be mapped.
const CHUNK: usize = 256;

/// A stopped thread, for questions alone: what an unwinder, a value printer or a disassembler
/// takes. It is `Copy`, and several can share a tracer.
///
/// ```no_run
/// use trapline_core::{Backend, Reader, Result};
///
/// /// What calls the function that a thread has just entered.
/// fn caller<B: Backend>(thread: Reader<'_, B>, stack_pointer: u64) -> Result<u64> {
///     thread.read_value(stack_pointer)
/// }
/// ```
pub struct Reader<'a, B: Backend> {
    tracer: &'a Tracer<B>,
    place: Place,
    pid: Pid,
    tid: Tid,
    reason: StopReason,
}

impl<B: Backend> Clone for Reader<'_, B> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<B: Backend> Copy for Reader<'_, B> {}

impl<B: Backend> std::fmt::Debug for Reader<'_, B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Reader { pid, tid, reason, .. } = self;
        f.debug_struct("Reader")
            .field("pid", pid)
            .field("tid", tid)
            .field("reason", reason)
            .finish_non_exhaustive()
    }
}

/// A type that can be read from a program's memory as it is: numbers, in the byte order of the
/// machine, and arrays of bytes. The trait is sealed.
///
/// ```
/// use trapline::{Backend, Reader, Result, Value};
///
/// /// The elements of an array in the program's memory.
/// fn array<B: Backend, T: Value>(thread: Reader<'_, B>, addr: u64, len: u64) -> Result<Vec<T>> {
///     let size = size_of::<T>() as u64;
///     (0..len).map(|n| thread.read_value(addr + n * size)).collect()
/// }
/// ```
pub trait Value: sealed::Sealed + Sized {
    /// The value in these bytes, of which there are enough.
    #[doc(hidden)]
    fn read(read: impl FnOnce(&mut [u8]) -> Result<()>) -> Result<Self>;
}

mod sealed {
    pub trait Sealed {}
}

macro_rules! values {
    ($($number:ty)*) => {$(
        impl sealed::Sealed for $number {}
        impl Value for $number {
            fn read(read: impl FnOnce(&mut [u8]) -> Result<()>) -> Result<Self> {
                let mut bytes = [0; size_of::<$number>()];
                read(&mut bytes)?;
                Ok(<$number>::from_ne_bytes(bytes))
            }
        }
    )*};
}

values!(u8 i8 u16 i16 u32 i32 u64 i64 u128 i128 f32 f64);

impl<const N: usize> sealed::Sealed for [u8; N] {}
impl<const N: usize> Value for [u8; N] {
    fn read(read: impl FnOnce(&mut [u8]) -> Result<()>) -> Result<Self> {
        let mut bytes = [0; N];
        read(&mut bytes)?;
        Ok(bytes)
    }
}

impl<B: Backend> Tracer<B> {
    /// The thread of a stop, for questions that need no more than a shared tracer.
    ///
    /// ```no_run
    /// use trapline_core::{Arch, Backend, Result, Stopped, Tracer};
    ///
    /// /// What is on top of a thread's stack.
    /// fn top<B: Backend>(tracer: &Tracer<B>, stop: &Stopped) -> Result<u64> {
    ///     let thread = tracer.at(stop);
    ///     thread.read_value(B::Arch::sp(&thread.registers()?))
    /// }
    /// ```
    pub fn at(&self, stop: &Stopped) -> Reader<'_, B> {
        let Stopped { place, pid, tid, reason, .. } = *stop;
        Reader { tracer: self, place, pid, tid, reason }
    }

    /// A stopped thread of a process, whichever it is, to read the memory of the process. Its token
    /// may be with the caller, or its event in the queue.
    ///
    /// ```
    /// use trapline::{Backend, Pid, Result, TracerOn};
    ///
    /// /// Reads a word of a process, whichever of its threads is stopped.
    /// fn word<B: Backend>(tracer: &TracerOn<B>, pid: Pid, addr: u64) -> Result<u64> {
    ///     tracer.at_any(pid)?.read_value(addr)
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Gone`] if the process is not traced, [`Error::NotStopped`] if no thread of it is
    /// stopped.
    pub fn at_any(&self, pid: Pid) -> Result<Reader<'_, B>> {
        let (place, tid) = self.engine.any_stop(pid).about(pid)?;
        Ok(Reader { tracer: self, place, pid, tid, reason: StopReason::Halted })
    }
}

impl<B: Backend> Reader<'_, B> {
    /// The process.
    ///
    /// ```
    /// use trapline::{Backend, Reader};
    ///
    /// fn same_process<B: Backend>(one: Reader<'_, B>, other: Reader<'_, B>) -> bool {
    ///     one.pid() == other.pid()
    /// }
    /// ```
    pub fn pid(self) -> Pid {
        self.pid
    }

    /// The thread.
    ///
    /// ```
    /// use trapline::{Backend, Reader};
    ///
    /// fn describe<B: Backend>(thread: Reader<'_, B>) -> String {
    ///     format!("thread {}", thread.tid())
    /// }
    /// ```
    pub fn tid(self) -> Tid {
        self.tid
    }

    fn bad_address(self, addr: u64) -> Error {
        Error::BadAddress { addr, pid: Some(self.pid) }
    }

    /// The questions of [`Tracer`] take a token; this is one that nothing can be done with.
    pub(super) fn asks<T>(self, question: impl FnOnce(&Tracer<B>, &Stopped) -> T) -> T {
        let stop = Stopped {
            place: self.place,
            pid: self.pid,
            tid: self.tid,
            reason: self.reason,
            signal: None,
            returned: None,
        };
        question(self.tracer, &stop)
    }

    /// As [`Tracer::registers`].
    ///
    /// ```
    /// use trapline::{Arch, Backend, Reader, Result};
    ///
    /// fn program_counter<B: Backend>(thread: Reader<'_, B>) -> Result<u64> {
    ///     Ok(B::Arch::pc(&thread.registers()?))
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// As there.
    pub fn registers(self) -> Result<<B::Arch as Arch>::Registers> {
        self.asks(|tracer, stop| tracer.registers(stop))
    }

    /// As [`Tracer::fp_registers`].
    ///
    /// ```
    /// use trapline::{Backend, Reader, Result};
    ///
    /// fn print<B: Backend>(thread: Reader<'_, B>) -> Result<()> {
    ///     println!("{:?}", thread.fp_registers()?);
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// As there.
    pub fn fp_registers(self) -> Result<<B::Arch as Arch>::FpRegisters> {
        self.asks(|tracer, stop| tracer.fp_registers(stop))
    }

    /// As [`Tracer::extended_state`].
    ///
    /// ```
    /// use trapline::{Backend, Reader, Result};
    ///
    /// fn print<B: Backend>(thread: Reader<'_, B>) -> Result<()> {
    ///     println!("{:?}", thread.extended_state()?);
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// As there.
    pub fn extended_state(self) -> Result<<B::Arch as Arch>::ExtendedState> {
        self.asks(|tracer, stop| tracer.extended_state(stop))
    }

    /// As [`Tracer::signal_info`].
    ///
    /// ```
    /// use trapline::{Backend, Pid, Reader, Result};
    ///
    /// fn sender<B: Backend>(thread: Reader<'_, B>) -> Result<Option<Pid>> {
    ///     Ok(thread.signal_info()?.sender)
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// As there.
    pub fn signal_info(self) -> Result<SignalInfo> {
        self.asks(|tracer, stop| tracer.signal_info(stop))
    }

    /// As [`Tracer::syscall`].
    ///
    /// ```
    /// use trapline::{Backend, Reader, Result};
    ///
    /// fn number<B: Backend>(thread: Reader<'_, B>) -> Result<u64> {
    ///     Ok(thread.syscall()?.number)
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// As there.
    pub fn syscall(self) -> Result<Syscall> {
        self.asks(|tracer, stop| tracer.syscall(stop))
    }

    /// As [`Tracer::thread_name`].
    ///
    /// ```
    /// use trapline::{Backend, Reader, Result};
    ///
    /// fn name<B: Backend>(thread: Reader<'_, B>) -> Result<String> {
    ///     Ok(thread.thread_name()?.to_string_lossy().into_owned())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// As there.
    pub fn thread_name(self) -> Result<OsString> {
        self.asks(|tracer, stop| tracer.thread_name(stop))
    }

    /// As [`Tracer::read_memory`].
    ///
    /// ```
    /// use trapline::{Backend, Reader, Result};
    ///
    /// /// The code at an address, as much as there is of 16 bytes.
    /// fn code<B: Backend>(thread: Reader<'_, B>, addr: u64) -> Result<Vec<u8>> {
    ///     let mut bytes = vec![0; 16];
    ///     let read = thread.read_memory(addr, &mut bytes)?;
    ///     bytes.truncate(read);
    ///     Ok(bytes)
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// As there.
    pub fn read_memory(self, addr: u64, buf: &mut [u8]) -> Result<usize> {
        self.asks(|tracer, stop| tracer.read_memory(stop, addr, buf))
    }

    /// Fills a buffer from memory.
    ///
    /// ```
    /// use trapline::{Backend, Reader, Result};
    ///
    /// fn array<B: Backend>(thread: Reader<'_, B>, addr: u64, len: usize) -> Result<Vec<u8>> {
    ///     let mut bytes = vec![0; len];
    ///     thread.read_exactly(addr, &mut bytes)?;
    ///     Ok(bytes)
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::BadAddress`] with the first address that cannot be read; otherwise as
    /// [`Tracer::read_memory`].
    pub fn read_exactly(self, addr: u64, buf: &mut [u8]) -> Result<()> {
        let wanted = buf.len();
        match self.read_memory(addr, buf)? {
            read if read == wanted => Ok(()),
            read => Err(self.bad_address(addr.wrapping_add(read as u64))),
        }
    }

    /// A number, or an array of bytes, in the program's memory.
    ///
    /// ```
    /// use trapline::{Backend, Reader, Result};
    ///
    /// /// The return address that a frame pointer leads to.
    /// fn return_address<B: Backend>(thread: Reader<'_, B>, frame: u64) -> Result<u64> {
    ///     thread.read_value(frame + 8)
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`read_exactly`](Reader::read_exactly).
    pub fn read_value<T: Value>(self, addr: u64) -> Result<T> {
        T::read(|bytes| self.read_exactly(addr, bytes))
    }

    /// A string in the program's memory, up to its end or to so many bytes.
    ///
    /// ```
    /// use trapline::{Backend, Reader, Result};
    ///
    /// /// The path that a system call is given.
    /// fn path<B: Backend>(thread: Reader<'_, B>, argument: u64) -> Result<String> {
    ///     Ok(thread.read_c_string(argument, 4096)?.to_string_lossy().into_owned())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::BadAddress`] with the first address that cannot be read, if the string is not over
    /// before that; otherwise as [`Tracer::read_memory`].
    pub fn read_c_string(self, addr: u64, most: usize) -> Result<CString> {
        let mut string = Vec::new();
        while string.len() < most {
            let at = addr.wrapping_add(string.len() as u64);
            let chunk = CHUNK as u64;
            let chunk = (chunk - at % chunk).min((most - string.len()) as u64);
            let mut bytes = vec![0; chunk as usize];
            let read = self.read_memory(at, &mut bytes)?;
            bytes.truncate(read);
            let end = bytes.iter().position(|&byte| byte == 0);
            string.extend(bytes.into_iter().take(end.unwrap_or(usize::MAX)));
            match end {
                Some(_) => break,
                None if (read as u64) < chunk => {
                    return Err(self.bad_address(at.wrapping_add(read as u64)));
                }
                None => {}
            }
        }
        Ok(CString::new(string).unwrap_or_default()) // the bytes before the first zero
    }

    /// Reads several places at once, each as [`read_memory`](Reader::read_memory) does. The results
    /// are in the order of the places.
    ///
    /// ```
    /// use trapline::{Backend, Reader, Result};
    ///
    /// /// The words at some addresses, as far as they can be read.
    /// fn words<B: Backend>(thread: Reader<'_, B>, addresses: &[u64]) -> Vec<Option<u64>> {
    ///     let mut words = vec![[0; 8]; addresses.len()];
    ///     let mut places: Vec<(u64, &mut [u8])> =
    ///         addresses.iter().zip(&mut words).map(|(&addr, word)| (addr, &mut word[..])).collect();
    ///     let results = thread.read_each(&mut places);
    ///     let whole = |(word, read)| matches!(read, Ok(8)).then(|| u64::from_ne_bytes(word));
    ///     words.into_iter().zip(results).map(whole).collect()
    /// }
    /// ```
    ///
    /// # Platform notes
    ///
    /// On Linux it takes one request for up to 1024 places that can be read, and two more for each
    /// that cannot. On FreeBSD it takes one for each place.
    ///
    /// # References
    ///
    /// `process_vm_readv(2)` (Linux); `PT_IO` in `ptrace(2)` (FreeBSD).
    pub fn read_each(self, places: &mut [(u64, &mut [u8])]) -> Vec<Result<usize>> {
        self.asks(|tracer, stop| tracer.engine.read_each(stop, places))
    }
}
