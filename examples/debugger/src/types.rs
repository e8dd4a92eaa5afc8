//! Types of the debugging information, and values of them in words.

use gimli::{AttributeValue, DwAt, DwTag, UnitOffset, constants as dw};
use trapline::Reader;

use crate::file::{Bytes, Unit};
use crate::lines::string;
use crate::scope::{Entry, Place, attribute};

/// How many elements and characters are shown, and how deep structures are.
const ELEMENTS: u64 = 16;
const CHARACTERS: usize = 200;
const DEPTH: u32 = 4;
/// No value that is shown is longer.
const LONGEST: u64 = 1 << 20;

/// A type, by its entry.
#[derive(Clone, Copy)]
pub(crate) struct Type<'a> {
    unit: Unit<'a>,
    at: UnitOffset,
}

/// A part of a structure, or what a pointer points to.
pub(crate) struct Part<'a> {
    pub(crate) name: String,
    pub(crate) offset: u64,
    pub(crate) ty: Type<'a>,
}

impl<'a> Type<'a> {
    /// What an entry says its type is.
    pub(crate) fn of(unit: Unit<'a>, entry: &Entry<'_, '_>) -> Option<Type<'a>> {
        match attribute(unit, entry, dw::DW_AT_type)? {
            AttributeValue::UnitRef(at) => Some(Type { unit, at }.bare()),
            _ => None,
        }
    }

    fn entry(self) -> Option<Entry<'a, 'a>> {
        self.unit.unit.entry(self.at).ok()
    }

    fn attribute(self, name: DwAt) -> Option<AttributeValue<Bytes>> {
        self.entry()?.attr_value(name).ok()?
    }

    fn number(self, name: DwAt) -> Option<u64> {
        self.attribute(name)?.udata_value()
    }

    pub(crate) fn tag(self) -> Option<DwTag> {
        Some(self.entry()?.tag())
    }

    fn name(self) -> String {
        self.attribute(dw::DW_AT_name).and_then(|name| string(self.unit, name)).unwrap_or_default()
    }

    /// Without its typedefs and qualifiers.
    fn bare(self) -> Type<'a> {
        match self.tag() {
            Some(
                dw::DW_TAG_typedef
                | dw::DW_TAG_const_type
                | dw::DW_TAG_volatile_type
                | dw::DW_TAG_restrict_type
                | dw::DW_TAG_atomic_type,
            ) => self.target().unwrap_or(self),
            _ => self,
        }
    }

    /// What it points to, or consists of.
    pub(crate) fn target(self) -> Option<Type<'a>> {
        Type::of(self.unit, &self.entry()?)
    }

    pub(crate) fn is_pointer(self) -> bool {
        let pointers = [dw::DW_TAG_pointer_type, dw::DW_TAG_reference_type];
        self.tag().is_some_and(|tag| pointers.contains(&tag))
    }

    pub(crate) fn is_structure(self) -> bool {
        let structures = [dw::DW_TAG_structure_type, dw::DW_TAG_class_type, dw::DW_TAG_union_type];
        self.tag().is_some_and(|tag| structures.contains(&tag))
    }

    /// How many bytes a value has.
    pub(crate) fn size(self) -> Option<u64> {
        match self.number(dw::DW_AT_byte_size) {
            None if self.is_pointer() => Some(8),
            None => Some(self.count()?.checked_mul(self.target()?.size()?)?),
            size => size,
        }
    }

    /// What the entry consists of.
    fn children(self) -> Vec<Entry<'a, 'a>> {
        let mut found = Vec::new();
        let Ok(mut entries) = self.unit.unit.entries_at_offset(self.at) else { return found };
        let mut depth = 0;
        while let Ok(Some((down, entry))) = entries.next_dfs() {
            depth += down;
            if depth <= 0 && entry.offset() != self.at {
                break;
            }
            if depth == 1 {
                found.push(entry.clone());
            }
        }
        found
    }

    /// How many elements an array has.
    fn count(self) -> Option<u64> {
        let ranges = self.children().into_iter().filter(|e| e.tag() == dw::DW_TAG_subrange_type);
        let counts = ranges.map(|entry| {
            let number = |name| entry.attr_value(name).ok()??.udata_value();
            number(dw::DW_AT_count).or_else(|| number(dw::DW_AT_upper_bound)?.checked_add(1))
        });
        counts.reduce(|all, own| all?.checked_mul(own?))?
    }

    /// The members of a structure.
    pub(crate) fn members(self) -> Vec<Part<'a>> {
        let members = self.children().into_iter().filter(|e| e.tag() == dw::DW_TAG_member);
        let part = |entry: Entry<'a, 'a>| {
            let attribute = |name| entry.attr_value(name).ok().flatten();
            let name = attribute(dw::DW_AT_name).and_then(|name| string(self.unit, name));
            let offset = attribute(dw::DW_AT_data_member_location);
            Some(Part {
                name: name.unwrap_or_default(),
                offset: offset.and_then(|at| at.udata_value()).unwrap_or(0),
                ty: Type::of(self.unit, &entry)?,
            })
        };
        members.filter_map(part).collect()
    }

    /// The name of a value of an enumeration.
    fn enumerator(self, value: u64) -> Option<String> {
        self.children().into_iter().find_map(|entry| {
            let own = match entry.attr_value(dw::DW_AT_const_value).ok()?? {
                AttributeValue::Sdata(value) => value as u64,
                value => value.udata_value()?,
            };
            let name = entry.attr_value(dw::DW_AT_name).ok()??;
            (own == value).then(|| string(self.unit, name))?
        })
    }
}

