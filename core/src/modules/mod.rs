//! The files that a program consists of, where they are in its memory.

mod elf;
mod list;

use std::ffi::OsString;
use std::ops::Range;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use crate::{MemoryRegion, Result};

pub(crate) use elf::Memory;
use elf::{Headers, Image};
use list::Link;
pub(crate) use list::List;

// Types of entries of the auxiliary vector (`elf.h`).
const AT_PHDR: u64 = 3;
const AT_PHENT: u64 = 4;
const AT_PHNUM: u64 = 5;
const AT_PAGESZ: u64 = 6;
const AT_BASE: u64 = 7;
const AT_ENTRY: u64 = 9;

/// A file in the memory of a process: the executable, the dynamic linker, a library; see
/// [`Tracer::modules`](crate::Tracer::modules).
///
/// ```
/// use trapline::{Module, ModuleKind};
///
/// /// Where an address is, as in `libc.so.6+0x29d90`: the number is the address in the file.
/// fn describe(modules: &[Module], addr: u64) -> Option<String> {
///     let module = modules.iter().find(|module| module.contains(addr))?;
///     let name = match module.path.as_deref().and_then(|path| path.file_name()) {
///         Some(name) => name.to_string_lossy().into_owned(),
///         None if module.kind == ModuleKind::Vdso => "the kernel's".into(),
///         None => "?".into(),
///     };
///     Some(format!("{name}+{:#x}", addr.wrapping_sub(module.bias)))
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Module {
    /// What it is to the program.
    pub kind: ModuleKind,
    /// The file, as the kernel names it; if the kernel does not, as the dynamic linker does. On Linux
    /// a file that was deleted has ` (deleted)` behind its name.
    pub path: Option<PathBuf>,
    /// What the dynamic linker calls it: mostly the path by which it was found. The executable mostly
    /// has no such name.
    pub name: Option<OsString>,
    /// What is to be added to an address in the file, such as a symbol's, to have it in memory.
    pub bias: u64,
    /// The addresses from its first byte to behind its last one. There may be gaps.
    pub range: Range<u64>,
    /// The id that its linker has given the file, of mostly 20 bytes, if it has one.
    pub build_id: Option<Vec<u8>>,
    /// Where its dynamic section is, if it has one.
    pub dynamic: Option<u64>,
    /// Where the dynamic linker keeps its entry: a `struct link_map`, in the program's memory. `None`
    /// for what the linker does not list (yet).
    pub link_map: Option<u64>,
    /// The namespace that it was loaded into: 0, unless the program uses `dlmopen(3)` (glibc).
    pub namespace: u32,
}

impl Module {
    /// Whether an address is between its first and its last one.
    ///
    /// ```no_run
    /// use trapline::{Module, Result, Stopped, Tracer};
    ///
    /// /// The file whose code a thread is in.
    /// fn module_of(tracer: &Tracer, stop: &Stopped) -> Result<Option<Module>> {
    ///     let pc = tracer.registers(stop)?.pc();
    ///     Ok(tracer.modules(stop.pid())?.into_iter().find(|module| module.contains(pc)))
    /// }
    /// ```
    pub fn contains(&self, addr: u64) -> bool {
        self.range.contains(&addr)
    }
}

/// What a [`Module`] is to its program.
///
/// ```
/// use trapline::{Module, ModuleKind};
///
/// /// What a debugger looks for symbols in.
/// fn has_file(module: &Module) -> bool {
///     module.kind != ModuleKind::Vdso
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ModuleKind {
    /// The program itself.
    Executable,
    /// The dynamic linker, which loads the libraries. With musl this is the C library, too.
    DynamicLinker,
    /// A library.
    Library,
    /// Code that the kernel maps into each program, of which there is no file.
    Vdso,
}

/// What the kernel says of a program.
pub(crate) struct Program<'a> {
    pub(crate) auxv: &'a [(u64, u64)],
    pub(crate) map: &'a [MemoryRegion],
    /// The type of the entry with the address of the kernel's own code.
    pub(crate) vdso: u64,
}

/// The file in memory, and what kind of module it is.
struct Found {
    kind: ModuleKind,
    image: Image,
}

