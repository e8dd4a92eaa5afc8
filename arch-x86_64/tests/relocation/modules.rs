//! Programs and libraries, and the places in them where breakpoints are put.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use gimli::{BaseAddresses, CieOrFde, EhFrame, EndianSlice, LittleEndian, UnwindSection};
use iced_x86::{Decoder, DecoderOptions};
use object::{Object, ObjectSection, ObjectSymbol, SectionKind};
use trapline_core::CodeMode;

type Bytes<'a> = EndianSlice<'a, LittleEndian>;

/// A program or library.
pub(crate) struct Module {
    pub(crate) name: String,
    pub(crate) mode: CodeMode,
    /// The address behind all of it.
    pub(crate) end: u64,
    code: Vec<(u64, Vec<u8>)>,
    functions: BTreeSet<u64>,
    lines: BTreeSet<u64>,
}

impl Module {
    pub(crate) fn this_test() -> Self {
        Self::read(Path::new("/proc/self/exe")).expect("this test has code")
    }

    /// The one that this test uses.
    pub(crate) fn libc() -> Self {
        let maps = std::fs::read_to_string("/proc/self/maps").expect("maps");
        let path = maps.lines().find_map(|line| {
            line.split(' ').next_back().filter(|path| {
                path.starts_with('/')
                    && (path.contains("/libc.so")
                        || path.contains("/libc-")
                        || path.contains("/ld-musl"))
            })
        });
        Self::read(Path::new(path.expect("libc is mapped"))).expect("libc has code")
    }

    /// The first of these folders that has this library.
    pub(crate) fn find(folders: &[&str], name: &str) -> Vec<Self> {
        let mut paths = folders.iter().map(|folder| Path::new(folder).join(name));
        paths.find_map(|path| Self::read(&path)).into_iter().collect()
    }

    /// Each virtual machine for Java.
    pub(crate) fn find_java() -> Vec<Self> {
        let folders = std::fs::read_dir("/usr/lib/jvm").into_iter().flatten().flatten();
        let paths: BTreeSet<PathBuf> = folders
            .map(|folder| folder.path().join("lib/server/libjvm.so"))
            .filter_map(|path| path.canonicalize().ok())
            .collect();
        paths.iter().filter_map(|path| Self::read(path)).collect()
    }

    fn read(path: &Path) -> Option<Self> {
        let data = std::fs::read(path).ok()?;
        let file = object::File::parse(&*data).ok()?;
        let is_code = |section: &object::Section| section.kind() == SectionKind::Text;
        let code: Vec<_> = file
            .sections()
            .filter(is_code)
            .filter_map(|section| Some((section.address(), section.data().ok()?.to_vec())))
            .collect();
        let end = file.sections().map(|s| s.address() + s.size()).max()?;
        let mut module = Self {
            name: path.canonicalize().ok()?.display().to_string(),
            mode: if file.is_64() { CodeMode::Bits64 } else { CodeMode::Bits32 },
            end,
            code,
            functions: BTreeSet::new(),
            lines: BTreeSet::new(),
        };
        let symbols = file.symbols().chain(file.dynamic_symbols());
        let functions = symbols
            .filter(|symbol| symbol.kind() == object::SymbolKind::Text && symbol.is_definition())
            .map(|symbol| symbol.address());
        module.functions =
            functions.chain(frames(&file)).filter(|&a| module.code_at(a).is_some()).collect();
        let lines = lines(&file).unwrap_or_default();
        module.lines = lines.into_iter().filter(|&a| module.code_at(a).is_some()).collect();
        Some(module)
    }

    /// What stands at an address; `None` if that is no code.
    pub(crate) fn code_at(&self, addr: u64) -> Option<&[u8]> {
        self.code.iter().find_map(|(start, bytes)| {
            bytes.get(usize::try_from(addr.checked_sub(*start)?).ok()?..).filter(|b| !b.is_empty())
        })
    }

    /// Where functions and lines start; and all instructions, where there are no lines.
    pub(crate) fn places(&self, all: bool) -> BTreeSet<u64> {
        let mut places: BTreeSet<u64> = self.functions.union(&self.lines).copied().collect();
        if all && self.lines.is_empty() {
            for (start, end) in self.functions.iter().zip(self.functions.iter().skip(1)) {
                places.extend(self.instructions(*start, *end));
            }
        }
        places
    }

    /// The instructions of a function, as far as they are some.
    fn instructions(&self, start: u64, end: u64) -> Vec<u64> {
        let Some(code) = self.code_at(start) else { return Vec::new() };
        let bits = if self.mode == CodeMode::Bits64 { 64 } else { 32 };
        let mut decoder = Decoder::with_ip(bits, code, start, DecoderOptions::NONE);
        let mut found = Vec::new();
        while decoder.can_decode() && decoder.ip() < end {
            let instruction = decoder.decode();
            // Padding, or a table
            if instruction.is_invalid() || instruction.mnemonic() == iced_x86::Mnemonic::Int3 {
                break;
            }
            found.push(instruction.ip());
        }
        found
    }
}

/// Where functions start by what `.eh_frame` has, which stripped libraries have too.
fn frames(file: &object::File) -> Vec<u64> {
    let Some(section) = file.section_by_name(".eh_frame") else { return Vec::new() };
    let Ok(data) = section.data() else { return Vec::new() };
    let mut frames = EhFrame::new(data, LittleEndian);
    frames.set_address_size(if file.is_64() { 8 } else { 4 });
    let bases = BaseAddresses::default().set_eh_frame(section.address());
    let mut entries = frames.entries(&bases);
    let mut found = Vec::new();
    while let Ok(Some(entry)) = entries.next() {
        let CieOrFde::Fde(partial) = entry else { continue };
        if let Ok(fde) =
            partial.parse(|frames, bases, offset| frames.cie_from_offset(bases, offset))
        {
            found.push(fde.initial_address());
        }
    }
    found
}

/// Where lines start.
fn lines(file: &object::File) -> Result<Vec<u64>, gimli::Error> {
    let load = |id: gimli::SectionId| {
        let section = file.section_by_name(id.name());
        let data = section.and_then(|section| section.data().ok()).unwrap_or_default();
        Ok::<Bytes, gimli::Error>(EndianSlice::new(data, LittleEndian))
    };
    let dwarf = gimli::Dwarf::load(load)?;
    let mut units = dwarf.units();
    let mut found = Vec::new();
    while let Some(header) = units.next()? {
        let unit = dwarf.unit(header)?;
        let Some(program) = unit.line_program.clone() else { continue };
        let (program, sequences) = program.sequences()?;
        for sequence in sequences.iter().filter(|sequence| sequence.start != 0) {
            let mut rows = program.resume_from(sequence);
            while let Some((_, row)) = rows.next_row()? {
                if row.is_stmt() && !row.end_sequence() {
                    found.push(row.address());
                }
            }
        }
    }
    Ok(found)
}
