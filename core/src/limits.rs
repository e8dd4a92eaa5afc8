//! The bounds of the engine: how long it waits for something of its own, how much it remembers, how
//! often it looks, and why so. A turn is a wait of about a millisecond.

use std::time::Duration;

/// How long the engine waits for something of its own before it leaves that to later waits.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Limit {
    /// So many turns in a row that bring nothing.
    Silence(u32),
    /// As long as it takes, for it always comes.
    Unlimited,
}

/// How many times in a row something is seen, or tried, that should be over in a moment, before it
/// counts as lasting: a thread in an uninterruptible sleep is held by the kernel then. A page fault on a
/// busy machine looks the same for a few turns.
pub(crate) const HELD_FOR: u32 = 20;

/// How long the kernel may be silent about what it has been asked for and seems able to do: about ten
/// seconds. FreeBSD's kernel can forget a thread that meets a signal on its way to a sleep while
/// another one stops (`sleepq_check_ast_sc_locked` in `kern/subr_sleepqueue.c`); the process then
/// neither stops nor runs until somebody wakes it.
pub(crate) const UNANSWERED: Limit = Limit::Silence(10_000);

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

/// How many stops are taken one by one before all are taken in, with few threads: with N of them none
/// waits for more than this and N stops of others. Beside one alone, without a waker, it is sixteen times
/// as many. So many reports of others does the child of a fork let pass, too, before its parent is looked
/// for.
pub(crate) const ROUND: u32 = 64;

/// With many threads a round is one stop longer for each so many of them, for to look at all costs more.
/// And where one of so many threads has stopped, and at least two have, all are taken in again after
/// that: each gets its turn.
pub(crate) const CROWD: usize = 16;

/// A round of yields that lasts longer has not run the tracee alone.
pub(crate) const LONG_YIELD: Duration = Duration::from_micros(200);

/// Waits that are made without looks (or yields) after failures, at most; and a sixteenth of them is
/// how many failures in a row cost nothing yet.
pub(crate) const PAUSE_MOST: u32 = 64;
