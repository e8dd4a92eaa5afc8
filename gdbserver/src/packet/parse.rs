//! From the body of a packet to what it means.

use super::agent::Expression;
use super::fields::{Fields, from_hex, id, number, pair};
use super::{LldbRequest, Malformed, Packet, Point, PointKind, ThreadId, files, query, resume};

/// How many words a command line can have.
const MOST_ARGUMENTS: usize = 0x1_0000;

/// What a packet asks for.
///
/// # Errors
///
/// [`Malformed`] for one that begins like a packet that is known and is none.
pub fn parse(body: &[u8]) -> Result<Packet, Malformed> {
    let Some((&letter, rest)) = body.split_first() else { return Ok(Packet::Unknown) };
    let packet = match letter {
        b'!' if rest.is_empty() => Packet::Extended,
        b'?' if rest.is_empty() => Packet::WhyStopped,
        b'H' => {
            let (&operation, thread) = rest.split_first().ok_or(Malformed)?;
            Packet::SelectThread { operation, thread: ThreadId::parse(thread)? }
        }
        b'T' => Packet::IsAlive(ThreadId::parse(rest)?),
        b'g' if rest.is_empty() => Packet::ReadRegisters,
        b'G' => Packet::WriteRegisters(from_hex(rest).ok_or(Malformed)?),
        b'p' => Packet::ReadRegister(register(rest)?),
        b'P' => {
            let mut fields = Fields(rest);
            let register = register(fields.before(b'=')?)?;
            Packet::WriteRegister(register, from_hex(fields.0).ok_or(Malformed)?)
        }
        b'm' => {
            let (addr, len) = pair(rest)?;
            Packet::ReadMemory { addr, len }
        }
        b'x' => {
            let (addr, len) = pair(rest)?;
            Packet::ReadBinary { addr, len }
        }
        b'M' | b'X' => memory(letter, rest)?,
        b'Z' => Packet::Insert(point(rest)?),
        b'z' => Packet::Remove(point(rest)?),
        b'c' | b'C' | b's' | b'S' => {
            let (action, addr) = resume::old(letter, rest)?;
            Packet::Resume { action, addr }
        }
        b'k' if rest.is_empty() => Packet::Kill,
        b'R' => Packet::Restart,
        b'D' => detach(rest)?,
        b'v' => named(rest)?,
        b'q' => query::question(rest)?,
        b'Q' => query::setting(rest)?,
        b'j' => query::json(rest)?,
        b'_' => allocation(rest)?,
        _ => Packet::Unknown,
    };
    Ok(packet)
}

fn register(digits: &[u8]) -> Result<usize, Malformed> {
    usize::try_from(number(digits)?).map_err(|_| Malformed)
}

fn memory(letter: u8, text: &[u8]) -> Result<Packet, Malformed> {
    let mut fields = Fields(text);
    let (addr, len) = pair(fields.before(b':')?)?;
    let data = match letter {
        b'M' => from_hex(fields.0).ok_or(Malformed)?,
        _ => fields.0.to_vec(),
    };
    match u64::try_from(data.len()) == Ok(len) {
        true => Ok(Packet::WriteMemory { addr, data }),
        false => Err(Malformed),
    }
}

fn detach(text: &[u8]) -> Result<Packet, Malformed> {
    let (stay_stopped, text) = match text.strip_prefix(b"1") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let process = match text.strip_prefix(b";") {
        Some(digits) => Some(id(digits)?),
        None if text.is_empty() => None,
        None => return Err(Malformed),
    };
    Ok(Packet::Detach { process, stay_stopped })
}

fn named(text: &[u8]) -> Result<Packet, Malformed> {
    if let Some(actions) = text.strip_prefix(b"Cont") {
        return match actions {
            b"?" => Ok(Packet::WhatResumes),
            actions => Ok(Packet::ResumeThreads(resume::actions(actions)?)),
        };
    }
    if let Some(request) = text.strip_prefix(b"File:") {
        return files::parse(request);
    }
    if let Some(digits) = text.strip_prefix(b"Kill;") {
        return Ok(Packet::KillProcess(id(digits)?));
    }
    if let Some(digits) = text.strip_prefix(b"Attach;") {
        return Ok(Packet::Attach(id(digits)?));
    }
    if let Some(words) = text.strip_prefix(b"Run;") {
        let words = words.split(|&byte| byte == b';').take(MOST_ARGUMENTS).map(from_hex);
        let words: Option<Vec<_>> = words.collect();
        let words = words.filter(|words| !words.iter().any(|word| word.contains(&0)));
        return words.map(Packet::Run).ok_or(Malformed);
    }
    Ok(match text {
        b"CtrlC" => Packet::Interrupt,
        b"Stopped" => Packet::NextStop,
        _ => Packet::Unknown,
    })
}

/// lldb's way to have memory: `_M` and `_m`.
fn allocation(text: &[u8]) -> Result<Packet, Malformed> {
    match text.split_first() {
        Some((b'M' | b'm', _)) => Ok(Packet::Lldb(LldbRequest::Allocation)),
        _ => Ok(Packet::Unknown),
    }
}

fn point(text: &[u8]) -> Result<Point, Malformed> {
    let mut parts = Fields(text);
    let mut place = Fields(parts.until(b';'));
    let kind = match place.before(b',')? {
        b"0" => PointKind::Software,
        b"1" => PointKind::Hardware,
        b"2" => PointKind::Write,
        b"3" => PointKind::Read,
        b"4" => PointKind::Access,
        _ => return Err(Malformed),
    };
    let (addr, len) = pair(place.0)?;
    let mut point =
        Point { kind, addr, len, conditions: Vec::new(), commands: Vec::new(), persists: false };
    // Conditions and commands are binary in spirit and hexadecimal in fact: no `;` is in them.
    while !parts.is_empty() {
        let mut list = Fields(parts.until(b';'));
        let of_commands = list.skip(b"cmds:");
        if of_commands {
            point.persists = number(list.before(b',')?)? != 0;
        }
        let to = if of_commands { &mut point.commands } else { &mut point.conditions };
        while !list.is_empty() {
            list.skip(b",");
            to.push(expression(&mut list)?);
        }
    }
    Ok(point)
}

/// `Xlen,bytes`.
fn expression(list: &mut Fields<'_>) -> Result<Expression, Malformed> {
    if !list.skip(b"X") {
        return Err(Malformed);
    }
    let len = number(list.before(b',')?)?;
    let digits = usize::try_from(len).ok().and_then(|len| len.checked_mul(2)).ok_or(Malformed)?;
    let bytes = from_hex(list.take(digits)?).ok_or(Malformed)?;
    Ok(Expression::new(bytes))
}
