//! The files of a process and where they are in its memory: the executable and its libraries, by the list
//! that the dynamic linker keeps for debuggers (`link.h`: `r_debug`, `link_map`).

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use framehop::{MayAllocateDuringUnwind, Module as UnwindModule, Unwinder, UnwinderNative};
use trapline::{Pid, Reader, Result, Tracer};

use crate::file::{File, Symbol, Unit};

// Types of entries of the auxiliary vector, the same on both systems (`elf.h`).
const AT_PHDR: u64 = 3;
const AT_ENTRY: u64 = 9;
/// The entry of a dynamic section that leads to the linker's list.
const DT_DEBUG: u64 = 21;

/// Files that were read, which processes share.
#[derive(Default)]
pub(crate) struct Files(HashMap<PathBuf, Option<Rc<File>>>);

impl Files {
    fn get(&mut self, path: &Path) -> Option<Rc<File>> {
        let read = || File::read(path).ok().map(Rc::new);
        self.0.entry(path.to_path_buf()).or_insert_with(read).clone()
    }
}

/// A file in the memory of a process.
#[derive(Clone)]
pub(crate) struct Module {
    pub(crate) file: Rc<File>,
    /// What is to be added to an address of the file.
    pub(crate) bias: u64,
}

/// All of them, the executable first.
#[derive(Default, Clone)]
pub(crate) struct Modules {
    pub(crate) list: Vec<Module>,
    pub(crate) unwinder: UnwinderNative<Vec<u8>, MayAllocateDuringUnwind>,
}

impl Modules {
    /// The files of a process, by a thread of it that is stopped.
    pub(crate) fn read(tracer: &Tracer, thread: Reader<'_>, files: &mut Files) -> Result<Modules> {
        let mut modules = Modules::default();
        let process = tracer.process_info(thread.pid())?;
        let Some(file) = process.executable.as_deref().and_then(|path| files.get(path)) else {
            return Ok(modules);
        };
        let at = entry(tracer, thread.pid(), AT_PHDR)?;
        let bias = at.zip(file.headers).map_or(0, |(at, own)| at.wrapping_sub(own));
        let dynamic = file.dynamic.map(|at| at.wrapping_add(bias));
        modules.add(file, bias);
        let mut map = dynamic.and_then(|at| first_link(thread, at)).unwrap_or(0);
        let mut left = 1000; // the list of a broken program may have no end
        while map != 0 && left > 0 {
            left -= 1;
            // l_addr (FreeBSD: l_base, which is the same for a library), l_name, l_ld, l_next
            let [bias, name, _, next] = words(thread, map)?;
            let path = thread.read_c_string(name, 4096).unwrap_or_default();
            let path = Path::new(OsStr::from_bytes(path.as_bytes())).to_path_buf();
            // The executable comes first, with no name or its own.
            if left < 999 && path.is_absolute() {
                files.get(&path).into_iter().for_each(|file| modules.add(file, bias));
            }
            map = next;
        }
        Ok(modules)
    }

    fn add(&mut self, file: Rc<File>, bias: u64) {
        let range = file.range.start.wrapping_add(bias)..file.range.end.wrapping_add(bias);
        let name = file.path.display().to_string();
        let base = range.start;
        self.unwinder.add_module(UnwindModule::new(name, range, base, file.unwind.clone()));
        self.list.push(Module { file, bias });
    }

    /// The module that an address is in, and the address in its file.
    pub(crate) fn find(&self, at: u64) -> Option<(&Module, u64)> {
        let inside = |module: &Module| {
            let own = at.wrapping_sub(module.bias);
            module.file.range.contains(&own).then_some(own)
        };
        self.list.iter().find_map(|module| Some((module, inside(module)?)))
    }

    /// The function that an address is in, and where it begins.
    pub(crate) fn function(&self, at: u64) -> Option<(&Symbol, u64)> {
        let (module, own) = self.find(at)?;
        let symbol = module.file.function(own)?;
        Some((symbol, symbol.at.wrapping_add(module.bias)))
    }

    /// What tells of the code at an address, the address in the file, and the bias.
    pub(crate) fn unit(&self, at: u64) -> Option<(Unit<'_>, u64, u64)> {
        let (module, own) = self.find(at)?;
        Some((module.file.unit(own)?, own, module.bias))
    }

    /// The source line of an address: path and number.
    pub(crate) fn line(&self, at: u64) -> Option<(&str, u32)> {
        let (module, own) = self.find(at)?;
        let location = module.file.lines.find_location(own).ok()??;
        Some((location.file?, location.line?))
    }

    /// An address in words: function, and line or file.
    pub(crate) fn describe(&self, at: u64) -> String {
        let name = match self.function(at) {
            Some((symbol, start)) if start == at => symbol.name.clone(),
            Some((symbol, start)) => format!("{}+{:#x}", symbol.name, at - start),
            None => "??".to_string(),
        };
        match (self.line(at), self.find(at)) {
            (Some((path, line)), _) => format!("{name} at {}:{line}", last(path)),
            (None, Some((module, _))) => format!("{name} in {}", module.file.path.display()),
            (None, None) => name,
        }
    }
}

/// The last part of a path.
pub(crate) fn last(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Where the program proper begins: its libraries are there by then.
pub(crate) fn entry_point(tracer: &Tracer, pid: Pid) -> Result<Option<u64>> {
    entry(tracer, pid, AT_ENTRY)
}

fn entry(tracer: &Tracer, pid: Pid, wanted: u64) -> Result<Option<u64>> {
    let entries = tracer.auxiliary_entries(pid)?;
    Ok(entries.iter().find(|(kind, _)| *kind == wanted).map(|&(_, value)| value))
}

/// Words of a program's memory.
fn words<const N: usize>(thread: Reader<'_>, at: u64) -> Result<[u64; N]> {
    let mut words = [0; N];
    for (n, word) in words.iter_mut().enumerate() {
        *word = thread.read_value(at.wrapping_add(8 * n as u64))?;
    }
    Ok(words)
}

/// The first entry of the linker's list, by way of the executable's dynamic section.
fn first_link(thread: Reader<'_>, mut at: u64) -> Option<u64> {
    loop {
        match words(thread, at).ok()? {
            [0, _] => return None,
            [DT_DEBUG, debug] => {
                // r_version, r_map
                let [_, map] = words(thread, debug).ok()?;
                return Some(map);
            }
            _ => at += 16,
        }
    }
}
