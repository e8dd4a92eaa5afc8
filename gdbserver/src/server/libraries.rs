//! The libraries that a program has loaded: the list of its dynamic linker (`link.h`), as
//! `qXfer:libraries-svr4:read` has it.

use std::fmt::Write;

use trapline::{Error, Pid, Result};

use super::session::Session;
use super::text;

const AT_PHDR: u64 = 3;
const AT_PHENT: u64 = 4;
const AT_PHNUM: u64 = 5;
const PT_DYNAMIC: u64 = 2;
const PT_PHDR: u64 = 6;
const DT_DEBUG: u64 = 21;

/// How many entries of a list are looked at: the program can make it endless.
const MOST: usize = 10_000;

/// An entry of the linker's list.
struct Link {
    at: u64,
    address: u64,
    name: u64,
    dynamic: u64,
    next: u64,
    before: u64,
}

impl Session<'_> {
    /// Where the dynamic linker keeps its list, `struct r_debug`; 0 if there is none yet.
    ///
    /// # Errors
    ///
    /// There is no place for it: the program is a dynamic linker, or has none. The client may find out
    /// more by itself, which it does not try where the list is said to be empty.
    fn debug_of(&mut self, pid: Pid) -> Result<u64> {
        let word = self.server.inferiors.layout(pid).word();
        match self.place_of_debug(pid)? {
            0 => Err(Error::BadAddress { addr: 0, pid: Some(pid) }),
            place => self.server.inferiors.read_number(pid, place, word),
        }
    }

    /// Where the address of that is, which the dynamic linker writes into the program; 0 if there is
    /// no such place.
    pub(super) fn place_of_debug(&mut self, pid: Pid) -> Result<u64> {
        let inferiors = &mut self.server.inferiors;
        let entries = &inferiors.get(pid)?.program.entries;
        let entry = |kind| entries.iter().find(|entry| entry.0 == kind).map(|entry| entry.1);
        let (Some(headers), Some(size), Some(count)) =
            (entry(AT_PHDR), entry(AT_PHENT), entry(AT_PHNUM))
        else {
            return Ok(0);
        };
        let word = inferiors.layout(pid).word();
        let (mut base, mut dynamic) = (0, None);
        for index in 0..count.min(1000) {
            let at = headers.wrapping_add(index.wrapping_mul(size));
            let kind = inferiors.read_number(pid, at, 4)?;
            // p_vaddr is the third word in either class of files.
            let place = at.wrapping_add(2 * word as u64);
            match kind {
                PT_PHDR => {
                    base = headers.wrapping_sub(inferiors.read_number(pid, place, word)?);
                }
                PT_DYNAMIC => dynamic = Some(inferiors.read_number(pid, place, word)?),
                _ => {}
            }
        }
        let Some(dynamic) = dynamic else { return Ok(0) };
        let mut at = dynamic.wrapping_add(base);
        for _ in 0..MOST {
            let tag = inferiors.read_number(pid, at, word)?;
            if tag == 0 {
                break;
            }
            if tag == DT_DEBUG {
                return Ok(at.wrapping_add(word as u64));
            }
            at = at.wrapping_add(2 * word as u64);
        }
        Ok(0)
    }

    fn link(&mut self, pid: Pid, at: u64) -> Result<Link> {
        let inferiors = &mut self.server.inferiors;
        let word = inferiors.layout(pid).word();
        let data = inferiors.read_all(pid, at, 5 * word)?;
        let mut words = data
            .chunks(word)
            .map(|bytes| bytes.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte)));
        let mut field = || words.next().unwrap_or(0);
        let (address, name, dynamic, next, before) = (field(), field(), field(), field(), field());
        Ok(Link { at, address, name, dynamic, next, before })
    }

    /// The list; the annex names where to begin.
    pub(super) fn libraries(&mut self, pid: Pid, annex: &[u8]) -> Result<String> {
        let number = |key: &str| {
            let mut fields = annex.split(|&byte| byte == b';');
            let field = fields.find_map(|field| field.strip_prefix(key.as_bytes()))?;
            u64::from_str_radix(std::str::from_utf8(field).ok()?, 16).ok()
        };
        let start = number("start=").filter(|&start| start != 0);
        let mut before = number("prev=").unwrap_or(0);
        let word = self.server.inferiors.layout(pid).word();
        let mut list = String::from("<library-list-svr4 version=\"1.0\"");
        let mut items = String::new();
        let mut at = match start {
            Some(start) => start,
            None => match self.debug_of(pid)? {
                0 => 0,
                debug => {
                    let map = debug.wrapping_add(word as u64);
                    self.server.inferiors.read_number(pid, map, word).unwrap_or(0)
                }
            },
        };
        let mut is_first = start.is_none();
        for _ in 0..MOST {
            if at == 0 {
                break;
            }
            let Ok(link) = self.link(pid, at) else { break };
            if link.before != before {
                break; // the list is being changed, or is none
            }
            // The first one is the program.
            if std::mem::take(&mut is_first) {
                let _ = write!(list, " main-lm=\"{:#x}\"", link.at);
            } else {
                let name = self.server.inferiors.read_string(pid, link.name, 4096);
                let name = name.unwrap_or_default();
                // FreeBSD lists what the kernel maps into each program, which is no file, as [vdso].
                if !name.is_empty() && !name.starts_with(b"[") {
                    // Writing to a string cannot fail.
                    let _ = write!(
                        items,
                        "<library name=\"{}\" lm=\"{:#x}\" l_addr=\"{:#x}\" l_ld=\"{:#x}\" \
                         lmid=\"0x0\"/>",
                        text::xml(&String::from_utf8_lossy(&name)),
                        link.at,
                        link.address,
                        link.dynamic
                    );
                }
            }
            before = link.at;
            at = link.next;
        }
        match items.is_empty() {
            true => list += "/>",
            false => {
                list.push('>');
                list += &items;
                list += "</library-list-svr4>";
            }
        }
        Ok(list)
    }
}
