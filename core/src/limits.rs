//! The bounds of the engine: how long it waits for something of its own, how much it remembers, how
//! often it looks, and why so. A turn is a wait of about a millisecond.

use std::time::Duration;

/// How long the engine waits for something of its own before it leaves that to later waits.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Limit {
    /// So many turns, whatever they bring.
    Turns(u32),
    /// So many turns in a row that bring nothing.
    Silence(u32),
    /// As long as it takes, for it always comes.
    Unlimited,
}

/// How many turns in a row a thread is seen in an uninterruptible sleep before it counts as held by
/// the kernel. A page fault on a busy machine looks the same for a few.
pub(crate) const HELD_FOR: u32 = 20;

/// How long threads that were asked to stop may stay silent, while they seem to be able to: about ten
/// seconds. FreeBSD's kernel can forget a thread that meets a signal on its way to a sleep while
/// another one stops (`sleepq_check_ast_sc_locked` in `kern/subr_sleepqueue.c`); the process then
/// neither stops nor runs until somebody wakes it.
pub(crate) const STOPPING: Limit = Limit::Silence(10_000);

/// How long the first stop of a process may take, which is on its way.
pub(crate) const FIRST_STOP: Limit = Limit::Turns(1000);

/// How long a tracer that is dropped waits for what it has killed.
pub(crate) const DYING_FOR: Duration = Duration::from_secs(5);

/// How long a wait is that has no end, where the clock needs one.
pub(crate) const FOR_EVER: Duration = Duration::from_secs(u32::MAX as u64);

/// How many other things a thread may have to report before a trap that is on its way to it.
pub(crate) const BEFORE_A_TRAP: u32 = 4;

/// When a host with an event loop looks again after something that nothing announces.
pub(crate) const SOON: Duration = Duration::from_millis(1);

/// How the patience for the missing half of a fork is divided and multiplied. The living threads that
/// may have made a child are first looked for after this share of it: mostly it comes by then. A half
/// that a living thread may be about to report is waited for so many times longer: it comes, however
/// busy the machine is, unless the child was made so that nobody tells.
pub(crate) const PATIENCE: u32 = 100;

/// How long a child can take from its making to its first stop, on a busy machine: it is at most one
/// turn of the scheduler behind the end of its maker.
pub(crate) const BORN_WITHIN: Duration = Duration::from_secs(2);

/// How many things of a kind are remembered that may never be asked for: ends that nobody has
/// announced, processes that are gone, handlers that a thread is in.
pub(crate) const REMEMBERED: usize = 64;

/// How much memory is read at once for a string or for code, so that it ends at the end of a page: what
/// is behind it may not be mapped.
pub(crate) const CHUNK: usize = 256;

/// Stops that are taken one by one before all are taken in, with few threads: with N of them none
/// waits for more than this and N stops of others. With many threads it is one more for each eight of
/// them, for to look at all costs more.
pub(crate) const ROUND: u32 = 48;

/// The same where one thread alone is traced, and only a tracee that nobody has announced could wait;
/// and how many reports of others such a tracee lets pass before its parent is looked for.
pub(crate) const ROUND_ALONE: u32 = 1024;

/// Where one of so many threads has stopped, and at least two have, all are taken in again after that:
/// each gets its turn.
pub(crate) const CROWD: usize = 16;

/// A round of yields that lasts longer has not run the tracee alone.
pub(crate) const LONG_YIELD: Duration = Duration::from_micros(200);

/// Waits that are made without looks (or yields) after failures, at most; and a sixteenth of them is
/// how many failures in a row cost nothing yet.
pub(crate) const PAUSE_MOST: u32 = 64;
