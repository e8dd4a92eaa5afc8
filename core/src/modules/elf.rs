//! What is read of ELF files where they lie in the memory of a process, whatever the width of its
//! program: `elf(5)` has the structures.

use std::ops::Range;

use crate::{Error, MemoryRegion, Result};

const MAGIC: &[u8] = b"\x7fELF";
const CLASS_32: u8 = 1;
const CLASS_64: u8 = 2;
const PT_LOAD: u64 = 1;
const PT_DYNAMIC: u64 = 2;
const PT_INTERP: u64 = 3;
const PT_NOTE: u64 = 4;
const PT_PHDR: u64 = 6;
const DT_NULL: u64 = 0;
const DT_HASH: u64 = 4;
const DT_STRTAB: u64 = 5;
const DT_SYMTAB: u64 = 6;
const DT_STRSZ: u64 = 10;
const NT_GNU_BUILD_ID: u64 = 3;
const BUILD_ID_OWNER: &[u8] = b"GNU\0";

/// Programs can make all of it as long as they like: how much of it is read.
const MOST_SEGMENTS: u64 = 1024;
const MOST_NOTES: u64 = 64 * 1024;
const MOST_DYNAMIC: usize = 4096;
const MOST_SYMBOLS: u64 = 4 << 20;
const LONGEST_STRING: usize = 4096;
/// How much of a string or a list is read at a time.
const PIECE: usize = 256;

/// Reads memory from an address on, and says how much.
pub(crate) type ReadMemory<'a> = &'a mut dyn FnMut(u64, &mut [u8]) -> Result<usize>;

/// The memory of a process, in words of its program's width.
pub(crate) struct Memory<'a> {
    read: ReadMemory<'a>,
    wide: bool,
}

impl<'a> Memory<'a> {
    pub(crate) fn new(read: ReadMemory<'a>, wide: bool) -> Self {
        Memory { read, wide }
    }

    /// How many bytes a word has.
    pub(super) fn word(&self) -> usize {
        if self.wide { 8 } else { 4 }
    }

    /// As many bytes as there are; none is no error.
    fn up_to(&mut self, addr: u64, len: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; len];
        let read = match (self.read)(addr, &mut bytes) {
            Err(Error::BadAddress { .. }) => 0,
            read => read?,
        };
        bytes.truncate(read);
        Ok(bytes)
    }

    /// All of these bytes.
    pub(super) fn bytes(&mut self, addr: u64, len: usize) -> Result<Vec<u8>> {
        let bytes = self.up_to(addr, len)?;
        match bytes.len() == len {
            true => Ok(bytes),
            false => Err(Error::bad_address(addr.wrapping_add(bytes.len() as u64))),
        }
    }

    /// Words that lie behind each other.
    pub(super) fn words<const N: usize>(&mut self, addr: u64) -> Result<[u64; N]> {
        let word = self.word();
        let bytes = self.bytes(addr, N * word)?;
        let mut words = [0; N];
        for (to, bytes) in words.iter_mut().zip(bytes.chunks_exact(word)) {
            *to = number(bytes);
        }
        Ok(words)
    }

    /// A string up to its end, or as much of it as there is.
    pub(super) fn string(&mut self, addr: u64) -> Result<Vec<u8>> {
        let mut string = Vec::new();
        while string.len() < LONGEST_STRING {
            let piece = self.up_to(addr.wrapping_add(string.len() as u64), PIECE)?;
            let end = piece.iter().position(|&byte| byte == 0);
            string.extend(piece.iter().take(end.unwrap_or(piece.len())));
            if end.is_some() || piece.len() < PIECE {
                break;
            }
        }
        Ok(string)
    }
}

/// A number of up to eight bytes.
fn number(bytes: &[u8]) -> u64 {
    match bytes.len() {
        2 => bytes.try_into().map_or(0, u16::from_ne_bytes).into(),
        4 => bytes.try_into().map_or(0, u32::from_ne_bytes).into(),
        8 => bytes.try_into().map_or(0, u64::from_ne_bytes),
        _ => 0,
    }
}

