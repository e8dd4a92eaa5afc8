//! `linux_syscalls`: chosen system calls of a program, with arguments and results. A seccomp filter
//! picks them out, and the program runs through all others without a stop. 32-bit programs are served
//! as well, and 64-bit programs that make 32-bit calls: each call by the names of its own ABI. It
//! shows the use of
//! [`trapline::os::linux::TracerExt`]; its twin for FreeBSD is `freebsd_truss`.
//!
//! ```sh
//! cargo run --release --example linux_syscalls -- -f -e openat,execve -- sh -c 'ls / | wc -l'
//! ```
//!
//! What the filter is good for: `ls -lR /usr/share`, with its output thrown away, took 0.30 s by
//! itself, 0.33 s under `-f -o FILE -e openat,execve`, and 2.8 s with all calls shown (`-f -o FILE`
//! alone): eight times as long. (The shortest of 15 runs each, on Linux 6.18 in a virtual machine.)
//! The fewer of its calls a program has picked out, the less it is slowed down.

// A `#[path]`, so that a test can include the same file with its modules.
#[cfg(target_os = "linux")]
#[path = "run.rs"]
mod run;

#[cfg(target_os = "linux")]
fn main() {
    run::run(std::env::args_os())
}

#[cfg(not(target_os = "linux"))]
fn main() {
    eprintln!("linux_syscalls: this example needs Linux; freebsd_truss does this on FreeBSD");
    std::process::exit(2)
}
