//! Files of this machine, for gdb to read the program and its libraries (gdb's manual, "Host I/O
//! Packets").

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use gdbstub::target::ext::host_io::{
    FsKind, HostIo, HostIoClose, HostIoCloseOps, HostIoErrno, HostIoError, HostIoFstat,
    HostIoFstatOps, HostIoOpen, HostIoOpenFlags, HostIoOpenMode, HostIoOpenOps, HostIoPread,
    HostIoPreadOps, HostIoPwrite, HostIoPwriteOps, HostIoReadlink, HostIoReadlinkOps, HostIoResult,
    HostIoSetfs, HostIoSetfsOps, HostIoStat, HostIoUnlink, HostIoUnlinkOps,
};

use super::debuggee::Debuggee;

/// The files that gdb has open.
#[derive(Default)]
pub(crate) struct Files {
    open: BTreeMap<u32, File>,
    last: u32,
}

impl Files {
    fn get(&self, fd: u32) -> Result<&File, HostIoErrno> {
        self.open.get(&fd).ok_or(HostIoErrno::EBADF)
    }
}

fn path(name: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(name))
}

fn errno<E>(errno: HostIoErrno) -> HostIoError<E> {
    HostIoError::Errno(errno)
}

impl HostIo for Debuggee {
    fn support_open(&mut self) -> Option<HostIoOpenOps<'_, Self>> {
        Some(self)
    }

    fn support_close(&mut self) -> Option<HostIoCloseOps<'_, Self>> {
        Some(self)
    }

    fn support_pread(&mut self) -> Option<HostIoPreadOps<'_, Self>> {
        Some(self)
    }

    fn support_pwrite(&mut self) -> Option<HostIoPwriteOps<'_, Self>> {
        Some(self)
    }

    fn support_fstat(&mut self) -> Option<HostIoFstatOps<'_, Self>> {
        Some(self)
    }

    fn support_unlink(&mut self) -> Option<HostIoUnlinkOps<'_, Self>> {
        Some(self)
    }

    fn support_readlink(&mut self) -> Option<HostIoReadlinkOps<'_, Self>> {
        Some(self)
    }

    fn support_setfs(&mut self) -> Option<HostIoSetfsOps<'_, Self>> {
        Some(self)
    }
}

impl HostIoOpen for Debuggee {
    fn open(
        &mut self,
        filename: &[u8],
        flags: HostIoOpenFlags,
        mode: HostIoOpenMode,
    ) -> HostIoResult<u32, Self> {
        let both = flags.contains(HostIoOpenFlags::O_RDWR);
        let write = both || flags.contains(HostIoOpenFlags::O_WRONLY);
        let mut options = OpenOptions::new();
        options
            .read(both || !write)
            .write(write)
            .append(flags.contains(HostIoOpenFlags::O_APPEND))
            .truncate(flags.contains(HostIoOpenFlags::O_TRUNC))
            .mode(mode.bits());
        if flags.contains(HostIoOpenFlags::O_CREAT) {
            match flags.contains(HostIoOpenFlags::O_EXCL) {
                true => options.create_new(true),
                false => options.create(true),
            };
        }
        let file = options.open(path(filename))?;
        self.files.last += 1;
        self.files.open.insert(self.files.last, file);
        Ok(self.files.last)
    }
}

impl HostIoClose for Debuggee {
    fn close(&mut self, fd: u32) -> HostIoResult<(), Self> {
        self.files.open.remove(&fd).map(drop).ok_or(errno(HostIoErrno::EBADF))
    }
}

impl HostIoPread for Debuggee {
    fn pread(
        &mut self,
        fd: u32,
        count: usize,
        offset: u64,
        buf: &mut [u8],
    ) -> HostIoResult<usize, Self> {
        let count = count.min(buf.len());
        Ok(self.files.get(fd).map_err(errno)?.read_at(&mut buf[..count], offset)?)
    }
}

impl HostIoPwrite for Debuggee {
    fn pwrite(&mut self, fd: u32, offset: u64, data: &[u8]) -> HostIoResult<u64, Self> {
        Ok(self.files.get(fd).map_err(errno)?.write_at(data, offset)? as u64)
    }
}

impl HostIoFstat for Debuggee {
    /// The fields of the protocol are short; what does not fit is cut off, as gdbserver does it.
    fn fstat(&mut self, fd: u32) -> HostIoResult<HostIoStat, Self> {
        let stat = self.files.get(fd).map_err(errno)?.metadata()?;
        Ok(HostIoStat {
            st_dev: stat.dev() as u32,
            st_ino: stat.ino() as u32,
            st_mode: HostIoOpenMode::from_bits_truncate(stat.mode()),
            st_nlink: stat.nlink() as u32,
            st_uid: stat.uid(),
            st_gid: stat.gid(),
            st_rdev: stat.rdev() as u32,
            st_size: stat.size(),
            st_blksize: stat.blksize(),
            st_blocks: stat.blocks(),
            st_atime: stat.atime() as u32,
            st_mtime: stat.mtime() as u32,
            st_ctime: stat.ctime() as u32,
        })
    }
}

impl HostIoUnlink for Debuggee {
    fn unlink(&mut self, filename: &[u8]) -> HostIoResult<(), Self> {
        Ok(fs::remove_file(path(filename))?)
    }
}

impl HostIoReadlink for Debuggee {
    fn readlink(&mut self, filename: &[u8], buf: &mut [u8]) -> HostIoResult<usize, Self> {
        let link = fs::read_link(path(filename))?;
        let link = link.as_os_str().as_bytes();
        let room = buf.get_mut(..link.len()).ok_or(errno(HostIoErrno::ENAMETOOLONG))?;
        room.copy_from_slice(link);
        Ok(link.len())
    }
}

impl HostIoSetfs for Debuggee {
    /// Names are those of this process's view, whichever process gdb asks for.
    fn setfs(&mut self, _: FsKind) -> HostIoResult<(), Self> {
        Ok(())
    }
}