/// The number of `len` bytes at an offset; 0 behind the end.
pub(super) fn field(bytes: &[u8], at: usize, len: usize) -> u64 {
    bytes.get(at..).and_then(|rest| rest.get(..len)).map_or(0, number)
}

/// A program header.
#[derive(Debug, Clone, Copy)]
struct Segment {
    kind: u64,
    offset: u64,
    addr: u64,
    in_file: u64,
    len: u64,
    align: u64,
}

/// Where the program headers of a file are in memory: address, size of one, how many.
#[derive(Debug, Clone, Copy)]
pub(super) struct Headers {
    pub(super) at: u64,
    pub(super) size: u64,
    pub(super) count: u64,
}

impl Headers {
    fn read(self, memory: &mut Memory<'_>) -> Result<Vec<Segment>> {
        let size = usize::try_from(self.size).unwrap_or(0);
        let least = if memory.wide { 56 } else { 32 };
        if size < least || size > 4 * least || self.count > MOST_SEGMENTS {
            return Ok(Vec::new());
        }
        let bytes = memory.bytes(self.at, size * self.count as usize)?;
        let wide = memory.wide;
        let segment = |header: &[u8]| {
            let kind = field(header, 0, 4);
            match wide {
                true => {
                    let word = |at| field(header, at, 8);
                    let (offset, addr) = (word(8), word(16));
                    Segment {
                        kind,
                        offset,
                        addr,
                        in_file: word(32),
                        len: word(40),
                        align: word(48),
                    }
                }
                false => {
                    let word = |at| field(header, at, 4);
                    let (offset, addr) = (word(4), word(8));
                    Segment {
                        kind,
                        offset,
                        addr,
                        in_file: word(16),
                        len: word(20),
                        align: word(28),
                    }
                }
            }
        };
        Ok(bytes.chunks_exact(size).map(segment).collect())
    }
}

/// A file where it lies in memory.
#[derive(Debug)]
pub(super) struct Image {
    /// What is to be added to an address of the file.
    pub(super) bias: u64,
    segments: Vec<Segment>,
}

impl Image {
    /// The file whose beginning is at an address; `None` if none begins there that the program can
    /// use.
    pub(super) fn at(memory: &mut Memory<'_>, start: u64) -> Result<Option<Image>> {
        let header = memory.up_to(start, 64)?;
        let class = if memory.wide { CLASS_64 } else { CLASS_32 };
        if !header.starts_with(MAGIC) || header.get(4) != Some(&class) {
            return Ok(None);
        }
        let (offset, size, count) = match memory.wide {
            true => (field(&header, 32, 8), field(&header, 54, 2), field(&header, 56, 2)),
            false => (field(&header, 28, 4), field(&header, 42, 2), field(&header, 44, 2)),
        };
        let headers = Headers { at: start.wrapping_add(offset), size, count };
        let segments = match headers.read(memory) {
            Err(Error::BadAddress { .. }) => return Ok(None),
            segments => segments?,
        };
        let first = segments.iter().find(|segment| segment.kind == PT_LOAD);
        Ok(first
            .map(|first| first.addr.wrapping_sub(first.offset))
            .map(|begins_at| Image { bias: start.wrapping_sub(begins_at), segments }))
    }

    /// The program itself, by its headers, of which the kernel has told it.
    pub(super) fn of_program(
        memory: &mut Memory<'_>,
        headers: Headers,
        map: &[MemoryRegion],
    ) -> Result<Option<Image>> {
        let segments = match headers.read(memory) {
            Err(Error::BadAddress { .. }) => return Ok(None),
            segments => segments?,
        };
        let own = segments.iter().find(|segment| segment.kind == PT_PHDR).map(|own| own.addr);
        // Static programs have none. What is mapped where the headers are says where they are in the
        // file, and a segment has that part of it.
        let by_map = || {
            let region = map.iter().find(|region| region.contains(headers.at))?;
            let offset = region.offset.wrapping_add(headers.at.wrapping_sub(region.start));
            segments.iter().filter(|segment| segment.kind == PT_LOAD).find_map(|segment| {
                let inside = offset.checked_sub(segment.offset)?;
                (inside < segment.in_file).then(|| segment.addr.wrapping_add(inside))
            })
        };
        let bias = own.or_else(by_map).map_or(0, |own| headers.at.wrapping_sub(own));
        Ok((!segments.is_empty()).then_some(Image { bias, segments }))
    }

