//! The programs that are traced: modes of the bench's own binary, chosen by the environment.
//!
//! A tracee waits for a byte on its standard input before it begins, so that a loop by hand can
//! seize it first. The unsafe code of this file is system calls of a program with one thread.

use std::io::Read;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use super::{hot, regs};

const PROGRAM: &str = "TRAPLINE_BENCH_PROGRAM";
const AMOUNT: &str = "TRAPLINE_BENCH_AMOUNT";

/// Where the program `touch` has its code, and the word that it writes.
pub const CODE: u64 = 0x1000_0000;
pub const WORD: u64 = CODE + 0x1000;

/// Becomes the tracee, if this process is one.
pub fn run_if_asked() {
    let Ok(program) = std::env::var(PROGRAM) else { return };
    if program != "exec" || std::env::var(AMOUNT).is_err() {
        let _ = std::io::stdin().read(&mut [0]);
    }
    match program.as_str() {
        "int3" => int3(),
        "count" => regs::count(),
        "call" => call(),
        "raise" => raise(),
        "touch" => touch(),
        "fork" => fork(),
        "vfork" => vfork(),
        "exec" => exec(),
        "thread" => loop {
            let _ = std::thread::spawn(|| {}).join();
        },
        "idle" => sleep(),
        "idle-processes" => idle_processes(amount()),
        "idle-threads" => idle_threads(amount()),
        "busy-processes" => busy_processes(amount()),
        "late" => late(amount()),
        "hot" => hot::run(amount(), raise_once),
        "hot-line" => hot::run(amount(), || println!("ready")),
        "hot-forks" => hot::forks(),
        "memory" => memory(amount()),
        other => panic!("no program {other}"),
    }
}

/// The command that runs a program.
pub fn command(program: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this binary"));
    command.env(PROGRAM, program).env_remove(AMOUNT).stdin(Stdio::null());
    command
}

/// The same, with how many or how much.
pub fn command_with(program: &str, amount: u64) -> Command {
    let mut command = command(program);
    command.env(AMOUNT, amount.to_string());
    command
}

fn amount() -> u64 {
    std::env::var(AMOUNT).ok().and_then(|amount| amount.parse().ok()).expect("an amount")
}

fn int3() -> ! {
    loop {
        // SAFETY: a trap, which the tracer takes away.
        unsafe { regs::trap() }
    }
}

fn call() -> ! {
    loop {
        // SAFETY: no arguments.
        unsafe { std::hint::black_box(libc::getppid()) };
    }
}

fn raise() -> ! {
    // SAFETY: no arguments.
    let us = unsafe { libc::getpid() };
    loop {
        // SAFETY: a signal for this process, which has one thread; the tracer takes it away.
        unsafe { libc::kill(us, libc::SIGUSR1) };
    }
}

/// Goes through `CODE` and writes `WORD`, for ever, at addresses that a tracer knows.
fn touch() -> ! {
    map_low(0x2000);
    put_loop();
    go_round()
}

/// Puts the loop at `CODE`, which is mapped.
pub(super) fn put_loop() {
    let code = regs::endless();
    // SAFETY: two pages there are mapped, and nothing runs there yet.
    unsafe { std::ptr::copy_nonoverlapping(code.as_ptr(), CODE as *mut u8, code.len()) };
}

/// Runs the loop at `CODE`.
pub(super) fn go_round() -> ! {
    // SAFETY: the loop is there; it changes WORD alone.
    unsafe { regs::go_to(CODE) }
}

fn reap(pid: i32) {
    // SAFETY: the status is not asked for.
    unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) };
}

pub(super) fn fork() -> ! {
    loop {
        // SAFETY: there is one thread, and the child only ends.
        match unsafe { libc::fork() } {
            // SAFETY: as above.
            0 => unsafe { libc::_exit(0) },
            child => reap(child),
        }
    }
}

fn vfork() -> ! {
    unsafe extern "C" {
        fn vfork() -> libc::pid_t;
    }
    loop {
        // SAFETY: the child ends, and changes nothing of its parent's.
        let child = unsafe {
            let child = vfork();
            if child == 0 {
                libc::_exit(0);
            }
            child
        };
        reap(child);
    }
}

/// Execs itself; the amount says that it has begun.
fn exec() -> ! {
    use std::os::unix::process::CommandExt;
    let error = command_with("exec", 0).exec();
    panic!("{error}");
}

