//! The files of a process and where they are in its memory: the executable and its libraries.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use framehop::{MayAllocateDuringUnwind, Module as UnwindModule, Unwinder, UnwinderNative};
use trapline::{Pid, Result, Tracer};

use crate::file::{File, Symbol, Unit};

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
    /// The files that a process consists of.
    pub(crate) fn read(tracer: &Tracer, pid: Pid, files: &mut Files) -> Result<Modules> {
        let mut modules = Modules::default();
        for module in tracer.modules(pid)? {
            if let Some(file) = module.path.as_deref().and_then(|path| files.get(path)) {
                modules.add(file, module.bias);
            }
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
