//! Files of this machine (gdb's manual, "Host I/O Packets").

use super::fields::{Fields, from_hex, id, number};
use super::{Malformed, Packet};

/// What is to be done with a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileRequest {
    /// Whose view of the file system names are looked up in; 0 for the server's.
    SetFs(i32),
    /// Opens one.
    Open {
        /// Its name.
        name: Vec<u8>,
        /// By the protocol's numbers.
        flags: u32,
        /// Permissions, for a new one.
        mode: u32,
    },
    /// Closes one.
    Close(i32),
    /// Reads.
    Read {
        /// Which one.
        fd: i32,
        /// How much.
        count: u64,
        /// From where.
        offset: u64,
    },
    /// Writes.
    Write {
        /// Which one.
        fd: i32,
        /// To where.
        offset: u64,
        /// This.
        data: Vec<u8>,
    },
    /// What there is to know about an open one.
    Stat(i32),
    /// The same, about one of this name.
    StatName(Vec<u8>),
    /// Its size (lldb).
    Size(Vec<u8>),
    /// Whether it is there (lldb).
    Exists(Vec<u8>),
    /// Its permissions (lldb).
    Mode(Vec<u8>),
    /// Removes one.
    Unlink(Vec<u8>),
    /// Where a link leads.
    ReadLink(Vec<u8>),
}

/// What is behind `vFile:`.
pub(super) fn parse(text: &[u8]) -> Result<Packet, Malformed> {
    let mut fields = Fields(text);
    let operation = fields.before(b':')?;
    let name = |text: &[u8]| from_hex(text).filter(|name| !name.contains(&0)).ok_or(Malformed);
    let short = |text: &[u8]| u32::try_from(number(text)?).map_err(|_| Malformed);
    Ok(Packet::File(match operation {
        b"setfs" => FileRequest::SetFs(id(fields.0)?),
        b"open" => FileRequest::Open {
            name: name(fields.before(b',')?)?,
            flags: short(fields.before(b',')?)?,
            mode: short(fields.0)?,
        },
        b"close" => FileRequest::Close(id(fields.0)?),
        b"pread" => FileRequest::Read {
            fd: id(fields.before(b',')?)?,
            count: number(fields.before(b',')?)?,
            offset: number(fields.0)?,
        },
        b"pwrite" => FileRequest::Write {
            fd: id(fields.before(b',')?)?,
            offset: number(fields.before(b',')?)?,
            data: fields.0.to_vec(),
        },
        b"fstat" => FileRequest::Stat(id(fields.0)?),
        b"stat" => FileRequest::StatName(name(fields.0)?),
        b"size" => FileRequest::Size(name(fields.0)?),
        b"exists" => FileRequest::Exists(name(fields.0)?),
        b"mode" => FileRequest::Mode(name(fields.0)?),
        b"unlink" => FileRequest::Unlink(name(fields.0)?),
        b"readlink" => FileRequest::ReadLink(name(fields.0)?),
        _ => return Ok(Packet::Unknown),
    }))
}
