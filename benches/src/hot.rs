//! Programs with places for breakpoints, one of which is hot, and with many threads. The unsafe
//! code of this file writes to memory that it has just mapped, and maps a file over it.

use std::io::Write;
use std::os::fd::AsRawFd;

use super::regs;
use super::tracee::{CODE, WORD, fork, go_round, map_low, put_loop, raise_once, sleep};

/// Where a copy of the instruction at `CODE` is, with a jump back behind that: what a loop by hand
/// has the program go through instead.
pub const SLOT: u64 = CODE + 0x800;

/// Where the other places are, how far from each other, and how many there are.
const FIELD: u64 = CODE + 0x1_0000;
const SPACE: u64 = 16;
const PLACES: u64 = 100_000;

/// So many places for breakpoints, the hot one first.
pub fn places(n: u64) -> impl Iterator<Item = u64> {
    assert!((1..=PLACES).contains(&n));
    std::iter::once(CODE).chain((1..n).map(|i| FIELD + i * SPACE))
}

/// In how many pages those are.
pub fn pages(n: u64) -> u64 {
    1 + (n * SPACE).div_ceil(4096)
}

/// How many threads beside the first one a program has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Others {
    pub sleeping: u64,
    pub busy: u64,
}

impl Others {
    pub const NONE: Others = Others { sleeping: 0, busy: 0 };

    pub fn sleeping(sleeping: u64) -> Self {
        Others { sleeping, busy: 0 }
    }

    /// As the amount that a program is told.
    pub fn amount(self) -> u64 {
        self.sleeping | self.busy << 32
    }
}

/// Maps the places, with an instruction that does nothing at each, as a program has its code: from a
/// file, and not to be written.
fn put_places() {
    let size = FIELD + PLACES * SPACE - CODE;
    map_low(size as usize);
    put_loop();
    let slot = regs::copied();
    let field = regs::NOTHING.repeat((PLACES * SPACE) as usize / regs::NOTHING.len());
    // SAFETY: just mapped, from CODE on for `size` bytes, and nothing runs there yet.
    unsafe {
        std::ptr::copy_nonoverlapping(field.as_ptr(), FIELD as *mut u8, field.len());
        std::ptr::copy_nonoverlapping(slot.as_ptr(), SLOT as *mut u8, slot.len());
    }
    map_from_file(CODE, (WORD - CODE) as usize);
    map_from_file(FIELD, (PLACES * SPACE) as usize);
}

/// Has memory come from a file with the same in it.
fn map_from_file(start: u64, size: usize) {
    let path = std::env::temp_dir().join(format!("trapline-bench-{}", std::process::id()));
    let mut options = std::fs::File::options();
    let mut file = options.read(true).write(true).create_new(true).open(&path).expect("a file");
    std::fs::remove_file(&path).expect("it is there");
    // SAFETY: mapped for `size` bytes, and written by nobody meanwhile.
    let code = unsafe { std::slice::from_raw_parts(start as *const u8, size) };
    file.write_all(code).expect("room for it");
    let flags = libc::MAP_PRIVATE | libc::MAP_FIXED;
    let protection = libc::PROT_READ | libc::PROT_EXEC;
    // SAFETY: over memory that is this program's own, with what is there already.
    let mapped = unsafe {
        libc::mmap(start as *mut libc::c_void, size, protection, flags, file.as_raw_fd(), 0)
    };
    assert_eq!(mapped as u64, start, "{}", std::io::Error::last_os_error());
}

/// Runs the loop at `CODE`, once its other threads are there and it has told so.
pub(super) fn run(amount: u64, tell: impl FnOnce()) -> ! {
    put_places();
    let thread = |work: fn()| {
        std::thread::Builder::new().stack_size(16 << 10).spawn(work).expect("a thread");
    };
    for _ in 0..amount & 0xffff_ffff {
        thread(|| sleep());
    }
    for _ in 0..amount >> 32 {
        thread(|| {
            loop {
                std::hint::black_box(());
            }
        });
    }
    tell();
    go_round()
}

/// Forks for ever, once it has told.
pub(super) fn forks() -> ! {
    put_places();
    raise_once();
    fork()
}
