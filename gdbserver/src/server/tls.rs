//! Where the thread-local variables of a module are. How the C library keeps them is in variables of
//! its own that are made for debuggers (glibc's `nptl_db/structs.def`, FreeBSD's `libthr`'s
//! `thr_init.c`), which the client looks up: what `libthread_db` would do with them is done here, so
//! that it works for the C library that the *program* has.

use trapline::{Pid, Result, Tid};

use crate::packet::{ThreadId, hex};
use crate::system::{self, CLibrary};

use super::answers::Answer;
use super::session::Session;

/// The symbols that tell, for glibc: where a link map has the module's number, where a thread has its
/// vector, and where an entry of that has the address. Each is three numbers of 4 bytes: the size in
/// bits, how many, the offset.
const GLIBC: [&str; 4] = [
    "_thread_db_link_map_l_tls_modid",
    "_thread_db_pthread_dtvp",
    "_thread_db_dtv_dtv",
    "_thread_db_dtv_t_pointer_val",
];

/// For FreeBSD's: one number of 4 bytes each.
const FREEBSD: [&str; 2] = ["_thread_off_tlsindex", "_thread_off_dtv"];

fn symbols() -> &'static [&'static str] {
    match system::C_LIBRARY {
        CLibrary::FreeBsd => &FREEBSD,
        CLibrary::Glibc => &GLIBC,
    }
}

impl Session<'_> {
    /// The client can look up symbols now, or has looked one up: the next one is asked for.
    pub(super) fn symbol(&mut self, name: Vec<u8>, value: Option<u64>) -> Answer {
        let Some(pid) = self.current_process() else { return Answer::ok() };
        let Ok(process) = self.server.inferiors.get_mut(pid) else { return Answer::ok() };
        if name.is_empty() {
            // It may have more of them now.
            process.symbols.retain(|_, value| value.is_some());
        } else if symbols().iter().any(|symbol| symbol.as_bytes() == name) {
            process.symbols.insert(name, value);
        }
        let next = symbols().iter().find(|name| !process.symbols.contains_key(name.as_bytes()));
        match next {
            Some(next) => format!("qSymbol:{}", hex(next.as_bytes())).into(),
            None => Answer::ok(),
        }
    }

    pub(super) fn thread_local(&mut self, thread: ThreadId, offset: u64, module: u64) -> Answer {
        let Some((pid, tid)) = self.find_thread(thread) else { return Answer::error() };
        if self.server.has_no_thread_library {
            return Answer::error();
        }
        match self.address_of_module(pid, tid, module) {
            Ok(Some(block)) => format!("{:x}", block.wrapping_add(offset)).into(),
            Ok(None) => Answer::unknown(),
            Err(error) => error.into(),
        }
    }

    fn symbol_value(&self, pid: Pid, name: &str) -> Option<u64> {
        let process = self.server.inferiors.get(pid).ok()?;
        process.symbols.get(name.as_bytes()).copied().flatten()
    }

    /// One of glibc's descriptions: how many bytes, and where.
    fn described(&mut self, pid: Pid, name: &str) -> Result<Option<(usize, u64)>> {
        let Some(at) = self.symbol_value(pid, name) else { return Ok(None) };
        let inferiors = &mut self.server.inferiors;
        let bits = inferiors.read_number(pid, at, 4)?;
        let offset = inferiors.read_number(pid, at.wrapping_add(8), 4)?;
        Ok(Some((usize::try_from(bits / 8).unwrap_or(0), offset)))
    }

    /// Where a thread has the variables of a module; `None` if nobody can tell.
    fn address_of_module(&mut self, pid: Pid, tid: Tid, module: u64) -> Result<Option<u64>> {
        let word = self.server.inferiors.layout(pid).word();
        let pointer = self.server.inferiors.thread_pointer(pid, tid)?;
        let Some(pointer) = pointer else { return Ok(None) };
        if system::C_LIBRARY == CLibrary::FreeBsd {
            return self.in_freebsd(pid, module, pointer, word);
        }
        let [index, vector, entries, value] = GLIBC;
        let Some(number) = self.number_of_module(pid, module, index)? else { return Ok(None) };
        let Some(vector) = self.described(pid, vector)? else { return Ok(None) };
        let (Some(entries), Some(value)) =
            (self.described(pid, entries)?, self.described(pid, value)?)
        else {
            return Ok(None);
        };
        let inferiors = &mut self.server.inferiors;
        let vector = inferiors.read_number(pid, pointer.wrapping_add(vector.1), word)?;
        // An entry is as long as the description of the array says, in bits.
        let entry = vector
            .wrapping_add(entries.1)
            .wrapping_add(number.wrapping_mul(entries.0 as u64))
            .wrapping_add(value.1);
        let block = inferiors.read_number(pid, entry, word)?;
        // Made at the first use, and not there before that.
        let not_there = block == 0 || block == u64::MAX || word == 4 && block == 0xffff_ffff;
        Ok((!not_there).then_some(block))
    }

    /// What the C library calls a module. One without a link map is the program, which is static.
    fn number_of_module(&mut self, pid: Pid, module: u64, index: &str) -> Result<Option<u64>> {
        if module == 0 {
            return Ok(Some(1));
        }
        let Some((len, offset)) = self.described(pid, index)? else { return Ok(None) };
        let at = module.wrapping_add(offset);
        self.server.inferiors.read_number(pid, at, len.max(1)).map(Some)
    }

    fn in_freebsd(
        &mut self,
        pid: Pid,
        module: u64,
        pointer: u64,
        word: usize,
    ) -> Result<Option<u64>> {
        let [index, vector] = FREEBSD.map(|name| self.symbol_value(pid, name));
        let Some(vector) = vector else { return Ok(None) };
        let inferiors = &mut self.server.inferiors;
        let vector = inferiors.read_number(pid, vector, 4)?;
        let number = match (module, index) {
            (0, _) => 1, // a static program
            (_, None) => return Ok(None),
            (_, Some(index)) => {
                let index = inferiors.read_number(pid, index, 4)?;
                inferiors.read_number(pid, module.wrapping_add(index), 4)?
            }
        };
        let vector = inferiors.read_number(pid, pointer.wrapping_add(vector), word)?;
        let entry = vector.wrapping_add((number + 1).wrapping_mul(word as u64));
        let block = inferiors.read_number(pid, entry, word)?;
        Ok((block != 0).then_some(block))
    }
}
