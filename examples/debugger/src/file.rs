//! One file that a program consists of: its symbols, its lines, its types, and how to unwind through it.
//! All addresses in here are the file's own.

use std::borrow::Cow;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use framehop::ExplicitModuleSectionInfo;
use gimli::{RunTimeEndian, UnitRef};
use object::{Object, ObjectSection, ObjectSegment, ObjectSymbol, SymbolKind};

pub(crate) type Bytes = gimli::EndianArcSlice<RunTimeEndian>;
pub(crate) type Unit<'a> = UnitRef<'a, Bytes>;

pub(crate) struct File {
    pub(crate) path: PathBuf,
    /// From the first byte in memory to behind the last one.
    pub(crate) range: Range<u64>,
    /// By address.
    pub(crate) symbols: Vec<Symbol>,
    pub(crate) dwarf: Arc<gimli::Dwarf<Bytes>>,
    pub(crate) lines: addr2line::Context<Bytes>,
    pub(crate) unwind: ExplicitModuleSectionInfo<Vec<u8>>,
}

pub(crate) struct Symbol {
    pub(crate) at: u64,
    pub(crate) size: u64,
    pub(crate) is_code: bool,
    /// As the source has it.
    pub(crate) name: String,
}

impl File {
    pub(crate) fn read(path: &Path) -> Result<File, Box<dyn std::error::Error>> {
        let data = std::fs::read(path)?;
        let file = object::File::parse(&*data)?;
        let endian =
            if file.is_little_endian() { RunTimeEndian::Little } else { RunTimeEndian::Big };
        let dwarf = gimli::Dwarf::load(|id| -> Result<_, gimli::Error> {
            let section = file.section_by_name(id.name());
            let data = section.and_then(|section| section.uncompressed_data().ok());
            Ok(Bytes::new(Arc::from(&*data.unwrap_or(Cow::Borrowed(&[]))), endian))
        })?;
        let dwarf = Arc::new(dwarf);
        let segments = || file.segments().filter(|segment| segment.size() > 0);
        let start = segments().map(|s| s.address()).min().unwrap_or(0);
        let end = segments().map(|s| s.address() + s.size()).max().unwrap_or(0);
        Ok(File {
            path: path.to_path_buf(),
            range: start..end,
            symbols: symbols(&file),
            lines: addr2line::Context::from_arc_dwarf(Arc::clone(&dwarf))?,
            dwarf,
            unwind: unwind_sections(&file, start),
        })
    }

    /// The function that an address is in.
    pub(crate) fn function(&self, at: u64) -> Option<&Symbol> {
        let before = self.symbols.partition_point(|symbol| symbol.at <= at);
        let code = self.symbols[..before].iter().rev().find(|symbol| symbol.is_code)?;
        (code.size == 0 || at - code.at < code.size).then_some(code)
    }

    /// What tells of the code at an address.
    pub(crate) fn unit(&self, at: u64) -> Option<Unit<'_>> {
        self.lines.find_dwarf_and_unit(at).skip_all_loads()
    }

    /// All there is, for what is global.
    pub(crate) fn units(&self) -> impl Iterator<Item = gimli::Unit<Bytes>> + '_ {
        let mut headers = self.dwarf.units();
        std::iter::from_fn(move || headers.next().ok().flatten())
            .filter_map(|header| self.dwarf.unit(header).ok())
    }
}

fn symbols(file: &object::File<'_>) -> Vec<Symbol> {
    let all = file.symbols().chain(file.dynamic_symbols());
    let known = all.filter(|s| s.is_definition()).filter_map(|symbol| {
        let is_code = match symbol.kind() {
            SymbolKind::Text => true,
            SymbolKind::Data => false,
            _ => return None,
        };
        let name = format!("{:#}", rustc_demangle::demangle(symbol.name().ok()?));
        Some(Symbol { at: symbol.address(), size: symbol.size(), is_code, name })
    });
    let mut symbols: Vec<Symbol> = known.collect();
    symbols.sort_by(|a, b| (a.at, &a.name).cmp(&(b.at, &b.name)));
    symbols.dedup_by(|a, b| (a.at, &a.name) == (b.at, &b.name));
    symbols
}

fn unwind_sections(file: &object::File<'_>, start: u64) -> ExplicitModuleSectionInfo<Vec<u8>> {
    let range = |name| {
        let section = file.section_by_name(name)?;
        Some(section.address()..section.address() + section.size())
    };
    let data = |name| file.section_by_name(name)?.uncompressed_data().ok().map(Cow::into_owned);
    ExplicitModuleSectionInfo {
        base_svma: start,
        text_svma: range(".text"),
        text: data(".text"),
        got_svma: range(".got"),
        eh_frame_svma: range(".eh_frame"),
        eh_frame: data(".eh_frame"),
        eh_frame_hdr_svma: range(".eh_frame_hdr"),
        eh_frame_hdr: data(".eh_frame_hdr"),
        debug_frame: data(".debug_frame"),
        ..ExplicitModuleSectionInfo::default()
    }
}
