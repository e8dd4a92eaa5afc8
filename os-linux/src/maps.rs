//! The memory of processes and the state of threads, as `proc(5)` tells them.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use trapline_core::backend::Thread;
use trapline_core::{MemoryRegion, Pid, Result, ThreadInfo, ThreadState};

use crate::sys::Kernel;
use crate::{proc, process};

/// The memory of a process.
pub(crate) fn of(kernel: &Kernel, pid: Pid) -> Result<Vec<MemoryRegion>> {
    let text = proc::read(kernel, pid.as_raw(), "maps")?.ok_or_else(proc::silent)?;
    Ok(text.split(|&byte| byte == b'\n').filter_map(region).collect())
}

/// A line of `/proc/<pid>/maps` (`show_map_vma` in `fs/proc/task_mmu.c`); `None` for what is none.
fn region(line: &[u8]) -> Option<MemoryRegion> {
    let mut words = line.splitn(6, |&byte| byte == b' ');
    let mut word = || words.next().and_then(|word| std::str::from_utf8(word).ok());
    let hex = |word: &str| u64::from_str_radix(word, 16).ok();
    let (start, end) = word()?.split_once('-')?;
    let (start, end) = (hex(start)?, hex(end)?);
    let [read, write, execute, shared] = *word()?.as_bytes() else { return None };
    let offset = hex(word()?)?;
    let (major, minor) = word()?.split_once(':')?;
    let inode = word()?.parse().ok()?;
    let name = words.next().unwrap_or_default().trim_ascii_start();
    let mut region = MemoryRegion::default();
    (region.start, region.end, region.offset) = (start, end, offset);
    (region.read, region.write) = (read == b'r', write == b'w');
    (region.execute, region.shared) = (execute == b'x', shared == b's');
    region.device = libc::makedev(hex(major)? as u32, hex(minor)? as u32);
    region.inode = inode;
    match name.first() {
        Some(b'/') => region.path = Some(PathBuf::from(OsString::from_vec(unescaped(name)))),
        Some(_) => region.name = Some(OsString::from_vec(name.to_vec())),
        None => {}
    }
    Some(region)
}

/// A path, in which the kernel writes a newline as `\012` (`seq_path`).
fn unescaped(path: &[u8]) -> Vec<u8> {
    const NEWLINE: &[u8] = b"\\012";
    let mut rest = path;
    let mut whole = Vec::new();
    while let Some((&first, behind)) = rest.split_first() {
        match rest.strip_prefix(NEWLINE) {
            Some(behind) => {
                whole.push(b'\n');
                rest = behind;
            }
            None => {
                whole.push(first);
                rest = behind;
            }
        }
    }
    whole
}

/// What is known of a thread.
pub(crate) fn thread(kernel: &Kernel, thread: Thread) -> Result<ThreadInfo> {
    let stat = format!("task/{}/stat", thread.tid);
    let text = proc::read(kernel, thread.pid.as_raw(), &stat)?.ok_or_else(proc::silent)?;
    let (state, cpu) = state_and_cpu(&text);
    let name = process::thread_name(kernel, thread)?;
    Ok(ThreadInfo::new(thread.tid, name, state, cpu))
}

/// The state and the last CPU, in a `stat` file: the first field behind the name, and the 37th.
fn state_and_cpu(text: &[u8]) -> (ThreadState, Option<u32>) {
    let behind = text.iter().rposition(|&byte| byte == b')').and_then(|at| text.get(at + 1..));
    let fields = behind.and_then(|fields| std::str::from_utf8(fields).ok()).unwrap_or_default();
    let mut fields = fields.split_whitespace();
    let state = match fields.next() {
        Some("R") => ThreadState::Running,
        Some("S") => ThreadState::Sleeping,
        Some("D") => ThreadState::Uninterruptible,
        Some("T" | "t") => ThreadState::Stopped,
        Some("Z" | "X" | "x") => ThreadState::Ended,
        _ => ThreadState::Other,
    };
    (state, fields.nth(35).and_then(|cpu| cpu.parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_map() {
        let line = b"7f00-7f10 r-xs 00000200 08:02 135522   /usr/a file\\012 (deleted)";
        let region = region(line).unwrap();
        assert_eq!((region.start, region.end, region.offset), (0x7f00, 0x7f10, 0x200));
        assert!(region.read && !region.write && region.execute && region.shared);
        assert_eq!((region.device, region.inode), (libc::makedev(8, 2), 135_522));
        assert_eq!(region.path, Some(PathBuf::from("/usr/a file\n (deleted)")));
        assert_eq!(region.name, None);
    }

    #[test]
    fn memory_without_a_file() {
        let heap = region(b"10-20 rw-p 00000000 00:00 0     [heap]").unwrap();
        assert_eq!((heap.path, heap.name), (None, Some("[heap]".into())));
        let nameless = region(b"10-20 ---p 00000000 00:00 0 ").unwrap();
        assert_eq!((nameless.path, nameless.name, nameless.read), (None, None, false));
        for none in
            [&b""[..], b"10", b"10-20", b"10-20 r", b"10-20 rw-p 0 0 0", b"g-h rw-p 0 0:0 0"]
        {
            assert_eq!(region(none), None);
        }
    }

    #[test]
    fn a_threads_state_is_behind_its_name() {
        let rest = "1 ".repeat(35);
        let line = format!("7 (a) b) t {rest}3 0");
        assert_eq!(state_and_cpu(line.as_bytes()), (ThreadState::Stopped, Some(3)));
        assert_eq!(state_and_cpu(b"7 (a"), (ThreadState::Other, None));
    }
}
