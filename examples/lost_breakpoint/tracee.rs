//! The program that is traced.

use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};

/// What the functions set.
static VALUE: AtomicU64 = AtomicU64::new(0);

#[inline(never)]
extern "C" fn set(value: u64) {
    VALUE.store(value, Ordering::SeqCst);
}

/// The same at another address; it does something more, so that it is not made one with `set`.
#[inline(never)]
extern "C" fn set_too(value: u64) {
    VALUE.store(value, Ordering::SeqCst);
    VALUE.fetch_add(0, Ordering::SeqCst);
}

/// Says where its function is, and calls it for ever. It ends with its tracer.
pub(crate) fn run(pair: usize) -> ! {
    let function = if pair % 2 == 0 { set } else { set_too };
    println!("{}", function as *const () as usize);
    let _ = std::io::stdout().flush();
    raise();
    loop {
        std::hint::black_box(function)(5);
        if VALUE.swap(0, Ordering::SeqCst) != 1 {
            raise(); // a loss
        }
    }
}

/// Stops for the tracer, which takes the signal away.
fn raise() {
    let _ = nix::sys::signal::raise(nix::sys::signal::Signal::SIGUSR1);
}
