//! The CPU as a client sees it: which registers there are, in which order, how long each is.

mod description;

use std::ops::Range;

use trapline::{Result, Stopped, Tracer};

pub(crate) use description::xml;

cfg_if::cfg_if! {
    if #[cfg(target_arch = "x86_64")] {
        mod x86_64;
        use x86_64::types;
        pub(crate) use x86_64::{Layout, Source, Vectors};
    } else if #[cfg(target_arch = "aarch64")] {
        mod aarch64;
        use aarch64::types;
        pub(crate) use aarch64::{Layout, Source, Vectors};
    }
}

/// One register.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Register {
    pub(crate) name: String,
    /// Where it is among all of them.
    pub(crate) place: Range<usize>,
    pub(crate) source: Source,
    /// Its type, and its group, in the description.
    pub(crate) kind: &'static str,
    pub(crate) group: Option<&'static str>,
    /// The feature of the description that it belongs to.
    pub(crate) feature: &'static str,
}

impl Register {
    pub(crate) fn len(&self) -> usize {
        self.place.len()
    }
}

/// Makes a list of registers.
#[derive(Debug, Default)]
pub(crate) struct List {
    registers: Vec<Register>,
    feature: &'static str,
}

impl List {
    fn feature(&mut self, feature: &'static str) {
        self.feature = feature;
    }

    fn add(&mut self, name: &str, len: usize, kind: &'static str, source: Source) {
        let start = self.registers.last().map_or(0, |last| last.place.end);
        self.registers.push(Register {
            name: name.to_string(),
            place: start..start + len,
            source,
            kind,
            group: None,
            feature: self.feature,
        });
    }

    /// Of registers that gdb shows with others; not every CPU has such.
    #[allow(dead_code)]
    fn grouped(
        &mut self,
        name: &str,
        len: usize,
        kind: &'static str,
        source: Source,
        group: &'static str,
    ) {
        self.add(name, len, kind, source);
        if let Some(last) = self.registers.last_mut() {
            last.group = Some(group);
        }
    }
}

/// What is known of a thread's registers. What is asked for once is kept until it runs.
#[derive(Debug, Clone, Default)]
pub(crate) struct Known {
    pub(crate) general: Option<trapline::Registers>,
    pub(crate) vectors: Option<Vectors>,
}

impl Known {
    /// The general registers; those that were known, if the thread is gone.
    pub(crate) fn general(
        &mut self,
        tracer: &mut Tracer,
        stop: Option<&Stopped>,
    ) -> Result<trapline::Registers> {
        match (self.general, stop) {
            (Some(general), _) => Ok(general),
            (None, Some(stop)) => Ok(*self.general.insert(tracer.registers(stop)?)),
            (None, None) => Err(trapline::Error::NotStopped { pid: None }),
        }
    }

    /// Reads whatever is not known yet; says whether all is.
    fn look(&mut self, tracer: &mut Tracer, stop: Option<&Stopped>) -> Result<()> {
        self.general(tracer, stop)?;
        if let (None, Some(stop)) = (&self.vectors, stop) {
            self.vectors = Vectors::read(tracer, stop).ok();
        }
        Ok(())
    }

    /// All registers, one behind the other; `None` is a byte of one that is not known.
    pub(crate) fn all(
        &mut self,
        tracer: &mut Tracer,
        stop: Option<&Stopped>,
        layout: Layout,
    ) -> Result<Vec<Option<u8>>> {
        self.look(tracer, stop)?;
        Ok(layout.registers().iter().flat_map(|register| self.bytes(register)).collect())
    }

    /// One register.
    pub(crate) fn one(
        &mut self,
        tracer: &mut Tracer,
        stop: Option<&Stopped>,
        register: &Register,
    ) -> Result<Vec<Option<u8>>> {
        match register.source.is_general() {
            true => drop(self.general(tracer, stop)?),
            false => self.look(tracer, stop)?,
        }
        Ok(self.bytes(register))
    }

    fn bytes(&self, register: &Register) -> Vec<Option<u8>> {
        let known = self.general.as_ref();
        let value = known.and_then(|general| register.source.get(general, self.vectors.as_ref()));
        let len = register.len();
        match value {
            Some(value) => (0..len).map(|i| Some(value.get(i).copied().unwrap_or(0))).collect(),
            None => vec![None; len],
        }
    }

    /// Writes those of these registers that are different, and notes them.
    pub(crate) fn write(
        &mut self,
        tracer: &mut Tracer,
        stop: &Stopped,
        layout: Layout,
        values: &[(usize, &[u8])],
    ) -> Result<()> {
        self.look(tracer, Some(stop))?;
        let before = self.clone();
        let mut after = self.clone();
        for &(number, value) in values {
            let Some(register) = layout.registers().get(number) else { continue };
            let shown: Vec<u8> = before.bytes(register).into_iter().flatten().collect();
            if shown != value {
                after.set(register, value, layout);
            }
        }
        let is_changed = (after.general != before.general, after.vectors != before.vectors);
        if let (Some(general), (true, _)) = (&mut after.general, is_changed) {
            layout.complete(general, before.general.as_ref());
            tracer.set_registers(stop, general)?;
        }
        if let (Some(vectors), (_, true)) = (&after.vectors, is_changed) {
            vectors.write(tracer, stop)?;
        }
        *self = after;
        Ok(())
    }

    fn set(&mut self, register: &Register, value: &[u8], layout: Layout) {
        if let Some(general) = &mut self.general {
            register.source.set(general, self.vectors.as_mut(), value, layout);
        }
    }
}
