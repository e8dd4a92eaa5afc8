//! Files of this machine, for a client to read programs and their libraries (gdb's manual, "Host I/O
//! Packets").

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::packet::FileRequest;
use crate::system;
use crate::wire::{LONGEST, escape};

use super::answers::Answer;
use super::session::Session;

/// The files that a client has open.
#[derive(Debug, Default)]
pub(super) struct Files {
    open: BTreeMap<i32, File>,
    last: i32,
}

/// How many files a client may have open.
const MOST: usize = 256;

/// The protocol's numbers of what can go wrong, which are those of most systems.
mod errno {
    pub(super) const EBADF: i32 = 9;
    pub(super) const EMFILE: i32 = 24;
    pub(super) const UNKNOWN: i32 = 9999;
    /// Those that have a number of their own in the protocol.
    pub(super) const KNOWN: &[i32] =
        &[1, 2, 4, 5, 9, 13, 14, 16, 17, 19, 20, 21, 22, 23, 24, 27, 28, 29, 30];
    pub(super) const ENAMETOOLONG: i32 = 91;
}

/// How a file is opened, by the protocol's numbers.
mod flags {
    pub(super) const WRITE: u32 = 1;
    pub(super) const READ_WRITE: u32 = 2;
    pub(super) const APPEND: u32 = 0x8;
    pub(super) const CREATE: u32 = 0x200;
    pub(super) const TRUNCATE: u32 = 0x400;
    pub(super) const EXCLUSIVE: u32 = 0x800;
}

fn failed(error: &io::Error) -> Answer {
    if error.raw_os_error() == Some(nix::errno::Errno::ENAMETOOLONG as i32) {
        return failure(errno::ENAMETOOLONG);
    }
    let number = error.raw_os_error().filter(|number| errno::KNOWN.contains(number));
    failure(number.unwrap_or(errno::UNKNOWN))
}

fn failure(number: i32) -> Answer {
    format!("F-1,{number:x}").into()
}

/// A number, and nothing or data with it.
fn success(number: usize, data: Option<&[u8]>) -> Answer {
    let mut answer = format!("F{number:x}").into_bytes();
    if let Some(data) = data {
        answer.push(b';');
        answer.extend(escape(data));
    }
    Answer::Bytes(answer)
}

impl Files {
    fn open(&mut self, path: &Path, how: u32, mode: u32) -> Result<i32, Answer> {
        if self.open.len() == MOST {
            return Err(failure(errno::EMFILE));
        }
        let has = |flag| how & flag != 0;
        let write = has(flags::WRITE) || has(flags::READ_WRITE);
        let mut options = OpenOptions::new();
        options
            .read(has(flags::READ_WRITE) || !write)
            .write(write)
            .append(has(flags::APPEND))
            .truncate(has(flags::TRUNCATE))
            .mode(mode & 0o7777);
        if has(flags::CREATE) {
            match has(flags::EXCLUSIVE) {
                true => options.create_new(true),
                false => options.create(true),
            };
        }
        let file = options.open(path).map_err(|error| failed(&error))?;
        self.last = self.last.wrapping_add(1).max(1);
        while self.open.contains_key(&self.last) {
            self.last = self.last.wrapping_add(1).max(1);
        }
        self.open.insert(self.last, file);
        Ok(self.last)
    }

    fn get(&self, fd: i32) -> Result<&File, Answer> {
        self.open.get(&fd).ok_or_else(|| failure(errno::EBADF))
    }
}

impl Session<'_> {
    pub(super) fn file(&mut self, request: FileRequest) -> Answer {
        self.file_answer(request).unwrap_or_else(|answer| answer)
    }

    fn file_answer(&mut self, request: FileRequest) -> Result<Answer, Answer> {
        let failed = |error: io::Error| failed(&error);
        let root = (self.file_system > 0).then(|| system::root_of(self.file_system)).flatten();
        let path = |name: &[u8]| inside(root.as_deref(), name);
        let files = &mut self.server.files;
        Ok(match request {
            FileRequest::SetFs(pid) => {
                self.file_system = pid;
                success(0, None)
            }
            FileRequest::Open { name, flags, mode } => {
                let path = path(&name);
                let fd = files.open(&path, flags, mode)?;
                success(usize::try_from(fd).unwrap_or_default(), None)
            }
            FileRequest::Close(fd) => match files.open.remove(&fd) {
                Some(_) => success(0, None),
                None => failure(errno::EBADF),
            },
            FileRequest::Read { fd, count, offset } => {
                let count = usize::try_from(count).unwrap_or(usize::MAX).min(LONGEST / 2 - 32);
                let mut data = vec![0; count];
                let read = files.get(fd)?.read_at(&mut data, offset).map_err(failed)?;
                success(read, data.get(..read))
            }
            FileRequest::Write { fd, offset, data } => {
                success(files.get(fd)?.write_at(&data, offset).map_err(failed)?, None)
            }
            FileRequest::Stat(fd) => {
                let stat = stat(&files.get(fd)?.metadata().map_err(failed)?);
                success(stat.len(), Some(&stat))
            }
            FileRequest::StatName(name) => {
                let stat = stat(&fs::metadata(path(&name)).map_err(failed)?);
                success(stat.len(), Some(&stat))
            }
            FileRequest::Size(name) => {
                let size = fs::metadata(path(&name)).map_err(failed)?.len();
                format!("F{size:x}").into()
            }
            FileRequest::Exists(name) => format!("F,{}", u8::from(path(&name).exists())).into(),
            FileRequest::Mode(name) => {
                let mode = fs::metadata(path(&name)).map_err(failed)?.permissions().mode();
                format!("F{mode:x}").into()
            }
            FileRequest::Unlink(name) => {
                fs::remove_file(path(&name)).map_err(failed)?;
                success(0, None)
            }
            FileRequest::ReadLink(name) => {
                let link = fs::read_link(path(&name)).map_err(failed)?;
                let link = link.as_os_str().as_bytes();
                success(link.len(), Some(link))
            }
        })
    }
}

/// A name in the view of a process that has another root.
fn inside(root: Option<&Path>, name: &[u8]) -> PathBuf {
    let path = Path::new(OsStr::from_bytes(name));
    match (root, path.strip_prefix("/")) {
        (Some(root), Ok(inside)) => root.join(inside),
        _ => path.to_path_buf(),
    }
}

/// The fields are short; what does not fit is cut off, as gdb's server does it.
fn stat(of: &Metadata) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(64);
    let short = |bytes: &mut Vec<u8>, value: u64| bytes.extend((value as u32).to_be_bytes());
    short(&mut bytes, of.dev());
    short(&mut bytes, of.ino());
    short(&mut bytes, of.mode().into());
    short(&mut bytes, of.nlink());
    short(&mut bytes, of.uid().into());
    short(&mut bytes, of.gid().into());
    short(&mut bytes, of.rdev());
    for value in [of.size(), of.blksize(), of.blocks()] {
        bytes.extend(value.to_be_bytes());
    }
    short(&mut bytes, of.atime() as u64);
    short(&mut bytes, of.mtime() as u64);
    short(&mut bytes, of.ctime() as u64);
    bytes
}