pub(super) fn sleep() -> ! {
    loop {
        // SAFETY: no arguments.
        unsafe { libc::pause() };
    }
}

/// Many processes that sleep, each the child of the first one, which tells once they are there.
fn idle_processes(n: u64) -> ! {
    for _ in 1..n {
        // SAFETY: there is one thread, and the child only sleeps.
        if unsafe { libc::fork() } == 0 {
            sleep();
        }
    }
    raise_once();
    sleep()
}

/// Threads that sleep.
fn idle_threads(n: u64) -> ! {
    for _ in 1..n {
        std::thread::Builder::new().stack_size(16 << 10).spawn(|| sleep()).expect("a thread");
    }
    println!("ready");
    sleep()
}

/// How often this process had to give its CPU to another one.
fn preemptions() -> libc::c_long {
    // SAFETY: all zeros are a value of this structure of integers.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: writes `usage`.
    unsafe { libc::getrusage(libc::RUSAGE_SELF, &mut usage) };
    usage.ru_nivcsw
}

/// Many processes that each raise signals for ever, once their tracer has all of them. Each
/// writes to its standard output, a file that its tracer has mapped, how many stops the tracer has
/// handled, as it says at the file's beginning, just before it raises.
fn busy_processes(n: u64) -> ! {
    let size = 8 * (2 * n as usize + 1);
    // SAFETY: a new mapping of a file that has this length.
    let words = unsafe {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        libc::mmap(std::ptr::null_mut(), size, protection, libc::MAP_SHARED, 1, 0)
    };
    assert_ne!(words, libc::MAP_FAILED);
    let words = words.cast::<AtomicU64>();
    let mut place = 1;
    for other in 2..=n {
        // SAFETY: there is one thread.
        if unsafe { libc::fork() } == 0 {
            place = other;
            break;
        }
    }
    // SAFETY: the mapping has 2 n + 1 words, aligned to a page.
    let (now, mine, delayed) =
        unsafe { (&*words, &*words.add(place as usize), &*words.add((n + place) as usize)) };
    // SAFETY: no arguments.
    let us = unsafe { libc::getpid() };
    // Not before all are there, for a busy one may starve the one that makes them.
    while now.load(SeqCst) == 0 {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    loop {
        let before = preemptions();
        mine.store(now.load(SeqCst), SeqCst);
        // SAFETY: as in `raise`.
        unsafe { libc::kill(us, libc::SIGUSR1) };
        delayed.store((preemptions() - before) as u64, SeqCst);
    }
}

/// Writes down the time and raises a signal, 20 times after a millisecond and once after so many
/// microseconds, for ever.
fn late(micros: u64) -> ! {
    // SAFETY: as in `busy_processes`, with one word.
    let word = unsafe {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        libc::mmap(std::ptr::null_mut(), 8, protection, libc::MAP_SHARED, 1, 0)
    };
    assert_ne!(word, libc::MAP_FAILED);
    // SAFETY: the mapping is one word.
    let word = unsafe { &*word.cast::<AtomicU64>() };
    loop {
        for pause in [1000; 20].into_iter().chain([micros]) {
            std::thread::sleep(std::time::Duration::from_micros(pause));
            word.store(nanos(), SeqCst);
            raise_once();
        }
    }
}

/// The monotonic time, which is the same in all processes.
pub fn nanos() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes `time`.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

pub(super) fn raise_once() {
    // SAFETY: a signal for this process, which its tracer takes away.
    unsafe { libc::kill(libc::getpid(), libc::SIGUSR1) };
}

/// Has so many bytes of memory at `CODE`, and tells once it has.
fn memory(n: u64) -> ! {
    map_low(n as usize);
    // SAFETY: just mapped.
    unsafe { std::slice::from_raw_parts_mut(CODE as *mut u8, n as usize).fill(0x5a) };
    raise_once();
    sleep()
}

/// Maps memory at `CODE`.
pub(super) fn map_low(size: usize) {
    let protection = libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANON | libc::MAP_FIXED;
    // SAFETY: nothing else is mapped so low in a position-independent program.
    let at = unsafe { libc::mmap(CODE as *mut _, size, protection, flags, -1, 0) };
    assert_eq!(at as u64, CODE);
}
