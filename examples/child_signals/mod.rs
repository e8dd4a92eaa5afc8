//! Signals by which the kernel may tell a tracer of the end of its tracees.
//!
//! On FreeBSD a program chooses the signal that its parent gets when a child ends (`rfork(2)`,
//! `RFLINUXTHPN` and `RFTSIGZMB`). While the child is traced the tracer gets that signal instead, and
//! would die of it. The library leaves the signals of its host alone, so this is the host's to do.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGALRM, SIGPROF, SIGUSR1, SIGUSR2, SIGVTALRM};

/// Has this program survive them. They are handled, not ignored: an exec puts them back, so that
/// the programs that this one starts are none the wiser.
pub(crate) fn survive() -> io::Result<()> {
    if cfg!(target_os = "freebsd") {
        for signal in [SIGUSR1, SIGUSR2, SIGALRM, SIGVTALRM, SIGPROF] {
            signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false)))?;
        }
    }
    Ok(())
}
