//! The programs that are debugged, and the two servers.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::harness::skip;

/// Becomes a program to debug, if the environment says so.
pub fn run_if_asked() {
    be_debuggee();
}

/// A server of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Server {
    /// The one that is tested.
    Ours,
    /// gdb's own.
    Gdbs,
}

impl Server {
    pub fn command(self) -> Command {
        match self {
            // Whoever runs this binary on another machine says where the server is there.
            Server::Ours => Command::new(
                std::env::var_os("TRAPLINE_GDBSERVER")
                    .unwrap_or_else(|| env!("CARGO_BIN_EXE_trapline-gdbserver").into()),
            ),
            Server::Gdbs => Command::new("gdbserver"),
        }
    }
}

/// Ends the test if a tool is not here.
pub fn needs(tools: &[&str]) {
    for tool in tools {
        if !Command::new(tool).arg("--version").output().is_ok_and(|out| out.status.success()) {
            skip(&format!("there is no {tool} here"));
        }
    }
}

/// Ends the test where there is no gdb, no server of gdb's own, or no compiler.
pub fn needs_gdb() {
    needs(&["gdb", "gdbserver", "gcc"]);
}

/// Compiles one of the programs in `programs`, and returns the path of it.
pub fn compile(name: &str) -> PathBuf {
    let made = made_by_gcc(name, &["-pthread", "-fno-omit-frame-pointer"]);
    made.unwrap_or_else(|| panic!("gcc of {name}.c"))
}

/// The same as a 32-bit program, which has no library. Ends the test where that cannot be made or
/// run.
pub fn compile_narrow(name: &str) -> PathBuf {
    let flags =
        ["-m32", "-ffreestanding", "-fno-stack-protector", "-fno-pie", "-no-pie", "-static"];
    let made = made_by_gcc(name, &[&flags[..], &["-nostdlib"]].concat());
    let Some(program) = made else { skip("32-bit programs cannot be made here") };
    if Command::new(&program).status().ok().and_then(|status| status.code()) != Some(20) {
        skip("32-bit programs cannot be run here");
    }
    program
}

fn made_by_gcc(name: &str, flags: &[&str]) -> Option<PathBuf> {
    needs_gdb();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs");
    // Tests run side by side, and gdb minds if a program changes.
    let test = std::env::var(crate::harness::TEST).unwrap_or_default().replace("::", ".");
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("gdb").join(test);
    std::fs::create_dir_all(&dir).unwrap();
    let program = dir.join(name);
    let status = Command::new("gcc")
        .args(["-g", "-O0"])
        .args(flags)
        .arg("-o")
        .arg(&program)
        .arg(source.join(format!("{name}.c")))
        .status()
        .unwrap();
    status.success().then_some(program)
}

/// Makes this binary a program to debug.
pub const DEBUGGEE: &str = "TRAPLINE_DEBUGGEE";

/// Counts the calls of [`called`].
static COUNT: AtomicU64 = AtomicU64::new(0);

#[inline(never)]
extern "C" fn called() {
    COUNT.fetch_add(1, Ordering::Relaxed);
}

/// Waits until the test has written something else than 0 to [`COUNT`].
fn wait_to_be_released() {
    while COUNT.load(Ordering::Relaxed) == 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Counts the signals that come.
fn handle_signals() {
    extern "C" fn count(_: libc::c_int) {
        called();
    }
    let count: extern "C" fn(libc::c_int) = count;
    // SAFETY: the handler does nothing but count.
    unsafe { libc::signal(libc::SIGUSR1, count as *const () as libc::sighandler_t) };
}

/// Becomes one of the programs to debug, if the environment says so.
fn be_debuggee() {
    let Ok(name) = std::env::var(DEBUGGEE) else { return };
    match name.as_str() {
        "exit" => {
            println!("here");
            std::process::exit(7);
        }
        "calls" => {
            println!("{:x} {:x}", called as *const () as usize, &raw const COUNT as usize);
            for round in 0.. {
                called();
                std::thread::sleep(Duration::from_millis(1));
                if round == 1000 {
                    println!("much later");
                }
            }
        }
        "threads" => {
            let spin = || loop {
                called();
            };
            (0..3).for_each(|_| drop(std::thread::spawn(spin)));
            std::thread::sleep(Duration::from_millis(50));
            println!("{:x} {:x}", called as *const () as usize, &raw const COUNT as usize);
            println!("running");
            spin();
        }
        // Four threads that call at the same time, and once each; how many have, and one, is the status.
        "rendezvous" => {
            println!("{:x} {:x}", called as *const () as usize, &raw const COUNT as usize);
            wait_to_be_released();
            let together = std::sync::Arc::new(std::sync::Barrier::new(4));
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    let together = together.clone();
                    std::thread::spawn(move || {
                        together.wait();
                        called();
                    })
                })
                .collect();
            threads.into_iter().for_each(|thread| thread.join().unwrap());
            std::process::exit(COUNT.load(Ordering::Relaxed) as i32);
        }
        // Starts programs, with another thread that calls all the time.
        "spawns" => {
            std::thread::spawn(|| {
                loop {
                    called();
                }
            });
            for _ in 0..5 {
                assert!(Command::new("/bin/sh").args(["-c", "exit 0"]).status().unwrap().success());
            }
            let before = COUNT.load(Ordering::Relaxed);
            while COUNT.load(Ordering::Relaxed) == before {
                std::thread::sleep(Duration::from_millis(1));
            }
            std::process::exit(8);
        }
        // One process more, which calls as well; its end is what this one waits for.
        "forks" => {
            println!("{:x} {:x}", called as *const () as usize, &raw const COUNT as usize);
            wait_to_be_released();
            // SAFETY: this is the only thread.
            let child = unsafe { libc::fork() };
            called();
            if child == 0 {
                // SAFETY: ends this process.
                unsafe { libc::_exit(3) };
            }
            let mut status = 0;
            // SAFETY: waits for the child; `status` lives.
            unsafe { libc::waitpid(child, &mut status, 0) };
            std::process::exit(libc::WEXITSTATUS(status));
        }
        "signals" => {
            handle_signals();
            for _ in 0..2 {
                // SAFETY: sends a signal to this thread.
                unsafe { libc::raise(libc::SIGUSR1) };
            }
            std::process::exit(COUNT.load(Ordering::Relaxed) as i32);
        }
        // Two threads that send themselves signals at the same time; how many were handled is the status.
        "two_signals" => {
            handle_signals();
            let together = std::sync::Arc::new(std::sync::Barrier::new(2));
            let threads: Vec<_> = (0..2)
                .map(|_| {
                    let together = together.clone();
                    std::thread::spawn(move || {
                        for _ in 0..30 {
                            together.wait();
                            // SAFETY: sends a signal to this thread.
                            unsafe { libc::raise(libc::SIGUSR1) };
                        }
                    })
                })
                .collect();
            threads.into_iter().for_each(|thread| thread.join().unwrap());
            std::process::exit(COUNT.load(Ordering::Relaxed) as i32);
        }
        other => panic!("no program {other}"),
    }
}
