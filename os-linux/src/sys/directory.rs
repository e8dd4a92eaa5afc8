//! Files below a directory that is held open: `openat(2)`, `readlinkat(2)`, `readdir(3)`.

use std::ffi::{CString, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// The kernel's own limit of a path (`PATH_MAX`).
const LONGEST_PATH: usize = 4096;

/// A directory, which stays this one whatever is mounted over its path later.
#[derive(Debug)]
pub(crate) struct Directory(OwnedFd);

impl Directory {
    pub(crate) fn open(path: &str) -> io::Result<Self> {
        let fd = open_at(libc::AT_FDCWD, path, libc::O_PATH | libc::O_DIRECTORY)?;
        if fd.as_raw_fd() > libc::STDERR_FILENO {
            return Ok(Self(fd));
        }
        // A host without standard streams, whose children get some. (std takes no number below 3.)
        Ok(Self(fd.try_clone()?))
    }

    /// Opens a file to read it.
    pub(crate) fn file(&self, path: &str) -> io::Result<File> {
        open_at(self.0.as_raw_fd(), path, libc::O_RDONLY).map(File::from)
    }

    /// Opens a file to read and write it.
    pub(crate) fn writable(&self, path: &str) -> io::Result<File> {
        open_at(self.0.as_raw_fd(), path, libc::O_RDWR).map(File::from)
    }

    /// What a symbolic link says.
    pub(crate) fn link(&self, path: &str) -> io::Result<PathBuf> {
        let path = terminated(path)?;
        let mut target = vec![0_u8; LONGEST_PATH];
        // SAFETY: reads a string that ends with a zero, and writes at most the length of `target`.
        let length = unsafe {
            let (to, length) = (target.as_mut_ptr().cast(), target.len());
            libc::readlinkat(self.0.as_raw_fd(), path.as_ptr(), to, length)
        };
        target.truncate(usize::try_from(length).map_err(|_| io::Error::last_os_error())?);
        Ok(OsString::from_vec(target).into())
    }

    /// Those names in a directory that are numbers.
    pub(crate) fn numbers(&self, path: &str) -> io::Result<Vec<i32>> {
        let fd = open_at(self.0.as_raw_fd(), path, libc::O_RDONLY | libc::O_DIRECTORY)?;
        let raw = fd.into_raw_fd();
        // SAFETY: the descriptor is ours, open and of a directory; the stream owns it from now on.
        let stream = unsafe { libc::fdopendir(raw) };
        if stream.is_null() {
            let error = io::Error::last_os_error();
            // SAFETY: nobody has taken the descriptor over.
            drop(unsafe { OwnedFd::from_raw_fd(raw) });
            return Err(error);
        }
        let mut numbers = Vec::new();
        let result = loop {
            // SAFETY: the calling thread's own errno, valid as long as the thread.
            unsafe { *libc::__errno_location() = 0 };
            // SAFETY: the stream is open, and no other thread has it.
            let entry = unsafe { libc::readdir(stream) };
            if entry.is_null() {
                let error = io::Error::last_os_error();
                break if error.raw_os_error() == Some(0) { Ok(numbers) } else { Err(error) };
            }
            // SAFETY: the entry is valid until the next `readdir`, and its name ends with a zero.
            let name = unsafe { std::ffi::CStr::from_ptr((&raw const (*entry).d_name).cast()) };
            numbers.extend(name.to_str().ok().and_then(|name| name.parse::<i32>().ok()));
        };
        // SAFETY: the stream is open, and is not used again.
        unsafe { libc::closedir(stream) };
        result
    }
}

fn terminated(path: &str) -> io::Result<CString> {
    CString::new(path).map_err(|_| io::ErrorKind::InvalidInput.into())
}

fn open_at(directory: RawFd, path: &str, flags: libc::c_int) -> io::Result<OwnedFd> {
    let path = terminated(path)?;
    loop {
        // SAFETY: reads a string that ends with a zero.
        let raw = unsafe { libc::openat(directory, path.as_ptr(), flags | libc::O_CLOEXEC) };
        if raw != -1 {
            // SAFETY: the kernel has just made this descriptor for us.
            return Ok(unsafe { OwnedFd::from_raw_fd(raw) });
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}
