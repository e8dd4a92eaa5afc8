//! The programs that are traced: modes of the test binary.

mod families;
mod permission;

use std::io::{Read, Write};
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::time::Duration;

static HANDLED: AtomicU32 = AtomicU32::new(0);

extern "C" fn count(_: libc::c_int) {
    HANDLED.fetch_add(1, Ordering::SeqCst);
}

fn handle(signal: libc::c_int) {
    // SAFETY: the handler does nothing but an atomic add.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = count as *const () as usize;
        action.sa_flags = libc::SA_RESTART;
        assert_eq!(libc::sigaction(signal, &action, std::ptr::null_mut()), 0);
    }
}

/// Waits for a child and gives its exit code.
fn wait_for(pid: i32) -> u8 {
    let mut status = 0;
    // SAFETY: the status is valid for a write.
    while unsafe { libc::waitpid(pid, &mut status, 0) } == -1 {}
    if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) as u8 } else { 99 }
}

/// Threads that fork and wait, so many times or until a signal is handled.
fn forks(threads: u32, rounds: u32) -> u8 {
    let fork = move || {
        let enough = || HANDLED.load(Ordering::SeqCst) > 0;
        for _ in (0..rounds).take_while(|_| !enough()) {
            // SAFETY: the child only exits.
            match unsafe { libc::fork() } {
                0 => child_exit(0),
                pid => assert_eq!(wait_for(pid), 0),
            }
        }
    };
    let threads: Vec<_> = (0..threads).map(|_| std::thread::spawn(fork)).collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    0
}

/// What a child does at once; nothing that a forked child of a single thread may not do.
fn child_exit(code: i32) -> ! {
    // SAFETY: ends the process.
    unsafe { libc::_exit(code) }
}

#[inline(never)]
fn spot() -> u32 {
    std::hint::black_box(1)
}

fn say(text: impl std::fmt::Display) {
    println!("{text}");
    let _ = std::io::stdout().flush();
}

fn until_stdin_closes() {
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}

