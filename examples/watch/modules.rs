//! The files that a program consists of, and where they are in its memory: the executable and its
//! shared libraries, with their symbols. Both systems keep the list that the dynamic linker makes
//! for debuggers (`link.h`: `r_debug`, `link_map`).

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use object::{Object, ObjectSection, ObjectSegment, ObjectSymbol};
use trapline::{Pid, Result, Stopped, Tracer};

// The types of entries of the auxiliary vector (`elf.h`) that are the same on both systems.
const AT_PHDR: u64 = 3;
const AT_ENTRY: u64 = 9;
/// The entry of a dynamic section that leads to the linker's list.
const DT_DEBUG: u64 = 21;

/// One file.
pub(crate) struct Module {
    name: String,
    /// What is to be added to the addresses in the file.
    bias: u64,
    /// Where it ends.
    end: u64,
    symbols: Vec<Symbol>,
    /// Where its dynamic section is.
    dynamic: Option<u64>,
    /// How many bytes an address has.
    width: usize,
}

struct Symbol {
    at: u64,
    size: u64,
    is_code: bool,
    name: String,
}

/// All of them, the executable first.
#[derive(Default)]
pub(crate) struct Modules(Vec<Module>);

/// How many bytes an address has, in a program of 64 bits and in one of 32.
const WIDE: usize = 8;
const NARROW: usize = 4;

impl Module {
    fn read(path: &Path, bias: impl FnOnce(&object::File<'_>) -> u64) -> Option<Module> {
        let data = std::fs::read(path).ok()?;
        let file = object::File::parse(&*data).ok()?;
        let bias = bias(&file);
        let symbols = file.symbols().chain(file.dynamic_symbols());
        let mut symbols: Vec<Symbol> = symbols
            .filter(|symbol| symbol.is_definition())
            .filter_map(|symbol| {
                Some(Symbol {
                    at: symbol.address().wrapping_add(bias),
                    size: symbol.size(),
                    is_code: symbol.kind() == object::SymbolKind::Text,
                    name: symbol.name().ok()?.to_string(),
                })
            })
            .collect();
        symbols.sort_by_key(|symbol| symbol.at);
        let ends = file.segments().map(|segment| segment.address() + segment.size());
        let dynamic = file.section_by_name(".dynamic").map(|section| section.address());
        let name = path.file_name().unwrap_or(path.as_os_str());
        Some(Module {
            name: name.to_string_lossy().into_owned(),
            bias,
            end: ends.max().unwrap_or(0).wrapping_add(bias),
            symbols,
            dynamic: dynamic.map(|at| at.wrapping_add(bias)),
            width: if file.is_64() { WIDE } else { NARROW },
        })
    }

    /// The function that an address is in, or the file.
    fn describe(&self, at: u64) -> String {
        let before = self.symbols.partition_point(|symbol| symbol.at <= at);
        let function = self.symbols[..before].iter().rev().find(|symbol| symbol.is_code);
        match function.filter(|f| at - f.at < f.size.max(1) || f.size == 0) {
            Some(function) if at == function.at => function.name.clone(),
            Some(function) => format!("{}+{:#x}", function.name, at - function.at),
            None => format!("{}+{:#x}", self.name, at.wrapping_sub(self.bias)),
        }
    }
}

impl Modules {
    /// The executable of a process that has just exec'ed; its libraries are not there yet.
    pub(crate) fn of_executable(tracer: &mut Tracer, pid: Pid) -> Result<Modules> {
        let headers = entry(tracer, pid, AT_PHDR)?;
        let Some(path) = tracer.process_info(pid)?.executable else {
            return Ok(Modules::default());
        };
        let bias = |file: &object::File<'_>| match (headers, program_headers(file)) {
            (Some(at), Some(offset)) => at.wrapping_sub(offset),
            _ => 0,
        };
        Ok(Modules(Module::read(&path, bias).into_iter().collect()))
    }

    /// The first instruction of the program proper: the libraries that it needs are there then.
    pub(crate) fn entry_point(tracer: &mut Tracer, pid: Pid) -> Result<Option<u64>> {
        entry(tracer, pid, AT_ENTRY)
    }

