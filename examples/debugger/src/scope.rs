//! The variables that can be seen from a place in the code, and where they are.

use gimli::{
    AttributeValue, DebuggingInformationEntry, DwAt, EvaluationResult, Expression, Location, Value,
    constants as dw,
};
use trapline::Reader;

use crate::file::{Bytes, Unit};
use crate::lines::string;
use crate::modules::Modules;
use crate::types::Type;
use crate::unwind::Frame;

pub(crate) type Entry<'a, 'b> = DebuggingInformationEntry<'a, 'b, Bytes>;

/// Where the value of a variable is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    Memory(u64),
    /// It is nowhere in memory, but known.
    Known(Vec<u8>),
    /// It is not to be had here.
    Gone,
}

pub(crate) struct Variable<'a> {
    pub(crate) name: String,
    pub(crate) is_argument: bool,
    pub(crate) ty: Option<Type<'a>>,
    pub(crate) place: Place,
}

/// What is asked about: a thread, and a frame of its stack.
#[derive(Clone, Copy)]
pub(crate) struct Scope<'a> {
    pub(crate) thread: Reader<'a>,
    pub(crate) modules: &'a Modules,
    pub(crate) frame: &'a Frame,
}

impl<'a> Scope<'a> {
    /// The arguments and variables of the function that the frame is in, the outer ones first.
    pub(crate) fn locals(self) -> Vec<Variable<'a>> {
        let mut found = Vec::new();
        if let Some(search) = self.search() {
            search.each(|entry, base| {
                found.extend(base.and_then(|base| search.variable(entry, Some(base))));
            });
        }
        found
    }

    /// A variable by its name: the innermost one; a global one of the unit of the frame; or of the whole
    /// program by its symbol, whose type is not looked for.
    pub(crate) fn find(self, name: &str) -> Option<Variable<'a>> {
        let local = self.locals().into_iter().rfind(|variable| variable.name == name);
        if let (None, Some(search)) = (&local, self.search()) {
            let mut global = None;
            search.each(|entry, base| {
                let variable = search.variable(entry, None).filter(|v| v.name == name);
                if let Some(v) = variable.filter(|v| base.is_none() && v.place != Place::Gone) {
                    global = Some(v);
                }
            });
            if global.is_some() {
                return global;
            }
        }
        local.or_else(|| {
            self.modules.list.iter().find_map(|module| {
                let symbol = module.file.symbols.iter().find(|s| !s.is_code && s.name == name)?;
                let place = Place::Memory(symbol.at.wrapping_add(module.bias));
                Some(Variable { name: name.to_string(), is_argument: false, ty: None, place })
            })
        })
    }

    fn search(self) -> Option<Search<'a>> {
        let (unit, at, bias) = self.modules.unit(self.frame.lookup)?;
        Some(Search { scope: self, unit, at, bias })
    }
}

/// The type of what the function at an address returns.
pub(crate) fn result_type(modules: &Modules, at: u64) -> Option<Type<'_>> {
    let (unit, own, _) = modules.unit(at)?;
    let mut ty = None;
    let mut entries = unit.unit.entries();
    while let Some((_, entry)) = entries.next_dfs().ok()? {
        if entry.tag() == dw::DW_TAG_subprogram && covers(unit, entry, own) {
            ty = Type::of(unit, entry);
        }
    }
    ty
}

/// Whether an address of the file is in the code of an entry.
fn covers(unit: Unit<'_>, entry: &Entry<'_, '_>, at: u64) -> bool {
    let Ok(mut ranges) = unit.die_ranges(entry) else { return false };
    std::iter::from_fn(|| ranges.next().ok().flatten())
        .any(|range| (range.begin..range.end).contains(&at))
}

/// A search through the tree of a unit.
#[derive(Clone, Copy)]
struct Search<'a> {
    scope: Scope<'a>,
    unit: Unit<'a>,
    /// The address in the file.
    at: u64,
    bias: u64,
}

/// The frame base of a function, as its entry has it.
type Base = AttributeValue<Bytes>;

impl<'a> Search<'a> {
    /// Calls a function with each entry for a variable whose scope the address is in, and the frame base
    /// of its function, if it is in one.
    fn each(self, mut call: impl FnMut(&Entry<'_, '_>, Option<Base>)) {
        let mut entries = self.unit.unit.entries();
        let (mut depth, mut left_out, mut bases) = (0, None, Vec::new());
        while let Ok(Some((down, entry))) = entries.next_dfs() {
            depth += down;
            if left_out.is_some_and(|at| depth > at) {
                continue;
            }
            left_out = None;
            bases.retain(|&(at, _)| at < depth);
            match entry.tag() {
                dw::DW_TAG_subprogram
                | dw::DW_TAG_lexical_block
                | dw::DW_TAG_inlined_subroutine => {
                    if !covers(self.unit, entry, self.at) {
                        left_out = Some(depth);
                    } else if let Ok(Some(base)) = entry.attr_value(dw::DW_AT_frame_base) {
                        bases.push((depth, base));
                    }
                }
                dw::DW_TAG_variable | dw::DW_TAG_formal_parameter => {
                    call(entry, bases.last().map(|(_, base)| base.clone()));
                }
                _ => {}
            }
        }
    }