/// A value in words.
pub(crate) fn show(thread: Reader<'_>, ty: Option<Type<'_>>, place: &Place) -> String {
    let size = ty.and_then(Type::size).unwrap_or(8);
    let bytes = match place {
        Place::Gone => return "<optimized out>".into(),
        Place::Known(bytes) => bytes.clone(),
        Place::Memory(_) if size > LONGEST => return format!("<{size} bytes>"),
        Place::Memory(at) => {
            let mut bytes = vec![0; size as usize];
            match thread.read_exactly(*at, &mut bytes) {
                Ok(()) => bytes,
                Err(error) => return format!("<{error}>"),
            }
        }
    };
    match ty {
        Some(ty) => words(thread, ty, &bytes, 0),
        None => format!("{:#x} <of unknown type>", unsigned(&bytes)),
    }
}

/// The value in these bytes, of which there may be more.
fn words(thread: Reader<'_>, ty: Type<'_>, bytes: &[u8], depth: u32) -> String {
    let bytes = bytes.get(..ty.size().unwrap_or(0) as usize).unwrap_or(bytes);
    match ty.tag() {
        Some(dw::DW_TAG_base_type) => number(ty, bytes),
        Some(dw::DW_TAG_enumeration_type) => {
            let value = unsigned(bytes);
            ty.enumerator(value).unwrap_or_else(|| value.to_string())
        }
        _ if ty.is_structure() => {
            if depth >= DEPTH {
                return "{...}".into();
            }
            let members = ty.members().into_iter().map(|Part { name, offset, ty }| {
                let own = bytes.get(offset as usize..).unwrap_or_default();
                format!("{name} = {}", words(thread, ty, own, depth + 1))
            });
            format!("{{{}}}", members.collect::<Vec<_>>().join(", "))
        }
        Some(dw::DW_TAG_array_type) => {
            let (Some(of), Some(count)) = (ty.target(), ty.count()) else { return "[]".into() };
            if is_character(of) {
                let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
                return format!("{:?}", String::from_utf8_lossy(&bytes[..end.min(CHARACTERS)]));
            }
            let size = of.size().filter(|&size| size > 0).unwrap_or(1) as usize;
            let shown = bytes.chunks(size).take(count.min(ELEMENTS) as usize);
            let mut elements: Vec<_> = shown.map(|own| words(thread, of, own, depth + 1)).collect();
            if count > ELEMENTS {
                elements.push("...".into());
            }
            format!("[{}]", elements.join(", "))
        }
        _ if ty.is_pointer() => {
            let at = unsigned(bytes);
            match ty.target().filter(|&target| is_character(target)) {
                Some(_) => match thread.read_c_string(at, CHARACTERS) {
                    Ok(text) => format!("{at:#x} {:?}", text.to_string_lossy()),
                    Err(_) => format!("{at:#x}"),
                },
                None => format!("{at:#x}"),
            }
        }
        _ => format!("{:#x}", unsigned(bytes)),
    }
}

fn is_character(ty: Type<'_>) -> bool {
    let characters = [dw::DW_ATE_signed_char, dw::DW_ATE_unsigned_char];
    encoding(ty).is_some_and(|encoding| characters.contains(&encoding))
        && ty.name().contains("char")
}

fn encoding(ty: Type<'_>) -> Option<gimli::DwAte> {
    match ty.attribute(dw::DW_AT_encoding)? {
        AttributeValue::Encoding(encoding) => Some(encoding),
        _ => None,
    }
}

fn number(ty: Type<'_>, bytes: &[u8]) -> String {
    let value = unsigned(bytes);
    let unused = 64 - 8 * bytes.len().clamp(1, 8) as u32;
    let signed = ((value << unused) as i64) >> unused;
    match encoding(ty) {
        Some(dw::DW_ATE_boolean) => (value != 0).to_string(),
        Some(dw::DW_ATE_float) => match *bytes {
            [a, b, c, d] => f32::from_le_bytes([a, b, c, d]).to_string(),
            [a, b, c, d, e, f, g, h] => f64::from_le_bytes([a, b, c, d, e, f, g, h]).to_string(),
            _ => format!("{bytes:02x?}"),
        },
        Some(dw::DW_ATE_signed) => signed.to_string(),
        Some(dw::DW_ATE_signed_char | dw::DW_ATE_unsigned_char) if is_character(ty) => {
            format!("{signed} {:?}", value as u8 as char)
        }
        Some(dw::DW_ATE_signed_char) => signed.to_string(),
        _ => value.to_string(),
    }
}

/// A number of up to eight bytes, of little-endian CPUs.
pub(crate) fn unsigned(bytes: &[u8]) -> u64 {
    bytes.iter().take(8).rev().fold(0, |value, &byte| value << 8 | u64::from(byte))
}
