//! The symbols of a program: of its executable and its shared libraries, where they are in its memory.

use std::path::{Path, PathBuf};

use object::{Object, ObjectSymbol};
use trapline::{Module, Pid, Result, Tracer};

/// The entry of the auxiliary vector (`elf.h`) with the first instruction of the program proper.
const AT_ENTRY: u64 = 9;

struct Symbol {
    at: u64,
    size: u64,
    is_code: bool,
    name: String,
}

/// One file.
struct Symbols {
    of: Module,
    list: Vec<Symbol>,
}

/// All of them, the executable first.
#[derive(Default)]
pub(crate) struct Modules(Vec<Symbols>);

impl Symbols {
    fn read(of: Module) -> Option<Symbols> {
        let data = std::fs::read(of.path.as_ref()?).ok()?;
        let file = object::File::parse(&*data).ok()?;
        let symbols = file.symbols().chain(file.dynamic_symbols());
        let mut list: Vec<Symbol> = symbols
            .filter(|symbol| symbol.is_definition())
            .filter_map(|symbol| {
                Some(Symbol {
                    at: symbol.address().wrapping_add(of.bias),
                    size: symbol.size(),
                    is_code: symbol.kind() == object::SymbolKind::Text,
                    name: symbol.name().ok()?.to_string(),
                })
            })
            .collect();
        list.sort_by_key(|symbol| symbol.at);
        Some(Symbols { of, list })
    }

    /// The function that an address is in, or the file.
    fn describe(&self, at: u64) -> String {
        let before = self.list.partition_point(|symbol| symbol.at <= at);
        let function = self.list[..before].iter().rev().find(|symbol| symbol.is_code);
        match function.filter(|f| at - f.at < f.size.max(1) || f.size == 0) {
            Some(function) if at == function.at => function.name.clone(),
            Some(function) => format!("{}+{:#x}", function.name, at - function.at),
            None => {
                let path: PathBuf = self.of.path.clone().unwrap_or_default();
                let name = path.file_name().map(Path::new).unwrap_or(&path);
                format!("{}+{:#x}", name.display(), at.wrapping_sub(self.of.bias))
            }
        }
    }
}

impl Modules {
    /// The modules of a stopped process. At the exec that starts a program its libraries are not
    /// there yet.
    pub(crate) fn of(tracer: &Tracer, pid: Pid) -> Result<Modules> {
        Ok(Modules(tracer.modules(pid)?.into_iter().filter_map(Symbols::read).collect()))
    }

    /// The first instruction of the program proper: the libraries that it needs are there then.
    pub(crate) fn entry_point(tracer: &Tracer, pid: Pid) -> Result<Option<u64>> {
        tracer.auxv(pid, AT_ENTRY)
    }

    /// Where a function is.
    #[allow(dead_code, reason = "for `malloc_callers`")]
    pub(crate) fn find_function(&self, name: &str) -> Option<u64> {
        let named = |symbol: &&Symbol| symbol.name == name && symbol.is_code;
        self.0.iter().find_map(|module| Some(module.list.iter().find(named)?.at))
    }

    /// Where a variable is, and its size.
    #[allow(dead_code, reason = "for `watch`")]
    pub(crate) fn find(&self, name: &str) -> Option<(u64, u64)> {
        let named = |symbol: &&Symbol| symbol.name == name && !symbol.is_code;
        let found = self.0.iter().find_map(|module| module.list.iter().find(named))?;
        Some((found.at, found.size))
    }

    /// An address of code as symbol+offset, or as file+offset.
    pub(crate) fn describe(&self, at: u64) -> String {
        let module = self.0.iter().find(|module| module.of.contains(at));
        module.map_or_else(|| format!("{at:#x}"), |module| module.describe(at))
    }
}