    fn variable(self, entry: &Entry<'_, '_>, base: Option<Base>) -> Option<Variable<'a>> {
        let name = attribute(self.unit, entry, dw::DW_AT_name)?;
        let place = entry.attr_value(dw::DW_AT_location).ok()?;
        let constant = entry.attr_value(dw::DW_AT_const_value).ok()?;
        let place = match (place, constant) {
            (Some(location), _) => self.place(location, base).unwrap_or(Place::Gone),
            (None, Some(constant)) => match constant.udata_value() {
                Some(value) => Place::Known(value.to_le_bytes().to_vec()),
                None => Place::Gone,
            },
            (None, None) => Place::Gone,
        };
        Some(Variable {
            name: string(self.unit, name)?,
            is_argument: entry.tag() == dw::DW_TAG_formal_parameter,
            ty: Type::of(self.unit, entry),
            place,
        })
    }

    /// What a location says at the address.
    fn expression(self, location: AttributeValue<Bytes>) -> Option<Expression<Bytes>> {
        if let Some(expression) = location.exprloc_value() {
            return Some(expression);
        }
        let mut list = self.unit.attr_locations(location).ok()??;
        let mut entries = std::iter::from_fn(|| list.next().ok().flatten());
        let here = entries.find(|e| (e.range.begin..e.range.end).contains(&self.at))?;
        Some(here.data)
    }

    fn place(self, location: AttributeValue<Bytes>, base: Option<Base>) -> Option<Place> {
        match self.evaluate(self.expression(location)?, base)? {
            Location::Address { address } => Some(Place::Memory(address)),
            Location::Register { register } => {
                let value = self.scope.frame.register(register.0)?;
                Some(Place::Known(value.to_le_bytes().to_vec()))
            }
            Location::Value { value } => {
                let value = value.to_u64(u64::MAX).ok()?;
                Some(Place::Known(value.to_le_bytes().to_vec()))
            }
            Location::Bytes { value } => Some(Place::Known(value.to_vec())),
            _ => Some(Place::Gone),
        }
    }

    /// Evaluates a DWARF expression with the registers and the memory of the frame.
    fn evaluate(
        self,
        expression: Expression<Bytes>,
        base: Option<Base>,
    ) -> Option<Location<Bytes>> {
        let Scope { thread, frame, .. } = self.scope;
        let mut evaluation = expression.evaluation(self.unit.encoding());
        let mut state = evaluation.evaluate().ok()?;
        loop {
            state = match state {
                EvaluationResult::Complete => break,
                EvaluationResult::RequiresRegister { register, .. } => {
                    let value = frame.register(register.0)?;
                    evaluation.resume_with_register(Value::Generic(value))
                }
                EvaluationResult::RequiresFrameBase => {
                    // It is an expression itself, of an address or of the register that has it.
                    let base = self.expression(base.clone()?)?;
                    let base = match self.evaluate(base, None)? {
                        Location::Address { address } => address,
                        Location::Register { register } => frame.register(register.0)?,
                        _ => return None,
                    };
                    evaluation.resume_with_frame_base(base)
                }
                EvaluationResult::RequiresCallFrameCfa => {
                    evaluation.resume_with_call_frame_cfa(frame.cfa?)
                }
                EvaluationResult::RequiresMemory { address, size, .. } => {
                    let mut bytes = [0; 8];
                    thread.read_exactly(address, bytes.get_mut(..usize::from(size))?).ok()?;
                    evaluation.resume_with_memory(Value::Generic(u64::from_le_bytes(bytes)))
                }
                EvaluationResult::RequiresRelocatedAddress(address) => {
                    evaluation.resume_with_relocated_address(address.wrapping_add(self.bias))
                }
                EvaluationResult::RequiresIndexedAddress { index, relocate } => {
                    let bias = if relocate { self.bias } else { 0 };
                    let address = self.unit.address(index).ok()?.wrapping_add(bias);
                    evaluation.resume_with_indexed_address(address)
                }
                _ => return None, // of optimized code
            }
            .ok()?;
        }
        let pieces = evaluation.result();
        let [piece] = pieces.as_slice() else { return None };
        Some(piece.location.clone())
    }
}

/// An attribute of an entry, or of the one that it completes or is an instance of.
pub(crate) fn attribute(
    unit: Unit<'_>,
    entry: &Entry<'_, '_>,
    name: DwAt,
) -> Option<AttributeValue<Bytes>> {
    if let Some(value) = entry.attr_value(name).ok()? {
        return Some(value);
    }
    for origin in [dw::DW_AT_abstract_origin, dw::DW_AT_specification] {
        if let Some(AttributeValue::UnitRef(at)) = entry.attr_value(origin).ok()? {
            return attribute(unit, &unit.entry(at).ok()?, name);
        }
    }
    None
}