    fn has(&self, kind: u64) -> Option<&Segment> {
        self.segments.iter().find(|segment| segment.kind == kind)
    }

    /// The addresses from its first byte to behind its last one, in whole pages.
    pub(super) fn range(&self, page: u64) -> Range<u64> {
        let loads = || self.segments.iter().filter(|segment| segment.kind == PT_LOAD);
        let start = loads().map(|segment| segment.addr).min().unwrap_or(0);
        let end = loads().map(|segment| segment.addr.saturating_add(segment.len)).max();
        let page = page.max(1);
        let (start, end) =
            (start / page * page, end.unwrap_or(0).div_ceil(page).wrapping_mul(page));
        start.wrapping_add(self.bias)..end.wrapping_add(self.bias)
    }

    /// Where its dynamic section is.
    pub(super) fn dynamic(&self) -> Option<u64> {
        Some(self.has(PT_DYNAMIC)?.addr.wrapping_add(self.bias))
    }

    /// Whether a dynamic linker runs before it.
    pub(super) fn is_interpreted(&self) -> bool {
        self.has(PT_INTERP).is_some()
    }

    /// The id that its linker has given it.
    pub(super) fn build_id(&self, memory: &mut Memory<'_>) -> Result<Option<Vec<u8>>> {
        for note in self.segments.iter().filter(|segment| segment.kind == PT_NOTE) {
            let len = usize::try_from(note.in_file.min(MOST_NOTES)).unwrap_or(0);
            let notes = memory.up_to(note.addr.wrapping_add(self.bias), len)?;
            if let Some(id) = build_id_in(&notes, if note.align == 8 { 8 } else { 4 }) {
                return Ok(Some(id));
            }
        }
        Ok(None)
    }

    /// The entries of its dynamic section.
    pub(super) fn dynamic_entries(&self, memory: &mut Memory<'_>) -> Result<Vec<[u64; 3]>> {
        let Some(start) = self.dynamic() else { return Ok(Vec::new()) };
        let size = 2 * memory.word();
        let mut entries = Vec::new();
        while entries.len() < MOST_DYNAMIC {
            let from = start.wrapping_add((entries.len() * size) as u64);
            let piece = memory.up_to(from, PIECE / size * size)?;
            for (at, entry) in piece.chunks_exact(size).enumerate() {
                let (tag, value) = entry.split_at(size / 2);
                let place = from.wrapping_add((at * size + size / 2) as u64);
                match number(tag) {
                    DT_NULL => return Ok(entries),
                    tag => entries.push([tag, number(value), place]),
                }
            }
            if piece.len() < size {
                break;
            }
        }
        Ok(entries)
    }

