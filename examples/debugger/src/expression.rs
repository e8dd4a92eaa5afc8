//! What `print` and `watch` take: `name`, with `.member`, `->member` and `[number]` behind it and `*` or
//! `&` in front; or `$register`.

use crate::Outcome;
use crate::scope::{Place, Scope};
use crate::types::{Type, show, unsigned};

/// A value: what it is, and where.
pub(crate) struct Value<'a> {
    pub(crate) ty: Option<Type<'a>>,
    pub(crate) place: Place,
}

/// An expression's value in words.
pub(crate) fn print(scope: Scope<'_>, text: &str) -> Outcome<String> {
    if let Some(name) = text.strip_prefix('$') {
        let value = scope.thread.registers()?.get(name).ok_or("there is no such register")?;
        return Ok(format!("{value:#x}"));
    }
    if let Some(rest) = text.strip_prefix('&') {
        return match evaluate(scope, rest.trim())?.place {
            Place::Memory(at) => Ok(format!("{at:#x}")),
            _ => Err("it has no address".into()),
        };
    }
    let Value { ty, place } = evaluate(scope, text)?;
    Ok(show(scope.thread, ty, &place))
}

/// An argument of a call: a number, an expression's value, or where the array is that it means.
pub(crate) fn number(scope: Scope<'_>, text: &str) -> Outcome<u64> {
    let text = text.trim();
    if let Ok(number) = text.parse::<i64>() {
        return Ok(number as u64);
    }
    let (text, is_address) = text.strip_prefix('&').map_or((text, false), |text| (text, true));
    let Value { ty, place } = evaluate(scope, text)?;
    let size = ty.and_then(Type::size).unwrap_or(8);
    match place {
        Place::Memory(at) if is_address || size > 8 => Ok(at),
        Place::Memory(at) => {
            let mut bytes = vec![0; size as usize];
            scope.thread.read_exactly(at, &mut bytes)?;
            Ok(unsigned(&bytes))
        }
        Place::Known(bytes) if !is_address => Ok(unsigned(&bytes)),
        _ => Err("it is not to be had here".into()),
    }
}

/// Finds what an expression means.
pub(crate) fn evaluate<'a>(scope: Scope<'a>, text: &str) -> Outcome<Value<'a>> {
    let text = text.trim();
    if let Some(rest) = text.strip_prefix('*') {
        return follow(scope, evaluate(scope, rest)?);
    }
    let end = text.find(['.', '[', '-']).unwrap_or(text.len());
    let (name, mut rest) = text.split_at(end);
    let variable = scope.find(name.trim()).ok_or_else(|| format!("there is no {name} here"))?;
    let mut value = Value { ty: variable.ty, place: variable.place };
    while !rest.is_empty() {
        let behind = rest.trim_start_matches(['.', '-', '>', '[']);
        let end = behind.find(['.', '[', '-']).unwrap_or(behind.len());
        let (part, after) = behind.split_at(end);
        if rest.starts_with('[') {
            let index = part.trim().trim_end_matches(']').parse()?;
            value = element(scope, value, index)?;
        } else {
            if value.ty.is_some_and(Type::is_pointer) {
                value = follow(scope, value)?;
            }
            let members = value.ty.map(Type::members).unwrap_or_default();
            let member = members.into_iter().find(|member| member.name == part.trim());
            let member = member.ok_or_else(|| format!("it has no member {part}"))?;
            value = Value { ty: Some(member.ty), place: moved(value.place, member.offset)? };
        }
        rest = after;
    }
    Ok(value)
}

/// What a pointer points to.
fn follow<'a>(scope: Scope<'a>, Value { ty, place }: Value<'a>) -> Outcome<Value<'a>> {
    let ty = ty.filter(|ty| ty.is_pointer()).ok_or("it is no pointer")?;
    let at = match place {
        Place::Memory(at) => scope.thread.read_value(at)?,
        Place::Known(bytes) => unsigned(&bytes),
        Place::Gone => return Err("it is not to be had here".into()),
    };
    Ok(Value { ty: ty.target(), place: Place::Memory(at) })
}

/// An element of an array, or of what a pointer points to.
fn element<'a>(scope: Scope<'a>, value: Value<'a>, index: u64) -> Outcome<Value<'a>> {
    let pointer = value.ty.is_some_and(Type::is_pointer);
    let of = value.ty.and_then(Type::target).ok_or("it has no elements")?;
    let place = if pointer { follow(scope, value)?.place } else { value.place };
    let size = of.size().ok_or("its elements have no size")?;
    Ok(Value { ty: Some(of), place: moved(place, size.wrapping_mul(index))? })
}

fn moved(place: Place, by: u64) -> Outcome<Place> {
    match place {
        Place::Memory(at) => Ok(Place::Memory(at.wrapping_add(by))),
        Place::Known(bytes) => {
            Ok(Place::Known(bytes.get(by as usize..).unwrap_or_default().to_vec()))
        }
        Place::Gone => Err("it is not to be had here".into()),
    }
}
