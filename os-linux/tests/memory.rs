//! M2: reads and writes of any length, into read-only text too, as far as the memory goes.

#![cfg(target_os = "linux")]

mod common;

use std::fs;
use std::process::Command;

use common::*;
use trapline_core::backend::{Backend, RawKind, RawReason, Thread};
use trapline_core::{Error, Pid, Signal};
use trapline_os_linux::Linux;

const PAGE: u64 = 4096;

/// A line of `/proc/<pid>/maps`.
#[derive(Debug, Clone)]
struct Mapping {
    start: u64,
    end: u64,
    access: String,
}

fn mappings(thread: Thread) -> Vec<Mapping> {
    let maps = fs::read_to_string(format!("/proc/{}/maps", thread.pid)).unwrap();
    let mapping = |line: &str| {
        let mut fields = line.split_whitespace();
        let (start, end) = fields.next()?.split_once('-')?;
        let address = |text| u64::from_str_radix(text, 16).ok();
        let access = fields.next()?.to_owned();
        // What the kernel put there itself has rules of its own.
        let is_special = line.contains("[v");
        (!is_special).then_some(Mapping { start: address(start)?, end: address(end)?, access })
    };
    maps.lines().filter_map(mapping).collect()
}

fn traced(test: impl FnOnce(&mut Linux, Thread) + Send + 'static) {
    within(30, || {
        let mut linux = Linux::open().unwrap();
        let spawned = start(&mut linux, Command::new("true"), KILL);
        test(&mut linux, thread_of(spawned.pid));
    });
}

/// The last mapping with this access before a hole.
fn before_a_hole(thread: Thread, access: &str) -> Mapping {
    let mappings = mappings(thread);
    let followed = |end| mappings.iter().any(|mapping| mapping.start == end);
    let found = mappings.iter().filter(|m| m.access.starts_with(access) && !followed(m.end));
    found.max_by_key(|m| m.start).expect("such a mapping").clone()
}

#[test]
fn m2_a_read_across_the_end_of_a_mapping_is_short() {
    traced(|linux, thread| {
        let mapping = before_a_hole(thread, "r");
        for length in [1, 2, 4095, 4096] {
            for behind in [1, 100, 5000, 100_000] {
                let mut buf = vec![0; length + behind];
                let read = linux.read_memory(thread, mapping.end - length as u64, &mut buf);
                assert_eq!(read.unwrap(), length);
            }
        }
    });
}

#[test]
fn m2_where_nothing_is_the_address_is_bad() {
    traced(|linux, thread| {
        let hole = before_a_hole(thread, "r").end;
        for bad in [hole, 0, PAGE, 1 << 47, (1 << 63) - 1, 1 << 63, u64::MAX - 8, u64::MAX] {
            let mut buf = [0; 16];
            match linux.read_memory(thread, bad, &mut buf) {
                Err(Error::BadAddress { addr, .. }) => assert_eq!(addr, bad),
                other => panic!("{bad:#x}: {other:?}"),
            }
            match linux.write_memory(thread, bad, &buf) {
                Err(Error::BadAddress { addr, .. }) => assert_eq!(addr, bad),
                other => panic!("{bad:#x}: {other:?}"),
            }
            // Nothing can be read anywhere.
            assert_eq!(linux.read_memory(thread, bad, &mut []).unwrap(), 0);
            assert_eq!(linux.write_memory(thread, bad, &[]).unwrap(), 0);
        }
    });
}

#[test]
fn m2_large_and_unaligned_transfers_are_whole() {
    traced(|linux, thread| {
        let mappings = mappings(thread);
        let largest = mappings.iter().filter(|m| m.access.starts_with('r'));
        let largest = largest.max_by_key(|m| m.end - m.start).unwrap();
        let length = (largest.end - largest.start) as usize;
        assert!(length > 100_000, "{length}");
        let mut whole = vec![0; length];
        assert_eq!(linux.read_memory(thread, largest.start, &mut whole).unwrap(), length);
        for (at, length) in [(1, 10), (4095, 2), (4000, 9000), (7, length - 7)] {
            let mut part = vec![0; length];
            let read = linux.read_memory(thread, largest.start + at as u64, &mut part).unwrap();
            assert_eq!(read, length);
            assert!(part == whole[at..at + length]);
        }
        // Read-only text is written, whole and in parts, and says so when it is read.
        let text = mappings.iter().find(|m| m.access.starts_with("r-x")).unwrap();
        let length = (text.end - text.start) as usize;
        let new: Vec<u8> = (0..length).map(|i| i as u8 ^ 0x5a).collect();
        assert_eq!(linux.write_memory(thread, text.start, &new).unwrap(), length);
        let mut back = vec![0; length];
        assert_eq!(linux.read_memory(thread, text.start, &mut back).unwrap(), length);
        assert!(back == new);
        assert_eq!(linux.write_memory(thread, text.start + 4095, b"ab").unwrap(), 2);
        let mut around = [0; 4];
        assert_eq!(linux.read_memory(thread, text.start + 4094, &mut around).unwrap(), 4);
        assert_eq!(around, [new[4094], b'a', b'b', new[4097]]);
    });
}

#[test]
fn m2_a_write_across_the_end_of_a_mapping_is_short() {
    within(30, || {
        let mut linux = Linux::open().unwrap();
        let spawned = start(&mut linux, playing("a page before a hole"), KILL);
        go(&mut linux, thread_of(spawned.pid));
        // It tells us where, for a page that can be written, one that can be read and one that
        // cannot even be read.
        for _ in 0..3 {
            let (thread, page) = told(&mut linux, spawned.pid);
            let end = page + PAGE;
            assert_eq!(linux.write_memory(thread, end - 100, &[7; 300]).unwrap(), 100);
            let mut back = [0; 5000];
            assert_eq!(linux.read_memory(thread, end - 101, &mut back).unwrap(), 101);
            assert_eq!((back[0], &back[1..101]), (0, &[7; 100][..]));
            go(&mut linux, thread);
        }
    });
}