impl Program<'_> {
    fn entry(&self, kind: u64) -> Option<u64> {
        let found = self.auxv.iter().find(|entry| entry.0 == kind)?.1;
        Some(found).filter(|&value| value != 0)
    }

    fn executable(&self, memory: &mut Memory<'_>) -> Result<Option<Image>> {
        let (Some(at), Some(size), Some(count)) =
            (self.entry(AT_PHDR), self.entry(AT_PHENT), self.entry(AT_PHNUM))
        else {
            return Ok(None);
        };
        Image::of_program(memory, Headers { at, size, count }, self.map)
    }

    /// What the kernel has mapped before the program ran.
    fn mapped_by_kernel(&self, memory: &mut Memory<'_>) -> Result<Vec<Found>> {
        let mut found = Vec::new();
        if let Some(image) = self.executable(memory)? {
            found.push(Found { kind: ModuleKind::Executable, image });
        }
        let others = [(AT_BASE, ModuleKind::DynamicLinker), (self.vdso, ModuleKind::Vdso)];
        for (entry, kind) in others {
            let Some(start) = self.entry(entry) else { continue };
            if let Some(image) = Image::at(memory, start)? {
                found.push(Found { kind, image });
            }
        }
        Ok(found)
    }

    /// What the dynamic linker says, or would say by now.
    pub(crate) fn list(&self, memory: &mut Memory<'_>) -> Result<List> {
        match self.executable(memory)? {
            Some(program) => List::read(memory, &program),
            None => Ok(List::default()),
        }
    }

    /// Where a program stops when the list of its modules has changed: a function of the dynamic
    /// linker; if that has no name, and has not run yet, the program's own first instruction, by which
    /// it has said where. `None` for a program without a dynamic linker.
    pub(crate) fn stop(&self, memory: &mut Memory<'_>) -> Result<Option<u64>> {
        let Some(program) = self.executable(memory)? else { return Ok(None) };
        if let Some(stop) = List::read(memory, &program)?.stop {
            return Ok(Some(stop));
        }
        let linker = match self.entry(AT_BASE) {
            Some(base) => Image::at(memory, base)?,
            // It may be the program itself.
            None => return list::stop_of(memory, &program),
        };
        let named = match &linker {
            Some(linker) => list::stop_of(memory, linker)?,
            None => None,
        };
        Ok(named.or_else(|| program.is_interpreted().then(|| self.entry(AT_ENTRY)).flatten()))
    }

    /// All modules, the executable first.
    pub(crate) fn modules(&self, memory: &mut Memory<'_>) -> Result<Vec<Module>> {
        let mut known = self.mapped_by_kernel(memory)?;
        let list = match known.first().filter(|first| first.kind == ModuleKind::Executable) {
            Some(program) => List::read(memory, &program.image)?,
            None => List::default(),
        };
        let mut modules: Vec<Module> = Vec::new();
        for (namespace, links) in (0..).zip(&list.namespaces) {
            for (at, link) in links.iter().enumerate() {
                // The linker itself is listed in each namespace, and is there once.
                let again = |module: &Module| module.dynamic == Some(link.dynamic);
                if link.dynamic != 0 && modules.iter().any(again) {
                    continue;
                }
                let same = |found: &Found| found.image.dynamic() == Some(link.dynamic);
                let found = known.iter().position(same).map(|at| known.remove(at));
                // A program that was started by running the dynamic linker.
                let kind = match found.as_ref().map(|found| found.kind) {
                    Some(ModuleKind::Executable) if (namespace, at) != (0, 0) => {
                        ModuleKind::DynamicLinker
                    }
                    Some(kind) => kind,
                    None if (namespace, at) == (0, 0) => ModuleKind::Executable,
                    None => ModuleKind::Library,
                };
                let image = match found {
                    Some(found) => Some(found.image),
                    None => self.image_of(memory, link)?,
                };
                let mut module = self.module(memory, kind, image, Some(link))?;
                module.namespace = namespace;
                modules.push(module);
            }
        }
        for Found { kind, image } in known {
            let module = self.module(memory, kind, Some(image), None)?;
            match kind {
                ModuleKind::Executable => modules.insert(0, module),
                _ => modules.push(module),
            }
        }
        Ok(modules)
    }

    /// The file of an entry of the list. Linkers differ in what they say of where it begins, but not
    /// in where its dynamic section is.
    fn image_of(&self, memory: &mut Memory<'_>, link: &Link) -> Result<Option<Image>> {
        let region = self.region(link.dynamic);
        let same_file = |other: &&MemoryRegion| {
            region.is_some_and(|region| {
                (region.device, region.inode, &region.path)
                    == (other.device, other.inode, &other.path)
            })
        };
        let below = self.map.iter().rev().filter(|other| other.start <= link.dynamic);
        let begins = below.filter(|other| other.offset == 0).filter(same_file);
        let starts: Vec<u64> =
            [link.base].into_iter().chain(begins.map(|region| region.start)).collect();
        for start in starts {
            if let Some(image) = Image::at(memory, start)? {
                if image.dynamic() == Some(link.dynamic) {
                    return Ok(Some(image));
                }
            }
        }
        Ok(None)
    }

    fn region(&self, addr: u64) -> Option<&MemoryRegion> {
        self.map.iter().find(|region| region.contains(addr))
    }

    fn module(
        &self,
        memory: &mut Memory<'_>,
        kind: ModuleKind,
        image: Option<Image>,
        link: Option<&Link>,
    ) -> Result<Module> {
        let name = match link {
            Some(link) if link.name != 0 => memory.string(link.name)?,
            _ => Vec::new(),
        };
        let name = (!name.is_empty()).then(|| OsString::from_vec(name));
        let page = self.entry(AT_PAGESZ).unwrap_or(1);
        let (bias, range) = match (&image, link) {
            (Some(image), _) => (image.bias, image.range(page)),
            // Its headers are not in memory.
            (None, Some(link)) => {
                let region = self.region(link.dynamic);
                (link.base, region.map_or(0..0, |region| region.start..region.end))
            }
            (None, None) => (0, 0..0),
        };
        let dynamic = image.as_ref().and_then(Image::dynamic).or(link.map(|link| link.dynamic));
        let inside = self.region(range.start).or(dynamic.and_then(|at| self.region(at)));
        let path = inside.and_then(|region| region.path.clone());
        let named = || name.clone().map(PathBuf::from).filter(|path| path.is_absolute());
        let path = if kind == ModuleKind::Vdso { None } else { path.or_else(named) };
        let build_id = match &image {
            Some(image) => image.build_id(memory)?,
            None => None,
        };
        let link_map = link.map(|link| link.at);
        Ok(Module { kind, path, name, bias, range, build_id, dynamic, link_map, namespace: 0 })
    }
}
