//! The terminal that the server was started from, which belongs to the program while that runs.

use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use nix::sys::signal::{SigSet, Signal};
use nix::unistd::{Pid as Group, tcgetpgrp, tcsetpgrp};
use signal_hook::consts::{SIGINT, SIGQUIT};
use trapline::Pid;

use crate::system;

/// The group that had the terminal before; 0 if nobody was given it.
static BEFORE: AtomicI32 = AtomicI32::new(0);

/// Ctrl-C on the terminal is for the program, which has it too; and so is what the system sends to a
/// tracer besides.
pub(super) fn leave_signals_to_the_program() -> io::Result<()> {
    for &signal in [SIGINT, SIGQUIT].iter().chain(system::SIGNALS_OF_ENDS) {
        signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false)))?;
    }
    Ok(())
}

/// Gives the terminal to a program, if there is one.
pub(crate) fn give_terminal(pid: Pid) {
    let stderr = io::stderr();
    if !stderr.is_terminal() {
        return;
    }
    let Ok(before) = tcgetpgrp(&stderr) else { return };
    if set(Group::from_raw(pid.as_raw())).is_ok() {
        let _ = BEFORE.compare_exchange(0, before.as_raw(), Ordering::Relaxed, Ordering::Relaxed);
    }
}

/// Takes it back.
pub(super) fn take_back() {
    let before = BEFORE.swap(0, Ordering::Relaxed);
    if before != 0 {
        let _ = set(Group::from_raw(before)); // it may be gone
    }
}

/// From the background this is allowed to who has SIGTTOU blocked.
fn set(group: Group) -> nix::Result<()> {
    let mut blocked = SigSet::empty();
    blocked.add(Signal::SIGTTOU);
    let before = blocked.thread_swap_mask(nix::sys::signal::SigmaskHow::SIG_BLOCK)?;
    let result = tcsetpgrp(io::stderr(), group);
    before.thread_set_mask()?;
    result
}
