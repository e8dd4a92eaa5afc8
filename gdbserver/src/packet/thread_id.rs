//! How processes and threads are named: `pPID.TID`, or a thread alone.

use super::Malformed;
use super::fields::id;

/// One, any, or all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Id {
    /// `0`
    Any,
    /// `-1`
    All,
    /// The one of this number.
    One(i32),
}

impl Id {
    fn parse(text: &[u8]) -> Result<Id, Malformed> {
        match id(text)? {
            0 => Ok(Id::Any),
            -1 => Ok(Id::All),
            one if one > 0 => Ok(Id::One(one)),
            _ => Err(Malformed),
        }
    }

    /// Whether this one is meant.
    pub fn covers(self, number: i32) -> bool {
        match self {
            Id::Any | Id::All => true,
            Id::One(one) => one == number,
        }
    }
}

/// A thread, or several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ThreadId {
    /// Whose; `None` if that is not said.
    pub process: Option<Id>,
    /// Which.
    pub thread: Id,
}

impl ThreadId {
    /// Every thread of every process.
    pub const ALL: ThreadId = ThreadId { process: Some(Id::All), thread: Id::All };

    pub(super) fn parse(text: &[u8]) -> Result<ThreadId, Malformed> {
        let Some(text) = text.strip_prefix(b"p") else {
            return Ok(ThreadId { process: None, thread: Id::parse(text)? });
        };
        let (process, thread) = match text.iter().position(|&byte| byte == b'.') {
            Some(at) => (text.get(..at), text.get(at + 1..).map(Id::parse)),
            None => (Some(text), None),
        };
        let process = Id::parse(process.unwrap_or_default())?;
        let thread = thread.transpose()?.unwrap_or(Id::All);
        match (process, thread) {
            (Id::All, Id::One(_)) => Err(Malformed),
            _ => Ok(ThreadId { process: Some(process), thread }),
        }
    }
}
