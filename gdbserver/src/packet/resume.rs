//! `vCont` and what came before it.

use std::ops::Range;

use super::fields::{Fields, number};
use super::{Malformed, ThreadId};

/// What a thread does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// It runs on, with a signal, by gdb's number of it.
    Continue(Option<u8>),
    /// It executes one instruction, with a signal.
    Step(Option<u8>),
    /// It executes instructions as long as it is among these.
    StepWithin(Range<u64>),
    /// It stops.
    Stop,
}

/// An action, and who is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThreadAction {
    /// What to do.
    pub action: Action,
    /// Who.
    pub thread: ThreadId,
}

/// How many actions one packet can have.
const MOST: usize = 0x4000;

fn signal(digits: &[u8]) -> Result<Option<u8>, Malformed> {
    let number = u8::try_from(number(digits)?).map_err(|_| Malformed)?;
    Ok((number != 0).then_some(number))
}

/// What is behind `vCont`.
pub(super) fn actions(text: &[u8]) -> Result<Vec<ThreadAction>, Malformed> {
    let mut rest = Fields(text.strip_prefix(b";").ok_or(Malformed)?);
    let mut actions = Vec::new();
    while !rest.is_empty() {
        let mut fields = Fields(rest.until(b';'));
        let (action, thread) = (fields.until(b':'), fields.0);
        let action = match action.split_first().ok_or(Malformed)? {
            (b'c', []) => Action::Continue(None),
            (b's', []) => Action::Step(None),
            (b't', []) => Action::Stop,
            (b'C', digits) => Action::Continue(signal(digits)?),
            (b'S', digits) => Action::Step(signal(digits)?),
            (b'r', range) => {
                let (start, end) = super::fields::pair(range)?;
                Action::StepWithin(start..end)
            }
            _ => return Err(Malformed),
        };
        let thread = if thread.is_empty() { ThreadId::ALL } else { ThreadId::parse(thread)? };
        if actions.len() == MOST {
            return Err(Malformed);
        }
        actions.push(ThreadAction { action, thread });
    }
    if actions.is_empty() { Err(Malformed) } else { Ok(actions) }
}

/// `c`, `C`, `s` and `S`, with an address to go on at or not.
pub(super) fn old(letter: u8, text: &[u8]) -> Result<(Action, Option<u64>), Malformed> {
    let mut fields = Fields(text);
    let signal = if letter.is_ascii_uppercase() { signal(fields.until(b';'))? } else { None };
    let addr = if fields.is_empty() { None } else { Some(number(fields.0)?) };
    let action = match letter {
        b'c' | b'C' => Action::Continue(signal),
        _ => Action::Step(signal),
    };
    Ok((action, addr))
}