#[test]
#[ignore = "played by other tests"]
fn role() {
    let all = libc::PROT_READ | libc::PROT_WRITE;
    match std::env::var("TRAPLINE_ROLE").as_deref() {
        Ok("a page before a hole") => {
            for access in [all, libc::PROT_READ, libc::PROT_NONE] {
                let page = two_pages(access);
                // SAFETY: the page is ours, and nobody looks at it.
                assert_eq!(unsafe { libc::munmap(page.byte_add(4096), 4096) }, 0);
                say_where(page);
            }
        }
        Ok("a page to read before one to write") => {
            let page = two_pages(all);
            // SAFETY: the page is ours, and nobody looks at it.
            assert_eq!(unsafe { libc::mprotect(page, 4096, libc::PROT_READ) }, 0);
            say_where(page);
        }
        _ => {}
    }
}

fn two_pages(access: i32) -> *mut libc::c_void {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a new mapping, where nothing is.
    let pages = unsafe { libc::mmap(std::ptr::null_mut(), 2 * 4096, access, flags, -1, 0) };
    assert_ne!(pages, libc::MAP_FAILED);
    pages
}

/// By a signal for this thread alone, so that it is taken before the next one is sent.
fn say_where(page: *mut libc::c_void) {
    let mut info = [0_u64; 16];
    // SAFETY: the signal is not delivered; the call reads what is as long as a `siginfo_t`.
    unsafe {
        let (process, thread) = (libc::getpid(), libc::syscall(libc::SYS_gettid));
        (info[1], info[2], info[3]) = (u64::from(u32::MAX), process as u64, page as u64);
        let (call, signal) = (libc::SYS_rt_tgsigqueueinfo, libc::SIGUSR1);
        assert_eq!(libc::syscall(call, process, thread, signal, &info), 0);
    }
}

/// From memory that cannot be written into memory that can, in one go.
#[test]
fn m2_a_write_goes_through_pages_of_different_protection() {
    within(30, || {
        let mut linux = Linux::open().unwrap();
        let spawned = start(&mut linux, playing("a page to read before one to write"), KILL);
        go(&mut linux, thread_of(spawned.pid));
        let (thread, page) = told(&mut linux, spawned.pid);
        let border = page + PAGE;
        let data: Vec<u8> = (0..100).collect();
        assert_eq!(linux.write_memory(thread, border - 50, &data).unwrap(), 100);
        let mut back = vec![0; 100];
        assert_eq!(linux.read_memory(thread, border - 50, &mut back).unwrap(), 100);
        assert_eq!(back, data);
    });
}

/// Waits for the page that a role tells of.
fn told(linux: &mut Linux, pid: Pid) -> (Thread, u64) {
    let thread = loop {
        let stop = next(linux);
        if let RawKind::Stop(RawReason::Signal { signal: Signal::USR1, .. }) = stop.kind {
            break Thread { pid, tid: stop.tid.unwrap() };
        }
        pass(linux, stop);
    };
    let info = linux.signal_info(thread).unwrap();
    assert_eq!((info.code, info.sender), (libc::SI_QUEUE, Some(pid)));
    (thread, info.value.unwrap())
}

/// E3: an open file names the memory from before an exec; forgetting it opens the new one.
#[test]
fn e3_after_an_exec_the_new_memory_is_read() {
    within(30, || {
        let mut linux = Linux::open().unwrap();
        let spawned = start(&mut linux, sh("exec true"), KILL);
        let thread = thread_of(spawned.pid);
        // Opens the file: text is read-only.
        let pc = linux.registers(thread).unwrap().pc();
        let mut byte = [0];
        assert_eq!(linux.read_memory(thread, pc, &mut byte).unwrap(), 1);
        assert_eq!(linux.write_memory(thread, pc, &byte).unwrap(), 1);
        go(&mut linux, thread);
        let exec = next_of(&mut linux, thread);
        assert!(matches!(exec, RawKind::Stop(RawReason::Execed { .. })), "{exec:?}");
        linux.forget(spawned.pid);
        let pc = linux.registers(thread).unwrap().pc();
        assert_eq!(linux.write_memory(thread, pc, &[0xcc]).unwrap(), 1);
        assert_eq!(linux.read_memory(thread, pc, &mut byte).unwrap(), 1);
        assert_eq!(byte, [0xcc]);
    });
}

/// Descriptors of the host are not used up by many tracees.
#[test]
fn m2_few_files_stay_open() {
    within(60, || {
        let mut linux = Linux::open().unwrap();
        let tracees: Vec<_> = (0..100)
            .map(|_| thread_of(start(&mut linux, Command::new("true"), KILL).pid))
            .collect();
        let open = || {
            let fds = fs::read_dir("/proc/self/fd").unwrap().flatten();
            let targets = fds.filter_map(|fd| fs::read_link(fd.path()).ok());
            targets.filter(|target| target.ends_with("mem")).count()
        };
        for &thread in &tracees {
            let pc = linux.registers(thread).unwrap().pc();
            assert_eq!(linux.write_memory(thread, pc, &[0x90]).unwrap(), 1);
        }
        assert!((1..=64).contains(&open()), "{}", open());
        tracees.iter().for_each(|thread| linux.forget(thread.pid));
        assert_eq!(open(), 0);
    });
}