    /// The address of the first of these symbols that it defines, for others to use.
    pub(super) fn find_symbol(
        &self,
        memory: &mut Memory<'_>,
        names: &[&[u8]],
    ) -> Result<Option<u64>> {
        let entries = self.dynamic_entries(memory)?;
        let value = |wanted| entries.iter().find(|[tag, ..]| *tag == wanted).map(|entry| entry[1]);
        // Before it has run, or where it leaves them alone, these are addresses of the file.
        let place = |at: u64| if at < self.bias { at.wrapping_add(self.bias) } else { at };
        let (Some(symbols), Some(strings)) = (value(DT_SYMTAB), value(DT_STRTAB)) else {
            return Ok(None);
        };
        let (symbols, strings) = (place(symbols), place(strings));
        let size = if memory.wide { 24 } else { 16 };
        // Of the newer kind of hash table one cannot tell how many there are; but linkers put the
        // strings behind the symbols.
        let count = match (strings.checked_sub(symbols), value(DT_HASH)) {
            (_, Some(hash)) => field(&memory.bytes(place(hash), 8)?, 4, 4),
            (Some(between), None) => between / size,
            (None, None) => 0,
        };
        let len = (count.saturating_mul(size)).min(MOST_SYMBOLS);
        let table = memory.up_to(symbols, usize::try_from(len).unwrap_or(0))?;
        let len = value(DT_STRSZ).unwrap_or(0).min(MOST_SYMBOLS);
        let strings = memory.up_to(strings, usize::try_from(len).unwrap_or(0))?;
        let defined = |symbol: &[u8]| {
            let (section, at) = match memory.wide {
                true => (field(symbol, 6, 2), field(symbol, 8, 8)),
                false => (field(symbol, 14, 2), field(symbol, 4, 4)),
            };
            let name = strings.get(usize::try_from(field(symbol, 0, 4)).ok()?..)?;
            let name = name.split(|&byte| byte == 0).next()?;
            (section != 0 && at != 0).then(|| (name.to_vec(), at.wrapping_add(self.bias)))
        };
        let all: Vec<_> = table.chunks_exact(size as usize).filter_map(defined).collect();
        Ok(names
            .iter()
            .find_map(|&wanted| all.iter().find(|(name, _)| name == wanted).map(|&(_, at)| at)))
    }
}

/// The build id among some notes.
fn build_id_in(notes: &[u8], align: usize) -> Option<Vec<u8>> {
    let mut rest = notes;
    while rest.len() >= 12 {
        let len = |at| usize::try_from(field(rest, at, 4)).ok();
        let (owner, content) = (len(0)?, len(4)?);
        let kind = field(rest, 8, 4);
        let from = 12_usize.checked_add(owner)?.checked_next_multiple_of(align)?;
        let to = from.checked_add(content)?;
        if kind == NT_GNU_BUILD_ID && rest.get(12..)?.starts_with(BUILD_ID_OWNER) && owner == 4 {
            return rest.get(from..to).map(<[u8]>::to_vec);
        }
        rest = rest.get(to.checked_next_multiple_of(align)?..)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(kind: u32, owner: &[u8], content: &[u8]) -> Vec<u8> {
        let mut note = Vec::new();
        for word in [owner.len() as u32, content.len() as u32, kind] {
            note.extend(word.to_ne_bytes());
        }
        for part in [owner, content] {
            note.extend(part);
            note.resize(note.len().next_multiple_of(4), 0);
        }
        note
    }

    #[test]
    fn a_build_id_is_found_behind_other_notes() {
        let mut notes = note(5, b"GNU\0", &[0; 16]);
        notes.extend(note(3, b"Go\0\0", b"no"));
        notes.extend(note(3, b"GNU\0", b"\x01\x02\x03"));
        assert_eq!(build_id_in(&notes, 4), Some(vec![1, 2, 3]));
        for len in 0..notes.len() - 1 {
            assert_eq!(build_id_in(&notes[..len], 4), None, "of {len} bytes");
        }
        assert_eq!(build_id_in(&[0xff; 64], 8), None);
    }

    #[test]
    fn a_string_ends_where_memory_does() {
        let text = [b'a'; 300];
        let mut read = |addr: u64, to: &mut [u8]| {
            let from = text.get((addr as usize).saturating_sub(0x1000)..).unwrap_or_default();
            let len = from.len().min(to.len());
            to[..len].copy_from_slice(&from[..len]);
            if len == 0 { Err(Error::bad_address(addr)) } else { Ok(len) }
        };
        let mut memory = Memory::new(&mut read, true);
        assert_eq!(memory.string(0x1000).unwrap(), text);
        assert_eq!(memory.string(0x9000).unwrap(), b"");
        assert!(memory.bytes(0x1000, 301).is_err());
    }
}