pub(crate) fn main(args: &[String]) -> ExitCode {
    let number = |i: usize| args.get(i).and_then(|arg| arg.parse::<u32>().ok()).unwrap_or(0);
    let code = match args.first().map(String::as_str).unwrap_or_default() {
        "exit" => number(1) as u8,
        // Raises a signal that it handles, so many times.
        "raise" => {
            handle(libc::SIGUSR1);
            handle(libc::SIGUSR2);
            for _ in 0..number(1) {
                // SAFETY: the signal is handled.
                unsafe { libc::raise(libc::SIGUSR1) };
            }
            HANDLED.load(Ordering::SeqCst) as u8
        }
        // The first thread sleeps, another one raises a signal and goes on calculating.
        "raise-beside-sleepers" => {
            handle(libc::SIGUSR1);
            std::thread::spawn(|| {
                std::thread::sleep(Duration::from_millis(50));
                // SAFETY: the signal is handled.
                unsafe { libc::raise(libc::SIGUSR1) };
                loop {
                    std::hint::spin_loop();
                }
            });
            std::thread::sleep(Duration::from_secs(1000));
            0
        }
        "abort" => std::process::abort(),
        // SAFETY: single-threaded; the child only exits.
        "fork" => match unsafe { libc::fork() } {
            0 => child_exit(3),
            pid => wait_for(pid),
        },
        "vfork" => wait_for(vfork_and_exit()),
        // A child whose end is told by SIGUSR1.
        "rfork" => {
            const RFFDG: i32 = 1 << 2;
            const RFPROC: i32 = 1 << 4;
            const RFTSIGZMB: i32 = 1 << 19;
            const WLINUXCLONE: i32 = 0x8000_0000_u32 as i32;
            handle(libc::SIGUSR1);
            let flags = RFPROC | RFFDG | RFTSIGZMB | libc::SIGUSR1 << 20;
            // SAFETY: as above.
            match unsafe { rfork(flags) } {
                0 => child_exit(5),
                pid => {
                    let mut status = 0;
                    // SAFETY: the status is valid for a write.
                    while unsafe { libc::waitpid(pid, &mut status, WLINUXCLONE) } == -1 {
                        assert_eq!(
                            std::io::Error::last_os_error().raw_os_error(),
                            Some(libc::EINTR)
                        );
                    }
                    libc::WEXITSTATUS(status) as u8
                }
            }
        }
        "pdfork" => {
            let mut fd = -1;
            // SAFETY: the descriptor is valid for a write; as above.
            match unsafe { libc::pdfork(&mut fd, 0) } {
                0 => child_exit(6),
                pid => wait_for(pid),
            }
        }
        // std uses posix_spawn.
        "spawn" => {
            Command::new("/usr/bin/true").status().map_or(99, |s| s.code().unwrap_or(98) as u8)
        }
        "threads" => {
            let threads: Vec<_> = (0..number(1))
                .map(|_| {
                    std::thread::spawn(|| {
                        spot();
                    })
                })
                .collect();
            threads.into_iter().for_each(|thread| thread.join().unwrap());
            0
        }
        // Exec'ed by a thread that is not the first, with others around.
        "thread-exec" => {
            for _ in 0..2 {
                std::thread::spawn(|| std::thread::sleep(Duration::from_secs(1000)));
            }
            std::thread::sleep(Duration::from_millis(50));
            let exec = || {
                let error =
                    std::os::unix::process::CommandExt::exec(&mut Command::new("/usr/bin/true"));
                panic!("{error}")
            };
            let _ = std::thread::spawn(exec).join();
            97
        }
        // A thread forks while the main one exits: the fork's report is lost at times.
        "fork-exit" => {
            let barrier = Arc::new(Barrier::new(2));
            let other = Arc::clone(&barrier);
            std::thread::spawn(move || {
                other.wait();
                // SAFETY: the child only exits.
                if unsafe { libc::fork() } == 0 {
                    child_exit(0);
                }
                std::thread::sleep(Duration::from_secs(1000));
            });
            barrier.wait();
            for _ in 0..number(1) {
                std::hint::spin_loop();
            }
            child_exit(7)
        }
        // One thread ends while the other one makes a vfork child.
        "vfork-end" => {
            std::thread::spawn(|| std::thread::sleep(Duration::from_millis(50)));
            wait_for(vfork_and_exit())
        }
        "sleep" => {
            say("ready");
            until_stdin_closes();
            8
        }
        // Counts what it handles until stdin closes, and says how much it was.
        "count" => {
            handle(libc::SIGUSR1);
            handle(libc::SIGUSR2);
            say("ready");
            until_stdin_closes();
            say(HANDLED.load(Ordering::SeqCst));
            0
        }
        "busy" => {
            say("ready");
            loop {
                std::hint::spin_loop();
            }
        }
        // Threads that call a function all the time, until stdin closes; it says where that is.
        "spot" => {
            static CALLS: AtomicUsize = AtomicUsize::new(0);
            handle(libc::SIGUSR1);
            let running = Arc::new(Barrier::new(number(1) as usize + 1));
            for _ in 0..number(1) {
                let running = Arc::clone(&running);
                std::thread::spawn(move || {
                    running.wait();
                    loop {
                        CALLS.fetch_add(spot() as usize, Ordering::Relaxed);
                        std::thread::yield_now();
                    }
                });
            }
            running.wait();
            say(spot as fn() -> u32 as usize);
            until_stdin_closes();
            let before = CALLS.load(Ordering::Relaxed);
            std::thread::sleep(Duration::from_millis(200));
            let after = CALLS.load(Ordering::Relaxed);
            say(HANDLED.load(Ordering::SeqCst));
            u8::from(after <= before)
        }
        // Threads that sleep for moments.
        "naps" => {
            for _ in 0..number(1) {
                std::thread::spawn(|| {
                    loop {
                        std::thread::sleep(Duration::from_micros(100));
                        spot();
                    }
                });
            }
            std::thread::sleep(Duration::from_millis(20));
            say("ready");
            until_stdin_closes();
            0
        }
        // Threads that fork and exec, all at once.
        "storm" => {
            let rounds = number(2);
            let threads: Vec<_> = (0..number(1))
                .map(|_| {
                    std::thread::spawn(move || {
                        for _ in 0..rounds {
                            let status = Command::new("/usr/bin/true").status().unwrap();
                            assert!(status.success());
                        }
                    })
                })
                .collect();
            threads.into_iter().for_each(|thread| thread.join().unwrap());
            0
        }
        // Threads that fork plainly.
        // Threads that fork and wait, so many times.
        "forks" => forks(number(1), number(2)),
        // The same, until SIGUSR1, and one that raises SIGUSR2 at times: a fork is begun anew
        // whenever its process is stopped.
        "raising-forks" => {
            extern "C" fn nothing(_: libc::c_int) {}
            handle(libc::SIGUSR1);
            // SAFETY: the handler does nothing.
            unsafe { libc::signal(libc::SIGUSR2, nothing as *const () as usize) };
            std::thread::spawn(|| {
                for time in (1..64).cycle() {
                    std::thread::sleep(Duration::from_millis(time));
                    // SAFETY: sends a signal to this thread.
                    unsafe { libc::raise(libc::SIGUSR2) };
                }
            });
            forks(number(1), number(2))
        }
        "pids" => {
            for _ in 0..3 {
                // SAFETY: no arguments.
                unsafe { libc::getppid() };
            }
            // A call that fails.
            // SAFETY: no such descriptor.
            unsafe { libc::close(12345) };
            0
        }
        // Handles SIGUSR1, with SIGUSR2 blocked and pending.
        "blocked" => {
            handle(libc::SIGUSR1);
            // SAFETY: the set is initialised before it is used; the signals are sent to this thread.
            unsafe {
                let mut set: libc::sigset_t = std::mem::zeroed();
                libc::sigemptyset(&mut set);
                libc::sigaddset(&mut set, libc::SIGUSR2);
                libc::pthread_sigmask(libc::SIG_BLOCK, &set, std::ptr::null_mut());
                libc::raise(libc::SIGUSR2);
                libc::raise(libc::SIGUSR1);
            }
            HANDLED.load(Ordering::SeqCst) as u8
        }
        "calls" => calls(),
        // Forbids others to trace it.
        "untraceable" => {
            let mut forbid = libc::PROC_TRACE_CTL_DISABLE;
            let forbid = std::ptr::from_mut(&mut forbid).cast();
            // SAFETY: the command reads one int.
            let done = unsafe { libc::procctl(libc::P_PID, 0, libc::PROC_TRACE_CTL, forbid) };
            assert_eq!(done, 0);
            say("ready");
            until_stdin_closes();
            0
        }
        "fork-no-status" => families::fork_no_status(),
        "pdfork-watched" => families::pdfork_watched(),
        "pdfork-closed" => families::pdfork_closed(),
        "pdfork-left" => families::pdfork_left(false),
        "pdfork-daemon" => families::pdfork_left(true),
        "stop-itself" => families::stop_itself(),
        "ignoring" => families::ignoring(),
        "tracer" => families::tracer(&args[1..]),
        "spawns" => permission::spawns(&args[1..]),
        "registers" => registers(),
        "memory" => memory(),
        mode => panic!("no fixture {mode:?}"),
    };
    ExitCode::from(code)
}

