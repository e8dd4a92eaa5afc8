//! The `/proc` of the tracer's own pid namespace, if there is one.
//!
//! Every mounted `/proc` numbers processes as one pid namespace does (`pid_namespaces(7)`), and that
//! need not be the tracer's: `unshare --pid` leaves the outer one mounted, a container can have its
//! host's, a chroot none at all. In such a one our tracee's number is a stranger's. So what is found
//! at `/proc` is asked first whether it numbers *us* as the kernel does, and that very directory is
//! held open from then on: what is mounted there later changes nothing.
//!
//! Without one, or where it does not show a process (`hidepid` in `proc(5)`), the answers here are
//! `None`, and whoever asks makes do without.

use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;

use trapline_core::{Error, Result};

use crate::sys::{Directory, Kernel};

/// What no other way than by `/proc` tells.
const ONLY_THERE: &str = "what /proc alone tells, without a /proc of the tracer's pid namespace,";

/// The error of a question that nothing else answers.
pub(crate) fn silent() -> Error {
    Error::unsupported(ONLY_THERE, "Linux")
}

/// What is mounted at `/proc`, if it numbers processes as this process's namespace does.
pub(crate) fn find() -> Option<Arc<Directory>> {
    let proc = Directory::open("/proc").ok()?;
    let own = i32::try_from(std::process::id()).ok()?;
    let named: i32 = proc.link("self").ok()?.to_str()?.parse().ok()?;
    let mut status = Vec::new();
    proc.file("self/status").ok()?.read_to_end(&mut status).ok()?;
    (named == own && is_ours(&status, own)).then(|| Arc::new(proc))
}

/// Whether the `status` of this process is that of a `/proc` of its own namespace.
///
/// `NSpid` has a process's number in the namespace of the `/proc` first, and then in each one below
/// that it is in (`task_state` in `fs/proc/array.c`): in its own one there is one number. The two
/// numbers can be the same by chance, so to compare them is not enough. A kernel without pid
/// namespaces has no such line.
fn is_ours(status: &[u8], own: i32) -> bool {
    let lines = status.split(|&byte| byte == b'\n');
    let ids = lines.filter_map(|line| line.strip_prefix(b"NSpid:")).next();
    let Some(ids) = ids else { return true };
    let ids = String::from_utf8_lossy(ids);
    ids.split_whitespace().map(str::parse).eq([Ok(own)])
}

/// Reads a file below the directory of a process or a thread; `None` if there is nobody to tell.
pub(crate) fn read(kernel: &Kernel, id: i32, file: &str) -> Result<Option<Vec<u8>>> {
    let Some(proc) = kernel.proc() else { return without(kernel, id) };
    match read_path(kernel, proc, &format!("{id}/{file}")) {
        Ok(text) => Ok(Some(text)),
        Err(e) => missing(kernel, "/proc/<id>", id, e),
    }
}

/// Reads a symbolic link there.
pub(crate) fn link(kernel: &Kernel, id: i32, link: &str) -> Result<Option<PathBuf>> {
    let Some(proc) = kernel.proc() else { return without(kernel, id) };
    kernel.count();
    match proc.link(&format!("{id}/{link}")) {
        Ok(target) => Ok(Some(target)),
        Err(e) => missing(kernel, "/proc/<id>", id, e),
    }
}

/// The numbers in a directory there.
pub(crate) fn numbers(kernel: &Kernel, id: i32, directory: &str) -> Result<Option<Vec<i32>>> {
    let Some(proc) = kernel.proc() else { return without(kernel, id) };
    // Opening, reading and closing the directory.
    (0..3).for_each(|_| kernel.count());
    match proc.numbers(&format!("{id}/{directory}")) {
        Ok(numbers) => Ok(Some(numbers)),
        Err(e) => missing(kernel, "/proc/<id>", id, e),
    }
}

/// All processes that can be seen.
pub(crate) fn processes(kernel: &Kernel) -> Result<Vec<i32>> {
    let proc = kernel.proc().ok_or_else(silent)?;
    (0..3).for_each(|_| kernel.count());
    proc.numbers(".").map_err(|source| Error::os("/proc", -1, source))
}