    /// Adds the libraries, of a program that is at its entry point or later.
    pub(crate) fn add_libraries(&mut self, tracer: &mut Tracer, stop: &Stopped) {
        let Some(Module { dynamic: Some(dynamic), width, .. }) = self.0.first() else { return };
        let width = *width;
        let Some(mut map) = first_link(tracer, stop, *dynamic, width) else { return };
        let mut left = 1000; // a list of a broken program may have no end
        while map != 0 && left > 0 {
            left -= 1;
            // l_addr (FreeBSD: l_base, which is the same for a library), l_name, l_ld, l_next
            let Some([bias, name, _, next]) = words(tracer, stop, map, width) else { return };
            let path = text(tracer, stop, name);
            // The executable has an empty name or its own.
            if !path.as_os_str().is_empty() && path.is_absolute() && left < 999 {
                self.0.extend(Module::read(&path, |_| bias));
            }
            map = next;
        }
    }

    /// Where a function is.
    #[allow(dead_code, reason = "for `malloc_callers`")]
    pub(crate) fn find_function(&self, name: &str) -> Option<u64> {
        let named = |symbol: &&Symbol| symbol.name == name && symbol.is_code;
        self.0.iter().find_map(|module| Some(module.symbols.iter().find(named)?.at))
    }

    /// Where a variable is, and its size.
    #[allow(dead_code, reason = "for `watch`")]
    pub(crate) fn find(&self, name: &str) -> Option<(u64, u64)> {
        let named = |symbol: &&Symbol| symbol.name == name && !symbol.is_code;
        let found = self.0.iter().find_map(|module| module.symbols.iter().find(named))?;
        Some((found.at, found.size))
    }

    /// An address of code as symbol+offset, or as file+offset.
    pub(crate) fn describe(&self, at: u64) -> String {
        let module = self.0.iter().find(|m| m.bias <= at && at < m.end);
        module.map_or_else(|| format!("{at:#x}"), |module| module.describe(at))
    }
}

/// The address that the program headers have in the file's own numbering.
fn program_headers(file: &object::File<'_>) -> Option<u64> {
    let offset = match file {
        object::File::Elf64(elf) => elf.elf_header().e_phoff.get(elf.endian()),
        object::File::Elf32(elf) => elf.elf_header().e_phoff.get(elf.endian()).into(),
        _ => return None,
    };
    let mut segments = file.segments();
    segments.find_map(|segment| {
        let (at, size) = segment.file_range();
        let inside = offset.checked_sub(at).filter(|inside| *inside < size)?;
        Some(segment.address() + inside)
    })
}

/// An entry of an auxiliary vector.
fn entry(tracer: &mut Tracer, pid: Pid, wanted: u64) -> Result<Option<u64>> {
    let entries = tracer.auxiliary_entries(pid)?;
    Ok(entries.iter().find(|(kind, _)| *kind == wanted).map(|&(_, value)| value))
}

/// Words of a program's memory.
fn words<const N: usize>(
    tracer: &mut Tracer,
    stop: &Stopped,
    at: u64,
    width: usize,
) -> Option<[u64; N]> {
    let mut bytes = vec![0; width * N];
    let read = tracer.read_memory(stop, at, &mut bytes).ok()?;
    if read < bytes.len() {
        return None;
    }
    let mut words = [0; N];
    for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(width)) {
        let mut wide = [0; WIDE];
        wide[..width].copy_from_slice(bytes);
        *word = u64::from_le_bytes(wide);
    }
    Some(words)
}

/// The first entry of the linker's list, by way of the executable's dynamic section.
fn first_link(tracer: &mut Tracer, stop: &Stopped, dynamic: u64, width: usize) -> Option<u64> {
    let mut at = dynamic;
    loop {
        match words(tracer, stop, at, width)? {
            [0, _] => return None,
            [DT_DEBUG, debug] => {
                // r_version, r_map
                let [_, map] = words(tracer, stop, debug, width)?;
                return Some(map);
            }
            _ => at += 2 * width as u64,
        }
    }
}

/// A string of a program's memory.
fn text(tracer: &mut Tracer, stop: &Stopped, at: u64) -> PathBuf {
    let mut bytes = vec![0; 1024];
    let read = tracer.read_memory(stop, at, &mut bytes).unwrap_or(0);
    let end = bytes[..read].iter().position(|&byte| byte == 0).unwrap_or(0);
    PathBuf::from(OsStr::from_bytes(&bytes[..end]))
}