/// vfork(2), with a child that exits with 4: in one piece, as the child runs on our stack.
fn vfork_and_exit() -> i32 {
    let pid: i64;
    // SAFETY: the child makes one more system call, and never leaves this block.
    unsafe {
        std::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "mov edi, 4",
            "mov eax, 1", // exit
            "syscall",
            "2:",
            inlateout("rax") 66_i64 => pid,
            out("rcx") _, out("rdx") _, out("rsi") _, out("rdi") _,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
        );
    }
    i32::try_from(pid).unwrap_or(-1)
}

/// Calls whose arguments and results are known.
fn calls() -> u8 {
    let none = std::ptr::null_mut();
    // SAFETY: there are no such descriptors.
    unsafe {
        assert_eq!(libc::sendfile(-1, -1, 3, 4, none, none.cast(), 7), -1);
        // pipe(2) as it was once: it leaves both descriptors in registers.
        assert_ne!(libc::syscall(42), -1);
        assert_eq!(libc::close(12345), -1);
    }
    wait_for(vfork_and_exit())
}

unsafe extern "C" {
    fn rfork(flags: libc::c_int) -> libc::pid_t;
}

/// Traps with known registers, and goes on with what the tracer has made of them.
fn registers() -> u8 {
    let (mut r12, mut r13): (u64, u64) = (0x1111_2222_3333_4444, 0x5555_6666_7777_8888);
    let (xmm, mut out): ([u8; 16], [u8; 16]) = ([7; 16], [0; 16]);
    // SAFETY: int3 traps; what is changed is declared.
    unsafe {
        std::arch::asm!(
            "movups xmm5, [{xmm}]",
            "int3",
            "movups [{out}], xmm5",
            xmm = in(reg) xmm.as_ptr(),
            out = in(reg) out.as_mut_ptr(),
            inout("r12") r12,
            inout("r13") r13,
            out("xmm5") _,
        );
    }
    u8::from(r12 != 42)
        | u8::from(r13 != 0x5555_6666_7777_8888) << 1
        | u8::from(out != [9; 16]) << 2
}

/// Three pages, the last of them taken away; it says where, and how the first changed.
fn memory() -> u8 {
    const PAGE: usize = 4096;
    // SAFETY: a new mapping of our own, used within its bounds.
    unsafe {
        let start = libc::mmap(
            std::ptr::null_mut(),
            3 * PAGE,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANON,
            -1,
            0,
        )
        .cast::<u8>();
        for i in 0..2 * PAGE {
            start.add(i).write(i as u8);
        }
        libc::mprotect(start.cast(), PAGE, libc::PROT_READ);
        libc::munmap(start.add(2 * PAGE).cast(), PAGE);
        say(start as usize);
        until_stdin_closes();
        start.add(5).read_volatile()
    }
}