/// Reads a file that is not a process's.
pub(crate) fn setting(kernel: &Kernel, path: &str) -> Option<Vec<u8>> {
    read_path(kernel, kernel.proc()?, path).ok()
}

fn read_path(kernel: &Kernel, proc: &Directory, path: &str) -> io::Result<Vec<u8>> {
    // Opening and closing.
    (0..2).for_each(|_| kernel.count());
    let mut file = proc.file(path)?;
    let mut bytes = vec![0; 4096];
    let mut length = 0;
    loop {
        kernel.count();
        let free = bytes.get_mut(length..).unwrap_or_default();
        match file.read(free) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
        if length == bytes.len() {
            bytes.resize(2 * length, 0);
        }
    }
    bytes.truncate(length);
    Ok(bytes)
}

/// Nothing tells of a process that exists.
fn without<T>(kernel: &Kernel, id: i32) -> Result<Option<T>> {
    if kernel.exists(id) { Ok(None) } else { Err(Error::GONE) }
}

/// Why something is not there: the process or the thread is not there, or is shown to others
/// alone, or (like the program of a process that has ended) it has no such thing.
pub(crate) fn missing<T>(
    kernel: &Kernel,
    request: &'static str,
    id: i32,
    source: io::Error,
) -> Result<Option<T>> {
    let is_missing =
        source.kind() == io::ErrorKind::NotFound || source.raw_os_error() == Some(libc::ESRCH);
    if source.raw_os_error() == Some(libc::EPERM) {
        return without(kernel, id); // `hidepid=noaccess` (`proc_pid_permission` in `base.c`)
    }
    if !is_missing {
        return Err(Error::os(request, id, source));
    }
    if !kernel.exists(id) {
        return Err(Error::GONE);
    }
    kernel.count();
    let is_hidden = kernel.proc().is_none_or(|proc| proc.numbers(&id.to_string()).is_err());
    // It may have ended since.
    if is_hidden { without(kernel, id) } else { Err(Error::GONE) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proc_of_another_namespace_is_told_by_its_numbers() {
        let status = |ids: &str| format!("Name:\tx\nNSpid:{ids}\nNSpgid:\t1\n").into_bytes();
        assert!(is_ours(&status("\t42"), 42));
        assert!(!is_ours(&status("\t41"), 42));
        // Of an outer namespace, where it has the same number by chance.
        assert!(!is_ours(&status("\t42\t42"), 42));
        assert!(!is_ours(&status("\t4200\t42"), 42));
        assert!(!is_ours(&status(""), 42));
        assert!(is_ours(b"Name:\tx\nPid:\t42\n", 42), "a kernel without pid namespaces");
    }

    #[test]
    fn this_processs_own_is_found_and_shows_it() {
        let kernel = Kernel::open();
        assert!(kernel.proc().is_some());
        let own = std::process::id() as i32;
        assert!(read(&kernel, own, "stat").unwrap().is_some());
        assert!(numbers(&kernel, own, "task").unwrap().unwrap().contains(&own));
        assert!(processes(&kernel).unwrap().contains(&own));
        let gone = read(&kernel, i32::MAX, "stat");
        assert!(gone.is_err_and(|error| error.is_gone()));
    }

    #[test]
    fn without_one_nothing_is_told_of_who_exists() {
        let kernel = Kernel::default();
        let own = std::process::id() as i32;
        assert!(read(&kernel, own, "stat").unwrap().is_none());
        assert!(link(&kernel, own, "exe").unwrap().is_none());
        assert!(numbers(&kernel, own, "task").unwrap().is_none());
        assert!(processes(&kernel).is_err());
        assert!(read(&kernel, i32::MAX, "stat").is_err_and(|error| error.is_gone()));
        assert!(read(&kernel, 0, "stat").is_err_and(|error| error.is_gone()));
        assert!(read(&kernel, -1, "stat").is_err_and(|error| error.is_gone()));
    }
}
