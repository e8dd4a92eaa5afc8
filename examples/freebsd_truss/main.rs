//! `freebsd_truss`: the system calls of a program, with arguments and results, as FreeBSD's own
//! `truss(1)` shows them. It shows the use of [`trapline::os::freebsd::TracerExt`]; its twin for
//! Linux is `linux_syscalls`.
//!
//! ```sh
//! cargo run --example freebsd_truss -- -f -o calls.txt -- sh -c 'ls / | wc -l'
//! ```

#[cfg(target_os = "freebsd")]
#[path = "../child_signals/mod.rs"]
mod child_signals;
#[cfg(target_os = "freebsd")]
mod names;
#[cfg(target_os = "freebsd")]
#[path = "../syscalls/mod.rs"]
mod syscalls;
#[cfg(target_os = "freebsd")]
mod truss;

#[cfg(target_os = "freebsd")]
fn main() {
    if let Err(error) = child_signals::survive() {
        eprintln!("freebsd_truss: {error}");
    }
    truss::main()
}

#[cfg(not(target_os = "freebsd"))]
fn main() {
    eprintln!("freebsd_truss: this example needs FreeBSD; linux_syscalls does this on Linux");
    std::process::exit(2)
}
